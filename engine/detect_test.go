package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// metricRows has a column of numbers, the same as booleans, and one of text, in batches
// of 64 rows. Every third row of the first is null. Values change from 0, 1, 0, 1 … to 1
// at half of the rows.
func metricRows(t *testing.T, rows int) driftline.Batches {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "wrong", Type: arrow.FixedWidthTypes.Boolean}, {Name: "text", Type: arrow.BinaryTypes.String}}, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for from := 0; from < rows; from += 64 {
			b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			for i := from; i < min(rows, from+64); i++ {
				one := i >= rows/2 || i%2 == 1
				value := 0.0
				if one {
					value = 1
				}
				if i%3 == 0 {
					b.Field(0).AppendNull()
				} else {
					b.Field(0).(*array.Float64Builder).Append(value)
				}
				b.Field(1).(*array.BooleanBuilder).Append(one)
				b.Field(2).(*array.StringBuilder).Append("a")
			}
			batch := b.NewRecordBatch()
			b.Release()
			more := yield(batch, nil)
			batch.Release()
			if !more {
				return
			}
		}
	}}
}

func TestDetectSaysWhereAStreamChanged(t *testing.T) {
	for _, c := range []struct {
		opts    driftline.DetectOptions
		missing int64
	}{
		{driftline.DetectOptions{Column: "wrong"}, 0},
		{driftline.DetectOptions{Column: "wrong", Detector: "adwin", Parameters: map[string]float64{"clock": 8}}, 0},
		{driftline.DetectOptions{Column: "x"}, 667},
	} {
		report, err := engine.Detect(t.Context(), metricRows(t, 2000), c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if report.Rows != 2000 || report.Missing != c.missing || len(report.Changes) != 1 {
			t.Fatalf("%+v: %+v, want one change in 2000 rows of which %d are missing", c.opts, report, c.missing)
		}
		if change := report.Changes[0]; change.Row < 1000 || change.Row > 1150 || change.Since < 700 || change.Since > 1010 {
			t.Errorf("%+v: %+v, want a change found soon after row 1000, since about there", c.opts, change)
		}
	}
}

func TestDetectRefuses(t *testing.T) {
	for _, c := range []struct {
		opts driftline.DetectOptions
		want string
	}{
		{driftline.DetectOptions{}, "3 columns"},
		{driftline.DetectOptions{Column: "y"}, `0 columns "y"`},
		{driftline.DetectOptions{Column: "text"}, `column "text" is utf8`},
		{driftline.DetectOptions{Column: "x", Detector: "adwim"}, `detector "adwim" is not known`},
		{driftline.DetectOptions{Column: "x", Parameters: map[string]float64{"run_length": 1}}, "run_length is 1"},
	} {
		_, err := engine.Detect(t.Context(), metricRows(t, 10), c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) || driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("%+v: %v, want an invalid request that says %q", c.opts, err, c.want)
		}
	}
	if report, err := engine.Detect(t.Context(), metricRows(t, 0), driftline.DetectOptions{Column: "x"}); err != nil || !slices.Equal(report.Changes, []driftline.StreamChange{}) {
		t.Errorf("no rows: %+v, %v", report, err)
	}
}
