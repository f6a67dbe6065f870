package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
	"github.com/driftline/driftline/query"
)

// schemaPredictions has a table for each model with a prediction log: its predictions, each
// once, with the label that each has by now.
const schemaPredictions = "predictions"

// LogLabels takes in labels of a model's predictions: all of them, durably, or none. They may
// come late, twice, corrected, and before their prediction. Which label a prediction has is
// decided by the rows when it is asked, see [predictions.Joined], so there is nothing to repair
// afterwards. Sent again with the same idempotency key they change nothing.
//
// A label from the future, and one that does not say what it is of, is Invalid.
func (e *Engine) LogLabels(ctx context.Context, model driftline.ModelName, labels []driftline.Label, idempotencyKey string) (driftline.LabelReceipt, error) {
	receipt := driftline.LabelReceipt{Model: model, View: predictions.LabelsName(model)}
	now := e.now()
	for i := range labels {
		if err := predictions.CheckLabel(&labels[i], now); err != nil {
			return receipt, driftline.Errorf(driftline.Invalid, "label %d: %w", i, err)
		}
	}
	if err := e.ensureLabels(ctx, model); err != nil {
		return receipt, err
	}
	view, err := e.registry.SharedView(receipt.View)
	if err != nil {
		return receipt, err
	}
	content := ""
	if idempotencyKey != "" { // without the times that are filled in here
		text, err := json.Marshal(labels)
		if err != nil {
			return receipt, driftline.Errorf(driftline.Invalid, "the labels are nothing that JSON can say: %w", err)
		}
		content = fmt.Sprintf("%x", sha256.Sum256(text))
	}
	rows := predictions.LabelRows(e.mem, view.Schema(), labels, now)
	defer rows.Release()
	result, err := e.ingest(ctx, view.Name, writeOptions{target: driftline.BothStores, key: idempotencyKey, content: content},
		driftline.BatchesOf(rows.Schema(), rows))
	receipt.Labels, receipt.Duplicate = result.Rows, result.Duplicate
	return receipt, err
}

// ensureLabels makes the views of a model's labels, and of its predictions, unless they are there.
func (e *Engine) ensureLabels(ctx context.Context, model driftline.ModelName) error {
	name := predictions.LabelsName(model)
	if _, err := e.registry.SharedView(name); err == nil {
		return nil
	}
	defer e.predictions.making.lock(string(model))()
	if view, err := e.registry.SharedView(name); err == nil {
		if view.Tags[predictions.MadeTag] == "" {
			return driftline.Errorf(driftline.FailedPrecondition, "feature view %q is not made for labels of model %q", name, model).
				WithRef(driftline.ViewRef(name)).WithHint("labels of a model go there by its name: give the view another one")
		}
		return nil
	}
	if err := e.ensureLogView(ctx, model); err != nil {
		return err
	}
	const entity = "label"
	defs := driftline.Definitions{FeatureViews: []driftline.FeatureView{predictions.LabelsView(model, entity)}}
	if _, err := e.registry.Entity(entity); err != nil {
		defs.Entities = []driftline.Entity{predictions.LabelEntity(entity)}
	}
	_, err := e.Apply(ctx, defs)
	return err
}

// joinedText is the SELECT of a model's predictions with their labels.
func (e *Engine) joinedText(model driftline.ModelName) (string, *driftline.FeatureView, error) {
	view, err := e.registry.SharedView(predictions.LogName(model))
	if err != nil {
		if _, err := e.PredictionLog(model); err != nil { // which says what is missing
			return "", nil, err
		}
		return "", nil, err
	}
	if view.Predictions == nil {
		return "", nil, notALog(view.Name)
	}
	table := func(name driftline.ViewName) string { return schemaFeatures + "." + quoted(string(name)+latestSuffix) }
	labels := ""
	if l, err := e.registry.SharedView(predictions.LabelsName(model)); err == nil && l.Tags[predictions.MadeTag] != "" {
		labels = table(l.Name)
	}
	entity, ok := view.Feature(predictions.Entity)
	return predictions.Joined(table(view.Name), labels, quoted(view.Predictions.ID), quoted(view.EventTimestamp), ok && entity.Type == driftline.String), view, nil
}

