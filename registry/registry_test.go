package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is where every test's clock stands still unless it is moved.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *registry.Registry {
	t.Helper()
	r, _ := openWithKeys(t)
	return r
}

func openWithKeys(t *testing.T) (*registry.Registry, *kv.DB) {
	t.Helper()
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return reopen(t, db), db
}

func reopen(t *testing.T, db *kv.DB) *registry.Registry {
	t.Helper()
	r, err := registry.Open(db, &registry.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// flights are definitions that the tests begin with.
func flights() driftline.Definitions {
	return driftline.Definitions{
		Entities: []driftline.Entity{
			{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}},
			{Name: "carrier", JoinKeys: []driftline.Field{{Name: "carrier", Type: driftline.String}}},
		},
		FeatureViews: []driftline.FeatureView{{
			Name: "weather", Entities: []driftline.EntityName{"airport"},
			Features:         []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "wind", Type: driftline.Float64}},
			CreatedTimestamp: "created",
			TTL:              driftline.Duration(3 * time.Hour),
		}, {
			Name: "carrier_performance", Entities: []driftline.EntityName{"carrier"},
			Features: []driftline.Field{{Name: "mean_delay", Type: driftline.Float64}},
		}},
		FeatureServices: []driftline.FeatureService{{
			Name:        "delay_model",
			Projections: []driftline.Projection{{View: "weather"}, {View: "carrier_performance", Features: []string{"mean_delay"}}},
		}},
	}
}

func openFlights(t *testing.T) *registry.Registry {
	t.Helper()
	r := open(t)
	must(t)(r.Apply(flights()))
	return r
}

