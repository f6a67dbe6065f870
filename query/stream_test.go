package query

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// ways are those in which a SELECT runs.
func ways(t *testing.T, opts SQLOptions) map[string]*DB {
	return map[string]*DB{"in this process": openDB(t), "in a worker": openWorkers(t, opts)}
}

// Rows are handed out before a SELECT has come to its end: here to one that it fails at.
func TestTheFirstRowsAreThereEarly(t *testing.T) {
	const sql = "select i, case when i = 19000000 then error('the end') end from range(20000000) t(i)"
	for name, db := range ways(t, SQLOptions{}) {
		t.Run(name, func(t *testing.T) {
			batches, err := db.Select(t.Context(), &Select{text: sql}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			var rows int64
			for batch, err := range batches.All {
				if err == nil {
					rows += batch.NumRows()
					continue
				}
				if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "the end") {
					t.Errorf("after %d rows: %v (%s)", rows, err, driftline.CodeOf(err))
				}
			}
			if rows == 0 || rows > 19_000_000 {
				t.Errorf("%d rows came before the SELECT failed", rows)
			}
		})
	}
}

// The reason of a failure is told, also where DuckDB's threads end each other before they have told it.
func TestAFailureIsToldWhicheverThreadItIsIn(t *testing.T) {
	db := openDB(t)
	for i := range 30 {
		at := 2_000_000 + i*7919
		batches, err := db.Select(t.Context(), &Select{text: fmt.Sprintf("select case when i = %d then error('the end') end from range(2500000) t(i)", at)}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for _, err := range batches.All {
			last = err
		}
		if driftline.CodeOf(last) != driftline.Invalid || !strings.Contains(last.Error(), "the end") {
			t.Fatalf("failing at row %d: %v (%s)", at, last, driftline.CodeOf(last))
		}
	}
}

// What fails before its first row is an error of the call, and no worker is lost to it.
func TestAFailureBeforeTheFirstRow(t *testing.T) {
	db := openWorkers(t, SQLOptions{})
	_, err := db.Select(t.Context(), &Select{text: "select sum(case when i = 3 then error('three') else 1 end) from range(5) t(i)"}, nil, nil)
	if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "three") {
		t.Errorf("%v (%s)", err, driftline.CodeOf(err))
	}
}

