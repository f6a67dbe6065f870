package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// withRain is weather with one feature more.
func withRain() driftline.Definitions {
	view := weather.FeatureViews[0]
	view.Features = append(slices.Clone(view.Features), driftline.Field{Name: "rain", Type: driftline.Float64})
	return driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}}
}

const rainyRow = `[{"origin": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "temp": 2, "rain": 0.5}]`

func rainOf(t *testing.T, env *testenv.Env) string {
	t.Helper()
	rows, err := env.Engine.SQL(context.Background(), "SELECT temp, rain FROM features.weather ORDER BY event_timestamp, temp", nil)
	if err != nil {
		t.Fatal(err)
	}
	return text(t, rows)
}

// TestAViewIsReadableBeforeTheFirstRowWithItsNewFeature reads history whose newest
// snapshot was committed before the feature was added.
func TestAViewIsReadableBeforeTheFirstRowWithItsNewFeature(t *testing.T) {
	env := newWeather(t)
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
	if n := countRows(t, env.Engine, "weather"); n != 1 {
		t.Fatalf("%d rows", n)
	}
	env.Apply(withRain())
	if n := countRows(t, env.Engine, "weather"); n != 1 {
		t.Errorf("%d rows after the view has grown", n)
	}
	if got := rainOf(t, env); got != "1 (null) \n" {
		t.Errorf("rows = %q", got)
	}
}

// TestAFlushKeepsAFeatureThatItsCallerDoesNotKnow flushes for a reader that resolved
// the view before the feature was added, and meets a row that has it.
func TestAFlushKeepsAFeatureThatItsCallerDoesNotKnow(t *testing.T) {
	env := newWeather(t)
	before, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	env.Apply(withRain())
	env.Ingest("weather", rainyRow)
	if err := env.Engine.Flush(context.Background(), before); err != nil {
		t.Fatal(err)
	}
	if got := rainOf(t, env); got != "2 0.5 \n" {
		t.Errorf("rows = %q", got)
	}
}

// TestAViewMayGrowBetweenAWriteAndItsRecovery adds a feature while a bulk write has
// committed its snapshot and not yet brought its rows online.
func TestAViewMayGrowBetweenAWriteAndItsRecovery(t *testing.T) {
	env := newWeather(t)
	env.Engine.SetSmallRows(10)
	env.Engine.FailAt("snapshot committed", errCrash)
	if _, err := env.Engine.Ingest(context.Background(), "weather", "key", bulkRows(t, env, 300)); !errors.Is(err, errCrash) {
		t.Fatalf("the write did not reach the step: %v", err)
	}
	env.Engine.FailAt("", nil)
	env.Apply(withRain())
	env.Reopen()
	if got := onlineTemp(t, env, "LGA", at(99)); got != "299 PRESENT" {
		t.Errorf("online = %s", got)
	}
	if n := countRows(t, env.Engine, "weather"); n != 300 {
		t.Errorf("%d rows", n)
	}
}

