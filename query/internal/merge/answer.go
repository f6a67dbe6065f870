package merge

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Answer is what one use of a view gives for the rows of a spine.
type Answer struct {
	Columns []*Column // the features

	// EventTime is the event time of the row that the values came from, whatever the TTL
	// says of it; nil if it was not asked for.
	EventTime *Column

	found   []byte // by row: 1 if there are values
	unknown []byte // by row: 1 if they were written down after its time; nil if not asked
}

// Column is one column of an answer. Its rows are numbered as the spine's are.
type Column struct {
	dt    arrow.DataType
	rows  int
	mem   memory.Allocator
	width int // bytes of a value; 0 for text; 1 for truth values, until they are packed

	values *memory.Buffer
	raw    []byte // of values, or of truth values before they are packed

	places []textPlace
	texts  [][]byte // by part of the work

	makeNulls sync.Once
	nulls     []uint32 // bitmap; nil if no row that was found is null

	valid *memory.Buffer
}

func newAnswer(mem memory.Allocator, v *View, rows, parts int) *Answer {
	a := &Answer{found: make([]byte, rows)}
	if v.CountUnknown {
		a.unknown = make([]byte, rows)
	}
	for _, f := range v.Features {
		a.Columns = append(a.Columns, newColumn(mem, f.Type, rows, parts))
	}
	if v.EventTime {
		a.EventTime = newColumn(mem, v.Event.Type, rows, parts)
		a.EventTime.nulls = make([]uint32, (rows+31)/32)
	}
	return a
}

func newColumn(mem memory.Allocator, dt arrow.DataType, rows, parts int) *Column {
	c := &Column{dt: dt, rows: rows, mem: mem}
	switch {
	case isText(dt):
		c.places, c.texts = make([]textPlace, rows), make([][]byte, parts)
		return c
	case dt.ID() == arrow.BOOL:
		c.width, c.raw = 1, make([]byte, rows)
		return c
	}
	c.width = dt.(arrow.FixedWidthDataType).Bytes()
	c.values = memory.NewResizableBuffer(mem)
	c.values.Resize(rows * c.width)
	c.raw = c.values.Bytes()
	return c
}

// Release lets go of the answer. Arrays made of it stay.
func (a *Answer) Release() {
	for _, c := range a.Columns {
		c.release()
	}
	if a.EventTime != nil {
		a.EventTime.release()
	}
}

func (c *Column) release() {
	for _, b := range []*memory.Buffer{c.values, c.valid} {
		if b != nil {
			b.Release()
		}
	}
	c.values, c.valid = nil, nil
}

func (c *Column) nullBits() []uint32 {
	c.makeNulls.Do(func() {
		if c.nulls == nil {
			c.nulls = make([]uint32, (c.rows+31)/32)
		}
	})
	return c.nulls
}

// setNull marks a row that was found as null. Several workers may, at the same time.
func (c *Column) setNull(row int32) { atomic.OrUint32(&c.nullBits()[row>>5], 1<<(row&31)) }

func (c *Column) setNulls(rows []int32) {
	for _, row := range rows {
		c.setNull(row)
	}
}

func (a *Answer) setEvent(row int32, event int64) {
	arrow.Int64Traits.CastFromBytes(a.EventTime.raw)[row] = event
	a.EventTime.setNull(row) // the other way round here: a bit for each row that has one
}

// finish makes the validity bitmaps and packs truth values. All work on the answer is done.
func (a *Answer) finish(mem memory.Allocator) {
	words := (len(a.found) + 63) / 64
	found := make([]uint64, words)
	for i := range found {
		for j, b := range a.found[64*i : min(64*i+64, len(a.found))] {
			found[i] |= uint64(b) << j
		}
	}
	for _, c := range a.Columns {
		c.finish(mem, found)
	}
	if e := a.EventTime; e != nil {
		e.valid = e.bitmap(mem)
		to := e.valid.Bytes()
		for i, w := range e.nulls {
			putWord(to, 4*i, uint64(w), 4)
		}
		e.nulls = nil
	}
}

