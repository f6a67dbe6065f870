package kv

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
)

// logger hands Pebble's own messages to slog. They are about its inner life, and
// so go out at debug level.
type logger struct{ log *slog.Logger }

var _ pebble.Logger = logger{}

func (l logger) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l logger) Errorf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }

// Fatalf ends the process. Pebble calls it with its locks held, when its
// manifest cannot be written or its own invariants are broken, and relies on it
// not returning; a panic would be recovered by a server that then waits for
// those locks for ever. The log on disk is whole: the next start recovers it.
// Damage to stored data does not come here but to the event listener, and a
// failed fsync of the log comes back from Commit.
func (l logger) Fatalf(format string, args ...any) {
	l.log.Error("storage cannot go on: " + fmt.Sprintf(format, args...))
	os.Exit(1)
}

// listener counts damage instead of exiting, and is silent about the rest.
func (db *DB) listener() *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			db.corruptions.Add(1)
			db.log.Error("stored data is damaged", "detail", info.String())
		},
		BackgroundError: func(err error) {
			db.backgroundErrors.Add(1)
			db.log.Error("storage background work failed and will be tried again", "error", err.Error())
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) { db.writeStalls.Add(1) },
	}
}
