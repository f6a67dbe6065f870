package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

const (
	// mostSegmentValues is how many values of a segment are compared, those with the most rows.
	mostSegmentValues = 50

	// shownColumns is how many drifted columns a pane names.
	shownColumns = 20

	segmentColumn = "__segment"
)

// comparedPane is what the comparison of a pane found.
type comparedPane struct {
	pane    driftline.MonitorPane
	reports []driftline.SegmentReport
	inputs  []driftline.Ref // the tables that were read
	stored  []byte          // the rows of the results, once they are in a transaction
}

func newPane(m *driftline.Monitor, p monitor.Pane) driftline.MonitorPane {
	return driftline.MonitorPane{Monitor: m.Name, Version: m.Version, Start: p.Start, End: p.End, Due: p.Due}
}

// window is a stretch of time [from, to) of a source.
type window struct{ from, to time.Time }

// paneReader reads the rows of one pane and of its reference.
type paneReader struct {
	engine  *Engine
	m       *driftline.Monitor
	current []window
	against []window // empty: all rows of the reference's dataset
	about   string   // what against is, for people
	keys    bool     // read a view's join keys too, and not its features alone
	looks   int      // early ones at the pane, of which this is one; 0: it has closed
	inputs  []driftline.Ref
}

// comparePane compares the rows of a pane with its reference, all together and segment by
// segment; at an early look those that there are so far.
func (e *Engine) comparePane(ctx context.Context, w *watch, p monitor.Pane, early monitor.Look) (*comparedPane, error) {
	m := w.of
	r := &paneReader{engine: e, m: m, current: []window{{p.Start, p.End}}, looks: early.Of}
	if early.Number > 0 {
		r.current[0].to = early.Until
	}
	r.setReference(w.schedule.Zone(), p)
	opts := m.Tests
	preset, err := e.withPreset(&opts)
	if err != nil {
		return nil, err
	}
	if preset != nil {
		r.readFrom(preset.Ref())
	}
	rules, err := newRules(opts)
	if err != nil {
		return nil, err
	}
	asks := *m
	asks.Tests.Multivariate = rules.multivariate // those of a preset too
	opts.Alpha = w.schedule.Level(&asks, rules.levels.Alpha, p)
	found := &comparedPane{pane: newPane(m, p)}
	found.pane.Reference, found.pane.Early = r.about, early.Until
	whole, err := r.compareAll(ctx, opts, p)
	if err != nil {
		return nil, err
	}
	found.reports = append(found.reports, driftline.SegmentReport{Report: *whole})
	for _, segment := range m.Segments {
		reports, err := r.compareSegments(ctx, segment, opts)
		if err != nil {
			return nil, err
		}
		found.reports = append(found.reports, reports...)
	}
	found.inputs = r.inputs
	found.conclude()
	if found.pane.Outcome == driftline.PaneDrift && !m.Slices.Off {
		// It explains an alert, which does not wait for an explanation.
		if found.pane.Slices, err = r.worstSlices(ctx, whole); err != nil && ctx.Err() == nil {
			e.log.Warn("the worst slices of a pane could not be found", "monitor", m.Name, "pane", p.Start, "error", err)
		}
	}
	return found, ctx.Err()
}

// setReference says which rows the pane is compared with.
func (r *paneReader) setReference(zone *time.Location, p monitor.Pane) {
	switch of := r.m.Reference; {
	case of.Ref != (driftline.Ref{}):
		r.about = of.Ref.String()
	case !of.From.IsZero():
		r.against = []window{{of.From, of.To}}
	case of.SameWeekday > 0:
		start, end := p.Start.In(zone), p.End.In(zone)
		if r.looks > 0 {
			end = r.current[0].to.In(zone) // an hour of the morning with those of the mornings before
		}
		for weeks := 1; weeks <= of.SameWeekday; weeks++ {
			r.against = append(r.against, window{start.AddDate(0, 0, -7*weeks), end.AddDate(0, 0, -7*weeks)})
		}
		r.about = fmt.Sprintf("the same %s of the last %d weeks", start.Weekday(), of.SameWeekday)
	default:
		end := of.Gap.Before(p.Start.In(zone))
		r.against = []window{{of.Moving.Before(end), end}}
	}
	if r.about == "" {
		r.about = r.against[0].String()
	}
}

