package web

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/report"
)

// sparkPanes is how many panes the list of monitors draws of each.
const sparkPanes = 30

// monitorRow is one monitor of the list.
type monitorRow struct {
	driftline.MonitorStatus
	Standing string
	Last     *driftline.MonitorPane // nil before the first
	Spark    []sparkBar
}

func (s *Server) monitorsPage(w http.ResponseWriter, r *http.Request) error {
	follows := s.followed("", "monitor", "pane", "alert")
	all, err := s.engine.Monitors()
	if err != nil {
		return err
	}
	var rows []monitorRow
	for _, status := range all {
		panes, err := s.engine.MonitorPanes(r.Context(), status.Monitor.Name, time.Time{}, sparkPanes, false)
		if err != nil {
			return err
		}
		panes = lastEvaluations(panes)
		row := monitorRow{MonitorStatus: status, Standing: standing(&status), Spark: drawSpark(panes)}
		if len(panes) > 0 {
			row.Last = &panes[len(panes)-1]
		}
		rows = append(rows, row)
	}
	body, err := listed(r, rows, monitorColumns)
	if err != nil {
		return err
	}
	return s.render(w, "monitors", page{Title: "Monitors", Section: "monitors", Follows: follows, Body: body})
}

var monitorColumns = []listColumn[monitorRow]{
	{name: "monitor", label: "Monitor", text: func(r *monitorRow) string { return string(r.Monitor.Name) + "\n" + r.Monitor.Description }},
	{name: "state", label: "State", text: func(r *monitorRow) string { return r.Standing + "\n" + string(r.State.Alert) }},
	{name: "pane", label: "Last pane", order: moment(func(r *monitorRow) time.Time { return r.lastPane().End })},
	{name: "verdict", label: "Verdict", text: func(r *monitorRow) string { return string(r.lastPane().Outcome) }},
	{name: "drifted", label: "Share of drifted columns", order: quantity(func(r *monitorRow) float64 {
		last := r.lastPane()
		return float64(last.Drifted) / float64(max(1, last.Compared))
	})},
}

// lastPane is the zero pane before the first.
func (r *monitorRow) lastPane() driftline.MonitorPane {
	if r.Last == nil {
		return driftline.MonitorPane{}
	}
	return *r.Last
}

// standing is a monitor's state in a word.
func standing(status *driftline.MonitorStatus) string {
	switch {
	case status.Monitor.Disabled:
		return "disabled"
	case status.State.Paused:
		return "paused"
	case status.State.Failures > 0:
		return string(driftline.PaneFailed)
	case status.Next.IsZero() && status.State.Phase != driftline.PhaseFiring:
		return "over"
	}
	return string(status.State.Phase)
}

// lastEvaluations returns of each pane what was found last, the oldest pane first.
func lastEvaluations(panes []driftline.MonitorPane) []driftline.MonitorPane {
	last := slices.SortedStableFunc(slices.Values(panes), func(a, b driftline.MonitorPane) int {
		return cmp.Or(a.End.Compare(b.End), cmp.Compare(b.Evaluation, a.Evaluation))
	})
	return slices.CompactFunc(last, func(a, b driftline.MonitorPane) bool { return a.End.Equal(b.End) })
}

// sparkBar is one pane of a sparkline: as high as the share of columns that drifted.
type sparkBar struct {
	bar
	Outcome driftline.PaneOutcome
	Title   string
}

// The viewBox of a sparkline.
const (
	sparkWidth  = 180
	sparkHeight = 28
)

// drawSpark draws panes, the oldest first. One that did not drift is a low bar, so that it
// can be told from none.
func drawSpark(panes []driftline.MonitorPane) []sparkBar {
	const step, least = float64(sparkWidth) / sparkPanes, 3.0
	bars := make([]sparkBar, len(panes))
	for i, p := range panes {
		height := least
		if p.Compared > 0 {
			height += (sparkHeight - least) * float64(p.Drifted) / float64(p.Compared)
		}
		x := sparkWidth - step*float64(len(panes)-i)
		bars[i] = sparkBar{bar: bar{X: x, Y: sparkHeight - height, Width: step - 1, Height: height},
			Outcome: p.Outcome, Title: stampText(p.Start) + ": " + paneText(&p)}
	}
	return bars
}

