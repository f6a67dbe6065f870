//go:build !linux

package durable

// HugeBytes is the size of a huge page.
const HugeBytes = 2 << 20

// hugeBuffer has none.
func hugeBuffer(int) ([]byte, func()) { return nil, nil }
