package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// bench is one run of one suite: where it works, and what it found so far.
type bench struct {
	root    string // of the module
	dir     string // the suite's own folder, removed at its end
	results string // the folder where they are kept
	quick   bool
	out     io.Writer
	machine machine
	part    string // that runs now
	rows    []row
	binary  string  // built by the first startServer, unless it is given
	server  *server // that parts share; see shared
	started int     // servers of peers, for the names of their folders

	trackers map[string]*tracker // MLflow's servers that parts share, by their store
}

// pick returns quick if the run is quick, else full.
func pick[T any](b *bench, quick, full T) T {
	if b.quick {
		return quick
	}
	return full
}

func (b *bench) pairs() int { return pick(b, 1, 5) }

// progress tells what takes long, and is no result.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.out, "  %s  %s\n", time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// workload is what both sides do.
type workload struct {
	name  string
	unit  string   // of measured.value; more is better if it ends in "/s"
	goal  *float64 // the ratio that an issue asks for
	pairs int      // at most so many; 0 is as many as other workloads have

	// same compares the answers; nil means that they must be equal in every bit.
	same func(ours, theirs answer) error

	// uncompared: both sides are ours and have different answers, each of which is
	// compared with a peer elsewhere.
	uncompared bool
}

// atLeast is the goal of a workload whose ratio should reach this.
func atLeast(ratio float64) *float64 { return &ratio }

// atMost is the goal of a workload that may take so many times what its peer takes.
func atMost(times float64) *float64 { return atLeast(1 / times) }

// side is one of the two.
type side struct {
	name string

	// run does the work once. The answer is wanted only if check is set, and
	// summing it up is not part of the measured time.
	run func(ctx context.Context, check bool) (measured, error)
}

// measured is the outcome of one run.
type measured struct {
	value  float64 // in the workload's unit
	answer answer
}

// row is one line of the results.
type row struct {
	Workload   string   `json:"workload"`
	Peer       string   `json:"peer"`
	Unit       string   `json:"unit"`
	Ours       *float64 `json:"ours"` // medians; null if the answers differ
	Theirs     *float64 `json:"theirs"`
	Ratio      *float64 `json:"ratio"` // median over the pairs; above 1 means ours is better
	Goal       *float64 `json:"goal"`  // the ratio that an issue asks for, null if none does
	SameAnswer bool     `json:"same_answer"`
	Pairs      int      `json:"pairs"`

	// Uncompared: theirs is no peer, but other work of ours, or a limit. It has no answer
	// that could be the same.
	Uncompared bool `json:"uncompared,omitempty"`

	// Unfinished says how the peer failed to end. Theirs and Ratio are then the least
	// that they can be, or null.
	Unfinished string `json:"unfinished,omitempty"`

	// Where the row is from: results of one suite may be of several runs.
	Part      string    `json:"part"`
	Driftline string    `json:"driftline"` // git describe
	Measured  time.Time `json:"measured"`
	Load      string    `json:"load"`
}

// missed tells whether a row is a debt: below its goal or, beside a peer without one, below 1.
func (r row) missed() bool {
	switch {
	case r.Ratio == nil || r.Unfinished != "":
		return false
	case r.Goal != nil:
		return *r.Ratio < *r.Goal
	}
	return *r.Ratio < 1 && !r.Uncompared
}

// compare checks that both sides give the same answer, measures them in pairs, and
// prints and keeps the outcome.
func (b *bench) compare(ctx context.Context, w workload, ours, theirs side) error {
	first, err := checkAnswers(ctx, w, ours, theirs)
	if differ := (*answersDiffer)(nil); errors.As(err, &differ) {
		b.keep(row{Workload: w.name, Peer: theirs.name, Unit: w.unit, Goal: w.goal})
		fmt.Fprintf(b.out, "  %v\n", err)
		return nil // the suite goes on and fails at its end
	}
	if gaveUp := (*unfinished)(nil); errors.As(err, &gaveUp) {
		return b.compareUnfinished(ctx, w, ours, theirs.name, gaveUp)
	}
	if err != nil {
		return err
	}
	var oursValues, theirsValues []float64
	for range b.pairsOf(w, first) {
		a, err := ours.run(ctx, false)
		if err != nil {
			return fmt.Errorf("%s, ours: %w", w.name, err)
		}
		t, err := theirs.run(ctx, false)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", w.name, theirs.name, err)
		}
		oursValues, theirsValues = append(oursValues, a.value), append(theirsValues, t.value)
	}
	b.keep(summarize(w, theirs.name, oursValues, theirsValues))
	return nil
}