// paneText is what a pane came to, in a line.
func paneText(p *driftline.MonitorPane) string {
	if p.Outcome == driftline.PaneDrift {
		return fmt.Sprintf("%d of %s drifted", p.Drifted, report.Plural(p.Compared, "comparison"))
	}
	return string(p.Outcome)
}

// heatPanes and heatColumns bound what one heat map shows.
const (
	heatPanes   = 48
	heatColumns = 60
)

type monitorPage struct {
	driftline.MonitorStatus
	Ref      driftline.Ref
	Standing string
	Level    string
	Rule     string
	Open     []driftline.Alert
	Heat     *heatMap     // nil before the first pane
	Segments []heatChoice // none if there is but one
	Pane     *panePart    // nil before the first
	Older    string       // address of the panes before those shown; "" if there are none
	Newer    string       // of the newest, if those shown are not
}

// heatChoice is a segment whose heat map can be looked at.
type heatChoice struct {
	Text, URL string
	Chosen    bool
}

// monitorView is what the address of a monitor's page asks for.
type monitorView struct {
	name       driftline.MonitorName
	segment    string
	before     time.Time // only panes that ended before; the zero time: all
	pane       time.Time // an instant in the pane to show; the zero time: the newest
	evaluation int       // of that pane; 0: the last

	// Which columns of the pane are listed, and in which order.
	find    string // in their names
	verdict driftline.Verdict
	sort    string // one of columnOrders
}

// columnOrders are the orders in which columns may be listed; without one it is that of the
// report, what drifted most first.
var columnOrders = map[string]func(a, b paneColumn) int{
	"column": func(a, b paneColumn) int { return cmp.Compare(a.Column, b.Column) },
	"effect": func(a, b paneColumn) int { return cmp.Compare(b.Effect, a.Effect) },
	"q":      func(a, b paneColumn) int { return cmp.Compare(orLast(a.QValue), orLast(b.QValue)) },
}

// orLast puts what has no figure behind all that has.
func orLast(n driftline.Number) float64 {
	if n != n {
		return math.Inf(1)
	}
	return float64(n)
}

var columnVerdicts = []driftline.Verdict{driftline.Drift, driftline.Same, driftline.NotEnoughData, driftline.NotCompared}

// arrange leaves out the columns that are not asked for, and sorts the others.
func (v monitorView) arrange(columns []paneColumn) []paneColumn {
	kept := slices.DeleteFunc(columns, func(c paneColumn) bool {
		return v.verdict != "" && c.Verdict != v.verdict || !strings.Contains(strings.ToLower(c.Column), strings.ToLower(v.find))
	})
	if order := columnOrders[v.sort]; order != nil {
		slices.SortStableFunc(kept, order)
	}
	return kept
}

// orders are links to the orders, by name.
func (v monitorView) orders() map[string]*heatChoice {
	links := map[string]*heatChoice{}
	for name := range columnOrders {
		one := v
		one.sort = name
		if v.sort == name {
			one.sort = "" // asked for again, it is the report's order
		}
		links[name] = &heatChoice{URL: one.url(), Chosen: v.sort == name}
	}
	return links
}

// verdicts are links to the columns with a verdict.
func (v monitorView) verdicts() []heatChoice {
	all := v
	all.verdict = ""
	links := []heatChoice{{Text: "all", URL: all.url(), Chosen: v.verdict == ""}}
	for _, verdict := range columnVerdicts {
		one := v
		one.verdict = verdict
		links = append(links, heatChoice{Text: string(verdict), URL: one.url(), Chosen: v.verdict == verdict})
	}
	return links
}

