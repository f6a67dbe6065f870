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
// in it, such as an escape in a reference, is left to encoding/json. The body is a part of content.
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
		line.Body, t.rest = t.rest, nil
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
func (t *lineText) text() string { return string(t.raw()) }

// raw is text where it lies.
func (t *lineText) raw() []byte {
	if len(t.rest) == 0 || t.rest[0] != '"' {
		t.ok = false
		return nil
	}
	end := bytes.IndexByte(t.rest[1:], '"')
	if end < 0 || bytes.IndexByte(t.rest[1:1+end], '\\') >= 0 {
		t.ok = false
		return nil
	}
	text := t.rest[1 : 1+end]
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

// packedLog is a [driftline.RunLog] of params and tags alone, which most are, in the form
// that runs keep them.
type packedLog struct{ params, tags pairs }

// readPlainLog reads the body of a RunLogged line, if it is such a log. Going through maps
// would take most of the time of opening a ledger of many runs.
func readPlainLog(body []byte, keys *keyTable) (*packedLog, bool) {
	t, log := lineText{rest: body, ok: true}, &packedLog{}
	separator := `{`
	if t.has(`{"params":`) {
		log.params, separator = t.pairs(keys), `,`
	}
	if t.has(separator + `"tags":`) {
		log.tags = t.pairs(keys)
	}
	t.skip(`}`)
	return log, t.ok && len(t.rest) == 0
}

// pairs reads an object of strings whose keys are in order, as encoding/json writes maps.
func (t *lineText) pairs(keys *keyTable) pairs {
	packed, last := make([]byte, 0, 256), []byte(nil)
	t.skip(`{`)
	for more := t.ok; more && t.ok; more = t.has(`,`) {
		key := t.raw()
		t.skip(`:`)
		value := t.raw()
		t.ok = t.ok && (last == nil || bytes.Compare(last, key) < 0)
		if t.ok {
			packed = appendPair(packed, keys.numberOf(key), value)
		}
		last = key
	}
	t.skip(`}`)
	return pairs(packed)
}
