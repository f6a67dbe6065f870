// Package columns reads single columns of Parquet files in place: values at rows, runs
// of equal keys, and whole columns without copying them.
package columns
