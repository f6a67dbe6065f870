package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// guard registers a set of checks of the visits, of which one row breaks one.
func guard(t *testing.T, table string) *driftline.Definitions {
	t.Helper()
	return &driftline.Definitions{Validations: []driftline.Validation{{
		Name: "guard", Table: table, Checks: []driftline.Check{
			{Check: driftline.CheckRows, Min: f(1)},
			{Check: driftline.CheckLength, Column: "city", Max: f(6)},
			{Check: driftline.CheckNulls, Column: "person", Severity: driftline.CheckWarning},
		}}}}
}

func TestAValidationKeepsHowItWent(t *testing.T) {
	env := newVisits(t)
	env.Apply(*guard(t, "view/visits"))
	e := env.Engine
	if status, err := e.Validation("guard"); err != nil || status.Last != nil {
		t.Fatalf("before the first run: %+v, %v", status, err)
	}
	if runs, err := e.ValidationRuns("guard", 0, 5); err != nil || len(runs) != 0 {
		t.Fatalf("%v, %v", runs, err)
	}
	for want := 1; want <= 3; want++ {
		report, err := e.RunValidation(t.Context(), "guard")
		if err != nil {
			t.Fatal(err)
		}
		if report.Run != want || report.Version != 1 || report.Validation != "guard" || report.Passed || report.Failed != 1 || report.Rows != 3 {
			t.Fatalf("run %d: %+v", want, report)
		}
	}
	runs, err := e.ValidationRuns("guard", 3, 5)
	if err != nil || len(runs) != 2 || runs[0].Run != 2 || runs[1].Run != 1 {
		t.Fatalf("runs before the third: %+v, %v", runs, err)
	}
	last, err := e.ValidationRun("guard", 0)
	if err != nil || last.Run != 3 || !strings.Contains(fmt.Sprint(exampleTexts(last)), marker) {
		t.Errorf("the last run shows no examples: %+v, %v", last, err)
	}
	first, err := e.ValidationRun("guard", 1)
	if err != nil || first.Run != 1 || len(exampleTexts(first)) != 0 {
		t.Errorf("the first run still shows examples: %+v, %v", first, err)
	}
	if _, err := e.ValidationRun("guard", 4); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a run that was not: %v", err)
	}
	env.Reopen()
	all, err := env.Engine.Validations()
	if err != nil || len(all) != 1 || all[0].Last == nil || all[0].Last.Run != 3 || all[0].Last.Table != "view/visits" {
		t.Errorf("after a restart: %+v, %v", all, err)
	}
	got, err := sqlText(t, env, "SELECT validation, run, failed FROM meta.validation_runs ORDER BY run")
	if want := "validation run failed\nguard 1 1\nguard 2 1\nguard 3 1"; err != nil || got != want {
		t.Errorf("in SQL:\n%s, %v", got, err)
	}
}

func exampleTexts(report *driftline.ValidationReport) (texts []string) {
	for _, r := range report.Results {
		if r.Examples == nil {
			continue
		}
		for _, row := range r.Examples.Rows {
			for _, value := range row {
				if value != nil {
					texts = append(texts, *value)
				}
			}
		}
	}
	return texts
}

func TestATableThatCannotBeCheckedIsNoRun(t *testing.T) {
	env := newVisits(t)
	env.Apply(*guard(t, "SELECT city, person FROM features.visits WHERE nobody = 1"))
	if _, err := env.Engine.RunValidation(t.Context(), "guard"); err == nil || !strings.Contains(err.Error(), `validation "guard"`) {
		t.Errorf("%v", err)
	}
	if status, err := env.Engine.Validation("guard"); err != nil || status.Last != nil {
		t.Errorf("%+v, %v", status, err)
	}
	if _, err := env.Engine.RunValidation(t.Context(), "gard"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("%v", err)
	}
}