// must fails the test on an error of a call whose value does not matter.
func must(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantError fails unless err has the code and its text, hint included, holds each of words.
func wantError(t *testing.T, err error, code driftline.Code, words ...string) {
	t.Helper()
	if driftline.CodeOf(err) != code {
		t.Fatalf("error is %v (%s), want %s", err, driftline.CodeOf(err), code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func TestApplyIsIdempotentAndPlanAgreesWithIt(t *testing.T) {
	r := open(t)
	planned, err := r.Plan(flights())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Views()) != 0 || r.Newest().Sequence != 0 {
		t.Fatal("Plan changed the catalogue")
	}
	applied, err := r.Apply(flights())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(planned) != fmt.Sprint(applied) {
		t.Errorf("planned %v, applied %v", planned, applied)
	}
	if got := describe(applied); got != "create entity/airport\ncreate entity/carrier\ncreate view/weather\ncreate view/carrier_performance\ncreate service/delay_model\n" {
		t.Errorf("first apply:\n%s", got)
	}
	before := r.Newest()
	again, err := r.Apply(flights())
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range again {
		if change.Action != driftline.ChangeNone {
			t.Errorf("second apply: %v", change)
		}
	}
	if r.Newest() != before {
		t.Error("an apply that changes nothing wrote a line")
	}
}

func describe(changes []driftline.Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&b, strings.TrimSpace(c.Action+" "+c.Ref.String()+" "+strings.Join(c.Fields, ", ")))
	}
	return b.String()
}

func TestRegisteredViewKnowsItsKeysAndTimes(t *testing.T) {
	view, err := openFlights(t).View("weather")
	if err != nil {
		t.Fatal(err)
	}
	if got := view.Schema().String(); !strings.Contains(got, "airport: type=utf8") || !strings.Contains(got, "event_timestamp: type=timestamp[us, tz=UTC]") {
		t.Errorf("schema is\n%s", got)
	}
	service, err := openFlights(t).Service("delay_model")
	if err != nil {
		t.Fatal(err)
	}
	if got := service.Projections[0].Features; !slices.Equal(got, []string{"temp", "wind"}) {
		t.Errorf("features of the service are %v: a service spells them out", got)
	}
}

func TestCompatibleChangesAreSaidInWords(t *testing.T) {
	r := openFlights(t)
	next := flights()
	view := &next.FeatureViews[0]
	view.TTL = driftline.Duration(6 * time.Hour)
	view.Description = "hourly"
	view.Tags = map[string]string{"team": "ops"}
	view.Features = []driftline.Field{{Name: "humid", Type: "double"}, {Name: "wind", Type: "float64"}, {Name: "temp", Type: "Float64"}}
	changes, err := r.Apply(next)
	if err != nil {
		t.Fatal(err)
	}
	want := `none entity/airport
none entity/carrier
update view/weather features: + humid float64, ttl: 3h0m0s → 6h0m0s, description: + hourly, tags.team: + ops
none view/carrier_performance
update service/delay_model projections: weather(temp, wind); carrier_performance(mean_delay) → weather(temp, wind, humid); carrier_performance(mean_delay)
`
	if got := describe(changes); got != want {
		t.Errorf("changes are\n%swant\n%s", got, want)
	}
	registered, _ := r.View("weather")
	if got := registered.FeatureNames(); !slices.Equal(got, []string{"temp", "wind", "humid"}) {
		t.Errorf("features are %v: old ones keep their place", got)
	}
}

func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*driftline.Definitions)
		code   driftline.Code
		says   []string
	}{
		{"entity name", func(d *driftline.Definitions) { d.Entities[0].Name = "Airport" }, driftline.Invalid, []string{"entity", "Airport"}},
		{"no join key", func(d *driftline.Definitions) { d.Entities[0].JoinKeys = nil }, driftline.Invalid, []string{`"airport" has no join key`}},
		{"fraction as key", func(d *driftline.Definitions) { d.Entities[1].JoinKeys[0].Type = "double" }, driftline.Invalid, []string{"carrier", "float64"}},
		{"key twice", func(d *driftline.Definitions) {
			d.Entities[0].JoinKeys = append(d.Entities[0].JoinKeys, driftline.Field{Name: "AIRPORT", Type: "string"})
		}, driftline.Invalid, []string{"AIRPORT", "airport"}},
		{"defined twice", func(d *driftline.Definitions) { d.Entities[1].Name = "airport" }, driftline.Invalid, []string{"entity/airport is defined twice"}},
		{"unknown entity", func(d *driftline.Definitions) { d.FeatureViews[0].Entities[0] = "airprot" }, driftline.NotFound, []string{`feature view "weather"`, `did you mean "airport"?`}},
		{"entity twice", func(d *driftline.Definitions) {
			d.FeatureViews[0].Entities = []driftline.EntityName{"airport", "airport"}
		}, driftline.Invalid, []string{"listed twice"}},
		{"no features", func(d *driftline.Definitions) { d.FeatureViews[0].Features = nil }, driftline.Invalid, []string{`"weather"`, "no features"}},
		{"unknown type", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Type = "flaot64" }, driftline.NotFound, []string{"temp", `did you mean "float64"?`}},
		{"feature name", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Name = "__sequence" }, driftline.Invalid, []string{"__sequence"}},
		{"features differ by case", func(d *driftline.Definitions) { d.FeatureViews[0].Features[1].Name = "TEMP" }, driftline.Invalid, []string{"TEMP", "feature temp"}},
		{"feature is a key", func(d *driftline.Definitions) { d.FeatureViews[0].Features[1].Name = "airport" }, driftline.Invalid, []string{"join key airport"}},
		{"feature is a time", func(d *driftline.Definitions) { d.FeatureViews[0].Features[1].Name = "event_timestamp" }, driftline.Invalid, []string{"event timestamp"}},
		{"created is event", func(d *driftline.Definitions) { d.FeatureViews[0].CreatedTimestamp = "Event_Timestamp" }, driftline.Invalid, []string{"created timestamp"}},
		{"known_at without created", func(d *driftline.Definitions) { d.FeatureViews[1].KnownAt = true }, driftline.Invalid, []string{"known_at", "created_timestamp"}},
		{"negative ttl", func(d *driftline.Definitions) { d.FeatureViews[0].TTL = -1 }, driftline.Invalid, []string{"ttl"}},
		{"text is not UTF-8", func(d *driftline.Definitions) { d.FeatureViews[0].Description = "\xff" }, driftline.Invalid, []string{"UTF-8"}},
		{"service of unknown view", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].View = "wether" }, driftline.NotFound, []string{"delay_model", `did you mean "weather"?`}},
		{"service of unknown feature", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].Features = []string{"tmep"} }, driftline.NotFound, []string{"weather", `did you mean "temp"?`}},
		{"service without features", func(d *driftline.Definitions) { d.FeatureServices[0].Projections = nil }, driftline.Invalid, []string{"delay_model"}},
		{"view twice without roles", func(d *driftline.Definitions) {
			d.FeatureServices[0].Projections[1] = driftline.Projection{View: "weather"}
		}, driftline.Invalid, []string{"used twice", "role"}},
		{"role is another view", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].Role = "carrier_performance" }, driftline.Invalid, []string{"both used"}},
		{"key map of unknown key", func(d *driftline.Definitions) {
			d.FeatureServices[0].Projections[0].JoinKeyMap = map[string]string{"airpot": "origin"}
		}, driftline.NotFound, []string{`did you mean "airport"?`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := open(t)
			definitions := flights()
			test.change(&definitions)
			_, err := r.Apply(definitions)
			wantError(t, err, test.code, test.says...)
			_, planErr := r.Plan(definitions)
			if fmt.Sprint(planErr) != fmt.Sprint(err) {
				t.Errorf("Plan says %v, Apply says %v", planErr, err)
			}
			if r.Newest().Sequence != 0 || len(r.Entities()) != 0 {
				t.Error("a refused apply left something behind")
			}
		})
	}
}

