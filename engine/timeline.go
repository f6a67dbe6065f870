package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// MostTimeline bounds how many events a time line has.
const MostTimeline = 1000

// timeline gathers what happened to a model. Every source is read newest first and as far
// back as the events that are shown can reach.
type timeline struct {
	engine *Engine
	model  driftline.ModelName
	since  time.Time
	most   int
	found  []driftline.TimelineEvent
	names  []driftline.MonitorName
	told   []driftline.Ref // what somebody may have been told of
}

// Timeline returns what happened to a model since a time (the zero time: ever), the last limit
// events at most.
func (e *Engine) Timeline(ctx context.Context, model driftline.ModelName, since time.Time, limit int) (*driftline.Timeline, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if limit < 1 || limit > MostTimeline {
		return nil, driftline.Errorf(driftline.Invalid, "limit is %d, want 1 to %d", limit, MostTimeline)
	}
	if _, err := e.registry.Model(model); err != nil {
		return nil, err
	}
	t := &timeline{engine: e, model: model, since: since, most: limit, names: []driftline.MonitorName{}}
	for _, add := range []func(context.Context) error{
		t.addDefinitions, t.addMonitors, t.addSuppressions, t.addTrainings, t.addVersions, t.addEvaluations, t.addRollouts, t.addMoves, t.addNotices,
	} {
		if err := add(ctx); err != nil {
			return nil, err
		}
	}
	return t.finish(e.now().UTC()), nil
}

// add takes an event in, unless it was over before the time line begins.
func (t *timeline) add(event driftline.TimelineEvent) {
	switch event.Kind {
	case driftline.TimelineAlert, driftline.TimelineTraining, driftline.TimelineRollout:
		t.told = append(t.told, event.Ref)
	}
	if event.Open || !event.Time.Before(t.since) || !event.End.Before(t.since) && !event.End.IsZero() {
		t.found = append(t.found, event)
	}
}

// finish puts the events in order. Of those of one instant what leads to another comes first.
func (t *timeline) finish(now time.Time) *driftline.Timeline {
	slices.SortStableFunc(t.found, func(a, b driftline.TimelineEvent) int {
		rank := func(k driftline.TimelineKind) int { return slices.Index(driftline.TimelineKinds, k) }
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(rank(a.Kind), rank(b.Kind)), a.PaneEnd.Compare(b.PaneEnd))
	})
	line := &driftline.Timeline{Model: t.model, Since: t.since, Until: now, Monitors: t.names, Events: []driftline.TimelineEvent{}}
	line.Older = len(t.found) > t.most
	line.Events = append(line.Events, t.found[max(0, len(t.found)-t.most):]...)
	return line
}

// addDefinitions takes in what the model's policy and its gates were, and from when on.
func (t *timeline) addDefinitions(context.Context) error {
	t.told = append(t.told, driftline.PolicyRef(t.model, 0))
	for _, c := range t.engine.registry.PolicyChanges(t.model) {
		t.addDefinition(driftline.TimelinePolicy, &c)
	}
	for _, c := range t.engine.registry.GateChanges(t.model) {
		t.addDefinition(driftline.TimelineGate, &c)
	}
	return nil
}

func (t *timeline) addDefinition(kind driftline.TimelineKind, c *registry.DefinitionChange) {
	text := c.Ref.String() + " is " + c.State
	if len(c.Fields) > 0 {
		text = strings.Join(c.Fields, "; ")
	}
	event := driftline.TimelineEvent{Kind: kind, Time: c.Time, Ref: c.Ref, State: c.State, Text: withReason(text, c.Reason), By: c.By}
	if kind == driftline.TimelineMonitor {
		event.Monitor = driftline.MonitorName(c.Ref.Name)
	}
	t.add(event)
}

func (t *timeline) addMonitors(ctx context.Context) error {
	watched, err := t.engine.monitorsOf(t.model)
	if err != nil {
		return err
	}
	for _, m := range watched {
		t.names = append(t.names, m.Name)
		for _, c := range t.engine.registry.MonitorChanges(m.Name) {
			if c.State != "resolved" { // the alert says so
				t.addDefinition(driftline.TimelineMonitor, &c)
			}
		}
		alerts, err := t.engine.Alerts(m.Name, "")
		if err != nil {
			return err
		}
		for i := range alerts {
			t.addAlert(&alerts[i])
		}
		records, err := t.engine.storedPanes(m.Name, time.Time{}, t.most)
		if err != nil {
			return err
		}
		for i := range records {
			t.addPane(&records[i].Pane)
		}
	}
	return nil
}

