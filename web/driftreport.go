package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

//go:embed templates/driftreport.html
var driftReportHTML string

var driftReportPage = template.Must(template.New("driftreport").Funcs(template.FuncMap{
	"whole": whole,
}).Parse(driftReportHTML))

// DriftReport writes a report as one HTML page that needs nothing else: no network,
// fonts or scripts from elsewhere. It reads without JavaScript; with it, the table
// sorts. Whatever the report holds is escaped, and a histogram that makes no sense is
// left out, so reports from anywhere may be drawn.
//
// Nothing is written if the page cannot be made.
func DriftReport(w io.Writer, report *driftline.DriftReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no drift report to draw")
	}
	var page bytes.Buffer
	if err := driftReportPage.Execute(&page, newReportPage(report)); err != nil {
		return driftline.Errorf(driftline.Internal, "the drift report cannot be drawn: %w", err)
	}
	_, err := page.WriteTo(w)
	return err
}

// reportPage is the report in the words of the page.
type reportPage struct {
	Title              string
	Headline           string
	Detail             string
	Reference, Current driftline.DriftSide
	Alpha, Margin      string
	Tally              []tally
	Columns            []reportColumn
	Uncompared         []reportColumn // of which there is nothing to say but a note
}

// tally is how many columns got one verdict.
type tally struct {
	Chip  chip
	Count int
}

// chip is a verdict as a small coloured label.
type chip struct{ Class, Text string }

var (
	chipDrift      = chip{"drift", "drift"}
	chipSame       = chip{"same", "same"}
	chipUnknown    = chip{"unknown", "not enough data"}
	chipUncompared = chip{"uncompared", "not compared"}
)

// reportColumn is one row of the table and, if it was compared, one card.
type reportColumn struct {
	Anchor                           string
	Name, Kind, Test                 string
	Chip                             chip
	Order                            int // of the verdict, for sorting
	Effect, EffectName               string
	EffectBar                        string // length of 100
	EffectSort, PSort, QSort         string
	P, Q, Statistic                  string
	Finding, Note                    string
	ReferenceRows, CurrentRows       int64
	ReferenceMissing, CurrentMissing string
	MissingSort                      string
	NumberChart, Spark               *numberChart
	CategoryChart                    *categoryChart
}

func newReportPage(report *driftline.DriftReport) reportPage {
	page := reportPage{
		Reference: named(report.Reference, "reference"), Current: named(report.Current, "current"),
		Alpha: percentOf(report.Alpha), Margin: strconv.FormatFloat(report.Margin, 'g', 3, 64),
	}
	counts := map[chip]int{}
	for i, c := range report.Columns {
		column := newReportColumn(i, c)
		counts[column.Chip]++
		if column.Chip == chipUncompared && column.NumberChart == nil && column.CategoryChart == nil {
			page.Uncompared = append(page.Uncompared, column)
			continue
		}
		page.Columns = append(page.Columns, column)
	}
	for _, c := range []chip{chipDrift, chipSame, chipUnknown, chipUncompared} {
		if counts[c] > 0 || c == chipDrift {
			page.Tally = append(page.Tally, tally{c, counts[c]})
		}
	}
	page.Headline, page.Detail = summary(report.Columns, counts)
	page.Title = page.Headline + " · " + page.Reference.Name + " → " + page.Current.Name
	return page
}

func named(side driftline.DriftSide, fallback string) driftline.DriftSide {
	if side.Name == "" {
		side.Name = fallback
	}
	return side
}

// summary says in a sentence what happened, and in another where most.
func summary(columns []driftline.ColumnDrift, counts map[chip]int) (headline, detail string) {
	compared := len(columns) - counts[chipUncompared]
	switch drifted := counts[chipDrift]; {
	case compared == 0:
		return "Nothing could be compared", ""
	case drifted == 0 && counts[chipSame] == 0:
		return "Not enough data to tell", ""
	case drifted == 0 && counts[chipUnknown] > 0:
		headline = fmt.Sprintf("No drift found in %s", plural(compared, "column"))
		return headline, fmt.Sprintf("For %d of them there is not enough data to be sure.", counts[chipUnknown])
	case drifted == 0:
		return fmt.Sprintf("No drift in %s", plural(compared, "column")), ""
	default:
		headline = fmt.Sprintf("%d of %s drifted", drifted, plural(compared, "column"))
	}
	for _, c := range columns {
		if chipOf(c) == chipDrift {
			return headline, fmt.Sprintf("Most of all %s: %s.", c.Column, finding(c))
		}
	}
	return headline, ""
}

