// Package substrait stands in for github.com/substrait-io/substrait, which holds Substrait's
// definitions of functions as YAML (version 0.87, Apache-2.0; see LICENSE). The Iceberg library
// reads all of them whenever the program starts, which takes 80 ms and 32 MB, and uses those
// that are here: what filters of table scans are made of. The go.mod of Driftline puts this
// package in the other one's place.
package substrait

import "embed"

//go:embed extensions/*
var extensions embed.FS

// GetSubstraitFS returns the definitions.
func GetSubstraitFS() embed.FS { return extensions }

// GetSubstraitExtensionsFS returns the definitions.
func GetSubstraitExtensionsFS() embed.FS { return extensions }
