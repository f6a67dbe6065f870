package flight

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"
	"github.com/driftline/driftline"
)

// catalogName is the one catalogue there is: the one without a name, so that tools
// write features.weather and not a third part before it.
const catalogName = ""

const tableType = "TABLE"

// registerInfo says what the SQL of this server can do.
func (s *sqlService) registerInfo(version string) {
	for info, value := range map[flightsql.SqlInfo]any{
		flightsql.SqlInfoFlightSqlServerName:           "Driftline",
		flightsql.SqlInfoFlightSqlServerVersion:        version,
		flightsql.SqlInfoFlightSqlServerArrowVersion:   arrow.PkgVersion,
		flightsql.SqlInfoFlightSqlServerReadOnly:       true,
		flightsql.SqlInfoFlightSqlServerSql:            true,
		flightsql.SqlInfoFlightSqlServerSubstrait:      false,
		flightsql.SqlInfoFlightSqlServerTransaction:    int32(flightsql.SqlTransactionNone),
		flightsql.SqlInfoFlightSqlServerCancel:         true,
		flightsql.SqlInfoFlightSqlServerBulkIngestion:  false,
		flightsql.SqlInfoDDLCatalog:                    false,
		flightsql.SqlInfoDDLSchema:                     false,
		flightsql.SqlInfoDDLTable:                      false,
		flightsql.SqlInfoIdentifierCase:                int64(flightsql.SqlCaseSensitivityLowerCase),
		flightsql.SqlInfoIdentifierQuoteChar:           `"`,
		flightsql.SqlInfoQuotedIdentifierCase:          int64(flightsql.SqlCaseSensitivityCaseInsensitive),
		flightsql.SqlInfoAllTablesAreASelectable:       true,
		flightsql.SqlInfoNullOrdering:                  int64(flightsql.SqlNullOrderingSortAtEnd),
		flightsql.SqlInfoSupportsColumnAliasing:        true,
		flightsql.SqlInfoNullPlusNullIsNull:            true,
		flightsql.SqlInfoSupportsTableCorrelationNames: true,
		flightsql.SqlInfoSupportsExpressionsInOrderBy:  true,
		flightsql.SqlInfoSupportsOrderByUnrelated:      true,
		flightsql.SqlInfoSupportsLikeEscapeClause:      true,
		flightsql.SqlInfoSchemaTerm:                    "schema",
		flightsql.SqlInfoCatalogTerm:                   "",
		flightsql.SqlInfoSelectForUpdateSupported:      false,
		flightsql.SqlInfoStoredProceduresSupported:     false,
		flightsql.SqlInfoCorrelatedSubqueriesSupported: true,
		flightsql.SqlInfoMaxStatementLen:               int64(64 << 10),
		flightsql.SqlInfoMaxStatements:                 int64(maxStatements),
	} {
		if err := s.RegisterSqlInfo(info, value); err != nil {
			panic(err) // a value of a type that SqlInfo does not have: wrong in the table above
		}
		s.known[info] = true
	}
}

// DoGetSqlInfo leaves out what it does not know, where BaseServer would fail.
func (s *sqlService) DoGetSqlInfo(ctx context.Context, command flightsql.GetSqlInfo) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	asked := command.GetInfo()
	known := slices.DeleteFunc(slices.Clone(asked), func(id uint32) bool { return !s.known[flightsql.SqlInfo(id)] })
	if len(asked) > 0 && len(known) == 0 {
		return s.rows(schema_ref.SqlInfo, func(*array.RecordBuilder) {})
	}
	return s.BaseServer.DoGetSqlInfo(ctx, sqlInfoCommand(known))
}

type sqlInfoCommand []uint32

func (c sqlInfoCommand) GetInfo() []uint32 { return c }

// rows makes the one small batch of a metadata answer.
func (s *sqlService) rows(schema *arrow.Schema, fill func(*array.RecordBuilder)) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	builder := array.NewRecordBuilder(s.Alloc, schema)
	defer builder.Release()
	fill(builder)
	chunks := make(chan flight.StreamChunk, 1)
	chunks <- flight.StreamChunk{Data: builder.NewRecordBatch()}
	close(chunks)
	return schema, chunks, nil
}

// described is the answer to every GetFlightInfo of metadata: the command is its own ticket.
func (s *sqlService) described(descriptor *flight.FlightDescriptor, schema *arrow.Schema) (*flight.FlightInfo, error) {
	return s.info(descriptor, descriptor.GetCmd(), schema), nil
}

func text(builder *array.RecordBuilder, column int) *array.StringBuilder {
	return builder.Field(column).(*array.StringBuilder)
}

