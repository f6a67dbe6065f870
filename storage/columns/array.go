package columns

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Array returns the rows from from to to of the column that r is open on, in the type
// that the file has, which is one of fixed width, text or bytes. Values lie in the
// mapping of the file where that is possible: in one page that is neither compressed nor
// encoded and has no nulls. There they may begin at any address, which Go and the kernel do
// not mind, and C code may. The caller releases the result, and need not keep the file
// open until then.
func (r *Reader) Array(mem memory.Allocator, from, to int) (arrow.Array, error) {
	if r.places = false; r.page.Places != nil {
		r.page = Page{}
	}
	page, err := r.find(from, to)
	if err != nil {
		return nil, err
	}
	if page.InPlace && page.Valid == nil && page.Has(to-1) {
		values := page.Values[(from-page.First)*r.width : (to-page.First)*r.width]
		return r.wrap(values, to-from), nil
	}
	switch {
	case r.leaf.Type.ID() == arrow.BOOL:
		return r.copyBooleans(mem, from, to)
	case r.width > 0:
		return r.copyFixed(mem, from, to)
	}
	return r.copyText(mem, from, to)
}

// wrap makes an array of values that lie in the file, which it keeps mapped.
func (r *Reader) wrap(values []byte, rows int) arrow.Array {
	r.file.Retain()
	buffer := memory.NewBufferWithAllocator(values, mapping{r.file})
	defer buffer.Release()
	return makeArray(r.leaf.Type, rows, nil, 0, buffer)
}

// mapping is the allocator of buffers that lie in a file.
type mapping struct{ file *File }

func (m mapping) Allocate(int) []byte           { panic("columns: a file allocates nothing") }
func (m mapping) Reallocate(int, []byte) []byte { panic("columns: a file allocates nothing") }
func (m mapping) Free([]byte)                   { m.file.release() }

func makeArray(dt arrow.DataType, rows int, valid *memory.Buffer, nulls int, buffers ...*memory.Buffer) arrow.Array {
	data := array.NewData(dt, rows, append([]*memory.Buffer{valid}, buffers...), nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func allocate(mem memory.Allocator, bytes int) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Resize(bytes)
	return b
}

// pages calls each for every page of the rows, with the part of them that it holds.
func (r *Reader) pages(from, to int, each func(p *Page, at, first, n int) error) error {
	for row := from; row < to; {
		p, err := r.find(row, to)
		if err != nil {
			return err
		}
		first := row - p.First
		n := min(p.Rows-first, to-row)
		if err := each(p, row-from, first, n); err != nil {
			return err
		}
		row += n
	}
	return nil
}

// validity gathers validity bitmaps, beginning with the first null.
type validity struct {
	mem   memory.Allocator
	rows  int
	bits  *memory.Buffer
	nulls int
}

func (v *validity) add(p *Page, at, first, n int) {
	if p.Valid == nil {
		return
	}
	if v.bits == nil {
		v.bits = allocate(v.mem, (v.rows+7)/8)
		memory.Set(v.bits.Bytes(), 0xff)
	}
	bitutil.CopyBitmap(p.Valid, first, n, v.bits.Bytes(), at)
	v.nulls += n - bitutil.CountSetBits(p.Valid, first, n)
}

func (v *validity) release() {
	if v.bits != nil {
		v.bits.Release()
	}
}

func (r *Reader) copyFixed(mem memory.Allocator, from, to int) (arrow.Array, error) {
	if f, ok := r.leaf.Type.(arrow.FixedWidthDataType); !ok || f.Bytes() != r.width {
		return nil, fmt.Errorf("column %q cannot be read as %s", r.leaf.Name, r.leaf.Type)
	}
	values, valid := allocate(mem, (to-from)*r.width), validity{mem: mem, rows: to - from}
	defer values.Release()
	defer valid.release()
	err := r.pages(from, to, func(p *Page, at, first, n int) error {
		valid.add(p, at, first, n)
		return r.copyPage(values.Bytes()[at*r.width:], first, n)
	})
	if err != nil {
		return nil, err
	}
	return makeArray(r.leaf.Type, to-from, valid.bits, valid.nulls, values), nil
}

func (r *Reader) copyBooleans(mem memory.Allocator, from, to int) (arrow.Array, error) {
	values, valid := allocate(mem, (to-from+7)/8), validity{mem: mem, rows: to - from}
	defer values.Release()
	defer valid.release()
	err := r.pages(from, to, func(p *Page, at, first, n int) error {
		for i := range n {
			bitutil.SetBitTo(values.Bytes(), at+i, p.Values[first+i] != 0)
		}
		valid.add(p, at, first, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return makeArray(r.leaf.Type, to-from, valid.bits, valid.nulls, values), nil
}

func (r *Reader) copyText(mem memory.Allocator, from, to int) (arrow.Array, error) {
	switch r.leaf.Type.ID() {
	case arrow.STRING, arrow.BINARY:
	default:
		return nil, fmt.Errorf("column %q cannot be read as %s", r.leaf.Name, r.leaf.Type)
	}
	offsets, valid := allocate(mem, (to-from+1)*4), validity{mem: mem, rows: to - from}
	defer offsets.Release()
	defer valid.release()
	ends := arrow.Int32Traits.CastFromBytes(offsets.Bytes())
	total := int64(0)
	var text []byte
	ends[0] = 0
	err := r.pages(from, to, func(p *Page, at, first, n int) error {
		for i := range n {
			if !p.Null(first + i) {
				text = append(text, p.Bytes(first+i)...)
			}
			total = int64(len(text))
			ends[at+i+1] = int32(total)
		}
		valid.add(p, at, first, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if total > 1<<31-1 {
		return nil, fmt.Errorf("column %q: %d rows are more text than one array holds", r.leaf.Name, to-from)
	}
	values := allocate(mem, len(text))
	defer values.Release()
	copy(values.Bytes(), text)
	return makeArray(r.leaf.Type, to-from, valid.bits, valid.nulls, offsets, values), nil
}
