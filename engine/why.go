package engine

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
	"github.com/driftline/driftline/registry"
)

const (
	mostPredictionID = 4 << 10 // bytes

	usualTracedRows = 5
	mostTracedRows  = 100
)

// Why follows a prediction back: its row of a prediction log, the model version that the row
// names, the run that made it, the training sets that the run read, and of those the files
// and rows. What is not known any more is a note of the trace, not an error.
func (e *Engine) Why(ctx context.Context, ask driftline.PredictionQuery) (*driftline.PredictionTrace, error) {
	if ask.Rows == 0 {
		ask.Rows = usualTracedRows
	}
	if ask.Prediction == "" {
		return nil, driftline.Errorf(driftline.Invalid, "no prediction is asked for").WithHint("say its id")
	}
	if len(ask.Prediction) > mostPredictionID {
		return nil, driftline.Errorf(driftline.Invalid, "the prediction's id has %d bytes, at most %d are looked for", len(ask.Prediction), mostPredictionID)
	}
	if ask.Rows < 1 || ask.Rows > mostTracedRows {
		return nil, driftline.Errorf(driftline.Invalid, "%d rows of each dataset are asked for, want 1 to %d", ask.Rows, mostTracedRows)
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	log, row, err := e.findPrediction(ctx, ask)
	if err != nil {
		return nil, err
	}
	defer row.Release()
	t := &tracer{engine: e, ask: ask, log: log, row: row, trace: &driftline.PredictionTrace{
		Prediction: ask.Prediction, Log: log.Name, Values: rowTexts(row, 0), Aliases: []driftline.Alias{},
		Features: []driftline.TracedFeature{}, Datasets: []driftline.TracedDataset{},
	}}
	return t.trace, t.follow(ctx)
}

// findPrediction returns the newest row of a prediction, as a batch of one row that the
// caller releases, and the view that has it.
func (e *Engine) findPrediction(ctx context.Context, ask driftline.PredictionQuery) (*driftline.FeatureView, arrow.RecordBatch, error) {
	logs, err := e.predictionLogs(ask.Log)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, len(logs))
	for i, log := range logs {
		names[i] = string(log.Name)
		row, err := e.predictionIn(ctx, &log, ask.Prediction)
		if err != nil || row != nil {
			return &log, row, err
		}
	}
	return nil, nil, driftline.Errorf(driftline.NotFound, "prediction %.80q is in no prediction log", ask.Prediction).
		WithHint("looked in %s", strings.Join(names, ", "))
}

// predictionLogs returns the log of that name, or all.
func (e *Engine) predictionLogs(name driftline.ViewName) ([]driftline.FeatureView, error) {
	const hint = "a feature view becomes one by predictions: {id: prediction_id, model: model, version: model_version}"
	if name != "" {
		view, err := e.registry.View(e.registry.Meant(name))
		if err != nil {
			return nil, err
		}
		if view.Predictions == nil {
			return nil, driftline.Errorf(driftline.FailedPrecondition, "feature view %q is no prediction log", view.Name).
				WithRef(driftline.ViewRef(view.Name)).WithHint(hint)
		}
		return []driftline.FeatureView{*view}, nil
	}
	logs := slices.DeleteFunc(e.registry.Views(), func(v driftline.FeatureView) bool { return v.Predictions == nil })
	if len(logs) == 0 {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "no feature view is a prediction log").WithHint(hint)
	}
	return logs, nil
}

// predictionIn returns the newest row of a prediction in a log, or nil.
func (e *Engine) predictionIn(ctx context.Context, log *driftline.FeatureView, id string) (arrow.RecordBatch, error) {
	literal := quoteText(id)
	if f, ok := columnNamed(log, log.Predictions.ID); ok && f.Type != driftline.String {
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, nil
		}
		literal = strconv.FormatInt(number, 10)
	}
	order := quoted(log.EventTimestamp) + " DESC"
	if log.CreatedTimestamp != "" {
		order += ", " + quoted(log.CreatedTimestamp) + " DESC NULLS LAST"
	}
	rows, err := e.SQL(ctx, fmt.Sprintf("SELECT * FROM %s.%s WHERE %s = %s ORDER BY %s LIMIT 1",
		schemaFeatures, quoted(string(log.Name.Exactly())), quoted(log.Predictions.ID), literal, order), nil)
	if err != nil {
		return nil, err
	}
	row, err := collected(e.mem, rows)
	if err != nil {
		return nil, err
	}
	if row.NumRows() == 0 {
		row.Release()
		return nil, nil
	}
	return row, nil
}

