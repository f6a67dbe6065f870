package mlflow

import (
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/web/internal/plainjson"
)

// bodies are buffers for bodies that are read and let go.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// handlePoints answers log-batch and log-metric, the bulk of what training sends. Points are read by a decoder of their
// own, in a fraction of the time; whatever it does not know, all that is wrong included, is for the general one to read
// or to refuse.
func handlePoints[Q any](s *Service, parse func(string) (driftline.RunID, []driftline.Metric, bool), general func(context.Context, *Q) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
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
		if id, points, ok := parse(string(body)); ok {
			if err := s.log(id, driftline.RunLog{Metrics: points}); err != nil {
				return err
			}
			return send(w, nothing{})
		}
		q := new(Q)
		if err := decodeWhole(r, body, q); err != nil {
			return err
		}
		if err := general(r.Context(), q); err != nil {
			return err
		}
		return send(w, nothing{})
	}
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
	p := plainjson.New(text)
	for more := p.Open('{', '}'); more; more = p.Next('}') {
		switch p.Name() {
		case "run_id":
			p.Refuse(id != "")
			id = driftline.RunID(p.Text())
		case "run_uuid":
			p.Text() // the same run, for servers of long ago
		case "metrics":
			p.Refuse(points != nil)
			points = readPoints(p)
		case "params", "tags":
			p.Refuse(p.Open('[', ']'))
		default:
			p.Refuse(true)
		}
	}
	return id, points, p.Ended() && id != "" && len(points) > 0
}

// readPoints reads the list of metrics.
func readPoints(p *plainjson.Reader) []driftline.Metric {
	points := make([]driftline.Metric, 0, min(mostMetrics, strings.Count(p.Left(), "{")))
	for more := p.Open('[', ']'); more; more = p.Next(']') {
		p.Refuse(len(points) == mostMetrics)
		points = append(points, readPoint(p))
		if n := len(points); n > 1 && points[n-1].Key == points[n-2].Key {
			continue
		}
		p.Refuse(!p.Failed() && !plainName(points[len(points)-1].Key))
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

func readPoint(p *plainjson.Reader) driftline.Metric {
	var m pointReader
	for more := p.Open('{', '}'); more; more = p.Next('}') {
		m.field(p, p.Name())
	}
	return m.end(p)
}

// pointReader is a metric of which some fields were read.
type pointReader struct {
	driftline.Metric
	seen int
}

func (m *pointReader) field(p *plainjson.Reader, name string) {
	field := 0
	switch name {
	case "key":
		field, m.Key = hasKey, p.Text()
	case "value":
		field, m.Value = hasValue, driftline.Number(readFloat(p))
	case "timestamp":
		at := readInteger(p)
		p.Refuse(at < 0 || at > lastMilli)
		field, m.Time = hasTimestamp, time.UnixMilli(at)
	case "step":
		field, m.Step = hasStep, readInteger(p)
	}
	p.Refuse(field == 0 || m.seen&field != 0)
	m.seen |= field
}

func (m *pointReader) end(p *plainjson.Reader) driftline.Metric {
	p.Refuse(m.seen&(hasKey|hasValue|hasTimestamp) != hasKey|hasValue|hasTimestamp)
	return m.Metric
}

// parsePoint reads a request of log-metric as parsePoints reads a batch.
func parsePoint(text string) (id driftline.RunID, points []driftline.Metric, ok bool) {
	var m pointReader
	p := plainjson.New(text)
	for more := p.Open('{', '}'); more; more = p.Next('}') {
		switch name := p.Name(); name {
		case "run_id":
			p.Refuse(id != "")
			id = driftline.RunID(p.Text())
		case "run_uuid":
			p.Text()
		default:
			m.field(p, name)
		}
	}
	point := m.end(p)
	return id, []driftline.Metric{point}, p.Ended() && id != "" && plainName(point.Key)
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

// readInteger reads a whole number.
func readInteger(p *plainjson.Reader) int64 {
	text := p.Number()
	if p.Failed() {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	p.Refuse(err != nil)
	return n
}

// readFloat reads a number, or the name of one that is not finite.
func readFloat(p *plainjson.Reader) float64 {
	if p.Peek() == '"' {
		switch p.Text() {
		case "NaN":
			return math.NaN()
		case "Infinity":
			return math.Inf(1)
		case "-Infinity":
			return math.Inf(-1)
		}
		p.Refuse(true)
		return 0
	}
	text := p.Number()
	if p.Failed() {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	p.Refuse(err != nil)
	return f
}
