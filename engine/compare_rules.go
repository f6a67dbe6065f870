package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

// The presets.
const (
	presetDriftline = driftline.PresetDriftline
	presetEvidently = driftline.PresetEvidently
	presetNannyML   = driftline.PresetNannyML
)

// rules say which test a column gets, and when it and the data set have drifted.
type rules struct {
	preset       string // built in
	name         string // of a preset of the user's on top of it, or ""
	levels       drift.Levels
	correction   string
	share        float64                // of the columns; 0 means any
	tests        []driftline.ColumnTest // the caller's after the preset's
	leftOut      []string               // columns that the preset leaves out
	multivariate []string
	looks        int // at growing data, of which this is one; 0: it is the only one
}

// newRules checks the options.
func newRules(opts driftline.DriftOptions) (rules, error) {
	if opts.Rules == nil {
		return newBuiltInRules(opts)
	}
	if opts.Preset != "" {
		return rules{}, driftline.Errorf(driftline.Invalid, "there are both preset %q and rules", opts.Preset).WithHint("give one of them")
	}
	r, err := newBuiltInRules(opts.Rules.Completed(opts))
	if err != nil {
		return rules{}, aboutPreset(opts.Rules, err)
	}
	for _, test := range opts.Rules.Tests {
		if err := checkTest(test); err != nil {
			return rules{}, aboutPreset(opts.Rules, err)
		}
	}
	r.name, r.leftOut = string(opts.Rules.Name), opts.Rules.Exclude
	r.tests = slices.Concat(opts.Rules.Tests, opts.Tests)
	return r, nil
}

func aboutPreset(p *driftline.Preset, err error) error {
	var e *driftline.Error
	if p.Name == "" || !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Message = fmt.Sprintf("preset %q: %s", p.Name, e.Message)
	return &named
}

// CheckPreset reports what is wrong with the rules of a preset.
func CheckPreset(p *driftline.Preset) error {
	_, err := newRules(driftline.DriftOptions{Rules: p})
	return err
}

// withPreset puts the rules of a registered preset into options that name one. It returns
// the version that was taken, nil for a built-in one.
func (e *Engine) withPreset(opts *driftline.DriftOptions) (*driftline.Preset, error) {
	if driftline.IsBuiltInPreset(opts.Preset) {
		return nil, nil
	}
	p, err := e.registry.Preset(driftline.PresetName(opts.Preset))
	if err != nil {
		return nil, err
	}
	opts.Preset, opts.Rules = "", p
	return p, nil
}

func newBuiltInRules(opts driftline.DriftOptions) (rules, error) {
	levels, err := levelsOf(opts)
	if err != nil {
		return rules{}, err
	}
	r := rules{preset: presetDriftline, levels: levels, correction: "bh", tests: opts.Tests, multivariate: opts.Multivariate}
	if opts.Preset != "" {
		r.preset = opts.Preset
	}
	if opts.Correction != "" {
		r.correction = opts.Correction
	}
	if err := oneOf("preset", r.preset, presetDriftline, presetEvidently, presetNannyML); err != nil {
		return rules{}, err
	}
	if err := oneOf("correction", r.correction, "bh", "by", "e-bh", "none"); err != nil {
		return rules{}, err
	}
	for _, name := range r.multivariate {
		if err := oneOf("multivariate test", name, mmd, classifier); err != nil {
			return rules{}, err
		}
	}
	if r.preset == presetEvidently {
		r.share = 0.5
	}
	if opts.DriftShare != nil {
		r.share = *opts.DriftShare
	}
	if !(r.share >= 0 && r.share <= 1) {
		return rules{}, driftline.Errorf(driftline.Invalid, "drift_share is %v, want a number from 0 to 1", r.share).
			WithHint("0 means that one drifted column is enough")
	}
	for _, test := range r.tests {
		if err := checkTest(test); err != nil {
			return rules{}, err
		}
	}
	return r, nil
}

