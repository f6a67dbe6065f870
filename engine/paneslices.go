package engine

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
)

const (
	// searchedColumns is of how many drifted columns slices are searched, those with the
	// largest effects.
	searchedColumns = 5

	// searchedRows is how many rows of a side are searched: more cost time and find little.
	searchedRows = 100_000

	// namedSlices is how many slices a pane names.
	namedSlices = 5

	sliceSeed = 1
)

// worstSlices searches the rows of a pane that drifted for those in which a drifted
// column changed more than elsewhere, the worst first.
//
// A change is that of a share: of the values beyond the point where KS found the two
// distributions farthest apart, of the category whose share changed most, or of what is
// missing. Slices are sets of rows that conditions on other columns make. Their search is
// [estimate.Segments] with that share as the loss, so that of those named, over all
// columns, one in twenty may be chance.
func (r *paneReader) worstSlices(ctx context.Context, report *driftline.DriftReport) ([]driftline.DriftSlice, error) {
	search, err := r.newSliceSearch(ctx)
	if err != nil {
		return nil, err
	}
	drifted := slices.DeleteFunc(slices.Clone(report.Columns), func(c driftline.ColumnDrift) bool { return c.Verdict != driftline.Drift })
	drifted = drifted[:min(searchedColumns, len(drifted))]
	var found []driftline.DriftSlice
	for _, c := range drifted {
		worst, err := search.of(ctx, c, defaultAlpha/float64(len(drifted)))
		if err != nil {
			return nil, err
		}
		found = append(found, worst...)
	}
	slices.SortStableFunc(found, func(a, b driftline.DriftSlice) int {
		return -compareNumbers(a.Excess.Value*driftline.Number(a.Rows), b.Excess.Value*driftline.Number(b.Rows))
	})
	return slices.Clone(found[:min(namedSlices, len(found))]), nil
}

func compareNumbers(a, b driftline.Number) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// sliceSearch is both sides of a pane as numbers.
type sliceSearch struct {
	plan               *performancePlan
	by                 []string // columns whose values make slices
	conditions         int
	reference, current estimate.Features
}

func (r *paneReader) newSliceSearch(ctx context.Context) (*sliceSearch, error) {
	whole := *r
	whole.keys = true
	reference, current, err := whole.sides(ctx, nil)
	if err != nil {
		return nil, err
	}
	s := &sliceSearch{plan: &performancePlan{}, by: r.m.Slices.By, conditions: r.m.Slices.Conditions}
	for _, f := range current.Schema.Fields() {
		if isBytes(f.Type) {
			continue // no condition in SQL would name a value
		}
		if c, err := inputColumn(f.Name, []*arrow.Schema{current.Schema, reference.Schema}); err == nil && c != nil {
			s.plan.columns = append(s.plan.columns, c)
		}
	}
	now, err := s.plan.read(ctx, current)
	if err != nil {
		return nil, err
	}
	then, err := s.plan.read(ctx, reference)
	if err != nil {
		return nil, err
	}
	s.current, s.reference = someRows(now.inputs), someRows(then.inputs)
	if len(s.by) == 0 {
		for _, c := range s.plan.columns {
			if c.codes == nil || len(c.codes.names) <= maxInputCategories {
				s.by = append(s.by, c.name)
			}
		}
	}
	return s, nil
}

func isBytes(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.BINARY_VIEW, arrow.FIXED_SIZE_BINARY:
		return true
	}
	return false
}

// someRows draws at most searchedRows rows.
func someRows(f estimate.Features) estimate.Features {
	rows := f.Rows()
	if rows <= searchedRows {
		return f
	}
	chosen := rand.New(rand.NewPCG(sliceSeed, uint64(rows))).Perm(rows)[:searchedRows]
	slices.Sort(chosen)
	return f.Select(chosen)
}

// of searches the slices in which one column changed most.
func (s *sliceSearch) of(ctx context.Context, c driftline.ColumnDrift, alpha float64) ([]driftline.DriftSlice, error) {
	at := slices.Index(s.current.Names, c.Column)
	if at < 0 {
		return nil, nil // a time, or a kind that cannot be searched by
	}
	change := s.changeOf(c, s.reference.Columns[at], s.current.Columns[at])
	if change == nil {
		return nil, nil
	}
	referenceLoss, reference := change.losses(s.reference, at)
	currentLoss, current := change.losses(s.current, at)
	segments, err := estimate.Segments(ctx, s.without(reference, c.Column), s.without(current, c.Column), referenceLoss, currentLoss,
		estimate.SegmentOptions{Conditions: s.conditions, Alpha: alpha, Most: namedSlices, Seed: sliceSeed})
	if err != nil {
		return nil, err
	}
	var found []driftline.DriftSlice
	for _, segment := range segments {
		slice := driftline.DriftSlice{Column: c.Column, Change: change.text, ReferenceRows: int64(segment.ReferenceRows), Rows: int64(segment.CurrentRows),
			Before: driftline.Number(segment.Before), After: driftline.Number(segment.After),
			Excess: interval(segment.Excess), QValue: driftline.Number(segment.QValue)}
		var where []string
		for _, condition := range segment.Conditions {
			name := func(code float64) string { return s.plan.text(condition.Column, code) }
			slice.Conditions = append(slice.Conditions, condition.Text(func(code float64) string { return shown(name(code)) }))
			where = append(where, conditionSQL(condition, s.plan.isText(condition.Column), name))
		}
		slice.Where = strings.Join(where, " AND ")
		found = append(found, slice)
	}
	return found, nil
}

