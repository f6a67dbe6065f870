package blobs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/blobs"
)

func open(t *testing.T) (*blobs.Store, string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "artifacts")
	s, err := blobs.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return s, folder
}

func put(t *testing.T, s *blobs.Store, content []byte) blobs.Blob {
	t.Helper()
	blob, release, err := s.Put(context.Background(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	release()
	return blob
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var sizes = []int{0, 1, 1000, blobs.PieceBytes - 1, blobs.PieceBytes, blobs.PieceBytes + 1, 3*blobs.PieceBytes + 17}

func TestWhatIsPutIsRead(t *testing.T) {
	s, folder := open(t)
	for _, n := range sizes {
		content := random(n)
		blob := put(t, s, content)
		if sum := sha256.Sum256(content); blob.SHA256 != hex.EncodeToString(sum[:]) || blob.Size != int64(n) {
			t.Fatalf("%d bytes are %+v", n, blob)
		}
		if again := put(t, s, content); again.SHA256 != blob.SHA256 {
			t.Fatalf("the same content is %s and %s", blob.SHA256, again.SHA256)
		}
		for _, known := range []blobs.Blob{blob, {SHA256: blob.SHA256, Size: blob.Size}} {
			r, err := s.Open(context.Background(), known)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(struct{ io.Reader }{r})
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes came back as %d, %v", n, len(got), err)
			}
			for range 20 {
				at := rand.Int64N(int64(n) + 1)
				if _, err := r.Seek(at, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				var rest bytes.Buffer
				if _, err := r.WriteTo(&rest); err != nil || !bytes.Equal(rest.Bytes(), content[at:]) {
					t.Fatalf("from byte %d of %d come %d bytes, %v", at, n, rest.Len(), err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != len(sizes) {
		t.Fatalf("folder has %d files, %v, want one for each content", len(entries), err)
	}
}

// Any flipped bit, missing end and appended byte is found before it is handed out.
func TestDamageIsNotHandedOut(t *testing.T) {
	for _, n := range sizes[1:] {
		s, folder := open(t)
		content := random(n)
		blob := put(t, s, content)
		path := filepath.Join(folder, blob.SHA256)
		for _, at := range []int{0, n / 2, n - 1} {
			bad := bytes.Clone(content)
			bad[at] ^= 1
			for _, damaged := range [][]byte{bad, content[:at], append(bytes.Clone(content), 0)} {
				if err := os.WriteFile(path, damaged, 0o600); err != nil {
					t.Fatal(err)
				}
				for _, known := range []blobs.Blob{blob, {SHA256: blob.SHA256, Size: blob.Size}} {
					got, err := readAll(s, known)
					if !errors.Is(err, &driftline.Error{Code: driftline.DataLoss}) {
						t.Fatalf("%d bytes, damaged at %d: error is %v", n, at, err)
					}
					if !bytes.HasPrefix(content, got) {
						t.Fatalf("%d bytes, damaged at %d: %d wrong bytes were handed out", n, at, len(got))
					}
				}
			}
		}
		put(t, s, content) // storing it again mends it
		if got, err := readAll(s, blob); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("mended content is %d bytes, %v", len(got), err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(s, blob); !errors.Is(err, &driftline.Error{Code: driftline.DataLoss}) {
			t.Fatalf("missing content: error is %v", err)
		}
	}
}

func readAll(s *blobs.Store, blob blobs.Blob) ([]byte, error) {
	r, err := s.Open(context.Background(), blob)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestAFailedPutLeavesNothing(t *testing.T) {
	s, folder := open(t)
	boom := errors.New("boom")
	_, _, err := s.Put(context.Background(), io.MultiReader(bytes.NewReader(random(2<<20)), failing{boom}))
	if !errors.Is(err, boom) {
		t.Fatalf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Put(ctx, bytes.NewReader(random(10))); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 0 {
		t.Fatalf("folder has %v", entries)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestOnlyWhatNobodyNeedsIsRemoved(t *testing.T) {
	s, _ := open(t)
	later := time.Now().Add(time.Hour)
	content := random(100)
	blob, release, err := s.Put(context.Background(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	never := func() (bool, error) { return false, nil }
	remove := func(before time.Time, needed func() (bool, error)) bool {
		t.Helper()
		removed, err := s.Remove(blob.SHA256, before, needed)
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	if remove(later, never) {
		t.Error("it was removed while an upload held it")
	}
	release()
	release() // once is enough, and twice does no harm
	if remove(time.Now().Add(-time.Hour), never) {
		t.Error("it was removed before its grace was over")
	}
	if remove(later, func() (bool, error) { return true, nil }) {
		t.Error("it was removed although it is needed")
	}
	if !remove(later, never) || s.Has(blob) {
		t.Error("it was not removed")
	}
	if remove(later, never) {
		t.Error("it was removed twice")
	}
}

// What is no hash never becomes part of a path.
func TestNamesThatAreNoHashesReachNoFile(t *testing.T) {
	s, folder := open(t)
	if err := os.WriteFile(filepath.Join(folder, "..", "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{"../secret", "..", "", "/etc/passwd", "%2e%2e/secret"} {
		if _, err := s.Open(context.Background(), blobs.Blob{SHA256: hash, Size: 6}); !errors.Is(err, &driftline.Error{Code: driftline.DataLoss}) {
			t.Errorf("%q: error is %v", hash, err)
		}
		if removed, err := s.Remove(hash, time.Now().Add(time.Hour), func() (bool, error) { return false, nil }); removed || err != nil {
			t.Errorf("%q: removed %v, %v", hash, removed, err)
		}
	}
}

func TestAllContentsAreListed(t *testing.T) {
	s, folder := open(t)
	want := map[string]int64{}
	for _, n := range sizes {
		blob := put(t, s, random(n))
		want[blob.SHA256] = blob.Size
	}
	if err := os.WriteFile(filepath.Join(folder, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.All(context.Background()) {
		if err != nil || want[info.SHA256] != info.Size || info.Written.IsZero() {
			t.Errorf("listed %+v, %v", info, err)
		}
		delete(want, info.SHA256)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

// brokenOff is a body whose sender went away after n bytes.
type brokenOff struct{ n int }

func (b *brokenOff) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(b.n, len(p))
	b.n -= n
	return n, nil
}

func TestABodyThatBreaksOffIsNotKept(t *testing.T) {
	s, folder := open(t)
	for _, n := range sizes {
		if _, _, err := s.Put(context.Background(), &brokenOff{n}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// BenchmarkPut is what a content costs that comes as fast as it can be taken.
func BenchmarkPut(b *testing.B) {
	s, err := blobs.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	content := random(64 << 20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		_, release, err := s.Put(context.Background(), struct{ io.Reader }{bytes.NewReader(content)})
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
