package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRatioIsTheMedianOverPairs(t *testing.T) {
	for _, c := range []struct {
		name         string
		unit         string
		ours, theirs []float64
		want         float64
	}{
		{"half the time is twice as good", "s", []float64{1}, []float64{2}, 2},
		{"half the rows per second is half as good", "rows/s", []float64{1}, []float64{2}, 0.5},
		{"a slow minute hits both of a pair", "s", []float64{1, 10, 1}, []float64{2, 20, 2}, 2},
		{"one bad pair does not count", "s", []float64{1, 1, 100}, []float64{2, 2, 2}, 2},
		{"an even number has two in the middle", "s", []float64{1, 1}, []float64{1, 3}, 2},
		{"of the ratios, not of the times", "s", []float64{1, 2, 4}, []float64{4, 2, 2}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := *summarize(workload{unit: c.unit}, "peer", c.ours, c.theirs).Ratio; got != c.want {
				t.Errorf("ratio %v, want %v", got, c.want)
			}
		})
	}
}

func TestMedianLeavesItsArgumentAlone(t *testing.T) {
	values := []float64{3, 1, 2}
	if got := median(values); got != 2 || !slices.Equal(values, []float64{3, 1, 2}) {
		t.Errorf("median %v of %v, want 2", got, values)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of none is %v, want NaN", got)
	}
}

// fixedSide answers with rows and takes the given times in order, the last one for ever.
func fixedSide(name string, rows int64, times ...float64) side {
	return side{name: name, run: func(context.Context, bool) (measured, error) {
		value := times[0]
		if len(times) > 1 {
			times = times[1:]
		}
		return measured{value: value, answer: answer{Rows: rows}}, nil
	}}
}

func TestComparePrintsAndKeepsARow(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out, quick: true}
	if err := b.compare(t.Context(), workload{name: "join", unit: "s"}, fixedSide("Driftline", 5, 1), fixedSide("snail", 5, 3)); err != nil {
		t.Fatal(err)
	}
	if len(b.rows) != 1 || *b.rows[0].Ratio != 3 || !b.rows[0].SameAnswer || b.failure() != nil {
		t.Errorf("rows %+v, failure %v", b.rows, b.failure())
	}
	want := strings.Fields("join snail s 1.00 3.00 3.00 - yes")
	if got := strings.Fields(out.String()); !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestTheFirstRunsAreNotTimed(t *testing.T) {
	b := &bench{out: new(strings.Builder), quick: true}
	err := b.compare(t.Context(), workload{unit: "s"}, fixedSide("Driftline", 5, 1000, 1), fixedSide("peer", 5, 9, 2))
	if err != nil || *b.rows[0].Ours != 1 || *b.rows[0].Theirs != 2 {
		t.Errorf("rows %+v, error %v", b.rows, err)
	}
}

func TestAPeerThatDoesNotEndLeavesTheLeastRatio(t *testing.T) {
	endless := side{name: "endless", run: func(context.Context, bool) (measured, error) {
		return measured{}, &unfinished{after: 300 * time.Second, reason: "no end within 300 s"}
	}}
	b := &bench{out: new(strings.Builder)}
	if err := b.compare(t.Context(), workload{unit: "s"}, fixedSide("Driftline", 5, 9, 2), endless); err != nil {
		t.Fatal(err)
	}
	if r := b.rows[0]; *r.Ratio != 150 || r.Unfinished == "" || r.SameAnswer || r.missed() || b.failure() != nil {
		t.Errorf("row %+v, failure %v", r, b.failure())
	}
}

func TestASlowPeerIsMeasuredOnce(t *testing.T) {
	for seconds, want := range map[float64]int{59: 5, 61: 1} {
		b := &bench{out: new(strings.Builder)}
		if err := b.compare(t.Context(), workload{unit: "s"}, fixedSide("Driftline", 5, 1), fixedSide("snail", 5, seconds)); err != nil {
			t.Fatal(err)
		}
		if got := b.rows[0].Pairs; got != want {
			t.Errorf("%d pairs with a peer of %.0f s, want %d", got, seconds, want)
		}
	}
}

func TestALimitIsARatioOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		unit   string
		ours   float64
		limit  float64
		ratio  float64
		peer   string
		missed bool
	}{
		{"s", 2, 3, 1.5, "at most 3.00 s", false},
		{"MB", 4, 2, 0.5, "at most 2.00 MB", true},
		{"rows/s", 30, 20, 1.5, "at least 20.0 rows/s", false},
	} {
		b := &bench{out: new(strings.Builder)}
		if err := b.within(t.Context(), workload{unit: c.unit}, fixedSide("Driftline", 5, c.ours), c.limit); err != nil {
			t.Fatal(err)
		}
		if r := b.rows[0]; *r.Ratio != c.ratio || r.Peer != c.peer || r.missed() != c.missed || b.failure() != nil {
			t.Errorf("row %+v of %s", r, c.unit)
		}
	}
}

func TestAnswersThatDifferFailTheSuiteAndAreNotTimed(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out}
	if err := b.compare(t.Context(), workload{name: "join", unit: "s"}, fixedSide("Driftline", 5, 1), fixedSide("liar", 6, 3)); err != nil {
		t.Fatalf("the suite should go on: %v", err)
	}
	if len(b.rows) != 1 || b.rows[0].SameAnswer || b.rows[0].Ratio != nil {
		t.Errorf("rows %+v", b.rows)
	}
	if err := b.failure(); err == nil || !strings.Contains(err.Error(), "join against liar") {
		t.Errorf("failure is %v", err)
	}
	if !strings.Contains(out.String(), "5 rows, the peer has 6") {
		t.Errorf("printed %s", out.String())
	}
}

func TestARunThatFailsEndsTheSuite(t *testing.T) {
	broken := errors.New("out of order")
	failing := side{name: "peer", run: func(context.Context, bool) (measured, error) { return measured{}, broken }}
	b := &bench{out: new(strings.Builder)}
	err := b.compare(t.Context(), workload{name: "join"}, fixedSide("Driftline", 5, 1), failing)
	if !errors.Is(err, broken) || len(b.rows) != 0 {
		t.Errorf("error is %v, rows %+v", err, b.rows)
	}
}

func TestASkipIsNoResult(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out}
	b.skip(workload{name: "join"}, "peer", "not installed")
	if len(b.rows) != 0 || !strings.Contains(out.String(), "skipped: not installed") {
		t.Errorf("rows %v, printed %s", b.rows, out.String())
	}
}
