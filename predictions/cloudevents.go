package predictions

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// The types of the events of KServe's inference logger. The request and the response of one
// inference have one ID.
const (
	RequestEvent  = "org.kubeflow.serving.inference.request"
	ResponseEvent = "org.kubeflow.serving.inference.response"
)

// Event is one CloudEvent of an inference, version 1.0.
type Event struct {
	ID      string
	Type    string
	Time    time.Time // zero if it does not say
	Arm     driftline.Arm
	Version int // of the model, 0 if it does not say
	Data    []byte
}

// MostEvents is how many events a batch may have.
const MostEvents = 10_000

// DecodeEvents reads the events of one HTTP request: in binary mode, where attributes are
// headers (ce-id, ce-type …) and the body is the data, in structured mode, where all is one
// JSON object, and in batches of those. header returns a header by its name, "" if it is not there.
//
// An event of another version, of another type or without an ID is Invalid.
func DecodeEvents(header func(name string) string, body []byte) ([]Event, error) {
	kind, _, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil && header("Ce-Specversion") == "" {
		return nil, driftline.Errorf(driftline.Invalid, "content type %.80q is not valid", header("Content-Type"))
	}
	switch kind {
	case "application/cloudevents+json":
		var one json.RawMessage
		if err := decodeOne(body, &one); err != nil {
			return nil, err
		}
		e, err := structured(one)
		return []Event{e}, err
	case "application/cloudevents-batch+json":
		var all []json.RawMessage
		if err := decodeOne(body, &all); err != nil {
			return nil, err
		}
		if len(all) > MostEvents {
			return nil, driftline.Errorf(driftline.Invalid, "the batch has %d events, at most %d are read", len(all), MostEvents)
		}
		events := make([]Event, len(all))
		for i, one := range all {
			if events[i], err = structured(one); err != nil {
				return nil, driftline.Errorf(driftline.Invalid, "event %d: %w", i, err)
			}
		}
		return events, nil
	}
	e, err := newEvent(func(name string) string { return header("Ce-" + name) })
	e.Data = body
	return []Event{e}, err
}

// IsEvent reports whether an HTTP request with these headers is one of CloudEvents.
func IsEvent(header func(name string) string) bool {
	return header("Ce-Specversion") != "" || header("Ce-Id") != "" || strings.HasPrefix(header("Content-Type"), "application/cloudevents")
}

// newEvent reads the attributes of an event. Extensions of KServe's: endpoint is default or canary.
// One of ours: modelversion.
func newEvent(attribute func(name string) string) (Event, error) {
	e := Event{ID: attribute("id"), Type: attribute("type")}
	switch {
	case attribute("specversion") != "1.0":
		return e, driftline.Errorf(driftline.Invalid, "specversion is %.40q, want 1.0", attribute("specversion"))
	case e.ID == "" || len(e.ID) > 1024:
		return e, driftline.Errorf(driftline.Invalid, "the event's id has %d bytes, want 1 to 1024", len(e.ID))
	case attribute("source") == "":
		return e, driftline.Errorf(driftline.Invalid, "the event has no source")
	case e.Type != RequestEvent && e.Type != ResponseEvent:
		return e, driftline.Errorf(driftline.Invalid, "the event's type is %.80q", e.Type).WithHint("want %s or %s", RequestEvent, ResponseEvent)
	}
	if text := attribute("time"); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return e, driftline.Errorf(driftline.Invalid, "the event's time is %.40q", text).WithHint("write it like 2013-06-01T12:00:00Z")
		}
		e.Time = at
	}
	switch attribute("endpoint") {
	case "default":
		e.Arm = driftline.ArmChampion
	case "canary":
		e.Arm = driftline.ArmCandidate
	}
	if text := attribute("modelversion"); text != "" {
		version, err := strconv.Atoi(text)
		if err != nil || version < 0 {
			return e, driftline.Errorf(driftline.Invalid, "the event's modelversion is %.40q, want a whole number", text)
		}
		e.Version = version
	}
	return e, nil
}

func structured(text []byte) (Event, error) {
	var fields map[string]json.RawMessage
	if err := decodeOne(text, &fields); err != nil {
		return Event{}, err
	}
	var wrong error
	e, err := newEvent(func(name string) string {
		raw, ok := fields[name]
		if !ok {
			return ""
		}
		var s string
		if json.Unmarshal(raw, &s) != nil {
			wrong = driftline.Errorf(driftline.Invalid, "attribute %s of the event is %.40s, want a text", name, raw)
		}
		return s
	})
	if err = errors.Join(wrong, err); err != nil {
		return e, firstOf(wrong, err)
	}
	if raw, ok := fields["data_base64"]; ok {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return e, driftline.Errorf(driftline.Invalid, "data_base64 is not a text")
		}
		if e.Data, err = base64.StdEncoding.DecodeString(s); err != nil {
			return e, driftline.Errorf(driftline.Invalid, "data_base64 is not base64")
		}
		return e, nil
	}
	e.Data = fields["data"]
	return e, nil
}

