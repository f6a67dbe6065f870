package engine

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
)

// expireEvents is how often events are looked for that wait in vain for their other half.
const expireEvents = 5 * time.Second

// eventPairs are the events of each model that wait for their other half.
type eventPairs struct {
	looking sync.Once // for those that wait in vain

	mu    sync.Mutex // guards pairs
	pairs map[driftline.ModelName]*predictions.Pairs
}

// LogEvents takes in CloudEvents of a model's inferences, see [predictions.DecodeEvents]. A request
// and its response become predictions when both are here; one whose other half does not come within
// half a minute becomes some without it. They wait in memory, as they do at the sender's: who
// must lose nothing logs predictions.
func (e *Engine) LogEvents(ctx context.Context, model driftline.ModelName, header func(name string) string, body []byte) (*driftline.PredictionReceipt, error) {
	events, err := predictions.DecodeEvents(header, body)
	if err != nil {
		return nil, err
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	log, err := e.predictionLog(ctx, model)
	if err != nil {
		return nil, err
	}
	e.events.looking.Do(func() { e.work.Go(func() { e.expireEventsLoop(e.background) }) })
	receipt := &driftline.PredictionReceipt{Model: model, Log: log.view}
	var records []driftline.PredictionRecord
	add := func(request, response *predictions.Event) error {
		more, err := predictions.Records(model, request, response)
		records = append(records, more...)
		return err
	}
	waiting := map[string]bool{}
	e.events.mu.Lock()
	pairs := e.events.of(model)
	now := e.now()
	for i := range events {
		request, response, complete := pairs.Add(&events[i], now)
		if !complete {
			waiting[events[i].ID] = true
			continue
		}
		delete(waiting, events[i].ID)
		if err = add(request, response); err != nil {
			break
		}
	}
	alone := pairs.Expired(now, false)
	e.events.mu.Unlock()
	if err != nil {
		return nil, err
	}
	records = append(records, e.halves(model, alone)...)
	receipt.Predictions, receipt.Waiting = len(records), len(waiting)
	return receipt, e.LogPredictions(ctx, e.versioned(model, records))
}

func (p *eventPairs) of(model driftline.ModelName) *predictions.Pairs {
	if p.pairs == nil {
		p.pairs = map[driftline.ModelName]*predictions.Pairs{}
	}
	if p.pairs[model] == nil {
		p.pairs[model] = &predictions.Pairs{}
	}
	return p.pairs[model]
}

// halves are the predictions of events whose other half did not come. One that cannot be read
// is logged as a failure of ours, and left out.
func (e *Engine) halves(model driftline.ModelName, alone []*predictions.Event) (records []driftline.PredictionRecord) {
	for _, event := range alone {
		request, response := event, (*predictions.Event)(nil)
		if event.Type == predictions.ResponseEvent {
			request, response = nil, event
		}
		more, err := predictions.Records(model, request, response)
		if err != nil {
			e.log.Warn("an inference event cannot be read", "model", string(model), "event", event.ID, "error", err)
			continue
		}
		records = append(records, more...)
	}
	return records
}

// versioned fills in the champion's version where events do not say which answered.
func (e *Engine) versioned(model driftline.ModelName, records []driftline.PredictionRecord) []driftline.PredictionRecord {
	champion := 0
	if m, err := e.registry.Model(model); err == nil {
		champion = m.Aliases[driftline.AliasChampion]
	}
	for i := range records {
		if records[i].Version == 0 && records[i].Output != nil {
			records[i].Version = champion
		}
	}
	return records
}

// expireEventsLoop logs events whose other half did not come, until the engine closes.
func (e *Engine) expireEventsLoop(ctx context.Context) {
	ticker := time.NewTicker(expireEvents)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.logHalves(ctx, false)
		}
	}
}

// logHalves logs what waits in vain, or, with all set, whatever waits.
func (e *Engine) logHalves(ctx context.Context, all bool) {
	expired := map[driftline.ModelName][]*predictions.Event{}
	e.events.mu.Lock()
	for model, pairs := range e.events.pairs {
		if alone := pairs.Expired(e.now(), all); len(alone) > 0 {
			expired[model] = alone
		}
	}
	e.events.mu.Unlock()
	for model, alone := range expired {
		records := e.versioned(model, e.halves(model, alone))
		if err := e.LogPredictions(ctx, records); err != nil {
			e.log.Warn("inference events could not be logged", "model", string(model), "predictions", strconv.Itoa(len(records)), "error", err)
		}
	}
}

// LogPredictionRows takes in predictions as rows, durably: see [predictions.FromRows] for their
// columns, of which entity names those that are join keys. Rows are logged batch by batch, and
// those of the batches before an error stay.
func (e *Engine) LogPredictionRows(ctx context.Context, model driftline.ModelName, entity []string, rows driftline.Batches) (*driftline.PredictionReceipt, error) {
	receipt := &driftline.PredictionReceipt{Model: model, Log: predictions.LogName(model)}
	named := rows.Schema.HasField(predictions.ID)
	var before []*predictions.Ticket // of the last batch, which is written while the next one is read
	for b, err := range rows.All {
		if err != nil {
			return nil, err
		}
		records, err := predictions.FromRows(model, entity, b)
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "after %d rows: %w", receipt.Predictions, err)
		}
		ids := nameAll(records)
		tickets, err := e.offerAll(ctx, records, true)
		if err == nil {
			err = waitForAll(ctx, before)
		}
		if err != nil {
			return nil, err
		}
		before = tickets
		receipt.Predictions += len(ids)
		if !named {
			receipt.IDs = append(receipt.IDs, ids...)
		}
	}
	return receipt, waitForAll(ctx, before)
}

// LogLabelRows takes in labels as rows, durably: see [predictions.LabelsFromRows] for their columns.
// Labels may be sent again, so who gets an error sends all of them once more.
func (e *Engine) LogLabelRows(ctx context.Context, model driftline.ModelName, entity []string, rows driftline.Batches) (driftline.LabelReceipt, error) {
	receipt := driftline.LabelReceipt{Model: model, View: predictions.LabelsName(model)}
	for b, err := range rows.All {
		if err != nil {
			return receipt, err
		}
		labels, err := predictions.LabelsFromRows(entity, b)
		if err != nil {
			return receipt, driftline.Errorf(driftline.Invalid, "after %d rows: %w", receipt.Labels, err)
		}
		part, err := e.LogLabels(ctx, model, labels, "")
		if err != nil {
			return receipt, err
		}
		receipt.Labels += part.Labels
	}
	return receipt, nil
}

// IsInferenceEvent reports whether an HTTP request with these headers brings what
// [Engine.LogEvents] takes in.
func IsInferenceEvent(header func(name string) string) bool { return predictions.IsEvent(header) }
