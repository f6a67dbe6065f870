package driftline_test

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

func TestSplitBatch(t *testing.T) {
	field := func(dt arrow.DataType) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: "x", Type: dt, Nullable: true}}, nil)
	}
	long := `"` + strings.Repeat("x", 1000) + `"`
	for _, test := range []struct {
		what   string
		of     arrow.DataType
		values []string // JSON
		most   int64
		pieces []int64 // rows of each
	}{
		{"what fits stays whole", arrow.PrimitiveTypes.Int64, []string{"1", "2", "3", "4"}, 33, []int64{4}},
		{"what does not is halved", arrow.PrimitiveTypes.Int64, []string{"1", "2", "3", "4"}, 32, []int64{2, 2}},
		{"no rows", arrow.PrimitiveTypes.Int64, nil, 1, []int64{0}},
		{"a row that is too large alone", arrow.BinaryTypes.String, []string{`"a"`, long, `"b"`, `"c"`}, 100, []int64{1, 1, 2}},
		{"long strings among short ones", arrow.BinaryTypes.LargeString, []string{long, `"a"`, `"b"`, `"c"`, `"d"`, `"e"`, `"f"`, `"g"`}, 100, []int64{1, 1, 2, 4}},
		{"views", arrow.BinaryTypes.StringView, []string{`"a"`, long}, 1000, []int64{1, 1}},
		{"lists", arrow.ListOf(arrow.PrimitiveTypes.Int64), []string{"[1, 2, 3, 4]", "[]", "null", "[1]"}, 64, []int64{2, 2}},
		{"structs", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true}), []string{`{"a": ` + long + `}`, "null"}, 1000, []int64{1, 1}},
		{"booleans", arrow.FixedWidthTypes.Boolean, []string{"true", "false", "null", "true"}, 2, []int64{4}},
		{"nothing at all", arrow.Null, []string{"null", "null"}, 1, []int64{2}},
	} {
		t.Run(test.what, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
			defer mem.AssertSize(t, 0)
			rows := make([]string, len(test.values))
			for i, v := range test.values {
				rows[i] = `{"x": ` + v + `}`
			}
			batch, _, err := array.RecordFromJSON(mem, field(test.of), strings.NewReader("["+strings.Join(rows, ",")+"]"))
			if err != nil {
				t.Fatal(err)
			}
			defer batch.Release()
			checkPieces(t, batch, test.most, test.pieces)
			if batch.NumRows() > 0 { // a batch that is itself a slice
				part := batch.NewSlice(1, batch.NumRows())
				defer part.Release()
				for piece := range driftline.SplitBatch(part, 1) {
					if piece.NumRows() > 1 && test.most > 2 && test.of != arrow.Null {
						t.Errorf("a piece of a slice has %d rows", piece.NumRows())
					}
				}
			}
		})
	}
}

func checkPieces(t *testing.T, batch arrow.RecordBatch, most int64, want []int64) {
	t.Helper()
	var from int64
	for piece := range driftline.SplitBatch(batch, most) {
		if len(want) == 0 || piece.NumRows() != want[0] {
			t.Fatalf("a piece of %d rows at row %d, want %v", piece.NumRows(), from, want)
		}
		same := batch.NewSlice(from, from+piece.NumRows())
		if !array.RecordEqual(piece, same) {
			t.Errorf("rows from %d on are not those of the batch", from)
		}
		same.Release()
		from, want = from+piece.NumRows(), want[1:]
	}
	if len(want) > 0 {
		t.Errorf("pieces of %v rows are missing", want)
	}
}
