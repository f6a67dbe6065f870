package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// bench is one run of one suite: where it works, and what it found so far.
type bench struct {
	root    string // of the module
	dir     string // the suite's own folder, removed at its end
	quick   bool
	out     io.Writer
	machine machine
	rows    []row
	binary  string // built by the first startServer
}

// pick returns quick if the run is quick, else full.
func pick[T any](b *bench, quick, full T) T {
	if b.quick {
		return quick
	}
	return full
}

func (b *bench) pairs() int { return pick(b, 3, 5) }

// workload is what both sides do.
type workload struct {
	name string
	unit string // of measured.value; more is better if it ends in "/s"
	goal *float64

	// same compares the answers; nil means that they must be equal in every bit.
	same func(ours, theirs answer) error
}

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
}

// compare checks that both sides give the same answer, measures them in pairs, and
// prints and keeps the outcome.
func (b *bench) compare(ctx context.Context, w workload, ours, theirs side) error {
	if err := checkAnswers(ctx, w, ours, theirs); err != nil {
		var differ *answersDiffer
		if errors.As(err, &differ) {
			b.keep(row{Workload: w.name, Peer: theirs.name, Unit: w.unit, Goal: w.goal})
			fmt.Fprintf(b.out, "  %v\n", err)
			return nil // the suite goes on and fails at its end
		}
		return err
	}
	var oursValues, theirsValues []float64
	for range b.pairs() {
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

// skip prints that a peer was not measured. A skip is not in the results.
func (b *bench) skip(w workload, peer, reason string) {
	fmt.Fprintf(b.out, "%-34s %-34s skipped: %s\n", w.name, peer, reason)
}

func (b *bench) keep(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprintln(b.out, tableLine(r))
}

// failure tells which answers differed.
func (b *bench) failure() error {
	var wrong []string
	for _, r := range b.rows {
		if !r.SameAnswer {
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

func checkAnswers(ctx context.Context, w workload, ours, theirs side) error {
	a, err := ours.run(ctx, true)
	if err != nil {
		return fmt.Errorf("%s, ours: %w", w.name, err)
	}
	t, err := theirs.run(ctx, true)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", w.name, theirs.name, err)
	}
	same := w.same
	if same == nil {
		same = sameBits
	}
	if err := same(a.answer, t.answer); err != nil {
		return &answersDiffer{err}
	}
	return nil
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
	return row{Workload: w.name, Peer: peer, Unit: w.unit, Ours: &a, Theirs: &t, Ratio: &ratio, Goal: w.goal, SameAnswer: true}
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