func chipOf(c driftline.ColumnDrift) chip {
	switch {
	case c.Verdict == driftline.NotCompared:
		return chipUncompared
	case c.Verdict == driftline.Drift:
		return chipDrift
	case c.Verdict == driftline.Same:
		return chipSame
	}
	return chipUnknown
}

func newReportColumn(i int, c driftline.ColumnDrift) reportColumn {
	column := reportColumn{
		Anchor: fmt.Sprintf("column-%d", i+1), Name: c.Column, Kind: c.Kind, Chip: chipOf(c),
		ReferenceRows: c.ReferenceRows, CurrentRows: c.CurrentRows,
		ReferenceMissing: shareOf(c.ReferenceNulls, c.ReferenceRows+c.ReferenceNulls),
		CurrentMissing:   shareOf(c.CurrentNulls, c.CurrentRows+c.CurrentNulls),
		MissingSort:      sortable(missingChange(c)),
		Effect:           effect(c.Effect), EffectName: "D",
		EffectSort: sortable(float64(c.Effect)), PSort: sortable(float64(c.PValue)), QSort: sortable(float64(c.QValue)),
		P: probability(c.PValue), Q: probability(c.QValue), Statistic: people(float64(c.Statistic)),
		EffectBar: "0",
	}
	if c.Type != "" {
		column.Kind = string(c.Type)
	}
	if bar := float64(c.Effect); bar > 0 {
		column.EffectBar = strconv.Itoa(int(math.Ceil(100 * min(1, bar))))
	}
	switch c.Test {
	case "ks":
		column.Test = "Kolmogorov–Smirnov"
	case "chi2":
		column.Test, column.EffectName = "chi-square", "V"
	default:
		column.Test = c.Test
	}
	column.Note = capitalized(c.Note)
	if column.Chip == chipDrift {
		column.Finding = capitalized(finding(c))
	}
	column.Order = map[chip]int{chipDrift: 0, chipUnknown: 1, chipSame: 2, chipUncompared: 3}[column.Chip]
	format := formatOf(c)
	column.NumberChart = newNumberChart(c, cardPlot, format)
	column.Spark = newNumberChart(c, sparkPlot, format)
	column.CategoryChart = newCategoryChart(c.Histogram)
	if column.CategoryChart != nil {
		column.Spark = newSparkBars(c.Histogram)
	}
	return column
}

// finding says in words where the two sides differ most.
func finding(c driftline.ColumnDrift) string {
	h := c.Histogram
	if c.Test == "ks" {
		text := fmt.Sprintf("up to %s of the values moved", percentOf(float64(c.Effect)))
		switch gap := greatestGap(h); {
		case gap > 0:
			text += ", current runs higher"
		case gap < 0:
			text += ", current runs lower"
		}
		if at := float64(c.Location); !math.IsNaN(at) {
			text += "; the gap is widest at " + formatOf(c)(at)
		}
		return text
	}
	n, m := sum(h.Reference), sum(h.Current)
	best, at := 0.005, -1
	for i, name := range h.Categories {
		if name != otherCategories && i < len(h.Reference) && i < len(h.Current) && n > 0 && m > 0 {
			if d := math.Abs(float64(h.Current[i])/m - float64(h.Reference[i])/n); d > best {
				best, at = d, i
			}
		}
	}
	switch {
	case c.ReferenceRows == 0 || c.CurrentRows == 0:
		return "one side has no values any more"
	case at < 0:
		return "many categories changed a little"
	}
	return fmt.Sprintf("%s went from %s to %s", categoryName(h.Categories[at]),
		percentOf(float64(h.Reference[at])/n), percentOf(float64(h.Current[at])/m))
}

// greatestGap returns the greatest difference of the cumulated shares, positive where
// more of reference than of current lies to the left.
func greatestGap(h driftline.Histogram) float64 {
	n, m := sum(h.Reference), sum(h.Current)
	if n == 0 || m == 0 || len(h.Reference) != len(h.Current) {
		return 0
	}
	gap, left, right := 0.0, 0.0, 0.0
	for i := range h.Reference {
		left += float64(h.Reference[i]) / n
		right += float64(h.Current[i]) / m
		if math.Abs(left-right) > math.Abs(gap) {
			gap = left - right
		}
	}
	return gap
}

