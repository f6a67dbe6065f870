package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
	"github.com/driftline/driftline/internal/publicaddr"
)

var noon = time.Date(2013, 6, 1, 12, 0, 0, 0, time.UTC)

func firing(channel string) *driftline.Notice {
	return &driftline.Notice{
		ID: "hourly-1-ops-7", Channel: channel, Kind: driftline.AlertFiring, Created: noon,
		Monitor: driftline.Monitor{Name: "hourly", Description: "as expected\r\nBcc: eve@example.com"},
		Alert: driftline.Alert{
			ID: "hourly-1", Monitor: "hourly", Severity: driftline.Warning, State: driftline.AlertFiring, Raised: noon,
			Summary: "1 of 2 columns drifted; <b>&", Columns: []driftline.DriftColumn{{Column: "temp", Segment: "sky=a\r\nb", Test: "ks", Effect: 0.5}},
		},
	}
}

func resolved(channel string) *driftline.Notice {
	n := firing(channel)
	n.ID, n.Kind, n.Alert.State, n.Alert.Resolved = "hourly-1-ops-9", driftline.AlertResolved, driftline.AlertResolved, noon.Add(time.Hour)
	return n
}

func channelsOf(t *testing.T, name string, c Config) *Channels {
	t.Helper()
	opened, err := Open(map[string]Config{name: c}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// received is a request as a receiver saw it.
type received struct {
	path   string
	header http.Header
	body   string
}

func receiver(t *testing.T, status int) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.URL.Path, r.Header, string(body)}
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func TestAWebhookIsSignedAndTheSameEachTime(t *testing.T) {
	url, got := receiver(t, 200)
	c := channelsOf(t, "hook", Config{Type: "webhook", URL: url + "/hook", Secret: "s3cret", AllowPrivate: true})
	var bodies []string
	for attempt := range 2 {
		n := firing("hook")
		n.Attempts, n.Error = attempt, "boom"
		if err := c.Deliver(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		r := <-got
		seconds, _, _ := strings.Cut(strings.TrimPrefix(r.header.Get(outbound.SignatureHeader), "t="), ",")
		var unix int64
		if _, err := fmt.Sscan(seconds, &unix); err != nil {
			t.Fatal(err)
		}
		if want := outbound.Sign([]byte("s3cret"), time.Unix(unix, 0), []byte(r.body)); r.header.Get(outbound.SignatureHeader) != want {
			t.Errorf("signature %s, want %s", r.header.Get(outbound.SignatureHeader), want)
		}
		if r.header.Get("Idempotency-Key") != n.ID || strings.Contains(r.body, "s3cret") {
			t.Errorf("%+v", r)
		}
		bodies = append(bodies, r.body)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("a retry sends another body:\n%s\n%s", bodies[0], bodies[1])
	}
}

func TestAlertmanagerIsToldOfBeginningAndEnd(t *testing.T) {
	url, got := receiver(t, 200)
	c := channelsOf(t, "am", Config{Type: "alertmanager", URL: url + "/", AllowPrivate: true})
	var alerts [2][]prometheusAlert
	for i, n := range []*driftline.Notice{firing("am"), resolved("am")} {
		if err := c.Deliver(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		r := <-got
		if r.path != "/api/v2/alerts" {
			t.Errorf("path %s", r.path)
		}
		if err := json.Unmarshal([]byte(r.body), &alerts[i]); err != nil {
			t.Fatal(err)
		}
	}
	first, last := alerts[0][0], alerts[1][0]
	if fmt.Sprint(first.Labels) != fmt.Sprint(last.Labels) || first.Labels["alertname"] == "" {
		t.Errorf("labels %v, %v: they are what tells alerts apart", first.Labels, last.Labels)
	}
	if !first.EndsAt.After(noon.Add(24*time.Hour)) || !last.EndsAt.Equal(noon.Add(time.Hour)) || !first.StartsAt.Equal(noon) {
		t.Errorf("from %s to %s, then to %s", first.StartsAt, first.EndsAt, last.EndsAt)
	}
}

func TestAlertmanagerIsToldWhatHappenedToAViewOrAModel(t *testing.T) {
	url, got := receiver(t, 200)
	c := channelsOf(t, "am", Config{Type: "alertmanager", URL: url, AllowPrivate: true})
	for _, test := range []struct {
		happening driftline.Happening
		want      map[string]string
	}{
		{driftline.Happening{Event: driftline.EventStoresDiffer, Ref: driftline.ViewRef("weather")},
			map[string]string{"alertname": "DriftlineView", "event": string(driftline.EventStoresDiffer), "ref": "view/weather", "severity": "warning"}},
		{driftline.Happening{Event: driftline.EventPromoted, Ref: driftline.ModelRef("late", 2), Model: "late"},
			map[string]string{"alertname": "DriftlineModel", "event": string(driftline.EventPromoted), "ref": "model/late@2", "model": "late", "severity": "info"}},
	} {
		test.happening.Time, test.happening.Text = noon, "what\nhappened"
		if err := c.Deliver(context.Background(), &driftline.Notice{ID: "n-1", Channel: "am", Created: noon.Add(time.Minute), Happening: &test.happening}); err != nil {
			t.Fatal(err)
		}
		var alerts []prometheusAlert
		if err := json.Unmarshal([]byte((<-got).body), &alerts); err != nil || len(alerts) != 1 {
			t.Fatalf("%v, %v", alerts, err)
		}
		a := alerts[0]
		if !maps.Equal(a.Labels, test.want) {
			t.Errorf("labels %v, want %v", a.Labels, test.want)
		}
		if !a.StartsAt.Equal(noon) || !a.EndsAt.Equal(noon.Add(time.Minute).Add(happeningFor)) || a.Annotations["description"] != "what happened" {
			t.Errorf("%+v", a)
		}
	}
}

func TestSlackTextHasNoMarkupOfTheData(t *testing.T) {
	url, got := receiver(t, 200)
	c := channelsOf(t, "slack", Config{Type: "slack", URL: url, AllowPrivate: true})
	if err := c.Deliver(context.Background(), firing("slack")); err != nil {
		t.Fatal(err)
	}
	var body struct{ Text string }
	if err := json.Unmarshal([]byte((<-got).body), &body); err != nil || !strings.Contains(body.Text, "&lt;b&gt;&amp;") || !strings.Contains(body.Text, "WARNING: hourly drifts") {
		t.Errorf("%q, %v", body.Text, err)
	}
}

func TestFailuresNameNoSecret(t *testing.T) {
	redirecting, _ := receiver(t, 302)
	failing, _ := receiver(t, 500)
	for name, c := range map[string]Config{
		"redirect": {Type: "webhook", URL: redirecting + "/T0KEN", AllowPrivate: true},
		"failing":  {Type: "slack", URL: failing + "/T0KEN", AllowPrivate: true},
		"refused":  {Type: "slack", URL: "http://127.0.0.1:1/T0KEN", AllowPrivate: true},
		"nowhere":  {Type: "slack", URL: "http://T0KEN.invalid/T0KEN"},
		"file":     {Type: "file", Path: filepath.Join(t.TempDir(), "T0KEN", "x")},
	} {
		err := channelsOf(t, name, c).Deliver(context.Background(), firing(name))
		if err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPrivateAddressesAreNotReached covers names that resolve to private addresses, and
// every way to write one.
func TestPrivateAddressesAreNotReached(t *testing.T) {
	url, got := receiver(t, 200)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1.2.3"} {
		c := channelsOf(t, "hook", Config{Type: "webhook", URL: "http://" + host + ":" + port})
		if err := c.Deliver(context.Background(), firing("hook")); err == nil {
			t.Errorf("%s was reached", host)
		}
	}
	if len(got) > 0 {
		t.Errorf("the receiver was reached: %+v", <-got)
	}
	for address, public := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "1.1.1.1": true,
		"10.0.0.1": false, "172.16.3.4": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.1.2.3": false,
		"127.0.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "192.0.2.1": false,
		"::": false, "::1": false, "fe80::1": false, "fc00::1": false, "::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "::a00:1": false, "ff02::1": false, "2001:db8::1": false,
	} {
		if publicaddr.Is(netip.MustParseAddr(address)) != public {
			t.Errorf("%s: public is %v", address, !public)
		}
	}
}

func TestEmail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	message := make(chan string, 1)
	go serveSMTP(l, message)
	c := channelsOf(t, "mail", Config{Type: "email", Server: l.Addr().String(), From: "Driftline <d@example.com>", To: []string{"ops@example.com"}, AllowPrivate: true})
	if err := c.Deliver(context.Background(), firing("mail")); err != nil {
		t.Fatal(err)
	}
	got := <-message
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	for _, want := range []string{"Subject: [driftline] WARNING: hourly drifts", "Message-ID: <hourly-1-ops-7@example.com>", "To: <ops@example.com>"} {
		if !strings.Contains(head, want) {
			t.Errorf("no %q in\n%s", want, head)
		}
	}
	if strings.Contains(head, "Bcc") || strings.Contains(got, "\r\nBcc") || !strings.Contains(body, "temp") {
		t.Errorf("message\n%s", got)
	}
}

// serveSMTP takes one message, as a server without extensions does.
func serveSMTP(l net.Listener, message chan<- string) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "220 test\r\n")
	var data strings.Builder
	inData := false
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		line := lines.Text()
		switch {
		case inData && line == ".":
			inData = false
			message <- data.String()
			fmt.Fprint(conn, "250 ok\r\n")
		case inData:
			data.WriteString(line + "\r\n")
		case line == "DATA":
			inData = true
			fmt.Fprint(conn, "354 go on\r\n")
		case line == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

func TestAPasswordIsNotSentInTheClear(t *testing.T) {
	// PlainAuth allows localhost; any other name must have TLS.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 test\r\n")
		var all strings.Builder
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			all.WriteString(lines.Text())
			fmt.Fprint(conn, "250-test\r\n250 AUTH PLAIN\r\n")
		}
		seen <- all.String()
	}()
	e, err := newEmail(Config{Server: l.Addr().String(), From: "d@example.com", To: []string{"o@example.com"}, Username: "u", Password: "pass", AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	e.host = "mail.example.com"
	if err := e.deliver(context.Background(), firing("mail")); err == nil || strings.Contains(err.Error(), "pass") {
		t.Errorf("%v", err)
	}
	if said := <-seen; strings.Contains(said, "AUTH") {
		t.Errorf("it said %q", said)
	}
}

func TestTheFileHasALinePerNotice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notices.jsonl")
	c := channelsOf(t, "file", Config{Type: "file", Path: path})
	for _, n := range []*driftline.Notice{firing("file"), resolved("file")} {
		if err := c.Deliver(context.Background(), n); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil || strings.Count(string(content), "\n") != 2 {
		t.Errorf("%q, %v", content, err)
	}
}

func TestBackoffGrowsToAQuarterOfAnHour(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		whole := min(mostWait, firstWait<<min(attempt-1, 20))
		if got := Backoff("n", attempt); got < whole/2 || got > whole {
			t.Errorf("attempt %d waits %s of %s", attempt, got, whole)
		}
	}
	if Backoff("a", 9) == Backoff("b", 9) {
		t.Error("two notices are tried at the same time")
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for words, c := range map[string]Config{
		"did you mean":       {Type: "webhok"},
		"url is missing":     {Type: "slack"},
		"url is not valid":   {Type: "slack", URL: "ftp://example.com"},
		"user or a password": {Type: "webhook", URL: "https://u:p@example.com"},
		"path is missing":    {Type: "file"},
		"not host:port":      {Type: "email", Server: "example.com"},
		"to is missing":      {Type: "email", Server: "example.com:25", From: "a@example.com"},
	} {
		_, err := Open(map[string]Config{"x": c}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error()+hintOf(err), words) {
			t.Errorf("%+v: %v, want %q", c, err, words)
		}
	}
}

func hintOf(err error) string {
	for err != nil {
		if e, ok := err.(*driftline.Error); ok {
			if e.Hint != "" {
				return e.Hint
			}
			err = e.Err
			continue
		}
		return ""
	}
	return ""
}