func columnNamed(view *driftline.FeatureView, name string) (driftline.Field, bool) {
	for _, f := range slices.Concat(view.JoinKeys, view.Features) {
		if f.Name == name {
			return f, true
		}
	}
	return driftline.Field{}, false
}

// rowTexts are the values of a row as texts, without the nulls.
func rowTexts(b arrow.RecordBatch, row int) map[string]string {
	texts := map[string]string{}
	for i, col := range b.Columns() {
		if col.IsValid(row) {
			texts[b.ColumnName(i)] = valueText(col, row)
		}
	}
	return texts
}

func valueText(col arrow.Array, row int) string {
	if t, ok := col.(*array.Timestamp); ok {
		return t.Value(row).ToTime(t.DataType().(*arrow.TimestampType).Unit).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
	}
	return col.ValueStr(row)
}

// tracer follows one prediction.
type tracer struct {
	engine *Engine
	ask    driftline.PredictionQuery
	log    *driftline.FeatureView
	row    arrow.RecordBatch // of the log: one row
	trace  *driftline.PredictionTrace
}

func (t *tracer) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(t.trace.Notes, text) {
		t.trace.Notes = append(t.trace.Notes, text)
	}
}

// missing makes a note of an error that says that something is not there any more. Any
// other error it returns.
func (t *tracer) missing(err error) error {
	switch driftline.CodeOf(err) {
	case driftline.NotFound, driftline.FailedPrecondition, driftline.Invalid:
		t.note("%v", err)
		return nil
	}
	return err
}

func (t *tracer) follow(ctx context.Context) error {
	at := t.row.Schema().FieldIndices(t.log.EventTimestamp)[0]
	t.trace.Time = t.row.Column(at).(*array.Timestamp).Value(0).ToTime(arrow.Microsecond).UTC()
	t.followRollout()
	datasets, err := t.followModel()
	if err != nil {
		return t.missing(err)
	}
	for _, ref := range datasets {
		d, err := t.dataset(ref)
		if err == nil {
			err = t.followDataset(ctx, d)
		}
		if err := t.missing(err); err != nil {
			return err
		}
	}
	return nil
}

// followRollout names the rollout that dealt the request, and its arm.
func (t *tracer) followRollout() {
	id := driftline.RolloutID(t.trace.Values[predictions.Rollout])
	if _, err := t.engine.registry.Rollout(id); err == nil {
		t.trace.Rollout, t.trace.Arm = driftline.RolloutRef(id), driftline.Arm(t.trace.Values[predictions.Arm])
	}
}

// followModel finds the model version and its run, and returns the datasets that it was
// trained on.
func (t *tracer) followModel() ([]driftline.Ref, error) {
	name, version := t.trace.Values[t.log.Predictions.Model], t.trace.Values[t.log.Predictions.Version]
	if name == "" || version == "" {
		t.note("the row of the prediction names no model version: columns %q and %q", t.log.Predictions.Model, t.log.Predictions.Version)
		return nil, nil
	}
	t.trace.Model = driftline.Ref{Kind: driftline.KindModel, Name: name, Version: version}
	model, err := t.engine.registry.ModelVersion(driftline.ModelName(name), version)
	if err != nil {
		return nil, err
	}
	t.trace.Model, t.trace.SHA256 = model.Ref(), model.Artifact.SHA256
	t.trace.Aliases = append(t.trace.Aliases, model.Aliases...)
	if model.Run == "" {
		t.note("%s was registered without a run", model.Ref())
	} else {
		t.trace.Run = driftline.RunRef(model.Run)
	}
	if model.Origin != nil {
		t.trace.Commit = model.Origin.Commit
	}
	return t.datasetsOf(model)
}