func monitorViewOf(r *http.Request) (monitorView, error) {
	q := r.URL.Query()
	v := monitorView{name: monitorOf(r), segment: q.Get("segment"), find: q.Get("find"), verdict: driftline.Verdict(q.Get("verdict")), sort: q.Get("sort")}
	if v.verdict != "" && !slices.Contains(columnVerdicts, v.verdict) {
		return v, driftline.Errorf(driftline.Invalid, "verdict is %q, which is none", clip(string(v.verdict))).WithHint("choose one of drift, same, not enough data, not compared")
	}
	if v.sort != "" && columnOrders[v.sort] == nil {
		return v, driftline.Errorf(driftline.Invalid, "sort is %q, which is no order", clip(v.sort)).WithHint("choose one of column, effect, q")
	}
	var err error
	for name, at := range map[string]*time.Time{"before": &v.before, "pane": &v.pane} {
		if text := q.Get(name); text != "" {
			if *at, err = timeOf(name, text); err != nil {
				return v, err
			}
		}
	}
	v.evaluation, err = numberIn(r, "evaluation", 0)
	return v, err
}

// url is the address of the page that shows v.
func (v monitorView) url() string {
	address := "/monitors/" + url.PathEscape(string(v.name))
	if values := v.values(); len(values) > 0 {
		address += "?" + values.Encode()
	}
	if !v.pane.IsZero() {
		address += "#pane"
	}
	return address
}

func (v monitorView) values() url.Values {
	values := url.Values{}
	for name, text := range map[string]string{"segment": v.segment, "find": v.find, "verdict": string(v.verdict), "sort": v.sort} {
		if text != "" {
			values.Set(name, text)
		}
	}
	for name, at := range map[string]time.Time{"before": v.before, "pane": v.pane} {
		if !at.IsZero() {
			values.Set(name, at.UTC().Format(time.RFC3339))
		}
	}
	if v.evaluation != 0 {
		values.Set("evaluation", strconv.Itoa(v.evaluation))
	}
	return values
}

// instantIn is a time that is in a pane and in none that ended before it. Panes may
// overlap, are no shorter than a second and begin and end at whole ones.
func instantIn(end time.Time) time.Time { return end.Add(-time.Second) }

func (s *Server) monitorPage(w http.ResponseWriter, r *http.Request) error {
	view, err := monitorViewOf(r)
	if err != nil {
		return err
	}
	follows := s.followed("", "monitor", "pane", "alert")
	status, err := s.engine.Monitor(view.name)
	if err != nil {
		return err
	}
	body := monitorPage{MonitorStatus: status, Ref: status.Monitor.Ref(), Standing: standing(&status),
		Level: levelText(&status.Monitor), Rule: ruleText(status.Monitor.Alert.Completed())}
	if body.Open, err = s.engine.Alerts(view.name, driftline.AlertFiring); err != nil {
		return err
	}
	panes, err := s.engine.MonitorPanes(r.Context(), view.name, view.before, heatPanes, true)
	if err != nil {
		return err
	}
	if len(panes) == heatPanes {
		body.Older = monitorView{name: view.name, segment: view.segment, before: panes[len(panes)-1].End}.url()
	}
	if !view.before.IsZero() {
		body.Newer = monitorView{name: view.name, segment: view.segment}.url()
	}
	if len(panes) > 0 {
		if err := s.addPanes(r, &body, view, lastEvaluations(panes)); err != nil {
			return err
		}
	}
	return s.render(w, "monitor", page{Title: string(view.name), Section: "monitors", Follows: follows, Body: body})
}

