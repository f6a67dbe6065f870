package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/rollout"
)

const (
	// gatherPredictions is how long records gather before they are written: with the write
	// itself, less than the 200 ms that a crash may lose of an asynchronous log.
	gatherPredictions = 50 * time.Millisecond

	// A batch of predictions is a small write, see [smallRows] and [smallBytes].
	predictionBatchRows  = 8192
	predictionBatchBytes = 3 << 20

	usualLoggedBytes = 64 << 10 // of an output, and of the features of a record

	// predictionAttempts is how often a batch that its view refuses is tried, since the view
	// may just have changed.
	predictionAttempts = 3
)

// predictionLogs are the logs that were written since the engine was opened.
type predictionLogs struct {
	making keyedMutex // by model

	mu       sync.Mutex // guards the rest
	logs     map[driftline.ModelName]*predictionLog
	closed   bool
	stopping chan struct{}      // of the writers: closed when batches that cannot be written are to be given up
	limits   predictions.Limits // the default if zero; for tests

	writers sync.WaitGroup // one goroutine per log
}

// predictionLog is the log of one model: a ring that one goroutine empties into a view.
type predictionLog struct {
	model   driftline.ModelName
	view    driftline.ViewName
	ring    *predictions.Ring
	trimmed atomic.Int64

	stopping <-chan struct{} // of the logs

	mu    sync.Mutex // guards the rest
	of    *driftline.FeatureView
	table *predictions.Table // for of
	err   error              // of the last write, nil if it succeeded
}

// LogPredictions puts what a model was asked and answered into its prediction log, and tells
// its rollout of the requests that were dealt, once each. It is the one way in for predictions, and made for who serves: unless the log is declared sync, or to block, it takes microseconds, waits
// for nothing, and what there is no room for is dropped and counted. The records, and what
// they hold, must not be changed afterwards.
//
// A model whose log nobody declared (a view called [predictions.LogName], see
// [driftline.PredictionLog]) gets one, with a column for each feature that it meets. Records
// that were logged before, by ID and time, change nothing.
//
// It is Invalid to log what can be no prediction: then none of the records is logged.
func (e *Engine) LogPredictions(ctx context.Context, records []driftline.PredictionRecord) error {
	return e.logPredictions(ctx, records, false)
}

// LogPredictionsDurably is [Engine.LogPredictions] for callers who are not in the serving path
// and want to know: it returns when all records survive a crash, and says so if one was dropped. It
// returns their IDs, of which it made up those that were empty.
func (e *Engine) LogPredictionsDurably(ctx context.Context, records []driftline.PredictionRecord) (ids []string, err error) {
	return e.logNamed(ctx, records, true)
}

// logNamed gives IDs to the predictions that have none, and logs all.
func (e *Engine) logNamed(ctx context.Context, records []driftline.PredictionRecord, durably bool) (ids []string, err error) {
	records = slices.Clone(records)
	ids = nameAll(records)
	return ids, e.logPredictions(ctx, records, durably)
}

// LogPredictionsOf is [Engine.LogPredictionsDurably] of predictions that are all of one model, or
// [Engine.LogPredictions] if the caller does not want to wait.
func (e *Engine) LogPredictionsOf(ctx context.Context, model driftline.ModelName, records []driftline.PredictionRecord, durably bool) (*driftline.PredictionReceipt, error) {
	receipt := &driftline.PredictionReceipt{Model: model, Log: predictions.LogName(model), Predictions: len(records)}
	ids, err := e.logNamed(ctx, records, durably)
	receipt.IDs = ids
	return receipt, err
}

// nameAll gives IDs to the records that have none, and returns those of all.
func nameAll(records []driftline.PredictionRecord) (ids []string) {
	for i := range records {
		if records[i].ID == "" {
			records[i].ID = newPredictionID()
		}
		ids = append(ids, records[i].ID)
	}
	return ids
}

func newPredictionID() string { return uuid.Must(uuid.NewV7()).String() }

func (e *Engine) logPredictions(ctx context.Context, records []driftline.PredictionRecord, durably bool) error {
	tickets, err := e.offerAll(ctx, records, durably)
	if err != nil {
		return err
	}
	return waitForAll(ctx, tickets)
}

