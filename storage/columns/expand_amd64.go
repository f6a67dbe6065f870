package columns

import "golang.org/x/sys/cpu"

// canExpand reports whether expandBytes runs on this processor. It gives what the loop of
// spread64 gives, and does not depend on where nulls are.
var canExpand = cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasPOPCNT

// expandBytes spreads values of eight bytes over the rows of so many bytes of a bitmap, eight
// rows for each; nulls are zero. It returns how many values it took.
//
//go:noescape
func expandBytes(to, from, valid *byte, bytes int) (values int)
