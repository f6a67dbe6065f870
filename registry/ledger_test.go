package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

func TestDiscardLeavesNoTrace(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	before := r.Newest()
	tx := r.Begin()
	tx.Batch().Set([]byte("kept?"), []byte("no"))
	for range 3 {
		if _, err := tx.AddDataset(driftline.Dataset{Name: "late"}); err != nil {
			t.Fatal(err)
		}
	}
	tx.Discard()
	tx.Discard()
	if err := tx.Commit(); driftline.CodeOf(err) != driftline.Internal {
		t.Errorf("Commit after Discard: %v", err)
	}
	added, err := r.AddDataset(driftline.Dataset{Name: "late"})
	if err != nil || added.Version != 1 {
		t.Errorf("after the discard: %+v, %v, want version 1", added, err)
	}
	if value, _ := db.Get([]byte("kept?")); value != nil {
		t.Error("the discarded batch was written")
	}
	if r.Newest().Sequence != before.Sequence+1 {
		t.Errorf("ledger went from %d to %d", before.Sequence, r.Newest().Sequence)
	}
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
}

func TestBatchIsAtomicWithLines(t *testing.T) {
	r, db := openWithKeys(t)
	batch := db.NewBatch()
	batch.Set([]byte("row"), []byte("1"))
	tx := r.BeginWith(batch)
	defer tx.Discard()
	tx.Batch().Set([]byte("row2"), []byte("2"))
	if _, err := tx.Append(registry.Line{Kind: "note.made", Ref: ref(t, "view/x"), Body: json.RawMessage(`{ "a":1 }`)}); err != nil {
		t.Fatal(err)
	}
	if r.Newest().Sequence != 0 {
		t.Error("the line is visible before its commit")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"row": "1", "row2": "2"} {
		if value, err := db.Get([]byte(key)); err != nil || string(value) != want {
			t.Errorf("%s = %q, %v", key, value, err)
		}
	}
	for line, err := range r.Lines(0) {
		if err != nil || line.Kind != "note.made" || string(line.Body) != `{"a":1}` {
			t.Errorf("line %+v, %v", line, err)
		}
	}
}

func TestAppendRefusesWhatItCannotKeep(t *testing.T) {
	r := open(t)
	tx := r.Begin()
	defer tx.Discard()
	for name, line := range map[string]registry.Line{
		"body is not JSON":       {Kind: "note.made", Body: json.RawMessage(`{`)},
		"body of another kind":   {Kind: registry.RunCreated, Ref: ref(t, "run/a-1"), Body: json.RawMessage(`[1]`)},
		"ref is not UTF-8":       {Kind: "note.made", Ref: driftline.RunRef("\xff")},
		"log of a run not there": {Kind: registry.RunLogged, Ref: ref(t, "run/a-1"), Body: json.RawMessage(`{}`)},
	} {
		if _, err := tx.Append(line); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if r.Newest().Sequence != 0 {
		t.Error("something was written")
	}
}

func TestLinesContinueFromTheMiddle(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	newest := r.Newest().Sequence
	for from := uint64(0); from <= newest+1; from++ {
		next := max(from, 1)
		for line, err := range r.Lines(from) {
			if err != nil || line.Sequence != next {
				t.Fatalf("from %d: line %d, %v, want line %d", from, line.Sequence, err, next)
			}
			next++
		}
		if next != max(newest+1, from) {
			t.Errorf("from %d: ended before %d, want %d", from, next, newest+1)
		}
	}
}

func TestEveryChangedByteIsFound(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Params: map[string]string{"a": "<&>"}}))
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	sequence := r.Newest().Sequence - 1
	key := kv.AppendUint64([]byte{kv.Ledger}, sequence)
	stored, err := db.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	named := fmt.Sprintf("ledger line %d is damaged", sequence)
	for i := range stored {
		damaged := bytes.Clone(stored)
		damaged[i] ^= 0x20 // also turns letters to the other case, which JSON may not mind
		set(t, db, key, damaged)
		wantError(t, r.Verify(), driftline.DataLoss, named)
	}
	_, err = registry.Open(db, nil)
	wantError(t, err, driftline.DataLoss, named)
	set(t, db, key, stored[:10])
	wantError(t, r.Verify(), driftline.DataLoss, named)
	set(t, db, key, stored)
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []uint64{sequence, sequence + 1} {
		key := kv.AppendUint64([]byte{kv.Ledger}, lost)
		line, err := db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, db, key)
		wantError(t, r.Verify(), driftline.DataLoss, "ledger line "+strconv.FormatUint(lost, 10))
		set(t, db, key, line)
	}
}

