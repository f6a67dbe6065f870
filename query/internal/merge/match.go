package merge

import (
	"context"
	"math"
	"sort"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/driftline/driftline/storage/columns"
)

// column is one column of a segment: of a file, or of the tail.
type column struct {
	reader columns.Reader
	fixed  *columns.Page

	raw   []byte // words that lie in several pages, laid together
	valid []byte
}

// open makes c read the leaf of a file's row group, or the page of a tail.
func (c *column) open(s *source, group, leaf int, page func(t *tail) *columns.Page) error {
	if s.tail != nil {
		c.fixed = page(s.tail)
		return nil
	}
	c.fixed = nil
	return c.reader.Open(s.file, group, leaf)
}

// page returns a page that has the row from, and those before to if one page has them.
func (c *column) page(from, to int) (*columns.Page, error) {
	if c.fixed != nil {
		return c.fixed, nil
	}
	return c.reader.PageOf(from, to)
}

// words are values of eight bytes.
type words struct {
	values []int64
	valid  []byte // bitmap; nil if all are
	first  int    // the bit of the first
}

func (w words) null(i int) bool {
	return w.valid != nil && !bitutil.BitIsSet(w.valid, w.first+i)
}

// words returns the values of rows from to to. They are valid until the next call.
func (c *column) words(from, to int) (words, error) {
	p, err := c.page(from, to)
	if err != nil {
		return words{}, err
	}
	if p.Has(to - 1) {
		return words{values: valuesOf[int64](p.Values[8*(from-p.First) : 8*(to-p.First)]), valid: p.Valid, first: from - p.First}, nil
	}
	n := to - from
	if cap(c.raw) < 8*n {
		c.raw, c.valid = make([]byte, 8*n), make([]byte, (n+7)/8)
	}
	c.raw, c.valid = c.raw[:8*n], c.valid[:(n+7)/8]
	nulls := false
	for row := from; row < to; {
		p, err := c.page(row, to)
		if err != nil {
			return words{}, err
		}
		m := min(p.First+p.Rows, to) - row
		copy(c.raw[8*(row-from):], p.Values[8*(row-p.First):8*(row-p.First+m)])
		if p.Valid != nil {
			nulls = true
			bitutil.CopyBitmap(p.Valid, row-p.First, m, c.valid, row-from)
		} else {
			bitutil.SetBitsTo(c.valid, int64(row-from), int64(m), true)
		}
		row += m
	}
	if !nulls {
		return words{values: valuesOf[int64](c.raw)}, nil
	}
	return words{values: valuesOf[int64](c.raw), valid: c.valid}, nil
}

// after returns how many of ascending values are at most t, of which it is known that the
// first ones are. Who asks for one t after the other, in their order, gives the distance
// that is to be expected from one answer to the next.
func after(values []int64, t int64, first, distance int) int {
	low, high := first, len(values)
	for low+distance < high {
		if values[low+distance-1] > t {
			high = low + distance - 1
			break
		}
		low += distance
	}
	const few = 16 // that are looked at one by one faster than they are halved
	for high-low > few {
		if middle := int(uint(low+high) / 2); values[middle] <= t {
			low = middle + 1
		} else {
			high = middle
		}
	}
	for low < high && values[low] <= t {
		low++
	}
	return low
}

// worker joins tasks of one table, one after the other.
type worker[K key] struct {
	table    *table[K]
	index    *index[K]
	unmapped bool // files are read so

	reader         columns.Reader
	runs           columns.Runs
	from, to       []int32 // the rows of each run that has a key
	keys           []K
	text           []byte
	ends           []int32
	event, created column
	standing       minima

	// The candidates of the task at hand, by place from its first one on.
	first    int32
	segments []int32 // -1 for none
	rows     []int32
	events   []int64

	order []orderReader // by source
}

// orderReader reads created timestamp and sequence of one segment of a source.
type orderReader struct {
	segment           int32 // -1 for none yet
	created, sequence column
}

func newWorker[K key](t *table[K], x *index[K], unmapped bool) *worker[K] {
	w := &worker[K]{table: t, index: x, unmapped: unmapped, order: make([]orderReader, t.sources)}
	w.reader.Unmapped, w.event.reader.Unmapped, w.created.reader.Unmapped = unmapped, unmapped, unmapped
	for i := range w.order {
		w.order[i].segment = -1
		w.order[i].created.reader.Unmapped, w.order[i].sequence.reader.Unmapped = unmapped, unmapped
	}
	return w
}

