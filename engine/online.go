package engine

import (
	"context"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/online"
)

// Online reads the newest feature values of entities, as of req.At. The answer equals
// the offline join at that time, value for value: values older than the TTL are null,
// and where the online store only holds a row of a later time than asked for, the
// value is looked up in the offline store instead (rare, and slower).
//
// entities has one row per entity, with the join keys of every view among its columns.
func (e *Engine) Online(ctx context.Context, req driftline.OnlineRequest, entities arrow.RecordBatch) (*driftline.OnlineResponse, error) {
	resolved, err := e.registry.Resolve(req.FeatureSet)
	if err != nil {
		return nil, err
	}
	if err := checkServed(resolved); err != nil {
		return nil, err
	}
	for _, r := range resolved {
		if err := e.checkHealthy(r.View.Name); err != nil {
			return nil, err
		}
	}
	if req.At.IsZero() {
		req.At = e.now()
	}
	lookups := make([]online.Lookup, len(resolved))
	defer func() {
		for _, l := range lookups {
			releaseArrays(l.Keys)
		}
	}()
	for i, r := range resolved {
		keys, err := e.keyColumns(ctx, r, entities)
		if err != nil {
			return nil, err
		}
		lookups[i] = online.Lookup{View: r.View, Keys: keys, Features: r.Projection.Features, Rows: int(entities.NumRows())}
	}
	results, err := e.online.Read(ctx, e.mem, lookups)
	if err != nil {
		return nil, err
	}
	answer := onlineAnswer{at: req.At.UnixMicro(), full: req.FullFeatureNames, entities: entities}
	defer answer.release()
	for i, r := range resolved {
		err := e.answerProjection(ctx, &answer, r, lookups[i].Keys, results[i])
		releaseArrays(results[i].Columns)
		if err != nil {
			for _, rest := range results[i+1:] {
				releaseArrays(rest.Columns)
			}
			return nil, err
		}
	}
	return answer.response()
}

// keyColumns returns the columns of entities that carry the projection's join keys,
// as the view's key types. The caller releases them.
func (e *Engine) keyColumns(ctx context.Context, r registry.Resolved, entities arrow.RecordBatch) ([]arrow.Array, error) {
	keys := make([]arrow.Array, 0, len(r.View.JoinKeys))
	for _, k := range r.View.JoinKeys {
		column := r.Projection.KeyColumn(k.Name)
		at := entities.Schema().FieldIndices(column)
		if len(at) == 0 {
			releaseArrays(keys)
			return nil, driftline.Errorf(driftline.Invalid, "join key %q is missing (view %q needs it)", column, r.View.Name).
				WithHint("give a value of %q for every entity row", column)
		}
		col := entities.Column(at[0])
		if !fits(k.Type.Arrow(), col.DataType()) {
			releaseArrays(keys)
			return nil, driftline.Errorf(driftline.Invalid, "join key %q is %s, want %s (view %q)", column, typeName(col.DataType()), k.Type, r.View.Name).
				WithHint("send %s values", k.Type)
		}
		cast, err := castColumn(ctx, col, k.Type.Arrow(), e.mem)
		if err != nil {
			releaseArrays(keys)
			return nil, driftline.Errorf(driftline.Invalid, "join key %q cannot be read: %w", column, err)
		}
		keys = append(keys, cast)
	}
	return keys, nil
}

func releaseArrays(arrays []arrow.Array) {
	for _, a := range arrays {
		a.Release()
	}
}

// onlineAnswer is an OnlineResponse while it is put together.
type onlineAnswer struct {
	at       int64 // microseconds
	full     bool
	entities arrow.RecordBatch
	columns  []arrow.Array
	features []driftline.OnlineColumn
}

func (a *onlineAnswer) release() { releaseArrays(a.columns) }

// rowState is what the TTL rule says of one row of one view.
type rowState uint8

const (
	rowPresent rowState = iota
	rowAbsent
	rowExpired
	rowLater // the online row is of a later time than asked for, or may be gone: look offline
)

func stateOf(view *driftline.FeatureView, result online.Result, row int, at int64) rowState {
	oldest := int64(math.MinInt64) // event time that counts at the time asked for
	if view.TTL > 0 {
		oldest = at - view.TTL.Microseconds()
	}
	switch {
	case oldest < result.Floor && (!result.Found[row] || result.Events[row] < result.Floor):
		return rowLater // what was newest at that time may have expired and gone
	case !result.Found[row]:
		return rowAbsent
	case result.Events[row] > at, view.KnownAt && (result.Created[row] == online.NoTime || result.Created[row] > at):
		return rowLater
	case result.Events[row] < oldest:
		return rowExpired
	}
	return rowPresent
}

