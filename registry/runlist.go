package registry

import (
	"hash/maphash"
	"iter"

	"github.com/driftline/driftline"
)

// runList is all runs by number and by id. A map from ids would have cost some forty bytes a
// run: this index is a table of numbers, and asks the runs themselves for their ids.
type runList struct {
	byNumber *paged[*run] // nil where a run was removed for good
	slots    []uint32     // a power of two of them: 1 + number of the run, or 0; linear probing
	indexed  int
}

// runHash is the seed by which ids find their slots. It is the process's, and nothing outside
// it depends on where a run stands.
var runHash = maphash.MakeSeed()

func newRunList() *runList { return &runList{byNumber: newPaged[*run](), slots: make([]uint32, 8)} }

func (l *runList) clone() *runList {
	return &runList{byNumber: l.byNumber.snapshot(), slots: append([]uint32(nil), l.slots...), indexed: l.indexed}
}

// len is how many runs there are and were.
func (l *runList) len() int { return l.byNumber.len() }

// at returns the run with a number, nil if it was removed.
func (l *runList) at(number uint32) *run { return l.byNumber.at(number) }

// all yields the runs in the order of creation.
func (l *runList) all() iter.Seq[*run] {
	return func(yield func(*run) bool) {
		for _, run := range l.byNumber.all() {
			if run != nil && !yield(run) {
				return
			}
		}
	}
}

// find returns the number of the run with an id.
func (l *runList) find(id driftline.RunID) (number uint32, ok bool) {
	slot := l.slot(id)
	if l.slots[slot] == 0 {
		return 0, false
	}
	return l.slots[slot] - 1, true
}

// add puts a run at its number, where none is.
func (l *runList) add(run *run) {
	if 4*(l.indexed+1) > 3*len(l.slots) {
		l.grow()
	}
	l.slots[l.slot(run.id())] = run.number + 1
	l.indexed++
	l.byNumber.set(run.number, run)
}

// replace puts a run in the place of the one with its number and id.
func (l *runList) replace(run *run) { l.byNumber.set(run.number, run) }

// remove leaves the number of a run without a run.
func (l *runList) remove(run *run) {
	l.unindex(l.slot(run.id()))
	l.byNumber.set(run.number, nil)
}

// removeLast takes back the add of the newest run.
func (l *runList) removeLast(run *run) {
	l.remove(run)
	l.byNumber.cut(int(run.number))
}

// slot is where an id is, or where it belongs.
func (l *runList) slot(id driftline.RunID) int {
	i := l.home(id)
	for l.slots[i] != 0 && l.at(l.slots[i]-1).id() != id {
		i = (i + 1) & (len(l.slots) - 1)
	}
	return i
}

func (l *runList) home(id driftline.RunID) int {
	return int(maphash.String(runHash, string(id)) & uint64(len(l.slots)-1))
}

func (l *runList) grow() {
	before := l.slots
	l.slots = make([]uint32, 2*len(before))
	for _, numbered := range before {
		if numbered != 0 {
			l.slots[l.slot(l.at(numbered-1).id())] = numbered
		}
	}
}

// unindex empties a slot, and moves those that follow nearer to where they belong, so that a
// search for them does not end at the gap.
func (l *runList) unindex(gap int) {
	last := len(l.slots) - 1
	for i := (gap + 1) & last; l.slots[i] != 0; i = (i + 1) & last {
		home := l.home(l.at(l.slots[i] - 1).id())
		if (i-home)&last >= (i-gap)&last {
			l.slots[gap], gap = l.slots[i], i
		}
	}
	l.slots[gap] = 0
	l.indexed--
}
