package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

const (
	defaultAlpha  = 0.05
	defaultMargin = 0.01

	// resolution is the effect that must have been detectable before a column is the
	// same, whatever smaller margin counts as drift.
	resolution = 0.05

	// comparedAtOnce bounds the memory that columns with nulls or narrow types
	// need beside their Arrow buffers.
	comparedAtOnce = 2

	// maxCategories is the number of distinct values from which on a column is
	// taken for an identifier, of which no two tables share many.
	maxCategories = 1 << 20

	// fewValues is the number of distinct whole numbers up to which the report
	// says that the test is conservative.
	fewValues = 10
)

const (
	numeric     = "numeric"
	categorical = "categorical"
	missing     = "missing" // the test of what is missing
)

// Compare says column by column whether current comes from the same distribution
// as reference. Numbers, times among them, are tested with the exact two-sample
// Kolmogorov–Smirnov test, also if they take few values; strings, bytes, booleans
// and dictionaries with chi-square homogeneity. docs/statistics.md says more of the
// tests, the correction for many columns and the verdict.
//
// Columns of one name belong together. Without opts.Columns all of them are reported;
// those that cannot be compared have no test, and a note that says why. A time moves
// on between any two windows, so times are compared only if they are named. A column
// that is named and cannot be compared is Invalid.
//
// Compare reads both streams once, at the same time, and keeps the compared columns in memory until it
// returns. The sides of the report have no name yet.
func Compare(ctx context.Context, reference, current driftline.Batches, opts driftline.DriftOptions) (*driftline.DriftReport, error) {
	levels, err := levelsOf(opts)
	if err != nil {
		return nil, err
	}
	columns, err := pairColumns(reference.Schema, current.Schema, opts)
	if err != nil {
		return nil, err
	}
	referenceRows, currentRows, err := collectBoth(ctx, reference, current, columns)
	defer releaseColumns(columns)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(comparedAtOnce)
	for _, c := range columns {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			c.test(levels)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return report(columns, levels, referenceRows, currentRows), nil
}

func levelsOf(opts driftline.DriftOptions) (drift.Levels, error) {
	levels := drift.Levels{Alpha: defaultAlpha, Margin: defaultMargin, Resolution: resolution}
	if opts.Alpha != 0 {
		levels.Alpha = opts.Alpha
	}
	if opts.Margin != nil {
		levels.Margin = *opts.Margin
	}
	if !(levels.Alpha > 0 && levels.Alpha < 1) {
		return levels, driftline.Errorf(driftline.Invalid, "alpha is %v, want a number between 0 and 1", levels.Alpha).
			WithHint("alpha is the share of false alarms to accept; 0.05 is usual")
	}
	if !(levels.Margin >= 0 && levels.Margin <= 1) {
		return levels, driftline.Errorf(driftline.Invalid, "margin is %v, want a number from 0 to 1", levels.Margin).
			WithHint("margin is the smallest effect that matters: 0.05 means that 5 %% of the values lie elsewhere")
	}
	if opts.Preset != "" && opts.Preset != "driftline" {
		return levels, driftline.Errorf(driftline.Invalid, "preset %q is not known", opts.Preset).WithHint("the presets are: driftline")
	}
	if len(opts.Tests) > 0 || len(opts.Multivariate) > 0 || opts.DriftShare != nil || opts.Correction != "" && opts.Correction != "bh" {
		return levels, driftline.Errorf(driftline.Invalid, "tests, multivariate, drift_share and corrections other than bh cannot be chosen yet").
			WithHint("leave them out")
	}
	return levels, nil
}

// comparison is one column on its way into the report.
type comparison struct {
	driftline.ColumnDrift
	untestable         bool // Note says why
	reference, current side
	tails              drift.TailResult
	category           string  // what the category that changed most did
	missingDetectable  float64 // the smallest change of the share of missing that would be significant
	notes              []string
}

// side is one side of a column.
type side struct {
	index  int // in the schema, -1 if the side has no such column
	field  arrow.Field
	pieces []arrow.Array // retained
}

// pairColumns decides which columns are compared and how.
func pairColumns(reference, current *arrow.Schema, opts driftline.DriftOptions) ([]*comparison, error) {
	names := columnNames(reference, current)
	if err := checkNames(opts.Columns, names); err != nil {
		return nil, err
	}
	if err := checkNames(opts.Exclude, names); err != nil {
		return nil, err
	}
	var columns []*comparison
	for _, name := range names {
		named := slices.Contains(opts.Columns, name)
		if len(opts.Columns) > 0 && !named || slices.Contains(opts.Exclude, name) {
			continue
		}
		c := &comparison{}
		c.Column = name
		c.Histogram = driftline.Histogram{Reference: []int64{}, Current: []int64{}}
		why, err := c.pair(reference, current, named)
		if named && err != nil {
			return nil, err
		}
		if err != nil {
			why = err.Message
		}
		if why != "" {
			c.untestable = true
			c.notes = append(c.notes, why)
		}
		columns = append(columns, c)
	}
	return columns, nil
}

// columnNames returns reference's names in its order, then those that only current has.
func columnNames(schemas ...*arrow.Schema) []string {
	var names []string
	for _, schema := range schemas {
		for _, f := range schema.Fields() {
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

func checkNames(asked, names []string) error {
	for _, name := range asked {
		if slices.Contains(names, name) {
			continue
		}
		err := driftline.Errorf(driftline.Invalid, "column %q is in neither table", name)
		if near := driftline.Nearest(name, names); near != "" {
			return err.WithHint("did you mean %q?", near)
		}
		return err.WithHint("the columns are: %s", strings.Join(names, ", "))
	}
	return nil
}

// pair finds the column on both sides. The error says why it can never be compared,
// why is a reason that naming the column overrules.
func (c *comparison) pair(reference, current *arrow.Schema, named bool) (why string, err *driftline.Error) {
	if c.reference, err = findColumn(reference, c.Column, "reference"); err != nil {
		return "", err
	}
	if c.current, err = findColumn(current, c.Column, "current"); err != nil {
		return "", err
	}
	r, s := c.reference.field.Type, c.current.field.Type
	c.Type, _ = driftline.TypeOf(r)
	if r.ID() == arrow.NULL {
		c.Type, _ = driftline.TypeOf(s)
	}
	kind, other := cmp.Or(kindOf(r), kindOf(s)), cmp.Or(kindOf(s), kindOf(r))
	c.Kind = cmp.Or(kind, categorical)
	switch {
	case r.ID() == arrow.NULL && s.ID() == arrow.NULL:
	case !canCompare(r) || !canCompare(s):
		return "", driftline.Errorf(driftline.Invalid, "column %q is %s: such columns cannot be compared", c.Column, typeName(r)).
			WithHint("compare its parts as columns of their own")
	case kind != other:
		return "", driftline.Errorf(driftline.Invalid, "column %q is %s in reference and %s in current", c.Column, typeName(r), typeName(s)).
			WithHint("cast one of them")
	case (isTime(r) || isTime(s)) && !named:
		return "a time differs between any two windows: name the column to compare it", nil
	}
	return "", nil
}

func findColumn(schema *arrow.Schema, name, table string) (side, *driftline.Error) {
	found := schema.FieldIndices(name)
	switch len(found) {
	case 0:
		return side{index: -1}, driftline.Errorf(driftline.Invalid, "column %q is missing in %s", name, table).
			WithHint("compare columns that both tables have")
	case 1:
		return side{index: found[0], field: schema.Field(found[0])}, nil
	}
	return side{index: -1}, driftline.Errorf(driftline.Invalid, "column %q is in %s %d times", name, table, len(found)).
		WithHint("give the columns names of their own")
}

// collectBoth reads both sides at once, because decoding them is most of the work.
func collectBoth(ctx context.Context, reference, current driftline.Batches, columns []*comparison) (referenceRows, currentRows int64, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		referenceRows, err = collectColumns(ctx, reference, columns, func(c *comparison) *side { return &c.reference })
		return err
	})
	group.Go(func() (err error) {
		currentRows, err = collectColumns(ctx, current, columns, func(c *comparison) *side { return &c.current })
		return err
	})
	err = group.Wait()
	return referenceRows, currentRows, err
}

// collectColumns ranges over the batches and keeps what is compared of them.
func collectColumns(ctx context.Context, batches driftline.Batches, columns []*comparison, of func(*comparison) *side) (rows int64, err error) {
	for batch, err := range batches.All {
		if err != nil {
			return rows, err
		}
		if err := ctx.Err(); err != nil {
			return rows, err
		}
		rows += batch.NumRows()
		for _, c := range columns {
			if c.untestable {
				continue
			}
			s := of(c)
			piece := batch.Column(s.index)
			piece.Retain()
			s.pieces = append(s.pieces, piece)
		}
	}
	return rows, nil
}

func releaseColumns(columns []*comparison) {
	for _, c := range columns {
		releaseArrays(c.reference.pieces)
		releaseArrays(c.current.pieces)
	}
}

// test fills in all but the q-value and the verdict, which need the other columns.
func (c *comparison) test(levels drift.Levels) {
	c.undefined()
	switch {
	case c.untestable:
		return
	case c.Kind == numeric:
		c.testNumbers(levels.Alpha)
	default:
		c.testCategories(levels.Alpha)
	}
	c.testMissing(levels.Alpha)
}

func (c *comparison) undefined() {
	nan := driftline.Number(math.NaN())
	for _, number := range []*driftline.Number{
		&c.Statistic, &c.PValue, &c.Effect, &c.EffectLow, &c.EffectHigh, &c.Location,
		&c.CombinedPValue, &c.QValue, &c.Threshold, &c.Detectable, &c.MissingPValue, &c.MissingQValue, &c.MissingEffect, &c.UnseenShare,
	} {
		*number = nan
	}
}

func (c *comparison) testNumbers(alpha float64) {
	reference, referenceNulls := numbers(c.reference.pieces)
	current, currentNulls := numbers(c.current.pieces)
	all := drift.CompareNumbers(reference, current)
	result := all.KS
	c.ReferenceRows, c.CurrentRows = result.N, result.M
	c.ReferenceNulls = referenceNulls + result.MissingN
	c.CurrentNulls = currentNulls + result.MissingM
	c.setHistogram(drift.NewHistogram(reference, current))
	if nans := result.MissingN + result.MissingM; nans > 0 {
		c.note("NaN counts as missing (%d values)", nans)
	}
	if result.N == 0 || result.M == 0 {
		return
	}
	c.Test = "ks"
	c.UnseenShare = 0
	c.Statistic, c.Effect = driftline.Number(result.D), driftline.Number(result.D)
	c.PValue, c.Location = driftline.Number(result.P), driftline.Number(result.Location)
	c.effectRange(result.Interval(alpha), result.Detectable(alpha))
	c.CombinedPValue = driftline.Number(all.P)
	c.other("rank", all.Ranks.Statistic, all.Ranks.P, all.Ranks.Effect())
	c.other("tails", all.Tails.Effect, all.Tails.P, all.Tails.Effect)
	c.tails = all.Tails
	switch distinct := distinctValues(reference, current); {
	case distinct == 1:
		c.note("every value is the same")
	case distinct > 0 && arrow.IsInteger(c.reference.field.Type.ID()):
		c.note("only %d distinct values: the p-value is conservative", distinct)
	}
}

func (c *comparison) testCategories(alpha float64) {
	reference, referenceNulls, known := categories(c.reference.pieces)
	current, currentNulls, alsoKnown := categories(c.current.pieces)
	c.ReferenceNulls, c.CurrentNulls = referenceNulls, currentNulls
	c.ReferenceRows, c.CurrentRows = total(reference), total(current)
	if !known || !alsoKnown {
		c.ReferenceRows, c.CurrentRows = 0, 0
		c.untestable = true
		c.note("more than %d distinct values, as identifiers have: not compared", maxCategories)
		return
	}
	c.setHistogram(drift.NewCategoryHistogram(reference, current))
	if c.ReferenceRows == 0 || c.CurrentRows == 0 {
		return
	}
	names := drift.CategoryNames(reference, current)
	all := drift.CompareCategories(countsOf(names, reference), countsOf(names, current))
	result := all.ChiSquare
	if math.IsNaN(result.P) {
		c.note("each of the %d categories is too rare to test", len(names))
		return
	}
	c.Test = "chi2"
	c.Statistic, c.PValue, c.Effect = driftline.Number(result.Statistic), driftline.Number(result.P), driftline.Number(result.V)
	c.effectRange(result.Interval(alpha), result.Detectable(alpha))
	c.CombinedPValue = driftline.Number(all.P)
	c.other("category", all.Category.Effect, all.Category.P, all.Category.Effect)
	if at := all.Category.Index; at >= 0 {
		c.category = fmt.Sprintf("%q went from %s to %s", shown(names[at]), percent(reference[names[at]], result.N), percent(current[names[at]], result.M))
	}
	if result.DF == 0 {
		c.note("every value is the same")
	}
	switch result.Pooled {
	case 0:
	case 1:
		c.note("1 rare category was joined to another")
	default:
		c.note("%d rare categories were tested as one", result.Pooled)
	}
	unseen := unseenIn(reference, current)
	c.UnseenShare = driftline.Number(float64(unseen) / float64(c.CurrentRows))
	if unseen > 0 {
		c.note("%s of current is of categories that reference does not have", percent(unseen, c.CurrentRows))
	}
}

// testMissing compares how much is missing.
func (c *comparison) testMissing(alpha float64) {
	if c.untestable {
		return
	}
	referenceTotal, currentTotal := c.ReferenceRows+c.ReferenceNulls, c.CurrentRows+c.CurrentNulls
	switch {
	case referenceTotal == 0 && currentTotal == 0:
		c.note("neither side has rows")
		return
	case referenceTotal == 0:
		c.note("reference has no rows")
		return
	case currentTotal == 0:
		c.note("current has no rows")
		return
	case c.ReferenceRows == 0 && c.CurrentRows == 0:
		c.note("every value is missing on both sides")
		return
	case c.ReferenceNulls == 0 && c.CurrentNulls == 0:
		return
	}
	c.MissingEffect = driftline.Number(float64(c.CurrentNulls)/float64(currentTotal) - float64(c.ReferenceNulls)/float64(referenceTotal))
	c.MissingPValue = driftline.Number(drift.SharesP(c.ReferenceNulls, referenceTotal, c.CurrentNulls, currentTotal))
	c.missingDetectable = drift.DetectableD(referenceTotal, currentTotal, alpha)
	switch {
	case c.ReferenceRows == 0:
		c.note("every value of reference is missing")
	case c.CurrentRows == 0:
		c.note("every value of current is missing")
	}
}

// other adds a further test to the column, if it could be computed.
func (c *comparison) other(name string, value, p, effect float64) {
	if math.IsNaN(p) {
		return
	}
	c.Others = append(c.Others, driftline.DriftStatistic{
		Name: name, Value: driftline.Number(value), PValue: driftline.Number(p), Effect: driftline.Number(effect),
	})
}

func (c *comparison) effectRange(interval drift.Interval, detectable float64) {
	c.EffectLow, c.EffectHigh = driftline.Number(interval.Low), driftline.Number(interval.High)
	c.Detectable = driftline.Number(detectable)
}

func (c *comparison) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *comparison) setHistogram(h drift.Histogram) {
	if h.Infinite > 0 {
		c.note("%d infinite values lie in the end bins", h.Infinite)
	}
	if h.Reference == nil {
		return
	}
	c.Histogram = driftline.Histogram{Edges: h.Edges, Reference: h.Reference, Current: h.Current}
	for _, name := range h.Categories {
		c.Histogram.Categories = append(c.Histogram.Categories, shown(name))
	}
}

// report corrects for the number of questions, decides, and sorts.
func report(columns []*comparison, levels drift.Levels, referenceRows, currentRows int64) *driftline.DriftReport {
	r := &driftline.DriftReport{
		Reference: driftline.DriftSide{Rows: referenceRows}, Current: driftline.DriftSide{Rows: currentRows},
		Preset: "driftline", Correction: "bh", Alpha: levels.Alpha, Margin: levels.Margin, Columns: []driftline.ColumnDrift{},
	}
	p := make([]float64, 0, 2*len(columns))
	for _, c := range columns {
		p = append(p, float64(c.CombinedPValue), float64(c.MissingPValue))
	}
	q := drift.AdjustBH(p)
	for i, c := range columns {
		c.QValue, c.MissingQValue = driftline.Number(q[2*i]), driftline.Number(q[2*i+1])
		c.decide(levels)
		if c.Verdict == driftline.Drift {
			r.Drifted++
		}
		r.Columns = append(r.Columns, c.ColumnDrift)
	}
	r.Share = driftline.Number(float64(r.Drifted) / float64(r.Compared()))
	r.Drift = r.Drifted > 0
	slices.SortStableFunc(r.Columns, func(a, b driftline.ColumnDrift) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Effect, a.Effect))
	})
	return r
}

