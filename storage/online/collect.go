package online

import (
	"errors"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/storage/kv"
)

// A span of time is put together from the largest tiles that lie in it, smaller ones where
// there is none, and rows at the edges. All of it is found in the order of time, by few
// passes over neighbouring keys, however many spans are empty:
//
//	collect(1 d)   rows │ 5 min tiles │ 1 h tiles │  1 d tile  │ missing day │ 1 d tile │ 1 h tiles │ …
//	                                                             └ collect(1 h) of it, through a
//	                                                               spanCollector, which makes its tile
//
// A tile is made of a span that has enough in it; what little is in others goes on to the
// next larger span, or into the answer.

// A piece is a row, or a tile that stands for many.
type piece struct {
	storedEvent
	passes []bool // the filters
	tile   []byte // nil for a row
	start  int64  // of the tile
}

func (p *piece) time() int64 {
	if p.tile != nil {
		return p.start
	}
	return p.event
}

// A sink takes pieces in the order of time. A piece is valid only during the call.
type sink interface {
	add(p *piece) error
}

// answerSink adds pieces to the answer.
type answerSink struct{ *aggregateReader }

func (a answerSink) add(p *piece) error { return a.take(a.answer, p) }

// take adds a piece to a state.
func (r *aggregateReader) take(to *aggregate.State, p *piece) error {
	if p.tile != nil {
		return to.Merge(p.tile[tileHeader:])
	}
	event, err := r.eventOf(&p.storedEvent, p.passes)
	if err == nil {
		to.Add(event)
	}
	return err
}

// spanCollector makes tiles of one level.
type spanCollector struct {
	reader *aggregateReader
	level  int
	next   sink // gets the tiles, and the pieces of spans that are not worth one

	some    bool  // whether the span has a piece
	start   int64 // of the span
	weight  int
	held    []piece          // while there are few
	full    bool             // then they are in state
	state   *aggregate.State // nil until it is used for the first time
	created int64            // the last time at which any of it was
}

// A span is worth a tile from this weight on, which tests make smaller. A row weighs 1; to
// merge a tile costs as much as some rows.
var tileWorth = 32

const tileWeight = 4

func (c *spanCollector) add(p *piece) error {
	if start := floorTo(p.time(), tileSpans[c.level]); !c.some || start != c.start {
		if err := c.finish(); err != nil {
			return err
		}
		c.some, c.start, c.created = true, start, NoTime
	}
	c.weight++
	created := p.created
	if p.tile != nil {
		c.weight += tileWeight - 1
		created = tileCreated(p.tile)
	}
	c.created = max(c.created, created)
	if c.full {
		return c.reader.take(c.state, p)
	}
	c.held = append(c.held, p.own())
	if c.weight >= tileWorth {
		return c.fill()
	}
	return nil
}

// fill puts what is held into a state.
func (c *spanCollector) fill() error {
	if c.state == nil {
		c.state = c.reader.plan.NewState()
	}
	c.state.Reset()
	c.full = true
	for i := range c.held {
		if err := c.reader.take(c.state, &c.held[i]); err != nil {
			return err
		}
	}
	c.held = c.held[:0]
	return nil
}

// finish gives on what the span has.
func (c *spanCollector) finish() error {
	if c.full {
		made := tile{level: c.level, start: c.start, value: c.state.AppendTo(kv.AppendInt64(nil, c.created))}
		c.reader.made = append(c.reader.made, made)
		c.reset()
		return c.next.add(&piece{tile: made.value, start: made.start})
	}
	for i := range c.held {
		if err := c.next.add(&c.held[i]); err != nil {
			return err
		}
	}
	c.reset()
	return nil
}

func (c *spanCollector) reset() {
	clear(c.held) // they keep rows of the entity before
	c.some, c.full, c.weight, c.held = false, false, 0, c.held[:0]
}

// own returns a piece that stays valid.
func (p *piece) own() piece {
	out := *p
	if p.tile == nil {
		both := make([]byte, 0, len(p.nulls)+len(p.texts))
		both = append(append(both, p.nulls...), p.texts...)
		out.nulls, out.texts = both[:len(p.nulls):len(p.nulls)], both[len(p.nulls):]
		out.passes = slices.Clone(p.passes)
	}
	return out
}

// collect gives a sink what there is from one time to another, both included, in tiles of
// the level and smaller ones, and rows.
func (r *aggregateReader) collect(level int, from, to int64, into sink) error {
	if from > to {
		return nil
	}
	if level < 0 {
		return r.collectRows(from, to, into)
	}
	span := tileSpans[level]
	first := floorTo(from, span)
	if first < from {
		first += span
	}
	end := floorTo(to, span)
	if to-end == span-1 {
		end += span
	}
	if first >= end || first < from || end < to-span { // none lies within, or at the end of time
		return r.collect(level-1, from, to, into)
	}
	if err := r.collect(level-1, from, first-1, into); err != nil {
		return err
	}
	if err := r.collectTiles(level, first, end, into); err != nil {
		return err
	}
	return r.collect(level-1, end, to, into)
}

// collectTiles gives on the tiles of a level from first up to end, making what is missing.
func (r *aggregateReader) collectTiles(level int, first, end int64, into sink) error {
	found, err := r.tiles(level, first, end)
	if err != nil {
		return err
	}
	for _, t := range found {
		if countTile != nil {
			countTile()
		}
		if err := r.collectMissing(level, first, t.start, into); err != nil {
			return err
		}
		if err := into.add(&piece{tile: t.value, start: t.start}); err != nil {
			return err
		}
		first = t.start + tileSpans[level]
	}
	return r.collectMissing(level, first, end, into)
}

