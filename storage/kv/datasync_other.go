//go:build !linux

package kv

import "os"

// datasync is fsync where there is nothing that does less.
func datasync(file *os.File) error { return file.Sync() }
