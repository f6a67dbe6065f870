package columns

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// Columns that are read side by side, as those of a dataset are: two views, each with
// features that are null in the same rows, and whole numbers that are stored as differences.
func TestArraysOfColumnsSideBySide(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "key", Type: arrow.PrimitiveTypes.Int64},
		{Name: "a1", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "a2", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "b1", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "label", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "b2", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "a3", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	}, nil)
	rng := rand.New(rand.NewPCG(7, 7))
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for row := range 4000 {
		a, label := rng.IntN(4) > 0, rng.IntN(300) > 0
		for i, present := range []bool{true, a, a, rng.IntN(9) > 0 || row < 1500, label, row%7 > 0, a} {
			switch f := b.Field(i).(type) {
			case *array.Int64Builder:
				f.Append(int64(row * 3))
			case *array.Int32Builder:
				f.AppendValues([]int32{rng.Int32N(5)}, []bool{present})
			case *array.Float64Builder:
				f.AppendValues([]float64{rng.Float64()}, []bool{present})
			}
		}
	}
	rows := b.NewRecordBatch()
	defer rows.Release()
	for name, layout := range map[string][]parquet.WriterProperty{
		"plain":  {parquet.WithDictionaryDefault(false)},
		"deltas": {parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("key", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("label", parquet.Encodings.DeltaBinaryPacked)},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Open(writeFile(t, rows, layout...))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, unmapped := range []bool{false, true} {
				readSideBySide(t, f, rows, unmapped, rng)
			}
		})
	}
}

// readSideBySide compares one stretch after the other, with some left out.
func readSideBySide(t *testing.T, f *File, rows arrow.RecordBatch, unmapped bool, rng *rand.Rand) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	var nulls Nulls
	readers := make([]Reader, rows.NumCols())
	for g, first := 0, 0; g < f.Groups(); g++ {
		for i := range readers {
			readers[i].Nulls, readers[i].Unmapped = &nulls, unmapped
			if err := readers[i].Open(f, g, leafOf(t, f, rows.ColumnName(i))); err != nil {
				t.Fatal(err)
			}
		}
		for from := 0; from < f.Rows(g); {
			to := min(from+1+rng.IntN(300), f.Rows(g))
			for i := range readers {
				got, err := readers[i].Array(mem, from, to)
				if err != nil {
					t.Fatal(err)
				}
				want := array.NewSlice(rows.Column(i), int64(first+from), int64(first+to))
				if !array.Equal(got, want) {
					t.Errorf("column %q, rows %d to %d of group %d:\n%v\nwant\n%v", rows.ColumnName(i), from, to, g, got, want)
				}
				got.Release()
				want.Release()
			}
			if from = to; rng.IntN(5) == 0 {
				from += rng.IntN(100)
			}
		}
		first += f.Rows(g)
	}
}

// TestSpreadingEqualsOneByOne spreads numbers over rows, from any of them on and for any share of
// nulls, as a loop over the rows does: with the processor's instruction for it, and without.
func TestSpreadingEqualsOneByOne(t *testing.T) {
	const rows = 400
	able := canExpand
	defer func() { canExpand = able }()
	rng := rand.New(rand.NewPCG(6, 6))
	for _, share := range []float64{0, 0.01, 0.3, 1} {
		valid, from := make([]byte, (rows+7)/8), []byte{}
		want := make([]byte, 8*rows)
		places := make([]int, rows+1) // of the values, by row
		for row := range rows {
			if places[row] = len(from); rng.Float64() >= share {
				valid[row>>3] |= 1 << (row & 7)
				from = binary.LittleEndian.AppendUint64(from, rng.Uint64())
				copy(want[8*row:], from[places[row]:])
			}
		}
		for _, expand := range []bool{able, false} {
			canExpand = expand
			for first := range rows {
				got := bytes.Repeat([]byte{0xaa}, 8*(rows-first)+16) // as memory that is used again
				spread64(got[:8*(rows-first)], from[places[first]:], valid, first)
				if !bytes.Equal(got[:8*(rows-first)], want[8*first:]) || !bytes.Equal(got[8*(rows-first):], bytes.Repeat([]byte{0xaa}, 16)) {
					t.Fatalf("from row %d on, with nulls in %v of the rows, expanding: %t", first, share, expand)
				}
			}
		}
	}
}

// BenchmarkArraysSideBySide reads what a dataset has: whole numbers that are stored as
// differences, and features of one view, null in the same rows, a twentieth of all.
func BenchmarkArraysSideBySide(b *testing.B) {
	const rows, batch, features = 128 << 10, 32 << 10, 10
	fields := []arrow.Field{{Name: "key", Type: arrow.PrimitiveTypes.Int64}, {Name: "label", Type: arrow.PrimitiveTypes.Int64}}
	layout := []parquet.WriterProperty{
		parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(256 << 10), parquet.WithBatchSize(1024), parquet.WithMaxRowGroupLength(rows),
		parquet.WithEncodingFor("key", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("label", parquet.Encodings.DeltaBinaryPacked),
	}
	for i := range features {
		fields = append(fields, arrow.Field{Name: string(rune('a' + i)), Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	}
	build := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer build.Release()
	rng := rand.New(rand.NewPCG(8, 8))
	for range rows {
		build.Field(0).(*array.Int64Builder).Append(rng.Int64N(50_000))
		build.Field(1).(*array.Int64Builder).Append(rng.Int64N(2))
		present := rng.IntN(20) > 0
		for i := range features {
			build.Field(2+i).(*array.Float64Builder).AppendValues([]float64{rng.Float64()}, []bool{present})
		}
	}
	made := build.NewRecordBatch()
	defer made.Release()
	f, err := Open(writeFile(b, made, layout...))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	again := NewRecycler(memory.DefaultAllocator)
	defer again.Close()
	var nulls Nulls
	readers := make([]Reader, len(fields))
	b.SetBytes(rows * int64(len(fields)) * 8)
	for b.Loop() {
		for from := 0; from < rows; from += batch {
			for i := range readers {
				if readers[i].Nulls = &nulls; from == 0 {
					if err := readers[i].Open(f, 0, i); err != nil {
						b.Fatal(err)
					}
				}
				got, err := readers[i].Array(again, from, from+batch)
				if err != nil {
					b.Fatal(err)
				}
				got.Release()
			}
		}
	}
}
