package kv_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The children of this test binary: one writes and reports each acknowledged
// commit, the other holds a folder open.
const (
	writerDir = "DRIFTLINE_TEST_WRITER"
	holderDir = "DRIFTLINE_TEST_HOLDER"
)

const writers = 4

// writeUntilKilled prints a line for each acknowledged commit: writer and count.
// It writes two keys per commit, so that a torn commit shows.
func writeUntilKilled(dir string) {
	db, err := kv.Open(dir, quiet)
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for w := range writers {
		go func() {
			start := 0
			if last, _, err := db.Last(kv.AppendUint64([]byte{'o'}, uint64(w))); err == nil && last != nil {
				n, _, _ := kv.TakeUint64(last[9:])
				start = int(n) + 1
			}
			for n := start; ; n++ {
				err := tryCommit(db, func(b *kv.Batch) {
					key := kv.AppendUint64(kv.AppendUint64([]byte{'o'}, uint64(w)), uint64(n))
					b.Set(key, make([]byte, 100))
					key[0] = 'i'
					b.Max(key, make([]byte, 100))
				})
				if err != nil {
					fmt.Println("error:", err)
					os.Exit(1)
				}
				fmt.Println(w, n)
			}
		}()
	}
	select {}
}

func holdUntilKilled(dir string) {
	if _, err := kv.Open(dir, quiet); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("open")
	select {}
}

// child starts this binary again and returns its output.
func child(t *testing.T, variable, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), variable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

