package offline_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/extensions"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// null is how a null is written in the tables below.
const null = array.NullValueStr

// column makes an array from texts.
func column(t *testing.T, dt arrow.DataType, values []string) arrow.Array {
	t.Helper()
	b := array.NewBuilder(memory.DefaultAllocator, dt)
	defer b.Release()
	for _, v := range values {
		if v == null {
			b.AppendNull()
			continue
		}
		if err := b.AppendValueFromString(v); err != nil {
			t.Fatalf("%s %q: %v", dt, v, err)
		}
	}
	return b.NewArray()
}

var (
	seconds   = &arrow.TimestampType{Unit: arrow.Second}
	millis    = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "America/New_York"}
	nanos     = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	naive     = &arrow.TimestampType{Unit: arrow.Microsecond}
	decimal38 = &arrow.Decimal128Type{Precision: 38, Scale: 10}
	person    = arrow.StructOf(
		arrow.Field{Name: "name", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		arrow.Field{Name: "born", Type: nanos, Nullable: true})
)

// roundTrips has a column of every type: what goes in, the type it is stored as,
// and what comes out where that is written differently.
var roundTrips = []struct {
	in     arrow.DataType
	values []string
	stored string
	out    []string // values if nil
}{
	{in: arrow.FixedWidthTypes.Boolean, values: []string{"true", null, "false"}, stored: "bool"},
	{in: arrow.PrimitiveTypes.Int8, values: []string{"-128", "127", null}, stored: "int32"},
	{in: arrow.PrimitiveTypes.Int16, values: []string{"-32768", "32767"}, stored: "int32"},
	{in: arrow.PrimitiveTypes.Int32, values: []string{"-2147483648", "2147483647", null}, stored: "int32"},
	{in: arrow.PrimitiveTypes.Int64, values: []string{"-9223372036854775808", "9223372036854775807", "9007199254740993"}, stored: "int64"},
	{in: arrow.PrimitiveTypes.Uint8, values: []string{"0", "255"}, stored: "int32"},
	{in: arrow.PrimitiveTypes.Uint16, values: []string{"0", "65535"}, stored: "int32"},
	{in: arrow.PrimitiveTypes.Uint32, values: []string{"0", "4294967295", null}, stored: "int64"},
	{in: arrow.PrimitiveTypes.Uint64, values: []string{"0", "18446744073709551615", null}, stored: "decimal(20, 0)"},
	{in: arrow.FixedWidthTypes.Float16, values: []string{"0.5", "65504", "NaN", "+Inf", null}, stored: "float32", out: []string{"0.5", "65504", "NaN", "+Inf", null}},
	{in: arrow.PrimitiveTypes.Float32, values: []string{"-0", "NaN", "+Inf", "-Inf", "1e-45", "3.4028235e+38"}, stored: "float32"},
	{in: arrow.PrimitiveTypes.Float64, values: []string{"-0", "0", "NaN", "+Inf", "-Inf", "5e-324", "1.7976931348623157e+308", null}, stored: "float64"},
	{in: arrow.BinaryTypes.String, values: []string{"", "a", null, "naïve 雪 \x00 end"}, stored: "utf8"},
	{in: arrow.BinaryTypes.LargeString, values: []string{"", "large", null}, stored: "utf8"},
	{in: arrow.BinaryTypes.StringView, values: []string{"", "a view of more than twelve bytes", null}, stored: "utf8"},
	{in: arrow.BinaryTypes.Binary, values: []string{"", "AP8=", null}, stored: "binary"},
	{in: arrow.BinaryTypes.LargeBinary, values: []string{"", "AP8="}, stored: "binary"},
	{in: &arrow.FixedSizeBinaryType{ByteWidth: 2}, values: []string{"AP8=", null}, stored: "fixed_size_binary[2]"},
	{in: &arrow.Decimal32Type{Precision: 5, Scale: 2}, values: []string{"-123.45", null}, stored: "decimal(5, 2)"},
	{in: &arrow.Decimal64Type{Precision: 18, Scale: 0}, values: []string{"999999999999999999"}, stored: "decimal(18, 0)"},
	{in: decimal38, values: []string{"-1234567890123456789012345678.0123456789", "0", null}, stored: "decimal(38, 10)",
		out: []string{"-1234567890123456789012345678.0123456789", "0", null}},
	{in: &arrow.Decimal256Type{Precision: 38, Scale: 1}, values: []string{"1.5"}, stored: "decimal(38, 1)"},
	{in: arrow.FixedWidthTypes.Date32, values: []string{"0001-01-01", "1970-01-01", "9999-12-31", null}, stored: "date32"},
	{in: arrow.FixedWidthTypes.Date64, values: []string{"1969-12-31", "2013-01-01"}, stored: "date32"},
	{in: arrow.FixedWidthTypes.Time32s, values: []string{"23:59:59"}, stored: "time64[us]", out: []string{"23:59:59.000000"}},
	{in: arrow.FixedWidthTypes.Time64ns, values: []string{"00:00:00.000001999"}, stored: "time64[us]", out: []string{"00:00:00.000001"}},
	{in: driftline.Time, values: []string{"1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", null}, stored: "timestamp[us, tz=UTC]"},
	{in: seconds, values: []string{"2013-01-01T00:00:00"}, stored: "timestamp[us]"},
	{in: millis, values: []string{"2013-01-01T00:00:00.123Z"}, stored: "timestamp[us, tz=UTC]"},
	{in: nanos, values: []string{"2013-01-01T00:00:00.000001999Z", "1969-12-31T23:59:59.999999999Z"}, stored: "timestamp[us, tz=UTC]",
		out: []string{"2013-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.999999Z"}},
	{in: naive, values: []string{"2013-01-01T00:00:00", null}, stored: "timestamp[us]"},
	{in: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, values: []string{"a", "b", "a", null}, stored: "utf8"},
	{in: arrow.ListOf(arrow.PrimitiveTypes.Float32), values: []string{"[1,null,2]", "[]", null}, stored: "list<element: float32, nullable>"},
	{in: arrow.LargeListOf(arrow.BinaryTypes.LargeString), values: []string{`["a","b"]`, null, "[]"}, stored: "list<element: utf8, nullable>"},
	{in: arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int16), values: []string{"[1,2]", null, "[3,4]"}, stored: "list<element: int32, nullable>"},
	{in: arrow.ListOf(arrow.ListOf(arrow.PrimitiveTypes.Int8)), values: []string{"[[1],[],null]", null}, stored: "list<element: list<element: int32, nullable>, nullable>"},
	{in: person, values: []string{`{"name":"Ada","born":"1815-12-10T00:00:00Z"}`, null, `{"name":null,"born":null}`},
		stored: "struct<name: utf8 nullable, born: timestamp[us, tz=UTC] nullable>",
		out:    []string{`{"born":"1815-12-10T00:00:00Z","name":"Ada"}`, null, `{"born":null,"name":null}`}},
	{in: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int8), values: []string{`[{"key":"a","value":1},{"key":"b","value":null}]`, null},
		stored: "map<utf8, int32, items_nullable>"},
	{in: extensions.NewUUIDType(), values: []string{"c0ffee00-0000-4000-8000-000000000000", null}, stored: "fixed_size_binary[16]",
		out: []string{"wP/uAAAAQACAAAAAAAAAAA==", null}},
	{in: arrow.Null, values: []string{null, null}, stored: "utf8"},
}

