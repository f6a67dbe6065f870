package flight

import (
	"context"
	"encoding/json"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/driftline/driftline"
)

// pointsAtOnce is how many points of a stream are one commit.
const pointsAtOnce = 64 << 10

// pointsLogged is the answer to a stream of points.
type pointsLogged struct {
	Points int64 `json:"points"`
}

// putMetrics logs the points of a run's metrics, commit by commit. What came before an
// error stays: points that are sent again are the same points, so that a client whose
// stream broke sends all of it again.
func (s *service) putMetrics(ctx context.Context, command putCommand, in *inbound, stream flight.FlightService_DoPutServer) error {
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	columns, err := pointColumnsOf(rows.Schema)
	if err != nil {
		return err
	}
	logged := pointsLogged{}
	for batch, err := range counted(ctx, rows).All {
		if err != nil {
			return err
		}
		for begin := int64(0); begin < batch.NumRows(); begin += pointsAtOnce {
			points, err := columns.read(batch, int(begin), int(min(begin+pointsAtOnce, batch.NumRows())), logged.Points)
			if err != nil {
				return err
			}
			if err := s.engine.Registry().LogMetrics(command.Run, points); err != nil {
				return err
			}
			logged.Points += int64(len(points))
		}
	}
	encoded, err := json.Marshal(logged)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "cannot write the answer as JSON: %w", err)
	}
	return stream.Send(&flight.PutResult{AppMetadata: encoded})
}

// pointColumns are where a stream of points has what; -1 for what it has not.
type pointColumns struct{ key, value, step, time int }

func pointColumnsOf(schema *arrow.Schema) (pointColumns, error) {
	at := pointColumns{-1, -1, -1, -1}
	for i, f := range schema.Fields() {
		kind := f.Type.ID()
		fits := false
		switch f.Name {
		case "key":
			at.key, fits = i, isText(f.Type)
		case "value":
			at.value, fits = i, kind == arrow.FLOAT64
		case "step":
			at.step, fits = i, kind == arrow.INT64
		case "time":
			at.time, fits = i, kind == arrow.TIMESTAMP && f.Type.(*arrow.TimestampType).Unit == arrow.Microsecond
		}
		if !fits {
			return at, driftline.Errorf(driftline.Invalid, "a stream of points has a column %q of type %s", f.Name, f.Type).WithHint("%s", pointsHint)
		}
	}
	if at.key < 0 || at.value < 0 {
		return at, driftline.Errorf(driftline.Invalid, "a stream of points has no column key or no column value").WithHint("%s", pointsHint)
	}
	return at, nil
}

const pointsHint = "send key (string, or a dictionary of them) and value (float64), and, if you like, step (int64) and time (timestamp in microseconds)"

func isText(t arrow.DataType) bool {
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	return t.ID() == arrow.STRING || t.ID() == arrow.LARGE_STRING
}

// read returns the points of some rows of a batch. before is how many rows came before it.
func (c pointColumns) read(batch arrow.RecordBatch, begin, end int, before int64) ([]driftline.Metric, error) {
	for _, column := range batch.Columns() {
		if column.NullN() > 0 {
			return nil, driftline.Errorf(driftline.Invalid, "a stream of points has a null, after row %d", before).WithHint("leave rows without a value out; NaN is a value")
		}
	}
	key, values := textsOf(batch.Column(c.key)), batch.Column(c.value).(*array.Float64)
	points := make([]driftline.Metric, end-begin)
	for i := range points {
		points[i].Key, points[i].Value = key(begin+i), driftline.Number(values.Value(begin+i))
	}
	if c.step >= 0 {
		steps := batch.Column(c.step).(*array.Int64)
		for i := range points {
			points[i].Step = steps.Value(begin + i)
		}
	}
	if c.time >= 0 {
		times := batch.Column(c.time).(*array.Timestamp)
		for i := range points {
			points[i].Time = time.UnixMicro(int64(times.Value(begin + i))).UTC()
		}
	}
	return points, nil
}

// textsOf returns what reads the texts of a column.
func textsOf(column arrow.Array) func(int) string {
	switch c := column.(type) {
	case *array.Dictionary:
		values := textsOf(c.Dictionary())
		return func(i int) string { return values(c.GetValueIndex(i)) }
	case *array.LargeString:
		return c.Value
	}
	return column.(*array.String).Value
}
