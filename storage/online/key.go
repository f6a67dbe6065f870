package online

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// keyPrefix is what the keys of all views with these join keys begin with. It
// says the types too, so that entities of two types are never taken for one.
func keyPrefix(joinKeys []driftline.Field) []byte {
	var names string
	for i, k := range joinKeys {
		if i > 0 {
			names += ","
		}
		names += k.Name + ":" + string(k.Type)
	}
	return kv.AppendString([]byte{kv.OnlineRows}, names)
}

// appendEntity adds row i of the key columns to a key. It returns the place of
// the column that is null there, or -1.
func appendEntity(key []byte, columns []arrow.Array, i int) (_ []byte, null int) {
	for at, column := range columns {
		if column.IsNull(i) {
			return key, at
		}
		switch c := column.(type) {
		case *array.String:
			key = kv.AppendString(key, c.Value(i))
		case *array.Int64:
			key = kv.AppendInt64(key, c.Value(i))
		case *array.Int32:
			key = kv.AppendInt64(key, int64(c.Value(i)))
		case *array.Timestamp:
			key = kv.AppendInt64(key, int64(c.Value(i)))
		case *array.Float64:
			key = kv.AppendFloat64(key, equalBits(c.Value(i)))
		case *array.Float32:
			key = kv.AppendFloat64(key, equalBits(float64(c.Value(i))))
		case *array.Binary:
			key = kv.AppendBytes(key, c.Value(i))
		case *array.Boolean:
			key = kv.AppendBool(key, c.Value(i))
		}
	}
	return key, -1
}

// equalBits gives floats that are equal in SQL the same bits.
func equalBits(f float64) float64 {
	switch {
	case f == 0:
		return 0
	case f != f:
		return math.NaN()
	}
	return f
}

// viewOfKey returns the name of the view that a key, without its prefix, is of.
func viewOfKey(key []byte, joinKeys []driftline.Field) (string, error) {
	rest, err := skipEntity(key, joinKeys)
	if err != nil {
		return "", err
	}
	name, _, err := kv.TakeString(rest)
	return name, err
}

// skipEntity takes the values of the join keys off a key.
func skipEntity(key []byte, joinKeys []driftline.Field) (rest []byte, err error) {
	for _, k := range joinKeys {
		switch k.Type {
		case driftline.String, driftline.Bytes:
			_, key, err = kv.TakeBytes(key)
		case driftline.Float32, driftline.Float64:
			_, key, err = kv.TakeFloat64(key)
		case driftline.Bool:
			_, key, err = kv.TakeBool(key)
		default:
			_, key, err = kv.TakeInt64(key)
		}
		if err != nil {
			return nil, err
		}
	}
	return key, nil
}