func TestEveryTypeComesBack(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	for i, test := range roundTrips {
		t.Run(test.in.String(), func(t *testing.T) {
			in := column(t, test.in, test.values)
			defer in.Release()
			schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: test.in, Nullable: true}}, nil)
			batch := array.NewRecordBatch(schema, []arrow.Array{in}, int64(in.Len()))
			defer batch.Release()
			// The second batch is a slice, with offsets that are not 0.
			part := batch.NewSlice(1, batch.NumRows())
			defer part.Release()

			id := offline.TableID{Namespace: "datasets", Name: fmt.Sprintf("t%d", i)}
			mustCreate(t, s, id, schema)
			snapshot, err := s.Append(t.Context(), id, driftline.BatchesOf(schema, batch, part), offline.Order{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := snapshot.Schema.Field(0).Type.String(); got != test.stored {
				t.Errorf("stored as %s, want %s", got, test.stored)
			}
			want := test.out
			if want == nil {
				want = test.values
			}
			want = append(append([]string{}, want...), want[1:]...)
			wantRows(t, s, snapshot, "\n"+strings.Join(want, "\n"))
		})
	}
}

// NaN stays NaN, but which of the many it is may change.
func TestFloatsKeepTheirSignOfZero(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	values := []float64{math.Copysign(0, -1), 0, math.NaN(), math.Inf(-1)}
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.PrimitiveTypes.Float64}}, nil)
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	b.AppendValues(values, nil)
	batch := array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, int64(len(values)))
	mustCreate(t, s, weather, schema)
	snapshot, err := s.Append(t.Context(), weather, driftline.BatchesOf(schema, batch), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for got, err := range s.Read(t.Context(), snapshot, nil).All {
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.Column(0).(*array.Float64).Float64Values() {
			if math.Float64bits(v) != math.Float64bits(values[i]) {
				t.Errorf("value %d is %x, want %x", i, math.Float64bits(v), math.Float64bits(values[i]))
			}
		}
	}
}

