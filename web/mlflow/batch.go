package mlflow

import (
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
)

// bodies are buffers for bodies that are read and let go.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// handleLogBatch answers log-batch, the bulk of what training sends: a thousand points at
// a time. They are read by a decoder of their own, in a fraction of the time; whatever it
// does not know, all that is wrong included, is for the general one to read or to refuse.
func (s *Service) handleLogBatch(w http.ResponseWriter, r *http.Request) error {
	if err := checkContentType(r); err != nil {
		return err
	}
	buffer := bodies.Get().(*[]byte)
	defer bodies.Put(buffer)
	body, err := readInto((*buffer)[:0], r.Body)
	*buffer = body
	if err != nil {
		return unreadable(err)
	}
	if id, points, ok := parsePoints(string(body)); ok {
		if err := s.log(id, driftline.RunLog{Metrics: points}); err != nil {
			return err
		}
		return send(w, nothing{})
	}
	q := &logBatchRequest{}
	if err := decodeWhole(r, body, q); err != nil {
		return err
	}
	if err := s.logBatch(r.Context(), q); err != nil {
		return err
	}
	return send(w, nothing{})
}

// readInto is io.ReadAll into a buffer that there is already.
func readInto(buffer []byte, from io.Reader) ([]byte, error) {
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		n, err := from.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		if err == io.EOF {
			return buffer, nil
		}
		if err != nil {
			return buffer, err
		}
	}
}

// parsePoints reads a batch that has metrics only, each field at most once, under its
// exact name and of its type, and text in ASCII without escapes. It is false for others.
func parsePoints(text string) (id driftline.RunID, points []driftline.Metric, ok bool) {
	p := &scanner{text: text}
	for more := p.open('{', '}'); more; more = p.next('}') {
		switch p.name() {
		case "run_id":
			p.refuse(id != "")
			id = driftline.RunID(p.string())
		case "run_uuid":
			p.string() // the same run, for servers of long ago
		case "metrics":
			p.refuse(points != nil)
			points = p.points()
		case "params", "tags":
			p.refuse(p.open('[', ']'))
		default:
			p.refuse(true)
		}
	}
	return id, points, p.ended() && id != "" && len(points) > 0
}

// scanner reads JSON of a known shape. Once something is not as expected it has failed:
// its methods return at once, and what they return means nothing.
type scanner struct {
	text   string
	at     int
	failed bool
}

func (p *scanner) refuse(is bool) { p.failed = p.failed || is }

// points reads the list of metrics.
func (p *scanner) points() []driftline.Metric {
	points := make([]driftline.Metric, 0, min(mostMetrics, strings.Count(p.text[p.at:], "{")))
	for more := p.open('[', ']'); more; more = p.next(']') {
		p.refuse(len(points) == mostMetrics)
		points = append(points, p.point())
		if n := len(points); n > 1 && points[n-1].Key == points[n-2].Key {
			continue
		}
		p.refuse(!p.failed && !plainName(points[len(points)-1].Key))
	}
	return points
}

// The fields of a metric, of which the first three must be there.
const (
	hasKey = 1 << iota
	hasValue
	hasTimestamp
	hasStep
)

func (p *scanner) point() (m driftline.Metric) {
	seen := 0
	see := func(field int) {
		p.refuse(seen&field != 0)
		seen |= field
	}
	for more := p.open('{', '}'); more; more = p.next('}') {
		switch p.name() {
		case "key":
			see(hasKey)
			m.Key = p.string()
		case "value":
			see(hasValue)
			m.Value = driftline.Number(p.float())
		case "timestamp":
			see(hasTimestamp)
			at := p.integer()
			p.refuse(at < 0 || at > lastMilli)
			m.Time = time.UnixMilli(at)
		case "step":
			see(hasStep)
			m.Step = p.integer()
		default:
			p.refuse(true)
		}
	}
	p.refuse(seen&(hasKey|hasValue|hasTimestamp) != hasKey|hasValue|hasTimestamp)
	return m
}

// plainName reports whether a name is one that checkName allows, of the usual kind.
func plainName(name string) bool {
	if name == "" || len(name) > runParams.key {
		return false
	}
	path := false
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == ' ', c == ':':
		case c == '/', c == '.':
			path = true
		default:
			return false
		}
	}
	return !path || !isPath(name)
}

// peek returns the next byte that is no white space, or 0.
func (p *scanner) peek() byte {
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (p *scanner) expect(c byte) {
	if p.failed = p.failed || p.peek() != c; !p.failed {
		p.at++
	}
}

// open begins a list or an object, and reports whether something is in it.
func (p *scanner) open(begin, end byte) bool {
	p.expect(begin)
	if !p.failed && p.peek() == end {
		p.at++
		return false
	}
	return !p.failed
}

// next reports whether another element follows in a list or an object.
func (p *scanner) next(end byte) bool {
	if !p.failed && p.peek() == end {
		p.at++
		return false
	}
	p.expect(',')
	return !p.failed
}

// ended reports whether all was read, and as expected.
func (p *scanner) ended() bool { return !p.failed && p.peek() == 0 && p.at == len(p.text) }

// name reads the name of an object's next value.
func (p *scanner) name() string {
	name := p.string()
	p.expect(':')
	return name
}

// string reads a string of ASCII without escapes.
func (p *scanner) string() string {
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

// integer reads a whole number.
func (p *scanner) integer() int64 {
	text := p.number()
	if p.failed {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	p.refuse(err != nil)
	return n
}

// float reads a number, or the name of one that is not finite.
func (p *scanner) float() float64 {
	if p.peek() == '"' {
		switch p.string() {
		case "NaN":
			return math.NaN()
		case "Infinity":
			return math.Inf(1)
		case "-Infinity":
			return math.Inf(-1)
		}
		p.failed = true
		return 0
	}
	text := p.number()
	if p.failed {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	p.refuse(err != nil)
	return f
}

// number reads the text of a number as JSON writes it.
func (p *scanner) number() string {
	p.peek()
	start := p.at
	p.sign("-")
	whole := p.at
	p.digits()
	p.refuse(p.at > whole+1 && p.text[whole] == '0')
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		p.digits()
	}
	if p.at < len(p.text) && p.text[p.at]|0x20 == 'e' {
		p.at++
		p.sign("+-")
		p.digits()
	}
	return p.text[start:p.at]
}

func (p *scanner) sign(signs string) {
	if p.at < len(p.text) && strings.IndexByte(signs, p.text[p.at]) >= 0 {
		p.at++
	}
}

// digits reads at least one.
func (p *scanner) digits() {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	p.refuse(p.at == start)
}