// addPanes draws panes, the oldest first, and shows the chosen one.
func (s *Server) addPanes(r *http.Request, body *monitorPage, view monitorView, panes []driftline.MonitorPane) error {
	verdicts, err := s.engine.ColumnVerdicts(r.Context(), view.name, panes)
	if err != nil {
		return err
	}
	if view.pane.IsZero() {
		view.pane = instantIn(panes[len(panes)-1].End)
	}
	report, err := s.engine.MonitorPane(r.Context(), view.name, view.pane, view.evaluation)
	if err != nil {
		return err
	}
	body.Heat = drawHeat(view, panes, verdicts, report.Pane.End)
	body.Segments = heatChoices(view, verdicts)
	body.Pane = newPanePart(view, &report)
	for _, p := range panes {
		if p.End.Equal(report.Pane.End) {
			if body.Pane.LateCounted = p.Late != nil; p.Late != nil {
				body.Pane.LateRows = *p.Late
			}
			body.Pane.addEvaluations(view, p.Evaluation)
		}
	}
	return nil
}

func levelText(m *driftline.Monitor) string {
	correction := m.Tests.Correction
	if correction == "" {
		correction = "bh"
	}
	if m.Budget == nil && m.Tests.Alpha == 0 && !driftline.IsBuiltInPreset(m.Tests.Preset) {
		return "as preset " + m.Tests.Preset + " says"
	}
	if m.Budget == nil {
		alpha := m.Tests.Alpha
		if alpha == 0 {
			alpha = 0.05
		}
		return fmt.Sprintf("α %v for each pane, %s over its columns", alpha, correction)
	}
	return fmt.Sprintf("%s in %s, %s over a pane's columns", alarmsText(m.Budget.Alarms), ageText(m.Budget.Per), correction)
}

func alarmsText(n float64) string {
	if n == 1 {
		return "1 false alarm"
	}
	return strconv.FormatFloat(n, 'g', -1, 64) + " false alarms"
}

func ruleText(rule driftline.AlertRule) string {
	text := fmt.Sprintf("%s when %d of %s drift; over after %d", rule.Severity, rule.Drifted, report.Plural(rule.Of, "pane"), rule.Clear)
	if len(rule.Channels) > 0 {
		text += "; tells " + strings.Join(rule.Channels, ", ")
	}
	return text
}

// heatMap is the picture of columns over panes. It is a table, so that it reads without
// colours too: its columns are panes, the oldest first.
type heatMap struct {
	Groups   []heatGroup
	Outcomes []heatCell // of whole panes
	Rows     []heatRow  // those that drifted most often first
	Late     []heatCell // nil if no row came late
	Hidden   int        // columns that are not shown
}

// heatGroup is the label over the panes of a day, month or year.
type heatGroup struct {
	Text  string
	Panes int
}

type heatRow struct {
	Column string
	Cells  []heatCell
	drifts int
	effect float64 // the sum of those that drifted
}

type heatCell struct {
	Class, Title, URL string
	Chosen            bool
}

func drawHeat(view monitorView, panes []driftline.MonitorPane, verdicts []engine.ColumnVerdict, chosen time.Time) *heatMap {
	h := &heatMap{Groups: heatGroups(panes)}
	at, blank := map[uint64]int{}, make([]heatCell, len(panes))
	for i, p := range panes {
		at[p.Sequence] = i
		one := monitorView{name: view.name, segment: view.segment, before: view.before, pane: instantIn(p.End)}
		blank[i] = heatCell{URL: one.url(), Chosen: p.End.Equal(chosen), Title: stampText(p.Start) + " to " + stampText(p.End)}
		cell := blank[i]
		cell.Class, cell.Title = dashed(p.Outcome), cell.Title+": "+paneText(&p)
		h.Outcomes = append(h.Outcomes, cell)
	}
	rows := map[string]*heatRow{}
	for _, v := range verdicts {
		i, ok := at[v.Evidence]
		if !ok || v.Segment != view.segment {
			continue
		}
		row := rows[v.Column]
		if row == nil {
			row = &heatRow{Column: v.Column, Cells: slices.Clone(blank)}
			rows[v.Column] = row
		}
		row.set(i, v)
	}
	for _, row := range rows {
		h.Rows = append(h.Rows, *row)
	}
	slices.SortFunc(h.Rows, func(a, b heatRow) int {
		return cmp.Or(cmp.Compare(b.drifts, a.drifts), cmp.Compare(b.effect, a.effect), strings.Compare(a.Column, b.Column))
	})
	if len(h.Rows) > heatColumns {
		h.Hidden = len(h.Rows) - heatColumns
		h.Rows = h.Rows[:heatColumns]
	}
	h.addLate(panes, blank)
	return h
}

