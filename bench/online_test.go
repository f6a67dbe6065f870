package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const oneAnswer = `{"metadata":{"feature_names":["entity","a","b"]},"results":[
	{"values":[7,8],"statuses":["PRESENT","PRESENT"]},
	{"values":[1,2],"statuses":["PRESENT","PRESENT"],"event_timestamps":["2025-01-01T00:00:00Z","2025-01-01T00:00:00Z"]},
	{"values":[3,4],"statuses":["PRESENT","PRESENT"]}]}`

func TestOnlineAnswersAreComparedByWhatTheySay(t *testing.T) {
	reordered := `{"results":[
		{"values":[3,4],"statuses":["PRESENT","PRESENT"]},
		{"values":[7,8],"statuses":["PRESENT","PRESENT"]},
		{"values":[1,2],"statuses":["PRESENT","PRESENT"]}],
		"metadata":{"feature_names":["b","entity","a"]},"status":true}`
	for _, c := range []struct {
		name, theirs string
		same         bool
	}{
		{"columns in another order, without times", reordered, true},
		{"another value", strings.Replace(oneAnswer, "[3,4]", "[3,5]", 1), false},
		{"values of other rows", strings.Replace(oneAnswer, "[3,4]", "[4,3]", 1), false},
		{"another name", strings.Replace(oneAnswer, `"b"`, `"c"`, 1), false},
	} {
		ours, err := sumOnline([][]byte{[]byte(oneAnswer)})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := sumOnline([][]byte{[]byte(c.theirs)})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := sameBits(ours, theirs); (err == nil) != c.same {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAnOnlineAnswerMustHoldEveryValue(t *testing.T) {
	for _, text := range []string{
		strings.Replace(oneAnswer, `"PRESENT"`, `"NOT_FOUND"`, 1),
		`{"metadata":{"feature_names":["entity","a"]},"results":[{"values":[7],"statuses":["PRESENT"]}]}`,
		`{}`,
		`no JSON`,
	} {
		if _, err := sumOnline([][]byte{[]byte(text)}); err == nil {
			t.Errorf("%s was taken for an answer", text)
		}
	}
}

func TestALoadSendsEveryRequestOnce(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[string(body)]++
		mu.Unlock()
		fmt.Fprintf(w, "answer to %s", body)
	}))
	defer server.Close()
	load := onlineLoad{url: server.URL, connections: 3}
	for i := range 50 {
		load.bodies = append(load.bodies, fmt.Appendf(nil, "question %d", i))
	}
	result, err := load.run(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range load.bodies {
		if seen[string(body)] != 1 || string(result.answers[i]) != "answer to "+string(body) {
			t.Errorf("%s was sent %d times and answered %q", body, seen[string(body)], result.answers[i])
		}
	}
}

func TestALoadEndsAtTheFirstFailure(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	load := onlineLoad{url: server.URL, connections: 2, bodies: [][]byte{nil, nil, nil}}
	if _, err := load.run(context.Background(), false); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("error is %v", err)
	}
}

func TestPercentilesAreValuesThatWereMeasured(t *testing.T) {
	var result loadResult
	for ms := range 200 {
		result.latencies = append(result.latencies, time.Duration(ms+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 100, 99: 198, 100: 200} {
		if got := result.percentile(p); got != want {
			t.Errorf("p%d is %v ms, want %v", p, got, want)
		}
	}
	if got := (loadResult{latencies: []time.Duration{time.Second}}).percentile(99); got != 1000 {
		t.Errorf("p99 of one value is %v ms", got)
	}
}