var countTile func() // nil but in tests

func (r *aggregateReader) collectMissing(level int, from, end int64, into sink) error {
	if from == end {
		return nil
	}
	c := &r.spans[level]
	c.next = into
	if err := r.collect(level-1, from, end-1, c); err != nil {
		return err
	}
	return c.finish()
}

// tiles returns the tiles of a level from first up to end that say something.
func (r *aggregateReader) tiles(level int, first, end int64) ([]tile, error) {
	r.key = append(append(r.key[:0], tilePrefix(r.view.Name)...), r.entity.prefix[len(historyPrefix(r.view.Name)):]...)
	r.key = append(r.key, byte(level))
	lower, upper := kv.AppendInt64(slices.Clip(r.key), first), kv.AppendInt64(slices.Clip(r.key), end)
	var found []tile
	var failed error
	err := r.state.Scan(lower, upper, func(key, value []byte) bool {
		if len(value) < tileHeader || !r.plan.Made(value[tileHeader:]) {
			return true // of another definition
		}
		if r.view.KnownAt && tileCreated(value) > r.known {
			failed = errUnknown
			return false
		}
		start, _, err := kv.TakeInt64(key[len(r.key):])
		failed = err
		found = append(found, tile{level: level, start: start, value: slices.Clone(value)})
		return err == nil
	})
	return found, errors.Join(err, failed)
}

// keep writes the tiles that were made, unless a row of the entity was written meanwhile.
func (r *aggregateReader) keep() error {
	if len(r.made) == 0 {
		return nil
	}
	b := r.store.db.NewBatch()
	defer b.Close()
	key := append(tilePrefix(r.view.Name), r.entity.prefix[len(historyPrefix(r.view.Name)):]...)
	end := int64(math.MinInt64)
	for _, t := range r.made {
		end = max(end, t.start+tileSpans[t.level])
		b.Set(kv.AppendInt64(append(slices.Clip(key), byte(t.level)), t.start), t.value)
	}
	return b.CommitDerived(r.entity.subject, r.entity.stamp, end)
}

// rowChunk is rows whose filters are evaluated together.
type rowChunk struct {
	events []storedEvent
	arena  []byte // holds them
}

// chunkRows is how many rows are filtered at a time.
const chunkRows = 256

// collectRows gives on the rows from one time to another.
func (r *aggregateReader) collectRows(from, to int64, into sink) error {
	r.chunk.reset()
	var failed error
	err := r.state.Scan(r.keyAt(from), appendIdentityEnd(r.keyAt(to)), func(_, value []byte) bool {
		failed = r.collectRow(value, into)
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return r.giveChunk(into)
}

func (r *aggregateReader) collectRow(value []byte, into sink) error {
	if len(r.filters) > 0 {
		value = r.chunk.own(value)
	}
	stored, err := r.decode(value)
	if err != nil {
		return err
	}
	if exists, err := r.exists(stored.created); !exists {
		return err
	}
	if len(r.filters) == 0 {
		return into.add(&piece{storedEvent: stored})
	}
	if r.chunk.events = append(r.chunk.events, stored); len(r.chunk.events) == chunkRows {
		return r.giveChunk(into)
	}
	return nil
}

func (c *rowChunk) reset() { c.events, c.arena = c.events[:0], c.arena[:0] }

// own copies a packed row.
func (c *rowChunk) own(value []byte) []byte {
	start := len(c.arena) // rows that were cut from it before keep the old one
	c.arena = append(c.arena, value...)
	return c.arena[start:len(c.arena):len(c.arena)]
}

// giveChunk filters the rows gathered and gives them on.
func (r *aggregateReader) giveChunk(into sink) error {
	events := r.chunk.events
	if len(events) == 0 {
		return nil
	}
	passes, err := r.filter(events)
	if err != nil {
		return err
	}
	for i := range events {
		if err := into.add(&piece{storedEvent: events[i], passes: passes[i*len(r.filters) : (i+1)*len(r.filters)]}); err != nil {
			return err
		}
	}
	r.chunk.reset()
	return nil
}

// filter says of each event which filters are true for it.
func (r *aggregateReader) filter(events []storedEvent) ([]bool, error) {
	passes := make([]bool, len(events)*len(r.filters))
	columns := make([]arrow.Array, len(r.columns))
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for f, filter := range r.filters {
		for _, at := range filter.Reads() {
			if columns[at] == nil {
				var err error
				if columns[at], err = r.column(at, events); err != nil {
					return nil, err
				}
			}
		}
		result, err := filter.Evaluate(r.mem, columns, len(events))
		if err != nil {
			return nil, err
		}
		is := result.Values.(*array.Boolean)
		for i := range events {
			passes[i*len(r.filters)+f] = is.IsValid(i) && is.Value(i)
		}
		is.Release()
	}
	return passes, nil
}

// column is one of the columns of events.
func (r *aggregateReader) column(at int, events []storedEvent) (arrow.Array, error) {
	b := array.NewBuilder(r.mem, r.columns[at].Type.Arrow())
	defer b.Release()
	b.Reserve(len(events))
	for i := range events {
		route, err := r.routeThrough(events[i].layout.id)
		if err != nil {
			return nil, err
		}
		if err := aggregate.Append(b, r.columns[at].Type, events[i].value(route.places[at])); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}
