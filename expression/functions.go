package expression

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/driftline/driftline"
)

// function checks a call and makes its operation.
type function struct {
	least, most int // arguments; most < 0 means any number
	compile     func(c *compiler, s *syntax, of []value) (value, error)
}

// functions are all functions that an expression can call, by their names in lower case.
var functions map[string]function

func init() { // not in the declaration: the functions refer to the compiler, which refers to them
	functions = map[string]function{
		"abs":      {1, 1, (*compiler).abs},
		"ceil":     {1, 1, whole(math.Ceil)},
		"floor":    {1, 1, whole(math.Floor)},
		"trunc":    {1, 1, whole(math.Trunc)},
		"round":    {1, 2, (*compiler).round},
		"sqrt":     {1, 1, real1(func(x float64) (float64, state) { return math.Sqrt(x), failIf(x < 0, negativeRoot) })},
		"cbrt":     {1, 1, real1(always(math.Cbrt))},
		"exp":      {1, 1, real1(always(math.Exp))},
		"ln":       {1, 1, real1(logarithm(natural))},
		"log10":    {1, 1, real1(logarithm(logarithmTo(10)))},
		"log2":     {1, 1, real1(logarithm(logarithmTo(2)))},
		"pow":      {2, 2, real2(power)},
		"atan2":    {2, 2, real2(math.Atan2)},
		"sin":      {1, 1, real1(angle(math.Sin))},
		"cos":      {1, 1, real1(angle(math.Cos))},
		"tan":      {1, 1, real1(angle(math.Tan))},
		"asin":     {1, 1, real1(arc(math.Asin))},
		"acos":     {1, 1, real1(arc(math.Acos))},
		"atan":     {1, 1, real1(always(math.Atan))},
		"radians":  {1, 1, real1(always(func(x float64) float64 { return x * (math.Pi / 180) }))},
		"degrees":  {1, 1, real1(always(func(x float64) float64 { return x * (180 / math.Pi) }))},
		"pi":       {0, 0, func(c *compiler, _ *syntax, _ []value) (value, error) { return c.named("pi", c.double(math.Pi)), nil }},
		"isnan":    {1, 1, test(math.IsNaN)},
		"isinf":    {1, 1, test(func(x float64) bool { return math.IsInf(x, 0) })},
		"isfinite": {1, 1, test(func(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) })},
		"coalesce": {1, -1, (*compiler).coalesce},
		"greatest": {1, -1, extreme(true)},
		"least":    {1, -1, extreme(false)},
		"nullif":   {2, 2, (*compiler).nullIf},
	}
	maps.Copy(functions, textFunctions())
	maps.Copy(functions, timeFunctions())
}

// otherNames are names that DuckDB has for the same functions.
var otherNames = map[string]string{
	"ceiling": "ceil", "power": "pow", "log": "log10", "ifnull": "coalesce", "substr": "substring",
	"prefix": "starts_with", "suffix": "ends_with", "instr": "strpos", "len": "length",
	"lcase": "lower", "ucase": "upper", "datepart": "date_part", "datetrunc": "date_trunc", "datediff": "date_diff",
}

func (c *compiler) call(s *syntax, of []value) (value, error) {
	name := s.text
	if same, other := otherNames[name]; other {
		name = same
	}
	f, known := functions[name]
	if !known {
		e := c.failf(s.at, "there is no function %q here", clip(s.text))
		if near := driftline.Nearest(s.text, slices.Collect(maps.Keys(functions))); near != "" {
			return value{}, e.WithHint("did you mean %q?", near)
		}
		return value{}, e.WithHint("see docs/transforms.md for the functions that there are")
	}
	if len(of) < f.least || f.most >= 0 && len(of) > f.most {
		return value{}, c.failf(s.at, "%s takes %s, and there are %d", s.text, f.arguments(), len(of))
	}
	s.text = name
	return f.compile(c, s, of)
}

