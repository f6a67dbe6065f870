package flight_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/driftline/driftline"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// putting is a DoPut call of a client that knows nothing but Flight.
type putting struct {
	*door
	stream arrowflight.FlightService_DoPutClient
	writer *arrowflight.Writer
	cancel context.CancelFunc
}

// begin opens a DoPut of rows of the view weather.
func (d *door) begin(command string) *putting {
	d.T.Helper()
	ctx, cancel := context.WithCancel(d.T.(*testing.T).Context())
	stream, err := d.flight.DoPut(ctx)
	if err != nil {
		d.T.Fatal(err)
	}
	writer := arrowflight.NewRecordWriter(stream, ipc.WithSchema(d.schema()))
	writer.SetFlightDescriptor(&arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD, Cmd: []byte(command)})
	return &putting{d, stream, writer, cancel}
}

func (d *door) schema() *arrow.Schema {
	d.T.Helper()
	view, err := d.Engine.Registry().View("weather")
	if err != nil {
		d.T.Fatal(err)
	}
	return view.Schema()
}

// write sends one batch, with metadata if there is any.
func (p *putting) write(rows, metadata string) {
	p.T.Helper()
	batch, _, err := array.RecordFromJSON(p.Mem, p.schema(), strings.NewReader(rows))
	if err != nil {
		p.T.Fatal(err)
	}
	defer batch.Release()
	if err := p.writer.WriteWithAppMetadata(batch, []byte(metadata)); err != nil {
		p.T.Fatal(err)
	}
}

// answers ends the sending side and returns what the server had to say.
func (p *putting) answers() ([]string, error) {
	p.T.Helper()
	if err := errors.Join(p.writer.Close(), p.stream.CloseSend()); err != nil {
		p.T.Fatal(err)
	}
	var out []string
	for {
		result, err := p.stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, string(result.AppMetadata))
	}
}

// temp is what is online of JFK.
func (d *door) temp() []string {
	d.T.Helper()
	return d.mustGet([]byte(`{"op": "online", "features": ["weather:temp"], "at": "2013-06-02T00:00:00Z", "entities": {"origin": ["JFK"]}}`))
}

func at(hour int, temp string) string {
	return fmt.Sprintf(`[{"origin": "JFK", "event_timestamp": "2013-06-01T%02d:00:00Z", "temp": %s, "wind": 1}]`, hour, temp)
}

func TestEachBatchOfAPushStreamIsAWrite(t *testing.T) {
	d := open(t)
	p := d.begin(`{"op": "push", "view": "weather"}`)
	p.write(at(11, "11"), "")
	p.write(at(12, "12"), `{"idempotency_key": "noon"}`)
	p.write(at(12, "12"), `{"idempotency_key": "noon"}`)
	p.write(at(12, "99"), `{"idempotency_key": "noon"}`)
	p.write(`[{"origin": null, "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1, "wind": 1}]`, "")
	p.write(at(12, "99"), `{"idempotency_kee": "noon"}`)
	p.write(at(13, "13"), "")
	got, err := p.answers()
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Result *driftline.IngestResult
		Error  *driftline.Error
	}
	want := []struct {
		duplicate bool
		code      driftline.Code
	}{{}, {}, {duplicate: true}, {code: driftline.Conflict}, {code: driftline.Invalid}, {code: driftline.Invalid}, {}}
	if len(got) != len(want) {
		t.Fatalf("%d answers, want %d: %q", len(got), len(want), got)
	}
	for i, text := range got {
		var a answer
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		failed := want[i].code != ""
		if failed != (a.Error != nil) || failed == (a.Result != nil) {
			t.Errorf("answer %d: %s", i, text)
			continue
		}
		if failed && (a.Error.Code != want[i].code || a.Error.Message == "") {
			t.Errorf("answer %d: %s, want %s", i, text, want[i].code)
		}
		if !failed && (a.Result.Rows != 1 || a.Result.Duplicate != want[i].duplicate) {
			t.Errorf("answer %d: %s", i, text)
		}
	}
	equal(t, "online", d.temp(), []string{"JFK 13"})
	waitFor(t, func() bool { return strings.Contains(d.log.String(), "failures=3") })
}

