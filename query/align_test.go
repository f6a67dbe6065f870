package query

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// skewed is an allocator whose memory begins at addresses that eight does not divide.
type skewed struct{ memory.Allocator }

func (s skewed) Allocate(size int) []byte { return s.Allocator.Allocate(size + 8)[3:][:size] }
func (s skewed) Free([]byte)              {}
func (s skewed) Reallocate(size int, have []byte) []byte {
	moved := s.Allocate(size)
	copy(moved, have)
	return moved
}

// Whatever the columns are, C code sees the same values at addresses that it may read.
func TestBatchesAreAlignedForC(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "number", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	}, nil)
	make := func(mem memory.Allocator) arrow.RecordBatch {
		batch, _, err := array.RecordFromJSON(mem, schema, strings.NewReader(`[{"number": 1.5, "text": "a", "list": [1, 2]},
			{"number": null, "text": "bc", "list": null}, {"number": 2.5, "text": null, "list": []}]`))
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	straight, askew := make(mem), make(skewed{memory.NewGoAllocator()})
	defer straight.Release()
	if same := aligned(mem, straight); same != straight {
		t.Error("a batch was copied for nothing")
	} else {
		same.Release()
	}
	for _, rows := range [][2]int64{{0, 3}, {1, 3}, {2, 2}} {
		slice := askew.NewSlice(rows[0], rows[1])
		want := straight.NewSlice(rows[0], rows[1])
		got := aligned(mem, slice)
		for i, column := range got.Columns() {
			if astray(column.Data()) {
				t.Errorf("rows %v, column %d: a buffer is astray", rows, i)
			}
		}
		if !array.RecordEqual(got, want) {
			t.Errorf("rows %v: %v, want %v", rows, got, want)
		}
		got.Release()
		want.Release()
		slice.Release()
	}
}
