package expression

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// columns are what the tests' expressions read.
var columns = []Column{
	{Qualifier: "weather", Name: "temp", Type: driftline.Float64},
	{Qualifier: "weather", Name: "wind", Type: driftline.Float32},
	{Qualifier: "plane", Name: "seats", Type: driftline.Int32},
	{Qualifier: "plane", Name: "Built", Type: driftline.Int64},
	{Name: "carrier", Type: driftline.String},
	{Name: "dep", Type: driftline.Timestamp},
	{Name: "late", Type: driftline.Bool},
	{Qualifier: "plane", Name: "wind", Type: driftline.Float32},
	{Name: "raw", Type: driftline.Bytes},
}

// rows are their values, the last row being all null.
func rows(mem memory.Allocator) []arrow.Array {
	cells := [][]any{
		{20.5, float32(3), int32(180), int64(1999), "AA", arrow.Timestamp(1357095845678901), true, float32(4), []byte("x")},
		{-4.0, float32(0), int32(math.MaxInt32), int64(0), "b6 ", arrow.Timestamp(0), false, float32(1), []byte{}},
		make([]any, len(columns)),
	}
	out := make([]arrow.Array, len(columns))
	for i, c := range columns {
		b := array.NewBuilder(mem, c.Type.Arrow())
		for _, row := range cells {
			appendCell(b, row[i])
		}
		out[i] = b.NewArray()
		b.Release()
	}
	return out
}

func appendCell(b array.Builder, cell any) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		appendOr(b, cell, b.Append)
	case *array.Int32Builder:
		appendOr(b, cell, b.Append)
	case *array.Int64Builder:
		appendOr(b, cell, b.Append)
	case *array.Float32Builder:
		appendOr(b, cell, b.Append)
	case *array.Float64Builder:
		appendOr(b, cell, b.Append)
	case *array.StringBuilder:
		appendOr(b, cell, b.Append)
	case *array.BinaryBuilder:
		appendOr(b, cell, b.Append)
	case *array.TimestampBuilder:
		appendOr(b, cell, b.Append)
	}
}

func appendOr[T any](b array.Builder, cell any, add func(T)) {
	if cell == nil {
		b.AppendNull()
		return
	}
	add(cell.(T))
}

// TestEvaluate shows what the language is like. What DuckDB makes of it is compared in
// package query.
func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		text string
		of   driftline.Type
		want string // the values of the three rows
		why  string // of the failures
	}{
		{"temp * 1.8 + 32", driftline.Float64, "[68.9 24.8 (null)]", ""},
		{"TEMP > 0 and not LATE", driftline.Bool, "[false false (null)]", ""},
		{"seats + 1", driftline.Int32, "[181 (null) (null)]", "the result is beyond the numbers of its type"},
		{"seats + CAST(1 AS BIGINT)", driftline.Int64, "[181 2147483648 (null)]", ""},
		{"seats / built", driftline.Float64, "[0.09004502251125562 +Inf (null)]", ""},
		{"seats // built", driftline.Int64, "[0 (null) (null)]", ""},
		{"weather.wind", driftline.Float32, "[3 0 (null)]", ""},
		{`plane."wind" - "weather".wind`, driftline.Float32, "[1 1 (null)]", ""},
		{"CASE WHEN temp > 0 THEN sqrt(temp) ELSE 0 END", driftline.Float64, "[4.527692569068709 0 0]", ""},
		{"sqrt(temp)", driftline.Float64, "[4.527692569068709 (null) (null)]", "the square root of a negative number"},
		{"temp > 0 AND sqrt(temp) > 1", driftline.Bool, "[true false (null)]", ""},
		{"coalesce(temp, 0) < 0 OR late", driftline.Bool, "[true true (null)]", ""},
		{"lower(trim(carrier)) IN ('aa', 'b6')", driftline.Bool, "[true true (null)]", ""},
		{"carrier || '-' || CAST(seats AS VARCHAR)", driftline.String, `["AA-180" "b6 -2147483647" (null)]`, ""},
		{"concat(carrier, '!')", driftline.String, `["AA!" "b6 !" "!"]`, ""},
		{"carrier LIKE 'A%'", driftline.Bool, "[true false (null)]", ""},
		{"extract(hour FROM dep)", driftline.Int64, "[3 0 (null)]", ""},
		{"date_trunc('day', dep) = '2013-01-02'", driftline.Bool, "[true false (null)]", ""},
		{"date_diff('hour', dep, TIMESTAMP '2013-01-02T05:00:00Z')", driftline.Int64, "[2 376973 (null)]", ""},
		{"raw IS NULL", driftline.Bool, "[false false true]", ""},
		{"greatest(seats, built)", driftline.Int64, "[1999 2147483647 (null)]", ""},
		{"CASE carrier WHEN 'AA' THEN 1 END", driftline.Int32, "[1 (null) (null)]", ""},
		{"-9223372036854775808", driftline.Int64, "[-9223372036854775808 -9223372036854775808 -9223372036854775808]", ""},
		{"CAST(NULL AS DOUBLE)", driftline.Float64, "[(null) (null) (null)]", ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
			defer mem.AssertSize(t, 0)
			e, err := Compile(c.text, columns)
			if err != nil {
				t.Fatal(err)
			}
			if e.Type() != c.of {
				t.Errorf("type is %s, want %s", e.Type(), c.of)
			}
			inputs := rows(mem)
			result, err := e.Evaluate(mem, inputs, 3)
			for _, a := range inputs {
				a.Release()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer result.Values.Release()
			if got := fmt.Sprint(result.Values); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if result.Reason != c.why || (len(result.FailedRows) > 0) != (c.why != "") {
				t.Errorf("rows %v failed because %q, want %q", result.FailedRows, result.Reason, c.why)
			}
		})
	}
}

