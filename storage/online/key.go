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
	rest, err := cutEntity(key, joinKeys, nil)
	if err != nil {
		return "", err
	}
	name, _, err := kv.TakeString(rest)
	return name, err
}

// cutEntity takes the entity's values off a key without its prefix. It appends them to
// builders, of which there is one per join key, or to none.
func cutEntity(key []byte, joinKeys []driftline.Field, builders []array.Builder) (rest []byte, err error) {
	for i, k := range joinKeys {
		var into array.Builder
		if builders != nil {
			into = builders[i]
		}
		if key, err = cutKeyValue(key, k.Type, into); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// cutKeyValue takes one value off a key, and appends it to a builder if that is not nil.
func cutKeyValue(key []byte, t driftline.Type, into array.Builder) ([]byte, error) {
	switch t {
	case driftline.String, driftline.Bytes:
		v, rest, err := kv.TakeBytes(key)
		switch b := into.(type) {
		case *array.StringBuilder:
			b.BinaryBuilder.Append(v)
		case *array.BinaryBuilder:
			b.Append(v)
		}
		return rest, err
	case driftline.Float32, driftline.Float64:
		v, rest, err := kv.TakeFloat64(key)
		switch b := into.(type) {
		case *array.Float32Builder:
			b.Append(float32(v))
		case *array.Float64Builder:
			b.Append(v)
		}
		return rest, err
	case driftline.Bool:
		v, rest, err := kv.TakeBool(key)
		if b, ok := into.(*array.BooleanBuilder); ok {
			b.Append(v)
		}
		return rest, err
	}
	v, rest, err := kv.TakeInt64(key)
	switch b := into.(type) {
	case *array.Int32Builder:
		b.Append(int32(v))
	case *array.Int64Builder:
		b.Append(v)
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v))
	}
	return rest, err
}
