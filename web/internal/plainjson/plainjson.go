// Package plainjson reads JSON of a known shape as programs write it, in a tenth of the time
// of encoding/json: text in ASCII without escapes, and nothing that its caller does not
// expect. Whatever it does not know, all that is wrong included, is for encoding/json to
// read or to refuse.
package plainjson

import "strings"

// Reader reads one text from its beginning. Once something is not as expected it has failed:
// its methods return at once, and what they return means nothing.
type Reader struct {
	text   string
	at     int
	failed bool
}

// New returns a reader of text, whose strings are pieces of it.
func New(text string) *Reader { return &Reader{text: text} }

// Refuse makes the reader fail if is holds.
func (r *Reader) Refuse(is bool) { r.failed = r.failed || is }

// Failed reports whether something was not as expected.
func (r *Reader) Failed() bool { return r.failed }

// Ended reports whether all was read, and as expected.
func (r *Reader) Ended() bool { return !r.failed && r.Peek() == 0 && r.at == len(r.text) }

// Peek returns the next byte that is no white space, or 0.
func (r *Reader) Peek() byte {
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *Reader) expect(c byte) {
	if r.failed = r.failed || r.Peek() != c; !r.failed {
		r.at++
	}
}

// Open begins a list or an object, and reports whether something is in it.
func (r *Reader) Open(begin, end byte) bool {
	r.expect(begin)
	if !r.failed && r.Peek() == end {
		r.at++
		return false
	}
	return !r.failed
}

// Next reports whether another element follows in a list or an object.
func (r *Reader) Next(end byte) bool {
	if !r.failed && r.Peek() == end {
		r.at++
		return false
	}
	r.expect(',')
	return !r.failed
}

// Name reads the name of an object's next value.
func (r *Reader) Name() string {
	name := r.Text()
	r.expect(':')
	return name
}

// Text reads a string of ASCII without escapes.
func (r *Reader) Text() string {
	r.expect('"')
	if r.failed {
		return ""
	}
	start := r.at
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[start : r.at-1]
		case c < ' ', c == '\\', c >= 0x7f:
			r.failed = true
			return ""
		}
	}
	r.failed = true
	return ""
}

// Texts reads a list of strings.
func (r *Reader) Texts() []string {
	list := make([]string, 0, r.Elements())
	for more := r.Open('[', ']'); more; more = r.Next(']') {
		list = append(list, r.Text())
	}
	return list
}

// Elements guesses how many a list has that comes next.
func (r *Reader) Elements() int {
	end := strings.IndexByte(r.text[r.at:], ']')
	return strings.Count(r.text[r.at:r.at+max(0, end)], ",") + 1
}

// Left is the text that was not read yet.
func (r *Reader) Left() string { return r.text[r.at:] }

// Word reads word, if it comes next.
func (r *Reader) Word(word string) bool {
	r.Peek()
	if !strings.HasPrefix(r.text[r.at:], word) {
		return false
	}
	r.at += len(word)
	return true
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if r.Word("true") {
		return true
	}
	r.Refuse(!r.Word("false"))
	return false
}

// Number reads the text of a number as JSON writes it.
func (r *Reader) Number() string {
	r.Peek()
	start := r.at
	r.sign("-")
	if r.at < len(r.text) && r.text[r.at] == '0' {
		r.at++
	} else {
		r.digits()
	}
	if r.at < len(r.text) && r.text[r.at] == '.' {
		r.at++
		r.digits()
	}
	if r.at < len(r.text) && r.text[r.at]|0x20 == 'e' {
		r.at++
		r.sign("+-")
		r.digits()
	}
	return r.text[start:r.at]
}

func (r *Reader) sign(signs string) {
	if r.at < len(r.text) && strings.IndexByte(signs, r.text[r.at]) >= 0 {
		r.at++
	}
}

// digits reads at least one.
func (r *Reader) digits() {
	start := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	r.Refuse(r.at == start)
}
