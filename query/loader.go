package query

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// loadRows is how many rows are handed to DuckDB at a time: enough to make a
// statement's cost small, few enough to hold twice.
const loadRows = 256 << 10

// tableLoader fills a table of a session from batches. It goes through INSERT
// because DuckDB can scan an Arrow stream once only, and silently finds it empty
// the second time.
type tableLoader struct {
	session *session
	table   string // as SQL
	schema  *arrow.Schema
	held    []arrow.RecordBatch
	rows    int64
}

// create makes the table, with the columns that DuckDB gives to the schema.
func (l *tableLoader) create(ctx context.Context) error {
	return l.scan(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT * FROM __feed", l.table), nil)
}

// add takes over the caller's reference to batch.
func (l *tableLoader) add(ctx context.Context, batch arrow.RecordBatch) error {
	l.held = append(l.held, batch)
	l.rows += batch.NumRows()
	if l.rows < loadRows {
		return nil
	}
	return l.flush(ctx)
}

// flush inserts what is held.
func (l *tableLoader) flush(ctx context.Context) error {
	defer l.drop()
	if len(l.held) == 0 {
		return nil
	}
	return l.scan(ctx, fmt.Sprintf("INSERT INTO %s SELECT * FROM __feed", l.table), l.held)
}

// drop releases what was not inserted.
func (l *tableLoader) drop() {
	driftline.ReleaseAll(l.held)
	l.held, l.rows = nil, 0
}

// scan runs sql with the batches as the view __feed.
func (l *tableLoader) scan(ctx context.Context, sql string, batches []arrow.RecordBatch) (err error) {
	defer l.session.recoverTo(&err)
	fed := make([]arrow.RecordBatch, len(batches))
	for i, batch := range batches {
		fed[i] = aligned(l.session.mem, batch)
	}
	defer driftline.ReleaseAll(fed)
	reader, err := array.NewRecordReader(l.schema, fed)
	if err != nil {
		return failure(ctx, err)
	}
	defer reader.Release()
	release, err := l.session.arrow.RegisterView(reader, "__feed")
	if err != nil {
		return failure(ctx, err)
	}
	defer release()
	return l.session.exec(ctx, strings.Join([]string{sql, "DROP VIEW __feed"}, ";\n"))
}
