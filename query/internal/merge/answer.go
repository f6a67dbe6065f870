package merge

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Answer is what one use of a view gives for the rows of a spine: a record for each row
// that was found, and for each row of the spine the number of its record.
//
// Values are moved twice. Records lie in the order of the files, so what reads a file from
// its beginning writes them from the beginning too. [Answer.Arrays] then brings them into
// the order of the spine, which is any order; that takes one look into far memory for a
// row, where columns that are laid out at once would take one for each value.
type Answer struct {
	mem     memory.Allocator
	columns []*answerColumn
	records []*records

	numbers []int32 // by row of the spine: its record; 0 for none
	unknown []byte  // by row of the spine: 1 if the record was written down after its time; nil if not asked
	events  *eventTimes
}

// answerColumn is one feature.
type answerColumn struct {
	dt     arrow.DataType
	width  int // of a value in a record
	offset int // in the record

	texts [][]byte // by part of the work

	makeNulls sync.Once
	nulls     bitmap // by record; nil if no value that was found is null
}

// records are the values of some features, of each record side by side. The record 0 is of
// rows that have none, and holds zeros.
type records struct {
	columns []*answerColumn
	first   int // of the columns, among the features
	width   int
	raw     []byte
}

// mostWidth is how wide a record may be: two lines of the cache. A view of more features
// has several records for a row.
const mostWidth = 128

// eventTimes are the event times of the rows that values came from, by row of the spine,
// whatever the TTL says of them.
type eventTimes struct {
	dt     arrow.DataType
	values []int64
	known  bitmap
}

func newAnswer(mem memory.Allocator, v *View, rows, parts int) *Answer {
	a := &Answer{mem: mem, numbers: make([]int32, rows)}
	for _, f := range v.Features {
		a.addColumn(f.Type, parts)
	}
	for _, r := range a.records {
		r.raw = takeMemory((rows + 1) * r.width)
	}
	if v.CountUnknown {
		a.unknown = make([]byte, rows)
	}
	if v.EventTime {
		a.events = &eventTimes{dt: v.Event.Type, values: make([]int64, rows), known: newBitmap(rows)}
	}
	return a
}

// Release gives back the memory of the records. It may be called once, and nothing of the
// answer may be used after it, but for arrays that were made before.
func (a *Answer) Release() {
	for _, r := range a.records {
		giveMemory(r.raw)
		r.raw = nil
	}
}

func (a *Answer) addColumn(dt arrow.DataType, parts int) {
	c := &answerColumn{dt: dt}
	switch {
	case isText(dt):
		c.width, c.texts = textWidth, make([][]byte, parts)
	case dt.ID() == arrow.BOOL:
		c.width = 1
	default:
		c.width = dt.(arrow.FixedWidthDataType).Bytes()
	}
	var r *records
	if n := len(a.records); n > 0 && a.records[n-1].width+c.width <= mostWidth {
		r = a.records[n-1]
	} else {
		r = &records{first: len(a.columns)}
		a.records = append(a.records, r)
	}
	c.offset = r.width
	r.columns, r.width = append(r.columns, c), r.width+c.width
	a.columns = append(a.columns, c)
}

// bitmap is a bit for each of some numbers. Several workers may set bits at the same time.
type bitmap []uint32

func newBitmap(n int) bitmap { return make(bitmap, (n+31)/32) }

func (b bitmap) set(i int) { atomic.OrUint32(&b[i>>5], 1<<(i&31)) }

func (b bitmap) has(i int) bool { return b[i>>5]>>(i&31)&1 != 0 }

// setNull marks the value of a record as null, of so many that there are.
func (c *answerColumn) setNull(record, records int) {
	c.makeNulls.Do(func() { c.nulls = newBitmap(records) })
	c.nulls.set(record)
}

func (e *eventTimes) set(row int32, event int64) {
	e.values[row] = event
	e.known.set(int(row))
}

// textPlace is where a text is kept. A record holds one in place of the text.
type textPlace struct{ part, at, len uint32 }

const textWidth = 12

func (p textPlace) put(to []byte) {
	binary.LittleEndian.PutUint32(to, p.part)
	binary.LittleEndian.PutUint32(to[4:], p.at)
	binary.LittleEndian.PutUint32(to[8:], p.len)
}

func textPlaceOf(raw []byte) textPlace {
	return textPlace{part: binary.LittleEndian.Uint32(raw), at: binary.LittleEndian.Uint32(raw[4:]), len: binary.LittleEndian.Uint32(raw[8:])}
}
