package profile

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline/aggregate/distinct"
)

const (
	// mostNames names are kept with their exact counts, besides those that a map names:
	// the ones whose hashes are least, so that which they are does not depend on the
	// order in which rows came.
	mostNames = 4096

	// longestName bytes of a name are kept.
	longestName = 256
)

// Name is the name by which a category is known in profiles: itself, or, if it is longer
// than 256 bytes, its beginning and the hash of it all.
func Name(name string) string {
	if len(name) <= longestName {
		return name
	}
	const sign = "…#"
	hash := hex.EncodeToString(binary.BigEndian.AppendUint64(nil, xxhash.Sum64String(name)))
	return name[:longestName-len(sign)-len(hash)] + sign + hash
}

// names counts categories. A name that was left out once never comes back, because there
// are always as many others whose hashes are less. So the count of a name that is kept is
// exact, and which names are kept depends on the set of names only.
type names struct {
	counts map[string]*uint64
	limit  uint64 // no name that is not kept yet, of a hash above it, will be

	// What is not kept, by the cells of their hashes.
	other    cells
	distinct distinct.Sketch // of other
}

func (c *names) add(m *Map, name string, n uint64) {
	if c.counts == nil {
		c.counts, c.limit = map[string]*uint64{}, ^uint64(0)
	}
	if c.limit == ^uint64(0) || len(m.frozen) > 0 { // else it pays to look at the hash first
		if count, ok := c.counts[name]; ok {
			*count += n
			return
		}
	}
	name = Name(name)
	hash := xxhash.Sum64String(name)
	if hash > c.limit && !m.frozen[name] {
		c.leaveOut(hash, n)
		return
	}
	if count, ok := c.counts[name]; ok {
		*count += n
		return
	}
	count := n
	c.counts[strings.Clone(name)] = &count
	if len(c.counts) >= 2*mostNames+len(m.names) {
		c.prune(m)
	}
}

func (c *names) leaveOut(hash, n uint64) {
	c.other.add(uint16(hash>>48), n)
	c.distinct.Add(mix(hash))
}

// mix makes other bits of a hash, so that a cell and a register are not the same part of it.
func mix(v uint64) uint64 {
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

type hashedName struct {
	name string
	hash uint64
}

// prune leaves out all names but those that are to be kept.
func (c *names) prune(m *Map) {
	var candidates []hashedName
	for name := range c.counts {
		if !m.frozen[name] {
			candidates = append(candidates, hashedName{name, xxhash.Sum64String(name)})
		}
	}
	if len(candidates) <= mostNames {
		return
	}
	slices.SortFunc(candidates, func(a, b hashedName) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name))
	})
	for _, out := range candidates[mostNames:] {
		c.leaveOut(out.hash, *c.counts[out.name])
		delete(c.counts, out.name)
	}
	c.limit = candidates[mostNames-1].hash
}

// sorted prunes, and returns the names that are kept, in order.
func (c *names) sorted(m *Map) []string {
	c.prune(m)
	return slices.Sorted(maps.Keys(c.counts))
}

func (c *names) merge(m *Map, other *names) {
	for name, n := range other.counts {
		c.add(m, name, *n)
	}
	other.other.each(func(cell int, n uint64) { c.other.add(uint16(cell), n) })
	c.distinct.Union(&other.distinct)
}

// knows reports whether the count of a name is exact: it is kept, or would be.
func (c *names) knows(m *Map, name string) bool {
	if _, kept := c.counts[name]; kept || m.frozen[name] || c.other.total == 0 {
		return true
	}
	return xxhash.Sum64String(name) <= c.limit
}

// PairCategories counts the categories of both sides such that the counts can be compared:
// by name where the counts of both sides are exact, and the rest by the hashes of the names,
// under names in angle brackets. The last result is how many rows of both are of the rest.
func PairCategories(reference, current *Column) (a, b map[string]int64, rest int64) {
	a, b = map[string]int64{}, map[string]int64{}
	reference.names.prune(reference.m)
	current.names.prune(current.m)
	for _, side := range []struct {
		of, other *Column
		into      map[string]int64
	}{{reference, current, a}, {current, reference, b}} {
		for name, n := range side.of.names.counts {
			key := name
			if !side.other.names.knows(side.other.m, name) {
				key = groupName(uint16(xxhash.Sum64String(name) >> 48))
				rest += int64(*n)
			}
			side.into[key] += int64(*n)
		}
		side.of.names.other.each(func(cell int, n uint64) {
			side.into[groupName(uint16(cell))] += int64(n)
			rest += int64(n)
		})
	}
	return a, b, rest
}

func groupName(cell uint16) string { return fmt.Sprintf("<other names, group %d>", cell>>groupBits) }
