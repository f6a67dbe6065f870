package wire

import (
	"slices"

	"github.com/driftline/driftline"
)

// ParseMLflow reads the body of POST /invocations: exactly one of dataframe_split,
// dataframe_records, instances and inputs, and in their place or beside them entities:
// columns of join keys whose features are looked up.
func ParseMLflow(body string) (*Request, error) {
	s := newScanner(body)
	r := &Request{Protocol: driftline.ProtocolMLflow, Body: body}
	given := ""
	seen := 0
	for more := s.open('{', '}'); more; more = s.next('}') {
		name := s.name()
		field := slices.Index(mlflowFields, name)
		if s.err == nil && field < 0 {
			return nil, notOne("has the field " + Quote(clip(name)) + ", which is not known")
		}
		if s.err == nil && seen&(1<<field) != 0 {
			return nil, driftline.Errorf(driftline.Invalid, "field %q of the request is there twice", name)
		}
		seen |= 1 << max(0, field)
		switch name {
		case "params":
			r.params = s.value()
			continue
		case "entities":
			r.Entities, r.Body = s.entities(), ""
			continue
		}
		if given != "" {
			return nil, notOne("has " + given + " and " + name)
		}
		given = name
		r.Inputs = s.inputsOf(name)
	}
	if s.end(); s.err != nil {
		return nil, s.err
	}
	if given == "" && len(r.Entities) == 0 {
		return nil, notOne("has none")
	}
	return r, r.settle()
}

var mlflowFields = []string{"dataframe_split", "dataframe_records", "instances", "inputs", "params", "entities"}

func notOne(why string) error {
	return driftline.Errorf(driftline.Invalid, "the request %s", why).
		WithHint("give exactly one of dataframe_split, dataframe_records, instances and inputs, or entities; params may be beside them")
}

func (s *scanner) inputsOf(field string) []Tensor {
	switch field {
	case "dataframe_split":
		return s.split()
	case "dataframe_records":
		return s.records()
	case "instances":
		if s.listOf() == '{' {
			return s.records()
		}
	case "inputs":
		if s.peek() == '{' {
			return s.named()
		}
	}
	cells, shape := s.flat()
	if s.err == nil && shape == nil {
		s.fail("%s has rows of different lengths", field)
	}
	return []Tensor{{Shape: shape, Cells: cells}}
}

// listOf is what the first element of a list begins with.
func (s *scanner) listOf() byte {
	ahead := *s
	if !ahead.open('[', ']') {
		return 0
	}
	return ahead.peek()
}

// split reads {"columns": ["a", "b"], "index": [0], "data": [[1, 2]]}.
func (s *scanner) split() []Tensor {
	var names []string
	var rows [][]string
	for more := s.open('{', '}'); more; more = s.next('}') {
		switch s.name() {
		case "columns":
			for _, c := range s.list() {
				names = append(names, Text(c))
			}
		case "data":
			for more := s.open('[', ']'); more; more = s.next(']') {
				rows = append(rows, s.list())
			}
		default: // index, and whatever pandas adds
			s.value()
		}
	}
	if s.err != nil {
		return nil
	}
	if len(names) == 0 {
		s.fail("dataframe_split has no columns")
		return nil
	}
	columns := make([]Tensor, len(names))
	cells := make([]string, len(names)*len(rows))
	for i, name := range names {
		columns[i] = Tensor{Name: name, Shape: []int64{int64(len(rows))}, Cells: cells[i*len(rows) : (i+1)*len(rows) : (i+1)*len(rows)]}
	}
	for at, row := range rows {
		if len(row) != len(names) {
			s.fail("row %d of dataframe_split has %d values, want one for each of the %d columns", at, len(row), len(names))
			return nil
		}
		for i, cell := range row {
			columns[i].Cells[at] = cell
		}
	}
	return columns
}

