package merge

import (
	"context"
	"encoding/binary"
	"math"
	"slices"

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
// the order of the file, or nearly so.
type wanted struct {
	segments []int32 // those that have any
	ends     []int32 // of each its end in rows

	rows   []int32 // of the segment
	answer []int32 // the row of the answer that each is for
	times  []int64 // the time asked about

	counts []int32 // by segment: scratch, all 0
}

// settle drops the candidates that are outside of the view's reach, sets down which rows
// of the answer have one, and puts them together by segment.
func (w *worker[K]) settle(to *wanted, a *Answer) {
	v := w.table.view
	if len(to.counts) < len(w.table.segments) {
		to.counts = make([]int32, len(w.table.segments))
	}
	to.segments = to.segments[:0]
	total := 0
	for i, s := range w.segments {
		if s < 0 {
			continue
		}
		row := w.index.rows[int(w.first)+i]
		if v.EventTime {
			a.setEvent(row, w.events[i])
		}
		if !v.reaches(w.index.times[int(w.first)+i], w.events[i]) {
			w.segments[i] = -1
			continue
		}
		a.found[row] = 1
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
		to.rows[at] = w.rows[i]
		to.answer[at] = w.index.rows[int(w.first)+i]
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

// gather copies all columns of the rows wanted into the answer.
func (w *worker[K]) gather(ctx context.Context, from *wanted, a *Answer, c *column, part int) error {
	if w.table.view.CountUnknown {
		if err := w.markUnknown(from, a, c); err != nil {
			return err
		}
	}
	for i := range a.Columns {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.gatherColumn(from, i, a.Columns[i], c, part); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for each segment that has rows wanted.
func (w *worker[K]) each(from *wanted, do func(s *segment[K], rows, answer []int32, times []int64) error) error {
	begin := int32(0)
	for i, number := range from.segments {
		end := from.ends[i]
		if err := do(&w.table.segments[number], from.rows[begin:end], from.answer[begin:end], from.times[begin:end]); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// markUnknown finds the rows of the answer whose values were written down after their time.
func (w *worker[K]) markUnknown(from *wanted, a *Answer, c *column) error {
	lag := w.table.view.Lag
	return w.each(from, func(s *segment[K], rows, answer []int32, times []int64) error {
		if s.lacksCreated() {
			return nil
		}
		if err := c.open(s.source, s.group, s.source.created, func(t *tail) *columns.Page { return &t.created }); err != nil {
			return err
		}
		for i, row := range rows {
			p, err := c.page(int(row))
			if err != nil {
				return err
			}
			at := int(row) - p.First
			t, _ := minus(times[i], lag)
			if !p.Null(at) && int64(binary.LittleEndian.Uint64(p.Values[8*at:])) > t {
				a.unknown[answer[i]] = 1
			}
		}
		return nil
	})
}

// gatherColumn copies the values of one feature.
func (w *worker[K]) gatherColumn(from *wanted, feature int, to *Column, c *column, part int) error {
	return w.each(from, func(s *segment[K], rows, answer []int32, _ []int64) error {
		how, leaf := copyNothing, -1
		if s.tail != nil {
			how = s.tail.copies[feature]
		} else {
			how, leaf = s.copies[feature], s.features[feature]
		}
		if how == copyNothing {
			to.setNulls(answer)
			return nil
		}
		if err := c.open(s.source, s.group, leaf, func(t *tail) *columns.Page { return &t.features[feature] }); err != nil {
			return err
		}
		for len(rows) > 0 {
			p, err := c.page(int(rows[0]))
			if err != nil {
				return err
			}
			n := 1
			for n < len(rows) && p.Has(int(rows[n])) {
				n++
			}
			if how == copyText {
				if err := to.addText(p, rows[:n], answer[:n], part); err != nil {
					return err
				}
			} else {
				to.copyPage(how, p, rows[:n], answer[:n])
			}
			rows, answer = rows[n:], answer[n:]
		}
		return nil
	})
}

// copyPage copies values of a page to their rows of the answer.
func (c *Column) copyPage(how copying, p *columns.Page, rows, answer []int32) {
	out, in, first := c.raw, p.Values, p.First
	switch how {
	case copy1:
		for i, row := range rows {
			out[answer[i]] = in[int(row)-first]
		}
	case copy4:
		for i, row := range rows {
			v := binary.LittleEndian.Uint32(in[4*(int(row)-first):])
			binary.LittleEndian.PutUint32(out[4*int(answer[i]):], v)
		}
	case copy8:
		for i, row := range rows {
			v := binary.LittleEndian.Uint64(in[8*(int(row)-first):])
			binary.LittleEndian.PutUint64(out[8*int(answer[i]):], v)
		}
	default:
		for i, row := range rows {
			v := widened(how, in[4*(int(row)-first):])
			binary.LittleEndian.PutUint64(out[8*int(answer[i]):], v)
		}
	}
	if p.Valid == nil {
		return
	}
	for i, row := range rows {
		if p.Null(int(row) - first) { // what stands in its place is anything
			at := int(answer[i])
			clear(out[c.width*at:][:c.width])
			c.setNull(answer[i])
		}
	}
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

// textPlace is where the text of a row of the answer is kept.
type textPlace struct {
	part    int32
	at, len uint32
}

// addText keeps a copy of the texts, in the store of this part of the work.
func (c *Column) addText(p *columns.Page, rows, answer []int32, part int) error {
	store := c.texts[part]
	for i, row := range rows {
		at := int(row) - p.First
		if p.Null(at) {
			c.setNull(answer[i])
			continue
		}
		text := p.Bytes(at)
		if len(store)+len(text) > math.MaxUint32 {
			return driftline.Errorf(driftline.Exhausted, "the values of a column are more text than fits").
				WithHint("ask for fewer rows at a time")
		}
		c.places[answer[i]] = textPlace{part: int32(part), at: uint32(len(store)), len: uint32(len(text))}
		store = append(store, text...)
	}
	c.texts[part] = store
	return nil
}
