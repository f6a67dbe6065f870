package offline

import (
	"sync"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// recycler is an allocator for columns that are alike, one batch after the other: what one
// gives back is the next one's. New memory has to be cleared, and to be found unused by
// the garbage collector; that costs more than to copy the values does.
//
// It keeps no more of a size than was out at one time. Memory that is used again holds what
// it held before, so it is for those who write every byte: columns of fixed width do.
type recycler struct {
	mem memory.Allocator

	mu     sync.Mutex
	kept   map[int][][]byte // by size
	closed bool
}

// worthKeeping is the least size that is kept.
const worthKeeping = 4 << 10

func newRecycler(mem memory.Allocator) *recycler {
	return &recycler{mem: mem, kept: map[int][][]byte{}}
}

func (r *recycler) Allocate(size int) []byte {
	if again := r.take(size); again != nil {
		return again
	}
	return r.mem.Allocate(size)
}

func (r *recycler) take(size int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept[size]
	if len(kept) == 0 {
		return nil
	}
	last := len(kept) - 1
	r.kept[size] = kept[:last]
	return kept[last]
}

func (r *recycler) Reallocate(size int, have []byte) []byte { return r.mem.Reallocate(size, have) }

func (r *recycler) Free(used []byte) {
	if len(used) < worthKeeping || !r.keep(used) {
		r.mem.Free(used)
	}
}

func (r *recycler) keep(used []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.kept[len(used)] = append(r.kept[len(used)], used)
	}
	return !r.closed
}

// close gives back what is kept. What is out then goes back when it is released.
func (r *recycler) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, kept := range r.kept {
		for _, used := range kept {
			r.mem.Free(used)
		}
	}
	r.kept = nil
}
