package predictions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
)

func records(from, n int) []driftline.PredictionRecord {
	out := make([]driftline.PredictionRecord, n)
	for i := range out {
		out[i] = driftline.PredictionRecord{ID: fmt.Sprintf("p-%d", from+i), Model: "late", Time: time.Unix(int64(from+i), 0)}
	}
	return out
}

func offer(t *testing.T, r *predictions.Ring, of []driftline.PredictionRecord, overflow driftline.LogOverflow) {
	t.Helper()
	if _, _, err := r.Offer(t.Context(), of, overflow, false); err != nil {
		t.Fatal(err)
	}
}

func ids(of []driftline.PredictionRecord) (out []string) {
	for _, r := range of {
		out = append(out, r.ID)
	}
	return out
}

func checkCounts(t *testing.T, r *predictions.Ring) driftline.LogCounts {
	t.Helper()
	c := r.Counts()
	if c.Served != c.Logged+c.AllDropped()+c.Waiting {
		t.Fatalf("%d served, %d logged + %v dropped + %d waiting", c.Served, c.Logged, c.Dropped, c.Waiting)
	}
	return c
}

// TestOldestGivesWay: a full ring keeps what came last, and what is being written stays.
func TestOldestGivesWay(t *testing.T) {
	r := predictions.NewRing(predictions.Limits{Rows: 10, Bytes: 1 << 20})
	offer(t, r, records(0, 4), driftline.DropOldest)
	flying := r.Take(4, 1<<20, 0)
	offer(t, r, records(4, 20), driftline.DropOldest)
	if c := checkCounts(t, r); c.Served != 24 || c.Waiting != 10 || c.Dropped["full"] != 14 {
		t.Fatalf("%+v", c)
	}
	flying.Logged()
	rest := r.Take(100, 1<<20, 0)
	if want := ids(records(18, 6)); !slices.Equal(ids(rest.Records), want) {
		t.Errorf("kept %v, want %v", ids(rest.Records), want)
	}
	rest.Dropped(predictions.Refused)
	if c := checkCounts(t, r); c.Logged != 4 || c.Dropped["refused"] != 6 || c.Waiting != 0 || c.WaitingBytes != 0 {
		t.Errorf("%+v", c)
	}
	offer(t, r, records(24, 1), driftline.DropOldest)
	all := r.Take(100, 1<<20, 0)
	offer(t, r, []driftline.PredictionRecord{{ID: "huge", Output: make([]byte, 2<<20)}}, driftline.DropOldest)
	all.Logged()
	if c := checkCounts(t, r); c.Logged != 5 || c.Dropped["full"] != 15 {
		t.Errorf("%+v: what is larger than the ring has no place in it", c)
	}
}

// TestBytesBound: a ring is full by its bytes, too.
func TestBytesBound(t *testing.T) {
	one := driftline.PredictionRecord{ID: "x", Output: make([]byte, 1000)}
	size := predictions.Size(&one)
	r := predictions.NewRing(predictions.Limits{Rows: 1000, Bytes: 5 * size})
	for i := range 100 {
		one.Time = time.Unix(int64(i), 0)
		offer(t, r, []driftline.PredictionRecord{one}, driftline.DropOldest)
		if c := checkCounts(t, r); c.WaitingBytes > 5*size {
			t.Fatalf("%+v holds more than %d bytes", c, 5*size)
		}
	}
}

// TestBlockWaits: with block who offers waits until there is room, or no longer wants to.
func TestBlockWaits(t *testing.T) {
	r := predictions.NewRing(predictions.Limits{Rows: 2, Bytes: 1 << 20})
	offer(t, r, records(0, 2), driftline.Block)
	done := make(chan error)
	go func() {
		_, _, err := r.Offer(t.Context(), records(2, 2), driftline.Block, false)
		done <- err
	}()
	r.Take(10, 1<<20, 0).Logged()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _, err := r.Offer(ctx, records(4, 1), driftline.Block, false)
		done <- err
	}()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if c := checkCounts(t, r); c.Logged != 2 || c.Waiting != 2 || c.Dropped["gone"] != 1 {
		t.Errorf("%+v", c)
	}
}

