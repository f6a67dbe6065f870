package offline_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
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

// The rows of a key are those that have it, wherever they lie: at the ends of row groups and over several, in
// several files, and nowhere.
func TestRowsOfAKeyAreThoseThatHaveIt(t *testing.T) {
	s, mem := openStore(t, t.TempDir())
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "run", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "key", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "step", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	mustCreate(t, s, weather, schema)
	sizes := map[string]int{"a/loss": 3, "a/x": 200_000, "b/loss": 62_144, "b/lossy": 1, "bb/": 300_000, "é/loss": 9}
	var snapshot offline.Snapshot
	for range 2 {
		b := array.NewRecordBuilder(mem, schema)
		for _, of := range slices.Sorted(maps.Keys(sizes)) {
			run, key, _ := strings.Cut(of, "/")
			for step := range sizes[of] {
				b.Field(0).(*array.StringBuilder).Append(run)
				b.Field(1).(*array.StringBuilder).Append(key)
				b.Field(2).(*array.Int64Builder).Append(int64(step))
			}
		}
		rows := b.NewRecordBatch()
		b.Release()
		var err error
		snapshot, err = s.Append(t.Context(), weather, driftline.BatchesOf(schema, rows), offline.Order{Keys: []string{"run", "key"}, Then: []string{"step"}}, nil)
		rows.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, of := range append(slices.Collect(maps.Keys(sizes)), "a/", "/loss", "c/loss", "b/los") {
		run, key, _ := strings.Cut(of, "/")
		var steps []int64
		for batch, err := range s.ReadKey(t.Context(), snapshot, []offline.KeyValue{{Column: "run", Value: run}, {Column: "key", Value: key}}, []string{"step"}).All {
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, batch.Column(0).(*array.Int64).Int64Values()...)
		}
		if len(steps) != 2*sizes[of] {
			t.Errorf("%q has %d rows, want %d", of, len(steps), 2*sizes[of])
		}
		for i, step := range steps {
			if step != int64(i%sizes[of]) {
				t.Fatalf("row %d of %q is step %d", i, of, step)
			}
		}
	}
	for _, err := range s.ReadKey(t.Context(), snapshot, []offline.KeyValue{{Column: "ran", Value: "a"}}, nil).All {
		if driftline.CodeOf(err) != driftline.NotFound {
			t.Errorf("of a column that there is not: %v", err)
		}
	}
}
