package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

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
// as reference. By default numbers, times among them, are tested with the exact two-sample
// Kolmogorov–Smirnov test and for what it is blind to, also if they take few values; strings,
// bytes, booleans and dictionaries with chi-square homogeneity and for single categories. The
// options choose other tests, or the rules of another product. docs/statistics.md says more of
// the tests, the correction for many columns and the verdict.
//
// Columns of one name belong together. Without opts.Columns all of them are reported;
// those that cannot be compared have no test, and a note that says why. A time moves
// on between any two windows, so times are compared only if they are named. A column
// that is named and cannot be compared is Invalid.
//
// Compare reads both streams once, at the same time, and keeps the compared columns in memory until it
// returns. The sides of the report have no name yet.
func Compare(ctx context.Context, reference, current driftline.Batches, opts driftline.DriftOptions) (*driftline.DriftReport, error) {
	return compareLooking(ctx, reference, current, opts, 0)
}

// compareLooking is [Compare] as one of so many looks at current, which grows between them.
func compareLooking(ctx context.Context, reference, current driftline.Batches, opts driftline.DriftOptions, looks int) (*driftline.DriftReport, error) {
	rules, columns, err := planComparison(reference.Schema, current.Schema, opts)
	if err != nil {
		return nil, err
	}
	rules.looks = looks
	referenceRows, currentRows, err := collectBoth(ctx, reference, current, columns)
	defer releaseColumns(columns)
	if err != nil {
		return nil, err
	}
	err = severalAtOnce(ctx, columns, func(_ context.Context, c *comparison) error { return c.test(&rules) })
	if err != nil {
		return nil, err
	}
	result := report(columns, &rules, referenceRows, currentRows)
	if len(rules.multivariate) > 0 {
		if result.Multivariate, err = compareJointly(ctx, columns, &rules); err != nil {
			return nil, err
		}
		result.Drift = result.Drift || result.Multivariate.Verdict == driftline.Drift
	}
	return result, nil
}

func planComparison(reference, current *arrow.Schema, opts driftline.DriftOptions) (rules, []*comparison, error) {
	rules, err := newRules(opts)
	if err != nil {
		return rules, nil, err
	}
	columns, err := pairColumns(reference, current, opts, rules.leftOut)
	return rules, columns, err
}

func severalAtOnce(ctx context.Context, columns []*comparison, do func(context.Context, *comparison) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(comparedAtOnce)
	for _, c := range columns {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(ctx, c)
		})
	}
	return group.Wait()
}

// TableInParts is a table to compare that can be read column by column.
type TableInParts struct {
	Rows  driftline.Batches // all of it
	Parts Parts
}

// CompareInParts is [Compare] of tables that are read column by column: each is tested as soon as it is
// read, and its memory is the next one's.
func CompareInParts(ctx context.Context, reference, current TableInParts, opts driftline.DriftOptions) (*driftline.DriftReport, error) {
	rules, columns, err := planComparison(reference.Rows.Schema, current.Rows.Schema, opts)
	if err != nil {
		return nil, err
	}
	testable := slices.ContainsFunc(columns, func(c *comparison) bool { return !c.untestable })
	if !testable || len(rules.multivariate) > 0 { // somebody must count the rows; columns that are tested together are needed together
		return Compare(ctx, reference.Rows, current.Rows, opts)
	}
	var rows [2]atomic.Int64
	err = severalAtOnce(ctx, columns, func(ctx context.Context, c *comparison) error {
		defer c.release()
		if !c.untestable {
			for i, s := range []struct {
				of *side
				in Parts
			}{{&c.reference, reference.Parts}, {&c.current, current.Parts}} {
				n, err := s.of.collect(ctx, s.in)
				if err != nil {
					return err
				}
				rows[i].Store(n)
			}
		}
		return c.test(&rules)
	})
	if err != nil {
		return nil, err
	}
	return report(columns, &rules, rows[0].Load(), rows[1].Load()), nil
}

