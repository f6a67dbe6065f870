// Package blobs keeps bytes on disk under the hash of their content, each content once.
//
//	<folder>/<64 hexadecimal digits of the SHA-256>
//
// A content never changes, so whoever has its hash has a name for it that holds on every
// machine. What it is called, and who needs it, is not known here.
//
// Invariants:
//
//   - A file has its name only when it is whole and on disk.
//   - [Store.Put] holds what it wrote until the caller has noted down that it is needed:
//     [Store.Remove] leaves held contents alone, so that no upload loses its bytes.
//   - Nothing is handed out that is not what was put in. The pieces of a content, 1 MiB
//     each, have checksums of their own, so that any part of a file of any size is checked
//     before its first byte is seen, and without reading the rest.
//   - Memory is one piece for each reader and two for each writer, and 16 MiB for each of at most four
//     writers of what is larger than 32 MiB.
package blobs
