package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline"
)

// Reader reads a content from any place on. What it hands out has been compared with its
// checksum. A reader belongs to one goroutine.
type Reader struct {
	file  *os.File
	blob  Blob
	at    int64
	piece []byte // that at is in, checked; nil if none is loaded
	from  int64  // where the piece begins
}

// Blob is what is read, with the checksums of its pieces.
func (r *Reader) Blob() Blob { return r.blob }

// begin checks what can be checked before the first byte.
func (r *Reader) begin(ctx context.Context) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != r.blob.Size {
		return damaged(r.blob, "is damaged: it does not have its size")
	}
	if r.blob.Size > PieceBytes && len(r.blob.Pieces) != 8*pieces(r.blob.Size) {
		return r.learn(ctx)
	}
	if r.blob.Size > 0 {
		return r.load(0) // a damaged beginning is then an error, and no broken answer
	}
	return nil
}

func pieces(size int64) int { return int((size + PieceBytes - 1) / PieceBytes) }

// learn reads the whole content, compares it with its hash, and makes the checksums.
func (r *Reader) learn(ctx context.Context) error {
	sum, made := sha256.New(), pieceSums{}
	if _, err := io.CopyBuffer(writerOnly{io.MultiWriter(sum, &made)}, readerOnly{ctx, r.file}, make([]byte, PieceBytes)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != r.blob.SHA256 {
		return damaged(r.blob, "is damaged: it does not have its hash")
	}
	r.blob.Pieces = made.sums()
	return nil
}

// Read reads from where the reader is.
func (r *Reader) Read(p []byte) (int, error) {
	if r.at >= r.blob.Size {
		return 0, io.EOF
	}
	if err := r.reach(); err != nil {
		return 0, err
	}
	n := copy(p, r.piece[r.at-r.from:])
	r.at += int64(n)
	return n, nil
}

// load reads and checks the piece that begins at from.
func (r *Reader) load(from int64) error {
	buffer := r.piece[:0]
	r.piece = nil
	length := int(min(PieceBytes, r.blob.Size-from))
	if cap(buffer) < length {
		buffer = make([]byte, length)
	}
	buffer = buffer[:length]
	if _, err := r.file.ReadAt(buffer, from); err != nil {
		if errors.Is(err, io.EOF) {
			return damaged(r.blob, "is damaged: it ends too early")
		}
		return driftline.Errorf(driftline.DataLoss, "the content with SHA-256 %s cannot be read: %w", r.blob.SHA256, err).
			WithHint("restore its file from a backup, or store the content again")
	}
	if !r.sound(buffer, int(from/PieceBytes)) {
		return damaged(r.blob, "is damaged: it is not what was stored")
	}
	r.piece, r.from = buffer, from
	return nil
}

// sound compares a piece with its checksum, the only piece of a content with its hash.
func (r *Reader) sound(piece []byte, number int) bool {
	if r.blob.Size <= PieceBytes {
		sum := sha256.Sum256(piece)
		return hex.EncodeToString(sum[:]) == r.blob.SHA256
	}
	want := r.blob.Pieces[8*number:][:8]
	return bytes.Equal(binary.LittleEndian.AppendUint64(nil, xxhash.Sum64(piece)), want)
}

// Seek goes to another place of the content.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.blob.Size
	}
	if offset < 0 {
		return r.at, driftline.Errorf(driftline.Invalid, "byte %d is before the beginning", offset)
	}
	r.at = offset
	return offset, nil
}

// WriteTo writes the rest, piece by piece.
func (r *Reader) WriteTo(w io.Writer) (int64, error) { return r.WriteN(w, r.blob.Size) }

// WriteN writes the next n bytes, or the rest if there are fewer, piece by piece as they were checked: they
// are copied nowhere before w has them.
func (r *Reader) WriteN(w io.Writer, n int64) (written int64, err error) {
	for end := r.at + min(n, r.blob.Size-r.at); r.at < end; {
		if err := r.reach(); err != nil {
			return written, err
		}
		piece := r.piece[r.at-r.from:]
		some, err := w.Write(piece[:min(int64(len(piece)), end-r.at)])
		r.at, written = r.at+int64(some), written+int64(some)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// reach loads the piece that the reader is in, unless that is the one it has.
func (r *Reader) reach() error {
	if r.piece != nil && r.at >= r.from && r.at < r.from+int64(len(r.piece)) {
		return nil
	}
	return r.load(r.at / PieceBytes * PieceBytes)
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// writerOnly hides what a copy could use to go around its buffer.
type writerOnly struct{ io.Writer }
