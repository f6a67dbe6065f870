package wire

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// Answer is what a model said.
type Answer struct {
	Outputs []Tensor

	// raw is predictions or outputs as it was written, so that it can be passed on in the same
	// protocol; "" if the answer was made here.
	raw      string
	protocol driftline.ModelProtocol
}

// ParseAnswer reads the body of an answer. What is no answer at all is an error.
func ParseAnswer(protocol driftline.ModelProtocol, body string) (*Answer, error) {
	s := newScanner(body)
	s.bare = true
	a := &Answer{protocol: protocol}
	field := "outputs"
	if protocol == driftline.ProtocolMLflow {
		field = "predictions"
	}
	found := false
	for more := s.open('{', '}'); more; more = s.next('}') {
		if name := s.name(); name != field || found {
			s.value()
			continue
		}
		found = true
		s.peek()
		start := s.at
		if protocol == driftline.ProtocolMLflow {
			a.Outputs = s.predictions()
		} else {
			for more := s.open('[', ']'); more; more = s.next(']') {
				a.Outputs = append(a.Outputs, s.output())
			}
		}
		if s.err == nil {
			a.raw = s.text[start:s.at]
		}
	}
	if s.end(); s.err != nil {
		return nil, s.err
	}
	if !found {
		return nil, driftline.Errorf(driftline.Invalid, "the answer has no %s", field)
	}
	return a, nil
}

func (s *scanner) output() Tensor {
	var t Tensor
	for more := s.open('{', '}'); more; more = s.next('}') {
		switch s.name() {
		case "name":
			t.Name = s.str()
		case "datatype":
			t.Datatype = s.str()
		case "shape":
			t.Shape = s.shape()
		case "data":
			t.Cells, _ = s.flat()
		default:
			s.value()
		}
	}
	return t
}

// predictions reads what a pyfunc model may return: a list of values, of lists or of
// records, an object of lists, or one value.
func (s *scanner) predictions() []Tensor {
	switch {
	case s.peek() == '{':
		return s.named()
	case s.peek() == '[' && s.listOf() == '{':
		return s.records()
	case s.peek() == '[':
		cells, shape := s.flat()
		return []Tensor{{Name: "predictions", Cells: cells, Shape: shape}}
	}
	return []Tensor{{Name: "predictions", Cells: []string{s.value()}, Shape: []int64{1}}}
}

// Check says what is wrong with an answer to so many rows, 0 if nobody knows how many, and
// why in words; "" if nothing is.
func (a *Answer) Check(rows int) (fault driftline.Fault, why string) {
	if len(a.Outputs) == 0 {
		return driftline.FaultEmpty, "it has no output"
	}
	for i := range a.Outputs {
		if fault, why = a.Outputs[i].fault(rows); fault != "" {
			return fault, why
		}
	}
	return "", ""
}

func (t *Tensor) fault(rows int) (driftline.Fault, string) {
	name := Quote(clip(t.Name))
	if len(t.Cells) == 0 {
		return driftline.FaultEmpty, "output " + name + " has no values"
	}
	if n, ok := size(t.Shape); !ok || n != int64(len(t.Cells)) {
		return driftline.FaultSchema, "output " + name + " has another number of values than its shape says"
	}
	if rows > 0 && t.Shape[0] < int64(rows) {
		return driftline.FaultEmpty, "output " + name + " has " + strconv.FormatInt(t.Shape[0], 10) + " rows, " + strconv.Itoa(rows) + " were asked for"
	}
	if rows > 0 && t.Shape[0] > int64(rows) {
		return driftline.FaultSchema, "output " + name + " has " + strconv.FormatInt(t.Shape[0], 10) + " rows, only " + strconv.Itoa(rows) + " were asked for"
	}
	if _, ok := datatypes[t.Datatype]; t.Datatype != "" && !ok {
		return driftline.FaultSchema, "output " + name + " has a datatype that there is not"
	}
	for _, c := range t.Cells {
		if fault, why := t.cellFault(c); fault != "" {
			return fault, "output " + name + " " + why
		}
	}
	return "", ""
}

