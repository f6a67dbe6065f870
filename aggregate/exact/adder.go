package exact

import (
	"math"
	"math/bits"
)

// adderBlock is how many mantissas of 53 bits an int64 holds the sum of.
const adderBlock = 1 << 10

// Adder adds many numbers to sums at a time, in a few nanoseconds each: the mantissas of a
// block are added by exponent first, and the exponents that occur to the sums afterwards.
// It holds nothing between calls. The zero value is ready.
type Adder struct {
	sum     [2048]int64  // by exponent: the mantissas, with their signs
	lo, hi  [2048]uint64 // by exponent: the squares of the mantissas, of 128 bits
	touched [32]uint64   // which exponents occur
}

// Add adds the values to sum and their squares to squares. NaN and infinities are left out.
func (a *Adder) Add(values []float64, sum, squares *Sum) {
	for len(values) > 0 {
		n := min(len(values), adderBlock)
		a.addBlock(values[:n])
		a.flush(sum, squares)
		values = values[n:]
	}
}

func (a *Adder) addBlock(values []float64) {
	for _, v := range values {
		b := math.Float64bits(v)
		e := b >> 52 & 0x7ff
		m := b&(1<<52-1) | (e+0x7ff)>>11<<52 // subnormal numbers have no leading one
		negative := int64(b) >> 63
		a.sum[e] += (int64(m) ^ negative) - negative
		hi, lo := bits.Mul64(m, m)
		low, carry := bits.Add64(a.lo[e], lo, 0)
		a.lo[e] = low
		a.hi[e] += hi + carry
		a.touched[e>>6] |= 1 << (e & 63)
	}
}

// flush moves what was added by exponent to the sums.
func (a *Adder) flush(sum, squares *Sum) {
	for word := range a.touched {
		for ; a.touched[word] != 0; a.touched[word] &= a.touched[word] - 1 {
			e := word<<6 | bits.TrailingZeros64(a.touched[word])
			if e != 0x7ff {
				exponent := max(e, 1) - 1075
				total := a.sum[e]
				magnitude := uint64(total)
				if total < 0 {
					magnitude = -magnitude
				}
				sum.addProduct(0, magnitude, exponent, total < 0)
				squares.addProduct(a.hi[e], a.lo[e], 2*exponent, false)
			}
			a.sum[e], a.lo[e], a.hi[e] = 0, 0, 0
		}
	}
}
