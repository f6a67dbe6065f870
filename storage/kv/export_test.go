package kv

import "github.com/cockroachdb/pebble/v2/vfs"

// OnDisk returns opts with Pebble's files on the given file system.
func OnDisk(opts *Options, disk vfs.FS) *Options {
	o := *opts
	o.disk = disk
	return &o
}

// WithBatchBytes returns opts with the limit of one batch set.
func WithBatchBytes(opts *Options, limit int) *Options {
	o := *opts
	o.batchBytes = limit
	return &o
}
