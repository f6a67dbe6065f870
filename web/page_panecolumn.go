package web

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// columnView is what the address of a column's page asks for: one column of one pane, of
// all rows or of a segment, and which of its rows are looked at.
type columnView struct {
	monitor driftline.MonitorName
	pane    time.Time // an instant in it
	column  string
	ask     driftline.PaneRowsRequest
}

// url is the address of the page that shows v.
func (v columnView) url() string {
	q := url.Values{"pane": {v.pane.UTC().Format(time.RFC3339)}, "column": {v.column}}
	for name, text := range map[string]string{"segment": v.ask.Segment, "side": v.ask.Side} {
		if text != "" {
			q.Set(name, text)
		}
	}
	for name, number := range map[string]int{"evaluation": v.ask.Evaluation, "slice": v.ask.Slice, "bin": v.ask.Bin} {
		if number > 0 {
			q.Set(name, strconv.Itoa(number))
		}
	}
	if v.ask.Bin == driftline.MissingBin {
		q.Set("bin", "missing")
	}
	return "/monitors/" + url.PathEscape(string(v.monitor)) + "/column?" + q.Encode()
}

// rowsURL is url, at the rows.
func (v columnView) rowsURL() string { return v.url() + "#rows" }

type columnPage struct {
	Pane      driftline.MonitorPane
	Monitored string // address of the pane
	Segment   string
	paneColumn
	Others  []columnSegment // the same column in the other segments
	Slices  []columnSlice   // where it changed most
	Bins    []columnBin
	Where   string // the condition of the rows shown
	Chosen  string // the same in words
	Sides   []heatChoice
	Count   int64
	Names   []string
	Rows    [][]string
	Failed  *driftline.Error // why there are no rows
	Instant time.Time
}

type columnSegment struct {
	heatChoice
	Verdict driftline.Verdict
	Effect  driftline.Number
	Rows    int64
}

type columnSlice struct {
	driftline.DriftSlice
	Q, URL string
	Chosen bool
}

// worstOf are the slices of a pane, each with the page of its rows.
func worstOf(p *driftline.MonitorPane) (worst []columnSlice) {
	for i, slice := range p.Slices {
		view := columnView{monitor: p.Monitor, pane: instantIn(p.End), column: slice.Column,
			ask: driftline.PaneRowsRequest{Evaluation: p.Evaluation, Slice: i + 1}}
		worst = append(worst, columnSlice{DriftSlice: slice, Q: report.Probability(slice.QValue), URL: view.rowsURL()})
	}
	return worst
}

// columnBin is a line of the histogram, with the shares of both sides.
type columnBin struct {
	Text, URL          string
	Reference, Current float64 // shares of the side's rows
	Before, Now        float64 // lengths of bars, from 0 to 100
	ReferenceRows      int64
	CurrentRows        int64
	Chosen             bool
}

// Change is by how much the share rose, in words.
func (b columnBin) Change() string {
	return pointsText(driftline.Number(b.Current - b.Reference))
}

func (s *Server) paneColumnPage(w http.ResponseWriter, r *http.Request) error {
	view := columnView{monitor: monitorOf(r)}
	var err error
	if view.ask, err = paneRowsOf(r); err != nil {
		return err
	}
	view.column = view.ask.Column
	if view.column == "" {
		return unfit("the address names no column")
	}
	if view.pane, err = timeOf("pane", r.URL.Query().Get("pane")); err != nil {
		return err
	}
	found, err := s.engine.MonitorPane(r.Context(), view.monitor, view.pane, view.ask.Evaluation)
	if err != nil {
		return err
	}
	body, err := newColumnPage(view, &found)
	if err != nil {
		return err
	}
	if err := s.addRows(r, body, view); err != nil {
		body.Failed, _ = present(err)
	}
	return s.render(w, "column", page{Title: view.column + " · " + string(view.monitor), Section: "monitors", Body: body})
}

func newColumnPage(view columnView, found *driftline.PaneReport) (*columnPage, error) {
	body := &columnPage{Pane: found.Pane, Segment: view.ask.Segment, Instant: instantIn(found.Pane.End)}
	body.Monitored = monitorView{name: view.monitor, segment: view.ask.Segment, pane: body.Instant, evaluation: view.ask.Evaluation}.url()
	for _, one := range found.Reports {
		at := slices.IndexFunc(one.Report.Columns, func(c driftline.ColumnDrift) bool { return c.Column == view.column })
		if at < 0 {
			continue
		}
		c := one.Report.Columns[at]
		shown := newPaneColumn(one.Segment, c, one.Report.Alpha)
		if one.Segment == view.ask.Segment {
			body.paneColumn = shown
		}
		other := columnView{monitor: view.monitor, pane: view.pane, column: view.column,
			ask: driftline.PaneRowsRequest{Evaluation: view.ask.Evaluation, Segment: one.Segment}}
		body.Others = append(body.Others, columnSegment{Verdict: c.Verdict, Effect: shown.Effect, Rows: one.Report.Current.Rows,
			heatChoice: heatChoice{Text: one.Segment, URL: other.url(), Chosen: one.Segment == view.ask.Segment}})
	}
	if body.Column == "" {
		return nil, driftline.Errorf(driftline.NotFound, "the pane has no column %q", clip(view.column)).WithHint("its monitor's page lists those that it has")
	}
	for i, slice := range worstOf(&found.Pane) {
		if slice.Column == view.column && view.ask.Segment == "" {
			slice.Chosen = view.ask.Slice == i+1
			body.Slices = append(body.Slices, slice)
		}
	}
	return body, nil
}

