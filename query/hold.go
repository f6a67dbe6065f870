package query

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// holdAs returns a as the Arrow type of typ, which [driftline.TypeOf] gave for its
// own type. NaN becomes null, because a key that is not a number equals nothing.
// The caller releases the result.
func holdAs(mem memory.Allocator, a arrow.Array, typ driftline.Type) (arrow.Array, error) {
	b := array.NewBuilder(mem, typ.Arrow())
	defer b.Release()
	b.Reserve(a.Len())
	switch a := a.(type) {
	case *array.Null:
		b.AppendNulls(a.Len())
	case *array.Dictionary:
		return holdDictionary(mem, a, typ)
	case *array.Int8:
		appendIntegers(b, a, a.Int8Values())
	case *array.Int16:
		appendIntegers(b, a, a.Int16Values())
	case *array.Int32:
		appendIntegers(b, a, a.Int32Values())
	case *array.Uint8:
		appendIntegers(b, a, a.Uint8Values())
	case *array.Uint16:
		appendIntegers(b, a, a.Uint16Values())
	case *array.Uint32:
		appendIntegers(b, a, a.Uint32Values())
	case *array.Float16:
		appendEach(b.(*array.Float32Builder), a, float16.Num.Float32, a.Value, isNaN)
	case *array.Float32:
		appendEach(b.(*array.Float32Builder), a, same[float32], a.Value, isNaN)
	case *array.Float64:
		appendEach(b.(*array.Float64Builder), a, same[float64], a.Value, isNaN)
	case *array.LargeString:
		appendEach(b.(*array.StringBuilder), a, same[string], a.Value, never)
	case *array.StringView:
		appendEach(b.(*array.StringBuilder), a, same[string], a.Value, never)
	case *array.LargeBinary:
		appendEach(b.(*array.BinaryBuilder), a, same[[]byte], a.Value, never)
	case *array.BinaryView:
		appendEach(b.(*array.BinaryBuilder), a, same[[]byte], a.Value, never)
	case *array.FixedSizeBinary:
		appendEach(b.(*array.BinaryBuilder), a, same[[]byte], a.Value, never)
	case *array.Timestamp, *array.Date32, *array.Date64:
		return holdTime(mem, a)
	case *array.Boolean, *array.Int64, *array.String, *array.Binary:
		a.Retain()
		return a, nil
	default:
		return nil, fmt.Errorf("type %s cannot be a key", a.DataType())
	}
	return b.NewArray(), nil
}

func same[T any](v T) T { return v }

func never[T any](T) bool { return false }

func isNaN[T float32 | float64](v T) bool { return v != v }

type appender[T any] interface {
	Append(T)
	AppendNull()
}

// appendEach appends a's values converted, and null where a is null or drop says so.
func appendEach[S, T any](b appender[T], a arrow.Array, convert func(S) T, value func(int) S, drop func(T) bool) {
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		if v := convert(value(i)); drop(v) {
			b.AppendNull()
		} else {
			b.Append(v)
		}
	}
}

func appendIntegers[S int8 | int16 | int32 | uint8 | uint16 | uint32](b array.Builder, a arrow.Array, values []S) {
	at := func(i int) S { return values[i] }
	switch b := b.(type) {
	case *array.Int32Builder:
		appendEach(b, a, func(v S) int32 { return int32(v) }, at, never)
	case *array.Int64Builder:
		appendEach(b, a, func(v S) int64 { return int64(v) }, at, never)
	}
}

// holdDictionary converts the dictionary once and then looks up each row.
func holdDictionary(mem memory.Allocator, a *array.Dictionary, typ driftline.Type) (arrow.Array, error) {
	words, err := holdAs(mem, a.Dictionary(), typ)
	if err != nil {
		return nil, err
	}
	defer words.Release()
	return lookUp(mem, words, a)
}

func lookUp(mem memory.Allocator, words arrow.Array, a *array.Dictionary) (arrow.Array, error) {
	b := array.NewBuilder(mem, words.DataType())
	defer b.Release()
	b.Reserve(a.Len())
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		at := a.GetValueIndex(i)
		if at < 0 || at >= words.Len() {
			return nil, &badCell{i, "dictionary index is out of range"}
		}
		if err := appendFrom(b, words, at); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}

