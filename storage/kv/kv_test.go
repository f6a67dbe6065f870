package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

var quiet = &kv.Options{Logger: slog.New(slog.DiscardHandler)}

func open(t testing.TB, dir string) *kv.DB {
	t.Helper()
	db, err := kv.Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func commit(t testing.TB, db *kv.DB, change func(*kv.Batch)) {
	t.Helper()
	if err := tryCommit(db, change); err != nil {
		t.Fatal(err)
	}
}

func tryCommit(db *kv.DB, change func(*kv.Batch)) error {
	b := db.NewBatch()
	change(b)
	return errors.Join(b.Commit(), b.Close())
}

func set(pairs ...string) func(*kv.Batch) {
	return func(b *kv.Batch) {
		for i := 0; i < len(pairs); i += 2 {
			b.Set([]byte(pairs[i]), []byte(pairs[i+1]))
		}
	}
}

// content returns what a scan of everything sees, as "key=value" in order.
func content(t testing.TB, db *kv.DB) []string {
	t.Helper()
	var pairs []string
	for p, err := range db.Scan(nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, fmt.Sprintf("%s=%s", p.Key, p.Value))
	}
	return pairs
}

func wantCode(t testing.TB, err error, code driftline.Code, words ...string) {
	t.Helper()
	if driftline.CodeOf(err) != code {
		t.Fatalf("error is %v (%v), want code %s", err, driftline.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("error is %q, want it to say %q", err, w)
		}
	}
}

func TestGet(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("o1", "one", "oempty", ""))
	for key, want := range map[string][]byte{"o1": []byte("one"), "oempty": {}, "o2": nil, "": nil} {
		got, err := db.Get([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("Get(%q) = %#v, want %#v", key, got, want)
		}
	}
}

func TestABatchIsOneChangeInOrder(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a1", "x", "a2", "x", "b1", "x"))
	b := db.NewBatch()
	b.Set([]byte("a3"), []byte("gone with the prefix"))
	b.DeletePrefix([]byte("a"))
	b.Set([]byte("a4"), []byte("after"))
	b.Delete([]byte("b1"))
	if got := content(t, db); len(got) != 3 {
		t.Fatalf("before the commit a reader sees %q", got)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, db); !slices.Equal(got, []string{"a4=after"}) {
		t.Fatalf("after the commit a reader sees %q", got)
	}
	wantCode(t, b.Commit(), driftline.Internal, "committed or closed before")
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABatchThatIsNotCommittedChangesNothing(t *testing.T) {
	db := open(t, t.TempDir())
	b := db.NewBatch()
	set("a", "x")(b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	commit(t, db, func(*kv.Batch) {})
	if m := db.Metrics(); m.Commit != 0 || len(content(t, db)) != 0 {
		t.Fatalf("commit %d, content %q; want none", m.Commit, content(t, db))
	}
}

func TestDeletePrefixNeverReachesBeyondThePrefix(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"a", "b=,\xff=,\xff\xff=,\xff\xffz="},
		{"a\xff", "a=,aa=,b=,\xff=,\xff\xff=,\xff\xffz="},
		{"", "a=,aa=,a\xff=,b=,\xff=,\xff\xff=,\xff\xffz="},
	} {
		db := open(t, t.TempDir())
		commit(t, db, set("a", "", "aa", "", "a\xff", "", "b", "", "\xff", "", "\xff\xff", "", "\xff\xffz", ""))
		commit(t, db, func(b *kv.Batch) { b.DeletePrefix([]byte(c.prefix)) })
		if got := strings.Join(content(t, db), ","); got != c.want {
			t.Errorf("after DeletePrefix(%q): %q, want %q", c.prefix, got, c.want)
		}
	}
}

func TestMaxKeepsTheGreatestInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	for round := range 4 { // reopening moves operands from the log into tables
		db := open(t, dir)
		for range 60 {
			commit(t, db, func(b *kv.Batch) {
				for range 1 + random.IntN(5) {
					key, value := fmt.Sprint("k", random.IntN(6)), fmt.Sprint(random.IntN(1000))
					switch random.IntN(12) {
					case 0:
						b.Set([]byte(key), []byte(value))
						want[key] = value
					case 1:
						b.Delete([]byte(key))
						delete(want, key)
					default:
						b.Max([]byte(key), []byte(value))
						b.Max([]byte(key), []byte(value))
						want[key] = max(want[key], value)
					}
				}
			})
		}
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			pairs = append(pairs, key+"="+want[key])
		}
		if got := content(t, db); !slices.Equal(got, pairs) {
			t.Fatalf("round %d: %q, want %q", round, got, pairs)
		}
		for key, value := range want {
			if got, err := db.Get([]byte(key)); err != nil || string(got) != value {
				t.Fatalf("round %d: Get(%s) = %q, %v; want %q", round, key, got, err, value)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAHotKeyKeepsTheGreatest drives some keys past the point where kv replaces
// operands by their value, from many goroutines, with deletions in between.
func TestAHotKeyKeepsTheGreatest(t *testing.T) {
	db := open(t, t.TempDir())
	const writers, each = 4, 30
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range each {
				err := tryCommit(db, func(b *kv.Batch) {
					for j := range 50 {
						b.Max([]byte("greatest"), fmt.Appendf(nil, "%04d", (i*50+j)*writers+w))
						b.Max([]byte("deleted"), []byte("x"))
					}
					b.Delete([]byte("deleted"))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	want := fmt.Sprintf("greatest=%04d", writers*each*50-1)
	if got := content(t, db); !slices.Equal(got, []string{want}) {
		t.Fatalf("content is %q, want %q", got, want)
	}
	if m := db.Metrics(); m.Commit != writers*each {
		t.Fatalf("commit %d, want %d", m.Commit, writers*each)
	}
}

func TestAStateKnowsAbsentFromEmptyAndStaysAtItsState(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("b", "2", "d", "", "f", "6"))
	commit(t, db, func(b *kv.Batch) { b.Max([]byte("b"), []byte("1")) })
	r, err := db.State()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, db, set("a", "new", "b", "3", "f", "7"))
	var got []string
	for _, key := range []string{"a", "b", "b", "bb", "d", "f", "zz", "b"} {
		value, err := r.Get([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		text := "absent"
		if value != nil {
			text = fmt.Sprintf("%q", value)
		}
		got = append(got, key+":"+text)
	}
	want := []string{`a:absent`, `b:"2"`, `b:"2"`, `bb:absent`, `d:""`, `f:"6"`, `zz:absent`, `b:"2"`}
	if !slices.Equal(got, want) {
		t.Fatalf("reads %q, want %q", got, want)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAStateAgreesWithGet(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		db := open(t, dir)
		for range 20 {
			commit(t, db, func(b *kv.Batch) {
				for range 20 {
					key := fmt.Appendf(nil, "o%d", random.IntN(500))
					if random.IntN(8) == 0 {
						b.Delete(key)
					} else {
						b.Max(key, fmt.Append(nil, random.Int()))
					}
				}
			})
		}
		r, err := db.State()
		if err != nil {
			t.Fatal(err)
		}
		keys := make([][]byte, 300)
		for i := range keys {
			keys[i] = fmt.Appendf(nil, "o%d", random.IntN(600))
		}
		slices.SortFunc(keys[:200], bytes.Compare) // and the last hundred in any order
		for _, key := range keys {
			value, err := r.Get(key)
			want, wantErr := db.Get(key)
			if err := errors.Join(err, wantErr); err != nil || !bytes.Equal(value, want) || (value == nil) != (want == nil) {
				t.Fatalf("a state gives %q for %s, Get gives %q, %v", value, key, want, err)
			}
		}
		if err := errors.Join(r.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScan(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "", "b", "", "b1", "", "b\xff", "", "c", "", "\xff", ""))
	for _, c := range []struct{ lower, upper, want string }{
		{"", "", "a b b1 b\xff c \xff"},
		{"b", "c", "b b1 b\xff"},
		{"b1", "", "b1 b\xff c \xff"},
		{"", "b", "a"},
		{"c", "b", ""},
		{"bb", "bc", ""},
	} {
		bound := func(s string) []byte {
			if s == "" {
				return nil
			}
			return []byte(s)
		}
		var got []string
		for p, err := range db.Scan(bound(c.lower), bound(c.upper)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(p.Key))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("Scan(%q, %q) = %q, want %q", c.lower, c.upper, g, c.want)
		}
	}
	for prefix, want := range map[string]string{"b": "b\xff", "b1": "b1", "": "\xff", "\xff": "\xff", "x": "", "a": "a"} {
		key, value, err := db.Last([]byte(prefix))
		if err != nil || string(key) != want || (key == nil) != (value == nil) || (key == nil) != (want == "") {
			t.Errorf("Last(%q) = %q, %v, %v; want %q", prefix, key, value, err, want)
		}
	}
}

func TestAScanSeesOneStateAndCanBeLeft(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "1", "b", "1", "c", "1"))
	var seen []string
	for p, err := range db.ScanPrefix(nil) {
		if err != nil {
			t.Fatal(err)
		}
		commit(t, db, set("b", "2", "bb", "2"))
		seen = append(seen, string(p.Key)+string(p.Value))
	}
	if !slices.Equal(seen, []string{"a1", "b1", "c1"}) {
		t.Fatalf("scan saw %q", seen)
	}
	for range db.ScanPrefix([]byte("b")) {
		break
	}
}

func TestCloseWaitsForReadersAndRefusesWhatComesAfter(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "", "b", ""))
	batch := db.NewBatch()
	set("c", "")(batch)
	var closing sync.WaitGroup
	count := 0
	for _, err := range db.Scan(nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if count++; count == 1 {
			closing.Go(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	closing.Wait()
	if count != 2 {
		t.Fatalf("scan saw %d keys, want 2", count)
	}
	if err := db.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	_, err := db.Get([]byte("a"))
	wantCode(t, err, driftline.Unavailable, "closed")
	_, err = db.State()
	wantCode(t, err, driftline.Unavailable)
	wantCode(t, batch.Commit(), driftline.Unavailable)
	wantCode(t, db.Checkpoint(t.TempDir()), driftline.Unavailable)
	_, _, err = db.Last(nil)
	wantCode(t, err, driftline.Unavailable)
	for _, err := range db.Scan(nil, nil) {
		wantCode(t, err, driftline.Unavailable)
	}
	if db.Metrics() != (kv.Metrics{}) {
		t.Fatal("metrics of a closed store are not zero")
	}
	if err := batch.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestABatchThatIsTooLargeIsRefusedWhole(t *testing.T) {
	db, err := kv.Open(t.TempDir(), kv.WithBatchBytes(quiet, 3<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	value := make([]byte, 1<<20)
	commit(t, db, func(b *kv.Batch) { b.Set([]byte("fits"), value); b.Max([]byte("fits too"), value) })
	err = tryCommit(db, func(b *kv.Batch) {
		set("first", "fits")(b)
		for range 3 {
			b.Max([]byte("huge"), value)
		}
		set("last", "would fit")(b)
	})
	wantCode(t, err, driftline.Exhausted, "larger than 3 MiB", "smaller parts")
	if got := content(t, db); len(got) != 2 {
		t.Fatalf("a part was committed: %d keys", len(got))
	}
}

func TestAFolderOfANewerVersion(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	markers, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatalf("markers %q, %v", markers, err)
	}
	if err := os.Rename(markers[0], filepath.Join(dir, "marker.format-version.000099.999")); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Open(dir, quiet)
	wantCode(t, err, driftline.FailedPrecondition, "newer version")
}

func TestConcurrentCommitsAreAllThereAndNumbered(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	const writers, each = 16, 25
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range each {
				if err := tryCommit(db, set(fmt.Sprintf("o%d-%d", w, i), "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	m := db.Metrics()
	if m.Commit != writers*each || m.Acknowledged != writers*each {
		t.Fatalf("commit %d, acknowledged %d, want %d", m.Commit, m.Acknowledged, writers*each)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if n := len(content(t, again)); n != writers*each {
		t.Fatalf("%d keys, want %d", n, writers*each)
	}
	if m := again.Metrics(); m.Commit != writers*each {
		t.Fatalf("commit %d after reopening, want %d", m.Commit, writers*each)
	}
}

func TestACheckpointIsAFolderOfItsOwn(t *testing.T) {
	db := open(t, t.TempDir())
	commit(t, db, set("a", "1"))
	dir := filepath.Join(t.TempDir(), "copy")
	if err := db.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	commit(t, db, set("a", "2", "b", "2"))
	copied := open(t, dir)
	commit(t, copied, set("c", "3"))
	if got := content(t, copied); !slices.Equal(got, []string{"a=1", "c=3"}) {
		t.Fatalf("the copy holds %q", got)
	}
	if got := content(t, db); !slices.Equal(got, []string{"a=2", "b=2"}) {
		t.Fatalf("the original holds %q", got)
	}
	err := db.Checkpoint(dir)
	wantCode(t, err, driftline.Unavailable, "does not exist")
	if strings.Contains(err.Error(), filepath.Dir(dir)) {
		t.Fatalf("error %q tells the server's path", err)
	}
}

func TestAFolderIsOpenOnce(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/.", link} {
		_, err := kv.Open(name, quiet)
		wantCode(t, err, driftline.Unavailable, "in use by another process")
	}
	commit(t, db, set("a", "still works"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestAFolderThatCannotBeAFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := kv.Open(dir, quiet)
		wantCode(t, err, driftline.Unavailable, "cannot be opened")
		if strings.Contains(err.Error(), filepath.Dir(file)) {
			t.Fatalf("error %q tells the server's path", err)
		}
	}
}
