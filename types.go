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

// Types lists every type that a feature or join key can be declared with. Features that
// aggregations derive may also be lists of them and maps, see [ListOf] and [MapOf].
var Types = []Type{Bool, Int32, Int64, Float32, Float64, String, Bytes, Timestamp}

// Time is the Arrow type of every event and created timestamp.
var Time = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

// ParseType reads a type's name. Case does not matter, and the names that people
// bring from Feast and Arrow are understood (Float64, double, utf8, UnixTimestamp).
func ParseType(s string) (Type, error) {
	switch lower := strings.ToLower(strings.TrimSpace(s)); lower {
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
	default:
		if strings.HasPrefix(lower, "list") || strings.HasPrefix(lower, "map") || strings.HasPrefix(lower, "array") {
			return "", Errorf(Invalid, "type %q is not one that columns can have", clip(s)).
				WithHint("lists and maps come from aggregations: last_n, top_k, and those with by")
		}
	}
	return "", Unknown("type", Type(clip(s)), Types)
}

// ListOf is the type of lists of values of a type: "list<float64>".
func ListOf(element Type) Type { return "list<" + element + ">" }

// MapOf is the type of maps from text to values of a type: "map<string, float64>".
func MapOf(value Type) Type { return "map<string, " + value + ">" }

// Element returns the type of the elements of a list, and false if t is none.
func (t Type) Element() (Type, bool) { return t.within("list<") }

// MapValue returns the type of the values of a map, and false if t is none.
func (t Type) MapValue() (Type, bool) { return t.within("map<string, ") }

// Nested reports whether t is a list or a map.
func (t Type) Nested() bool { return strings.HasSuffix(string(t), ">") }

func (t Type) within(prefix string) (Type, bool) {
	inner, ok := strings.CutPrefix(string(t), prefix)
	if !ok {
		return "", false
	}
	inner, ok = strings.CutSuffix(inner, ">")
	return Type(inner), ok
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
	if element, ok := t.Element(); ok {
		if dt := element.Arrow(); dt != nil {
			return arrow.ListOf(dt)
		}
	}
	if value, ok := t.MapValue(); ok {
		if dt := value.Arrow(); dt != nil {
			return arrow.MapOf(arrow.BinaryTypes.String, dt)
		}
	}
	return nil
}

// TypeOf returns the Type that a column of an Arrow type is stored as, and false if there
// is none, as for lists and maps.
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
