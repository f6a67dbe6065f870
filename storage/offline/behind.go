package offline

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"github.com/driftline/driftline/storage/durable"
)

const (
	// behindBytes is how much is handed over at a time: large enough that a system call
	// for it and waking another goroutine cost nothing beside it.
	behindBytes   = 1 << 20
	behindBuffers = 3 // one is filled, one is written, one waits
)

// behind writes a file and computes its hash behind the back of whoever makes it, on
// another core if there is one. After an error it takes all that comes and writes nothing
// more; finish says what it was.
type behind struct {
	*durable.Relay
	hash  hash.Hash
	bytes int64
}

// written is what became of a file.
type written struct {
	hash  string // the file's name, see [File]
	bytes int64
	err   error
}

// writeBehind begins to write to out. The caller calls finish in every case.
func writeBehind(out io.Writer) *behind {
	b := &behind{hash: sha256.New()}
	b.Relay = durable.NewRelay(behindBuffers, behindBytes, func(part []byte) error {
		if _, err := out.Write(part); err != nil {
			return err
		}
		b.hash.Write(part)
		b.bytes += int64(len(part))
		return nil
	})
	return b
}

// finish waits until all is written. Nothing may be written after it.
func (b *behind) finish() written {
	err := b.Close()
	return written{hex.EncodeToString(b.hash.Sum(nil)[:hashBytes]), b.bytes, err}
}
