package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// remedySnooze is how long a snooze is that is chosen from the remedies of an alert.
const remedySnooze = 24 * time.Hour

// remediesOf are what could be done about an alert now: nothing about one that is over.
func (e *Engine) remediesOf(alert *driftline.Alert) ([]driftline.Remedy, error) {
	if alert.State != driftline.AlertFiring {
		return nil, nil
	}
	m, err := e.registry.Monitor(alert.Monitor)
	if err != nil {
		return nil, err
	}
	models, err := e.modelsOf(m)
	if err != nil {
		return nil, err
	}
	var found []driftline.Remedy
	add := func(action driftline.RemedyAction, model driftline.ModelName, text string, args ...any) {
		command := fmt.Sprintf("driftline alert do %s %s", alert.ID, action)
		switch {
		case model == "":
		case driftline.CheckIdentifier("model", model) == nil:
			command += " --model " + string(model)
		default:
			command += " --model '" + strings.ReplaceAll(string(model), "'", `'\''`) + "'"
		}
		found = append(found, driftline.Remedy{Action: action, Model: model, Text: fmt.Sprintf(text, args...), Command: command})
	}
	for _, model := range models {
		if p, err := e.registry.Policy(model); err == nil && p.Training != nil && !p.Disabled {
			add(driftline.RemedyRetrain, model, "train model %s again, as its policy says", model)
		}
		if to := e.championBefore(model); to != 0 {
			add(driftline.RemedyRollBack, model, "give model %s back to version %d, which was champion before", model, to)
		}
		if _, err := e.PredictionLog(model); err == nil {
			add(driftline.RemedyLabel, model, "ask for labels of the predictions of model %s since the drift began", model)
		}
	}
	if !m.Reference.From.IsZero() {
		add(driftline.RemedyReReference, "", "take the rows from %s to %s as normal: monitor %s compares with them from now on, and the alert ends",
			alert.From.UTC().Format(time.RFC3339), alert.To.UTC().Format(time.RFC3339), m.Name)
	}
	add(driftline.RemedySnooze, "", "keep quiet about it for a day")
	add(driftline.RemedyIgnore, "", "end the alert; the next drift begins another")
	return found, nil
}

// championBefore is the version that [Engine.RollBackModel] would return to, 0 if there is none.
func (e *Engine) championBefore(model driftline.ModelName) int {
	at, err := e.registry.Champion(model)
	if err != nil {
		return 0
	}
	if all := e.registry.Rollouts(model); len(all) > 0 {
		last := &all[0]
		if !last.Phase.Ended() || last.Phase == driftline.RolloutPromoted && last.Candidate == at {
			return last.Champion
		}
	}
	before, err := e.registry.AliasBefore(model, championAlias)
	if err != nil {
		return 0
	}
	return before
}

// DoRemedy does one of the remedies that an alert has, for somebody. FailedPrecondition: it is
// none of them now.
func (e *Engine) DoRemedy(ctx context.Context, id driftline.AlertID, action driftline.RemedyAction, request driftline.RemedyRequest) (driftline.RemedyDone, error) {
	if err := e.begin(); err != nil {
		return driftline.RemedyDone{}, err
	}
	defer e.end()
	if !slices.Contains(driftline.RemedyActions, action) {
		return driftline.RemedyDone{}, driftline.Unknown("remedy", driftline.RemedyAction(fmt.Sprintf("%.80s", action)), driftline.RemedyActions)
	}
	alert, err := e.Alert(id)
	if err != nil {
		return driftline.RemedyDone{}, err
	}
	remedy, err := chosenRemedy(&alert, action, request.Model)
	if err != nil {
		return driftline.RemedyDone{}, err
	}
	request.Reason = cmp.Or(request.Reason, fmt.Sprintf("alert %s", id))
	done := driftline.RemedyDone{Remedy: remedy}
	done.Ref, done.Text, err = e.remedy(ctx, &alert, &remedy, request)
	return done, err
}

