package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// versions has weather with a number, a second version with a text, and a service.
func versions() driftline.Definitions {
	view := func(name driftline.ViewName, of driftline.Type) driftline.FeatureView {
		return driftline.FeatureView{Name: name, Entities: []driftline.EntityName{"airport"}, Features: []driftline.Field{{Name: "sky", Type: of}}}
	}
	return driftline.Definitions{
		Entities:     weather.Entities,
		FeatureViews: []driftline.FeatureView{view("sky", driftline.Int64), view("sky@2", driftline.String)},
		FeatureServices: []driftline.FeatureService{
			{Name: "now", Projections: []driftline.Projection{{View: "sky"}}},
			{Name: "first", Projections: []driftline.Projection{{View: "sky@1"}}},
			{Name: "second", Projections: []driftline.Projection{{View: "sky@2"}}},
		},
	}
}

// readVersions says what a service serves of EWR, and what a training set has, with the
// names of the columns.
func readVersions(t *testing.T, env *testenv.Env, set driftline.FeatureSet) string {
	t.Helper()
	set.FullFeatureNames = true
	ctx := context.Background()
	spine := env.Rows(spineOf(), `[{"origin": "EWR", "event_timestamp": "`+minute(9)+`"}]`)
	training, err := env.Engine.Historical(ctx, driftline.HistoricalRequest{FeatureSet: set}, spine)
	if err != nil {
		t.Fatal(err)
	}
	values := lastColumn(t, training.Batches)
	entities := keysOf(env, "EWR")
	defer entities.Release()
	answer, err := env.Engine.Online(ctx, driftline.OnlineRequest{FeatureSet: set, At: minuteTime(9)}, entities)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Release()
	last := int(answer.Batch.NumCols()) - 1
	return strings.Join([]string{answer.Batch.ColumnName(last), answer.Batch.Column(last).ValueStr(0), values[0]}, " ")
}

func spineOf() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time}}, nil)
}

func keysOf(env *testenv.Env, keys ...string) arrow.RecordBatch {
	b := array.NewRecordBuilder(env.Mem, arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}}, nil))
	defer b.Release()
	b.Field(0).(*array.StringBuilder).AppendValues(keys, nil)
	return b.NewRecordBatch()
}

func TestVersionsStandSideBySideAndABareNameIsSwitched(t *testing.T) {
	env := testenv.New(t)
	env.Clock.Set(minuteTime(10))
	env.Apply(versions())
	ctx := context.Background()
	write := func(view driftline.ViewName, rows string) driftline.IngestResult {
		t.Helper()
		meant, err := env.Engine.Registry().View(env.Engine.Registry().Meant(view))
		if err != nil {
			t.Fatal(err)
		}
		result, err := env.Engine.Ingest(ctx, view, "", env.Rows(meant.Schema(), rows))
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	write("sky@1", `[{"origin": "EWR", "event_timestamp": "`+minute(1)+`", "sky": 7}]`)
	write("sky@2", `[{"origin": "EWR", "event_timestamp": "`+minute(1)+`", "sky": "clear"}]`)
	expect := func(when, now, sql string) {
		t.Helper()
		for set, want := range map[string]string{
			"now": now, "first": "sky__sky 7 7", "second": "sky__sky clear clear", "sky:sky": now, "sky@1:sky": "sky__sky 7 7", "sky@2:sky": "sky__sky clear clear",
		} {
			request := driftline.FeatureSet{Service: driftline.ServiceName(set)}
			if strings.Contains(set, ":") {
				request = driftline.FeatureSet{Features: []string{set}}
			}
			if got := readVersions(t, env, request); got != want {
				t.Errorf("%s: %s is %s, want %s", when, set, got, want)
			}
		}
		text, err := sqlText(t, env, `SELECT a.sky, b.sky, c.sky FROM features.sky a, features."sky@1" b, features."sky@2" c`)
		if err != nil || !strings.HasSuffix(text, sql+" 7 clear") {
			t.Errorf("%s: SQL gives %s, %v", when, text, err)
		}
		report, err := env.Engine.Check(ctx, driftline.CheckRequest{})
		if err != nil || report.Differences() != 0 || len(report.Views) != 2 || report.Views[0].Values == 0 || report.Views[1].Values == 0 {
			t.Errorf("%s: check %+v, %v", when, report, err)
		}
	}
	expect("at first", "sky__sky 7 7", "7")

	done, err := env.Engine.Registry().SwitchView("sky", 2)
	if err != nil || done != (driftline.ViewSwitch{View: "sky", Version: 2, From: 1}) {
		t.Fatalf("%+v, %v", done, err)
	}
	expect("switched", "sky__sky clear clear", "clear")
	env.Reopen()
	expect("opened again", "sky__sky clear clear", "clear")
	if result := write("sky", `[{"origin": "LGA", "event_timestamp": "`+minute(1)+`", "sky": "fog"}]`); result.View != "sky__v2" {
		t.Errorf("a write to the bare name went to %s", result.View)
	}
	if _, err := env.Engine.Apply(ctx, versions()); err != nil {
		t.Errorf("applied again: %v", err)
	}

	if _, err := env.Engine.Registry().SwitchView("sky", 1); err != nil {
		t.Fatal(err)
	}
	if got := readVersions(t, env, driftline.FeatureSet{Service: "now"}); got != "sky__sky 7 7" {
		t.Errorf("switched back: %s", got)
	}
	lines := 0
	for line, err := range env.Engine.Registry().Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Kind == "view.switched" {
			lines++
		}
	}
	if lines != 2 {
		t.Errorf("%d ledger lines of switches, want 2", lines)
	}
}

