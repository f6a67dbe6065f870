package expression

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// columnMark stands around the place of a column in the SQL of a value, until it is known
// what the column is called. No text has it.
const columnMark = "\x00"

// untyped is the type of NULL until something beside it says more.
const untyped driftline.Type = ""

// value is a checked part of an expression.
type value struct {
	kind driftline.Type
	sql  string  // the same for DuckDB, as one operand
	run  any     // the operation[T] of the type; nil if untyped
	at   int     // its place in the text
	text *string // the text of a literal, which may be meant as a time
}

// sqlTypes are the types as DuckDB calls them.
var sqlTypes = map[driftline.Type]string{
	driftline.Bool: "BOOLEAN", driftline.Int32: "INTEGER", driftline.Int64: "BIGINT", driftline.Float32: "FLOAT", driftline.Float64: "DOUBLE",
	driftline.String: "VARCHAR", driftline.Bytes: "BLOB", driftline.Timestamp: "TIMESTAMPTZ",
}

// typeNames are the types as an expression may call them, in lower case.
var typeNames = map[string]driftline.Type{
	"boolean": driftline.Bool, "bool": driftline.Bool,
	"integer": driftline.Int32, "int": driftline.Int32, "int4": driftline.Int32, "int32": driftline.Int32,
	"bigint": driftline.Int64, "int8": driftline.Int64, "int64": driftline.Int64, "long": driftline.Int64,
	"float": driftline.Float32, "real": driftline.Float32, "float4": driftline.Float32,
	"double": driftline.Float64, "float8": driftline.Float64,
	"varchar": driftline.String, "text": driftline.String, "string": driftline.String,
	"blob": driftline.Bytes, "bytea": driftline.Bytes,
	"timestamp": driftline.Timestamp, "timestamptz": driftline.Timestamp,
}

// typeName is a type for people.
func typeName(t driftline.Type) string {
	if t == untyped {
		return "NULL"
	}
	return sqlTypes[t]
}

func (c *compiler) failf(at int, format string, args ...any) *driftline.Error {
	return failf(c.text, at, format, args...)
}

// compile checks a tree from its leaves up.
func (c *compiler) compile(s *syntax) (value, error) {
	if c.parts++; c.parts > MaxParts {
		return value{}, c.failf(s.at, "it has more than %d parts", MaxParts)
	}
	v, err := c.compileForm(s)
	v.at = s.at
	return v, err
}

func (c *compiler) compileForm(s *syntax) (value, error) {
	switch s.form {
	case formColumn:
		return c.column(s)
	case formInteger:
		return c.integer(s)
	case formDecimal:
		return c.decimal(s)
	case formText:
		return value{kind: driftline.String, sql: quoteText(s.text), run: constant(c, s.text), text: &s.text}, nil
	case formTime:
		return c.time(s.text, s.at)
	case formNull:
		return value{sql: "NULL"}, nil
	case formBool:
		return value{kind: driftline.Bool, sql: s.text, run: constant(c, s.text == "true")}, nil
	case formCase:
		return c.cases(s)
	}
	of, err := c.compileAll(s.children)
	if err != nil {
		return value{}, err
	}
	switch s.form {
	case formOperator:
		return c.operator(s, of)
	case formCall:
		return c.call(s, of)
	case formCast:
		return c.castSyntax(s, of[0])
	case formIn:
		return c.in(s, of)
	case formBetween:
		return c.between(s, of)
	case formIs:
		return c.is(s, of)
	}
	return c.like(s, of)
}