// records reads [{"a": 1, "b": 2}]. What a row does not have is null.
func (s *scanner) records() []Tensor {
	var columns []Tensor
	rows := 0
	for more := s.open('[', ']'); more; more = s.next(']') {
		at := 0 // rows have their names in the same order, nearly always
		for more := s.open('{', '}'); more; more = s.next('}') {
			name := s.name()
			if at >= len(columns) || columns[at].Name != name {
				at = slices.IndexFunc(columns, func(t Tensor) bool { return t.Name == name })
			}
			if at < 0 {
				at = len(columns)
				if columns = append(columns, Tensor{Name: name}); len(columns) > mostInputs {
					s.fail("the rows have more than %d different columns", mostInputs)
				}
			}
			cell := s.value()
			if s.err != nil {
				return nil
			}
			if len(columns[at].Cells) > rows {
				s.fail("row %d has %q twice", rows, clip(name))
				return nil
			}
			columns[at].fill(rows)
			columns[at].Cells = append(columns[at].Cells, cell)
			at++
		}
		rows++
		if rows*len(columns) > mostCells {
			s.fail("the rows have more than %d values, nulls included", mostCells)
		}
	}
	for i := range columns {
		columns[i].fill(rows)
		columns[i].Shape = []int64{int64(rows)}
	}
	return columns
}

// mostCells bounds what rows with ever other names can make of a small body.
const mostCells = 1 << 22

// fill makes a column as long as there are rows, with nulls.
func (t *Tensor) fill(rows int) {
	for len(t.Cells) < rows {
		t.Cells = append(t.Cells, "null")
	}
}

// named reads {"a": [1, 2], "b": [[3], [4]]}.
func (s *scanner) named() []Tensor {
	var tensors []Tensor
	for more := s.open('{', '}'); more; more = s.next('}') {
		t := Tensor{Name: s.name()}
		if s.peek() == '[' {
			t.Cells, t.Shape = s.flat()
		} else {
			t.Cells, t.Shape = []string{s.value()}, []int64{1}
		}
		if s.err == nil && t.Shape == nil {
			s.fail("input %q has rows of different lengths", clip(t.Name))
		}
		tensors = append(tensors, t)
	}
	return tensors
}

// AppendMLflow appends a request in the words of MLflow.
func AppendMLflow(to []byte, r *Request) []byte {
	switch {
	case r.Table:
		to = r.appendSplit(append(to, `{"dataframe_split":`...))
	case len(r.Inputs) == 1:
		to = r.Inputs[0].appendNested(append(to, `{"inputs":`...))
	default:
		to = append(to, `{"inputs":{`...)
		for i := range r.Inputs {
			to = append(append(comma(to, i), Quote(r.Inputs[i].Name)...), ':')
			to = r.Inputs[i].appendNested(to)
		}
		to = append(to, '}')
	}
	if r.params != "" && r.Protocol == driftline.ProtocolMLflow {
		to = append(append(to, `,"params":`...), r.params...)
	}
	return append(to, '}')
}

func (r *Request) appendSplit(to []byte) []byte {
	to = append(to, `{"columns":[`...)
	for i := range r.Inputs {
		to = append(comma(to, i), Quote(r.Inputs[i].Name)...)
	}
	to = append(to, `],"data":[`...)
	for row := range r.Rows {
		to = append(comma(to, row), '[')
		for i := range r.Inputs {
			to = append(comma(to, i), r.Inputs[i].Cells[row]...)
		}
		to = append(to, ']')
	}
	return append(to, `]}`...)
}

// appendNested appends the values in lists as the shape says.
func (t *Tensor) appendNested(to []byte) []byte {
	to, _ = appendNested(to, t.Shape, t.Cells)
	return to
}

func appendNested(to []byte, shape []int64, cells []string) ([]byte, []string) {
	if len(shape) == 0 {
		if len(cells) == 0 {
			return append(to, "null"...), nil
		}
		return append(to, cells[0]...), cells[1:]
	}
	to = append(to, '[')
	for i := range int(shape[0]) {
		to, cells = appendNested(comma(to, i), shape[1:], cells)
	}
	return append(to, ']'), cells
}