// collect keeps the side's column of a table.
func (s *side) collect(ctx context.Context, from Parts) (rows int64, err error) {
	parts, err := from.Read([]string{s.field.Name})
	if err != nil {
		return 0, err
	}
	for _, part := range parts {
		for batch, err := range part.All {
			if err != nil {
				return 0, err
			}
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			rows += batch.NumRows()
			s.keep(batch.Column(0))
		}
	}
	return rows, nil
}

// keep retains a piece of the column.
func (s *side) keep(piece arrow.Array) {
	piece.Retain()
	s.pieces = append(s.pieces, piece)
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
	return levels, nil
}

// comparison is one column on its way into the report.
type comparison struct {
	driftline.ColumnDrift
	untestable         bool // Note says why
	reference, current side
	tails              drift.TailResult
	category           string   // what the category that changed most did
	margin, level      *float64 // of a chosen test, in place of the report's margin or of q
	missingDetectable  float64  // the smallest change of the share of missing that would be significant
	notes              []string
}

// side is one side of a column.
type side struct {
	index  int // in the schema, -1 if the side has no such column
	field  arrow.Field
	pieces []arrow.Array // retained
}

// pairColumns decides which columns are compared and how.
func pairColumns(reference, current *arrow.Schema, opts driftline.DriftOptions, leftOut []string) ([]*comparison, error) {
	names := columnNames(reference, current)
	if err := checkNames(opts.Columns, names); err != nil {
		return nil, err
	}
	if err := checkNames(opts.Exclude, names); err != nil {
		return nil, err
	}
	for _, test := range opts.Tests {
		if err := checkNames(test.Columns, names); err != nil {
			return nil, err
		}
	}
	var columns []*comparison
	for _, name := range names {
		named := slices.Contains(opts.Columns, name)
		if len(opts.Columns) > 0 && !named || slices.Contains(opts.Exclude, name) || !named && slices.Contains(leftOut, name) {
			continue
		}
		c := &comparison{}
		c.Column = name
		c.Histogram = noHistogram()
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
			s.keep(batch.Column(s.index))
		}
	}
	return rows, nil
}

func releaseColumns(columns []*comparison) {
	for _, c := range columns {
		c.release()
	}
}

func (c *comparison) release() {
	releaseArrays(c.reference.pieces)
	releaseArrays(c.current.pieces)
	c.reference.pieces, c.current.pieces = nil, nil
}

