package columns

import (
	"sync"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Recycler is an allocator for columns that are alike, one batch after the other: what one
// gives back is the next one's. New memory has to be cleared, and to be found unused by
// the garbage collector; that costs more than to copy the values does.
//
// It keeps no more of a size than was out at one time. Memory that is used again holds what
// it held before, so it is for those who write every byte: columns of fixed width do.
type Recycler struct {
	mem memory.Allocator

	mu     sync.Mutex
	kept   map[int][][]byte // by size
	closed bool
}

// worthKeeping is the least size that is kept.
const worthKeeping = 4 << 10

// NewRecycler is a recycler of what mem allocates.
func NewRecycler(mem memory.Allocator) *Recycler {
	return &Recycler{mem: mem, kept: map[int][][]byte{}}
}

// Allocate returns memory that holds anything.
func (r *Recycler) Allocate(size int) []byte {
	if again := r.take(size); again != nil {
		return again
	}
	return r.mem.Allocate(size)
}

func (r *Recycler) take(size int) []byte {
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

// Reallocate is that of the allocator below.
func (r *Recycler) Reallocate(size int, have []byte) []byte { return r.mem.Reallocate(size, have) }

// Free keeps the memory, or gives it back.
func (r *Recycler) Free(used []byte) {
	if len(used) < worthKeeping || !r.keep(used) {
		r.mem.Free(used)
	}
}

func (r *Recycler) keep(used []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.kept[len(used)] = append(r.kept[len(used)], used)
	}
	return !r.closed
}

// Close gives back what is kept. What is out then goes back when it is released.
func (r *Recycler) Close() {
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