// readings has features of types that can be widened.
func readings(features ...driftline.Field) driftline.Definitions {
	return driftline.Definitions{
		Entities: []driftline.Entity{{Name: "sensor", JoinKeys: []driftline.Field{{Name: "id", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: "readings", Entities: []driftline.EntityName{"sensor"}, Features: features,
		}},
	}
}

var (
	counted = driftline.Field{Name: "count", Type: driftline.Int32}
	ratio   = driftline.Field{Name: "ratio", Type: driftline.Float32}
	note    = driftline.Field{Name: "note", Type: driftline.String}
)

func renamed(f driftline.Field, to string) driftline.Field {
	f.Name, f.RenamedFrom = to, f.Name
	return f
}

func widened(f driftline.Field, to driftline.Type) driftline.Field {
	f.Type = to
	return f
}

// oldRows are written before the view changes, the rows of each text in one write.
var oldRows = []string{
	`[{"id": "a", "event_timestamp": "2013-06-01T01:00:00Z", "count": -1, "ratio": 0.5, "note": "first"}]`,
	`[{"id": "a", "event_timestamp": "2013-06-01T02:00:00Z", "count": 2, "ratio": 1.5, "note": null},
	  {"id": "b", "event_timestamp": "2013-06-01T02:00:00Z", "count": 3, "ratio": -2.5, "note": "third"}]`,
}

// evolutions are changes of a view and what its rows are after them.
var evolutions = []struct {
	name  string
	steps [][]driftline.Field // definitions that are applied one after the other
	row   string              // written after them, of sensor c at 3 o'clock
	want  string              // rows of the view, without keys and times
}{
	{"rename twice", [][]driftline.Field{{renamed(counted, "total"), ratio, note}, {renamed(driftline.Field{Name: "total", Type: driftline.Int32}, "sum"), ratio, note}},
		`"sum": 4, "ratio": 4, "note": "new"`, "-1 0.5 first|2 1.5 (null)|3 -2.5 third|4 4 new"},
	{"rename and back", [][]driftline.Field{{renamed(counted, "total"), ratio, note}, {renamed(driftline.Field{Name: "total", Type: driftline.Int32}, "count"), ratio, note}},
		`"count": 4, "ratio": 4, "note": "new"`, "-1 0.5 first|2 1.5 (null)|3 -2.5 third|4 4 new"},
	{"rename onto a name that is freed", [][]driftline.Field{{renamed(counted, "total"), {Name: "count", Type: driftline.String}, ratio, note}},
		`"total": 4, "ratio": 4, "note": "new", "count": "many"`, "-1 0.5 first (null)|2 1.5 (null) (null)|3 -2.5 third (null)|4 4 new many"},
	{"drop", [][]driftline.Field{{counted, note}}, `"count": 4, "note": "new"`, "-1 first|2 (null)|3 third|4 new"},
	{"drop and add again", [][]driftline.Field{{counted, note}, {counted, note, ratio}}, `"count": 4, "note": "new", "ratio": 4`,
		"-1 first (null)|2 (null) (null)|3 third (null)|4 new 4"},
	{"drop and add again as another type", [][]driftline.Field{{ratio, note}, {ratio, note, {Name: "count", Type: driftline.Bool}}}, `"ratio": 4, "note": "new", "count": true`,
		"0.5 first (null)|1.5 (null) (null)|-2.5 third (null)|4 new true"},
	{"widen", [][]driftline.Field{{widened(counted, driftline.Int64), widened(ratio, driftline.Float64), note}}, `"count": 5000000000, "ratio": 1e300, "note": "new"`,
		"-1 0.5 first|2 1.5 (null)|3 -2.5 third|5000000000 1e+300 new"},
	{"all at once", [][]driftline.Field{{widened(renamed(counted, "total"), driftline.Int64), widened(ratio, driftline.Float64), {Name: "count", Type: driftline.Int32}}},
		`"total": 5000000000, "ratio": 4, "count": 7`, "-1 0.5 (null)|2 1.5 (null)|3 -2.5 (null)|5000000000 4 7"},
}

// places are where the old rows are when the view changes, by how many of the writes
// are flushed into files.
var places = map[string]int{"log": 0, "both": 1, "files": 2}

// TestAViewChangesAndItsRowsStay changes a view in every way over rows in every place,
// and reads them in every way, before and after each thing that may happen to them next.
func TestAViewChangesAndItsRowsStay(t *testing.T) {
	for place, flushed := range places {
		for _, test := range evolutions {
			t.Run(test.name+"/"+place, func(t *testing.T) {
				env := testenv.New(t)
				env.Apply(readings(counted, ratio, note))
				for i, rows := range oldRows {
					env.Ingest("readings", rows)
					if i < flushed {
						flushReadings(t, env)
					}
				}
				for _, features := range test.steps {
					env.Apply(readings(features...))
				}
				old := test.want[:strings.LastIndex(test.want, "|")]
				wantReadings(t, env, "when it has changed", old)
				env.Reopen()
				wantReadings(t, env, "after a restart", old)
				env.Ingest("readings", `[{"id": "c", "event_timestamp": "2013-06-01T03:00:00Z", `+test.row+`}]`)
				wantReadings(t, env, "with a new row", test.want)
				flushReadings(t, env)
				wantReadings(t, env, "after a flush", test.want)
				if _, err := env.Engine.Compact(context.Background(), "features.readings"); err != nil {
					t.Fatal(err)
				}
				wantReadings(t, env, "after a compaction", test.want)
				env.Reopen()
				wantReadings(t, env, "after everything", test.want)
			})
		}
	}
}

// TestACrashBetweenTheRegistryAndTheTableIsMended stops an apply at each of its steps.
func TestACrashBetweenTheRegistryAndTheTableIsMended(t *testing.T) {
	for _, step := range []string{"definitions registered", "table reshaped", "intent written", "snapshot committed", "rows online"} {
		for _, test := range evolutions[1:5] {
			t.Run(test.name+"/"+step, func(t *testing.T) {
				env := testenv.New(t)
				env.Apply(readings(counted, ratio, note))
				env.Ingest("readings", oldRows[0])
				flushReadings(t, env)
				env.Ingest("readings", oldRows[1])
				env.Engine.FailAt(step, errCrash)
				for i, features := range test.steps { // of which a later one may take back the first, and have nothing to do
					if _, err := env.Engine.Apply(context.Background(), readings(features...)); !errors.Is(err, errCrash) && (i == 0 || err != nil) {
						t.Fatalf("the apply did not reach the step: %v", err)
					}
				}
				old := test.want[:strings.LastIndex(test.want, "|")]
				wantReadings(t, env, "before the restart", old)
				env.Reopen()
				wantReadings(t, env, "after the restart", old)
				env.Ingest("readings", `[{"id": "c", "event_timestamp": "2013-06-01T03:00:00Z", `+test.row+`}]`)
				flushReadings(t, env)
				wantReadings(t, env, "after a flush", test.want)
			})
		}
	}
}

// TestADatasetOfAnOlderShapeIsMadeAgain rebuilds what was saved before the view changed,
// and reads the snapshot of then as it was.
func TestADatasetOfAnOlderShapeIsMadeAgain(t *testing.T) {
	for _, test := range evolutions {
		t.Run(test.name, func(t *testing.T) {
			env := testenv.New(t)
			env.Apply(readings(counted, ratio, note))
			for _, rows := range oldRows {
				env.Ingest("readings", rows)
			}
			req := driftline.HistoricalRequest{SaveAs: "before"}
			req.Projections = []driftline.Projection{{View: "readings"}}
			set, err := env.Engine.Historical(context.Background(), req, readingSpine(env))
			if err != nil {
				t.Fatal(err)
			}
			text(t, set.Batches)
			for _, features := range test.steps {
				env.Apply(readings(features...))
			}
			d, err := env.Engine.Registry().Dataset("before", 1)
			if err != nil {
				t.Fatal(err)
			}
			env.Ingest("readings", `[{"id": "c", "event_timestamp": "2013-06-01T03:00:00Z", `+test.row+`}]`)
			rebuilds(t, env, d)
			env.Reopen()
			rebuilds(t, env, d)
			got, err := sqlText(t, env, fmt.Sprintf("SELECT count, ratio, note FROM features.readings AT (VERSION => %d) ORDER BY event_timestamp, id", d.Report.Pins[0].Snapshot))
			if want := "count ratio note\n-1 0.5 first\n2 1.5 (null)\n3 -2.5 third"; err != nil || got != want {
				t.Errorf("the old snapshot is %q (%v), want %q", got, err, want)
			}
		})
	}
}

// TestFiltersKnowTheColumnsOfNow filters by columns that the files have in another type,
// under another name, or not at all, where statistics of the files could mislead.
func TestFiltersKnowTheColumnsOfNow(t *testing.T) {
	env := testenv.New(t)
	env.Apply(readings(counted, ratio, note))
	for _, rows := range oldRows {
		env.Ingest("readings", rows)
	}
	flushReadings(t, env)
	env.Apply(readings(widened(renamed(counted, "total"), driftline.Int64), widened(ratio, driftline.Float64)))
	env.Apply(readings(widened(renamed(counted, "total"), driftline.Int64), widened(ratio, driftline.Float64), note, counted))
	for where, want := range map[string]string{
		"total > 1": "2", "total < 0": "1", "total = 5000000000": "0", "ratio < 1": "2", "ratio = 1.5": "1",
		"note IS NULL": "3", "note = 'first'": "0", "count IS NULL": "3", "count = 2": "0",
	} {
		if got, err := sqlText(t, env, "SELECT count(*) n FROM features.readings WHERE "+where); err != nil || got != "n\n"+want {
			t.Errorf("%s: %q (%v), want %s rows", where, got, err, want)
		}
	}
}

// TestAViewRollsBackToAnOlderShape goes back to the rows that there were before the view
// changed. Its columns stay those of now.
func TestAViewRollsBackToAnOlderShape(t *testing.T) {
	for _, test := range evolutions {
		t.Run(test.name, func(t *testing.T) {
			env := testenv.New(t)
			env.Apply(readings(counted, ratio, note))
			for _, rows := range oldRows {
				env.Ingest("readings", rows)
			}
			flushReadings(t, env)
			snapshots, err := env.Engine.Snapshots(context.Background(), "features.readings")
			if err != nil {
				t.Fatal(err)
			}
			for _, features := range test.steps {
				env.Apply(readings(features...))
			}
			env.Ingest("readings", `[{"id": "c", "event_timestamp": "2013-06-01T03:00:00Z", `+test.row+`}]`)
			if _, err := env.Engine.Rollback(context.Background(), "features.readings", snapshots[0].ID); err != nil {
				t.Fatal(err)
			}
			wantReadings(t, env, "rolled back", test.want[:strings.LastIndex(test.want, "|")])
		})
	}
}

// TestABulkWriteOfAnOlderShapeIsRefused renames a feature while rows with its old name
// are on their way, and drops nothing of what is there.
func TestABulkWriteOfAnOlderShapeIsRefused(t *testing.T) {
	env := newWeather(t)
	env.Engine.SetSmallRows(10)
	rows := bulkRows(t, env, 300)
	all := rows.All
	changed := withRain()
	changed.FeatureViews[0].Features[0] = driftline.Field{Name: "temperature", RenamedFrom: "temp", Type: driftline.Float64}
	rows.All = func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range all {
			if !yield(b, err) {
				return
			}
			env.Apply(changed)
		}
	}
	_, err := env.Engine.Ingest(context.Background(), "weather", "key", rows)
	if driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("error %v, want a Conflict", err)
	}
	if n := countRows(t, env.Engine, "weather"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func flushReadings(t *testing.T, env *testenv.Env) {
	t.Helper()
	view, err := env.Engine.Registry().View("readings")
	if err == nil {
		err = env.Engine.Flush(context.Background(), view)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readingSpine asks for each sensor after all that happened.
func readingSpine(env *testenv.Env) driftline.Batches {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	}, nil)
	return env.Rows(schema, `[{"id": "a", "event_timestamp": "2013-06-01T09:00:00Z"}, {"id": "b", "event_timestamp": "2013-06-01T09:00:00Z"},
		{"id": "c", "event_timestamp": "2013-06-01T09:00:00Z"}]`)
}

// wantReadings reads the view in every way there is.
func wantReadings(t *testing.T, env *testenv.Env, when, want string) {
	t.Helper()
	rows := strings.Split(want, "|")
	nulls := strings.TrimSpace(strings.Repeat("(null) ", len(strings.Fields(rows[0]))))
	newest := append(rows[1:3:3], nulls)
	if len(rows) == 4 {
		newest[2] = rows[3]
	}
	view, err := env.Engine.Registry().View("readings")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Join(view.FeatureNames(), ", ")
	check := func(how, got string, want ...string) {
		t.Helper()
		if got != strings.Join(want, "|") {
			t.Errorf("%s, %s: %q, want %q", when, how, got, strings.Join(want, "|"))
		}
	}
	history, err := env.Engine.SQL(context.Background(), "SELECT "+names+" FROM features.readings ORDER BY event_timestamp, id", nil)
	if err != nil {
		t.Fatal(err)
	}
	check("SQL", lines(text(t, history)), rows...)
	latest, err := env.Engine.SQL(context.Background(), "SELECT "+names+" FROM features.readings_latest ORDER BY id", nil)
	if err != nil {
		t.Fatal(err)
	}
	check("latest", lines(text(t, latest)), newest[:len(rows)-1]...)
	read, err := env.Engine.ReadView(context.Background(), "readings")
	if err != nil {
		t.Fatal(err)
	}
	whole, sorted := strings.Split(lines(lastColumns(t, read, 2)), "|"), slices.Clone(rows)
	slices.Sort(whole) // files and log come in any order
	slices.Sort(sorted)
	check("the view", strings.Join(whole, "|"), sorted...)

	var req driftline.HistoricalRequest
	req.Projections = []driftline.Projection{{View: "readings"}}
	set, err := env.Engine.Historical(context.Background(), req, readingSpine(env))
	if err != nil {
		t.Fatal(err)
	}
	check("training set", lines(lastColumns(t, set.Batches, 2)), newest...)
	check("online", lines(onlineReadings(t, env, driftline.OnlineRequest{FeatureSet: req.FeatureSet})), newest...)
}

func onlineReadings(t *testing.T, env *testenv.Env, req driftline.OnlineRequest) string {
	t.Helper()
	req.At = at(9)
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	ids, _, err := array.RecordFromJSON(env.Mem, schema, strings.NewReader(`[{"id": "a"}, {"id": "b"}, {"id": "c"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer ids.Release()
	answer, err := env.Engine.Online(context.Background(), req, ids)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Release()
	return lastColumns(t, driftline.BatchesOf(answer.Batch.Schema(), answer.Batch), 1)
}

// lastColumns prints the rows without their first columns.
func lastColumns(t *testing.T, rows driftline.Batches, skip int) string {
	t.Helper()
	var out strings.Builder
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			for _, column := range b.Columns()[skip:] {
				fmt.Fprintf(&out, "%s ", column.ValueStr(i))
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

// lines joins lines that end with a blank.
func lines(text string) string {
	return strings.ReplaceAll(strings.TrimSuffix(text, " \n"), " \n", "|")
}
