package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// contentHash hashes a stream of batches by schema and values, whatever the batch
// boundaries, buffer offsets and bytes below nulls are. Each column has a hash of
// its own over (values, positions of nulls), and the content hash is over the
// schema, the number of rows and the column hashes. Floats are hashed by their
// bits, so -0 differs from 0 and NaNs by payload.
type contentHash struct {
	schema  *arrow.Schema
	rows    int64
	columns []columnHash
}

// columnHash keeps three streams apart, because batch boundaries would interleave them.
type columnHash struct {
	values  hash.Hash // fixed-width values or the bytes of strings; nulls leave nothing
	lengths hash.Hash // of strings and encoded values, 8 bytes each
	nulls   hash.Hash // row numbers of nulls, 8 bytes each
}

func newContentHash(schema *arrow.Schema) *contentHash {
	h := &contentHash{schema: schema, columns: make([]columnHash, schema.NumFields())}
	for i := range h.columns {
		h.columns[i] = columnHash{values: sha256.New(), lengths: sha256.New(), nulls: sha256.New()}
	}
	return h
}

// add hashes the rows of b, whose schema is that of the stream.
func (h *contentHash) add(b arrow.RecordBatch) {
	for i, col := range b.Columns() {
		h.columns[i].add(col, h.rows)
	}
	h.rows += b.NumRows()
}

// sum returns the hash in hexadecimal.
func (h *contentHash) sum() string {
	total := sha256.New()
	for _, f := range h.schema.Fields() {
		io.WriteString(total, f.Name+"\x00"+f.Type.String()+"\x00")
	}
	writeUint64(total, uint64(h.rows))
	for _, c := range h.columns {
		total.Write(c.values.Sum(nil))
		total.Write(c.lengths.Sum(nil))
		total.Write(c.nulls.Sum(nil))
	}
	return hex.EncodeToString(total.Sum(nil))
}

func (c columnHash) add(col arrow.Array, firstRow int64) {
	if col.NullN() > 0 {
		for i := range col.Len() {
			if col.IsNull(i) {
				writeUint64(c.nulls, uint64(firstRow)+uint64(i))
			}
		}
	}
	switch a := col.(type) {
	case *array.String:
		c.addStrings(a)
	case *array.Binary:
		for i := range a.Len() {
			if a.IsValid(i) {
				c.addBytes(a.Value(i))
			}
		}
	default:
		if width, ok := byteWidth(col.DataType()); ok {
			c.addFixed(col, width)
			return
		}
		for i := range col.Len() {
			if col.IsValid(i) {
				c.addBytes([]byte(col.ValueStr(i)))
			}
		}
	}
}

func (c columnHash) addStrings(a *array.String) {
	for i := range a.Len() {
		if a.IsValid(i) {
			s := a.Value(i)
			writeUint64(c.lengths, uint64(len(s)))
			io.WriteString(c.values, s)
		}
	}
}

func (c columnHash) addBytes(v []byte) {
	writeUint64(c.lengths, uint64(len(v)))
	c.values.Write(v)
}

// addFixed hashes fixed-width values: the buffer as it is if there are no nulls.
func (c columnHash) addFixed(col arrow.Array, width int) {
	if col.Len() == 0 {
		return
	}
	data := col.Data()
	raw := data.Buffers()[1].Bytes()[data.Offset()*width : (data.Offset()+data.Len())*width]
	if col.NullN() == 0 {
		c.values.Write(raw)
		return
	}
	for i := range col.Len() {
		if col.IsValid(i) {
			c.values.Write(raw[i*width : (i+1)*width])
		}
	}
}

// byteWidth returns the width of types that are stored as whole bytes per value.
func byteWidth(dt arrow.DataType) (int, bool) {
	fixed, ok := dt.(arrow.FixedWidthDataType)
	if !ok || fixed.BitWidth()%8 != 0 || dt.ID() == arrow.DICTIONARY || dt.ID() == arrow.EXTENSION || dt.ID() == arrow.FIXED_SIZE_LIST {
		return 0, false
	}
	return fixed.BitWidth() / 8, true
}

func writeUint64(w io.Writer, v uint64) {
	var buf [8]byte
	binary.LittleEndian.PutUint64(buf[:], v)
	w.Write(buf[:])
}