// A dataset keeps the version that it was made from, whatever the bare name means later.
func TestADatasetIsRebuiltFromItsVersion(t *testing.T) {
	env := testenv.New(t)
	env.Apply(versions())
	ctx := context.Background()
	env.Ingest("sky", `[{"origin": "EWR", "event_timestamp": "`+minute(1)+`", "sky": 7}]`)
	req := driftline.HistoricalRequest{FeatureSet: driftline.FeatureSet{Service: "now"}, SaveAs: "skies"}
	set, err := env.Engine.Historical(ctx, req, env.Rows(spineOf(), `[{"origin": "EWR", "event_timestamp": "`+minute(9)+`"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got := lastColumn(t, set.Batches); got[0] != "7" {
		t.Errorf("the training set has %v", got)
	}
	if _, err := env.Engine.Registry().SwitchView("sky", 2); err != nil {
		t.Fatal(err)
	}
	if again, err := env.Engine.Rebuild(ctx, "skies", 1); err != nil || !again.Equal {
		t.Errorf("rebuilt: %+v, %v", again, err)
	}
}

func TestWhatCannotBeAVersion(t *testing.T) {
	env := testenv.New(t)
	env.Apply(versions())
	ctx := context.Background()
	for name, want := range map[driftline.ViewName]string{
		"sky@4": "call it sky@3", "fog@2": `feature view "fog" does not exist`, "sky@x": "has no version", "sky@0": "has no version",
	} {
		view := versions().FeatureViews[0]
		view.Name = name
		if _, err := env.Engine.Apply(ctx, driftline.Definitions{FeatureViews: []driftline.FeatureView{view}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	other := versions().FeatureViews[1]
	other.Name = "sky"
	if _, err := env.Engine.Apply(ctx, driftline.Definitions{FeatureViews: []driftline.FeatureView{other}}); err == nil || !strings.Contains(err.Error(), "call it sky@2") {
		t.Errorf("an incompatible change: %v", err)
	}
	other.Name, other.Features = "sky@3", []driftline.Field{{Name: "cover", Type: driftline.Int64}}
	env.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{other}})
	for _, c := range []struct {
		view    driftline.ViewName
		version int
		want    string
	}{
		{"sky", 3, `feature service "now" would lose a feature`}, {"sky", 4, "its newest is 3"}, {"sky", 0, "has no version 0"},
		{"fog", 1, "does not exist"}, {"sky@1", 2, "without a version"},
	} {
		if _, err := env.Engine.Registry().SwitchView(c.view, c.version); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %d: %v, want %s", c.view, c.version, err, c.want)
		}
	}
}

// While a bare name is switched to and fro, each read beside it is of one version through and through.
func TestASwitchIsSeenWholeOrNotAtAll(t *testing.T) {
	env := testenv.New(t)
	env.Clock.Set(minuteTime(10))
	two := func(name driftline.ViewName) driftline.FeatureView {
		return driftline.FeatureView{Name: name, Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "low", Type: driftline.Int64}, {Name: "high", Type: driftline.Int64}}}
	}
	env.Apply(driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{two("sky"), two("sky@2")},
		FeatureServices: []driftline.FeatureService{{Name: "now", Projections: []driftline.Projection{{View: "sky"}, {View: "sky", Role: "there"}}}}})
	ctx := context.Background()
	for version, value := range map[driftline.ViewName]string{"sky@1": "1", "sky@2": "2"} {
		meant, err := env.Engine.Registry().View(env.Engine.Registry().Meant(version))
		if err != nil {
			t.Fatal(err)
		}
		rows := `[{"origin": "EWR", "event_timestamp": "` + minute(1) + `", "low": ` + value + `, "high": ` + value + `}]`
		if _, err := env.Engine.Ingest(ctx, version, "", env.Rows(meant.Schema(), rows)); err != nil {
			t.Fatal(err)
		}
	}
	stop, seen := make(chan struct{}), make([]map[string]bool, 2)
	var readers sync.WaitGroup
	for i := range seen {
		seen[i] = map[string]bool{}
		readers.Go(func() {
			entities := keysOf(env, "EWR")
			defer entities.Release()
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer, err := env.Engine.Online(ctx, driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{Service: "now", FullFeatureNames: true}}, entities)
				if err != nil {
					t.Error(err)
					return
				}
				var values []string
				for _, column := range answer.Batch.Columns()[1:] {
					values = append(values, column.ValueStr(0))
				}
				seen[i][strings.Join(values, " ")] = true
				answer.Release()
			}
		})
	}
	for i := range 200 {
		if _, err := env.Engine.Registry().SwitchView("sky", 2-i%2); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	for _, of := range seen {
		for values := range of {
			if values != "1 1 1 1" && values != "2 2 2 2" {
				t.Errorf("a read had %s", values)
			}
		}
	}
}
