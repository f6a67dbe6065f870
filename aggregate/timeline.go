package aggregate

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sort"
)

// fanOut is how many events, or summaries of the level below, a summary is of.
const fanOut = 8

// Timeline has the events of one entity in memory and answers a query at any times. A
// window is put together from summaries of 8, 64, 512 … events that follow each other and
// from the events at its two ends, so that a time costs the logarithm of the events in it.
// A summary is made when it is wanted for the second time. A Timeline is not safe for
// concurrent use.
type Timeline struct {
	query   *Query
	knownAt bool
	state   *State // of the query, at the time asked about

	rows    []moment // all versions of all events, as they came
	columns []columnStore
	passes  []bool // by row, as many as the plan has filters

	// By event, in the order of time. They are made of the rows when a time is asked about.
	sealed   bool
	times    []int64
	versions []int32 // rows, event by event, each in order
	ends     []int32 // of the versions of each event

	levels []level // [0] is unused but for newest

	event Event // scratch
}

// columnStore has the values of one column, by row.
type columnStore struct {
	text   bool
	valid  []bool
	bits   []uint64 // of a text: where it ends
	values []byte   // of texts
}

// level has summaries, each of equally many events that follow each other.
type level struct {
	wanted []byte   // how often, up to 2: then there is one
	states [][]byte // the bytes of each
	newest []int64  // the latest time at which a version in it was created
	arena  []byte   // has some of the states
	maker  *State   // of the states
}

// NewTimeline returns a timeline of no events. With knownAt, only rows that were created
// by the time asked about exist; rows without a created time never do.
func (q *Query) NewTimeline(knownAt bool) *Timeline {
	t := &Timeline{query: q, knownAt: knownAt, state: q.NewState()}
	for _, c := range q.plan.Columns {
		t.columns = append(t.columns, columnStore{text: classOf(c.Type) == texts})
	}
	t.event.Values = make([]Value, len(t.columns))
	return t
}

// Reset forgets all events.
func (t *Timeline) Reset() {
	t.sealed = false
	t.rows, t.passes = t.rows[:0], t.passes[:0]
	for i := range t.columns {
		c := &t.columns[i]
		c.valid, c.bits, c.values = c.valid[:0], c.bits[:0], c.values[:0]
	}
}

// Bytes is the memory of the events, without summaries, which are a part of that.
func (t *Timeline) Bytes() int64 {
	const moment, event = 24, 16 // of a row; of times, versions and ends
	bytes := cap(t.rows)*(moment+event) + cap(t.passes)
	for i := range t.columns {
		c := &t.columns[i]
		bytes += cap(c.valid) + 8*cap(c.bits) + cap(c.values)
	}
	return int64(bytes)
}

// Append adds a row of the entity, a copy of e. Rows may come in any order; that of (event
// time, created time, sequence) is the fastest.
func (t *Timeline) Append(e *Event) {
	t.rows = append(t.rows, e.moment())
	t.passes = append(t.passes, e.Passes...)
	for i, v := range e.Values {
		t.columns[i].append(v)
	}
}

func (c *columnStore) append(v Value) {
	c.valid = append(c.valid, v.Valid)
	if c.text {
		c.values = append(c.values, v.Text...)
		v.Bits = uint64(len(c.values))
	}
	c.bits = append(c.bits, v.Bits)
}

func (c *columnStore) at(row int32) Value {
	v := Value{Valid: c.valid[row], Bits: c.bits[row]}
	if c.text {
		begin := uint64(0)
		if row > 0 {
			begin = c.bits[row-1]
		}
		v.Text = c.values[begin:v.Bits]
	}
	return v
}

