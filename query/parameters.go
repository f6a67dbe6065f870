package query

import (
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/duckdb/duckdb-go/v2"
)

// parametersKey is where the schema of a query's answer says what its parameters are:
// names of parameterTypes, by commas. The schema is the one thing that a worker tells
// of a query that it does not run.
const parametersKey = "driftline.parameters"

// parameterTypes are the types that a parameter can be bound as.
var parameterTypes = map[string]arrow.DataType{
	"boolean":     arrow.FixedWidthTypes.Boolean,
	"bigint":      arrow.PrimitiveTypes.Int64,
	"integer":     arrow.PrimitiveTypes.Int32,
	"double":      arrow.PrimitiveTypes.Float64,
	"varchar":     arrow.BinaryTypes.String,
	"blob":        arrow.BinaryTypes.Binary,
	"date":        arrow.FixedWidthTypes.Date32,
	"timestamp":   &arrow.TimestampType{Unit: arrow.Microsecond},
	"timestamptz": arrow.FixedWidthTypes.Timestamp_us,
}

func parameterName(t duckdb.Type) string {
	switch t {
	case duckdb.TYPE_BOOLEAN:
		return "boolean"
	case duckdb.TYPE_TINYINT, duckdb.TYPE_SMALLINT, duckdb.TYPE_INTEGER, duckdb.TYPE_UTINYINT, duckdb.TYPE_USMALLINT:
		return "integer"
	case duckdb.TYPE_BIGINT, duckdb.TYPE_UINTEGER, duckdb.TYPE_UBIGINT, duckdb.TYPE_HUGEINT, duckdb.TYPE_UHUGEINT:
		return "bigint"
	case duckdb.TYPE_FLOAT, duckdb.TYPE_DOUBLE, duckdb.TYPE_DECIMAL:
		return "double"
	case duckdb.TYPE_BLOB:
		return "blob"
	case duckdb.TYPE_DATE:
		return "date"
	case duckdb.TYPE_TIMESTAMP, duckdb.TYPE_TIMESTAMP_S, duckdb.TYPE_TIMESTAMP_MS, duckdb.TYPE_TIMESTAMP_NS:
		return "timestamp"
	case duckdb.TYPE_TIMESTAMP_TZ:
		return "timestamptz"
	}
	return "varchar" // an open type too: DuckDB casts a text to what it turns out to need
}

func withParameters(schema *arrow.Schema, parameters []duckdb.Type) *arrow.Schema {
	if len(parameters) == 0 {
		return schema
	}
	names := make([]string, len(parameters))
	for i, p := range parameters {
		names[i] = parameterName(p)
	}
	metadata := arrow.NewMetadata([]string{parametersKey}, []string{strings.Join(names, ",")})
	return arrow.NewSchema(schema.Fields(), &metadata)
}

// Parameters takes what [DB.SelectSchema] returned apart: the columns of the answer, and
// the parameters, named 1, 2, …, as which the query takes its arguments.
func Parameters(described *arrow.Schema) (answer, parameters *arrow.Schema) {
	var fields []arrow.Field
	if names, ok := described.Metadata().GetValue(parametersKey); ok {
		for i, name := range strings.Split(names, ",") {
			fields = append(fields, arrow.Field{Name: strconv.Itoa(i + 1), Type: parameterTypes[name], Nullable: true})
		}
	}
	return arrow.NewSchema(described.Fields(), nil), arrow.NewSchema(fields, nil)
}