func (row *heatRow) set(i int, v engine.ColumnVerdict) {
	cell := &row.Cells[i]
	cell.Class = dashed(v.Verdict)
	cell.Title = fmt.Sprintf("%s, %s: %s", v.Column, cell.Title, v.Verdict)
	if math.IsNaN(float64(v.Effect)) {
		return
	}
	cell.Title += ", effect " + numberText(v.Effect)
	if v.Verdict == driftline.Drift {
		row.drifts++
		row.effect += float64(v.Effect)
		cell.Class += " " + strength(v.Effect)
	}
}

// strength is how dark a drift is drawn. The effects of the default tests go from 0 to 1;
// a distance beyond is dark.
func strength(effect driftline.Number) string {
	switch {
	case effect < 0.1:
		return "slight"
	case effect < 0.3:
		return "medium"
	}
	return "strong"
}

func (h *heatMap) addLate(panes []driftline.MonitorPane, blank []heatCell) {
	if !slices.ContainsFunc(panes, func(p driftline.MonitorPane) bool { return p.Late != nil && *p.Late > 0 }) {
		return
	}
	h.Late = slices.Clone(blank)
	for i, p := range panes {
		if p.Late != nil && *p.Late > 0 {
			h.Late[i].Class = "late"
			h.Late[i].Title += ": " + report.Plural(int(*p.Late), "row") + " came late"
		}
	}
}

// heatGroups labels panes with the unit above their length.
func heatGroups(panes []driftline.MonitorPane) []heatGroup {
	format := "2006-01-02"
	switch length := panes[0].End.Sub(panes[0].Start); {
	case length > 27*24*time.Hour:
		format = "2006"
	case length >= 23*time.Hour:
		format = "2006-01"
	}
	var groups []heatGroup
	for _, p := range panes {
		text := p.Start.UTC().Format(format)
		if n := len(groups); n > 0 && groups[n-1].Text == text {
			groups[n-1].Panes++
			continue
		}
		groups = append(groups, heatGroup{Text: text, Panes: 1})
	}
	return groups
}

func heatChoices(view monitorView, verdicts []engine.ColumnVerdict) []heatChoice {
	var segments []string
	for _, v := range verdicts {
		segments = append(segments, v.Segment)
	}
	slices.Sort(segments)
	segments = slices.Compact(segments)
	if len(segments) < 2 && view.segment == "" {
		return nil
	}
	var choices []heatChoice
	for _, segment := range segments {
		one := monitorView{name: view.name, segment: segment, before: view.before}
		choice := heatChoice{Text: segment, URL: one.url(), Chosen: segment == view.segment}
		if segment == "" {
			choice.Text = "all rows"
		}
		choices = append(choices, choice)
	}
	return choices
}

// panePart is what a monitor's page shows of the chosen pane.
type panePart struct {
	driftline.MonitorPane
	Alpha       float64 // of each segment; 0 if nothing was compared
	Instant     time.Time
	Segments    []paneSegment
	Worst       []columnSlice
	Evaluations []heatChoice // if there are several
	Find        string
	Asked       map[string]string // what else the address asks for, for a form
	Verdicts    []heatChoice
	Listed      int // columns before any is left out
	LateCounted bool
	LateRows    int64 // of the last evaluation
}

type paneSegment struct {
	Segment           string // "" for all rows
	Rows              int64
	Drifted, Compared int
	columnTable
	Open bool // shown without being asked
}

// Several reports whether there are segments besides all rows.
func (part *panePart) Several() bool { return len(part.Segments) > 1 }