func (t *Tensor) cellFault(cell string) (driftline.Fault, string) {
	switch kindOf(cell) {
	case nothing:
		return driftline.FaultEmpty, "has a row without a value"
	case notFinite:
		return driftline.FaultNotFinite, "has " + cell
	case integer, fraction:
		if math.IsInf(Number(cell), 0) {
			return driftline.FaultNotFinite, "has a number that is too large"
		}
	case text:
		switch strings.ToLower(unquote(cell)) { // some encoders write what is no JSON as a text
		case "nan", "inf", "infinity", "-inf", "-infinity":
			if datatypes[t.Datatype] == fraction {
				return driftline.FaultNotFinite, "has " + cell
			}
		}
	}
	if t.Datatype != "" && !fits(t.Datatype, cell) {
		return driftline.FaultSchema, "has values that are not " + t.Datatype
	}
	return "", ""
}

// CheckSignature compares an answer with what the model's signature says of its outputs.
func (a *Answer) CheckSignature(columns []driftline.SignatureColumn) (driftline.Fault, string) {
	for i, want := range columns {
		var has *Tensor
		for j := range a.Outputs {
			if a.Outputs[j].Name == want.Name {
				has = &a.Outputs[j]
			}
		}
		if has == nil && i == 0 && len(columns) == 1 && len(a.Outputs) == 1 {
			has = &a.Outputs[0] // outputs of one column have names of their servers' choice
		}
		if has == nil {
			if want.Optional || want.Name == "" || len(a.Outputs) == 1 {
				continue // a matrix, whose columns have no names on the wire
			}
			return driftline.FaultSchema, "it has no output " + Quote(clip(want.Name)) + ", which the signature has"
		}
		if !signatureFits(want.Type, has.Cells) {
			return driftline.FaultSchema, "output " + Quote(clip(has.Name)) + " is not " + want.Type + ", as the signature says"
		}
	}
	return "", ""
}

func signatureFits(kind string, cells []string) bool {
	for _, c := range cells {
		has := kindOf(c)
		ok := true
		switch kind {
		case "double", "float":
			ok = has == integer || has == fraction
		case "long", "integer":
			ok = has == integer || has == fraction && isWhole(c) || has == truth
		case "boolean":
			ok = has == truth || c == "0" || c == "1"
		case "string":
			ok = has == text
		}
		if !ok {
			return false
		}
	}
	return true
}

// Average is the mean of answers by their weights, which add up to 1. It is false if they are
// no numbers, or have different outputs.
func Average(answers []*Answer, weights []float64) (*Answer, bool) {
	first := answers[0]
	out := &Answer{Outputs: make([]Tensor, len(first.Outputs))}
	for o := range first.Outputs {
		t := first.Outputs[o]
		sums := make([]float64, len(t.Cells))
		for i, a := range answers {
			if len(a.Outputs) != len(first.Outputs) || a.Outputs[o].Name != t.Name && len(first.Outputs) > 1 || len(a.Outputs[o].Cells) != len(sums) {
				return nil, false
			}
			for c, cell := range a.Outputs[o].Cells {
				if k := kindOf(cell); k != integer && k != fraction {
					return nil, false
				}
				sums[c] += weights[i] * Number(cell)
			}
		}
		t.Cells, t.Datatype = make([]string, len(sums)), "FP64"
		for c, sum := range sums {
			t.Cells[c] = string(AppendFloat(nil, sum))
		}
		out.Outputs[o] = t
	}
	return out, true
}

// AppendPredictions appends the answer as MLflow's predictions.
func (a *Answer) AppendPredictions(to []byte) []byte {
	switch {
	case a.raw != "" && a.protocol == driftline.ProtocolMLflow:
		return append(to, a.raw...)
	case len(a.Outputs) == 1:
		return a.Outputs[0].appendNested(to)
	}
	to = append(to, '{')
	for i := range a.Outputs {
		to = append(append(comma(to, i), Quote(a.Outputs[i].Name)...), ':')
		to = a.Outputs[i].appendNested(to)
	}
	return append(to, '}')
}

// AppendOutputs appends the answer as OIP's outputs.
func (a *Answer) AppendOutputs(to []byte) []byte {
	if a.raw != "" && a.protocol == driftline.ProtocolOIP {
		return append(to, a.raw...)
	}
	to = append(to, '[')
	for i := range a.Outputs {
		to = a.Outputs[i].append(comma(to, i))
	}
	return append(to, ']')
}