// test fills in all but the q-value and the verdict, which need the other columns.
func (c *comparison) test(r *rules) error {
	c.undefined()
	if c.untestable {
		return nil
	}
	alpha := r.levels.Alpha
	switch chosen := r.chosen(c.Column, c.Kind, c.Type); {
	case chosen != nil:
		if err := c.testChosen(chosen, alpha); err != nil {
			return err
		}
	case r.preset == presetEvidently:
		c.testEvidently()
	case r.preset == presetNannyML:
		c.testNannyML()
	case c.Kind == numeric:
		c.testNumbers(alpha)
	default:
		c.testCategories(alpha)
	}
	if r.preset == presetDriftline {
		c.testMissing(alpha)
	} else {
		c.noteEmpty()
	}
	return nil
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

// countNumbers fills in how many values there are, and their histogram.
func (c *comparison) countNumbers() (reference, current drift.Sample) {
	reference, current = c.bothNumbers()
	c.countValues(reference, current, reference.Missing(), current.Missing(), drift.NewHistogram(reference, current))
	return reference, current
}

// bothNumbers takes the values of both sides out of their pieces.
func (c *comparison) bothNumbers() (reference, current drift.Sample) {
	reference, c.ReferenceNulls = numbers(c.reference.pieces)
	current, c.CurrentNulls = numbers(c.current.pieces)
	return reference, current
}

func (c *comparison) countValues(reference, current drift.Sample, nansBefore, nansNow int64, histogram drift.Histogram) {
	c.ReferenceRows, c.CurrentRows = int64(reference.Len())-nansBefore, int64(current.Len())-nansNow
	c.ReferenceNulls, c.CurrentNulls = c.ReferenceNulls+nansBefore, c.CurrentNulls+nansNow
	c.setHistogram(histogram)
	if nans := nansBefore + nansNow; nans > 0 {
		c.note("NaN counts as missing (%d values)", nans)
	}
	c.UnseenShare = 0
}

func (c *comparison) testNumbers(alpha float64) {
	reference, current := c.bothNumbers()
	all, histogram := drift.DescribeNumbers(reference, current)
	result := all.KS
	c.countValues(reference, current, result.MissingN, result.MissingM, histogram)
	if result.N == 0 || result.M == 0 {
		return
	}
	c.Test = "ks"
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

// countCategories fills in how many values there are, their histogram, and what is
// unseen. It is false if there are too many categories.
func (c *comparison) countCategories() (reference, current map[string]int64, ok bool) {
	reference, c.ReferenceNulls, ok = categories(c.reference.pieces)
	if ok {
		current, c.CurrentNulls, ok = categories(c.current.pieces)
	}
	if !ok {
		c.untestable = true
		c.note("more than %d distinct values, as identifiers have: not compared", maxCategories)
		return nil, nil, false
	}
	c.ReferenceRows, c.CurrentRows = total(reference), total(current)
	c.setHistogram(drift.NewCategoryHistogram(reference, current))
	unseen := unseenIn(reference, current)
	if c.CurrentRows > 0 {
		c.UnseenShare = driftline.Number(float64(unseen) / float64(c.CurrentRows))
	}
	return reference, current, true
}

func (c *comparison) testCategories(alpha float64) {
	reference, current, ok := c.countCategories()
	if !ok || c.ReferenceRows == 0 || c.CurrentRows == 0 {
		return
	}
	c.testCounts(reference, current, alpha)
}

// testCounts tests how often both sides have each category.
func (c *comparison) testCounts(reference, current map[string]int64, alpha float64) {
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
	if unseen := unseenIn(reference, current); unseen > 0 {
		c.note("%s of current is of categories that reference does not have", percent(unseen, c.CurrentRows))
	}
}

// noteEmpty says where there is nothing to compare. It is true if rows are missing, or
// all values, on both sides.
func (c *comparison) noteEmpty() bool {
	referenceTotal, currentTotal := c.ReferenceRows+c.ReferenceNulls, c.CurrentRows+c.CurrentNulls
	switch {
	case c.untestable:
	case referenceTotal == 0 && currentTotal == 0:
		c.note("neither side has rows")
	case referenceTotal == 0:
		c.note("reference has no rows")
	case currentTotal == 0:
		c.note("current has no rows")
	case c.ReferenceRows == 0 && c.CurrentRows == 0:
		c.note("every value is missing on both sides")
	case c.ReferenceRows == 0:
		c.note("every value of reference is missing")
		return false
	case c.CurrentRows == 0:
		c.note("every value of current is missing")
		return false
	default:
		return false
	}
	return true
}

// testMissing compares how much is missing.
func (c *comparison) testMissing(alpha float64) {
	if c.noteEmpty() || c.ReferenceNulls == 0 && c.CurrentNulls == 0 {
		return
	}
	referenceTotal, currentTotal := c.ReferenceRows+c.ReferenceNulls, c.CurrentRows+c.CurrentNulls
	c.MissingEffect = driftline.Number(float64(c.CurrentNulls)/float64(currentTotal) - float64(c.ReferenceNulls)/float64(referenceTotal))
	c.MissingPValue = driftline.Number(drift.SharesP(c.ReferenceNulls, referenceTotal, c.CurrentNulls, currentTotal))
	c.missingDetectable = drift.DetectableD(referenceTotal, currentTotal, alpha)
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
func report(columns []*comparison, rules *rules, referenceRows, currentRows int64) *driftline.DriftReport {
	r := &driftline.DriftReport{
		Reference: driftline.DriftSide{Rows: referenceRows}, Current: driftline.DriftSide{Rows: currentRows},
		Preset: cmp.Or(rules.name, rules.preset), Correction: rules.correction, Alpha: rules.levels.Alpha, Margin: rules.levels.Margin,
		Columns: []driftline.ColumnDrift{},
	}
	if rules.name != "" {
		r.Base = rules.preset
	}
	p := make([]float64, 0, 2*len(columns))
	for _, c := range columns {
		values, missing := rules.anytime(c)
		if c.level != nil || c.Verdict != "" { // has a threshold of its own, or is decided by a preset
			values = math.NaN()
		}
		p = append(p, values, missing)
	}
	q := rules.adjust(p)
	for i, c := range columns {
		if !math.IsNaN(q[2*i]) {
			c.QValue = driftline.Number(q[2*i])
		}
		c.MissingQValue = driftline.Number(q[2*i+1])
		c.decide(rules.levels)
		if c.Verdict == driftline.Drift {
			r.Drifted++
		}
	}
	ranked := slices.Clone(columns)
	slices.SortStableFunc(ranked, func(a, b *comparison) int { return byRank(&a.ColumnDrift, &b.ColumnDrift) })
	r.Columns = slices.Grow(r.Columns, len(ranked))
	for _, c := range ranked {
		r.Columns = append(r.Columns, c.ColumnDrift)
	}
	r.Share = driftline.Number(float64(r.Drifted) / float64(r.Compared()))
	r.Drift = r.Drifted > 0 && float64(r.Share) >= rules.share
	return r
}

// byRank is the order of a report's columns.
func byRank(a, b *driftline.ColumnDrift) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Effect, a.Effect))
}

