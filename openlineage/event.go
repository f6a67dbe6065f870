package openlineage

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// Namespace is that of our own jobs and tables, unless the settings name another.
const Namespace = "driftline"

// Producer is what our events and facets say that they are from.
const Producer = "https://github.com/driftline/driftline"

const (
	specification = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
	facets        = "https://openlineage.io/spec/facets/"
)

// EventType is what a run event says of its run.
type EventType string

// The types of run events. Complete, Abort and Fail are ends.
const (
	Start    EventType = "START"
	Running  EventType = "RUNNING"
	Complete EventType = "COMPLETE"
	Abort    EventType = "ABORT"
	Fail     EventType = "FAIL"
	Other    EventType = "OTHER"
)

// Event is a RunEvent, or, without a run, a JobEvent, or, without a job, a DatasetEvent.
type Event struct {
	Type      EventType `json:"eventType,omitempty"`
	Time      time.Time `json:"eventTime"`
	Run       *Run      `json:"run,omitempty"`
	Job       *Job      `json:"job,omitempty"`
	Dataset   *Dataset  `json:"dataset,omitempty"`
	Inputs    []Dataset `json:"inputs,omitempty"`
	Outputs   []Dataset `json:"outputs,omitempty"`
	Producer  string    `json:"producer"`
	SchemaURL string    `json:"schemaURL"`
}

// Run is one execution of a job. Its id is a UUID.
type Run struct {
	ID     string `json:"runId"`
	Facets Facets `json:"facets,omitempty"`
}

// Job is what runs, again and again, under one name.
type Job struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Facets    Facets `json:"facets,omitempty"`
}

// Dataset is data under the name by which the system that has it is known.
type Dataset struct {
	Namespace    string `json:"namespace"`
	Name         string `json:"name"`
	Facets       Facets `json:"facets,omitempty"`
	InputFacets  Facets `json:"inputFacets,omitempty"`
	OutputFacets Facets `json:"outputFacets,omitempty"`
}

// Facets are what an event says beside the names, by the facets' names.
type Facets map[string]json.RawMessage

// The limits of what is taken from outside.
const (
	MostBytes    = 4 << 20 // of one event
	MostDatasets = 1000    // of its inputs, and of its outputs
	MostColumns  = 10_000  // of the column lineage of one of them
	mostName     = 1024    // bytes
)

// Parse reads one event as the specification has it. Fields that it does not know are ignored.
func Parse(raw []byte) (*Event, error) {
	var e Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "the event is not JSON of the form of OpenLineage: %v", err).
			WithHint("send a RunEvent, JobEvent or DatasetEvent of OpenLineage 2")
	}
	if err := e.check(raw); err != nil {
		return nil, err
	}
	return &e, nil
}

func (e *Event) check(raw []byte) error {
	if err := checkTime(raw); err != nil {
		return err
	}
	for name, value := range map[string]string{"producer": e.Producer, "schemaURL": e.SchemaURL} {
		if err := checkURI(name, value); err != nil {
			return err
		}
	}
	switch {
	case e.Job == nil && e.Dataset == nil:
		return invalid("the event has neither a job nor a dataset")
	case e.Job == nil:
		return e.Dataset.check("dataset")
	case e.Run == nil && e.Dataset != nil:
		return invalid("the event has a dataset beside a job, and no run: it is two events")
	}
	if err := checkNames("job", e.Job.Namespace, e.Job.Name); err != nil {
		return err
	}
	if err := e.Job.Facets.check("job"); err != nil {
		return err
	}
	if e.Run != nil {
		if err := e.checkRun(); err != nil {
			return err
		}
	}
	return e.checkDatasets()
}

// checkTime looks at the text, because a zero time says nothing of why.
func checkTime(raw []byte) error {
	var just struct {
		Time string `json:"eventTime"`
	}
	if err := json.Unmarshal(raw, &just); err != nil || just.Time == "" {
		return invalid("eventTime is missing")
	}
	return nil
}

// knownTypes are those of the specification; one that is left out says nothing of the run.
var knownTypes = map[EventType]bool{"": true, Start: true, Running: true, Complete: true, Abort: true, Fail: true, Other: true}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

func (e *Event) checkRun() error {
	if !uuid.MatchString(e.Run.ID) {
		return invalid("runId %q is not a UUID", clip(e.Run.ID))
	}
	if !knownTypes[e.Type] {
		return invalid("eventType %q is not known", clip(string(e.Type)))
	}
	return e.Run.Facets.check("run")
}

func (e *Event) checkDatasets() error {
	if len(e.Inputs) > MostDatasets || len(e.Outputs) > MostDatasets {
		return invalid("the event has %d inputs and %d outputs, and at most %d of each are taken", len(e.Inputs), len(e.Outputs), MostDatasets)
	}
	for i := range e.Inputs {
		if err := e.Inputs[i].check("input"); err != nil {
			return err
		}
	}
	for i := range e.Outputs {
		if err := e.Outputs[i].check("output"); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dataset) check(what string) error {
	if err := checkNames(what, d.Namespace, d.Name); err != nil {
		return err
	}
	for _, f := range []Facets{d.Facets, d.InputFacets, d.OutputFacets} {
		if err := f.check(what); err != nil {
			return err
		}
	}
	return nil
}

func checkNames(what, namespace, name string) error {
	for part, value := range map[string]string{"namespace": namespace, "name": name} {
		switch {
		case value == "":
			return invalid("the %s has no %s", what, part)
		case len(value) > mostName || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
			return invalid("the %s of the %s, %q, is longer than %d bytes or has characters that no name has", part, what, clip(value), mostName)
		}
	}
	return nil
}

// check refuses a facet without the two fields that all have.
func (f Facets) check(what string) error {
	for name, raw := range f {
		var base struct {
			Producer  *string `json:"_producer"`
			SchemaURL *string `json:"_schemaURL"`
		}
		if err := json.Unmarshal(raw, &base); err != nil || base.Producer == nil || base.SchemaURL == nil {
			return invalid("facet %q of the %s has no _producer or no _schemaURL", clip(name), what)
		}
	}
	return nil
}

func checkURI(field, value string) error {
	if u, err := url.Parse(value); err != nil || value == "" || u.Scheme == "" {
		return invalid("%s %q is not a URI", field, clip(value))
	}
	return nil
}

func invalid(format string, args ...any) error {
	return driftline.Errorf(driftline.Invalid, format, args...).WithHint("the form is that of https://openlineage.io/spec/2-0-2/OpenLineage.json")
}

// clip shortens what a caller sent for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
