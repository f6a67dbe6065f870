package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// TestAKilledServerKeepsItsPredictions logs predictions from several writers, kills the server under
// them, and finds every one that was acknowledged as durable, once; of the asynchronous ones as
// many as it had said were logged, and nothing of any twice.
func TestAKilledServerKeepsItsPredictions(t *testing.T) {
	data := t.TempDir()
	durable := map[string]bool{}
	var logged int64 // of the asynchronous ones, as the server said
	const rounds = 3
	for round := range rounds {
		v := startVictim(t, data)
		logged += logUntilKilled(t, v, round, durable)
	}
	v := startVictim(t, data)
	defer v.kill()
	rows := countedRows(t, v.url, "SELECT prediction_id, count(*) AS n FROM features.late_predictions GROUP BY ALL")
	async := int64(0)
	for id, n := range rows {
		if n != 1 {
			t.Errorf("prediction %s is there %d times", id, n)
		}
		if id[0] == 'a' {
			async++
		}
	}
	for id := range durable {
		if rows[id] != 1 {
			t.Errorf("prediction %s was acknowledged as durable and is gone", id)
		}
	}
	if async < logged {
		t.Errorf("%d asynchronous predictions were said to be logged, %d are there", logged, async)
	}
	if len(durable) < rounds || logged == 0 {
		t.Errorf("%d durable and %d asynchronous predictions: the test shows nothing", len(durable), logged)
	}
}

// logUntilKilled logs predictions until each writer has had some acknowledged, and kills the server.
// It returns how many asynchronous ones the server had said it logged.
func logUntilKilled(t *testing.T, v *victim, round int, durable map[string]bool) (logged int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := client.Dial(ctx, v.url)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if round == 0 {
		if _, err := server.CreateModel(ctx, driftline.RegisteredModelSpec{Name: "late"}); err != nil {
			t.Fatal(err)
		}
	}
	const writers, each = 3, 10
	var mu sync.Mutex
	var group sync.WaitGroup
	enough := make(chan struct{}, 2*writers)
	write := func(kind string, w int, log func([]driftline.PredictionRecord) error, keep bool) {
		for i := 0; ; i++ {
			id := fmt.Sprintf("%s-%d-%d-%d", kind, round, w, i)
			if log([]driftline.PredictionRecord{{ID: id, Model: "late", Version: 1, Time: time.Unix(int64(i), 0), Features: map[string]any{"x": float64(i)}}}) != nil {
				return
			}
			if keep {
				mu.Lock()
				durable[id] = true
				mu.Unlock()
			}
			if i == each {
				enough <- struct{}{}
			}
		}
	}
	for w := range writers {
		group.Go(func() {
			write("s", w, func(r []driftline.PredictionRecord) error {
				_, err := server.LogPredictions(ctx, "late", r)
				return err
			}, true)
		})
		group.Go(func() {
			write("a", w, func(r []driftline.PredictionRecord) error { return server.LogPredictionsAsync(ctx, "late", r) }, false)
		})
	}
	for range 2 * writers {
		select {
		case <-enough:
		case <-ctx.Done():
			t.Error("the writers got no acknowledgements")
		}
	}
	if status, err := server.PredictionLog(ctx, "late"); err != nil {
		t.Error(err)
	} else {
		mu.Lock()
		logged = status.Counts.Logged - int64(len(durable)) // at least: some durable ones were not acknowledged yet
		mu.Unlock()
		logged = max(0, logged-2*writers)
	}
	v.kill()
	group.Wait()
	return logged
}

// countedRows runs a SELECT of a text and a number.
func countedRows(t *testing.T, url, text string) map[string]int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := client.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	rows, err := server.SQL(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			var n int64
			fmt.Sscan(b.Column(1).ValueStr(i), &n)
			found[b.Column(0).ValueStr(i)] = n
		}
	}
	return found
}
