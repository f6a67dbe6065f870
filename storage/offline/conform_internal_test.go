package offline

import (
	"context"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A write that is cancelled is told so by who reads its rows: a column is not wrong because time is up.
func TestAColumnFitsAlsoWhenTimeIsUp(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := array.NewLargeStringBuilder(mem)
	defer b.Release()
	b.AppendValues([]string{"JFK", "LGA"}, nil)
	names := b.NewArray()
	defer names.Release()
	c := newConformer(ctx, mem)
	fitted, err := c.array(names, arrow.BinaryTypes.String)
	if err != nil {
		t.Fatal(err)
	}
	defer fitted.Release()
	if got := fitted.String(); got != `["JFK" "LGA"]` {
		t.Errorf("the column is %s", got)
	}
}
