package registry

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// readLine reads the JSON of a line, without its last brace. Lines are in the form that
// [encodeLine] gives them, which is read without looking for any other; what is not plain
// in it, such as an escape in a reference, is left to encoding/json.
func readLine(content []byte) (Line, error) {
	if line, ok := readPlainLine(content); ok {
		return line, nil
	}
	var line Line
	err := json.Unmarshal(append(content[:len(content):len(content)], '}'), &line)
	return line, err
}

func readPlainLine(content []byte) (line Line, ok bool) {
	t := lineText{rest: content, ok: true}
	t.skip(`{"seq":`)
	line.Sequence = t.number()
	t.skip(`,"time":`)
	line.Time = t.time()
	t.skip(`,"kind":`)
	line.Kind = Kind(t.text())
	t.skip(`,"ref":`)
	line.Ref = t.ref()
	if t.has(`,"inputs":[`) {
		for more := true; more && t.ok; more = t.has(`,`) {
			line.Inputs = append(line.Inputs, t.ref())
		}
		t.skip(`]`)
	}
	if t.has(`,"body":`) {
		line.Body, t.rest = bytes.Clone(t.rest), nil
	}
	return line, t.ok && len(t.rest) == 0
}

// lineText reads a text from its beginning. ok is false once something was not as it must be.
type lineText struct {
	rest []byte
	ok   bool
}

func (t *lineText) has(word string) bool {
	if len(t.rest) < len(word) || string(t.rest[:len(word)]) != word {
		return false
	}
	t.rest = t.rest[len(word):]
	return true
}

func (t *lineText) skip(word string) { t.ok = t.ok && t.has(word) }

func (t *lineText) number() uint64 {
	n := 0
	for n < len(t.rest) && t.rest[n] >= '0' && t.rest[n] <= '9' {
		n++
	}
	value, err := strconv.ParseUint(string(t.rest[:n]), 10, 64)
	t.ok = t.ok && err == nil
	t.rest = t.rest[n:]
	return value
}

// text reads a string without escapes.
func (t *lineText) text() string {
	if len(t.rest) == 0 || t.rest[0] != '"' {
		t.ok = false
		return ""
	}
	end := bytes.IndexByte(t.rest[1:], '"')
	if end < 0 || bytes.IndexByte(t.rest[1:1+end], '\\') >= 0 {
		t.ok = false
		return ""
	}
	text := string(t.rest[1 : 1+end])
	t.rest = t.rest[end+2:]
	return text
}

func (t *lineText) time() time.Time {
	at, err := time.Parse(time.RFC3339Nano, t.text())
	t.ok = t.ok && err == nil
	return at
}

func (t *lineText) ref() (ref driftline.Ref) {
	text := t.text()
	t.ok = t.ok && ref.UnmarshalText([]byte(text)) == nil
	return ref
}
