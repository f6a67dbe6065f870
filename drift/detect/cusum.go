package detect

import "math"

var pageHinkleyKind = Kind{
	Name:  "page_hinkley",
	About: "Page-Hinkley: the sum of deviations from the running mean has left its extreme by a threshold, in the values' unit",
	Parameters: []Parameter{
		{Name: "min_instances", About: "values before the first look", Default: 30, Low: 1, High: 1 << 20, Whole: true},
		{Name: "delta", About: "deviation that is tolerated", Default: 0.005, Low: 0, High: 1e300},
		{Name: "threshold", About: "sum of deviations of a change", Default: 50, Low: 0, High: 1e300},
		{Name: "alpha", About: "share of the sum that is kept from value to value", Default: 1 - 0.0001, Low: 0, High: 1},
		{Name: "direction", About: "1: rises only, -1: falls only, 0: both", Default: 0, Low: -1, High: 1, Whole: true},
	},
	build: func(value func(string) float64) (core, error) {
		d := &pageHinkley{warm: value("min_instances"), delta: value("delta"), threshold: value("threshold"), alpha: value("alpha"), direction: value("direction")}
		d.reset(0)
		return d, nil
	},
}

// pageHinkley sums up deviations from the running mean, less (for a rise) or more (for a
// fall) delta, and compares the sum with the lowest, or highest, that it was.
//
// Source: Page, "Continuous inspection schemes", Biometrika 41 (1954); the fading factor
// and the defaults are River's.
type pageHinkley struct {
	warm, delta, threshold, alpha, direction float64

	mean               mean
	up, lowest         float64
	down, highest      float64
	sinceUp, sinceDown float64 // values since the extremes
	since              int
}

func (d *pageHinkley) behind() int { return d.since }

func (d *pageHinkley) reset(since float64) {
	d.mean, d.up, d.down = mean{}, 0, 0
	d.lowest, d.highest = math.Inf(1), -1
	d.sinceUp, d.sinceDown, d.since = 0, 0, int(since)
}

func (d *pageHinkley) update(x float64) State {
	d.mean.update(x)
	deviation := x - d.mean.value
	d.up = d.alpha*d.up + deviation - d.delta
	d.down = d.alpha*d.down + deviation + d.delta
	d.sinceUp++
	d.sinceDown++
	if d.up < d.lowest {
		d.lowest, d.sinceUp = d.up, 0
	}
	if d.down > d.highest {
		d.highest, d.sinceDown = d.down, 0
	}
	switch {
	case d.mean.n < d.warm:
	case d.direction >= 0 && d.up-d.lowest > d.threshold:
		d.reset(d.sinceUp)
		return Change
	case d.direction <= 0 && d.highest-d.down > d.threshold:
		d.reset(d.sinceDown)
		return Change
	}
	return Stable
}

var cusumKind = Kind{
	Name:  "cusum",
	About: "two-sided CUSUM of values standardized by the first ones of the stream",
	Parameters: []Parameter{
		{Name: "warm_start", About: "values that mean and deviation are taken from", Default: 100, Low: 2, High: 1 << 20, Whole: true},
		{Name: "slack", About: "k: half the shift to find soonest, in standard deviations", Default: 0.5, Low: 0, High: 100},
		{Name: "threshold", About: "h: sum of deviations of a change, in standard deviations", Default: 20, Low: 0, High: 1e6},
	},
	build: func(value func(string) float64) (core, error) {
		return &cusum{warm: value("warm_start"), slack: value("slack"), threshold: value("threshold")}, nil
	},
}

// cusum is Page's chart: S⁺ ← max(0, S⁺ + z − k), S⁻ ← max(0, S⁻ − z − k), Change when
// either exceeds h, where z is the value less the mean of the first values over their
// deviation. The textbook's h = 5 is for charts that a person looks at; on 1,000 values
// without change it alarms more often than not, since mean and deviation are estimates.
//
// Source: Page, "Continuous inspection schemes", Biometrika 41 (1954).
type cusum struct {
	warm, slack, threshold float64

	mean             mean
	squares          float64
	rise, fall       float64
	riseFor, fallFor float64 // values since the sums were 0
	since            int
}

func (d *cusum) behind() int { return d.since }

func (d *cusum) update(x float64) State {
	if d.mean.n < d.warm {
		before := x - d.mean.value
		d.mean.update(x)
		d.squares += before * (x - d.mean.value)
		return Stable
	}
	z := d.standardize(x)
	d.rise, d.riseFor = sum(d.rise+z-d.slack, d.riseFor)
	d.fall, d.fallFor = sum(d.fall-z-d.slack, d.fallFor)
	if d.rise <= d.threshold && d.fall <= d.threshold {
		return Stable
	}
	since := d.riseFor
	if d.fall > d.threshold {
		since = d.fallFor
	}
	*d = cusum{warm: d.warm, slack: d.slack, threshold: d.threshold, since: int(since)}
	return Change
}

// standardize gives a value that differs from a constant beginning infinite weight.
func (d *cusum) standardize(x float64) float64 {
	difference := x - d.mean.value
	if difference == 0 {
		return 0
	}
	return difference / math.Sqrt(d.squares/(d.mean.n-1))
}

func sum(next, length float64) (float64, float64) {
	if next <= 0 {
		return 0, 0
	}
	return next, length + 1
}

func (d *pageHinkley) visit(c *coder) {
	c.floats(&d.mean.n, &d.mean.value, &d.up, &d.lowest, &d.down, &d.highest, &d.sinceUp, &d.sinceDown)
	c.whole(&d.since, math.MaxInt)
}

func (d *cusum) visit(c *coder) {
	c.floats(&d.mean.n, &d.mean.value, &d.squares, &d.rise, &d.fall, &d.riseFor, &d.fallFor)
	c.whole(&d.since, math.MaxInt)
}