func (t *timeline) addAlert(a *driftline.Alert) {
	event := driftline.TimelineEvent{
		Kind: driftline.TimelineAlert, Time: a.Raised, End: a.Resolved, Open: a.State == driftline.AlertFiring, Ref: a.Ref(), State: string(a.State),
		Text: a.Summary, Trouble: a.State == driftline.AlertFiring, Monitor: a.Monitor, PaneStart: a.From, PaneEnd: a.To,
	}
	if !a.Acknowledged.IsZero() {
		event.By = a.AcknowledgedBy
	}
	t.add(event)
}

// addPane takes in what a pane came to when it was first evaluated, where that is news.
func (t *timeline) addPane(p *driftline.MonitorPane) {
	if p.Evaluation > 1 || p.Outcome != driftline.PaneDrift && p.Outcome != driftline.PaneFailed {
		return
	}
	event := driftline.TimelineEvent{
		Kind: driftline.TimelineDrift, Time: p.Evaluated, Ref: driftline.MonitorRef(p.Monitor, p.Version), State: string(p.Outcome),
		Text: fmt.Sprintf("%d of %d comparisons drifted", p.Drifted, p.Compared), Trouble: true,
		Monitor: p.Monitor, PaneStart: p.Start, PaneEnd: p.End,
	}
	if len(p.Columns) > 0 {
		event.Text += fmt.Sprintf(", %s most", p.Columns[0].Column)
	}
	if p.Outcome == driftline.PaneFailed {
		event.Text = p.Error
	}
	t.add(event)
}

func (t *timeline) addSuppressions(context.Context) error {
	all, err := t.engine.Suppressions(t.model, t.most)
	for i := range all {
		s := &all[i]
		t.add(driftline.TimelineEvent{
			Kind: driftline.TimelineSuppression, Time: s.Time, Ref: driftline.PolicyRef(s.Model, 0), State: string(s.Reason),
			Text: fmt.Sprintf("%s: %s; %s", triggerWord(&s.Cause), s.Cause.Summary, s.Detail), By: s.Cause.By, Because: t.evidenceOf(&s.Cause),
		})
	}
	return err
}

func triggerWord(c *driftline.Cause) string { return cmp.Or(c.Trigger, string(c.Kind)) }

// evidenceOf is the alert that a cause speaks of, if it does.
func (t *timeline) evidenceOf(c *driftline.Cause) []driftline.Ref {
	if c.Kind != driftline.TriggerDrift {
		return nil
	}
	alert, err := t.engine.registry.Alert(driftline.AlertID(c.Bucket))
	if err != nil {
		return nil // a window of panes
	}
	return []driftline.Ref{alert.Ref()}
}

func (t *timeline) addTrainings(context.Context) error {
	runs, err := t.engine.Trainings(t.model, t.most)
	for i := range runs {
		t.addTraining(&runs[i])
	}
	return err
}

func (t *timeline) addTraining(run *driftline.TrainingRun) {
	event := driftline.TimelineEvent{
		Kind: driftline.TimelineTraining, Time: run.Created, End: run.Ended, Open: run.Ended.IsZero(), Ref: run.Ref(), State: string(run.State),
		Version: run.Candidate,
	}
	if !run.Started.IsZero() {
		event.Time = run.Started
	}
	for i := range run.Causes {
		cause := &run.Causes[i]
		event.Because = append(event.Because, t.evidenceOf(cause)...)
		if i == 0 {
			event.Text, event.By = fmt.Sprintf("%s: %s", triggerWord(cause), cause.Summary), cause.By
		}
	}
	if became := cmp.Or(run.Reason, run.Note); became != "" {
		event.Text += "; " + became
	}
	switch run.State {
	case driftline.TrainingFailed, driftline.TrainingTimedOut, driftline.TrainingRejected:
		event.Trouble = true
	}
	t.add(event)
}

func (t *timeline) addVersions(context.Context) error {
	versions, err := t.engine.registry.ModelVersions(t.model)
	if err != nil {
		return err
	}
	for i := range versions {
		v := &versions[i]
		event := driftline.TimelineEvent{
			Kind: driftline.TimelineVersion, Time: v.Created, Ref: v.Ref(), State: "registered", By: v.By, Version: v.Version,
			Text: cmp.Or(v.Description, fmt.Sprintf("version %d was registered", v.Version)),
		}
		if v.Run != "" {
			event.Because = []driftline.Ref{driftline.RunRef(v.Run)}
		}
		t.add(event)
	}
	return nil
}

func (t *timeline) addEvaluations(context.Context) error {
	all, err := t.engine.Evaluations(t.model, 0, 0, min(t.most, mostEvaluations))
	for i := range all {
		found := &all[i]
		event := driftline.TimelineEvent{
			Kind: driftline.TimelineEvaluation, Time: found.Time, Ref: found.Ref(), State: string(found.Outcome), By: found.By, Version: found.Candidate,
			Text: fmt.Sprintf("version %d on %s", found.Candidate, found.Dataset), Because: []driftline.Ref{driftline.ModelRef(found.Model, found.Candidate)},
			Trouble: found.Outcome == driftline.EvaluationFailed,
		}
		if found.Champion != 0 {
			event.Text += fmt.Sprintf(" beside version %d", found.Champion)
		}
		if event.Trouble {
			event.Text += ": " + failedChecks(found)
		}
		t.add(event)
	}
	return err
}