// decide weighs what was found in the values and in what is missing.
func (c *comparison) decide(levels drift.Levels) {
	switch {
	case c.Verdict != "": // by a preset
	case c.Test == "":
		c.Verdict = driftline.NotCompared
	default:
		c.decideValues(levels)
	}
	if !math.IsNaN(float64(c.MissingQValue)) {
		c.decideMissing(levels)
	}
	c.explainTooFew()
	c.Note = strings.Join(c.notes, "; ")
}

func (c *comparison) decideValues(levels drift.Levels) {
	c.Threshold = driftline.Number(levels.Alpha)
	switch {
	case c.level != nil:
		c.QValue, c.DecidedBy, c.Threshold = c.CombinedPValue, c.Test, driftline.Number(*c.level)
		levels.Alpha, levels.Margin = *c.level, 0
		c.Verdict = driftline.Verdict(levels.Decide(float64(c.QValue), 0, float64(c.Detectable)))
		return
	case c.margin != nil:
		c.DecidedBy, c.Threshold = c.Test, driftline.Number(*c.margin)
		levels.Margin, levels.Resolution = *c.margin, 0
		c.Verdict = driftline.Verdict(levels.Decide(float64(c.QValue), float64(c.Effect), float64(c.Detectable)))
		return
	}
	effect := c.strongest(levels.Alpha)
	c.Verdict = driftline.Verdict(levels.Decide(float64(c.QValue), effect, float64(c.Detectable)))
	if c.Verdict == driftline.Drift && (float64(c.PValue) > levels.Alpha || float64(c.Effect) < levels.Margin) {
		c.explain()
	}
}

// explainTooFew says what there are too few rows for.
func (c *comparison) explainTooFew() {
	if c.Verdict == driftline.NotEnoughData && !math.IsNaN(float64(c.Detectable)) {
		c.note("too few rows to see an effect below %.2g", float64(c.Detectable))
	}
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
func rank(c *driftline.ColumnDrift) int {
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
