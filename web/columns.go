package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// jsonColumns are the columns of a request in the order they were written:
// {"airport": ["JFK", "EWR"], "hour": [1, 2]}. Values are nil, bool, string,
// json.Number, []any or map[string]any.
type jsonColumns struct {
	names  []string
	values map[string][]any
}

// UnmarshalJSON reads an object of lists of equal length.
func (c *jsonColumns) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return driftline.Errorf(driftline.Invalid, "columns are %s, want an object of lists", clip(string(data))).
			WithHint(`write {"column": [value, value]}`)
	}
	c.names, c.values = nil, map[string][]any{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name := token.(string) // the decoder has checked that a key is a string
		if _, twice := c.values[name]; twice {
			return driftline.Errorf(driftline.Invalid, "column %q is there twice", clip(name))
		}
		var column []any
		if err := decoder.Decode(&column); err != nil {
			return driftline.Errorf(driftline.Invalid, "column %q is not a list", clip(name)).
				WithHint("write one value per row, in brackets")
		}
		c.names, c.values[name] = append(c.names, name), column
	}
	return c.checkLengths()
}

func (c *jsonColumns) checkLengths() error {
	for _, name := range c.names {
		first := c.names[0]
		if have, want := len(c.values[name]), len(c.values[first]); have != want {
			return driftline.Errorf(driftline.Invalid, "column %q has %d values, column %q has %d", clip(name), have, clip(first), want).
				WithHint("give every column one value per row")
		}
	}
	return nil
}

// rename gives a column another name, unless there is one of that name.
func (c *jsonColumns) rename(from, to string) {
	values, found := c.values[from]
	if _, taken := c.values[to]; !found || taken {
		return
	}
	c.names[slices.Index(c.names, from)] = to
	c.values[to] = values
	delete(c.values, from)
}

func (c *jsonColumns) remove(name string) {
	c.names = slices.DeleteFunc(c.names, func(n string) bool { return n == name })
	delete(c.values, name)
}

func (c *jsonColumns) rows() int64 {
	if len(c.names) == 0 {
		return 0
	}
	return int64(len(c.values[c.names[0]]))
}

// batch makes a record batch of the columns in the given order and types. The
// caller releases it.
func (c *jsonColumns) batch(mem memory.Allocator, names []string, types map[string]driftline.Type) (arrow.RecordBatch, error) {
	fields := make([]arrow.Field, len(names))
	columns := make([]arrow.Array, 0, len(names))
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	for i, name := range names {
		column, err := buildColumn(mem, name, types[name], c.values[name])
		if err != nil {
			return nil, err
		}
		fields[i] = arrow.Field{Name: name, Type: column.DataType(), Nullable: true}
		columns = append(columns, column)
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, c.rows()), nil
}

// guessType is the type of a column that no view knows: that of its first value.
func guessType(values []any) driftline.Type {
	guess := driftline.Type("")
	for _, value := range values {
		switch v := value.(type) {
		case bool:
			return driftline.Bool
		case json.Number:
			if _, err := strconv.ParseInt(v.String(), 10, 64); err != nil {
				return driftline.Float64
			}
			guess = driftline.Int64
		case string:
			return driftline.String
		}
	}
	if guess == "" {
		return driftline.String
	}
	return guess
}

func buildColumn(mem memory.Allocator, name string, t driftline.Type, values []any) (arrow.Array, error) {
	builder := array.NewBuilder(mem, t.Arrow())
	defer builder.Release()
	builder.Reserve(len(values))
	for row, value := range values {
		if value == nil {
			builder.AppendNull()
			continue
		}
		if problem := appendValue(builder, value); problem != "" {
			e := driftline.Errorf(driftline.Invalid, "column %q, row %d is %s, want %s", clip(name), row, describe(value), t)
			return nil, withStatus(422, e.WithHint("%s", problem))
		}
	}
	return builder.NewArray(), nil
}

// appendValue appends a value that is not null, or returns how it must be written.
func appendValue(builder array.Builder, value any) (problem string) {
	switch b := builder.(type) {
	case *array.BooleanBuilder:
		v, ok := value.(bool)
		if !ok {
			return "write true or false"
		}
		b.Append(v)
	case *array.Int32Builder:
		v, ok := wholeNumber(value, 32)
		if !ok {
			return "write a whole number of 32 bits"
		}
		b.Append(int32(v))
	case *array.Int64Builder:
		v, ok := wholeNumber(value, 64)
		if !ok {
			return "write a whole number of 64 bits, without quotes"
		}
		b.Append(v)
	case *array.Float32Builder:
		v, ok := number(value, 32)
		if !ok {
			return floatForm
		}
		b.Append(float32(v))
	case *array.Float64Builder:
		v, ok := number(value, 64)
		if !ok {
			return floatForm
		}
		b.Append(v)
	case *array.StringBuilder:
		v, ok := value.(string)
		if !ok {
			return "put the value in quotes"
		}
		b.Append(v)
	case *array.BinaryBuilder:
		text, _ := value.(string)
		v, err := base64.StdEncoding.DecodeString(text)
		if _, ok := value.(string); !ok || err != nil {
			return "write base64 in quotes"
		}
		b.Append(v)
	case *array.TimestampBuilder:
		v, ok := instant(value)
		if !ok {
			return `write it like "2013-01-31T15:00:00Z"; without a zone it is UTC`
		}
		if v.Nanosecond()%1000 != 0 {
			return "driftline keeps microseconds: round the time to them"
		}
		b.Append(arrow.Timestamp(v.UnixMicro()))
	}
	return ""
}