// modelCalled finds a model by the name that SQL gives it, without case.
func (e *Engine) modelCalled(name string) driftline.ModelName {
	model := driftline.ModelName(name)
	if _, err := e.registry.Model(model); err != nil {
		for _, m := range e.registry.Models() {
			if strings.EqualFold(string(m.Name), name) {
				model = m.Name
			}
		}
	}
	return model
}

// predictionsTable is the table of a model's predictions and labels.
func (e *Engine) predictionsTable(ctx context.Context, name query.TableName) (query.Table, error) {
	text, _, err := e.joinedText(e.modelCalled(name.Name))
	if err != nil {
		return query.Table{}, err
	}
	selection, err := e.query.ParseSelect(ctx, text)
	if err != nil {
		return query.Table{}, err
	}
	within := query.WithinSelect(ctx)
	schema, err := e.selectSchema(within, selection)
	if err != nil {
		return query.Table{}, err
	}
	return query.Table{Batches: func() driftline.Batches {
		return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
			rows, err := e.runSelect(within, selection, nil)
			if err != nil {
				yield(nil, err)
				return
			}
			rows.All(yield)
		}}
	}}, nil
}

// predictionsSchema is the schema of the table of a model, false if it has none.
func (e *Engine) predictionsSchema(model driftline.ModelName) (*arrow.Schema, bool) {
	view, err := e.registry.SharedView(predictions.LogName(model))
	if err != nil || view.Predictions == nil {
		return nil, false
	}
	return arrow.NewSchema(append(view.Schema().Fields(), predictions.LabelFields...), nil), true
}

const (
	mostLabelDays = 400
	day           = 24 * time.Hour
)

// delaySteps are the bounds of [driftline.LabelDelay.Counts].
var delaySteps = []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day}

// Labels says how many of a model's predictions since a time have a label by now, and how late
// labels come. A zero time means all.
func (e *Engine) Labels(ctx context.Context, model driftline.ModelName, since time.Time) (*driftline.LabelStatus, error) {
	text, view, err := e.joinedText(model)
	if err != nil {
		return nil, err
	}
	s := &driftline.LabelStatus{Model: model, Days: []driftline.LabelledDay{}, Delay: driftline.LabelDelay{Counts: []driftline.DelayCount{}}}
	where := ""
	if !since.IsZero() {
		where = " WHERE made >= " + timeLiteral(since)
	}
	const labelled = "(label IS NOT NULL OR label_text IS NOT NULL)"
	joined := fmt.Sprintf("WITH j AS (SELECT %s AS made, labelled_at, %s AS labelled, epoch_us(labelled_at) - epoch_us(%[1]s) AS delay FROM (%[3]s))",
		quoted(view.EventTimestamp), labelled, text)
	err = e.eachRow(ctx, joined+` SELECT count(*), count(*) FILTER (labelled), count(*) FILTER (labelled AND delay < 0),
		min(delay) FILTER (labelled), quantile_disc(delay, 0.5) FILTER (labelled), quantile_disc(delay, 0.9) FILTER (labelled),
		quantile_disc(delay, 0.99) FILTER (labelled), max(delay) FILTER (labelled) FROM j`+where, func(v []int64) {
		s.Predictions, s.Labelled, s.Early = v[0], v[1], v[2]
		of := func(us int64) driftline.Duration { return driftline.Duration(time.Duration(us) * time.Microsecond) }
		s.Delay.Least, s.Delay.Median, s.Delay.P90, s.Delay.P99, s.Delay.Most = of(v[3]), of(v[4]), of(v[5]), of(v[6]), of(v[7])
	})
	if err != nil {
		return nil, err
	}
	if err := e.labelDays(ctx, joined, where, s); err != nil {
		return nil, err
	}
	if _, err := e.registry.SharedView(predictions.LabelsName(model)); err != nil {
		return s, nil
	}
	s.View = predictions.LabelsName(model)
	return s, e.labelCounts(ctx, joined, where, text, view, s)
}

