package expression

import (
	"slices"
	"strings"
)

// form is what a piece of syntax is.
type form uint8

const (
	formColumn   form = iota // text, qualifier
	formInteger              // text, perhaps with a minus
	formDecimal              // text, perhaps with a minus
	formText                 // text
	formTime                 // text: TIMESTAMP '…'
	formNull                 //
	formBool                 // text: true or false
	formOperator             // text: the operator; one or two children
	formCall                 // text: the function in lower case; the arguments
	formCast                 // text: the type; tries
	formCase                 // children: WHEN, THEN, … and, if odd, ELSE; operand
	formIn                   // children: the value, then the list; not
	formBetween              // children: value, low, high; not
	formIs                   // text: null, true, false or distinct; not
	formLike                 // children: value, pattern, escape perhaps; not
)

// syntax is a node of the tree that a text is read as.
type syntax struct {
	form      form
	at        int // its first byte, or its operator's
	text      string
	qualifier string
	children  []*syntax
	operand   *syntax // of CASE x WHEN …
	not       bool
	tries     bool // TRY_CAST
}

// keywords cannot be names without double quotes.
var keywords = []string{
	"and", "or", "not", "is", "null", "true", "false", "between", "in", "like", "escape",
	"case", "when", "then", "else", "end", "cast", "try_cast", "distinct", "from", "as",
}

// parse reads a text of at most [MaxText] bytes.
func parse(text string) (*syntax, error) {
	if len(text) > MaxText {
		return nil, failf(text, MaxText, "it is %d bytes long, at most %d are possible", len(text), MaxText)
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := parser{text: text, tokens: tokens}
	if p.peek().kind == tokenEnd {
		return nil, failf(text, 0, "it is empty").WithHint("write for example speed / 1000")
	}
	root, err := p.expression()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, p.unexpected(t, "the end or an operator")
	}
	return root, nil
}

// parser reads tokens by recursive descent, a method for each level of precedence.
type parser struct {
	text   string
	tokens []token
	next   int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != tokenEnd {
		p.next++
	}
	return t
}

// symbol takes the next token if it is one of these symbols.
func (p *parser) symbol(of ...string) (token, bool) {
	if t := p.peek(); t.kind == tokenSymbol && slices.Contains(of, t.text) {
		return p.take(), true
	}
	return token{}, false
}

// word takes the next token if it is this keyword.
func (p *parser) word(keyword string) bool {
	if t := p.peek(); t.kind == tokenName && strings.EqualFold(t.text, keyword) {
		p.take()
		return true
	}
	return false
}

// words takes several keywords in a row, or none.
func (p *parser) words(keywords ...string) bool {
	before := p.next
	for _, k := range keywords {
		if !p.word(k) {
			p.next = before
			return false
		}
	}
	return true
}

func (p *parser) expect(symbol string) error {
	if _, ok := p.symbol(symbol); !ok {
		return p.unexpected(p.peek(), symbol)
	}
	return nil
}

func (p *parser) expectWord(keyword string) error {
	if !p.word(keyword) {
		return p.unexpected(p.peek(), strings.ToUpper(keyword))
	}
	return nil
}

func (p *parser) unexpected(t token, want string) error {
	if t.kind == tokenEnd {
		return failf(p.text, t.at, "it ends where %s should come", want)
	}
	return failf(p.text, t.at, "%q stands where %s should come", clip(p.text[t.at:p.tokens[min(p.next+1, len(p.tokens)-1)].at]), want)
}

// expression is OR of AND of NOT. Every level that nests comes through here, so this is
// where depth is counted.
func (p *parser) expression() (*syntax, error) {
	if p.depth++; p.depth > MaxDepth {
		return nil, failf(p.text, p.peek().at, "it is nested more than %d deep", MaxDepth)
	}
	defer func() { p.depth-- }()
	return p.infix(p.conjunction, func() (token, bool) { return p.keyword("or") })
}

func (p *parser) conjunction() (*syntax, error) {
	return p.infix(p.negation, func() (token, bool) { return p.keyword("and") })
}

func (p *parser) keyword(keyword string) (token, bool) {
	t := p.peek()
	return token{tokenSymbol, keyword, t.at}, p.word(keyword)
}

// infix reads operands with operators of one precedence between them, from the left. A
// chain of them is as deep as it is long, so it counts as depth too.
func (p *parser) infix(operand func() (*syntax, error), operator func() (token, bool)) (*syntax, error) {
	left, err := operand()
	before := p.depth
	defer func() { p.depth = before }()
	for err == nil {
		t, ok := operator()
		if !ok {
			return left, nil
		}
		if p.depth++; p.depth > MaxDepth {
			return nil, failf(p.text, t.at, "it is nested more than %d deep", MaxDepth)
		}
		var right *syntax
		if right, err = operand(); err == nil {
			left = &syntax{form: formOperator, at: t.at, text: t.text, children: []*syntax{left, right}}
		}
	}
	return nil, err
}