func set(t *testing.T, db *kv.DB, key, value []byte) {
	t.Helper()
	change(t, db, func(b *kv.Batch) { b.Set(key, value) })
}

func remove(t *testing.T, db *kv.DB, key []byte) {
	t.Helper()
	change(t, db, func(b *kv.Batch) { b.Delete(key) })
}

func change(t *testing.T, db *kv.DB, f func(*kv.Batch)) {
	t.Helper()
	b := db.NewBatch()
	defer b.Close()
	f(b)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestTimeNeverGoesBackwards(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	clock := noon
	r, err := registry.Open(db, &registry.Options{Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	for _, move := range []time.Duration{0, -time.Hour, 2*time.Hour + 1} {
		clock = clock.Add(move)
		must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	}
	var times []string
	for line, err := range r.Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, line.Time.Format(time.RFC3339Nano))
	}
	if want := []string{"2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"}; !slices.Equal(times, want) {
		t.Errorf("times are %v, want %v", times, want)
	}
}

// Writers of all kinds at once, with readers that must only ever see whole transactions.
func TestConcurrentWritersKeepOneOrder(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	const writers, each = 8, 20
	stop := make(chan struct{})
	var readers, group sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			page, err := r.Runs("", "", 0)
			if err != nil {
				t.Error(err)
				return
			}
			for _, run := range page.Runs {
				if len(run.Params) != 1 {
					t.Errorf("run %s is seen with params %v", run.ID, run.Params)
					return
				}
			}
			_, _ = r.Lineage(driftline.ViewRef("weather"), driftline.Down, 0)
			if err := r.Verify(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for w := range writers {
		group.Go(func() {
			for i := range each {
				run, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Params: map[string]string{"w": strconv.Itoa(w)}})
				if err != nil {
					t.Error(err)
					return
				}
				log := driftline.RunLog{Metrics: []driftline.Metric{{Key: "m", Value: driftline.Number(i), Step: int64(i)}}}
				if logged, err := r.LogRun(run.ID, log); err != nil || logged.Metrics["m"] != driftline.Number(i) {
					t.Errorf("after the ack the run has %v, %v", logged, err)
				}
				if i%3 == 0 {
					ended, err := r.FinishRun(run.ID, driftline.RunFinished)
					if err != nil || ended.Status != driftline.RunFinished {
						t.Errorf("after the ack the run is %v, %v", ended, err)
					}
				}
			}
		})
	}
	group.Wait()
	close(stop)
	readers.Wait()
	page, err := r.Runs("e", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Runs) != writers*each {
		t.Errorf("%d runs, want %d", len(page.Runs), writers*each)
	}
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
	if again, _ := reopen(t, db).Runs("e", "", 0); fmt.Sprint(again) != fmt.Sprint(page) {
		t.Error("the reopened ledger tells another story")
	}
}

func TestFailedCommitsStopWritesAndKeepReads(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.Apply(flights()))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = r.CreateRun(driftline.RunSpec{Experiment: "e"})
		wantError(t, err, driftline.Unavailable)
	}
	if _, err := r.View("weather"); err != nil {
		t.Errorf("reads of what was durable: %v", err)
	}
}

func BenchmarkCreateRun(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db, err := kv.Open(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			r, err := registry.Open(db, nil)
			if err != nil {
				b.Fatal(err)
			}
			spec := driftline.RunSpec{Experiment: "e", Params: map[string]string{"lr": "0.1", "depth": "3"}}
			b.SetParallelism(writers) // times GOMAXPROCS
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := r.CreateRun(spec); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
