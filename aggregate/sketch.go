package aggregate

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// The registers of a distinctCell: 2^12 of them, which keep the greatest rank, 1 to 53, of
// the hashes that fall to them. The standard error of the estimate is 1.04/√2^12 = 1.6 %.
const (
	precision = 12
	registers = 1 << precision
	mostRank  = 64 - precision + 1

	mostSparse = 512 // registers above 0 that are written, and held, one by one
)

// distinctCell estimates how many different values there are: HyperLogLog, with the
// estimator of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches",
// 2017, algorithm 6), which needs no corrections that are found by experiment.
type distinctCell struct {
	class  class
	sparse []uint32 // register·64 + rank, sorted, while there are few
	dense  []byte   // by register, once there are many
	many   bool
	key    []byte
}

func (c *distinctCell) reset() { c.sparse, c.many = c.sparse[:0], false }

func (c *distinctCell) add(v Value, _ *Event) {
	c.key = v.appendKey(c.key[:0], c.class)
	hash := xxhash.Sum64(c.key)
	rank := bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1
	c.raise(uint32(hash>>(64-precision)), byte(rank))
}

// raise sets a register to a rank, if it has a lesser one.
func (c *distinctCell) raise(register uint32, rank byte) {
	if c.many {
		c.dense[register] = max(c.dense[register], rank)
		return
	}
	at, found := slices.BinarySearchFunc(c.sparse, register, func(e, r uint32) int { return cmp.Compare(e>>6, r) })
	entry := register<<6 | uint32(rank)
	switch {
	case found:
		c.sparse[at] = max(c.sparse[at], entry)
	case len(c.sparse) < mostSparse:
		c.sparse = slices.Insert(c.sparse, at, entry)
	default:
		c.spread()
		c.dense[register] = rank
	}
}

// spread goes over to one byte for each register.
func (c *distinctCell) spread() {
	if c.dense == nil {
		c.dense = make([]byte, registers)
	}
	clear(c.dense)
	for _, e := range c.sparse {
		c.dense[e>>6] = byte(e & 63)
	}
	c.sparse, c.many = c.sparse[:0], true
}

const sparseForm, denseForm = 0, 1

func (c *distinctCell) appendTo(b []byte) []byte {
	if c.many {
		return append(append(b, denseForm), c.dense...)
	}
	if len(c.sparse) == 0 {
		return b
	}
	b = append(b, sparseForm)
	before := uint32(0)
	for _, e := range c.sparse {
		b = binary.AppendUvarint(b, uint64(e-before))
		before = e
	}
	return b
}

func (c *distinctCell) merge(d *decoder) {
	switch d.byte() {
	case denseForm:
		ranks := d.take(registers)
		if d.bad || slices.Max(ranks) > mostRank {
			d.fail()
			return
		}
		if !c.many {
			c.spread()
		}
		for i, rank := range ranks {
			if rank > c.dense[i] {
				c.dense[i] = rank
			}
		}
	case sparseForm:
		entry := uint64(0)
		for len(d.rest) > 0 {
			entry += d.uvarint()
			if entry>>6 >= registers || entry&63 == 0 || entry&63 > mostRank {
				d.fail()
				return
			}
			c.raise(uint32(entry>>6), byte(entry&63))
		}
	default:
		d.fail()
	}
}

func (c *distinctCell) value(*output) Value {
	if !c.many && len(c.sparse) == 0 {
		return Value{}
	}
	var histogram [mostRank + 1]int
	if c.many {
		for _, rank := range c.dense {
			histogram[rank]++
		}
	} else {
		histogram[0] = registers - len(c.sparse)
		for _, e := range c.sparse {
			histogram[e&63]++
		}
	}
	return Whole(int64(math.Round(cardinality(&histogram))))
}

// cardinality estimates from how many registers have each rank.
func cardinality(histogram *[mostRank + 1]int) float64 {
	const m = float64(registers)
	z := m * tau(1-float64(histogram[mostRank])/m)
	for rank := mostRank - 1; rank >= 1; rank-- {
		z = 0.5 * (z + float64(histogram[rank]))
	}
	z += m * sigma(float64(histogram[0])/m)
	return m * m / (2 * math.Ln2 * z)
}

// sigma is x + Σ x^(2^k)·2^(k−1) over k ≥ 1.
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	for y, z := 1.0, x; ; y += y {
		x *= x
		before := z
		z += x * y
		if z == before {
			return z
		}
	}
}

// tau is (1 − x − Σ (1 − x^(2^−k))²·2^(−k)) / 3 over k ≥ 1.
func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	for y, z := 1.0, 1-x; ; {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
		if z == before {
			return z / 3
		}
	}
}

