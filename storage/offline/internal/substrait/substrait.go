// Package substrait keeps every start of the program, and of its workers, from reading what nobody asks for.
//
// The Iceberg library translates filters into Substrait, a language of query plans, and loads all that this defines,
// 212 kB of YAML, before main begins: half a million allocations, most of the time that a short command takes. Its
// own scans are not used here, so that nothing is ever looked up. Importing this package replaces the definitions by
// those of the functions that Iceberg's filters are made of, two of eighteen files.
//
// Packages are initialized in the order of their paths, once what they import is: so this one is before
// any of the libraries that load the definitions. If a new version of the library keeps them elsewhere the program does not
// link; then this package can go, or has to be adapted.
//
// The files are those of github.com/substrait-io/substrait 0.87, under the Apache License 2.0.
package substrait

import (
	"embed"
	_ "unsafe" // for go:linkname

	_ "github.com/substrait-io/substrait" // which must be initialized before
)

//go:embed extensions
var few embed.FS

//go:linkname definitions github.com/substrait-io/substrait.substraitExtensionsFS
var definitions embed.FS

func init() { definitions = few }