const floatForm = `write a number, or one of "NaN", "Infinity", "-Infinity"`

// wholeNumber reads an integer exactly. 5.0 is 5: pandas writes integers like
// that once a column has had a null.
func wholeNumber(value any, bits int) (int64, bool) {
	text, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	if v, err := strconv.ParseInt(text.String(), 10, bits); err == nil {
		return v, true
	}
	const exact = 1 << 53
	f, err := strconv.ParseFloat(text.String(), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > exact || bits == 32 && (f < math.MinInt32 || f > math.MaxInt32) {
		return 0, false
	}
	return int64(f), true
}

func number(value any, bits int) (float64, bool) {
	switch v := value.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(v.String(), bits)
		return f, err == nil
	case string:
		switch v {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

// instant reads a time: text, or whole seconds since 1970, as they are in our answers and
// as Feast's client writes them.
func instant(value any) (time.Time, bool) {
	if seconds, ok := wholeNumber(value, 64); ok {
		const most = 253_402_300_799 // the end of the year 9999: larger ones are other units
		return time.Unix(seconds, 0), -most <= seconds && seconds <= most
	}
	text, ok := value.(string)
	if !ok {
		return time.Time{}, false
	}
	return parseTime(text)
}

// The forms of a time in JSON; those without a zone are UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02"}

func parseTime(text string) (time.Time, bool) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func describe(value any) string {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return "the number " + clip(v.String())
	case string:
		return "the string " + strconv.Quote(clip(v))
	case []any:
		return "a list"
	}
	return "an object"
}

// appendCell appends value i of column as JSON to dst. Floats always have a
// point or an exponent, because readers infer the type from it; NaN and the
// infinities are strings; bytes are base64; times are seconds since 1970; a map is an
// object in the order of its keys.
func appendCell(dst []byte, column arrow.Array, i int) []byte {
	if column.IsNull(i) {
		return append(dst, "null"...)
	}
	switch c := column.(type) {
	case *array.Boolean:
		return strconv.AppendBool(dst, c.Value(i))
	case *array.Int32:
		return strconv.AppendInt(dst, int64(c.Value(i)), 10)
	case *array.Int64:
		return strconv.AppendInt(dst, c.Value(i), 10)
	case *array.Float32:
		return appendFloat(dst, float64(c.Value(i)))
	case *array.Float64:
		return appendFloat(dst, c.Value(i))
	case *array.String:
		return appendString(dst, c.Value(i))
	case *array.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, c.Value(i))
		return append(dst, '"')
	case *array.Timestamp:
		unit := int64(c.DataType().(*arrow.TimestampType).Unit.Multiplier())
		perSecond := int64(time.Second) / unit
		return strconv.AppendInt(dst, floorDiv(int64(c.Value(i)), perSecond), 10)
	}
	if mapped, ok := column.(*array.Map); ok {
		return appendMap(dst, mapped, i, appendCell)
	}
	if list, ok := column.(array.ListLike); ok {
		return appendList(dst, list, i, appendCell)
	}
	return appendString(dst, column.ValueStr(i))
}

// cellAppender appends a value as JSON.
type cellAppender func(dst []byte, column arrow.Array, i int) []byte

func appendList(dst []byte, list array.ListLike, i int, element cellAppender) []byte {
	from, to := list.ValueOffsets(i)
	dst = append(dst, '[')
	for at := from; at < to; at++ {
		dst = element(comma(dst, int(at-from)), list.ListValues(), int(at))
	}
	return append(dst, ']')
}

func appendMap(dst []byte, mapped *array.Map, i int, value cellAppender) []byte {
	from, to := mapped.ValueOffsets(i)
	dst = append(dst, '{')
	for at := from; at < to; at++ {
		dst = appendString(comma(dst, int(at-from)), mapped.Keys().ValueStr(int(at)))
		dst = value(append(dst, ':'), mapped.Items(), int(at))
	}
	return append(dst, '}')
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	start := len(dst)
	form := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	dst = strconv.AppendFloat(dst, f, form, -1, 64)
	if bytes.IndexByte(dst[start:], '.') >= 0 || form == 'e' {
		return dst
	}
	return append(dst, ".0"...)
}

// appendString appends s as a JSON string; the common case has nothing to escape.
func appendString[S string | []byte](dst []byte, s S) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := marshalString(string(s))
			if err != nil {
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func marshalString(s string) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
