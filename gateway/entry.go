package gateway

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
	"github.com/driftline/driftline/routing"
)

// entry is a request that was dealt and what became of it, on its way into the log.
type entry struct {
	call     *call
	route    driftline.Route
	decision routing.Decision
	prepared *prepared // nil if it did not get so far

	answer   *wire.Answer // that left; nil for none
	members  []member     // whose average it is; nil for none
	version  int
	status   int
	fault    driftline.Fault // of the arm
	fellBack bool
	took     time.Duration // of the arm
}

// finish logs a request, after it was mirrored if it is to be.
func (g *Gateway) finish(ctx context.Context, e *entry) {
	g.metrics.count(e)
	if len(e.decision.Mirror) > 0 && g.mirrors.take(e) {
		return
	}
	g.write(ctx, e, nil)
}

// write makes the records of a request, one for each row, and logs them. What the request was given is then
// given back.
func (g *Gateway) write(ctx context.Context, e *entry, mirrored *outcome) {
	defer e.prepared.giveBack()
	records := make([]driftline.PredictionRecord, max(1, e.rows()))
	for row := range records {
		e.record(&records[row], row, len(records), mirrored)
	}
	if err := g.engine.LogPredictions(context.WithoutCancel(ctx), records); err != nil {
		g.metrics.unlogged.Add(float64(len(records)))
		g.log.ErrorContext(ctx, "predictions are not logged", "model", string(e.call.model), "error", err)
	}
}

// rows is how many predictions the request asks for.
func (e *entry) rows() int {
	if e.call.request.Table {
		return e.call.request.Rows
	}
	return 1
}

func (e *entry) record(r *driftline.PredictionRecord, row, rows int, mirrored *outcome) {
	r.ID, r.Key = e.call.id, e.call.key
	if rows > 1 {
		r.ID += "-" + strconv.Itoa(row)
		r.Key = e.call.dealtBy() // its rows were dealt together
	}
	r.Time, r.Model, r.Version, r.Status = e.call.time, e.call.model, e.version, e.status
	r.Arm, r.Route, r.Rollout, r.Pinned = e.decision.Arm, e.decision.Route, e.route.Salt, e.decision.Pinned
	r.FellBack, r.Fault, r.Latency = e.fellBack, e.fault, driftline.Duration(e.took)
	e.inputs(r, row)
	if e.answer != nil {
		reading := e.answer.Read(row, rowsIn(e, rows))
		r.Output = json.RawMessage(e.answer.AppendRow(nil, row, rowsIn(e, rows)))
		r.Prediction, r.Score, r.Values = reading.Prediction, reading.Score, reading.Values
		e.memberValues(r, row, rowsIn(e, rows))
	}
	if mirrored != nil {
		r.Mirror = mirrorAnswer(e, mirrored, r.Prediction, row, rowsIn(e, rows))
	}
}

// memberValues gives a record what each version of an average said, by which their shares can be estimated anew.
func (e *entry) memberValues(r *driftline.PredictionRecord, row, rows int) {
	for _, m := range e.members {
		reading := m.answer.Read(row, rows)
		value, ok := number(reading.Prediction)
		if reading.Score != nil {
			value, ok = *reading.Score, true
		}
		if !ok {
			continue
		}
		if r.Values == nil {
			r.Values = make(map[string]float64, len(e.members))
		}
		r.Values[driftline.MixtureValue(m.version)] = value
	}
}

// rowsIn is how many rows the answer has, 0 if nobody knows.
func rowsIn(e *entry, rows int) int {
	if e.call.request.Table {
		return rows
	}
	return 0
}

// inputs gives a record what the model was given, if it has names.
func (e *entry) inputs(r *driftline.PredictionRecord, row int) {
	asked := e.call.request
	if !asked.Table {
		return
	}
	given := asked
	var keys []string
	if e.prepared != nil {
		given, keys = e.prepared.request, e.prepared.keys
	}
	if len(given.Inputs) > 0 {
		r.Features = make(map[string]any, len(given.Inputs))
	}
	for i := range given.Inputs {
		value := wire.Any(given.Inputs[i].Cells[row])
		if text, ok := value.(string); ok && given != asked {
			value = strings.Clone(text) // what was looked up is given back
		}
		r.Features[given.Inputs[i].Name] = value
	}
	if len(keys) == 0 {
		return
	}
	r.Entity = make(map[string]any, len(keys))
	for _, key := range keys {
		r.Entity[key] = wire.Any(asked.Input(key).Cells[row])
	}
}

func mirrorAnswer(e *entry, o *outcome, first any, row, rows int) *driftline.MirrorAnswer {
	m := &driftline.MirrorAnswer{Version: e.decision.Mirror[0].Version, Fault: o.fault, Latency: driftline.Duration(o.took)}
	if o.answer != nil {
		reading := o.answer.Read(row, rows)
		m.Prediction, m.Score, m.Values = reading.Prediction, reading.Score, reading.Values
		m.Differs = differ(first, reading.Prediction)
	}
	return m
}

// differ reports whether two predictions are not the same: numbers may differ in what
// rounding makes of them.
func differ(a, b any) bool {
	x, xok := number(a)
	y, yok := number(b)
	if xok && yok {
		const rounding = 1e-6
		return max(x-y, y-x) > rounding*max(1, x, -x, y, -y)
	}
	return a != b
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
