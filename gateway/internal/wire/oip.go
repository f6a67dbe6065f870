package wire

import (
	"slices"
	"strconv"

	"github.com/driftline/driftline"
)

// ParseOIP reads the body of POST /v2/models/…/infer. Beside what the protocol has it may
// have entities: columns of join keys whose features are looked up.
func ParseOIP(body string) (*Request, error) {
	s := newScanner(body)
	r := &Request{Protocol: driftline.ProtocolOIP, Body: body}
	seen := 0
	for more := s.open('{', '}'); more; more = s.next('}') {
		name := s.name()
		field := slices.Index(oipFields, name)
		if s.err == nil && field < 0 {
			return nil, driftline.Errorf(driftline.Invalid, "field %q of the request is not known", clip(name)).WithHint("known: id, parameters, inputs, outputs, entities")
		}
		if s.err == nil && seen&(1<<field) != 0 {
			return nil, driftline.Errorf(driftline.Invalid, "field %q of the request is there twice", name)
		}
		seen |= 1 << max(0, field)
		switch name {
		case "id":
			r.ID = s.str()
		case "inputs":
			for more := s.open('[', ']'); more; more = s.next(']') {
				r.Inputs = append(r.Inputs, s.input())
			}
		case "parameters":
			s.ours(r)
		case "outputs":
			r.outputs = s.value()
		case "entities":
			r.Entities, r.Body = s.entities(), ""
		}
	}
	if s.end(); s.err != nil {
		return nil, s.err
	}
	if len(r.ID) > mostText || len(r.Key) > mostText {
		return nil, driftline.Errorf(driftline.Invalid, "the id or the routing_key is longer than %d bytes", mostText)
	}
	for i := range r.Inputs {
		if err := r.Inputs[i].check(); err != nil {
			return nil, err
		}
	}
	return r, r.settle()
}

var oipFields = []string{"id", "parameters", "inputs", "outputs", "entities"}

// ours takes the parameters that are meant for the gateway; all are passed on.
func (s *scanner) ours(r *Request) {
	start := s.at
	for more := s.open('{', '}'); more; more = s.next('}') {
		switch s.name() {
		case "routing_key":
			r.Key = Text(s.value())
		case "model_version":
			r.Version = Text(s.value())
		default:
			s.value()
		}
	}
	if s.err == nil {
		r.params = s.text[start:s.at]
	}
}

func (s *scanner) input() Tensor {
	var t Tensor
	var inner []int64
	has := false
	for more := s.open('{', '}'); more; more = s.next('}') {
		switch s.name() {
		case "name":
			t.Name = s.str()
		case "datatype":
			t.Datatype = s.str()
		case "shape":
			t.Shape = s.shape()
		case "data":
			has = true
			t.Cells, inner = s.flat()
		case "parameters":
			t.params = s.value()
		default:
			s.value()
		}
	}
	if s.err == nil && (!has || inner == nil) {
		s.fail("input %q has no data, or rows of different lengths", clip(t.Name))
	}
	return t
}

func (s *scanner) shape() []int64 {
	shape := make([]int64, 0, 2)
	for more := s.open('[', ']'); more; more = s.next(']') {
		n, err := strconv.ParseInt(s.scalar(), 10, 64)
		if s.err == nil && (err != nil || n < 0 || n > 1<<32) {
			s.fail("a shape has a size that is not a whole number from 0")
		}
		shape = append(shape, n)
	}
	return shape
}

// check compares a tensor with what it says of itself.
func (t *Tensor) check() error {
	if t.Name == "" {
		return driftline.Errorf(driftline.Invalid, "an input has no name")
	}
	if _, ok := datatypes[t.Datatype]; !ok {
		return driftline.Errorf(driftline.Invalid, "input %q has datatype %q, which there is not", clip(t.Name), clip(t.Datatype)).
			WithHint("use BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES")
	}
	if n, ok := size(t.Shape); !ok || n != int64(len(t.Cells)) {
		return driftline.Errorf(driftline.Invalid, "input %q has %d values, its shape %v says another number", clip(t.Name), len(t.Cells), t.Shape)
	}
	for _, c := range t.Cells {
		if !fits(t.Datatype, c) {
			return driftline.Errorf(driftline.Invalid, "input %q has %s among its values, which are to be %s", clip(t.Name), clip(c), t.Datatype)
		}
	}
	return nil
}

// size is how many elements a shape has. A shape without dimensions has none here.
func size(shape []int64) (int64, bool) {
	if len(shape) == 0 {
		return 0, false
	}
	n := int64(1)
	for _, d := range shape {
		if n *= d; n > 1<<32 || d < 0 {
			return 0, false
		}
	}
	return n, true
}

// AppendOIP appends a request in OIP's words.
func AppendOIP(to []byte, r *Request, id string) []byte {
	to = append(to, `{"id":`...)
	to = append(to, Quote(id)...)
	if r.params != "" && r.Protocol == driftline.ProtocolOIP {
		to = append(append(to, `,"parameters":`...), r.params...)
	}
	to = append(to, `,"inputs":[`...)
	for i := range r.Inputs {
		if i > 0 {
			to = append(to, ',')
		}
		to = r.Inputs[i].append(to)
	}
	to = append(to, ']')
	if r.outputs != "" {
		to = append(append(to, `,"outputs":`...), r.outputs...)
	}
	return append(to, '}')
}

func (t *Tensor) append(to []byte) []byte {
	datatype := t.DatatypeOrGuess()
	to = append(append(to, `{"name":`...), Quote(t.Name)...)
	to = append(to, `,"shape":[`...)
	for i, d := range t.Shape {
		to = strconv.AppendInt(comma(to, i), d, 10)
	}
	to = append(append(append(to, `],"datatype":"`...), datatype...), '"')
	if t.params != "" {
		to = append(append(to, `,"parameters":`...), t.params...)
	}
	to = append(to, `,"data":[`...)
	for i, c := range t.Cells {
		to = append(comma(to, i), c...)
	}
	return append(to, `]}`...)
}

func comma(to []byte, i int) []byte {
	if i == 0 {
		return to
	}
	return append(to, ',')
}

// DatatypeOrGuess is the datatype that was said, or else what the values are.
func (t *Tensor) DatatypeOrGuess() string {
	if t.Datatype != "" {
		return t.Datatype
	}
	return datatypeOf(t.Cells)
}