// match finds the rows for the places from to to of the index.
func (w *worker[K]) match(ctx context.Context, from, to int32) error {
	n := int(to - from)
	w.first = from
	w.segments, w.rows, w.events = resize(w.segments, n), resize(w.rows, n), resize(w.events, n)
	for i := range w.segments {
		w.segments[i] = -1
	}
	k0, k1 := w.index.at(from), w.index.at(to-1)
	for i := range w.table.segments {
		s := &w.table.segments[i]
		if !s.mayHave(w.index.keys[k0], w.index.keys[k1]) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.matchSegment(int32(i), k0, k1+1, from, to); err != nil {
			return err
		}
	}
	return nil
}

// fewRows is of how many rows of a large table one at most is wanted where it is read
// without mapping it. To map the 64 KiB around a value, which are 8,192 rows of a column,
// and to let go of them takes as long as three to eight calls that read a value, depending
// on how the system keeps the file in its cache.
const fewRows = 1024

// wantsFew reports whether the table is large, and so many rows are few of it.
func (t *table[K]) wantsFew(rows int) bool {
	return t.unmapped || t.isLarge() && rows < t.rows/fewRows
}

func (t *table[K]) unmap() { t.unmapped = true }

// isLarge reports whether the table is not left mapped between two tasks. To map pages again
// takes a tenth of the time of a join.
func (t *table[K]) isLarge() bool { return t.bytes > columns.MostMapped }

// forget unmaps what was read for the places from first to last of a table that is large.
func (w *worker[K]) forget(first, last int32) {
	if !w.table.isLarge() || w.unmapped {
		return
	}
	least, most := w.index.keys[w.index.at(first)], w.index.keys[w.index.at(last)]
	for i := range w.table.segments {
		if s := &w.table.segments[i]; s.file != nil && s.mayHave(least, most) {
			s.file.Forget(s.group)
		}
	}
}

func resize[T any](have []T, n int) []T {
	if cap(have) < n {
		return make([]T, n)
	}
	return have[:n]
}

// matchSegment walks over the runs of a segment and the keys k0 to k1 side by side.
func (w *worker[K]) matchSegment(number int32, k0, k1 int, from, to int32) error {
	s := &w.table.segments[number]
	if err := w.readRuns(s); err != nil {
		return err
	}
	opened := false
	keys := w.index.keys[:k1]
	for run, k := 0, k0; run < len(w.keys) && k < k1; {
		switch {
		case keys[k] < w.keys[run]:
			k = leap(keys, k, w.keys[run])
		case w.keys[run] < keys[k]:
			run = leap(w.keys, run, keys[k])
		default:
			if !opened {
				if err := w.openTimes(s); err != nil {
					return err
				}
				opened = true
			}
			if err := w.matchRun(number, run, max(w.index.first[k], from), min(w.index.first[k+1], to)); err != nil {
				return err
			}
			run++ // the next run may have the same key
		}
	}
	return nil
}

// leap returns the first place from at on that has at least the key.
func leap[K key](keys []K, at int, least K) int {
	step := 1
	for at+step < len(keys) && keys[at+step] < least {
		at += step
		step *= 2
	}
	return at + 1 + sort.Search(min(step, len(keys)-at)-1, func(i int) bool { return keys[at+1+i] >= least })
}

func (w *worker[K]) openTimes(s *segment[K]) error {
	if err := w.event.open(s.source, s.group, s.event, func(t *tail) *columns.Page { return &t.event }); err != nil {
		return err
	}
	if !w.table.view.KnownAt || s.lacksCreated() {
		return nil
	}
	return w.created.open(s.source, s.group, s.source.created, func(t *tail) *columns.Page { return &t.created })
}

// lacksCreated reports whether all created timestamps of the source are null.
func (s *source) lacksCreated() bool {
	if s.tail != nil {
		return s.tail.created.Rows == 0
	}
	return s.created < 0
}

