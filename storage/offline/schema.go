package offline

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
)

// fieldIDKey is the Arrow field metadata in which pqarrow reads and writes the
// Parquet field id. Columns are found by this id, never by name or position, so
// that a file stays readable when the table's schema has moved on.
const fieldIDKey = table.ArrowParquetFieldIDKey

// StoredSchema returns the schema that rows of the given schema have once they
// are stored: the package comment has the table of types. Columns that Iceberg
// cannot hold without loss are Invalid, and the error names the column.
func StoredSchema(schema *arrow.Schema) (*arrow.Schema, error) {
	stored, err := icebergSchema(schema)
	if err != nil {
		return nil, err
	}
	return arrowSchema(stored, false)
}

// icebergSchema maps an Arrow schema, with field ids that are unique but not yet final.
func icebergSchema(schema *arrow.Schema) (*iceberg.Schema, error) {
	m := &schemaMapper{}
	fields := make([]iceberg.NestedField, 0, schema.NumFields())
	seen := make(map[string]bool, schema.NumFields())
	for _, f := range schema.Fields() {
		if f.Name == "" {
			return nil, driftline.Errorf(driftline.Invalid, "column %d has no name", len(fields)+1).
				WithHint("name every column")
		}
		if seen[f.Name] {
			return nil, driftline.Errorf(driftline.Invalid, "column %q is there twice", f.Name).
				WithHint("rename or drop one of them")
		}
		seen[f.Name] = true
		field, err := m.field(f.Name, f)
		if err != nil {
			return nil, err
		}
		field.Required = !f.Nullable && f.Type.ID() != arrow.NULL
		fields = append(fields, field)
	}
	return iceberg.NewSchema(0, fields...), nil
}

// schemaMapper numbers the fields of one schema while it maps them.
type schemaMapper struct{ fields int }

func (m *schemaMapper) next() int {
	m.fields++
	return m.fields
}

// field maps one field. column is the top-level column that it is a part of, for
// errors. Parts of nested columns are all optional.
func (m *schemaMapper) field(column string, f arrow.Field) (iceberg.NestedField, error) {
	id := m.next()
	typ, err := m.typeOf(column, f.Type)
	return iceberg.NestedField{ID: id, Name: f.Name, Type: typ}, err
}

func (m *schemaMapper) typeOf(column string, dt arrow.DataType) (iceberg.Type, error) {
	switch dt := dt.(type) {
	case *arrow.DictionaryType:
		return m.typeOf(column, dt.ValueType)
	case arrow.ExtensionType:
		return m.typeOf(column, dt.StorageType())
	case *arrow.TimestampType:
		if dt.TimeZone == "" {
			return iceberg.PrimitiveTypes.Timestamp, nil
		}
		return iceberg.PrimitiveTypes.TimestampTz, nil
	case *arrow.FixedSizeBinaryType:
		if dt.ByteWidth == 0 {
			return iceberg.PrimitiveTypes.Binary, nil
		}
		return iceberg.FixedTypeOf(dt.ByteWidth), nil
	case arrow.DecimalType:
		return decimalOf(column, dt)
	case *arrow.MapType:
		return m.mapOf(column, dt)
	case *arrow.ListType, *arrow.LargeListType, *arrow.FixedSizeListType:
		return m.listOf(column, dt.(arrow.ListLikeType).Elem())
	case *arrow.StructType:
		return m.structOf(column, dt)
	}
	if typ, ok := plainTypes[dt.ID()]; ok {
		return typ, nil
	}
	return nil, driftline.Errorf(driftline.Invalid, "column %q is %s, which a table cannot hold", column, dt).
		WithHint("%s", cureFor(dt))
}

