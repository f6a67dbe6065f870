package offline

import "github.com/apache/arrow-go/v18/arrow/memory"

// forgetful is an allocator for the Parquet library's readers, whose decoder of deltas
// never gives its 64 bytes back. Memory of that size is left to the garbage collector;
// all other is the allocator's, which counts it.
type forgetful struct{ memory.Allocator }

const forgotten = 64

func (f forgetful) Allocate(size int) []byte {
	if size <= forgotten {
		return memory.DefaultAllocator.Allocate(size)
	}
	return f.Allocator.Allocate(size)
}

func (f forgetful) Reallocate(size int, have []byte) []byte {
	if size > forgotten && len(have) > forgotten {
		return f.Allocator.Reallocate(size, have)
	}
	moved := f.Allocate(size)
	copy(moved, have)
	f.Free(have)
	return moved
}

func (f forgetful) Free(have []byte) {
	if len(have) > forgotten {
		f.Allocator.Free(have)
	}
}
