package online

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/expression"
	"github.com/driftline/driftline/storage/kv"
)

// Aggregates are aggregated features of one view, to be read for many entities. They are
// made once for many reads, and can be used from any number of goroutines.
type Aggregates struct {
	view    *driftline.FeatureView
	plan    *aggregate.Plan
	query   *aggregate.Query
	columns []driftline.Field // of the plan, and then those that only filters read
	filters []*expression.Expression
	longest int64     // window of the view
	readers sync.Pool // of *aggregateReader
}

// NewAggregates returns the aggregated features of these names, which the view has.
func NewAggregates(view *driftline.FeatureView, names []string) (*Aggregates, error) {
	a := &Aggregates{view: view, plan: aggregate.NewPlan(view), longest: view.LargestWindow().Microseconds()}
	var err error
	if a.query, err = a.plan.Query(names); err != nil {
		return nil, err
	}
	reads, err := a.plan.Reads(view)
	if err != nil {
		return nil, err
	}
	a.columns, a.filters = reads.Columns, reads.Filters
	return a, nil
}

// Aggregated is the answer to [Store.Aggregate].
type Aggregated struct {
	Events  []int64 // of the newest event in the view's largest window; NoTime if there is none
	Offline []bool  // the history cannot tell: the row has to be computed from the files

	values   []aggregate.Value
	features int
}

// Value is what a feature of the [Aggregates] is for a row.
func (a *Aggregated) Value(feature, row int) aggregate.Value {
	return a.values[row*a.features+feature]
}

// Aggregate computes features at a time, in microseconds, for so many rows of the keys'
// columns, from one state of the store. Where it computes a summary of many rows it keeps it.
func (s *Store) Aggregate(ctx context.Context, mem memory.Allocator, a *Aggregates, keys []arrow.Array, rows int, at int64) (*Aggregated, error) {
	answer := newAggregated(rows, len(a.query.Features))
	entities := make([]aggregatedEntity, rows)
	for i := range entities {
		prefix, null := appendEntity(historyPrefix(a.view.Name), keys, i)
		if null < 0 { // the stamp is taken before the state, see package kv
			subject := s.db.Subject(prefix)
			entities[i] = aggregatedEntity{prefix: prefix, subject: subject, stamp: s.db.Stamp(subject)}
		}
	}
	return answer, s.aggregate(ctx, mem, a, entities, at, answer)
}

func newAggregated(rows, features int) *Aggregated {
	answer := &Aggregated{
		Events: make([]int64, rows), Offline: make([]bool, rows),
		values: make([]aggregate.Value, rows*features), features: features,
	}
	for i := range answer.Events {
		answer.Events[i] = NoTime
	}
	return answer
}

// aggregate computes the answers of entities, whose stamps are of now or before.
func (s *Store) aggregate(ctx context.Context, mem memory.Allocator, a *Aggregates, entities []aggregatedEntity, at int64, answer *Aggregated) error {
	state, err := s.db.State()
	if err != nil {
		return err
	}
	defer state.Close()
	floor, err := s.HistoryFloor(a.view) // after the state was taken
	if err != nil {
		return err
	}
	r := a.reader(s, mem)
	defer a.readers.Put(r)
	r.state, r.floor = state, floor
	for i := range entities {
		if ctx.Err() != nil {
			return driftline.Errorf(driftline.Deadline, "online read was stopped: %w", ctx.Err())
		}
		if entities[i].prefix == nil {
			continue
		}
		event, err := r.read(&entities[i], at, answer.values[i*answer.features:(i+1)*answer.features])
		answer.Events[i] = event
		if answer.Offline[i] = errors.Is(err, errUnknown); err != nil && !answer.Offline[i] {
			return err
		}
	}
	return nil
}

type aggregatedEntity struct {
	prefix         []byte // of its history
	subject, stamp uint64
}

// errUnknown says that the history does not have what an answer needs.
var errUnknown = errors.New("the history does not go back so far, or not to what was known then")

// aggregateReader computes the aggregates of one entity at a time.
type aggregateReader struct {
	*Aggregates
	store  *Store
	mem    memory.Allocator
	answer *aggregate.State // of the query
	event  aggregate.Event

	state *kv.State
	floor int64

	entity *aggregatedEntity
	known  int64 // only what was created by then exists, if the view says so
	spans  [len(tileSpans)]spanCollector
	made   []tile

	routes []aggregateRoute
	chunk  rowChunk
	key    []byte
}

func (a *Aggregates) reader(s *Store, mem memory.Allocator) *aggregateReader {
	r, ok := a.readers.Get().(*aggregateReader)
	if !ok {
		r = &aggregateReader{Aggregates: a, answer: a.query.NewState()}
		r.event.Values = make([]aggregate.Value, len(a.plan.Columns))
		r.event.Passes = make([]bool, len(a.filters))
		for level := range r.spans {
			r.spans[level].reader, r.spans[level].level = r, level
		}
	}
	r.store, r.mem = s, mem
	return r
}

