package detect

import "math"

var adwinKind = Kind{
	Name:  "adwin",
	About: "adaptive window: the window shrinks while two parts of it have different means",
	Parameters: []Parameter{
		{Name: "delta", About: "confidence of a cut", Default: 0.002, Low: 1e-12, High: 0.999},
		{Name: "clock", About: "values between two looks", Default: 32, Low: 1, High: 1 << 20, Whole: true},
		{Name: "max_buckets", About: "buckets of one size", Default: 5, Low: 2, High: 64, Whole: true},
		{Name: "min_window_length", About: "values that each part of a cut has at least", Default: 5, Low: 1, High: 1 << 20, Whole: true},
		{Name: "grace_period", About: "values before the first look", Default: 10, Low: 0, High: 1 << 20, Whole: true},
	},
	build: func(value func(string) float64) (core, error) {
		return &adwin{delta: value("delta"), clock: int(value("clock")), maxBuckets: int(value("max_buckets")),
			minLength: value("min_window_length"), grace: value("grace_period")}, nil
	},
}

// adwin keeps a window of values as sums of 1, 2, 4, … values: at most maxBuckets+1 of
// each size, the oldest the largest. At each tick of the clock it looks at every border
// between two buckets, and drops the oldest bucket while some border divides the window
// into parts with n₀ and n₁ values whose means differ by more than
//
//	ε = √(2·m·σ²·ln(2·ln W/δ)) + ⅔·m·ln(2·ln W/δ),  m = 1/(n₀−l+1) + 1/(n₁−l+1)
//
// where W is the window's length, σ² its variance and l the least length of a part. The
// second term is for values between 0 and 1.
//
// Source: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing",
// SDM 2007; the least length is River's.
type adwin struct {
	delta            float64
	clock            int
	maxBuckets       int
	minLength, grace float64

	levels                 [][]bucket // by size; each from old to new
	width, total, variance float64    // variance is the sum of squared deviations
	tick                   int
	since                  int
}

// bucket sums up 2^level values.
type bucket struct{ total, variance float64 }

func (d *adwin) behind() int { return d.since }

func (d *adwin) update(x float64) State {
	d.insert(x)
	d.tick++
	if d.tick%d.clock != 0 || d.width <= d.grace {
		return Stable
	}
	changed := false
	for d.cut() {
		d.dropOldest()
		changed = true
	}
	if !changed {
		return Stable
	}
	since := int(d.width)
	*d = adwin{delta: d.delta, clock: d.clock, maxBuckets: d.maxBuckets, minLength: d.minLength, grace: d.grace, levels: emptied(d.levels), since: since}
	return Change
}

func emptied(levels [][]bucket) [][]bucket {
	for i := range levels {
		levels[i] = levels[i][:0]
	}
	return levels
}

func (d *adwin) insert(x float64) {
	d.width++
	if d.width > 1 {
		deviation := x - d.total/(d.width-1)
		d.variance += (d.width - 1) * deviation * deviation / d.width
	}
	d.total += x
	b := bucket{total: x}
	for level := 0; ; level++ {
		if level == len(d.levels) {
			d.levels = append(d.levels, make([]bucket, 0, d.maxBuckets+1))
		}
		d.levels[level] = append(d.levels[level], b)
		row := d.levels[level]
		if len(row) <= d.maxBuckets {
			return
		}
		size := math.Ldexp(1, level)
		between := row[0].total/size - row[1].total/size
		b = bucket{row[0].total + row[1].total, row[0].variance + row[1].variance + size*0.5*between*between}
		d.levels[level] = row[:copy(row, row[2:])]
	}
}

// cut tells whether some border divides the window into parts that differ.
func (d *adwin) cut() bool {
	confidence := math.Log(2 * math.Log(d.width) / d.delta)
	spread := 2 * (d.variance / d.width) * confidence
	n0, n1, u0, u1 := 0.0, d.width, 0.0, d.total
	for level := len(d.levels) - 1; level >= 0; level-- {
		size := math.Ldexp(1, level)
		for _, b := range d.levels[level] {
			n0, n1, u0, u1 = n0+size, n1-size, u0+b.total, u1-b.total
			if n0 < d.minLength || n1 < d.minLength || n1 < 1 {
				continue
			}
			m := 1/(n0-d.minLength+1) + 1/(n1-d.minLength+1)
			if math.Abs(u0/n0-u1/n1) > math.Sqrt(m*spread)+2.0/3*confidence*m {
				return true
			}
		}
	}
	return false
}

func (d *adwin) dropOldest() {
	last := len(d.levels) - 1
	for len(d.levels[last]) == 0 {
		last--
	}
	row, size := d.levels[last], math.Ldexp(1, last)
	oldest := row[0]
	d.levels[last] = row[:copy(row, row[1:])]
	d.width -= size
	d.total -= oldest.total
	between := oldest.total/size - d.total/d.width
	d.variance = max(0, d.variance-oldest.variance-size*d.width*between*between/(size+d.width))
}

func (d *adwin) visit(c *coder) {
	c.whole(&d.tick, math.MaxInt)
	c.whole(&d.since, math.MaxInt)
	c.floats(&d.total, &d.variance)
	levels := len(d.levels)
	c.whole(&levels, maxLevels)
	d.levels = resized(d.levels, levels)
	d.width = 0
	for i := range d.levels {
		count := len(d.levels[i])
		c.whole(&count, d.maxBuckets)
		if cap(d.levels[i]) == 0 {
			d.levels[i] = make([]bucket, 0, d.maxBuckets+1)
		}
		d.levels[i] = d.levels[i][:count]
		for j := range count {
			c.floats(&d.levels[i][j].total, &d.levels[i][j].variance)
		}
		d.width += math.Ldexp(float64(count), i)
	}
}

// maxLevels is more than any stream fills.
const maxLevels = 50

func resized[T any](s []T, length int) []T {
	if length <= len(s) {
		return s[:length]
	}
	return append(s, make([]T, length-len(s))...)
}
