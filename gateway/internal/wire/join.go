package wire

import (
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// Joinable reports whether a request may become a part of a larger one: it is a table, and says
// nothing about itself that would then be said of all.
func (r *Request) Joinable() bool {
	return r.Table && r.params == "" && r.outputs == "" && !slices.ContainsFunc(r.Inputs, func(t Tensor) bool { return t.params != "" })
}

// Joins reports whether two requests are rows of the same columns, of the same types.
func (r *Request) Joins(other *Request) bool {
	return r.Protocol == other.Protocol && slices.EqualFunc(r.Inputs, other.Inputs, func(a, b Tensor) bool {
		return a.Name == b.Name && a.DatatypeOrGuess() == b.DatatypeOrGuess()
	})
}

// Join is one request for the rows of all, which join the first.
func Join(requests []*Request) *Request {
	all := &Request{Protocol: requests[0].Protocol, Table: true, Inputs: slices.Clone(requests[0].Inputs)}
	for _, r := range requests {
		all.Rows += r.Rows
	}
	for i := range all.Inputs {
		t := &all.Inputs[i]
		t.Datatype, t.Shape = t.DatatypeOrGuess(), []int64{int64(all.Rows)}
		t.Cells = make([]string, 0, all.Rows)
		for _, r := range requests {
			t.Cells = append(t.Cells, r.Inputs[i].Cells...)
		}
	}
	return all
}

// Part is the answer to n rows, from one on, of an answer to so many, which was checked.
func (a *Answer) Part(from, n, rows int) *Answer {
	part := &Answer{Outputs: slices.Clone(a.Outputs), protocol: a.protocol}
	for i := range part.Outputs {
		t := &part.Outputs[i]
		width := len(t.Cells) / rows
		t.Cells = t.Cells[from*width : (from+n)*width]
		t.Shape = append([]int64{int64(n)}, t.Shape[1:]...)
	}
	if a.protocol == driftline.ProtocolMLflow && strings.HasPrefix(a.raw, "[") {
		part.raw = elements(a.raw, from, n) // a list of records is to stay one
	}
	return part
}

// elements are n elements of a list, from one on, as a list.
func elements(list string, from, n int) string {
	s := &scanner{text: list, bare: true}
	var to strings.Builder
	to.WriteByte('[')
	for more, at := s.open('[', ']'), 0; more && at < from+n; more, at = s.next(']'), at+1 {
		value := s.value()
		if at < from {
			continue
		}
		if at > from {
			to.WriteByte(',')
		}
		to.WriteString(value)
	}
	to.WriteByte(']')
	return to.String()
}
