package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
	"github.com/driftline/driftline/drift/profile"
)

// shownBins is how many bins a histogram of numbers has at most.
const shownBins = 30

// CompareProfiles says column by column whether two windows come from the same distribution,
// from what is kept of them: no row is read. Columns of numbers are tested by Kolmogorov and
// Smirnov: profiles bracket D, and the verdict holds for all of the bracket. Where it does not
// (one end is drift, and the other is none) the heads of the profiles are left for all of
// their cells, and where that does not help either the verdict is that there is not enough
// data, unless req.Exact has the rows of such columns read again. Categories are compared as
// by [Compare].
//
// Only panes that lie within a window are taken.
func (e *Engine) CompareProfiles(ctx context.Context, req driftline.ProfileComparison) (*driftline.DriftReport, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if err := checkHistograms(req.Histograms); err != nil {
		return nil, err
	}
	if _, err := e.withPreset(&req.DriftOptions); err != nil {
		return nil, err
	}
	rules, err := profileRules(req.DriftOptions)
	if err != nil {
		return nil, err
	}
	levels := rules.levels
	var windows [2]*profiledWindow
	group, ctx := errgroup.WithContext(ctx)
	for i, window := range []driftline.ProfileWindow{req.Reference, req.Current} {
		group.Go(func() (err error) {
			windows[i], err = e.readWindow(ctx, window)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	compared, err := compareWindows(ctx, windows[0], windows[1], req.DriftOptions, levels, allHistograms(req.Histograms))
	if err != nil {
		return nil, err
	}
	if req.Exact {
		if err := e.refine(ctx, windows[0], windows[1], compared, levels); err != nil {
			return nil, err
		}
	}
	r := reportOfProfiles(windows[0], windows[1], compared, rules)
	if req.Histograms == driftline.HistogramsDrifted {
		if err := drawDrifted(ctx, r, compared); err != nil {
			return nil, err
		}
	}
	keepHistograms(r, req.Histograms)
	return r, nil
}

func allHistograms(which string) bool { return which == "" || which == driftline.HistogramsAll }

func checkHistograms(which string) error {
	switch which {
	case "", driftline.HistogramsAll, driftline.HistogramsDrifted, driftline.HistogramsNone:
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "histograms %q is unknown", which).WithHint("histograms are all, drifted or none")
}

// keepHistograms empties the histograms that are not asked for.
func keepHistograms(r *driftline.DriftReport, which string) {
	if allHistograms(which) {
		return
	}
	for i := range r.Columns {
		if c := &r.Columns[i]; which == driftline.HistogramsNone || c.Verdict != driftline.Drift {
			c.Histogram = noHistogram()
		}
	}
}

// drawDrifted makes the histograms of the columns of numbers that drifted, which are known only once all
// columns are compared.
func drawDrifted(ctx context.Context, r *driftline.DriftReport, compared []*profiledComparison) error {
	drifted := make(map[string]*driftline.ColumnDrift, r.Drifted)
	for i := range r.Columns {
		if r.Columns[i].Verdict == driftline.Drift {
			drifted[r.Columns[i].Column] = &r.Columns[i]
		}
	}
	return eachOutlined(ctx, compared, func(c *profiledComparison) bool {
		return c.Kind == numeric && drifted[c.Column] != nil
	}, func(c *profiledComparison, reference, current *profile.Outline) error {
		if edges, x, y := profile.Histogram(reference, current, shownBins); edges != nil {
			drifted[c.Column].Histogram = driftline.Histogram{Edges: edges, Reference: x, Current: y}
		}
		return nil
	})
}

func noHistogram() driftline.Histogram {
	return driftline.Histogram{Reference: []int64{}, Current: []int64{}}
}

// profileRules are the rules of a comparison of profiles, which has one test for each kind.
func profileRules(opts driftline.DriftOptions) (*rules, error) {
	r, err := newRules(opts)
	if err == nil && (r.preset != presetDriftline || len(r.tests) > 0 || len(r.multivariate) > 0) {
		err = driftline.Errorf(driftline.Invalid, "profiles are compared by the preset driftline and its tests only").
			WithHint("leave preset, tests and multivariate out, or compare the rows")
	}
	return &r, err
}

// profiledWindow is what is kept of a window, one entry per column.
type profiledWindow struct {
	name    string
	rows    int64
	records []keptPane // where it comes from; nil for a profile that is not of the store
	order   []string
	columns map[string]*windowColumn
}

// windowColumn is a column of a window.
type windowColumn struct {
	columnRecord
	source string
	m      *profile.Map
	mixed  bool     // it was counted by several maps
	heads  [][]byte // one for each pane
	whole  func() (*profile.Column, error)
}

// outlineIn merges the heads into o. Only when a column is compared are they taken apart: so much for
// a thousand columns would be memory that is read again from far away.
func (c *windowColumn) outlineIn(o, spare *profile.Outline) error {
	for i, head := range c.heads {
		into := o
		if i > 0 {
			into = spare
		}
		err := into.Decode(c.m, head)
		if err == nil && i > 0 {
			err = o.Merge(spare)
		}
		if err != nil {
			return damagedProfile(c.source, err)
		}
	}
	return nil
}

// readWindow reads the heads of a window's panes.
func (e *Engine) readWindow(ctx context.Context, window driftline.ProfileWindow) (*profiledWindow, error) {
	if len(window.Data) > 0 {
		d, err := DecodeProfile(window.Data)
		if err != nil {
			return nil, err
		}
		return d.window(), nil
	}
	records, err := e.profilePanes(window)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, e.noProfiles(window)
	}
	w := &profiledWindow{name: windowName(window), records: records, columns: map[string]*windowColumn{}}
	for _, record := range records {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		w.rows += record.Rows
		if err := e.addHeads(w, record); err != nil {
			return nil, err
		}
	}
	for name, c := range w.columns {
		c.whole = func() (*profile.Column, error) { return e.wholeColumn(window.Source, records, name, c) }
	}
	return w, nil
}

func windowName(w driftline.ProfileWindow) string {
	if w.Start.IsZero() && w.End.IsZero() {
		return w.Source
	}
	return w.Source + " from " + edgeOfTime(w.Start) + " to " + edgeOfTime(w.End)
}

// addHeads adds the heads of a pane.
func (e *Engine) addHeads(w *profiledWindow, record keptPane) error {
	known := make(map[string]columnRecord, len(record.Profiled))
	fresh := map[string]uint64{}
	for _, c := range record.Profiled {
		known[c.Name] = c
		if w.columns[c.Name] == nil {
			fresh[c.Name] = c.Fingerprint
		}
	}
	maps, err := e.profileMapsNamed(record.Source, fresh)
	if err != nil {
		return err
	}
	return e.readHeads(record.Source, spanOf(record.Start, record.End), func(name string, head []byte) error {
		of := known[name]
		c := w.columns[name]
		if c == nil {
			m := maps[name]
			if m == nil {
				return damagedProfile(record.Source, errors.New("a map is missing"))
			}
			c = &windowColumn{columnRecord: of, source: record.Source, m: m}
			w.columns[name] = c
			w.order = append(w.order, name)
		}
		if c.Fingerprint != of.Fingerprint || c.mixed {
			c.mixed = true
			return nil
		}
		c.heads = append(c.heads, bytes.Clone(head))
		return nil
	})
}

// wholeColumn merges the profiles of a column of the panes that have it.
func (e *Engine) wholeColumn(source string, records []keptPane, name string, of *windowColumn) (*profile.Column, error) {
	whole := profile.New(of.m)
	for _, record := range records {
		if !slices.ContainsFunc(record.Profiled, func(c columnRecord) bool { return c.Name == name }) {
			continue
		}
		c, err := e.readColumn(source, spanOf(record.Start, record.End), name, of.m)
		if err != nil {
			return nil, err
		}
		if err := whole.Merge(c); err != nil {
			return nil, err
		}
	}
	return whole, nil
}

// profiledComparison is a column that is compared by profiles.
type profiledComparison struct {
	*comparison
	reference, current *windowColumn
	bracket            profile.Bracket
}

// compareWindows compares column by column, several at once; histograms of numbers take time of their own.
func compareWindows(ctx context.Context, reference, current *profiledWindow, opts driftline.DriftOptions, levels drift.Levels, histograms bool) ([]*profiledComparison, error) {
	names := slices.Clone(reference.order)
	for _, name := range current.order {
		if reference.columns[name] == nil {
			names = append(names, name)
		}
	}
	for _, asked := range [][]string{opts.Columns, opts.Exclude} {
		if err := checkNames(asked, names); err != nil {
			return nil, err
		}
	}
	var compared []*profiledComparison
	for _, name := range names {
		named := slices.Contains(opts.Columns, name)
		if len(opts.Columns) > 0 && !named || slices.Contains(opts.Exclude, name) {
			continue
		}
		c := &profiledComparison{comparison: &comparison{}, reference: reference.columns[name], current: current.columns[name]}
		c.Column = name
		c.Histogram = noHistogram()
		c.undefined()
		if why := c.pairProfiles(named); why != "" {
			c.untestable = true
			c.note("%s", why)
		}
		compared = append(compared, c)
	}
	testable := func(c *profiledComparison) bool { return !c.untestable }
	return compared, eachOutlined(ctx, compared, testable, func(c *profiledComparison, a, b *profile.Outline) error {
		return c.testProfiles(a, b, levels, histograms)
	})
}

// eachOutlined calls with for the columns that are wanted, several at once, with the outlines of
// reference and current, whose memory is used again afterwards.
func eachOutlined(ctx context.Context, columns []*profiledComparison, wanted func(*profiledComparison) bool,
	with func(c *profiledComparison, reference, current *profile.Outline) error,
) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range comparedAtOnce {
		group.Go(func() error {
			var reference, current, spare profile.Outline
			for i := int(next.Add(1)) - 1; i < len(columns); i = int(next.Add(1)) - 1 {
				c := columns[i]
				if !wanted(c) {
					continue
				}
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := c.reference.outlineIn(&reference, &spare); err != nil {
					return err
				}
				if err := c.current.outlineIn(&current, &spare); err != nil {
					return err
				}
				if err := with(c, &reference, &current); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// pairProfiles says why the profiles of a column cannot be compared, "" if they can.
func (c *profiledComparison) pairProfiles(named bool) string {
	either := cmp.Or(c.reference, c.current)
	c.Type, c.Kind = either.Type, either.Kind
	switch {
	case c.reference == nil:
		return "the column is missing in reference"
	case c.current == nil:
		return "the column is missing in current"
	case c.reference.mixed || c.current.mixed || c.reference.m.Fingerprint() != c.current.m.Fingerprint():
		return "the profiles were made for different references: profile one side again with the other as its reference"
	case c.Type == driftline.Timestamp && !named:
		return "a time differs between any two windows: name the column to compare it"
	}
	return ""
}

func (c *profiledComparison) testProfiles(a, b *profile.Outline, levels drift.Levels, histograms bool) error {
	c.ReferenceRows, c.CurrentRows = a.Values(), b.Values()
	c.ReferenceNulls, c.CurrentNulls = a.Nulls()+a.NaN(), b.Nulls()+b.NaN()
	if nans := a.NaN() + b.NaN(); nans > 0 {
		c.note("NaN counts as missing (%d values)", nans)
	}
	var err error
	if c.Kind == numeric {
		err = c.testNumberProfiles(a, b, levels, histograms)
	} else {
		err = c.testCategoryProfiles(a, b, levels)
	}
	c.testMissing(levels.Alpha)
	return err
}

func (c *profiledComparison) testNumberProfiles(a, b *profile.Outline, levels drift.Levels, histograms bool) error {
	low, high := a.Infinite()
	lower, higher := b.Infinite()
	h := drift.Histogram{Infinite: int(low + high + lower + higher)}
	if histograms {
		h.Edges, h.Reference, h.Current = profile.Histogram(a, b, shownBins)
	}
	c.setHistogram(h)
	if c.ReferenceRows == 0 || c.CurrentRows == 0 {
		return nil
	}
	found, err := profile.OutlineDistance(a, b)
	if err != nil {
		return err
	}
	p := distanceP(found.D.Low, found)
	if undecided(found, p, levels) {
		if found, err = c.compareCells(); err != nil {
			return err
		}
		p = distanceP(found.D.Low, found)
	}
	c.Test, c.UnseenShare = "ks", 0
	c.setDistance(found, p, levels)
	return nil
}

// compareCells compares all that is kept of both sides.
func (c *profiledComparison) compareCells() (profile.Difference, error) {
	reference, err := c.reference.whole()
	if err != nil {
		return profile.Difference{}, err
	}
	current, err := c.current.whole()
	if err != nil {
		return profile.Difference{}, err
	}
	return profile.Compare(reference, current)
}

// setDistance takes the lower end of the bracket for the statistic: it is a distance that
// there is, so what it proves is proved. p is the p-value of that end.
func (c *profiledComparison) setDistance(found profile.Difference, p float64, levels drift.Levels) {
	c.bracket = found.D
	c.Bracket = nil
	if !found.D.Exact() {
		c.Bracket = &driftline.Bracket{Low: driftline.Number(found.D.Low), High: driftline.Number(found.D.High)}
	}
	c.Statistic, c.Effect = driftline.Number(found.D.Low), driftline.Number(found.D.Low)
	c.PValue = driftline.Number(p)
	c.CombinedPValue = c.PValue
	c.Location = driftline.Number(found.Location)
	low := drift.KSResult{D: found.D.Low, N: found.N, M: found.M}
	high := drift.KSResult{D: found.D.High, N: found.N, M: found.M}
	c.effectRange(drift.Interval{Low: low.Interval(levels.Alpha).Low, High: high.Interval(levels.Alpha).High}, low.Detectable(levels.Alpha))
}

// mostExact is the product of the sizes up to which the exact p-value is quick to have.
const mostExact = 1 << 20

func distanceP(d float64, of profile.Difference) float64 {
	method := drift.Asymptotic
	if of.N <= mostExact/of.M {
		method = drift.Auto
	}
	return drift.KSPValue(d, of.N, of.M, drift.TwoSided, method)
}

// undecided reports whether the ends of the bracket would be decided differently; p is the
// p-value of the lower one. The upper one is drift if the lower one is.
func undecided(found profile.Difference, p float64, levels drift.Levels) bool {
	low, high := found.D.Low, found.D.High
	if found.D.Exact() || low >= levels.Margin && p <= levels.Alpha {
		return false
	}
	return high >= levels.Margin && distanceP(high, found) <= levels.Alpha
}

func (c *profiledComparison) testCategoryProfiles(a, b *profile.Outline, levels drift.Levels) error {
	reference, current := a.Categories(), b.Categories()
	if reference == nil || current == nil {
		a, err := c.reference.whole()
		if err != nil {
			return err
		}
		b, err := c.current.whole()
		if err != nil {
			return err
		}
		rest := int64(0)
		if reference, current, rest = profile.PairCategories(a, b); rest > 0 {
			c.note("%s of the rows are of names that are not kept: they were compared by hash", percent(rest, c.ReferenceRows+c.CurrentRows))
		}
	}
	c.setHistogram(drift.NewCategoryHistogram(reference, current))
	if c.ReferenceRows == 0 || c.CurrentRows == 0 {
		return nil
	}
	c.UnseenShare = driftline.Number(float64(unseenIn(reference, current)) / float64(c.CurrentRows))
	c.testCounts(reference, current, levels.Alpha)
	return nil
}

// refine reads the rows of the columns that are undecided again, and makes D exact.
func (e *Engine) refine(ctx context.Context, reference, current *profiledWindow, compared []*profiledComparison, levels drift.Levels) error {
	open := map[string]*profile.Refinement{}
	for _, c := range compared {
		if c.Test != "ks" || !undecided(c.difference(), float64(c.PValue), levels) {
			continue
		}
		a, err := c.reference.whole()
		if err != nil {
			return err
		}
		b, err := c.current.whole()
		if err != nil {
			return err
		}
		if open[c.Column], err = profile.NewRefinement(a, b); err != nil {
			return err
		}
	}
	if len(open) == 0 {
		return nil
	}
	if err := e.readAgain(ctx, reference, open, (*profile.Refinement).AddReference); err != nil {
		return err
	}
	if err := e.readAgain(ctx, current, open, (*profile.Refinement).AddCurrent); err != nil {
		return err
	}
	for _, c := range compared {
		r := open[c.Column]
		if r == nil {
			continue
		}
		d, location, sign, ok := r.D()
		if !ok {
			c.note("the rows have changed since they were profiled")
			continue
		}
		found := c.difference()
		found.D, found.Location, found.Sign = profile.Bracket{Low: d, High: d}, location, sign
		c.setDistance(found, distanceP(d, found), levels)
	}
	return nil
}

func (c *profiledComparison) difference() profile.Difference {
	return profile.Difference{N: c.ReferenceRows, M: c.CurrentRows, D: c.bracket, Location: float64(c.Location)}
}

// readAgain reads the rows that the panes of a window were made of.
func (e *Engine) readAgain(ctx context.Context, w *profiledWindow, open map[string]*profile.Refinement, add func(*profile.Refinement, []float64)) error {
	if len(w.records) == 0 {
		return driftline.Errorf(driftline.FailedPrecondition, "the rows of a profile that is not kept here cannot be read again").WithHint("leave exact out")
	}
	first := w.records[0]
	for _, record := range w.records {
		if record.Table != first.Table || record.Time != first.Time || record.Table == (driftline.DriftSource{}) {
			return driftline.Errorf(driftline.FailedPrecondition, "the rows that %q was profiled from cannot be read again", first.Source).
				WithHint("leave exact out, or profile a table of the server")
		}
	}
	table, err := e.profiledTable(ctx, first.Table)
	if err != nil {
		return err
	}
	task := &profileTask{engine: e, panes: panes{index: -1}}
	for name := range open {
		at := table.schema.FieldIndices(name)
		if len(at) == 0 {
			return driftline.Errorf(driftline.FailedPrecondition, "column %q is not in %s any more", name, first.Source).WithHint("leave exact out")
		}
		task.columns = append(task.columns, profiledColumn{name: name, kind: numeric, index: at[0]})
	}
	spans := make([]span, len(w.records))
	for i, record := range w.records {
		spans[i] = spanOf(record.Start, record.End)
	}
	if spans[0] != (span{}) {
		at := table.schema.FieldIndices(first.Time)
		if len(at) == 0 {
			return driftline.Errorf(driftline.FailedPrecondition, "column %q is not in %s any more", first.Time, first.Source).WithHint("leave exact out")
		}
		task.panes = panes{index: at[0], start: math.MinInt64, end: math.MaxInt64}
	}
	return task.readNumbers(ctx, table, spans, func(column string, values []float64) { add(open[column], values) })
}

// readNumbers visits the numbers of the rows whose times are in one of the spans.
func (t *profileTask) readNumbers(ctx context.Context, table *profiledTable, spans []span, visit func(column string, values []float64)) error {
	g := t.group(table, t.columns)
	parts, err := table.read(g.names)
	if err != nil {
		return err
	}
	p := newProfiler(g.columns, g.panes)
	read := func(batch arrow.RecordBatch) {
		rows := rowsWithin(batch, g.panes.index, spans)
		for _, c := range g.columns {
			column := batch.Column(c.index)
			if column.DataType().ID() == arrow.NULL {
				continue
			}
			p.gathered = appendPresent(p.gathered[:0], p.allNumbers(column), column, rows)
			visit(c.name, p.gathered)
		}
	}
	for _, rows := range parts {
		if err := eachBatch(ctx, rows, g.order(rows.Schema), read); err != nil {
			return err
		}
	}
	return nil
}

// rowsWithin lists the rows whose times are in one of the spans, which ascend. Without a
// column of times it lists all.
func rowsWithin(batch arrow.RecordBatch, index int, spans []span) []int32 {
	rows := make([]int32, 0, batch.NumRows())
	var at func(int) int64
	if index >= 0 {
		at = timesIn(batch.Column(index))
	}
	for row := range int(batch.NumRows()) {
		if index >= 0 {
			t := at(row)
			i, found := slices.BinarySearchFunc(spans, t, func(s span, t int64) int { return cmp.Compare(s.start, t) })
			if batch.Column(index).IsNull(row) || !found && (i == 0 || t >= spans[i-1].end) {
				continue
			}
		}
		rows = append(rows, int32(row))
	}
	return rows
}

// reportOfProfiles decides. A verdict must hold for all of a bracket.
func reportOfProfiles(reference, current *profiledWindow, compared []*profiledComparison, rules *rules) *driftline.DriftReport {
	levels := rules.levels
	columns := make([]*comparison, len(compared))
	for i, c := range compared {
		columns[i] = c.comparison
	}
	r := report(columns, rules, reference.rows, current.rows)
	r.Reference.Name, r.Current.Name = reference.name, current.name
	for i := range r.Columns {
		c := &r.Columns[i]
		if c.Bracket == nil || c.Verdict == driftline.Drift || c.Test != "ks" {
			continue
		}
		found := profile.Difference{N: c.ReferenceRows, M: c.CurrentRows, D: profile.Bracket{Low: float64(c.Bracket.Low), High: float64(c.Bracket.High)}}
		if undecided(found, float64(c.PValue), levels) {
			c.Verdict = driftline.NotEnoughData
			c.Note = joinNotes(c.Note, "the profiles leave open which it is: compare exactly")
		}
	}
	return r
}

func joinNotes(notes, more string) string {
	if notes == "" {
		return more
	}
	return notes + "; " + more
}