// seal makes events of the rows.
func (t *Timeline) seal() {
	if t.sealed {
		return
	}
	t.sealed = true
	t.times, t.versions, t.ends = t.times[:0], t.versions[:0], t.ends[:0]
	ordered := true
	for i := range t.rows {
		t.versions = append(t.versions, int32(i))
		ordered = ordered && (i == 0 || t.rows[i-1].compare(t.rows[i]) < 0)
	}
	if !ordered {
		slices.SortFunc(t.versions, func(a, b int32) int { return t.rows[a].compare(t.rows[b]) })
	}
	for begin := 0; begin < len(t.rows); {
		end := begin + 1
		for end < len(t.rows) && t.rows[t.versions[end]].time == t.rows[t.versions[begin]].time {
			end++
		}
		t.sealInstant(begin, end)
		begin = end
	}
	t.measure()
}

// sealInstant makes events of the rows of one time.
func (t *Timeline) sealInstant(begin, end int) {
	versions := t.versions[begin:end]
	var ids *columnStore
	if id := t.query.plan.EventID; id >= 0 && len(versions) > 1 {
		ids = &t.columns[id]
		slices.SortStableFunc(versions, ids.compare)
	}
	for i, row := range versions {
		if ids != nil && i+1 < len(versions) && ids.valid[row] && ids.compare(row, versions[i+1]) == 0 {
			continue // a later version follows; a null is the id of no other
		}
		t.times = append(t.times, t.rows[row].time)
		t.ends = append(t.ends, int32(begin+i+1))
	}
}

// compare orders rows by their values, nulls first.
func (c *columnStore) compare(a, b int32) int {
	x, y := c.at(a), c.at(b)
	switch {
	case !x.Valid && !y.Valid:
		return 0
	case !x.Valid:
		return -1
	case !y.Valid:
		return 1
	case c.text:
		return bytes.Compare(x.Text, y.Text)
	}
	return cmp.Compare(x.Bits, y.Bits)
}

// measure prepares the levels, and says when what they are made of was created.
func (t *Timeline) measure() {
	n := len(t.times)
	for depth := 0; ; depth++ {
		if depth == len(t.levels) {
			t.levels = append(t.levels, level{})
		}
		l := &t.levels[depth]
		l.wanted = append(l.wanted[:0], make([]byte, n)...)
		l.states = append(l.states[:0], make([][]byte, n)...)
		l.newest, l.arena = l.newest[:0], l.arena[:0]
		for i := range n {
			if depth == 0 {
				l.newest = append(l.newest, t.created(i))
			} else {
				below := t.levels[depth-1].newest
				l.newest = append(l.newest, slices.Max(below[i*fanOut:min((i+1)*fanOut, len(below))]))
			}
		}
		if n <= 1 {
			return
		}
		n = (n + fanOut - 1) / fanOut
	}
}

// created is the last time at which a version of the event was.
func (t *Timeline) created(event int) int64 {
	newest := int64(NoCreated)
	for _, row := range t.versionsOf(event) {
		created := t.rows[row].created
		if created == NoCreated && t.knownAt {
			return math.MaxInt64 // always look at the versions
		}
		newest = max(newest, created)
	}
	return newest
}

func (t *Timeline) versionsOf(event int) []int32 {
	begin := int32(0)
	if event > 0 {
		begin = t.ends[event-1]
	}
	return t.versions[begin:t.ends[event]]
}

// At computes the query's values at a time into values, which has one for each feature.
func (t *Timeline) At(at int64, strict bool, values []Value) error {
	t.seal()
	return t.query.At(at, strict, t.state, values, func(s *State, span Span) error {
		from, to := t.between(span.From, span.To)
		return t.take(s, 0, from, to, span.Known)
	})
}

// between returns the events from the first to, but not including, the second, whose time
// is in the span.
func (t *Timeline) between(from, to int64) (int, int) {
	begin := sort.Search(len(t.times), func(i int) bool { return t.times[i] >= from })
	more := sort.Search(len(t.times)-begin, func(i int) bool { return t.times[begin+i] > to })
	return begin, begin + more
}

