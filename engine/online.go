package engine

import (
	"context"
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/online"
)

// Online reads the newest feature values of entities, as of req.At. The answer equals
// the offline join at that time, value for value: values older than the TTL are null,
// and where the online store only holds a row of a later time than asked for, the
// value is looked up in the offline store instead (rare, and slower).
//
// entities has one row per entity, with the join keys of every view among its columns, and
// what a request brings for features that are computed on demand.
func (e *Engine) Online(ctx context.Context, req driftline.OnlineRequest, entities arrow.RecordBatch) (*driftline.OnlineResponse, error) {
	plan, err := e.PlanOnline(req.FeatureSet)
	if err != nil {
		return nil, err
	}
	answer, err := e.ReadOnline(ctx, plan, req.At, entities)
	if err != nil {
		return nil, err
	}
	return answer.Response()
}

// ReadOnline is [Engine.Online] with a plan, and with an answer whose values can be read
// one by one, which for a row of many features is much less work than a batch of them.
// The zero time means now.
func (e *Engine) ReadOnline(ctx context.Context, plan *OnlinePlan, at time.Time, entities arrow.RecordBatch) (*OnlineAnswer, error) {
	e.serves()
	e.wasRead.Store(true)
	if err := plan.checkEntities(entities.Schema()); err != nil {
		return nil, err
	}
	if plan.computed != nil {
		return e.readOnDemand(ctx, plan, at, entities)
	}
	for i := range plan.uses {
		if err := e.checkHealthy(plan.uses[i].View.Name); err != nil {
			return nil, err
		}
	}
	if at.IsZero() {
		at = e.now()
	}
	asks := make([]online.Ask, len(plan.groups))
	defer func() {
		for _, ask := range asks {
			releaseArrays(ask.Keys)
		}
	}()
	var err error
	for i := range plan.groups {
		asks[i].Group = plan.groups[i].stored
		if asks[i].Keys, err = e.keyColumns(ctx, &plan.groups[i], entities); err != nil {
			return nil, err
		}
	}
	answer := &OnlineAnswer{Plan: plan, Entities: entities}
	if answer.values, err = online.NewValues(plan.types, int(entities.NumRows())); err != nil {
		return nil, err
	}
	found, err := e.online.Read(ctx, answer.values, asks)
	if err != nil {
		return nil, err
	}
	answer.takeFound(found)
	for i := range plan.uses {
		keys := asks[plan.uses[i].group].Keys
		if err := e.applyTime(ctx, answer, i, keys, at.UnixMicro()); err != nil {
			return nil, err
		}
		if plan.uses[i].aggregates != nil {
			if err := e.aggregate(ctx, answer, i, keys, at.UnixMicro()); err != nil {
				return nil, err
			}
		}
	}
	return answer, nil
}

// serves notes that somebody is served who waits for milliseconds.
func (e *Engine) serves() { e.servedAt.Store(int64(time.Since(e.opened))) }

// sinceServed is how long that is ago. What is large and can wait gives way to such callers.
func (e *Engine) sinceServed() time.Duration {
	last := e.servedAt.Load()
	if last == 0 {
		return math.MaxInt64 // nobody yet
	}
	return time.Since(e.opened) - time.Duration(last)
}

// keyColumns returns the columns of entities that carry a group's join keys, as the
// types of those. The caller releases them.
func (e *Engine) keyColumns(ctx context.Context, g *onlineGroup, entities arrow.RecordBatch) ([]arrow.Array, error) {
	keys := make([]arrow.Array, 0, len(g.columns))
	for i, column := range g.columns {
		key, err := e.keyColumn(ctx, g, g.joinKeys[i].Type, column, entities)
		if err != nil {
			releaseArrays(keys)
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (e *Engine) keyColumn(ctx context.Context, g *onlineGroup, want driftline.Type, column string, entities arrow.RecordBatch) (arrow.Array, error) {
	at := entities.Schema().FieldIndices(column)
	if len(at) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "join key %q is missing (view %q needs it)", column, g.view).
			WithHint("give a value of %q for every entity row", column)
	}
	col := entities.Column(at[0])
	if !fits(want.Arrow(), col.DataType()) {
		return nil, driftline.Errorf(driftline.Invalid, "join key %q is %s, want %s (view %q)", column, typeName(col.DataType()), want, g.view).
			WithHint("send %s values", want)
	}
	key, err := castColumn(ctx, col, want.Arrow(), e.mem)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "join key %q cannot be read: %w", column, err)
	}
	return key, nil
}