func TestApplyRefusesToBreakWhatIsStored(t *testing.T) {
	tests := []struct {
		name   string
		change func(*driftline.Definitions)
		says   []string
	}{
		{"drop", func(d *driftline.Definitions) { d.FeatureViews[0].Features = d.FeatureViews[0].Features[:1] }, []string{`feature "wind" cannot be dropped`, "weather_v2"}},
		{"retype", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Type = "int64" }, []string{"from float64 to int64", "weather_v2"}},
		{"keys", func(d *driftline.Definitions) { d.FeatureViews[0].Entities[0] = "carrier" }, []string{"join keys", "weather_v2"}},
		{"event timestamp", func(d *driftline.Definitions) { d.FeatureViews[0].EventTimestamp = "hour" }, []string{"event timestamp", "hour"}},
		{"created timestamp", func(d *driftline.Definitions) { d.FeatureViews[0].CreatedTimestamp = "" }, []string{"created timestamp"}},
		{"entity in use", func(d *driftline.Definitions) { d.Entities[0].JoinKeys[0].Type = "int64" }, []string{`entity "airport"`, `"weather" has rows`, "airport_v2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := openFlights(t)
			before := r.Newest()
			next := flights()
			next.FeatureServices = nil
			test.change(&next)
			_, err := r.Apply(next)
			wantError(t, err, driftline.FailedPrecondition, test.says...)
			if r.Newest() != before {
				t.Error("a refused apply wrote a line")
			}
		})
	}
}

func TestResolve(t *testing.T) {
	r := openFlights(t)
	resolved, err := r.Resolve(driftline.FeatureSet{Features: []string{"weather:wind", "carrier_performance:mean_delay", "weather:temp"}})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, one := range resolved {
		got += fmt.Sprintf("%s%v ", one.View.Name, one.Features)
	}
	if got != "weather[wind temp] carrier_performance[mean_delay] " {
		t.Errorf("resolved %s", got)
	}
	tests := []struct {
		name string
		set  driftline.FeatureSet
		code driftline.Code
		says string
	}{
		{"nothing", driftline.FeatureSet{}, driftline.Invalid, "no features"},
		{"both", driftline.FeatureSet{Service: "delay_model", Features: []string{"weather:temp"}}, driftline.Invalid, "one or the other"},
		{"service", driftline.FeatureSet{Service: "delay_modle"}, driftline.NotFound, `"delay_model"`},
		{"view", driftline.FeatureSet{Features: []string{"wether:temp"}}, driftline.NotFound, `"weather"`},
		{"feature", driftline.FeatureSet{Features: []string{"weather:tmp"}}, driftline.NotFound, `"temp"`},
		{"twice", driftline.FeatureSet{Features: []string{"weather:temp", "weather:temp"}}, driftline.Invalid, "twice"},
		{"form", driftline.FeatureSet{Features: []string{"temp"}}, driftline.Invalid, "view:feature"},
		{"roles", driftline.FeatureSet{Projections: []driftline.Projection{{View: "weather", Role: "a"}, {View: "weather", Role: "a"}}}, driftline.Invalid, "role"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := r.Resolve(test.set)
			wantError(t, err, test.code, test.says)
		})
	}
	roles := driftline.FeatureSet{Projections: []driftline.Projection{
		{View: "weather", Role: "origin", JoinKeyMap: map[string]string{"airport": "origin"}},
		{View: "weather", Role: "destination", JoinKeyMap: map[string]string{"airport": "dest"}},
	}}
	if resolved, err := r.Resolve(roles); err != nil || len(resolved) != 2 {
		t.Errorf("one view in two roles: %v, %v", resolved, err)
	}
}

func TestRunsAreNumberedByExperiment(t *testing.T) {
	r := open(t)
	var ids []string
	for _, experiment := range []driftline.ExperimentName{"Late Departure", "late departure", "Late Departure", "überflug 2", "a.b", "..a"} {
		run, err := r.CreateRun(driftline.RunSpec{Experiment: experiment})
		if err != nil {
			ids = append(ids, string(driftline.CodeOf(err)))
			continue
		}
		ids = append(ids, string(run.ID))
	}
	want := []string{"late-departure-1", "late-departure-2", "late-departure-3", "überflug-2-1", "a-b-1", "invalid"}
	if !slices.Equal(ids, want) {
		t.Errorf("ids are %v, want %v", ids, want)
	}
	runs, err := r.Runs("Late Departure")
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || runs[0].ID != "late-departure-3" || runs[1].ID != "late-departure-1" {
		t.Errorf("runs of the experiment are %v, want 3 and 1, newest first", runs)
	}
	_, err = r.Runs("Late Departur")
	wantError(t, err, driftline.NotFound, `did you mean "Late Departure"?`)
}

