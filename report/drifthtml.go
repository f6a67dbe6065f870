package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

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
	Rule               string // by which a column is called drifted, in words
	Together           *togetherContent
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
	Range                            *effectRange
	Others                           []otherTest
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
		Together: newTogether(report.Multivariate),
	}
	page.Rule = ruleOf(report, page)
	counts := map[chip]int{}
	for i, c := range report.Columns {
		column := newColumnContent(i, c, report.Alpha)
		counts[column.Chip]++
		if column.Chip == chipUncompared && column.NumberChart == nil && column.CategoryChart == nil {
			page.Uncompared = append(page.Uncompared, column)
			continue
		}
		page.Columns = append(page.Columns, column)
	}
	page.Tally = tallies([]chip{chipDrift, chipUnknown, chipSame, chipUncompared}, counts)
	page.Headline, page.Detail = summary(report, counts)
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
func summary(report *driftline.DriftReport, counts map[chip]int) (headline, detail string) {
	columns := report.Columns
	compared := len(columns) - counts[chipUncompared]
	switch drifted := counts[chipDrift]; {
	case compared == 0:
		return "Nothing could be compared", ""
	case drifted == 0 && counts[chipSame] == 0:
		return "Not enough data to tell", ""
	case drifted == 0 && counts[chipUnknown] > 0:
		headline = fmt.Sprintf("No drift found in %s", Plural(compared, "column"))
		return headline, fmt.Sprintf("For %d of them there is not enough data to be sure.", counts[chipUnknown])
	case drifted == 0:
		return fmt.Sprintf("No drift in %s", Plural(compared, "column")), ""
	default:
		headline = fmt.Sprintf("%d of %s drifted", drifted, Plural(compared, "column"))
	}
	for _, c := range columns {
		if c.Verdict == driftline.Drift {
			detail = fmt.Sprintf("Most of all %s: %s.", c.Column, Finding(c, report.Alpha))
			break
		}
	}
	if !report.Drift {
		detail += " Too few columns for the data set to count as drifted."
	}
	return headline, detail
}

// ruleOf says in words when a column is called drifted.
func ruleOf(report *driftline.DriftReport, page driftContent) string {
	rule := "the rules of " + report.DecidedBy()
	if report.DecidedBy() == driftline.PresetDriftline {
		rule = fmt.Sprintf("adjusted p at most %s and effect at least %s", page.Alpha, page.Margin)
	}
	if report.Base != "" {
		rule += fmt.Sprintf(", with the tests of preset %s", report.Preset)
	}
	return rule
}

// effectRange is where the true effect lies, as a whisker over the bar.
type effectRange struct{ X, Width, Text string }

func newEffectRange(c driftline.ColumnDrift) *effectRange {
	low, high := float64(c.EffectLow), float64(c.EffectHigh)
	if math.IsNaN(low) || math.IsNaN(high) || high <= low {
		return nil
	}
	from, to := 100*max(0, low), 100*min(1, high)
	return &effectRange{coordinate(from), coordinate(max(1, to-from)), effect(c.EffectLow) + " to " + effect(c.EffectHigh)}
}

// otherTest is a further test of a column.
type otherTest struct {
	Name, Value, P string
	Decided        bool
}

// togetherContent is what was found in all columns together.
type togetherContent struct {
	Chip    chip
	Columns int
	Rows    string
	Tests   []otherTest
	Note    string
}

func newTogether(m *driftline.MultivariateDrift) *togetherContent {
	if m == nil {
		return nil
	}
	t := &togetherContent{
		Chip: chipOf(m.Verdict), Columns: len(m.Columns), Note: capitalized(m.Note),
		Rows: fmt.Sprintf("%s → %s complete rows", whole(m.ReferenceRows), whole(m.CurrentRows)),
	}
	for _, test := range m.Tests {
		t.Tests = append(t.Tests, otherTest{Name: testName(test.Name), Value: people(float64(test.Value)), P: Probability(test.PValue)})
	}
	return t
}

// testName is how people call a test.
func testName(name string) string {
	if known, ok := testNames[name]; ok {
		return known
	}
	return name
}

var testNames = map[string]string{
	"ks": "Kolmogorov–Smirnov", "chi2": "chi-square", "psi": "PSI", "jensenshannon": "Jensen–Shannon", "js": "Jensen–Shannon",
	"wasserstein": "Wasserstein", "hellinger": "Hellinger", "kl": "Kullback–Leibler", "kl_div": "Kullback–Leibler", "tvd": "total variation",
	"ad": "Anderson–Darling", "anderson": "Anderson–Darling", "cvm": "Cramér–von Mises", "cramer_von_mises": "Cramér–von Mises",
	"g": "G-test", "g_test": "G-test", "z": "two proportions", "fisher": "Fisher", "fisher_exact": "Fisher", "mannw": "Mann–Whitney", "mann_whitney": "Mann–Whitney",
	"t": "Welch t", "t_test": "Welch t", "es": "Epps–Singleton", "epps_singleton": "Epps–Singleton", "energy": "energy distance", "ed": "energy distance",
	"chi2_gof": "goodness of fit", "total_variation": "total variation", "welch": "Welch t",
	"rank": "the test of ranks", "tails": "the test of tails", "category": "the test of single categories", "missing": "what is missing",
	"mmd": "maximum mean discrepancy", "classifier": "classifier", "linf": "greatest change of a share", "l_infinity": "greatest change of a share",
}

