package kv_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/driftline/driftline/storage/kv"
)

func TestDeleteIfLeavesWhatAnotherCommitChanged(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "1", "b", "1", "c", "1"))
	b := db.NewBatch()
	defer b.Close()
	for _, key := range []string{"a", "b", "c", "d"} {
		b.DeleteIf([]byte(key), []byte("1"))
	}
	commit(t, db, func(b *kv.Batch) { // in between: renewed, and deleted and written again
		b.Max([]byte("b"), []byte("2"))
		b.Delete([]byte("c"))
		b.Max([]byte("c"), []byte("0"))
	})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, db), []string{"b=2", "c=0"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}

func TestABatchOfNothingButDeleteIfIsNotEmpty(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "1"))
	b := db.NewBatch()
	defer b.Close()
	if b.DeleteIf([]byte("a"), []byte("1")); b.Empty() {
		t.Error("it says that it is empty")
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, db); len(got) != 0 {
		t.Errorf("there is %q", got)
	}
}

func TestDerivedValuesAreKeptOnlyIfNothingWasTouchedSince(t *testing.T) {
	db := open(t, t.TempDir())
	mine, other := db.Subject([]byte("mine")), db.Subject([]byte("other"))
	for _, c := range []struct {
		name      string
		meanwhile func(b *kv.Batch)
		kept      bool
	}{
		{"nothing", func(*kv.Batch) {}, true},
		{"another subject", func(b *kv.Batch) { b.Set([]byte("x"), nil); b.Touch(other) }, true},
		{"the subject", func(b *kv.Batch) { b.Set([]byte("x"), nil); b.Touch(mine) }, false},
		{"every subject", func(b *kv.Batch) { b.Set([]byte("x"), nil); b.TouchAll() }, false},
	} {
		stamp := db.Stamp(mine)
		commit(t, db, c.meanwhile)
		b := db.NewBatch()
		b.Set([]byte(c.name), []byte("sum"))
		if err := b.CommitDerived(mine, stamp, 1); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := db.Get([]byte(c.name))
		if err != nil {
			t.Fatal(err)
		}
		if (got != nil) != c.kept {
			t.Errorf("%s was touched: kept is %v, want %v", c.name, got != nil, c.kept)
		}
	}
}

// TestASumIsNeverStale lets writers add to numbers, and readers keep and use their sum.
func TestASumIsNeverStale(t *testing.T) {
	db := open(t, t.TempDir())
	const writers, writes = 2, 150
	subject, sum := db.Subject([]byte("n")), []byte("sum")
	total := func(s *kv.State) (cached, counted uint64, has bool) {
		for _, scan := range []struct {
			from, to string
			add      func(value []byte)
		}{
			{"n/", "n0", func(v []byte) { counted += binary.BigEndian.Uint64(v) }},
			{"sum", "sun", func(v []byte) { cached, has = binary.BigEndian.Uint64(v), true }},
		} {
			if err := s.Scan([]byte(scan.from), []byte(scan.to), func(_, v []byte) bool { scan.add(v); return true }); err != nil {
				t.Error(err)
			}
		}
		return cached, counted, has
	}
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	hits := 0
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			stamp := db.Stamp(subject)
			state, err := db.State()
			if err != nil {
				t.Error(err)
				return
			}
			cached, counted, has := total(state)
			if err := state.Close(); err != nil {
				t.Error(err)
			}
			if has {
				if hits++; cached != counted {
					t.Errorf("the sum is %d, want %d", cached, counted)
				}
				continue
			}
			b := db.NewBatch()
			b.Set(sum, binary.BigEndian.AppendUint64(nil, counted))
			if err := b.CommitDerived(subject, stamp, 1); err != nil {
				t.Error(err)
			}
			_ = b.Close()
		}
	})
	for w := range writers {
		writing.Go(func() {
			for i := range writes {
				if err := tryCommit(db, func(b *kv.Batch) {
					b.Set(fmt.Appendf(nil, "n/%d/%d", w, i), binary.BigEndian.AppendUint64(nil, 1))
					b.DeleteDerived(subject, 0, sum)
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
	if hits == 0 {
		t.Error("no kept sum was ever used")
	}
}

func TestAStateCanBeScannedInBothDirectionsAndStaysAsItWas(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "1", "b", "2", "c", "3", "d", "4"))
	s, err := db.State()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	commit(t, db, set("bb", "5"))
	var got []string
	see := func(key, value []byte) bool {
		got = append(got, string(key)+string(value))
		return len(got)%4 != 3
	}
	for _, scan := range []func(lower, upper []byte, visit func(key, value []byte) bool) error{s.Scan, s.ScanBack} {
		if err := scan([]byte("a"), []byte("d"), see); err != nil {
			t.Fatal(err)
		}
		got = append(got, "|")
	}
	if want := []string{"a1", "b2", "c3", "|", "c3", "b2", "a1", "|"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDerivedValuesAreDeletedOnlyWhereTheyReach(t *testing.T) {
	db := open(t, t.TempDir())
	mine := db.Subject([]byte("mine"))
	derive := func() {
		b := db.NewBatch()
		defer b.Close()
		b.Set([]byte("a"), []byte("sum to 10"))
		if err := b.CommitDerived(mine, db.Stamp(mine), 10); err != nil {
			t.Fatal(err)
		}
	}
	write := func(at int64) func(*kv.Batch) {
		return func(b *kv.Batch) { b.DeleteDerived(mine, at, []byte("a"), []byte("b")) }
	}
	for _, c := range []struct {
		at      int64
		known   bool // whether what there is was said after the folder was opened
		deletes bool
	}{{9, true, true}, {10, true, false}, {10, false, true}} {
		if db.Close() != nil {
			t.Fatal("close")
		}
		db = open(t, t.TempDir())
		mine = db.Subject([]byte("mine"))
		if c.known {
			db.ForgetDerived()
		}
		derive()
		commit(t, db, write(c.at))
		if got := len(content(t, db)) == 0; got != c.deletes {
			t.Errorf("%+v: deleted is %v", c, got)
		}
	}
	db.ForgetDerived()
	db.Reaches(mine, 20)
	commit(t, db, write(19))
	if got := content(t, db); len(got) != 0 {
		t.Errorf("%q was not deleted", got)
	}
}