func releaseArrays(arrays []arrow.Array) {
	for _, a := range arrays {
		a.Release()
	}
}

// applyTime makes of what the store has of one view what is true at a time, in
// microseconds: rows that are too old are null, and rows of a later time give way to the
// offline join's.
func (e *Engine) applyTime(ctx context.Context, a *OnlineAnswer, use int, keys []arrow.Array, at int64) error {
	view, rows := &a.Plan.uses[use], &a.views[use]
	var later []int64
	for row := range rows.states {
		state := rows.stateAt(view.View, row, at)
		rows.states[row] = state
		switch state {
		case rowExpired, rowAbsent: // which a row too can be that is long forgotten
			a.setNull(view, row)
		case rowLater:
			later = append(later, int64(row))
		}
	}
	if len(later) == 0 || len(view.storedAt) == 0 {
		return nil
	}
	past, err := e.lookOffline(ctx, view.stored, keys, later, at)
	if err != nil {
		return err
	}
	defer past.release()
	for i, row := range later {
		if err := a.setPast(view, rows, int(row), past, i); err != nil {
			return err
		}
	}
	return nil
}

// rowState is what the TTL rule says of one row of one view.
type rowState uint8

const (
	rowPresent rowState = iota
	rowAbsent
	rowExpired
	rowLater // the online row is of a later time than asked for, or may be gone: look offline
)

// servedRows are the rows of one view in an answer: one per entity row.
type servedRows struct {
	online.Found
	states []rowState
	window []arrow.Timestamp // of the newest event in the largest window, if that is asked for; 0 for none
}

func (v *servedRows) stateAt(view *driftline.FeatureView, row int, at int64) rowState {
	oldest, remembered := int64(math.MinInt64), int64(math.MinInt64) // event times that count, or are known, at the time asked for
	if view.TTL > 0 {
		oldest, remembered = at-view.TTL.Microseconds(), at-rememberedFor(view.TTL)
	}
	event := v.Events[row]
	switch {
	case remembered < v.Floor && (!v.Has(row) || event < v.Floor) && !v.OnlyOnline(row): // a row without a copy stays while others are missing
		return rowLater // what was newest at that time may have expired and gone
	case !v.Has(row):
		return rowAbsent
	case event > at, view.KnownAt && (v.Created[row] == online.NoTime || v.Created[row] > at):
		return rowLater
	case event < remembered:
		return rowAbsent
	case event < oldest:
		return rowExpired
	}
	return rowPresent
}

// OnlineAnswer is the feature values of some entities at a time: a row per row of
// Entities, a column per feature of Plan. It is valid as long as Entities are.
type OnlineAnswer struct {
	Plan     *OnlinePlan
	Entities arrow.RecordBatch // as they were given

	values *online.Values
	views  []servedRows        // by use of a view in the plan
	nested map[int]arrow.Array // lists and maps, by feature; left to the garbage collector

	described []driftline.OnlineColumn // of features of which some are computed; else nil
}

// takeFound puts what was read, group by group, into the order of the plan's uses.
func (a *OnlineAnswer) takeFound(found []online.Found) {
	rows := a.values.Rows()
	states := make([]rowState, len(found)*rows)
	a.views = make([]servedRows, len(found))
	for _, group := range a.Plan.groups {
		for _, use := range group.uses {
			a.views[use] = servedRows{Found: found[0], states: states[:rows:rows]}
			found, states = found[1:], states[rows:]
		}
	}
}

