package web

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// series is the history of one metric of one run as a picture needs it: at most a few points
// per pixel, whatever the length of the history, and with its peaks.
type series struct {
	Run         driftline.RunID
	Count       int              // points of the history
	Last        driftline.Number // its last value
	First, Step int64            // its first and last step
	Low, High   float64          // of what is drawn
	points      []seriesPoint
}

type seriesPoint struct{ x, y float64 }

// seriesOptions say how a history is shown.
type seriesOptions struct {
	ByTime bool    // against seconds since the first point, in place of steps
	Smooth float64 // weight of what came before, 0 to below 1: an exponential mean without the bias of its start
	Log    bool    // what is not above 0 is left out
}

// Each of the buckets along x keeps its first, lowest, highest and last point: what a line
// through all of the points would cover is covered.
const seriesBuckets = 160

// readSeries reads the history of a metric of a run.
func (s *Server) readSeries(run driftline.RunID, key string, options seriesOptions) (series, error) {
	out, err := thinned(s.engine.Registry().Metrics(run, key), options)
	out.Run = run
	return out, err
}

// thinned reads a history twice, once for its extent and once to thin it, and holds no more
// than what is drawn. Values that are not finite are left out.
func thinned(history iter.Seq2[driftline.Metric, error], options seriesOptions) (series, error) {
	out, extent, err := measureSeries(history, options)
	if err != nil {
		return series{}, err
	}
	thin, smooth, n := thinner{length: extent.to - extent.from}, smoother{weight: options.Smooth}, 0
	for point, err := range history {
		if err != nil {
			return series{}, err
		}
		along, y := extent.place(point, n), float64(point.Value)
		n++
		if math.IsInf(y, 0) || math.IsNaN(y) || options.Log && y <= 0 {
			continue
		}
		x := along
		if !options.ByTime {
			x += extent.from // a step is shown as it is, a time by what went by
		}
		thin.add(seriesPoint{x, smooth.next(y)}, along)
	}
	out.points = thin.finish()
	out.Low, out.High = math.Inf(1), math.Inf(-1)
	for _, p := range out.points {
		out.Low, out.High = min(out.Low, p.y), max(out.High, p.y)
	}
	return out, nil
}

// seriesExtent is what a history covers along x.
type seriesExtent struct {
	from, to float64
	x        func(point driftline.Metric, n int) float64
}

// place is how far along x a point is, from 0.
func (e *seriesExtent) place(point driftline.Metric, n int) float64 { return e.x(point, n) - e.from }

// measureSeries finds how many points there are and what they cover. Points that were all
// logged at one step are shown in their order.
func measureSeries(history iter.Seq2[driftline.Metric, error], options seriesOptions) (out series, extent seriesExtent, err error) {
	first, last := math.Inf(1), math.Inf(-1) // seconds
	for point, err := range history {
		if err != nil {
			return series{}, seriesExtent{}, err
		}
		if out.Count == 0 {
			out.First = point.Step
		}
		out.Step, out.Last = point.Step, point.Value
		first, last = min(first, seconds(point)), max(last, seconds(point))
		out.Count++
	}
	switch {
	case options.ByTime:
		extent = seriesExtent{first, last, func(point driftline.Metric, _ int) float64 { return seconds(point) }}
	case out.First == out.Step:
		extent = seriesExtent{0, float64(out.Count - 1), func(_ driftline.Metric, n int) float64 { return float64(n) }}
	default:
		extent = seriesExtent{float64(out.First), float64(out.Step), func(point driftline.Metric, _ int) float64 { return float64(point.Step) }}
	}
	return out, extent, nil
}

func seconds(point driftline.Metric) float64 { return float64(point.Time.UnixMicro()) / 1e6 }

// smoother is an exponential mean whose weights sum to one from the first value on.
type smoother struct{ weight, sum, total float64 }

func (s *smoother) next(value float64) float64 {
	if s.weight == 0 {
		return value
	}
	s.sum = s.weight*s.sum + (1-s.weight)*value
	s.total = s.weight*s.total + (1 - s.weight)
	return s.sum / s.total
}

// thinner keeps a few points of each bucket of a stretch that begins at 0.
type thinner struct {
	length  float64
	buckets map[int]*bucket
}

type bucket struct{ first, low, high, last seriesPoint }

// add takes a point that is some way along the stretch.
func (t *thinner) add(p seriesPoint, along float64) {
	at := 0
	if t.length > 0 {
		at = int(along / t.length * seriesBuckets)
	}
	b, ok := t.buckets[at]
	if !ok {
		if t.buckets == nil {
			t.buckets = map[int]*bucket{}
		}
		t.buckets[at] = &bucket{p, p, p, p}
		return
	}
	if p.y < b.low.y {
		b.low = p
	}
	if p.y > b.high.y {
		b.high = p
	}
	if p.x < b.first.x {
		b.first = p
	}
	if p.x >= b.last.x {
		b.last = p
	}
}

func (t *thinner) finish() []seriesPoint {
	var points []seriesPoint
	for _, b := range t.buckets {
		points = append(points, b.first, b.low, b.high, b.last)
	}
	slices.SortFunc(points, func(a, b seriesPoint) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	return slices.Compact(points)
}

// plot is the picture of one metric, of one run or of several.
type plot struct {
	Key         string
	Lines       []plotLine
	Low, High   driftline.Number // of all lines
	First, Last string           // the ends of the x axis
	Points      int              // of all histories
	Log         bool
}

// plotLine is one run's line.
type plotLine struct {
	Run        driftline.RunID
	Class      string // its colour
	Points     int
	Value      driftline.Number // the last
	Line       string           // of an SVG polyline; "" if nothing is finite
	EndX, EndY float64
}

// drawPlot draws histories over each other. Their order gives their colours.
func drawPlot(key string, all []series, log bool) plot {
	p := plot{Key: key, Log: log}
	low, high, from, to := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range all {
		low, high = min(low, s.Low), max(high, s.High)
		if len(s.points) > 0 {
			from, to = min(from, s.points[0].x), max(to, s.points[len(s.points)-1].x)
		}
	}
	if low > high {
		low, high = nan, nan // nothing is drawn
	}
	p.Low, p.High = driftline.Number(low), driftline.Number(high)
	scale := func(y float64) float64 { return fraction(y, low, high) }
	if log {
		scale = func(y float64) float64 { return fraction(math.Log(y), math.Log(low), math.Log(high)) }
	}
	for i, s := range all {
		p.Points += s.Count
		line := plotLine{Run: s.Run, Class: lineClass(i), Points: s.Count, Value: s.Last}
		var text strings.Builder
		for _, point := range s.points {
			line.EndX = curveMargin + fraction(point.x, from, to)*(curveWidth-2*curveMargin)
			line.EndY = curveHeight - curveMargin - scale(point.y)*(curveHeight-2*curveMargin)
			fmt.Fprintf(&text, "%.1f,%.1f ", line.EndX, line.EndY)
		}
		line.Line = strings.TrimSpace(text.String())
		p.Lines = append(p.Lines, line)
	}
	if from <= to {
		p.First, p.Last = numberText(driftline.Number(from)), numberText(driftline.Number(to))
	}
	return p
}

// lineClass is the colour of the i-th run; beyond the colours lines are dashed.
func lineClass(i int) string {
	const colours = 10
	class := fmt.Sprintf("line-%d", i%colours)
	if i >= colours {
		class += " dashed"
	}
	return class
}