func putWord(to []byte, at int, word uint64, n int) {
	for i := range min(n, len(to)-at) {
		to[at+i] = byte(word >> (8 * i))
	}
}

func (c *Column) bitmap(mem memory.Allocator) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Resize((c.rows + 7) / 8)
	return b
}

func (c *Column) finish(mem memory.Allocator, found []uint64) {
	c.valid = c.bitmap(mem)
	to := c.valid.Bytes()
	for i, word := range found {
		if c.nulls != nil {
			word &^= uint64(c.nulls[2*i])
			if 2*i+1 < len(c.nulls) {
				word &^= uint64(c.nulls[2*i+1]) << 32
			}
		}
		putWord(to, 8*i, word, 8)
	}
	if c.dt.ID() != arrow.BOOL {
		return
	}
	c.values = c.bitmap(mem)
	packed := c.values.Bytes()
	clear(packed)
	for i, b := range c.raw {
		packed[i>>3] |= b << (i & 7)
	}
	c.raw = nil
}

// Unknown counts the values of a column, in n rows from from on, whose row was created
// after the time asked about.
func (a *Answer) Unknown(c *Column, from, n int) int64 {
	if a.unknown == nil {
		return 0
	}
	count := int64(0)
	for i, b := range a.unknown[from : from+n] {
		if b != 0 && bitutil.BitIsSet(c.valid.Bytes(), from+i) {
			count++
		}
	}
	return count
}

// RowBytes is how many bytes a row takes, texts apart.
func (c *Column) RowBytes() int {
	if c.width == 0 {
		return 4
	}
	return c.width
}

// TextBytes is how many bytes the texts of n rows take.
func (c *Column) TextBytes(from, n int) (bytes int64) {
	if c.places == nil {
		return 0
	}
	for _, p := range c.places[from : from+n] {
		bytes += int64(p.len)
	}
	return bytes
}

// Array returns n rows from from on. Values of fixed width are not copied. The caller
// releases the result.
func (c *Column) Array(from, n int) arrow.Array {
	nulls := n - bitutil.CountSetBits(c.valid.Bytes(), from, n)
	if c.places != nil {
		return c.textArray(from, n, nulls)
	}
	// Where rows begin at a whole byte of the bitmap the buffers are cut instead of
	// given an offset, so that who sends them need not shift bits.
	offset := from % 8
	from -= offset
	slice := func(b *memory.Buffer, begin, size int) *memory.Buffer {
		return memory.SliceBuffer(b, begin, min(size, b.Len()-begin))
	}
	valid := slice(c.valid, from/8, (offset+n+7)/8)
	defer valid.Release()
	var values *memory.Buffer
	if c.dt.ID() == arrow.BOOL {
		values = slice(c.values, from/8, (offset+n+7)/8)
	} else {
		values = slice(c.values, from*c.width, (offset+n)*c.width)
	}
	defer values.Release()
	data := array.NewData(c.dt, n, []*memory.Buffer{valid, values}, nil, nulls, offset)
	defer data.Release()
	return array.MakeFromData(data)
}

func (c *Column) textArray(from, n, nulls int) arrow.Array {
	valid, offsets, text := memory.NewResizableBuffer(c.mem), memory.NewResizableBuffer(c.mem), memory.NewResizableBuffer(c.mem)
	defer valid.Release()
	defer offsets.Release()
	defer text.Release()
	valid.Resize((n + 7) / 8)
	clear(valid.Bytes())
	bitutil.CopyBitmap(c.valid.Bytes(), from, n, valid.Bytes(), 0)
	offsets.Resize(4 * (n + 1))
	text.Resize(int(c.TextBytes(from, n)))
	ends := unsafe.Slice((*int32)(unsafe.Pointer(&offsets.Bytes()[0])), n+1)
	at := 0
	ends[0] = 0
	for i, p := range c.places[from : from+n] {
		if p.len > 0 {
			at += copy(text.Bytes()[at:], c.texts[p.part][p.at:][:p.len])
		}
		ends[i+1] = int32(at)
	}
	data := array.NewData(c.dt, n, []*memory.Buffer{valid, offsets, text}, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}
