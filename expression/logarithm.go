package expression

import "math"

// The logarithms and the power of package math are off by several units in the last place
// here and there. These are computed in pairs of floats and are right but for the last
// bit, or two for pow.

// pair is the unevaluated sum of two floats, the second at most half a unit in the last
// place of the first: about 106 bits.
type pair struct{ high, low float64 }

// sumOf is a + b, exactly.
func sumOf(a, b float64) pair {
	s := a + b
	t := s - a
	return pair{s, (a - (s - t)) + (b - t)}
}

// productOf is a * b, exactly.
func productOf(a, b float64) pair {
	p := a * b
	return pair{p, math.FMA(a, b, -p)}
}

func (p pair) plus(q pair) pair {
	s := sumOf(p.high, q.high)
	return sumOf(s.high, s.low+p.low+q.low)
}

func (p pair) times(q pair) pair {
	r := productOf(p.high, q.high)
	return sumOf(r.high, r.low+(p.high*q.low+p.low*q.high))
}

func (p pair) over(q pair) pair {
	first := p.high / q.high
	rest := p.plus(q.times(pair{-first, 0}))
	return sumOf(first, (rest.high+rest.low)/q.high)
}

func (p pair) value() float64 { return p.high + p.low }

// Constants as pairs.
var (
	naturalOf2  = pair{0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56} // ln 2
	overNatural = map[int]pair{
		2:  pair{1, 0}.over(naturalOf2),
		10: pair{1, 0}.over(naturalPair(10)),
	}
	third = pair{1, 0}.over(pair{3, 0})
	fifth = pair{1, 0}.over(pair{5, 0})
)

// naturalPair is ln x of a finite x > 0. With x = m·2^e, where m is near 1, it is
//
//	e·ln 2 + 2·atanh(s), s = (m - 1) / (m + 1), atanh(s) = s·(1 + s²/3 + s⁴/5 + …)
func naturalPair(x float64) pair {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = 2*m, e-1
	}
	s := sumOf(m, -1).over(sumOf(m, 1))
	square := s.times(s)
	q := square.high // at most 0.03, so that 13 more terms are beyond 106 bits of the sum
	rest := 0.0
	for k := 33.0; k >= 7; k -= 2 {
		rest = rest*q + 1/k
	}
	series := fifth.plus(square.times(pair{rest, 0}))
	series = third.plus(square.times(series))
	series = pair{1, 0}.plus(square.times(series))
	atanh := s.times(series)
	return pair{float64(e), 0}.times(naturalOf2).plus(pair{2 * atanh.high, 2 * atanh.low})
}

// natural is ln x.
func natural(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 1) {
		return math.Log(x)
	}
	return naturalPair(x).value()
}

// logarithmTo is the logarithm of x to a base of 2 or 10.
func logarithmTo(base int) func(x float64) float64 {
	scale := overNatural[base]
	return func(x float64) float64 {
		if !(x > 0) || math.IsInf(x, 1) {
			return math.Log(x)
		}
		return naturalPair(x).times(scale).value()
	}
}

// power is x^y.
func power(x, y float64) float64 {
	size := math.Abs(x)
	special := x == 0 || y == 0 || x == 1 || math.IsInf(x, 0) || math.IsInf(y, 0) || math.IsNaN(x) || math.IsNaN(y)
	if special || x < 0 && y != math.Trunc(y) {
		return math.Pow(x, y)
	}
	exponent := naturalPair(size).times(pair{y, 0})
	result := 0.0
	switch {
	case exponent.high > 710 || math.IsNaN(exponent.high):
		result = math.Exp(math.Copysign(1000, y*math.Log(size)))
	case exponent.high > -746:
		result = math.Exp(exponent.high) * (1 + exponent.low)
	}
	if x < 0 && math.Mod(y, 2) != 0 {
		return -result
	}
	return result
}
