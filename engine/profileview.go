package engine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/profile"
)

// shownQuantiles are those that a profile shows.
var shownQuantiles = []float64{0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99}

// ProfileOf merges what is kept of a window, in a form to look at.
func (e *Engine) ProfileOf(ctx context.Context, window driftline.ProfileWindow) (*driftline.Profile, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if len(window.Data) > 0 {
		d, err := DecodeProfile(window.Data)
		if err != nil {
			return nil, err
		}
		return d.Summary(), nil
	}
	w, err := e.readWindow(ctx, window)
	if err != nil {
		return nil, err
	}
	p := &driftline.Profile{
		Source: window.Source, Start: w.records[0].Start, End: w.records[len(w.records)-1].End,
		Rows: w.rows, Panes: len(w.records), Columns: []driftline.ColumnProfile{},
	}
	for _, record := range w.records {
		p.Bytes += record.Bytes
	}
	for _, name := range w.order {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		c := w.columns[name]
		if c.mixed {
			return nil, mixedColumn(window.Source, name)
		}
		whole, err := c.whole()
		if err != nil {
			return nil, err
		}
		p.Columns = append(p.Columns, columnProfile(c.columnRecord, whole))
	}
	return p, nil
}

func mixedColumn(source, column string) error {
	return driftline.Errorf(driftline.FailedPrecondition, "the panes of %q were profiled for different references: column %q cannot be put together", source, column).
		WithHint("choose a window of panes that were made for one reference, or profile the table again")
}

// columnProfile describes a column.
func columnProfile(of columnRecord, c *profile.Column) driftline.ColumnProfile {
	p := driftline.ColumnProfile{Column: of.Name, Type: of.Type, Kind: of.Kind, Rows: c.Rows(), Nulls: c.Nulls(), NaN: c.NaN()}
	p.NegativeInfinite, p.PositiveInfinite = c.Infinite()
	distinct, exactly := c.Distinct()
	p.Distinct, p.DistinctExact = driftline.Number(math.Round(distinct)), exactly
	if of.Kind == categorical {
		describeCategories(&p, c)
		return p
	}
	least, greatest := c.Range()
	for to, v := range map[**driftline.Number]float64{&p.Min: least, &p.Max: greatest, &p.Mean: c.Mean(), &p.StdDev: c.StdDev()} {
		if !math.IsNaN(v) {
			*to = number(v)
		}
	}
	if c.Values() > 0 {
		for _, q := range shownQuantiles {
			found := c.Quantile(q)
			p.Quantiles = append(p.Quantiles, driftline.ProfileQuantile{Q: q, Low: driftline.Number(found.Low), High: driftline.Number(found.High)})
		}
	}
	return p
}

func describeCategories(p *driftline.ColumnProfile, c *profile.Column) {
	kept, other := c.Categories()
	slices.SortStableFunc(kept, func(a, b profile.Count) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), strings.Compare(a.Name, b.Name))
	})
	for _, k := range kept[:min(len(kept), topValues)] {
		p.Top = append(p.Top, driftline.CategoryCount{Name: shown(k.Name), Rows: k.Rows})
	}
	if p.OtherRows = other; other > 0 {
		p.OtherAtMost = c.AtMost()
	}
}
