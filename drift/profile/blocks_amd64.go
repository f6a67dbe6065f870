package profile

import "golang.org/x/sys/cpu"

// hasBlocks reports whether the functions below run on this processor. They give what the
// loops in Go give, and take a third of the time.
var hasBlocks = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ

// extremesBlocks is extremes of blocks·8 values, of one block at least.
//
//go:noescape
func extremesBlocks(values *float64, blocks int) (least, greatest float64, odd bool)

// hashBlocks mixes the bits of blocks·8 values.
//
//go:noescape
func hashBlocks(values *float64, blocks int, hashes *uint64)

// countBlocks counts blocks·8 values in equal steps, of which the first is counted at
// counts[first]. It ends before a block that has a value beyond them, and returns how many
// blocks it has done.
//
//go:noescape
func countBlocks(values *float64, blocks int, lo, perUnit, steps float64, first uint32, counts *uint32) (done int)
