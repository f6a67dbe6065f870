package profile

import "math"

// Quantile brackets the least value x such that a share q of the values, or more, is at most
// x: the inverse of the empirical distribution function. Null and NaN are no values,
// infinities are. It is NaN if there are none, or of categories.
func (c *Column) Quantile(q float64) Bracket {
	values := uint64(c.Values())
	if c.m.kind != Numbers || values == 0 || !(q >= 0 && q <= 1) {
		return Bracket{math.NaN(), math.NaN()}
	}
	rank := max(1, uint64(math.Ceil(q*float64(values))))
	if rank <= c.infinite[0] {
		return Bracket{math.Inf(-1), math.Inf(-1)}
	}
	rank -= c.infinite[0]
	found := Bracket{math.Inf(1), math.Inf(1)}
	passed, done := uint64(0), false
	c.cells.each(func(cell int, n uint64) {
		if !done && passed+n >= rank {
			found, done = c.within(cell, n, rank-passed), true
		}
		passed += n
	})
	return found
}

// Quantile is [Column.Quantile] by groups of cells.
func (o *Outline) Quantile(q float64) Bracket {
	values := uint64(o.Values())
	if o.m.kind != Numbers || values == 0 || !(q >= 0 && q <= 1) {
		return Bracket{math.NaN(), math.NaN()}
	}
	rank := max(1, uint64(math.Ceil(q*float64(values))))
	if rank <= o.infinite[0] {
		return Bracket{math.Inf(-1), math.Inf(-1)}
	}
	rank -= o.infinite[0]
	for group, n := range o.counts {
		if n >= rank {
			low, high := o.edgesOf(group, group)
			return Bracket{max(low, o.min), min(high, o.max)}
		}
		rank -= n
	}
	return Bracket{math.Inf(1), math.Inf(1)}
}

// within brackets the value of a rank among the n values of a cell.
func (c *Column) within(cell int, n, rank uint64) Bracket {
	from, to := c.m.spikesIn(cell, cell)
	atSpikes := uint64(0)
	for spike := from; spike < to; spike++ {
		if atSpikes += c.spikes[spike]; atSpikes >= rank && c.allSpikes(from, to, n) {
			return Bracket{c.m.spikes[spike], c.m.spikes[spike]}
		}
	}
	low, high := c.m.edges(cell, cell)
	return Bracket{max(low, c.min), min(high, c.max)}
}

// allSpikes reports whether the n values of a cell are at its spikes.
func (c *Column) allSpikes(from, to int, n uint64) bool {
	for spike := from; spike < to; spike++ {
		n -= c.spikes[spike]
	}
	return n == 0
}

// Histogram counts both sides in at most bins bins for people to look at: of about equal
// width over the central 99 % of both sides, what lies farther out in the end bins. Edges
// are those of groups of cells, one more than bins. It is empty if there are no finite
// numbers.
func Histogram(reference, current *Outline, bins int) (edges []float64, a, b []int64) {
	first, last := central(reference, current)
	if first > last {
		return nil, nil, nil
	}
	least, greatest := min(reference.min, current.min), max(reference.max, current.max)
	low, high := reference.edgesOf(first, last)
	low, high = max(low, least), min(high, greatest)
	edges = append(make([]float64, 0, bins+1), low)
	begins := append(make([]int, 0, bins), 0) // the first group of each bin
	for group := first; len(edges) < bins; {
		group = reference.groupFrom(low+(high-low)*float64(len(edges))/float64(bins), group+1, last)
		from := reference.m.lowerEdge(group << groupBits)
		if group > last || from >= high {
			break
		}
		edges, begins = append(edges, from), append(begins, group)
	}
	a, b = make([]int64, len(begins)), make([]int64, len(begins))
	for bin, begin := range begins {
		end := groups
		if bin+1 < len(begins) {
			end = begins[bin+1]
		}
		a[bin], b[bin] = sumOf(reference.counts[begin:end]), sumOf(current.counts[begin:end])
	}
	return append(edges, high), a, b
}

func sumOf(counts []uint64) (total int64) {
	for _, n := range counts {
		total += int64(n)
	}
	return total
}

// groupFrom is the first group from least to last whose lower edge is v or more; last + 1 if
// there is none.
func (o *Outline) groupFrom(v float64, least, last int) int {
	reaches := func(group int) bool { return o.m.lowerEdge(group<<groupBits) >= v }
	group := min(max(int(o.m.cell(v))>>groupBits, least), last+1) // which is it, or close to it
	for group > least && reaches(group-1) {
		group--
	}
	for group <= last && !reaches(group) {
		group++
	}
	return group
}

func (o *Outline) edgesOf(first, last int) (low, high float64) {
	return o.m.edges(first<<groupBits, (last+1)<<groupBits-1)
}

// central returns the groups between which 99 % of each side lie.
func central(reference, current *Outline) (first, last int) {
	first, last = groups, -1
	for _, side := range []*Outline{reference, current} {
		total, passed := side.finite(), uint64(0)
		for group, n := range side.counts {
			passed += n
			if n > 0 && passed > total/200 {
				first = min(first, group)
				break
			}
		}
		passed = 0
		for group := groups - 1; group >= 0; group-- {
			passed += side.counts[group]
			if side.counts[group] > 0 && passed > total/200 {
				last = max(last, group)
				break
			}
		}
	}
	return first, last
}

// Binned counts both sides in bins of about equal shares of reference, which end where
// groups of cells do, so that the counts are exact. Infinities are in the end bins.
func Binned(reference, current *Outline, bins int) (a, b []int64) {
	total := float64(reference.Values())
	i, j, passed := int64(reference.infinite[0]), int64(current.infinite[0]), float64(reference.infinite[0])
	for group, n := range reference.counts {
		i, j, passed = i+int64(n), j+int64(current.counts[group]), passed+float64(n)
		if len(a) < bins-1 && n > 0 && passed >= total*float64(len(a)+1)/float64(bins) {
			a, b = append(a, i), append(b, j)
			i, j = 0, 0
		}
	}
	i, j = i+int64(reference.infinite[1]), j+int64(current.infinite[1])
	if i+j > 0 {
		a, b = append(a, i), append(b, j)
	}
	return a, b
}

// Categories returns the names and their counts, nil if not all names are in the outline.
func (o *Outline) Categories() map[string]int64 {
	if !o.whole || o.m.kind != Categories {
		return nil
	}
	all := make(map[string]int64, len(o.names))
	for name, n := range o.names {
		all[name] = int64(n)
	}
	return all
}

// Groups counts the values by group of cells; those of categories by their hashes.
func (o *Outline) Groups() []int64 {
	counts := make([]int64, len(o.counts))
	for i, n := range o.counts {
		counts[i] = int64(n)
	}
	return counts
}
