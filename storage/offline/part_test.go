package offline_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// TestPartsThatMayHaveAValueHaveAllOfItsRows looks for values in a sorted and in an unsorted column, and in
// one that the other reader decodes: what is passed over never has the value, and rows keep their numbers.
func TestPartsThatMayHaveAValueHaveAllOfItsRows(t *testing.T) {
	s, mem := openStore(t, t.TempDir())
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "station", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "number", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "price", Type: &arrow.Decimal128Type{Precision: 20, Scale: 2}, Nullable: true},
	}, nil)
	mustCreate(t, s, weather, schema)
	const n = 300_000
	random := rand.New(rand.NewPCG(5, 6))
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	for range n {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("a long name of a station, so that its bounds may be cut: number %04d", random.IntN(1000)))
		if number := random.Int64N(2000) - 1000; number == 0 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.Int64Builder).Append(number)
		}
		b.Field(2).AppendNull()
	}
	rows := b.NewRecordBatch()
	defer rows.Release()
	snapshot, err := s.Append(t.Context(), weather, driftline.BatchesOf(schema, rows), offline.Order{Keys: []string{"station"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Files) != 1 {
		t.Fatalf("%d files", len(snapshot.Files))
	}
	for _, columns := range [][]string{{"station", "number"}, {"station", "number", "price"}} {
		for range 20 {
			at := random.IntN(2)
			value := fmt.Sprint(random.Int64N(2400) - 1200)
			if at == 0 {
				value = fmt.Sprintf("a long name of a station, so that its bounds may be cut: number %04d", random.IntN(1200))
			}
			all, _ := rowsWith(t, s, snapshot, columns, at, value, func(offline.Part) bool { return true })
			some, read := rowsWith(t, s, snapshot, columns, at, value, func(p offline.Part) bool { return p.MayHave(at, value) })
			if !slices.Equal(all, some) {
				t.Errorf("column %d = %q is in rows %v, and in %v of the parts that may have it", at, value, all, some)
			}
			if at == 0 && len(columns) == 2 && len(all) > 0 && read > n/2 {
				t.Errorf("of %d rows that are sorted by it, %d were read for %q", n, read, value)
			}
		}
	}
}

// rowsWith are the numbers of the rows that have a value in a column, and how many rows were read.
func rowsWith(t *testing.T, s *offline.Store, snapshot offline.Snapshot, columns []string, at int, value string, wanted func(offline.Part) bool) (found []int64, read int64) {
	t.Helper()
	var part offline.Part
	batches := s.ReadParts(t.Context(), snapshot, columns, func(p offline.Part) bool {
		part = p
		return wanted(p)
	})
	for batch, err := range batches.All {
		if err != nil {
			t.Fatal(err)
		}
		if batch.NumRows() != part.Rows {
			t.Fatalf("a batch of %d rows is of part %+v", batch.NumRows(), part)
		}
		read += batch.NumRows()
		column := batch.Column(at)
		for row := range column.Len() {
			if column.IsValid(row) && column.ValueStr(row) == value {
				found = append(found, part.First+int64(row))
			}
		}
	}
	return found, read
}