// take adds the summaries from begin to end of a level, whole ones of the level above
// where there are.
func (t *Timeline) take(s *State, depth, begin, end int, known int64) error {
	for ; begin < end && begin%fanOut != 0; begin++ {
		if err := t.takeOne(s, depth, begin, known); err != nil {
			return err
		}
	}
	whole := end - end%fanOut
	if begin < whole {
		if err := t.take(s, depth+1, begin/fanOut, whole/fanOut, known); err != nil {
			return err
		}
		begin = whole
	}
	for ; begin < end; begin++ {
		if err := t.takeOne(s, depth, begin, known); err != nil {
			return err
		}
	}
	return nil
}

func (t *Timeline) takeOne(s *State, depth, at int, known int64) error {
	if depth == 0 {
		t.takeEvent(s, at, known)
		return nil
	}
	l := &t.levels[depth]
	first, last := at*fanOut, min((at+1)*fanOut, len(t.levels[depth-1].newest))
	if t.knownAt && l.newest[at] > known {
		return t.takeAll(s, depth-1, first, last, known)
	}
	if l.wanted[at]++; l.wanted[at] == 1 {
		return t.takeAll(s, depth-1, first, last, known)
	}
	if l.wanted[at] = 2; l.states[at] == nil {
		if err := t.summarise(depth, at, first, last); err != nil {
			return err
		}
	}
	return s.Merge(l.states[at])
}

// takeAll adds summaries of a level one by one.
func (t *Timeline) takeAll(s *State, depth, begin, end int, known int64) error {
	for i := begin; i < end; i++ {
		if err := t.takeOne(s, depth, i, known); err != nil {
			return err
		}
	}
	return nil
}

// summarise makes the summary of what is from first to last of the level below. With
// knownAt, that is all known at the time that it is made for.
func (t *Timeline) summarise(depth, at, first, last int) error {
	l := &t.levels[depth]
	if l.maker == nil {
		l.maker = t.query.NewState()
	}
	l.maker.Reset()
	if err := t.takeAll(l.maker, depth-1, first, last, math.MaxInt64-1); err != nil {
		return err
	}
	begin := len(l.arena)
	l.arena = l.maker.AppendTo(l.arena)
	l.states[at] = l.arena[begin:len(l.arena):len(l.arena)]
	return nil
}

// takeEvent adds an event as it was known.
func (t *Timeline) takeEvent(s *State, event int, known int64) {
	versions := t.versionsOf(event)
	for i := len(versions) - 1; i >= 0; i-- {
		row := versions[i]
		created := t.rows[row].created
		if t.knownAt && (created > known || created == NoCreated) {
			continue
		}
		t.addRow(s, row)
		return
	}
}

func (t *Timeline) addRow(s *State, row int32) {
	m, n := t.rows[row], int32(len(t.query.plan.Filters))
	t.event.Time, t.event.Created, t.event.Sequence = m.time, m.created, m.sequence
	for i := range t.columns {
		t.event.Values[i] = t.columns[i].at(row)
	}
	t.event.Passes = t.passes[row*n : row*n+n]
	s.Add(&t.event)
}

// NotYetKnown says of each feature whether its window at a time has an event of which a
// version was created after the time: a model trained on the feature's value saw the future.
func (t *Timeline) NotYetKnown(at int64, strict bool, unknown []bool) {
	t.seal()
	for i := range t.query.steps {
		step := &t.query.steps[i]
		known, last, some := stepEnd(at, step.hop, strict)
		later := false
		if some {
			begin, end := t.between(minus(last, step.window-1), last)
			later = t.createdAfter(begin, end, known)
		}
		for _, feature := range step.features {
			unknown[feature] = later
		}
	}
}

// createdAfter reports whether an event from begin to end has a version that was created
// after the time.
func (t *Timeline) createdAfter(begin, end int, known int64) bool {
	for depth := 0; begin < end; depth++ {
		newest := t.levels[depth].newest
		for ; begin < end && begin%fanOut != 0; begin++ {
			if newest[begin] > known {
				return true
			}
		}
		for ; begin < end && end%fanOut != 0; end-- {
			if newest[end-1] > known {
				return true
			}
		}
		begin, end = begin/fanOut, end/fanOut
	}
	return false
}