func waitForAll(ctx context.Context, tickets []*predictions.Ticket) error {
	for _, t := range tickets {
		if err := t.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// offerAll puts records into their logs, and returns what to wait for: nothing, unless durably is
// set or a log is sync.
func (e *Engine) offerAll(ctx context.Context, records []driftline.PredictionRecord, durably bool) (tickets []*predictions.Ticket, err error) {
	for i := range records {
		if err := checkPrediction(&records[i]); err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "prediction %d: %w", i, err)
		}
	}
	for len(records) > 0 {
		model, n := records[0].Model, 1
		for n < len(records) && records[n].Model == model {
			n++
		}
		ticket, err := e.offerPredictions(ctx, model, slices.Clone(records[:n]), durably)
		if err != nil {
			return nil, err
		}
		if ticket != nil {
			tickets = append(tickets, ticket)
		}
		records = records[n:]
	}
	return tickets, nil
}

// checkPrediction refuses what can be no prediction, whichever log it is for.
func checkPrediction(r *driftline.PredictionRecord) error {
	switch {
	case r.Model == "":
		return driftline.Errorf(driftline.Invalid, "it names no model").WithHint("set model")
	case len(r.ID) > mostPredictionID:
		return driftline.Errorf(driftline.Invalid, "its id has %d bytes, want at most %d", len(r.ID), mostPredictionID)
	case r.Version < 0:
		return driftline.Errorf(driftline.Invalid, "model_version is %d", r.Version).WithHint("versions count from 1; 0 says that none answered")
	case r.Latency < 0:
		return driftline.Errorf(driftline.Invalid, "latency is %s", r.Latency)
	case r.Arm != "" && r.Arm != driftline.ArmChampion && r.Arm != driftline.ArmCandidate:
		return invalid(driftline.Unknown("arm", r.Arm, []driftline.Arm{driftline.ArmChampion, driftline.ArmCandidate}))
	case r.Fault != "" && !slices.Contains(driftline.Faults, r.Fault):
		return invalid(driftline.Unknown("fault", r.Fault, driftline.Faults))
	case !r.Time.IsZero() && (r.Time.Year() < 1 || r.Time.Year() > 9999):
		return driftline.Errorf(driftline.Invalid, "time is of the year %d", r.Time.Year()).WithHint("write times like 2013-06-01T12:00:00Z")
	}
	return nil
}

func invalid(e *driftline.Error) error {
	e.Code = driftline.Invalid
	return e
}

// offerPredictions puts records of one model, which are the engine's to change, into its log.
func (e *Engine) offerPredictions(ctx context.Context, model driftline.ModelName, records []driftline.PredictionRecord, durably bool) (*predictions.Ticket, error) {
	log, err := e.predictionLog(ctx, model)
	if err != nil {
		return nil, err
	}
	view, err := e.registry.SharedView(log.view)
	if err != nil {
		return nil, err
	}
	config := view.Predictions
	if config == nil {
		return nil, notALog(view.Name)
	}
	now := e.now()
	for i := range records {
		r := &records[i]
		if r.ID == "" {
			r.ID = newPredictionID()
		}
		if r.Time.IsZero() {
			r.Time = now
		}
		if predictions.Trim(r, config.Fields, cmp.Or(config.MostBytes, usualLoggedBytes)) {
			log.trimmed.Add(1)
		}
	}
	overflow := config.Overflow
	if durably { // who waits for the disk waits for room
		overflow = driftline.Block
	}
	fresh, ticket, err := log.ring.Offer(ctx, records, overflow, durably || config.Mode == driftline.Sync)
	for i := range fresh {
		if fresh[i].Dealt() {
			e.ObserveRollout(model, observation(&fresh[i]))
		}
	}
	return ticket, err
}

