package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
	"github.com/driftline/driftline/monitor"
)

const (
	usualPaneRows = 50
	mostPaneRows  = 1000
)

// PaneRows returns rows of the pane that t is in, or of its reference, in the order of
// their times: those of a segment, of a slice, or of a bin of a column's histogram.
func (e *Engine) PaneRows(ctx context.Context, name driftline.MonitorName, t time.Time, ask driftline.PaneRowsRequest) (*driftline.PaneRows, driftline.Batches, error) {
	none := driftline.Batches{}
	if ask.Limit == 0 {
		ask.Limit = usualPaneRows
	}
	if ask.Limit < 1 || ask.Limit > mostPaneRows {
		return nil, none, driftline.Errorf(driftline.Invalid, "limit is %d, want 1 to %d", ask.Limit, mostPaneRows)
	}
	if ask.Side == "" {
		ask.Side = driftline.SidePane
	}
	if err := oneOf("side", ask.Side, driftline.SidePane, driftline.SideReference); err != nil {
		return nil, none, err
	}
	report, err := e.MonitorPane(ctx, name, t, ask.Evaluation)
	if err != nil {
		return nil, none, err
	}
	r, err := e.paneReaderOf(&report.Pane)
	if err != nil {
		return nil, none, err
	}
	chosen := &driftline.PaneRows{Pane: report.Pane}
	if err := r.choose(&report, ask, chosen); err != nil {
		return nil, none, err
	}
	from, args, err := r.chosenFrom(ask.Side, chosen.Where)
	if err != nil {
		return nil, none, err
	}
	bounds := timesRow(e, args)
	defer bounds.Release()
	counted, err := e.SQL(ctx, "SELECT count(*) FROM "+from, bounds)
	if err != nil {
		return nil, none, err
	}
	for b, err := range counted.All {
		if err != nil {
			return nil, none, err
		}
		if n, ok := b.Column(0).(*array.Int64); ok && n.Len() > 0 {
			chosen.Count = n.Value(0)
		}
	}
	order := ""
	if len(args) > 0 {
		order = " ORDER BY " + quoted(r.m.Source.TimeColumn)
	}
	rows, err := e.SQL(ctx, fmt.Sprintf("SELECT * FROM %s%s LIMIT %d", from, order, ask.Limit), bounds)
	return chosen, rows, err
}

// paneReaderOf reads a pane as the version of its monitor did that evaluated it.
func (e *Engine) paneReaderOf(p *driftline.MonitorPane) (*paneReader, error) {
	versions, err := e.registry.MonitorVersions(p.Monitor)
	if err != nil {
		return nil, err
	}
	if p.Version < 1 || p.Version > len(versions) {
		return nil, driftline.Errorf(driftline.DataLoss, "monitor %q has no version %d any more", p.Monitor, p.Version)
	}
	m := versions[p.Version-1]
	schedule, err := monitor.NewSchedule(m)
	if err != nil {
		return nil, err
	}
	r := &paneReader{engine: e, m: m, current: []window{{p.Start, p.End}}}
	r.setReference(schedule.Zone(), monitor.Pane{Start: p.Start, End: p.End, Due: p.Due})
	return r, nil
}

// chosenFrom is what follows FROM, with the times that are its parameters.
func (r *paneReader) chosenFrom(side, where string) (from string, in []window, err error) {
	ref, text := r.m.Source.Ref, r.m.Source.SQL
	in = r.current
	if side == driftline.SideReference {
		if in = r.against; len(in) == 0 {
			ref, text = r.m.Reference.Ref, ""
		}
	}
	if _, from, err = r.from(ref, text); err != nil {
		return "", nil, err
	}
	var conditions []string
	if len(in) > 0 {
		conditions = append(conditions, windowsSQL(r.m.Source.TimeColumn, in))
	}
	if where != "" {
		conditions = append(conditions, "("+where+"\n)")
	}
	if len(conditions) > 0 {
		from += " WHERE " + strings.Join(conditions, " AND ")
	}
	return from, in, nil
}