func newPanePart(view monitorView, found *driftline.PaneReport) *panePart {
	view.pane = instantIn(found.Pane.End)
	part := &panePart{MonitorPane: found.Pane, Instant: view.pane, Worst: worstOf(&found.Pane),
		Find: view.find, Asked: view.asked(), Verdicts: view.verdicts()}
	for i, one := range found.Reports {
		if i == 0 {
			part.Alpha = one.Report.Alpha
		}
		segment := paneSegment{Segment: one.Segment, Rows: one.Report.Current.Rows,
			Drifted: one.Report.Drifted, Compared: one.Report.Compared(),
			Open: one.Segment == "" || one.Segment == view.segment}
		for _, c := range one.Report.Columns {
			column := newPaneColumn(one.Segment, c, one.Report.Alpha)
			column.URL = columnURL(&found.Pane, one.Segment, c.Column)
			segment.Columns = append(segment.Columns, column)
		}
		part.Listed += len(segment.Columns)
		segment.Columns, segment.Orders = view.arrange(segment.Columns), view.orders()
		part.Segments = append(part.Segments, segment)
	}
	return part
}

// asked is what the address asks for besides find.
func (v monitorView) asked() map[string]string {
	v.find = ""
	asked := map[string]string{}
	for name, values := range v.values() {
		asked[name] = values[0]
	}
	return asked
}

func (part *panePart) addEvaluations(view monitorView, last int) {
	for n := 1; n <= last && last > 1; n++ {
		one := view
		one.pane, one.evaluation = part.Instant, n
		part.Evaluations = append(part.Evaluations, heatChoice{Text: "evaluation " + strconv.Itoa(n), URL: one.url(), Chosen: n == part.Evaluation})
	}
}

// paneColumn is one column of a pane: a row of a table.
type paneColumn struct {
	driftline.ColumnDrift
	Segment string
	URL     string // of the page of it; "" if there is none
	Q       string
	What    string
	Bar     *intervalBar // nil if the effect is not between 0 and 1
}

// columnURL is the address of the page of a column of a pane's evaluation.
func columnURL(p *driftline.MonitorPane, segment, column string) string {
	return columnView{monitor: p.Monitor, pane: instantIn(p.End), column: column,
		ask: driftline.PaneRowsRequest{Evaluation: p.Evaluation, Segment: segment}}.url()
}

func newPaneColumn(segment string, c driftline.ColumnDrift, alpha float64) paneColumn {
	what := c.Note
	if c.Verdict == driftline.Drift {
		what = report.Finding(c, alpha)
	}
	if c.DecidedBy == "missing" { // which is what the figures are of
		nan := driftline.Number(math.NaN())
		c.Test, c.Effect, c.QValue = c.DecidedBy, driftline.Number(math.Abs(float64(c.MissingEffect))), c.MissingQValue
		c.EffectLow, c.EffectHigh, c.Statistic = nan, nan, nan
	}
	return paneColumn{ColumnDrift: c, Segment: segment, Q: report.Probability(c.QValue), What: what, Bar: drawInterval(c)}
}

// columnTable is a table of columns, which may be of several segments.
type columnTable struct {
	Segments bool // whether it says of which segment each column is
	Columns  []paneColumn
	Orders   map[string]*heatChoice // links that sort it; nil if none does
}

// intervalBar is an effect with the interval that holds the true one, from 0 to 100.
type intervalBar struct{ Low, High, Width, At float64 }

func drawInterval(c driftline.ColumnDrift) *intervalBar {
	low, at, high := 100*float64(c.EffectLow), 100*float64(c.Effect), 100*float64(c.EffectHigh)
	if !(0 <= low && low <= high && high <= 100 && 0 <= at && at <= 100) {
		return nil
	}
	return &intervalBar{Low: low, High: high, Width: max(high-low, 1), At: at}
}

// dashed makes a class of a verdict, an outcome or a state.
func dashed(words any) string { return strings.ReplaceAll(fmt.Sprint(words), " ", "-") }
