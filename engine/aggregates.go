package engine

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/online"
)

// Aggregated features of a view are computed from its online history, and where that does
// not go back far enough, or not to what was known then, by the offline join: both are the
// same arithmetic over the same events.

// onlineAggregates is the aggregated features of one use of a view in a plan.
type onlineAggregates struct {
	read  *online.Aggregates
	past  registry.Resolved // the same features
	at    []int             // places in the plan's features
	types []driftline.Type
}

// divide tells the features of a use, whose places begin at first, apart: those that its
// rows have, and those that are derived.
func divide(r registry.Resolved, first int) (stored registry.Resolved, storedAt []int, derived *onlineAggregates, err error) {
	stored = r
	stored.Projection.Features = nil
	d := &onlineAggregates{past: stored}
	for i, name := range r.Projection.Features {
		if _, ok := r.View.Feature(name); ok {
			stored.Projection.Features, storedAt = append(stored.Projection.Features, name), append(storedAt, first+i)
			continue
		}
		d.past.Projection.Features, d.at = append(d.past.Projection.Features, name), append(d.at, first+i)
	}
	if len(d.at) == 0 {
		return stored, storedAt, nil, nil
	}
	for _, f := range r.View.AggregatedFeatures() {
		if at := slices.Index(d.past.Projection.Features, f.Name); at >= 0 {
			if d.types == nil {
				d.types = make([]driftline.Type, len(d.at))
			}
			d.types[at] = f.Type
		}
	}
	d.read, err = online.NewAggregates(r.View, d.past.Projection.Features)
	return stored, storedAt, d, err
}

// typeOf is the type of the use's feature i.
func (u *onlineUse) typeOf(i int) driftline.Type {
	if f, ok := u.View.Feature(u.Projection.Features[i]); ok {
		return f.Type
	}
	return u.aggregates.types[slices.Index(u.aggregates.at, u.first+i)]
}

// derives reports whether the feature at a place of the plan is an aggregated one of the use.
func (u *onlineUse) derives(at int) bool {
	return u.aggregates != nil && slices.Contains(u.aggregates.at, at)
}

// heldAs is the type of the column of [online.Values] that a feature has. Those that are
// lists and maps have one that says only which are null: see [OnlineAnswer.Nested].
func heldAs(t driftline.Type) driftline.Type {
	if isNested(t) {
		return driftline.Bool
	}
	return t
}

func isNested(t driftline.Type) bool {
	_, list := t.Element()
	_, isMap := t.MapValue()
	return list || isMap
}

// aggregate puts the aggregated features of a use into an answer.
func (e *Engine) aggregate(ctx context.Context, a *OnlineAnswer, use int, keys []arrow.Array, at int64) error {
	rows, d := a.Rows(), a.Plan.uses[use].aggregates
	found, err := e.online.Aggregate(ctx, e.mem, d.read, keys, rows, at)
	if err != nil {
		return err
	}
	window := make([]arrow.Timestamp, rows)
	var offline []int64
	for row := range rows {
		if found.Events[row] != online.NoTime {
			window[row] = arrow.Timestamp(found.Events[row])
		}
		if found.Offline[row] {
			offline = append(offline, int64(row))
		}
	}
	a.views[use].window = window
	var past *pastRows
	if len(offline) > 0 {
		if past, err = e.lookOffline(ctx, d.past, keys, offline, at); err != nil {
			return err
		}
		defer past.release()
		d.setPastWindows(past, window, offline, at)
	}
	for i := range d.at {
		if err := a.setAggregated(ctx, d, i, found, past, offline); err != nil {
			return err
		}
	}
	return nil
}

// setPastWindows takes over the event times of rows that were looked up offline, which are
// those of the newest events, however old.
func (d *onlineAggregates) setPastWindows(past *pastRows, window []arrow.Timestamp, offline []int64, at int64) {
	for i, row := range offline {
		if longest := d.past.View.LargestWindow().Microseconds(); past.events.IsValid(i) && int64(past.events.Value(i)) > at-longest {
			window[row] = past.events.Value(i)
		}
	}
}

// setAggregated puts feature i of the aggregated ones into an answer: row offline[j] is
// row j of past, and the others are found.
func (a *OnlineAnswer) setAggregated(ctx context.Context, d *onlineAggregates, i int, found *online.Aggregated, past *pastRows, offline []int64) error {
	if isNested(d.types[i]) {
		return a.setNested(ctx, d, i, found, past, offline)
	}
	at := d.at[i]
	for row := range a.Rows() {
		value := found.Value(i, row)
		switch {
		case !value.Valid || found.Offline[row]:
		case heldInText(d.types[i]):
			if err := a.values.SetText(at, row, value.Text); err != nil {
				return err
			}
		default:
			a.values.SetWord(at, row, value.Bits)
		}
	}
	for j, row := range offline {
		if err := a.values.SetFrom(at, int(row), past.columns[i], j); err != nil {
			return err
		}
	}
	return nil
}

func heldInText(t driftline.Type) bool { return t == driftline.String || t == driftline.Bytes }

// setNested is setAggregated of lists and maps.
func (a *OnlineAnswer) setNested(ctx context.Context, d *onlineAggregates, i int, found *online.Aggregated, past *pastRows, offline []int64) error {
	column, err := nestedColumn(d.types[i], found, i, a.Rows())
	if err != nil {
		return err
	}
	if len(offline) > 0 {
		if column, err = withRows(ctx, column, past.columns[i], offline); err != nil {
			return err
		}
	}
	a.keepNested(d.at[i], column)
	return nil
}

// keepNested makes the values of a feature those of a column of lists or maps.
func (a *OnlineAnswer) keepNested(feature int, column arrow.Array) {
	if a.nested == nil {
		a.nested = map[int]arrow.Array{}
	}
	a.nested[feature] = column
	for row := range a.Rows() {
		if column.IsValid(row) {
			a.values.SetWord(feature, row, 1)
		}
	}
}

// nestedColumn is a feature's values, in memory that is left to the garbage collector.
func nestedColumn(t driftline.Type, found *online.Aggregated, feature, rows int) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, t.Arrow())
	defer b.Release()
	for row := range rows {
		value := found.Value(feature, row)
		value.Valid = value.Valid && !found.Offline[row]
		if err := aggregate.Append(b, t, value); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}

// withRows returns a column with other values in some rows: row rows[j] is row j of others.
func withRows(ctx context.Context, column, others arrow.Array, rows []int64) (arrow.Array, error) {
	both, err := array.Concatenate([]arrow.Array{column, others}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	defer both.Release()
	from := make([]int64, column.Len())
	for i := range from {
		from[i] = int64(i)
	}
	for j, row := range rows {
		from[row] = int64(column.Len() + j)
	}
	return takeArray(ctx, memory.DefaultAllocator, both, from)
}
