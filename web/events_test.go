package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/web"
)

// eventStream is a stream of events that a test reads.
type eventStream struct {
	t      *testing.T
	body   io.ReadCloser
	reader *bufio.Reader
}

// follow begins to read events at an address.
func (s *site) follow(t *testing.T, address, query, last string) *eventStream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/api/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("status %d, %s", answer.StatusCode, got)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return &eventStream{t, answer.Body, bufio.NewReader(answer.Body)}
}

// next is the next event, with its id; what only says the place is passed over.
func (e *eventStream) next() (id string, event driftline.Event) {
	e.t.Helper()
	for {
		line, err := e.reader.ReadString('\n')
		if err != nil {
			e.t.Fatalf("the stream ended: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &event); err != nil {
				e.t.Fatal(err)
			}
			return id, event
		}
	}
}

// listenAndServe serves the site for a test, and says how to stop it.
func (s *site) listenAndServe(t *testing.T) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() {
		if err := s.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func TestAStreamOfEventsMissesNothing(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/models", `{"name": "late"}`)
	s.mustAsk(t, "POST", "/api/v1/models", `{"name": "other"}`)
	s.mustAsk(t, "POST", "/api/v1/models/late/versions", `{"source": "runs:/e-1/model"}`)
	address, stop := s.listenAndServe(t)
	stream := s.follow(t, address, "?model=late&kind=alias&kind=policy.applied", "")
	move := func(model string, version int) {
		s.mustAsk(t, "PUT", "/api/v1/models/"+model+"/aliases/champion", fmt.Sprintf(`{"version": %d, "by": "ann", "reason": "secret words"}`, version))
	}
	s.mustAsk(t, "POST", "/api/v1/models/other/versions", `{"source": "runs:/e-1/model"}`)
	move("other", 1)
	move("late", 1)
	id, event := stream.next()
	if event.Kind != "alias.moved" || event.Model != "late" || event.State != "moved" || event.By != "ann" || fmt.Sprint(event.Sequence) != id ||
		event.Text != "model late: alias champion goes from no version to version 1" {
		t.Errorf("event %s is %+v", id, event)
	}
	s.mustAsk(t, "POST", "/api/v1/models/late/versions", `{"source": "runs:/e-1/model"}`)
	move("late", 2)
	s.mustAsk(t, "POST", "/api/v1/models/late/aliases/champion/rollback", `{"by": "bob"}`)
	stream.body.Close() // before it has read what happened since
	stream = s.follow(t, address, "?model=late&kind=alias", id)
	for _, want := range []string{"moved", "rolled_back"} {
		if id, event = stream.next(); event.State != want {
			t.Errorf("after the connection broke, event %s is %+v, want %s", id, event, want)
		}
	}
	// It would go on for ever: the server ends it when it stops.
	stop()
	if rest, err := io.ReadAll(stream.reader); err != nil || strings.Contains(string(rest), "data:") {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
}

func TestAStreamSaysThatItIsAlive(t *testing.T) {
	s := newSite(t)
	s.server.SetStreamPace(time.Millisecond, time.Minute)
	address, stop := s.listenAndServe(t)
	defer stop()
	stream := s.follow(t, address, "", "")
	comments := 0
	for place := ""; comments < 2; {
		line, err := stream.reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); {
		case name == "" && value != "":
			comments++
		case name == "id" && place != "" && value != place:
			t.Errorf("nothing happened, and the place went from %s to %s", place, value)
		case name == "id":
			place = value
		case name == "data":
			t.Errorf("nothing happened, and there is %s", line)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := newSite(t)
	address, stop := s.listenAndServe(t)
	defer stop()
	streams := make([]*eventStream, web.MostStreams)
	for i := range streams {
		streams[i] = s.follow(t, address, "", "")
	}
	w := s.ask("GET", "/api/v1/events", "", "Accept: text/event-stream")
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "256 streams") || !strings.Contains(w.Body.String(), "read them as JSON") {
		t.Errorf("one more: status %d, %s", w.Code, w.Body)
	}
	if w := s.ask("GET", "/api/v1/events", ""); w.Code != http.StatusOK {
		t.Errorf("as JSON: status %d, %s", w.Code, w.Body)
	}
	streams[0].body.Close()
	s.streamsFall(t, web.MostStreams-1)
	s.follow(t, address, "", "")
}

// streamsFall waits until there are so many streams.
func (s *site) streamsFall(t *testing.T, to int64) {
	t.Helper()
	for range 2000 {
		if s.server.Streams() == to {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("there are %d streams, want %d", s.server.Streams(), to)
}

// pipes is a listener whose connections hold nothing: what is not read is not written.
type pipes struct{ dialed chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.dialed; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error { close(p.dialed); return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// A reader who does not read is cut off after a while, and holds nothing until then.
func TestASlowReaderOfEventsIsCutOff(t *testing.T) {
	s := newSite(t)
	s.server.SetStreamPace(time.Hour, 50*time.Millisecond)
	listener := pipes{make(chan net.Conn)}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }()
	here, there := net.Pipe()
	defer here.Close()
	listener.dialed <- there
	if _, err := io.WriteString(here, "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The first byte is read, so the stream is under way; then nothing is.
	if _, err := here.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.streamsFall(t, 0)
	if rest, err := io.ReadAll(here); err != nil || strings.Contains(string(rest), "id:") {
		t.Errorf("after it was cut off it reads %q, %v", rest, err)
	}
	if err := s.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// settled waits until every notice has left: each is an event of its own then.
func (l *loop) settled(t *testing.T) {
	t.Helper()
	for range 2000 {
		notices, err := l.Engine.Notices("")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(notices, func(n driftline.Notice) bool { return n.State == driftline.NoticePending }) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("there are notices that never leave")
}

func TestEventsAsPages(t *testing.T) {
	l := newWholeLoop(t)
	l.settled(t)
	var page struct {
		Events []driftline.Event `json:"events"`
		Next   uint64            `json:"next"`
	}
	read := func(query string) {
		t.Helper()
		page.Events = nil
		if err := json.Unmarshal([]byte(l.mustAsk(t, "GET", "/api/v1/events"+query, "")), &page); err != nil {
			t.Fatal(err)
		}
	}
	read("?model=late")
	states := map[string][]string{}
	for i, e := range page.Events {
		if i > 0 && e.Sequence <= page.Events[i-1].Sequence || e.Text == "" || e.State == "" {
			t.Errorf("event %d is %+v", i, e)
		}
		states[e.Kind] = append(states[e.Kind], e.State)
	}
	for kind, want := range map[string]string{
		"alert.changed":      "[firing firing]", // raised, and the next pane drifted too
		"rollout.changed":    "[pending canary rolled_back]",
		"trigger.suppressed": "[back_off]",
		"model.registered":   "[registered registered]",
		"alias.moved":        "[moved]",
		"policy.applied":     "[applied]",
	} {
		if got := fmt.Sprint(states[kind]); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
	if got := states["training.changed"]; len(got) < 4 || got[0] != "queued" || got[len(got)-1] != "rejected" {
		t.Errorf("the training run went through %v", got)
	}
	next := page.Next
	if read(fmt.Sprintf("?after=%d", next)); len(page.Events) > 0 || page.Next != next {
		t.Errorf("after the last there are %+v", page.Events)
	}
	for query, want := range map[string]int{
		"?kind=miracle": http.StatusNotFound, "?kind=alert&model=none": http.StatusNotFound,
		"?after=soon": http.StatusUnprocessableEntity, fmt.Sprintf("?after=%d", next+1000): http.StatusPreconditionFailed,
	} {
		for _, accept := range []string{"Accept: application/json", "Accept: text/event-stream"} {
			if w := l.ask("GET", "/api/v1/events"+query, "", accept); w.Code != want || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s, %s: status %d, want %d: %s", query, accept, w.Code, want, w.Body)
			}
		}
	}
	if w := l.ask("GET", "/api/v1/events", "", "Accept: text/event-stream", "Last-Event-ID: x"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a bad Last-Event-ID: status %d", w.Code)
	}
}

// TestEveryEventSaysSomething makes an event of each line of a loop's ledger whose kind is one.
func TestEveryEventSaysSomething(t *testing.T) {
	l := newWholeLoop(t)
	met := map[string]bool{}
	for line, err := range l.Engine.Registry().Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		event, ok, err := registry.EventOf(&line)
		if err != nil {
			t.Errorf("%s: %v", line.Kind, err)
		}
		if ok {
			met[event.Kind] = true
		}
	}
	for kind := range met {
		filter := driftline.EventFilter{Kinds: []string{kind}}
		if err := filter.Check(); err != nil {
			t.Errorf("%s is no kind of event: %v", kind, err)
		}
	}
}
