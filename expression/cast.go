package expression

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// castSyntax checks CAST, TRY_CAST and ::.
func (c *compiler) castSyntax(s *syntax, v value) (value, error) {
	to, known := typeNames[s.text]
	if !known {
		return value{}, c.failf(s.at, "there is no type %q", clip(s.text)).
			WithHint("use BOOLEAN, INTEGER, BIGINT, FLOAT, DOUBLE, VARCHAR or TIMESTAMP")
	}
	if v.text != nil && to == driftline.Timestamp {
		return c.time(*v.text, v.at)
	}
	if v.kind != to && v.kind != untyped && casts[v.kind][to] == nil {
		e := c.failf(s.at, "%s cannot be cast to %s here", typeName(v.kind), typeName(to))
		switch {
		case v.kind == driftline.Timestamp:
			return value{}, e.WithHint("write epoch(t) for seconds, or epoch_us(t) for microseconds, since 1970")
		case v.kind == driftline.Float32:
			return value{}, e.WithHint("write CAST(CAST(x AS DOUBLE) AS VARCHAR)")
		case v.kind == driftline.String && isWhole(to):
			return value{}, e.WithHint("write CAST(CAST(x AS DOUBLE) AS %s)", typeName(to))
		}
		return value{}, e
	}
	return c.cast(v, to, s.tries), nil
}

// cast casts a value where casts or NULL allow it. If it tries, what cannot be cast is
// null, not a failure.
func (c *compiler) cast(v value, to driftline.Type, tries bool) value {
	out := value{kind: to, at: v.at, sql: "CAST(" + v.sql + " AS " + sqlTypes[to] + ")"}
	if tries {
		out.sql = "TRY_" + out.sql
	}
	switch v.kind {
	case untyped:
		out.run = families[to].null(c)
	case to:
		out.run = v.run
	default:
		out.run = casts[v.kind][to](c, v.run, tries)
	}
	return out
}

// casting makes the operation of a cast.
type casting func(c *compiler, a any, tries bool) any

// casts are the casts between different types, by what is cast and to what.
var casts = map[driftline.Type]map[driftline.Type]casting{
	driftline.Bool: {
		driftline.Int32:   castBy(func(x bool) (int32, bool) { return int32(oneIf(x)), true }),
		driftline.Int64:   castBy(func(x bool) (int64, bool) { return int64(oneIf(x)), true }),
		driftline.Float32: castBy(func(x bool) (float32, bool) { return float32(oneIf(x)), true }),
		driftline.Float64: castBy(func(x bool) (float64, bool) { return float64(oneIf(x)), true }),
		driftline.String:  castText(strconv.AppendBool),
	},
	driftline.Int32: {
		driftline.Bool:    castBy(func(x int32) (bool, bool) { return x != 0, true }),
		driftline.Int64:   castBy(func(x int32) (int64, bool) { return int64(x), true }),
		driftline.Float32: castBy(func(x int32) (float32, bool) { return float32(x), true }),
		driftline.Float64: castBy(func(x int32) (float64, bool) { return float64(x), true }),
		driftline.String:  castText(func(b []byte, x int32) []byte { return strconv.AppendInt(b, int64(x), 10) }),
	},
	driftline.Int64: {
		driftline.Bool:    castBy(func(x int64) (bool, bool) { return x != 0, true }),
		driftline.Int32:   castBy(func(x int64) (int32, bool) { return int32(x), int64(int32(x)) == x }),
		driftline.Float32: castBy(func(x int64) (float32, bool) { return float32(x), true }),
		driftline.Float64: castBy(func(x int64) (float64, bool) { return float64(x), true }),
		driftline.String:  castText(func(b []byte, x int64) []byte { return strconv.AppendInt(b, x, 10) }),
	},
	driftline.Float32: {
		driftline.Bool:    castBy(func(x float32) (bool, bool) { return x != 0, true }),
		driftline.Int32:   castBy(func(x float32) (int32, bool) { return toInt32(float64(x)) }),
		driftline.Int64:   castBy(func(x float32) (int64, bool) { return toInt64(float64(x)) }),
		driftline.Float64: castBy(func(x float32) (float64, bool) { return float64(x), true }),
	},
	driftline.Float64: {
		driftline.Bool:    castBy(func(x float64) (bool, bool) { return x != 0, true }),
		driftline.Int32:   castBy(toInt32),
		driftline.Int64:   castBy(toInt64),
		driftline.Float32: castBy(toFloat32),
		driftline.String:  castText(appendFloat),
	},
	driftline.String: {
		driftline.Bool:    castBy(parseBool),
		driftline.Float32: castBy(func(s string) (float32, bool) { x, ok := parseFloat(s, 32); return float32(x), ok }),
		driftline.Float64: castBy(func(s string) (float64, bool) { return parseFloat(s, 64) }),
	},
	driftline.Timestamp: {
		driftline.String: castTime,
	},
}

