package registry

import (
	"cmp"
	"fmt"

	"github.com/driftline/driftline"
)

// told makes an event of a line of its kind. What the ledger does not keep, which is what people
// and rows said, no event says.
var told = map[Kind]func(*Line, *driftline.Event) error{
	AlertChanged:      tellAlert,
	PaneEvaluated:     tellPane,
	MonitorApplied:    tellMonitor,
	MonitorChanged:    tellMonitorChange,
	PolicyApplied:     tellPolicy("applied"),
	PolicyDeleted:     tellPolicy("deleted"),
	TriggerSuppressed: tellSuppression,
	TrainingChanged:   tellTraining,
	ModelRegistered:   tellVersion,
	ModelEvaluated:    tellEvaluation,
	VersionStaged:     tellStage,
	AliasMoved:        tellAlias,
	RolloutChanged:    tellRollout,
	ValidationRun:     tellValidation,
	NoticeSettled:     tellNotice,
	ViewChecked:       tellCheck,
}

// EventOf makes an event of a line; false if lines of its kind are none.
func EventOf(line *Line) (event driftline.Event, ok bool, err error) {
	tell, ok := told[line.Kind]
	if !ok {
		return event, false, nil
	}
	event = driftline.Event{Sequence: line.Sequence, Time: line.Time, Kind: string(line.Kind), Ref: line.Ref, Because: line.Inputs}
	if line.Ref.Kind == driftline.KindModel || line.Ref.Kind == driftline.KindPolicy {
		event.Model = driftline.ModelName(line.Ref.Name)
	}
	return event, true, tell(line, &event)
}

func tellAlert(line *Line, e *driftline.Event) error {
	changed, err := body[alertChanged](line)
	if err != nil {
		return err
	}
	a := &changed.Alert
	e.Monitor, e.State = a.Monitor, string(a.State)
	e.Text = fmt.Sprintf("alert %s: %s", a.ID, changed.Action)
	switch changed.Action {
	case "acknowledged":
		e.By = a.AcknowledgedBy
	case "resolved":
		e.By = a.ResolvedBy
	}
	return nil
}

func tellCheck(line *Line, e *driftline.Event) error {
	check, err := body[driftline.ViewCheck](line)
	if err != nil {
		return err
	}
	e.State = "agrees"
	if check.Differences > 0 {
		e.State = "differs"
	}
	e.Text = fmt.Sprintf("%s: %d of %d values differ between training and serving", line.Ref, check.Differences, check.Values)
	return nil
}

func tellPane(line *Line, e *driftline.Event) error {
	evaluated, err := body[paneEvaluated](line)
	if err != nil {
		return err
	}
	p := &evaluated.Pane
	e.Monitor, e.State = p.Monitor, string(p.Outcome)
	e.Text = fmt.Sprintf("monitor %s: %d of %d comparisons drifted from %s to %s", p.Monitor, p.Drifted, p.Compared, instant(p.Start), instant(p.End))
	return nil
}

func tellMonitor(line *Line, e *driftline.Event) error {
	e.Monitor, e.State, e.Text = driftline.MonitorName(line.Ref.Name), "applied", line.Ref.String()+" is applied"
	return nil
}

func tellMonitorChange(line *Line, e *driftline.Event) error {
	changed, err := body[monitorChanged](line)
	if err != nil {
		return err
	}
	e.Monitor, e.State = driftline.MonitorName(line.Ref.Name), cmp.Or(string(changed.State.Phase), "changed")
	e.Text = fmt.Sprintf("monitor %s: %s", line.Ref.Name, changed.Action)
	return nil
}

func tellPolicy(what string) func(*Line, *driftline.Event) error {
	return func(line *Line, e *driftline.Event) error {
		e.State, e.Text = what, fmt.Sprintf("%s is %s", line.Ref, what)
		return nil
	}
}

func tellSuppression(line *Line, e *driftline.Event) error {
	suppressed, err := body[triggerSuppressed](line)
	if err != nil {
		return err
	}
	s := &suppressed.Suppression
	e.Model, e.State, e.By = s.Model, string(s.Reason), s.Cause.By
	e.Text = fmt.Sprintf("model %s is not trained for %s: %s", s.Model, cmp.Or(s.Cause.Trigger, string(s.Cause.Kind)), s.Reason)
	return nil
}

func tellTraining(line *Line, e *driftline.Event) error {
	changed, err := body[trainingChanged](line)
	if err != nil {
		return err
	}
	run := &changed.Run
	e.Model, e.State, e.By = run.Model, string(run.State), changed.By
	e.Text = fmt.Sprintf("training run %s is %s", run.ID, run.State)
	if run.Candidate != 0 {
		e.Text += fmt.Sprintf(", made version %d", run.Candidate)
	}
	return nil
}

func tellVersion(line *Line, e *driftline.Event) error {
	e.State, e.Text = "registered", line.Ref.String()+" is registered"
	return nil
}

func tellEvaluation(line *Line, e *driftline.Event) error {
	found, err := body[driftline.Evaluation](line)
	if err != nil {
		return err
	}
	e.Model, e.State, e.By = found.Model, string(found.Outcome), found.By
	e.Text = fmt.Sprintf("version %d of model %s: evaluation %s %s", found.Candidate, found.Model, found.ID, found.Outcome)
	return nil
}

func tellStage(line *Line, e *driftline.Event) error {
	staged, err := body[versionStaged](line)
	if err != nil {
		return err
	}
	e.State, e.By = string(staged.To), staged.By
	e.Because = append(e.Because, staged.Evidence...)
	e.Text = fmt.Sprintf("%s: %s → %s", line.Ref, staged.From, staged.To)
	return nil
}

func tellAlias(line *Line, e *driftline.Event) error {
	moved, err := body[aliasMoved](line)
	if err != nil {
		return err
	}
	e.State, e.By = "moved", moved.By
	switch {
	case moved.To == 0:
		e.State = "removed"
	case moved.Rollback:
		e.State = "rolled_back"
	}
	e.Because = append(e.Because, moved.Evidence...)
	e.Text = fmt.Sprintf("model %s: alias %s goes from %s to %s", line.Ref.Name, moved.Alias, versionWord(moved.From), versionWord(moved.To))
	return nil
}

func tellRollout(line *Line, e *driftline.Event) error {
	changed, err := body[rolloutChanged](line)
	if err != nil {
		return err
	}
	r := &changed.Rollout
	e.Model, e.State, e.By = r.Model, string(r.Phase), r.By
	e.Text = fmt.Sprintf("rollout %s of version %d: %s, %g %% of the requests", r.ID, r.Candidate, r.Title(), r.Route.Weight(driftline.ArmCandidate))
	return nil
}

func tellValidation(line *Line, e *driftline.Event) error {
	run, err := body[driftline.ValidationRun](line)
	if err != nil {
		return err
	}
	e.State = "passed"
	if !run.Passed {
		e.State = "failed"
	}
	e.Text = fmt.Sprintf("checks of %s %s", line.Ref.Name, e.State)
	return nil
}

func tellNotice(line *Line, e *driftline.Event) error {
	settled, err := body[noticeSettled](line)
	if err != nil {
		return err
	}
	e.State = string(settled.State)
	e.Text = fmt.Sprintf("channel %s, that %s is %s: notice %s", settled.Channel, line.Ref, settled.Kind, settled.State)
	return nil
}
