package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/driftline/driftline"
)

// maxBatchBytes is the size that batches are split to before they are sent.
const maxBatchBytes = 2 << 20

// batchSender is what DoPut and DoExchange streams share.
type batchSender interface {
	flight.DataStreamWriter
	CloseSend() error
}

// Ingest writes rows to a feature view. When it returns without an error the rows
// are durable, and visible online and offline. The same idempotencyKey makes a
// retry safe: the rows are written once. "" means that there will be no retry.
func (c *Client) Ingest(ctx context.Context, view driftline.ViewName, idempotencyKey string, rows driftline.Batches) (driftline.IngestResult, error) {
	return c.IngestTo(ctx, view, "", idempotencyKey, rows)
}

// IngestTo is [Client.Ingest] to one store only, if target says so: offline rows are served
// once they are materialized, online rows are in no training set.
func (c *Client) IngestTo(ctx context.Context, view driftline.ViewName, target driftline.Target, idempotencyKey string, rows driftline.Batches) (driftline.IngestResult, error) {
	var result driftline.IngestResult
	descriptor, err := commandDescriptor(struct {
		Op             string             `json:"op"`
		View           driftline.ViewName `json:"view"`
		To             driftline.Target   `json:"to,omitempty"`
		IdempotencyKey string             `json:"idempotency_key,omitempty"`
		Marked         bool               `json:"marked"`
	}{"ingest", view, target, idempotencyKey, true})
	if err != nil {
		return result, err
	}
	err = c.put(ctx, descriptor, rows, endMarker, &result)
	return result, err
}

// put sends rows and reads the answer to them.
func (c *Client) put(ctx context.Context, descriptor *flight.FlightDescriptor, rows driftline.Batches, marker []byte, answer any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.flight.DoPut(ctx)
	if err != nil {
		return fromStatus(err)
	}
	if err := sendBatches(stream, descriptor, rows, marker); err != nil {
		return err
	}
	for {
		received, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromStatus(err)
		}
		if err := json.Unmarshal(received.AppMetadata, answer); err != nil {
			return driftline.Errorf(driftline.Internal, "cannot read the server's answer: %w", err)
		}
	}
}

// PointsSchema is that of the rows of [Client.LogHistory].
var PointsSchema = arrow.NewSchema([]arrow.Field{
	{Name: "key", Type: arrow.BinaryTypes.String}, {Name: "value", Type: arrow.PrimitiveTypes.Float64},
	{Name: "step", Type: arrow.PrimitiveTypes.Int64}, {Name: "time", Type: arrow.FixedWidthTypes.Timestamp_us},
}, nil)

// LogHistory logs many points of the metrics of a running run, and returns how many. The
// columns are those of [PointsSchema]; step and time may be left out, and keys may be a
// dictionary. After an error some of the points may be logged; logging them again is safe.
func (c *Client) LogHistory(ctx context.Context, id driftline.RunID, points driftline.Batches) (int64, error) {
	descriptor, err := commandDescriptor(struct {
		Op  string          `json:"op"`
		Run driftline.RunID `json:"run"`
	}{"metrics", id})
	if err != nil {
		return 0, err
	}
	var answer struct {
		Points int64 `json:"points"`
	}
	err = c.put(ctx, descriptor, points, nil, &answer)
	return answer.Points, err
}

// Written returns the answer that the write with this idempotency key got. It is
// NotFound if no write with the key was acknowledged.
func (c *Client) Written(ctx context.Context, view driftline.ViewName, idempotencyKey string) (driftline.IngestResult, error) {
	var result driftline.IngestResult
	err := c.call(ctx, http.MethodGet, path("feature-views", string(view), "writes", idempotencyKey), nil, &result)
	return result, err
}

// endMarker says that the rows before it are all. Without it the server takes none,
// because a stream also ends when its source fails.
var endMarker = []byte(`{"end": true}`)

// sendBatches sends all rows, the marker if there is one, and ends the sending side. A server that ends the
// call early is no error here: receiving tells why. An error of rows is
// returned as it is, and the caller cancels the call.
func sendBatches(stream batchSender, descriptor *flight.FlightDescriptor, rows driftline.Batches, marker []byte) error {
	writer := flight.NewRecordWriter(stream, ipc.WithSchema(rows.Schema))
	writer.SetFlightDescriptor(descriptor)
	for batch, err := range rows.All {
		if err != nil {
			_ = writer.Close()
			return err
		}
		if err := sendSplit(writer, batch); err != nil {
			_ = writer.Close()
			return endedEarly(err)
		}
	}
	if err := writer.Close(); err != nil {
		return endedEarly(err)
	}
	if marker != nil {
		if err := stream.Send(&flight.FlightData{AppMetadata: marker}); err != nil {
			return endedEarly(err)
		}
	}
	return fromStatus(stream.CloseSend())
}

func sendSplit(writer *flight.Writer, batch arrow.RecordBatch) error {
	for piece := range driftline.SplitBatch(batch, maxBatchBytes) {
		if err := writer.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

func endedEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fromStatus(err)
}
