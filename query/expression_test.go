package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
)

// These tests are the claim of package expression: that its evaluator gives the values of
// DuckDB, for the SQL that it says an expression means.

// samples is a table with columns of every type, full of values at the borders of things.
// A name is the type's letter and a number: i0, i1 are int32, n int64, f float32, d
// float64, s string, x bytes, b bool, t timestamp.
type samples struct {
	columns []expression.Column
	batch   arrow.RecordBatch
}

var sampleTypes = []struct {
	letter string
	of     driftline.Type
	values []any
}{
	{"i", driftline.Int32, []any{int64(0), int64(1), int64(-1), int64(2), int64(7), int64(-7), int64(100), int64(46341), int64(math.MaxInt32), int64(math.MinInt32)}},
	{"n", driftline.Int64, []any{int64(0), int64(1), int64(-1), int64(3), int64(-8), int64(1000), int64(16777217), int64(3037000500), int64(1<<53 + 1), int64(math.MaxInt64), int64(math.MinInt64)}},
	{"f", driftline.Float32, []any{float64(0), math.Copysign(0, -1), float64(1), float64(-2.5), float64(0.1), float64(16777216), float64(1e-6), float64(1e16), float64(math.MaxFloat32), float64(math.SmallestNonzeroFloat32), math.Inf(1), math.Inf(-1), math.NaN()}},
	{"d", driftline.Float64, []any{0.0, math.Copysign(0, -1), 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.1, 2.345, 1.005, 1e-5, 123456.789, 1e15, 1e16, 1e17, 9.3e18, -9.3e18, 1e300, 4.9e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN()}},
	{"s", driftline.String, []any{"", "a", "abc", "ABC", " a b  ", "añ☃x", "a%b_c", "true", "No", "1", " 1.5 ", "-2e3", "nan", "Straße", "ÀÉİǅ", "\u00a0x\u2003", "e\u0301x", "👩‍👩‍👧", "x\ty\n", "b"}},
	{"x", driftline.Bytes, []any{"", "\x00", "a", "\xff\x01"}},
	{"b", driftline.Bool, []any{true, false}},
	{"t", driftline.Timestamp, []any{
		int64(0), int64(-1), int64(1357095845678901), int64(1356998399999999), int64(1356998400000000),
		int64(951782400000000), int64(-62135596800000000), int64(253402300799999999), int64(-12219292800000001), int64(-14830974000000000),
	}},
}

const sampleRows = 400

func newSamples(rng *rand.Rand) *samples {
	s := &samples{}
	fields := []arrow.Field{{Name: "row", Type: arrow.PrimitiveTypes.Int64}}
	var columns []arrow.Array
	rows := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range sampleRows {
		rows.Append(int64(i))
	}
	columns = append(columns, rows.NewArray())
	s.columns = append(s.columns, expression.Column{Name: "row", Type: driftline.Int64})
	for _, t := range sampleTypes {
		for n := range 3 {
			b := array.NewBuilder(memory.DefaultAllocator, t.of.Arrow())
			for range sampleRows {
				if rng.IntN(8) == 0 {
					b.AppendNull()
					continue
				}
				appendCell(b, t.values[rng.IntN(len(t.values))])
			}
			name := fmt.Sprint(t.letter, n)
			fields = append(fields, arrow.Field{Name: name, Type: t.of.Arrow(), Nullable: true})
			columns = append(columns, b.NewArray())
			s.columns = append(s.columns, expression.Column{Name: name, Type: t.of})
		}
	}
	s.batch = array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, sampleRows)
	return s
}

