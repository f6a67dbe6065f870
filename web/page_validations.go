package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// validationRow is one set of checks of the list.
type validationRow struct {
	driftline.ValidationStatus
	Standing string
	Spark    []sparkBar
}

func (s *Server) validationsPage(w http.ResponseWriter, r *http.Request) error {
	all, err := s.engine.Validations()
	if err != nil {
		return err
	}
	var rows []validationRow
	for _, status := range all {
		runs, err := s.engine.ValidationRuns(status.Validation.Name, 0, sparkPanes)
		if err != nil {
			return err
		}
		slices.Reverse(runs)
		rows = append(rows, validationRow{ValidationStatus: status, Standing: validationStanding(status.Last), Spark: drawRuns(runs)})
	}
	slices.SortStableFunc(rows, func(a, b validationRow) int { return cmp.Compare(failedOf(b.Last), failedOf(a.Last)) })
	body, err := listed(r, rows, validationColumns)
	if err != nil {
		return err
	}
	return s.render(w, "validations", page{Title: "Validation", Section: "validations", Body: body})
}

var validationColumns = []listColumn[validationRow]{
	{name: "checks", label: "Set of checks", text: func(r *validationRow) string { return string(r.Validation.Name) + "\n" + r.Validation.Description }},
	{name: "state", label: "Last run", text: func(r *validationRow) string { return r.Standing }},
	{name: "count", label: "Checks", right: true, order: quantity(func(r *validationRow) int { return len(r.Validation.Checks) })},
	{name: "checked", label: "Checked", order: moment(func(r *validationRow) time.Time {
		if r.Last == nil {
			return time.Time{}
		}
		return r.Last.At
	})},
	{name: "failed", label: "Share of checks that did not pass", order: quantity(func(r *validationRow) float64 {
		if r.Last == nil {
			return 0
		}
		return float64(r.Last.Failed+r.Last.Warned) / float64(max(1, r.Last.Checks))
	})},
}

func failedOf(run *driftline.ValidationRun) int {
	if run == nil {
		return 0
	}
	return run.Failed
}

// validationStanding is how a set went last, in a word.
func validationStanding(last *driftline.ValidationRun) string {
	switch {
	case last == nil:
		return "never checked"
	case !last.Passed:
		return "failed"
	case last.Warned > 0:
		return "warned"
	}
	return "passed"
}

// drawRuns draws runs, the oldest first: as high as the share of checks that did not pass.
// One that passed is a low bar, so that it can be told from none.
func drawRuns(runs []driftline.ValidationReport) []sparkBar {
	const step, least = float64(sparkWidth) / sparkPanes, 3.0
	bars := make([]sparkBar, len(runs))
	for i := range runs {
		run := runs[i].RunOf()
		height := least + (sparkHeight-least)*float64(run.Failed+run.Warned)/float64(max(1, run.Checks))
		bars[i] = sparkBar{bar: bar{X: sparkWidth - step*float64(len(runs)-i), Y: sparkHeight - height, Width: step - 1, Height: height},
			Outcome: driftline.PaneOutcome(validationStanding(&run)), Title: runTitle(&run)}
	}
	return bars
}

func runTitle(run *driftline.ValidationRun) string {
	text := fmt.Sprintf("run %d, %s: ", run.Run, stampText(run.At))
	switch {
	case run.Failed > 0:
		text += fmt.Sprintf("%d of %s failed", run.Failed, report.Plural(run.Checks, "check"))
	case run.Warned > 0:
		text += fmt.Sprintf("passed, %d warned", run.Warned)
	default:
		text += "passed"
	}
	return text
}

type validationPage struct {
	driftline.ValidationStatus
	Ref      driftline.Ref
	Table    driftline.DriftSource
	Standing string
	Heat     *heatMap // nil before the first run
	Shown    *shownRun
	Older    string // address of the runs before those shown; "" if there are none
	Newer    string // of the newest, if those shown are not
}

// shownRun is what the page shows of the chosen run.
type shownRun struct {
	driftline.ValidationReport
	Standing string
	Open     []driftline.CheckResult // what did not pass
	Last     bool                    // of which there are examples
}

// validationView is what the address of a set's page asks for.
type validationView struct {
	name   driftline.ValidationName
	before int // only runs before; 0: all
	run    int // to show; 0: the newest of those that are listed
}

// url is the address of the page that shows v.
func (v validationView) url() string {
	values := url.Values{}
	for name, number := range map[string]int{"before": v.before, "run": v.run} {
		if number != 0 {
			values.Set(name, strconv.Itoa(number))
		}
	}
	address := "/validations/" + url.PathEscape(string(v.name))
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	if v.run != 0 {
		address += "#run"
	}
	return address
}

