package merge

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Arrays returns the features in n rows of the spine, from from on, and after them the
// event times if they were asked for. The caller releases them.
func (a *Answer) Arrays(from, n int) []arrow.Array {
	l := layout{mem: a.mem, numbers: a.numbers[from : from+n]}
	l.valid, l.nulls = l.bits(func(i int) bool { return l.numbers[i] != 0 })
	defer l.release()
	arrays := make([]arrow.Array, 0, len(a.columns)+1)
	for _, r := range a.records {
		arrays = append(arrays, l.lay(r)...)
	}
	if a.events != nil {
		arrays = append(arrays, l.eventTimes(a.events, from))
	}
	return arrays
}

// RowBytes is how many bytes a row of the arrays takes, texts apart.
func (a *Answer) RowBytes() (bytes int) {
	for _, c := range a.columns {
		if bytes += c.width; c.texts != nil {
			bytes += 4 - c.width // the end of each
		}
	}
	if a.events != nil {
		bytes += 8
	}
	return bytes
}

// TextBytes is how many bytes the texts of n rows take.
func (a *Answer) TextBytes(from, n int) (bytes int64) {
	for _, r := range a.records {
		for _, c := range r.columns {
			if c.texts == nil {
				continue
			}
			for _, number := range a.numbers[from : from+n] {
				bytes += int64(textPlaceOf(r.raw[int(number)*r.width+c.offset:]).len)
			}
		}
	}
	return bytes
}

// Unknown counts the values of a feature, in n rows from from on, whose row was created
// after the time asked about.
func (a *Answer) Unknown(feature, from, n int) (count int64) {
	if a.unknown == nil {
		return 0
	}
	nulls := a.columns[feature].nulls
	for i, unknown := range a.unknown[from : from+n] {
		if unknown != 0 && (nulls == nil || !nulls.has(int(a.numbers[from+i]))) {
			count++
		}
	}
	return count
}

// layout brings the records of some rows of the spine into their order.
type layout struct {
	mem     memory.Allocator
	numbers []int32 // of the records

	valid *memory.Buffer // bitmap of the rows that have a record; nil if all have
	nulls int            // rows that have none
}

func (l *layout) release() {
	if l.valid != nil {
		l.valid.Release()
	}
}

func (l *layout) buffer(bytes int) *memory.Buffer {
	b := memory.NewResizableBuffer(l.mem)
	b.Resize(bytes)
	return b
}

// bits makes a validity bitmap of the rows for which is holds, nil if it does for all, and
// counts the others.
func (l *layout) bits(is func(row int) bool) (valid *memory.Buffer, nulls int) {
	valid = l.buffer((len(l.numbers) + 7) / 8)
	bytes := valid.Bytes()
	clear(bytes)
	for i := range l.numbers {
		if is(i) {
			bytes[i>>3] |= 1 << (i & 7)
		} else {
			nulls++
		}
	}
	if nulls == 0 {
		valid.Release()
		return nil, 0
	}
	return valid, nulls
}

// blockRows is how many rows are laid out column by column, before the next ones are: their
// records stay in the nearest cache meanwhile.
const blockRows = 256

// lay makes the arrays of the features that are in r.
func (l *layout) lay(r *records) []arrow.Array {
	values := make([]*memory.Buffer, len(r.columns))
	for i, c := range r.columns {
		values[i] = l.buffer(len(l.numbers) * c.width)
	}
	for from := 0; from < len(l.numbers); from += blockRows {
		numbers := l.numbers[from:min(from+blockRows, len(l.numbers))]
		for i, c := range r.columns {
			r.copyColumn(c, numbers, values[i].Bytes()[from*c.width:])
		}
	}
	arrays := make([]arrow.Array, len(r.columns))
	for i, c := range r.columns {
		arrays[i] = l.array(c, values[i])
		values[i].Release()
	}
	return arrays
}

