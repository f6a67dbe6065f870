package kv_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// TestAFailedWriteOfTheLogIsNeverTakenBack fails the disk under the log, and
// mends it: no later commit may be acknowledged before the folder is opened
// anew, and what was acknowledged must be there then.
func TestAFailedWriteOfTheLogIsNeverTakenBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []errorfs.OpKind
	}{
		{"fsync", []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}},
		{"write", []errorfs.OpKind{errorfs.OpFileWrite}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var broken atomic.Bool
			disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !broken.Load() || filepath.Ext(op.Path) != ".log" {
					return nil
				}
				for _, kind := range c.kinds {
					if op.Kind == kind {
						return syscall.ENOSPC
					}
				}
				return nil
			}))
			db, err := kv.Open(dir, kv.OnDisk(quiet, disk))
			if err != nil {
				t.Fatal(err)
			}
			commit(t, db, set("o1", ""))
			broken.Store(true)
			wantCode(t, tryCommit(db, set("o2", "")), driftline.Unavailable, "no space left on device", "restart")
			broken.Store(false)
			wantCode(t, tryCommit(db, set("o3", "")), driftline.Unavailable, "could not make a write durable")
			if v, err := db.Get([]byte("o1")); v == nil || err != nil {
				t.Fatalf("what was acknowledged cannot be read: %v", err)
			}
			if m := db.Metrics(); m.Acknowledged != 1 {
				t.Fatalf("acknowledged %d, want 1", m.Acknowledged)
			}
			_ = db.Close() // it may say again that the log is broken
			again := open(t, dir)
			if v, err := again.Get([]byte("o1")); v == nil || err != nil {
				t.Fatalf("what was acknowledged is gone: %v", err)
			}
			if v, _ := again.Get([]byte("o3")); v != nil {
				t.Fatal("what was refused is there")
			}
			commit(t, again, set("o4", ""))
		})
	}
}

// TestWritersOfAFailingDiskAreToldTheTruth has the disk fail under many writers
// at once: each gets an error or keeps what it was told.
func TestWritersOfAFailingDiskAreToldTheTruth(t *testing.T) {
	for round := range 10 {
		dir := t.TempDir()
		var syncs atomic.Int64
		disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			fsync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
			if fsync && filepath.Ext(op.Path) == ".log" && syncs.Add(1) > int64(round) {
				return syscall.EIO
			}
			return nil
		}))
		db, err := kv.Open(dir, kv.OnDisk(quiet, disk))
		if err != nil {
			t.Fatal(err)
		}
		var acknowledged [8]int
		var work sync.WaitGroup
		for w := range acknowledged {
			work.Go(func() {
				for n := 0; ; n++ {
					if err := tryCommit(db, set(fmt.Sprintf("o%d-%04d", w, n), "")); err != nil {
						if driftline.CodeOf(err) != driftline.Unavailable {
							t.Error(err)
						}
						return
					}
					acknowledged[w]++
				}
			})
		}
		work.Wait()
		_ = db.Close()
		again := open(t, dir)
		for w, count := range acknowledged {
			for n := range count {
				if v, err := again.Get(fmt.Appendf(nil, "o%d-%04d", w, n)); v == nil || err != nil {
					t.Fatalf("round %d: acknowledged write %d of writer %d is gone: %v", round, n, w, err)
				}
			}
		}
	}
}

// TestOpenFailsCleanlyAtEveryDiskOperation fails the first, second, third …
// operation of opening a folder. Each time Open says so or does without, and a
// later Open on a good disk finds everything. The manifest and the folder itself
// are left out: when their fsync fails Pebble cannot go on, and the process ends.
func TestOpenFailsCleanlyAtEveryDiskOperation(t *testing.T) {
	origin, _ := written(t)
	failures := 0
	for n := int64(1); ; n++ {
		dir := copyOf(t, origin)
		var operations atomic.Int64
		disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			name := filepath.Base(op.Path)
			if strings.Contains(strings.ToLower(name), "manifest") || name == filepath.Base(dir) {
				return nil
			}
			if operations.Add(1) == n {
				return fmt.Errorf("injected: %w", syscall.EIO)
			}
			return nil
		}))
		db, err := kv.Open(dir, kv.OnDisk(quiet, disk))
		if err != nil {
			failures++
			wantCode(t, err, driftline.Unavailable)
		} else {
			_ = db.Close()
		}
		if operations.Load() < n {
			break // there is no such operation
		}
		if allThereOrNamed(t, dir) {
			t.Fatalf("after a failure of operation %d the folder does not open", n)
		}
	}
	if failures == 0 {
		t.Fatal("no operation failed: the test tests nothing")
	}
}