func (f function) arguments() string {
	switch {
	case f.most < 0:
		return fmt.Sprintf("%d arguments or more", f.least)
	case f.least == f.most && f.least == 1:
		return "1 argument"
	case f.least == f.most:
		return fmt.Sprintf("%d arguments", f.least)
	}
	return fmt.Sprintf("%d to %d arguments", f.least, f.most)
}

// called writes a call as SQL.
func called(name string, of ...value) string { return name + "(" + list(of) + ")" }

// argument brings an argument to a type, if it is one that converts unseen.
func (c *compiler) argument(name string, v value, to driftline.Type) (value, error) {
	if v.kind == to || v.kind == untyped || isNumber(v.kind) && isNumber(to) && widest(v.kind, to) == to {
		return c.implicit(v, to), nil
	}
	return v, c.failf(v.at, "%s wants %s, and this is %s", name, typeName(to), typeName(v.kind)).WithHint("write a CAST if that is what you mean")
}

// always is a function that has a value everywhere.
func always(apply func(float64) float64) func(float64) (float64, state) {
	return func(x float64) (float64, state) { return apply(x), present }
}

func logarithm(apply func(float64) float64) func(float64) (float64, state) {
	return func(x float64) (float64, state) {
		switch {
		case x < 0:
			return 0, negativeLogarithm
		case x == 0:
			return 0, zeroLogarithm
		}
		return apply(x), present
	}
}

func angle(apply func(float64) float64) func(float64) (float64, state) {
	return func(x float64) (float64, state) {
		if math.IsInf(x, 0) {
			return 0, badAngle
		}
		return apply(x), present
	}
}

func arc(apply func(float64) float64) func(float64) (float64, state) {
	return func(x float64) (float64, state) {
		if x < -1 || x > 1 {
			return 0, badArc
		}
		return apply(x), present
	}
}

// real1 is a function of a DOUBLE.
func real1(apply func(float64) (float64, state)) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		x, err := c.argument(s.text, of[0], driftline.Float64)
		if err != nil {
			return x, err
		}
		return value{kind: driftline.Float64, sql: called(s.text, x), run: map1(c, x.run.(operation[float64]), apply)}, nil
	}
}

// real2 is a function of two DOUBLEs that has a value everywhere.
func real2(apply func(a, b float64) float64) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		a, err := c.argument(s.text, of[0], driftline.Float64)
		if err != nil {
			return a, err
		}
		b, err := c.argument(s.text, of[1], driftline.Float64)
		if err != nil {
			return b, err
		}
		run := map2(c, a.run.(operation[float64]), b.run.(operation[float64]), func(x, y float64) (float64, state) { return apply(x, y), present })
		return value{kind: driftline.Float64, sql: called(s.text, a, b), run: run}, nil
	}
}

// test is a question about a DOUBLE.
func test(is func(float64) bool) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		x, err := c.argument(s.text, of[0], driftline.Float64)
		if err != nil {
			return x, err
		}
		run := map1(c, x.run.(operation[float64]), func(x float64) (bool, state) { return is(x), present })
		return value{kind: driftline.Bool, sql: called(s.text, x), run: run}, nil
	}
}

// named replaces how a value is written.
func (c *compiler) named(name string, v value) value {
	v.sql = called(name)
	return v
}

// number checks that a value is a number; NULL is a DOUBLE.
func (c *compiler) number(name string, v value) (value, error) {
	if isNumber(v.kind) {
		return v, nil
	}
	return c.argument(name, v, driftline.Float64)
}

func (c *compiler) abs(s *syntax, of []value) (value, error) {
	v, err := c.number(s.text, of[0])
	if err != nil {
		return v, err
	}
	out := value{kind: v.kind, sql: called(s.text, v)}
	switch v.kind {
	case driftline.Int32:
		out.run = map1(c, v.run.(operation[int32]), func(x int32) (int32, state) { return max(x, -x), failIf(x == math.MinInt32, overflow) })
	case driftline.Int64:
		out.run = map1(c, v.run.(operation[int64]), func(x int64) (int64, state) { return max(x, -x), failIf(x == math.MinInt64, overflow) })
	case driftline.Float32:
		out.run = map1(c, v.run.(operation[float32]), func(x float32) (float32, state) { return float32(math.Abs(float64(x))), present })
	default:
		out.run = map1(c, v.run.(operation[float64]), func(x float64) (float64, state) { return math.Abs(x), present })
	}
	return out, nil
}

