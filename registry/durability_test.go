package registry

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

func begun(t *testing.T) *Registry {
	t.Helper()
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r, err := Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A transaction is held between its place in the log and its fsync, by hand.
func TestReadersSeeNothingBeforeTheFsync(t *testing.T) {
	r := begun(t)
	first := r.Begin()
	if _, err := first.createRun(runCreated{RunSpec: driftline.RunSpec{Experiment: "e"}}); err != nil {
		t.Fatal(err)
	}
	firstNumber, waitFirst, err := first.start()
	if err != nil {
		t.Fatal(err)
	}
	second := r.Begin() // may begin: the lock is not held while the disk is waited for
	id, err := second.createRun(runCreated{RunSpec: driftline.RunSpec{Experiment: "e"}})
	if err != nil || id != "e-2" {
		t.Fatalf("the second writer made %q, %v: it must see the first writer's run", id, err)
	}
	secondNumber, waitSecond, err := second.start()
	if err != nil {
		t.Fatal(err)
	}
	if page, _ := r.Runs("", "", 0); len(page.Runs) != 0 {
		t.Errorf("%d runs are visible before they are durable", len(page.Runs))
	}
	for line, err := range r.Lines(1) {
		t.Errorf("line %v, %v is visible before it is durable", line, err)
	}
	turn, visible := make(chan bool), make(chan int)
	go func() { // says "it is so already", which rests on the two before
		if err := r.write(func(*Tx) error { turn <- true; return nil }); err != nil {
			t.Error(err)
		}
		page, _ := r.Runs("", "", 0)
		visible <- len(page.Runs)
	}()
	<-turn
	if err := waitSecond(); err != nil {
		t.Fatal(err)
	}
	if err := r.publish(secondNumber); err != nil { // the second's fsync was the first's too
		t.Fatal(err)
	}
	if page, _ := r.Runs("", "", 0); len(page.Runs) != 2 {
		t.Errorf("%d runs are visible, want both", len(page.Runs))
	}
	if n := <-visible; n != 2 {
		t.Errorf("an answer was given when %d of the runs that it rests on were durable, want 2", n)
	}
	if err := waitFirst(); err != nil {
		t.Fatal(err)
	}
	if err := r.publish(firstNumber); err != nil {
		t.Fatal(err)
	}
	if page, _ := r.Runs("", "", 0); len(page.Runs) != 2 {
		t.Errorf("publishing twice shows %d runs", len(page.Runs))
	}
	first.batch.Close()
	second.batch.Close()
}

func TestAFailedFsyncEndsWriting(t *testing.T) {
	r := begun(t)
	if _, err := r.CreateRun(driftline.RunSpec{Experiment: "e"}); err != nil {
		t.Fatal(err)
	}
	lost := r.Begin()
	if _, err := lost.createRun(runCreated{RunSpec: driftline.RunSpec{Experiment: "e"}}); err != nil {
		t.Fatal(err)
	}
	_, wait, err := lost.start()
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- r.write(func(*Tx) error { return nil }) }()
	if err := wait(); err != nil { // the kv part went well; the rest plays that it did not
		t.Fatal(err)
	}
	lost.batch.Close()
	if err := r.fail(errors.New("input/output error")); driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("the failed commit gives %v", err)
	}
	if err := <-waiting; driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("the writer that waited got %v", err)
	}
	if _, err := r.CreateRun(driftline.RunSpec{Experiment: "e"}); driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("a later write got %v", err)
	}
	if page, err := r.Runs("", "", 0); err != nil || len(page.Runs) != 1 || page.Runs[0].ID != "e-1" {
		t.Errorf("readers see %v, %v, want e-1 alone", page.Runs, err)
	}
}

// Whatever bytes the disk gives back: no panic, and what is accepted is exactly
// what the ledger would have written.
func FuzzDecodeLine(f *testing.F) {
	line := Line{Sequence: 1, Kind: "note.made", Ref: driftline.ViewRef("weather"), Inputs: []driftline.Ref{driftline.EntityRef("airport")}, Body: []byte(`{"a":"<é>"}`)}
	stored, err := encodeLine(&line)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add(appendChain([]byte(`{"seq":1`), Hash{}, hashLine(Hash{}, []byte(`{"seq":1`))))
	f.Fuzz(func(t *testing.T, stored []byte) {
		line, err := decodeLine(stored, 1, Hash{})
		if err != nil {
			if driftline.CodeOf(err) != driftline.DataLoss {
				t.Errorf("error is %v, want DataLoss", err)
			}
			return
		}
		content := stored[:len(stored)-chainBytes]
		if line.Hash != hashLine(Hash{}, content) || string(stored) != string(appendChain(content[:len(content):len(content)], Hash{}, line.Hash)) {
			t.Errorf("accepted %q", stored)
		}
	})
}

func FuzzTakePlace(f *testing.F) {
	f.Add(pointPlace(&driftline.Metric{Step: -3, Value: 0.5}, time.Unix(1, 0)).append(nil))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		p, err := takePlace("loss", stored)
		if err != nil {
			if driftline.CodeOf(err) != driftline.DataLoss {
				t.Errorf("error is %v, want DataLoss", err)
			}
			return
		}
		if again := p.append(nil); string(again) != string(stored[:placeBytes]) {
			t.Errorf("%x reads as %v, which is %x", stored, p, again)
		}
	})
}

// Whatever is stored, a block is read or found damaged; what is read is written alike.
func FuzzReadBlock(f *testing.F) {
	f.Add(appendBlock(nil, []point{{place: place{1, 2, 3}}, {place: place{1, 5, 0}}, {place: place{-4, 5, 1 << 63}}}))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		places, err := readBlock("loss", stored)
		if err != nil {
			if driftline.CodeOf(err) != driftline.DataLoss {
				t.Errorf("error is %v, want DataLoss", err)
			}
			return
		}
		points := make([]point, len(places))
		for i, p := range places {
			points[i].place = p
		}
		again, err := readBlock("loss", appendBlock(nil, points))
		if err != nil || !slices.Equal(again, places) {
			t.Errorf("%x reads as %v, and again as %v, %v", stored, places, again, err)
		}
	})
}