func chipOf(verdict driftline.Verdict) chip {
	switch verdict {
	case driftline.NotCompared:
		return chipUncompared
	case driftline.Drift:
		return chipDrift
	case driftline.Same:
		return chipSame
	}
	return chipUnknown
}

func newColumnContent(i int, c driftline.ColumnDrift, alpha float64) columnContent {
	column := columnContent{
		Anchor: fmt.Sprintf("column-%d", i+1), Name: c.Column, Kind: c.Kind, Chip: chipOf(c.Verdict),
		ReferenceRows: c.ReferenceRows, CurrentRows: c.CurrentRows,
		ReferenceMissing: shareOf(c.ReferenceNulls, c.ReferenceRows+c.ReferenceNulls),
		CurrentMissing:   shareOf(c.CurrentNulls, c.CurrentRows+c.CurrentNulls),
		MissingSort:      sortable(missingChange(c)),
		Effect:           effect(c.Effect), EffectName: "D",
		EffectSort: sortable(float64(c.Effect)), PSort: sortable(float64(c.PValue)), QSort: sortable(float64(c.QValue)),
		P: Probability(c.PValue), Q: Probability(c.QValue), Statistic: people(float64(c.Statistic)),
		EffectBar: "0",
	}
	if c.Type != "" {
		column.Kind = string(c.Type)
	}
	if bar := float64(c.Effect); bar > 0 {
		column.EffectBar = strconv.Itoa(int(math.Ceil(100 * min(1, bar))))
	}
	column.Test = testName(c.Test)
	switch c.Test {
	case "ks":
	case "chi2":
		column.EffectName = "V"
	default:
		column.EffectName = ""
	}
	column.Range = newEffectRange(c)
	for _, other := range c.Others {
		column.Others = append(column.Others, otherTest{testName(other.Name), people(float64(other.Value)), Probability(other.PValue), other.Name == c.DecidedBy})
	}
	column.Note = capitalized(c.Note)
	if column.Chip == chipDrift {
		column.Finding = capitalized(Finding(c, alpha))
		column.Note = capitalized(besides(c))
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

// Finding says in words what drifted: the values, how many are missing, or both.
func Finding(c driftline.ColumnDrift, alpha float64) string {
	if c.MissingVerdict != driftline.Drift {
		return valueFinding(c)
	}
	missing := fmt.Sprintf("missing values went from %s to %s",
		shareOf(c.ReferenceNulls, c.ReferenceRows+c.ReferenceNulls), shareOf(c.CurrentNulls, c.CurrentRows+c.CurrentNulls))
	if float64(c.QValue) <= alpha {
		return missing + "; " + valueFinding(c)
	}
	return missing
}

// besides is what the note says that the finding does not.
func besides(c driftline.ColumnDrift) string {
	if c.MissingVerdict != driftline.Drift {
		return c.Note
	}
	return strings.Join(slices.DeleteFunc(strings.Split(c.Note, "; "), func(note string) bool {
		return strings.HasPrefix(note, "missing values went ")
	}), "; ")
}

// valueFinding says where the values of the two sides differ most.
func valueFinding(c driftline.ColumnDrift) string {
	if c.ReferenceRows == 0 || c.CurrentRows == 0 {
		return "one side has no values any more"
	}
	text := categoryFinding(c)
	if len(c.Histogram.Categories) == 0 {
		text = numberFinding(c)
	}
	if c.DecidedBy != "" && c.DecidedBy != c.Test {
		text += fmt.Sprintf(" (found by %s)", testName(c.DecidedBy))
	}
	return text
}

func numberFinding(c driftline.ColumnDrift) string {
	text := fmt.Sprintf("%s is %s", testName(c.Test), people(float64(c.Statistic)))
	if c.Test == "ks" {
		text = fmt.Sprintf("up to %s of the values moved", Percent(float64(c.Effect)))
	}
	switch gap := greatestGap(c.Histogram); {
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

func categoryFinding(c driftline.ColumnDrift) string {
	h := c.Histogram
	n, m := sum(h.Reference), sum(h.Current)
	best, at := 0.005, -1
	for i, name := range h.Categories {
		if name != otherCategories && i < len(h.Reference) && i < len(h.Current) && n > 0 && m > 0 {
			if d := math.Abs(float64(h.Current[i])/m - float64(h.Reference[i])/n); d > best {
				best, at = d, i
			}
		}
	}
	text := "many categories changed a little"
	if at >= 0 {
		text = fmt.Sprintf("%s went from %s to %s", categoryName(h.Categories[at]),
			Percent(float64(h.Reference[at])/n), Percent(float64(h.Current[at])/m))
	}
	if unseen := float64(c.UnseenShare); unseen > 0 {
		text += fmt.Sprintf("; %s is of categories that were not there before", Percent(unseen))
	}
	return text
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
