package registry_test

import (
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// gate is a set of checks of flights that can be applied.
func gate() driftline.Validation {
	most := 0.1
	return driftline.Validation{
		Kind: driftline.KindOfChecks, Name: "weather", Table: "view/weather",
		Checks: []driftline.Check{{Check: driftline.CheckNulls, Column: "temp", Max: &most}, {Check: driftline.CheckUnique, Column: "airport"}},
	}
}

func TestAValidationHasVersions(t *testing.T) {
	r := openFlights(t)
	defs := driftline.Definitions{Validations: []driftline.Validation{gate()}}
	changes, err := r.Apply(defs)
	if err != nil || describe(changes) != "create validation/weather@1\n" {
		t.Fatalf("%v, %v", describe(changes), err)
	}
	if changes, err = r.Apply(defs); err != nil || changes[0].Action != driftline.ChangeNone {
		t.Fatalf("again: %v, %v", describe(changes), err)
	}
	defs.Validations[0].Checks = []driftline.Check{{Check: driftline.CheckUnique, Column: "airport", Severity: driftline.CheckWarning}}
	changes, err = r.Apply(defs)
	want := "update validation/weather@2 checks: - temp is null in at most 10 %, checks: - airport is unique, checks: + airport is unique (warning)\n"
	if err != nil || describe(changes) != want {
		t.Fatalf("%v, %v", describe(changes), err)
	}
	versions, err := r.ValidationVersions("weather")
	if err != nil || len(versions) != 2 || len(versions[0].Checks) != 2 || !versions[1].Created.Equal(versions[0].Created) {
		t.Errorf("%+v, %v", versions, err)
	}
	lineage, err := r.Lineage(driftline.ValidationRef("weather", 0), driftline.Up, 1)
	if err != nil || lineage.Root != driftline.ValidationRef("weather", 2) || len(lineage.Edges) != 1 || lineage.Edges[0].Kind != "checks" {
		t.Errorf("%+v, %v", lineage, err)
	}
}

func TestRunsOfAValidationAreCounted(t *testing.T) {
	r := openFlights(t)
	must(t)(r.Apply(driftline.Definitions{Validations: []driftline.Validation{gate()}}))
	if _, ok := r.LastValidationRun("weather"); ok {
		t.Error("it was never checked")
	}
	for want := 1; want <= 2; want++ {
		tx := r.Begin()
		run := driftline.ValidationRun{Validation: "weather", Version: 1, Table: "SELECT 'a secret'", Rows: 7, Checks: 2, Failed: want - 1}
		if err := tx.AddValidationRun(&run, []driftline.Ref{driftline.ViewRef("weather")}); err != nil || run.Run != want {
			t.Fatalf("run %d: %+v, %v", want, run, err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	last, ok := r.LastValidationRun("weather")
	if !ok || last.Run != 2 || last.Failed != 1 || last.Rows != 7 {
		t.Errorf("%+v", last)
	}
	for line, err := range r.Lines(1) {
		if err != nil || strings.Contains(string(line.Body), "secret") {
			t.Errorf("the ledger keeps the text of a table: %s, %v", line.Body, err)
		}
	}
	tx := r.Begin()
	defer tx.Discard()
	if err := tx.AddValidationRun(&driftline.ValidationRun{Validation: "wether"}, nil); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a run of a set that nobody registered: %v", err)
	}
}

func TestValidationsThatCanNeverRunAreRefused(t *testing.T) {
	r := openFlights(t)
	for words, change := range map[string]func(*driftline.Validation){
		"validation name":                 func(v *driftline.Validation) { v.Name = "Weather" },
		"table is missing":                func(v *driftline.Validation) { v.Table = "" },
		`"weather.csv" is no table`:       func(v *driftline.Validation) { v.Table = "weather.csv" },
		`"wether" does not exist`:         func(v *driftline.Validation) { v.Table = "view/wether" },
		`dataset "spring" does not exist`: func(v *driftline.Validation) { v.Table = "dataset/spring@1" },
		"no checks":                       func(v *driftline.Validation) { v.Checks = nil },
		"check 1 (mean): min or max":      func(v *driftline.Validation) { v.Checks = []driftline.Check{{Check: "mean", Column: "temp"}} },
		`the kind of the checks is "monitor"`: func(v *driftline.Validation) {
			v.Kind = "monitor"
		},
	} {
		v := gate()
		change(&v)
		_, err := r.Apply(driftline.Definitions{Validations: []driftline.Validation{v}})
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	if len(r.Validations()) != 0 {
		t.Error("something was registered")
	}
}

// rules is a preset that can be applied.
func rules() driftline.Preset {
	margin := 0.05
	return driftline.Preset{Name: "payments", Margin: &margin, Tests: []driftline.ColumnTest{{Types: []driftline.Type{driftline.String}, Test: "psi"}}}
}

func TestAPresetHasVersionsAndMonitorsNameThem(t *testing.T) {
	r := openFlights(t)
	m := watched()
	m.Tests.Preset = "payments"
	defs := driftline.Definitions{Presets: []driftline.Preset{rules()}, Monitors: []driftline.Monitor{m}}
	changes, err := r.Apply(defs)
	if err != nil || describe(changes) != "create preset/payments@1\ncreate monitor/weather_daily@1\n" {
		t.Fatalf("%v, %v", describe(changes), err)
	}
	defs.Presets[0].Base = driftline.PresetEvidently
	changes, err = r.Apply(driftline.Definitions{Presets: defs.Presets})
	if err != nil || describe(changes) != "update preset/payments@2 base: + evidently\n" {
		t.Fatalf("%v, %v", describe(changes), err)
	}
	p, err := r.Preset("payments")
	if err != nil || p.Version != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	lineage, err := r.Lineage(driftline.MonitorRef("weather_daily", 0), driftline.Up, 1)
	if err != nil || len(lineage.Edges) != 2 {
		t.Errorf("%+v, %v", lineage, err)
	}
	for words, change := range map[string]func(*driftline.Preset){
		"is built in":  func(p *driftline.Preset) { p.Name = "evidently" },
		"preset name":  func(p *driftline.Preset) { p.Name = "Pay" },
		`base "paymen`: func(p *driftline.Preset) { p.Base = "payments" },
		"description":  func(p *driftline.Preset) { p.Description = strings.Repeat("x", 1<<20) },
	} {
		p := rules()
		change(&p)
		if _, err := r.Apply(driftline.Definitions{Presets: []driftline.Preset{p}}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	m.Tests.Preset = "paymnts"
	if _, err := r.Apply(driftline.Definitions{Monitors: []driftline.Monitor{m}}); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a monitor by a preset that is not there: %v", err)
	}
}