// decide weighs what was found in the values and in what is missing.
func (c *comparison) decide(levels drift.Levels) {
	c.Verdict = driftline.NotCompared
	if c.Test != "" {
		c.Threshold = driftline.Number(levels.Alpha)
		effect := c.strongest(levels.Alpha)
		c.Verdict = driftline.Verdict(levels.Decide(float64(c.QValue), effect, float64(c.Detectable)))
		if c.Verdict == driftline.Drift && (float64(c.PValue) > levels.Alpha || float64(c.Effect) < levels.Margin) {
			c.explain()
		}
	}
	if !math.IsNaN(float64(c.MissingQValue)) {
		c.decideMissing(levels)
	}
	c.Note = strings.Join(c.notes, "; ")
}

// strongest sets which test has the strongest evidence, and returns the largest effect
// of those that are significant on their own.
func (c *comparison) strongest(alpha float64) (effect float64) {
	c.DecidedBy = c.Test
	least := float64(c.PValue)
	if effect = 0; least <= alpha {
		effect = float64(c.Effect)
	}
	for _, other := range c.Others {
		p := float64(other.PValue)
		if p <= alpha {
			effect = max(effect, float64(other.Effect))
		}
		if p < least {
			least, c.DecidedBy = p, other.Name
		}
	}
	return effect
}

