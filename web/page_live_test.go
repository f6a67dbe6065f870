package web_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// livePages are those that follow what happens.
var livePages = []string{
	"/rollouts", "/rollouts?model=late", "/rollouts/late-1", "/policies", "/policies/late", "/training-runs", "/training-runs/late-1",
	"/monitors", "/monitors/wind_hourly", "/models/late/timeline",
}

var followed = regexp.MustCompile(`<main data-follows="([^"]+)" data-kinds="([^"]+)">`)

func TestPagesNameTheStreamThatTheyFollow(t *testing.T) {
	l := newWholeLoop(t)
	l.settled(t)
	for _, path := range livePages {
		newest := l.Engine.NewestEvent()
		w := l.ask("GET", path, "", "Accept: text/html")
		found := followed.FindStringSubmatch(w.Body.String())
		if w.Code != http.StatusOK || found == nil {
			t.Errorf("%s: status %d, it follows nothing", path, w.Code)
			continue
		}
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "script-src 'self'; connect-src 'self'") {
			t.Errorf("%s: its script may not ask the server: %s", path, got)
		}
		stream := html.UnescapeString(found[1])
		l.mustAsk(t, "GET", stream, "")
		address, err := url.Parse(stream)
		if err != nil {
			t.Fatal(err)
		}
		if after, err := strconv.ParseUint(address.Query().Get("after"), 10, 64); err != nil || after < newest {
			t.Errorf("%s: what it shows already is to come: it follows from %d, and shows what was at %d", path, after, newest)
		}
		if got := strings.Fields(found[2]); fmt.Sprint(got) != fmt.Sprint(driftline.EventKinds) {
			t.Errorf("%s: it listens for %v", path, got)
		}
	}
	w := l.ask("GET", "/runs", "", "Accept: text/html")
	if policy := w.Header().Get("Content-Security-Policy"); strings.Contains(policy, "script-src") || strings.Contains(policy, "connect-src") || followed.MatchString(w.Body.String()) {
		t.Errorf("the page of runs follows something: %s", policy)
	}
}

// TestAPageFollowsWhatHappens shows a time line in a real browser. What happens before its stream is
// even open is in the page a moment later, without a word from whoever looks at it.
func TestAPageFollowsWhatHappens(t *testing.T) {
	browser := findBrowser(t)
	l := newWholeLoop(t)
	l.settled(t)
	const page = "/models/late/timeline"
	shown := make(chan string, 1)
	var again string // the page, when it is read again
	pages, handler := l.server.Handler(), http.NewServeMux()
	handler.Handle("/", pages)
	handler.HandleFunc("GET "+page, func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		pages.ServeHTTP(answer, r)
		body := answer.Body.String()
		for name, values := range answer.Header() {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}
		if strings.Contains(body, "alias fresh") || strings.Contains(body, "fresh: nowhere") {
			again = body
			body = strings.Replace(body, "<h1>", `<h1><img src="/shown" alt="">`, 1) // a browser asks for it once it is in its page
		}
		_, _ = w.Write([]byte(body))
	})
	handler.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		l.mustAsk(t, "PUT", "/api/v1/models/late/aliases/fresh", `{"version": 1, "by": "ann", "reason": "a look"}`)
		pages.ServeHTTP(w, r)
	})
	handler.HandleFunc("GET /shown", func(w http.ResponseWriter, r *http.Request) {
		select {
		case shown <- again:
		default:
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), server.URL+page)
	command.WaitDelay = time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = command.Wait() }()
	select {
	case <-shown:
	case <-time.After(time.Minute):
		t.Fatal("the page shows nothing of what happened")
	}
}
