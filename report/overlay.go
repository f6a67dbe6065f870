package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// plot is the room that a chart has, in units of its view box.
type plot struct{ Width, Height, Left, Right, Top, Bottom float64 }

var (
	cardPlot  = plot{Width: 340, Height: 168, Left: 6, Right: 6, Top: 18, Bottom: 24}
	sparkPlot = plot{Width: 120, Height: 32, Left: 1, Right: 1, Top: 2, Bottom: 1}
)

// numberChart overlays the two histograms of a numeric column as stepped areas.
type numberChart struct {
	plot
	Base, Middle               float64
	ReferencePath, CurrentPath string
	TopShare                   string // the greatest share
	Ticks                      []tick
	Marks                      []mark
	Gap                        string // x of the greatest distance, "" if it lies outside
	Label                      string
}

type tick struct{ X, Anchor, Text string }

// mark is an invisible bar that tells its numbers when pointed at.
type mark struct{ X, Width, Text string }

// PlotHeight is the height that bars may have.
func (c *numberChart) PlotHeight() float64 { return c.Base - 14 }

// newNumberChart returns nil if the histogram is none of numbers, or makes no sense.
func newNumberChart(c driftline.ColumnDrift, p plot, format func(float64) string) *numberChart {
	h := c.Histogram
	bins := len(h.Reference)
	if bins == 0 || len(h.Current) != bins || len(h.Edges) != bins+1 || !ascending(h.Edges) {
		return nil
	}
	reference, current := sharesOf(h.Reference), sharesOf(h.Current)
	top := max(greatest(reference), greatest(current))
	if top == 0 {
		return nil
	}
	low, high := h.Edges[0], h.Edges[bins]
	x := func(v float64) float64 {
		return p.Left + (v/2-low/2)/(high/2-low/2)*(p.Width-p.Left-p.Right)
	}
	y := func(share float64) float64 {
		return p.Height - p.Bottom - share/top*(p.Height-p.Top-p.Bottom)
	}
	chart := &numberChart{
		plot: p, Base: y(0), TopShare: Percent(top), Middle: (p.Left + p.Width - p.Right) / 2,
		ReferencePath: steps(h.Edges, reference, x, y), CurrentPath: steps(h.Edges, current, x, y),
		Label: fmt.Sprintf("Histogram of %s from %s to %s", c.Column, format(low), format(high)),
	}
	inside := 0.0 // how far inside its edges the values of a bin lie
	if betweenWholes(h.Edges) {
		inside = 0.5
	}
	for i := range bins {
		from, to := format(h.Edges[i]+inside), format(h.Edges[i+1]-inside)
		if from != to {
			from += " to " + to
		}
		chart.Marks = append(chart.Marks, mark{
			X: coordinate(x(h.Edges[i])), Width: coordinate(x(h.Edges[i+1]) - x(h.Edges[i])),
			Text: fmt.Sprintf("%s: reference %s, current %s", from, Percent(reference[i]), Percent(current[i])),
		})
	}
	chart.Ticks = []tick{
		{coordinate(x(low)), "start", format(low + inside)},
		{coordinate(x(high)), "end", format(high - inside)},
	}
	if middle := math.Floor(low/2 + high/2); inside == 0 {
		chart.Ticks = append(chart.Ticks, tick{coordinate(chart.Middle), "middle", format(low/2 + high/2)})
	} else if high-low > 4 {
		chart.Ticks = append(chart.Ticks, tick{coordinate(x(middle)), "middle", format(middle)})
	}
	if at := float64(c.Location); at >= low && at <= high {
		chart.Gap = coordinate(x(at))
	}
	return chart
}

// betweenWholes reports whether every edge lies half-way between whole numbers, as
// the bins of whole numbers do.
func betweenWholes(edges []float64) bool {
	for _, e := range edges {
		if math.Abs(e) >= 1<<52 || e-math.Floor(e) != 0.5 {
			return false
		}
	}
	return true
}

// steps draws a histogram as the outline of its bars.
func steps(edges, shares []float64, x, y func(float64) float64) string {
	var path strings.Builder
	fmt.Fprintf(&path, "M%s %s", coordinate(x(edges[0])), coordinate(y(0)))
	for i, share := range shares {
		fmt.Fprintf(&path, "V%sH%s", coordinate(y(share)), coordinate(x(edges[i+1])))
	}
	fmt.Fprintf(&path, "V%sZ", coordinate(y(0)))
	return path.String()
}