func TestWhatCannotBeStoredIsNamed(t *testing.T) {
	for _, test := range []struct {
		fields []arrow.Field
		want   string
	}{
		{[]arrow.Field{{Name: "d", Type: arrow.FixedWidthTypes.Duration_s}}, `column "d" is duration[s], which a table cannot hold; cast it to int64 in a unit that its name says`},
		{[]arrow.Field{{Name: "d", Type: arrow.ListOf(arrow.FixedWidthTypes.MonthInterval)}}, `column "d" is month_interval, which a table cannot hold`},
		{[]arrow.Field{{Name: "d", Type: &arrow.Decimal256Type{Precision: 39}}}, `column "d" is decimal256(39, 0), which a table cannot hold; cast it to a decimal of at most 38 digits`},
		{[]arrow.Field{{Name: "d", Type: &arrow.Decimal128Type{Precision: 3, Scale: -2}}}, `column "d" is decimal(3, -2)`},
		{[]arrow.Field{{Name: "d", Type: arrow.StructOf()}}, `column "d" holds a struct without fields`},
		{[]arrow.Field{{Name: "d", Type: arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String)}}, `cast it to its plain form first`},
		{[]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}, {Name: "a", Type: arrow.BinaryTypes.String}}, `column "a" is there twice`},
		{[]arrow.Field{{Name: "", Type: arrow.BinaryTypes.String}}, `column 1 has no name`},
	} {
		_, err := offline.StoredSchema(arrow.NewSchema(test.fields, nil))
		if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v\nwant %s", test.fields, err, test.want)
		}
	}
}

func TestRowsThatDoNotFitLeaveNothingBehind(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	time := arrow.Field{Name: "event_timestamp", Type: driftline.Time, Nullable: true}
	airport := arrow.Field{Name: "airport", Type: arrow.BinaryTypes.String, Nullable: true}
	for _, test := range []struct {
		name   string
		fields []arrow.Field
		rows   string
		want   string
	}{
		{"missing", []arrow.Field{airport}, `[{"airport":"JFK"}]`, `column "event_timestamp" is missing`},
		{"unknown", []arrow.Field{airport, time, {Name: "tmp", Type: arrow.PrimitiveTypes.Float64, Nullable: true}},
			`[{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","tmp":1}]`, `the table has no column "tmp"`},
		{"null", []arrow.Field{airport, time}, `[{"airport":null,"event_timestamp":"2013-01-01T00:00:00Z"}]`, `column "airport" has 1 nulls, and may have none`},
		{"type", []arrow.Field{airport, time, {Name: "temp", Type: arrow.BinaryTypes.Binary, Nullable: true}},
			`[{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","temp":"AA=="}]`, `column "temp" is binary, want float64`},
		{"range", []arrow.Field{airport, {Name: "event_timestamp", Type: seconds}},
			`[{"airport":"JFK","event_timestamp":9223372036854775807}]`, `time 9223372036854775807 timestamp[s] is out of range (row 0)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			schema := arrow.NewSchema(test.fields, nil)
			_, err := s.Stage(t.Context(), weather, rowsOf(t, schema, test.rows), offline.Order{Keys: []string{"airport"}})
			if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "features.weather") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	wantFiles(t, dir, 0)
}