// explain says what was found that D or V does not show.
func (c *comparison) explain() {
	switch c.DecidedBy {
	case "tails":
		where, t := "at or below", c.tails
		if t.Upper {
			where = "at or above"
		}
		c.note("%s of reference and %s of current lie %s %.6g", percent(t.Reference, c.ReferenceRows), percent(t.Current, c.CurrentRows), where, t.At)
	case "category":
		c.note("%s", c.category)
	}
}

// decideMissing lets a change in what is missing make the column drift.
func (c *comparison) decideMissing(levels drift.Levels) {
	effect := math.Abs(float64(c.MissingEffect))
	c.MissingVerdict = driftline.Verdict(levels.Decide(float64(c.MissingQValue), effect, c.missingDetectable))
	switch {
	case c.MissingVerdict == driftline.Drift && c.Verdict != driftline.Drift:
		c.DecidedBy, c.Verdict, c.Threshold = missing, driftline.Drift, driftline.Number(levels.Alpha)
	case c.Verdict == driftline.NotCompared:
		c.DecidedBy, c.Verdict, c.Threshold = missing, c.MissingVerdict, driftline.Number(levels.Alpha)
	}
	if c.MissingVerdict == driftline.Drift {
		c.note("missing values went from %s to %s", percent(c.ReferenceNulls, c.ReferenceRows+c.ReferenceNulls),
			percent(c.CurrentNulls, c.CurrentRows+c.CurrentNulls))
	}
}

// rank puts drifted columns first and untested ones last.
func rank(c driftline.ColumnDrift) int {
	switch {
	case c.Verdict == driftline.Drift:
		return 0
	case c.Verdict == driftline.NotCompared:
		return 2
	}
	return 1
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.3g %%", 100*float64(part)/float64(whole))
}
