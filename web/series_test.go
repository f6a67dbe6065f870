package web

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// historyOf yields points as the registry does.
func historyOf(points []driftline.Metric) iter.Seq2[driftline.Metric, error] {
	return func(yield func(driftline.Metric, error) bool) {
		for _, p := range points {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// lineOf is the polyline of one history.
func lineOf(t *testing.T, points []driftline.Metric, options seriesOptions) string {
	t.Helper()
	s, err := thinned(historyOf(points), options)
	if err != nil {
		t.Fatal(err)
	}
	return drawPlot("loss", []series{s}, options.Log).Lines[0].Line
}

func TestCurvesOfExtremeValuesStayInside(t *testing.T) {
	for want, history := range map[string][]driftline.Metric{
		"6.0,114.0 160.0,6.0 314.0,60.0": {{Value: -1.7e308}, {Value: driftline.Number(math.NaN()), Step: 1}, {Value: 1.7e308, Step: 2}, {Value: 0, Step: 4}},
		"160.0,60.0":                     {{Value: 1, Step: 7}},
		"6.0,114.0 314.0,6.0":            {{Value: 1, Step: 7}, {Value: 2, Step: 7}}, // without steps: in their order
		"":                               {{Value: driftline.Number(math.Inf(1))}},
	} {
		if line := lineOf(t, history, seriesOptions{}); line != want {
			t.Errorf("line is %q, want %q", line, want)
		}
	}
}

func TestCurvesByTimeAndOnALogScale(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0) }
	history := []driftline.Metric{{Value: 1, Step: 1, Time: at(0)}, {Value: 0, Step: 2, Time: at(10)}, {Value: 10, Step: 3, Time: at(30)}, {Value: 100, Step: 4, Time: at(40)}}
	if got, want := lineOf(t, history, seriesOptions{ByTime: true, Log: true}), "6.0,114.0 237.0,60.0 314.0,6.0"; got != want {
		t.Errorf("line is %q, want %q", got, want)
	}
}

// A picture of a long history has its peaks and its ends, and few points.
func TestALongHistoryIsThinnedWithItsPeaks(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 1))
	for range 50 {
		history := make([]driftline.Metric, 1+random.IntN(20_000))
		for i := range history {
			history[i] = driftline.Metric{Step: int64(i) * 3, Value: driftline.Number(random.NormFloat64())}
		}
		peak, pit := random.IntN(len(history)), random.IntN(len(history))
		history[peak].Value, history[pit].Value = 100, -100
		s, err := thinned(historyOf(history), seriesOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if most := 4 * (seriesBuckets + 1); len(s.points) > most || s.Count != len(history) {
			t.Fatalf("%d of %d points are drawn, at most %d may be", len(s.points), s.Count, most)
		}
		for _, i := range []int{0, peak, pit, len(history) - 1} {
			want := seriesPoint{float64(history[i].Step), float64(history[i].Value)}
			if !slices.Contains(s.points, want) {
				t.Fatalf("point %d of %d, %v, is not drawn", i, len(history), want)
			}
		}
	}
}

// The first value has no past, and a constant stays what it is.
func TestSmoothingHasNoBiasAtItsStart(t *testing.T) {
	history := make([]driftline.Metric, 100)
	for i := range history {
		history[i] = driftline.Metric{Step: int64(i), Value: 5}
	}
	s, err := thinned(historyOf(history), seriesOptions{Smooth: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	if s.Low < 5-1e-9 || s.High > 5+1e-9 {
		t.Errorf("a constant 5 is smoothed to %v to %v", s.Low, s.High)
	}
}
