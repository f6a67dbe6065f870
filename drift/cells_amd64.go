package drift

import "golang.org/x/sys/cpu"

// hasBlocks reports whether the functions for AVX-512 run on this processor: with its
// instructions for 256 bits. They give what the loops in Go give, and take half the time.
var hasBlocks = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasPOPCNT

// hasAVX2 reports whether those for AVX2 do, which give the same.
var hasAVX2 = cpu.X86.HasAVX2

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

// countBlocksAVX2 is countBlocks.
//
//go:noescape
func countBlocksAVX2(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, counts *uint32)

// filterBlocksAVX2 is filterBlocks. It writes nothing beyond the values.
//
//go:noescape
func filterBlocksAVX2(values *float64, blocks int, lo, perUnit, steps float64, missing uint32, wanted *uint32, out *float64) int

// countBitsBlocksAVX2 is countBitsBlocks for a shift above 0.
//
//go:noescape
func countBitsBlocksAVX2(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, counts *uint32)

// filterBitsBlocksAVX2 is filterBitsBlocks for a shift above 0.
//
//go:noescape
func filterBitsBlocksAVX2(values *float64, blocks int, loBits uint64, shift int, greatest uint64, missing uint32, wanted *uint32, out *float64) int

// rangeBlocksAVX2 widens within, the least and the greatest value, by blocks·8 values, and returns how
// many blocks it took in: it ends before the first one with an infinity or a NaN.
//
//go:noescape
func rangeBlocksAVX2(values *float64, blocks int, within *[2]float64) (done int)
