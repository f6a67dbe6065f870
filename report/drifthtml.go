package report

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/driftline/driftline"
)

var driftPage = newPage("drift.html")

// DriftHTML writes a comparison as one page: what happened in a sentence, then a table of
// all columns, and a card with both distributions for each.
func DriftHTML(w io.Writer, report *driftline.DriftReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no drift report to draw")
	}
	return writePage(w, driftPage, newDriftPage(report))
}

// driftContent is the report in the words of the page.
type driftContent struct {
	Title              string
	Headline           string
	Detail             string
	Reference, Current driftline.DriftSide
	Alpha, Margin      string
	Tally              []tally
	Columns            []columnContent
	Uncompared         []columnContent // of which there is nothing to say but a note
}

var (
	chipDrift      = chip{"bad", "drift"}
	chipUnknown    = chip{"unsure", "not enough data"}
	chipSame       = chip{"good", "same"}
	chipUncompared = chip{"none", "not compared"}
)

// columnContent is one row of the table and, if it was compared, one card.
type columnContent struct {
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

func newDriftPage(report *driftline.DriftReport) driftContent {
	page := driftContent{
		Reference: named(report.Reference, "reference"), Current: named(report.Current, "current"),
		Alpha: Percent(report.Alpha), Margin: strconv.FormatFloat(report.Margin, 'g', 3, 64),
	}
	counts := map[chip]int{}
	for i, c := range report.Columns {
		column := newColumnContent(i, c)
		counts[column.Chip]++
		if column.Chip == chipUncompared && column.NumberChart == nil && column.CategoryChart == nil {
			page.Uncompared = append(page.Uncompared, column)
			continue
		}
		page.Columns = append(page.Columns, column)
	}
	page.Tally = tallies([]chip{chipDrift, chipUnknown, chipSame, chipUncompared}, counts)
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

func newColumnContent(i int, c driftline.ColumnDrift) columnContent {
	column := columnContent{
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
		text := fmt.Sprintf("up to %s of the values moved", Percent(float64(c.Effect)))
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
		Percent(float64(h.Reference[at])/n), Percent(float64(h.Current[at])/m))
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
