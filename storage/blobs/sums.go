package blobs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"

	"github.com/cespare/xxhash/v2"
)

// A content is received in buffers, of which the next are filled while those before are
// summed up.
const (
	copyBytes   = 256 << 10
	copyBuffers = 4
)

// copySummed copies r to w and sums up what passes. That is done beside the copy, on a
// goroutine that has ended when this returns: a hash takes about as long as the rest.
func copySummed(w io.Writer, r io.Reader) (Blob, error) {
	filled, free := make(chan []byte, copyBuffers), make(chan []byte, copyBuffers)
	summed := make(chan Blob, 1)
	go func() {
		sum, pieces := sha256.New(), pieceSums{}
		for part := range filled {
			_, _ = sum.Write(part) // a hash does not fail
			_, _ = pieces.Write(part)
			free <- part
		}
		summed <- Blob{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: pieces.total, Pieces: pieces.sums()}
	}()
	err := copyThrough(w, r, filled, free)
	close(filled)
	return <-summed, err
}

// copyThrough copies r to w and sends each buffer on once it is written. Buffers come back
// through free; there are never more than the channels have room for.
func copyThrough(w io.Writer, r io.Reader, filled chan<- []byte, free <-chan []byte) error {
	for made := 0; ; {
		var buffer []byte
		if made < copyBuffers && len(free) == 0 {
			buffer, made = make([]byte, copyBytes), made+1
		} else {
			buffer = (<-free)[:copyBytes]
		}
		n, end := fillBuffer(buffer, r)
		if _, err := w.Write(buffer[:n]); err != nil {
			return err
		}
		filled <- buffer[:n]
		if end != nil {
			if errors.Is(end, io.EOF) {
				return nil
			}
			return end
		}
	}
}

// fillBuffer reads until the buffer is full or r ends. Unlike [io.ReadFull] it passes on
// what r says of its end, since a body that broke off ends with [io.ErrUnexpectedEOF].
func fillBuffer(buffer []byte, r io.Reader) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
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
