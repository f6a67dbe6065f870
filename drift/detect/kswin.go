package detect

import (
	"errors"
	"math"

	"github.com/driftline/driftline/drift"
)

var kswinKind = Kind{
	Name:  "kswin",
	About: "two-sample Kolmogorov-Smirnov test of the newest values of a window against the others",
	Parameters: []Parameter{
		{Name: "alpha", About: "level of the test", Default: 0.005, Low: 1e-300, High: 1},
		{Name: "window_size", About: "values in the window", Default: 100, Low: 2, High: maxWindow, Whole: true},
		{Name: "stat_size", About: "newest values, which are tested", Default: 30, Low: 1, High: maxWindow, Whole: true},
		{Name: "seed", About: "above 0: test against as many older values, drawn as River draws them with this seed; 0: against all", Default: 0, Low: 0, High: math.MaxUint32, Whole: true},
	},
	build: func(value func(string) float64) (core, error) {
		size, recent := int(value("window_size")), int(value("stat_size"))
		if 2*recent > size && value("seed") > 0 || recent >= size {
			return nil, errors.New("stat_size leaves too few older values in window_size")
		}
		return newKSWIN(value("alpha"), size, recent, uint32(value("seed"))), nil
	},
}

// maxWindow bounds the memory of a detector that keeps values.
const maxWindow = 1 << 14

// leastDistance is the D up to which nothing is a change, however small its p-value.
const leastDistance = 0.1

// kswin says Change if the two-sample test of the newest values against older ones in
// the window has p ≤ alpha and D > 0.1. The order of the window is kept from value to
// value, so that a value costs O(log n) and no sorting.
//
// Sources: Raab, Heusinger, Schleif, "Reactive soft prototype computing for concept drift
// streams", Neurocomputing 416 (2020); dos Reis, Flach, Matwin, Batista, "Fast unsupervised
// online drift detection using incremental Kolmogorov-Smirnov test", KDD 2016.
type kswin struct {
	alpha        float64
	size, recent int
	seed         uint32

	window   []float64 // from old to new
	critical int64     // the least distance, in the unit of order, that is a change
	order    order
	random   *twister // for seed > 0
	since    int
}

func newKSWIN(alpha float64, size, recent int, seed uint32) *kswin {
	d := &kswin{alpha: alpha, size: size, recent: recent, seed: seed}
	older := size - recent
	if seed > 0 {
		older = recent
	}
	d.order = newOrder(older, recent)
	d.critical = criticalDistance(older, recent, alpha)
	d.reset(0)
	return d
}