// whole is a function from numbers to whole ones of the same type: of a FLOAT a FLOAT, of
// others a DOUBLE.
func whole(apply func(float64) float64) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		if of[0].kind == driftline.Float32 {
			run := map1(c, of[0].run.(operation[float32]), func(x float32) (float32, state) { return float32(apply(float64(x))), present })
			return value{kind: driftline.Float32, sql: called(s.text, of[0]), run: run}, nil
		}
		return real1(always(apply))(c, s, of)
	}
}

// mostDigits is what round may be asked for: a DOUBLE has no more.
const mostDigits = 15

// round rounds halves away from zero, to a whole number or to digits after the point.
func (c *compiler) round(s *syntax, of []value) (value, error) {
	if len(of) == 1 && isWhole(of[0].kind) {
		return of[0], nil
	}
	if len(of) == 1 {
		return whole(math.Round)(c, s, of)
	}
	digits, isLiteral := s.children[1].wholeNumber()
	if !isLiteral || digits < 0 || digits > mostDigits {
		return value{}, c.failf(of[1].at, "round wants a number of digits here, from 0 to %d", mostDigits).
			WithHint("write for example round(price, 2)")
	}
	if isWhole(of[0].kind) {
		return value{}, c.failf(of[0].at, "round to digits wants a fraction, and this is %s", typeName(of[0].kind)).WithHint("leave the digits out, or write a CAST to DOUBLE")
	}
	v, err := c.number(s.text, of[0])
	if err != nil {
		return v, err
	}
	out := value{kind: v.kind, sql: fmt.Sprintf("round(%s, %d)", v.sql, digits)}
	scale := math.Pow10(digits)
	if v.kind == driftline.Float32 {
		out.run = map1(c, v.run.(operation[float32]), func(x float32) (float32, state) { return float32(roundTo(float64(x), scale)), present })
		return out, nil
	}
	out.run = map1(c, v.run.(operation[float64]), func(x float64) (float64, state) { return roundTo(x, scale), present })
	return out, nil
}

// roundTo is round(x * scale) / scale, and x itself where that is beyond all numbers.
func roundTo(x, scale float64) float64 {
	r := math.Round(x*scale) / scale
	if math.IsInf(r, 0) || math.IsNaN(r) {
		return x
	}
	return r
}

func (c *compiler) coalesce(s *syntax, of []value) (value, error) {
	all, kind, err := c.common("coalesce", of...)
	if err != nil || kind == untyped {
		return value{sql: "NULL"}, err
	}
	return value{kind: kind, sql: called(s.text, all...), run: families[kind].coalesce(c, run(all))}, nil
}

func extreme(greatest bool) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		all, kind, err := c.common(s.text, of...)
		if err != nil || kind == untyped {
			return value{sql: "NULL"}, err
		}
		out := value{kind: kind, sql: called(s.text, all...), run: families[kind].extreme(c, run(all), greatest)}
		if kind == driftline.Float32 { // for which DuckDB knows no -0 here
			out.run = map1(c, out.run.(operation[float32]), func(x float32) (float32, state) { return x + 0, present })
		}
		return out, nil
	}
}

// nullIf compares in the type that both have in common, and is of the first one's type.
func (c *compiler) nullIf(s *syntax, of []value) (value, error) {
	if of[0].kind == untyped {
		return value{sql: "NULL"}, nil
	}
	a := of[0]
	a.run = families[a.kind].shared(c, a.run)
	equal, err := c.compare("=", a, of[1])
	if err != nil {
		return value{}, err
	}
	return value{
		kind: a.kind, sql: called("nullif", a, of[1]),
		run: families[a.kind].nullIf(c, a.run, equal.run.(operation[bool])),
	}, nil
}
