package profile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBlocksGiveWhatLoopsGive compares what processors with AVX-512 do with the loops in Go,
// which are reached by hiding values from them one at a time.
func TestBlocksGiveWhatLoopsGive(t *testing.T) {
	if !hasBlocks {
		t.Skip("this processor has no AVX-512")
	}
	r := rand.New(rand.NewPCG(9, 9))
	for i, shape := range shapes {
		for range 50 {
			values := drawn(r.Uint64(), 1+r.IntN(blockValues), shape.draw)
			m := NumberMap(drawn(uint64(i), 500, shape.draw))
			checkExtremes(t, shape.name, values)
			hashes := hashesOf(values, make([]uint64, len(values)))
			finite := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v-v != 0 })
			for k, v := range values {
				if want := mix(math.Float64bits(v + 0)); hashes[k] != want {
					t.Fatalf("%s: the hash of %v is %x, want %x", shape.name, v, hashes[k], want)
				}
			}
			if m.byBits {
				continue
			}
			c, want := New(m), new([Cells]uint32)
			c.cells.small = make([]uint32, Cells)
			c.countLinear(finite)
			for _, v := range finite {
				want[m.cell(v)]++
			}
			if !slices.Equal(c.cells.small, want[:]) {
				t.Fatalf("%s: %d values are counted in other cells", shape.name, len(finite))
			}
		}
	}
}

func checkExtremes(t *testing.T, name string, values []float64) {
	t.Helper()
	least, greatest, odd := extremes(values)
	want := slices.ContainsFunc(values, func(v float64) bool { return v-v != 0 })
	if odd != want {
		t.Fatalf("%s: odd is %v, want %v", name, odd, want)
	}
	if got, exact := fmt.Sprint(least+0, greatest+0), fmt.Sprint(slices.Min(values)+0, slices.Max(values)+0); !odd && got != exact {
		t.Fatalf("%s: the range is %s, want %s", name, got, exact)
	}
}
