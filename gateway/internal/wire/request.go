package wire

import (
	"slices"

	"github.com/driftline/driftline"
)

// Limits of a request.
const (
	mostInputs = 10_000
	mostText   = 4 << 10 // of an id, a key or a name
)

// Tensor is an array with a name.
type Tensor struct {
	Name     string
	Datatype string // OIP's word; "" if nobody said it
	Shape    []int64
	Cells    []string // row-major
	params   string   // of the input, as written; "" for none
}

// Column reports whether the tensor has one value for each row.
func (t *Tensor) Column() bool {
	rows := int64(0)
	if len(t.Shape) > 0 {
		rows = t.Shape[0]
	}
	return len(t.Shape) > 0 && int64(len(t.Cells)) == rows
}

// Request is what somebody asks of a model.
type Request struct {
	Protocol driftline.ModelProtocol // that it was written in
	Body     string                  // as it came, if it may be passed on as it is; else ""

	ID string // to be echoed; "" for none

	// Inputs are columns if Table holds, each with Rows values; else arrays of any shape, and
	// Rows is how many rows all of them seem to have: 0 if they do not agree.
	Inputs []Tensor
	Table  bool
	Rows   int

	// Entities are columns of join keys, of which features are to be looked up; nil for none.
	Entities []Tensor

	// Parameters of OIP that are ours.
	Key     string // routing_key
	Version string // model_version

	params  string // to be passed on, as written; "" for none
	outputs string // of OIP: which are wanted, as written; "" for all
}

// Input returns a column of the inputs or of the entities, nil if there is none.
func (r *Request) Input(name string) *Tensor {
	for _, tensors := range [2][]Tensor{r.Inputs, r.Entities} {
		for i := range tensors {
			if tensors[i].Name == name {
				return &tensors[i]
			}
		}
	}
	return nil
}

// BodySize is about how many bytes the request has once it is written, for a buffer to write it to.
func (r *Request) BodySize() int {
	const head, each, between = 128, 64, 2
	n := head + len(r.params) + len(r.outputs)
	for i := range r.Inputs {
		n += each + len(r.Inputs[i].Name)
		for _, cell := range r.Inputs[i].Cells {
			n += len(cell) + between
		}
	}
	return n
}

// settle works out what the inputs are together.
func (r *Request) settle() error {
	if len(r.Inputs) == 0 && len(r.Entities) == 0 {
		return driftline.Errorf(driftline.Invalid, "the request has no inputs").WithHint("give inputs, or entities whose features are to be looked up")
	}
	if len(r.Inputs)+len(r.Entities) > mostInputs {
		return driftline.Errorf(driftline.Exhausted, "the request has more than %d inputs", mostInputs).WithHint("give one matrix")
	}
	rows := -1
	r.Table = true
	for i, t := range slices.Concat(r.Entities, r.Inputs) {
		if !t.Column() || t.Name == "" {
			r.Table = false
		}
		has := 0
		if len(t.Shape) > 0 {
			has = int(t.Shape[0])
		}
		switch {
		case rows < 0:
			rows = has
		case rows != has && (r.Table || i < len(r.Entities)):
			return driftline.Errorf(driftline.Invalid, "input %q has %d rows, the ones before have %d", clip(t.Name), has, rows)
		case rows != has:
			rows = 0
		}
	}
	r.Rows = max(0, rows)
	if len(r.Inputs) > 0 && len(r.Inputs[0].Cells) == 0 || r.Table && r.Rows == 0 {
		return driftline.Errorf(driftline.Invalid, "the request has no rows")
	}
	return r.unique()
}

// unique refuses names that are there twice.
func (r *Request) unique() error {
	if len(r.Inputs)+len(r.Entities) <= 16 {
		for i := range r.Inputs {
			for j := range i {
				if r.Inputs[i].Name == r.Inputs[j].Name {
					return twice(r.Inputs[i].Name)
				}
			}
		}
		return nil
	}
	seen := make(map[string]bool, len(r.Inputs))
	for i := range r.Inputs {
		if seen[r.Inputs[i].Name] {
			return twice(r.Inputs[i].Name)
		}
		seen[r.Inputs[i].Name] = true
	}
	return nil
}

func twice(name string) error {
	return driftline.Errorf(driftline.Invalid, "input %q is there twice", clip(name))
}

// entities reads {"airport": ["JFK", "LGA"]}.
func (s *scanner) entities() []Tensor {
	var columns []Tensor
	for more := s.open('{', '}'); more; more = s.next('}') {
		name := s.name()
		if s.err == nil && slices.ContainsFunc(columns, func(t Tensor) bool { return t.Name == name }) {
			s.fail("entity column %q is there twice", clip(name))
			return nil
		}
		cells := s.list()
		columns = append(columns, Tensor{Name: name, Shape: []int64{int64(len(cells))}, Cells: cells})
	}
	if s.err == nil && len(columns) == 0 {
		s.fail("entities has no columns")
	}
	return columns
}

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// NewRequest makes a request of inputs that came in another form than JSON.
func NewRequest(id string, inputs []Tensor) (*Request, error) {
	r := &Request{Protocol: driftline.ProtocolOIP, ID: id, Inputs: inputs}
	if len(id) > mostText {
		return nil, driftline.Errorf(driftline.Invalid, "the id is longer than %d bytes", mostText)
	}
	for i := range inputs {
		if err := inputs[i].check(); err != nil {
			return nil, err
		}
	}
	return r, r.settle()
}
