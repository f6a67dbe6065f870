package columns

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

func TestMemoryOfOneBatchIsTheNextOnes(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	r := NewRecycler(mem)
	first := r.Allocate(worthKeeping)
	second := r.Allocate(worthKeeping)
	most := mem.CurrentAlloc()
	r.Free(first)
	again := r.Allocate(worthKeeping)
	if &again[0] != &first[0] || &again[0] == &second[0] {
		t.Error("the memory that was given back was not used again")
	}
	if mem.CurrentAlloc() != most {
		t.Errorf("%d bytes are out, before it were %d", mem.CurrentAlloc(), most)
	}
	other := r.Allocate(2 * worthKeeping)
	r.Free(again)
	r.Free(other)
	r.Close()
	r.Free(second) // by a batch that outlived its file
}