// TestSampleThins: of a burst of many times the ring an even sample is left.
func TestSampleThins(t *testing.T) {
	r := predictions.NewRing(predictions.Limits{Rows: 1000, Bytes: 1 << 30})
	offer(t, r, records(0, 1000), driftline.Sample)
	if c := checkCounts(t, r); c.Waiting != 1000 {
		t.Fatalf("%+v: a ring that has room keeps all", c)
	}
	offer(t, r, records(1000, 9000), driftline.Sample)
	if c := checkCounts(t, r); c.Waiting != 1000 || c.Dropped["sampled"] != 9000 {
		t.Fatalf("%+v", c)
	}
	var tenths [10]int
	for _, kept := range r.Take(1000, 1<<30, 0).Records {
		tenths[kept.Time.Unix()/1000]++
	}
	for i, n := range tenths {
		if n < 50 || n > 150 { // 100 ± 5 standard deviations
			t.Errorf("%d of 1,000 are from tenth %d of the burst", n, i)
		}
	}
}

// TestDuplicates: a record that was offered before is no other one, and whoever waits for it
// waits for the first.
func TestDuplicates(t *testing.T) {
	r := predictions.NewRing(predictions.Limits{Rows: 10, Bytes: 1 << 20})
	offer(t, r, records(0, 3), driftline.DropOldest)
	batch := r.Take(1, 1<<20, 0)
	again := append(records(0, 1), records(5, 1)...)
	fresh, ticket, err := r.Offer(t.Context(), append(again, records(2, 1)...), driftline.DropOldest, true)
	if err != nil || !slices.Equal(ids(fresh), []string{"p-5"}) {
		t.Fatalf("%v are fresh, %v", ids(fresh), err)
	}
	rest := r.Take(10, 1<<20, time.Hour) // somebody waits: it does not linger
	rest.Logged()
	if err := ticket.Wait(canceled()); err == nil {
		t.Fatal("it did not wait for the record that is being written")
	}
	batch.Logged()
	if err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := checkCounts(t, r); c.Served != 4 || c.Logged != 4 || c.Duplicates != 2 {
		t.Errorf("%+v", c)
	}
}

// TestDroppedIsTriedAgain: what was dropped may be offered once more, and is still one.
func TestDroppedIsTriedAgain(t *testing.T) {
	r := predictions.NewRing(predictions.Limits{Rows: 1, Bytes: 1 << 20})
	offer(t, r, records(0, 1), driftline.DropOldest)
	_, ticket, err := r.Offer(t.Context(), records(1, 1), driftline.DropOldest, true)
	if err != nil {
		t.Fatal(err)
	}
	offer(t, r, records(2, 1), driftline.DropOldest)
	if err := ticket.Wait(t.Context()); driftline.CodeOf(err) != driftline.Exhausted {
		t.Errorf("%v, want Exhausted", err)
	}
	r.Take(1, 1<<20, 0).Logged()
	fresh, ticket, err := r.Offer(t.Context(), records(1, 1), driftline.DropOldest, true)
	if err != nil || len(fresh) != 0 {
		t.Fatalf("%v, %v: it was observed before", fresh, err)
	}
	r.Take(1, 1<<20, 0).Logged()
	if err := ticket.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if c := checkCounts(t, r); c.Served != 3 || c.Logged != 2 || c.Dropped["full"] != 1 {
		t.Errorf("%+v", c)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestRandomHistories: whatever writers, overflow and luck do, each record is in one place.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		overflow := driftline.LogOverflows[random.IntN(3)]
		r := predictions.NewRing(predictions.Limits{Rows: 1 + random.IntN(50), Bytes: 40_000})
		var logged []string
		var taker, writers sync.WaitGroup
		taker.Go(func() {
			fate := rand.New(rand.NewPCG(seed, 8))
			for {
				b := r.Take(1+fate.IntN(20), 10_000, 0)
				if b == nil {
					return
				}
				if fate.IntN(4) == 0 {
					b.Dropped(predictions.Refused)
					continue
				}
				logged = append(logged, ids(b.Records)...)
				b.Logged()
			}
		})
		const each = 200
		for w := range 4 {
			writers.Go(func() {
				luck := rand.New(rand.NewPCG(seed, uint64(w)))
				for i := 0; i < each; {
					n := min(1+luck.IntN(9), each-i)
					if _, _, err := r.Offer(t.Context(), records(w*each+i, n), overflow, false); err != nil {
						t.Error(err)
					}
					i += n
				}
			})
		}
		writers.Wait()
		r.Close()
		taker.Wait()
		c := checkCounts(t, r)
		slices.Sort(logged)
		if c.Served != 4*each || c.Waiting != 0 || int(c.Logged) != len(slices.Compact(logged)) || overflow == driftline.Block && c.Dropped["full"] > 0 {
			t.Fatalf("seed %d, %s: %+v, %d written", seed, overflow, c, len(logged))
		}
		if _, _, err := r.Offer(t.Context(), records(0, 1), overflow, false); driftline.CodeOf(err) != driftline.Unavailable {
			t.Errorf("a closed ring says %v", err)
		}
	}
}
