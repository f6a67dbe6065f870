package engine

import (
	"context"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// NewestEvent is the place in the ledger after which all is still to come.
func (e *Engine) NewestEvent() uint64 { return e.registry.Newest().Sequence }

// EventsAfter returns the events of the lines after a place in the ledger that are wanted, of at
// most so many lines, and the place of the last of these. FailedPrecondition: the ledger is not so long.
func (e *Engine) EventsAfter(ctx context.Context, after uint64, filter driftline.EventFilter, lines int) (events []driftline.Event, last uint64, err error) {
	if err := e.begin(); err != nil {
		return nil, after, err
	}
	defer e.end()
	events = []driftline.Event{}
	newest := e.NewestEvent()
	if after > newest {
		return events, after, driftline.Errorf(driftline.FailedPrecondition, "there is no event %d: the last one is %d", after, newest).
			WithHint("is it another server's, or was the data folder restored? begin without a place")
	}
	if after == newest {
		return events, after, nil
	}
	wanted := eventsOf{engine: e, filter: filter}
	for line, err := range e.registry.Lines(after + 1) {
		if err != nil {
			return nil, after, err
		}
		if lines == 0 || ctx.Err() != nil {
			break
		}
		after, lines = line.Sequence, lines-1
		if !filter.Wants(string(line.Kind)) {
			continue
		}
		event, ok, err := registry.EventOf(&line)
		if err != nil {
			return nil, after, err
		}
		if ok && wanted.model(&event) {
			events = append(events, event)
		}
	}
	return events, after, nil
}

// eventsOf tells events of a model from others.
type eventsOf struct {
	engine   *Engine
	filter   driftline.EventFilter
	monitors []*driftline.Monitor // that see the model; nil until somebody asks
}

func (w *eventsOf) model(event *driftline.Event) bool {
	switch {
	case w.filter.Model == "" || event.Model == w.filter.Model:
		return true
	case event.Kind == string(registry.NoticeSettled):
		return w.about(event.Ref)
	}
	return event.Monitor != "" && w.seenBy(event.Monitor)
}

// about reports whether a notice of something is one of the model.
func (w *eventsOf) about(ref driftline.Ref) bool {
	switch ref.Kind {
	case driftline.KindAlert:
		alert, err := w.engine.registry.Alert(driftline.AlertID(ref.Name))
		return err == nil && w.seenBy(alert.Monitor)
	case driftline.KindView:
		return false
	case driftline.KindRollout:
		r, err := w.engine.registry.Rollout(driftline.RolloutID(ref.Name))
		return err == nil && r.Model == w.filter.Model
	case driftline.KindTraining:
		model, _, err := cutTraining(driftline.TrainingID(ref.Name))
		return err == nil && model == w.filter.Model
	}
	return ref.Name == string(w.filter.Model)
}

func (w *eventsOf) seenBy(name driftline.MonitorName) bool {
	if w.monitors == nil {
		found, err := w.engine.monitorsOf(w.filter.Model)
		if err != nil {
			return false // the model is gone
		}
		w.monitors = append([]*driftline.Monitor{}, found...)
	}
	return slices.ContainsFunc(w.monitors, func(m *driftline.Monitor) bool { return m.Name == name })
}
