package online_test

import (
	"context"
	"math"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/online"
)

// expire removes rows of views before a time and returns how many it found.
func (f *fixture) expire(before int64, views ...*driftline.FeatureView) int {
	f.Helper()
	bounds := map[driftline.ViewName]int64{}
	var all []driftline.FeatureView
	for _, v := range views {
		bounds[v.Name] = before
		all = append(all, *v)
	}
	found, err := f.store.Expire(context.Background(), all, bounds)
	f.check(err)
	return found
}

// floor is the floor that a read of the view reports.
func (f *fixture) floor(view *driftline.FeatureView) int64 {
	f.Helper()
	keys := f.keys(view, [][]any{{"JFK"}})
	defer release(keys)
	results, err := f.read(context.Background(), 1, lookup{view, keys, nil})
	f.check(err)
	return results[0].Floor
}

func TestExpiredRowsGoAndTheFloorSaysSo(t *testing.T) {
	f := newFixture(t)
	short, long := weather(field("temp", driftline.Int64)), weather(field("temp", driftline.Int64))
	long.Name = "climate"
	for _, v := range []*driftline.FeatureView{short, long} {
		f.put(v, []any{"EWR", int64(10), int64(0), int64(1)}, []any{"JFK", int64(20), int64(0), int64(2)})
	}
	if floor := f.floor(short); floor != online.Complete {
		t.Errorf("the floor is %d before anything expired", floor)
	}
	if n := f.expire(20, short); n != 1 {
		t.Errorf("%d rows expired, want the one before 20", n)
	}
	f.want(f.get(short, []any{"EWR"}, []any{"JFK"}), "absent", "20 0 2")
	f.want(f.get(long, []any{"EWR"}, []any{"JFK"}), "10 0 1", "20 0 2")
	f.reopen()
	if floor := f.floor(short); floor != 20 {
		t.Errorf("the floor is %d, want 20", floor)
	}
	if floor := f.floor(long); floor != online.Complete {
		t.Errorf("the floor of a view that lost nothing is %d", floor)
	}
	if n := f.expire(15, short); n != 0 || f.floor(short) != 20 {
		t.Errorf("%d rows expired, and the floor is %d: it never falls", n, f.floor(short))
	}
}

func TestARowThatIsRenewedWhileItExpiresStays(t *testing.T) {
	f := newFixture(t)
	view := weather(field("temp", driftline.Int64))
	f.put(view, []any{"EWR", int64(10), int64(0), int64(1)}, []any{"JFK", int64(10), int64(0), int64(2)}, []any{"LGA", int64(10), int64(0), int64(3)})
	f.store.OnExpiring(func() {
		f.put(view, []any{"JFK", int64(30), int64(0), int64(4)}) // renewed
		f.put(view, []any{"LGA", int64(10), int64(5), int64(5)}) // corrected, and expired all the same
	})
	f.expire(20, view)
	f.want(f.get(view, []any{"EWR"}, []any{"JFK"}, []any{"LGA"}), "absent", "30 0 4", "10 5 5")
}

func TestARebuildEndsAnExpiryOfItsView(t *testing.T) {
	f := newFixture(t)
	view := weather(field("temp", driftline.Int64))
	f.put(view, []any{"EWR", int64(10), int64(0), int64(1)})
	f.store.OnExpiring(func() {
		f.check(f.store.BeginRebuild(view.Name))
		if floor := f.floor(view); floor != math.MaxInt64 {
			t.Errorf("the floor is %d during a rebuild", floor)
		}
		f.check(f.store.EndRebuild(view.Name))
	})
	if n := f.expire(20, view); n != 0 {
		t.Errorf("%d rows expired after the rebuild", n)
	}
	f.want(f.get(view, []any{"EWR"}), "10 0 1")
	if floor := f.floor(view); floor != online.Complete {
		t.Errorf("the floor is %d after a rebuild", floor)
	}
}