// readRuns reads the runs of a segment that have a key.
func (w *worker[K]) readRuns(s *segment[K]) error {
	if s.tail != nil {
		w.from, w.to = append(w.from[:0], s.tail.from...), append(w.to[:0], s.tail.to...)
		switch keys := any(&w.keys).(type) {
		case *[]uint64:
			*keys = append((*keys)[:0], s.tail.numbers...)
		case *[]string:
			*keys = append((*keys)[:0], s.tail.texts...)
		}
		return nil
	}
	if err := w.runs.Read(&w.reader, s.file, s.group, s.keys); err != nil {
		return err
	}
	w.from, w.to = w.from[:0], w.to[:0]
	switch keys := any(&w.keys).(type) {
	case *[]uint64:
		*keys = (*keys)[:0]
		for run := range w.runs.Len() {
			if number, ok := s.number64(&w.runs, run); ok {
				*keys = append(*keys, number)
				w.addRun(run)
			}
		}
	case *[]string:
		w.readTexts(s, keys)
	}
	return nil
}

func (w *worker[K]) addRun(run int) {
	w.from, w.to = append(w.from, w.runs.Starts[run]), append(w.to, w.runs.Starts[run+1])
}

// number64 is the key of a run that is a number; a view without keys has the key 0.
func (s *segment[K]) number64(runs *columns.Runs, run int) (uint64, bool) {
	if len(s.keys) == 0 {
		return 0, true
	}
	p := &runs.Values[0]
	if p.Null(run) {
		return 0, false
	}
	return s.coder.raw[0](p.Values[run*p.Width:])
}

// readTexts lays the keys of all runs into one text, and then cuts it.
func (w *worker[K]) readTexts(s *segment[K], keys *[]string) {
	w.text, w.ends = w.text[:0], w.ends[:0]
	for run := range w.runs.Len() {
		begin, ok := len(w.text), true
		for i := range s.keys {
			if w.text, ok = s.coder.appendPart(w.text, &w.runs.Values[i], run, i, len(s.keys)); !ok {
				break
			}
		}
		if !ok {
			w.text = w.text[:begin]
			continue
		}
		w.ends = append(w.ends, int32(len(w.text)))
		w.addRun(run)
	}
	*keys = (*keys)[:0]
	begin := int32(0)
	for _, end := range w.ends {
		*keys = append(*keys, unsafe.String(unsafe.SliceData(w.text[begin:]), end-begin)) // as long as text is not written to
		begin = end
	}
}