func (t *tracer) datasetsOf(model *driftline.ModelVersion) (refs []driftline.Ref, err error) {
	if model.Origin != nil {
		for _, d := range model.Origin.Datasets {
			refs = append(refs, d.Ref)
		}
	}
	if len(refs) == 0 && model.Run != "" {
		run, err := t.engine.registry.Run(model.Run)
		if err != nil {
			return nil, err
		}
		for _, ref := range run.Inputs {
			if ref.Kind == driftline.KindDataset {
				refs = append(refs, ref)
			}
		}
	}
	if len(refs) == 0 {
		t.note("%s names no dataset: its run read none that Driftline holds", model.Ref())
	}
	return refs, nil
}

func (t *tracer) dataset(ref driftline.Ref) (*driftline.Dataset, error) {
	version, err := versionOf(ref)
	if err != nil {
		return nil, err
	}
	return t.engine.registry.Dataset(driftline.DatasetName(ref.Name), version)
}

func (t *tracer) followDataset(ctx context.Context, d *driftline.Dataset) error {
	traced := driftline.TracedDataset{
		Dataset: d.Ref(), ContentHash: d.ContentHash, Rows: d.Report.Rows, Files: []driftline.TracedFile{},
		Sources: []driftline.TracedSource{}, Examples: []driftline.TracedRow{},
		Snapshot: driftline.SnapshotRef(d.Table(), d.Snapshot),
	}
	if d.Erased {
		t.note("an erasure took rows out of %s since: the hash and the rows are those that are left", d.Ref())
	}
	resolution, err := meantBy(d)
	if err == nil {
		err = t.features(ctx, d, resolution)
	}
	if err := t.missing(err); err != nil {
		return err
	}
	if err := t.missing(t.sources(ctx, d, &traced)); err != nil {
		return err
	}
	if err := t.missing(t.trainingRows(ctx, d, resolution, &traced)); err != nil {
		return err
	}
	t.trace.Datasets = append(t.trace.Datasets, traced)
	return nil
}

// meantBy is what the features of a dataset meant when it was made.
func meantBy(d *driftline.Dataset) (*registry.Resolution, error) {
	if len(d.Projections) == 0 {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "%s was saved by a driftline that did not keep how", d.Ref())
	}
	return registry.ResolveThen(d.Views, d.OnDemandViews, driftline.FeatureSet{Projections: d.Projections, FullFeatureNames: d.Request.FullFeatureNames})
}

// features puts the values that were served beside those of the offline store.
func (t *tracer) features(ctx context.Context, d *driftline.Dataset, then *registry.Resolution) error {
	set := driftline.FeatureSet{FullFeatureNames: true, Projections: t.lookedUp(d.Projections, then)}
	first := len(t.trace.Features)
	for _, p := range d.Projections {
		for _, name := range p.Features {
			t.addServed(p, name, d.Request.FullFeatureNames)
		}
	}
	if len(set.Projections) == 0 {
		return nil
	}
	req := driftline.HistoricalRequest{FeatureSet: set, EventTimestamp: pastTime, Strict: d.Request.Strict}
	offline, err := t.offlineValues(ctx, req)
	if err != nil {
		return err
	}
	req.KnownAt = true
	known, err := t.offlineValues(ctx, req)
	if err != nil {
		return err
	}
	sources, err := t.servedFrom(ctx, set, req)
	if err != nil {
		return err
	}
	at := first
	for _, p := range d.Projections {
		looked := slices.ContainsFunc(set.Projections, func(q driftline.Projection) bool { return q.Prefix() == p.Prefix() })
		for _, name := range p.Features {
			f := &t.trace.Features[at]
			at++
			if !looked {
				continue
			}
			column := p.OutputName(name, true)
			f.Offline, f.Known = textOf(offline, column), textOf(known, column)
			f.Differs = f.Logged && !sameText(f.Served, f.Known) && !sameText(f.Served, f.Offline)
			f.Source = sources[p.Prefix()]
			if f.Offline == nil {
				f.Source = nil
			}
		}
	}
	t.trace.Features = withoutRepeats(t.trace.Features, first)
	return nil
}

