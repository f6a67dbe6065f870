package report

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// Timeline is a metric over its windows: a line of what was measured with a band of its
// intervals, and one of what was estimated where labels are missing.
type Timeline struct {
	plot
	Base, PlotTop          float64
	Band, EstimatedBand    string // areas; "" if there is nothing to draw
	Line, EstimatedLine    string
	Dots                   []dot
	BeforeY                string // of what it was before, "" if that is not known
	Ticks                  []tick
	Top, Bottom            string // the values at both ends of the axis
	Marks                  []mark
	Label                  string
	MarkHeight, TextBottom float64
}

// dot is a window of its own: a value that has no neighbour to draw a line to.
type dot struct {
	X, Y      string
	Estimated bool
}

var timelinePlot = plot{Width: 340, Height: 160, Left: 6, Right: 6, Top: 18, Bottom: 24}

// mostTimelinePoints bounds what one picture sends; more points than pixels say nothing.
const mostTimelinePoints = 340

// point is a window as it is drawn.
type point struct {
	at        float64
	of        *driftline.Interval
	estimated bool
	window    driftline.PerformanceWindow
}

// newTimeline returns nil if there are fewer than two windows that say anything.
func newTimeline(m driftline.PerformanceChange, windows []driftline.PerformanceWindow) *Timeline {
	points := pointsOf(m.Metric, windows)
	if len(points) < 2 {
		return nil
	}
	p := timelinePlot
	low, high := rangeOf(points, m.Before)
	x := func(at float64) float64 {
		first, last := points[0].at, points[len(points)-1].at
		return p.Left + (at-first)/(last-first)*(p.Width-p.Left-p.Right)
	}
	y := func(v float64) float64 {
		return p.Height - p.Bottom - (min(max(v, low), high)-low)/(high-low)*(p.Height-p.Top-p.Bottom)
	}
	t := &Timeline{plot: p, Base: p.Height - p.Bottom, PlotTop: p.Top, Top: people(high), Bottom: people(low),
		MarkHeight: p.Height - p.Bottom - p.Top, TextBottom: p.Height - p.Bottom - 4,
		Label: fmt.Sprintf("%s over %s", metricName(m.Metric), Plural(len(points), "window"))}
	if m.Before != nil {
		t.BeforeY = coordinate(y(float64(m.Before.Value)))
	}
	for _, estimated := range []bool{false, true} {
		line, band, dots := drawRuns(points, estimated, x, y)
		if estimated {
			t.EstimatedLine, t.EstimatedBand = line, band
		} else {
			t.Line, t.Band = line, band
		}
		t.Dots = append(t.Dots, dots...)
	}
	t.addMarks(points, x)
	t.addTicks(points)
	return t
}

// pointsOf are the windows that say anything of a metric, in the order of time.
func pointsOf(metric string, windows []driftline.PerformanceWindow) []point {
	stride := (len(windows)-1)/mostTimelinePoints + 1
	var points []point
	for i, w := range windows {
		if i%stride != 0 && i != len(windows)-1 {
			continue
		}
		for _, f := range w.Metrics {
			best := bestOf(f)
			if f.Metric != metric || best == nil || !isFinite(*best) {
				continue
			}
			at := float64(i)
			if !w.Start.IsZero() {
				at = float64(w.Start.Unix())
			}
			points = append(points, point{at, best, best == f.Estimated, w})
		}
	}
	return points
}

func isFinite(i driftline.Interval) bool {
	for _, v := range []driftline.Number{i.Value, i.Low, i.High} {
		if v-v != 0 {
			return false
		}
	}
	return true
}

// rangeOf is what the axis shows: all values, and intervals as far as they are not much
// wider than what the values span.
func rangeOf(points []point, before *driftline.Interval) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = min(low, float64(p.of.Value)), max(high, float64(p.of.Value))
	}
	if before != nil && isFinite(*before) {
		low, high = min(low, float64(before.Value)), max(high, float64(before.Value))
	}
	room := high - low
	if room == 0 {
		room = cmp.Or(math.Abs(high)/10, 1) // all values are one: of zeros nothing says a scale
	}
	lowest, highest := low, high
	for _, p := range points {
		lowest, highest = min(lowest, float64(p.of.Low)), max(highest, float64(p.of.High))
	}
	low, high = max(lowest, low-room), min(highest, high+room)
	if low == high {
		low, high = low-room/2, high+room/2
	}
	return low, high
}

// drawRuns draws the points of one kind. A run of estimated ones begins at the measured
// point before it, so that the line does not break; a run of one is a dot.
func drawRuns(points []point, estimated bool, x, y func(float64) float64) (line, band string, dots []dot) {
	var lines, bands strings.Builder
	for from := 0; from < len(points); {
		if points[from].estimated != estimated {
			from++
			continue
		}
		to := from
		for to < len(points) && points[to].estimated == estimated {
			to++
		}
		run := points[from:to]
		if estimated && from > 0 {
			run = points[from-1 : to]
		}
		if len(run) == 1 {
			dots = append(dots, dot{coordinate(x(run[0].at)), coordinate(y(float64(run[0].of.Value))), estimated})
		}
		lines.WriteString(outline(run, x, func(p point) float64 { return y(float64(p.of.Value)) }))
		bands.WriteString(outline(run, x, func(p point) float64 { return y(float64(p.of.High)) }))
		for i := len(run) - 1; i >= 0; i-- {
			fmt.Fprintf(&bands, "L%s %s", coordinate(x(run[i].at)), coordinate(y(float64(run[i].of.Low))))
		}
		bands.WriteString("Z")
		from = to
	}
	return lines.String(), bands.String(), dots
}

func outline(run []point, x func(float64) float64, y func(point) float64) string {
	var path strings.Builder
	for i, p := range run {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%s %s", command, coordinate(x(p.at)), coordinate(y(p)))
	}
	return path.String()
}

// addMarks makes each window tell its numbers when pointed at.
func (t *Timeline) addMarks(points []point, x func(float64) float64) {
	for i, p := range points {
		from, to := t.Left, t.Width-t.Right
		if i > 0 {
			from = (x(points[i-1].at) + x(p.at)) / 2
		}
		if i+1 < len(points) {
			to = (x(points[i+1].at) + x(p.at)) / 2
		}
		text := fmt.Sprintf("%s (%s), %s rows, %s labels", people(float64(p.of.Value)), intervalRange(*p.of), whole(p.window.Rows), whole(p.window.Labels))
		if !p.window.Start.IsZero() {
			text = day(p.window.Start) + ": " + text
		}
		if p.estimated {
			text += ", estimated without labels"
		}
		t.Marks = append(t.Marks, mark{X: coordinate(from), Width: coordinate(to - from), Text: text})
	}
}

func (t *Timeline) addTicks(points []point) {
	first, last := points[0].window.Start, points[len(points)-1].window.Start
	if first.IsZero() {
		return
	}
	t.Ticks = []tick{{coordinate(t.Left), "start", day(first)}, {coordinate(t.Width - t.Right), "end", day(last)}}
	if middle := first.Add(last.Sub(first) / 2); last.Sub(first) > 48*time.Hour {
		t.Ticks = append(t.Ticks, tick{coordinate(t.Width / 2), "middle", day(middle.Truncate(24 * time.Hour))})
	}
}
