package web

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

func (s *Server) datasetsPage(w http.ResponseWriter, r *http.Request) error {
	body, err := listed(r, s.engine.Registry().Datasets(), datasetColumns)
	if err != nil {
		return err
	}
	return s.render(w, "datasets", page{Title: "Datasets", Section: "datasets", Body: body})
}

var datasetColumns = []listColumn[driftline.Dataset]{
	{name: "dataset", label: "Dataset", text: func(d *driftline.Dataset) string { return string(d.Name) }},
	{name: "version", label: "Version", order: quantity(func(d *driftline.Dataset) int { return d.Version })},
	{name: "rows", label: "Rows", right: true, order: quantity(func(d *driftline.Dataset) int64 { return d.Report.Rows })},
	{name: "columns", label: "Columns", right: true, order: quantity(func(d *driftline.Dataset) int { return len(d.Report.Columns) })},
	{name: "features", label: "Features of", text: func(d *driftline.Dataset) string {
		var views []string
		for _, p := range d.Report.Pins {
			views = append(views, string(p.View))
		}
		return strings.Join(views, ", ")
	}},
	{name: "saved", label: "Saved", order: moment(func(d *driftline.Dataset) time.Time { return d.Created })},
	{label: "Lineage"},
}

type datasetPage struct {
	*driftline.Dataset
	Ref     driftline.Ref
	Columns []columnPicture
	Parts   []partRow
	Late    bool // values were not yet known at their row's time
	Flight  string
}

func (s *Server) datasetPage(w http.ResponseWriter, r *http.Request) error {
	dataset, err := s.dataset(r)
	if err != nil {
		return err
	}
	return s.render(w, "dataset", page{Title: fmt.Sprintf("%s @%d", dataset.Name, dataset.Version), Section: "datasets",
		Body: datasetPage{Dataset: dataset, Ref: dataset.Ref(), Columns: columnPictures(dataset), Parts: partRows(dataset),
			Late: hasLate(dataset), Flight: s.options.FlightAddress}})
}

// hasLate reports whether a value of a dataset was not yet known at its row's time.
func hasLate(d *driftline.Dataset) bool {
	return slices.ContainsFunc(d.Report.Columns, func(c driftline.ColumnReport) bool { return c.NotYetKnown > 0 })
}

// partRow is one part of a divided dataset.
type partRow struct {
	driftline.SplitPart
	Percent float64 // of all rows
}

func partRows(d *driftline.Dataset) []partRow {
	if d.Request.Split == nil {
		return nil
	}
	rows := make([]partRow, len(d.Request.Split.Parts))
	for i, p := range d.Request.Split.Parts {
		rows[i] = partRow{SplitPart: p, Percent: percent(p.Rows, d.Report.Rows)}
	}
	return rows
}

func percent(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}

// columnPicture is what a dataset's page shows of a column. It is drawn from what was
// seen when the dataset was saved: no row is read.
type columnPicture struct {
	Column, Type string
	Spine        bool // it came with the spine
	Nulls        int64
	NotYetKnown  int64
	NotFinite    int64

	// Of numbers and times.
	Bars                    []bar
	Low, Mean, High, Spread string

	// Of text and truth values.
	Top      []topValue
	Others   int64 // values that Top leaves out
	Distinct string
}

// topValue is a frequent value and the bar that shows how frequent.
type topValue struct {
	Value string
	Count int64
	Width float64 // of a bar, in the units of its viewBox
}

// shownTop is how many of a column's frequent values fit beside a histogram.
const shownTop = 5

func columnPictures(d *driftline.Dataset) []columnPicture {
	unknown := map[string]int64{}
	for _, c := range d.Report.Columns {
		unknown[c.Column] = c.NotYetKnown
	}
	var pictures []columnPicture
	for _, c := range d.Statistics {
		late, feature := unknown[c.Column]
		p := columnPicture{Column: c.Column, Type: c.Type, Spine: !feature && c.Column != driftline.SplitColumn,
			Nulls: c.Nulls, NotYetKnown: late, NotFinite: c.NotFinite}
		if c.Min != nil {
			p.Bars = bars(c.Counts)
			p.Low, p.Mean, p.High = columnValue(c, c.Min), columnValue(c, c.Mean), columnValue(c, c.Max)
			if c.StdDev != nil && !isTimeType(c.Type) {
				p.Spread = numberText(*c.StdDev)
			}
		}
		p.addTop(c)
		pictures = append(pictures, p)
	}
	return pictures
}

func (p *columnPicture) addTop(c driftline.ColumnStatistics) {
	switch {
	case c.MoreDistinct:
		p.Distinct = "more than " + countText(c.Distinct) + " different values"
	case c.Distinct == 1:
		p.Distinct = "one value"
	case c.Distinct > 1:
		p.Distinct = countText(c.Distinct) + " different values"
	}
	p.Others = c.Rows - c.Nulls
	for i, v := range c.Top {
		if i == shownTop {
			break
		}
		p.Top = append(p.Top, topValue{Value: v.Value, Count: v.Count, Width: histogramWidth * float64(v.Count) / float64(c.Top[0].Count)})
		p.Others -= v.Count
	}
}

func isTimeType(arrowType string) bool {
	return strings.HasPrefix(arrowType, "timestamp") || strings.HasPrefix(arrowType, "date")
}

func isWholeType(arrowType string) bool {
	return strings.HasPrefix(arrowType, "int") || strings.HasPrefix(arrowType, "uint")
}

// columnValue is a number for people, or the time that it stands for. A whole number of
// a column has no separators: it may be a year or an id as well as a count.
func columnValue(c driftline.ColumnStatistics, n *driftline.Number) string {
	switch {
	case n == nil:
		return ""
	case isTimeType(c.Type):
		return stampText(time.UnixMicro(int64(*n)))
	case isWholeType(c.Type) && float64(*n) == math.Trunc(float64(*n)):
		return strconv.FormatFloat(float64(*n), 'f', -1, 64)
	}
	return numberText(*n)
}
