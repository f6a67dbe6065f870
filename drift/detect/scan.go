package detect

import (
	"math"
	"math/bits"
)

var scanKind = Kind{
	Name:  "scan",
	About: "likelihood ratio of cuts on a geometric grid, looked at after every value: few false alarms, and no unit to set",
	Parameters: []Parameter{
		{Name: "run_length", About: "values between two false alarms, on average: a goal, not a bound", Default: 1e6, Low: 100, High: 1e15},
	},
	build: func(value func(string) float64) (core, error) { return newScan(value("run_length")), nil },
}

const (
	scanBuckets = 12 // of one size; there is one more before two are merged
	scanLevels  = 40 // sizes of buckets
	scanOften   = 1  // cuts at level k are looked at every 2^(k-scanOften) values

	// scanCost is what it costs to look at many cuts: see scan. Where there are two values
	// the ratio is exact, and less will do.
	scanCost, scanCostOfTwo = 5, 4.4

	// Of streams of two values, which are most often right and wrong, three of four false alarms may
	// be of rises, since it is rises of errors that people wait for.
	scanRise, scanFall = -0.4055, 0.6931 // -ln(3/2), ln 2: half and half would be 0

	// scanNear is the share of its screen from which on a cut is nearly a change.
	scanNear = 0.5

	// scanSlack covers the rounding of a bound.
	scanSlack = 1e-9

	// scanLeast is the likelihood ratio, as a logarithm, below which nothing is a change.
	scanLeast = 4
)

// scan compares, after every value, the newest n₁ values with the n₀ before them, for n₁
// on a grid that is 1, 2, 3, … at first and then ever coarser:
//
//	old ┆ 4 values ┆ 4 values ┆ 2 ┆ 2 ┆ 1 ┆ 1 ┆ 1 │ new
//	                                  ◀─ n₁ = 3 ──▶      each border is a cut
//
// The stream has changed if, at some cut, the log-likelihood ratio of two means against
// one is above
//
//	b(n₁) = ln(run_length / min(n₀, n₁)) + 5,  at least 4
//
// ADWIN looks at the same kind of grid, but asks for as much evidence from 10,000 values
// as from 10. A stream has a thousand times fewer stretches of 10,000 values that do not
// overlap, so as many false alarms come from long and from short stretches only if long
// ones need less: that is the division by min(n₀, n₁). Of two values, which are most often a
// model's right and wrong answers, 5 is 4.4 − ln 1.5 for a rise and 4.4 + ln 2 for a fall: three of four
// false alarms may be rises, because what people wait for is that errors become more frequent. The 5
// and the 4.4 were measured, not derived, so that streams without change come near run_length, which
// docs/statistics.md has counts of. It is a goal, not a bound.
//
// The ratio is exact for streams of two values, such as errors. For others it is that of
// the normal distribution, gap²·n₀n₁/(n₀+n₁)/2σ² where σ² is the variance of all values,
// with Bernstein's term for values that lie farther out than normal ones would. Nothing
// depends on the values' unit.
//
// Cuts far back change little from value to value, so that those in buckets of 2^k values
// are looked at every 2^(k-1) values: some 36 cuts a value, however long the stream. While one is
// nearly a change, all up to its level are looked at every 2^⌊k/2⌋ values, for a change must not wait.
//
// Sources: Siegmund and Venkatraman, "Using the generalized likelihood ratio statistic for
// sequential detection of a change-point", Annals of Statistics 23 (1995); Dümbgen and
// Spokoiny, "Multiscale testing of qualitative hypotheses", Annals of Statistics 29 (2001)
// for thresholds by scale; the buckets are those of Bifet and Gavaldà 2007.
type scan struct {
	runLength  float64
	thresholds [64]float64         // b, by the bits of min(n₀, n₁)
	rises      [64]float64         // the same, of two values of which the higher one comes more often,
	falls      [64]float64         // or less often
	screens    [scanLevels]float64 // twice the least threshold of a level's cuts

	n             int
	origin        float64 // the first value, which is taken off all others
	total         float64
	mean, squares float64 // squares of the deviations from the mean
	low, high     float64
	several       bool // there are more than two distinct values

	near   int // up to this level cuts are looked at more often, because one is nearly a change
	levels int
	counts [scanLevels]uint8
	sums   [scanLevels][scanBuckets + 1]float64 // of 2^level values each, from old to new
	since  int
}

func newScan(runLength float64) *scan {
	d := &scan{runLength: runLength}
	for i := range d.thresholds {
		evidence := math.Log(runLength) - float64(i)*math.Ln2
		d.thresholds[i] = max(scanLeast, evidence+scanCost)
		d.rises[i], d.falls[i] = max(scanLeast, evidence+scanCostOfTwo+scanRise), max(scanLeast, evidence+scanCostOfTwo+scanFall)
	}
	for level := range d.screens {
		longest := scanBuckets * (2<<level - 1)
		d.screens[level] = 2 * d.thresholds[bits.Len(uint(longest))]
	}
	return d
}

func (d *scan) behind() int { return d.since }

func (d *scan) update(x float64) State {
	if d.n == 0 {
		d.origin = x
	}
	x -= d.origin
	d.summarize(x)
	d.insert(x)
	since := d.cut()
	if since == 0 {
		return Stable
	}
	*d = scan{runLength: d.runLength, thresholds: d.thresholds, rises: d.rises, falls: d.falls, screens: d.screens, since: since}
	return Change
}