// chosenRemedy is the remedy of an alert that is meant.
func chosenRemedy(alert *driftline.Alert, action driftline.RemedyAction, model driftline.ModelName) (driftline.Remedy, error) {
	var meant []driftline.Remedy
	for _, r := range alert.Remedies {
		if r.Action == action && (model == "" || r.Model == model) {
			meant = append(meant, r)
		}
	}
	switch {
	case len(meant) == 1:
		return meant[0], nil
	case len(meant) > 1:
		return driftline.Remedy{}, driftline.Errorf(driftline.Invalid, "alert %s: %s could be of several models", alert.ID, action).WithRef(alert.Ref()).
			WithHint("name one: %s", meant[0].Command)
	case alert.State != driftline.AlertFiring:
		return driftline.Remedy{}, driftline.Errorf(driftline.FailedPrecondition, "alert %s is over", alert.ID).WithRef(alert.Ref()).
			WithHint("there is nothing to be done about it any more")
	}
	return driftline.Remedy{}, driftline.Errorf(driftline.FailedPrecondition, "alert %s: %s cannot be done as things are", alert.ID, action).WithRef(alert.Ref()).
		WithHint("driftline alert show %s lists what can", alert.ID)
}

func (e *Engine) remedy(ctx context.Context, alert *driftline.Alert, r *driftline.Remedy, request driftline.RemedyRequest) (driftline.Ref, string, error) {
	change := driftline.AlertChange{By: request.By, Comment: request.Reason}
	switch r.Action {
	case driftline.RemedyRetrain:
		// The same alert asks for one run, however often somebody presses the button.
		answer, err := e.RequestTraining(r.Model, "alert/"+string(alert.ID), driftline.TrainingRequest{By: request.By, Reason: request.Reason})
		return answer.Run.Ref(), fmt.Sprintf("training run %s", answer.Run.ID), err
	case driftline.RemedyRollBack:
		at, err := e.registry.Champion(r.Model)
		if err != nil {
			return driftline.Ref{}, "", err
		}
		back, err := e.RollBackModel(ctx, r.Model, driftline.AliasRollback{Expect: &at, By: request.By, Reason: request.Reason})
		return driftline.ModelRef(r.Model, back.Version), fmt.Sprintf("version %d of model %s answers", back.Version, r.Model), err
	case driftline.RemedyLabel:
		asked, err := e.AskForLabels(ctx, r.Model, driftline.LabelRequest{Since: alert.From})
		if err != nil {
			return driftline.Ref{}, "", err
		}
		return asked.Dataset, fmt.Sprintf("%s has %d predictions to be labelled", asked.Dataset, asked.Rows), nil
	case driftline.RemedyReReference:
		return e.reReference(ctx, alert, change)
	case driftline.RemedySnooze:
		change.Until = e.now().Add(remedySnooze)
		_, err := e.SnoozeAlert(alert.ID, change)
		return alert.Ref(), "nobody is told of it until " + change.Until.UTC().Format(time.RFC3339), err
	}
	_, err := e.ResolveAlert(alert.ID, change)
	return alert.Ref(), "it is over", err
}

// reReference makes the rows that drifted the reference of the alert's monitor, and ends the alert.
func (e *Engine) reReference(ctx context.Context, alert *driftline.Alert, change driftline.AlertChange) (driftline.Ref, string, error) {
	m, err := e.registry.Monitor(alert.Monitor)
	if err != nil {
		return driftline.Ref{}, "", err
	}
	next := *m
	next.Reference.From, next.Reference.To = alert.From, alert.To
	if _, err := e.Apply(ctx, driftline.Definitions{Monitors: []driftline.Monitor{next}}); err != nil {
		return driftline.Ref{}, "", err
	}
	if _, err := e.ResolveAlert(alert.ID, change); err != nil {
		return driftline.Ref{}, "", err
	}
	if m, err = e.registry.Monitor(alert.Monitor); err != nil {
		return driftline.Ref{}, "", err
	}
	return m.Ref(), fmt.Sprintf("monitor %s compares with the rows from %s to %s", m.Name, alert.From.UTC().Format(time.RFC3339), alert.To.UTC().Format(time.RFC3339)), nil
}