// checkBudget refuses rules that no level governs, so that no budget could be kept.
func (r *rules) checkBudget() error {
	refuse := func(format string, args ...any) *driftline.Error {
		return driftline.Errorf(driftline.Invalid, "budget cannot be kept: "+format, args...)
	}
	switch {
	case r.preset != presetDriftline:
		return refuse("preset %q decides by constants", r.preset).WithHint("leave the preset, or the budget, out")
	case r.correction == "none":
		return refuse("each column is an alarm of its own without a correction").WithHint("choose correction bh, by or e-bh")
	}
	for _, test := range r.tests {
		if test.Threshold != nil && chosenTests[test.Test].threshold == 0 {
			return refuse("test %q has a level of its own, %v", test.Test, *test.Threshold).WithHint("leave out its threshold: the budget says at which level it decides")
		}
	}
	return nil
}

func oneOf(what, name string, known ...string) error {
	if slices.Contains(known, name) {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "%s %q is not known", what, name).WithHint("choose one of: %s", strings.Join(known, ", "))
}

func checkTest(test driftline.ColumnTest) error {
	kinds := []string{numeric, categorical}
	if test.Kind != "" {
		if err := oneOf("kind", test.Kind, kinds...); err != nil {
			return err
		}
		kinds = []string{test.Kind}
	}
	for _, typ := range test.Types {
		if _, err := driftline.ParseType(string(typ)); err != nil {
			return err
		}
	}
	known, fits := testNames(numeric, categorical), testNames(kinds...)
	if err := oneOf("test", test.Test, known...); err != nil {
		return err
	}
	if !slices.Contains(fits, test.Test) {
		return driftline.Errorf(driftline.Invalid, "test %q is none for %s columns", test.Test, test.Kind).
			WithHint("choose one of: %s", strings.Join(fits, ", "))
	}
	if t := test.Threshold; t != nil && !(*t >= 0 && !math.IsInf(*t, 1)) {
		return driftline.Errorf(driftline.Invalid, "the threshold of test %q is %v, want a number that is not negative", test.Test, *t).
			WithHint("a p-value's is between 0 and 1; a distance's is the smallest that counts as drift")
	}
	return nil
}

// chosen returns the test that was chosen for a column, nil if none: one that names the
// column beats one that names its type, which beats one that names its kind, which beats
// one that names none. A test that does not name the column does not apply to those of a
// kind that it cannot test.
func (r *rules) chosen(column, kind string, of driftline.Type) *driftline.ColumnTest {
	var best *driftline.ColumnTest
	rank := -1
	for i, test := range r.tests {
		fits := 0
		switch {
		case test.Kind != "" && test.Kind != kind:
			continue
		case len(test.Types) > 0 && !slices.Contains(test.Types, of):
			continue
		case len(test.Columns) > 0 && !slices.Contains(test.Columns, column):
			continue
		case len(test.Columns) > 0:
			fits = 3
		case len(test.Types) > 0:
			fits = 2
		case test.Kind != "":
			fits = 1
		}
		if fits < 3 && !slices.Contains(testNames(kind), test.Test) {
			continue
		}
		if fits >= rank {
			best, rank = &r.tests[i], fits
		}
	}
	return best
}

const (
	// uniformLooks is from how many looks on a bound that holds at all times is tighter
	// than one that counts them.
	uniformLooks = 100

	// uniformStart is how many values there must be at the first look.
	uniformStart = 100
)

// anytime returns a column's p-values, of its values and of what is missing, as they count
// at one of several looks at data that grow: the chance that one is ever at or below a level
// is at most that level. How many looks there will be is known before the first, and decides
// which bound is taken: p times their number, or for numbers and KS, if they are many, the
// time-uniform one.
func (r *rules) anytime(c *comparison) (values, missing float64) {
	values, missing = float64(c.CombinedPValue), float64(c.MissingPValue)
	if r.looks < 2 {
		return values, missing
	}
	missing = min(1, missing*float64(r.looks))
	if r.looks > uniformLooks && c.Test == "ks" {
		growing := drift.Sequential{Start: uniformStart, FixedReference: true}
		return growing.P(float64(c.Statistic), c.ReferenceRows, c.CurrentRows), missing
	}
	return min(1, values*float64(r.looks)), missing
}

// adjust corrects p-values for their number.
func (r *rules) adjust(p []float64) []float64 {
	switch r.correction {
	case "by":
		return drift.AdjustBY(p)
	case "e-bh":
		e := make([]float64, len(p))
		for i, value := range p {
			e[i] = drift.EValue(value)
		}
		return drift.AdjustEBH(e)
	case "none":
		return p
	}
	return drift.AdjustBH(p)
}

