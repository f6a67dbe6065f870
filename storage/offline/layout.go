package offline

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"math"
	"math/bits"
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
//	other whole numbers   differences where a sample says that they take half the bytes
//	other fixed width     plain; zstd only where a sample says that it halves
//	strings and nested    dictionary, zstd
const (
	// rowsPerGroup is near the 122,880 rows of DuckDB's own row groups: it is the
	// grain at which DuckDB skips by statistics and gives work to threads.
	rowsPerGroup = 128 << 10

	// bytesPerPage makes pages of 32,768 numbers: small beside a row group, so that
	// little is decoded for one row, and large beside what a page costs to find.
	bytesPerPage = 256 << 10

	// A column is compressed if stretches of rows in so many places of the file take at most half the
	// bytes. The stretches of a file are one part in sampleShare of it, within these limits: to
	// try layouts on all of a small file takes longer than to write it.
	leastSampleRows = 256
	sampleRows      = 2048
	sampleShare     = 16
	sampleParts     = 4
	sampleHalving   = 2
)

// layout is how each column of one file is stored.
func (e *encoder) layout() ([]parquet.WriterProperty, error) {
	samples, err := e.sample()
	if err != nil {
		return nil, err
	}
	var options []parquet.WriterProperty
	for i, f := range e.schema.Fields() {
		if !fixedWidth(f.Type) {
			continue // dictionary and zstd, the defaults of the file
		}
		options = append(options, parquet.WithDictionaryFor(f.Name, slices.Contains(e.order.Keys, f.Name)))
		size := samples[i]
		if size.halved(size.deltas) {
			options = append(options, parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		}
		if size.halved(size.deltas) || !size.halved(size.zstd) {
			options = append(options, parquet.WithCompressionFor(f.Name, compress.Codecs.Uncompressed))
		}
	}
	return options, nil
}

func fixedWidth(typ arrow.DataType) bool {
	_, fixed := typ.(arrow.FixedWidthDataType)
	return fixed && !arrow.IsNested(typ.ID())
}

// sampleSize is how many bytes the sample of a column takes in different layouts. It is
// zero for columns that have no choice.
type sampleSize struct{ plain, zstd, deltas int }

// halved reports whether a layout takes so little that it is worth being decoded.
func (s sampleSize) halved(bytes int) bool { return bytes > 0 && s.plain >= sampleHalving*bytes }

// sample tries layouts on parts of the columns.
func (e *encoder) sample() ([]sampleSize, error) {
	rows := int(e.chunk.rows)
	stretch := min(max(rows/(sampleParts*sampleShare), leastSampleRows), sampleRows)
	fields := e.schema.Fields()
	sizes := make([]sampleSize, len(fields))
	for part := range sampleParts {
		start := part * rows / sampleParts
		end := min(start+stretch, (part+1)*rows/sampleParts)
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
			sizes[i].plain += len(values)
			sizes[i].zstd += len(e.zstd.Encode(nil, values))
			sizes[i].deltas += deltaSize(f.Type, values)
		}
	}
	return sizes, nil
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

// miniblock is how many differences arrow-go stores with the same number of bits.
const miniblock = 32

// deltaSize is about how many bytes the DELTA_BINARY_PACKED encoding of Parquet takes for
// plain values; zero for those that are not whole numbers.
func deltaSize(typ arrow.DataType, values []byte) (bytes int) {
	var number func(at int) int64
	width := 8
	switch typ.ID() {
	case arrow.INT64, arrow.TIMESTAMP, arrow.TIME64:
		number = func(at int) int64 { return int64(binary.LittleEndian.Uint64(values[at:])) }
	case arrow.INT32, arrow.DATE32:
		number = func(at int) int64 { return int64(int32(binary.LittleEndian.Uint32(values[at:]))) }
		width = 4
	default:
		return 0
	}
	for at := width; at < len(values); at += miniblock * width {
		least, greatest := int64(math.MaxInt64), int64(math.MinInt64)
		for next := at; next < min(at+miniblock*width, len(values)); next += width {
			delta := number(next) - number(next-width)
			least, greatest = min(least, delta), max(greatest, delta)
		}
		bytes += 1 + miniblock/8*bits.Len64(uint64(greatest-least))
	}
	return bytes
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
