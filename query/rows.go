package query

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// Rows are the rows of one table at one moment: those in files, and those that are in
// no file yet.
type Rows struct {
	Files []string // Parquet

	// Columns says where the columns of the table are in the files: by field id, so
	// that a file stays readable after its columns were renamed, widened or added to.
	// Nil means by name.
	Columns []columns.Column

	// Sorted promises that each file is sorted by (join keys, event timestamp, created
	// timestamp, write sequence).
	Sorted bool

	// Unsequenced says that the files are somebody else's and have no write sequence:
	// rows then count in the order of the files, the first as the oldest.
	Unsequenced bool

	// Tail is the rows that are in no file, in the view's [driftline.FeatureView.StoredSchema];
	// zero if there are none. It can be ranged over any number of times.
	Tail driftline.Batches
}

// inOrder reports whether the rows can be read in the order of (join keys, event timestamp,
// created timestamp, write sequence).
func (r Rows) inOrder() bool { return r.Sorted || len(r.Files) == 0 }

// addRows makes rows readable under name, which is SQL, as a table of at least the
// columns of schema. What a file or the tail lacks is null.
func (s *session) addRows(ctx context.Context, name, tail string, rows Rows, schema *arrow.Schema, filled bool) error {
	scan := scanSQL(schema, rows)
	if rows.Tail.Schema != nil {
		if err := s.load(ctx, tail, rows.Tail, filled); err != nil {
			return err
		}
		scan += " UNION ALL BY NAME SELECT * FROM " + tail
	}
	return s.exec(ctx, "CREATE OR REPLACE VIEW "+name+" AS "+scan)
}

// scanSQL reads the files of rows as a table of at least the columns of schema.
func scanSQL(schema *arrow.Schema, rows Rows) string {
	columns := make([]string, schema.NumFields())
	for i, f := range schema.Fields() {
		columns[i] = fmt.Sprintf("NULL::%s AS %s", duckType(f.Type), quoteName(f.Name))
	}
	empty := "SELECT " + strings.Join(columns, ", ") + " WHERE false"
	if len(rows.Files) == 0 {
		return empty
	}
	sequence := ""
	if rows.Unsequenced {
		sequence = ", row_number() OVER () AS " + quoteName(driftline.SequenceColumn)
	}
	return empty + " UNION ALL BY NAME SELECT *" + sequence + " FROM " + readParquet(rows)
}

func readParquet(rows Rows) string {
	quoted := make([]string, len(rows.Files))
	for i, f := range rows.Files {
		quoted[i] = quoteString(f)
	}
	how := "union_by_name = true"
	if rows.Columns != nil {
		how = "schema = MAP {" + fieldsSQL(rows.Columns) + "}"
	}
	return "read_parquet([" + strings.Join(quoted, ", ") + "], " + how + ", hive_partitioning = false)"
}

func fieldsSQL(of []columns.Column) string {
	fields := make([]string, len(of))
	for i, c := range of {
		fields[i] = fmt.Sprintf("%d: {name: %s, type: '%s', default_value: NULL}", c.ID, quoteString(c.Name), duckType(c.Type))
	}
	return strings.Join(fields, ", ")
}

// duckType is DuckDB's name of the Arrow type of a [driftline.Type].
func duckType(dt arrow.DataType) string {
	switch dt.ID() {
	case arrow.BOOL:
		return "BOOLEAN"
	case arrow.INT32:
		return "INTEGER"
	case arrow.INT64:
		return "BIGINT"
	case arrow.FLOAT32:
		return "FLOAT"
	case arrow.FLOAT64:
		return "DOUBLE"
	case arrow.STRING:
		return "VARCHAR"
	case arrow.BINARY:
		return "BLOB"
	}
	return "TIMESTAMPTZ"
}

// FileSchema returns the columns that the files of rows have together.
func (db *DB) FileSchema(ctx context.Context, rows Rows) (*arrow.Schema, error) {
	ctx, end, err := db.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := db.newSession(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	reader, err := s.query(ctx, "SELECT * FROM "+readParquet(rows)+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	return reader.Schema(), nil
}
