package web

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

type alertsPage struct {
	*listing[alertRow] // firing ones first, each kind the newest first
	State              driftline.AlertState
	Monitor            driftline.MonitorName
	States             []heatChoice
}

// alertRow is one alert of the list.
type alertRow struct {
	driftline.Alert
	Most []driftline.DriftColumn // that drifted most in the last pane that did
	More int                     // others that drifted
}

// shownOfAlert is how many columns the list names of an alert.
const shownOfAlert = 4

func newAlertRow(alert driftline.Alert) alertRow {
	row := alertRow{Alert: alert, Most: alert.Columns[:min(shownOfAlert, len(alert.Columns))]}
	row.More = len(alert.Columns) - len(row.Most)
	return row
}

func (s *Server) alertsPage(w http.ResponseWriter, r *http.Request) error {
	found, err := s.alerts(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	body := alertsPage{State: driftline.AlertState(q.Get("state")), Monitor: driftline.MonitorName(q.Get("monitor"))}
	var rows []alertRow
	for _, alert := range found.Alerts {
		rows = append(rows, newAlertRow(alert))
	}
	slices.SortStableFunc(rows, func(a, b alertRow) int {
		return cmp.Compare(firingFirst(a.State), firingFirst(b.State))
	})
	for _, state := range []driftline.AlertState{"", driftline.AlertFiring, driftline.AlertResolved} {
		body.States = append(body.States, heatChoice{Text: cmp.Or(string(state), "all"), Chosen: state == body.State, URL: changedURL(r.URL, "state", string(state))})
	}
	if body.listing, err = listed(r, rows, alertColumns); err != nil {
		return err
	}
	return s.render(w, "alerts", page{Title: "Alerts", Section: "alerts", Body: body})
}

func firingFirst(state driftline.AlertState) int {
	if state == driftline.AlertFiring {
		return 0
	}
	return 1
}

var alertColumns = []listColumn[alertRow]{
	{name: "alert", label: "Alert", text: func(r *alertRow) string {
		return strings.Join([]string{string(r.ID), string(r.State), string(r.Severity), r.AcknowledgedBy}, "\n")
	}},
	{name: "drifted", label: "What drifted", text: func(r *alertRow) string {
		texts := []string{r.Summary}
		for _, c := range r.Columns {
			texts = append(texts, c.Column, c.Segment)
		}
		return strings.Join(texts, "\n")
	}, order: quantity(func(r *alertRow) int { return len(r.Columns) })},
	{name: "raised", label: "When", order: moment(func(r *alertRow) time.Time { return r.Raised })},
	{},
}

type alertPage struct {
	driftline.Alert
	Monitored string      // address of the pane in its monitor's page
	Instant   time.Time   // in the last pane that drifted
	Evidence  columnTable // what drifted in it, by effect
	Worst     []columnSlice
	Notices   []driftline.Notice
}

func (s *Server) alertPage(w http.ResponseWriter, r *http.Request) error {
	alert, err := s.alert(r)
	if err != nil {
		return err
	}
	body := alertPage{Alert: alert, Instant: instantIn(alert.To)}
	body.Monitored = monitorView{name: alert.Monitor, pane: body.Instant, evaluation: 1}.url()
	report, err := s.engine.MonitorPane(r.Context(), alert.Monitor, body.Instant, 1)
	if err != nil {
		return err
	}
	body.Worst = worstOf(&report.Pane)
	body.Evidence = columnTable{Segments: len(report.Reports) > 1, Columns: evidenceOf(&report)}
	if body.Notices, err = s.engine.Notices(alert.ID); err != nil {
		return err
	}
	return s.render(w, "alert", page{Title: string(alert.ID), Section: "alerts", Body: body})
}

// evidenceOf returns what drifted in a pane, over all segments, by effect.
func evidenceOf(report *driftline.PaneReport) []paneColumn {
	var evidence []paneColumn
	for _, one := range report.Reports {
		for _, c := range one.Report.Columns {
			if c.Verdict == driftline.Drift {
				column := newPaneColumn(one.Segment, c, one.Report.Alpha)
				column.URL = columnURL(&report.Pane, one.Segment, c.Column)
				evidence = append(evidence, column)
			}
		}
	}
	slices.SortStableFunc(evidence, func(a, b paneColumn) int {
		return cmp.Compare(knownEffect(b), knownEffect(a))
	})
	return evidence
}

func knownEffect(c paneColumn) float64 {
	if e := float64(c.Effect); !math.IsNaN(e) {
		return e
	}
	return math.Inf(-1)
}

// remedyForm is the button of what could be done about an alert. It leads to what came of it.
func (s *Server) remedyForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return unfit("the form cannot be read")
	}
	request := driftline.RemedyRequest{Model: driftline.ModelName(r.PostForm.Get("model")), By: r.PostForm.Get("by"), Reason: r.PostForm.Get("reason")}
	done, err := s.engine.DoRemedy(r.Context(), alertOf(r), driftline.RemedyAction(r.PathValue("action")), request)
	if err != nil {
		return err
	}
	http.Redirect(w, r, refURL(done.Ref), http.StatusSeeOther)
	return nil
}

// alertForm makes the route of a button: what a person does to an alert, and then its page.
// Fields are those of an [driftline.AlertChange], and "for", the length of a snooze.
func (s *Server) alertForm(do func(driftline.AlertID, driftline.AlertChange) (driftline.Alert, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := r.ParseForm(); err != nil {
			return unfit("the form cannot be read")
		}
		change := driftline.AlertChange{By: r.PostForm.Get("by"), Comment: r.PostForm.Get("comment")}
		if text := r.PostForm.Get("for"); text != "" {
			span, err := driftline.ParseSpan(text)
			if err != nil {
				return err
			}
			change.Until = span.After(s.engine.Now())
		}
		alert, err := do(alertOf(r), change)
		if err != nil {
			return err
		}
		http.Redirect(w, r, "/alerts/"+url.PathEscape(string(alert.ID)), http.StatusSeeOther)
		return nil
	}
}
