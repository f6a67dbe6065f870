package engine_test

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// statisticsOf saves rows as a dataset and returns what it says of a column.
func statisticsOf(t *testing.T, d *driftline.Dataset, column string) driftline.ColumnStatistics {
	t.Helper()
	for _, c := range d.Statistics {
		if c.Column == column {
			return c
		}
	}
	t.Fatalf("column %q has no statistics: %+v", column, d.Statistics)
	return driftline.ColumnStatistics{}
}

// numbersOf is a spine with one column of floats.
func numbersOf(env *testenv.Env, values ...float64) driftline.Batches {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "airport", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "event_timestamp", Type: driftline.Time, Nullable: true},
		{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(env.Mem, schema)
	defer b.Release()
	for _, v := range values {
		b.Field(0).AppendNull()
		b.Field(1).AppendNull()
		b.Field(2).(*array.Float64Builder).Append(v)
	}
	batch := b.NewRecordBatch()
	env.T.Cleanup(batch.Release)
	return driftline.BatchesOf(schema, batch)
}

func TestStatisticsAreExact(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs, req.Split = "described", fractions(driftline.SplitRandom, 0.5, 0.5)
	d := save(t, env, req, flights(env, 3000, 5))
	if len(d.Statistics) != 9 { // the spine's, the feature and the part
		t.Fatalf("%d columns are described, want 9", len(d.Statistics))
	}
	for _, c := range []string{"passenger", "fare", "temp", "event_timestamp"} {
		checkNumbers(t, statisticsOf(t, d, c), columnOf(t, env, d, c), parsers[c])
	}
	for _, c := range []string{"airport", "late", driftline.SplitColumn} {
		checkTexts(t, statisticsOf(t, d, c), columnOf(t, env, d, c))
	}
	tags := statisticsOf(t, d, "tags")
	if tags.Rows != 3000 || tags.Nulls != count(columnOf(t, env, d, "tags"), "(null)") || tags.Edges != nil || tags.Top != nil {
		t.Errorf("a list column: %+v", tags)
	}
	env.Reopen()
	again, err := env.Engine.Registry().Dataset(d.Name, d.Version)
	if err != nil || fmt.Sprint(again.Statistics[2].Counts) != fmt.Sprint(d.Statistics[2].Counts) || again.Request.Split.Parts[0].Rows == 0 {
		t.Errorf("after a restart: %+v, %v", again.Statistics, err)
	}
}

func parseNumber(s string) float64 {
	var v float64
	fmt.Sscan(s, &v)
	return v
}

func parseMicroseconds(s string) float64 {
	at, err := arrow.TimestampFromString(s, arrow.Microsecond)
	if err != nil {
		panic(err)
	}
	return float64(at)
}

var parsers = map[string]func(string) float64{
	"passenger": parseNumber, "fare": parseNumber, "temp": parseNumber, "event_timestamp": parseMicroseconds,
}

// checkNumbers is the oracle: textbook formulas over all values at once.
func checkNumbers(t *testing.T, got driftline.ColumnStatistics, texts []string, parse func(string) float64) {
	t.Helper()
	var values []float64
	var nulls, zeros, odd int64
	for _, s := range texts {
		if s == "(null)" {
			nulls++
			continue
		}
		v := parse(s)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			odd++
			continue
		}
		if v == 0 {
			zeros++
		}
		values = append(values, v)
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	mean, squares := sum/float64(len(values)), 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	deviation := math.Sqrt(squares / float64(len(values)-1))
	if got.Rows != int64(len(texts)) || got.Nulls != nulls || got.Zeros != zeros || got.NotFinite != odd {
		t.Errorf("%s: rows %d, nulls %d, zeros %d, not finite %d; want %d, %d, %d, %d", got.Column,
			got.Rows, got.Nulls, got.Zeros, got.NotFinite, len(texts), nulls, zeros, odd)
	}
	if float64(*got.Min) != slices.Min(values) || float64(*got.Max) != slices.Max(values) {
		t.Errorf("%s: from %v to %v, want %v to %v", got.Column, *got.Min, *got.Max, slices.Min(values), slices.Max(values))
	}
	if !near(float64(*got.Mean), mean) || !near(float64(*got.StdDev), deviation) {
		t.Errorf("%s: mean %v ± %v, want %v ± %v", got.Column, *got.Mean, *got.StdDev, mean, deviation)
	}
	checkBins(t, got, values)
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1e-300) }