// setNull makes all features of a view null in one row.
func (a *OnlineAnswer) setNull(view *onlineUse, row int) {
	for _, at := range view.storedAt {
		a.values.SetNull(at, row)
	}
}

// setPast gives a row the values that it had in the past: those of row i of past.
func (a *OnlineAnswer) setPast(view *onlineUse, rows *servedRows, row int, past *pastRows, i int) error {
	rows.Events[row], rows.states[row] = past.row(i)
	if rows.states[row] != rowPresent {
		a.setNull(view, row)
		return nil
	}
	for f, column := range past.columns {
		if err := a.values.SetFrom(view.storedAt[f], row, column, i); err != nil {
			return err
		}
	}
	return nil
}

// Rows is the number of entities.
func (a *OnlineAnswer) Rows() int { return a.values.Rows() }

// Status says what a feature's value is.
func (a *OnlineAnswer) Status(feature, row int) driftline.Status {
	if a.described != nil {
		return a.described[feature].Statuses[row]
	}
	f := &a.Plan.Features[feature]
	switch state := a.views[f.use].states[row]; {
	case f.derived: // of no row, or of many
	case state == rowAbsent:
		return driftline.NotPresent
	case state == rowExpired:
		return driftline.OutsideMaxAge
	}
	if a.values.IsNull(feature, row) {
		return driftline.NullValue
	}
	return driftline.Present
}

// EventTime is the event time of the row that the value is from, and of an aggregated
// feature that of the newest event in the view's largest window; 0 if there is none.
func (a *OnlineAnswer) EventTime(feature, row int) arrow.Timestamp {
	if a.described != nil {
		return a.described[feature].EventTimes[row]
	}
	f := &a.Plan.Features[feature]
	view := &a.views[f.use]
	if f.derived {
		return view.window[row]
	}
	if view.states[row] == rowAbsent {
		return 0
	}
	return arrow.Timestamp(view.Events[row])
}

// Nested are the values of a feature that is a list or a map, nil for any other. Those of
// it in [OnlineAnswer.Values] say only which are null.
func (a *OnlineAnswer) Nested(feature int) arrow.Array { return a.nested[feature] }

// Values are the values, a column per feature. They are not to be changed.
func (a *OnlineAnswer) Values() *online.Values { return a.values }

// Batch returns the entities' columns and the features'. The caller releases it.
func (a *OnlineAnswer) Batch() (arrow.RecordBatch, error) {
	features, err := a.arrays()
	if err != nil {
		return nil, err
	}
	defer releaseArrays(features)
	columns := append(a.Entities.Columns()[:a.Entities.NumCols():a.Entities.NumCols()], features...)
	return array.NewRecordBatch(a.Plan.schema(a.Entities.Schema()), columns, a.Entities.NumRows()), nil
}

// arrays returns the features' columns. The caller releases them.
func (a *OnlineAnswer) arrays() ([]arrow.Array, error) {
	features, err := a.values.Arrays()
	if err != nil {
		return nil, err
	}
	for feature, values := range a.nested {
		features[feature].Release()
		values.Retain()
		features[feature] = values
	}
	return features, nil
}

// Response returns the whole answer as the nouns have it. The caller releases it.
func (a *OnlineAnswer) Response() (*driftline.OnlineResponse, error) {
	batch, err := a.Batch()
	if err != nil {
		return nil, err
	}
	rows, cells := a.Rows(), a.Rows()*len(a.Plan.Features)
	statuses, times := make([]driftline.Status, cells), make([]arrow.Timestamp, cells)
	response := &driftline.OnlineResponse{Batch: batch, Features: make([]driftline.OnlineColumn, len(a.Plan.Features))}
	for i, feature := range a.Plan.Features {
		column := driftline.OnlineColumn{Name: feature.Name, Statuses: statuses[:rows:rows], EventTimes: times[:rows:rows]}
		statuses, times = statuses[rows:], times[rows:]
		for row := range rows {
			column.Statuses[row], column.EventTimes[row] = a.Status(i, row), a.EventTime(i, row)
		}
		response.Features[i] = column
	}
	return response, nil
}
