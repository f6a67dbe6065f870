package columns

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// Numbers whose differences take any number of bits, up to all 64, read back the same.
func TestDeltasOfEveryWidth(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "long", Type: arrow.PrimitiveTypes.Int64}, {Name: "short", Type: arrow.PrimitiveTypes.Int32},
	}, nil)
	random := rand.New(rand.NewPCG(5, 6))
	for bits := range 65 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for range 1 + random.IntN(600) {
			wide := random.Uint64() & (1<<bits - 1)
			b.Field(0).(*array.Int64Builder).Append(int64(wide))
			b.Field(1).(*array.Int32Builder).Append(int32(wide))
		}
		rows := b.NewRecordBatch()
		f, err := Open(writeFile(t, rows, parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.DeltaBinaryPacked)))
		if err != nil {
			t.Fatal(err)
		}
		var r Reader
		for leaf, want := range rows.Columns() {
			if err := r.Open(f, 0, leaf); err != nil {
				t.Fatal(err)
			}
			got, err := r.Array(memory.DefaultAllocator, 0, want.Len())
			if err != nil || !array.Equal(got, want) {
				t.Errorf("%d bits: %v, %v, want %v", bits, got, err, want)
			}
		}
		f.Close()
	}
}

// slowDeltas is decodeDeltas bit by bit.
func slowDeltas(data []byte, n, width int) (numbers []uint64) {
	next := func() uint64 {
		v, size := binary.Uvarint(data)
		data = data[size:]
		return v
	}
	block, miniblocks := int(next()), int(next())
	next()
	last := zigzag(next())
	numbers = append(numbers, last)
	for len(numbers) < n {
		least := zigzag(next())
		widths := data[:miniblocks]
		data = data[miniblocks:]
		for _, width := range widths {
			bytes := block / miniblocks * int(width) / 8
			for i := 0; i < block/miniblocks && len(numbers) < n; i++ {
				delta := uint64(0)
				for bit := range int(width) {
					at := i*int(width) + bit
					delta |= uint64(data[at/8]>>(at%8)&1) << bit
				}
				last += least + delta
				numbers = append(numbers, last)
			}
			data = data[min(bytes, len(data)):]
		}
	}
	if width == 4 {
		for i, v := range numbers {
			numbers[i] = uint64(uint32(v))
		}
	}
	return numbers
}

func FuzzDeltas(f *testing.F) {
	f.Add([]byte{128, 1, 4, 3, 14, 2, 2, 0, 0, 0, 0b1101}, 3, false)
	f.Add([]byte{128, 1, 4, 1, 7}, 1, true)
	f.Add([]byte{32, 1, 2, 1, 1, 64, 255, 255, 255, 255, 255, 255, 255, 255}, 2, false)
	f.Fuzz(func(t *testing.T, data []byte, n int, short bool) {
		if n < 1 || n > 1000 {
			return
		}
		width := 8
		if short {
			width = 4
		}
		out := make([]byte, n*width)
		if decodeDeltas(out, data, n, width) != nil {
			return
		}
		var got []uint64
		for i := range n {
			if short {
				got = append(got, uint64(binary.LittleEndian.Uint32(out[4*i:])))
			} else {
				got = append(got, binary.LittleEndian.Uint64(out[8*i:]))
			}
		}
		if want := slowDeltas(data, n, width); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func BenchmarkDeltas(b *testing.B) {
	const n = 32 << 10
	var data []byte
	for _, v := range []uint64{128, 4, n, 0} {
		data = binary.AppendUvarint(data, v)
	}
	for range n / 128 {
		data = append(data, 0, 17, 17, 17, 17)
		data = append(data, make([]byte, 128*17/8)...)
	}
	out := make([]byte, 8*n)
	b.SetBytes(8 * n)
	for b.Loop() {
		if err := decodeDeltas(out, data, n, 8); err != nil {
			b.Fatal(err)
		}
	}
}
