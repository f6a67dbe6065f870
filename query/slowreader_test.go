package query

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// A chunk has the rows that its reader takes in ten seconds, from the first chunk's on.
func TestChunksFollowTheirReader(t *testing.T) {
	limit := chunkLimits{first: 1000, most: 1_000_000, firstBytes: 1 << 20, bytes: 1 << 30, perRow: 100}
	for _, c := range []struct {
		rows int64
		took time.Duration
		want int64
	}{
		{1000, 0, 256_000},
		{1000, time.Second, 10_000},
		{50_000, 10 * time.Second, 50_000},
		{50_000, 20 * time.Second, 25_000},
		{50_000, time.Hour, 1000},
		{500_000, time.Second, 1_000_000},
	} {
		if got := limit.after(c.rows, c.took); got != c.want {
			t.Errorf("after %d rows in %s: %d, want %d", c.rows, c.took, got, c.want)
		}
	}
	limit.perRow = 1 << 20
	if got := limit.after(10, time.Hour); got != 1 {
		t.Errorf("a chunk of rows as big as the first chunk's memory has %d, want 1", got)
	}
}

// Readers who are slow from the first row on, as many as would share all memory, hold no
// one up who wants his share.
func TestSlowReadersLeaveMemoryToOthers(t *testing.T) {
	source := oneView(t)
	one := oneSpine()
	synctest.Test(t, func(t *testing.T) {
		db, err := Open(&Options{Allocator: memory.NewGoAllocator(), Threads: 1, MemoryBytes: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows := func(yield func(arrow.RecordBatch, error) bool) {
			for range 20_000 {
				if !yield(one, nil) {
					return
				}
			}
		}
		read := func(each time.Duration, most int) (batches int, err error) {
			plan, err := PlanHistorical(driftline.HistoricalRequest{}, worldSpine, []Source{source})
			if err != nil {
				return 0, err
			}
			answer, err := db.Historical(t.Context(), plan, driftline.Batches{Schema: worldSpine, All: rows})
			if err != nil {
				return 0, err
			}
			for _, err := range answer.Batches.All {
				if err != nil {
					return batches, err
				}
				time.Sleep(each)
				if batches++; batches == most {
					break
				}
			}
			return batches, nil
		}
		var slow sync.WaitGroup
		for range 2 * sharesOfMemory {
			slow.Go(func() {
				if _, err := read(time.Minute, 20); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(5 * time.Minute)
		began := time.Now()
		if _, err := read(0, 1<<30); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the quick reader waited %s", waited)
		}
		slow.Wait()
	})
}
