package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/driftline/driftline/drift/detect"
)

var conceptParts = []part{
	{name: "alarms", does: "the same alarms as River's detectors, and the time of a value", run: conceptAlarms},
	{name: "delay", does: "false alarms and delay of all detectors on generated streams", run: conceptDelays},
	{name: "quiet", does: "false alarms of the default on errors without change, over ten seeds", big: true, run: conceptQuiet},
}

// riverKinds are the kinds of detectors that River has too.
var riverKinds = []string{"adwin", "ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley"}

// conceptAlarms gives the same errors to our detectors and to River's. The rate of errors
// changes every 5,000 values.
func conceptAlarms(ctx context.Context, b *bench) error {
	s := detect.Stream{Concepts: slices.Repeat([]detect.Concept{detect.Bernoulli(0.1), detect.Bernoulli(0.3)}, pick(b, 2, 20)), Length: 5000}
	values := s.Values(1)
	file := filepath.Join(b.dir, "errors.f64")
	if err := writeFloats(file, values); err != nil {
		return err
	}
	for _, kind := range riverKinds {
		config := struct {
			Kind   string `json:"kind"`
			Values string `json:"values"`
		}{kind, file}
		w := workload{name: fmt.Sprintf("%s, %s errors, a value", kind, count(len(values))), unit: "ns"}
		if err := b.comparePeer(ctx, w, detectorSide(kind, values), peerSpec{name: "River", module: "concept_river", config: config}); err != nil {
			return err
		}
	}
	w := workload{name: fmt.Sprintf("%s, %s errors, a value", detect.Default, count(len(values))), unit: "ns"}
	return b.within(ctx, w, detectorSide(detect.Default, values), 100)
}

// detectorSide answers with the indices of the alarms.
func detectorSide(kind string, values []float64) side {
	return side{name: "Driftline", run: func(context.Context, bool) (measured, error) {
		d, err := detect.New(kind, nil)
		if err != nil {
			return measured{}, err
		}
		var alarms []exactReal
		start := time.Now()
		for i, x := range values {
			if d.Update(x) == detect.Change {
				alarms = append(alarms, exactReal(i))
			}
		}
		elapsed := time.Since(start)
		return measured{value: float64(elapsed.Nanoseconds()) / float64(len(values)), answer: answer{Numbers: alarms}}, nil
	}}
}

// conceptChanges are the streams of the gate: errors of a model at one rate and then at
// another, or of one that has learned what a generator draws, which then draws something
// else, at once or over 1,000 values.
var conceptChanges = []detect.Stream{
	changed("errors 0.2 to 0.25", detect.Bernoulli(0.2), detect.Bernoulli(0.25)),
	changed("errors 0.2 to 0.3", detect.Bernoulli(0.2), detect.Bernoulli(0.3)),
	changed("errors 0.2 to 0.4", detect.Bernoulli(0.2), detect.Bernoulli(0.4)),
	changed("errors 0.2 to 0.8", detect.Bernoulli(0.2), detect.Bernoulli(0.8)),
	changed("errors 0.05 to 0.1", detect.Bernoulli(0.05), detect.Bernoulli(0.1)),
	changed("SEA 8 to 9", detect.SEA(8, 8, 0.1), detect.SEA(8, 9, 0.1)),
	changed("SEA 9 to 7", detect.SEA(9, 9, 0.1), detect.SEA(9, 7, 0.1)),
	changed("SEA 7 to 9.5", detect.SEA(7, 7, 0.1), detect.SEA(7, 9.5, 0.1)),
	slowly("SEA 8 to 9, over 1,000", detect.SEA(8, 8, 0.1), detect.SEA(8, 9, 0.1)),
	changed("STAGGER 0 to 1", detect.STAGGER(0, 0, 0.1), detect.STAGGER(0, 1, 0.1)),
	changed("Sine, shifted by 0.1", detect.Sine(0, 0.1), detect.Sine(0.1, 0.1)),
	changed("Agrawal 0 to 2", detect.Agrawal(0, 0, 0.1), detect.Agrawal(0, 2, 0.1)),
	changed("Agrawal 6 to 8", detect.Agrawal(6, 6, 0.1), detect.Agrawal(6, 8, 0.1)),
	slowly("Agrawal 1 to 3, over 1,000", detect.Agrawal(1, 1, 0.1), detect.Agrawal(1, 3, 0.1)),
	changed("Hyperplane, two weights by 0.5", detect.Hyperplane(0, 0.05), detect.Hyperplane(0.5, 0.05)),
	slowly("Hyperplane, by 1, over 1,000", detect.Hyperplane(0, 0.05), detect.Hyperplane(1, 0.05)),
	changed("LED, one lamp", detect.LED(0, 0.1), detect.LED(1, 0.1)),
	changed("LED, three lamps", detect.LED(0, 0.1), detect.LED(3, 0.1)),
	changed("RBF, moved by 0.2", detect.RBF(0), detect.RBF(0.2)),
	slowly("RBF, moved by 0.5, over 1,000", detect.RBF(0), detect.RBF(0.5)),
	changed("Mixed, reversed", detect.Mixed(false, 0.1), detect.Mixed(true, 0.1)),
	slowly("Mixed, reversed over 1,000", detect.Mixed(false, 0.1), detect.Mixed(true, 0.1)),
	changed("Circles 0 to 1", detect.Circles(0, 0, 0.1), detect.Circles(0, 1, 0.1)),
	changed("Circles 1 to 3", detect.Circles(1, 1, 0.1), detect.Circles(1, 3, 0.1)),
	changed("Waveform, five points", detect.Waveform(0), detect.Waveform(5)),
	changed("Waveform, ten points", detect.Waveform(0), detect.Waveform(10)),
}