// categoryChart shows the two shares of each category as a pair of bars.
type categoryChart struct {
	Width, Height float64
	Rows          []categoryRow
	Label         string
}

type categoryRow struct {
	Cut                          bool // whether a bar would be longer than there is room
	Name, Full                   string
	NameY, ReferenceY, CurrentY  float64
	ReferenceBar, CurrentBar     string
	ReferenceText, CurrentText   string
	ReferenceTextX, CurrentTextX string
	ReferenceTextY, CurrentTextY float64
}

const (
	drawnCategories = 12
	otherCategories = "(other)"

	categoryRowHeight = 27.0
	categoryBarLeft   = 118.0
	categoryBarRoom   = 168.0
	categoryNameRoom  = 17 // characters
)

func newCategoryChart(h driftline.Histogram) *categoryChart {
	bins := len(h.Categories)
	if bins == 0 || len(h.Reference) != bins || len(h.Current) != bins {
		return nil
	}
	h = folded(h)
	bins = len(h.Categories)
	reference, current := sharesOf(h.Reference), sharesOf(h.Current)
	named := bins
	if bins > 1 && h.Categories[bins-1] == otherCategories {
		named-- // the rest may be much longer than what is to be compared
	}
	top := max(greatest(reference[:named]), greatest(current[:named]))
	if top == 0 {
		return nil
	}
	chart := &categoryChart{Width: cardPlot.Width, Height: 4 + categoryRowHeight*float64(bins), Label: "Shares of " + Plural(bins, "category")}
	for i, name := range h.Categories {
		y := 4 + categoryRowHeight*float64(i)
		left, right := min(1, reference[i]/top)*categoryBarRoom, min(1, current[i]/top)*categoryBarRoom
		chart.Rows = append(chart.Rows, categoryRow{
			Name: clipped(categoryName(name), categoryNameRoom), Full: categoryName(name),
			Cut: max(reference[i], current[i]) > top, NameY: y + 14, ReferenceY: y, CurrentY: y + 11, ReferenceTextY: y + 8, CurrentTextY: y + 19,
			ReferenceBar: coordinate(left), CurrentBar: coordinate(right),
			ReferenceText: Percent(reference[i]), CurrentText: Percent(current[i]),
			ReferenceTextX: coordinate(categoryBarLeft + left + 5), CurrentTextX: coordinate(categoryBarLeft + right + 5),
		})
	}
	return chart
}

// folded sums up the smaller of many categories.
func folded(h driftline.Histogram) driftline.Histogram {
	if len(h.Categories) <= drawnCategories {
		return h
	}
	fold := func(counts []int64) []int64 {
		shown := slices.Clone(counts[:drawnCategories])
		for _, count := range counts[drawnCategories:] {
			shown[drawnCategories-1] += count
		}
		return shown
	}
	names := slices.Clone(h.Categories[:drawnCategories])
	last := drawnCategories - 1
	names[last] = otherCategories
	return driftline.Histogram{Categories: names, Reference: fold(h.Reference), Current: fold(h.Current)}
}

// newSparkBars draws categories small, as a histogram of their ranks.
func newSparkBars(h driftline.Histogram) *numberChart {
	edges := make([]float64, len(h.Reference)+1)
	for i := range edges {
		edges[i] = float64(i)
	}
	h.Edges = edges
	return newNumberChart(driftline.ColumnDrift{Histogram: h, Location: driftline.Number(math.NaN())}, sparkPlot, people)
}

func ascending(edges []float64) bool {
	for i, e := range edges {
		if math.IsNaN(e) || math.IsInf(e, 0) || i > 0 && !(edges[i-1] < e) {
			return false
		}
	}
	return true
}

func sharesOf(counts []int64) []float64 {
	all := sum(counts)
	shares := make([]float64, len(counts))
	for i, count := range counts {
		if all > 0 && count > 0 {
			shares[i] = float64(count) / all
		}
	}
	return shares
}

func sum(counts []int64) float64 {
	all := 0.0
	for _, count := range counts {
		all += float64(max(0, count))
	}
	return all
}

func greatest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	return most
}

func coordinate(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}
