package driftline

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// Type is the type of a feature or join key, in the words that users write.
type Type string

// The types, each with the Arrow type that carries it.
const (
	Bool      Type = "bool"
	Int32     Type = "int32"
	Int64     Type = "int64"
	Float32   Type = "float32"
	Float64   Type = "float64"
	String    Type = "string"    // UTF-8
	Bytes     Type = "bytes"     // Arrow binary
	Timestamp Type = "timestamp" // microseconds since 1970-01-01 UTC
)

// Types lists every type.
var Types = []Type{Bool, Int32, Int64, Float32, Float64, String, Bytes, Timestamp}

// Time is the Arrow type of every event and created timestamp.
var Time = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

// ParseType reads a type's name. Case does not matter, and the names that people
// bring from Feast and Arrow are understood (Float64, double, utf8, UnixTimestamp).
func ParseType(s string) (Type, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "bool", "boolean":
		return Bool, nil
	case "int32", "int":
		return Int32, nil
	case "int64", "long", "bigint":
		return Int64, nil
	case "float32", "float":
		return Float32, nil
	case "float64", "double":
		return Float64, nil
	case "string", "str", "utf8":
		return String, nil
	case "bytes", "binary":
		return Bytes, nil
	case "timestamp", "unixtimestamp", "unix_timestamp", "datetime":
		return Timestamp, nil
	}
	return "", Unknown("type", Type(clip(s)), Types)
}

// Arrow returns the Arrow type that carries t, or nil if t is not a type.
func (t Type) Arrow() arrow.DataType {
	switch t {
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Int32:
		return arrow.PrimitiveTypes.Int32
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Float32:
		return arrow.PrimitiveTypes.Float32
	case Float64:
		return arrow.PrimitiveTypes.Float64
	case String:
		return arrow.BinaryTypes.String
	case Bytes:
		return arrow.BinaryTypes.Binary
	case Timestamp:
		return Time
	}
	return nil
}

// TypeOf returns the Type that an Arrow type is stored as, and false if there is none.
// Types that hold the same values in another layout (large or dictionary-encoded
// strings, timestamps of another unit or zone, narrower integers) have one.
func TypeOf(dt arrow.DataType) (Type, bool) {
	switch dt.ID() {
	case arrow.BOOL:
		return Bool, true
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.UINT8, arrow.UINT16:
		return Int32, true
	case arrow.INT64, arrow.UINT32:
		return Int64, true
	case arrow.FLOAT16, arrow.FLOAT32:
		return Float32, true
	case arrow.FLOAT64:
		return Float64, true
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW:
		return String, true
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.BINARY_VIEW, arrow.FIXED_SIZE_BINARY:
		return Bytes, true
	case arrow.TIMESTAMP, arrow.DATE32, arrow.DATE64:
		return Timestamp, true
	case arrow.DICTIONARY:
		return TypeOf(dt.(*arrow.DictionaryType).ValueType)
	}
	return "", false
}

// Holds reports whether every value of from can be stored as t unchanged.
func (t Type) Holds(from Type) bool {
	switch {
	case t == from:
		return true
	case t == Int64:
		return from == Int32
	case t == Float64:
		return from == Float32 || from == Int32
	}
	return false
}
