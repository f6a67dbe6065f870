package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// asServer makes the test binary be `driftline serve` on the folder it names.
const asServer = "DRIFTLINE_TEST_SERVE"

// victim is a server in a process of its own, to be killed.
type victim struct {
	cmd *exec.Cmd
	url string
}

func startVictim(t *testing.T, data string, flags ...string) *victim {
	t.Helper()
	v := &victim{cmd: exec.Command(os.Args[0], flags...)}
	v.cmd.Env = append(os.Environ(), asServer+"="+data)
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && v.url == ""; {
		v.url = regexp.MustCompile(`http://\S+`).FindString(lines.Text())
	}
	if v.url == "" {
		t.Fatal("the server did not say where it listens")
	}
	return v
}

func (v *victim) kill() {
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

// TestAKilledServerKeepsWhatItAcknowledged pushes rows from several writers while SQL
// flushes the ingest log, kills the server, and finds every acknowledged row once offline, and
// served online; no value differs between the two.
func TestAKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	data := t.TempDir()
	definitions := data + "/definitions.yaml"
	if err := os.WriteFile(definitions, []byte(`
entities: [{name: thing, join_keys: [{name: id, type: string}]}]
feature_views: [{name: things, entities: [thing], features: [{name: value, type: int64}]}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	const rounds = 4
	for round := range rounds {
		v := startVictim(t, data+"/data")
		if round == 0 {
			if out := (&shell{}).run([]string{"apply", definitions, "--server", v.url}); strings.Contains(out, "exit") {
				t.Fatal(out)
			}
		}
		pushUntilKilled(t, v, round, acknowledged)
	}
	v := startVictim(t, data+"/data")
	defer v.kill()
	found, err := queryIDs(v.url)
	if err != nil {
		t.Fatal(err)
	}
	served, err := servedIDs(v.url, found)
	if err != nil {
		t.Fatal(err)
	}
	for id := range acknowledged {
		if found[id] != 1 || !served[id] {
			t.Errorf("row %s was acknowledged, is there %d times, and served: %v", id, found[id], served[id])
		}
	}
	for id := range found { // also of writes that nobody was told of
		if !served[id] {
			t.Errorf("row %s is in training sets and not served", id)
		}
	}
	if out := (&shell{}).run([]string{"check", "things", "--entities", "1000", "--server", v.url}); !strings.Contains(out, " 0\n") || strings.Contains(out, "exit") {
		t.Errorf("the stores differ:\n%s", out)
	}
	if len(acknowledged) < rounds {
		t.Errorf("only %d rows were acknowledged: the test shows nothing", len(acknowledged))
	}
}

// pushUntilKilled pushes rows until each writer has had some acknowledged, then kills the server under them.
func pushUntilKilled(t *testing.T, v *victim, round int, acknowledged map[string]bool) {
	t.Helper()
	const writers, each = 4, 25
	var mu sync.Mutex
	var group sync.WaitGroup
	enough := make(chan struct{}, writers)
	for w := range writers {
		group.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", round, w, i)
				if !push(v.url, id) {
					return
				}
				mu.Lock()
				acknowledged[id] = true
				mu.Unlock()
				if i == each {
					enough <- struct{}{}
				}
			}
		})
	}
	for range writers {
		select {
		case <-enough:
		case <-time.After(time.Minute):
			t.Error("the writers got no acknowledgements")
		}
		if t.Failed() {
			break
		}
	}
	group.Go(func() { queryIDs(v.url) }) // a flush is under way while the server dies
	time.Sleep(time.Duration(round) * 3 * time.Millisecond)
	v.kill()
	group.Wait()
	http.DefaultClient.CloseIdleConnections()
}

// push writes one row and reports whether it was acknowledged.
func push(url, id string) bool {
	body := fmt.Sprintf(`{"push_source_name": "things", "to": "online_and_offline",
		"df": {"id": [%q], "event_timestamp": ["2013-01-01T00:00:00Z"], "value": [1]}}`, id)
	resp, err := http.Post(url+"/push", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// queryIDs counts the rows of each id, by SQL.
func queryIDs(url string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	rows, err := c.SQL(ctx, "SELECT id FROM features.things")
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for b, err := range rows.All {
		if err != nil {
			return nil, err
		}
		for i := range int(b.NumRows()) {
			found[b.Column(0).ValueStr(i)]++
		}
	}
	return found, nil
}

// servedIDs says which ids have a value online.
func servedIDs(url string, ids map[string]int) (map[string]bool, error) {
	sorted := slices.Sorted(maps.Keys(ids))
	body, err := json.Marshal(map[string]any{"features": []string{"things:value"}, "entities": map[string]any{"id": sorted}})
	if err != nil {
		return nil, err
	}
	resp, err := http.Post(url+"/get-online-features", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct {
			Values   []any
			Statuses []driftline.Status
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if len(answer.Results) != 2 || len(answer.Results[1].Values) != len(sorted) {
		return nil, fmt.Errorf("status %d with %d columns", resp.StatusCode, len(answer.Results))
	}
	served := map[string]bool{}
	for i, id := range sorted {
		served[id] = answer.Results[1].Statuses[i] == driftline.Present && answer.Results[1].Values[i] == 1.0
	}
	return served, nil
}