// load puts the samples into a table of DuckDB.
func (s *samples) load(t testing.TB, session *session) {
	t.Helper()
	l := tableLoader{session: session, table: "samples", schema: s.batch.Schema()}
	if err := l.create(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.batch.Retain()
	if err := l.add(context.Background(), s.batch); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// inDuckDB computes SQL for the rows of a condition, in order.
func inDuckDB(session *session, sql, where string) (arrow.Array, error) {
	reader, err := session.query(context.Background(), "SELECT "+sql+" FROM samples WHERE "+where)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	b := array.NewBuilder(memory.DefaultAllocator, reader.Schema().Field(0).Type)
	defer b.Release()
	for reader.Next() {
		column := reader.RecordBatch().Column(0)
		for i := range column.Len() {
			appendCell(b, cellOf(column, i))
		}
	}
	return b.NewArray(), reader.Err()
}

// tolerance is how far floats may be apart: so many floats, or so much.
type tolerance struct {
	floats   uint64
	absolute float64
}

var exact = tolerance{}

// compare evaluates a text here and there. The rows that have a value here must have the
// same one there, and of those that failed here the first must fail there.
//
// DuckDB's TRY would say it in one query, but 1.5.6 crashes on TRY(coalesce(x, y)) where y
// fails for some rows.
func (s *samples) compare(t testing.TB, session *session, text string, within tolerance) {
	t.Helper()
	e, err := expression.Compile(text, s.columns)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	result, err := e.Evaluate(memory.DefaultAllocator, s.batch.Columns(), int(s.batch.NumRows()))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer result.Values.Release()
	failed := map[int]bool{}
	where := "true"
	for _, row := range result.FailedRows {
		failed[row] = true
		where += fmt.Sprintf(" AND row <> %d", row)
	}
	values, err := inDuckDB(session, e.SQL(), where)
	if err != nil {
		t.Errorf("%s\n  as %s: DuckDB says %v, where only %s", text, e.SQL(), err, where)
		return
	}
	defer values.Release()
	s.compareValues(t, e, result, failed, values, within)
	if len(result.FailedRows) == 0 {
		return
	}
	row := result.FailedRows[0]
	if value, err := inDuckDB(session, e.SQL(), fmt.Sprintf("row = %d", row)); err == nil {
		t.Errorf("%s\n  as %s: row %s: failed because of %q, DuckDB says %v", text, e.SQL(), s.rowText(e, row), result.Reason, cellOf(value, 0))
		value.Release()
	}
}

func (s *samples) compareValues(t testing.TB, e *expression.Expression, result *expression.Result, failed map[int]bool, values arrow.Array, within tolerance) {
	t.Helper()
	if want := e.Type().Arrow(); !arrow.TypeEqual(values.DataType(), want) {
		t.Errorf("%s\n  as %s: is %s, DuckDB says %s", e.Text(), e.SQL(), want, values.DataType())
		return
	}
	at := 0
	for row := range result.Values.Len() {
		if failed[row] {
			continue
		}
		got, want := cellOf(result.Values, row), cellOf(values, at)
		at++
		if !sameCell(got, want, within) {
			t.Errorf("%s\n  as %s: row %s: got %v, DuckDB says %v", e.Text(), e.SQL(), s.rowText(e, row), got, want)
			return
		}
	}
}

// rowText shows the values that an expression read.
func (s *samples) rowText(e *expression.Expression, row int) string {
	var words []string
	for _, at := range e.Reads() {
		words = append(words, fmt.Sprintf("%s=%#v", s.columns[at].Name, cellOf(s.batch.Column(at), row)))
	}
	return strings.Join(words, " ")
}

// sameCell compares floats by their bits, or within a tolerance. All NaN are one.
func sameCell(a, b any, within tolerance) bool {
	x, isFloat := a.(float64)
	y, both := b.(float64)
	if !isFloat || !both {
		return a == b
	}
	return math.IsNaN(x) && math.IsNaN(y) || (distance(ordered(x), ordered(y)) <= within.floats || math.Abs(x-y) <= within.absolute && within.absolute > 0)
}

// ordered numbers the floats in their order.
func ordered(x float64) int64 {
	n := int64(math.Float64bits(x))
	if n < 0 {
		n = math.MinInt64 - n - 1
	}
	return n
}

// TestCaseEqualsDuckDB compares every character.
func TestCaseEqualsDuckDB(t *testing.T) {
	db := openDB(t)
	session, err := db.newSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	b := array.NewStringBuilder(memory.DefaultAllocator)
	for r := rune(1); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) {
			b.Append(string(r))
		}
	}
	all := b.NewArray()
	defer all.Release()
	s := &samples{columns: []expression.Column{{Name: "s", Type: driftline.String}}}
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	s.batch = array.NewRecordBatch(schema, []arrow.Array{all}, int64(all.Len()))
	defer s.batch.Release()
	s.load(t, session)
	for _, text := range []string{"lower(s)", "upper(s)", "trim(s)"} {
		s.compare(t, session, text, exact)
	}
}

