package kv

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

// watermark is the side file that remembers the highest acknowledged commit, so
// that a log which lost its end can be told from one that never had it.
//
//	offset 0     ┌───────────┬─────────┬────────────┬─────────┐
//	slot 0       │ "DLWM"    │ version │ commit     │ crc32c  │  then zeros
//	             │ 4 bytes   │ u32 = 1 │ u64        │ u32     │
//	offset 4096  ├───────────┼─────────┼────────────┼─────────┤
//	slot 1       │ the same, of the advance before or after    │
//	             └───────────┴─────────┴────────────┴─────────┘
//
// Integers are big-endian; the crc is over the 16 bytes before it. The slots are
// written in turn, each in a block of its own, so that a torn write spoils one
// and leaves the other. The greater valid number counts.
//
// The file is written before a commit is acknowledged, which makes it exact
// after kill -9, and synced each second, which makes it at most a second low
// after power loss. Low is harmless: it is never ahead of what was fsynced.
type watermark struct {
	mu       sync.Mutex
	file     *os.File
	slot     int
	commit   uint64
	unsynced bool
}

const (
	watermarkName    = "watermark"
	watermarkMagic   = "DLWM"
	watermarkVersion = 1
	watermarkSlot    = 4096 // a block of its own
	watermarkRecord  = 20
	watermarkBytes   = 2 * watermarkSlot
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readWatermark returns the number in the folder's watermark file; ok is false
// if there is no file.
func readWatermark(dir string) (commit uint64, ok bool, err error) {
	content, err := os.ReadFile(filepath.Join(dir, watermarkName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, driftline.Errorf(driftline.Unavailable, "commit watermark cannot be read").
			WithHint("check the permissions and the disk of the data folder")
	}
	commit, ok = decodeWatermark(content)
	if !ok {
		return 0, false, driftline.Errorf(driftline.DataLoss, "commit watermark is damaged").
			WithHint("restore the data folder from a backup")
	}
	return commit, true, nil
}

// writeWatermark makes the file, durably.
func writeWatermark(dir string, commit uint64) error {
	return durable.WriteFile(filepath.Join(dir, watermarkName), func(w io.Writer) error {
		content := make([]byte, watermarkBytes)
		encodeWatermark(content, commit)
		_, err := w.Write(content)
		return err
	})
}

// openWatermark opens the file that readWatermark or writeWatermark has seen.
func openWatermark(dir string, commit uint64) (*watermark, error) {
	file, err := os.OpenFile(filepath.Join(dir, watermarkName), os.O_RDWR, 0)
	if err != nil {
		return nil, driftline.Errorf(driftline.Unavailable, "commit watermark cannot be written").
			WithHint("check the permissions and the disk of the data folder")
	}
	// Slot 0 holds the number of a new file. Of an old one either slot may hold
	// it: bring both up to it, so that the next write can take any.
	w := &watermark{file: file, commit: commit}
	for range 2 {
		if err := w.write(commit); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if err := w.sync(); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return w, nil
}

// advance raises the number to commit, or does nothing if it is there already.
func (w *watermark) advance(commit uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if commit <= w.commit {
		return nil
	}
	return w.write(commit)
}

// write puts commit in the next slot. The caller holds mu or is alone.
func (w *watermark) write(commit uint64) error {
	var record [watermarkRecord]byte
	encodeWatermark(record[:], commit)
	if _, err := w.file.WriteAt(record[:], int64(w.slot)*watermarkSlot); err != nil {
		return err
	}
	w.slot, w.commit, w.unsynced = 1-w.slot, commit, true
	return nil
}

// sync makes what was written survive power loss.
func (w *watermark) sync() error {
	w.mu.Lock()
	unsynced := w.unsynced
	w.unsynced = false
	w.mu.Unlock()
	if !unsynced {
		return nil
	}
	return datasync(w.file)
}

func (w *watermark) value() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.commit
}

func (w *watermark) close() error {
	return errors.Join(w.sync(), w.file.Close())
}

func encodeWatermark(record []byte, commit uint64) {
	copy(record, watermarkMagic)
	binary.BigEndian.PutUint32(record[4:], watermarkVersion)
	binary.BigEndian.PutUint64(record[8:], commit)
	binary.BigEndian.PutUint32(record[16:], crc32.Checksum(record[:16], castagnoli))
}

func decodeWatermark(content []byte) (commit uint64, ok bool) {
	for offset := 0; offset+watermarkRecord <= len(content); offset += watermarkSlot {
		record := content[offset : offset+watermarkRecord]
		if string(record[:4]) != watermarkMagic ||
			binary.BigEndian.Uint32(record[4:]) != watermarkVersion ||
			binary.BigEndian.Uint32(record[16:]) != crc32.Checksum(record[:16], castagnoli) {
			continue
		}
		commit, ok = max(commit, binary.BigEndian.Uint64(record[8:])), true
	}
	return commit, ok
}
