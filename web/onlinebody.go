package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/driftline/driftline"
)

// readOnlineRequest is [readJSON] of an onlineRequest. Bodies as programs write them are
// read by a decoder of their own, in a tenth of the time; whatever that does not know,
// all that is wrong included, is for encoding/json to read or to refuse.
func readOnlineRequest(r *http.Request) (onlineRequest, error) {
	if err := checkContentType(r); err != nil {
		return onlineRequest{}, err
	}
	buffer := buffers.Get().(*[]byte)
	defer recycle(buffer)
	body := bytes.NewBuffer((*buffer)[:0])
	_, err := body.ReadFrom(r.Body)
	*buffer = body.Bytes()
	if err != nil {
		return decodeJSON[onlineRequest](io.MultiReader(bytes.NewReader(body.Bytes()), failing{err}))
	}
	if request, ok := parseOnlineRequest(body.String()); ok {
		return request, nil
	}
	return decodeJSON[onlineRequest](bytes.NewReader(body.Bytes()))
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// parseOnlineRequest reads a body that has each field at most once, under its exact name
// and of its type, and text in ASCII without escapes. It is false for all others.
func parseOnlineRequest(text string) (request onlineRequest, ok bool) {
	p := plainJSON{text: text}
	seen := map[string]bool{}
	for more := p.open('{', '}'); more; more = p.next('}') {
		name := p.name()
		if seen[name] {
			return request, false
		}
		seen[name] = true
		switch name {
		case "entities":
			request.Entities = p.columns()
		case "features":
			request.Features = p.strings()
		case "feature_service":
			request.FeatureService = driftline.ServiceName(p.string())
		case "full_feature_names":
			request.FullFeatureNames = p.bool()
		case "include_feature_view_version_metadata":
			request.VersionMetadata = p.bool()
		case "at":
			request.At = p.string()
		default:
			return request, false
		}
	}
	return request, p.ended()
}

// plainJSON reads JSON of a known shape. Once something is not as expected it has failed:
// its methods return at once, and what they return means nothing.
type plainJSON struct {
	text   string
	at     int
	failed bool
}

// peek returns the next byte that is no white space, or 0.
func (p *plainJSON) peek() byte {
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (p *plainJSON) expect(c byte) {
	if p.failed = p.failed || p.peek() != c; !p.failed {
		p.at++
	}
}

// open begins a list or an object, and reports whether something is in it.
func (p *plainJSON) open(begin, end byte) bool {
	p.expect(begin)
	if !p.failed && p.peek() == end {
		p.at++
		return false
	}
	return !p.failed
}

// next reports whether another element follows in a list or an object.
func (p *plainJSON) next(end byte) bool {
	if !p.failed && p.peek() == end {
		p.at++
		return false
	}
	p.expect(',')
	return !p.failed
}

// ended reports whether all was read, and as expected.
func (p *plainJSON) ended() bool { return !p.failed && p.peek() == 0 && p.at == len(p.text) }

// name reads the name of an object's next value.
func (p *plainJSON) name() string {
	name := p.string()
	p.expect(':')
	return name
}

// string reads a string of ASCII without escapes.
func (p *plainJSON) string() string {
	p.expect('"')
	if p.failed {
		return ""
	}
	start := p.at
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[start : p.at-1]
		case c < ' ', c == '\\', c >= 0x7f:
			p.failed = true
			return ""
		}
	}
	p.failed = true
	return ""
}

func (p *plainJSON) strings() []string {
	list := make([]string, 0, p.elements())
	for more := p.open('[', ']'); more; more = p.next(']') {
		list = append(list, p.string())
	}
	return list
}

// elements guesses how many a list has that comes next.
func (p *plainJSON) elements() int {
	end := strings.IndexByte(p.text[p.at:], ']')
	return strings.Count(p.text[p.at:p.at+max(0, end)], ",") + 1
}

func (p *plainJSON) word(word string) bool {
	p.peek()
	if !strings.HasPrefix(p.text[p.at:], word) {
		return false
	}
	p.at += len(word)
	return true
}

func (p *plainJSON) bool() bool {
	if p.word("true") {
		return true
	}
	p.failed = p.failed || !p.word("false")
	return false
}

// columns reads an object of lists of equal length.
func (p *plainJSON) columns() jsonColumns {
	columns := jsonColumns{values: map[string][]any{}}
	for more := p.open('{', '}'); more; more = p.next('}') {
		name := p.name()
		values := make([]any, 0, p.elements())
		for more := p.open('[', ']'); more; more = p.next(']') {
			values = append(values, p.value())
		}
		_, twice := columns.values[name]
		p.failed = p.failed || twice
		columns.names, columns.values[name] = append(columns.names, name), values
	}
	p.failed = p.failed || columns.checkLengths() != nil
	return columns
}

// value reads a value that is neither list nor object.
func (p *plainJSON) value() any {
	switch c := p.peek(); {
	case c == '"':
		return p.string()
	case c == '-', '0' <= c && c <= '9':
		return p.number()
	case p.word("null"):
		return nil
	}
	return p.bool()
}

func (p *plainJSON) number() json.Number {
	start := p.at
	if p.text[p.at] == '-' {
		p.at++
	}
	if p.at < len(p.text) && p.text[p.at] == '0' {
		p.at++
	} else {
		p.digits()
	}
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		p.digits()
	}
	if p.at < len(p.text) && p.text[p.at]|0x20 == 'e' {
		p.at++
		if p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		p.digits()
	}
	return json.Number(p.text[start:p.at])
}

// digits reads at least one.
func (p *plainJSON) digits() {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	p.failed = p.failed || p.at == start
}