func (w window) String() string {
	return w.from.UTC().Format(time.RFC3339) + " to " + w.to.UTC().Format(time.RFC3339)
}

func (r *paneReader) compareAll(ctx context.Context, opts driftline.DriftOptions, p monitor.Pane) (*driftline.DriftReport, error) {
	reference, current, err := r.sides(ctx, nil)
	if err != nil {
		return nil, err
	}
	if r.looks > 0 {
		return r.compare(ctx, reference, current, opts, "") // its profile would be of a part
	}
	return r.compareKeeping(ctx, reference, current, opts, p)
}

func (r *paneReader) compare(ctx context.Context, reference, current driftline.Batches, opts driftline.DriftOptions, segment string) (*driftline.DriftReport, error) {
	report, err := compareLooking(ctx, reference, current, opts, r.looks)
	if err != nil {
		return nil, err
	}
	report.Reference.Name, report.Current.Name = r.about, r.current[0].String()
	if segment != "" {
		report.Reference.Name += " where " + segment
		report.Current.Name += " where " + segment
	}
	return report, nil
}

// sides reads reference and current, with the value of a segment if there is one.
func (r *paneReader) sides(ctx context.Context, segment *driftline.Segment) (reference, current driftline.Batches, err error) {
	if current, err = r.rows(ctx, r.m.Source.Ref, r.m.Source.SQL, r.current, segment); err != nil {
		return reference, current, err
	}
	if len(r.against) == 0 {
		reference, err = r.rows(ctx, r.m.Reference.Ref, "", nil, segment)
	} else {
		reference, err = r.rows(ctx, r.m.Source.Ref, r.m.Source.SQL, r.against, segment)
	}
	return reference, current, err
}

// rows reads a table, or the rows of it that lie in windows.
func (r *paneReader) rows(ctx context.Context, ref driftline.Ref, text string, in []window, segment *driftline.Segment) (driftline.Batches, error) {
	columns, from, err := r.from(ref, text)
	if err != nil {
		return driftline.Batches{}, err
	}
	order := ""
	if segment != nil {
		columns += fmt.Sprintf(", CAST((%s\n) AS VARCHAR) AS %q", segment.Expression, segmentColumn)
		order = fmt.Sprintf(" ORDER BY %q", segmentColumn)
	}
	query := "SELECT " + columns + " FROM " + from
	if len(in) > 0 {
		query += " WHERE " + windowsSQL(r.m.Source.TimeColumn, in)
	}
	args := timesRow(r.engine, in)
	defer args.Release()
	return r.engine.SQL(ctx, query+order, args)
}

// from is how SQL reads the source: its columns worth comparing, and the table.
func (r *paneReader) from(ref driftline.Ref, text string) (columns, from string, err error) {
	switch {
	case text != "":
		selection, err := r.engine.query.ParseSelect(context.Background(), text)
		if err != nil {
			return "", "", err
		}
		for _, table := range selection.Tables {
			if strings.EqualFold(table.Schema, schemaFeatures) {
				r.readFrom(driftline.ViewRef(r.engine.registry.Meant(driftline.ViewName(table.Name))))
			}
		}
		return "*", "(\n" + text + "\n) AS source", nil
	case ref.Kind == driftline.KindView:
		view, err := r.engine.registry.View(r.engine.registry.Meant(driftline.ViewName(ref.Name)))
		if err != nil {
			return "", "", err
		}
		r.readFrom(driftline.ViewRef(view.Name))
		names := view.FeatureNames()
		if r.keys {
			names = append(view.KeyNames(), names...)
		}
		for i, name := range names {
			names[i] = fmt.Sprintf("%q", name)
		}
		return strings.Join(names, ", "), fmt.Sprintf("%s.%q", schemaFeatures, view.Name), nil
	}
	resolved, err := r.engine.registry.ResolveRef(ref)
	if err != nil {
		return "", "", err
	}
	r.readFrom(resolved)
	return "*", fmt.Sprintf("%s.%q", schemaDatasets, resolved.Name+"@"+resolved.Version), nil
}