func (p *parser) negation() (*syntax, error) {
	t := p.peek()
	if !p.word("not") {
		return p.is()
	}
	if p.depth++; p.depth > MaxDepth {
		return nil, failf(p.text, t.at, "it is nested more than %d deep", MaxDepth)
	}
	defer func() { p.depth-- }()
	child, err := p.negation()
	if err != nil {
		return nil, err
	}
	return &syntax{form: formOperator, at: t.at, text: "not", children: []*syntax{child}}, nil
}

// is reads IS [NOT] NULL, TRUE, FALSE and DISTINCT FROM.
func (p *parser) is() (*syntax, error) {
	left, err := p.comparison()
	if err != nil {
		return nil, err
	}
	t := p.peek()
	if !p.word("is") {
		return left, nil
	}
	s := &syntax{form: formIs, at: t.at, not: p.word("not"), children: []*syntax{left}}
	switch {
	case p.word("null"), p.word("unknown"):
		s.text = "null"
	case p.word("true"):
		s.text = "true"
	case p.word("false"):
		s.text = "false"
	case p.words("distinct", "from"):
		s.text = "distinct"
		right, err := p.comparison()
		if err != nil {
			return nil, err
		}
		s.children = append(s.children, right)
	default:
		return nil, p.unexpected(p.peek(), "NULL, TRUE, FALSE or DISTINCT FROM")
	}
	return s, nil
}

// comparison is not associative: a < b < c is an error, as in SQL.
func (p *parser) comparison() (*syntax, error) {
	left, err := p.membership()
	if err != nil {
		return nil, err
	}
	t, ok := p.symbol("=", "==", "<>", "!=", "<", "<=", ">", ">=")
	if !ok {
		return left, nil
	}
	right, err := p.membership()
	if err != nil {
		return nil, err
	}
	operator := t.text
	switch operator {
	case "==":
		operator = "="
	case "!=":
		operator = "<>"
	}
	return &syntax{form: formOperator, at: t.at, text: operator, children: []*syntax{left, right}}, nil
}

// membership reads [NOT] BETWEEN, IN and LIKE.
func (p *parser) membership() (*syntax, error) {
	left, err := p.concatenation()
	if err != nil {
		return nil, err
	}
	t, before := p.peek(), p.next
	s := &syntax{at: t.at, not: p.word("not"), children: []*syntax{left}}
	switch {
	case p.word("between"):
		s.form = formBetween
		return s, p.between(s)
	case p.word("in"):
		s.form = formIn
		return s, p.arguments(s)
	case p.word("like"):
		s.form = formLike
		return s, p.like(s)
	}
	p.next = before
	return left, nil
}

func (p *parser) between(s *syntax) error {
	low, err := p.concatenation()
	if err != nil {
		return err
	}
	if err := p.expectWord("and"); err != nil {
		return err
	}
	high, err := p.concatenation()
	s.children = append(s.children, low, high)
	return err
}

func (p *parser) like(s *syntax) error {
	pattern, err := p.concatenation()
	if err != nil {
		return err
	}
	s.children = append(s.children, pattern)
	if p.word("escape") {
		escape, err := p.concatenation()
		s.children = append(s.children, escape)
		return err
	}
	return nil
}

func (p *parser) concatenation() (*syntax, error) {
	return p.infix(p.sum, func() (token, bool) { return p.symbol("||") })
}

func (p *parser) sum() (*syntax, error) {
	return p.infix(p.product, func() (token, bool) { return p.symbol("+", "-") })
}

func (p *parser) product() (*syntax, error) {
	return p.infix(p.signed, func() (token, bool) { return p.symbol("*", "/", "//", "%") })
}

// signed reads a sign and what it belongs to. The minus of a number is part of it, so
// that the least integer can be written.
func (p *parser) signed() (*syntax, error) {
	t, ok := p.symbol("-", "+")
	if !ok {
		return p.cast()
	}
	if p.depth++; p.depth > MaxDepth {
		return nil, failf(p.text, t.at, "it is nested more than %d deep", MaxDepth)
	}
	defer func() { p.depth-- }()
	child, err := p.signed()
	if err != nil {
		return nil, err
	}
	number := child.form == formInteger || child.form == formDecimal
	switch {
	case t.text == "+" && number:
		return child, nil
	case t.text == "-" && number && child.text[0] != '-':
		child.text, child.at = "-"+child.text, t.at
		return child, nil
	}
	return &syntax{form: formOperator, at: t.at, text: t.text, children: []*syntax{child}}, nil
}

// cast reads the type after ::.
func (p *parser) cast() (*syntax, error) {
	value, err := p.primary()
	before := p.depth
	defer func() { p.depth = before }()
	for err == nil {
		t, ok := p.symbol("::")
		if !ok {
			return value, nil
		}
		if p.depth++; p.depth > MaxDepth {
			return nil, failf(p.text, t.at, "it is nested more than %d deep", MaxDepth)
		}
		var to string
		if to, err = p.typeName(); err == nil {
			value = &syntax{form: formCast, at: t.at, text: to, children: []*syntax{value}}
		}
	}
	return nil, err
}

