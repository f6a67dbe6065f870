// Package columns reads single columns of Parquet files in place: values at rows, runs
// of equal keys, and whole columns without copying them where that is possible.
//
// A [File] is mapped into memory. What it says of its columns (row groups, pages, bounds)
// is in its footer and its page index; the pages themselves are found and taken apart
// here:
//
//	File ──► Leaf      a column that is not nested, found by field id or by name
//	     ──► Reader    one column of one row group, page by page, in any order
//	     │     Page(row) ─► Page    values where they lie (plain, not compressed, no nulls),
//	     │                          or decoded into the reader's own buffers
//	     │     Array(from, to)      the same as an Arrow array
//	     └─► Runs      where the values of some columns change, with the values
//
// A reader touches only the pages that it is asked for. Encodings that none of our own
// files has are decoded by the Parquet library, a row group of a column at a time.
//
// # Trust
//
// Every size and offset of a file is checked before it is used, and a file that is not
// what it should be is an error with the code DataLoss. Run what looks at mapped bytes
// inside of [Guard]: it also turns the fault of a failing disk into that error.
package columns
