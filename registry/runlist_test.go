package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/driftline/driftline"
)

// TestRunListFindsWhatAMapFinds adds, replaces, removes and takes back runs at random, and holds
// the list and its clones against maps.
func TestRunListFindsWhatAMapFinds(t *testing.T) {
	type both struct {
		list *runList
		want map[driftline.RunID]*run
	}
	random := rand.New(rand.NewPCG(1, 2))
	now := both{newRunList(), map[driftline.RunID]*run{}}
	var before []both // clones, which must not change any more
	for step := range 20_000 {
		number := uint32(now.list.len())
		switch choice := random.IntN(100); {
		case choice < 60:
			made := &run{number: number}
			made.call(driftline.RunID(fmt.Sprint("run-", step)), "its name")
			now.list.add(made)
			now.want[made.id()] = made
		case choice == 99 && len(before) < 5:
			before = append(before, both{now.list.clone(), maps.Clone(now.want)})
		case number == 0:
		default:
			old := now.list.at(random.Uint32N(number))
			if choice < 65 {
				old = now.list.at(number - 1)
			}
			switch {
			case old == nil:
			case choice < 65:
				now.list.removeLast(old)
				delete(now.want, old.id())
			case choice < 75:
				now.list.remove(old)
				delete(now.want, old.id())
			default:
				next := *old
				next.started = int64(step)
				now.list.replace(&next)
				now.want[old.id()] = &next
			}
		}
	}
	for _, b := range append(before, now) {
		for step := range 20_000 {
			id := driftline.RunID(fmt.Sprint("run-", step))
			number, found := b.list.find(id)
			if want := b.want[id]; found != (want != nil) || (found && b.list.at(number) != want) {
				t.Fatalf("find(%q) = %d, %v; want %v", id, number, found, want)
			}
		}
		all := slices.Collect(b.list.all())
		if len(all) != len(b.want) || !slices.IsSortedFunc(all, func(a, b *run) int { return int(a.number) - int(b.number) }) {
			t.Errorf("%d runs are listed, in order: %v; want %d", len(all), all, len(b.want))
		}
	}
}

// TestSnapshotsOfPagesStay changes a list between snapshots, each of which must stay what it was.
func TestSnapshotsOfPagesStay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	list := newPaged[int]()
	var want []int
	type kept struct {
		list *paged[int]
		want []int
	}
	var snapshots []kept
	for step := range 3000 {
		switch n := random.IntN(len(want) + 1 + pageLength/2); {
		case n >= len(want):
			list.set(uint32(len(want)), step)
			want = append(want, step)
		case step%97 == 0:
			list.cut(n)
			want = want[:n]
		default:
			list.set(uint32(n), step)
			want[n] = step
		}
		if step%50 == 0 {
			snapshots = append(snapshots, kept{list.snapshot(), slices.Clone(want)})
		}
	}
	for i, s := range append(snapshots, kept{list, want}) {
		var got []int
		for _, value := range s.list.all() {
			got = append(got, value)
		}
		if !slices.Equal(got, s.want) {
			t.Fatalf("snapshot %d has %d values, which are not the %d that the list had then", i, len(got), len(s.want))
		}
	}
}
