package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// withCustomers is an engine with entities whose join keys are a number, and a text and a number, and with
// predictions for them: logged with the entity, with its keys as features only, with both keys, and for
// others. Each has a label by ID; customer 7 has one by entity too.
func withCustomers(t *testing.T) *testenv.Env {
	t.Helper()
	env := withModel(t)
	env.Apply(driftline.Definitions{Entities: []driftline.Entity{
		{Name: "customer", JoinKeys: []driftline.Field{{Name: "customer", Type: driftline.Int64}}},
		{Name: "order", JoinKeys: []driftline.Field{{Name: "shop", Type: driftline.String}, {Name: "number", Type: driftline.Int64}}},
	}})
	at := env.Clock.Now()
	var records []driftline.PredictionRecord
	var labels []driftline.Label
	for i, r := range []driftline.PredictionRecord{
		{Entity: map[string]any{"customer": 7}, Features: map[string]any{"name": marker}},
		{Entity: map[string]any{"customer": 77}},
		{Entity: map[string]any{"customer": 7, "shop": "a", "number": 1}},
		{Entity: map[string]any{"shop": "a", "number": 1}},
		{Entity: map[string]any{"shop": "a", "number": 2}},
		{Features: map[string]any{"customer": 7.0}},
		{},
	} {
		r.ID, r.Model, r.Version, r.Time = fmt.Sprint("p-", i), "late", 1, at.Add(-time.Duration(i)*time.Minute)
		if r.Features == nil {
			r.Features = map[string]any{}
		}
		r.Features["age"] = float64(30 + i)
		records = append(records, r)
		labels = append(labels, driftline.Label{Prediction: r.ID, Label: 1.0, Time: at})
	}
	logNow(t, env, records[:3]...)
	logNow(t, env, records[3:]...) // its columns are others
	labels = append(labels, driftline.Label{Entity: map[string]any{"customer": 7}, At: at, Label: 0.0, Time: at})
	if _, err := env.Engine.LogLabels(context.Background(), "late", labels, ""); err != nil {
		t.Fatal(err)
	}
	return env
}

const (
	logged   = "SELECT string_agg(prediction_id, ' ' ORDER BY prediction_id) FROM features.late_predictions"
	labelled = "SELECT string_agg(coalesce(prediction_id, entity), ' ' ORDER BY coalesce(prediction_id, entity)) FROM features.late_labels"
)

// Who is forgotten is forgotten in prediction logs and labels: by the entity that a row names, and by the
// predictions that labels are of; also in snapshots of before, and if the server dies on the way.
func TestErasingReachesPredictions(t *testing.T) {
	seven := driftline.ErasureRequest{Entity: "customer", Keys: map[string]string{"customer": "7"}}
	for _, step := range []string{"", "erasure noted", "view locked", "views erased"} {
		t.Run(step, func(t *testing.T) {
			env := withCustomers(t)
			if got := selected(t, env, logged); got != "p-0 p-1 p-2 p-3 p-4 p-5 p-6" {
				t.Fatalf("logged %s", got)
			}
			if step != "" {
				env.Engine.FailAt(step, errors.New("crash"))
			}
			done, err := env.Engine.Erase(context.Background(), seven)
			if (err != nil) != (step != "") {
				t.Fatal(err)
			}
			env.Reopen()
			if got := selected(t, env, logged); got != "p-1 p-3 p-4 p-6" {
				t.Errorf("the log has %s", got)
			}
			if got := selected(t, env, labelled); got != "p-1 p-3 p-4 p-6" {
				t.Errorf("there are labels of %s", got)
			}
			if got := selected(t, env, "SELECT count(*) FROM predictions.late WHERE label IS NOT NULL"); got != "4" {
				t.Errorf("%s predictions have a label", got)
			}
			if left := filesWith(t, env.Dir, marker); len(left) != 0 {
				t.Errorf("it is still in %v", left)
			}
			if step != "" {
				return
			}
			rows := map[string]int64{}
			for _, table := range done.Tables {
				rows[table.Table] += table.Rows
			}
			if rows["features.late_predictions"] != 3 || rows["features.late_labels"] != 4 {
				t.Errorf("it says %+v", done)
			}
			if again, err := env.Engine.Erase(context.Background(), seven); err != nil || len(again.Tables) != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
	env := withCustomers(t)
	if _, err := env.Engine.Erase(context.Background(), driftline.ErasureRequest{Entity: "order", Keys: map[string]string{"shop": "a", "number": "1"}}); err != nil {
		t.Fatal(err)
	}
	if got := selected(t, env, logged); got != "p-0 p-1 p-4 p-5 p-6" {
		t.Errorf("without an order the log has %s", got)
	}
}
