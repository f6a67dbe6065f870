package ipcverify

import (
	"encoding/binary"
	"fmt"
)

// dictionaryBatch checks DictionaryBatch { id, data, isDelta }.
func (s *Stream) dictionaryBatch(header table, body int64) error {
	id, err := header.int64(0, 0)
	if err != nil {
		return err
	}
	values, known := s.dictionaries[id]
	if !known {
		return fmt.Errorf("its schema has no dictionary %d", id)
	}
	delta, err := header.uint8(2, 0)
	if err != nil {
		return err
	}
	if delta != 0 {
		return fmt.Errorf("dictionary deltas are not accepted; send replacements")
	}
	data, err := header.required(1, "dictionary data")
	if err != nil {
		return err
	}
	return recordBatch(data, body, []layout{values})
}

// recordBatch checks RecordBatch { length, nodes, buffers, compression, variadicBufferCounts }.
func recordBatch(header table, body int64, columns []layout) error {
	rows, err := header.int64(0, 0)
	if err != nil {
		return err
	}
	if rows < 0 || rows > MaxRows {
		return fmt.Errorf("a batch of %d rows; send at most %d at a time", rows, MaxRows)
	}
	if _, compressed, err := header.field(3, 4); err != nil || compressed {
		return fmt.Errorf("compressed batches are not accepted; send them uncompressed")
	}
	var total layout
	for _, column := range columns {
		total.nodes += column.nodes
		total.buffers += column.buffers
		total.views += column.views
	}
	if err := nodes(header, rows, columns, total.nodes); err != nil {
		return err
	}
	further, err := viewBuffers(header, total.views)
	if err != nil {
		return err
	}
	return buffers(header, body, int64(total.buffers)+further)
}

// nodes checks the vector of structs {int64 length, int64 nulls}, one for each
// field in depth-first order.
func nodes(header table, rows int64, columns []layout, want int) error {
	start, n, err := header.vector(1, 16)
	if err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("it has %d field nodes, and its schema calls for %d", n, want)
	}
	for i := range n {
		at := header.bytes[start+16*i:]
		length, nulls := int64(binary.LittleEndian.Uint64(at)), int64(binary.LittleEndian.Uint64(at[8:]))
		if length < 0 || length > MaxRows || nulls < 0 || nulls > length {
			return fmt.Errorf("field node %d has length %d and %d nulls", i, length, nulls)
		}
	}
	first := 0
	for i, column := range columns {
		length := int64(binary.LittleEndian.Uint64(header.bytes[start+16*first:]))
		if length != rows {
			return fmt.Errorf("column %d has %d values in a batch of %d rows", i, length, rows)
		}
		first += column.nodes
	}
	return nil
}

// viewBuffers sums the variadic buffer counts, one int64 for each view field.
func viewBuffers(header table, want int) (sum int64, err error) {
	start, n, err := header.vector(4, 8)
	if err != nil {
		return 0, err
	}
	if n != want {
		return 0, fmt.Errorf("it has %d buffer counts of views, and its schema calls for %d", n, want)
	}
	for i := range n {
		count := int64(binary.LittleEndian.Uint64(header.bytes[start+8*i:]))
		if count < 0 || count > MaxMetadata/16 {
			return 0, fmt.Errorf("a view with %d buffers", count)
		}
		sum += count
	}
	return sum, nil
}

// buffers checks the vector of structs {int64 offset, int64 length}.
func buffers(header table, body, want int64) error {
	start, n, err := header.vector(2, 16)
	if err != nil {
		return err
	}
	if int64(n) != want {
		return fmt.Errorf("it has %d buffers, and its schema calls for %d", n, want)
	}
	for i := range n {
		at := header.bytes[start+16*i:]
		offset, length := int64(binary.LittleEndian.Uint64(at)), int64(binary.LittleEndian.Uint64(at[8:]))
		if offset < 0 || length < 0 || offset > body || length > body-offset {
			return fmt.Errorf("buffer %d is not inside the body of %d bytes", i, body)
		}
	}
	return nil
}