func distance(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b)
}

func sampleSession(t testing.TB, seed uint64) (*samples, *session) {
	db := openDB(t)
	session, err := db.newSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.close(); err != nil {
			t.Error(err)
		}
	})
	// Otherwise DuckDB may leave out what would fail, or find it where it would not run.
	if err := session.exec(context.Background(), "PRAGMA disable_optimizer"); err != nil {
		t.Fatal(err)
	}
	s := newSamples(rand.New(rand.NewPCG(seed, 4)))
	t.Cleanup(s.batch.Release)
	s.load(t, session)
	return s, session
}

func TestExpressionsEqualDuckDB(t *testing.T) {
	s, session := sampleSession(t, 1)
	for _, text := range strings.Split(strings.TrimSpace(exactExpressions), "\n") {
		s.compare(t, session, text, exact)
	}
	for _, text := range strings.Split(strings.TrimSpace(transcendentalExpressions), "\n") {
		s.compare(t, session, text, tolerance{floats: 2})
	}
	for _, text := range strings.Split(strings.TrimSpace(trigonometricExpressions), "\n") {
		s.compare(t, session, text, tolerance{floats: 2, absolute: 0x1p-52})
	}
}

const exactExpressions = `
1 + 2 * 3 - 4
2 - 3 - 4
-i0
- -i0
-n0
-d0
-2147483648
-9223372036854775808
3000000000 + i0
1.5
1e300 * d0
i0 + i1
i0 - i1
i0 * i1
i0 / i1
i0 // i1
i0 % i1
n0 + n1
n0 - n1
n0 * n1
n0 / n1
n0 // n1
n0 % n1
i0 + n0
i0 * f0
n0 * f0
n0 / f0
f0 + f1
f0 / f1
f0 % f1
f0 * 1.5
d0 + d1
d0 - d1
d0 * d1
d0 / d1
d0 % d1
d0 + f0
i0 < i1
i0 = n0
n0 = f0
n0 >= d0
f0 < d0
d0 = d1
d0 < d1
d0 <> d1
s0 < s1
s0 == s1
s0 != s1
x0 < x1
x0 = x1
b0 < b1
t0 <= t1
t0 >= '2013-01-01'
t0 = TIMESTAMP '2013-01-01 00:00:00Z'
NOT b0
b0 AND b1
b0 OR b1
b0 AND b1 OR NOT b2
NOT b0 = b1
i0 IS NULL
s0 IS NOT NULL
b0 IS TRUE
b0 IS NOT TRUE
b0 IS FALSE
b0 IS NOT FALSE
b0 IS UNKNOWN
d0 IS DISTINCT FROM d1
d0 IS NOT DISTINCT FROM d1
i0 IS DISTINCT FROM NULL
i0 BETWEEN i1 AND i2
d0 NOT BETWEEN d1 AND i2
t0 BETWEEN '2000-01-01' AND t1
i0 IN (1, 2, n0)
d0 IN (d1, d2)
d0 NOT IN (d1, NULL)
s0 IN ('a', s1, 'true')
s0 NOT IN ('a', s1)
CASE WHEN b0 THEN i0 WHEN b1 THEN n0 ELSE d0 END
CASE WHEN d0 > 0 THEN 1 / d0 END
CASE WHEN i0 > 0 THEN i0 * i1 ELSE -1 END
CASE i0 WHEN 1 THEN 'one' WHEN i1 THEN s0 ELSE 'other' END
CASE s0 WHEN 'a' THEN 1 END
CAST(i0 AS BIGINT)
CAST(n0 AS INTEGER)
CAST(n0 AS FLOAT)
CAST(n0 AS DOUBLE)
CAST(d0 AS FLOAT)
CAST(d0 AS BIGINT)
CAST(f0 AS INTEGER)
CAST(f0 AS BIGINT)
CAST(f0 AS DOUBLE)
CAST(CASE WHEN d0 < 2147483647 OR d0 >= 2147483648 THEN d0 END AS INTEGER)
TRY_CAST(n0 AS INTEGER)
TRY_CAST(d0 AS BIGINT)
TRY_CAST(s0 AS DOUBLE)
TRY_CAST(s0 AS BOOLEAN)
CAST(b0 AS INTEGER) + CAST(b1 AS BIGINT)
b0::DOUBLE
b0::FLOAT
i0::BOOLEAN
d0::BOOLEAN
f0::BOOLEAN
i0::VARCHAR
n0::VARCHAR
d0::VARCHAR
b0::VARCHAR
t0::VARCHAR
s0::DOUBLE
s0::FLOAT
s0::BOOLEAN
coalesce(i0, n0, 5)
coalesce(s0, s1, '')
coalesce(i0, i1 * i2)
nullif(i0, i1)
nullif(n0, i1)
nullif(d0, d1)
nullif(s0, 'a')
greatest(i0, n0, i2)
greatest(d0, d1, d2)
least(d0, d1)
least(f0, i1)
greatest(s0, s1)
least(t0, t1, NULL)
abs(i0)
abs(n0)
abs(f0)
abs(d0)
floor(d0)
ceil(d0)
ceiling(f0)
floor(f0)
floor(i0)
trunc(d0)
trunc(f0)
trunc(i0)
round(d0)
round(f0)
round(i0)
round(d0, 0)
round(d0, 1)
round(d0, 2)
round(d0, 15)
round(f0, 2)
sqrt(d0)
sqrt(i0)
isnan(d0)
isnan(f0)
isinf(d0)
isfinite(d0)
pi()
lower(s0)
upper(s0)
length(s0)
trim(s0)
ltrim(s0)
rtrim(s0)
substring(s0, 2)
substring(s0, 1 + abs(n0 % 4), abs(i0 % 5))
substring(s0, 7, 100)
substr(s0, 2, 0)
left(s0, i0)
right(s0, i0)
left(s0, n0)
right(s0, n0)
concat(s0, s1, NULL, 'x')
s0 || s1 || 'x'
starts_with(s0, s1)
ends_with(s0, s1)
suffix(s0, 'c')
contains(s0, s1)
strpos(s0, s1)
s0 LIKE s1
s0 LIKE 'a%'
s0 LIKE '%b%'
s0 LIKE '_'
s0 LIKE '_%x'
s0 NOT LIKE '%a'
s0 LIKE '%' || s1 || '%'
s0 LIKE 'a\%b%' ESCAPE '\'
year(t0)
quarter(t0)
month(t0)
week(t0)
day(t0)
dayofmonth(t0)
dayofweek(t0)
weekday(t0)
isodow(t0)
dayofyear(t0)
hour(t0)
minute(t0)
second(t0)
millisecond(t0)
microsecond(t0)
epoch(t0)
epoch_ms(t0)
epoch_us(t0)
extract(hour FROM t0)
extract(epoch FROM t0)
extract(dow FROM t0)
date_part('month', t0)
date_trunc('microsecond', t0)
date_trunc('millisecond', t0)
date_trunc('second', t0)
date_trunc('minute', t0)
date_trunc('hour', t0)
date_trunc('day', t0)
date_trunc('week', t0)
date_trunc('month', t0)
date_trunc('quarter', t0)
date_trunc('year', t0)
date_diff('microsecond', t0, t1)
date_diff('millisecond', t0, t1)
date_diff('second', t0, t1)
date_diff('minute', t0, t1)
date_diff('hour', t0, t1)
date_diff('day', t0, t1)
date_diff('month', t0, t1)
date_diff('quarter', t0, t1)
date_diff('year', t0, t1)
`

