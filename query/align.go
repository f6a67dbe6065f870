package query

import (
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// aligned returns batch with all buffers where C code may look for numbers: at addresses
// that eight divides. Those of a mapped file or of a message can be anywhere, which Go
// does not mind; they are copied. The caller releases the result.
func aligned(mem memory.Allocator, batch arrow.RecordBatch) arrow.RecordBatch {
	if !slices.ContainsFunc(batch.Columns(), func(a arrow.Array) bool { return astray(a.Data()) }) {
		batch.Retain()
		return batch
	}
	columns := make([]arrow.Array, batch.NumCols())
	for i, column := range batch.Columns() {
		data := alignedData(mem, column.Data())
		columns[i] = array.MakeFromData(data)
		data.Release()
	}
	answer := array.NewRecordBatch(batch.Schema(), columns, batch.NumRows())
	for _, column := range columns {
		column.Release()
	}
	return answer
}

// astray reports whether some buffer is not where it should be.
func astray(data arrow.ArrayData) bool {
	return slices.ContainsFunc(data.Buffers(), isAstray) || slices.ContainsFunc(data.Children(), astray)
}

func isAstray(b *memory.Buffer) bool {
	return b != nil && b.Len() > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(b.Bytes())))%8 != 0
}

func alignedData(mem memory.Allocator, data arrow.ArrayData) arrow.ArrayData {
	if !astray(data) {
		data.Retain()
		return data
	}
	buffers, children := slices.Clone(data.Buffers()), slices.Clone(data.Children())
	for i, b := range buffers {
		if isAstray(b) {
			buffers[i] = memory.NewResizableBuffer(mem)
			buffers[i].Resize(b.Len())
			copy(buffers[i].Bytes(), b.Bytes())
			defer buffers[i].Release()
		}
	}
	for i, child := range children {
		children[i] = alignedData(mem, child)
		defer children[i].Release()
	}
	return array.NewData(data.DataType(), data.Len(), buffers, children, data.NullN(), data.Offset())
}