func firstOf(errs ...error) error {
	return errs[slices.IndexFunc(errs, func(e error) bool { return e != nil })]
}

// decodeOne reads exactly one JSON value.
func decodeOne(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return driftline.Errorf(driftline.Invalid, "the event is not the JSON that it should be: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return driftline.Errorf(driftline.Invalid, "there is more than one JSON value")
	}
	return nil
}

// MostInstances is how many predictions one inference may have.
const MostInstances = 10_000

// Records are the predictions of one inference, of its two events, one of which may be missing:
// then the fault says so. Inputs are those of the protocols that KServe speaks: instances of
// version 1, as objects or lists, and tensors of version 2.
func Records(model driftline.ModelName, request, response *Event) ([]driftline.PredictionRecord, error) {
	var features []map[string]any
	var outputs []output
	var err error
	base := driftline.PredictionRecord{Model: model}
	for _, e := range []*Event{response, request} { // the request's time counts
		if e == nil {
			continue
		}
		base.ID, base.Arm, base.Version = e.ID, e.Arm, max(e.Version, base.Version)
		if !e.Time.IsZero() {
			base.Time = e.Time
		}
	}
	if request != nil {
		if features, err = inputsOf(request.Data); err != nil {
			return nil, err
		}
	}
	if response == nil {
		base.Fault = driftline.FaultEmpty
	} else {
		if outputs, err = outputsOf(response.Data); err != nil {
			return nil, err
		}
		if request != nil && !request.Time.IsZero() && response.Time.After(request.Time) {
			base.Latency = driftline.Duration(response.Time.Sub(request.Time))
		}
		if request != nil && len(outputs) < len(features) {
			base.Fault = driftline.FaultEmpty
		}
	}
	records := make([]driftline.PredictionRecord, max(len(features), len(outputs), 1))
	for i := range records {
		records[i] = base
		if len(records) > 1 {
			records[i].ID += "/" + strconv.Itoa(i)
		}
		if i < len(features) {
			records[i].Features = features[i]
		}
		if i < len(outputs) {
			o := outputs[i]
			records[i].Output, records[i].Prediction, records[i].Score = o.text, o.prediction, o.score
		}
	}
	return records, nil
}

// tensor is one of the Open Inference Protocol.
type tensor struct {
	Name  string          `json:"name"`
	Shape []json.Number   `json:"shape"`
	Data  json.RawMessage `json:"data"`
}

func inputsOf(data []byte) ([]map[string]any, error) {
	var body struct {
		Instances []any    `json:"instances"`
		Inputs    []tensor `json:"inputs"`
	}
	if len(data) == 0 {
		return nil, nil
	}
	if err := decodeOne(data, &body); err != nil {
		return nil, err
	}
	if len(body.Instances) > MostInstances {
		return nil, tooMany(len(body.Instances))
	}
	if len(body.Instances) > 0 {
		rows := make([]map[string]any, len(body.Instances))
		for i, instance := range body.Instances {
			rows[i] = instanceFeatures(instance)
		}
		return rows, nil
	}
	var rows []map[string]any
	for i := range body.Inputs {
		cells, err := body.Inputs[i].rows()
		if err != nil {
			return nil, err
		}
		for len(rows) < len(cells) {
			rows = append(rows, map[string]any{})
		}
		for j, cell := range cells {
			spread(rows[j], body.Inputs[i].Name, cell)
		}
	}
	return rows, nil
}

func tooMany(n int) error {
	return driftline.Errorf(driftline.Invalid, "the inference has %d instances, at most %d are logged", n, MostInstances)
}

func instanceFeatures(instance any) map[string]any {
	if named, ok := instance.(map[string]any); ok {
		return named
	}
	row := map[string]any{}
	spread(row, "input", instance)
	return row
}

// spread puts a value into a row under a name, or its elements under name_0, name_1 …
func spread(row map[string]any, name string, v any) {
	list, ok := v.([]any)
	if !ok {
		row[name] = v
		return
	}
	if len(list) == 1 {
		spread(row, name, list[0])
		return
	}
	for i, x := range list {
		row[name+"_"+strconv.Itoa(i)] = x
	}
}

