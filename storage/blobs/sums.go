package blobs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline/storage/durable"
)

// A content is received in buffers, of which the next are filled while those before are summed up and written.
// Those of a large one are so large that its way to the disk, past the page cache, is in few steps.
const (
	copyBytes   = 256 << 10
	copyBuffers = 8

	largeContent = 32 << 20 // what comes after so much is received in large buffers
	largeBytes   = 2 * durable.HugeBytes
	largeBuffers = 4

	// mostLarge is how many contents are received in large buffers at once: others go on in small ones, so that
	// memory is bounded whatever comes.
	mostLarge = 4
)

// copier copies contents and sums them up.
type copier struct {
	large chan struct{} // has room for those that are received in large buffers
}

func newCopier() copier { return copier{large: make(chan struct{}, mostLarge)} }

// copySummed copies r to w and sums up what passes.
func (c copier) copySummed(w io.Writer, r io.Reader) (Blob, error) {
	sum, pieces := sha256.New(), pieceSums{}
	pass := func(buffers, size int, r io.Reader) (int64, error) {
		relay := durable.NewRelay(buffers, size,
			func(part []byte) error {
				_, _ = pieces.Write(part) // a hash does not fail
				_, err := w.Write(part)
				return err
			},
			func(part []byte) error { _, _ = sum.Write(part); return nil }) // nothing beside it: SHA-256 is what takes longest
		n, err := relay.ReadFrom(r)
		return n, errors.Join(err, relay.Close())
	}
	n, err := pass(copyBuffers, copyBytes, io.LimitReader(r, largeContent))
	if err == nil && n == largeContent {
		buffers, size, done := c.buffers()
		_, err = pass(buffers, size, r)
		done()
	}
	if err != nil {
		return Blob{}, err
	}
	return Blob{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: pieces.total, Pieces: pieces.sums()}, nil
}

// buffers are those that the rest of a large content is received in, until done is called.
func (c copier) buffers() (buffers, size int, done func()) {
	select {
	case c.large <- struct{}{}:
		return largeBuffers, largeBytes, func() { <-c.large }
	default:
		return copyBuffers, copyBytes, func() {}
	}
}

// pieceSums makes the checksums of pieces from a stream.
type pieceSums struct {
	done   []byte
	piece  xxhash.Digest
	filled int // of the piece
	total  int64
}

func (p *pieceSums) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if p.filled == 0 {
			p.piece.Reset()
		}
		part := b[:min(len(b), PieceBytes-p.filled)]
		_, _ = p.piece.Write(part) // a hash does not fail
		p.filled += len(part)
		p.total += int64(len(part))
		if p.filled == PieceBytes {
			p.end()
		}
		b = b[len(part):]
	}
	return n, nil
}

func (p *pieceSums) end() {
	p.done = binary.LittleEndian.AppendUint64(p.done, p.piece.Sum64())
	p.filled = 0
}

// sums are the checksums of all pieces, nil for one piece.
func (p *pieceSums) sums() []byte {
	if p.total <= PieceBytes {
		return nil
	}
	if p.filled > 0 {
		p.end()
	}
	return p.done
}