func oneIf(x bool) int {
	if x {
		return 1
	}
	return 0
}

// castBy makes a cast of a function that reports whether there is such a value.
func castBy[A, R values](apply func(A) (R, bool)) casting {
	return func(c *compiler, a any, tries bool) any {
		otherwise := badCast
		if tries {
			otherwise = null
		}
		return map1(c, a.(operation[A]), func(x A) (R, state) {
			r, ok := apply(x)
			return r, failIf(!ok, otherwise)
		})
	}
}

func castText[A values](write func([]byte, A) []byte) casting {
	return func(c *compiler, a any, _ bool) any {
		return text1(c, a.(operation[A]), func(b []byte, x A) ([]byte, state) { return write(b, x), present })
	}
}

func castTime(c *compiler, a any, tries bool) any {
	otherwise := badTime
	if tries {
		otherwise = null
	}
	return text1(c, a.(operation[arrow.Timestamp]), func(b []byte, t arrow.Timestamp) ([]byte, state) {
		if !inCalendar(t) {
			return b, otherwise
		}
		return time.UnixMicro(int64(t)).UTC().AppendFormat(b, "2006-01-02 15:04:05.999999+00"), present
	})
}

// toInt32 rounds half to even. DuckDB does so too, and then wraps what rounds up to 2^31
// around; here that cannot be cast.
func toInt32(x float64) (int32, bool) {
	r := math.RoundToEven(x)
	return int32(r), r >= math.MinInt32 && r <= math.MaxInt32
}

func toInt64(x float64) (int64, bool) {
	r := math.RoundToEven(x)
	return int64(r), r >= math.MinInt64 && r < -math.MinInt64
}

// toFloat32 takes infinities and NaN over; a finite number must stay one.
func toFloat32(x float64) (float32, bool) {
	r := float32(x)
	return r, !math.IsInf(float64(r), 0) || math.IsInf(x, 0)
}

// appendFloat writes the shortest digits that read back as x: 1.0, 0.1, 1e+20, nan.
func appendFloat(b []byte, x float64) []byte {
	size := math.Abs(x)
	switch {
	case math.IsNaN(x):
		return append(b, "nan"...)
	case math.IsInf(x, 1):
		return append(b, "inf"...)
	case math.IsInf(x, -1):
		return append(b, "-inf"...)
	case size != 0 && (size < 1e-4 || size >= 1e16):
		return strconv.AppendFloat(b, x, 'e', -1, 64)
	}
	before := len(b)
	b = strconv.AppendFloat(b, x, 'f', -1, 64)
	if strings.IndexByte(textFrom(b, before), '.') < 0 {
		b = append(b, ".0"...)
	}
	return b
}

func parseBool(s string) (is, ok bool) {
	switch strings.ToLower(s) {
	case "true", "t", "1", "yes", "y":
		return true, true
	case "false", "f", "0", "no", "n":
		return false, true
	}
	return false, false
}

// parseFloat reads a decimal number with spaces around it. What is too great is infinite.
func parseFloat(s string, bits int) (float64, bool) {
	s = strings.Trim(s, " \t\n\v\f\r")
	if strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, bits)
	return x, err == nil || math.IsInf(x, 0)
}
