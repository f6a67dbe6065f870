package offline

import (
	"crypto/rand"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// The layout of a file was chosen by measurement; docs/formats.md has the numbers.
//
//	join key              dictionary, whose indices are runs because rows are sorted
//	rest of the order     plain, never compressed: can be searched in place
//	other fixed width     plain; zstd only where a sample says that it halves
//	strings and nested    dictionary, zstd
const (
	// rowsPerGroup is near the 122,880 rows of DuckDB's own row groups: it is the
	// grain at which DuckDB skips by statistics and gives work to threads.
	rowsPerGroup = 128 << 10

	// bytesPerPage makes pages of 32,768 numbers: small beside a row group, so that
	// little is decoded for one row, and large beside what a page costs to find.
	bytesPerPage = 256 << 10

	// A column is compressed if stretches of sampleRows in so many places of the file
	// take at most half the bytes.
	sampleRows    = 2048
	sampleParts   = 4
	sampleHalving = 2
)

// layout is how each column of one file is stored.
func (e *encoder) layout() ([]parquet.WriterProperty, error) {
	halves, err := e.halves()
	if err != nil {
		return nil, err
	}
	var options []parquet.WriterProperty
	for i, f := range e.schema.Fields() {
		if !fixedWidth(f.Type) {
			continue // dictionary and zstd, the defaults of the file
		}
		options = append(options, parquet.WithDictionaryFor(f.Name, slices.Contains(e.order.Keys, f.Name)))
		if !halves[i] {
			options = append(options, parquet.WithCompressionFor(f.Name, compress.Codecs.Uncompressed))
		}
	}
	return options, nil
}

func fixedWidth(typ arrow.DataType) bool {
	_, fixed := typ.(arrow.FixedWidthDataType)
	return fixed && !arrow.IsNested(typ.ID())
}

// halves tells of which columns a sample takes half the bytes when it is compressed.
// Columns that are never compressed are not asked.
func (e *encoder) halves() ([]bool, error) {
	rows := int(e.chunk.rows)
	fields := e.schema.Fields()
	plain, packed := make([]int, len(fields)), make([]int, len(fields))
	for part := range sampleParts {
		start := part * rows / sampleParts
		end := min(start+sampleRows, (part+1)*rows/sampleParts)
		if start == end {
			continue
		}
		e.gather.slice(start, end)
		for i, f := range fields {
			if !fixedWidth(f.Type) || slices.Contains(e.order.columns(), f.Name) {
				continue
			}
			sample, err := e.gather.column(i)
			if err != nil {
				return nil, err
			}
			values := presentValues(sample)
			sample.Release()
			plain[i] += len(values)
			packed[i] += len(e.zstd.Encode(nil, values))
		}
	}
	halves := make([]bool, len(fields))
	for i, f := range fields {
		halves[i] = plain[i] >= sampleHalving*packed[i] && !slices.Contains(e.order.columns(), f.Name)
	}
	return halves, nil
}

// presentValues returns a copy of the bytes that a plain page has of an array: those
// of values that are not null.
func presentValues(a arrow.Array) []byte {
	width, ok := byteWidth(a.DataType())
	if !ok { // booleans, eight to a byte
		return slices.Clone(a.Data().Buffers()[1].Bytes())
	}
	all := a.Data().Buffers()[1].Bytes()[a.Data().Offset()*width:]
	present := make([]byte, 0, a.Len()*width)
	for i := range a.Len() {
		if a.IsValid(i) {
			present = append(present, all[i*width:(i+1)*width]...)
		}
	}
	return present
}

// encoder writes the rows of a chunk as one Parquet file.
type encoder struct {
	schema *arrow.Schema // the stored one, with field ids
	order  Order
	chunk  *chunk
	gather *gatherer
	zstd   compress.Codec
}

func newEncoder(w *stager, c *chunk, order []int32) (*encoder, error) {
	zstd, err := compress.GetCodec(compress.Codecs.Zstd)
	return &encoder{
		schema: w.schema, order: w.order, chunk: c, zstd: zstd,
		gather: newSorter(w.schema, c, w.conformer, order, w.packed),
	}, err
}

func (e *encoder) release() { e.gather.release() }

// encode writes the file, a row group at a time and in it a column at a time.
func (e *encoder) encode(out io.Writer) (err error) {
	defer recovered(&err, "writing Parquet")
	layout, err := e.layout()
	if err != nil {
		return err
	}
	mem := e.gather.conformer.mem
	properties := parquet.NewWriterProperties(append(layout,
		parquet.WithAllocator(mem),
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithMaxRowGroupLength(rowsPerGroup),
		parquet.WithDataPageSize(bytesPerPage),
		parquet.WithStats(true),
		parquet.WithPageIndexEnabled(true),
		parquet.WithStoreDecimalAsInteger(true), // as the Iceberg specification wants it
		parquet.WithCreatedBy("driftline"),
	)...)
	writer, err := pqarrow.NewFileWriter(e.schema, out, properties, pqarrow.NewArrowWriterProperties(pqarrow.WithAllocator(mem)))
	if err != nil {
		return err
	}
	rows := int(e.chunk.rows)
	for start := 0; start < rows; start += rowsPerGroup {
		if err := e.encodeGroup(writer, start, min(start+rowsPerGroup, rows)); err != nil {
			return err
		}
	}
	if err := writer.AppendKeyValueMetadata(nonceKey, rand.Text()); err != nil {
		return err
	}
	return writer.Close()
}

func (e *encoder) encodeGroup(writer *pqarrow.FileWriter, start, end int) error {
	if err := writer.NewRowGroupChecked(); err != nil {
		return err
	}
	if e.gather.order == nil {
		return e.encodeInOrder(writer, start, end)
	}
	e.gather.slice(start, end)
	for i := range e.schema.Fields() {
		column, err := e.gather.column(i)
		if err != nil {
			return err
		}
		err = writer.WriteColumnData(column)
		column.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// encodeInOrder writes rows from the batches where they arrived, without a copy.
func (e *encoder) encodeInOrder(writer *pqarrow.FileWriter, start, end int) error {
	for i, f := range e.schema.Fields() {
		column := arrow.NewChunked(f.Type, e.chunk.parts(i))
		err := writer.WriteColumnChunked(column, int64(start), int64(end-start))
		column.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
