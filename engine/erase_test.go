package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// The marker stands for what must not be found afterwards. It compresses to nothing else.
const marker = "Zq7-erase-me-91x"

// newVisits has a view of persons and one of persons in shops, rows of both in files,
// in the log and online, a tag, and a dataset that knows the person by another name.
func newVisits(t *testing.T) *testenv.Env {
	env := testenv.New(t)
	person := driftline.Field{Name: "person", Type: driftline.String}
	shop := driftline.Field{Name: "shop", Type: driftline.Int64}
	env.Apply(driftline.Definitions{
		Entities: []driftline.Entity{
			{Name: "person", JoinKeys: []driftline.Field{person}},
			{Name: "shop", JoinKeys: []driftline.Field{shop}},
			{Name: "robot", JoinKeys: []driftline.Field{person}}, // somebody else, called the same
		},
		FeatureViews: []driftline.FeatureView{
			{Name: "visits", Entities: []driftline.EntityName{"person"}, Features: []driftline.Field{{Name: "city", Type: driftline.String}}, History: &driftline.History{Last: 5}},
			{Name: "sales", Entities: []driftline.EntityName{"shop", "person"}, Features: []driftline.Field{{Name: "amount", Type: driftline.Float64}}, History: &driftline.History{Last: 5}},
			{Name: "robots", Entities: []driftline.EntityName{"robot"}, Features: []driftline.Field{{Name: "size", Type: driftline.Int64}}},
			{Name: "shops", Entities: []driftline.EntityName{"shop"}, Features: []driftline.Field{{Name: "size", Type: driftline.Int64}}},
		},
	})
	env.Ingest("visits", `[
		{"person": "ann", "event_timestamp": "2013-05-01T10:00:00Z", "city": "Rome"},
		{"person": "`+marker+`", "event_timestamp": "2013-05-01T10:00:00Z", "city": "`+marker+` street"}]`)
	env.Ingest("sales", `[
		{"shop": 1, "person": "`+marker+`", "event_timestamp": "2013-05-01T10:00:00Z", "amount": 3},
		{"shop": 2, "person": "`+marker+`", "event_timestamp": "2013-05-01T10:00:00Z", "amount": 4},
		{"shop": 2, "person": "ann", "event_timestamp": "2013-05-01T10:00:00Z", "amount": 5}]`)
	env.Ingest("shops", `[{"shop": 2, "event_timestamp": "2013-05-01T10:00:00Z", "size": 100}]`)
	saveTrips(t, env)
	profileVisits(t, env)
	env.Ingest("visits", `[
		{"person": "`+marker+`", "event_timestamp": "2013-05-02T10:00:00Z", "city": "only in the log"}]`)
	return env
}

// saveTrips makes the dataset trips, whose rows name the person "guest".
func saveTrips(t *testing.T, env *testenv.Env) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "guest", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	}, nil)
	var req driftline.HistoricalRequest
	req.Projections = []driftline.Projection{{View: "visits", JoinKeyMap: map[string]string{"person": "guest"}}}
	req.SaveAs = "trips"
	set, err := env.Engine.Historical(context.Background(), req, env.Rows(schema, `[
		{"guest": "ann", "event_timestamp": "2013-05-03T10:00:00Z"},
		{"guest": "`+marker+`", "event_timestamp": "2013-05-03T10:00:00Z"},
		{"guest": null, "event_timestamp": "2013-05-03T10:00:00Z"}]`))
	if err != nil {
		t.Fatal(err)
	}
	text(t, set.Batches)
}