// TestErrors shows that an error says where it is and what to do.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "character 1 (at its end): it is empty; write for example speed / 1000"},
		{"temp +", "character 7 (at its end): it ends where a value should come"},
		{"temp + tmp", `character 8 (at »tmp«): there is no column "tmp"; did you mean "temp"?`},
		{"wind > 3", `"wind" is the name of several columns; write weather.wind or plane.wind`},
		{"weather.seats", `there is no column "weather.seats"`},
		{"temp + carrier", "character 8 (at »carrier«): + wants numbers, and this is VARCHAR"},
		{"dep - dep", "write date_diff('second', a, b)"},
		{"carrier = 5", "= wants values of one type, and there are VARCHAR and INTEGER"},
		{"temp // 2", "// is the division of whole numbers, and these are DOUBLE; write floor(a / b)"},
		{"sqr(temp)", `there is no function "sqr" here; did you mean "sqrt"?`},
		{"sqrt(temp, 2)", "sqrt takes 1 argument, and there are 2"},
		{"sqrt(carrier)", "sqrt wants DOUBLE, and this is VARCHAR"},
		{"late + 1", "+ wants numbers, and this is BOOLEAN"},
		{"temp AND late", "AND wants BOOLEAN, and this is DOUBLE; write a comparison, for example x > 0"},
		{"CASE WHEN late THEN 1 ELSE 'x' END", "CASE wants values of one type, and there are INTEGER and VARCHAR"},
		{"CASE late END", `"END" stands where WHEN should come`},
		{"CAST(temp AS DECIMAL)", `there is no type "decimal"`},
		{"CAST(dep AS BIGINT)", "TIMESTAMPTZ cannot be cast to BIGINT here; write epoch(t) for seconds"},
		{"temp IS 5", `"5" stands where NULL, TRUE, FALSE or DISTINCT FROM should come`},
		{"a < b < c", `stands where the end or an operator should come`},
		{"temp; DROP TABLE x", `character 5 (at »; DROP TABLE x«): ";" is not understood`},
		{"(SELECT 1)", `"1" stands where ) should come`},
		{"temp -- cold", "-- begins a comment in SQL"},
		{"'open", "the quote is not closed"},
		{"date_trunc(carrier, dep)", "date_trunc wants a literal here"},
		{"date_trunc('fortnight', dep)", `date_trunc knows no "fortnight"; it knows: day, hour`},
		{"dep > 'yesterday'", `"yesterday" is not a time`},
		{"NULL", "NULL has no type here; give it one: CAST(NULL AS DOUBLE)"},
		{"99999999999999999999", "is beyond the whole numbers of 64 bits"},
		{"1e999", "is beyond the numbers of DOUBLE"},
		{"12abc", `"12a" is neither a number nor a name`},
		{"temp + é", `"é" is not understood`},
		{"temp\x00", "there is a NUL byte"},
		{strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000), "it is nested more than 200 deep"},
		{strings.Repeat("NOT ", 1000) + "late", "it is nested more than 200 deep"},
		{strings.Repeat("- ", 1000) + "temp", "it is nested more than 200 deep"},
		{"1" + strings.Repeat("+1", 1000), "it is nested more than 200 deep"},
		{"temp" + strings.Repeat("::DOUBLE", 300), "it is nested more than 200 deep"},
		{"temp IN (" + strings.Repeat("1,", 600) + "1)", "it has more than 500 parts"},
		{strings.Repeat(" ", 9000), "it is 9000 bytes long, at most 8192 are possible"},
	} {
		_, err := Compile(c.text, columns)
		switch {
		case err == nil:
			t.Errorf("%.40q: no error, want %q", c.text, c.want)
		case driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), c.want):
			t.Errorf("%.40q: %s %v, want %q", c.text, driftline.CodeOf(err), err, c.want)
		}
	}
}