// without keeps the columns that make slices, but for one.
func (s *sliceSearch) without(f estimate.Features, column string) (kept estimate.Features) {
	for i, name := range f.Names {
		if name == column || !slices.Contains(s.by, name) {
			continue
		}
		kept.Names, kept.Columns = append(kept.Names, name), append(kept.Columns, f.Columns[i])
		kept.Categorical = append(kept.Categorical, f.Categorical[i])
	}
	return kept
}

// change is what became more frequent in a column, as a question to each value.
type change struct {
	text    string
	missing bool // it is asked of missing values too
	is      func(v float64) bool
}

// losses is 1 for the rows with the change, and the rows that it can be asked of.
func (c *change) losses(f estimate.Features, column int) (losses []float64, rows estimate.Features) {
	var asked []int
	for i, v := range f.Columns[column] {
		if v != v && !c.missing {
			continue
		}
		asked = append(asked, i)
		losses = append(losses, indicatorOf(c.is(v)))
	}
	return losses, f.Select(asked)
}

func indicatorOf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// changeOf says what changed most in a drifted column; nil if that cannot be said.
func (s *sliceSearch) changeOf(c driftline.ColumnDrift, reference, current []float64) *change {
	switch {
	case c.DecidedBy == missing || c.Test == "":
		if float64(c.MissingEffect) > 0 {
			return &change{c.Column + " is missing", true, func(v float64) bool { return v != v }}
		}
		return &change{c.Column + " is known", true, func(v float64) bool { return v == v }}
	case s.plan.isText(c.Column):
		return s.categoryChange(c.Column, reference, current)
	case math.IsNaN(float64(c.Location)):
		return nil
	}
	at := float64(c.Location)
	below := func(v float64) bool { return v <= at }
	figure := strconv.FormatFloat(at, 'g', 6, 64)
	if shareOf(current, below) >= shareOf(reference, below) {
		return &change{c.Column + " ≤ " + figure, false, below}
	}
	return &change{c.Column + " > " + figure, false, func(v float64) bool { return v > at }}
}

// categoryChange finds the category whose share changed most, in standard errors.
func (s *sliceSearch) categoryChange(column string, reference, current []float64) *change {
	before, now := countsByCode(reference), countsByCode(current)
	n, m := float64(total64(before)), float64(total64(now))
	if n == 0 || m == 0 {
		return nil
	}
	best, most, rose := -1, 0.0, false
	for code := range max(len(before), len(now)) {
		a, b := countAt(before, code), countAt(now, code)
		pooled := (a + b) / (n + m)
		if z := math.Abs(a/n-b/m) / math.Sqrt(pooled*(1-pooled)*(1/n+1/m)); z > most {
			best, most, rose = code, z, b/m > a/n
		}
	}
	if best < 0 {
		return nil
	}
	name := shown(s.plan.text(column, float64(best)))
	if rose {
		return &change{column + " = " + name, false, func(v float64) bool { return v == float64(best) }}
	}
	return &change{column + " ≠ " + name, false, func(v float64) bool { return v != float64(best) }}
}

func countsByCode(codes []float64) (counts []int64) {
	for _, code := range codes {
		if code != code {
			continue
		}
		for int(code) >= len(counts) {
			counts = append(counts, 0)
		}
		counts[int(code)]++
	}
	return counts
}

func countAt(counts []int64, code int) float64 {
	if code < len(counts) {
		return float64(counts[code])
	}
	return 0
}

func shareOf(values []float64, is func(float64) bool) float64 {
	known, yes := 0, 0
	for _, v := range values {
		if v != v {
			continue
		}
		known++
		if is(v) {
			yes++
		}
	}
	return float64(yes) / float64(max(1, known))
}

// isText reports whether a column's values are names of categories.
func (p *performancePlan) isText(column string) bool {
	return slices.ContainsFunc(p.columns, func(c *performanceColumn) bool { return c.name == column && c.codes != nil })
}

// conditionSQL writes a condition of a slice in SQL; name gives the name of a category.
func conditionSQL(c estimate.Condition, text bool, name func(float64) string) string {
	value := quoted(c.Column)
	if text {
		switch c.Kind {
		case estimate.IsMissing:
			return value + " IS NULL"
		case estimate.IsCategory:
			return fmt.Sprintf("CAST(%s AS VARCHAR) = %s", value, quoteText(name(c.Category)))
		}
		names := make([]string, len(c.Frequent))
		for i, code := range c.Frequent {
			names[i] = quoteText(name(code))
		}
		return fmt.Sprintf("CAST(%s AS VARCHAR) NOT IN (%s)", value, strings.Join(names, ", "))
	}
	number := "CAST(" + value + " AS DOUBLE)"
	if c.Kind == estimate.IsMissing {
		return fmt.Sprintf("(%s IS NULL OR isnan(%s))", value, number)
	}
	parts := []string{"NOT isnan(" + number + ")"} // which DuckDB takes for the greatest number
	if !math.IsInf(c.Low, 0) {
		parts = append(parts, number+" > "+strconv.FormatFloat(c.Low, 'g', -1, 64))
	}
	if !math.IsInf(c.High, 0) {
		parts = append(parts, number+" <= "+strconv.FormatFloat(c.High, 'g', -1, 64))
	}
	return strings.Join(parts, " AND ")
}

func quoteText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
