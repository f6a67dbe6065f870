package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// column is a named column of a test table.
type column struct {
	name  string
	array arrow.Array
}

// build makes a column: valid says which rows are not null, nil means all.
func build[T any, B interface {
	array.Builder
	AppendValues(values []T, valid []bool)
}](b B, name string, values []T, valid []bool) column {
	defer b.Release()
	b.AppendValues(values, valid)
	return column{name, b.NewArray()}
}

func floats(mem memory.Allocator, name string, values ...float64) column {
	return build(array.NewFloat64Builder(mem), name, values, nil)
}

func texts(mem memory.Allocator, name string, values ...string) column {
	return build(array.NewStringBuilder(mem), name, values, nil)
}

// table makes batches of the columns, the last rows in a batch of their own, and
// takes the columns over.
func table(t *testing.T, columns ...column) driftline.Batches {
	t.Helper()
	fields := make([]arrow.Field, len(columns))
	arrays := make([]arrow.Array, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.array.DataType(), Nullable: true}
		arrays[i] = c.array
		defer c.array.Release()
	}
	schema := arrow.NewSchema(fields, nil)
	whole := array.NewRecordBatch(schema, arrays, -1)
	defer whole.Release()
	cut := whole.NumRows() - whole.NumRows()/3
	head, tail := whole.NewSlice(0, cut), whole.NewSlice(cut, whole.NumRows())
	t.Cleanup(head.Release)
	t.Cleanup(tail.Release)
	return driftline.BatchesOf(schema, head, tail)
}

func checked(t *testing.T) memory.Allocator {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	return mem
}

func compare(t *testing.T, reference, current driftline.Batches, opts driftline.DriftOptions) *driftline.DriftReport {
	t.Helper()
	report, err := engine.Compare(t.Context(), reference, current, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// spread returns n numbers evenly over [from, from+1).
func spread(n int, from float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = from + float64((i*7919)%n)/float64(n)
	}
	return values
}

func repeat[T any](n int, values ...T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = values[i%len(values)]
	}
	return all
}

func nulls(n, every int) []bool {
	valid := make([]bool, n)
	for i := range valid {
		valid[i] = every > 0 && i%every != 0
	}
	return valid
}

