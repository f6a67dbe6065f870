package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/gateway/internal/wire"
)

// Scorer asks model servers what they make of rows that nobody else asks about, as an evaluation does. It needs no
// engine, so that one can be opened with it. Safe for concurrent use.
type Scorer struct{ client *http.Client }

// NewScorer makes a scorer that reaches what a gateway with the same networks does.
func NewScorer(networks []netip.Prefix) *Scorer { return &Scorer{newClient(networks)} }

// Close gives connections back.
func (s *Scorer) Close() { s.client.CloseIdleConnections() }

// Score is an [engine.ScoreFunc]. An answer takes no longer than the server's timeout, and ends with ctx.
func (s *Scorer) Score(ctx context.Context, of engine.ScoredVersion, rows arrow.RecordBatch) (*engine.Scores, error) {
	t := &target{version: of.Version, signature: of.Signature}
	t.backend = newBackend(of.Version.Ref(), of.Version.Server.WithDefaults(), s.client, defaultMaxAnswer, func(*backend) {})
	inputs, err := tensors(rows)
	if err != nil {
		return nil, err
	}
	body := t.body(nil, &wire.Request{Protocol: driftline.ProtocolOIP, Inputs: inputs, Table: true, Rows: int(rows.NumRows())})
	if len(body) > MaxBody {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "%d rows have more than %d MiB, which no model server is sent at once", rows.NumRows(), MaxBody>>20).
			WithHint("log the predictions, or give the model fewer columns")
	}
	began := time.Now()
	answer, err := t.backend.scored(ctx, body, int(rows.NumRows()), of.Signature.Outputs)
	if err != nil {
		return nil, err
	}
	found := &engine.Scores{Took: time.Since(began)}
	found.Predictions, found.Scores = answer.Numbers(int(rows.NumRows()))
	return found, nil
}

// scored asks without a circuit: whoever evaluates wants to know, and does not ask again and again.
func (b *backend) scored(ctx context.Context, body []byte, rows int, outputs []driftline.SignatureColumn) (*wire.Answer, error) {
	limited, cancel := context.WithTimeout(ctx, time.Duration(b.server.Timeout))
	defer cancel()
	o, reached := b.turn(limited, newID(time.Now()), body)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if o.fault == "" {
		o.check(rows, outputs)
	}
	if o.fault == "" {
		return o.answer, nil
	}
	at := b.ref.Name + "@" + b.ref.Version
	code, hint := driftline.FailedPrecondition, "ask it about such rows yourself; it is served at "+b.server.URL
	switch {
	case o.fault == driftline.FaultOurs:
		code, hint = driftline.Permission, "allow its network with driftline serve --model-networks"
	case o.fault == driftline.FaultTimeout:
		code, hint = driftline.Unavailable, "give it more time: driftline models serve-at "+at+" "+b.server.URL+" --timeout 1m"
	case !reached:
		code, hint = driftline.Unavailable, "start it, or say where it answers now: driftline models serve-at "+at+" URL"
	}
	return nil, driftline.Errorf(code, "%s gave no answer (%s): %s", b.ref, o.fault, o.why).WithRef(b.ref).WithHint("%s", hint)
}

// tensors are the columns of rows, as a request has them.
func tensors(rows arrow.RecordBatch) ([]wire.Tensor, error) {
	columns := make([]wire.Tensor, rows.NumCols())
	for i, field := range rows.Schema().Fields() {
		cells, err := columnCells(rows.Column(i))
		if err != nil {
			return nil, driftline.Errorf(driftline.FailedPrecondition, "column %q is %s, which no model server takes", field.Name, field.Type).
				WithHint("leave it out: name the model's columns in its signature, or in the gate: inputs: [temp, wind]")
		}
		columns[i] = wire.Tensor{Name: field.Name, Shape: []int64{rows.NumRows()}, Cells: cells}
		if kind, ok := driftline.TypeOf(field.Type); ok {
			columns[i].Datatype = datatypeOf(kind)
		}
	}
	return columns, nil
}

// columnCells writes a column as the gateway writes features that it looked up.
func columnCells(column arrow.Array) ([]string, error) {
	cells := make([]string, column.Len())
	nested := ""
	for row := range cells {
		if column.IsNull(row) {
			cells[row] = "null"
			continue
		}
		switch a := column.(type) {
		case *array.Boolean:
			cells[row] = strconv.FormatBool(a.Value(row))
		case *array.Int32:
			cells[row] = strconv.FormatInt(int64(a.Value(row)), 10)
		case *array.Int64:
			cells[row] = strconv.FormatInt(a.Value(row), 10)
		case *array.Float32:
			cells[row] = string(wire.AppendFloat(nil, float64(a.Value(row))))
		case *array.Float64:
			cells[row] = string(wire.AppendFloat(nil, a.Value(row)))
		case *array.String:
			cells[row] = wire.Quote(a.Value(row))
		case *array.Binary:
			cells[row] = wire.Quote(string(a.Value(row)))
		case *array.Timestamp:
			at := a.Value(row).ToTime(a.DataType().(*arrow.TimestampType).Unit)
			cells[row] = wire.Quote(at.UTC().Format(time.RFC3339Nano))
		default:
			if nested == "" {
				text, err := json.Marshal(column)
				if err != nil {
					return nil, err
				}
				nested = string(text)
			}
			cells[row] = wire.Element(nested, row)
		}
	}
	return cells, nil
}
