// Package offline keeps every table as immutable Parquet files in Apache Iceberg
// snapshots, so that one id names the same rows for ever and any engine can read
// them in place. It is the only package that knows Iceberg.
package offline