func TestCompareTellsDriftFromSame(t *testing.T) {
	mem := checked(t)
	const n = 4000
	side := func(shift float64, colours ...string) driftline.Batches {
		return table(t,
			floats(mem, "moved", spread(n, shift)...),
			floats(mem, "steady", spread(n, 5)...),
			texts(mem, "colour", repeat(n, colours...)...),
			texts(mem, "shape", repeat(n, "round", "square", "")...),
		)
	}
	report := compare(t, side(0, "red", "blue"), side(0.25, "red", "red", "blue", "green"), driftline.DriftOptions{})
	var got strings.Builder
	for _, c := range report.Columns {
		fmt.Fprintf(&got, "%s %s %s %s %.3f: %s; %s\n", c.Column, c.Type, c.Kind, c.Test, c.Effect, c.Verdict, c.Note)
	}
	want := `colour string categorical chi2 0.408: drift; 25 % of current is of categories that reference does not have
moved float64 numeric ks 0.250: drift; 
steady float64 numeric ks 0.000: same; 
shape string categorical chi2 0.000: same; 
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	if report.Drifted != 2 || report.Reference.Rows != n || report.Alpha != 0.05 || report.Margin != 0.01 || !report.Drift || report.Share != 0.5 {
		t.Errorf("%+v", report)
	}
}

func TestCompareColumnByColumn(t *testing.T) {
	const n = 3000
	nan, inf := math.NaN(), math.Inf(1)
	day := int64(24 * time.Hour / time.Microsecond)
	type sides func(mem memory.Allocator) (reference, current column)
	f64 := func(values []float64, valid []bool) func(memory.Allocator) column {
		return func(mem memory.Allocator) column {
			return build(array.NewFloat64Builder(mem), "c", values, valid)
		}
	}
	both := func(a, b func(memory.Allocator) column) sides {
		return func(mem memory.Allocator) (column, column) { return a(mem), b(mem) }
	}
	str := func(values []string, valid []bool) func(memory.Allocator) column {
		return func(mem memory.Allocator) column {
			return build(array.NewStringBuilder(mem), "c", values, valid)
		}
	}
	i64 := func(values ...int64) func(memory.Allocator) column {
		return func(mem memory.Allocator) column { return build(array.NewInt64Builder(mem), "c", values, nil) }
	}
	nullColumn := func(mem memory.Allocator) column { return column{"c", array.NewNull(n)} }
	for _, c := range []struct {
		name    string
		sides   sides
		opts    driftline.DriftOptions
		test    string
		verdict driftline.Verdict
		note    string // part of it; "" means none
	}{
		{name: "no rows in current", sides: both(f64(spread(n, 0), nil), f64(nil, nil)), verdict: driftline.NotCompared, note: "current has no rows"},
		{name: "no rows in reference", sides: both(str(nil, nil), str(repeat(n, "a"), nil)), verdict: driftline.NotCompared, note: "reference has no rows"},
		{name: "no rows at all", sides: both(f64(nil, nil), f64(nil, nil)), verdict: driftline.NotCompared, note: "neither side has rows"},
		{name: "few rows", sides: both(f64(spread(20, 0), nil), f64(spread(20, 0.1), nil)), test: "ks", verdict: driftline.NotEnoughData, note: "too few rows to see an effect below 0.43"},
		{name: "few rows far apart", sides: both(f64(spread(20, 0), nil), f64(spread(20, 5), nil)), test: "ks", verdict: driftline.Drift},
		{name: "all null on both sides", sides: both(f64(make([]float64, n), nulls(n, 0)), f64(make([]float64, n), nulls(n, 0))), verdict: driftline.NotCompared, note: "missing on both sides"},
		{name: "all null in current", sides: both(f64(spread(n, 0), nil), f64(make([]float64, n), nulls(n, 0))), verdict: driftline.Drift, note: "every value of current is missing"},
		{name: "Arrow's null type in current", sides: both(str(repeat(n, "a", "b"), nil), nullColumn), verdict: driftline.Drift, note: "every value of current is missing"},
		{name: "Arrow's null type on both sides", sides: both(nullColumn, nullColumn), verdict: driftline.NotCompared, note: "missing on both sides"},
		{name: "more nulls", sides: both(f64(spread(n, 0), nulls(n, 100)), f64(spread(n, 0), nulls(n, 3))), test: "ks", verdict: driftline.Drift, note: "missing values went from 1 % to 33.3 %"},
		{name: "NaN is missing", sides: both(f64(repeat(n, nan, 1, 2), nil), f64(repeat(n, nan, 1, 2), nil)), test: "ks", verdict: driftline.Same, note: "NaN counts as missing (2000 values)"},
		{name: "infinities", sides: both(f64(repeat(n, inf, -inf, 1), nil), f64(repeat(n, inf, -inf, 1), nil)), test: "ks", verdict: driftline.Same, note: "4000 infinite values"},
		{name: "constant", sides: both(f64(repeat(n, 7.), nil), f64(repeat(n, 7.), nil)), test: "ks", verdict: driftline.Same, note: "every value is the same"},
		{name: "two constants", sides: both(f64(repeat(n, 7.), nil), f64(repeat(n, 8.), nil)), test: "ks", verdict: driftline.Drift},
		{name: "constant category", sides: both(str(repeat(n, "a"), nil), str(repeat(n, "a"), nil)), test: "chi2", verdict: driftline.Same, note: "every value is the same"},
		{name: "few whole numbers", sides: both(i64(repeat[int64](n, 1, 2, 3)...), i64(repeat[int64](n, 1, 1, 3)...)), test: "ks", verdict: driftline.Drift, note: "only 3 distinct values"},
		{name: "extreme whole numbers", sides: both(i64(repeat[int64](n, math.MinInt64, 0, math.MaxInt64)...), i64(repeat[int64](n, math.MinInt64, 0, math.MaxInt64)...)), test: "ks", verdict: driftline.Same, note: "3 distinct"},
		{name: "other widths", sides: both(i64(repeat[int64](n, 1, 2, 3)...), func(mem memory.Allocator) column {
			return build(array.NewInt8Builder(mem), "c", repeat[int8](n, 1, 2, 3), nil)
		}), test: "ks", verdict: driftline.Same, note: "3 distinct"},
		{name: "a tail", sides: func(mem memory.Allocator) (column, column) {
			values := spread(n, 0)
			far := slices.Clone(values)
			for i, v := range far {
				if v >= 0.99 {
					far[i] *= 2
				}
			}
			return floats(mem, "c", values...), floats(mem, "c", far...)
		}, test: "ks", verdict: driftline.Drift, note: "0 % of reference and 0.767 % of current lie at or above"},
		{name: "one new category among many", sides: func(mem memory.Allocator) (column, column) {
			var names, more []string
			for i := range 20 * n {
				names = append(names, fmt.Sprint(i%1000))
				more = append(more, fmt.Sprint(i%1000))
				if i%500 == 3 {
					more[i] = "new"
				}
			}
			return texts(mem, "c", names...), texts(mem, "c", more...)
		}, test: "chi2", verdict: driftline.Drift, note: `"new" went from 0 % to 0.2 %`},
		{name: "booleans", sides: both(
			func(mem memory.Allocator) column {
				return build(array.NewBooleanBuilder(mem), "c", repeat(n, true, false), nil)
			},
			func(mem memory.Allocator) column {
				return build(array.NewBooleanBuilder(mem), "c", repeat(n, true, true, true, false), nil)
			},
		), test: "chi2", verdict: driftline.Drift},
		{name: "identifiers", sides: func(mem memory.Allocator) (column, column) {
			ids := make([]string, n)
			for i := range ids {
				ids[i] = fmt.Sprint(i)
			}
			return texts(mem, "c", ids...), texts(mem, "c", ids...)
		}, verdict: driftline.NotCompared, note: "too rare to test"},
		{name: "times, not named", sides: func(mem memory.Allocator) (column, column) {
			at := repeat(n, arrow.Timestamp(day), arrow.Timestamp(2*day))
			return build(array.NewTimestampBuilder(mem, driftline.Time), "c", at, nil), build(array.NewTimestampBuilder(mem, driftline.Time), "c", at, nil)
		}, verdict: driftline.NotCompared, note: "name the column"},
		{name: "times of two units, named", opts: driftline.DriftOptions{Columns: []string{"c"}}, sides: func(mem memory.Allocator) (column, column) {
			seconds := &arrow.TimestampType{Unit: arrow.Second}
			return build(array.NewTimestampBuilder(mem, driftline.Time), "c", repeat(n, arrow.Timestamp(day), arrow.Timestamp(2*day)), nil),
				build(array.NewTimestampBuilder(mem, seconds), "c", repeat(n, arrow.Timestamp(86400), arrow.Timestamp(2*86400)), nil)
		}, test: "ks", verdict: driftline.Same},
		{name: "text against numbers", sides: both(str(repeat(n, "1"), nil), f64(repeat(n, 1.), nil)), verdict: driftline.NotCompared, note: `column "c" is string in reference and float64 in current`},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := checked(t)
			reference, current := c.sides(mem)
			report := compare(t, table(t, reference), table(t, current), c.opts)
			got := report.Columns[0]
			if got.Test != c.test || got.Verdict != c.verdict {
				t.Errorf("test %q, verdict %q, note %q; want %q, %q", got.Test, got.Verdict, got.Note, c.test, c.verdict)
			}
			if !strings.Contains(got.Note, c.note) || c.note == "" && got.Note != "" && c.name != "two constants" {
				t.Errorf("note %q, want %q", got.Note, c.note)
			}
			tested := got.Test != ""
			if math.IsNaN(float64(got.PValue)) == tested || math.IsNaN(float64(got.Effect)) == tested {
				t.Errorf("test %q, but p %v and effect %v", got.Test, got.PValue, got.Effect)
			}
		})
	}
}

func TestCompareReadsEveryLayoutOfAColumnAlike(t *testing.T) {
	mem := checked(t)
	words := repeat(900, "ash", "oak", "elm")
	dictionary := func() column {
		b := array.NewDictionaryBuilder(mem, &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}).(*array.BinaryDictionaryBuilder)
		defer b.Release()
		for _, w := range words {
			if err := b.AppendString(w); err != nil {
				t.Fatal(err)
			}
		}
		b.AppendNull()
		return column{"c", b.NewArray()}
	}
	plain := func() column {
		b := array.NewStringBuilder(mem)
		defer b.Release()
		b.AppendValues(words, nil)
		b.AppendNull()
		return column{"c", b.NewArray()}
	}
	large := func() column {
		b := array.NewLargeStringBuilder(mem)
		defer b.Release()
		b.AppendValues(words, nil)
		b.AppendNull()
		return column{"c", b.NewArray()}
	}
	view := func() column {
		b := array.NewStringViewBuilder(mem)
		defer b.Release()
		b.AppendValues(words, nil)
		b.AppendNull()
		return column{"c", b.NewArray()}
	}
	raw := func() column {
		b := array.NewBinaryBuilder(mem, arrow.BinaryTypes.Binary)
		defer b.Release()
		for _, w := range words {
			b.AppendString(w)
		}
		b.AppendNull()
		return column{"c", b.NewArray()}
	}
	for name, layout := range map[string]func() column{"dictionary": dictionary, "large": large, "view": view, "binary": raw} {
		got := compare(t, table(t, plain()), table(t, layout()), driftline.DriftOptions{}).Columns[0]
		if got.Statistic != 0 || got.CurrentRows != 900 || got.CurrentNulls != 1 || fmt.Sprint(got.Histogram.Categories) != "[ash elm oak]" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestCompareChoosesColumns(t *testing.T) {
	mem := checked(t)
	reference := func() driftline.Batches {
		return table(t, floats(mem, "temperature", 1, 2), texts(mem, "airport", "JFK", "LGA"), floats(mem, "old", 1, 2))
	}
	current := func() driftline.Batches {
		return table(t, texts(mem, "airport", "JFK", "LGA"), floats(mem, "temperature", 1, 2), floats(mem, "new", 1, 2))
	}
	names := func(r *driftline.DriftReport) string {
		var all []string
		for _, c := range r.Columns {
			all = append(all, c.Column)
		}
		return strings.Join(all, " ")
	}
	all := compare(t, reference(), current(), driftline.DriftOptions{Exclude: []string{"airport"}})
	if got := names(all); got != "temperature old new" {
		t.Errorf("columns %s", got)
	}
	if got := all.Columns[1].Note + ", " + all.Columns[2].Note; got != `column "old" is missing in current, column "new" is missing in reference` {
		t.Errorf("notes: %s", got)
	}
	if got := names(compare(t, reference(), current(), driftline.DriftOptions{Columns: []string{"airport"}})); got != "airport" {
		t.Errorf("columns %s", got)
	}
	one := 1.5
	for _, c := range []struct {
		opts driftline.DriftOptions
		want string
	}{
		{driftline.DriftOptions{Columns: []string{"temprature"}}, `column "temprature" is in neither table; did you mean "temperature"?`},
		{driftline.DriftOptions{Exclude: []string{"zzzzzzzz"}}, `column "zzzzzzzz" is in neither table; the columns are: temperature, airport, old, new`},
		{driftline.DriftOptions{Columns: []string{"old"}}, `column "old" is missing in current; compare columns that both tables have`},
		{driftline.DriftOptions{Preset: "whylogs"}, `preset "whylogs" is not known; choose one of: driftline, evidently, nannyml`},
		{driftline.DriftOptions{Correction: "holm"}, `correction "holm" is not known; choose one of: bh, by, e-bh, none`},
		{driftline.DriftOptions{Multivariate: []string{"lsdd"}}, `multivariate test "lsdd" is not known; choose one of: mmd, classifier`},
		{driftline.DriftOptions{DriftShare: &one}, "drift_share is 1.5, want a number from 0 to 1; 0 means that one drifted column is enough"},
		{driftline.DriftOptions{Tests: []driftline.ColumnTest{{Kind: "categorical", Test: "ks"}}}, `test "ks" is none for categorical columns; choose one of: chi2, chi2_gof, g, hellinger, jensenshannon, kl, l_infinity, psi, total_variation`},
		{driftline.DriftOptions{Tests: []driftline.ColumnTest{{Columns: []string{"airport"}, Test: "ks"}}}, `test "ks" is none for column "airport", which is categorical; choose one of: chi2, chi2_gof, g, hellinger, jensenshannon, kl, l_infinity, psi, total_variation`},
		{driftline.DriftOptions{Tests: []driftline.ColumnTest{{Columns: []string{"airprt"}, Test: "psi"}}}, `column "airprt" is in neither table; did you mean "airport"?`},
		{driftline.DriftOptions{Alpha: 7}, "alpha is 7, want a number between 0 and 1; alpha is the share of false alarms to accept; 0.05 is usual"},
		{driftline.DriftOptions{Margin: &one}, "margin is 1.5, want a number from 0 to 1; margin is the smallest effect that matters: 0.05 means that 5 % of the values lie elsewhere"},
	} {
		_, err := engine.Compare(t.Context(), reference(), current(), c.opts)
		if driftline.CodeOf(err) != driftline.Invalid || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.opts, err, c.want)
		}
	}
}

func TestCompareStopsWithItsSources(t *testing.T) {
	mem := checked(t)
	good := table(t, floats(mem, "c", spread(100, 0)...))
	broken := driftline.Batches{Schema: good.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b := range good.All {
			if !yield(b, nil) {
				return
			}
		}
		yield(nil, driftline.Errorf(driftline.DataLoss, "file is damaged"))
	}}
	for _, pair := range [][2]driftline.Batches{{good, broken}, {broken, good}} {
		if _, err := engine.Compare(t.Context(), pair[0], pair[1], driftline.DriftOptions{}); driftline.CodeOf(err) != driftline.DataLoss {
			t.Errorf("%v, want data loss", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := engine.Compare(ctx, good, good, driftline.DriftOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want cancelled", err)
	}
}

func TestCompareByChosenTests(t *testing.T) {
	mem := checked(t)
	side := func(shift float64, colours ...string) driftline.Batches {
		return table(t, floats(mem, "a", spread(4000, shift)...), floats(mem, "b", spread(4000, shift)...), texts(mem, "c", repeat(4000, colours...)...))
	}
	half, hundredth := 0.5, 0.01
	var got strings.Builder
	for _, tests := range [][]driftline.ColumnTest{
		{{Test: "psi"}}, // all
		{{Test: "psi"}, {Kind: "numeric", Test: "wasserstein"}, {Columns: []string{"b"}, Test: "welch"}}, // the more special one
		{{Columns: []string{"b"}, Test: "welch"}, {Test: "jensenshannon", Threshold: &half}},             // in whatever order
		{{Kind: "numeric", Test: "cramer_von_mises", Threshold: &hundredth}},                             // p-value against its own level
	} {
		report := compare(t, side(0, "red", "blue"), side(0.05, "red", "red", "red", "blue"), driftline.DriftOptions{Tests: tests})
		slices.SortFunc(report.Columns, func(a, b driftline.ColumnDrift) int { return strings.Compare(a.Column, b.Column) })
		for _, c := range report.Columns {
			fmt.Fprintf(&got, "%s %s %.3f effect %.3f against %v: %s; ", c.Column, c.Test, c.Statistic, c.Effect, c.Threshold, c.Verdict)
		}
		got.WriteByte('\n')
	}
	want := `a psi 0.110 effect 0.103 against 0.1: drift; b psi 0.110 effect 0.103 against 0.1: drift; c psi 0.275 effect 0.274 against 0.1: drift; 
a wasserstein 0.173 effect 0.173 against 0.1: drift; b welch -7.745 effect 0.050 against 0.05: drift; c psi 0.275 effect 0.274 against 0.1: drift; 
a jensenshannon 0.114 effect 0.111 against 0.5: same; b welch -7.745 effect 0.050 against 0.05: drift; c jensenshannon 0.184 effect 0.184 against 0.5: same; 
a cramer_von_mises 4.838 effect 0.050 against 0.01: drift; b cramer_von_mises 4.838 effect 0.050 against 0.01: drift; c chi2 533.333 effect 0.258 against 0.05: drift; 
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}

