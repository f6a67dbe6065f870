package kv

import (
	"context"

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
	if err := db.pebble.Flush(); err != nil {
		return forgetError(err)
	}
	for _, prefix := range prefixes {
		if err := db.pebble.Compact(ctx, prefix, after(prefix), false); err != nil {
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
