package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// since asks for the rows of a spine that came after a dataset was made.
func since(t *testing.T, env *testenv.Env, made *driftline.Dataset, source driftline.SpineSource, refs ...string) string {
	t.Helper()
	req := features(refs...)
	source.Since = made.Ref()
	req.Spine = &source
	return ask(t, env, req)
}

func kept(t *testing.T, env *testenv.Env, name driftline.DatasetName, source driftline.SpineSource, refs ...string) *driftline.Dataset {
	t.Helper()
	req := features(refs...)
	req.SaveAs, req.Spine = name, &source
	return save(t, env, req, driftline.Batches{})
}

// Rows of random keys and times are written, kept in datasets, and merged: what came since each dataset is
// what was written after it, whatever its time, also where it was written before.
func TestRowsSinceADatasetAreThoseWrittenAfterIt(t *testing.T) {
	env := testenv.New(t)
	env.Apply(hourly)
	random := rand.New(rand.NewPCG(7, 7))
	start := time.Date(2013, 6, 1, 0, 0, 0, 0, time.UTC)
	everything := driftline.SpineSource{Range: &driftline.TimeRange{}}
	var written []string
	write := func() {
		row := fmt.Sprintf("%s %s ", []string{"EWR", "JFK"}[random.IntN(2)], start.Add(time.Duration(random.IntN(20))*time.Hour).Format(time.RFC3339))
		written = append(written, row)
		key, at, _ := strings.Cut(strings.TrimSpace(row), " ")
		env.Ingest("winds", fmt.Sprintf(`[{"airport": %q, "event_timestamp": %q, "wind": %d}]`, key, at, len(written)))
	}
	made := map[int]*driftline.Dataset{}
	for range 25 {
		switch random.IntN(5) {
		case 0:
			made[len(written)] = kept(t, env, "winds_so_far", everything, "winds:wind")
		case 1:
			if _, err := env.Engine.Compact(context.Background(), "features.winds"); err != nil {
				t.Fatal(err)
			}
		default:
			write()
		}
	}
	write()
	for _, n := range slices.Sorted(maps.Keys(made)) {
		later := slices.Compact(slices.Sorted(slices.Values(written[n:])))
		var got []string
		for line := range strings.Lines(since(t, env, made[n], everything, "winds:wind")) {
			words := strings.Fields(line)
			got = append(got, words[0]+" "+words[1]+" ")
		}
		if !slices.Equal(got, later) {
			t.Errorf("since the %d rows of %s: %q, want %q", n, made[n].Ref(), got, later)
		}
	}
	if len(made) < 3 {
		t.Errorf("%d datasets are few", len(made))
	}
}

// An outcome that comes late makes its row one of those that came since: it can be learned from only now.
func TestARowIsNewWhenItsOutcomeComes(t *testing.T) {
	env := testenv.New(t)
	env.Apply(hourly)
	env.Ingest("winds", `[
		{"airport": "JFK", "event_timestamp": "2013-06-01T09:00:00Z", "wind": 9},
		{"airport": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "wind": 1},
		{"airport": "EWR", "event_timestamp": "2013-06-01T09:00:00Z", "wind": 2}]`)
	everything := driftline.SpineSource{Range: &driftline.TimeRange{}}
	made := kept(t, env, "closures", everything, "winds:wind", "outcomes:closed")
	if got := since(t, env, made, everything, "winds:wind", "outcomes:closed"); got != "" {
		t.Errorf("nothing came, and there are the rows\n%s", got)
	}
	env.Ingest("outcomes", `[{"airport": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "closed": true}]`)
	req := features("winds:wind", "outcomes:closed")
	again := everything
	again.Since = made.Ref()
	req.SaveAs, req.Spine = "closures", &again
	learned := save(t, env, req, driftline.Batches{})
	if got, want := ask(t, env, askedAgain(learned)), "JFK 2013-06-01T09:00:00Z 9 true \n"; got != want {
		t.Errorf("the rows\n%swant\n%s", got, want)
	}
	rebuilds(t, env, learned)
}

// askedAgain asks for the features of a dataset again.
func askedAgain(d *driftline.Dataset) driftline.HistoricalRequest {
	req := d.Request
	req.Spine = &driftline.SpineSource{Dataset: d.Ref()}
	return req
}

// Of a SELECT the rows are new that it did not give before: predictions whose labels came since, say.
func TestASelectHasNewRows(t *testing.T) {
	env := withModel(t)
	for i := 1; i <= 3; i++ {
		logNow(t, env, aPrediction(env, i))
	}
	label(t, env, driftline.Label{Prediction: "p-1", Label: 1})
	env.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{{
		Name: "oil", Features: []driftline.Field{{Name: "price", Type: driftline.Float64}}}}})
	labelled := driftline.SpineSource{SQL: "SELECT prediction_id, event_timestamp, label FROM predictions.late WHERE label IS NOT NULL"}
	made := kept(t, env, "labelled", labelled, "oil:price")
	if made.Report.Rows != 1 || len(made.Report.Pins) != 3 {
		t.Fatalf("%d rows from %v, want one from predictions, labels and oil", made.Report.Rows, made.Report.Pins)
	}
	label(t, env, driftline.Label{Prediction: "p-3", Label: 0})
	if got := since(t, env, made, labelled, "oil:price"); !strings.HasPrefix(got, "p-3 ") || strings.Count(got, "\n") != 1 {
		t.Errorf("what was labelled since:\n%s", got)
	}
	newest := driftline.SpineSource{Dataset: driftline.Ref{Kind: driftline.KindDataset, Name: "labelled"}}
	kept(t, env, "labelled", labelled, "oil:price")
	if got := since(t, env, made, newest, "oil:price"); !strings.HasPrefix(got, "p-3 ") || strings.Count(got, "\n") != 1 {
		t.Errorf("what the newest version has more than the one before:\n%s", got)
	}
	for text, source := range map[string]driftline.SpineSource{
		"is not kept":   {SQL: "SELECT now() AS event_timestamp FROM meta.runs", Since: made.Ref()},
		"no rows since": {SQL: labelled.SQL, Since: driftline.ViewRef("oil")},
	} {
		req := features("oil:price")
		req.Spine = &source
		_, err := env.Engine.Historical(context.Background(), req, driftline.Batches{})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want an error that says %q", err, text)
		}
	}
}