// observation is what a record is to its rollout.
func observation(r *driftline.PredictionRecord) rollout.Observation {
	o := rollout.Observation{Route: r.Route, Arm: r.Arm,
		Answer: rollout.Answer{Fault: r.Fault, Latency: time.Duration(r.Latency), Score: driftline.ScoreOf(r.Score), Values: r.Values}}
	if r.Key != "" && r.Key != r.ID {
		o.Key = rollout.Key(r.Key)
	}
	if m := r.Mirror; m != nil {
		o.Mirror = &rollout.Answer{Fault: m.Fault, Latency: time.Duration(m.Latency), Score: driftline.ScoreOf(m.Score), Values: m.Values}
		o.Differs = m.Differs
	}
	return o
}

func notALog(view driftline.ViewName) error {
	return driftline.Errorf(driftline.FailedPrecondition, "feature view %q is no prediction log", view).WithRef(driftline.ViewRef(view)).
		WithHint("predictions of a model go there by its name: give the view predictions: {id: …}, or another name")
}

// predictionLog returns the log of a model, which it makes if there is none.
func (e *Engine) predictionLog(ctx context.Context, model driftline.ModelName) (*predictionLog, error) {
	p := &e.predictions
	p.mu.Lock()
	log, closed := p.logs[model], p.closed
	p.mu.Unlock()
	if closed {
		return nil, driftline.Errorf(driftline.Unavailable, "the server is stopping").WithHint("try again when it is up")
	}
	if log != nil {
		return log, nil
	}
	defer p.making.lock(string(model))()
	if err := e.ensureLogView(ctx, model); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, driftline.Errorf(driftline.Unavailable, "the server is stopping").WithHint("try again when it is up")
	case p.logs[model] != nil: // somebody else was first
		return p.logs[model], nil
	}
	if p.logs == nil {
		p.logs, p.stopping = map[driftline.ModelName]*predictionLog{}, make(chan struct{})
	}
	log = &predictionLog{model: model, view: predictions.LogName(model), ring: predictions.NewRing(cmp.Or(p.limits, predictions.DefaultLimits)), stopping: p.stopping}
	p.logs[model] = log
	p.writers.Go(func() { e.writePredictions(log) })
	return log, nil
}

// ensureLogView makes the view that a model's predictions go to, unless there is one.
func (e *Engine) ensureLogView(ctx context.Context, model driftline.ModelName) error {
	view, err := e.registry.SharedView(predictions.LogName(model))
	if err == nil {
		if view.Predictions == nil {
			return notALog(view.Name)
		}
		return nil
	}
	if _, err := e.registry.Model(model); err != nil {
		return err
	}
	fields, err := e.inputFields(model)
	if err != nil {
		return err
	}
	entity, defs := e.predictionEntity()
	defs.FeatureViews = []driftline.FeatureView{predictions.LogView(model, entity, fields)}
	_, err = e.Apply(ctx, defs)
	return err
}

// predictionEntity returns the entity that predictions are, and its definition if it is not
// there yet.
func (e *Engine) predictionEntity() (driftline.EntityName, driftline.Definitions) {
	key := driftline.Field{Name: predictions.ID, Type: driftline.String}
	for _, name := range []driftline.EntityName{"prediction", "logged_prediction"} {
		entity, err := e.registry.Entity(name)
		if err != nil {
			return name, driftline.Definitions{Entities: []driftline.Entity{{Name: name, JoinKeys: []driftline.Field{key},
				Description: "One answer of a model, by the ID of its request"}}}
		}
		if len(entity.JoinKeys) == 1 && entity.JoinKeys[0].Name == key.Name && entity.JoinKeys[0].Type == key.Type {
			return name, driftline.Definitions{}
		}
	}
	return "logged_prediction", driftline.Definitions{} // which is somebody's, and Apply says so
}

// inputFields are the features and join keys that the versions of a model were trained on, as
// far as that is known.
func (e *Engine) inputFields(model driftline.ModelName) ([]driftline.Field, error) {
	versions, err := e.registry.ModelVersions(model)
	if err != nil {
		return nil, err
	}
	var fields []driftline.Field
	for i := range versions {
		more, err := e.versionFields(&versions[i])
		switch driftline.CodeOf(err) {
		case "":
			fields = append(fields, more...)
		case driftline.NotFound, driftline.FailedPrecondition, driftline.Invalid: // it was trained on what is gone by now
		default:
			return nil, err
		}
	}
	return fields, nil
}