// GetFlightInfoCatalogs and its like describe the answers of the methods below them.
func (s *sqlService) GetFlightInfoCatalogs(_ context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.Catalogs)
}

// DoGetCatalogs lists the one catalogue.
func (s *sqlService) DoGetCatalogs(context.Context) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.rows(schema_ref.Catalogs, func(b *array.RecordBuilder) { text(b, 0).Append(catalogName) })
}

// GetFlightInfoTableTypes describes DoGetTableTypes.
func (s *sqlService) GetFlightInfoTableTypes(_ context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.TableTypes)
}

// DoGetTableTypes lists the one type of table.
func (s *sqlService) DoGetTableTypes(context.Context) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.rows(schema_ref.TableTypes, func(b *array.RecordBuilder) { text(b, 0).Append(tableType) })
}

// GetFlightInfoSchemas describes DoGetDBSchemas.
func (s *sqlService) GetFlightInfoSchemas(_ context.Context, _ flightsql.GetDBSchemas, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.DBSchemas)
}

// DoGetDBSchemas lists the schemas that have tables.
func (s *sqlService) DoGetDBSchemas(ctx context.Context, command flightsql.GetDBSchemas) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	tables, err := s.engine.Tables(ctx)
	if err != nil {
		return nil, nil, err
	}
	var schemas []string
	for _, table := range tables {
		if inCatalog(command.GetCatalog()) && like(command.GetDBSchemaFilterPattern(), table.Schema) {
			schemas = append(schemas, table.Schema)
		}
	}
	slices.Sort(schemas)
	return s.rows(schema_ref.DBSchemas, func(b *array.RecordBuilder) {
		for _, schema := range slices.Compact(schemas) {
			text(b, 0).Append(catalogName)
			text(b, 1).Append(schema)
		}
	})
}

// GetFlightInfoTables describes DoGetTables.
func (s *sqlService) GetFlightInfoTables(_ context.Context, command flightsql.GetTables, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, tablesSchema(command))
}

func tablesSchema(command flightsql.GetTables) *arrow.Schema {
	if command.GetIncludeSchema() {
		return schema_ref.TablesWithIncludedSchema
	}
	return schema_ref.Tables
}

// DoGetTables lists the tables that a SELECT can read, with their columns if asked.
func (s *sqlService) DoGetTables(ctx context.Context, command flightsql.GetTables) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	tables, err := s.engine.Tables(ctx)
	if err != nil {
		return nil, nil, err
	}
	types := command.GetTableTypes()
	typed := len(types) == 0 || slices.Contains(types, tableType)
	return s.rows(tablesSchema(command), func(b *array.RecordBuilder) {
		for _, table := range tables {
			if !typed || !inCatalog(command.GetCatalog()) || !like(command.GetDBSchemaFilterPattern(), table.Schema) ||
				!like(command.GetTableNameFilterPattern(), table.Name) {
				continue
			}
			for column, value := range []string{catalogName, table.Schema, table.Name, tableType} {
				text(b, column).Append(value)
			}
			if command.GetIncludeSchema() {
				b.Field(4).(*array.BinaryBuilder).Append(flight.SerializeSchema(table.Columns, s.Alloc))
			}
		}
	})
}

func inCatalog(name *string) bool { return name == nil || *name == catalogName }

// like reports whether name matches a pattern of SQL's LIKE; no pattern matches all.
func like(pattern *string, name string) bool {
	if pattern == nil {
		return true
	}
	var expression strings.Builder
	for _, r := range *pattern {
		switch r {
		case '%':
			expression.WriteString(".*")
		case '_':
			expression.WriteByte('.')
		default:
			expression.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	matched, err := regexp.MatchString("^(?s:"+expression.String()+")$", name)
	return err == nil && matched
}

// GetFlightInfoPrimaryKeys describes DoGetPrimaryKeys.
func (s *sqlService) GetFlightInfoPrimaryKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.PrimaryKeys)
}

// DoGetPrimaryKeys lists the join keys of the tables that have one row for each
// entity. A view's history has no key: a correction is a row of the same entity and
// time, and a tool that was told otherwise would count wrong. For the same reason no
// table refers to another.
func (s *sqlService) DoGetPrimaryKeys(ctx context.Context, ref flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	var columns []string
	if inCatalog(ref.Catalog) && (ref.DBSchema == nil || *ref.DBSchema == featuresSchema) {
		columns = s.latestKeys(ref.Table)
	}
	return s.rows(schema_ref.PrimaryKeys, func(b *array.RecordBuilder) {
		for i, column := range columns {
			for field, value := range []string{catalogName, featuresSchema, ref.Table, column} {
				text(b, field).Append(value)
			}
			b.Field(4).(*array.Int32Builder).Append(int32(i + 1))
			text(b, 5).AppendNull() // the key has no name
		}
	})
}

