package query

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// numbers returns a file of n rows (n BIGINT, name VARCHAR) and its schema.
func numbers(t testing.TB, n int) (string, *arrow.Schema) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprint("row ", i))
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	return writeParquet(t, schema, batch), schema
}

// answer runs sql and returns its rows as text.
func answer(db *DB, sql string, tables []Table, args ...any) (string, error) {
	ctx := context.Background()
	sel, err := db.ParseSelect(ctx, sql)
	if err != nil {
		return "", err
	}
	batches, err := db.Select(ctx, sel, tables, args)
	if err != nil {
		return "", err
	}
	got, _, err := batches.Collect()
	defer driftline.ReleaseAll(got)
	return show(batches.Schema, got), err
}

// show prints batches as lines of cells separated by blanks, the names first.
func show(schema *arrow.Schema, batches []arrow.RecordBatch) string {
	var lines []string
	var names []string
	for _, f := range schema.Fields() {
		names = append(names, f.Name)
	}
	lines = append(lines, strings.Join(names, " "))
	for _, b := range batches {
		for i := range int(b.NumRows()) {
			var cells []string
			for _, c := range b.Columns() {
				cells = append(cells, c.ValueStr(i))
			}
			lines = append(lines, strings.Join(cells, " "))
		}
	}
	return strings.Join(lines, "\n")
}

func TestSelect(t *testing.T) {
	db := openDB(t)
	file, schema := numbers(t, 5)
	wider := arrow.NewSchema(append(schema.Fields(), arrow.Field{Name: "added", Type: arrow.PrimitiveTypes.Float64}), nil)
	batches := func() driftline.Batches {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		defer b.Release()
		b.AppendValues([]int64{7, 8}, nil)
		column := b.NewArray()
		s := arrow.NewSchema([]arrow.Field{{Name: "id", Type: column.DataType()}}, nil)
		return driftline.BatchesFrom(first(array.NewRecordReader(s, []arrow.RecordBatch{array.NewRecordBatch(s, []arrow.Array{column}, 2)})))
	}
	tables := []Table{
		{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}},
		{Schema: "features", Name: "wider", Columns: wider, Rows: Rows{Files: []string{file}}},
		{Schema: "features", Name: "empty", Columns: schema},
		{Schema: "meta", Name: "runs", Batches: batches},
		{Name: "local", Rows: Rows{Files: []string{file}}},
	}
	for _, test := range []struct {
		sql  string
		args []any
		want string
	}{
		{"select n, name from features.numbers where n > 2 order by n", nil, "n name\n3 row 3\n4 row 4"},
		{"select count(*) c, sum(added) s from features.wider", nil, "c s\n5 (null)"},
		{"select * from features.empty", nil, "n name"},
		{"select a.id, b.id from meta.runs a, META.Runs b order by all", nil, "id id\n7 7\n7 8\n8 7\n8 8"},
		{"select max(n) m from local", nil, "m\n4"},
		{"select n from features.numbers where name = ? and n < $2", []any{"row 3", int64(4)}, "n\n3"},
		{"select ?::timestamptz t, $2::blob b, $3 x, $4::double f", []any{time.UnixMicro(1), []byte{1}, nil, 2.5}, "t b x f\n1970-01-01T00:00:00.000001Z AQ== (null) 2.5"},
		{"select timestamptz '2013-01-01 00:00:00' t", nil, "t\n2013-01-01T00:00:00Z"},
		{"select 1 a, 2 a, 'it''s' b", nil, "a a b\n1 2 it's"},
		{"with t as (select 1 x) select * from t", nil, "x\n1"},
		{"select '/etc/passwd' x", nil, "x\n/etc/passwd"},
	} {
		got, err := answer(db, test.sql, tables, test.args...)
		if err != nil || got != test.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", test.sql, err, got, test.want)
		}
	}
}

