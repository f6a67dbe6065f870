// Package exact adds numbers without rounding, so that a sum is a function of the numbers
// alone: whatever their order, and however they were cut into parts whose sums are added.
// Aggregations and profiles of columns are built on it.
package exact

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
)

// Sum is a sum of binary fractions without any rounding: a whole number in two's
// complement times 2^(64·base). It takes as many limbs as the numbers that were added
// need, most often two or three, and at most some seventy. The zero value is 0.
type Sum struct {
	base  int      // limbs[0] has the weight 2^(64·base)
	limbs []uint64 // the highest carries the sign, and is never added to but by carries; empty is 0
}

// Limbs beyond these are not of sums of float64 or of their squares.
const leastBase, mostBase = -40, 40

// Reset makes the sum 0 and keeps its memory.
func (x *Sum) Reset() { x.base, x.limbs = 0, x.limbs[:0] }

// AddInt adds a whole number.
func (x *Sum) AddInt(v int64) {
	magnitude := uint64(v)
	if v < 0 {
		magnitude = -magnitude
	}
	x.addProduct(0, magnitude, 0, v < 0)
}

// AddIntSquare adds the square of a whole number.
func (x *Sum) AddIntSquare(v int64) {
	magnitude := uint64(v)
	if v < 0 {
		magnitude = -magnitude
	}
	hi, lo := bits.Mul64(magnitude, magnitude)
	x.addProduct(hi, lo, 0, false)
}

// AddFloat adds a finite number.
func (x *Sum) AddFloat(v float64) {
	mantissa, exponent := split(v)
	x.addProduct(0, mantissa, exponent, v < 0)
}

// AddFloatSquare adds the square of a finite number, which a float64 need not hold.
func (x *Sum) AddFloatSquare(v float64) {
	mantissa, exponent := split(v)
	hi, lo := bits.Mul64(mantissa, mantissa)
	x.addProduct(hi, lo, 2*exponent, false)
}

// AddFloatTimes adds a finite number n times.
func (x *Sum) AddFloatTimes(v float64, n uint64) {
	mantissa, exponent := split(v)
	hi, lo := bits.Mul64(mantissa, n)
	x.addProduct(hi, lo, exponent, v < 0)
}

// AddFloatSquareTimes adds the square of a finite number n times.
func (x *Sum) AddFloatSquareTimes(v float64, n uint64) {
	mantissa, exponent := split(v)
	high, low := bits.Mul64(mantissa, mantissa)
	hi, lo := bits.Mul64(low, n)
	x.addProduct(hi, lo, 2*exponent, false)
	hi, lo = bits.Mul64(high, n)
	x.addProduct(hi, lo, 2*exponent+64, false)
}

// split returns the whole number m < 2^53 and e with |v| = m·2^e.
func split(v float64) (mantissa uint64, exponent int) {
	b := math.Float64bits(v)
	mantissa, exponent = b&(1<<52-1), int(b>>52&0x7ff)
	if exponent == 0 {
		return mantissa, -1074
	}
	return mantissa | 1<<52, exponent - 1075
}

// addProduct adds or subtracts (hi·2^64 + lo)·2^exponent.
func (x *Sum) addProduct(hi, lo uint64, exponent int, negative bool) {
	if hi|lo == 0 {
		return
	}
	limb, shift := exponent>>6, uint(exponent)&63
	words := [3]uint64{lo << shift, hi<<shift | lo>>1>>(63-shift), hi >> 1 >> (63 - shift)}
	n := 3
	for words[n-1] == 0 {
		n--
	}
	x.cover(limb, limb+n)
	x.addWords(words[:n], limb-x.base, negative)
}

// cover makes room for words of the limbs from and up to, but not including, to.
func (x *Sum) cover(from, to int) {
	if len(x.limbs) == 0 {
		x.base = from
		x.limbs = append(x.limbs, 0)
	}
	for x.base+len(x.limbs) <= to {
		x.limbs = append(x.limbs, x.sign())
	}
	if more := x.base - from; more > 0 {
		old := len(x.limbs)
		for range more {
			x.limbs = append(x.limbs, 0)
		}
		copy(x.limbs[more:], x.limbs[:old])
		clear(x.limbs[:more])
		x.base = from
	}
}