// The tables of the newest row of each entity.
const (
	featuresSchema = "features"
	latestSuffix   = "_latest"
)

// latestKeys are the join keys of a view, if table is that of its newest rows.
func (s *sqlService) latestKeys(table string) []string {
	name, latest := strings.CutSuffix(table, latestSuffix)
	if _, err := s.engine.Registry().View(driftline.ViewName(table)); err == nil || !latest {
		return nil // a view may be called so itself
	}
	view, err := s.engine.Registry().View(driftline.ViewName(name))
	if err != nil {
		return nil
	}
	return view.KeyNames()
}

// GetFlightInfoExportedKeys describes DoGetExportedKeys.
func (s *sqlService) GetFlightInfoExportedKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.ExportedKeys)
}

// DoGetExportedKeys has no rows.
func (s *sqlService) DoGetExportedKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.rows(schema_ref.ExportedKeys, func(*array.RecordBuilder) {})
}

// GetFlightInfoImportedKeys describes DoGetImportedKeys.
func (s *sqlService) GetFlightInfoImportedKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.ImportedKeys)
}

// DoGetImportedKeys has no rows.
func (s *sqlService) DoGetImportedKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.rows(schema_ref.ImportedKeys, func(*array.RecordBuilder) {})
}

// GetFlightInfoCrossReference describes DoGetCrossReference.
func (s *sqlService) GetFlightInfoCrossReference(_ context.Context, _ flightsql.CrossTableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.CrossReference)
}

// DoGetCrossReference has no rows.
func (s *sqlService) DoGetCrossReference(context.Context, flightsql.CrossTableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.rows(schema_ref.CrossReference, func(*array.RecordBuilder) {})
}

// GetFlightInfoXdbcTypeInfo describes DoGetXdbcTypeInfo.
func (s *sqlService) GetFlightInfoXdbcTypeInfo(_ context.Context, _ flightsql.GetXdbcTypeInfo, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.described(d, schema_ref.XdbcTypeInfo)
}

// sqlTypes are the types of features in the words of SQL and the numbers of ODBC.
var sqlTypes = []struct {
	of             driftline.Type
	name           string
	number, digits int32
	prefix, suffix string // around a literal
}{
	{driftline.Bool, "BOOLEAN", -7, 1, "", ""},
	{driftline.Int32, "INTEGER", 4, 10, "", ""},
	{driftline.Int64, "BIGINT", -5, 19, "", ""},
	{driftline.Float32, "FLOAT", 7, 7, "", ""},
	{driftline.Float64, "DOUBLE", 8, 15, "", ""},
	{driftline.String, "VARCHAR", 12, 1<<31 - 1, "'", "'"},
	{driftline.Bytes, "BLOB", -3, 1<<31 - 1, "'", "'::BLOB"},
	{driftline.Timestamp, "TIMESTAMP WITH TIME ZONE", 93, 32, "TIMESTAMPTZ '", "'"},
}

// DoGetXdbcTypeInfo lists the types of features.
func (s *sqlService) DoGetXdbcTypeInfo(_ context.Context, command flightsql.GetXdbcTypeInfo) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	const nullable, searchable = 1, 3
	return s.rows(schema_ref.XdbcTypeInfo, func(b *array.RecordBuilder) {
		for _, t := range sqlTypes {
			if only := command.GetDataType(); only != nil && *only != t.number {
				continue
			}
			for column := range b.Fields() {
				switch b.Schema().Field(column).Name {
				case "type_name", "local_type_name":
					text(b, column).Append(t.name)
				case "data_type", "sql_data_type":
					b.Field(column).(*array.Int32Builder).Append(t.number)
				case "column_size":
					b.Field(column).(*array.Int32Builder).Append(t.digits)
				case "literal_prefix":
					text(b, column).Append(t.prefix)
				case "literal_suffix":
					text(b, column).Append(t.suffix)
				case "nullable":
					b.Field(column).(*array.Int32Builder).Append(nullable)
				case "searchable":
					b.Field(column).(*array.Int32Builder).Append(searchable)
				case "case_sensitive":
					b.Field(column).(*array.BooleanBuilder).Append(t.of == driftline.String)
				case "fixed_prec_scale":
					b.Field(column).(*array.BooleanBuilder).Append(false)
				default:
					b.Field(column).AppendNull()
				}
			}
		}
	})
}
