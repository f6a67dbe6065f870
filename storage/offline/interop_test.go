package offline_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// python returns an interpreter that has a module, or skips the test. The environments
// are those that the README says how to make.
func python(t *testing.T, module string) string {
	t.Helper()
	for _, environment := range []string{".venv", ".venv-peers"} {
		interpreter, err := filepath.Abs(filepath.Join("..", "..", environment, "bin", "python"))
		if err != nil {
			t.Fatal(err)
		}
		if exec.Command(interpreter, "-c", "import pyarrow, "+module).Run() == nil {
			return interpreter
		}
	}
	t.Skip("no Python environment has " + module)
	return ""
}

func run(t *testing.T, program string, arguments ...string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), program, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

// sortedText is rows as text, sorted: other readers have an order of their own.
func sortedText(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, err := ipc.NewFileReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var lines []string
	for i := range reader.NumRecords() {
		batch, err := reader.RecordBatchAt(i)
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(batch.NumRows()) {
			var values []string
			for _, column := range batch.Columns() {
				values = append(values, column.ValueStr(row))
			}
			lines = append(lines, strings.Join(values, " "))
		}
		batch.Release()
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// told is a snapshot and what the store says that its rows are.
type told struct {
	name     string // in the file system
	snapshot offline.Snapshot
	as       string // how another engine asks for it; its id if empty
}

// life lets a table live through all that can happen to it, and returns the snapshots that are left.
func life(t *testing.T, s *offline.Store) []told {
	t.Helper()
	before := arrow.NewSchema([]arrow.Field{
		nullable("k", arrow.BinaryTypes.String),
		nullable("at", driftline.Time),
		nullable("n", arrow.PrimitiveTypes.Int32),
		nullable("f", arrow.PrimitiveTypes.Float32),
		nullable("d", &arrow.Decimal128Type{Precision: 5, Scale: 2}),
		nullable("gone", arrow.BinaryTypes.String),
		nullable("tags", arrow.ListOf(arrow.BinaryTypes.String)),
	}, nil)
	mustCreate(t, s, weather, before)
	appendRows(t, s, before, `[{"k":"expired","at":null,"n":1,"f":1,"d":"1.00","gone":"x","tags":null}]`)
	old := replaceRows(t, s, before, `[
		{"k":"a","at":"2013-01-01T00:00:00.000001Z","n":-2147483648,"f":0.5,"d":"-123.45","gone":"x","tags":["p",null]},
		{"k":null,"at":null,"n":null,"f":null,"d":null,"gone":null,"tags":null}]`)
	if err := s.Tag(t.Context(), weather, "release 1", old.ID); err != nil {
		t.Fatal(err)
	}
	evolve(t, s,
		offline.RenameColumn("k", "key"),
		offline.WidenColumn("n", arrow.PrimitiveTypes.Int64),
		offline.WidenColumn("f", arrow.PrimitiveTypes.Float64),
		offline.WidenColumn("d", &arrow.Decimal128Type{Precision: 30, Scale: 2}),
		offline.DropColumn("gone"),
		offline.AddColumn(nullable("k", arrow.PrimitiveTypes.Int64)))
	after := arrow.NewSchema([]arrow.Field{
		nullable("key", arrow.BinaryTypes.String),
		nullable("at", driftline.Time),
		nullable("n", arrow.PrimitiveTypes.Int64),
		nullable("f", arrow.PrimitiveTypes.Float64),
		nullable("d", &arrow.Decimal128Type{Precision: 30, Scale: 2}),
		nullable("k", arrow.PrimitiveTypes.Int64),
	}, nil)
	evolved := appendRows(t, s, after, `[
		{"key":"b","at":"1969-12-31T23:59:59.999999Z","n":4294967296,"f":0.25,"d":"99999999999.25","k":7},
		{"key":"secret","at":"2013-01-01T00:00:00Z","n":4,"f":0.125,"d":"0.00","k":8}]`)
	order := offline.Order{Keys: []string{"key"}, Then: []string{"at"}}
	compacted := compact(t, s, order)
	files, _, err := s.Erase(t.Context(), compacted.Files[0], order, []string{"key"}, is("secret"))
	if err != nil {
		t.Fatal(err)
	}
	erased, err := s.ReplaceFiles(t.Context(), weather, compacted.Files, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	rolledBack, err := s.Rollback(t.Context(), weather, evolved.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	current := appendRows(t, s, after, `[{"key":"c","at":null,"n":null,"f":null,"d":null,"k":null}]`)
	kept := []told{{"tag", old, "release 1"}, {"evolved", evolved, ""}, {"compacted", compacted, ""}, {"erased", erased, ""}, {"rolled-back", rolledBack, ""}, {"current", current, "main"}}
	expire(t, s, func(s offline.Snapshot) bool {
		return slices.ContainsFunc(kept, func(k told) bool { return k.snapshot.ID == s.ID })
	})
	return kept
}

func replaceRows(t *testing.T, s *offline.Store, schema *arrow.Schema, json string) offline.Snapshot {
	t.Helper()
	staged, err := s.Stage(t.Context(), weather, rowsOf(t, schema, json), offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := s.Replace(t.Context(), weather, staged, nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func oursSorted(t *testing.T, s *offline.Store, snapshot offline.Snapshot) string {
	t.Helper()
	lines := strings.Split(textOf(t, s, snapshot), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestPyicebergReadsTheSameRows(t *testing.T) {
	interpreter := python(t, "pyiceberg")
	dir, out := t.TempDir(), t.TempDir()
	s, _ := openStore(t, dir)
	kept := life(t, s)
	arguments := []string{filepath.Join("testdata", "table_rows.py"), filepath.Join(dir, "features", "weather"), out}
	for _, k := range kept {
		if k.as == "" {
			k.as = fmt.Sprint(int64(k.snapshot.ID))
		}
		arguments = append(arguments, k.name+"="+k.as)
	}
	run(t, interpreter, arguments...)
	for _, k := range kept {
		want := oursSorted(t, s, k.snapshot)
		if got := sortedText(t, filepath.Join(out, k.name+".arrow")); got != want {
			t.Errorf("%s: pyiceberg reads\n%s\nwe read\n%s", k.name, got, want)
		}
	}
}

func TestDuckDBReadsTheSameRows(t *testing.T) {
	interpreter := python(t, "duckdb")
	s, _ := openStore(t, t.TempDir())
	out := filepath.Join(t.TempDir(), "rows.arrow")
	for _, k := range life(t, s) {
		arguments := []string{filepath.Join("testdata", "parquet_rows.py"), out, duckSchema(k.snapshot)}
		for _, f := range k.snapshot.Files {
			arguments = append(arguments, f.Path)
		}
		run(t, interpreter, arguments...)
		want := oursSorted(t, s, k.snapshot)
		if got := sortedText(t, out); got != want {
			t.Errorf("%s: DuckDB reads\n%s\nwe read\n%s", k.name, got, want)
		}
	}
}

// duckSchema is the schema argument of read_parquet: columns by field id.
func duckSchema(s offline.Snapshot) string {
	types := map[arrow.Type]string{arrow.STRING: "VARCHAR", arrow.TIMESTAMP: "TIMESTAMPTZ", arrow.INT32: "INTEGER", arrow.INT64: "BIGINT", arrow.FLOAT32: "FLOAT", arrow.FLOAT64: "DOUBLE", arrow.LIST: "VARCHAR[]"}
	var columns []string
	for _, c := range s.Columns() {
		name := types[c.Type.ID()]
		if decimal, ok := c.Type.(*arrow.Decimal128Type); ok {
			name = fmt.Sprintf("DECIMAL(%d, %d)", decimal.Precision, decimal.Scale)
		}
		columns = append(columns, fmt.Sprintf("%d: {name: '%s', type: '%s', default_value: NULL}", c.ID, c.Name, name))
	}
	return "MAP {" + strings.Join(columns, ", ") + "}"
}