// criticalDistance is the least D·n·m that is a change for samples of n and m values.
func criticalDistance(n, m int, alpha float64) int64 {
	whole := n * m
	first := int(math.Floor(leastDistance*float64(whole))) + 1
	low, high := first, whole+1
	for low < high {
		middle := (low + high) / 2
		if drift.KSPValue(float64(middle)/float64(whole), int64(n), int64(m), drift.TwoSided, drift.Auto) <= alpha {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return int64(low)
}

func (d *kswin) behind() int { return d.since }

func (d *kswin) reset(since int) {
	d.window = d.window[:0]
	d.order.clear()
	d.since = since
	if d.seed > 0 {
		d.random = newTwister(d.seed)
	}
}

func (d *kswin) update(x float64) State {
	if d.seed > 0 {
		return d.updateDrawn(x)
	}
	d.put(x)
	if len(d.window) < d.size || d.order.distance() < d.critical {
		return Stable
	}
	d.reset(d.recent)
	return Change
}

// put moves the window on, and with it the value that stops being a newest one.
func (d *kswin) put(x float64) {
	if len(d.window) == d.size {
		d.order.add(d.window[0], -1, 0)
	}
	d.window = slide(d.window, x, d.size)
	d.order.add(x, 0, 1)
	if n := len(d.window); n > d.recent {
		d.order.add(d.window[n-1-d.recent], 1, -1)
	}
}

// slide appends to a window of at most size values; the memory is moved once in size values.
func slide(window []float64, x float64, size int) []float64 {
	if len(window) == size {
		window = window[1:]
	}
	if len(window) == cap(window) {
		window = append(make([]float64, 0, 2*size), window...)
	}
	return append(window, x)
}

// updateDrawn is the test as River does it.
func (d *kswin) updateDrawn(x float64) State {
	d.window = slide(d.window, x, d.size)
	if len(d.window) < d.size {
		return Stable
	}
	d.order.clear()
	for _, i := range d.random.sample(d.size-d.recent, d.recent) {
		d.order.add(d.window[i], 1, 0)
	}
	for _, v := range d.window[d.size-d.recent:] {
		d.order.add(v, 0, 1)
	}
	if d.order.distance() < d.critical {
		return Stable
	}
	d.reset(d.recent)
	return Change
}

// order is a treap of the distinct values of two samples. Each value weighs m for every
// time that it is in the first sample, of n values, and −n for every time that it is in
// the second, of m; nodes know the least and the greatest sum of weights from the left
// end of their subtree on. So the greatest distance between the distribution functions,
// times n·m, is known at the root.
type order struct {
	n, m  int64
	nodes []node // 0 is no node
	free  []int32
	root  int32
	state uint64 // of the priorities
}

type node struct {
	value         float64
	first, second int32 // how many times
	left, right   int32
	priority      uint64

	sum, least, greatest int64 // of the subtree
}

func newOrder(n, m int) order { return order{n: int64(n), m: int64(m), nodes: make([]node, 1, n+m+2)} }

func (o *order) clear() { o.nodes, o.free, o.root = o.nodes[:1], o.free[:0], 0 }

func (o *order) distance() int64 { return max(o.nodes[o.root].greatest, -o.nodes[o.root].least) }

// add changes how many times a value is in the samples.
func (o *order) add(value float64, first, second int32) {
	o.root = o.addTo(o.root, value, first, second)
}

func (o *order) addTo(at int32, value float64, first, second int32) int32 {
	if at == 0 {
		return o.newNode(value, first, second)
	}
	n := &o.nodes[at]
	switch {
	case value < n.value:
		child := o.addTo(n.left, value, first, second)
		n = &o.nodes[at]
		n.left = child
		if child != 0 && o.nodes[child].priority > n.priority {
			n.left, o.nodes[child].right = o.nodes[child].right, at
			o.summarize(at)
			at = child
		}
	case value > n.value:
		child := o.addTo(n.right, value, first, second)
		n = &o.nodes[at]
		n.right = child
		if child != 0 && o.nodes[child].priority > n.priority {
			n.right, o.nodes[child].left = o.nodes[child].left, at
			o.summarize(at)
			at = child
		}
	default:
		n.first += first
		n.second += second
		if n.first == 0 && n.second == 0 {
			o.free = append(o.free, at)
			return o.join(n.left, n.right)
		}
	}
	o.summarize(at)
	return at
}

func (o *order) newNode(value float64, first, second int32) int32 {
	o.state += 0x9E3779B97F4A7C15
	z := (o.state ^ o.state>>30) * 0xBF58476D1CE4E5B9
	n := node{value: value, first: first, second: second, priority: z ^ z>>27}
	at := int32(len(o.nodes))
	if last := len(o.free) - 1; last >= 0 {
		at, o.free = o.free[last], o.free[:last]
		o.nodes[at] = n
	} else {
		o.nodes = append(o.nodes, n)
	}
	o.summarize(at)
	return at
}

// join makes one tree of two, all values of the left one being less.
func (o *order) join(left, right int32) int32 {
	switch {
	case left == 0:
		return right
	case right == 0:
		return left
	case o.nodes[left].priority > o.nodes[right].priority:
		o.nodes[left].right = o.join(o.nodes[left].right, right)
		o.summarize(left)
		return left
	}
	o.nodes[right].left = o.join(left, o.nodes[right].left)
	o.summarize(right)
	return right
}

func (o *order) summarize(at int32) {
	n := &o.nodes[at]
	left, right := &o.nodes[n.left], &o.nodes[n.right]
	here := left.sum + int64(n.first)*o.m - int64(n.second)*o.n
	n.sum = here + right.sum
	n.least = min(left.least, here, here+right.least)
	n.greatest = max(left.greatest, here, here+right.greatest)
}

func (d *kswin) visit(c *coder) {
	c.whole(&d.since, math.MaxInt)
	window := d.window
	length := len(window)
	c.whole(&length, d.size)
	if c.reading {
		d.reset(d.since)
		window = make([]float64, length)
	}
	for i := range window {
		c.float(&window[i])
		if window[i]-window[i] != 0 {
			c.fail("a value of the window is not finite")
			return
		}
	}
	if d.seed > 0 {
		c.whole(&d.random.next, twisterWords)
		for i := range d.random.words {
			c.word(&d.random.words[i])
		}
	}
	if !c.reading || c.err != nil {
		return
	}
	if d.seed > 0 {
		d.window = window
		return
	}
	for _, x := range window {
		d.put(x)
	}
}
