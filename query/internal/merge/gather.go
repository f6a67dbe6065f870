package merge

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// copying is how a value gets from where it is stored into the answer.
type copying int

const (
	copyNothing copying = iota // the file is older than the column: every value is null
	copy1
	copy4
	copy8
	copyInt32AsInt64
	copyInt32AsFloat64
	copyFloat32AsFloat64
	copyText
)

// copyingOf returns false if a value of the one type cannot be told as the other.
func copyingOf(stored, wanted arrow.DataType) (copying, bool) {
	if stored == nil {
		return copyNothing, false
	}
	switch from, to := stored.ID(), wanted.ID(); {
	case from == arrow.TIMESTAMP || to == arrow.TIMESTAMP:
		return copy8, isMicroseconds(stored) && isMicroseconds(wanted)
	case from == to:
		switch to {
		case arrow.BOOL:
			return copy1, true
		case arrow.INT32, arrow.FLOAT32:
			return copy4, true
		case arrow.INT64, arrow.FLOAT64:
			return copy8, true
		case arrow.STRING, arrow.BINARY:
			return copyText, true
		}
	case from == arrow.INT32 && to == arrow.INT64:
		return copyInt32AsInt64, true
	case from == arrow.INT32 && to == arrow.FLOAT64:
		return copyInt32AsFloat64, true
	case from == arrow.FLOAT32 && to == arrow.FLOAT64:
		return copyFloat32AsFloat64, true
	}
	return copyNothing, false
}

// wanted are the rows of one task, put together by segment. Within a segment they are in
// the order of the file, or nearly so. The i-th has the record first + i.
type wanted struct {
	segments []int32 // those that have any
	ends     []int32 // of each its end in rows

	first  int
	rows   []int32 // of the segment
	answer []int32 // the row of the spine that each is for
	times  []int64 // the time asked about

	counts []int32 // by segment: scratch, all 0
}

// settle drops the candidates that are outside of the view's reach, numbers the records of
// the others, and puts them together by segment.
func (w *worker[K]) settle(to *wanted, a *Answer) {
	v := w.table.view
	if len(to.counts) < len(w.table.segments) {
		to.counts = make([]int32, len(w.table.segments))
	}
	to.segments = to.segments[:0]
	to.first = int(w.first) + 1 // tasks have places of their own, and the record 0 is none's
	total := 0
	for i, s := range w.segments {
		if s < 0 {
			continue
		}
		if v.EventTime {
			a.events.set(w.index.rows[int(w.first)+i], w.events[i])
		}
		if !v.reaches(w.index.times[int(w.first)+i], w.events[i]) {
			w.segments[i] = -1
			continue
		}
		if to.counts[s] == 0 {
			to.segments = append(to.segments, s)
		}
		to.counts[s]++
		total++
	}
	slices.Sort(to.segments)
	to.ends = to.ends[:0]
	sum := int32(0)
	for _, s := range to.segments {
		sum += to.counts[s]
		to.ends = append(to.ends, sum)
		to.counts[s] = sum - to.counts[s] // from here on: the next free place
	}
	to.rows, to.answer, to.times = resize(to.rows, total), resize(to.answer, total), resize(to.times, total)
	for i, s := range w.segments {
		if s < 0 {
			continue
		}
		at := to.counts[s]
		to.counts[s]++
		row := w.index.rows[int(w.first)+i]
		a.numbers[row] = int32(to.first) + at
		to.rows[at], to.answer[at] = w.rows[i], row
		to.times[at] = w.index.times[int(w.first)+i]
	}
	for _, s := range to.segments {
		to.counts[s] = 0
	}
}

// reaches reports whether a row of that event time counts at the time asked about. That
// the event is on the right side of it is known.
func (v *View) reaches(t, event int64) bool {
	t, _ = minus(t, v.Lag)
	switch {
	case v.ahead():
		return t > math.MaxInt64-v.Horizon || event <= t+v.Horizon
	case v.TTL >= 0:
		oldest, ok := minus(t, v.TTL)
		return !ok || event >= oldest
	}
	return true
}