const transcendentalExpressions = `
ln(d0)
log(d0)
log10(d0)
log2(d0)
exp(d0)
pow(d0, d1)
power(i0, 0.5)
asin(d0)
acos(d0)
atan(d0)
atan2(d0, d1)
cbrt(d0)
radians(d0)
degrees(d0)
`

const trigonometricExpressions = `
sin(d0)
cos(d0)
tan(d0)
sin(i0)
cos(n0)
tan(f0)
`

// generator makes random expressions over the samples.
type generator struct{ rng *rand.Rand }

func (g *generator) pick(of ...string) string { return of[g.rng.IntN(len(of))] }

func (g *generator) number(depth int) string { return g.of(g.pick("i", "n", "f", "d"), depth) }

func (g *generator) whole(depth int) string { return g.of(g.pick("i", "n"), depth) }

// of is a random expression of a type, given by its letter.
func (g *generator) of(letter string, depth int) string {
	if depth <= 0 || g.rng.IntN(6) == 0 {
		return g.leaf(letter)
	}
	depth--
	if g.rng.IntN(4) == 0 {
		return g.anyType(letter, depth)
	}
	return g.special(letter, depth)
}

// leaf is a column. Literals, which the columns have among their values, are left out:
// DuckDB computes what has literals only beforehand, and then skips what would fail.
func (g *generator) leaf(letter string) string { return fmt.Sprint(letter, g.rng.IntN(3)) }