// readFrom notes a table as evidence: of a view its newest snapshot too.
func (r *paneReader) readFrom(ref driftline.Ref) {
	add := func(ref driftline.Ref) {
		if !slices.Contains(r.inputs, ref) {
			r.inputs = append(r.inputs, ref)
		}
	}
	if ref.Kind == driftline.KindView {
		name := driftline.ViewName(ref.Name)
		if now := r.engine.heads.of(name); now.exists {
			add(driftline.SnapshotRef(viewTable(name).String(), now.snapshot.ID))
		}
	}
	add(ref)
}

// windowsSQL is the condition that a time lies in one of the windows, whose ends are parameters.
func windowsSQL(column string, in []window) string {
	conditions := make([]string, len(in))
	for i := range in {
		conditions[i] = fmt.Sprintf("(%q >= $%d AND %q < $%d)", column, 2*i+1, column, 2*i+2)
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// timesRow is one row of the windows' ends. The caller releases it.
func timesRow(e *Engine, in []window) arrow.RecordBatch {
	var fields []arrow.Field
	var columns []arrow.Array
	for i, w := range in {
		for j, t := range []time.Time{w.from, w.to} {
			b := array.NewTimestampBuilder(e.mem, driftline.Time)
			b.Append(arrow.Timestamp(t.UnixMicro()))
			columns = append(columns, b.NewArray())
			b.Release()
			fields = append(fields, arrow.Field{Name: fmt.Sprint(2*i + j + 1), Type: driftline.Time})
		}
	}
	defer releaseArrays(columns)
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 1)
}

// compareSegments compares the rows of each value of a segment.
func (r *paneReader) compareSegments(ctx context.Context, segment driftline.Segment, opts driftline.DriftOptions) ([]driftline.SegmentReport, error) {
	reference, current, err := r.sides(ctx, &segment)
	if err != nil {
		return nil, inSegment(segment, err)
	}
	now, err := collectRuns(current)
	defer now.release()
	if err != nil {
		return nil, inSegment(segment, err)
	}
	then, err := collectRuns(reference)
	defer then.release()
	if err != nil {
		return nil, inSegment(segment, err)
	}
	values := now.largest(mostSegmentValues)
	shared := len(values)
	if r.looks > 0 {
		shared = max(shared, len(then.largest(mostSegmentValues))) // as many at each look
	}
	opts.Alpha = monitor.SegmentLevel(opts.Alpha, shared)
	opts.Exclude = append(slices.Clone(opts.Exclude), segmentColumn)
	var reports []driftline.SegmentReport
	for _, value := range values {
		title := segment.Title() + "=" + value
		report, err := r.compare(ctx, then.of(value), now.of(value), opts, title)
		if err != nil {
			return nil, inSegment(segment, err)
		}
		reports = append(reports, driftline.SegmentReport{Segment: title, Report: *report})
	}
	return reports, nil
}

func inSegment(s driftline.Segment, err error) error {
	return driftline.Errorf(driftline.CodeOf(err), "segment %q: %w", s.Title(), err)
}

// runs are rows in the order of their segment's value, run by run.
type runs struct {
	schema  *arrow.Schema
	batches []arrow.RecordBatch // owned
	parts   map[string][]arrow.RecordBatch
	rows    map[string]int64
}

// collectRuns reads rows that are in the order of their last column, the segment's value.
// Rows where it is null are left out.
func collectRuns(rows driftline.Batches) (*runs, error) {
	r := &runs{schema: rows.Schema, parts: map[string][]arrow.RecordBatch{}, rows: map[string]int64{}}
	for b, err := range rows.All {
		if err != nil {
			return r, err
		}
		values, ok := b.Column(int(b.NumCols()) - 1).(*array.String)
		if !ok {
			return r, driftline.Errorf(driftline.Internal, "the segment's column is %s", b.Schema().Field(int(b.NumCols())-1).Type)
		}
		for from := 0; from < values.Len(); {
			to := from + 1
			for to < values.Len() && values.IsNull(to) == values.IsNull(from) && values.Value(to) == values.Value(from) {
				to++
			}
			if !values.IsNull(from) {
				r.add(strings.Clone(values.Value(from)), b.NewSlice(int64(from), int64(to)))
			}
			from = to
		}
	}
	return r, nil
}

func (r *runs) add(value string, part arrow.RecordBatch) {
	r.batches = append(r.batches, part)
	r.parts[value] = append(r.parts[value], part)
	r.rows[value] += part.NumRows()
}

func (r *runs) of(value string) driftline.Batches {
	return driftline.BatchesOf(r.schema, r.parts[value]...)
}

// largest returns the n values with the most rows, by name.
func (r *runs) largest(n int) []string {
	var values []string
	for value := range r.rows {
		values = append(values, value)
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(r.rows[b], r.rows[a]), cmp.Compare(a, b)) })
	values = values[:min(n, len(values))]
	slices.Sort(values)
	return values
}

