package offline

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Memory keeps its content over the size from which on it is counted, in both directions.
func TestForgetful(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	f := forgetful{mem}
	f.Allocate(forgotten) // never given back
	have := f.Allocate(10)
	copy(have, "0123456789")
	for _, size := range []int{64, 65, 1000, 65, 64, 10} {
		have = f.Reallocate(size, have)
		if len(have) != size || !bytes.HasPrefix(have, []byte("0123456789")) {
			t.Fatalf("%d bytes are %q", size, have)
		}
		if counted := mem.CurrentAlloc() > 0; counted != (size > forgotten) {
			t.Errorf("%d bytes: %d are counted", size, mem.CurrentAlloc())
		}
	}
	f.Free(have)
}
