package offline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// gatheredTypes are all widths that can be packed, and what cannot.
var gatheredTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Timestamp_us,
	arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Float32, arrow.FixedWidthTypes.Date32,
	arrow.BinaryTypes.String, arrow.FixedWidthTypes.Boolean, &arrow.Decimal128Type{Precision: 20},
}

// randomChunk has rows in batches that are slices of larger ones, some without nulls.
func randomChunk(random *rand.Rand, mem memory.Allocator, schema *arrow.Schema) *chunk {
	c := &chunk{}
	for range 1 + random.IntN(4) {
		build := array.NewRecordBuilder(mem, schema)
		rows, nulls := 1+random.IntN(2*blockRows), random.IntN(3)
		for _, column := range build.Fields() {
			for range rows {
				if nulls > 0 && random.IntN(nulls*4) == 0 {
					column.AppendNull()
				} else if err := column.AppendValueFromString(randomText(random, column.Type())); err != nil {
					panic(err)
				}
			}
		}
		batch := build.NewRecordBatch()
		build.Release()
		start := random.Int64N(int64(rows))
		c.batches = append(c.batches, batch.NewSlice(start, int64(rows)))
		c.rows += int64(rows) - start
		batch.Release()
	}
	return c
}

func randomText(random *rand.Rand, typ arrow.DataType) string {
	switch typ.ID() {
	case arrow.BOOL:
		return []string{"true", "false"}[random.IntN(2)]
	case arrow.TIMESTAMP:
		return fmt.Sprintf("20%02d-01-01T00:00:00Z", random.IntN(100))
	case arrow.DATE32:
		return fmt.Sprintf("20%02d-01-01", random.IntN(100))
	}
	return fmt.Sprint(random.Int32())
}

// Whatever the columns and their nulls are, the rows taken are those asked for.
func TestRowsAreTakenInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	buffer := memory.NewResizableBuffer(mem) // one for all, as files share it
	defer buffer.Release()
	for range 300 {
		var fields []arrow.Field
		for i := range 1 + random.IntN(12) {
			typ := gatheredTypes[random.IntN(len(gatheredTypes))]
			fields = append(fields, arrow.Field{Name: fmt.Sprint(i), Type: typ, Nullable: true})
		}
		schema := arrow.NewSchema(fields, nil)
		c := randomChunk(random, mem, schema)
		want := textOf(c.batches)
		var order []int32
		if random.IntN(3) > 0 {
			for _, row := range random.Perm(int(c.rows)) {
				order = append(order, int32(row))
			}
		}
		g := newSorter(schema, c, newConformer(t.Context(), mem), order, buffer)
		var got []string
		for start := 0; start < int(c.rows); start += 100 {
			end := min(start+100, int(c.rows))
			g.slice(start, end)
			columns := make([]arrow.Array, len(fields))
			for i := range columns {
				column, err := g.column(i)
				if err != nil {
					t.Fatal(err)
				}
				columns[i] = column
			}
			rows := array.NewRecordBatch(schema, columns, int64(end-start))
			releaseArrays(columns)
			got = append(got, textOf([]arrow.RecordBatch{rows})...)
			rows.Release()
		}
		some := []int32{0, int32(c.rows) / 2, int32(c.rows) - 1}
		g.positions(slices.Clone(some))
		last, err := g.batch()
		if err != nil {
			t.Fatal(err)
		}
		g.release()
		c.release()
		for i, row := range textOf([]arrow.RecordBatch{last}) { // which outlives all
			if row != got[some[i]] {
				t.Fatalf("position %d is %s, want %s", some[i], row, got[some[i]])
			}
		}
		last.Release()
		for i, row := range got {
			from := i
			if order != nil {
				from = int(order[i])
			}
			if row != want[from] {
				t.Fatalf("position %d of %s is %s, want row %d, %s", i, schema, row, from, want[from])
			}
		}
	}
}

func textOf(batches []arrow.RecordBatch) (rows []string) {
	for _, batch := range batches {
		for row := range int(batch.NumRows()) {
			text := ""
			for _, column := range batch.Columns() {
				text += column.ValueStr(row) + " "
			}
			rows = append(rows, text)
		}
	}
	return rows
}