// slowPeer is the time from which on one pair has to do.
const slowPeer = 60 // seconds

// pairsOf is how many pairs are measured, given what the peer took at first.
func (b *bench) pairsOf(w workload, first measured) int {
	pairs := b.pairs()
	if w.pairs > 0 {
		pairs = min(pairs, w.pairs)
	}
	if w.unit == "s" && first.value >= slowPeer {
		pairs = 1
	}
	return pairs
}

// compareUnfinished measures ours alone, beside a peer that was ended before it had an answer.
func (b *bench) compareUnfinished(ctx context.Context, w workload, ours side, peer string, gaveUp *unfinished) error {
	var values, least []float64
	for range b.pairsOf(w, measured{}) {
		a, err := ours.run(ctx, false)
		if err != nil {
			return fmt.Errorf("%s, ours: %w", w.name, err)
		}
		values, least = append(values, a.value), append(least, gaveUp.after.Seconds())
	}
	r := summarize(w, peer, values, least)
	r.Unfinished, r.SameAnswer = gaveUp.reason, false
	b.keep(r)
	return nil
}

// within measures one side alone, and keeps how that compares with a limit.
func (b *bench) within(ctx context.Context, w workload, ours side, limit float64) error {
	var values []float64
	for range b.pairsOf(w, measured{}) {
		a, err := ours.run(ctx, false)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		values = append(values, a.value)
	}
	b.keepLimit(w, values, limit)
	return nil
}

// keepLimit keeps how what was measured compares with a limit.
func (b *bench) keepLimit(w workload, values []float64, limit float64) {
	word := "at most "
	if moreIsBetter(w.unit) {
		word = "at least "
	}
	w.goal = atLeast(1)
	w.uncompared = true
	b.keep(summarize(w, word+figure(&limit)+" "+w.unit, values, slices.Repeat([]float64{limit}, len(values))))
}

// skip prints that a peer was not measured. A skip is not in the results.
func (b *bench) skip(w workload, peer, reason string) {
	fmt.Fprintf(b.out, "%-*s %-*s skipped: %s\n", nameWidth, w.name, nameWidth, peer, reason)
}

func (b *bench) keep(r row) {
	r.Part, r.Driftline, r.Load, r.Measured = b.part, b.machine.Driftline, machineLoad(), time.Now().UTC().Truncate(time.Second)
	b.rows = append(b.rows, r)
	fmt.Fprintln(b.out, tableLine(r))
}

// failure tells which answers differed.
func (b *bench) failure() error {
	var wrong []string
	for _, r := range b.rows {
		if !r.SameAnswer && r.Unfinished == "" {
			wrong = append(wrong, r.Workload+" against "+r.Peer)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the answers differ: %s", strings.Join(wrong, "; "))
}

// answersDiffer is a failed comparison, as opposed to a run that failed.
type answersDiffer struct{ reason error }

func (e *answersDiffer) Error() string { return "the answers differ: " + e.reason.Error() }

// checkAnswers returns what the peer measured beside its answer.
func checkAnswers(ctx context.Context, w workload, ours, theirs side) (measured, error) {
	a, err := ours.run(ctx, true)
	if err != nil {
		return measured{}, fmt.Errorf("%s, ours: %w", w.name, err)
	}
	t, err := theirs.run(ctx, true)
	if err != nil {
		return measured{}, fmt.Errorf("%s, %s: %w", w.name, theirs.name, err)
	}
	if w.uncompared {
		return t, nil
	}
	same := w.same
	if same == nil {
		same = sameBits
	}
	if err := same(a.answer, t.answer); err != nil {
		return t, &answersDiffer{err}
	}
	return t, nil
}

// summarize makes the row of a workload from the values of its pairs.
func summarize(w workload, peer string, ours, theirs []float64) row {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = theirs[i] / ours[i]
		if moreIsBetter(w.unit) {
			ratios[i] = ours[i] / theirs[i]
		}
	}
	a, t, ratio := median(ours), median(theirs), median(ratios)
	return row{Workload: w.name, Peer: peer, Unit: w.unit, Ours: &a, Theirs: &t, Ratio: &ratio, Goal: w.goal,
		SameAnswer: true, Uncompared: w.uncompared, Pairs: len(ours)}
}

func moreIsBetter(unit string) bool { return strings.HasSuffix(unit, "/s") }

// median of an even number of values is the mean of the middle two; of none, NaN.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
