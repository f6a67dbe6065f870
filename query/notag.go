//go:build !duckdb_arrow

package query

// DuckDB hands over Arrow batches only under this build tag. Without it the
// compiler would complain about missing methods; this names the cure instead.
var _ = build_with_go_flag_tags_duckdb_arrow