// An erasure forgets rows that a check showed, wherever they came from.
func TestAnErasureForgetsExamples(t *testing.T) {
	for _, table := range []string{"view/visits", "SELECT * FROM features.visits", "dataset/trips"} {
		env := newVisits(t)
		defs := guard(t, table)
		if table == "dataset/trips" {
			defs.Validations[0].Checks = []driftline.Check{{Check: driftline.CheckLength, Column: "guest", Max: f(6)}}
		}
		env.Apply(*defs)
		report, err := env.Engine.RunValidation(t.Context(), "guard")
		if err != nil || !strings.Contains(fmt.Sprint(exampleTexts(report)), marker) {
			t.Fatalf("%s: %+v, %v", table, report, err)
		}
		if _, err := env.Engine.Erase(context.Background(), eraseMarker()); err != nil {
			t.Fatal(err)
		}
		last, err := env.Engine.ValidationRun("guard", 0)
		if err != nil || last.Failed != 1 || len(exampleTexts(last)) != 0 {
			t.Errorf("%s: after the erasure %v, %v", table, exampleTexts(last), err)
		}
	}
}

func TestPresetsOfTheUser(t *testing.T) {
	env := newVisits(t)
	margin := 0.2
	env.Apply(driftline.Definitions{Presets: []driftline.Preset{{
		Name: "coarse", Margin: &margin, Alpha: 0.01, Correction: "by", Exclude: []string{"id"},
		Tests: []driftline.ColumnTest{
			{Types: []driftline.Type{driftline.String}, Test: "psi", Threshold: f(0.3)},
			{Kind: "numeric", Test: "wasserstein"},
			{Columns: []string{"only_elsewhere", "z"}, Test: "cramer_von_mises"},
		}}}})
	side := func(shift float64) driftline.DriftSource {
		return driftline.DriftSource{SQL: fmt.Sprintf(`SELECT i AS id, (i * 37 %% 101) / 101.0 + %g AS x, (i * 53 %% 97) / 97.0 AS z,
			chr(97 + (i %% 5)::INTEGER) AS s, i %% 2 = 0 AS b FROM range(2000) t(i)`, shift)}
	}
	request := driftline.DriftRequest{Reference: side(0), Current: side(0.5)}
	request.Preset = "coarse"
	report, err := env.Engine.Drift(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{}
	for _, c := range report.Columns {
		tests[c.Column] = c.Test
	}
	if fmt.Sprint(tests) != "map[b:chi2 s:psi x:wasserstein z:cramer_von_mises]" {
		t.Errorf("tests %v", tests)
	}
	if report.Preset != "coarse" || report.Base != "driftline" || report.Alpha != 0.01 || report.Margin != 0.2 || report.Correction != "by" || report.Drifted != 1 {
		t.Errorf("%+v", report)
	}
	// What a comparison asks for counts more.
	request.Alpha, request.Tests = 0.1, []driftline.ColumnTest{{Columns: []string{"x"}, Test: "ks"}}
	if report, err = env.Engine.Drift(t.Context(), request); err != nil || report.Alpha != 0.1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if i := slices.IndexFunc(report.Columns, func(c driftline.ColumnDrift) bool { return c.Column == "x" }); report.Columns[i].Test != "ks" {
		t.Errorf("test %q of x", report.Columns[i].Test)
	}
	request.Preset = "corse"
	if _, err := env.Engine.Drift(t.Context(), request); driftline.CodeOf(err) != driftline.NotFound || !strings.Contains(hintOf(err), "coarse") {
		t.Errorf("%v", err)
	}
}

func TestPresetsThatMakeNoSenseAreRefused(t *testing.T) {
	for words, p := range map[string]driftline.Preset{
		`preset "p": test "psy" is not known`:       {Name: "p", Tests: []driftline.ColumnTest{{Test: "psy"}}},
		`preset "p": correction "bonferroni"`:       {Name: "p", Correction: "bonferroni"},
		`type "text"`:                               {Name: "p", Tests: []driftline.ColumnTest{{Types: []driftline.Type{"text"}, Test: "psi"}}},
		`preset "p": alpha is 7`:                    {Name: "p", Alpha: 7},
		`preset "p": test "ks" is none for categor`: {Name: "p", Tests: []driftline.ColumnTest{{Kind: "categorical", Test: "ks"}}},
	} {
		env := newVisits(t)
		_, err := env.Engine.Apply(context.Background(), driftline.Definitions{Presets: []driftline.Preset{p}})
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	_, err := engine.Compare(t.Context(), driftline.Batches{}, driftline.Batches{}, driftline.DriftOptions{Preset: "evidently", Rules: &driftline.Preset{}})
	if driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("a preset and rules: %v", err)
	}
}