func (s *Server) validationPage(w http.ResponseWriter, r *http.Request) (err error) {
	view := validationView{name: validationOf(r)}
	if view.before, err = numberIn(r, "before", 0); err != nil {
		return err
	}
	if view.run, err = numberIn(r, "run", 0); err != nil {
		return err
	}
	status, err := s.engine.Validation(view.name)
	if err != nil {
		return err
	}
	runs, err := s.engine.ValidationRuns(view.name, view.before, heatPanes)
	if err != nil {
		return err
	}
	body := validationPage{ValidationStatus: status, Ref: status.Validation.Ref(), Standing: validationStanding(status.Last)}
	if body.Table, err = status.Validation.Source(); err != nil {
		return err
	}
	if len(runs) == heatPanes && runs[len(runs)-1].Run > 1 {
		body.Older = validationView{name: view.name, before: runs[len(runs)-1].Run}.url()
	}
	if view.before != 0 {
		body.Newer = validationView{name: view.name}.url()
	}
	if len(runs) > 0 {
		if view.run == 0 {
			view.run = runs[0].Run
		}
		if body.Shown, err = s.shownRun(view, status.Last); err != nil {
			return err
		}
		slices.Reverse(runs)
		body.Heat = drawChecks(view, runs)
	}
	return s.render(w, "validation", page{Title: string(view.name), Section: "validations", Body: body})
}

func (s *Server) shownRun(view validationView, last *driftline.ValidationRun) (*shownRun, error) {
	found, err := s.engine.ValidationRun(view.name, view.run)
	if err != nil {
		return nil, err
	}
	run := found.RunOf()
	shown := &shownRun{ValidationReport: *found, Standing: validationStanding(&run), Last: last != nil && last.Run == run.Run}
	for _, result := range found.Results {
		if result.Outcome != driftline.CheckPassed {
			shown.Open = append(shown.Open, result)
		}
	}
	return shown, nil
}

// heatOf is how the outcome of a check is drawn.
var heatOf = map[driftline.CheckOutcome]string{
	driftline.CheckPassed: "same", driftline.CheckWarned: "warned", driftline.CheckFailed: "drift",
}

// drawChecks draws checks over runs, the oldest first. Checks that failed most often come
// first; those of older definitions that are gone come last.
func drawChecks(view validationView, runs []driftline.ValidationReport) *heatMap {
	h := &heatMap{}
	blank := make([]heatCell, len(runs))
	rows := map[string]*heatRow{}
	var order []string
	for i := range runs {
		run := runs[i].RunOf()
		one := validationView{name: view.name, before: view.before, run: run.Run}
		blank[i] = heatCell{URL: one.url(), Chosen: run.Run == view.run, Title: fmt.Sprintf("run %d, %s", run.Run, stampText(run.At))}
		cell := blank[i]
		cell.Title = runTitle(&run)
		cell.Class = map[string]string{"failed": "drift", "warned": "warned", "passed": "same"}[validationStanding(&run)]
		h.Outcomes = append(h.Outcomes, cell)
		if day := run.At.UTC().Format("Jan 2"); len(h.Groups) > 0 && h.Groups[len(h.Groups)-1].Text == day {
			h.Groups[len(h.Groups)-1].Panes++
		} else {
			h.Groups = append(h.Groups, heatGroup{Text: day, Panes: 1})
		}
	}
	for i := range slices.Backward(runs) { // the newest definition says how checks are ordered
		for _, result := range inDefinedOrder(runs[i].Results) {
			row := rows[result.Title]
			if row == nil {
				row = &heatRow{Column: result.Title, Cells: slices.Clone(blank)}
				rows[result.Title] = row
				order = append(order, result.Title)
			}
			row.Cells[i].Class = heatOf[result.Outcome]
			row.Cells[i].Title = fmt.Sprintf("%s, %s: %s, %s", result.Title, blank[i].Title, result.Outcome, result.Found)
			switch result.Outcome {
			case driftline.CheckFailed:
				row.drifts++
			case driftline.CheckWarned:
				row.effect++
			}
		}
	}
	for _, title := range order {
		h.Rows = append(h.Rows, *rows[title])
	}
	slices.SortStableFunc(h.Rows, func(a, b heatRow) int {
		return cmp.Or(cmp.Compare(b.drifts, a.drifts), cmp.Compare(b.effect, a.effect))
	})
	if len(h.Rows) > heatColumns {
		h.Hidden = len(h.Rows) - heatColumns
		h.Rows = h.Rows[:heatColumns]
	}
	return h
}

// inDefinedOrder sorts results, which come failed ones first, by kind and column.
func inDefinedOrder(results []driftline.CheckResult) []driftline.CheckResult {
	return slices.SortedStableFunc(slices.Values(results), func(a, b driftline.CheckResult) int {
		return cmp.Or(cmp.Compare(slices.Index(driftline.CheckKinds, a.Check.Check), slices.Index(driftline.CheckKinds, b.Check.Check)),
			strings.Compare(a.Title, b.Title))
	})
}

// checkNow is the button of a set's page.
func (s *Server) checkNow(w http.ResponseWriter, r *http.Request) error {
	found, err := s.engine.RunValidation(r.Context(), validationOf(r))
	if err != nil {
		return err
	}
	http.Redirect(w, r, validationView{name: found.Validation, run: found.Run}.url(), http.StatusSeeOther)
	return nil
}
