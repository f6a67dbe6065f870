package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

func TestRealsSurviveJSONBitByBit(t *testing.T) {
	for _, v := range []float64{0, math.Copysign(0, -1), 0.1, math.Pi, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN()} {
		text, err := json.Marshal(exactReal(v))
		if err != nil {
			t.Fatal(err)
		}
		var back exactReal
		if err := json.Unmarshal(text, &back); err != nil || !sameReal(back, exactReal(v)) {
			t.Errorf("%v came back as %v, error %v", v, back, err)
		}
	}
	var fromPython exactReal
	if err := json.Unmarshal([]byte(`"0x1.999999999999ap-4"`), &fromPython); err != nil || fromPython != 0.1 {
		t.Errorf("Python's float.hex of 0.1 is read as %v, error %v", fromPython, err)
	}
}

// batchOf makes one batch from rows written as JSON.
func batchOf(t *testing.T, schema *arrow.Schema, rows string) arrow.RecordBatch {
	t.Helper()
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(batch.Release)
	return batch
}

func sumOf(t *testing.T, batches ...arrow.RecordBatch) string {
	t.Helper()
	a, err := checksum(driftline.BatchesOf(batches[0].Schema(), batches...))
	if err != nil {
		t.Fatal(err)
	}
	return a.Checksum
}

func TestChecksumSeesValuesAndNotTheirOrder(t *testing.T) {
	k := arrow.Field{Name: "k", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	v := arrow.Field{Name: "v", Type: arrow.PrimitiveTypes.Float64, Nullable: true}
	kv, vk := arrow.NewSchema([]arrow.Field{k, v}, nil), arrow.NewSchema([]arrow.Field{v, k}, nil)
	const rows = `[{"k":1,"v":0.5},{"k":2,"v":null},{"k":3,"v":7}]`
	first := sumOf(t, batchOf(t, kv, rows))
	for name, other := range map[string]string{
		"rows in another order":    sumOf(t, batchOf(t, kv, `[{"k":3,"v":7},{"k":1,"v":0.5},{"k":2,"v":null}]`)),
		"columns in another order": sumOf(t, batchOf(t, vk, rows)),
		"in two batches":           sumOf(t, batchOf(t, kv, `[{"k":1,"v":0.5}]`), batchOf(t, kv, `[{"k":2,"v":null},{"k":3,"v":7}]`)),
	} {
		if other != first {
			t.Errorf("%s: %s, want %s", name, other, first)
		}
	}
	for name, changed := range map[string]string{
		"another value":          `[{"k":1,"v":0.25},{"k":2,"v":null},{"k":3,"v":7}]`,
		"zero instead of null":   `[{"k":1,"v":0.5},{"k":2,"v":0},{"k":3,"v":7}]`,
		"values of rows swapped": `[{"k":1,"v":7},{"k":2,"v":null},{"k":3,"v":0.5}]`,
		"a row twice":            `[{"k":1,"v":0.5},{"k":2,"v":null},{"k":3,"v":7},{"k":3,"v":7}]`,
		"a null moved":           `[{"k":1,"v":0.5},{"k":null,"v":2},{"k":3,"v":7}]`,
	} {
		if sumOf(t, batchOf(t, kv, changed)) == first {
			t.Errorf("%s gives the same checksum", name)
		}
	}
}

func TestTypesWithoutAWordAreErrors(t *testing.T) {
	for _, unknown := range []arrow.DataType{arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.FixedWidthTypes.Timestamp_ns} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "odd", Type: unknown, Nullable: true}}, nil)
		_, err := checksum(driftline.BatchesOf(schema, batchOf(t, schema, `[{"odd":null}]`)))
		if err == nil || !strings.Contains(err.Error(), `column "odd"`) {
			t.Errorf("%s: error is %v", unknown, err)
		}
	}
}