func (e *Engine) versionFields(version *driftline.ModelVersion) (fields []driftline.Field, err error) {
	add := func(r *registry.Resolution) {
		for _, read := range r.Reads {
			for _, key := range read.View.JoinKeys {
				fields = append(fields, driftline.Field{Name: read.Projection.KeyColumn(key.Name), Type: key.Type})
			}
		}
		for _, c := range r.Columns {
			fields = append(fields, driftline.Field{Name: c.Name, Type: c.Type})
		}
	}
	if version.Origin != nil {
		for _, used := range version.Origin.Datasets {
			dataset, err := e.cardDataset(used.Ref)
			if err != nil {
				return nil, err
			}
			resolution, err := meantBy(dataset)
			if err != nil {
				return nil, err
			}
			add(resolution)
		}
	}
	if service := version.Tags[ServiceTag]; len(fields) == 0 && service != "" {
		resolution, err := e.registry.Resolve(driftline.FeatureSet{Service: driftline.ServiceName(service)})
		if err != nil {
			return nil, err
		}
		add(resolution)
	}
	return fields, nil
}

// writePredictions moves records from a log's ring into its view, until the ring is closed and
// empty.
func (e *Engine) writePredictions(log *predictionLog) {
	for {
		batch := log.ring.Take(predictionBatchRows, predictionBatchBytes, gatherPredictions)
		if batch == nil {
			return
		}
		if reason := e.writeBatch(log, batch.Records); reason != "" {
			batch.Dropped(reason)
			continue
		}
		batch.Logged()
	}
}

// writeBatch writes records, as often as it takes. It returns why it gave them up, "" if they
// are durable.
func (e *Engine) writeBatch(log *predictionLog, records []driftline.PredictionRecord) predictions.Reason {
	ctx := context.WithoutCancel(e.background)
	for attempt := 1; ; attempt++ {
		err := e.writeRecords(ctx, log, records)
		log.failed(err)
		if err == nil {
			return ""
		}
		if attempt == 1 {
			e.log.Warn("predictions could not be logged", "model", string(log.model), "rows", len(records), "error", err)
		}
		if refuses(err) && attempt >= predictionAttempts {
			return predictions.Refused
		}
		select {
		case <-time.After(min(time.Duration(attempt)*100*time.Millisecond, 5*time.Second)):
		case <-log.stopping:
			return predictions.Closed
		}
	}
}

// refuses reports whether an error says that the view does not take the rows, now or later.
func refuses(err error) bool {
	switch driftline.CodeOf(err) {
	case driftline.Invalid, driftline.NotFound, driftline.FailedPrecondition, driftline.Conflict:
		return true
	}
	return false
}

func (e *Engine) writeRecords(ctx context.Context, log *predictionLog, records []driftline.PredictionRecord) error {
	table, err := e.predictionTable(ctx, log, records)
	if err != nil {
		return err
	}
	rows := table.Rows(e.mem, records)
	defer rows.Release()
	_, err = e.Ingest(ctx, log.view, "", driftline.BatchesOf(rows.Schema(), rows))
	return err
}

// predictionTable returns the table of a log as its view is now, with columns for what the
// records have.
func (e *Engine) predictionTable(ctx context.Context, log *predictionLog, records []driftline.PredictionRecord) (*predictions.Table, error) {
	table, err := e.tableOf(log)
	if err != nil {
		return nil, err
	}
	missing := table.Missing(records)
	if len(missing) == 0 {
		return table, nil
	}
	defer e.predictions.making.lock(string(log.model))()
	view, err := e.registry.View(log.view)
	if err != nil {
		return nil, err
	}
	if _, err := e.Apply(ctx, driftline.Definitions{FeatureViews: []driftline.FeatureView{predictions.Grown(*view, missing)}}); err != nil {
		return nil, fmt.Errorf("its view cannot have more columns: %w", err)
	}
	return e.tableOf(log)
}