// anyType is what expressions of every type can be.
func (g *generator) anyType(letter string, depth int) string {
	a, b := g.of(letter, depth), g.of(letter, depth)
	switch g.rng.IntN(6) {
	case 0:
		return fmt.Sprintf("CASE WHEN %s THEN %s WHEN %s THEN %s END", g.of("b", depth), a, g.of("b", depth), b)
	case 1:
		return fmt.Sprintf("CASE %s WHEN %s THEN %s ELSE %s END", g.of("s", depth), g.of("s", depth), a, b)
	case 2:
		return fmt.Sprintf("coalesce(%s, %s)", a, b)
	case 3:
		return fmt.Sprintf("nullif(%s, %s)", a, b)
	case 4:
		return fmt.Sprintf("greatest(%s, NULL, %s)", a, b)
	}
	return fmt.Sprintf("least(%s, %s, %s)", a, b, g.leaf(letter))
}

func (g *generator) special(letter string, depth int) string {
	switch letter {
	case "i", "n":
		return g.wholeNumber(letter, depth)
	case "f", "d":
		return g.fraction(letter, depth)
	case "s":
		return g.text(depth)
	case "x":
		return g.anyType(letter, depth)
	case "t":
		return fmt.Sprintf("date_trunc('%s', %s)", g.pick("second", "hour", "day", "week", "month", "quarter", "year"), g.of("t", depth))
	}
	return g.truth(depth)
}

func (g *generator) wholeNumber(letter string, depth int) string {
	a, b := g.of(letter, depth), g.of(letter, depth)
	if letter == "n" {
		switch g.rng.IntN(6) {
		case 0:
			return fmt.Sprintf("%s(%s)", g.pick("hour", "dayofweek", "month", "week", "epoch_us", "epoch_ms", "year"), g.of("t", depth))
		case 1:
			return fmt.Sprintf("date_diff('%s', %s, %s)", g.pick("second", "day", "month"), g.of("t", depth), g.of("t", depth))
		case 2:
			return fmt.Sprintf("length(%s)", g.of("s", depth))
		case 3:
			return fmt.Sprintf("strpos(%s, %s)", g.of("s", depth), g.of("s", depth))
		}
	}
	switch g.rng.IntN(4) {
	case 0:
		return fmt.Sprintf("(- %s)", a)
	case 1:
		return fmt.Sprintf("abs(%s)", a)
	case 2:
		if letter == "i" {
			return fmt.Sprintf("%s(%s AS INTEGER)", g.pick("CAST", "TRY_CAST"), g.whole(depth))
		}
		return fmt.Sprintf("%s(%s AS BIGINT)", g.pick("CAST", "TRY_CAST"), g.number(depth))
	}
	return fmt.Sprintf("(%s %s %s)", a, g.pick("+", "-", "*", "//", "%"), b)
}

