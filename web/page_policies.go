package web

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// policyRow is one policy of the list.
type policyRow struct {
	driftline.PolicyStatus
	Standing string
	Triggers []string
}

func (s *Server) policiesPage(w http.ResponseWriter, r *http.Request) error {
	follows := s.followed("", "policy", "trigger", "training")
	all, err := s.engine.Policies()
	if err != nil {
		return err
	}
	var rows []policyRow
	for _, status := range all {
		row := policyRow{PolicyStatus: status, Standing: policyStanding(&status)}
		for i := range status.Policy.Triggers {
			row.Triggers = append(row.Triggers, status.Policy.Triggers[i].Name)
		}
		rows = append(rows, row)
	}
	body, err := listed(r, rows, policyColumns)
	if err != nil {
		return err
	}
	return s.render(w, "policies", page{Title: "Policies", Section: "policies", Follows: follows, Body: body})
}

var policyColumns = []listColumn[policyRow]{
	{name: "model", label: "Model", text: func(r *policyRow) string { return string(r.Policy.Model) + "\n" + r.Policy.Description }},
	{name: "state", label: "Now", text: func(r *policyRow) string { return plainWord(r.Standing) }},
	{name: "triggers", label: "Triggers", text: func(r *policyRow) string { return strings.Join(r.Triggers, ", ") }},
	{name: "runs", label: "Runs", right: true, order: quantity(func(r *policyRow) int64 { return int64(r.State.Runs) })},
	{name: "last", label: "Last run", text: func(r *policyRow) string {
		if r.State.Last == nil {
			return ""
		}
		return string(r.State.Last.ID) + "\n" + plainWord(string(r.State.Last.State))
	}},
	{name: "next", label: "Next look", order: moment(func(r *policyRow) time.Time { return r.Next })},
}

// policyStanding is in a word what a policy is at.
func policyStanding(status *driftline.PolicyStatus) string {
	switch {
	case status.Policy.Disabled:
		return "disabled"
	case status.State.Active != nil:
		return string(status.State.Active.State)
	case !status.Eligible.IsZero():
		return "waiting"
	}
	return "ready"
}

type policyPage struct {
	driftline.PolicyStatus
	Ref        driftline.Ref
	Standing   string
	Triggers   []triggerRow
	Pacing     driftline.Pacing // with its defaults
	Begun      int              // runs within the last day, of the budget
	Runs       []trainingRow    // the last
	Suppressed []driftline.Suppression
	YAML       string
	Stages     []float64 // weights of the rollout's canaries
}

// triggerRow is a trigger, what it looks at, and what it heard last.
type triggerRow struct {
	driftline.Trigger
	What  string
	Link  string // the page of what it looks at; "" if it has none
	State string
	Note  string
	Last  *driftline.Cause // nil if it never saw anything; Led says what came of it
	Led   string
	Run   driftline.TrainingID // that it led to; "" if to none
	Line  string               // of an SVG polyline: the metric of a performance trigger
}

// Listed on the page of a policy.
const (
	policyRuns         = 10
	policySuppressions = 50
)

func (s *Server) policyPage(w http.ResponseWriter, r *http.Request) error {
	follows := s.followed("", "policy", "trigger", "training")
	status, err := s.engine.Policy(modelOf(r))
	if err != nil {
		return err
	}
	body := policyPage{PolicyStatus: status, Ref: status.Policy.Ref(), Standing: policyStanding(&status), Pacing: status.Policy.Pacing.Completed()}
	for _, begun := range status.State.Begun {
		if s.engine.Now().Sub(begun) < 24*time.Hour {
			body.Begun++
		}
	}
	for _, stage := range status.Policy.Rollout.Completed().Stages {
		body.Stages = append(body.Stages, stage.Weight)
	}
	runs, err := s.engine.Trainings(status.Policy.Model, shownTrainings)
	if err != nil {
		return err
	}
	if body.Suppressed, err = s.engine.Suppressions(status.Policy.Model, policySuppressions); err != nil {
		return err
	}
	body.Runs = s.trainingRows(runs[:min(len(runs), policyRuns)])
	for i := range status.Policy.Triggers {
		body.Triggers = append(body.Triggers, newTriggerRow(&status, &status.Policy.Triggers[i], runs, body.Suppressed))
	}
	if body.YAML, err = report.PolicyYAML(&status.Policy); err != nil {
		return err
	}
	return s.render(w, "policy", page{Title: "Policy of " + string(status.Policy.Model), Section: "policies", Follows: follows, Body: body})
}

