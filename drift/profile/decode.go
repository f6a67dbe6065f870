package profile

import (
	"encoding/binary"
	"math"

	"github.com/cespare/xxhash/v2"
)

// decoder reads what was written, from bytes that may be anything. Once it is bad, all that
// it reads is zero.
type decoder struct {
	rest []byte
	bad  bool
}

// open checks the form and the checksum.
func open(from []byte, form byte, what string) (*decoder, error) {
	content := len(from) - 8
	if content < 1 || from[0] != form || xxhash.Sum64(from[:content]) != binary.LittleEndian.Uint64(from[content:]) {
		return nil, damaged(what)
	}
	return &decoder{rest: from[1:content]}, nil
}

// openOf checks that the bytes are of a map, too.
func openOf(m *Map, from []byte, form byte, what string) (*decoder, error) {
	d, err := open(from, form, what)
	if err != nil {
		return nil, err
	}
	kind, fingerprint := Kind(d.byte()), d.fixed()
	switch {
	case d.bad:
		return nil, damaged(what)
	case fingerprint != m.fingerprint:
		return nil, ErrOtherMap
	case kind != m.kind:
		return nil, damaged(what)
	}
	return d, nil
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail()
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) fixed() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) float() float64 { return math.Float64frombits(d.fixed()) }

func (d *decoder) uvarint() uint64 {
	v, n := shortUvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads a number that is at most most.
func (d *decoder) count(most int) int {
	n := d.uvarint()
	if n > uint64(most) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text(longest int) string { return string(d.take(d.count(longest))) }

// counts reads what appendCounts has written into counts that are zero, and returns their sum.
func (d *decoder) counts(into []uint64) (total uint64) {
	rest := d.rest
	for place := 0; ; {
		for len(rest) > 0 && place < len(into) && rest[0] != 0 && rest[0]&0x81 == 0 { // a count of one byte, as most are
			n := uint64(rest[0] >> 1)
			into[place] = n
			total += n
			place++
			rest = rest[1:]
		}
		token, size := shortUvarint(rest)
		n := token >> 1
		switch left := uint64(len(into) - place); {
		case size > 0 && token == 0 && total <= mostRows:
			d.rest = rest[size:]
			return total
		case n == 0 || token&1 == 1 && n > left || token&1 == 0 && (left == 0 || n > mostRows || total > mostRows-n):
			d.fail()
			return 0
		case token&1 == 1:
			place += int(n)
		default:
			into[place] = n
			total += n
			place++
		}
		rest = rest[size:]
	}
}

// shortUvarint is binary.Uvarint of what is most often one byte.
func shortUvarint(b []byte) (v uint64, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// names reads names that ascend.
func (d *decoder) names(into map[string]uint64) {
	total, before := uint64(0), ""
	for i, n := 0, d.count(mostNames+mostFrozen); i < n && !d.bad; i++ {
		name, count := d.text(longestName), d.uvarint()
		total += count
		if i > 0 && name <= before || count == 0 || count > mostRows || total > mostRows {
			d.fail()
			return
		}
		into[name] = count
		before = name
	}
}

func (d *decoder) totals(t *totals) {
	t.rows, t.nulls, t.nan = d.uvarint(), d.uvarint(), d.uvarint()
	t.infinite = [2]uint64{d.uvarint(), d.uvarint()}
	without := uint64(0)
	for _, n := range []uint64{t.nulls, t.nan, t.infinite[0], t.infinite[1]} {
		if n > mostRows {
			d.fail()
			return
		}
		without += n
	}
	if t.rows > mostRows || without > t.rows {
		d.fail()
		return
	}
	if d.byte() == 0 {
		return
	}
	t.min, t.max = d.float(), d.float()
	rest, ok := t.sum.Merge(d.rest)
	if ok {
		rest, ok = t.squares.Merge(rest)
	}
	if d.rest = rest; !ok || !(t.min <= t.max) || math.IsInf(t.min, 0) || math.IsInf(t.max, 0) || t.finite() == 0 {
		d.fail()
	}
}

func (d *decoder) finish(what string) error {
	if d.bad || len(d.rest) > 0 {
		return damaged(what)
	}
	return nil
}
