package openlineage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/openlineage"
)

const (
	head  = `"eventTime":"2026-01-02T03:04:05.123Z","producer":"https://example.com","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"`
	run   = `"run":{"runId":"0190b5b2-33ee-7f2c-9f7f-000000000001"}`
	job   = `"job":{"namespace":"airflow","name":"daily"}`
	facet = `{"_producer":"https://example.com","_schemaURL":"https://example.com/x.json"}`
)

func TestEventsOfOtherSystemsAreChecked(t *testing.T) {
	for event, valid := range map[string]bool{
		`{"eventType":"START",` + head + `,` + run + `,` + job + `}`:                                                                                    true,
		`{` + head + `,` + run + `,` + job + `,"unknown":[1]}`:                                                                                          true,
		`{` + head + `,` + job + `,"inputs":[{"namespace":"db","name":"a"}]}`:                                                                           true, // a job event
		`{` + head + `,"dataset":{"namespace":"db","name":"a","facets":{"x":` + facet + `}}}`:                                                           true,
		`{"eventType":"COMPLETE",` + head + `,` + run + `,` + job + `,"outputs":[{"namespace":"db","name":"a@b:/é%"}]}`:                                 true,
		`{"eventType":"DONE",` + head + `,` + run + `,` + job + `}`:                                                                                     false,
		`{` + head + `,"run":{"runId":"7"},` + job + `}`:                                                                                                false,
		`{` + head + `,` + run + `}`:                                                                                                                    false,
		`{` + head + `}`:                                                                                                                                false,
		`{` + head + `,` + job + `,"dataset":{"namespace":"db","name":"a"}}`:                                                                            false,
		`{` + run + `,` + job + `}`:                                                                                                                     false,
		`{` + strings.Replace(head, "2026-01-02T03:04:05.123Z", "yesterday", 1) + `,` + run + `,` + job + `}`:                                           false,
		`{` + strings.Replace(head, "https://example.com", "nobody", 1) + `,` + run + `,` + job + `}`:                                                   false,
		`{` + head + `,` + run + `,"job":{"namespace":"","name":"daily"}}`:                                                                              false,
		`{` + head + `,` + run + `,"job":{"namespace":"airflow","name":"a\u0000b"}}`:                                                                    false,
		`{` + head + `,` + run + `,"job":{"namespace":"airflow","name":"` + strings.Repeat("n", 2000) + `"}}`:                                           false,
		`{` + head + `,` + run + `,` + job + `,"inputs":[{"namespace":"db"}]}`:                                                                          false,
		`{` + head + `,` + run + `,` + job + `,"outputs":[{"namespace":"db","name":"a","outputFacets":{"x":{}}}]}`:                                      false,
		`{` + head + `,` + run + `,` + job + `,"inputs":[` + strings.Repeat(`{"namespace":"db","name":"a"},`, 1000) + `{"namespace":"db","name":"a"}]}`: false,
		`{` + head + `,` + run + `,` + job + `,"inputs":"all"}`:                                                                                         false,
		`[]`:    false,
		`"no"`:  false,
		`{`:     false,
		``:      false,
		"\xff{": false,
	} {
		parsed, err := openlineage.Parse([]byte(event))
		switch {
		case valid && err != nil:
			t.Errorf("%.200s: %v", event, err)
		case !valid && (err == nil || driftline.CodeOf(err) != driftline.Invalid):
			t.Errorf("%.200s is taken as %+v, %v", event, parsed, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"eventType":"START",` + head + `,` + run + `,` + job + `}`)
	f.Fuzz(func(t *testing.T, event string) {
		if e, err := openlineage.Parse([]byte(event)); err == nil && e.Job == nil && e.Dataset == nil {
			t.Error("an event about nothing is taken")
		}
	})
}

// What is said of a dataset is read as it was written.
func TestFacetsAreReadAsWritten(t *testing.T) {
	d := openlineage.Dataset{Namespace: "a", Name: "b"}
	d.SetVersion("7")
	d.SetWritten(12, 0, 0)
	d.SetColumnLineage(map[string][]openlineage.InputField{"x": {{Namespace: "n", Name: "t", Field: "f"}}})
	rows, ok := d.Rows()
	if from := d.ColumnLineage()["x"]; d.Version() != "7" || rows != 12 || !ok || len(from) != 1 || from[0].Field != "f" {
		t.Errorf("dataset is %+v", d)
	}
	if nothing := (openlineage.Dataset{}); nothing.Version() != "" || nothing.ColumnLineage() != nil {
		t.Error("a dataset of which nothing is said has a version or columns")
	}
}

func TestRunsKeepTheirUUIDs(t *testing.T) {
	if got := openlineage.RunID("0123456789abcdef0123456789abcdef"); got != "01234567-89ab-cdef-0123-456789abcdef" {
		t.Errorf("the id of a run of MLflow is %s", got)
	}
	a, b := openlineage.RunID("late-1"), openlineage.RunID("late-2")
	e := openlineage.RunEvent(openlineage.Start, time.Unix(0, 0), a, "n", "j", "TRAINING")
	if a == b || a != openlineage.RunID("late-1") || len(a) != 36 || a[14] != '5' || e.Run.ID != a {
		t.Errorf("ids are %s and %s", a, b)
	}
}

func TestAddressesOfReceivers(t *testing.T) {
	for address, valid := range map[string]bool{
		"http://127.0.0.1:5000": true, "https://lineage.example/ns/api/v1/lineage?x=1": true, "file:/tmp/events": true,
		"file:": false, "ftp://x": false, "127.0.0.1:5000": false, "http://user:secret@host": false, "http://": false,
	} {
		_, err := openlineage.Open(openlineage.Settings{URL: address})
		if (err == nil) != valid {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error says a secret: %v", err)
		}
	}
	if sink, err := openlineage.Open(openlineage.Settings{}); sink != nil || err != nil {
		t.Errorf("without an address there is a sink %v, %v", sink, err)
	}
}