// profileVisits keeps profiles that know the person: of a view, of a version of a dataset, of
// a SELECT, and of shops, which are counted like the view is. Those of the shops know nobody.
func profileVisits(t *testing.T, env *testenv.Env) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // what a SELECT reads is held until then
	visits := driftline.DriftSource{Ref: driftline.ViewRef("visits")}
	shops := driftline.DriftSource{Ref: driftline.ViewRef("shops")}
	for _, req := range []driftline.ProfileRequest{
		{Table: visits, Pane: driftline.Duration(24 * time.Hour)},
		{Table: driftline.DriftSource{Ref: driftline.DatasetRef("trips", 0)}},
		{Table: driftline.DriftSource{SQL: "SELECT * FROM features.visits_latest"}, Source: "newest"},
		{Table: shops},
		{Table: shops, Source: "like visits", Reference: "view/visits"},
		{Table: visits, Source: "changed"},
		{Table: shops, Source: "changed"}, // whose maps are still those of the visits
	} {
		if _, err := env.Engine.Profile(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
}

func eraseMarker() driftline.ErasureRequest {
	return driftline.ErasureRequest{Entity: "person", Keys: map[string]string{"person": marker}, Reason: "request 7"}
}

// checkErased compares all that is left with what must be.
func checkErased(t *testing.T, env *testenv.Env) {
	t.Helper()
	ctx := context.Background()
	for query, want := range map[string]string{
		"SELECT person, city FROM features.visits":              "ann Rome \n",
		"SELECT shop, person, amount FROM features.sales":       "2 ann 5 \n",
		"SELECT shop, size FROM features.shops":                 "2 100 \n",
		"SELECT guest, city FROM datasets.trips ORDER BY guest": "ann Rome \n(null) (null) \n",
	} {
		rows, err := env.Engine.SQL(ctx, query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, rows); got != want {
			t.Errorf("%s:\n%s want\n%s", query, got, want)
		}
	}
	var req driftline.OnlineRequest
	req.Features = []string{"visits:city"}
	people := arrow.NewSchema([]arrow.Field{{Name: "person", Type: arrow.BinaryTypes.String}}, nil)
	for entities := range env.Rows(people, `[{"person": "ann"}, {"person": "`+marker+`"}]`).All {
		answer, err := env.Engine.Online(ctx, req, entities)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, driftline.BatchesOf(answer.Batch.Schema(), answer.Batch)); got != "ann Rome \n"+marker+" (null) \n" {
			t.Errorf("online answers\n%s", got)
		}
		answer.Release()
	}
	panes, err := env.Engine.Profiles(ctx, driftline.ProfileWindow{})
	if err != nil || len(panes) != 1 || panes[0].Source != "view/shops" {
		t.Errorf("profiles are left of %+v, %v, want of the shops alone", panes, err)
	}
	d, err := env.Engine.Registry().Dataset("trips", 1)
	if err != nil {
		t.Fatal(err)
	}
	if d.Report.Rows != 2 {
		t.Errorf("the dataset has %d rows by its record, want 2", d.Report.Rows)
	}
}

func TestErasureLeavesNothingBehind(t *testing.T) {
	env := newVisits(t)
	ctx := context.Background()
	if len(filesWith(t, env.Dir, marker)) == 0 {
		t.Fatal("the marker is nowhere to begin with")
	}
	done, err := env.Engine.Erase(ctx, eraseMarker())
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int64{}
	for _, table := range done.Tables {
		rows[table.Table] = table.Rows
	}
	if len(rows) != 3 || rows["features.visits"] != 2 || rows["features.sales"] != 2 || rows["datasets.trips_v1"] != 1 || done.Online != 3 || done.Profiles != 5 {
		t.Errorf("the report says %+v", done)
	}
	if strings.Contains(done.Keys, marker) || done.Reason != "request 7" {
		t.Errorf("the report has keys %q, reason %q", done.Keys, done.Reason)
	}
	checkErased(t, env)
	env.Reopen() // which is when the key-value store clears its old log
	if err := env.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range filesWith(t, env.Dir, marker) {
		t.Errorf("%s still has the marker", path)
	}
	env.Reopen()
	checkErased(t, env)
	again, err := env.Engine.Erase(ctx, eraseMarker())
	if err != nil || len(again.Tables) != 0 || again.Online != 0 {
		t.Errorf("erasing again answered %+v, %v", again, err)
	}
	_, err = env.Engine.Rebuild(ctx, "trips", 1)
	if driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("rebuilding the dataset answered %v, want that its snapshots are gone", err)
	}
}

func filesWith(t *testing.T, root, marker string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(marker)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Another entity may have a join key of the same name, and a thing of the same value.
func TestErasureIsOfOneEntity(t *testing.T) {
	env := newVisits(t)
	env.Ingest("robots", `[{"person": "`+marker+`", "event_timestamp": "2013-05-01T10:00:00Z", "size": 7}]`)
	if _, err := env.Engine.Erase(context.Background(), eraseMarker()); err != nil {
		t.Fatal(err)
	}
	checkErased(t, env)
	rows, err := env.Engine.SQL(context.Background(), "SELECT size FROM features.robots", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, rows); got != "7 \n" {
		t.Errorf("the robot of that name has %q left, want its row", got)
	}
}

func TestErasureRefuses(t *testing.T) {
	env := newVisits(t)
	for _, test := range []struct {
		req  driftline.ErasureRequest
		code driftline.Code
		says string
	}{
		{driftline.ErasureRequest{Entity: "persn"}, driftline.NotFound, `did you mean "person"?`},
		{driftline.ErasureRequest{Entity: "person"}, driftline.Invalid, `"person" is missing`},
		{driftline.ErasureRequest{Entity: "person", Keys: map[string]string{"person": "x", "name": "y"}}, driftline.Invalid, `no join key "name"`},
		{driftline.ErasureRequest{Entity: "shop", Keys: map[string]string{"shop": "two"}}, driftline.Invalid, "not a valid int64"},
	} {
		_, err := env.Engine.Erase(context.Background(), test.req)
		if driftline.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v answered %v, want %s", test.req, err, test.says)
		}
	}
}

