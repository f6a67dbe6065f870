package profile

import (
	"math"

	"github.com/driftline/driftline/aggregate/exact"
)

// Scratch is what adding numbers needs besides the profile. One serves any number of
// profiles, one after the other. The zero value is ready.
type Scratch struct {
	adder   exact.Adder
	present [blockValues]float64
	finite  [blockValues]float64
	rest    [blockValues]float64 // that are no spikes
	hashes  [blockValues]uint64
	times   [2 * mostSpikes]uint32 // by place in the table of spikes; first the others
}

const (
	// blockValues are looked at several times while they are in the fastest cache.
	blockValues = 1 << 10

	// blockLanes values are looked at in one step where the processor can do so.
	blockLanes = 8

	// widenAt values are worth a sketch that takes the next ones without searching.
	widenAt = 1 << 11
)

// AddNulls adds n rows without a value.
func (c *Column) AddNulls(n int) {
	c.rows += uint64(n)
	c.nulls += uint64(n)
}

// AddNumbers adds a row for each value. NaN and infinities are counted by themselves, and
// −0 is 0. The column must be of [Numbers].
func (c *Column) AddNumbers(values []float64, s *Scratch) {
	c.rows += uint64(len(values))
	sortOut := c.sortsOut(len(values))
	for len(values) > 0 {
		n := min(len(values), blockValues)
		c.addBlock(c.setAside(values[:n], s), sortOut, s)
		values = values[n:]
	}
	if sortOut {
		c.addSpikes(s)
	}
}

// AddPresent adds a row for each value: one without a value where the bit of a validity
// bitmap is not set. The bit of values[0] is the one at offset.
func (c *Column) AddPresent(values []float64, valid []byte, offset int, s *Scratch) {
	c.rows += uint64(len(values))
	sortOut := c.sortsOut(len(values))
	for len(values) > 0 {
		n := min(len(values), blockValues)
		present := presentOf(s.present[:], values[:n], valid, offset)
		c.nulls += uint64(n - len(present))
		c.addBlock(c.setAside(present, s), sortOut, s)
		values, offset = values[n:], offset+n
	}
	if sortOut {
		c.addSpikes(s)
	}
}

// presentOf copies the values whose bits are set. What nulls stand for is written too and
// overwritten by the next one, so that there is nothing to predict.
func presentOf(to, values []float64, valid []byte, offset int) []float64 {
	n := 0
	for i, v := range values {
		to[n&(blockValues-1)] = v
		n += int(valid[(offset+i)>>3]>>((offset+i)&7)) & 1
	}
	return to[:n]
}

// setAside counts what is no finite number, and returns the others.
func (c *Column) setAside(block []float64, s *Scratch) []float64 {
	least, greatest, odd := extremes(block)
	if !odd {
		c.min, c.max = min(c.min, least+0), max(c.max, greatest+0)
		return block
	}
	finite := s.finite[:0]
	for _, v := range block {
		switch {
		case v-v == 0:
			finite = append(finite, v)
			c.min, c.max = min(c.min, v+0), max(c.max, v+0)
		case v != v:
			c.nan++
		case v < 0:
			c.infinite[0]++
			c.distinct.Add(mix(math.Float64bits(v)))
		default:
			c.infinite[1]++
			c.distinct.Add(mix(math.Float64bits(v)))
		}
	}
	return finite
}

// extremes returns the least and the greatest value, and whether there is one that is not
// finite; least and greatest mean nothing then.
func extremes(values []float64) (least, greatest float64, odd bool) {
	least, greatest = math.Inf(1), math.Inf(-1)
	if whole := len(values) / blockLanes; hasBlocks && whole > 0 {
		least, greatest, odd = extremesBlocks(&values[0], whole)
		values = values[whole*blockLanes:]
	}
	carry := uint64(0) // of exponents of which all bits are set
	for _, v := range values {
		carry |= math.Float64bits(v)>>52&0x7ff + 1
		if v < least {
			least = v
		}
		if v > greatest {
			greatest = v
		}
	}
	return least, greatest, odd || carry>>11 != 0
}

// sortsOut tells whether spikes among so many more values are to be counted first, and the
// rest of the profile told of them afterwards.
func (c *Column) sortsOut(values int) bool {
	return len(c.m.spikes) > 0 && values >= len(c.m.spikes) && c.cells.total+uint64(values) > mostListed
}

