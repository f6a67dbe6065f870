package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// TestALogIsNotServedOnline: small and bulk writes of a prediction log leave nothing in the online
// store, before a restart and after it; SQL and why see every row; and who would serve them is told.
func TestALogIsNotServedOnline(t *testing.T) {
	env := withModel(t)
	var many []driftline.PredictionRecord
	for i := range 20_000 {
		many = append(many, aPrediction(env, i))
	}
	logNow(t, env, many[:3]...)
	logNow(t, env, many...) // of which three are there
	log, err := env.Engine.Registry().View("late_predictions")
	if err != nil {
		t.Fatal(err)
	}
	if log.ServedOnline() {
		t.Fatal("a prediction log is served online")
	}
	count := func(when string) {
		t.Helper()
		if got := selected(t, env, "SELECT count(DISTINCT prediction_id) FROM features.late_predictions"); got != "20000" {
			t.Errorf("%s: %s predictions, want 20000", when, got)
		}
		keys, err := env.Engine.OnlineEntities("late_predictions")
		if err != nil {
			t.Fatal(err)
		}
		if keys != 0 {
			t.Errorf("%s: %d predictions are online", when, keys)
		}
		if trace, err := env.Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: "p-19999"}); err != nil || trace.Values["temp"] != "19999" {
			t.Errorf("%s: why: %+v, %v", when, trace, err)
		}
	}
	count("as written")
	env.Reopen()
	count("after a restart")

	for what, try := range map[string]func() error{
		"read online": func() error {
			_, err := env.Engine.PlanOnline(driftline.FeatureSet{Features: []string{"late_predictions:score"}})
			return err
		},
		"materialize": func() error {
			_, err := env.Engine.Materialize(context.Background(), driftline.MaterializationRequest{Views: []driftline.ViewName{"late_predictions"}, End: time.Now()})
			return err
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), "prediction log") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
