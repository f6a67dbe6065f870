package filter

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits on a filter: it comes from a stranger.
const (
	mostBytes       = 64 << 10
	mostComparisons = 1000
	mostDepth       = 100
)

// Filter is a filter that was read. The zero Filter matches everything.
type Filter struct {
	root        *node
	comparisons []*comparison
}

// node is a part of a filter: a comparison, or what joins others.
type node struct {
	join       string // "AND", "OR", "NOT", or "" for a comparison
	parts      []*node
	comparison *comparison
}

// comparison is one condition on one field.
type comparison struct {
	field    Field
	operator string
	absent   string // what a row without the field is taken to have
	assume   bool   // absent counts
	text     func(string) bool
	number   func(float64) bool // nil for text
}

// Row is something that is searched.
type Row interface {
	// Text returns a text of the row, and false if it has none.
	Text(f *Field) (string, bool)
	// Number returns a number of the row, and false if it has none.
	Number(f *Field) (float64, bool)
	// Any reports whether one of the texts of a dataset field matches.
	Any(f *Field, match func(string) bool) bool
}

// Parse reads a filter. "" matches everything.
func Parse(g *Grammar, text string) (*Filter, error) {
	if len(text) > mostBytes {
		return nil, invalid("Invalid filter: it has %d bytes, and at most %d are read", len(text), mostBytes)
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{grammar: g, tokens: tokens, filter: &Filter{}}
	if p.peek().kind == end {
		return p.filter, nil
	}
	if p.filter.root, err = p.either(0); err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, invalid("Invalid clause(s) in filter string: %s at byte %d is not expected", t, t.at).
			WithHint("join conditions with AND or OR")
	}
	return p.filter, nil
}

// Fields are the fields that the filter reads, for the caller to set their slots.
func (f *Filter) Fields() []*Field {
	fields := make([]*Field, len(f.comparisons))
	for i, c := range f.comparisons {
		fields[i] = &c.field
	}
	return fields
}

// Everything reports whether the filter matches every row.
func (f *Filter) Everything() bool { return f.root == nil }

// Match reports whether the filter matches a row.
func (f *Filter) Match(row Row) bool { return f.root == nil || f.root.match(row) }

func (n *node) match(row Row) bool {
	switch n.join {
	case "AND":
		return !slices.ContainsFunc(n.parts, func(part *node) bool { return !part.match(row) })
	case "OR":
		return slices.ContainsFunc(n.parts, func(part *node) bool { return part.match(row) })
	case "NOT":
		return !n.parts[0].match(row)
	}
	return n.comparison.match(row)
}

func (c *comparison) match(row Row) bool {
	switch {
	case c.field.Entity == Dataset:
		return row.Any(&c.field, c.text)
	case c.field.Numeric:
		value, ok := row.Number(&c.field)
		return ok && c.number(value)
	}
	value, ok := row.Text(&c.field)
	switch {
	case c.operator == "IS NULL":
		return !ok
	case c.operator == "IS NOT NULL":
		return ok
	case !ok && c.assume:
		return c.text(c.absent)
	case !ok:
		return false
	case c.number == nil:
		return c.text(value)
	}
	number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err == nil && c.number(number)
}

// parser reads tokens from left to right.
type parser struct {
	grammar *Grammar
	tokens  []token
	filter  *Filter
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) take() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

// takeIf takes the next token if it is that keyword.
func (p *parser) takeIf(keyword string) bool {
	is := p.peek().is(keyword)
	if is {
		p.take()
	}
	return is
}

func (p *parser) either(depth int) (*node, error) { return p.joined("OR", depth, p.all) }

func (p *parser) all(depth int) (*node, error) { return p.joined("AND", depth, p.factor) }