func (r *runs) release() { driftline.ReleaseAll(r.batches) }

// conclude sums the reports up.
func (c *comparedPane) conclude() {
	p := &c.pane
	whole := c.reports[0].Report
	p.Rows, p.ReferenceRows, p.Segments = whole.Current.Rows, whole.Reference.Rows, len(c.reports)-1
	p.Outcome = driftline.PaneUnsure
	for _, one := range c.reports {
		p.Compared += one.Report.Compared()
		p.Drifted += one.Report.Drifted
		for _, column := range one.Report.Columns {
			switch column.Verdict {
			case driftline.Same:
				if p.Outcome == driftline.PaneUnsure {
					p.Outcome = driftline.PaneSame
				}
			case driftline.Drift:
				p.Columns = append(p.Columns, driftedColumn(one.Segment, column))
			}
		}
		if one.Report.Drift {
			p.Outcome = driftline.PaneDrift
		}
	}
	slices.SortStableFunc(p.Columns, func(a, b driftline.DriftColumn) int {
		return cmp.Or(cmp.Compare(magnitude(b.Effect), magnitude(a.Effect)), cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Column, b.Column))
	})
	p.Columns = slices.Clone(p.Columns[:min(shownColumns, len(p.Columns))])
}

// driftedColumn names what drifted most in a column: its values, or what is missing.
func driftedColumn(segment string, c driftline.ColumnDrift) driftline.DriftColumn {
	if c.DecidedBy == missing {
		return driftline.DriftColumn{Segment: segment, Column: c.Column, Test: missing, Effect: driftline.Number(math.Abs(float64(c.MissingEffect))), QValue: c.MissingQValue}
	}
	return driftline.DriftColumn{Segment: segment, Column: c.Column, Test: c.Test, Effect: c.Effect, QValue: c.QValue}
}

// magnitude is an effect for sorting: one that is not known comes last.
func magnitude(effect driftline.Number) float64 {
	if math.IsNaN(float64(effect)) {
		return -1
	}
	return float64(effect)
}

// countLate says of panes how many rows they have now that they did not have when they
// were evaluated. Panes that cannot be counted are left as they are.
func (e *Engine) countLate(ctx context.Context, m *driftline.Monitor, panes []driftline.MonitorPane) error {
	if len(panes) == 0 {
		return nil
	}
	r := &paneReader{engine: e, m: m}
	_, from, err := r.from(m.Source.Ref, m.Source.SQL)
	if err != nil {
		return err
	}
	counts := make([]string, len(panes))
	windows := make([]window, len(panes))
	for i, p := range panes {
		windows[i] = window{p.Start, p.End}
		counts[i] = fmt.Sprintf("count(*) FILTER (WHERE %q >= $%d AND %q < $%d)", m.Source.TimeColumn, 2*i+1, m.Source.TimeColumn, 2*i+2)
	}
	args := timesRow(e, windows)
	defer args.Release()
	rows, err := e.SQL(ctx, "SELECT "+strings.Join(counts, ", ")+" FROM "+from, args)
	if err != nil {
		return err
	}
	for b, err := range rows.All {
		if err != nil {
			return err
		}
		for i := range panes {
			if count, ok := b.Column(i).(*array.Int64); ok && count.Len() > 0 && panes[i].Outcome != driftline.PaneFailed {
				late := count.Value(0) - panes[i].Rows
				panes[i].Late = &late
			}
		}
	}
	return nil
}
