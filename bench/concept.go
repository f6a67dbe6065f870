package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/driftline/driftline/drift/detect"
)

var conceptParts = []part{
	{name: "alarms", does: "the same alarms as River's detectors, and the time of a value", run: conceptAlarms},
	{name: "delay", does: "false alarms and delay of all detectors on generated streams", run: conceptDelays},
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
// another, or of one that knows another SEA concept, at once or over 1,000 values.
var conceptChanges = []detect.Stream{
	{Name: "errors 0.2 to 0.25", Concepts: []detect.Concept{detect.Bernoulli(0.2), detect.Bernoulli(0.25)}},
	{Name: "errors 0.2 to 0.3", Concepts: []detect.Concept{detect.Bernoulli(0.2), detect.Bernoulli(0.3)}},
	{Name: "errors 0.2 to 0.4", Concepts: []detect.Concept{detect.Bernoulli(0.2), detect.Bernoulli(0.4)}},
	{Name: "errors 0.2 to 0.8", Concepts: []detect.Concept{detect.Bernoulli(0.2), detect.Bernoulli(0.8)}},
	{Name: "errors 0.05 to 0.1", Concepts: []detect.Concept{detect.Bernoulli(0.05), detect.Bernoulli(0.1)}},
	{Name: "SEA 8 to 9", Concepts: []detect.Concept{detect.SEA(8, 8, 0.1), detect.SEA(8, 9, 0.1)}},
	{Name: "SEA 7 to 9.5", Concepts: []detect.Concept{detect.SEA(7, 7, 0.1), detect.SEA(7, 9.5, 0.1)}},
	{Name: "SEA 8 to 9, over 1,000", Concepts: []detect.Concept{detect.SEA(8, 8, 0.1), detect.SEA(8, 9, 0.1)}, Width: 1000},
	{Name: "STAGGER 0 to 1", Concepts: []detect.Concept{detect.STAGGER(0, 0, 0.1), detect.STAGGER(0, 1, 0.1)}},
	{Name: "Sine, shifted by 0.1", Concepts: []detect.Concept{detect.Sine(0, 0.1), detect.Sine(0.1, 0.1)}},
}

// conceptDelays prints all detectors, and keeps the default's delay beside ADWIN's: the
// one of River's that raises as few false alarms.
func conceptDelays(ctx context.Context, b *bench) error {
	const length = 5000
	runs := pick(b, 5, 200)
	for _, s := range conceptChanges {
		s.Length = length
		b.progress("%-24s %12s %8s %8s %10s %6s %10s", s.Name, "disturbed", "missed", "delay", "false", "F1", "MTR")
		delays := map[string]float64{}
		for _, kind := range []string{detect.Default, "adwin", "ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley", "cusum", "kswin", "every 1,000"} {
			if err := ctx.Err(); err != nil {
				return err
			}
			e := detect.Evaluate(func() detect.Watcher {
				if d, err := detect.New(kind, nil); err == nil {
					return d
				}
				return &detect.Every{Values: 1000}
			}, s, runs, length, 1)
			delays[kind] = e.Delay
			b.progress("  %-22s %12d %8d %8.0f %10d %6.2f %10.0f", kind, e.Disturbed, e.Missed, e.Delay, e.FalseAlarms, e.F1(), e.MeanTimeRatio())
		}
		b.keepLimit(workload{name: s.Name + ", found after", unit: "values"}, []float64{delays[detect.Default]}, delays["adwin"])
	}
	return nil
}
