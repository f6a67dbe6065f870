package offline_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

func evolve(t *testing.T, s *offline.Store, changes ...offline.SchemaChange) {
	t.Helper()
	if err := s.Evolve(t.Context(), weather, changes...); err != nil {
		t.Fatal(err)
	}
}

func nullable(name string, dt arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: dt, Nullable: true}
}

func appendRows(t *testing.T, s *offline.Store, schema *arrow.Schema, json string) offline.Snapshot {
	t.Helper()
	snapshot, err := s.Append(t.Context(), weather, rowsOf(t, schema, json), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func columnIDs(s offline.Snapshot) map[string]int {
	ids := map[string]int{}
	for _, c := range s.Columns() {
		ids[c.Name] = c.ID
	}
	return ids
}

func TestColumnsEvolveWithoutRewriting(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	before := arrow.NewSchema([]arrow.Field{
		nullable("k", arrow.BinaryTypes.String),
		nullable("n", arrow.PrimitiveTypes.Int32),
		nullable("f", arrow.PrimitiveTypes.Float32),
		nullable("d", &arrow.Decimal128Type{Precision: 5, Scale: 2}),
		nullable("gone", arrow.BinaryTypes.String),
	}, nil)
	mustCreate(t, s, weather, before)
	first := appendRows(t, s, before, `[{"k":"a","n":-2147483648,"f":0.1,"d":"123.45","gone":"x"},{"k":null,"n":null,"f":null,"d":null,"gone":null}]`)
	evolve(t, s,
		offline.RenameColumn("k", "key"),
		offline.WidenColumn("n", arrow.PrimitiveTypes.Int64),
		offline.WidenColumn("f", arrow.PrimitiveTypes.Float64),
		offline.WidenColumn("d", &arrow.Decimal128Type{Precision: 38, Scale: 2}),
		offline.DropColumn("gone"),
		offline.AddColumn(nullable("k", arrow.PrimitiveTypes.Int32)), // the name of another once
		offline.AddColumn(nullable("gone", arrow.PrimitiveTypes.Float64)),
	)
	after := arrow.NewSchema([]arrow.Field{
		nullable("key", arrow.BinaryTypes.String),
		nullable("n", arrow.PrimitiveTypes.Int64),
		nullable("f", arrow.PrimitiveTypes.Float64),
		nullable("d", &arrow.Decimal128Type{Precision: 38, Scale: 2}),
		nullable("k", arrow.PrimitiveTypes.Int32),
		nullable("gone", arrow.PrimitiveTypes.Float64),
	}, nil)
	second := appendRows(t, s, after, `[{"key":"b","n":4294967296,"f":0.1,"d":"99999999999.25","k":7,"gone":0.5}]`)
	wantFiles(t, dir, 2)
	for _, store := range []*offline.Store{s, reopen(t, dir)} {
		for _, test := range []struct {
			snapshot offline.Snapshot
			schema   *arrow.Schema
			want     string
		}{
			{first, before, "\na -2147483648 0.1 123.45 x\n(null) (null) (null) (null) (null)"},
			{second, after, "\na -2147483648 0.10000000149011612 123.45 (null) (null)\n(null) (null) (null) (null) (null) (null)\nb 4294967296 0.1 99999999999.25 7 0.5"},
		} {
			found, err := store.At(t.Context(), weather, test.snapshot.ID)
			if err != nil {
				t.Fatal(err)
			}
			wantSameSnapshot(t, found, test.snapshot)
			if !found.Schema.Equal(test.schema) {
				t.Errorf("schema is %s, want %s", found.Schema, test.schema)
			}
			wantRows(t, store, found, test.want)
		}
		wantRows(t, store, second, "\n(null) a\n(null) (null)\n7 b", "k", "key")
	}
	was, is := columnIDs(first), columnIDs(second)
	for from, to := range map[string]string{"k": "key", "n": "n", "f": "f", "d": "d"} {
		if was[from] != is[to] {
			t.Errorf("column %s had id %d and has %d as %s", from, was[from], is[to], to)
		}
	}
	if is["k"] == was["k"] || is["gone"] == was["gone"] || is["k"] == is["gone"] {
		t.Errorf("new columns have old ids: %v, then %v", was, is)
	}
}

func TestRowsStagedBeforeAnEvolutionCanBeCommittedAfter(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	schema := arrow.NewSchema([]arrow.Field{nullable("k", arrow.BinaryTypes.String), nullable("n", arrow.PrimitiveTypes.Int32), nullable("gone", arrow.ListOf(arrow.BinaryTypes.String))}, nil)
	mustCreate(t, s, weather, schema)
	staged, err := s.Stage(t.Context(), weather, rowsOf(t, schema, `[{"k":"a","n":1,"gone":["x"]}]`), offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	evolve(t, s, offline.DropColumn("gone"), offline.RenameColumn("k", "key"), offline.WidenColumn("n", arrow.PrimitiveTypes.Int64))
	snapshot, err := s.Commit(t.Context(), weather, staged, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, s, snapshot, "\na 1")
}

func TestIncompatibleChangesAreRefusedAsAWhole(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	for _, test := range []struct {
		change offline.SchemaChange
		code   driftline.Code
		text   string
	}{
		{offline.WidenColumn("temp", arrow.PrimitiveTypes.Float32), driftline.FailedPrecondition, `column "temp" is double and cannot become float`},
		{offline.WidenColumn("airport", arrow.PrimitiveTypes.Int64), driftline.FailedPrecondition, "register a new version of the view"},
		{offline.WidenColumn("temp", arrow.FixedWidthTypes.Duration_us), driftline.Invalid, "which a table cannot hold"},
		{offline.AddColumn(arrow.Field{Name: "gust", Type: arrow.PrimitiveTypes.Float64}), driftline.FailedPrecondition, `column "gust" cannot be added`},
		{offline.AddColumn(nullable("temp", arrow.PrimitiveTypes.Float64)), driftline.AlreadyExists, `has a column "temp"`},
		{offline.RenameColumn("airport", "temp"), driftline.AlreadyExists, `has a column "temp"`},
		{offline.RenameColumn("tmp", "x"), driftline.NotFound, `did you mean "temp"?`},
		{offline.DropColumn("tmp"), driftline.NotFound, `did you mean "temp"?`},
	} {
		wantCode(t, s.Evolve(t.Context(), weather, offline.RenameColumn("event_timestamp", "at"), test.change), test.code, test.text)
	}
	snapshot := append1(t, s, weather, "JFK", 1) // by the old names
	wantRows(t, s, snapshot, "\n2013-01-01T00:00:00Z", "event_timestamp")
	only := arrow.NewSchema([]arrow.Field{nullable("k", arrow.BinaryTypes.String)}, nil)
	one := offline.TableID{Namespace: "features", Name: "one"}
	mustCreate(t, s, one, only)
	wantCode(t, s.Evolve(t.Context(), one, offline.DropColumn("k")), driftline.FailedPrecondition, "drop the table instead")
}

func TestAnIDIsNeverGivenTwice(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	schema := arrow.NewSchema([]arrow.Field{nullable("k", arrow.BinaryTypes.String), nullable("last", arrow.PrimitiveTypes.Int32)}, nil)
	mustCreate(t, s, weather, schema)
	first := appendRows(t, s, schema, `[{"k":"a","last":1}]`)
	evolve(t, s, offline.DropColumn("last"))
	evolve(t, s, offline.AddColumn(nullable("last", arrow.PrimitiveTypes.Int32)))
	second := appendRows(t, s, schema, `[{"k":"b","last":2}]`)
	wantRows(t, s, second, "\na (null)\nb 2")
	if was, is := columnIDs(first)["last"], columnIDs(second)["last"]; was == is {
		t.Errorf("the new column has the id %d of the dropped one", is)
	}
}
