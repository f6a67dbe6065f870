package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
)

// checkNow is when the tables of these tests are checked.
var checkNow = time.Date(2013, 6, 1, 12, 0, 0, 0, time.UTC)

// checkRow is a row of the tables of these tests; a nil is null.
type checkRow struct {
	n  any // int64
	x  any // float64
	s  any // string
	at any // time.Time
}

var checkSchema = arrow.NewSchema([]arrow.Field{
	{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "x y", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "at", Type: driftline.Time, Nullable: true},
}, nil)

func checkTable(mem memory.Allocator, rows []checkRow) arrow.RecordBatch {
	b := array.NewRecordBuilder(mem, checkSchema)
	defer b.Release()
	for _, r := range rows {
		for i, v := range []any{r.n, r.x, r.s, r.at} {
			switch v := v.(type) {
			case nil:
				b.Field(i).AppendNull()
			case int64:
				b.Field(i).(*array.Int64Builder).Append(v)
			case float64:
				b.Field(i).(*array.Float64Builder).Append(v)
			case string:
				b.Field(i).(*array.StringBuilder).Append(v)
			case time.Time:
				b.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
			}
		}
	}
	return b.NewRecordBatch()
}

func openQuery(t testing.TB) *query.DB {
	t.Helper()
	db, err := query.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func validateRows(t testing.TB, db *query.DB, rows []checkRow, checks ...driftline.Check) *driftline.ValidationReport {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	batch := checkTable(mem, rows)
	defer batch.Release()
	report, err := engine.ValidateTable(context.Background(), db, engine.TableOfRows(driftline.BatchesOf(checkSchema, batch)), checks, checkNow)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func f(v float64) *float64 { return &v }

func TestChecks(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	hour := func(h int) time.Time { return time.Date(2013, 6, 1, h, 0, 0, 0, time.UTC) }
	rows := []checkRow{
		{int64(1), 0.5, "a", hour(8)}, {int64(2), 1.5, "bb", hour(9)}, {int64(2), nan, "it's", hour(10)}, {nil, inf, nil, nil},
	}
	const null = "∅"
	db := openQuery(t)
	for _, c := range []struct {
		check    driftline.Check
		outcome  driftline.CheckOutcome
		found    string
		examples string // the first column of each
	}{
		{driftline.Check{Check: "rows", Min: f(4), Max: f(4)}, "passed", "4 rows", ""},
		{driftline.Check{Check: "rows", Max: f(3)}, "failed", "4 rows", ""},
		{driftline.Check{Check: "nulls", Column: "n"}, "failed", "1 of 4 null (25 %)", null},
		{driftline.Check{Check: "nulls", Column: "n", Max: f(0.25)}, "passed", "1 of 4 null (25 %)", ""},
		{driftline.Check{Check: "nulls", Column: "x y"}, "failed", "1 of 4 null (25 %)", "NaN"},
		{driftline.Check{Check: "range", Column: "n", Min: f(2)}, "failed", "1 of 3 out of range (33.3 %)", "1"},
		{driftline.Check{Check: "range", Column: "n", Min: f(2), MaxShare: 0.5}, "passed", "1 of 3 out of range (33.3 %)", ""},
		{driftline.Check{Check: "range", Column: "n", Min: f(2), Severity: "warning"}, "warned", "1 of 3 out of range (33.3 %)", "1"},
		{driftline.Check{Check: "range", Column: "x y", Min: f(0.5), Max: f(1e300)}, "failed", "1 of 3 out of range (33.3 %)", "+Inf"},
		{driftline.Check{Check: "values", Column: "s", Values: []driftline.Literal{"a", "it's"}}, "failed", "1 of 3 not in the set (33.3 %)", "bb"},
		{driftline.Check{Check: "values", Column: "n", Values: []driftline.Literal{"1.0", "2"}}, "passed", "none of 3 not in the set", ""},
		{driftline.Check{Check: "values", Column: "n", Values: []driftline.Literal{"one"}}, "failed", `n is a number, and "one" is none`, ""},
		{driftline.Check{Check: "matches", Column: "s", Pattern: "^[a-z]+$"}, "failed", "1 of 3 of another form (33.3 %)", "it's"},
		{driftline.Check{Check: "length", Column: "s", Min: f(2), Max: f(4)}, "failed", "1 of 3 of another length (33.3 %)", "a"},
		{driftline.Check{Check: "unique", Column: "n"}, "failed", "1 of 3 rows repeat another", "2"},
		{driftline.Check{Check: "unique", Columns: []string{"n", "s"}}, "passed", "3 rows, all different", ""},
		{driftline.Check{Check: "mean", Column: "n", Min: f(1.6), Max: f(1.7)}, "passed", "1.66667", ""},
		{driftline.Check{Check: "quantile", Column: "n", Q: 0.25, Min: f(1.5), Max: f(1.5)}, "passed", "1.5", ""},
		{driftline.Check{Check: "quantile", Column: "n", Q: 0.25, Min: f(1.6)}, "failed", "1.5", ""},
		{driftline.Check{Check: "freshness", Column: "at", Within: driftline.Duration(2 * time.Hour)}, "passed", "the newest is 2013-06-01 10:00:00, 2h ago", ""},
		{driftline.Check{Check: "freshness", Column: "at", Within: driftline.Duration(time.Hour)}, "failed", "the newest is 2013-06-01 10:00:00, 2h ago", ""},
		{driftline.Check{Check: "sql", SQL: "SELECT s, n FROM data WHERE n > 5"}, "passed", "no rows", ""},
		{driftline.Check{Check: "sql", SQL: "WITH two AS (SELECT * FROM data WHERE n = 2) SELECT s, n FROM two ORDER BY s"}, "failed", "2 rows", "bb it's"},
		{driftline.Check{Check: "schema", Fields: []driftline.Field{{Name: "n", Type: "int64"}, {Name: "s"}}}, "passed", "as declared", ""},
		{driftline.Check{Check: "schema", Exact: true, Fields: []driftline.Field{{Name: "n", Type: "string"}, {Name: "at", Type: "timestamp"}, {Name: "S"}}}, "failed",
			"n is int64, want string; there is no column S (but s); x y is not expected; s is not expected", ""},
		{driftline.Check{Check: "mean", Column: "s", Min: f(0)}, "failed", "s is utf8, want a number", ""},
		{driftline.Check{Check: "nulls", Column: "xy"}, "failed", "there is no column xy", ""},
	} {
		result := validateRows(t, db, rows, c.check).Results[0]
		var examples []string
		if result.Examples != nil {
			for _, row := range result.Examples.Rows {
				text := null
				if row[0] != nil {
					text = *row[0]
				}
				examples = append(examples, text)
			}
		}
		if result.Outcome != c.outcome || !strings.HasPrefix(result.Found, c.found) || strings.Join(examples, " ") != c.examples {
			t.Errorf("%s: %s, found %q, examples %q; want %s, %q, %q", result.Title, result.Outcome, result.Found, examples, c.outcome, c.found, c.examples)
		}
	}
}

func TestChecksOfAnEmptyTable(t *testing.T) {
	db := openQuery(t)
	report := validateRows(t, db, nil,
		driftline.Check{Check: "nulls", Column: "n"}, driftline.Check{Check: "unique", Column: "n"}, driftline.Check{Check: "range", Column: "n", Min: f(0)},
		driftline.Check{Check: "mean", Column: "n", Min: f(0)}, driftline.Check{Check: "freshness", Column: "at", Within: 1})
	if report.Rows != 0 || report.Failed != 2 || report.Results[0].Found != "there are no values" || report.Results[1].Found != "there are no times" {
		t.Errorf("%+v", report)
	}
}

// The counts of random tables are those of a loop over their rows.
func TestChecksAreCountedExactly(t *testing.T) {
	db := openQuery(t)
	chance := rand.New(rand.NewPCG(1, 2))
	maybe := func(v any) any {
		if chance.IntN(4) == 0 {
			return nil
		}
		return v
	}
	for round := range 20 {
		var rows []checkRow
		for range chance.IntN(30) {
			rows = append(rows, checkRow{n: maybe(chance.Int64N(5)), x: maybe(float64(chance.IntN(3))), s: maybe(strings.Repeat("ab", chance.IntN(3)))})
		}
		checks := []driftline.Check{
			{Check: "nulls", Column: "n"}, {Check: "range", Column: "n", Min: f(1), Max: f(3)},
			{Check: "values", Column: "x y", Values: []driftline.Literal{"0", "2"}}, {Check: "length", Column: "s", Max: f(2)}, {Check: "unique", Columns: []string{"n", "s"}},
		}
		want, seen := map[driftline.CheckKind]int64{}, map[string]bool{}
		for _, r := range rows {
			if r.n == nil {
				want["nulls"]++
			} else if n := r.n.(int64); n < 1 || n > 3 {
				want["range"]++
			}
			if r.x == 1.0 {
				want["values"]++
			}
			if r.s != nil && len(r.s.(string)) > 2 {
				want["length"]++
			}
			if key := fmt.Sprint(r.n, r.s); r.n != nil && r.s != nil && seen[key] {
				want["unique"]++
			} else if r.n != nil && r.s != nil {
				seen[key] = true
			}
		}
		for _, result := range validateRows(t, db, rows, checks...).Results {
			if result.Bad != want[result.Check.Check] {
				t.Errorf("round %d: %s: %d bad of %v, want %d", round, result.Title, result.Bad, rows, want[result.Check.Check])
			}
			if result.Examples != nil && (len(result.Examples.Rows) == 0 || len(result.Examples.Rows) > 5) {
				t.Errorf("round %d: %s: %d examples", round, result.Title, len(result.Examples.Rows))
			}
		}
	}
}

func TestMoreChecksThanOneSelectHolds(t *testing.T) {
	db := openQuery(t)
	var checks []driftline.Check
	for i := range 600 {
		checks = append(checks, driftline.Check{Check: "range", Column: "n", Min: f(float64(i))})
	}
	report := validateRows(t, db, []checkRow{{n: int64(299)}}, checks...)
	if report.Failed != 300 {
		t.Errorf("%d failed, want 300", report.Failed)
	}
}

// What is learned from a table holds of it, and of the same table again, but not of one
// that is far off.
func TestSuggestedChecksHoldOfTheirTable(t *testing.T) {
	db := openQuery(t)
	chance := rand.New(rand.NewPCG(3, 4))
	for _, shape := range []func(i int) checkRow{
		func(i int) checkRow { return checkRow{n: int64(i), x: chance.NormFloat64(), s: "US"} },
		func(i int) checkRow {
			return checkRow{n: int64(-i), x: math.Exp(20 * chance.NormFloat64()), s: fmt.Sprint(i % 7)}
		},
		func(i int) checkRow { return checkRow{n: int64(math.MaxInt64 - i), x: math.NaN(), s: nil} },
		func(i int) checkRow { return checkRow{x: -math.MaxFloat64 * chance.Float64(), s: fmt.Sprint("id-", i)} },
		func(i int) checkRow { return checkRow{x: 0.1, n: int64(7), s: "it's"} },
	} {
		var rows, off []checkRow
		for i := range 500 {
			r := shape(i)
			rows = append(rows, r)
			off = append(off, checkRow{s: r.n, at: checkNow}) // all else is null
			off[i].s = "somewhere else"
		}
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		batch := checkTable(mem, rows)
		checks, err := engine.SuggestChecks(context.Background(), db, engine.TableOfRows(driftline.BatchesOf(checkSchema, batch)))
		batch.Release()
		mem.AssertSize(t, 0)
		if err != nil {
			t.Fatal(err)
		}
		if report := validateRows(t, db, rows, checks.Checks...); report.Failed+report.Warned > 0 {
			t.Errorf("its own table: %+v", report.Results[0])
		}
		if report := validateRows(t, db, off, checks.Checks...); report.Passed {
			t.Errorf("a table of nulls passes %+v", checks.Checks)
		}
	}
}

func TestChecksThatCannotBeMade(t *testing.T) {
	db := openQuery(t)
	for _, c := range []struct {
		check driftline.Check
		code  driftline.Code
		want  string
	}{
		{driftline.Check{Check: "null", Column: "n"}, driftline.Invalid, `did you mean "nulls"?`},
		{driftline.Check{Check: "nulls"}, driftline.Invalid, "no column is named"},
		{driftline.Check{Check: "range", Column: "n"}, driftline.Invalid, "min or max is missing"},
		{driftline.Check{Check: "range", Column: "n", Min: f(2), Max: f(1)}, driftline.Invalid, "min 2 is greater than max 1"},
		{driftline.Check{Check: "rows", Min: f(math.NaN()), Max: f(1)}, driftline.Invalid, "is greater than"},
		{driftline.Check{Check: "quantile", Column: "n", Q: 1, Min: f(1)}, driftline.Invalid, "q is 1"},
		{driftline.Check{Check: "matches", Column: "s", Pattern: "("}, driftline.Invalid, "no regular expression"},
		{driftline.Check{Check: "sql", SQL: "DROP TABLE data"}, driftline.Invalid, "check 1 (sql)"},
		{driftline.Check{Check: "sql", SQL: "SELECT * FROM read_text('/etc/passwd')"}, driftline.Permission, "check 1 (sql)"},
	} {
		batch := checkTable(memory.DefaultAllocator, nil)
		_, err := engine.ValidateTable(context.Background(), db, engine.TableOfRows(driftline.BatchesOf(checkSchema, batch)), []driftline.Check{c.check}, checkNow)
		batch.Release()
		if driftline.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%+v: %v (%s), want %s: %s", c.check, err, driftline.CodeOf(err), c.code, c.want)
		}
	}
}