func (g *generator) fraction(letter string, depth int) string {
	a, b := g.of(letter, depth), g.of(letter, depth)
	switch g.rng.IntN(6) {
	case 0:
		return fmt.Sprintf("%s(%s)", g.pick("abs", "floor", "ceil", "round", "trunc", "- "), a)
	case 1:
		return fmt.Sprintf("CAST(%s AS %s)", g.number(depth), map[string]string{"f": "FLOAT", "d": "DOUBLE"}[letter])
	case 2:
		if letter == "d" {
			return g.pick(fmt.Sprintf("sqrt(%s)", g.number(depth)), fmt.Sprintf("epoch(%s)", g.of("t", depth)), fmt.Sprintf("(%s / %s)", g.whole(depth), g.whole(depth)))
		}
		return fmt.Sprintf("(%s %s %s)", a, g.pick("+", "*", "/"), g.whole(depth))
	case 3:
		return fmt.Sprintf("round(%s, %d)", a, g.rng.IntN(5))
	}
	return fmt.Sprintf("(%s %s %s)", a, g.pick("+", "-", "*", "/", "%"), b)
}

func (g *generator) text(depth int) string {
	a, b := g.of("s", depth), g.of("s", depth)
	switch g.rng.IntN(6) {
	case 0:
		return fmt.Sprintf("%s(%s)", g.pick("lower", "upper", "trim", "ltrim", "rtrim"), a)
	case 1:
		if g.rng.IntN(3) == 0 { // not of a computed one, which may be a NaN with a sign
			return "CAST(" + g.leaf("d") + " AS VARCHAR)"
		}
		return fmt.Sprintf("CAST(%s AS VARCHAR)", g.of(g.pick("i", "n", "b", "t"), depth))
	case 2:
		return fmt.Sprintf("concat(%s, %s)", a, b)
	case 3:
		return fmt.Sprintf("substring(%s, 1 + abs(%s %% 5), abs(%s %% 5))", a, g.whole(depth), g.whole(depth))
	case 4:
		return fmt.Sprintf("%s(%s, %s)", g.pick("left", "right"), a, g.whole(depth))
	}
	return fmt.Sprintf("(%s || %s)", a, b)
}

func (g *generator) truth(depth int) string {
	letter := g.pick("i", "n", "f", "d", "s", "x", "b", "t")
	a, b, c := g.of(letter, depth), g.of(letter, depth), g.leaf(letter)
	switch g.rng.IntN(9) {
	case 0, 1:
		return g.connective()
	case 2:
		return fmt.Sprintf("(NOT %s)", g.of("b", depth))
	case 3:
		return fmt.Sprintf("(%s IS %s)", a, g.pick("NULL", "NOT NULL"))
	case 4:
		return fmt.Sprintf("(%s IS %s DISTINCT FROM %s)", a, g.pick("", "NOT"), b)
	case 5:
		return fmt.Sprintf("(%s %s BETWEEN %s AND %s)", a, g.pick("", "NOT"), b, c)
	case 6:
		return fmt.Sprintf("(%s %s IN (%s, %s))", a, g.pick("", "NOT"), b, c)
	case 7:
		return fmt.Sprintf("(%s %s LIKE %s)", g.of("s", depth), g.pick("", "NOT"), g.pick("'%a%'", "'_b%'", "s2"))
	}
	return fmt.Sprintf("(%s %s %s)", a, g.pick("=", "<>", "<", "<=", ">", ">="), b)
}

// connective is AND or OR of what cannot fail. If one side decides, DuckDB looks at the
// other or does not, as suits it, and here it does not matter.
func (g *generator) connective() string {
	side := func() string {
		letter := g.pick("i", "d", "s", "t")
		return g.pick(g.leaf("b"), "("+g.leaf(letter)+g.pick(" < ", " = ", " IS DISTINCT FROM ")+g.leaf(letter)+")")
	}
	return fmt.Sprintf("(%s %s %s)", side(), g.pick("AND", "OR"), side())
}

// TestRandomExpressionsEqualDuckDB is the claim for expressions that nobody thought of.
func TestRandomExpressionsEqualDuckDB(t *testing.T) {
	count := 2000
	if testing.Short() {
		count = 200
	}
	s, session := sampleSession(t, 2)
	g := generator{rng: rand.New(rand.NewPCG(7, 11))}
	for range count {
		s.compare(t, session, g.of(g.pick("i", "n", "f", "d", "s", "b", "t"), 1+g.rng.IntN(4)), exact)
	}
}
