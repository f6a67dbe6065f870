package expression

import (
	"math"

	"github.com/driftline/driftline"
)

// arithmetic checks + - * / // % and the signs.
func (c *compiler) arithmetic(s *syntax, of []value) (value, error) {
	for _, v := range of {
		if v.kind == untyped || isNumber(v.kind) {
			continue
		}
		e := c.failf(v.at, "%s wants numbers, and this is %s", s.text, typeName(v.kind))
		if v.kind == driftline.Timestamp {
			return value{}, e.WithHint("write date_diff('second', a, b), or epoch(b) - epoch(a), for the time between two times")
		}
		return value{}, e.WithHint("write a CAST if it is meant as a number")
	}
	all, kind, err := c.common(s.text, of...)
	if err != nil {
		return value{}, err
	}
	if kind == untyped {
		return value{}, c.failf(of[0].at, "NULL has no type here").WithHint("give it one: CAST(NULL AS DOUBLE)")
	}
	if len(all) == 1 {
		return c.sign(s.text, all[0]), nil
	}
	switch {
	case s.text == "/" && isWhole(kind): // the quotient of whole numbers is a fraction
		kind = driftline.Float64
		all[0], all[1] = c.implicit(all[0], kind), c.implicit(all[1], kind)
	case s.text == "//" && !isWhole(kind):
		return value{}, c.failf(s.at, "// is the division of whole numbers, and these are %s", typeName(kind)).WithHint("write floor(a / b)")
	}
	return value{kind: kind, sql: "(" + all[0].sql + " " + s.text + " " + all[1].sql + ")", run: c.operate(s.text, kind, all)}, nil
}

func (c *compiler) operate(operator string, kind driftline.Type, of []value) any {
	switch kind {
	case driftline.Int32:
		return binary(c, of, wholeOperators[int32](math.MinInt32)[operator])
	case driftline.Int64:
		return binary(c, of, wholeOperators[int64](math.MinInt64)[operator])
	case driftline.Float32:
		return binary(c, of, floatOperators[float32]()[operator])
	}
	return binary(c, of, floatOperators[float64]()[operator])
}

func binary[T values](c *compiler, of []value, apply func(T, T) (T, state)) any {
	return map2(c, of[0].run.(operation[T]), of[1].run.(operation[T]), apply)
}

// wholeOperators overflow where Go's wrap around, and give null for a division by zero.
func wholeOperators[I int32 | int64](least I) map[string]func(a, b I) (I, state) {
	return map[string]func(a, b I) (I, state){
		"+": func(a, b I) (I, state) {
			sum := a + b
			return sum, failIf((sum < a) != (b < 0), overflow)
		},
		"-": func(a, b I) (I, state) {
			difference := a - b
			return difference, failIf((difference > a) != (b < 0), overflow)
		},
		"*": func(a, b I) (I, state) {
			product := a * b
			return product, failIf(a != 0 && (product/a != b || a == -1 && b == least), overflow)
		},
		"//": func(a, b I) (I, state) {
			switch {
			case b == 0:
				return 0, null
			case b == -1 && a == least:
				return 0, overflow
			}
			return a / b, present
		},
		"%": func(a, b I) (I, state) {
			switch {
			case b == 0:
				return 0, null
			case b == -1 && a == least:
				return 0, overflow
			}
			return a % b, present
		},
	}
}

// floatOperators are those of IEEE 754: they give infinities and NaN, and never fail.
func floatOperators[F float32 | float64]() map[string]func(a, b F) (F, state) {
	return map[string]func(a, b F) (F, state){
		"+": func(a, b F) (F, state) { return a + b, present },
		"-": func(a, b F) (F, state) { return a - b, present },
		"*": func(a, b F) (F, state) { return a * b, present },
		"/": func(a, b F) (F, state) { return a / b, present },
		"%": func(a, b F) (F, state) { return F(math.Mod(float64(a), float64(b))), present },
	}
}

func failIf(fails bool, s state) state {
	if fails {
		return s
	}
	return present
}

// sign is -x or +x.
func (c *compiler) sign(operator string, v value) value {
	if operator == "+" {
		return v
	}
	v.sql, v.text = "(-"+v.sql+")", nil
	switch v.kind {
	case driftline.Int32:
		v.run = map1(c, v.run.(operation[int32]), func(x int32) (int32, state) { return -x, failIf(x == math.MinInt32, overflow) })
	case driftline.Int64:
		v.run = map1(c, v.run.(operation[int64]), func(x int64) (int64, state) { return -x, failIf(x == math.MinInt64, overflow) })
	case driftline.Float32:
		v.run = map1(c, v.run.(operation[float32]), func(x float32) (float32, state) { return -x, present })
	case driftline.Float64:
		v.run = map1(c, v.run.(operation[float64]), func(x float64) (float64, state) { return -x, present })
	}
	return v
}