// addRows draws the histogram and reads the rows of the chosen bin.
func (s *Server) addRows(r *http.Request, body *columnPage, view columnView) error {
	ask := view.ask
	if ask.Slice != 0 && ask.Bin == 0 {
		ask.Column = "" // all rows of the slice
	}
	chosen, rows, err := s.engine.PaneRows(r.Context(), view.monitor, view.pane, ask)
	if err != nil {
		body.addBins(view, 0)
		return err
	}
	view.ask.Bin = chosen.Bin
	body.addBins(view, chosen.Bin)
	body.Where, body.Count = chosen.Where, chosen.Count
	for _, side := range []string{driftline.SidePane, driftline.SideReference} {
		one := view
		one.ask.Side = side
		body.Sides = append(body.Sides, heatChoice{Text: map[string]string{driftline.SidePane: "in the pane", driftline.SideReference: "in the reference"}[side],
			URL: one.rowsURL(), Chosen: side == view.ask.Side || side == driftline.SidePane && view.ask.Side == ""})
	}
	body.Names, body.Rows, err = textRows(rows)
	return err
}

// addBins draws the histogram, the bin with that number chosen, and what is missing.
func (body *columnPage) addBins(view columnView, chosen int) {
	c := body.ColumnDrift
	h := c.Histogram
	before, now := float64(max(1, c.ReferenceRows+c.ReferenceNulls)), float64(max(1, c.CurrentRows+c.CurrentNulls))
	add := func(bin int, text string, reference, current int64) {
		one := view
		one.ask.Bin, one.ask.Slice = bin, 0
		if bin == chosen {
			body.Chosen = text
		}
		body.Bins = append(body.Bins, columnBin{Text: text, URL: one.rowsURL(), ReferenceRows: reference, CurrentRows: current,
			Reference: float64(reference) / before, Current: float64(current) / now, Chosen: bin == chosen})
	}
	for i := range min(len(h.Reference), len(h.Current)) {
		add(i+1, binText(&c, i), h.Reference[i], h.Current[i])
	}
	if c.ReferenceNulls+c.CurrentNulls > 0 {
		add(driftline.MissingBin, "missing", c.ReferenceNulls, c.CurrentNulls)
	}
	most := 0.0
	for _, b := range body.Bins {
		most = max(most, b.Reference, b.Current)
	}
	for i := range body.Bins {
		b := &body.Bins[i]
		b.Before, b.Now = 100*b.Reference/most, 100*b.Current/most
	}
}

// binText names a bin of a histogram.
func binText(c *driftline.ColumnDrift, i int) string {
	h := c.Histogram
	if len(h.Edges) != len(h.Current)+1 {
		if i < len(h.Categories) {
			return h.Categories[i]
		}
		return strconv.Itoa(i + 1)
	}
	text := func(v float64) string {
		if c.Type == driftline.Timestamp && math.Abs(v) < 1e17 {
			return stampText(time.UnixMicro(int64(v)))
		}
		return numberText(driftline.Number(v))
	}
	switch last := len(h.Current) - 1; {
	case last == 0:
		return "all values"
	case i == 0:
		return "below " + text(h.Edges[1])
	case i == last:
		return text(h.Edges[i]) + " and more"
	}
	return text(h.Edges[i]) + " to " + text(h.Edges[i+1])
}

// shownCell is how many characters of a value a page shows.
const shownCell = 80

// textRows are rows as a page shows them.
func textRows(rows driftline.Batches) (names []string, text [][]string, err error) {
	for _, f := range rows.Schema.Fields() {
		names = append(names, f.Name)
	}
	for batch, err := range rows.All {
		if err != nil {
			return names, text, err
		}
		for i := range int(batch.NumRows()) {
			line := make([]string, batch.NumCols())
			for k, column := range batch.Columns() {
				line[k] = cellText(column, i)
			}
			text = append(text, line)
		}
	}
	return names, text, nil
}

func cellText(column arrow.Array, i int) string {
	if column.IsNull(i) {
		return ""
	}
	text := strings.Clone(column.ValueStr(i)) // it may lie in the batch, which is gone when the page is drawn
	if c, ok := column.(*array.Timestamp); ok {
		text = stampText(c.Value(i).ToTime(c.DataType().(*arrow.TimestampType).Unit))
	}
	if characters := []rune(text); len(characters) > shownCell {
		text = string(characters[:shownCell]) + "…"
	}
	return text
}
