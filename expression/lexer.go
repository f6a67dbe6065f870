package expression

import (
	"strings"
	"unicode/utf8"
)

// tokenKind says what a token is.
type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenName             // a word: a name, a keyword or a function; text as written
	tokenQuoted           // a "quoted name"; text without the quotes
	tokenText             // a 'text'; text without the quotes
	tokenNumber           // digits, with a fraction or an exponent perhaps
	tokenSymbol           // an operator or a mark
)

// token is a piece of the text.
type token struct {
	kind tokenKind
	text string
	at   int // its first byte
}

// symbols are the operators and marks, longest first.
var symbols = []string{"::", "//", "<=", ">=", "<>", "!=", "==", "||", "+", "-", "*", "/", "%", "<", ">", "=", "(", ")", ",", "."}

// lex cuts a text into tokens, the last of which is the end.
func lex(text string) ([]token, error) {
	if at := strings.IndexByte(text, 0); at >= 0 {
		return nil, failf(text, at, "there is a NUL byte")
	}
	if !utf8.ValidString(text) {
		return nil, failf(text, 0, "it is not valid UTF-8")
	}
	l := lexer{text: text}
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		l.tokens = append(l.tokens, t)
		if t.kind == tokenEnd {
			return l.tokens, nil
		}
	}
}

type lexer struct {
	text   string
	at     int
	tokens []token
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
	start := l.at
	if start == len(l.text) {
		return token{tokenEnd, "", start}, nil
	}
	rest := l.text[start:]
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "/*"):
		return token{}, failf(l.text, start, "%s begins a comment in SQL", rest[:2]).WithHint("write no comments here, and a space between two signs")
	case c == '\'', c == '"':
		return l.quoted(c)
	case isDigit(c), c == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.number()
	case isLetter(c):
		for l.at < len(l.text) && (isLetter(l.text[l.at]) || isDigit(l.text[l.at])) {
			l.at++
		}
		return token{tokenName, l.text[start:l.at], start}, nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(rest, s) {
			l.at += len(s)
			return token{tokenSymbol, s, start}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, failf(l.text, start, "%q is not understood", string(r)).WithHint("names of other letters than a–z stand in double quotes, text in single ones")
}

// quoted reads a text or a quoted name, in which the quote is written twice.
func (l *lexer) quoted(quote byte) (token, error) {
	start, kind := l.at, tokenText
	if quote == '"' {
		kind = tokenQuoted
	}
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		if l.text[l.at] != quote {
			b.WriteByte(l.text[l.at])
			continue
		}
		if l.at+1 < len(l.text) && l.text[l.at+1] == quote {
			b.WriteByte(quote)
			l.at++
			continue
		}
		l.at++
		return token{kind, b.String(), start}, nil
	}
	return token{}, failf(l.text, start, "the quote is not closed")
}

// number reads 12, 1_000, 1.5, .5, 1. and 1.5e-3, without the underscores.
func (l *lexer) number() (token, error) {
	start := l.at
	digits := func() {
		for l.at < len(l.text) && (isDigit(l.text[l.at]) || l.text[l.at] == '_' && l.at+1 < len(l.text) && isDigit(l.text[l.at+1])) {
			l.at++
		}
	}
	digits()
	if l.at < len(l.text) && l.text[l.at] == '.' {
		l.at++
		digits()
	}
	if l.at < len(l.text) && (l.text[l.at] == 'e' || l.text[l.at] == 'E') {
		l.at++
		if l.at < len(l.text) && (l.text[l.at] == '+' || l.text[l.at] == '-') {
			l.at++
		}
		before := l.at
		digits()
		if before == l.at {
			return token{}, failf(l.text, start, "the number %q has no exponent after e", l.text[start:l.at])
		}
	}
	if l.at < len(l.text) && isLetter(l.text[l.at]) {
		return token{}, failf(l.text, start, "%q is neither a number nor a name", l.text[start:l.at+1])
	}
	return token{tokenNumber, strings.ReplaceAll(l.text[start:l.at], "_", ""), start}, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
