package kv

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/driftline/driftline"
)

// isHeld reports whether a lock failed because somebody has it. Opening the lock
// file fails with an error that names a path; locking it does not.
func isHeld(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) {
		return false
	}
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) ||
		strings.Contains(err.Error(), "held by current process")
}

// isOfSystem reports whether the operating system refused something. A file that
// is not there does not count: Pebble looks only for files that it wrote.
func isOfSystem(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number) && number != syscall.ENOENT
}

// isOfNewerVersion reads Pebble's text: there is no other mark of this error.
func isOfNewerVersion(err error) bool {
	return strings.Contains(err.Error(), "unknown format major version")
}

func newerVersion(err error) error {
	e := driftline.Errorf(driftline.FailedPrecondition, "data folder was written by a newer version of driftline").
		WithHint("start that version, or name another data folder")
	e.Err = err
	return e
}

func cannotOpen(err error) error {
	return driftline.Errorf(driftline.Unavailable, "data folder cannot be opened: %w", withoutPath(err)).
		WithHint("check that it is a driftline data folder, its permissions, and the free space of the disk")
}

func damaged(err error) error {
	e := driftline.Errorf(driftline.DataLoss, "stored keys are damaged").
		WithHint("restore the data folder from a backup")
	e.Err = err
	return e
}

func readError(err error) error {
	if pebble.IsCorruptionError(err) {
		return damaged(err)
	}
	e := driftline.Errorf(driftline.Unavailable, "stored keys cannot be read").
		WithHint("check the disk of the data folder")
	e.Err = err
	return e
}

// pathless is an error whose text is safe for users and whose cause is whole.
type pathless struct {
	text string
	err  error
}

func (p pathless) Error() string { return p.text }
func (p pathless) Unwrap() error { return p.err }

// withoutPath keeps of an error what the operating system said, or nothing but
// the fact, because Pebble's texts tell paths of the server.
func withoutPath(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return pathless{number.Error(), err}
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return pathless{path.Err.Error(), err}
	}
	if text := err.Error(); !strings.ContainsAny(text, `/\`) {
		return pathless{text, err}
	}
	return pathless{"see the server's log", err}
}