func TestKillLosesNoAcknowledgedCommit(t *testing.T) {
	dir := t.TempDir()
	kills := 25
	if testing.Short() {
		kills = 5
	}
	acknowledged := [writers]int{-1, -1, -1, -1}
	for kill := range kills {
		cmd, lines := child(t, writerDir, dir)
		moment := rand.IntN(200)
		if moment == 0 {
			_ = cmd.Process.Kill() // perhaps while it opens
		}
		for line := 1; lines.Scan(); line++ { // what it says after the kill was said before
			var w, n int
			if _, err := fmt.Sscan(lines.Text(), &w, &n); err != nil {
				t.Fatal(lines.Text())
			}
			acknowledged[w] = max(acknowledged[w], n)
			if line == moment {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		verifyWriters(t, dir, kill, acknowledged)
	}
	t.Logf("acknowledged %v", acknowledged)
}

func verifyWriters(t *testing.T, dir string, kill int, acknowledged [writers]int) {
	t.Helper()
	db, err := kv.Open(dir, quiet)
	if err != nil {
		t.Fatalf("kill %d: %v", kill, err)
	}
	defer db.Close()
	for w := range writers {
		var counts [2]int
		for i, space := range []byte{'o', 'i'} {
			prefix := kv.AppendUint64([]byte{space}, uint64(w))
			for p, err := range db.ScanPrefix(prefix) {
				if err != nil {
					t.Fatal(err)
				}
				if n, _, _ := kv.TakeUint64(p.Key[9:]); n != uint64(counts[i]) {
					t.Fatalf("kill %d: writer %d has commit %d, want %d: one between is lost", kill, w, n, counts[i])
				}
				counts[i]++
			}
		}
		if counts[0] != counts[1] {
			t.Fatalf("kill %d: writer %d has a torn commit: %v", kill, w, counts)
		}
		if counts[0] <= acknowledged[w] {
			t.Fatalf("kill %d: writer %d has %d commits, %d were acknowledged", kill, w, counts[0], acknowledged[w]+1)
		}
	}
}

func TestASecondProcessIsToldSo(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := child(t, holderDir, dir)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the first process says %q", lines.Text())
	}
	_, err := kv.Open(dir, quiet)
	wantCode(t, err, driftline.Unavailable, "data folder is in use by another process", "stop the other")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	open(t, dir)
}

const damagedCommits = 60

// written returns a folder whose last commits are in the log only, and the path
// of that log.
func written(t *testing.T) (dir, log string) {
	t.Helper()
	dir = t.TempDir()
	db, err := kv.Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for i := range damagedCommits {
		commit(t, db, set(fmt.Sprintf("o%03d", i), strings.Repeat("v", i)))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, newest(t, dir, "*.log")
}

func newest(t *testing.T, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	return slices.Max(files)
}

// copyOf returns a folder with the same files.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestALostEndOfTheLogIsNamed(t *testing.T) {
	dir, log := written(t)
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lossSeen := 0
	for size := 0; size < len(content); size += 97 {
		copied := copyOf(t, dir)
		damagedLog := filepath.Join(copied, filepath.Base(log))
		if err := os.Truncate(damagedLog, int64(size)); err != nil {
			t.Fatal(err)
		}
		if !allThereOrNamed(t, copied) {
			continue // nothing but the padding was cut
		}
		lossSeen++
		if info, err := os.Stat(damagedLog); err != nil || info.Size() != int64(size) {
			t.Fatalf("the damaged log was changed: %v", err)
		}
		if !allThereOrNamed(t, copied) {
			t.Fatal("the loss is forgotten at the second opening")
		}
	}
	if lossSeen == 0 {
		t.Fatal("no truncation lost anything: the test tests nothing")
	}

	copied := copyOf(t, dir)
	if err := os.Remove(filepath.Join(copied, filepath.Base(log))); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Open(copied, quiet)
	wantCode(t, err, driftline.DataLoss, fmt.Sprintf("1 to %d are missing", damagedCommits))
}

func TestADamagedLogIsNeverServed(t *testing.T) {
	dir, log := written(t)
	whole, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	damaged := 0
	for range 80 {
		content := slices.Clone(whole)
		at := random.IntN(len(content))
		if random.IntN(2) == 0 {
			content[at] ^= 1 << random.IntN(8)
		} else {
			clear(content[at:min(at+64, len(content))])
		}
		copied := copyOf(t, dir)
		if err := os.WriteFile(filepath.Join(copied, filepath.Base(log)), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if allThereOrNamed(t, copied) {
			damaged++
		}
	}
	if damaged == 0 {
		t.Fatal("no damage was met: the test tests nothing")
	}
}

// allThereOrNamed reports whether opening gave DataLoss; otherwise every commit
// must be there.
func allThereOrNamed(t *testing.T, dir string) bool {
	t.Helper()
	db, err := kv.Open(dir, quiet)
	if err != nil {
		wantCode(t, err, driftline.DataLoss)
		if strings.Contains(err.Error(), "lost") {
			wantCode(t, err, driftline.DataLoss, fmt.Sprintf("to %d are missing", damagedCommits))
		}
		return true
	}
	defer db.Close()
	if n := len(content(t, db)); n != damagedCommits {
		t.Fatalf("the store opens with %d of %d commits", n, damagedCommits)
	}
	return false
}

func TestTheRangeOfLostCommitsIsExact(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	for i := range 7 {
		commit(t, db, set(fmt.Sprint("o", i), "old"))
	}
	old := filepath.Join(t.TempDir(), "old")
	if err := db.Checkpoint(old); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		commit(t, db, set(fmt.Sprint("o", i), "new"))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	mark, err := os.ReadFile(filepath.Join(dir, "watermark"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, "watermark"), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Open(old, quiet)
	wantCode(t, err, driftline.DataLoss, "lost 5 acknowledged commits: 8 to 12 are missing", "backup")
}

func TestTheWatermarkItself(t *testing.T) {
	dir, _ := written(t)
	mark, err := os.ReadFile(filepath.Join(dir, "watermark"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func([]byte) []byte) string {
		copied := copyOf(t, dir)
		if err := os.WriteFile(filepath.Join(copied, "watermark"), change(slices.Clone(mark)), 0o600); err != nil {
			t.Fatal(err)
		}
		return copied
	}
	for slot := range 2 {
		torn := with(func(m []byte) []byte { m[slot*4096+12] ^= 0x40; return m })
		if allThereOrNamed(t, torn) {
			t.Fatalf("a torn slot %d makes the folder useless", slot)
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"zeros": func(m []byte) []byte { clear(m); return m },
		"empty": func([]byte) []byte { return nil },
		"short": func(m []byte) []byte { return m[:19] },
	} {
		_, err := kv.Open(with(change), quiet)
		if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), "watermark is damaged") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	gone := copyOf(t, dir)
	if err := os.Remove(filepath.Join(gone, "watermark")); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Open(gone, quiet)
	wantCode(t, err, driftline.DataLoss, "watermark is missing")
}

func TestADamagedTableIsAnErrorOfTheReader(t *testing.T) {
	dir, _ := written(t)
	open(t, dir).Close() // moves the log into a table
	table := newest(t, dir, "*.sst")
	content, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(content); at += 61 {
		flipped := slices.Clone(content)
		flipped[at] ^= 0x10
		copied := copyOf(t, dir)
		if err := os.WriteFile(filepath.Join(copied, filepath.Base(table)), flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := kv.Open(copied, quiet)
		if err != nil {
			wantCode(t, err, driftline.DataLoss)
			continue
		}
		seen := 0
		for p, err := range db.Scan(nil, nil) {
			if err != nil {
				wantCode(t, err, driftline.DataLoss, "damaged")
				break
			}
			if want := strings.Repeat("v", seen); string(p.Value) != want {
				t.Fatalf("byte %d flipped: value %q, want %q", at, p.Value, want)
			}
			seen++
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(table); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Open(dir, quiet)
	wantCode(t, err, driftline.DataLoss)
}