func (e *Engine) tableOf(log *predictionLog) (*predictions.Table, error) {
	view, err := e.registry.SharedView(log.view)
	if err != nil {
		return nil, err
	}
	if view.Predictions == nil {
		return nil, notALog(view.Name)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.of != view {
		log.of, log.table = view, predictions.NewTable(view)
	}
	return log.table, nil
}

func (l *predictionLog) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// close lets no more predictions in and waits for those that are waiting: some seconds, if
// they cannot be written.
func (p *predictionLogs) close() {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	logs := make([]*predictionLog, 0, len(p.logs))
	for _, log := range p.logs {
		logs = append(logs, log)
	}
	stopping := p.stopping
	p.mu.Unlock()
	if again || len(logs) == 0 {
		return
	}
	for _, log := range logs {
		log.ring.Close()
	}
	giveUp := time.AfterFunc(5*time.Second, func() { close(stopping) })
	p.writers.Wait()
	giveUp.Stop()
}

// PredictionLog returns the prediction log of a model, and what became of its predictions since
// the engine was opened.
func (e *Engine) PredictionLog(model driftline.ModelName) (*driftline.PredictionLogStatus, error) {
	name := predictions.LogName(model)
	view, err := e.registry.SharedView(name)
	if err != nil {
		if _, unknown := e.registry.Model(model); unknown != nil {
			return nil, unknown
		}
		return nil, driftline.Errorf(driftline.NotFound, "model %q has no prediction log yet", model).
			WithRef(driftline.Ref{Kind: driftline.KindModel, Name: string(model)}).
			WithHint("it gets one, called %s, with its first prediction", name)
	}
	if view.Predictions == nil {
		return nil, notALog(name)
	}
	s := &driftline.PredictionLogStatus{Model: model, Log: name, Config: *view.Predictions, Counts: driftline.LogCounts{Dropped: map[string]int64{}}}
	if _, err := e.registry.SharedView(predictions.LabelsName(model)); err == nil {
		s.Labels = predictions.LabelsName(model)
	}
	e.predictions.mu.Lock()
	log := e.predictions.logs[model]
	e.predictions.mu.Unlock()
	if log != nil {
		s.Counts = log.ring.Counts()
		s.Counts.Trimmed = log.trimmed.Load()
		log.mu.Lock()
		defer log.mu.Unlock()
		if log.err != nil {
			s.Error = log.err.Error()
		}
	}
	return s, nil
}

// PredictionLogs returns the logs that got a prediction since the engine was opened, by model.
func (e *Engine) PredictionLogs() []driftline.PredictionLogStatus {
	e.predictions.mu.Lock()
	models := make([]driftline.ModelName, 0, len(e.predictions.logs))
	for model := range e.predictions.logs {
		models = append(models, model)
	}
	e.predictions.mu.Unlock()
	slices.Sort(models)
	all := []driftline.PredictionLogStatus{}
	for _, model := range models {
		if s, err := e.PredictionLog(model); err == nil {
			all = append(all, *s)
		}
	}
	return all
}

// ConfigurePredictionLog says how a model's log is written: its mode, what gives way, which
// fields are kept and how much. The columns of config are ignored. It counts from the next
// prediction on.
func (e *Engine) ConfigurePredictionLog(ctx context.Context, model driftline.ModelName, config driftline.PredictionLog) (*driftline.PredictionLogStatus, error) {
	if err := registry.CheckPredictionLog(&config); err != nil {
		return nil, err
	}
	if err := e.configureLog(ctx, model, config); err != nil {
		return nil, err
	}
	return e.PredictionLog(model)
}

func (e *Engine) configureLog(ctx context.Context, model driftline.ModelName, config driftline.PredictionLog) error {
	defer e.predictions.making.lock(string(model))()
	if err := e.ensureLogView(ctx, model); err != nil {
		return err
	}
	view, err := e.registry.View(predictions.LogName(model))
	if err != nil {
		return err
	}
	p := view.Predictions
	p.Mode, p.Overflow, p.Fields, p.MostBytes = config.Mode, config.Overflow, config.Fields, config.MostBytes
	_, err = e.Apply(ctx, driftline.Definitions{FeatureViews: []driftline.FeatureView{*view}})
	return err
}