// choose works out the condition of the rows that are asked for.
func (r *paneReader) choose(report *driftline.PaneReport, ask driftline.PaneRowsRequest, chosen *driftline.PaneRows) error {
	var conditions []string
	if ask.Segment != "" {
		condition, err := segmentSQL(r.m, ask.Segment)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	if ask.Slice != 0 {
		if ask.Slice < 1 || ask.Slice > len(report.Pane.Slices) {
			return driftline.Errorf(driftline.NotFound, "the pane has no slice %d: it has %d", ask.Slice, len(report.Pane.Slices))
		}
		conditions = append(conditions, report.Pane.Slices[ask.Slice-1].Where)
	}
	if ask.Column == "" && ask.Bin != 0 {
		return driftline.Errorf(driftline.Invalid, "bin %d is of no column", ask.Bin).WithHint("name the column too")
	}
	if ask.Column != "" {
		column, err := columnOf(report, ask.Segment, ask.Column)
		if err != nil {
			return err
		}
		if chosen.Bin = ask.Bin; chosen.Bin == 0 {
			chosen.Bin = changedBin(column, ask.Side)
		}
		if chosen.Bin != 0 {
			condition, err := binSQL(column, chosen.Bin)
			if err != nil {
				return err
			}
			conditions = append(conditions, condition)
		}
	}
	chosen.Where = strings.Join(conditions, " AND ")
	return nil
}

// segmentSQL is the condition of a segment, by the name that results give it.
func segmentSQL(m *driftline.Monitor, name string) (string, error) {
	var of *driftline.Segment
	for i, s := range m.Segments {
		if strings.HasPrefix(name, s.Title()+"=") && (of == nil || len(s.Title()) > len(of.Title())) {
			of = &m.Segments[i]
		}
	}
	if of == nil {
		titles := make([]string, len(m.Segments))
		for i, s := range m.Segments {
			titles[i] = s.Title() + "=…"
		}
		return "", driftline.Errorf(driftline.NotFound, "monitor %q has no segment %.80q", m.Name, name).WithHint("its segments: %s", strings.Join(titles, ", "))
	}
	return fmt.Sprintf("CAST((%s\n) AS VARCHAR) = %s", of.Expression, quoteText(strings.TrimPrefix(name, of.Title()+"="))), nil
}

func columnOf(report *driftline.PaneReport, segment, name string) (*driftline.ColumnDrift, error) {
	for _, one := range report.Reports {
		if one.Segment != segment {
			continue
		}
		for i := range one.Report.Columns {
			if one.Report.Columns[i].Column == name {
				return &one.Report.Columns[i], nil
			}
		}
		return nil, driftline.Errorf(driftline.NotFound, "the pane has no column %.80q", name)
	}
	return nil, driftline.Errorf(driftline.NotFound, "the pane has no segment %.80q", segment)
}

// changedBin is the bin whose share rose most from reference to current, or the other way,
// which may be that of missing values. It is 0 if the column has neither.
func changedBin(c *driftline.ColumnDrift, side string) int {
	sign := 1.0
	if side == driftline.SideReference {
		sign = -1
	}
	best, most := driftline.MissingBin, sign*float64(c.MissingEffect)
	if math.IsNaN(most) {
		best, most = 0, math.Inf(-1)
	}
	n, m := float64(c.ReferenceRows+c.ReferenceNulls), float64(c.CurrentRows+c.CurrentNulls)
	for i := range c.Histogram.Current {
		if rose := sign * (float64(c.Histogram.Current[i])/max(1, m) - float64(c.Histogram.Reference[i])/max(1, n)); rose > most {
			best, most = i+1, rose
		}
	}
	return best
}

// binSQL is the condition of a bin of a column's histogram.
func binSQL(c *driftline.ColumnDrift, bin int) (string, error) {
	h := c.Histogram
	bins := len(h.Current)
	switch {
	case bin == driftline.MissingBin && c.Kind == categorical:
		return quoted(c.Column) + " IS NULL", nil
	case bin == driftline.MissingBin:
		return fmt.Sprintf("(%[1]s IS NULL OR isnan(%[2]s))", quoted(c.Column), numberSQL(c)), nil
	case bin < 1 || bin > bins:
		return "", driftline.Errorf(driftline.NotFound, "column %q has no bin %d in its histogram: it has %d", c.Column, bin, bins).
			WithHint("-1 are missing values")
	case len(h.Edges) == bins+1:
		return numberBinSQL(c, bin), nil
	case len(h.Categories) == bins:
		return categoryBinSQL(c, bin), nil
	}
	return "", driftline.Errorf(driftline.FailedPrecondition, "column %q has no histogram that rows could be chosen by", c.Column)
}

// numberSQL is a column as the number that its histogram counts.
func numberSQL(c *driftline.ColumnDrift) string {
	if c.Type == driftline.Timestamp {
		return "CAST(epoch_us(CAST(" + quoted(c.Column) + " AS TIMESTAMPTZ)) AS DOUBLE)"
	}
	return "CAST(" + quoted(c.Column) + " AS DOUBLE)"
}

// numberBinSQL is a condition on numbers: the first and the last bin hold what lies beyond.
func numberBinSQL(c *driftline.ColumnDrift, bin int) string {
	number, edges, bins := numberSQL(c), c.Histogram.Edges, len(c.Histogram.Current)
	conditions := []string{"NOT isnan(" + number + ")"}
	if bin > 1 {
		conditions = append(conditions, number+" >= "+strconv.FormatFloat(edges[bin-1], 'g', -1, 64))
	}
	if bin < bins {
		conditions = append(conditions, number+" < "+strconv.FormatFloat(edges[bin], 'g', -1, 64))
	}
	return strings.Join(conditions, " AND ")
}

func categoryBinSQL(c *driftline.ColumnDrift, bin int) string {
	text := "CAST(" + quoted(c.Column) + " AS VARCHAR)"
	names := c.Histogram.Categories
	is := func(name string) string {
		if whole, ok := strings.CutSuffix(name, "…"); ok && utf8.RuneCountInString(name) > shownLength {
			return fmt.Sprintf("starts_with(%s, %s)", text, quoteText(whole))
		}
		return text + " = " + quoteText(name)
	}
	if bin < len(names) || names[bin-1] != drift.OtherCategories {
		return is(names[bin-1])
	}
	conditions := []string{quoted(c.Column) + " IS NOT NULL"}
	for _, name := range slices.Clone(names[:bin-1]) {
		conditions = append(conditions, "NOT "+is(name))
	}
	return strings.Join(conditions, " AND ")
}