// TestPrecedence reads texts twice: as they are, and with the parentheses that they mean.
func TestPrecedence(t *testing.T) {
	for _, c := range []struct{ text, same string }{
		{"1 + 2 * 3 - 4", "((1 + (2 * 3)) - 4)"},
		{"-temp::FLOAT", "(-(CAST(temp AS FLOAT)))"},
		{"NOT temp = 1 AND late OR late", "(((NOT (temp = 1)) AND late) OR late)"},
		{"temp BETWEEN 1 AND 2 + 1 AND late", "((temp BETWEEN 1 AND (2 + 1)) AND late)"},
		{"carrier || 'x' = 'y'", "((carrier || 'x') = 'y')"},
		{"temp > 1 IS NULL", "((temp > 1) IS NULL)"},
		{"NOT late IS TRUE", "(NOT (late IS TRUE))"},
		{"seats - 1 IN (1, 2)", "((seats - 1) IN (1, 2))"},
	} {
		a, err := Compile(c.text, columns)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		b, err := Compile(c.same, columns)
		if err != nil {
			t.Fatalf("%s: %v", c.same, err)
		}
		if a.SQL() != b.SQL() {
			t.Errorf("%s is read as %s, want %s", c.text, a.SQL(), b.SQL())
		}
	}
}

func TestReads(t *testing.T) {
	e, err := Compile("seats > 100 AND temp + TEMP > 0", columns)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(e.Reads()); got != "[0 2]" {
		t.Errorf("reads %s, want [0 2]", got)
	}
	inputs := rows(memory.DefaultAllocator)
	sparse := make([]arrow.Array, len(inputs))
	for _, at := range e.Reads() {
		sparse[at] = inputs[at]
	}
	result, err := e.Evaluate(memory.DefaultAllocator, sparse, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Values.Release()
	if _, err := e.Evaluate(memory.DefaultAllocator, make([]arrow.Array, len(inputs)), 3); err == nil {
		t.Error("evaluated without its columns")
	}
}

// TestChunks evaluates more rows than a chunk has, and slices that begin anywhere.
func TestChunks(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	e, err := Compile("concat(upper(s), CAST(n // (n % 5) AS VARCHAR), CAST(ln(n) > 3 AS VARCHAR))", []Column{{Name: "s", Type: driftline.String}, {Name: "n", Type: driftline.Int64}})
	if err != nil {
		t.Fatal(err)
	}
	texts, numbers := array.NewStringBuilder(mem), array.NewInt64Builder(mem)
	for i := range 5000 {
		texts.Append(fmt.Sprint("row ", i))
		numbers.Append(int64(i))
	}
	inputs := []arrow.Array{texts.NewArray(), numbers.NewArray()}
	whole, err := e.Evaluate(mem, inputs, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(whole.FailedRows) != "[0]" || whole.Reason != "the logarithm of zero" {
		t.Errorf("rows %v failed: %s", whole.FailedRows, whole.Reason)
	}
	for _, part := range [][2]int64{{0, 1}, {1, 33}, {3, 1028}, {1023, 1025}, {4999, 5000}, {7, 7}} {
		sliced := []arrow.Array{array.NewSlice(inputs[0], part[0], part[1]), array.NewSlice(inputs[1], part[0], part[1])}
		got, err := e.Evaluate(mem, sliced, int(part[1]-part[0]))
		if err != nil {
			t.Fatal(err)
		}
		want := array.NewSlice(whole.Values, part[0], part[1])
		if !array.Equal(got.Values, want) {
			t.Errorf("rows %v differ", part)
		}
		for _, a := range append(sliced, got.Values, want) {
			a.Release()
		}
	}
	for _, a := range append(inputs, whole.Values) {
		a.Release()
	}
	texts.Release()
	numbers.Release()
}

// TestAllocations shows that memory does not grow with the rows, but for the answer's.
func TestAllocations(t *testing.T) {
	e, err := Compile("CASE WHEN lower(carrier) LIKE 'a%' THEN temp * 2 + seats ELSE sqrt(abs(temp)) END", columns)
	if err != nil {
		t.Fatal(err)
	}
	inputs := rows(memory.DefaultAllocator)
	few := testing.AllocsPerRun(100, func() { evaluate(t, e, inputs, 3) })
	many := make([]arrow.Array, len(inputs))
	for i, a := range inputs {
		parts := make([]arrow.Array, 1000)
		for j := range parts {
			parts[j] = a
		}
		if many[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			t.Fatal(err)
		}
	}
	if most := testing.AllocsPerRun(100, func() { evaluate(t, e, many, 3000) }); most > few+5 {
		t.Errorf("%.0f allocations for 3000 rows, %.0f for 3", most, few)
	}
}

func evaluate(t testing.TB, e *Expression, inputs []arrow.Array, n int) {
	result, err := e.Evaluate(memory.DefaultAllocator, inputs, n)
	if err != nil {
		t.Fatal(err)
	}
	result.Values.Release()
}

// FuzzCompile feeds the parser anything. What it accepts can be evaluated, and its SQL
// means the same when it is read again where it can be.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"temp * 1.8 + 32", "CASE carrier WHEN 'a' THEN 1 ELSE seats END", "date_trunc('day', dep) IN (dep, TIMESTAMP '2013-01-01')",
		"carrier NOT LIKE '%a_' ESCAPE '\\'", `"weather"."temp" IS NOT DISTINCT FROM NULL`, "extract(epoch from dep)::INT // -2",
		"concat(left(carrier, seats), raw)", "round(temp, 2) BETWEEN 1e-3 AND .5", "coalesce(NULL, (NOT late))", "1 - - 1::text",
	} {
		f.Add(text)
	}
	inputs := rows(memory.DefaultAllocator)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Compile(text, columns)
		if err != nil {
			if driftline.CodeOf(err) != driftline.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		evaluate(t, e, inputs, 3)
	})
}

func BenchmarkEvaluate(b *testing.B) {
	for _, text := range []string{"temp * 1.8 + 32", "CASE WHEN temp > 0 THEN seats / temp ELSE 0 END", "lower(carrier) IN ('aa', 'b6')", "pow(temp, 0.3)"} {
		for _, n := range []int{1, 3, 3000} {
			b.Run(fmt.Sprint(text, "/", n), func(b *testing.B) {
				e, err := Compile(text, columns)
				if err != nil {
					b.Fatal(err)
				}
				inputs := rows(memory.DefaultAllocator)
				for i, a := range inputs {
					parts := make([]arrow.Array, (n+2)/3)
					for j := range parts {
						parts[j] = a
					}
					whole, err := array.Concatenate(parts, memory.DefaultAllocator)
					if err != nil {
						b.Fatal(err)
					}
					inputs[i] = array.NewSlice(whole, 0, int64(n))
				}
				b.ReportAllocs()
				for b.Loop() {
					evaluate(b, e, inputs, n)
				}
			})
		}
	}
}
