package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	end      tokenKind = iota
	word               // a keyword, an entity or a key, bare
	name               // a key in backticks
	single             // a text in single quotes
	double             // a text or a key in double quotes
	numeral            // a number
	operator           // = != < <= > >=
	mark               // ( ) , .
)

type token struct {
	kind tokenKind
	text string // unquoted
	at   int    // the byte where it begins
}

// is reports whether the token is that keyword, in any case.
func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

func (t token) isMark(text string) bool { return t.kind == mark && t.text == text }

// String is how an error shows the token.
func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return "'" + clip(t.text) + "'"
}

// lex cuts text into tokens, the last of which is end.
func lex(text string) ([]token, error) {
	var tokens []token
	ended := -1 // where the token before ends
	for at := 0; at < len(text); {
		c, size := utf8.DecodeRuneInString(text[at:])
		if unicode.IsSpace(c) {
			at += size
			continue
		}
		before := token{kind: end}
		if ended == at {
			before = tokens[len(tokens)-1]
		}
		t, next, err := lexOne(text, at, c, before)
		if err != nil {
			return nil, err
		}
		t.at = at
		tokens = append(tokens, t)
		at, ended = next, next
	}
	return append(tokens, token{kind: end, at: len(text)}), nil
}

// lexOne reads the token that begins at a byte with c, and returns where it ends. before
// is the token that ends there, if one does.
func lexOne(text string, at int, c rune, before token) (token, int, error) {
	isQuote := c == '\'' || c == '"' || c == '`'
	switch {
	case isQuote:
		return lexQuoted(text, at, byte(c))
	case before.isMark("."):
		return lexWord(text, at, func(c rune) bool { return isWordPart(c) || c == '.' })
	case c == '.' && (before.kind == word || before.kind == name):
		return token{kind: mark, text: "."}, at + 1, nil
	case c == '(' || c == ')' || c == ',':
		return token{kind: mark, text: string(c)}, at + 1, nil
	case strings.ContainsRune("=!<>", c):
		return lexOperator(text, at)
	case startsNumber(text[at:]):
		next := at + numberLength(text[at:])
		return token{kind: numeral, text: text[at:next]}, next, nil
	case isWordStart(c):
		return lexWord(text, at, isWordPart)
	}
	return token{}, 0, unreadable(c, at)
}

func unreadable(c rune, at int) error {
	return invalid("Invalid filter: %q at byte %d means nothing there", c, at)
}

// lexWord reads the longest word of the characters that part allows.
func lexWord(text string, at int, part func(rune) bool) (token, int, error) {
	size := strings.IndexFunc(text[at:], func(c rune) bool { return !part(c) })
	if size < 0 {
		size = len(text) - at
	}
	if size == 0 {
		c, _ := utf8.DecodeRuneInString(text[at:])
		return token{}, 0, unreadable(c, at)
	}
	return token{kind: word, text: text[at : at+size]}, at + size, nil
}

func lexQuoted(text string, at int, quote byte) (token, int, error) {
	kinds := map[byte]tokenKind{'\'': single, '"': double, '`': name}
	var out strings.Builder
	for i := at + 1; i < len(text); i++ {
		if text[i] != quote {
			out.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == quote {
			out.WriteByte(quote)
			i++
			continue
		}
		return token{kind: kinds[quote], text: out.String()}, i + 1, nil
	}
	return token{}, 0, invalid("Invalid filter: the quote %c at byte %d is not closed", quote, at)
}

func lexOperator(text string, at int) (token, int, error) {
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if strings.HasPrefix(text[at:], op) {
			return token{kind: operator, text: op}, at + len(op), nil
		}
	}
	return token{}, 0, invalid("Invalid filter: '!' at byte %d is no operator; write !=", at)
}

// isWordStart allows keys as people name them; others need quotes.
func isWordStart(c rune) bool { return c == '_' || unicode.IsLetter(c) }

func isWordPart(c rune) bool {
	return isWordStart(c) || unicode.IsDigit(c) || unicode.IsMark(c) || c == '-' || c == '/' || c == ':' || c == '@'
}

func startsNumber(text string) bool {
	if text[0] == '+' || text[0] == '-' {
		text = text[1:]
	}
	text = strings.TrimPrefix(text, ".")
	return text != "" && '0' <= text[0] && text[0] <= '9'
}

// numberLength is the length of the longest number that text begins with.
func numberLength(text string) int {
	i := 0
	if text[i] == '+' || text[i] == '-' {
		i++
	}
	i += digits(text[i:])
	if i < len(text) && text[i] == '.' {
		i++
		i += digits(text[i:])
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		j := i + 1
		if j < len(text) && (text[j] == '+' || text[j] == '-') {
			j++
		}
		if n := digits(text[j:]); n > 0 {
			i = j + n
		}
	}
	return i
}

func digits(text string) int {
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n
}
