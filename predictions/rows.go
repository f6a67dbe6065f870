package predictions

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// FromRows reads a batch as records of a model. Columns are called like those of a log
// ([ID], event_timestamp, [Version], [Number] …); those that entity names are join keys, and all
// others features. A null is a value that is not there. What entity names must be there.
func FromRows(model driftline.ModelName, entity []string, b arrow.RecordBatch) ([]driftline.PredictionRecord, error) {
	columns, err := cellsOf(b)
	if err != nil {
		return nil, err
	}
	if err := allThere(b, entity); err != nil {
		return nil, err
	}
	features := 0
	for _, c := range columns {
		if !ownNames[c.name] && !slices.Contains(entity, c.name) {
			features++
		}
	}
	records := make([]driftline.PredictionRecord, b.NumRows())
	for i := range records {
		r := &records[i]
		r.Model = model
		r.Features = make(map[string]any, features)
		for _, c := range columns {
			v := c.at(i)
			switch {
			case slices.Contains(entity, c.name):
				if v == nil {
					continue
				}
				if r.Entity == nil {
					r.Entity = make(map[string]any, len(entity))
				}
				r.Entity[c.name] = v
			case !ownNames[c.name]:
				r.Features[c.name] = v
			case v != nil:
				if err := set(r, c.name, v); err != nil {
					return nil, driftline.Errorf(driftline.Invalid, "row %d: %w", i, err)
				}
			}
		}
	}
	return records, nil
}

func allThere(b arrow.RecordBatch, names []string) error {
	for _, name := range names {
		if !b.Schema().HasField(name) {
			return driftline.Errorf(driftline.Invalid, "join key %.80q is no column of the rows", name)
		}
	}
	return nil
}

// set puts the value of one of the log's own columns into a record.
func set(r *driftline.PredictionRecord, name string, v any) error {
	mirrored := func() *driftline.MirrorAnswer {
		if r.Mirror == nil {
			r.Mirror = &driftline.MirrorAnswer{}
		}
		return r.Mirror
	}
	ok := true
	switch name {
	case ID:
		r.ID = idText(v)
	case driftline.DefaultEventTimestamp:
		r.Time, ok = timeOf(v)
	case Model:
		if v != string(r.Model) {
			return driftline.Errorf(driftline.Invalid, "column model is %.80v, but predictions of %q are logged", v, r.Model)
		}
	case Version:
		r.Version, ok = intOf(v)
	case Status:
		r.Status, ok = intOf(v)
	case Route:
		var n int
		n, ok = intOf(v)
		r.Route, ok = uint64(n), ok && n >= 0
	case Arm:
		r.Arm = driftline.Arm(textOf(v))
	case Rollout:
		r.Rollout = textOf(v)
	case Key:
		r.Key = textOf(v)
	case Pinned:
		r.Pinned, ok = v.(bool)
	case FellBack:
		r.FellBack, ok = v.(bool)
	case Fault:
		r.Fault = driftline.Fault(textOf(v))
	case LatencyMS:
		r.Latency, ok = durationOf(v)
	case Number, Text:
		r.Prediction = v
	case Score:
		r.Score, ok = scoreOf(v)
	case Output:
		if r.Output = json.RawMessage(textOf(v)); !json.Valid(r.Output) {
			return driftline.Errorf(driftline.Invalid, "column output is no JSON")
		}
	case Values:
		ok = json.Unmarshal([]byte(textOf(v)), &r.Values) == nil
	case Features:
		ok = json.Unmarshal([]byte(textOf(v)), &r.Features) == nil
	case Entity:
		ok = json.Unmarshal([]byte(textOf(v)), &r.Entity) == nil
	case MirrorVersion:
		mirrored().Version, ok = intOf(v)
	case MirrorFault:
		mirrored().Fault = driftline.Fault(textOf(v))
	case MirrorLatencyMS:
		mirrored().Latency, ok = durationOf(v)
	case MirrorNumber, MirrorText:
		mirrored().Prediction = v
	case MirrorScore:
		mirrored().Score, ok = scoreOf(v)
	case MirrorDiffers:
		mirrored().Differs, ok = v.(bool)
	default: // of labels: they are logged by themselves
		return driftline.Errorf(driftline.Invalid, "column %q is of labels, not of predictions", name).WithHint("log labels when they are known")
	}
	if !ok {
		return driftline.Errorf(driftline.Invalid, "column %q cannot be %.80v", name, v)
	}
	return nil
}

func idText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(appendJSON(nil, v))
}

func intOf(v any) (int, bool) {
	n, ok := wholeOf(v)
	return int(n), ok
}

