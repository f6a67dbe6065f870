package wire

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// mostDepth is how deep lists and objects may lie in one another.
const mostDepth = 64

// scanner reads JSON text piece by piece, and remembers the first thing that is wrong: from
// then on its methods return at once, and what they return means nothing.
type scanner struct {
	text  string
	at    int
	depth int
	bare  bool // NaN, Infinity and -Infinity are values
	err   error
}

func newScanner(body string) *scanner {
	s := &scanner{text: body}
	if !utf8.ValidString(body) {
		s.fail("the JSON is not UTF-8")
	}
	return s
}

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = driftline.Errorf(driftline.Invalid, format, args...)
	}
	s.at = len(s.text)
}

// peek returns the next byte that is no white space, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) unexpected(want string) {
	if s.err != nil {
		return
	}
	if s.at >= len(s.text) {
		s.fail("the JSON ends early, want %s", want)
		return
	}
	s.fail("the JSON has %q at byte %d, want %s", s.text[s.at:s.at+1], s.at, want)
}

func (s *scanner) expect(c byte) {
	if s.peek() != c {
		s.unexpected("\"" + string(rune(c)) + "\"")
		return
	}
	s.at++
}

// open begins a list or an object, and reports whether something is in it.
func (s *scanner) open(begin, end byte) bool {
	s.expect(begin)
	if s.err != nil {
		return false
	}
	if s.depth++; s.depth > mostDepth {
		s.fail("the JSON is nested more than %d deep", mostDepth)
		return false
	}
	if s.peek() == end {
		s.at++
		s.depth--
		return false
	}
	return true
}

// next reports whether another element follows.
func (s *scanner) next(end byte) bool {
	if s.err != nil {
		return false
	}
	switch s.peek() {
	case end:
		s.at++
		s.depth--
		return false
	case ',':
		s.at++
		return true
	}
	s.unexpected("\",\" or \"" + string(rune(end)) + "\"")
	return false
}

// name reads the name of an object's next value.
func (s *scanner) name() string {
	name := s.str()
	s.expect(':')
	return name
}

// str reads a string.
func (s *scanner) str() string { return unquote(s.quoted()) }

// quoted reads a string as it is written.
func (s *scanner) quoted() string {
	if s.peek() != '"' {
		s.unexpected("a string")
		return `""`
	}
	start := s.at
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start:s.at]
		case c == '\\':
			if s.escape(); s.err != nil {
				return `""`
			}
		case c < ' ':
			s.fail("a string of the JSON has a control character at byte %d", s.at)
			return `""`
		}
	}
	s.unexpected("the end of a string")
	return `""`
}

// escape passes over what follows a backslash, but for its last byte.
func (s *scanner) escape() {
	s.at++
	if s.at >= len(s.text) {
		return
	}
	switch s.text[s.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return
	case 'u':
		for range 4 {
			if s.at++; s.at >= len(s.text) || !isHex(s.text[s.at]) {
				s.fail("a string of the JSON has a broken \\u at byte %d", s.at)
				return
			}
		}
		return
	}
	s.fail("a string of the JSON has an unknown escape at byte %d", s.at)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unquote returns what a string that was read says.
func unquote(quoted string) string {
	inner := quoted[1 : len(quoted)-1]
	if strings.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if json.Unmarshal([]byte(quoted), &text) != nil {
		return inner // it was read as JSON before, so this does not happen
	}
	return text
}

// literals are the values that are words; those of bareWords only where they may be.
var literals, bareWords = []string{"null", "true", "false"}, []string{"NaN", "Infinity", "-Infinity"}

func (s *scanner) word(words []string) string {
	for _, w := range words {
		if strings.HasPrefix(s.text[s.at:], w) {
			s.at += len(w)
			return w
		}
	}
	return ""
}

// value reads any value and returns its text, without the white space around it.
func (s *scanner) value() string {
	c := s.peek()
	start := s.at
	switch {
	case c == '"':
		return s.quoted()
	case c == '{':
		for more := s.open('{', '}'); more; more = s.next('}') {
			s.name()
			s.value()
		}
	case c == '[':
		for more := s.open('[', ']'); more; more = s.next(']') {
			s.value()
		}
	default:
		return s.scalar()
	}
	if s.err != nil {
		return "null"
	}
	return s.text[start:s.at]
}

// scalar reads a number or a word.
func (s *scanner) scalar() string {
	s.peek()
	start := s.at
	if s.bare && s.word(bareWords) != "" || s.word(literals) != "" {
		return s.text[start:s.at]
	}
	if !s.number() {
		s.at = start
		s.unexpected("a value")
		return "null"
	}
	return s.text[start:s.at]
}

// number passes over a number as JSON writes it.
func (s *scanner) number() bool {
	s.any("-")
	if !s.any("0") && s.digits() == 0 {
		return false
	}
	if s.any(".") && s.digits() == 0 {
		return false
	}
	if s.any("eE") {
		s.any("+-")
		return s.digits() > 0
	}
	return true
}

// any passes over one of some bytes.
func (s *scanner) any(bytes string) bool {
	if s.at < len(s.text) && strings.IndexByte(bytes, s.text[s.at]) >= 0 {
		s.at++
		return true
	}
	return false
}

func (s *scanner) digits() int {
	start := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at - start
}

// end fails if something is left.
func (s *scanner) end() {
	if s.err == nil && s.peek() != 0 {
		s.unexpected("the end")
	}
	if s.err == nil && s.at < len(s.text) {
		s.unexpected("the end")
	}
}

// guess is how many elements a flat list has that comes next, for the size of a slice.
func (s *scanner) guess() int {
	const most = 1 << 12
	rest := s.text[s.at:min(len(s.text), s.at+most)]
	if end := strings.IndexByte(rest, ']'); end >= 0 {
		rest = rest[:end]
	}
	return strings.Count(rest, ",") + 1
}

// list reads a list of values of any kind.
func (s *scanner) list() []string {
	cells := make([]string, 0, s.guess())
	for more := s.open('[', ']'); more; more = s.next(']') {
		cells = append(cells, s.value())
	}
	return cells
}

// flat reads a list, nested or not, in the order of its rows, and the shape it has. A
// ragged one has a nil shape.
func (s *scanner) flat() (cells []string, shape []int64) {
	cells = make([]string, 0, s.guess())
	f := flattener{s: s, cells: cells}
	f.list(0)
	if f.ragged {
		return f.cells, nil
	}
	return f.cells, f.shape
}

type flattener struct {
	s      *scanner
	cells  []string
	shape  []int64
	ragged bool
}

func (f *flattener) list(level int) {
	first := len(f.shape) == level
	if first {
		f.shape = append(f.shape, 0)
	}
	count := int64(0)
	for more := f.s.open('[', ']'); more; more = f.s.next(']') {
		count++
		if f.s.peek() == '[' {
			f.ragged = f.ragged || len(f.shape) == level+1 && len(f.cells) > 0
			f.list(level + 1)
			continue
		}
		f.ragged = f.ragged || len(f.shape) != level+1
		f.cells = append(f.cells, f.s.value())
	}
	if first {
		f.shape[level] = count
	}
	f.ragged = f.ragged || f.shape[level] != count
}