// read computes the values of one entity, and keeps the tiles that it had to make.
func (r *aggregateReader) read(entity *aggregatedEntity, at int64, values []aggregate.Value) (event int64, err error) {
	r.entity, r.made = entity, r.made[:0]
	sink := answerSink{r}
	err = r.query.At(at, false, r.answer, values, func(_ *aggregate.State, span aggregate.Span) error {
		if span.From < r.floor {
			return errUnknown
		}
		r.known = span.Known
		return r.collect(len(tileSpans)-1, span.From, span.To, sink)
	})
	for level := range r.spans {
		r.spans[level].reset() // of a read that failed
	}
	if err != nil {
		return NoTime, err
	}
	if event, err = r.newestEvent(at); err != nil {
		return NoTime, err
	}
	return event, r.keep()
}

// newestEvent returns the time of the newest event in the view's largest window.
func (r *aggregateReader) newestEvent(at int64) (event int64, err error) {
	first := int64(math.MinInt64)
	if at > math.MinInt64+r.longest {
		first = at - r.longest + 1
	}
	event, r.known = NoTime, at
	var failed error
	scanned := r.state.ScanBack(r.keyAt(first), appendIdentityEnd(r.keyAt(at)), func(_, value []byte) bool {
		var stored storedEvent
		if stored, failed = r.decode(value); failed != nil {
			return false
		}
		exists, err := r.exists(stored.created)
		if failed = err; exists {
			event = stored.event
		}
		return !exists && err == nil
	})
	if err := errors.Join(scanned, failed); err != nil {
		return NoTime, err
	}
	if event == NoTime && first < r.floor {
		return NoTime, errUnknown
	}
	return event, nil
}

// exists reports whether a row counts that was created at a time. It fails if the row
// does not, but may have taken the place of one that did.
func (r *aggregateReader) exists(created int64) (bool, error) {
	switch {
	case !r.view.KnownAt:
		return true, nil
	case created == NoTime:
		return false, nil
	case created > r.known:
		return false, errUnknown
	}
	return true, nil
}

// keyAt is what the keys of the entity's rows of an event time begin with.
func (r *aggregateReader) keyAt(event int64) []byte {
	return kv.AppendInt64(slices.Clip(r.entity.prefix), event)
}

// storedEvent is a row of a history.
type storedEvent struct {
	row
	event, created, sequence int64
}

// decode takes a packed row apart, and keeps value.
func (r *aggregateReader) decode(value []byte) (storedEvent, error) {
	event, created, id, rest, ok := splitHeader(value)
	if !ok {
		return storedEvent{}, damagedRow(r.view.Name)
	}
	route, err := r.routeThrough(id)
	if err != nil {
		return storedEvent{}, err
	}
	stored, ok := route.layout.split(rest)
	if !ok {
		return storedEvent{}, damagedRow(r.view.Name)
	}
	sequence, _, err := kv.TakeInt64(value[headerBytes-8:])
	return storedEvent{row: stored, event: event, created: created, sequence: sequence}, err
}

// aggregateRoute says where the columns are in rows of one layout; -1 is nowhere.
type aggregateRoute struct {
	layout *layout
	places []int
}

func (r *aggregateReader) routeThrough(id uint64) (*aggregateRoute, error) {
	for i := range r.routes {
		if r.routes[i].layout.id == id {
			return &r.routes[i], nil
		}
	}
	l, err := r.store.layout(id)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, damagedRow(r.view.Name)
	}
	route := aggregateRoute{layout: l}
	for _, column := range r.columns {
		at, ok := l.places[column.Identity()]
		if !ok {
			at = -1
		} else if stored := l.fields[at].Type; stored != column.Type && !widens(stored, column.Type) {
			return nil, driftline.Errorf(driftline.DataLoss, "feature %q of view %q is stored as %s, want %s", column.Name, r.view.Name, stored, column.Type).
				WithRef(driftline.ViewRef(r.view.Name)).WithHint("give the feature of the new type a new name")
		}
		route.places = append(route.places, at)
	}
	r.routes = append(r.routes, route)
	return &r.routes[len(r.routes)-1], nil
}

// value is the value of one of the columns.
func (e *storedEvent) value(at int) aggregate.Value {
	if at < 0 || e.isNull(at) {
		return aggregate.Value{}
	}
	f := &e.layout.fields[at]
	switch f.Type {
	case driftline.Bool:
		if e.bool(f) {
			return aggregate.Whole(1)
		}
		return aggregate.Whole(0)
	case driftline.Int32:
		return aggregate.Whole(int64(int32(e.uint32(f))))
	case driftline.Float32:
		return aggregate.Fraction(float64(math.Float32frombits(e.uint32(f))))
	case driftline.Float64:
		return aggregate.Fraction(math.Float64frombits(e.uint64(f)))
	case driftline.String, driftline.Bytes:
		return aggregate.Text(e.text(f))
	}
	return aggregate.Whole(int64(e.uint64(f)))
}

// eventOf makes the event that a state takes in.
func (r *aggregateReader) eventOf(stored *storedEvent, passes []bool) (*aggregate.Event, error) {
	route, err := r.routeThrough(stored.layout.id)
	if err != nil {
		return nil, err
	}
	for i := range r.event.Values {
		r.event.Values[i] = stored.value(route.places[i])
	}
	r.event.Time, r.event.Created, r.event.Sequence, r.event.Passes = stored.event, stored.created, stored.sequence, passes
	return &r.event, nil
}