func (t *timeline) addRollouts(context.Context) error {
	all := t.engine.registry.Rollouts(t.model)
	for i := range all[:min(len(all), t.most)] {
		r := &all[i]
		changes, err := t.engine.RolloutHistory(r.ID)
		if err != nil {
			return err
		}
		event := driftline.TimelineEvent{
			Kind: driftline.TimelineRollout, Time: r.Created, End: r.Ended, Open: !r.Phase.Ended(), Ref: r.Ref(), State: string(r.Phase), By: r.By, Version: r.Candidate,
			Text:    fmt.Sprintf("version %d, %s: %s", r.Candidate, r.Title(), r.Reason),
			Because: []driftline.Ref{driftline.ModelRef(r.Model, r.Candidate)},
			Trouble: r.Phase == driftline.RolloutRolledBack || r.Phase == driftline.RolloutRollingBack || r.Phase == driftline.RolloutFailed,
		}
		for _, c := range changes {
			event.Steps = append(event.Steps, driftline.TimelineStep{Time: c.Time, Phase: c.To, Weight: c.Weight, Reason: c.Reason})
		}
		t.add(event)
	}
	return nil
}

// addMoves takes in where the aliases and the stages went.
func (t *timeline) addMoves(context.Context) error {
	moves, err := t.engine.registry.AliasHistory(t.model, "")
	if err != nil {
		return err
	}
	for i := range moves {
		t.addMove(&moves[i])
	}
	staged, err := t.engine.registry.StageHistory(t.model)
	for _, c := range staged {
		t.add(driftline.TimelineEvent{
			Kind: driftline.TimelineStage, Time: c.Time, Ref: driftline.ModelRef(t.model, c.Version), State: string(c.To), By: c.By, Version: c.Version,
			Text: withReason(fmt.Sprintf("version %d: %s → %s", c.Version, c.From, c.To), c.Reason), Because: c.Evidence,
		})
	}
	return err
}

func (t *timeline) addMove(c *driftline.AliasChange) {
	event := driftline.TimelineEvent{
		Kind: driftline.TimelineAlias, Time: c.Time, Ref: driftline.ModelRef(t.model, c.To), State: "moved", By: c.By, Version: c.To, Alias: c.Alias,
		Because: c.Evidence, Trouble: c.Rollback,
	}
	from, to := "nowhere", "nowhere"
	if c.From != 0 {
		from = fmt.Sprintf("@%d", c.From)
	}
	switch {
	case c.To == 0:
		event.State = "removed"
	case c.Rollback:
		event.State = "rolled back"
	}
	if c.To != 0 {
		to = fmt.Sprintf("@%d", c.To)
	}
	event.Text = withReason(fmt.Sprintf("%s: %s → %s", c.Alias, from, to), c.Reason)
	t.add(event)
}

func withReason(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func (t *timeline) addNotices(context.Context) error {
	all, err := t.engine.Notices("")
	if err != nil {
		return err
	}
	held := map[string]bool{}
	for i := range all {
		n := &all[i]
		held[n.ID] = true
		told, text := t.tells(n)
		if !told {
			continue
		}
		event := driftline.TimelineEvent{
			Kind: driftline.TimelineNotice, Time: n.Created, Ref: n.Ref(), State: string(n.State), Text: text,
			Trouble: n.State == driftline.NoticeDead, Channel: n.Channel,
		}
		if !n.Settled.IsZero() {
			event.Time = n.Settled
		}
		t.add(event)
	}
	t.addOldNotices(held)
	return nil
}

// addOldNotices takes in what the ledger has of notices that the outbox no longer holds.
func (t *timeline) addOldNotices(held map[string]bool) {
	for _, n := range t.engine.registry.NoticesOf(t.told...) {
		if held[n.ID] {
			continue
		}
		t.add(driftline.TimelineEvent{
			Kind: driftline.TimelineNotice, Time: n.Time, Ref: n.Ref, State: string(n.State), Channel: n.Channel,
			Text: fmt.Sprintf("%s is told: %s is %s", n.Channel, n.Ref, n.Kind), Trouble: n.State == driftline.NoticeDead,
		})
	}
}

// tells reports whether a notice is about the model, and what it says.
func (t *timeline) tells(n *driftline.Notice) (told bool, text string) {
	if h := n.Happening; h != nil {
		return h.Model == t.model, fmt.Sprintf("%s is told: %s", n.Channel, h.Text)
	}
	return slices.Contains(t.names, n.Alert.Monitor), fmt.Sprintf("%s is told: %s is %s", n.Channel, n.Alert.ID, n.Kind)
}
