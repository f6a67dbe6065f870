package offline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestWhatIsWrittenBehindIsWhatWasGivenAndItsHash(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	content := make([]byte, 3*behindBytes+7)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	for _, size := range []int{0, 1, behindBytes - 1, behindBytes, behindBytes + 1, len(content)} {
		var out bytes.Buffer
		b := writeBehind(&out)
		for rest := content[:size]; len(rest) > 0; {
			n := min(1+random.IntN(behindBytes), len(rest))
			piece := bytes.Clone(rest[:n])
			if _, err := b.Write(piece); err != nil {
				t.Fatal(err)
			}
			clear(piece) // it is the caller's again
			rest = rest[n:]
		}
		w := b.finish()
		sum := sha256.Sum256(content[:size])
		if w.err != nil || w.bytes != int64(size) || w.hash != hex.EncodeToString(sum[:hashBytes]) || !bytes.Equal(out.Bytes(), content[:size]) {
			t.Errorf("%d bytes: wrote %d with hash %s, %v", size, w.bytes, w.hash, w.err)
		}
	}
}

// fullDisk takes the first so many writes.
type fullDisk int

var errFull = errors.New("no space left")

func (d *fullDisk) Write(p []byte) (int, error) {
	if *d == 0 {
		return 0, errFull
	}
	*d--
	return len(p), nil
}

func TestAnErrorBehindIsToldAtTheEnd(t *testing.T) {
	for takes := range fullDisk(4) {
		b := writeBehind(&takes)
		if _, err := b.Write(make([]byte, 10*behindBytes)); err != nil {
			t.Fatal(err)
		}
		if w := b.finish(); !errors.Is(w.err, errFull) {
			t.Errorf("the error is %v, want that of the disk", w.err)
		}
	}
}
