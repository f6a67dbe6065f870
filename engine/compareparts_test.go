package engine_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// byColumn gives the columns of rows one by one, each batch as a part of its own.
type byColumn struct {
	rows   driftline.Batches
	broken string // a column that cannot be read
}

func (p byColumn) Sample(names []string) ([]driftline.Batches, error) { return p.Read(names) }

func (p byColumn) Read(names []string) (parts []driftline.Batches, err error) {
	for batch, err := range p.rows.All {
		if err != nil {
			return nil, err
		}
		var fields []arrow.Field
		var arrays []arrow.Array
		for _, name := range names {
			at := p.rows.Schema.FieldIndices(name)[0]
			fields, arrays = append(fields, p.rows.Schema.Field(at)), append(arrays, batch.Column(at))
		}
		schema := arrow.NewSchema(fields, nil)
		parts = append(parts, driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
			some := array.NewRecordBatch(schema, arrays, batch.NumRows())
			defer some.Release()
			if names[0] == p.broken {
				yield(nil, errors.New("the disk is gone"))
				return
			}
			yield(some, nil)
		}})
	}
	return parts, nil
}

func mixedTable(t *testing.T, mem memory.Allocator, seed uint64, shift float64) driftline.Batches {
	random := rand.New(rand.NewPCG(seed, 3))
	const rows = 6000
	var normal, gaps []float64
	var valid []bool
	var whole []int64
	var names []string
	for range rows {
		normal = append(normal, random.NormFloat64()+shift)
		gaps, valid = append(gaps, math.Round(10*random.NormFloat64())), append(valid, random.IntN(4) > 0)
		whole, names = append(whole, random.Int64N(8)), append(names, string(rune('a'+random.IntN(5))))
	}
	return table(t, floats(mem, "normal", normal...), build(array.NewFloat64Builder(mem), "gaps", gaps, valid),
		build(array.NewInt64Builder(mem), "whole", whole, nil), texts(mem, "name", names...),
		build(array.NewDate32Builder(mem), "day", make([]arrow.Date32, rows), nil))
}

// Whether a table is read at once or column by column must not show in the report.
func TestTablesAreComparedColumnByColumnAsAtOnce(t *testing.T) {
	mem := checked(t)
	reference, current := mixedTable(t, mem, 1, 0), mixedTable(t, mem, 2, 0.2)
	for name, options := range map[string]driftline.DriftOptions{
		"all columns":  {},
		"two columns":  {Columns: []string{"day", "gaps"}},
		"no column":    {Columns: nil, Exclude: []string{"normal", "gaps", "whole", "name"}},
		"jointly":      {Multivariate: []string{"classifier"}},
		"other preset": {Preset: driftline.PresetEvidently},
	} {
		want, err := engine.Compare(t.Context(), reference, current, options)
		if err != nil {
			t.Fatal(err)
		}
		got, err := engine.CompareInParts(t.Context(), inParts(reference, ""), inParts(current, ""), options)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := reportText(t, got), reportText(t, want); got != want {
			t.Errorf("%s: column by column\n%s\nat once\n%s", name, got, want)
		}
	}
	if report, err := engine.CompareInParts(t.Context(), inParts(reference, ""), inParts(current, "gaps"), driftline.DriftOptions{}); err == nil {
		t.Errorf("a column that cannot be read was compared: %s", reportText(t, report))
	}
}

func inParts(rows driftline.Batches, broken string) engine.TableInParts {
	return engine.TableInParts{Rows: rows, Parts: byColumn{rows, broken}}
}

func reportText(t *testing.T, report *driftline.DriftReport) string {
	t.Helper()
	text, err := report.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