// Reading is what the log keeps of one row of an answer.
type Reading struct {
	Prediction any // number, text, truth value; of probabilities of several classes the greatest's place
	Score      *float64
	Values     map[string]float64 // other outputs of one number
}

// Read says what an answer means for one row. An output called like a probability or a score
// is the score, and so is any single number; of two probabilities it is the second.
func (a *Answer) Read(row, rows int) Reading {
	var r Reading
	for i := range a.Outputs {
		t := &a.Outputs[i]
		cells := t.row(row, rows)
		if len(cells) == 0 {
			continue
		}
		if t.isScore() {
			r.score(cells)
			continue
		}
		if r.Prediction != nil {
			r.value(t.Name, cells)
			continue
		}
		r.Prediction = Any(cells[0])
		if len(cells) > 1 {
			r.Prediction = greatest(cells)
		}
		r.score(cells)
	}
	if r.Prediction == nil && r.Score != nil {
		r.Prediction = *r.Score
	}
	return r
}

// Numbers are what an answer says of each of so many rows, for whoever measures it: the prediction, of several classes
// the place of the greatest and NaN for what is no number, and the score, which is nil unless an output is called a
// probability or a score, or has numbers for two classes.
func (a *Answer) Numbers(rows int) (predictions, scores []float64) {
	graded := slices.ContainsFunc(a.Outputs, func(t Tensor) bool {
		width := len(t.Cells) / rows
		return width == 2 || width == 1 && t.isScore()
	})
	for row := range rows {
		r := a.Read(row, rows)
		predictions = append(predictions, number(r.Prediction))
		if graded {
			scores = append(scores, math.NaN())
			if r.Score != nil {
				scores[row] = *r.Score
			}
		}
	}
	return predictions, scores
}

func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int64:
		return float64(v)
	case int:
		return float64(v)
	case bool:
		if v {
			return 1
		}
		return 0
	}
	return math.NaN()
}

// isScore reports whether an output is called what a probability or a score is.
func (t *Tensor) isScore() bool {
	named := strings.ToLower(t.Name)
	return strings.Contains(named, "prob") || strings.Contains(named, "score")
}

// row are the cells of one of so many rows; all if nobody knows how many there are.
func (t *Tensor) row(row, rows int) []string {
	if rows <= 0 {
		return t.Cells
	}
	width := len(t.Cells) / rows
	return t.Cells[row*width : (row+1)*width]
}

func (r *Reading) score(cells []string) {
	at := 0
	switch {
	case len(cells) == 2:
		at = 1
	case len(cells) > 2:
		at = greatest(cells)
	}
	if k := kindOf(cells[at]); k == integer || k == fraction {
		x := Number(cells[at])
		r.Score = &x
	}
}

func (r *Reading) value(name string, cells []string) {
	if k := kindOf(cells[0]); len(cells) == 1 && (k == integer || k == fraction) {
		if r.Values == nil {
			r.Values = map[string]float64{}
		}
		r.Values[name] = Number(cells[0])
	}
}

// greatest is the place of the greatest number.
func greatest(cells []string) int {
	best := 0
	for i, c := range cells {
		if Number(c) > Number(cells[best]) {
			best = i
		}
	}
	return best
}

// AppendRow appends one of so many rows of an answer as JSON: the value or values of a single
// output, an object of several.
func (a *Answer) AppendRow(to []byte, row, rows int) []byte {
	if len(a.Outputs) == 1 {
		return appendCells(to, a.Outputs[0].row(row, rows))
	}
	to = append(to, '{')
	for i := range a.Outputs {
		to = append(append(comma(to, i), Quote(a.Outputs[i].Name)...), ':')
		to = appendCells(to, a.Outputs[i].row(row, rows))
	}
	return append(to, '}')
}

func appendCells(to []byte, cells []string) []byte {
	if len(cells) == 1 {
		return append(to, cells[0]...)
	}
	to = append(to, '[')
	for i, c := range cells {
		to = append(comma(to, i), c...)
	}
	return append(to, ']')
}