// appendFrom appends words[i] to b, which has the same type.
func appendFrom(b array.Builder, words arrow.Array, i int) error {
	if words.IsNull(i) {
		b.AppendNull()
		return nil
	}
	switch words := words.(type) {
	case *array.Boolean:
		b.(*array.BooleanBuilder).Append(words.Value(i))
	case *array.Int32:
		b.(*array.Int32Builder).Append(words.Value(i))
	case *array.Int64:
		b.(*array.Int64Builder).Append(words.Value(i))
	case *array.Float32:
		b.(*array.Float32Builder).Append(words.Value(i))
	case *array.Float64:
		b.(*array.Float64Builder).Append(words.Value(i))
	case *array.String:
		b.(*array.StringBuilder).Append(words.Value(i))
	case *array.Binary:
		b.(*array.BinaryBuilder).Append(words.Value(i))
	case *array.Timestamp:
		b.(*array.TimestampBuilder).Append(words.Value(i))
	default:
		return fmt.Errorf("type %s cannot be a key", words.DataType())
	}
	return nil
}

// holdTime returns times of any unit as [driftline.Time].
func holdTime(mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	us, err := microseconds(mem, a)
	if err != nil {
		return nil, err
	}
	defer us.Release()
	data := array.NewData(driftline.Time, us.Len(), us.Data().Buffers(), nil, us.NullN(), us.Data().Offset())
	defer data.Release()
	return array.NewTimestampData(data), nil
}

// isTime reports whether [microseconds] reads the type.
func isTime(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.TIMESTAMP, arrow.DATE32, arrow.DATE64, arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW, arrow.NULL:
		return true
	case arrow.DICTIONARY:
		return isTime(dt.(*arrow.DictionaryType).ValueType)
	}
	return false
}

// microseconds returns times as int64 microseconds UTC. A time without a zone is
// UTC, and what is finer than a microsecond is dropped, towards the past. Text is
// read as ISO 8601. The caller releases the result.
func microseconds(mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	var at func(i int) (int64, bool)
	switch a := a.(type) {
	case *array.Dictionary:
		words, err := microseconds(mem, a.Dictionary())
		if err != nil {
			return nil, err
		}
		defer words.Release()
		return lookUp(mem, words, a)
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		if unit == arrow.Microsecond { // they lie there as they are wanted
			data := array.NewData(arrow.PrimitiveTypes.Int64, a.Len(), a.Data().Buffers(), nil, a.NullN(), a.Data().Offset())
			defer data.Release()
			return array.NewInt64Data(data), nil
		}
		values := a.TimestampValues()
		multiply, divide := unitScale(unit)
		at = func(i int) (int64, bool) { return rescale(int64(values[i]), multiply, divide) }
	case *array.Date32:
		at = func(i int) (int64, bool) { return rescale(int64(a.Value(i)), 24*3600*1e6, 1) }
	case *array.Date64:
		at = func(i int) (int64, bool) { return rescale(int64(a.Value(i)), 1000, 1) }
	case array.StringLike:
		at = func(i int) (int64, bool) { return parseTime(a.Value(i)) }
	case *array.Null:
		at = nil
	default:
		return nil, fmt.Errorf("type %s is not a time", a.DataType())
	}
	b := array.NewInt64Builder(mem)
	defer b.Release()
	b.Reserve(a.Len())
	for i := range a.Len() {
		if at == nil || a.IsNull(i) {
			b.AppendNull()
			continue
		}
		us, ok := at(i)
		if !ok {
			return nil, &badCell{i, fmt.Sprintf("%.40q is not a time that can be stored", a.ValueStr(i))}
		}
		b.UnsafeAppend(us)
	}
	return b.NewArray(), nil
}

func unitScale(u arrow.TimeUnit) (multiply, divide int64) {
	switch u {
	case arrow.Second:
		return 1e6, 1
	case arrow.Millisecond:
		return 1e3, 1
	case arrow.Nanosecond:
		return 1, 1e3
	}
	return 1, 1
}

// rescale returns ⌊v·multiply/divide⌋, and false if that is no int64. One of the
// two factors is 1.
func rescale(v, multiply, divide int64) (int64, bool) {
	if v > math.MaxInt64/multiply || v < math.MinInt64/multiply {
		return 0, false
	}
	v *= multiply
	quotient := v / divide
	if v%divide < 0 {
		quotient--
	}
	return quotient, true
}

// timeLayouts are the forms of ISO 8601 that people write, with a zone and without.
var timeLayouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
}

func parseTime(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMicro(), true
		}
	}
	return 0, false
}
