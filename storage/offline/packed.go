package offline

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// packedRows are a chunk's columns of fixed width, row by row:
//
//	| values of 8 bytes | values of 4 bytes | nulls, a bit for each column that has some |
//
// To take rows in another order than they came in is to read memory here and there. A
// row that lies in one piece is two or three cache lines, each read once; in columns it
// would be a line for every value, read again for each of the eight values in it.
type packedRows struct {
	columns []packedColumn // by column of the schema
	stride  int            // bytes of a row
	nulls   int            // where in a row the bits of its nulls begin
	bytes   *memory.Buffer
	block   []byte // of blockRows rows, see unpack
}

// packedColumn is where in each row the value of a column is.
type packedColumn struct {
	width int // in bytes; 0: the column is not packed
	at    int
	null  int // which bit is set where the value is null; -1: none is
}

// blockRows is how many rows are turned at a time, from columns or into them: as many
// as stay in a core's first cache. A multiple of 8, so that bitmaps fall into bytes.
const blockRows = 256

// packedWidth is the width of a column that can be packed.
func packedWidth(typ arrow.DataType) (width int, ok bool) {
	width, ok = byteWidth(typ)
	return width, ok && (width == 8 || width == 4)
}

// packRows packs what can be packed of a chunk, into a buffer that is used again. It
// takes the batches from the chunk if nothing is left in them.
func packRows(schema *arrow.Schema, c *chunk, into *memory.Buffer) *packedRows {
	p, all := newPackedRows(schema, c)
	p.bytes = into
	into.ResizeNoShrink(int(c.rows) * p.stride)
	rest := into.Bytes()
	for len(c.batches) > 0 && all {
		rest = p.pack(rest, c.batches[0])
		c.batches[0].Release()
		c.batches = c.batches[1:]
	}
	for _, batch := range c.batches {
		rest = p.pack(rest, batch)
	}
	return p
}

// newPackedRows lays out the rows of a chunk. all tells whether all columns are in them.
func newPackedRows(schema *arrow.Schema, c *chunk) (p *packedRows, all bool) {
	p = &packedRows{columns: make([]packedColumn, schema.NumFields())}
	all = true
	for _, width := range []int{8, 4} { // so that values are aligned
		for i, f := range schema.Fields() {
			if w, ok := packedWidth(f.Type); ok && w == width {
				p.columns[i] = packedColumn{width: w, at: p.nulls, null: -1}
				p.nulls += w
			} else if !ok {
				all = false
			}
		}
	}
	bits := 0
	for i := range p.columns {
		if p.columns[i].width > 0 && hasNulls(c.parts(i)) {
			p.columns[i].null = bits
			bits++
		}
	}
	p.stride = (p.nulls + (bits+7)/8 + 7) &^ 7
	p.block = make([]byte, blockRows*p.stride)
	return p, all
}

func hasNulls(parts []arrow.Array) bool {
	for _, part := range parts {
		if part.NullN() > 0 {
			return true
		}
	}
	return false
}

// pack puts the rows of a batch at the beginning of to, and returns the rest of it.
func (p *packedRows) pack(to []byte, batch arrow.RecordBatch) (rest []byte) {
	rows := int(batch.NumRows())
	for start := 0; start < rows; start += blockRows {
		end := min(start+blockRows, rows)
		block := to[start*p.stride : end*p.stride]
		for at := p.nulls; at < len(block); at += p.stride {
			clear(block[at : at+p.stride-p.nulls])
		}
		for i, c := range p.columns {
			switch column := batch.Column(i); c.width {
			case 8:
				values := valuesOf[uint64](column)[start:end]
				for row, at := 0, c.at; row < len(values); row, at = row+1, at+p.stride {
					binary.NativeEndian.PutUint64(block[at:], values[row])
				}
				p.packNulls(block, c, column, start, end)
			case 4:
				values := valuesOf[uint32](column)[start:end]
				for row, at := 0, c.at; row < len(values); row, at = row+1, at+p.stride {
					binary.NativeEndian.PutUint32(block[at:], values[row])
				}
				p.packNulls(block, c, column, start, end)
			}
		}
	}
	return to[rows*p.stride:]
}

func (p *packedRows) packNulls(block []byte, c packedColumn, column arrow.Array, start, end int) {
	if c.null < 0 || column.NullN() == 0 {
		return
	}
	for row, at := start, p.nulls+c.null/8; row < end; row, at = row+1, at+p.stride {
		if column.IsNull(row) {
			block[at] |= 1 << (c.null % 8)
		}
	}
}

// columnBuffers are the values of a column, and which of them are not null.
type columnBuffers struct {
	values, validity *memory.Buffer
	nulls            int
}

// unpack takes rows, in the given order, into buffers by column.
func (p *packedRows) unpack(rows []int32, into []columnBuffers) {
	for i, c := range p.columns {
		if c.width == 0 {
			continue
		}
		into[i].values.ResizeNoShrink(len(rows) * c.width)
		into[i].nulls = 0
		if c.null >= 0 {
			into[i].validity.ResizeNoShrink(int(bitutil.BytesForBits(int64(len(rows)))))
			bitutil.SetBitsTo(into[i].validity.Bytes(), 0, int64(len(rows)), true)
		}
	}
	packed := p.bytes.Bytes()
	for start := 0; start < len(rows); start += blockRows {
		some := rows[start:min(start+blockRows, len(rows))]
		block := p.block[:len(some)*p.stride]
		for i, row := range some {
			copy(block[i*p.stride:(i+1)*p.stride], packed[int(row)*p.stride:])
		}
		for i, c := range p.columns {
			if c.width > 0 {
				p.unpackColumn(block, c, start, &into[i])
			}
		}
	}
}

// unpackColumn takes the values of a column from a block of rows. They go behind the
// first so many that are there already.
func (p *packedRows) unpackColumn(block []byte, c packedColumn, first int, into *columnBuffers) {
	values := into.values.Bytes()[first*c.width:]
	if c.width == 8 {
		for at := c.at; at < len(block); at += p.stride {
			binary.NativeEndian.PutUint64(values, binary.NativeEndian.Uint64(block[at:]))
			values = values[8:]
		}
	} else {
		for at := c.at; at < len(block); at += p.stride {
			binary.NativeEndian.PutUint32(values, binary.NativeEndian.Uint32(block[at:]))
			values = values[4:]
		}
	}
	if c.null < 0 {
		return
	}
	bits := into.validity.Bytes()[first/8:]
	for row, at := 0, p.nulls+c.null/8; at < len(block); row, at = row+1, at+p.stride {
		if null := block[at] >> (c.null % 8) & 1; null != 0 {
			bits[row/8] &^= 1 << (row % 8)
			into.nulls++
		}
	}
}

// array returns a column of buffers as an array that shares them.
func (b *columnBuffers) array(typ arrow.DataType, rows int) arrow.Array {
	validity := b.validity
	if b.nulls == 0 {
		validity = nil
	}
	data := array.NewData(typ, rows, []*memory.Buffer{validity, b.values}, nil, b.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}