// An erasure that a crash cut off at any point is carried on when the folder is opened.
func TestErasureSurvivesACrash(t *testing.T) {
	for _, step := range engine.ErasureSteps {
		t.Run(step, func(t *testing.T) {
			env := newVisits(t)
			crash := errors.New("crash")
			env.Engine.FailAt(step, crash)
			if _, err := env.Engine.Erase(context.Background(), eraseMarker()); !errors.Is(err, crash) {
				t.Fatalf("the erasure ended with %v", err)
			}
			env.Reopen()
			checkErased(t, env)
		})
	}
}

// A division of the rows that are left is another one, though every snapshot is there.
func TestADatasetWithoutItsErasedRowsIsNotMadeAgain(t *testing.T) {
	env := newVisits(t)
	ctx := context.Background()
	const stranger = "who is in no view"
	people := arrow.NewSchema([]arrow.Field{
		{Name: "person", Type: arrow.BinaryTypes.String},
		{Name: "event_timestamp", Type: driftline.Time},
	}, nil)
	req := features("visits:city")
	req.Split, req.SaveAs = fractions(driftline.SplitTime, 0.5, 0.5), "divided"
	d := save(t, env, req, env.Rows(people, `[
		{"person": "`+stranger+`", "event_timestamp": "2013-05-01T10:00:00Z"},
		{"person": "ann", "event_timestamp": "2013-05-02T10:00:00Z"},
		{"person": "ann", "event_timestamp": "2013-05-03T10:00:00Z"},
		{"person": "ann", "event_timestamp": "2013-05-04T10:00:00Z"}]`))
	rebuilds(t, env, d)
	_, err := env.Engine.Erase(ctx, driftline.ErasureRequest{Entity: "person", Keys: map[string]string{"person": stranger}})
	if err != nil {
		t.Fatal(err)
	}
	env.Reopen()
	_, err = env.Engine.Rebuild(ctx, "divided", 1)
	if driftline.CodeOf(err) != driftline.FailedPrecondition || !strings.Contains(err.Error(), "erasure") {
		t.Errorf("rebuilding it answered %v, want that an erasure was here", err)
	}
	if d, err = env.Engine.Registry().Dataset("divided", 1); err != nil || !d.Erased || d.Report.Rows != 3 {
		t.Errorf("its record says %+v, %v, want that rows were erased", d, err)
	}
}

// A commit whose answer is lost may have taken effect. Files that the table has stay.
func TestAnErasureLooksWhatBecameOfALostAnswer(t *testing.T) {
	for _, took := range []bool{true, false} {
		env := newWeather(t)
		pieces(env, 3)
		if err := env.Engine.ReplaceWithLostAnswer(context.Background(), "weather", took); (err == nil) != took {
			t.Errorf("took effect: %v, and the answer is %v", took, err)
		}
		if n := countRows(t, env.Engine, "weather"); n != 3 {
			t.Errorf("took effect: %v, and %d rows are left", took, n)
		}
		env.Reopen()
		if n := countRows(t, env.Engine, "weather"); n != 3 {
			t.Errorf("took effect: %v, and %d rows are left after the restart", took, n)
		}
	}
}

// A row that is written while an erasure runs may stay. If it does, it is in both stores.
func TestARowWrittenDuringAnErasureIsInBothStores(t *testing.T) {
	env := newVisits(t)
	ctx := context.Background()
	env.Engine.AtFirst("view locked", func() {
		env.Ingest("sales", `[{"shop": 1, "person": "`+marker+`", "event_timestamp": "2013-05-03T10:00:00Z", "amount": 7}]`)
	})
	if _, err := env.Engine.Erase(ctx, eraseMarker()); err != nil {
		t.Fatal(err)
	}
	rows, err := env.Engine.SQL(ctx, "SELECT amount FROM features.sales WHERE shop = 1", nil)
	if err != nil {
		t.Fatal(err)
	}
	offline := text(t, rows)
	var req driftline.OnlineRequest
	req.Features = []string{"sales:amount"}
	buyers := arrow.NewSchema([]arrow.Field{{Name: "shop", Type: arrow.PrimitiveTypes.Int64}, {Name: "person", Type: arrow.BinaryTypes.String}}, nil)
	for entities := range env.Rows(buyers, `[{"shop": 1, "person": "`+marker+`"}]`).All {
		answer, err := env.Engine.Online(ctx, req, entities)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Release()
		online := text(t, driftline.BatchesOf(answer.Batch.Schema(), answer.Batch))
		if offline != "7 \n" || online != "1 "+marker+" 7 \n" {
			t.Errorf("offline has %q, online has %q", offline, online)
		}
	}
}