// gather copies all features of the rows wanted into their records.
func (w *worker[K]) gather(ctx context.Context, from *wanted, a *Answer, own *scratch, part int) error {
	if w.table.view.CountUnknown {
		if err := w.markUnknown(from, a, &own.open(1)[0]); err != nil {
			return err
		}
	}
	for _, r := range a.records {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.each(from, func(s *segment[K], begin, end int) error {
			g := gathering[K]{segment: s, records: r, columns: own.open(len(r.columns)), part: part, unmapped: w.unmapped}
			return g.copy(from.rows[begin:end], from.first+begin)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls do for each segment that has rows wanted: those from begin to end.
func (w *worker[K]) each(from *wanted, do func(s *segment[K], begin, end int) error) error {
	begin := 0
	for i, number := range from.segments {
		end := int(from.ends[i])
		if err := do(&w.table.segments[number], begin, end); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// markUnknown finds the rows of the spine whose record was written down after their time.
func (w *worker[K]) markUnknown(from *wanted, a *Answer, c *column) error {
	lag := w.table.view.Lag
	c.reader.Unmapped = w.unmapped
	return w.each(from, func(s *segment[K], begin, end int) error {
		if s.lacksCreated() {
			return nil
		}
		if err := c.open(s.source, s.group, s.source.created, func(t *tail) *columns.Page { return &t.created }); err != nil {
			return err
		}
		for i := begin; i < end; i++ {
			row := int(from.rows[i])
			p, err := c.page(row, row+1)
			if err != nil {
				return err
			}
			at := row - p.First
			t, _ := minus(from.times[i], lag)
			if !p.Null(at) && int64(binary.LittleEndian.Uint64(p.Values[8*at:])) > t {
				a.unknown[from.answer[i]] = 1
			}
		}
		return nil
	})
}

// gathering is the copying of some features of rows of one segment.
type gathering[K key] struct {
	segment *segment[K]
	records *records
	columns []column // of the segment, one for each feature
	part    int

	unmapped bool // the file is read so
}

// copy copies rows into the records from first on: a block of rows at a time, so that the
// block stays in the nearest cache while one feature after the other is laid into it.
func (g *gathering[K]) copy(rows []int32, first int) error {
	for i := range g.columns {
		if err := g.open(i); err != nil {
			return err
		}
	}
	for len(rows) > 0 {
		n := min(len(rows), blockRows)
		for i, c := range g.records.columns {
			if err := g.copyColumn(i, c, rows[:n], first); err != nil {
				return err
			}
		}
		rows, first = rows[n:], first+n
	}
	return nil
}

// copying returns how the i-th feature is copied, and the leaf of the file where it is.
func (g *gathering[K]) copying(i int) (how copying, leaf int) {
	i += g.records.first
	if g.segment.tail != nil {
		return g.segment.tail.copies[i], -1
	}
	return g.segment.copies[i], g.segment.features[i]
}

func (g *gathering[K]) open(i int) error {
	how, leaf := g.copying(i)
	if how == copyNothing {
		return nil
	}
	g.columns[i].reader.Unmapped = g.unmapped
	return g.columns[i].open(g.segment.source, g.segment.group, leaf, func(t *tail) *columns.Page { return &t.features[g.records.first+i] })
}

// copyColumn copies the i-th feature of rows that follow each other in the records.
func (g *gathering[K]) copyColumn(i int, to *answerColumn, rows []int32, first int) error {
	how, _ := g.copying(i)
	if how == copyNothing {
		for n := range rows {
			g.records.setNull(to, first+n)
		}
		return nil
	}
	for len(rows) > 0 {
		p, err := g.columns[i].page(int(rows[0]), g.reach(rows))
		if err != nil {
			return err
		}
		n := 1
		for n < len(rows) && p.Has(int(rows[n])) {
			n++
		}
		if how == copyText {
			err = g.records.copyTexts(to, p, rows[:n], first, g.part)
		} else {
			g.records.copyPage(to, how, p, rows[:n], first)
		}
		if err != nil {
			return err
		}
		rows, first = rows[n:], first+n
	}
	return nil
}

// nearRows is how many rows apart two are that are read at once without being mapped: it is
// a call less, and a few hundred bytes more.
const nearRows = 64

// reach returns up to which row it is worth reading at once, from the first of rows on.
func (g *gathering[K]) reach(rows []int32) int {
	end := rows[0] + 1
	if !g.unmapped {
		return int(end) // a page is seen as a whole
	}
	for _, row := range rows[1:] {
		if row < rows[0] || row > end+nearRows {
			break
		}
		end = max(end, row+1)
	}
	return int(end)
}

// setNull marks the value of a column as null, in a record that has one.
func (r *records) setNull(c *answerColumn, record int) {
	clear(r.raw[record*r.width+c.offset:][:c.width])
	c.setNull(record, len(r.raw)/r.width)
}

// copyPage copies values of a page into the records from first on.
func (r *records) copyPage(c *answerColumn, how copying, p *columns.Page, rows []int32, first int) {
	out := r.raw[first*r.width+c.offset:]
	switch how {
	case copy1:
		copyRows[uint8](out, r.width, p, rows)
	case copy4:
		copyRows[uint32](out, r.width, p, rows)
	case copy8:
		copyRows[uint64](out, r.width, p, rows)
	default:
		for i, row := range rows {
			v := widened(how, p.Values[4*(int(row)-p.First):])
			binary.LittleEndian.PutUint64(out[i*r.width:], v)
		}
	}
	if p.Valid == nil {
		return
	}
	for i, row := range rows {
		if p.Null(int(row) - p.First) { // what stands in its place is anything
			r.setNull(c, first+i)
		}
	}
}

// copyRows copies values of rows of a page to places that are so many bytes apart. It is
// bound by how many loads are on their way at the same time, so the loop is kept short.
func copyRows[T uint8 | uint32 | uint64](to []byte, apart int, p *columns.Page, rows []int32) {
	values := valuesOf[T](p.Values)
	_ = to[(len(rows)-1)*apart:][:unsafe.Sizeof(values[0])]
	at := unsafe.Pointer(unsafe.SliceData(to))
	for i, row := range rows {
		*(*T)(unsafe.Add(at, i*apart)) = values[int(row)-p.First]
	}
}

// valuesOf returns bytes as the values that they are, which need not be aligned.
func valuesOf[T uint8 | uint32 | uint64 | int64](raw []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/int(unsafe.Sizeof(*new(T))))
}

// widened returns a value of four bytes as one of eight.
func widened(how copying, raw []byte) uint64 {
	v := binary.LittleEndian.Uint32(raw)
	switch how {
	case copyInt32AsInt64:
		return uint64(int64(int32(v)))
	case copyInt32AsFloat64:
		return math.Float64bits(float64(int32(v)))
	}
	return math.Float64bits(float64(math.Float32frombits(v)))
}

// copyTexts keeps a copy of the texts of a page, in the store of this part of the work, and
// puts where they are into the records from first on.
func (r *records) copyTexts(c *answerColumn, p *columns.Page, rows []int32, first, part int) error {
	store := c.texts[part]
	for i, row := range rows {
		at := int(row) - p.First
		if p.Null(at) {
			r.setNull(c, first+i)
			continue
		}
		text := p.Bytes(at)
		if len(store)+len(text) > math.MaxUint32 {
			return driftline.Errorf(driftline.Exhausted, "the values of a column are more text than fits").
				WithHint("ask for fewer rows at a time")
		}
		place := textPlace{part: uint32(part), at: uint32(len(store)), len: uint32(len(text))}
		place.put(r.raw[(first+i)*r.width+c.offset:])
		store = append(store, text...)
	}
	c.texts[part] = store
	return nil
}
