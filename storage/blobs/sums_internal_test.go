package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// A content is the same whether large buffers are free for it, and whatever pieces it comes in.
func TestALargeContentIsWhatCame(t *testing.T) {
	content := make([]byte, largeContent+2*largeBytes+17)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	for name, c := range map[string]copier{"large buffers": newCopier(), "none free": {large: make(chan struct{})}} {
		for _, size := range []int{largeContent - 1, largeContent, largeContent + 1, largeContent + largeBytes, len(content)} {
			var got bytes.Buffer
			got.Grow(size)
			blob, err := c.copySummed(&got, iotest.HalfReader(bytes.NewReader(content[:size])))
			if err != nil || !bytes.Equal(got.Bytes(), content[:size]) {
				t.Fatalf("%s: of %d bytes %d were written, or others, %v", name, size, got.Len(), err)
			}
			if sum := sha256.Sum256(content[:size]); blob.SHA256 != hex.EncodeToString(sum[:]) || blob.Size != int64(size) || len(blob.Pieces) != 8*pieces(int64(size)) {
				t.Errorf("%s: %d bytes are %s, %d bytes, with %d bytes of checksums", name, size, blob.SHA256, blob.Size, len(blob.Pieces))
			}
		}
	}
}

func TestALargeContentThatBreaksOffGivesItsBuffersBack(t *testing.T) {
	c, boom := newCopier(), errors.New("boom")
	ctx, cancel := context.WithCancel(context.Background())
	for range mostLarge + 1 {
		broken := io.MultiReader(io.LimitReader(endless{}, largeContent+1), iotest.ErrReader(boom))
		if _, err := c.copySummed(io.Discard, readerOnly{ctx, broken}); !errors.Is(err, boom) {
			t.Fatalf("the error is %v", err)
		}
	}
	if len(c.large) != 0 {
		t.Errorf("%d still have large buffers", len(c.large))
	}
	cancel()
	if _, err := c.copySummed(io.Discard, readerOnly{ctx, endless{}}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// endless gives bytes for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
