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

// A content is received in buffers, of which the next are filled while those before are
// summed up and written.
const (
	copyBytes   = 256 << 10
	copyBuffers = 8
)

// copySummed copies r to w and sums up what passes.
func copySummed(w io.Writer, r io.Reader) (Blob, error) {
	sum, pieces := sha256.New(), pieceSums{}
	relay := durable.NewRelay(copyBuffers, copyBytes,
		func(part []byte) error { _, err := w.Write(part); return err },
		func(part []byte) error {
			_, _ = sum.Write(part) // a hash does not fail
			_, _ = pieces.Write(part)
			return nil
		})
	_, err := relay.ReadFrom(r)
	if err := errors.Join(err, relay.Close()); err != nil {
		return Blob{}, err
	}
	return Blob{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: pieces.total, Pieces: pieces.sums()}, nil
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