// rows cuts a tensor along its first dimension. Its data is nested, or flat in row order.
func (t *tensor) rows() ([]any, error) {
	var data []any
	if len(t.Data) == 0 {
		return nil, nil // it was sent as bytes, which are kept in no log
	}
	if err := decodeOne(t.Data, &data); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "tensor %.80q: its data is no list", t.Name)
	}
	n := len(data)
	if len(t.Shape) > 0 {
		first, err := t.Shape[0].Int64()
		if err != nil || first < 0 {
			return nil, driftline.Errorf(driftline.Invalid, "tensor %.80q: its shape begins with %.20q", t.Name, t.Shape[0])
		}
		if first > MostInstances {
			return nil, tooMany(int(min(first, 1<<31)))
		}
		n = int(first)
	}
	switch {
	case n == len(data):
		if n > MostInstances {
			return nil, tooMany(n)
		}
		return data, nil
	case n == 0 || len(data)%n != 0:
		return nil, driftline.Errorf(driftline.Invalid, "tensor %.80q: %d values are no %d rows", t.Name, len(data), n)
	}
	cut := make([]any, n)
	for i, row := range slices.Collect(slices.Chunk(data, len(data)/n)) {
		cut[i] = row
	}
	return cut, nil
}

// output is what a model said of one instance.
type output struct {
	text       json.RawMessage
	prediction any
	score      *float64
}

func outputsOf(data []byte) ([]output, error) {
	var body struct {
		Predictions []any    `json:"predictions"`
		Outputs     []tensor `json:"outputs"`
	}
	if len(data) == 0 {
		return nil, nil
	}
	if err := decodeOne(data, &body); err != nil {
		return nil, err
	}
	if len(body.Predictions) > MostInstances {
		return nil, tooMany(len(body.Predictions))
	}
	if len(body.Predictions) > 0 {
		out := make([]output, len(body.Predictions))
		for i, p := range body.Predictions {
			out[i] = outputOf(p)
		}
		return out, nil
	}
	rows := []map[string]any{}
	for i := range body.Outputs {
		cells, err := body.Outputs[i].rows()
		if err != nil {
			return nil, err
		}
		for len(rows) < len(cells) {
			rows = append(rows, map[string]any{})
		}
		for j, cell := range cells {
			if list, ok := cell.([]any); ok && len(list) == 1 {
				cell = list[0]
			}
			rows[j][body.Outputs[i].Name] = cell
		}
	}
	out := make([]output, len(rows))
	for i, row := range rows {
		if len(row) == 1 && len(body.Outputs) == 1 {
			out[i] = outputOf(row[body.Outputs[0].Name])
		} else {
			out[i] = outputOf(row)
		}
	}
	return out, nil
}

// outputOf finds the prediction and the score in an answer: a number or a text is the
// prediction itself; an object has them under the names that models give them.
func outputOf(v any) output {
	o := output{text: appendJSON(nil, v)}
	row, ok := v.(map[string]any)
	if list, isList := v.([]any); isList && len(list) == 1 {
		v = list[0]
	}
	if !ok {
		o.prediction = plain(v)
		return o
	}
	for _, name := range []string{"prediction", "predicted", "label", "class", "output"} {
		if found := plain(row[name]); found != nil {
			o.prediction = found
			break
		}
	}
	for _, name := range []string{"score", "probability", "proba"} {
		if x := numberOf(row[name]); x == x {
			o.score = &x
			break
		}
	}
	return o
}

// plain is a value that can be a prediction, else nil.
func plain(v any) any {
	if s, ok := v.(string); ok {
		return s
	}
	if x := numberOf(v); x == x {
		return x
	}
	return nil
}

// Limits of what waits for its other half.
const (
	pairWait      = 30 * time.Second
	mostPairs     = 20_000
	mostPairBytes = 32 << 20
)

// Pairs puts the two events of an inference together, whichever comes first. The zero value is
// ready; it is not safe for concurrent use.
type Pairs struct {
	waiting map[string]half
	order   []string // by arrival; those that were matched are still in it
	bytes   int
}

type half struct {
	event   *Event
	arrived time.Time
}

// Add takes an event, and returns the pair that it completes.
func (p *Pairs) Add(e *Event, now time.Time) (request, response *Event, complete bool) {
	other, ok := p.waiting[e.ID]
	if !ok || other.event.Type == e.Type { // the same event again is the same half
		if p.waiting == nil {
			p.waiting = map[string]half{}
		}
		if !ok {
			p.order = append(p.order, e.ID)
			p.waiting[e.ID] = half{e, now}
			p.bytes += len(e.Data)
		}
		return nil, nil, false
	}
	p.remove(other.event)
	if e.Type == RequestEvent {
		return e, other.event, true
	}
	return other.event, e, true
}

// Expired returns the halves that have waited for too long, or are too many: the oldest first.
// With all set it returns all.
func (p *Pairs) Expired(now time.Time, all bool) (alone []*Event) {
	n := 0
	for _, id := range p.order {
		h, ok := p.waiting[id]
		if ok && !all && now.Sub(h.arrived) < pairWait && len(p.waiting) <= mostPairs && p.bytes <= mostPairBytes {
			break
		}
		if ok {
			alone = append(alone, h.event)
			p.remove(h.event)
		}
		n++
	}
	p.order = slices.Delete(p.order, 0, n)
	return alone
}

func (p *Pairs) remove(e *Event) {
	delete(p.waiting, e.ID)
	p.bytes -= len(e.Data)
}