// joined reads parts with a keyword between them.
func (p *parser) joined(keyword string, depth int, part func(int) (*node, error)) (*node, error) {
	first, err := part(depth)
	if err != nil || !p.peek().is(keyword) {
		return first, err
	}
	joined := &node{join: keyword, parts: []*node{first}}
	for p.takeIf(keyword) {
		next, err := part(depth)
		if err != nil {
			return nil, err
		}
		joined.parts = append(joined.parts, next)
	}
	return joined, nil
}

func (p *parser) factor(depth int) (*node, error) {
	if depth > mostDepth {
		return nil, invalid("Invalid filter: brackets and NOT are nested more than %d deep", mostDepth)
	}
	switch t := p.peek(); {
	case t.is("NOT"):
		p.take()
		part, err := p.factor(depth + 1)
		return &node{join: "NOT", parts: []*node{part}}, err
	case t.isMark("("):
		p.take()
		inner, err := p.either(depth + 1)
		if err != nil {
			return nil, err
		}
		if t := p.take(); !t.isMark(")") {
			return nil, invalid("Invalid filter: expected ')' at byte %d, found %s", t.at, t)
		}
		return inner, nil
	}
	return p.comparison()
}

func (p *parser) comparison() (*node, error) {
	if len(p.filter.comparisons) == mostComparisons {
		return nil, invalid("Invalid filter: it has more than %d conditions", mostComparisons)
	}
	field, err := p.field()
	if err != nil {
		return nil, err
	}
	c := &comparison{field: field}
	if field.Entity == Tag {
		c.absent, c.assume = p.grammar.Absent[field.Key], p.grammar.Absent[field.Key] != ""
	}
	if err := p.condition(c); err != nil {
		return nil, err
	}
	p.filter.comparisons = append(p.filter.comparisons, c)
	return &node{comparison: c}, nil
}

// field reads entity.key or key.
func (p *parser) field() (Field, error) {
	first := p.take()
	if first.kind != word && first.kind != name && first.kind != double {
		return Field{}, invalid("Invalid comparison clause. Expected a field at byte %d, found %s", first.at, first).
			WithHint("write it like metrics.loss, params.depth, tags.`mlflow.user` or start_time")
	}
	if !p.peek().isMark(".") {
		return p.grammar.field("", first.text)
	}
	p.take()
	key := p.take()
	if key.kind != word && key.kind != name && key.kind != double && key.kind != single {
		return Field{}, invalid("Invalid comparison clause. Expected a key after %s. at byte %d, found %s", first, key.at, key)
	}
	return p.grammar.field(first.text, key.text)
}

// condition reads the operator and what the field is compared with.
func (p *parser) condition(c *comparison) error {
	op, err := p.operator()
	if err != nil {
		return err
	}
	c.operator = op
	switch op {
	case "IS NULL", "IS NOT NULL":
		if c.field.Entity != Tag && c.field.Entity != Param {
			return invalid("IS NULL / IS NOT NULL is only supported for tags and params, not for '%s' '%s'", c.field.Entity, clip(c.field.Key))
		}
		return nil
	case "IN", "NOT IN":
		return p.list(c)
	}
	value := p.take()
	switch value.kind {
	case numeral:
		return compareNumber(c, value)
	case single, double:
		return compareText(c, value)
	case end:
		return invalid("Invalid comparison clause. Expected 3 tokens found 2: %s %s has no value", &c.field, op)
	}
	return c.wrongValue(value)
}

// operator reads one, of one word or several.
func (p *parser) operator() (string, error) {
	t := p.take()
	if t.kind == operator {
		return t.text, nil
	}
	not := ""
	if t.is("IS") {
		if p.takeIf("NOT") {
			not = "NOT "
		}
		if !p.takeIf("NULL") {
			return "", invalid("Invalid comparator: IS at byte %d is not followed by NULL or NOT NULL", t.at)
		}
		return "IS " + not + "NULL", nil
	}
	if t.is("NOT") {
		not, t = "NOT ", p.take()
	}
	for _, word := range []string{"IN", "LIKE", "ILIKE", "RLIKE"} {
		if t.is(word) {
			return not + word, nil
		}
	}
	return "", invalid("Invalid comparator %s at byte %d", t, t.at).WithHint("use = != < <= > >= LIKE ILIKE RLIKE IN, IS NULL or IS NOT NULL")
}