func newTriggerRow(status *driftline.PolicyStatus, t *driftline.Trigger, runs []driftline.TrainingRun, suppressed []driftline.Suppression) triggerRow {
	known := status.State.Triggers[t.Name]
	row := triggerRow{Trigger: *t, State: "armed"}
	if known.Disarmed {
		row.State, row.Note = "fired", "it fires again once what it saw is over, or there is another champion"
	}
	switch t.Kind() {
	case driftline.TriggerTime:
		row.What = t.Time.Cron + ", " + cmp.Or(t.Time.TimeZone, "UTC")
		if !known.Slot.IsZero() {
			row.Note = "last dealt with " + stampText(known.Slot)
		}
	case driftline.TriggerDrift:
		row.What, row.Link = driftText(t.Drift.Completed()), "/monitors/"+url.PathEscape(string(t.Drift.Monitor))
		if known.Windows > 0 {
			row.Note = fmt.Sprintf("%s in a row have drifted, up to %s", report.Plural(known.Windows, "window"), stampText(known.Through))
		}
	case driftline.TriggerPerformance:
		p := t.Performance.Completed()
		row.What = fmt.Sprintf("%s falls by %g %%", p.Metric, 100*p.Fall)
		row.Link = "/models/" + url.PathEscape(string(status.Policy.Model)) + "/predictions"
		row.Line = metricLine(known.Metrics)
		if n := len(known.Metrics); n > 0 {
			last := known.Metrics[n-1]
			row.Note = fmt.Sprintf("%s with %s up to %s", numberText(driftline.Number(last.Value)), report.Plural(int(last.Labels), "label"), stampText(last.End))
		}
	case driftline.TriggerData:
		row.What, row.Link = dataText(t.Data), refURL(t.Data.Source)
		if trained := status.State.Trained; trained != nil {
			row.Note = fmt.Sprintf("%s had %s rows when %s was trained", t.Data.Source, countText(trained.Sources[t.Data.Source.String()]), trained.Run)
		}
	case driftline.TriggerFeatureVersion:
		row.What, row.Link = "a view of "+string(t.FeatureVersion.Service)+" has a new version", "/services/"+url.PathEscape(string(t.FeatureVersion.Service))
	}
	row.Last, row.Run, row.Led = lastHeard(t.Name, runs, suppressed)
	return row
}

func driftText(d driftline.DriftTrigger) string {
	if d.ByAlert() {
		return "the alert of " + string(d.Monitor)
	}
	text := fmt.Sprintf("%s drift in %s of %s", report.Plural(d.Features, "feature"), report.Plural(d.Windows, "window"), d.Monitor)
	if d.Limit > 0 {
		text += fmt.Sprintf(", above %g", d.Limit)
	}
	return text
}

func dataText(d *driftline.DataTrigger) string {
	var ways []string
	if d.Rows > 0 {
		ways = append(ways, countText(d.Rows)+" rows")
	}
	if d.Share > 0 {
		ways = append(ways, report.Percent(d.Share))
	}
	return fmt.Sprintf("%s has %s more", d.Source, strings.Join(ways, " or "))
}

// lastHeard is the newest cause that a trigger gave, and what it led to: a run, or why to none.
func lastHeard(trigger string, runs []driftline.TrainingRun, suppressed []driftline.Suppression) (last *driftline.Cause, run driftline.TrainingID, led string) {
	for i := range runs {
		for j := range runs[i].Causes {
			if c := &runs[i].Causes[j]; c.Trigger == trigger && (last == nil || c.Time.After(last.Time)) {
				last, run = c, runs[i].ID
			}
		}
	}
	for i := range suppressed {
		if c := &suppressed[i].Cause; c.Trigger == trigger && (last == nil || c.Time.After(last.Time)) {
			last, run, led = c, "", plainWord(suppressed[i].Reason)
		}
	}
	return last, run, led
}

// metricLine draws the windows of a metric in the viewBox of a sparkline.
func metricLine(windows []driftline.MetricWindow) string {
	if len(windows) < 2 {
		return ""
	}
	low, high := windows[0].Value, windows[0].Value
	for _, m := range windows {
		low, high = min(low, m.Value), max(high, m.Value)
	}
	var line strings.Builder
	for i, m := range windows {
		fmt.Fprintf(&line, "%.1f,%.1f ", float64(i)/float64(len(windows)-1)*(sparkWidth-4)+2, sparkHeight-3-fraction(m.Value, low, high)*(sparkHeight-6))
	}
	return strings.TrimSpace(line.String())
}

// trainForm is the button that asks for a training run.
func (s *Server) trainForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return unfit("the form cannot be read")
	}
	answer, err := s.engine.RequestTraining(modelOf(r), "", driftline.TrainingRequest{By: r.PostForm.Get("by"), Reason: r.PostForm.Get("reason")})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/training-runs/"+url.PathEscape(string(answer.Run.ID)), http.StatusSeeOther)
	return nil
}

