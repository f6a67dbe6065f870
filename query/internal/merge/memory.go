package merge

import "syscall"

// Records are the largest part of what a join needs, and it is known when they are not needed
// any more. So those of a long spine do not lie in Go's heap, which grows to twice of what is
// in use, but in memory that the system gives and takes back.

// largeMemory is from how many bytes on memory is the system's. Less is better used again,
// since new memory has to be cleared page by page.
const largeMemory = 256 << 20

// takeMemory returns so many bytes, all 0, for [giveMemory] to give back.
func takeMemory(bytes int) []byte {
	if bytes < largeMemory {
		return make([]byte, bytes)
	}
	memory, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, bytes) // which says better than we could that there is none
	}
	return memory
}

func giveMemory(memory []byte) {
	if len(memory) >= largeMemory {
		_ = syscall.Munmap(memory) // fails only for what Go's heap gave instead
	}
}