func missingChange(c driftline.ColumnDrift) float64 {
	return math.Abs(ratio(c.CurrentNulls, c.CurrentRows+c.CurrentNulls) - ratio(c.ReferenceNulls, c.ReferenceRows+c.ReferenceNulls))
}

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
		plot: p, Base: y(0), TopShare: percentOf(top), Middle: (p.Left + p.Width - p.Right) / 2,
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
			Text: fmt.Sprintf("%s: reference %s, current %s", from, percentOf(reference[i]), percentOf(current[i])),
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
	chart := &categoryChart{Width: cardPlot.Width, Height: 4 + categoryRowHeight*float64(bins), Label: "Shares of " + plural(bins, "category")}
	for i, name := range h.Categories {
		y := 4 + categoryRowHeight*float64(i)
		left, right := min(1, reference[i]/top)*categoryBarRoom, min(1, current[i]/top)*categoryBarRoom
		chart.Rows = append(chart.Rows, categoryRow{
			Name: clipped(categoryName(name), categoryNameRoom), Full: categoryName(name),
			Cut: max(reference[i], current[i]) > top, NameY: y + 14, ReferenceY: y, CurrentY: y + 11, ReferenceTextY: y + 8, CurrentTextY: y + 19,
			ReferenceBar: coordinate(left), CurrentBar: coordinate(right),
			ReferenceText: percentOf(reference[i]), CurrentText: percentOf(current[i]),
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

// formatOf returns how values of the column are written.
func formatOf(c driftline.ColumnDrift) func(float64) string {
	if c.Type != driftline.Timestamp {
		return people
	}
	return func(v float64) string {
		if math.Abs(v) > 1e17 || math.IsNaN(v) {
			return people(v)
		}
		return time.UnixMicro(int64(v)).UTC().Format("2006-01-02 15:04")
	}
}

// people writes a number with about four digits that matter.
func people(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	case size != 0 && (size < 1e-4 || size >= 1e15):
		return powerOfTen(v)
	case size >= 1000:
		return strings.Replace(whole(int64(math.Round(v))), "-", "−", 1)
	}
	return strings.Replace(strconv.FormatFloat(roundTo(v, 4), 'f', -1, 64), "-", "−", 1)
}

// roundTo rounds to a number of significant digits.
func roundTo(v float64, digits int) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', digits-1, 64), 64)
	return rounded
}

// powerOfTen writes 1.2e-9 as 1.2 × 10⁻⁹.
func powerOfTen(v float64) string {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 1, 64), "e")
	power, _ := strconv.Atoi(exponent)
	return strings.Replace(mantissa, "-", "−", 1) + " × 10" + superscript(power)
}

func superscript(power int) string {
	digits := []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")
	var text strings.Builder
	for _, r := range strconv.Itoa(power) {
		if r == '-' {
			text.WriteRune('⁻')
			continue
		}
		text.WriteRune(digits[r-'0'])
	}
	return text.String()
}

func probability(p driftline.Number) string {
	switch v := float64(p); {
	case math.IsNaN(v):
		return "–"
	case v == 0:
		return "< 10⁻³⁰⁰"
	case v < 0.0005:
		return powerOfTen(v)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func effect(e driftline.Number) string {
	if math.IsNaN(float64(e)) {
		return "–"
	}
	return strconv.FormatFloat(float64(e), 'f', 3, 64)
}

// sortable is what the table sorts by; what is not a number goes last.
func sortable(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func ratio(part, all int64) float64 {
	if all <= 0 {
		return 0
	}
	return float64(part) / float64(all)
}

func shareOf(part, all int64) string { return percentOf(ratio(part, all)) }

func percentOf(share float64) string {
	switch v := 100 * share; {
	case math.IsNaN(v):
		return "–"
	case v == 0:
		return "0 %"
	case v < 0.05:
		return "< 0.1 %"
	case v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64) + " %"
	default:
		return strconv.FormatFloat(v, 'f', 0, 64) + " %"
	}
}

// whole writes a whole number with thousands separated.
func whole(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

func plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func capitalized(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

func categoryName(name string) string {
	if strings.TrimSpace(name) == "" {
		return "(empty)"
	}
	return name
}

func clipped(text string, length int) string {
	characters := []rune(text)
	if len(characters) <= length {
		return text
	}
	return string(characters[:length-1]) + "…"
}