// Of rows with equal times the one that was sent last is the newest.
func TestPushesTakeEffectInTheirOrder(t *testing.T) {
	d := open(t)
	for round := range 5 {
		p := d.begin(`{"op": "push", "view": "weather"}`)
		for i := range 100 {
			p.write(at(12, fmt.Sprint(1000*round+i)), "")
		}
		answers, err := p.answers()
		if err != nil || len(answers) != 100 {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		equal(t, "online", d.temp(), []string{fmt.Sprintf("JFK %d", 1000*round+99)})
	}
}

// A client that goes away while its writes run leaves nothing behind that still runs.
func TestPushStreamsThatBreak(t *testing.T) {
	d := open(t)
	p := d.begin(`{"op": "push", "view": "weather"}`)
	for i := range 50 {
		p.write(at(12, fmt.Sprint(i)), "")
	}
	if _, err := p.stream.Recv(); err != nil {
		t.Fatal(err)
	}
	p.cancel()
	for {
		if _, err := p.stream.Recv(); err != nil {
			break
		}
	}
	waitFor(t, func() bool {
		return strings.Contains(d.log.String(), `op="DoPut push"`)
	})
}

func TestPushStreamsThatCannotBegin(t *testing.T) {
	d := open(t)
	for _, test := range []struct {
		command string
		code    codes.Code
		want    string
	}{
		{`{"op": "push", "view": "wether"}`, codes.NotFound, `did you mean "weather"?`},
		{`{"op": "push", "view": "weather", "idempotency_key": "k"}`, codes.InvalidArgument, "with each batch"},
		{`{"op": "push", "view": "weather", "marked": true}`, codes.InvalidArgument, "no end marker"},
		{`{"op": "psh", "view": "weather"}`, codes.NotFound, `did you mean "push"?`},
	} {
		_, err := d.begin(test.command).answers()
		if s := status.Convert(err); s.Code() != test.code || !strings.Contains(s.Message(), test.want) {
			t.Errorf("%s:\n  got  %v\n  want %s %q", test.command, err, test.code, test.want)
		}
	}
}

// A marked stream is written if it has its marker; any other when it ends.
func TestEndMarkers(t *testing.T) {
	const marked, plain = `{"op": "ingest", "view": "weather", "marked": true}`, `{"op": "ingest", "view": "weather"}`
	marker := func(p *putting) {
		if err := p.stream.Send(&arrowflight.FlightData{AppMetadata: []byte(`{"end": true}`)}); err != nil {
			p.T.Error(err)
		}
	}
	row := func(p *putting) { p.write(at(12, "12"), "") }
	for _, test := range []struct {
		name, command string
		send          func(*putting)
		want          string // of the error
	}{
		{"marked, with a last message", marked, func(p *putting) { row(p); marker(p) }, ""},
		{"marked, with the last batch", marked, func(p *putting) { p.write(at(12, "12"), `{"end": true}`) }, ""},
		{"marked, with other metadata first", marked, func(p *putting) { p.write(at(11, "11"), `{"part": 1}`); row(p); marker(p) }, ""},
		{"marked, without a marker", marked, row, "without its end marker"},
		{"marked, with the opposite of one", marked, func(p *putting) { p.write(at(12, "12"), `{"end": false}`) }, "without its end marker"},
		{"marked, in the middle", marked, func(p *putting) { row(p); marker(p); row(p) }, "goes on after its end marker"},
		{"plain", plain, row, ""},
		{"plain, with a marker", plain, func(p *putting) { row(p); marker(p) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			p := d.begin(test.command)
			test.send(p)
			answers, err := p.answers()
			if test.want != "" {
				if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), test.want) {
					t.Errorf("got %q, %v, want %q", answers, err, test.want)
				}
				equal(t, "online", d.temp(), []string{"JFK 20.5"})
				return
			}
			if err != nil || len(answers) != 1 {
				t.Errorf("got %q, %v", answers, err)
			}
			equal(t, "online", d.temp(), []string{"JFK 12"})
		})
	}
}