// LatestPredictions returns the last predictions of a model, the newest first, each with the label
// that it has by now: limit at most.
func (e *Engine) LatestPredictions(ctx context.Context, model driftline.ModelName, limit int) (driftline.Batches, error) {
	text, view, err := e.joinedText(model)
	if err != nil {
		return driftline.Batches{}, err
	}
	return e.SQL(ctx, fmt.Sprintf("SELECT * FROM (%s) ORDER BY %s DESC LIMIT %d", text, quoted(view.EventTimestamp), limit), nil)
}

func (e *Engine) labelDays(ctx context.Context, joined, where string, s *driftline.LabelStatus) error {
	return e.eachRow(ctx, joined+fmt.Sprintf(` SELECT * FROM (SELECT epoch_us(made) // %d AS d, count(*), count(*) FILTER (labelled) FROM j%s
		GROUP BY d ORDER BY d DESC LIMIT %d) ORDER BY d`, day.Microseconds(), where, mostLabelDays), func(v []int64) {
		s.Days = append(s.Days, driftline.LabelledDay{Day: time.UnixMicro(v[0] * day.Microseconds()).UTC(), Predictions: v[1], Labelled: v[2]})
	})
}

// labelCounts counts labels, and their delays.
func (e *Engine) labelCounts(ctx context.Context, joined, where, text string, view *driftline.FeatureView, s *driftline.LabelStatus) error {
	steps := make([]string, len(delaySteps))
	for i, step := range delaySteps {
		steps[i] = strconv.FormatInt(step.Microseconds(), 10)
	}
	counts := make([]int64, len(delaySteps)+1)
	both := "labelled"
	if where != "" {
		both = strings.TrimPrefix(where, " WHERE ") + " AND labelled"
	}
	err := e.eachRow(ctx, joined+fmt.Sprintf(" SELECT len(list_filter([%s], x -> x < delay)) AS step, count(*) FROM j WHERE %s GROUP BY step",
		strings.Join(steps, ", "), both), func(v []int64) { counts[v[0]] = v[1] })
	if err != nil {
		return err
	}
	first, last := len(counts), -1
	for i, n := range counts {
		if n > 0 {
			first, last = min(first, i), i
		}
	}
	for i := first; i <= last; i++ {
		c := driftline.DelayCount{Labels: counts[i]}
		if i < len(delaySteps) {
			c.Within = driftline.Duration(delaySteps[i])
		}
		s.Delay.Counts = append(s.Delay.Counts, c)
	}
	labels := schemaFeatures + "." + quoted(string(s.View))
	latest := schemaFeatures + "." + quoted(string(s.View)+latestSuffix)
	entity, _ := view.Feature(predictions.Entity)
	return e.eachRow(ctx, predictions.Orphans(schemaFeatures+"."+quoted(string(view.Name)+latestSuffix), labels, latest,
		quoted(view.Predictions.ID), quoted(view.EventTimestamp), entity.Type == driftline.String), func(v []int64) {
		s.Labels, s.Withdrawn, s.Superseded, s.Orphans = v[0], v[1], v[2], v[3]
	})
}

// eachRow calls visit with each row of a SELECT of whole numbers; null is 0.
func (e *Engine) eachRow(ctx context.Context, text string, visit func([]int64)) error {
	rows, err := e.SQL(ctx, text, nil)
	if err != nil {
		return err
	}
	for b, err := range rows.All {
		if err != nil {
			return err
		}
		values := make([]int64, b.NumCols())
		for i := range int(b.NumRows()) {
			for j, c := range b.Columns() {
				values[j] = 0
				if n, ok := c.(*array.Int64); ok && n.IsValid(i) {
					values[j] = n.Value(i)
				}
			}
			visit(values)
		}
	}
	return nil
}