func TestParamsAreSetOnceAndLogsAreAllOrNothing(t *testing.T) {
	r := open(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Params: map[string]string{"lr": "0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	before := r.Newest()
	must(t)(r.LogRun(run.ID, driftline.RunLog{Params: map[string]string{"lr": "0.1"}}))
	if r.Newest() != before {
		t.Error("the same value again wrote a line")
	}
	_, err = r.LogRun(run.ID, driftline.RunLog{
		Params:  map[string]string{"depth": "3", "lr": "0.2"},
		Tags:    map[string]string{"note": "x"},
		Metrics: []driftline.Metric{{Key: "auc", Value: 1}},
	})
	wantError(t, err, driftline.Conflict, `param "lr" is "0.1"`, `"0.2"`)
	got, err := r.Run(run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Params) != 1 || got.Tags != nil || got.Metrics != nil {
		t.Errorf("a refused log left %v %v %v", got.Params, got.Tags, got.Metrics)
	}
	logged, err := r.LogRun(run.ID, driftline.RunLog{Params: map[string]string{"depth": "3"}, Tags: map[string]string{"note": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if logged.Params["depth"] != "3" || logged.Params["lr"] != "0.1" || logged.Tags["note"] != "x" {
		t.Errorf("run is %+v", logged)
	}
}

func TestFinishedRunsDoNotChange(t *testing.T) {
	r := open(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.FinishRun(run.ID, driftline.RunRunning)
	wantError(t, err, driftline.Invalid, "RUNNING", "FINISHED")
	must(t)(r.FinishRun(run.ID, driftline.RunFinished))
	again, err := r.FinishRun(run.ID, driftline.RunFinished)
	if err != nil || again.Status != driftline.RunFinished || !again.Ended.Equal(noon) {
		t.Errorf("finishing twice: %+v, %v", again, err)
	}
	_, err = r.FinishRun(run.ID, driftline.RunFailed)
	wantError(t, err, driftline.FailedPrecondition, "FINISHED since 2026-03-01T12:00:00Z")
	_, err = r.LogRun(run.ID, driftline.RunLog{Metrics: []driftline.Metric{{Key: "auc", Value: 1}}})
	wantError(t, err, driftline.FailedPrecondition, "FINISHED")
	err = r.AddArtifact(run.ID, artifact("model.bin", 1))
	wantError(t, err, driftline.FailedPrecondition, "FINISHED")
	_, err = r.Run("e-2")
	wantError(t, err, driftline.NotFound, `did you mean "e-1"?`)
	if history := collect(t, r, run.ID, "auc"); history != nil {
		t.Errorf("refused points were kept: %v", history)
	}
}

func collect(t *testing.T, r *registry.Registry, id driftline.RunID, metric string) []driftline.Metric {
	t.Helper()
	var history []driftline.Metric
	for m, err := range r.Metrics(id, metric) {
		if driftline.CodeOf(err) == driftline.NotFound {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, m)
	}
	return history
}

func artifact(path string, content byte) driftline.Artifact {
	return driftline.Artifact{Path: path, Size: 1, SHA256: strings.Repeat(fmt.Sprintf("%02x", content), 32)}
}

func TestMetricHistoryIsOrderedExactAndIdempotent(t *testing.T) {
	r, db := openWithKeys(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	number := func(f float64) driftline.Number { return driftline.Number(f) }
	log := driftline.RunLog{Metrics: []driftline.Metric{
		{Key: "loss", Value: number(math.NaN()), Step: 3},
		{Key: "loss", Value: 0.5, Step: 1},
		{Key: "loss", Value: number(math.Inf(-1)), Step: 2},
		{Key: "loss", Value: number(math.Copysign(0, -1)), Step: math.MinInt64},
		{Key: "loss", Value: 7, Step: 1, Time: noon.Add(-time.Hour)},
		{Key: "loss\x7f", Value: 1}, // refused below, then removed
		{Key: "loss/val", Value: 9},
	}}
	_, err = r.LogRun(run.ID, log)
	wantError(t, err, driftline.Invalid, "metric key")
	log.Metrics = slices.Delete(log.Metrics, 5, 6)
	for range 2 { // a retry changes nothing
		must(t)(r.LogRun(run.ID, log))
	}
	want := "-9223372036854775808:-0 1:7 1:0.5 2:-Inf 3:NaN "
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		got := ""
		for _, m := range collect(t, r, run.ID, "loss") {
			got += fmt.Sprintf("%d:%v ", m.Step, m.Value)
		}
		if got != want {
			t.Errorf("history is %s want %s", got, want)
		}
		last, err := r.Run(run.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !math.IsNaN(float64(last.Metrics["loss"])) || last.Metrics["loss/val"] != 9 || len(last.Metrics) != 2 {
			t.Errorf("last values are %v", last.Metrics)
		}
	}
	for _, err := range r.Metrics(run.ID, "los") {
		wantError(t, err, driftline.NotFound, `did you mean "loss"?`)
	}
}

func TestArtifactPaths(t *testing.T) {
	for _, path := range []string{"model.joblib", "model/model.joblib", "ünïcode/Größe 1.png", "a..b/...", "%2e%2e/x", "C:windows", strings.Repeat("a", 500)} {
		if err := registry.CheckArtifactPath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{
		"", ".", "..", "../x", "a/../b", "a/..", "/etc/passwd", "//etc", "a//b", "a/", "./a", `a\b`, `..\x`,
		"a\x00b", "a\nb", "a\u0085b", "\xff", strings.Repeat("a", 501),
	} {
		wantError(t, registry.CheckArtifactPath(path), driftline.Invalid, "artifact path")
	}
}

func TestArtifactsAreReplacedByPath(t *testing.T) {
	r := open(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []driftline.Artifact{artifact("b", 1), artifact("a", 2), artifact("b", 3), artifact("b", 3)} {
		if err := r.AddArtifact(run.ID, a); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := r.Run(run.ID)
	if want := []driftline.Artifact{artifact("a", 2), artifact("b", 3)}; !slices.Equal(got.Artifacts, want) {
		t.Errorf("artifacts are %v, want %v", got.Artifacts, want)
	}
	bad := artifact("a", 2)
	bad.SHA256 = strings.ToUpper(strings.Repeat("ab", 32))
	wantError(t, r.AddArtifact(run.ID, bad), driftline.Invalid, "sha256")
}

// trained returns a registry in which run e-1 has logged model.bin.
func trained(t *testing.T) *registry.Registry {
	t.Helper()
	r := openFlights(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	if err := r.AddArtifact("e-1", artifact("model.bin", 1)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestModelVersionsAndAliases(t *testing.T) {
	r := trained(t)
	_, err := r.ModelVersion("late", "")
	wantError(t, err, driftline.NotFound, "none yet")
	spec := driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}
	for want := 1; want <= 3; want++ {
		version, err := r.RegisterModel(spec)
		if err != nil || version.Version != want || version.Artifact != artifact("model.bin", 1) || !version.Created.Equal(noon) {
			t.Fatalf("version %+v, %v, want number %d", version, err, want)
		}
	}
	_, err = r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "modle.bin"})
	wantError(t, err, driftline.NotFound, `did you mean "model.bin"?`)
	_, err = r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-9", Artifact: "model.bin"})
	wantError(t, err, driftline.NotFound, `"e-9"`)

	nowhere, one := 0, 1
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1, Expect: &nowhere, Reason: "first"}))
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2, Expect: &nowhere})
	wantError(t, err, driftline.Conflict, "is at version 1, not at no version")
	moved, err := r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2, Expect: &one, Reason: "better"})
	if err != nil || moved.Version != 2 || !slices.Equal(moved.Aliases, []driftline.Alias{"champion"}) {
		t.Fatalf("moved to %+v, %v", moved, err)
	}
	before := r.Newest()
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2}))
	if r.Newest() != before {
		t.Error("moving an alias to where it is wrote a line")
	}
	for selector, want := range map[string]int{"": 3, "1": 1, "champion": 2} {
		version, err := r.ModelVersion("late", selector)
		if err != nil || version.Version != want {
			t.Errorf("selector %q gives %v, %v, want %d", selector, version, err, want)
		}
	}
	for selector, says := range map[string]string{"champoin": `did you mean "champion"?`, "4": "1 to 3", "0": "1 to 3", "-1": "1 to 3"} {
		_, err := r.ModelVersion("late", selector)
		wantError(t, err, driftline.NotFound, says)
	}
	for _, alias := range []driftline.Alias{"", "latest", "V3", "7", "a@b", "a/b"} {
		_, err := r.MoveAlias("late", alias, driftline.AliasMove{Version: 1})
		wantError(t, err, driftline.Invalid, "alias")
	}
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 4})
	wantError(t, err, driftline.NotFound, "no version 4")
	history, err := r.AliasHistory("late", "champion")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, change := range history {
		got += fmt.Sprintf("%d→%d %s; ", change.From, change.To, change.Reason)
	}
	if got != "0→1 first; 1→2 better; " {
		t.Errorf("history is %s", got)
	}
}