// testEvidently applies Evidently's defaults. Its type of a column is that of pandas:
// whole numbers are categories if current has at most ten of them and no null.
func (c *comparison) testEvidently() {
	if c.Kind == categorical {
		reference, current, ok := c.countCategories()
		if !ok {
			return
		}
		if 2*int64(len(current)) > c.CurrentRows && !isBoolean(c.current.field.Type) {
			c.note("Evidently takes more than half distinct texts for prose, and compares them by a trained classifier, which is not reproduced")
			return
		}
		names := drift.CategoryNames(reference, current)
		c.applyPreset(drift.EvidentlyCategories(countsOf(names, reference), countsOf(names, current)))
		return
	}
	reference, current := c.countNumbers()
	if arrow.IsInteger(c.current.field.Type.ID()) && c.CurrentNulls == 0 {
		if distinct := distinctValues(current); distinct > 0 {
			c.applyPreset(drift.EvidentlyCategories(drift.CountValues(reference, current)))
			return
		}
	}
	c.applyPreset(drift.EvidentlyNumbers(reference, current))
}

func isBoolean(dt arrow.DataType) bool { return dt.ID() == arrow.BOOL }

// testNannyML applies NannyML's defaults.
func (c *comparison) testNannyML() {
	chunks := chunksOf(c.reference.pieces, drift.NannyMLChunks)
	defer func() {
		for _, chunk := range chunks {
			releaseArrays(chunk)
		}
	}()
	if c.Kind == categorical {
		reference, current, ok := c.countCategories()
		if !ok {
			return
		}
		names := drift.CategoryNames(reference, nil)
		cells := func(counts map[string]int64) []int64 {
			known := countsOf(names, counts)
			rest := total(counts)
			for _, count := range known {
				rest -= count
			}
			return append(known, rest)
		}
		var parts [][]int64
		for _, chunk := range chunks {
			counts, _, _ := categories(chunk)
			parts = append(parts, cells(counts))
		}
		c.applyPreset(drift.NannyML(cells(reference), parts, cells(current)))
		return
	}
	reference, current := c.countNumbers()
	edges := drift.DoaneEdges(slices.DeleteFunc(slices.Concat(reference...), math.IsNaN))
	if edges == nil {
		c.note("NannyML cannot bin a reference that has infinite values")
		return
	}
	cells := func(s drift.Sample) []int64 {
		counts := drift.CountBins(s, edges)
		return append(counts.Bins, counts.Below+counts.Above+counts.NegInf+counts.PosInf)
	}
	var parts [][]int64
	for _, chunk := range chunks {
		values, _ := numbers(chunk)
		parts = append(parts, cells(values))
	}
	c.applyPreset(drift.NannyML(cells(reference), parts, cells(current)))
}

// chunksOf cuts rows into count chunks of equal size, and one more of what is left.
// The caller releases them.
func chunksOf(pieces []arrow.Array, count int) [][]arrow.Array {
	rows := 0
	for _, piece := range pieces {
		rows += piece.Len()
	}
	size := rows / count
	if size == 0 {
		return nil
	}
	var chunks [][]arrow.Array
	room := 0
	for _, piece := range pieces {
		for from := 0; from < piece.Len(); {
			if room == 0 {
				chunks = append(chunks, nil)
				room = size
			}
			take := min(room, piece.Len()-from)
			last := len(chunks) - 1
			chunks[last] = append(chunks[last], array.NewSlice(piece, int64(from), int64(from+take)))
			from, room = from+take, room-take
		}
	}
	return chunks
}

func (c *comparison) applyPreset(result drift.PresetResult) {
	if result.Test == "" {
		if c.ReferenceRows > 0 && c.CurrentRows > 0 {
			c.note("the preset has no rule for this column")
		}
		return
	}
	c.Test, c.DecidedBy = result.Test, result.Test
	c.Statistic, c.PValue, c.CombinedPValue = driftline.Number(result.Statistic), driftline.Number(result.P), driftline.Number(result.P)
	c.QValue = c.PValue
	c.Threshold = driftline.Number(result.Threshold)
	if math.IsNaN(result.P) {
		c.Effect = c.Statistic
	}
	c.Verdict = driftline.Same
	if result.Drift {
		c.Verdict = driftline.Drift
		if result.Statistic < result.Lower {
			c.note("less different from the reference than its own chunks are: below %.4g", result.Lower)
		}
	}
}
