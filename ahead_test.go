package driftline_test

import (
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"

	"github.com/driftline/driftline"
)

// counting yields n batches of one number each, then err if there is one. Each is
// released before the next is made, as the rule of Batches allows.
func counting(mem memory.Allocator, n int, err error) driftline.Batches {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for i := range n {
			b := array.NewRecordBuilder(mem, schema)
			b.Field(0).(*array.Int64Builder).Append(int64(i))
			batch := b.NewRecordBatch()
			more := yield(batch, nil)
			batch.Release()
			b.Release()
			if !more {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}}
}

func TestAhead(t *testing.T) {
	defer goleak.VerifyNone(t)
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	broken := errors.New("broken")

	for _, c := range []struct {
		what   string
		source error
		stopAt int // ends the range after this batch; -1: never
		want   int
	}{
		{"to the end", nil, -1, 9},
		{"left early", nil, 3, 4},
		{"left at the first batch", nil, 0, 1},
		{"an error after the batches", broken, -1, 9},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := 0
			var failed error
			for b, err := range counting(mem, 9, c.source).Ahead(2).All {
				if err != nil {
					failed = err
					break
				}
				if v := b.Column(0).(*array.Int64).Value(0); v != int64(got) {
					t.Errorf("batch %d holds %d", got, v)
				}
				if got++; got-1 == c.stopAt {
					break
				}
			}
			if got != c.want || failed != c.source {
				t.Errorf("%d batches and %v, want %d and %v", got, failed, c.want, c.source)
			}
		})
	}

	t.Run("a panic while making", func(t *testing.T) {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
		}()
		bad := driftline.Batches{All: func(func(arrow.RecordBatch, error) bool) { panic("boom") }}
		for range bad.Ahead(2).All {
			t.Error("a batch came out of nothing")
		}
	})
}