// An answer may be larger than the memory of a query: 800 MB of numbers from a process that may
// take 256 MiB.
func TestAnAnswerLargerThanItsMemory(t *testing.T) {
	db := openWorkers(t, SQLOptions{MemoryBytes: 256 << 20})
	batches, err := db.Select(t.Context(), &Select{text: "select i from range(100000000) t(i)"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for batch, err := range batches.All {
		if err != nil {
			t.Fatalf("after %d rows: %v", rows, err)
		}
		rows += batch.NumRows()
	}
	if rows != 100_000_000 {
		t.Errorf("%d rows", rows)
	}
}

// flow is how long so many batches of 2 MiB take from a time on, in the pieces that they are cut into.
func (p *answerPace) flow(from time.Time, batches int) time.Duration {
	now := from
	for range batches {
		piece := p.others.piece(now, p.began)
		for range 2 << 20 / piece {
			now = now.Add(p.rest(now, piece))
		}
	}
	return now.Sub(from).Round(10 * time.Millisecond)
}

// What is small goes at once; of what is large 256 MiB go a second, and a reader who is slower waits
// for nothing.
func TestLargeAnswersArePaced(t *testing.T) {
	now := time.Unix(0, 0)
	p := answerPace{others: newOthers(nil, 2), began: now}
	if took := p.flow(now, unpacedBytes>>21); took != 0 {
		t.Fatalf("the first %d bytes took %s", p.sent, took)
	}
	took := p.flow(now, 10*bytesPerSecond>>21)
	if took != 9990*time.Millisecond {
		t.Errorf("2,560 MiB took %s", took)
	}
	if d := p.rest(now.Add(took+time.Second), 2<<20); d != 0 {
		t.Errorf("a slow reader waits %s more", d)
	}
}

// While somebody else is served, large answers share what goes a second then, in small pieces;
// small ones go at once, and all do when nobody else is.
func TestLargeAnswersGiveWay(t *testing.T) {
	now := time.Unix(1000, 0)
	served := sinceOnline / 2
	all := newOthers(func() time.Duration { return served }, 4) // which are 32 MiB a second
	one, two := answerPace{others: all, began: now}, answerPace{others: all, began: now}
	if piece := all.piece(now, now); piece != givenPieceBytes {
		t.Errorf("pieces have %d bytes", piece)
	}
	if took := one.flow(now, ungivenBytes>>21); took != 0 {
		t.Errorf("a small answer took %s", took)
	}
	if took := one.flow(now, 32); took < 1990*time.Millisecond || took > 2*time.Second {
		t.Errorf("64 MiB took %s", took)
	}
	two.sent = ungivenBytes
	if took := two.flow(now, 16); took < 2990*time.Millisecond || took > 3*time.Second {
		t.Errorf("32 MiB of a second answer took %s, behind the 64 of the first", took)
	}
	served = sinceOnline
	if took := two.flow(now.Add(3*time.Second), 8); took != 0 {
		t.Errorf("with nobody else there, 16 MiB took %s", took)
	}
}

// Others are also SELECTs, but for those that began before the answer: they made it, or are
// large themselves.
func TestLargeAnswersGiveWayToLaterSELECTs(t *testing.T) {
	now := time.Unix(1000, 0)
	all := newOthers(nil, 2)
	all.selects(now)
	for _, c := range []struct {
		began, at time.Duration
		want      bool
	}{
		{0, 0, false},
		{time.Millisecond, 2 * time.Millisecond, false},
		{-time.Millisecond, sinceSelect / 2, true},
		{-time.Millisecond, sinceSelect, false},
	} {
		if got := all.served(now.Add(c.at), now.Add(c.began)); got != c.want {
			t.Errorf("an answer of %s, %s after a SELECT began: %t", c.began, c.at, got)
		}
	}
}

// Who goes away need not wait until the next piece of an answer is due.
func TestAnAnswerThatGivesWayCanBeCancelled(t *testing.T) {
	db := openWorkers(t, SQLOptions{SinceServed: func() time.Duration { return 0 }})
	db.workers.others.perSecond = 1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	batches, err := db.Select(ctx, &Select{text: "select i from range(50000000) t(i)"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	var bytes int64
	for batch, err := range batches.All {
		if last = err; err != nil {
			break
		}
		if bytes += driftline.BatchBytes(batch); bytes > ungivenBytes {
			cancel() // the next rest takes hours
		}
	}
	if driftline.CodeOf(last) != driftline.Unavailable {
		t.Errorf("%v (%s)", last, driftline.CodeOf(last))
	}
}

// A reader may take longer than a query may: the time is the query's own.
func TestTheTimeOfTheReaderIsItsOwn(t *testing.T) {
	const limit = 2 * time.Second
	db := openWorkers(t, SQLOptions{Timeout: limit, ReaderTimeout: time.Minute})
	batches, err := db.Select(t.Context(), &Select{text: "select i, i as j from range(3000000) t(i)"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for batch, err := range batches.All {
		if err != nil {
			t.Fatalf("after %d rows: %v", rows, err)
		}
		if rows == 0 {
			time.Sleep(limit + grace + limit/2)
		}
		rows += batch.NumRows()
	}
	if rows != 3_000_000 {
		t.Errorf("%d rows", rows)
	}
}

// A stream can be cancelled between its batches, and a query that has none yet too.
func TestAStreamCanBeCancelled(t *testing.T) {
	for name, db := range ways(t, SQLOptions{}) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			batches, err := db.Select(ctx, &Select{text: "select i from range(50000000) t(i)"}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			var last error
			for _, err := range batches.All {
				cancel()
				last = err
			}
			if driftline.CodeOf(last) != driftline.Unavailable {
				t.Errorf("%v (%s)", last, driftline.CodeOf(last))
			}
		})
	}
}
