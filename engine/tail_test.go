package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/driftline/driftline"
)

// TestManySmallWritesLeaveFewFiles writes ten thousand rows, one at a time, and reads
// between them: reading makes no files, and the writes end up in a handful.
func TestManySmallWritesLeaveFewFiles(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	row := env.Rows(view.Schema(), `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
	const writers, each = 16, 625
	var waiting sync.WaitGroup
	for w := range writers {
		waiting.Go(func() {
			for n := range each {
				if _, err := env.Engine.Ingest(ctx, "weather", "", row); err != nil {
					t.Error(err)
					return
				}
				if w == 0 && n%50 == 0 {
					if seen := countRows(t, env.Engine, "weather"); seen <= int64(n) {
						t.Errorf("a reader sees %d rows after %d acknowledged ones", seen, n+1)
					}
				}
			}
		})
	}
	waiting.Wait()
	if status, err := env.Engine.ViewStatus(ctx, "weather"); err != nil || status.Files != 0 || status.Unflushed != writers*each {
		t.Errorf("before a flush: %+v, %v", status, err)
	}
	if err := env.Engine.Flush(ctx, view); err != nil {
		t.Fatal(err)
	}
	status, err := env.Engine.ViewStatus(ctx, "weather")
	if err != nil || status.Rows != writers*each || status.Files > 5 || status.Unflushed != 0 {
		t.Errorf("after it: %+v, %v", status, err)
	}
	env.Reopen()
	if n := countRows(t, env.Engine, "weather"); n != writers*each {
		t.Errorf("%d rows after reopening", n)
	}
}

// TestAReaderSeesEachRowOnceWhileTheLogIsFlushed reads and flushes at the same time as
// rows are written. Every reader sees all rows acknowledged before it, and none twice.
func TestAReaderSeesEachRowOnceWhileTheLogIsFlushed(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 60
	written := make(chan int, rounds)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		defer close(written)
		for n := range rounds {
			env.Ingest("weather", fmt.Sprintf(`[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "wind": %d}]`, n))
			written <- n + 1
		}
	})
	waiting.Go(func() {
		for n := range written {
			if n%3 == 0 {
				if err := env.Engine.Flush(ctx, view); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range rounds / 4 {
		rows, err := env.Engine.SQL(ctx, "SELECT count(*) AS n, count(DISTINCT wind) AS kinds, max(wind) + 1 AS newest FROM features.weather HAVING n > 0", nil)
		if err != nil {
			t.Fatal(err)
		}
		for b, err := range rows.All {
			if err != nil {
				t.Fatal(err)
			}
			if n := b.Column(0).ValueStr(0); n != b.Column(1).ValueStr(0) || n != b.Column(2).ValueStr(0) {
				t.Errorf("%s rows, %s kinds, newest %s", n, b.Column(1).ValueStr(0), b.Column(2).ValueStr(0))
			}
		}
	}
	waiting.Wait()
	if n := countRows(t, env.Engine, "weather"); n != rounds {
		t.Errorf("%d rows in the end", n)
	}
}

// TestOneBadWriteOfAGroupFailsAlone sends writes at the same time of which every third
// has a key of the wrong type; the others are all there.
func TestOneBadWriteOfAGroupFailsAlone(t *testing.T) {
	env := newWeather(t)
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	good := env.Rows(view.Schema(), `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
	bad := env.Rows(view.Schema(), `[{"origin": null, "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
	var waiting sync.WaitGroup
	for n := range 60 {
		waiting.Go(func() {
			rows, want := good, driftline.Code("")
			if n%3 == 0 {
				rows, want = bad, driftline.Invalid
			}
			if _, err := env.Engine.Ingest(context.Background(), "weather", fmt.Sprint(n), rows); driftline.CodeOf(err) != want {
				t.Errorf("write %d: %v", n, err)
			}
		})
	}
	waiting.Wait()
	if n := countRows(t, env.Engine, "weather"); n != 40 {
		t.Errorf("%d rows", n)
	}
	if sum := env.Engine.Registry().Ingests("weather"); sum.Writes != 40 || sum.Rows != 40 {
		t.Errorf("the ledger says %+v", sum)
	}
	again, err := env.Engine.Ingest(context.Background(), "weather", "1", good)
	if err != nil || !again.Duplicate {
		t.Errorf("again: %+v, %v", again, err)
	}
}