func scoreOf(v any) (*float64, bool) {
	x := numberOf(v)
	if x != x {
		return nil, isNaN(v)
	}
	return &x, true
}

func durationOf(v any) (driftline.Duration, bool) {
	x := numberOf(v)
	return driftline.Duration(x * float64(time.Millisecond)), x >= 0 && x < math.MaxInt64/1e6
}

// LabelsFromRows reads a batch as labels: prediction_id, or join keys and prediction_time; label or
// label_text; event_timestamp, when it became known, and labelled_by if they are there.
func LabelsFromRows(entity []string, b arrow.RecordBatch) ([]driftline.Label, error) {
	columns, err := cellsOf(b)
	if err != nil {
		return nil, err
	}
	if err := allThere(b, entity); err != nil {
		return nil, err
	}
	known := append([]string{ID, At, Label, LabelText, driftline.DefaultEventTimestamp, By}, entity...)
	for _, c := range columns {
		if !slices.Contains(known, c.name) {
			return nil, driftline.Errorf(driftline.Invalid, "column %.80q is nothing of a label", c.name).
				WithHint("columns of labels are %v; name join keys in entity", known[:6])
		}
	}
	labels := make([]driftline.Label, b.NumRows())
	for i := range labels {
		l := &labels[i]
		for _, c := range columns {
			v := c.at(i)
			if v == nil {
				continue
			}
			ok := true
			switch c.name {
			case ID:
				l.Prediction = idText(v)
			case At:
				l.At, ok = timeOf(v)
			case driftline.DefaultEventTimestamp:
				l.Time, ok = timeOf(v)
			case Label, LabelText:
				l.Label = v
			case By:
				l.By = textOf(v)
			default:
				if l.Entity == nil {
					l.Entity = map[string]any{}
				}
				l.Entity[c.name] = v
			}
			if !ok {
				return nil, driftline.Errorf(driftline.Invalid, "row %d: column %q cannot be %.80v", i, c.name, v)
			}
		}
	}
	return labels, nil
}

// columnOf is a column of a batch, read value by value.
type columnOf struct {
	name string
	at   func(i int) any // nil for null
}

func cellsOf(b arrow.RecordBatch) ([]columnOf, error) {
	columns := make([]columnOf, b.NumCols())
	for i, c := range b.Columns() {
		at := reader(c)
		if at == nil {
			return nil, driftline.Errorf(driftline.Invalid, "column %.80q is %s", b.ColumnName(i), c.DataType()).
				WithHint("columns are booleans, numbers, texts, bytes and times")
		}
		columns[i] = columnOf{b.ColumnName(i), func(i int) any {
			if c.IsNull(i) {
				return nil
			}
			return at(i)
		}}
	}
	return columns, nil
}

// reader reads the values of a column that are not null, nil if they cannot be in a log.
func reader(c arrow.Array) func(i int) any {
	switch c := c.(type) {
	case *array.Null:
		return func(int) any { return nil }
	case *array.Boolean:
		return func(i int) any { return c.Value(i) }
	case *array.Float64:
		return func(i int) any { return c.Value(i) }
	case *array.Float32:
		return func(i int) any { return float64(c.Value(i)) }
	case *array.Int64:
		return func(i int) any { return c.Value(i) }
	case *array.Int32:
		return func(i int) any { return int64(c.Value(i)) }
	case *array.Int16:
		return func(i int) any { return int64(c.Value(i)) }
	case *array.Int8:
		return func(i int) any { return int64(c.Value(i)) }
	case *array.Uint8:
		return func(i int) any { return int64(c.Value(i)) }
	case *array.Uint16:
		return func(i int) any { return int64(c.Value(i)) }
	case *array.Uint32:
		return func(i int) any { return int64(c.Value(i)) }
	case *array.String: // records outlive the batch
		return func(i int) any { return strings.Clone(c.Value(i)) }
	case *array.LargeString:
		return func(i int) any { return strings.Clone(c.Value(i)) }
	case *array.Binary:
		return func(i int) any { return slices.Clone(c.Value(i)) }
	case *array.Timestamp:
		unit := c.DataType().(*arrow.TimestampType).Unit
		return func(i int) any { return c.Value(i).ToTime(unit).UTC() }
	case *array.Dictionary:
		values := reader(c.Dictionary())
		if values == nil {
			return nil
		}
		return func(i int) any {
			if at := c.GetValueIndex(i); c.Dictionary().IsValid(at) {
				return values(at)
			}
			return nil
		}
	}
	return nil
}
