package drift

import "golang.org/x/sys/cpu"

// hasBlocks reports whether the functions below run on this processor: AVX-512
// with its instructions for 256 bits. They give what the loops in Go give, and take
// half the time.
var hasBlocks = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasPOPCNT

// countBlocks counts blocks·8 values into cells of the linear map, NaN into missing.
//
//go:noescape
func countBlocks(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, counts *uint32)

// filterBlocks copies those of blocks·8 values to out whose cell's bit is set in wanted,
// and returns how many. It may write eight values beyond them.
//
//go:noescape
func filterBlocks(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, wanted *uint32, out *float64) int

// countBitsBlocks is countBlocks for cells by ordered bits; greatest is the index of the
// last cell but one.
//
//go:noescape
func countBitsBlocks(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, counts *uint32)

// filterBitsBlocks is filterBlocks for cells by ordered bits.
//
//go:noescape
func filterBitsBlocks(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, wanted *uint32, out *float64) int