// withoutRepeats leaves out what features from a place on say that those before said: most datasets of a run have
// the same features.
func withoutRepeats(features []driftline.TracedFeature, from int) []driftline.TracedFeature {
	kept := features[:from]
	for _, f := range features[from:] {
		if !slices.ContainsFunc(features[:from], func(g driftline.TracedFeature) bool { return reflect.DeepEqual(f, g) }) {
			kept = append(kept, f)
		}
	}
	return kept
}

// addServed adds a feature with the value that the log has for it.
func (t *tracer) addServed(p driftline.Projection, name string, full bool) {
	f := driftline.TracedFeature{Name: p.OutputName(name, full), Feature: string(p.View) + ":" + name}
	for _, column := range []string{f.Name, p.OutputName(name, true), name} {
		if at := t.row.Schema().FieldIndices(column); len(at) > 0 {
			f.Logged, f.Served = true, textOf(t.trace.Values, column)
			break
		}
	}
	t.trace.Features = append(t.trace.Features, f)
}

// lookedUp are the projections for whose views the log has all join keys.
func (t *tracer) lookedUp(projections []driftline.Projection, then *registry.Resolution) []driftline.Projection {
	missing := map[string]string{}
	for _, r := range then.Reads {
		for _, key := range r.View.JoinKeys {
			if column := r.Projection.KeyColumn(key.Name); t.trace.Values[column] == "" {
				missing[r.Projection.Prefix()] = column
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(projections), func(p driftline.Projection) bool {
		column, ok := missing[p.Prefix()]
		if ok {
			t.note("the row of the prediction has no %q, so what %s had offline cannot be looked up", column, p.View)
		}
		return ok
	})
}

// spine is the row of the prediction as a row to be joined: without the columns of features.
func (t *tracer) spine() arrow.RecordBatch {
	fields, columns := []arrow.Field{}, []arrow.Array{}
	for i, f := range t.row.Schema().Fields() {
		if f.Name == t.log.EventTimestamp {
			f = arrow.Field{Name: pastTime, Type: driftline.Time, Nullable: true}
		}
		fields, columns = append(fields, f), append(columns, t.row.Column(i))
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 1)
}

// offlineValues are the features of the prediction's entity at its time, by full name.
func (t *tracer) offlineValues(ctx context.Context, req driftline.HistoricalRequest) (map[string]string, error) {
	whole := t.spine()
	defer whole.Release()
	spine := withoutColumns(whole, func(name string) bool {
		return slices.ContainsFunc(req.Projections, func(p driftline.Projection) bool { return strings.HasPrefix(name, p.Prefix()+"__") })
	})
	defer spine.Release()
	set, err := t.engine.Historical(ctx, req, driftline.BatchesOf(spine.Schema(), spine))
	if err != nil {
		return nil, err
	}
	row, err := collected(t.engine.mem, set.Batches)
	if err != nil {
		return nil, err
	}
	defer row.Release()
	return rowTexts(row, 0), nil
}

// withoutColumns returns b without some columns. The caller releases it.
func withoutColumns(b arrow.RecordBatch, drop func(name string) bool) arrow.RecordBatch {
	var fields []arrow.Field
	var columns []arrow.Array
	for i, f := range b.Schema().Fields() {
		if !drop(f.Name) {
			fields, columns = append(fields, f), append(columns, b.Column(i))
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, b.NumRows())
}

func textOf(values map[string]string, name string) *string {
	if text, ok := values[name]; ok {
		return &text
	}
	return nil
}

// sameText reports whether two values are one. Numbers may be written in two ways.
func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	if *a == *b {
		return true
	}
	x, errX := strconv.ParseFloat(*a, 64)
	y, errY := strconv.ParseFloat(*b, 64)
	return errX == nil && errY == nil && (x == y || float32(x) == float32(y))
}
