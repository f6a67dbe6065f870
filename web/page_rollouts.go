package web

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// rolloutRow is one rollout of the list.
type rolloutRow struct {
	driftline.RolloutStatus
	Weight float64 // of the candidate, in percent
}

type rolloutsPage struct {
	*listing[rolloutRow]
	Model driftline.ModelName // "": all
}

var rolloutColumns = []listColumn[rolloutRow]{
	{name: "rollout", label: "Rollout", text: func(r *rolloutRow) string { return string(r.ID) }, order: moment(func(r *rolloutRow) time.Time { return r.Created })},
	{name: "version", label: "Versions", order: quantity(func(r *rolloutRow) int { return r.Candidate })},
	{name: "phase", label: "Phase", text: func(r *rolloutRow) string { return fmt.Sprint(r.Title()) }},
	{name: "weight", label: "Candidate gets", order: quantity(func(r *rolloutRow) float64 { return r.Weight })},
	{name: "reason", label: "Why", text: func(r *rolloutRow) string { return cmp.Or(r.Blind, r.Waiting, r.Reason) }},
}

func (s *Server) rolloutsPage(w http.ResponseWriter, r *http.Request) error {
	body := rolloutsPage{Model: driftline.ModelName(r.URL.Query().Get("model"))}
	follows := s.followed(body.Model, "rollout")
	all, err := s.engine.Rollouts(body.Model)
	if err != nil {
		return err
	}
	var rows []rolloutRow
	for _, one := range all {
		rows = append(rows, rolloutRow{one, one.Route.Weight(driftline.ArmCandidate)})
	}
	if body.listing, err = listed(r, rows, rolloutColumns); err != nil {
		return err
	}
	return s.render(w, "rollouts", page{Title: "Rollouts", Section: "rollouts", Follows: follows, Body: body})
}

type rolloutPage struct {
	driftline.RolloutStatus
	Link         driftline.Ref
	CandidateRef driftline.Ref
	ChampionRef  driftline.Ref
	Weight       float64
	Deeds        []rolloutDeed
	Share        *shareCurve // nil before the first change
	Guards       []guardRow
	Changes      []driftline.RolloutChange // the newest first
}

// rolloutDeed is a button: what a person can do to a rollout as it is.
type rolloutDeed struct {
	Action driftline.RolloutAction
	Text   string
}

func (s *Server) rolloutPage(w http.ResponseWriter, r *http.Request) error {
	id := rolloutOf(r)
	follows := s.followed("", "rollout")
	status, err := s.engine.RolloutStatus(id)
	if err != nil {
		return err
	}
	changes, err := s.engine.RolloutHistory(id)
	if err != nil {
		return err
	}
	body := rolloutPage{RolloutStatus: status, Link: status.Ref(), Weight: status.Route.Weight(driftline.ArmCandidate), Deeds: deedsOf(&status),
		CandidateRef: driftline.ModelRef(status.Model, status.Candidate), ChampionRef: driftline.ModelRef(status.Model, status.Champion)}
	body.Share = drawShare(changes, status.Ended, s.engine.Now())
	if status.Verdict != nil {
		body.Guards = guardRows(status.Verdict)
	}
	for i := range changes {
		body.Changes = append(body.Changes, changes[len(changes)-1-i])
	}
	return s.render(w, "rollout", page{Title: string(id), Section: "rollouts", Follows: follows, Body: &body})
}

// deedsOf are the actions that a rollout's phase allows. Whether the evidence does is for
// package rollout to say.
func deedsOf(status *driftline.RolloutStatus) []rolloutDeed {
	var deeds []rolloutDeed
	add := func(action driftline.RolloutAction, text string) { deeds = append(deeds, rolloutDeed{action, text}) }
	switch phase := status.Phase; {
	case phase == driftline.RolloutPromoted:
		add(driftline.RolloutRollback, "Roll back")
	case phase.Ended(), phase == driftline.RolloutRollingBack:
	default:
		if status.Phase == driftline.RolloutCanary && status.Waiting != "" {
			add(driftline.RolloutApprove, "Approve the stage")
		}
		if phase == driftline.RolloutPaused {
			add(driftline.RolloutResume, "Resume")
		} else {
			add(driftline.RolloutPause, "Pause")
		}
		add(driftline.RolloutPromote, "Promote now")
		add(driftline.RolloutRollback, "Roll back")
	}
	return deeds
}

