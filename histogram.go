package driftline

import (
	"encoding/json"
	"strconv"
)

// Histogram counts both sides over the same bins. A numeric column has Edges
// (one more than bins; the last bin includes its upper edge), a categorical one
// has Categories, the largest first and the rest summed up as "(other)".
type Histogram struct {
	Edges      []float64 `json:"edges,omitempty"`
	Categories []string  `json:"categories,omitempty"`
	Reference  []int64   `json:"reference"`
	Current    []int64   `json:"current"`
}

// plainHistogram is a Histogram as package json reads it.
type plainHistogram Histogram

// UnmarshalJSON reads what package json would, and histograms of numbers as package json
// writes them without its help: a report of a thousand columns is most of all their numbers.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	if string(data) == `{"reference":[],"current":[]}` {
		*h = Histogram{Reference: []int64{}, Current: []int64{}}
		return nil
	}
	r := numberLists{rest: string(data)}
	read := Histogram{
		Edges:     r.floats(`{"edges":[`),
		Reference: r.counts(`],"reference":[`),
		Current:   r.counts(`],"current":[`),
	}
	if r.skip(`]}`); !r.failed && r.rest == "" {
		*h = read
		return nil
	}
	return json.Unmarshal(data, (*plainHistogram)(h))
}

// numberLists reads lists of numbers. Once something is not as expected it has failed, and
// what it reads means nothing.
type numberLists struct {
	rest   string
	failed bool
}

func (r *numberLists) skip(text string) {
	if r.failed = r.failed || len(r.rest) < len(text) || r.rest[:len(text)] != text; !r.failed {
		r.rest = r.rest[len(text):]
	}
}

// number takes the next number of a list, and the comma behind it.
func (r *numberLists) number() (text string, last bool) {
	for i := range len(r.rest) {
		switch c := r.rest[i]; {
		case c >= '0' && c <= '9', c == '-', c == '.', c == '+', c == 'e':
		case c == ',' && i > 0:
			text, r.rest = r.rest[:i], r.rest[i+1:]
			return text, false
		default:
			text, r.rest = r.rest[:i], r.rest[i:]
			r.failed = r.failed || text == ""
			return text, true
		}
	}
	r.failed = true
	return "", true
}

func (r *numberLists) floats(after string) (values []float64) {
	r.skip(after)
	for last := false; !last && !r.failed; {
		var text string
		text, last = r.number()
		v, err := strconv.ParseFloat(text, 64)
		r.failed = r.failed || err != nil
		values = append(values, v)
	}
	return values
}

func (r *numberLists) counts(after string) (values []int64) {
	r.skip(after)
	for last := false; !last && !r.failed; {
		var text string
		text, last = r.number()
		n, err := strconv.ParseInt(text, 10, 64)
		r.failed = r.failed || err != nil
		values = append(values, n)
	}
	return values
}
