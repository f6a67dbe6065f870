package detect

import (
	"errors"
	"math"
)

var ddmKind = Kind{
	Name:   "ddm",
	About:  "drift detection method: the error rate is above its lowest by several standard deviations",
	Binary: true,
	Parameters: []Parameter{
		{Name: "warm_start", About: "values before the first look", Default: 30, Low: 1, High: 1 << 20, Whole: true},
		{Name: "warning_threshold", About: "standard deviations of a warning", Default: 2, Low: 0, High: 100},
		{Name: "drift_threshold", About: "standard deviations of a change", Default: 3, Low: 0, High: 100},
	},
	build: func(value func(string) float64) (core, error) {
		return &ddm{warm: value("warm_start"), warning: value("warning_threshold"), drift: value("drift_threshold"), lowest: math.Inf(1)}, nil
	},
}

// ddm keeps the error rate p with its deviation s = √(p(1−p)/n), and of both the values
// where p+s was lowest. It warns if p+s > p_min + 2·s_min and says Change at 3·s_min.
//
// Source: Gama, Medas, Castillo, Rodrigues, "Learning with drift detection", SBIA 2004.
type ddm struct {
	warm, warning, drift float64

	p                  mean
	pMin, sMin, lowest float64
	valuesSinceLowest  float64
	since              int
}

func (d *ddm) behind() int { return d.since }

func (d *ddm) update(x float64) State {
	d.p.update(x)
	d.valuesSinceLowest++
	p := d.p.value
	s := math.Sqrt(max(0, p*(1-p)) / d.p.n)
	if d.p.n <= d.warm {
		return Stable
	}
	if p+s <= d.lowest {
		d.pMin, d.sMin, d.lowest, d.valuesSinceLowest = p, s, p+s, 0
	}
	switch {
	case p+s > d.pMin+d.drift*d.sMin:
		*d = ddm{warm: d.warm, warning: d.warning, drift: d.drift, lowest: math.Inf(1), since: int(d.valuesSinceLowest)}
		return Change
	case p+s > d.pMin+d.warning*d.sMin:
		return Warning
	}
	return Stable
}

var eddmKind = Kind{
	Name:   "eddm",
	About:  "early drift detection method: errors follow each other faster than they used to",
	Binary: true,
	Parameters: []Parameter{
		{Name: "warm_start", About: "errors before the first look", Default: 30, Low: 1, High: 1 << 20, Whole: true},
		{Name: "alpha", About: "share of the greatest distance below which it warns", Default: 0.95, Low: 0, High: 1},
		{Name: "beta", About: "share of the greatest distance below which it says change", Default: 0.9, Low: 0, High: 1},
	},
	build: func(value func(string) float64) (core, error) {
		if value("alpha") < value("beta") {
			return nil, errors.New("alpha is below beta: it would never warn")
		}
		return &eddm{warm: value("warm_start"), alpha: value("alpha"), beta: value("beta"), longest: -1}, nil
	},
}

// eddm keeps the mean p and the standard deviation s of the distance between two errors.
// It warns if p+2s falls below alpha times the greatest it was, and says Change at beta.
//
// Source: Baena-García and others, "Early drift detection method", IWKDDS 2006.
type eddm struct {
	warm, alpha, beta float64

	n, lastError float64
	errors       float64
	distance     mean
	squares      float64 // of deviations from the mean distance
	longest      float64
	warned       bool
}

func (*eddm) behind() int { return 0 }

func (d *eddm) update(x float64) State {
	d.n++
	if x == 1 && d.error() {
		*d = eddm{warm: d.warm, alpha: d.alpha, beta: d.beta, longest: -1}
		return Change
	}
	if d.warned {
		return Warning
	}
	return Stable
}

// error takes in that the present value is an error, and tells whether that is a change.
func (d *eddm) error() bool {
	d.errors++
	between := d.n - d.lastError
	before := between - d.distance.value
	d.distance.update(between)
	d.squares += before * (between - d.distance.value)
	d.lastError = d.n
	if d.n <= d.warm {
		return false
	}
	deviation := math.Sqrt(max(0, d.squares) / max(1, d.errors-1))
	length := d.distance.value + 2*deviation
	switch {
	case length > d.longest:
		d.longest = length
	case d.errors > d.warm:
		share := length / d.longest
		d.warned = share >= d.beta && share < d.alpha
		return share < d.beta
	}
	return false
}

func (d *ddm) visit(c *coder) {
	c.floats(&d.p.n, &d.p.value, &d.pMin, &d.sMin, &d.lowest, &d.valuesSinceLowest)
	c.whole(&d.since, math.MaxInt)
}

func (d *eddm) visit(c *coder) {
	c.floats(&d.n, &d.lastError, &d.errors, &d.distance.n, &d.distance.value, &d.squares, &d.longest)
	c.flag(&d.warned)
}