func TestModelKeepsTheArtifactItWasRegisteredFrom(t *testing.T) {
	r := trained(t)
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	if err := r.AddArtifact("e-1", artifact("model.bin", 9)); err != nil {
		t.Fatal(err)
	}
	version, _ := r.ModelVersion("late", "1")
	if version.Artifact != artifact("model.bin", 1) {
		t.Errorf("artifact is %v", version.Artifact)
	}
}

// story records one of everything: rows, snapshots, a dataset, a run, a model with an alias.
func story(t *testing.T, r *registry.Registry) {
	t.Helper()
	tx := r.Begin()
	defer tx.Discard()
	steps := []func() error{
		func() error { return tx.AddIngest(driftline.IngestResult{View: "weather", Rows: 26115, Sequence: 1}) },
		func() error {
			return tx.AddSnapshot(registry.Snapshot{Table: "features.weather", ID: 71, Rows: 26115, Files: []registry.File{{Hash: "f1", Rows: 26115, Bytes: 9}}})
		},
		func() error {
			return tx.AddSnapshot(registry.Snapshot{Table: "datasets.late", ID: 72, Rows: 10, Files: []registry.File{{Hash: "f2", Rows: 10, Bytes: 5}}})
		},
		func() error {
			_, err := tx.AddDataset(driftline.Dataset{
				Name: "late", Snapshot: 72, ContentHash: strings.Repeat("ab", 32),
				Request: driftline.FeatureSet{Service: "delay_model"},
				Report:  driftline.HistoricalReport{Rows: 10, Pins: []driftline.Pin{{View: "weather", Snapshot: 71}}},
			})
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{{Kind: driftline.KindDataset, Name: "late"}}}))
	if err := r.AddArtifact("e-1", artifact("model.bin", 1)); err != nil {
		t.Fatal(err)
	}
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1}))
}