// trainingRow is one training run of a list.
type trainingRow struct {
	driftline.TrainingRun
	Took string
}

func (s *Server) trainingRows(runs []driftline.TrainingRun) []trainingRow {
	rows := make([]trainingRow, len(runs))
	for i, run := range runs {
		rows[i] = trainingRow{TrainingRun: run}
		switch {
		case run.Started.IsZero():
		case run.Ended.IsZero():
			rows[i].Took = spanText(s.engine.Now().Sub(run.Started)) + " so far"
		default:
			rows[i].Took = spanText(run.Ended.Sub(run.Started))
		}
	}
	return rows
}

type trainingsPage struct {
	*listing[trainingRow]
	Model driftline.ModelName // "": all
}

var trainingColumns = []listColumn[trainingRow]{
	{name: "run", label: "Run", text: func(r *trainingRow) string { return string(r.ID) }, order: moment(func(r *trainingRow) time.Time { return r.Created })},
	{name: "state", label: "State", text: func(r *trainingRow) string { return plainWord(string(r.State)) }},
	{name: "cause", label: "Why it began", text: func(r *trainingRow) string {
		if len(r.Causes) == 0 {
			return ""
		}
		return r.Causes[0].Summary
	}},
	{name: "took", label: "Took", order: quantity(func(r *trainingRow) time.Duration { return max(0, r.Ended.Sub(r.Started)) })},
	{name: "version", label: "Version", order: quantity(func(r *trainingRow) int { return r.Candidate })},
	{name: "outcome", label: "What became of it", text: func(r *trainingRow) string { return cmp.Or(r.Reason, r.Note) + "\n" + string(r.Rollout) }},
}

func (s *Server) trainingsPage(w http.ResponseWriter, r *http.Request) error {
	model := driftline.ModelName(r.URL.Query().Get("model"))
	if model != "" {
		if _, err := s.engine.Registry().Model(model); err != nil {
			return err
		}
	}
	follows := s.followed(model, "training")
	runs, err := s.engine.Trainings(model, math.MaxInt)
	if err != nil {
		return err
	}
	rows, err := listed(r, s.trainingRows(runs), trainingColumns)
	if err != nil {
		return err
	}
	rows.first(shownRuns)
	return s.render(w, "trainings", page{Title: "Training runs", Section: "policies", Follows: follows, Body: trainingsPage{rows, model}})
}

type trainingPage struct {
	trainingRow
	Ref        driftline.Ref
	Candidate  *driftline.ModelVersion // nil before there is one
	Evaluation *evaluationRow          // of the candidate; nil if it was not evaluated
	Log        string
	LogCut     bool // it is the end of a longer one
	Running    bool
}

func (s *Server) trainingPage(w http.ResponseWriter, r *http.Request) error {
	follows := s.followed("", "training", "model")
	run, err := s.engine.Training(trainingOf(r))
	if err != nil {
		return err
	}
	body := trainingPage{trainingRow: s.trainingRows([]driftline.TrainingRun{run})[0], Ref: run.Ref(), Running: !run.State.Ended()}
	if run.Candidate != 0 {
		if body.Candidate, err = s.engine.Registry().ModelVersion(run.Model, fmt.Sprint(run.Candidate)); err != nil && driftline.CodeOf(err) != driftline.NotFound {
			return err
		}
		found, err := s.engine.Evaluations(run.Model, run.Candidate, 0, 1)
		if err != nil && driftline.CodeOf(err) != driftline.NotFound {
			return err
		}
		for i := range found {
			body.Evaluation = &evaluationRow{Evaluation: found[i], URL: refURL(found[i].Ref())}
		}
	}
	if body.Log, body.LogCut, err = s.logTail(run.ID); err != nil {
		return err
	}
	return s.render(w, "training", page{Title: string(run.ID), Section: "policies", Follows: follows, Body: &body})
}

// mostLogTail is how many bytes of the end of a log a page shows.
const mostLogTail = 16 << 10

// logTail is the end of what the command of a run has written, as text.
func (s *Server) logTail(id driftline.TrainingID) (text string, cut bool, err error) {
	raw, err := s.engine.TrainingLog(id)
	if driftline.CodeOf(err) == driftline.NotFound {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if cut = len(raw) > mostLogTail; cut {
		raw = raw[len(raw)-mostLogTail:]
		raw = raw[slices.Index(raw, '\n')+1:] // whole lines, if there are any
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(string(raw), "�")), cut, nil
}

// cancelForm is the button that ends a training run.
func (s *Server) cancelForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return unfit("the form cannot be read")
	}
	run, err := s.engine.CancelTraining(trainingOf(r), r.PostForm.Get("by"), r.PostForm.Get("reason"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/training-runs/"+url.PathEscape(string(run.ID)), http.StatusSeeOther)
	return nil
}