// matchRun offers the right row of a run to each place from from to to, whose keys are the run's.
func (w *worker[K]) matchRun(number int32, run int, from, to int32) error {
	s := &w.table.segments[number]
	first := int(w.from[run])
	events, err := w.event.words(first, int(w.to[run]))
	if err != nil {
		return err
	}
	untimed := 0 // a row without an event time is none; such rows come first
	for untimed < len(events.values) && events.null(untimed) {
		untimed++
	}
	first += untimed
	known := events.values[untimed:]
	if len(known) == 0 || from >= to {
		return nil
	}
	v := w.table.view
	var created words
	if v.KnownAt {
		if s.lacksCreated() {
			return nil
		}
		if created, err = w.created.words(first, int(w.to[run])); err != nil {
			return err
		}
		w.standing.reset(created)
	}
	n, distance := 0, max(len(known)/int(to-from), 1)
	for place := from; place < to; place++ {
		t, ok := minus(w.index.times[place], v.Lag)
		if !ok {
			continue
		}
		last := t
		if v.Strict {
			if last, ok = minus(t, 1); !ok {
				continue
			}
		}
		n = after(known, last, n, distance)
		right := n
		switch {
		case v.ahead():
			if n == len(known) {
				continue
			}
			right = after(known, known[n], n, 1)
		case v.KnownAt:
			right = w.standing.last(n, t)
		}
		if right > 0 {
			if err := w.offer(place-w.first, number, int32(first+right-1), known[right-1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// minus returns t − d, and false if that is less than every time.
func minus(t, d int64) (int64, bool) {
	if t < math.MinInt64+d {
		return 0, false
	}
	return t - d, true
}

// offer keeps a row as the candidate of a place if it is better than the one there is.
func (w *worker[K]) offer(place, segment, row int32, event int64) error {
	have := w.segments[place]
	if have >= 0 {
		better := event > w.events[place]
		if w.table.view.ahead() {
			better = event < w.events[place]
		}
		if event == w.events[place] {
			later, err := w.isLater(segment, row, have, w.rows[place])
			if err != nil {
				return err
			}
			better = later
		}
		if !better {
			return nil
		}
	}
	w.segments[place], w.rows[place], w.events[place] = segment, row, event
	return nil
}

// isLater reports whether a row has a greater (created, sequence) than another one of the
// same event time.
func (w *worker[K]) isLater(segment, row, otherSegment, otherRow int32) (bool, error) {
	a, b := &w.table.segments[segment], &w.table.segments[otherSegment]
	if a.number == b.number {
		return segment > otherSegment || segment == otherSegment && row > otherRow, nil
	}
	created, sequence, err := w.orderOf(segment, row)
	if err != nil {
		return false, err
	}
	otherCreated, otherSequence, err := w.orderOf(otherSegment, otherRow)
	if err != nil || created == otherCreated {
		return sequence > otherSequence, err
	}
	return created > otherCreated, nil
}

// orderOf returns created timestamp and sequence of a row. A null created timestamp is
// the lowest one, which nothing else but the least time equals; then both are followed
// by sequence.
func (w *worker[K]) orderOf(segment, row int32) (created, sequence int64, err error) {
	s := &w.table.segments[segment]
	o := &w.order[s.number]
	hasCreated := w.table.view.Created.Name != "" && !s.lacksCreated()
	if o.segment != segment {
		o.segment = -1
		if err := o.sequence.open(s.source, s.group, s.sequence, func(t *tail) *columns.Page { return &t.sequence }); err != nil {
			return 0, 0, err
		}
		if hasCreated {
			if err := o.created.open(s.source, s.group, s.source.created, func(t *tail) *columns.Page { return &t.created }); err != nil {
				return 0, 0, err
			}
		}
		o.segment = segment
	}
	created = math.MinInt64
	if hasCreated {
		v, err := o.created.words(int(row), int(row)+1)
		if err != nil {
			return 0, 0, err
		}
		if !v.null(0) {
			created = v.values[0]
		}
	}
	v, err := o.sequence.words(int(row), int(row)+1)
	if err != nil {
		return 0, 0, err
	}
	return created, v.values[0], nil
}

// minima finds, in a run, the last row that was created by some time. It looks back a few
// rows; if there are more that were created later, as after a backfill, it goes up a tree
// of minima, so that no history is slow.
type minima struct {
	created words
	levels  [][]int64 // the least of 64 of the level below; made when they are needed
	made    bool
}

const fanOut = 64

func (m *minima) reset(created words) {
	m.created, m.made = created, false
}

// standing reports whether the row was created by t.
func (m *minima) standing(i int, t int64) bool { return m.created.values[i] <= t && !m.created.null(i) }

// last returns how many of the first n rows remain if those at the end that were not
// created by t are left out.
func (m *minima) last(n int, t int64) int {
	for stop := max(n-fanOut, 0); n > stop; n-- {
		if m.standing(n-1, t) {
			return n
		}
	}
	for n > 0 {
		if n%fanOut == 0 {
			if n = m.skip(n/fanOut, t) * fanOut; n == 0 {
				return 0
			}
		}
		if m.standing(n-1, t) {
			return n
		}
		n--
	}
	return 0
}

// skip returns how many of the first blocks remain if those at the end that hold nothing
// created by t are left out.
func (m *minima) skip(blocks int, t int64) int {
	m.make()
	level := 0
	for blocks > 0 {
		switch {
		case blocks%fanOut == 0 && level+1 < len(m.levels) && m.levels[level+1][blocks/fanOut-1] > t:
			blocks /= fanOut
			level++
			blocks--
		case m.levels[level][blocks-1] > t:
			blocks--
		case level == 0:
			return blocks
		default:
			blocks *= fanOut
			level--
		}
	}
	return 0
}

func (m *minima) make() {
	if m.made {
		return
	}
	m.made = true
	n := len(m.created.values)
	m.levels = m.levels[:0]
	level := make([]int64, 0, n/fanOut+1)
	for from := 0; from < n; from += fanOut {
		least := int64(math.MaxInt64)
		for i := from; i < min(from+fanOut, n); i++ {
			if v := m.created.values[i]; v < least && !m.created.null(i) {
				least = v
			}
		}
		level = append(level, least)
	}
	m.levels = append(m.levels, level)
	for len(level) > fanOut {
		up := make([]int64, 0, len(level)/fanOut+1)
		for from := 0; from < len(level); from += fanOut {
			least := level[from]
			for _, v := range level[from:min(from+fanOut, len(level))] {
				least = min(least, v)
			}
			up = append(up, least)
		}
		m.levels, level = append(m.levels, up), up
	}
}