// copyColumn copies the values of one feature from the records with those numbers.
func (r *records) copyColumn(c *answerColumn, numbers []int32, to []byte) {
	from := r.raw[c.offset:]
	switch c.width {
	case 1:
		copyRecords[uint8](to, from, r.width, numbers)
	case 4:
		copyRecords[uint32](to, from, r.width, numbers)
	case 8:
		copyRecords[uint64](to, from, r.width, numbers)
	default:
		for i, number := range numbers {
			copy(to[c.width*i:], from[int(number)*r.width:][:c.width])
		}
	}
}

// copyRecords copies values that are so many bytes apart.
func copyRecords[T uint8 | uint32 | uint64](to, from []byte, apart int, numbers []int32) {
	values := valuesOf[T](to)[:len(numbers)]
	at, last := unsafe.Pointer(unsafe.SliceData(from)), len(from)-int(unsafe.Sizeof(*new(T)))
	for i, number := range numbers {
		offset := int(number) * apart
		if uint(offset) > uint(last) {
			panic("merge: a record that there is not")
		}
		values[i] = *(*T)(unsafe.Add(at, offset))
	}
}

// array makes the array of a feature of values that are in the order of the rows.
func (l *layout) array(c *answerColumn, values *memory.Buffer) arrow.Array {
	valid, nulls := l.valid, l.nulls
	if c.nulls != nil {
		if valid, nulls = l.bits(func(i int) bool { return l.numbers[i] != 0 && !c.nulls.has(int(l.numbers[i])) }); valid != nil {
			defer valid.Release()
		}
	}
	buffers := []*memory.Buffer{valid, values}
	switch {
	case c.texts != nil:
		buffers = append(buffers[:1], l.texts(c, values.Bytes())...)
	case c.dt.ID() == arrow.BOOL:
		buffers[1] = l.packed(values.Bytes())
	default:
		values.Retain()
	}
	defer releaseBuffers(buffers[1:])
	return makeArray(c.dt, len(l.numbers), nulls, buffers)
}

func releaseBuffers(buffers []*memory.Buffer) {
	for _, b := range buffers {
		b.Release()
	}
}

func makeArray(dt arrow.DataType, rows, nulls int, buffers []*memory.Buffer) arrow.Array {
	data := array.NewData(dt, rows, buffers, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

// packed makes bits of bytes that are 0 or 1.
func (l *layout) packed(truths []byte) *memory.Buffer {
	b := l.buffer((len(truths) + 7) / 8)
	bits := b.Bytes()
	clear(bits)
	for i, truth := range truths {
		bits[i>>3] |= truth << (i & 7)
	}
	return b
}

// texts makes the offsets and the text of an array, given where the texts are kept.
func (l *layout) texts(c *answerColumn, places []byte) []*memory.Buffer {
	offsets := l.buffer(4 * (len(l.numbers) + 1))
	ends := unsafe.Slice((*int32)(unsafe.Pointer(&offsets.Bytes()[0])), len(l.numbers)+1)
	end := int32(0)
	ends[0] = 0
	for i := range l.numbers {
		end += int32(textPlaceOf(places[textWidth*i:]).len)
		ends[i+1] = end
	}
	text := l.buffer(int(end))
	for i := range l.numbers {
		if p := textPlaceOf(places[textWidth*i:]); p.len > 0 {
			copy(text.Bytes()[ends[i]:], c.texts[p.part][p.at:][:p.len])
		}
	}
	return []*memory.Buffer{offsets, text}
}

// eventTimes makes the array of the event times, of which from is the first row.
func (l *layout) eventTimes(e *eventTimes, from int) arrow.Array {
	valid, nulls := l.bits(func(i int) bool { return e.known.has(from + i) })
	if valid != nil {
		defer valid.Release()
	}
	values := l.buffer(8 * len(l.numbers))
	defer values.Release()
	copy(arrow.Int64Traits.CastFromBytes(values.Bytes()), e.values[from:])
	return makeArray(e.dt, len(l.numbers), nulls, []*memory.Buffer{valid, values})
}