// answerProjection adds the columns of one projection to the answer.
func (e *Engine) answerProjection(ctx context.Context, a *onlineAnswer, r registry.Resolved, keys []arrow.Array, result online.Result) error {
	rows := int(a.entities.NumRows())
	states := make([]rowState, rows)
	var later []int64
	for row := range rows {
		if states[row] = stateOf(r.View, result, row, a.at); states[row] == rowLater {
			later = append(later, int64(row))
		}
	}
	var past *pastRows
	if len(later) > 0 {
		var err error
		if past, err = e.lookOffline(ctx, r, keys, later, a.at); err != nil {
			return err
		}
		defer past.release()
	}
	for i, feature := range r.Projection.Features {
		column, described, err := e.mergeColumn(result, past, states, i)
		if err != nil {
			return err
		}
		described.Name = r.Projection.OutputName(feature, a.full)
		a.columns = append(a.columns, column)
		a.features = append(a.features, described)
	}
	return nil
}

// mergeColumn takes feature i of each row from the online row, from the offline answer,
// or makes it null.
func (e *Engine) mergeColumn(result online.Result, past *pastRows, states []rowState, i int) (arrow.Array, driftline.OnlineColumn, error) {
	stored := result.Columns[i]
	described := driftline.OnlineColumn{
		Statuses:   make([]driftline.Status, len(states)),
		EventTimes: make([]arrow.Timestamp, len(states)),
	}
	b := array.NewBuilder(e.mem, stored.DataType())
	defer b.Release()
	b.Reserve(len(states))
	for row, state := range states {
		from, at, event, status := stored, row, result.Events[row], driftline.Present
		switch state {
		case rowAbsent:
			status = driftline.NotPresent
		case rowExpired:
			status = driftline.OutsideMaxAge
		case rowLater:
			from, at, event, status = past.value(row, i)
		}
		if status == driftline.Present && from.IsNull(at) {
			status = driftline.NullValue
		}
		if status != driftline.NotPresent {
			described.EventTimes[row] = arrow.Timestamp(event)
		}
		described.Statuses[row] = status
		if status != driftline.Present {
			b.AppendNull()
		} else if err := appendValue(b, from, at); err != nil {
			return nil, described, err
		}
	}
	return b.NewArray(), described, nil
}

// response puts the entity columns and the feature columns together.
func (a *onlineAnswer) response() (*driftline.OnlineResponse, error) {
	schema := a.entities.Schema()
	fields := schema.Fields()
	taken := map[string]bool{}
	for _, f := range fields {
		taken[f.Name] = true
	}
	for i, c := range a.features {
		if taken[c.Name] {
			return nil, driftline.Errorf(driftline.Invalid, "column %q would be there twice", c.Name).
				WithHint("ask for full_feature_names, or give one use of the view a role")
		}
		taken[c.Name] = true
		fields = append(fields, arrow.Field{Name: c.Name, Type: a.columns[i].DataType(), Nullable: true})
	}
	all := append(a.entities.Columns()[:len(a.entities.Columns()):len(a.entities.Columns())], a.columns...)
	return &driftline.OnlineResponse{
		Batch:    array.NewRecordBatch(arrow.NewSchema(fields, nil), all, a.entities.NumRows()),
		Features: a.features,
	}, nil
}

// appendValue appends one valid value of from to b, which builds the same type.
func appendValue(b array.Builder, from arrow.Array, at int) error {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(from.(*array.Boolean).Value(at))
	case *array.Int32Builder:
		b.Append(from.(*array.Int32).Value(at))
	case *array.Int64Builder:
		b.Append(from.(*array.Int64).Value(at))
	case *array.Float32Builder:
		b.Append(from.(*array.Float32).Value(at))
	case *array.Float64Builder:
		b.Append(from.(*array.Float64).Value(at))
	case *array.StringBuilder:
		b.Append(from.(*array.String).Value(at))
	case *array.BinaryBuilder:
		b.Append(from.(*array.Binary).Value(at))
	case *array.TimestampBuilder:
		b.Append(from.(*array.Timestamp).Value(at))
	default:
		return driftline.Errorf(driftline.Internal, "no online values of type %s", from.DataType())
	}
	return nil
}
