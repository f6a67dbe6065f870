// Package distinct estimates how many different values there are among any number of them,
// in 4 KiB: HyperLogLog. A [Sketch] is a function of the set of its values, so it does not
// matter how they were ordered, repeated or cut into parts.
package distinct

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// The registers of a Sketch: 2^12 of them, which keep the greatest rank, 1 to 53, of the
// hashes that fall to them. The standard error of the estimate is 1.04/√2^12 = 1.6 %.
const (
	precision = 12
	registers = 1 << precision
	mostRank  = 64 - precision + 1

	mostSparse = 512 // registers above 0 that are written, and held, one by one
)

// Sketch is a set of values as far as their number goes. The zero value is the empty set.
//
// The estimator is that of Ertl ("New cardinality estimation algorithms for HyperLogLog
// sketches", 2017, algorithm 6), which needs no corrections that are found by experiment.
type Sketch struct {
	sparse []uint32 // register·64 + rank, sorted, while there are few
	dense  []byte   // by register, once there are many
	many   bool
}

// Reset makes the set empty and keeps its memory.
func (s *Sketch) Reset() { s.sparse, s.many = s.sparse[:0], false }

// Empty reports whether no value was added.
func (s *Sketch) Empty() bool {
	if s.many {
		return s.zeros() == registers
	}
	return len(s.sparse) == 0
}

// Add adds a value by its hash, all 64 bits of which must be good.
func (s *Sketch) Add(hash uint64) {
	register := uint32(hash >> (64 - precision))
	rank := byte(bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1)
	if s.many {
		if s.dense[register] < rank {
			s.dense[register] = rank
		}
		return
	}
	s.raise(register, rank)
}

// AddAll adds values by their hashes. It is fastest after [Sketch.Widen].
func (s *Sketch) AddAll(hashes []uint64) {
	if !s.many {
		for _, hash := range hashes {
			s.Add(hash)
		}
		return
	}
	dense := (*[registers]byte)(s.dense)
	for _, hash := range hashes {
		rank := byte(bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1)
		if at := hash >> (64 - precision); dense[at] < rank {
			dense[at] = rank
		}
	}
}

// raise sets a register to a rank, if it has a lesser one.
func (s *Sketch) raise(register uint32, rank byte) {
	if s.many {
		s.dense[register] = max(s.dense[register], rank)
		return
	}
	at, found := slices.BinarySearchFunc(s.sparse, register, func(e, r uint32) int { return cmp.Compare(e>>6, r) })
	entry := register<<6 | uint32(rank)
	switch {
	case found:
		s.sparse[at] = max(s.sparse[at], entry)
	case len(s.sparse) < mostSparse:
		s.sparse = slices.Insert(s.sparse, at, entry)
	default:
		s.spread()
		s.dense[register] = rank
	}
}

// Widen takes all of the memory at once, so that Add need not search.
func (s *Sketch) Widen() {
	if !s.many {
		s.spread()
	}
}

// spread goes over to one byte for each register.
func (s *Sketch) spread() {
	if s.dense == nil {
		s.dense = make([]byte, registers)
	}
	clear(s.dense)
	for _, e := range s.sparse {
		s.dense[e>>6] = byte(e & 63)
	}
	s.sparse, s.many = s.sparse[:0], true
}

const sparseForm, denseForm = 0, 1

// AppendTo writes the set in its one form, see the bytes of package aggregate. The empty
// set is nothing.
func (s *Sketch) AppendTo(b []byte) []byte {
	entries := s.sparse
	if s.many {
		if registers-s.zeros() > mostSparse {
			return append(append(b, denseForm), s.dense...)
		}
		entries = s.raised()
	}
	if len(entries) == 0 {
		return b
	}
	b = append(b, sparseForm)
	before := uint32(0)
	for _, e := range entries {
		b = binary.AppendUvarint(b, uint64(e-before))
		before = e
	}
	return b
}

// zeros counts the registers that no value fell to.
func (s *Sketch) zeros() (n int) {
	for _, rank := range s.dense {
		if rank == 0 {
			n++
		}
	}
	return n
}

// raised lists the registers of a widened sketch that values fell to, as sparse has them.
func (s *Sketch) raised() (entries []uint32) {
	for register, rank := range s.dense {
		if rank > 0 {
			entries = append(entries, uint32(register)<<6|uint32(rank))
		}
	}
	return entries
}

// Merge adds the values of a set that AppendTo has written. It is false if from is not one;
// the set may then have some of them.
func (s *Sketch) Merge(from []byte) bool {
	if len(from) == 0 {
		return true
	}
	form, from := from[0], from[1:]
	switch {
	case form == denseForm && len(from) == registers && slices.Max(from) <= mostRank:
		s.mergeDense(from)
		return true
	case form == sparseForm:
		return s.mergeSparse(from)
	}
	return false
}

// Union adds the values of another set.
func (s *Sketch) Union(other *Sketch) {
	if other.many {
		s.mergeDense(other.dense)
		return
	}
	for _, e := range other.sparse {
		s.raise(e>>6, byte(e&63))
	}
}

func (s *Sketch) mergeDense(ranks []byte) {
	if !s.many {
		s.spread()
	}
	for i, rank := range ranks {
		if rank > s.dense[i] {
			s.dense[i] = rank
		}
	}
}

func (s *Sketch) mergeSparse(from []byte) bool {
	entry := uint64(0)
	for len(from) > 0 {
		more, size := binary.Uvarint(from)
		if size <= 0 {
			return false
		}
		from, entry = from[size:], entry+more
		if entry>>6 >= registers || entry&63 == 0 || entry&63 > mostRank {
			return false
		}
		s.raise(uint32(entry>>6), byte(entry&63))
	}
	return true
}

// Estimate is about how many different values there are.
func (s *Sketch) Estimate() float64 {
	var histogram [mostRank + 1]int
	if s.many {
		for _, rank := range s.dense {
			histogram[rank]++
		}
	} else {
		histogram[0] = registers - len(s.sparse)
		for _, e := range s.sparse {
			histogram[e&63]++
		}
	}
	return cardinality(&histogram)
}

// cardinality estimates from how many registers have each rank.
func cardinality(histogram *[mostRank + 1]int) float64 {
	const m = float64(registers)
	z := m * tau(1-float64(histogram[mostRank])/m)
	for rank := mostRank - 1; rank >= 1; rank-- {
		z = 0.5 * (z + float64(histogram[rank]))
	}
	z += m * sigma(float64(histogram[0])/m)
	return m * m / (2 * math.Ln2 * z)
}

// sigma is x + Σ x^(2^k)·2^(k−1) over k ≥ 1.
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	for y, z := 1.0, x; ; y += y {
		x *= x
		before := z
		z += x * y
		if z == before {
			return z
		}
	}
}

// tau is (1 − x − Σ (1 − x^(2^−k))²·2^(−k)) / 3 over k ≥ 1.
func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	for y, z := 1.0, 1-x; ; {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
		if z == before {
			return z / 3
		}
	}
}