func (c *compiler) compileAll(of []*syntax) ([]value, error) {
	out := make([]value, len(of))
	for i, s := range of {
		var err error
		if out[i], err = c.compile(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// column finds a column by its name, whose case does not matter, as in SQL.
func (c *compiler) column(s *syntax) (value, error) {
	var found []int
	for i, column := range c.columns {
		if strings.EqualFold(column.Name, s.text) && (s.qualifier == "" || strings.EqualFold(column.Qualifier, s.qualifier)) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return value{}, c.unknownColumn(s)
	case 1:
	default:
		return value{}, c.failf(s.at, "%q is the name of several columns", s.text).
			WithHint("write %s", c.columns[found[0]].name()+" or "+c.columns[found[1]].name())
	}
	at := found[0]
	column := c.columns[at]
	if families[column.Type] == nil {
		return value{}, c.failf(s.at, "column %q is %s, which expressions cannot read", column.name(), column.Type)
	}
	if c.read[at] == nil {
		c.read[at] = families[column.Type].column(c, at)
	}
	return value{kind: column.Type, sql: columnMark + strconv.Itoa(at) + columnMark, run: c.read[at]}, nil
}

func (c *compiler) unknownColumn(s *syntax) error {
	written := s.text
	if s.qualifier != "" {
		written = s.qualifier + "." + s.text
	}
	e := c.failf(s.at, "there is no column %q", written)
	var names []string
	for _, column := range c.columns {
		if s.qualifier == "" {
			names = append(names, column.Name)
		}
		names = append(names, column.name())
	}
	slices.Sort(names)
	if near := driftline.Nearest(written, names); near != "" {
		return e.WithHint("did you mean %q?", near)
	}
	if len(names) == 0 {
		return e.WithHint("it can read no columns")
	}
	names = slices.Compact(names)
	return e.WithHint("it can read: %s", strings.Join(names[:min(len(names), 20)], ", "))
}

// name is the column as an expression calls it.
func (c Column) name() string {
	if c.Qualifier != "" {
		return c.Qualifier + "." + c.Name
	}
	return c.Name
}

func (c Column) sql() string {
	if c.Qualifier != "" {
		return quoteName(c.Qualifier) + "." + quoteName(c.Name)
	}
	return quoteName(c.Name)
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// integer is INTEGER if it fits, else BIGINT.
func (c *compiler) integer(s *syntax) (value, error) {
	n, err := strconv.ParseInt(s.text, 10, 64)
	if err != nil {
		return value{}, c.failf(s.at, "%s is beyond the whole numbers of 64 bits", clip(s.text)).WithHint("write it as a DOUBLE, for example 1e20")
	}
	if int64(int32(n)) == n {
		return value{kind: driftline.Int32, sql: fmt.Sprintf("CAST(%d AS INTEGER)", n), run: constant(c, int32(n))}, nil
	}
	sql := fmt.Sprintf("CAST(%d AS BIGINT)", n)
	if n == math.MinInt64 { // not a literal: the minus is an operator
		sql = fmt.Sprintf("(CAST(%d AS BIGINT) - 1)", n+1)
	}
	return value{kind: driftline.Int64, sql: sql, run: constant(c, n)}, nil
}

// decimal is DOUBLE, which is what features are; DuckDB's exact DECIMAL for 1.5 is not had
// here.
func (c *compiler) decimal(s *syntax) (value, error) {
	x, err := strconv.ParseFloat(s.text, 64)
	if err != nil {
		return value{}, c.failf(s.at, "%s is beyond the numbers of DOUBLE", clip(s.text))
	}
	return c.double(x), nil
}

func (c *compiler) double(x float64) value {
	sql := strconv.FormatFloat(x, 'e', -1, 64)
	if math.Signbit(x) {
		sql = "(" + sql + ")"
	}
	return value{kind: driftline.Float64, sql: sql, run: constant(c, x)}
}

// common brings values to one type that holds them all, as DuckDB chooses it: of numbers
// the last in the order INTEGER, BIGINT, FLOAT, DOUBLE. A literal text beside times is a
// time. what says what wants it, for the error.
func (c *compiler) common(what string, of ...value) ([]value, driftline.Type, error) {
	kind := untyped
	for _, v := range of {
		if v.kind == driftline.Timestamp {
			kind = driftline.Timestamp
		}
	}
	out := slices.Clone(of)
	for i, v := range of {
		if kind == driftline.Timestamp && v.text != nil {
			var err error
			if out[i], err = c.time(*v.text, v.at); err != nil {
				return nil, kind, err
			}
			v = out[i]
		}
		switch {
		case v.kind == untyped, v.kind == kind:
		case kind == untyped:
			kind = v.kind
		case isNumber(kind) && isNumber(v.kind):
			kind = widest(kind, v.kind)
		default:
			return nil, kind, c.failf(v.at, "%s wants values of one type, and there are %s and %s", what, typeName(kind), typeName(v.kind)).
				WithHint("write a CAST to the type that you mean")
		}
	}
	for i, v := range out {
		out[i] = c.implicit(v, kind)
	}
	return out, kind, nil
}

// numbers is the order of the number types.
var numbers = []driftline.Type{driftline.Int32, driftline.Int64, driftline.Float32, driftline.Float64}

func isNumber(t driftline.Type) bool { return slices.Contains(numbers, t) }

func isWhole(t driftline.Type) bool { return t == driftline.Int32 || t == driftline.Int64 }

func widest(a, b driftline.Type) driftline.Type {
	return numbers[max(slices.Index(numbers, a), slices.Index(numbers, b))]
}

// implicit casts a value to a type that holds it, or NULL to any.
func (c *compiler) implicit(v value, to driftline.Type) value {
	if v.kind == to {
		return v
	}
	return c.cast(v, to, false)
}

// run returns the operations of values.
func run(of []value) []any {
	out := make([]any, len(of))
	for i, v := range of {
		out[i] = v.run
	}
	return out
}

// list writes values as SQL, with commas.
func list(of []value) string {
	texts := make([]string, len(of))
	for i, v := range of {
		texts[i] = v.sql
	}
	return strings.Join(texts, ", ")
}

// boolean checks that a value is a truth value; NULL is one.
func (c *compiler) boolean(what string, v value) (value, error) {
	if v.kind != driftline.Bool && v.kind != untyped {
		return v, c.failf(v.at, "%s wants BOOLEAN, and this is %s", what, typeName(v.kind)).WithHint("write a comparison, for example x > 0")
	}
	return c.implicit(v, driftline.Bool), nil
}

// operator checks a unary or binary operator.
func (c *compiler) operator(s *syntax, of []value) (value, error) {
	switch s.text {
	case "and", "or", "not":
		return c.logic(s.text, of)
	case "||":
		return c.concatenate(s, of)
	}
	if _, compares := holds[s.text]; compares {
		return c.compare(s.text, of[0], of[1])
	}
	return c.arithmetic(s, of)
}

func (c *compiler) compare(operator string, a, b value) (value, error) {
	of, kind, err := c.common(operator, a, b)
	if err != nil {
		return value{}, err
	}
	if kind == untyped { // NULL = NULL
		return c.implicit(value{sql: "NULL"}, driftline.Bool), nil
	}
	return value{
		kind: driftline.Bool, sql: "(" + of[0].sql + " " + operator + " " + of[1].sql + ")",
		run: families[kind].comparison(c, operator, of[0].run, of[1].run),
	}, nil
}

func (c *compiler) logic(operator string, of []value) (value, error) {
	for i := range of {
		var err error
		if of[i], err = c.boolean(strings.ToUpper(operator), of[i]); err != nil {
			return value{}, err
		}
	}
	a := of[0].run.(operation[bool])
	if operator == "not" {
		return value{kind: driftline.Bool, sql: "(NOT " + of[0].sql + ")", run: map1(c, a, func(x bool) (bool, state) { return !x, present })}, nil
	}
	sql := "(" + of[0].sql + " " + strings.ToUpper(operator) + " " + of[1].sql + ")"
	return value{kind: driftline.Bool, sql: sql, run: connective(c, a, of[1].run.(operation[bool]), operator == "or")}, nil
}

// connective is OR if decides is true and AND if it is false: the value that decides the
// outcome whatever the other is, even null or a failure.
func connective(c *compiler, a, b operation[bool], decides bool) operation[bool] {
	memory := slot[bool](c)
	return func(f *frame) vector[bool] {
		x, y, b := a(f), b(f), memory(f)
		out := b.begin(f)
		for i := range out {
			p, q := x.state(i), y.state(i)
			switch s := max(p, q); {
			case p == present && x.values[i] == decides, q == present && y.values[i] == decides:
				out[i] = decides
			case s != present:
				b.mark(i, s)
			default:
				out[i] = !decides
			}
		}
		return b.done(f)
	}
}

func (c *compiler) in(s *syntax, of []value) (value, error) {
	all, kind, err := c.common("IN", of...)
	if err != nil {
		return value{}, err
	}
	if kind == untyped {
		return c.implicit(value{sql: "NULL"}, driftline.Bool), nil
	}
	sql := "(" + all[0].sql + negated(s.not) + " IN (" + list(all[1:]) + "))"
	return value{kind: driftline.Bool, sql: sql, run: families[kind].in(c, all[0].run, run(all[1:]), s.not)}, nil
}

func negated(not bool) string {
	if not {
		return " NOT"
	}
	return ""
}

func (c *compiler) between(s *syntax, of []value) (value, error) {
	all, kind, err := c.common("BETWEEN", of...)
	if err != nil {
		return value{}, err
	}
	if kind == untyped {
		return c.implicit(value{sql: "NULL"}, driftline.Bool), nil
	}
	sql := "(" + all[0].sql + negated(s.not) + " BETWEEN " + all[1].sql + " AND " + all[2].sql + ")"
	return value{kind: driftline.Bool, sql: sql, run: families[kind].between(c, all[0].run, all[1].run, all[2].run, s.not)}, nil
}

func (c *compiler) is(s *syntax, of []value) (value, error) {
	out := value{kind: driftline.Bool}
	is := " IS" + negated(s.not)
	switch s.text {
	case "null":
		v := of[0]
		if v.kind == untyped {
			v = c.implicit(v, driftline.Bool)
		}
		out.sql = "(" + v.sql + is + " NULL)"
		out.run = families[v.kind].isNull(c, v.run, s.not)
		return out, nil
	case "true", "false":
		v, err := c.boolean("IS "+strings.ToUpper(s.text), of[0])
		if err != nil {
			return out, err
		}
		out.sql = "(" + v.sql + is + " " + strings.ToUpper(s.text) + ")"
		out.run = families[driftline.Bool].distinct(c, v.run, constant(c, s.text == "true"), !s.not)
		return out, nil
	}
	all, kind, err := c.common("IS DISTINCT FROM", of...)
	if err != nil {
		return out, err
	}
	if kind == untyped {
		kind = driftline.Bool
		all[0], all[1] = c.implicit(all[0], kind), c.implicit(all[1], kind)
	}
	out.sql = "(" + all[0].sql + is + " DISTINCT FROM " + all[1].sql + ")"
	out.run = families[kind].distinct(c, all[0].run, all[1].run, s.not)
	return out, nil
}

// cases checks CASE. Its operand, if it has one, is computed once.
func (c *compiler) cases(s *syntax) (value, error) {
	of, err := c.compileAll(s.children)
	if err != nil {
		return value{}, err
	}
	var when, then []value
	for i := 0; i+1 < len(of); i += 2 {
		when, then = append(when, of[i]), append(then, of[i+1])
	}
	otherwise := value{sql: "NULL"}
	if len(of)%2 == 1 {
		otherwise = of[len(of)-1]
	}
	head, conditions, err := c.conditions(s, when)
	if err != nil {
		return value{}, err
	}
	then, kind, err := c.common("CASE", append(then, otherwise)...)
	if err != nil {
		return value{}, err
	}
	if kind == untyped {
		return value{sql: "NULL"}, nil
	}
	var sql strings.Builder
	is := make([]operation[bool], len(conditions))
	for i, w := range conditions {
		fmt.Fprintf(&sql, " WHEN %s THEN %s", w.sql, then[i].sql)
		is[i] = w.run.(operation[bool])
	}
	results := run(then)
	return value{
		kind: kind, sql: "CASE" + head + sql.String() + " ELSE " + then[len(conditions)].sql + " END",
		run: families[kind].cases(c, is, results[:len(is)], results[len(is)]),
	}, nil
}

// conditions are the truth values after WHEN; with an operand, which head then names,
// whether it equals each. Their SQL is what stands after WHEN.
func (c *compiler) conditions(s *syntax, when []value) (head string, _ []value, err error) {
	if s.operand == nil {
		for i, w := range when {
			if when[i], err = c.boolean("WHEN", w); err != nil {
				return "", nil, err
			}
		}
		return "", when, nil
	}
	operand, err := c.compile(s.operand)
	if err != nil {
		return "", nil, err
	}
	all, kind, err := c.common("CASE", append([]value{operand}, when...)...)
	if err != nil {
		return "", nil, err
	}
	if kind != untyped {
		all[0].run = families[kind].shared(c, all[0].run)
	}
	for i := range when {
		if when[i], err = c.compare("=", all[0], all[1+i]); err != nil {
			return "", nil, err
		}
		when[i].sql = all[1+i].sql
	}
	return " " + all[0].sql, when, nil
}