func first[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestSelectErrors(t *testing.T) {
	db := openDB(t)
	file, schema := numbers(t, 5)
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	damaged := filepath.Join(t.TempDir(), "damaged.parquet")
	if err := os.WriteFile(damaged, []byte("PAR1 this is not a Parquet file PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	tables = append(tables, Table{Schema: "features", Name: "damaged", Columns: schema, Rows: Rows{Files: []string{damaged}}})
	for _, test := range []struct {
		sql  string
		args []any
		want string
	}{
		{"select * from features.number", nil, `not_found: table "features.number" does not exist; did you mean "features.numbers"?`},
		{"select * from numbers", nil, `not_found: table "numbers" does not exist; did you mean "features.numbers"?`},
		{"select * from information_schema.tables", nil, `not_found: table "information_schema.tables" does not exist; known: features.damaged, features.numbers`},
		{"select * from sqlite_master", nil, `not_found: table "sqlite_master" does not exist; known: features.damaged, features.numbers`},
		{"select * from '" + file + "'", nil, `not_found: table "` + file + `" does not exist; known: features.damaged, features.numbers`},
		{"select nam from features.numbers", nil, `invalid: column "nam" does not exist; did you mean "name"`},
		{"select w.nam from features.numbers w", nil, `invalid: table "w" has no column "nam"`},
		{"select v.n from features.numbers w", nil, `invalid: table "v" is not in the FROM of this SELECT; did you mean "w"?`},
		{"select medain(n) from features.numbers", nil, `invalid: function "medain" does not exist; did you mean "median"?`},
		{"select n + name from features.numbers", nil, `invalid: No function matches`},
		{"select cast(name as int) from features.numbers", nil, `invalid: Could not convert string 'row 0' to INT32`},
		{"select nosuch(1)", nil, `invalid: function "nosuch" does not exist`},
		{"select n from features.numbers where n = ?", nil, `invalid: the query has 1 parameters, 0 values were given`},
		{"select ?", []any{struct{}{}}, `invalid: value 1 is a struct {}, want a number, string, bytes, time or null`},
		{"select * from features.damaged", nil, `data_loss: a stored file cannot be read: see the log of the server`},
	} {
		got, err := answer(db, test.sql, tables, test.args...)
		text := fmt.Sprintf("%s: %v", driftline.CodeOf(err), err)
		if err == nil || !strings.HasPrefix(text, test.want) {
			t.Errorf("%s:\n%s\nwant\n%s", test.sql, text, test.want)
		}
		if got != "" && strings.Contains(text, filepath.Dir(damaged)) {
			t.Errorf("%s: a path is shown: %s", test.sql, text)
		}
	}
}

// TestSandboxHolds runs what the gate would refuse, as if the gate had a hole.
func TestSandboxHolds(t *testing.T) {
	db := openDB(t)
	file, schema := numbers(t, 5)
	other, _ := numbers(t, 3)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	for _, sql := range []string{
		"select * from '" + other + "'",
		"select * from read_parquet('" + other + "')",
		"select * from read_text('/etc/passwd')",
		"select * from glob('/*')",
		"copy (select 1) to '" + dir + "/x.csv'",
		"attach '" + dir + "/x.db'",
		"install httpfs",
		"load '" + dir + "/x.duckdb_extension'",
		"set memory_limit = '100GB'",
		"set enable_external_access = true",
		"export database '" + dir + "'",
	} {
		sel := &Select{Tables: []TableName{{Schema: "features", Name: "numbers"}}, text: sql}
		batches, err := db.Select(context.Background(), sel, tables, nil)
		if err == nil {
			_, _, err = batches.Collect()
		}
		if err == nil {
			t.Errorf("%s was allowed", sql)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) != string(before) {
		t.Errorf("the table's file changed: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("files were written: %v, %v", entries, err)
	}
}

func TestBatchesAreCoalesced(t *testing.T) {
	db := openDB(t)
	file, schema := numbers(t, 300_000)
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	sel, err := db.ParseSelect(context.Background(), "select n, name, name || name twice from features.numbers order by n")
	if err != nil {
		t.Fatal(err)
	}
	batches, err := db.Select(context.Background(), sel, tables, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for batch, err := range batches.All {
		if err != nil {
			t.Fatal(err)
		}
		if size := driftline.BatchBytes(batch); size > batchBytes {
			t.Errorf("a batch has %d bytes", size)
		}
		if next+batch.NumRows() < 300_000 && batch.NumRows() < 8192 {
			t.Errorf("a batch has %d rows", batch.NumRows())
		}
		for _, n := range batch.Column(0).(*array.Int64).Int64Values() {
			if n != next {
				t.Fatalf("row %d came where row %d was due", n, next)
			}
			next++
		}
	}
	if next != 300_000 {
		t.Errorf("%d rows", next)
	}
}

func TestLeavingTheRangeEarly(t *testing.T) {
	db := openDB(t)
	file, schema := numbers(t, 300_000)
	tables := []Table{{Schema: "features", Name: "numbers", Columns: schema, Rows: Rows{Files: []string{file}}}}
	sel, err := db.ParseSelect(context.Background(), "from features.numbers")
	if err != nil {
		t.Fatal(err)
	}
	batches, err := db.Select(context.Background(), sel, tables, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range batches.All {
		break
	}
}

func TestCancelInterruptsTheQuery(t *testing.T) {
	db := openDB(t)
	sel, err := db.ParseSelect(context.Background(), "select sum(hash(a.range * b.range * c.range)) from range(1000000) a, range(1000000) b, range(1000000) c")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	batches, err := db.Select(ctx, sel, nil, nil)
	if err == nil {
		_, _, err = batches.Collect()
	}
	if driftline.CodeOf(err) != driftline.Deadline || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v (%s)", err, driftline.CodeOf(err))
	}

	batches, err = db.Select(context.Background(), sel, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, _, err := batches.Collect()
		done <- err
	}()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("after Close: %v (%s)", err, driftline.CodeOf(err))
	}
	if _, err := db.ParseSelect(context.Background(), "select 1"); driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("parse after Close: %v", err)
	}
}

func TestMemoryLimitIsExhausted(t *testing.T) {
	db := openDB(t)
	db.opts.MemoryBytes = 32 << 20
	_, err := answer(db, "select list(a.range) from range(1000000) a, range(100) b group by b.range", nil)
	if driftline.CodeOf(err) != driftline.Exhausted {
		t.Errorf("%v (%s)", err, driftline.CodeOf(err))
	}
}

func TestArguments(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "1", Type: arrow.PrimitiveTypes.Int32}, {Name: "2", Type: arrow.BinaryTypes.LargeString, Nullable: true}, {Name: "3", Type: driftline.Time},
	}, nil)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"1": 7, "2": null, "3": "2013-01-01T00:00:00Z"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Release()
	args, err := Arguments(batch, 0)
	if want := []any{int32(7), nil, time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)}; err != nil || fmt.Sprint(args) != fmt.Sprint(want) {
		t.Errorf("%v, %v, want %v", args, err, want)
	}
}
