package durable

import (
	"syscall"
	"unsafe"
)

// HugeBytes is the size of a huge page.
const HugeBytes = 2 << 20

// hugeBuffer is memory in huge pages, if the system has some to give, and what gives it back. It is nil if
// there is no memory at all.
func hugeBuffer(size int) (buffer []byte, give func()) {
	mapped, err := syscall.Mmap(-1, 0, size+HugeBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	begin := -int(uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))) & (HugeBytes - 1)
	buffer = mapped[begin:][:size:size]
	_ = syscall.Madvise(buffer, syscall.MADV_HUGEPAGE) // it is a hint
	return buffer, func() { _ = syscall.Munmap(mapped) }
}
