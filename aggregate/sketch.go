package aggregate

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline/aggregate/distinct"
)

// distinctCell estimates how many different values there are.
type distinctCell struct {
	class  class
	values distinct.Sketch
	key    []byte
}

func (c *distinctCell) reset() { c.values.Reset() }

func (c *distinctCell) add(v Value, _ *Event) {
	c.key = v.appendKey(c.key[:0], c.class)
	c.values.Add(xxhash.Sum64(c.key))
}

func (c *distinctCell) appendTo(b []byte) []byte { return c.values.AppendTo(b) }

func (c *distinctCell) merge(d *decoder) {
	if !c.values.Merge(d.take(len(d.rest))) {
		d.fail()
	}
}

func (c *distinctCell) value(*output) Value {
	if c.values.Empty() {
		return Value{}
	}
	return Whole(int64(math.Round(c.values.Estimate())))
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