func (d *scan) summarize(x float64) {
	d.n++
	before := x - d.mean
	d.mean += before / float64(d.n)
	d.squares += before * (x - d.mean)
	d.total += x
	if x == d.low || x == d.high {
		return
	}
	d.several = d.several || d.low != d.high
	d.low, d.high = min(d.low, x), max(d.high, x)
}

func (d *scan) insert(sum float64) {
	for level := 0; ; level++ {
		row, count := &d.sums[level], d.counts[level]
		row[count] = sum
		if count++; count <= scanBuckets {
			d.counts[level] = count
			d.levels = max(d.levels, level+1)
			return
		}
		sum = row[0] + row[1]
		copy(row[:], row[2:])
		d.counts[level] = count - 2
	}
}

// cut returns how many values are behind a cut that is a change; 0 if there is none.
//
// With n values and their sum u, and n₁ and u₁ of those behind the cut, the gap between
// the means is (u₁·n − n₁·u)/(n₀·n₁), so that only products are needed to see that
// nothing is there. The ratio of two-valued streams is at most twice the normal one, and
// their thresholds are no more than what the two costs differ by below the others.
func (d *scan) cut() int {
	zeros, near := bits.TrailingZeros(uint(d.n)), 0
	top := min(d.levels, zeros+scanOften+1)
	if d.near <= 2*(zeros+1) { // every 2^⌊k/2⌋ values
		top = max(top, min(d.levels, d.near))
	}
	screen := d.squares
	if !d.several {
		screen *= 0.5 * scanLeast / (scanLeast + scanCost - scanCostOfTwo - scanRise)
	}
	n, total := float64(d.n), d.total
	n1, u1, size := 0.0, 0.0, 1.0
	for level := range top {
		row, least := d.sums[level][:d.counts[level]], screen*d.screens[level]
		nearly := scanNear * least
		for i := len(row) - 1; i >= 0; i-- {
			n1 += size
			u1 += row[i]
			gap := u1*n - n1*total
			if gap*gap <= nearly*n1*(n-n1) {
				continue
			}
			near = level + 1
			if gap*gap > least*n1*(n-n1) && d.differs(n1, u1) {
				return int(n1)
			}
		}
		size *= 2
	}
	if near > d.near || top >= d.near {
		d.near = near
	}
	return 0
}

// differs is the whole test of one cut.
func (d *scan) differs(n1, u1 float64) bool {
	n, n0 := float64(d.n), float64(d.n)-n1
	size := bits.Len(uint(min(n0, n1)))
	if !d.several {
		ones, ones1, threshold := d.highs(n, d.total), d.highs(n1, u1), d.falls[size]
		if ones1*n > ones*n1 {
			threshold = d.rises[size]
		}
		if atMost := divergence(ones1, n1, ones/n) + divergence(ones-ones1, n0, ones/n); atMost*(1+scanSlack) <= threshold {
			return false
		}
		return likelihood(ones1, n1)+likelihood(ones-ones1, n0)-likelihood(ones, n) > threshold
	}
	threshold := d.thresholds[size]
	effective, deviation := n0*n1/n, math.Sqrt(d.squares/n)
	farthest := max(d.high-d.mean, d.mean-d.low)
	excess := max(0, farthest-deviation*(1+math.Sqrt(2*math.Log(n))))
	gap := math.Abs(u1/n1 - (d.total-u1)/n0)
	return gap > deviation*math.Sqrt(2*threshold/effective)+excess/3*threshold/effective
}

// highs is how many of n values with this sum are the higher of the two that there are.
func (d *scan) highs(n, sum float64) float64 { return (sum - n*d.low) / (d.high - d.low) }

// divergence is at least the log-likelihood ratio of n values of two kinds, so many of one kind,
// for their own share against another one: the logarithms of
//
//	ones·ln(q/p) + (n − ones)·ln((1−q)/(1−p))     q = ones/n
//
// are replaced by ln(1+x) ≤ x(6+x)/(6+4x), which is close where the ratio is small, and has its
// least excess of 0 at x = 0: the derivative of the excess has the sign of x³.
func divergence(ones, n, p float64) float64 {
	d := ones/n - p
	up, down := d/p, -d/(1-p)
	return ones*up*(6+up)/(6+4*up) + (n-ones)*down*(6+down)/(6+4*down)
}

// likelihood is the greatest log-likelihood of n values of two kinds, so many of one kind.
func likelihood(ones, n float64) float64 { return share(ones, n) + share(n-ones, n) }

func share(k, n float64) float64 {
	if k <= 0 {
		return 0
	}
	return k * math.Log(k/n)
}

func (d *scan) visit(c *coder) {
	c.whole(&d.since, math.MaxInt)
	c.floats(&d.origin, &d.total, &d.mean, &d.squares, &d.low, &d.high)
	c.flag(&d.several)
	c.whole(&d.levels, scanLevels)
	d.n = 0
	for level := range d.levels {
		count := int(d.counts[level])
		c.whole(&count, scanBuckets)
		d.counts[level] = uint8(count)
		for i := range count {
			c.float(&d.sums[level][i])
		}
		d.n += count << level
	}
	if c.version > 1 {
		c.whole(&d.near, scanLevels)
	}
}
