package detect

import "math"

var hddmAKind = Kind{
	Name:  "hddm_a",
	About: "Hoeffding drift detection on averages; values between 0 and 1",
	Parameters: []Parameter{
		{Name: "drift_confidence", About: "level of a change", Default: 0.001, Low: 1e-12, High: 0.999},
		{Name: "warning_confidence", About: "level of a warning", Default: 0.005, Low: 1e-12, High: 0.999},
		{Name: "two_sided", About: "1: a fall is a change too", Default: 0, Low: 0, High: 1, Whole: true},
	},
	build: func(value func(string) float64) (core, error) {
		return &hddmA{drift: value("drift_confidence"), warning: value("warning_confidence"), twoSided: value("two_sided") == 1}, nil
	},
}

// hddmA compares the mean of all values with that of the values up to the cut at which
// its upper Hoeffding bound was lowest (for a rise) or its lower one highest (for a fall).
// The bound of n values is √(ln(1/δ)/2n); the difference of the means of m values and of
// all n is significant from √((n−m)/(m·n)·ln(2/δ)/2) on.
//
// Source: Frías-Blanco and others, "Online and non-parametric drift detection methods
// based on Hoeffding's bounds", TKDE 27 (2015). Values are taken to be in [0, 1].
type hddmA struct {
	drift, warning float64
	twoSided       bool

	all, lowest, highest mean
	since                int
}

func (d *hddmA) behind() int { return d.since }

func (d *hddmA) update(x float64) State {
	d.all.update(x)
	if d.lowest.n == 0 {
		d.lowest = d.all
	}
	if d.highest.n == 0 {
		d.highest = d.all
	}
	bound := hoeffding(d.all.n, d.drift)
	if d.lowest.value+hoeffding(d.lowest.n, d.drift) >= d.all.value+bound {
		d.lowest = d.all
	}
	if d.highest.value-hoeffding(d.highest.n, d.drift) <= d.all.value-bound {
		d.highest = d.all
	}
	rise, fall := d.all.value-d.lowest.value, d.highest.value-d.all.value
	switch {
	case d.significant(d.lowest, rise, d.drift):
		return d.change(d.lowest)
	case d.twoSided && d.significant(d.highest, fall, d.drift):
		return d.change(d.highest)
	case d.significant(d.lowest, rise, d.warning), d.twoSided && d.significant(d.highest, fall, d.warning):
		return Warning
	}
	return Stable
}

func hoeffding(n, level float64) float64 { return math.Sqrt(math.Log(1/level) / (2 * n)) }

func (d *hddmA) significant(cut mean, difference, level float64) bool {
	if cut.n == d.all.n {
		return false
	}
	m := (d.all.n - cut.n) / cut.n * (1 / d.all.n)
	return difference >= math.Sqrt(m/2*math.Log(2/level))
}

func (d *hddmA) change(cut mean) State {
	*d = hddmA{drift: d.drift, warning: d.warning, twoSided: d.twoSided, since: int(d.all.n - cut.n)}
	return Change
}

var hddmWKind = Kind{
	Name:  "hddm_w",
	About: "Hoeffding drift detection on exponentially weighted averages; values between 0 and 1",
	Parameters: []Parameter{
		{Name: "drift_confidence", About: "level of a change", Default: 0.001, Low: 1e-12, High: 0.999},
		{Name: "warning_confidence", About: "level of a warning", Default: 0.005, Low: 1e-12, High: 0.999},
		{Name: "lambda", About: "weight of the newest value", Default: 0.05, Low: 1e-6, High: 1},
		{Name: "two_sided", About: "1: a fall is a change too", Default: 0, Low: 0, High: 1, Whole: true},
	},
	build: func(value func(string) float64) (core, error) {
		return newHDDMW(value("drift_confidence"), value("warning_confidence"), value("lambda"), value("two_sided") == 1), nil
	},
}

// hddmW is hddmA with exponentially weighted means and McDiarmid's bound, so that it
// forgets. Its values up to the cut and after it are means of their own.
type hddmW struct {
	drift, warning, lambda float64
	twoSided               bool

	all        weighted
	rise, fall sides
	since      int
}

// sides are the means before and after a cut.
type sides struct {
	before, after weighted
	bound         float64 // of the mean before the cut
	length        float64 // values after the cut
}

// weighted is an exponentially weighted mean. Its variance is at most bound/4.
type weighted struct {
	started      bool
	value, bound float64
}

func (w *weighted) update(x, lambda float64) {
	if !w.started {
		w.started, w.value, w.bound = true, x, 1
	} else {
		w.value = lambda*x + (1-lambda)*w.value
	}
	w.bound = lambda*lambda + (1-lambda)*(1-lambda)*w.bound
}

func newHDDMW(drift, warning, lambda float64, twoSided bool) *hddmW {
	return &hddmW{drift: drift, warning: warning, lambda: lambda, twoSided: twoSided,
		rise: sides{bound: math.Inf(1)}, fall: sides{bound: math.Inf(-1)}}
}

func (d *hddmW) behind() int { return d.since }

func (d *hddmW) update(x float64) State {
	d.all.update(x, d.lambda)
	bound := mcDiarmid(d.all.bound, d.drift)
	d.rise.update(d.all, d.all.value+bound, d.all.value+bound < d.rise.bound, x, d.lambda)
	d.fall.update(d.all, d.all.value-bound, d.all.value-bound > d.fall.bound, x, d.lambda)
	switch {
	case d.rise.differ(1, d.drift):
		return d.change(d.rise)
	case d.twoSided && d.fall.differ(-1, d.drift):
		return d.change(d.fall)
	case d.rise.differ(1, d.warning), d.twoSided && d.fall.differ(-1, d.warning):
		return Warning
	}
	return Stable
}

// update moves the cut behind the present value, or puts the value after the cut.
func (s *sides) update(all weighted, bound float64, better bool, x, lambda float64) {
	if better {
		*s = sides{before: all, bound: bound}
		return
	}
	s.after.update(x, lambda)
	s.length++
}

// differ tells whether the mean after the cut is significantly above (sign 1) or below
// the one before.
func (s *sides) differ(sign, level float64) bool {
	if !s.before.started || !s.after.started {
		return false
	}
	return sign*(s.after.value-s.before.value) > mcDiarmid(s.before.bound+s.after.bound, level)
}

func mcDiarmid(bound, level float64) float64 { return math.Sqrt(bound * math.Log(1/level) / 2) }

func (d *hddmW) change(s sides) State {
	*d = *newHDDMW(d.drift, d.warning, d.lambda, d.twoSided)
	d.since = int(s.length)
	return Change
}

func (d *hddmA) visit(c *coder) {
	for _, m := range []*mean{&d.all, &d.lowest, &d.highest} {
		c.floats(&m.n, &m.value)
	}
	c.whole(&d.since, math.MaxInt)
}

func (d *hddmW) visit(c *coder) {
	for _, w := range []*weighted{&d.all, &d.rise.before, &d.rise.after, &d.fall.before, &d.fall.after} {
		c.flag(&w.started)
		c.floats(&w.value, &w.bound)
	}
	c.floats(&d.rise.bound, &d.rise.length, &d.fall.bound, &d.fall.length)
	c.whole(&d.since, math.MaxInt)
}