// typeName reads the name of a type, which may be of several words.
func (p *parser) typeName() (string, error) {
	t := p.peek()
	if t.kind != tokenName {
		return "", p.unexpected(t, "a type")
	}
	p.take()
	name := strings.ToLower(t.text)
	switch {
	case name == "double":
		p.word("precision")
	case name == "timestamp" && p.words("with", "time", "zone"):
	}
	return name, nil
}

func (p *parser) primary() (*syntax, error) {
	t := p.take()
	switch t.kind {
	case tokenNumber:
		f := formInteger
		if strings.ContainsAny(t.text, ".eE") {
			f = formDecimal
		}
		return &syntax{form: f, at: t.at, text: t.text}, nil
	case tokenText:
		return &syntax{form: formText, at: t.at, text: t.text}, nil
	case tokenQuoted:
		return p.column(t)
	case tokenName:
		return p.named(t)
	case tokenSymbol:
		if t.text == "(" {
			inner, err := p.expression()
			if err != nil {
				return nil, err
			}
			return inner, p.expect(")")
		}
		p.next--
	}
	return nil, p.unexpected(t, "a value")
}

// named reads what begins with a word: a literal, CASE, CAST, a call or a column.
func (p *parser) named(t token) (*syntax, error) {
	word := strings.ToLower(t.text)
	switch following := p.peek(); {
	case word == "null":
		return &syntax{form: formNull, at: t.at}, nil
	case word == "true", word == "false":
		return &syntax{form: formBool, at: t.at, text: word}, nil
	case word == "case":
		return p.cases(t)
	case word == "cast", word == "try_cast":
		return p.castCall(t, word == "try_cast")
	case slices.Contains(keywords, word):
		p.next--
		return nil, p.unexpected(t, "a value")
	case (word == "timestamp" || word == "timestamptz") && following.kind == tokenText:
		return &syntax{form: formTime, at: t.at, text: p.take().text}, nil
	case following.kind == tokenSymbol && following.text == "(":
		return p.call(t)
	}
	return p.column(t)
}

// column reads name or view.name.
func (p *parser) column(t token) (*syntax, error) {
	s := &syntax{form: formColumn, at: t.at, text: t.text}
	if _, ok := p.symbol("."); !ok {
		return s, nil
	}
	name := p.peek()
	if name.kind != tokenName && name.kind != tokenQuoted {
		return nil, p.unexpected(name, "a column")
	}
	p.take()
	s.qualifier, s.text = t.text, name.text
	return s, nil
}

// arguments reads (a, b, …), at least one.
func (p *parser) arguments(s *syntax) error {
	if err := p.expect("("); err != nil {
		return err
	}
	for {
		argument, err := p.expression()
		if err != nil {
			return err
		}
		s.children = append(s.children, argument)
		if _, more := p.symbol(","); !more {
			return p.expect(")")
		}
	}
}

func (p *parser) call(t token) (*syntax, error) {
	s := &syntax{form: formCall, at: t.at, text: strings.ToLower(t.text)}
	if s.text == "extract" {
		return s, p.extract(s)
	}
	before := p.next
	p.take()
	if _, none := p.symbol(")"); none {
		return s, nil
	}
	p.next = before
	return s, p.arguments(s)
}

// extract reads EXTRACT(part FROM time), which is date_part('part', time).
func (p *parser) extract(s *syntax) error {
	if err := p.expect("("); err != nil {
		return err
	}
	part := p.take()
	if part.kind != tokenName && part.kind != tokenText {
		p.next--
		return p.unexpected(p.peek(), "a part of a time")
	}
	if err := p.expectWord("from"); err != nil {
		return err
	}
	from, err := p.expression()
	if err != nil {
		return err
	}
	s.text = "date_part"
	s.children = []*syntax{{form: formText, at: part.at, text: part.text}, from}
	return p.expect(")")
}

func (p *parser) castCall(t token, tries bool) (*syntax, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	value, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.expectWord("as"); err != nil {
		return nil, err
	}
	to, err := p.typeName()
	if err != nil {
		return nil, err
	}
	return &syntax{form: formCast, at: t.at, text: to, tries: tries, children: []*syntax{value}}, p.expect(")")
}

func (p *parser) cases(t token) (*syntax, error) {
	s := &syntax{form: formCase, at: t.at}
	var err error
	if next := p.peek(); next.kind != tokenName || !strings.EqualFold(next.text, "when") {
		if s.operand, err = p.expression(); err != nil {
			return nil, err
		}
	}
	for p.word("when") {
		if err := p.branch(s); err != nil {
			return nil, err
		}
	}
	if len(s.children) == 0 {
		return nil, p.unexpected(p.peek(), "WHEN")
	}
	if p.word("else") {
		other, err := p.expression()
		if err != nil {
			return nil, err
		}
		s.children = append(s.children, other)
	}
	return s, p.expectWord("end")
}

func (p *parser) branch(s *syntax) error {
	when, err := p.expression()
	if err != nil {
		return err
	}
	if err := p.expectWord("then"); err != nil {
		return err
	}
	result, err := p.expression()
	s.children = append(s.children, when, result)
	return err
}