func (c *Column) addBlock(block []float64, sortOut bool, s *Scratch) {
	c.cells.grow(uint64(len(block)))
	if c.cells.total > widenAt {
		c.distinct.Widen()
	}
	if sortOut {
		block = c.m.sortOut(block, s)
	}
	s.adder.Add(block, &c.sum, &c.squares)
	c.count(block, sortOut)
	c.distinct.AddAll(hashesOf(block, s.hashes[:len(block)]))
}

// hashesOf fills hashes, which are as many as the values.
func hashesOf(values []float64, hashes []uint64) []uint64 {
	done := 0
	if whole := len(values) / blockLanes; hasBlocks && whole > 0 {
		hashBlocks(&values[0], whole, &hashes[0])
		done = whole * blockLanes
	}
	for i := done; i < len(values); i++ {
		hashes[i] = mix(math.Float64bits(values[i] + 0))
	}
	return hashes
}

// count counts values by cell; and spikes, unless they were sorted out.
func (c *Column) count(block []float64, sortedOut bool) {
	spikes := len(c.m.spikes) > 0 && !sortedOut
	switch {
	case c.cells.small == nil && c.cells.large == nil:
		for _, v := range block {
			cell := c.m.cell(v)
			c.cells.list = append(c.cells.list, cell)
			c.addSpike(cell, v)
		}
	case c.cells.small == nil:
		for _, v := range block {
			c.cells.large[c.m.cell(v)]++
		}
	case c.m.byBits:
		counts := (*[Cells]uint32)(c.cells.small)
		for _, v := range block {
			counts[c.m.cell(v)]++
		}
	default:
		c.countLinear(block)
	}
	if spikes && (c.cells.small != nil || c.cells.large != nil) {
		for _, v := range block {
			c.addSpike(c.m.cell(v), v)
		}
	}
}

// countLinear counts values of which most lie in the equal steps.
func (c *Column) countLinear(block []float64) {
	counts := (*[Cells]uint32)(c.cells.small)
	for hasBlocks && len(block) >= blockLanes { // what has a value beyond the steps is counted below
		done := blockLanes * countBlocks(&block[0], len(block)/blockLanes, c.m.lo, c.m.perUnit, steps, tailCells, &counts[0])
		odd := min(done+blockLanes, len(block))
		c.m.countEach(block[done:odd], counts)
		block = block[odd:]
	}
	c.m.countEach(block, counts)
}

func (m *Map) countEach(values []float64, counts *[Cells]uint32) {
	lo, perUnit := m.lo, m.perUnit
	for _, v := range values {
		t := (v - lo) * perUnit
		if t >= 0 && t < steps {
			counts[uint16(tailCells+int(t))]++
		} else {
			counts[m.cell(v)]++
		}
	}
}

// addSpike counts a value if it is a spike.
func (c *Column) addSpike(cell uint16, v float64) {
	if c.m.special[cell>>6]>>(cell&63)&1 == 0 {
		return
	}
	if i := c.m.spike(v); i >= 0 {
		c.spikes[i]++
	}
}

// sortOut counts spikes in s, and returns the other values.
func (m *Map) sortOut(block []float64, s *Scratch) []float64 {
	table, n := m.spikeTable(), 0
	at, lo, perUnit, linear := table.at, m.lo, m.perUnit, !m.byBits
	for _, v := range block {
		var cell uint16
		if t := (v - lo) * perUnit; linear && t >= 0 && t < steps {
			cell = uint16(tailCells + int(t))
		} else {
			cell = m.cell(v)
		}
		place := int(at[cell])
		if place > mostSpikes {
			place = m.spike(v) + 1
		}
		is := 0
		if table.values[place&(2*mostSpikes-1)] == v {
			is = 1
		}
		s.times[place&-is&(2*mostSpikes-1)]++
		s.rest[n&(blockValues-1)] = v
		n += 1 - is
	}
	return s.rest[:n]
}

// addSpikes adds the spikes that were sorted out, each as often as it came.
func (c *Column) addSpikes(s *Scratch) {
	table := c.m.spikeTable()
	for i := range c.spikes {
		n := uint64(s.times[i+1])
		if n == 0 {
			continue
		}
		v := table.values[i+1]
		c.spikes[i] += n
		c.sum.AddFloatTimes(v, n)
		c.squares.AddFloatSquareTimes(v, n)
		c.distinct.Add(mix(math.Float64bits(v + 0)))
		c.cells.count(table.cells[i+1], n)
	}
	clear(s.times[:len(c.spikes)+1])
}
