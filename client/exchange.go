package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/driftline/driftline"
)

// TrainingSet is the answer to [Client.Historical]. Range over Batches once, or
// Close it; then Report says what was found.
type TrainingSet struct {
	Batches driftline.Batches

	exchange *exchange
	report   driftline.HistoricalReport
}

// Report is complete once the range over Batches has ended without an error.
func (t *TrainingSet) Report() driftline.HistoricalReport { return t.report }

// Close ends the call if the range over Batches has not. It is safe to call twice.
func (t *TrainingSet) Close() { t.exchange.close() }

// Historical joins features to a spine as of each row's time. The spine is sent
// while the answer is read, from a goroutine that ends when the range ends. A spine
// that request names is the server's own, and spine is then zero.
func (c *Client) Historical(ctx context.Context, request driftline.HistoricalRequest, spine driftline.Batches) (*TrainingSet, error) {
	if spine.Schema == nil {
		spine = driftline.BatchesOf(arrow.NewSchema(nil, nil))
	}
	x, err := c.startExchange(ctx, struct {
		Op string `json:"op"`
		driftline.HistoricalRequest
	}{"historical", request}, spine)
	if err != nil {
		return nil, err
	}
	set := &TrainingSet{exchange: x}
	set.Batches = driftline.Batches{Schema: x.reader.Schema(), All: func(yield func(arrow.RecordBatch, error) bool) {
		defer x.close()
		if err := x.receive(&set.report, yield); err != nil {
			yield(nil, err)
		}
	}}
	return set, nil
}

// DriftTable is one side of a comparison of rows that the caller has.
type DriftTable struct {
	Name    string // as the report shows it
	Rows    int64  // that Batches yields
	Batches driftline.Batches
}

// DriftRows compares two tables that the server does not have, over the columns
// that both have.
func (c *Client) DriftRows(ctx context.Context, options driftline.DriftOptions, reference, current DriftTable) (*driftline.DriftReport, error) {
	rows, err := concatenate(reference.Batches, current.Batches)
	if err != nil {
		return nil, err
	}
	x, err := c.startExchange(ctx, struct {
		Op            string `json:"op"`
		ReferenceRows int64  `json:"reference_rows"`
		ReferenceName string `json:"reference_name"`
		CurrentName   string `json:"current_name"`
		driftline.DriftOptions
	}{"drift", reference.Rows, reference.Name, current.Name, options}, rows)
	if err != nil {
		return nil, err
	}
	defer x.close()
	report := new(driftline.DriftReport)
	if err := x.receive(report, func(arrow.RecordBatch, error) bool { return true }); err != nil {
		return nil, err
	}
	return report, nil
}

// ValidateRows checks rows that the server does not have.
func (c *Client) ValidateRows(ctx context.Context, name string, rows driftline.Batches, checks []driftline.Check) (*driftline.ValidationReport, error) {
	x, err := c.startExchange(ctx, struct {
		Op     string            `json:"op"`
		Name   string            `json:"name"`
		Checks []driftline.Check `json:"checks"`
	}{"validate", name, checks}, rows)
	if err != nil {
		return nil, err
	}
	defer x.close()
	report := new(driftline.ValidationReport)
	if err := x.receive(report, func(arrow.RecordBatch, error) bool { return true }); err != nil {
		return nil, err
	}
	return report, nil
}

// exchange is one DoExchange call whose request rows a goroutine sends.
type exchange struct {
	reader *flight.Reader
	cancel context.CancelFunc
	sent   chan struct{} // closed when the goroutine has ended
	failed error         // of sending; read it after sent is closed
	closed bool
}

func (c *Client) startExchange(ctx context.Context, command any, rows driftline.Batches) (*exchange, error) {
	descriptor, err := commandDescriptor(command)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.flight.DoExchange(ctx)
	if err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	x := &exchange{cancel: cancel, sent: make(chan struct{})}
	go func() {
		defer close(x.sent)
		if x.failed = sendBatches(stream, descriptor, rows, nil); x.failed != nil {
			cancel()
		}
	}()
	x.reader, err = flight.NewRecordReader(stream)
	if err != nil {
		x.close()
		return nil, x.cause(err)
	}
	return x, nil
}

// receive yields the batches that have rows and decodes the last message's
// metadata into trailer. It returns what ended the stream early, except a false yield.
func (x *exchange) receive(trailer any, yield func(arrow.RecordBatch, error) bool) error {
	var last []byte
	for x.reader.Next() {
		batch := x.reader.RecordBatch()
		last = x.reader.LatestAppMetadata()
		if batch.NumRows() > 0 && !yield(batch, nil) {
			return nil
		}
	}
	if err := x.reader.Err(); err != nil {
		x.cancel()
		<-x.sent
		return x.cause(err)
	}
	if err := json.Unmarshal(last, trailer); err != nil {
		return driftline.Errorf(driftline.Internal, "cannot read the end of the server's answer: %w", err)
	}
	return nil
}

// cause prefers the failure of the caller's own rows to the cancellation that followed it.
func (x *exchange) cause(err error) error {
	if x.failed != nil && !errors.Is(x.failed, context.Canceled) {
		return x.failed
	}
	return fromStatus(err)
}

// close ends the call and waits for the sending goroutine.
func (x *exchange) close() {
	if x.closed {
		return
	}
	x.closed = true
	x.cancel()
	<-x.sent
	if x.reader != nil {
		x.reader.Release()
	}
}

// concatenate yields the rows of both, projected to the columns that both have.
func concatenate(first, second driftline.Batches) (driftline.Batches, error) {
	var fields []arrow.Field
	for _, field := range first.Schema.Fields() {
		others, ok := second.Schema.FieldsByName(field.Name)
		if !ok {
			continue
		}
		if !arrow.TypeEqual(field.Type, others[0].Type) {
			return driftline.Batches{}, driftline.Errorf(driftline.Invalid,
				"column %q is %s in the reference and %s in the current data", field.Name, field.Type, others[0].Type).
				WithHint("give both sides the same type, or exclude the column")
		}
		field.Nullable = true
		fields = append(fields, field)
	}
	schema := arrow.NewSchema(fields, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for _, side := range []driftline.Batches{first, second} {
			for batch, err := range side.All {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yieldProjected(schema, batch, yield) {
					return
				}
			}
		}
	}}, nil
}

func yieldProjected(schema *arrow.Schema, batch arrow.RecordBatch, yield func(arrow.RecordBatch, error) bool) bool {
	columns := make([]arrow.Array, schema.NumFields())
	for i, field := range schema.Fields() {
		columns[i] = batch.Column(slices.IndexFunc(batch.Schema().Fields(), func(f arrow.Field) bool { return f.Name == field.Name }))
	}
	projected := array.NewRecordBatch(schema, columns, batch.NumRows())
	defer projected.Release()
	return yield(projected, nil)
}
