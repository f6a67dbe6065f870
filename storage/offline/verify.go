package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/driftline/driftline"
)

// Verify compares the content of a file with the hash that is its name. Damage is
// DataLoss, naming table and hash, and puts the file into quarantine: see
// [Store.Damaged]. A file found good is not read again while the store is open: later
// damage shows at the next start, and to [Store.Scrub].
func (s *Store) Verify(ctx context.Context, f File) error { return s.verify(ctx, f, nil) }

func (s *Store) verify(ctx context.Context, f File, pace *Pace) error {
	err := s.check(ctx, f, pace)
	if driftline.CodeOf(err) == driftline.DataLoss {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.quarantine[s.pathOf(f)] = f
	}
	return err
}

// check is verify of a file that need not be a table's yet.
func (s *Store) check(ctx context.Context, f File, pace *Pace) error {
	path := s.pathOf(f)
	s.mu.Lock()
	_, known := s.verified[path]
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := s.compare(ctx, f, path, pace); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified[path] = struct{}{}
	delete(s.quarantine, path)
	return nil
}

// wrote notes that a file is what its name says. Its hash was computed from the bytes
// that went to the kernel, and fsync has answered, so the file is not read for that: the
// kernel would answer from its cache, out of the very pages that were written, whatever
// has become of them on the disk. Whoever opens the file in a later process compares it.
func (s *Store) wrote(f File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified[s.pathOf(f)] = struct{}{}
}

func (s *Store) compare(ctx context.Context, f File, path string, pace *Pace) error {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.missing(f, err)
	}
	if err != nil {
		return failure(fmt.Sprintf("open file %s of table %s", f.Hash, f.Table), err)
	}
	defer in.Close()
	hash := sha256.New()
	read, err := io.Copy(hash, &contextReader{ctx: ctx, pace: pace, in: in})
	if err != nil {
		if stopped := interrupted(err); stopped != nil {
			return stopped
		}
		return lost(f, "cannot be read", err)
	}
	if found := hex.EncodeToString(hash.Sum(nil)[:hashBytes]); found != f.Hash {
		return lost(f, "is damaged", fmt.Errorf("%d bytes with hash %s, want %d bytes", read, found, f.Bytes))
	}
	return nil
}

func lost(f File, what string, cause error) error {
	e := driftline.Errorf(driftline.DataLoss, "file %s of table %s %s", f.Hash, f.Table, what).
		WithRef(driftline.Ref{Kind: driftline.KindFile, Name: f.Table.String(), Version: f.Hash}).
		WithHint("restore it from a backup")
	e.Err = cause
	return e
}

// contextReader ends a long read when its context does, and keeps to a pace.
type contextReader struct {
	ctx  context.Context
	pace *Pace
	in   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if stopped := r.pace.moved(r.ctx, n); stopped != nil {
		return n, stopped
	}
	return n, err
}

// Damaged returns the files that were found damaged or missing since the store was
// opened, and not found good again after, sorted by path. All that is in no quarantine
// goes on being served: other files, other snapshots, other tables.
func (s *Store) Damaged(context.Context) []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	damaged := make([]File, 0, len(s.quarantine))
	for _, path := range slices.Sorted(maps.Keys(s.quarantine)) {
		damaged = append(damaged, s.quarantine[path])
	}
	return damaged
}

// Healthy verifies the files of a snapshot and tells the good from the damaged, for a
// caller who asks for what is left: see [Snapshot.Without]. An error is that of a file
// which could not be looked at, so that what the machine refused is not taken for lost.
func (s *Store) Healthy(ctx context.Context, snapshot Snapshot) (files, damaged []File, err error) {
	for _, f := range snapshot.Files {
		err := s.Verify(ctx, f)
		switch {
		case err == nil:
			files = append(files, f)
		case driftline.CodeOf(err) == driftline.DataLoss:
			damaged = append(damaged, f)
		default:
			return nil, nil, err
		}
	}
	return files, damaged, nil
}

// Without returns what is left of a snapshot without some of its files.
func (s Snapshot) Without(files []File) Snapshot {
	s.Files = without(s.Files, files)
	s.Rows = rowsOf(s.Files)
	return s
}
