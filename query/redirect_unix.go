//go:build unix

package query

import "golang.org/x/sys/unix"

// redirect makes the file descriptor to what from is.
func redirect(from, to int) error { return unix.Dup2(from, to) }
