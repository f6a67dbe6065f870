package driftline

import "encoding/json"

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

// UnmarshalJSON reads what package json would, and what package json writes without its help:
// a report of a thousand columns is most of all their numbers.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	if string(data) == `{"reference":[],"current":[]}` {
		*h = Histogram{Reference: []int64{}, Current: []int64{}}
		return nil
	}
	r, read := jsonReader{rest: string(data)}, Histogram{}
	if readObject(&r, &read, histogramFields); !r.failed && r.rest == "" {
		*h = read
		return nil
	}
	return json.Unmarshal(data, (*plainHistogram)(h))
}