// plainTypes has the types without parameters.
var plainTypes = map[arrow.Type]iceberg.Type{
	arrow.NULL:         iceberg.PrimitiveTypes.String, // no value at all: any type would do
	arrow.BOOL:         iceberg.PrimitiveTypes.Bool,
	arrow.INT8:         iceberg.PrimitiveTypes.Int32,
	arrow.INT16:        iceberg.PrimitiveTypes.Int32,
	arrow.INT32:        iceberg.PrimitiveTypes.Int32,
	arrow.UINT8:        iceberg.PrimitiveTypes.Int32,
	arrow.UINT16:       iceberg.PrimitiveTypes.Int32,
	arrow.INT64:        iceberg.PrimitiveTypes.Int64,
	arrow.UINT32:       iceberg.PrimitiveTypes.Int64,
	arrow.UINT64:       iceberg.DecimalTypeOf(20, 0),
	arrow.FLOAT16:      iceberg.PrimitiveTypes.Float32,
	arrow.FLOAT32:      iceberg.PrimitiveTypes.Float32,
	arrow.FLOAT64:      iceberg.PrimitiveTypes.Float64,
	arrow.STRING:       iceberg.PrimitiveTypes.String,
	arrow.LARGE_STRING: iceberg.PrimitiveTypes.String,
	arrow.STRING_VIEW:  iceberg.PrimitiveTypes.String,
	arrow.BINARY:       iceberg.PrimitiveTypes.Binary,
	arrow.LARGE_BINARY: iceberg.PrimitiveTypes.Binary,
	arrow.BINARY_VIEW:  iceberg.PrimitiveTypes.Binary,
	arrow.DATE32:       iceberg.PrimitiveTypes.Date,
	arrow.DATE64:       iceberg.PrimitiveTypes.Date,
	arrow.TIME32:       iceberg.PrimitiveTypes.Time,
	arrow.TIME64:       iceberg.PrimitiveTypes.Time,
}

// mostDigits is the greatest precision of an Iceberg decimal.
const mostDigits = 38

func decimalOf(column string, dt arrow.DecimalType) (iceberg.Type, error) {
	precision, scale := dt.GetPrecision(), dt.GetScale()
	if precision > mostDigits || scale < 0 || scale > precision {
		return nil, driftline.Errorf(driftline.Invalid, "column %q is %s, which a table cannot hold", column, dt).
			WithHint("cast it to a decimal of at most %d digits and a scale between 0 and its precision", mostDigits)
	}
	return iceberg.DecimalTypeOf(int(precision), int(scale)), nil
}

func (m *schemaMapper) listOf(column string, elem arrow.DataType) (iceberg.Type, error) {
	id := m.next()
	typ, err := m.typeOf(column, elem)
	return &iceberg.ListType{ElementID: id, Element: typ}, err
}

func (m *schemaMapper) mapOf(column string, dt *arrow.MapType) (iceberg.Type, error) {
	keyID, valueID := m.next(), m.next()
	key, err := m.typeOf(column, dt.KeyType())
	if err != nil {
		return nil, err
	}
	value, err := m.typeOf(column, dt.ItemType())
	return &iceberg.MapType{KeyID: keyID, KeyType: key, ValueID: valueID, ValueType: value}, err
}

func (m *schemaMapper) structOf(column string, dt *arrow.StructType) (iceberg.Type, error) {
	if dt.NumFields() == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "column %q holds a struct without fields", column).
			WithHint("drop the column")
	}
	fields := make([]iceberg.NestedField, dt.NumFields())
	for i, f := range dt.Fields() {
		field, err := m.field(column, f)
		if err != nil {
			return nil, err
		}
		fields[i] = field
	}
	return &iceberg.StructType{FieldList: fields}, nil
}

func cureFor(dt arrow.DataType) string {
	switch dt.ID() {
	case arrow.DURATION:
		return "cast it to int64 in a unit that its name says"
	case arrow.RUN_END_ENCODED, arrow.LIST_VIEW, arrow.LARGE_LIST_VIEW:
		return "cast it to its plain form first"
	}
	return "drop the column or cast it to a number, string, bytes, date or time"
}

// arrowSchema is the Arrow form of a stored schema, with or without the field ids
// that belong into files.
func arrowSchema(stored *iceberg.Schema, fieldIDs bool) (*arrow.Schema, error) {
	return table.SchemaToArrowSchema(stored, nil, fieldIDs, false)
}

// fieldID returns the Iceberg id of a column, and false if it has none.
func fieldID(f arrow.Field) (int, bool) {
	text, ok := f.Metadata.GetValue(fieldIDKey)
	if !ok {
		return 0, false
	}
	id, err := strconv.Atoi(text)
	return id, err == nil
}
