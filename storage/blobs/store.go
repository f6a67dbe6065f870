package blobs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

// PieceBytes is the length of the pieces that are checked on their own.
const PieceBytes = 1 << 20

// Blob names a content.
type Blob struct {
	SHA256 string // 64 hexadecimal digits
	Size   int64

	// Pieces are the checksums of the pieces, 8 bytes each, nil for a content of one piece.
	// A reader without them has to read all of the content first.
	Pieces []byte
}

// Store is a folder of contents. All methods may be called concurrently.
type Store struct {
	folder string
	copier copier

	mu   sync.Mutex
	held map[string]int // contents that must not be removed now
}

// Open opens a folder, making it if it does not exist, and removes what writers left that
// were killed. One store at a time may have a folder open.
func Open(folder string) (*Store, error) {
	if err := durable.MkdirAll(folder); err != nil {
		return nil, err
	}
	if err := durable.RemoveTemporary(folder); err != nil {
		return nil, err
	}
	return &Store{folder: folder, copier: newCopier(), held: map[string]int{}}, nil
}

// Put keeps what r has. The caller calls release once, after it has noted down that the
// content is needed, or when it has given up.
func (s *Store) Put(ctx context.Context, r io.Reader) (blob Blob, release func(), err error) {
	held := ""
	defer func() {
		if err != nil && held != "" {
			s.release(held)
		}
	}()
	_, err = durable.WriteNamedOnce(s.folder, func(w io.Writer) (name string, err error) {
		if blob, err = s.copier.copySummed(w, readerOnly{ctx, r}); err != nil {
			return "", err
		}
		held = blob.SHA256
		s.hold(held)
		return held, nil
	})
	if err != nil {
		return Blob{}, nil, DiskFull(err)
	}
	return blob, sync.OnceFunc(func() { s.release(held) }), nil
}

// DiskFull returns err, in words if it says that there is no space.
func DiskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return driftline.Errorf(driftline.Exhausted, "the server's disk is full: %w", err).WithHint("free space, then send it again")
	}
	return err
}

// readerOnly ends when its context does.
type readerOnly struct {
	ctx context.Context
	r   io.Reader
}

func (r readerOnly) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (s *Store) hold(hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[hash]++
}

func (s *Store) release(hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[hash]--; s.held[hash] == 0 {
		delete(s.held, hash)
	}
}

// Has reports whether there is a content of that hash and size. Its bytes are not read.
func (s *Store) Has(blob Blob) bool {
	info, err := os.Stat(s.path(blob.SHA256))
	return err == nil && info.Size() == blob.Size
}

// path is where a content lies. Only what looks like a hash reaches the file system.
func (s *Store) path(hash string) string {
	if !name.MatchString(hash) {
		hash = "none"
	}
	return filepath.Join(s.folder, hash)
}

var name = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Open opens a content. Reads of a damaged piece fail with DataLoss; so does Open if the
// content is missing, or damaged and of one piece or without checksums of its pieces.
// The caller closes the reader.
func (s *Store) Open(ctx context.Context, blob Blob) (*Reader, error) {
	f, err := os.Open(s.path(blob.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(blob, "is missing")
	}
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "content %s cannot be opened: %w", blob.SHA256, err)
	}
	r := &Reader{file: f, blob: blob}
	if err := r.begin(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func damaged(blob Blob, how string) error {
	return driftline.Errorf(driftline.DataLoss, "the content with SHA-256 %s %s", blob.SHA256, how).
		WithRef(driftline.ArtifactRef(blob.SHA256)).WithHint("restore its file from a backup, or store the content again")
}

// Info is what the folder says of a content.
type Info struct {
	SHA256  string
	Size    int64
	Written time.Time
}

// All yields every content, in no order.
func (s *Store) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := os.Open(s.folder)
		if err != nil {
			yield(Info{}, err)
			return
		}
		defer folder.Close()
		for {
			entries, err := folder.ReadDir(1000)
			for _, e := range entries {
				if !name.MatchString(e.Name()) {
					continue
				}
				info, statErr := e.Info()
				if errors.Is(statErr, fs.ErrNotExist) {
					continue // removed meanwhile
				}
				if !yield(Info{SHA256: e.Name(), Size: sizeOf(info), Written: writtenAt(info)}, statErr) || statErr != nil {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(Info{}, err)
				return
			}
		}
	}
}

func sizeOf(info fs.FileInfo) int64 {
	if info == nil {
		return 0
	}
	return info.Size()
}

func writtenAt(info fs.FileInfo) time.Time {
	if info == nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Remove removes a content that was written before a time, that nobody holds, and that
// needed says is not needed. It reports whether it did. No content becomes held while
// needed runs.
func (s *Store) Remove(hash string, before time.Time, needed func() (bool, error)) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[hash] > 0 {
		return false, nil
	}
	path := s.path(hash)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.ModTime().Before(before) {
		return false, err
	}
	if is, err := needed(); is || err != nil {
		return false, err
	}
	return true, os.Remove(path)
}

// Collected is what [Store.Collect] removed.
type Collected struct {
	Contents int
	Bytes    int64
}

// Collect removes the contents that were written before a time, that nobody holds, and
// that are not needed.
func (s *Store) Collect(ctx context.Context, before time.Time, needed func(sha256 string) (bool, error)) (Collected, error) {
	var done Collected
	for info, err := range s.All(ctx) {
		if err != nil {
			return done, err
		}
		if !info.Written.Before(before) {
			continue
		}
		removed, err := s.Remove(info.SHA256, before, func() (bool, error) { return needed(info.SHA256) })
		if err != nil {
			return done, err
		}
		if removed {
			done.Contents, done.Bytes = done.Contents+1, done.Bytes+info.Size
		}
	}
	return done, nil
}