// sign is what the limbs above the highest would be.
func (x *Sum) sign() uint64 { return uint64(int64(x.limbs[len(x.limbs)-1]) >> 63) }

func (x *Sum) addWords(words []uint64, at int, negative bool) {
	carry := uint64(0)
	for i, w := range words {
		if negative {
			x.limbs[at+i], carry = bits.Sub64(x.limbs[at+i], w, carry)
		} else {
			x.limbs[at+i], carry = bits.Add64(x.limbs[at+i], w, carry)
		}
	}
	for i := at + len(words); carry != 0 && i < len(x.limbs); i++ {
		if negative {
			x.limbs[i], carry = bits.Sub64(x.limbs[i], 0, carry)
		} else {
			x.limbs[i], carry = bits.Add64(x.limbs[i], 0, carry)
		}
	}
}

// AppendTo writes the sum in its one shortest form: the number of limbs, the base, the limbs.
func (x *Sum) AppendTo(b []byte) []byte {
	base, limbs := x.base, x.limbs
	for len(limbs) > 0 && limbs[0] == 0 {
		base, limbs = base+1, limbs[1:]
	}
	for len(limbs) > 1 && limbs[len(limbs)-1] == uint64(int64(limbs[len(limbs)-2])>>63) {
		limbs = limbs[:len(limbs)-1]
	}
	b = binary.AppendUvarint(b, uint64(len(limbs)))
	if len(limbs) == 0 {
		return b
	}
	b = binary.AppendVarint(b, int64(base))
	for _, limb := range limbs {
		b = binary.LittleEndian.AppendUint64(b, limb)
	}
	return b
}

// Merge adds the sum that AppendTo has written at the beginning of from, and returns what
// follows it. It is false, and the sum as it was, if from does not begin with one.
func (x *Sum) Merge(from []byte) (rest []byte, ok bool) {
	count, size := binary.Uvarint(from)
	if size <= 0 {
		return nil, false
	}
	from = from[size:]
	if count == 0 {
		return from, true
	}
	base, size := binary.Varint(from)
	if size <= 0 || count > mostBase-leastBase || base < leastBase || base+int64(count) > mostBase || len(from)-size < 8*int(count) {
		return nil, false
	}
	n, raw := int(count), from[size:]
	x.cover(int(base), int(base)+n)
	at, carry := int(base)-x.base, uint64(0)
	last := uint64(0)
	for i := range n {
		last = binary.LittleEndian.Uint64(raw[8*i:])
		x.limbs[at+i], carry = bits.Add64(x.limbs[at+i], last, carry)
	}
	extension := uint64(int64(last) >> 63)
	for i := at + n; i < len(x.limbs); i++ {
		x.limbs[i], carry = bits.Add64(x.limbs[i], extension, carry)
	}
	return raw[8*n:], true
}

// Add adds another sum.
func (x *Sum) Add(y *Sum) { x.Merge(y.AppendTo(nil)) }

// magnitude returns the sign and the limbs of the absolute value, the lowest first.
func (x *Sum) magnitude(scratch []uint64) (negative bool, limbs []uint64) {
	limbs = append(scratch[:0], x.limbs...)
	if len(limbs) == 0 || x.sign() == 0 {
		return false, limbs
	}
	carry := uint64(1)
	for i := range limbs {
		limbs[i], carry = bits.Add64(^limbs[i], 0, carry)
	}
	return true, limbs
}

// Int64 returns the sum if it is a whole number that fits.
func (x *Sum) Int64() (int64, bool) {
	negative, limbs := x.magnitude(nil)
	value := uint64(0)
	for i, limb := range limbs {
		switch {
		case limb == 0:
		case x.base+i != 0:
			return 0, false
		default:
			value = limb
		}
	}
	switch {
	case negative && value <= 1<<63:
		return int64(-value), true
	case !negative && value < 1<<63:
		return int64(value), true
	}
	return 0, false
}

// Over returns the sum divided by n, correctly rounded.
func (x *Sum) Over(n uint64) float64 {
	var scratch [8]uint64
	negative, limbs := x.magnitude(scratch[:])
	var f float64
	if n == 1 {
		f = newRounded(limbs, x.base, false).float64()
	} else {
		f = quotient(limbs, x.base, n).float64()
	}
	if negative {
		return -f
	}
	return f
}

