package durable_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftline/driftline/storage/durable"
)

func TestWriteNamedNamesTheFileByWhatWriteReturns(t *testing.T) {
	folder := t.TempDir()
	path, err := durable.WriteNamed(folder, func(w io.Writer) (string, error) {
		_, err := io.WriteString(w, "content")
		return "later", err
	})
	if err != nil || path != filepath.Join(folder, "later") {
		t.Fatalf("got %q, %v", path, err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "content" {
		t.Fatalf("read %q, %v", content, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestWriteNamedLeavesNothingBehindWhenItFails(t *testing.T) {
	broken := errors.New("broken")
	for name, write := range map[string]func(io.Writer) (string, error){
		"write fails":          func(io.Writer) (string, error) { return "file", broken },
		"no name":              func(io.Writer) (string, error) { return "", nil },
		"name leaves a folder": func(io.Writer) (string, error) { return "../file", nil },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if path, err := durable.WriteNamed(folder, write); err == nil {
				t.Fatalf("wrote %q, want an error", path)
			}
			if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
				t.Fatalf("left %v, %v; want nothing", left, err)
			}
		})
	}
}

// Whatever pieces a large file comes in, and whatever its end, it is what was written: past the page
// cache, through it, or both in turns.
func TestALargeFileIsWhatWasWritten(t *testing.T) {
	const block = 256 << 10
	random := rand.New(rand.NewPCG(7, 8))
	content := make([]byte, 48<<20+5)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	for name, piece := range map[string]func(at int) int{
		"blocks":           func(int) int { return block },
		"blocks, then odd": func(at int) int { return block + at/(40<<20) },
		"odd, then blocks": func(at int) int { return max(1, block*min(at, 1)) },
		"by chance":        func(int) int { return 1 + random.IntN(2*block) },
		"with gaps": func(at int) int {
			if at%(4<<20) == 0 {
				return 100
			}
			return block - at%block
		},
	} {
		for _, size := range []int{len(content), len(content) - 5, 40<<20 - 1} {
			path, err := durable.WriteNamedOnce(t.TempDir(), func(w io.Writer) (string, error) {
				for rest := content[:size]; len(rest) > 0; {
					n := min(piece(size-len(rest)), len(rest))
					if _, err := w.Write(rest[:n]); err != nil {
						return "", err
					}
					rest = rest[n:]
				}
				return "large", nil
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, content[:size]) {
				t.Errorf("%s: %d bytes came back as %d, or others, %v", name, size, len(got), err)
			}
		}
	}
}