// rolloutForm is what a button of a rollout's page does. The form names the sequence that the
// page showed, so that nobody decides on what is no longer so.
func (s *Server) rolloutForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return unfit("the form cannot be read")
	}
	command := driftline.RolloutCommand{By: r.PostForm.Get("by"), Reason: r.PostForm.Get("reason"), Force: r.PostForm.Get("force") != ""}
	if text := r.PostForm.Get("expect"); text != "" {
		sequence, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return unfit("expect is no sequence of a rollout")
		}
		command.Expect = &sequence
	}
	status, err := s.engine.ActOnRollout(r.Context(), rolloutOf(r), driftline.RolloutAction(r.PathValue("action")), command)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/rollouts/"+url.PathEscape(string(status.ID)), http.StatusSeeOther)
	return nil
}

// guardRow is a guard's verdict with a picture of its interval.
type guardRow struct {
	driftline.GuardVerdict
	Bar *guardBar // nil where there is nothing to draw
}

// guardBar is an interval from 0 to 100, and where the champion is. Ratios are drawn by their
// logarithm, from a quarter to four times; differences relative to the farther bound.
type guardBar struct {
	intervalBar
	Even float64
}

func guardRows(verdict *driftline.RolloutVerdict) []guardRow {
	rows := make([]guardRow, len(verdict.Guards))
	for i, guard := range verdict.Guards {
		rows[i] = guardRow{GuardVerdict: guard}
		switch {
		case guard.Ratio != nil:
			rows[i].Bar = drawGuard(guard.Ratio, func(v float64) float64 { return 50 + 25*math.Log2(v) })
		case guard.Difference != nil:
			most := math.Max(math.Abs(float64(guard.Difference.Low)), math.Abs(float64(guard.Difference.High)))
			rows[i].Bar = drawGuard(guard.Difference, func(v float64) float64 { return 50 + 50*v/most })
		}
	}
	return rows
}

// drawGuard draws an interval on a scale whose middle is the champion; what lies beyond its
// ends is drawn at them.
func drawGuard(interval *driftline.Interval, scale func(float64) float64) *guardBar {
	at := func(n driftline.Number) float64 { return min(max(scale(float64(n)), 0), 100) }
	low, middle, high := at(interval.Low), at(interval.Value), at(interval.High)
	if math.IsNaN(low + middle + high) {
		return nil
	}
	return &guardBar{intervalBar{Low: low, High: high, Width: max(high-low, 1), At: middle}, 50}
}

// shareCurve is the candidate's share of the requests over time.
type shareCurve struct {
	Line  string // of an SVG polyline
	Marks []shareMark
	From  time.Time
	To    time.Time
}

// shareMark is a change of the rollout.
type shareMark struct {
	X, Y  float64
	Class string
	Title string
}

// The viewBox of a share curve; a margin keeps marks inside.
const (
	shareWidth  = 640
	shareHeight = 120
	shareMargin = 8
)

// drawShare draws changes, the oldest first, up to the end of the rollout or to now.
func drawShare(changes []driftline.RolloutChange, ended, now time.Time) *shareCurve {
	if len(changes) == 0 {
		return nil
	}
	c := &shareCurve{From: changes[0].Time, To: now}
	if !ended.IsZero() {
		c.To = ended
	}
	x := func(t time.Time) float64 {
		return shareMargin + fraction(float64(t.UnixMicro()), float64(c.From.UnixMicro()), float64(c.To.UnixMicro()))*(shareWidth-2*shareMargin)
	}
	y := func(weight float64) float64 {
		return shareHeight - shareMargin - weight/100*(shareHeight-2*shareMargin)
	}
	var line strings.Builder
	before := 0.0
	for _, change := range changes {
		fmt.Fprintf(&line, "%.1f,%.1f %.1f,%.1f ", x(change.Time), y(before), x(change.Time), y(change.Weight))
		c.Marks = append(c.Marks, shareMark{X: x(change.Time), Y: y(change.Weight), Class: dashed(change.Cause),
			Title: fmt.Sprintf("%s: %s", stampText(change.Time), change.Reason)})
		before = change.Weight
	}
	fmt.Fprintf(&line, "%.1f,%.1f", x(c.To), y(before))
	c.Line = line.String()
	return c
}

func rolloutOf(r *http.Request) driftline.RolloutID {
	return driftline.RolloutID(r.PathValue("rollout"))
}