// integer returns the sum divided by 2^(64·base).
func (x *Sum) integer() *big.Int {
	negative, limbs := x.magnitude(nil)
	raw := make([]byte, 8*len(limbs))
	for i, limb := range limbs {
		binary.BigEndian.PutUint64(raw[8*(len(limbs)-1-i):], limb)
	}
	v := new(big.Int).SetBytes(raw)
	if negative {
		v.Neg(v)
	}
	return v
}

// SampleDeviation returns sqrt((Σx² − (Σx)²/n)/(n − 1)) of n ≥ 2 numbers. What is under the
// root is exact until it is rounded once, whatever its size.
func SampleDeviation(sum, squares *Sum, n uint64) float64 {
	base := min(squares.base, 2*sum.base)
	a := squares.integer()
	a.Lsh(a, uint(64*(squares.base-base)))
	a.Mul(a, new(big.Int).SetUint64(n))
	b := sum.integer()
	b.Mul(b, b)
	b.Lsh(b, uint(64*(2*sum.base-base)))
	raw := a.Sub(a, b).Bytes()
	limbs := make([]uint64, (len(raw)+7)/8)
	for i, v := range raw {
		at := len(raw) - 1 - i
		limbs[at/8] |= uint64(v) << (8 * (at % 8))
	}
	return quotient(limbs, base, n, n-1).sqrt()
}

// rounded is a number on its way to a float64: top·2^exponent, where the highest bit of
// top is set, and a bit more if sticky.
type rounded struct {
	top      uint64
	exponent int
	sticky   bool
}

// newRounded takes a magnitude of limbs, the lowest first.
func newRounded(limbs []uint64, base int, sticky bool) rounded {
	n := len(limbs)
	for n > 0 && limbs[n-1] == 0 {
		n--
	}
	if n == 0 {
		return rounded{}
	}
	shift := bits.LeadingZeros64(limbs[n-1])
	r := rounded{top: limbs[n-1] << shift, exponent: 64*(base+n-1) - shift, sticky: sticky}
	if n == 1 {
		return r
	}
	r.top |= limbs[n-2] >> 1 >> (63 - shift)
	r.sticky = r.sticky || limbs[n-2]<<shift != 0
	for _, limb := range limbs[:n-2] {
		r.sticky = r.sticky || limb != 0
	}
	return r
}

// quotient divides a magnitude by divisors one after the other. Rounding down each time
// and remembering that something was lost gives the bits of the exact quotient.
func quotient(limbs []uint64, base int, divisors ...uint64) rounded {
	more := len(divisors) + 1 // limbs below the point, so that enough bits are left
	q := make([]uint64, more+len(limbs))
	copy(q[more:], limbs)
	sticky := false
	for _, divisor := range divisors {
		rest := uint64(0)
		for i := len(q) - 1; i >= 0; i-- {
			q[i], rest = bits.Div64(rest, q[i], divisor)
		}
		sticky = sticky || rest != 0
	}
	return newRounded(q, base-more, sticky)
}

// cut rounds to the given number of bits, half to even: the value is whole·2^exponent.
func (r rounded) cut(precision int) (whole uint64, exponent int) {
	drop := 64 - precision
	if drop > 64 {
		return 0, 0
	}
	half := uint64(1) << (drop - 1)
	rest := r.top
	if drop < 64 {
		whole, rest = r.top>>drop, r.top&(1<<drop-1)
	}
	if rest > half || rest == half && (r.sticky || whole&1 == 1) {
		whole++
	}
	return whole, r.exponent + drop
}

// float64 rounds half to even, into the subnormal numbers and to infinity as IEEE 754 does.
func (r rounded) float64() float64 {
	if r.top == 0 {
		return 0
	}
	leading := r.exponent + 63
	if leading > 1023 {
		return math.Inf(1)
	}
	whole, exponent := r.cut(min(53, 53+leading+1022))
	return math.Ldexp(float64(whole), exponent)
}

// sqrt rounds to 53 bits and takes the root, outside of the range of float64 too.
func (r rounded) sqrt() float64 {
	if r.top == 0 {
		return 0
	}
	whole, exponent := r.cut(53)
	v := float64(whole)
	if exponent&1 != 0 {
		v, exponent = 2*v, exponent-1
	}
	return math.Ldexp(math.Sqrt(v), exponent/2)
}