// compareNumber makes c a comparison of numbers.
func compareNumber(c *comparison, value token) error {
	want, err := strconv.ParseFloat(value.text, 64)
	switch {
	case err != nil && want == 0:
		return invalid("Invalid filter: %s is not a number", value)
	case !c.field.Numeric && c.field.Entity != Param && c.field.Entity != Tag:
		return c.wrongValue(value)
	}
	switch c.operator {
	case "=":
		c.number = func(x float64) bool { return x == want }
	case "!=":
		c.number = func(x float64) bool { return x != want }
	case "<":
		c.number = func(x float64) bool { return x < want }
	case "<=":
		c.number = func(x float64) bool { return x <= want }
	case ">":
		c.number = func(x float64) bool { return x > want }
	case ">=":
		c.number = func(x float64) bool { return x >= want }
	default:
		return invalid("Invalid comparator '%s' for a number", c.operator).WithHint("use one of > >= = != < <=")
	}
	return nil
}

// compareText makes c a comparison of texts.
func compareText(c *comparison, value token) error {
	if c.field.Numeric {
		return c.wrongValue(value)
	}
	want := value.text
	switch strings.TrimPrefix(c.operator, "NOT ") {
	case "=":
		c.text = func(x string) bool { return x == want }
	case "!=":
		c.text = func(x string) bool { return x != want }
	case "LIKE":
		c.text = like(want, false)
	case "ILIKE":
		c.text = like(want, true)
	case "RLIKE":
		pattern, err := regexp.Compile(want)
		if err != nil {
			return invalid("Invalid filter: %s is not a regular expression: %w", value, err)
		}
		c.text = pattern.MatchString
	default:
		return invalid("Invalid comparator '%s' for a text", c.operator).WithHint("use one of != = LIKE ILIKE RLIKE IN, or compare with a number")
	}
	c.negate()
	return nil
}

// negate turns a comparison whose operator begins with NOT.
func (c *comparison) negate() {
	if match := c.text; strings.HasPrefix(c.operator, "NOT ") {
		c.text = func(x string) bool { return !match(x) }
	}
}

// list reads ('a', 'b').
func (p *parser) list(c *comparison) error {
	if c.field.Numeric {
		return invalid("%s is a number, and IN is for texts", &c.field).WithHint("use = with OR")
	}
	if t := p.take(); !t.isMark("(") {
		return invalid("Invalid filter: expected '(' after %s at byte %d, found %s", c.operator, t.at, t)
	}
	want := map[string]bool{}
	for {
		t := p.take()
		if t.kind != single && t.kind != double {
			return invalid("While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: %s at byte %d", t, t.at).
				WithHint("write it like IN ('a', 'b')")
		}
		want[t.text] = true
		t = p.take()
		if t.isMark(")") {
			break
		}
		if !t.isMark(",") {
			return invalid("Invalid filter: expected ',' or ')' in a list at byte %d, found %s", t.at, t)
		}
	}
	c.text = func(x string) bool { return want[x] }
	c.negate()
	return nil
}

// wrongValue is the error for a value that the field cannot be compared with.
func (c *comparison) wrongValue(value token) error {
	switch {
	case c.field.Entity == Metric:
		return invalid("Expected numeric value type for metric. Found %s", value)
	case c.field.Numeric:
		return invalid("Expected numeric value type for numeric attribute: %s. Found %s", c.field.Key, value)
	case c.field.Entity == Dataset:
		return invalid("Expected a quoted string value for dataset attributes. Got value %s", value)
	case c.field.Entity == Attribute:
		return invalid("Expected a quoted string value for attributes. Got value %s", value)
	}
	return invalid("Expected a quoted string value for %s (e.g. 'my-value'), or a number. Got value %s", c.field.Entity, value)
}
