package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// nightly is a run of a job elsewhere that makes the weather of what a database has.
func nightly(t *testing.T, run, state string) registry.ReceivedJob {
	rows := int64(9)
	return registry.ReceivedJob{
		Job: ref(t, "job/airflow/nightly"), Run: run, State: state, At: time.Date(2026, 3, 1, 0, 0, len(run), 0, time.UTC), Producer: "https://example.com",
		Inputs: []driftline.Ref{ref(t, "table/postgres://db/stations"), ref(t, "table/postgres://db/stations")},
		Outputs: []registry.ReceivedTable{{Ref: driftline.ViewRef("weather"), Version: "3", Rows: &rows,
			Columns: map[string][]driftline.Ref{"temp": {driftline.ColumnRef("postgres://db/stations", "celsius")}}}},
	}
}

// What another system says of its jobs and tables is part of the one lineage.
func TestLineageGoesOnInOtherSystems(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	story(t, r)
	for _, step := range []struct {
		run, state string
		recorded   bool
	}{{"r", "START", true}, {"r", "RUNNING", false}, {"r", "COMPLETE", true}, {"r", "COMPLETE", false}, {"r2", "FAIL", true}} {
		recorded, err := r.Receive(nightly(t, step.run, step.state))
		if err != nil || recorded != step.recorded {
			t.Errorf("%s of %s: recorded %t, %v, want %t", step.state, step.run, recorded, err, step.recorded)
		}
	}
	check := func(r *registry.Registry) {
		t.Helper()
		lineage, err := r.Lineage(ref(t, "model/late@champion"), driftline.Up, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"job/airflow/nightly producer=https://example.com run=r2 runs=2 status=FAIL told=2026-03-01T00:00:02Z\n",
			"table/postgres://db/stations ", "view/weather -written by-> job/airflow/nightly\n", "job/airflow/nightly -read-> table/postgres://db/stations\n",
		} {
			if got := draw(lineage); !strings.Contains(got, want) {
				t.Errorf("lineage has no %q:\n%s", want, got)
			}
		}
		down, err := r.Lineage(ref(t, "column/postgres://db/stations:celsius"), driftline.Down, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := draw(down); !strings.Contains(got, "feature/weather:temp -stored in-> column/features.weather:temp\n") || !strings.Contains(got, "model/late@1") {
			t.Errorf("the column of the database does not lead to the model:\n%s", got)
		}
	}
	check(r)
	again, err := registry.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(again)
	if _, err := r.Lineage(ref(t, "job/airflow/nightli"), driftline.Up, 0); err == nil || !strings.Contains(err.Error(), "airflow/nightly") {
		t.Errorf("an unknown job is %v", err)
	}
}

// An alias is a thing that was made: of the version that it points at, and of its evidence.
func TestAliasesAreInLineage(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	edges := func(from string) string {
		lineage, err := r.Lineage(ref(t, from), driftline.Up, 1)
		if err != nil {
			return string(driftline.CodeOf(err))
		}
		var lines []string
		for _, e := range lineage.Edges {
			lines = append(lines, e.Kind+" "+e.To.String())
		}
		return strings.Join(lines, ", ")
	}
	if got := edges("alias/late:champion"); got != "points at model/late@1" {
		t.Errorf("champion: %s", got)
	}
	must(t)(r.MoveAlias("late", "challenger", driftline.AliasMove{Version: 1, Evidence: []driftline.Ref{ref(t, "dataset/late@1")}}))
	if got := edges("alias/late:challenger"); got != "points at model/late@1, decided on dataset/late@1" {
		t.Errorf("challenger: %s", got)
	}
	must(t)(r.RenameModel("late", "later", ""))
	if got := edges("alias/later:challenger"); got != "points at model/later@1, decided on dataset/late@1" {
		t.Errorf("challenger of the renamed model: %s", got)
	}
	must(t)(r.MoveAlias("later", "challenger", driftline.AliasMove{}))
	if got := edges("alias/later:challenger"); got != "not_found" {
		t.Errorf("an alias that was taken away: %s", got)
	}
	down, err := r.Lineage(ref(t, "model/later@1"), driftline.Down, 0)
	if err != nil || !strings.Contains(draw(down), "alias/later:champion") || strings.Contains(draw(down), "challenger") {
		t.Errorf("what was made of the version: %v\n%s", err, draw(down))
	}
}

// The lineage of columns is kept until a definition, a dataset or another system changes it.
func TestLineageOfColumnsFollowsDefinitions(t *testing.T) {
	r := openFlights(t)
	before := len(r.ColumnEdges())
	definitions := flights()
	for i := range definitions.FeatureViews {
		if v := &definitions.FeatureViews[i]; v.Name == "weather" {
			v.Features = append(v.Features, driftline.Field{Name: "dew", Type: driftline.Float64})
		}
	}
	must(t)(r.Apply(definitions))
	if after := len(r.ColumnEdges()); after <= before {
		t.Errorf("%d edges of columns, then %d; want more", before, after)
	}
	if _, err := r.Lineage(ref(t, "feature/weather:dew"), driftline.Up, 0); err != nil {
		t.Error(err)
	}
}
