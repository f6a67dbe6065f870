package kv

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/driftline/driftline"
)

// Forget rewrites the files that hold keys with the given prefixes, and the log, so
// that values which were deleted or replaced under them are no longer on the disk.
// Without it they go some time later. A prefix is not empty.
func (db *DB) Forget(ctx context.Context, prefixes ...[]byte) error {
	done, err := db.use()
	if err != nil {
		return err
	}
	defer done()
	// The list of files keeps the least and the greatest key of each. Deletions of keys that
	// are to be forgotten must be neither in the file that is written now.
	if err := errors.Join(db.pebble.Delete(commitKey[:1], pebble.NoSync), db.pebble.Delete([]byte{0xFF}, pebble.NoSync)); err != nil {
		return forgetError(err)
	}
	if err := db.pebble.Flush(); err != nil {
		return forgetError(err)
	}
	for _, prefix := range prefixes {
		if err := db.pebble.Compact(ctx, prefix, After(prefix), false); err != nil {
			return forgetError(err)
		}
	}
	return nil
}

func forgetError(cause error) error {
	e := driftline.Errorf(driftline.Unavailable, "deleted values could not be cleared from the disk").WithHint("try again")
	e.Err = cause
	return e
}
