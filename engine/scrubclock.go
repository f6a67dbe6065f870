package engine

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// scrubIfDue scrubs a table whose last scrub is long ago. When that was outlives the
// process, or a server that is restarted every week would never scrub. The clock of a
// new table begins when it is first seen: its files have just been read back.
func (e *Engine) scrubIfDue(ctx context.Context, table offline.TableID) error {
	raw, err := e.kv.Get(scrubKey(table))
	if err != nil {
		return err
	}
	if len(raw) == 8 {
		last := time.UnixMicro(int64(binary.BigEndian.Uint64(raw)))
		if e.now().Sub(last) < scrubEvery {
			return nil
		}
		if _, err := e.scrub(ctx, table); err != nil {
			return err
		}
	}
	b := e.kv.NewBatch()
	defer b.Close()
	b.Set(scrubKey(table), binary.BigEndian.AppendUint64(nil, uint64(e.now().UnixMicro())))
	return b.Commit()
}

// scrubKey holds when a table was last scrubbed: microseconds, 8 bytes big endian.
func scrubKey(table offline.TableID) []byte {
	return append([]byte{kv.Counters}, "scrubbed "+table.String()...)
}