func changed(name string, before, after detect.Concept) detect.Stream {
	return detect.Stream{Name: name, Concepts: []detect.Concept{before, after}}
}

func slowly(name string, before, after detect.Concept) detect.Stream {
	return detect.Stream{Name: name, Concepts: []detect.Concept{before, after}, Width: 1000}
}

// conceptKinds are what stands in the printed table, ours first.
var conceptKinds = []string{detect.Default, "adwin", "ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley", "kswin", "cusum", "every 1,000"}

// runLength is what the default promises: values between two false alarms.
const runLength = 1e6

// conceptDelays prints all detectors, and keeps the default's delay beside that of the
// best of River's: of those that keep what the default promises of false alarms, or alarm
// falsely no more often than it did, the one that finds the change first. A change that is
// not found counts as found at the end.
func conceptDelays(ctx context.Context, b *bench) error {
	const length = 5000
	runs := pick(b, 5, 400)
	var watchers []func() detect.Watcher
	for _, kind := range conceptKinds {
		watchers = append(watchers, func() detect.Watcher {
			if d, err := detect.New(kind, nil); err == nil {
				return d
			}
			return &detect.Every{Values: 1000}
		})
	}
	for _, s := range conceptChanges {
		s.Length = length
		b.progress("%-32s %10s %8s %8s %8s %8s %6s %10s", s.Name, "disturbed", "missed", "delay", "found", "false", "F1", "MTR")
		if err := ctx.Err(); err != nil {
			return err
		}
		found := map[string]detect.Evaluation{}
		for i, e := range detect.EvaluateEach(watchers, s, runs, length, 1) {
			kind := conceptKinds[i]
			found[kind] = e
			b.progress("  %-30s %10d %8d %8.0f %8.0f %8d %6.2f %10.0f", kind, e.Disturbed, e.Missed, e.Delay, foundAfter(e, s), e.FalseAlarms, e.F1(), e.MeanTimeRatio())
		}
		b.keepBest(s, found, runs*length)
	}
	return nil
}

// foundAfter is the mean number of values from where a change begins to where it is found,
// or to the stream's end if it is missed.
func foundAfter(e detect.Evaluation, s detect.Stream) float64 {
	begun := float64(s.Width / 2) // before the middle, which delays are counted from
	if e.Found == 0 {
		return begun + float64(s.Length)
	}
	return begun + (e.Delay*float64(e.Found)+float64(s.Length*e.Missed))/float64(e.Changes)
}

// conceptQuiet counts the alarms of the default on errors whose rate never changes, seed by seed: one seed
// says little, since the counts of seeds differ as those of any rare events do.
func conceptQuiet(ctx context.Context, b *bench) error {
	length, seeds := pick(b, 100_000, 40_000_000), pick(b, 2, 10)
	for place, rate := range []float64{0.05, 0.2, 0.5} {
		var counts []int
		total := 0
		for seed := range seeds {
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := detect.New(detect.Default, nil)
			if err != nil {
				return err
			}
			r, alarms := rand.New(rand.NewPCG(uint64(seed+1), uint64(place+100))), 0
			for range length {
				x := 0.0
				if r.Float64() < rate {
					x = 1
				}
				if d.Update(x) == detect.Change {
					alarms++
				}
			}
			counts = append(counts, alarms)
			total += alarms
		}
		b.progress("errors of rate %v: %d to %d alarms in %s values, %.1f on average (%.0f asked for)", rate, slices.Min(counts), slices.Max(counts),
			count(length), float64(total)/float64(seeds), float64(length)/runLength)
	}
	return nil
}

func (b *bench) keepBest(s detect.Stream, found map[string]detect.Evaluation, quiet int) {
	ours := found[detect.Default]
	promised := float64(quiet) / runLength
	allowed := max(float64(ours.FalseAlarms), promised+2.576*math.Sqrt(promised)+0.5)
	best := ""
	for _, kind := range slices.Concat(riverKinds, []string{"kswin"}) {
		if float64(found[kind].FalseAlarms) <= allowed && (best == "" || foundAfter(found[kind], s) < foundAfter(found[best], s)) {
			best = kind
		}
	}
	if best == "" {
		b.progress("%s: each of River's alarms more often than the default promises", s.Name)
		return
	}
	w := workload{name: s.Name + ", found after", unit: "values", goal: atLeast(1), uncompared: true}
	b.keep(summarize(w, "River's "+best, []float64{foundAfter(ours, s)}, []float64{foundAfter(found[best], s)}))
	mine, theirs := float64(ours.FalseAlarms), float64(found[best].FalseAlarms)
	b.keep(row{Workload: fmt.Sprintf("%s, in %s values before", s.Name, count(quiet)), Peer: "River's " + best, Unit: "false alarms",
		Ours: &mine, Theirs: &theirs, SameAnswer: true, Uncompared: true, Pairs: 1})
}