// The buckets of a sketchCell: bucket i has the numbers in (γ^(i−1), γ^i], and the one that
// stands for them, 2γ^i/(γ+1), is at most 1 % away from each, and of subnormal numbers at
// most half of the least one more.
const (
	accuracy   = 0.01
	gamma      = (1 + accuracy) / (1 - accuracy)
	mostBucket = 40_000 // beyond the buckets of float64's least and greatest numbers
)

var logGamma = math.Log(gamma)

// sketchCell counts numbers by the logarithm of their size: DDSketch (Masson, Rim and Lee,
// 2019), whose buckets are never merged, so that its bound holds for every quantile. NaN is
// left out.
type sketchCell struct {
	class class
	n     uint64
	zeros uint64

	// Below and above zero, sorted by bucket. An infinite number is in a bucket of its own.
	negative, positive []bucket
}

type bucket struct {
	index int32
	n     uint64
}

func (c *sketchCell) reset() {
	c.n, c.zeros = 0, 0
	c.negative, c.positive = c.negative[:0], c.positive[:0]
}

func (c *sketchCell) add(v Value, _ *Event) {
	f := v.float64(c.class)
	switch {
	case f != f:
		return
	case f == 0:
		c.zeros++
	case f < 0:
		c.negative = raised(c.negative, bucketOf(-f), 1)
	default:
		c.positive = raised(c.positive, bucketOf(f), 1)
	}
	c.n++
}

func bucketOf(f float64) int32 {
	if math.IsInf(f, 1) {
		return mostBucket
	}
	// The logarithm is taken of the fraction, because those of subnormal numbers are not
	// right on every machine.
	fraction, exponent := math.Frexp(f)
	return int32(math.Ceil((math.Log(fraction) + float64(exponent)*math.Ln2) / logGamma))
}

func (b bucket) number() float64 {
	if b.index == mostBucket {
		return math.Inf(1)
	}
	exponent := math.Floor(float64(b.index) * logGamma / math.Ln2)
	fraction := math.Exp(float64(b.index)*logGamma-exponent*math.Ln2) * (2 / (gamma + 1))
	return min(math.Ldexp(fraction, int(exponent)), math.MaxFloat64)
}

// raised adds n to a bucket.
func raised(buckets []bucket, index int32, n uint64) []bucket {
	at, found := slices.BinarySearchFunc(buckets, index, func(b bucket, i int32) int { return cmp.Compare(b.index, i) })
	if found {
		buckets[at].n += n
		return buckets
	}
	return slices.Insert(buckets, at, bucket{index, n})
}

func (c *sketchCell) appendTo(b []byte) []byte {
	if c.n == 0 {
		return b
	}
	b = binary.AppendUvarint(b, c.zeros)
	b = appendBuckets(b, c.negative)
	return appendBuckets(b, c.positive)
}

func appendBuckets(b []byte, buckets []bucket) []byte {
	b = binary.AppendUvarint(b, uint64(len(buckets)))
	before := int32(0)
	for _, one := range buckets {
		b = binary.AppendVarint(b, int64(one.index-before))
		b = binary.AppendUvarint(b, one.n)
		before = one.index
	}
	return b
}

func (c *sketchCell) merge(d *decoder) {
	zeros := d.uvarint()
	c.zeros += zeros
	c.n += zeros
	c.negative = c.mergeBuckets(c.negative, d)
	c.positive = c.mergeBuckets(c.positive, d)
}

func (c *sketchCell) mergeBuckets(to []bucket, d *decoder) []bucket {
	index := int64(0)
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		index += d.varint()
		count := d.uvarint()
		if index < -mostBucket || index > mostBucket {
			d.fail()
		}
		if d.bad {
			break
		}
		to = raised(to, int32(index), count)
		c.n += count
	}
	return to
}

// value is the number of rank ⌊q·(n − 1)⌋, counted from 0.
func (c *sketchCell) value(o *output) Value {
	if c.n == 0 {
		return Value{}
	}
	rank := uint64(o.quantile * float64(c.n-1))
	for i := len(c.negative) - 1; i >= 0; i-- {
		if rank < c.negative[i].n {
			return Fraction(-c.negative[i].number())
		}
		rank -= c.negative[i].n
	}
	if rank < c.zeros {
		return Fraction(0)
	}
	rank -= c.zeros
	for _, b := range c.positive {
		if rank < b.n {
			return Fraction(b.number())
		}
		rank -= b.n
	}
	return Value{}
}