func TestTransportDistancesDoNotDependOnTheUnit(t *testing.T) {
	mem := checked(t)
	scaled := func(factor, shift float64) driftline.Batches {
		values := slices.Clone(spread(500, shift))
		for i := range values {
			values[i] *= factor
		}
		return table(t, floats(mem, "a", values...))
	}
	for _, test := range []string{"wasserstein", "energy"} {
		opts := driftline.DriftOptions{Tests: []driftline.ColumnTest{{Test: test}}}
		one, other := compare(t, scaled(1, 0), scaled(1, 0.2), opts).Columns[0], compare(t, scaled(128, 0), scaled(128, 0.2), opts).Columns[0]
		if !(one.Statistic > 0.01) {
			t.Errorf("%s is %v", test, one.Statistic)
		}
		for _, pair := range [][2]driftline.Number{{one.Statistic, other.Statistic}, {one.EffectLow, other.EffectLow}, {one.EffectHigh, other.EffectHigh}} {
			if math.Abs(float64(pair[0]-pair[1])) > 1e-9 {
				t.Errorf("%s is %v in one unit and %v in another", test, pair[0], pair[1])
			}
		}
	}
}

func TestCompareByPresetsOfOthers(t *testing.T) {
	mem := checked(t)
	nan, inf := math.NaN(), math.Inf(1)
	side := func(n int, shift float64, colours ...string) driftline.Batches {
		few := repeat[int64](n, 1, 2, 3)
		return table(t,
			floats(mem, "number", spread(n, shift)...),
			floats(mem, "holes", repeat(n, nan, inf, 1+shift, 2, 3, 4, 5, 6, 7)...),
			build(array.NewInt64Builder(mem), "few", few, nil),
			texts(mem, "colour", repeat(n, colours...)...),
			floats(mem, "empty", repeat(n, nan)...),
		)
	}
	var got strings.Builder
	for _, n := range []int{900, 2000} {
		for _, preset := range []string{"evidently", "nannyml"} {
			report := compare(t, side(n, 0, "red", "blue"), side(n, 0.3, "red", "blue", "green"), driftline.DriftOptions{Preset: preset})
			slices.SortFunc(report.Columns, func(a, b driftline.ColumnDrift) int { return strings.Compare(a.Column, b.Column) })
			fmt.Fprintf(&got, "%s, %d rows: drift %v, share %.2f\n", preset, n, report.Drift, report.Share)
			for _, c := range report.Columns {
				fmt.Fprintf(&got, "  %s: %s %.3f p %.3g against %.3g: %s; %s\n", c.Column, c.Test, c.Statistic, c.PValue, c.Threshold, c.Verdict, c.Note)
			}
		}
	}
	want := `evidently, 900 rows: drift true, share 0.75
  colour: chi2_gof +Inf p 0 against 0.05: drift; 
  empty:  NaN p NaN against NaN: not compared; NaN counts as missing (1800 values); every value is missing on both sides
  few: chi2_gof 0.000 p 1 against 0.05: same; 
  holes: ks 0.143 p 1.2e-06 against 0.05: drift; 200 infinite values lie in the end bins; NaN counts as missing (200 values)
  number: ks 0.301 p 2.12e-36 against 0.05: drift; 
nannyml, 900 rows: drift true, share 0.67
  colour: jensenshannon 0.437 p NaN against 0: drift; 
  empty:  NaN p NaN against NaN: not compared; NaN counts as missing (1800 values); every value is missing on both sides
  few: jensenshannon 0.000 p NaN against 0: same; 
  holes:  NaN p NaN against NaN: not compared; 200 infinite values lie in the end bins; NaN counts as missing (200 values); NannyML cannot bin a reference that has infinite values
  number: jensenshannon 0.537 p NaN against 0.346: drift; 
evidently, 2000 rows: drift true, share 0.50
  colour: jensenshannon 0.364 p NaN against 0.1: drift; 
  empty:  NaN p NaN against NaN: not compared; NaN counts as missing (4000 values); every value is missing on both sides
  few: jensenshannon 0.000 p NaN against 0.1: same; 
  holes: wasserstein 0.021 p NaN against 0.1: same; 446 infinite values lie in the end bins; NaN counts as missing (446 values)
  number: wasserstein 1.039 p NaN against 0.1: drift; 
nannyml, 2000 rows: drift true, share 1.00
  colour: jensenshannon 0.437 p NaN against 0: drift; 
  empty:  NaN p NaN against NaN: not compared; NaN counts as missing (4000 values); every value is missing on both sides
  few: jensenshannon 0.000 p NaN against 0.00366: drift; less different from the reference than its own chunks are: below 0.002305
  holes:  NaN p NaN against NaN: not compared; 446 infinite values lie in the end bins; NaN counts as missing (446 values); NannyML cannot bin a reference that has infinite values
  number: jensenshannon 0.532 p NaN against 0.0264: drift; 
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}

func TestCompareAllColumnsTogether(t *testing.T) {
	mem := checked(t)
	random := rand.New(rand.NewPCG(1, 2))
	side := func(together bool) driftline.Batches {
		const n = 2000
		a, b, words := make([]float64, n), make([]float64, n), make([]string, n)
		for i := range a {
			a[i], b[i] = random.NormFloat64(), random.NormFloat64()
			if together {
				b[i] = 0.6*a[i] + 0.8*b[i]
			}
			words[i] = string(rune('a' + random.IntN(12)))
		}
		valid := nulls(n, 10)
		return table(t, floats(mem, "a", a...), build(array.NewFloat64Builder(mem), "b", b, valid), texts(mem, "word", words...))
	}
	opts := driftline.DriftOptions{Multivariate: []string{"mmd", "classifier"}}
	same := compare(t, side(false), side(false), opts)
	if m := same.Multivariate; same.Drift || m.Verdict != driftline.Same || m.ReferenceRows != 1800 || len(m.Columns) != 3 {
		t.Errorf("no drift: %+v", m)
	}
	moved := compare(t, side(false), side(true), opts)
	m := moved.Multivariate
	if moved.Drifted != 0 || !moved.Drift || m.Verdict != driftline.Drift || m.Tests[1].PValue > 1e-6 {
		t.Errorf("only the correlation moved: %d columns, %+v", moved.Drifted, m)
	}
	if want := "the sides are told apart most by a with b"; !strings.HasPrefix(m.Note, want) {
		t.Errorf("note %q, want %q", m.Note, want)
	}
}