// checkBins counts each bin by the definition of its edges.
func checkBins(t *testing.T, got driftline.ColumnStatistics, values []float64) {
	t.Helper()
	if len(got.Edges) != len(got.Counts)+1 || !sort.SliceIsSorted(got.Edges, func(i, j int) bool { return got.Edges[i] < got.Edges[j] }) {
		t.Fatalf("%s: edges %v for %d bins", got.Column, got.Edges, len(got.Counts))
	}
	for i, n := range got.Counts {
		var want int64
		for _, v := range values {
			last := i == len(got.Counts)-1 && v == float64(got.Edges[i+1])
			if v >= float64(got.Edges[i]) && v < float64(got.Edges[i+1]) || last {
				want++
			}
		}
		if n != want {
			t.Errorf("%s: bin %d, from %v to %v, has %d values, want %d", got.Column, i, got.Edges[i], got.Edges[i+1], n, want)
		}
	}
}

func checkTexts(t *testing.T, got driftline.ColumnStatistics, texts []string) {
	t.Helper()
	counts := map[string]int64{}
	var nulls int64
	for _, s := range texts {
		if s == "(null)" {
			nulls++
			continue
		}
		counts[s]++
	}
	if got.Nulls != nulls || got.Distinct != int64(len(counts)) || len(got.Top) != len(counts) || got.MoreDistinct {
		t.Errorf("%s: %+v, want %d nulls and %v", got.Column, got, nulls, counts)
	}
	for i, top := range got.Top {
		if counts[top.Value] != top.Count || i > 0 && got.Top[i-1].Count < top.Count {
			t.Errorf("%s: top values %v, want %v", got.Column, got.Top, counts)
		}
	}
}

func TestStatisticsOfOddNumbers(t *testing.T) {
	env := newHourly(t)
	for _, c := range []struct {
		name   string
		values []float64
		want   string // min max mean counts
	}{
		{"none", nil, ""},
		{"only NaN", []float64{math.NaN(), math.Inf(-1)}, ""},
		{"one value", []float64{2.5, 2.5}, "2.5 2.5 2.5 [2]"},
		{"a range wider than a float", []float64{-math.MaxFloat64, 0, math.MaxFloat64}, fmt.Sprint(-math.MaxFloat64, math.MaxFloat64, " 0 [1 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 1]")},
		{"a sum too large for a float", []float64{math.MaxFloat64, math.MaxFloat64}, fmt.Sprint(math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, " [2]")},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := features("temps:temp")
			req.SaveAs = "odd"
			got, line := statisticsOf(t, save(t, env, req, numbersOf(env, c.values...)), "x"), ""
			if got.Min != nil {
				line = fmt.Sprint(float64(*got.Min), float64(*got.Max), float64(*got.Mean), " ", got.Counts)
			}
			if line != c.want {
				t.Errorf("got %s, want %s", line, c.want)
			}
		})
	}
}

func TestTooManyTextsAreNotCounted(t *testing.T) {
	env := newHourly(t)
	schema := arrow.NewSchema([]arrow.Field{{Name: "airport", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time}}, nil)
	b := array.NewRecordBuilder(env.Mem, schema)
	defer b.Release()
	for i := range 10_001 {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprint(i))
		b.Field(1).(*array.TimestampBuilder).Append(0)
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	req := features("temps:temp")
	req.SaveAs = "ids"
	got := statisticsOf(t, save(t, env, req, driftline.BatchesOf(schema, batch)), "airport")
	if got.Distinct != 10_000 || !got.MoreDistinct || got.Top != nil {
		t.Errorf("10,001 texts: %d distinct, more %v, top %v", got.Distinct, got.MoreDistinct, got.Top)
	}
}