func ref(t *testing.T, s string) driftline.Ref {
	t.Helper()
	parsed, err := driftline.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestLineageGoesFromAliasToFiles(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	lineage, err := r.Lineage(ref(t, "model/late@champion"), driftline.Up, 0)
	if err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("01", 32)
	want := strings.ReplaceAll(`model/late@1 aliases=champion artifact=model.bin content_hash=010101010101 created=2026-03-01T12:00:00Z version=1
run/e-1 created=2026-03-01T12:00:00Z experiment=e status=RUNNING
artifact/DIGEST bytes=1 path=model.bin
dataset/late@1 content_hash=abababababab created=2026-03-01T12:00:00Z rows=10 version=1
snapshot/datasets.late@72 created=2026-03-01T12:00:00Z files=1 rows=10
snapshot/features.weather@71 created=2026-03-01T12:00:00Z files=1 rows=26115
service/delay_model projections=weather(temp, wind); carrier_performance(mean_delay)
file/datasets.late@f2 bytes=5 rows=10
view/weather features=2 last_write=2026-03-01T12:00:00Z rows=26115 ttl=3h0m0s
file/features.weather@f1 bytes=9 rows=26115
view/carrier_performance features=1
entity/airport join_keys=airport string
entity/carrier join_keys=carrier string
model/late@1 -registered from-> run/e-1
model/late@1 -stored in-> artifact/DIGEST
run/e-1 -trained on-> dataset/late@1
artifact/DIGEST -logged by-> run/e-1
dataset/late@1 -stored in-> snapshot/datasets.late@72
dataset/late@1 -read snapshot-> snapshot/features.weather@71
dataset/late@1 -defined by-> service/delay_model
snapshot/datasets.late@72 -stored in-> file/datasets.late@f2
snapshot/features.weather@71 -ingested as-> view/weather
snapshot/features.weather@71 -stored in-> file/features.weather@f1
service/delay_model -defined by-> view/weather
service/delay_model -defined by-> view/carrier_performance
view/weather -keyed by-> entity/airport
view/carrier_performance -keyed by-> entity/carrier
`, "DIGEST", digest)
	if got := draw(lineage); got != want {
		t.Errorf("lineage is\n%swant\n%s", got, want)
	}
}

func draw(l driftline.Lineage) string {
	var b strings.Builder
	for _, node := range l.Nodes {
		b.WriteString(node.Ref.String())
		var facts []string
		for key, value := range node.Facts {
			facts = append(facts, " "+key+"="+value)
		}
		slices.Sort(facts)
		b.WriteString(strings.Join(facts, "") + "\n")
	}
	for _, edge := range l.Edges {
		fmt.Fprintf(&b, "%s -%s-> %s\n", edge.From, edge.Kind, edge.To)
	}
	return b.String()
}

func TestLineageDownDepthAndUnknown(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	names := func(direction driftline.LineageDirection, from string, depth int) string {
		lineage, err := r.Lineage(ref(t, from), direction, depth)
		if err != nil {
			return string(driftline.CodeOf(err))
		}
		var refs []string
		for _, node := range lineage.Nodes {
			refs = append(refs, node.Ref.String())
		}
		return strings.Join(refs, " ")
	}
	tests := []struct {
		direction driftline.LineageDirection
		from      string
		depth     int
		want      string
	}{
		{driftline.Down, "file/features.weather@f1", 3, "file/features.weather@f1 snapshot/features.weather@71 dataset/late@1 run/e-1"},
		{driftline.Down, "dataset/late", 1, "dataset/late@1 run/e-1"},
		{driftline.Up, "model/late", 1, "model/late@1 run/e-1 artifact/" + strings.Repeat("01", 32)},
		{driftline.Up, "entity/airport", 0, "entity/airport"},
		{driftline.Up, "snapshot/features.weather", 1, "snapshot/features.weather@71 view/weather file/features.weather@f1"},
		{driftline.Up, "model/late@2", 0, "not_found"},
		{driftline.Up, "model/late@challenger", 0, "not_found"},
		{driftline.Up, "dataset/late@x", 0, "invalid"},
		{driftline.Up, "view/wether", 0, "not_found"},
		{driftline.Up, "file/features.weather@nope", 0, "not_found"},
		{driftline.Up, "snapshot/features.weather@1", 0, "not_found"},
		{driftline.Up, "model/late", -1, "invalid"},
		{"sideways", "model/late", 0, "invalid"},
	}
	for _, test := range tests {
		if got := names(test.direction, test.from, test.depth); got != test.want {
			t.Errorf("%s of %s, %d steps: %s, want %s", test.direction, test.from, test.depth, got, test.want)
		}
	}
}

func TestServiceAppliedAgainHasOnlyItsPresentViews(t *testing.T) {
	r := openFlights(t)
	next := flights()
	next.FeatureServices[0].Projections = next.FeatureServices[0].Projections[:1]
	must(t)(r.Apply(next))
	lineage, err := r.Lineage(ref(t, "service/delay_model"), driftline.Up, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(lineage.Edges) != 1 || lineage.Edges[0].To != driftline.ViewRef("weather") {
		t.Errorf("edges are %v", lineage.Edges)
	}
}

func TestRunInputsMustExistAndAreResolved(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	run, err := r.Run("e-1")
	if err != nil {
		t.Fatal(err)
	}
	if want := []driftline.Ref{driftline.DatasetRef("late", 1)}; !slices.Equal(run.Inputs, want) {
		t.Errorf("inputs are %v, want %v", run.Inputs, want)
	}
	_, err = r.LogRun("e-1", driftline.RunLog{Inputs: []driftline.Ref{{Kind: driftline.KindDataset, Name: "lat"}}})
	wantError(t, err, driftline.NotFound, `did you mean "late"?`)
	logged, err := r.LogRun("e-1", driftline.RunLog{Inputs: []driftline.Ref{ref(t, "model/late@champion"), ref(t, "dataset/late")}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []driftline.Ref{driftline.DatasetRef("late", 1), driftline.ModelRef("late", 1)}; !slices.Equal(logged.Inputs, want) {
		t.Errorf("inputs are %v, want %v", logged.Inputs, want)
	}
}

func TestDiscardLeavesNoTrace(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	before := r.Newest()
	tx := r.Begin()
	tx.Batch().Set([]byte("kept?"), []byte("no"))
	for range 3 {
		if _, err := tx.AddDataset(driftline.Dataset{Name: "late"}); err != nil {
			t.Fatal(err)
		}
	}
	tx.Discard()
	tx.Discard()
	if err := tx.Commit(); driftline.CodeOf(err) != driftline.Internal {
		t.Errorf("Commit after Discard: %v", err)
	}
	added, err := r.AddDataset(driftline.Dataset{Name: "late"})
	if err != nil || added.Version != 1 {
		t.Errorf("after the discard: %+v, %v, want version 1", added, err)
	}
	if value, _ := db.Get([]byte("kept?")); value != nil {
		t.Error("the discarded batch was written")
	}
	if r.Newest().Sequence != before.Sequence+1 {
		t.Errorf("ledger went from %d to %d", before.Sequence, r.Newest().Sequence)
	}
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
}

func TestBatchIsAtomicWithLines(t *testing.T) {
	r, db := openWithKeys(t)
	batch := db.NewBatch()
	batch.Set([]byte("row"), []byte("1"))
	tx := r.BeginWith(batch)
	defer tx.Discard()
	tx.Batch().Set([]byte("row2"), []byte("2"))
	if _, err := tx.Append(registry.Line{Kind: "note.made", Ref: ref(t, "view/x"), Body: json.RawMessage(`{ "a":1 }`)}); err != nil {
		t.Fatal(err)
	}
	if r.Newest().Sequence != 0 {
		t.Error("the line is visible before its commit")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"row": "1", "row2": "2"} {
		if value, err := db.Get([]byte(key)); err != nil || string(value) != want {
			t.Errorf("%s = %q, %v", key, value, err)
		}
	}
	for line, err := range r.Lines(0) {
		if err != nil || line.Kind != "note.made" || string(line.Body) != `{"a":1}` {
			t.Errorf("line %+v, %v", line, err)
		}
	}
}

func TestAppendRefusesWhatItCannotKeep(t *testing.T) {
	r := open(t)
	tx := r.Begin()
	defer tx.Discard()
	for name, line := range map[string]registry.Line{
		"body is not JSON":       {Kind: "note.made", Body: json.RawMessage(`{`)},
		"body of another kind":   {Kind: registry.RunCreated, Ref: ref(t, "run/a-1"), Body: json.RawMessage(`[1]`)},
		"ref is not UTF-8":       {Kind: "note.made", Ref: driftline.RunRef("\xff")},
		"log of a run not there": {Kind: registry.RunLogged, Ref: ref(t, "run/a-1"), Body: json.RawMessage(`{}`)},
	} {
		if _, err := tx.Append(line); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if r.Newest().Sequence != 0 {
		t.Error("something was written")
	}
}

func TestLinesContinueFromTheMiddle(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	newest := r.Newest().Sequence
	for from := uint64(0); from <= newest+1; from++ {
		next := max(from, 1)
		for line, err := range r.Lines(from) {
			if err != nil || line.Sequence != next {
				t.Fatalf("from %d: line %d, %v, want line %d", from, line.Sequence, err, next)
			}
			next++
		}
		if next != max(newest+1, from) {
			t.Errorf("from %d: ended before %d, want %d", from, next, newest+1)
		}
	}
}

func TestEveryChangedByteIsFound(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Params: map[string]string{"a": "<&>"}}))
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	sequence := r.Newest().Sequence - 1
	key := kv.AppendUint64([]byte{kv.Ledger}, sequence)
	stored, err := db.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	named := fmt.Sprintf("ledger line %d is damaged", sequence)
	for i := range stored {
		damaged := bytes.Clone(stored)
		damaged[i] ^= 0x20 // also turns letters to the other case, which JSON may not mind
		set(t, db, key, damaged)
		wantError(t, r.Verify(), driftline.DataLoss, named)
	}
	_, err = registry.Open(db, nil)
	wantError(t, err, driftline.DataLoss, named)
	set(t, db, key, stored[:10])
	wantError(t, r.Verify(), driftline.DataLoss, named)
	set(t, db, key, stored)
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []uint64{sequence, sequence + 1} {
		key := kv.AppendUint64([]byte{kv.Ledger}, lost)
		line, err := db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, db, key)
		wantError(t, r.Verify(), driftline.DataLoss, "ledger line "+strconv.FormatUint(lost, 10))
		set(t, db, key, line)
	}
}

func set(t *testing.T, db *kv.DB, key, value []byte) {
	t.Helper()
	change(t, db, func(b *kv.Batch) { b.Set(key, value) })
}

func remove(t *testing.T, db *kv.DB, key []byte) {
	t.Helper()
	change(t, db, func(b *kv.Batch) { b.Delete(key) })
}

func change(t *testing.T, db *kv.DB, f func(*kv.Batch)) {
	t.Helper()
	b := db.NewBatch()
	defer b.Close()
	f(b)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestReadersCannotChangeTheFolds(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	must(t)(r.LogRun("e-1", driftline.RunLog{Params: map[string]string{"a": "1"}, Tags: map[string]string{"b": "2"}}))
	snapshot := func() string {
		view, _ := r.View("weather")
		run, _ := r.Run("e-1")
		models := r.Models()
		text, err := json.Marshal([]any{r.Entities(), view, r.Services(), run, models, r.Datasets(), r.Snapshots("")})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := snapshot()
	view, _ := r.View("weather")
	view.Features[0].Name, view.JoinKeys[0].Name, view.Entities[0] = "x", "x", "x"
	service, _ := r.Service("delay_model")
	service.Projections[0].Features[0] = "x"
	resolved, _ := r.Resolve(driftline.FeatureSet{Service: "delay_model"})
	resolved[0].Features[0], resolved[0].View.Features[0].Name = "x", "x"
	entity, _ := r.Entity("airport")
	entity.JoinKeys[0].Name = "x"
	run, _ := r.Run("e-1")
	run.Params["a"], run.Tags["b"], run.Inputs[0].Name, run.Artifacts[0].Path = "x", "x", "x", "x"
	r.Models()[0].Aliases["champion"] = 7
	dataset, _ := r.Dataset("late", 0)
	dataset.Report.Pins[0].View = "x"
	r.Snapshots("features.weather")[0].Files[0].Hash = "x"
	if after := snapshot(); after != before {
		t.Errorf("state was\n%s\nis\n%s", before, after)
	}
}

func TestTimeNeverGoesBackwards(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	clock := noon
	r, err := registry.Open(db, &registry.Options{Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	for _, move := range []time.Duration{0, -time.Hour, 2*time.Hour + 1} {
		clock = clock.Add(move)
		must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	}
	var times []string
	for line, err := range r.Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, line.Time.Format(time.RFC3339Nano))
	}
	if want := []string{"2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"}; !slices.Equal(times, want) {
		t.Errorf("times are %v, want %v", times, want)
	}
}

// Writers of all kinds at once, with readers that must only ever see whole transactions.
func TestConcurrentWritersKeepOneOrder(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.Apply(flights()))
	const writers, each = 8, 20
	stop := make(chan struct{})
	var readers, group sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			runs, err := r.Runs("")
			if err != nil {
				t.Error(err)
				return
			}
			for _, run := range runs {
				if len(run.Params) != 1 {
					t.Errorf("run %s is seen with params %v", run.ID, run.Params)
					return
				}
			}
			_, _ = r.Lineage(driftline.ViewRef("weather"), driftline.Down, 0)
			if err := r.Verify(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for w := range writers {
		group.Go(func() {
			for i := range each {
				run, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Params: map[string]string{"w": strconv.Itoa(w)}})
				if err != nil {
					t.Error(err)
					return
				}
				log := driftline.RunLog{Metrics: []driftline.Metric{{Key: "m", Value: driftline.Number(i), Step: int64(i)}}}
				if logged, err := r.LogRun(run.ID, log); err != nil || logged.Metrics["m"] != driftline.Number(i) {
					t.Errorf("after the ack the run has %v, %v", logged, err)
				}
				if i%3 == 0 {
					ended, err := r.FinishRun(run.ID, driftline.RunFinished)
					if err != nil || ended.Status != driftline.RunFinished {
						t.Errorf("after the ack the run is %v, %v", ended, err)
					}
				}
			}
		})
	}
	group.Wait()
	close(stop)
	readers.Wait()
	runs, err := r.Runs("e")
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != writers*each {
		t.Errorf("%d runs, want %d", len(runs), writers*each)
	}
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
	if again, _ := reopen(t, db).Runs("e"); fmt.Sprint(again) != fmt.Sprint(runs) {
		t.Error("the reopened ledger tells another story")
	}
}

// Two compare-and-swaps from one state: exactly one wins.
func TestConcurrentAliasMovesHaveOneWinner(t *testing.T) {
	r := trained(t)
	for range 2 {
		must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	}
	nowhere := 0
	results := make(chan error, 16)
	var group sync.WaitGroup
	for i := range cap(results) {
		group.Go(func() {
			_, err := r.MoveAlias("late", driftline.Alias("champion"), driftline.AliasMove{Version: 1 + i%2, Expect: &nowhere})
			results <- err
		})
	}
	group.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, &driftline.Error{Code: driftline.Conflict}) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d moves won, want 1", won)
	}
}

func TestFailedCommitsStopWritesAndKeepReads(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.Apply(flights()))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = r.CreateRun(driftline.RunSpec{Experiment: "e"})
		wantError(t, err, driftline.Unavailable)
	}
	if _, err := r.View("weather"); err != nil {
		t.Errorf("reads of what was durable: %v", err)
	}
}
