package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// TestAskForLabels: what is asked for is what the model doubts or has not seen the like of, within the
// budget, and nothing twice; the answers go in as labels.
func TestAskForLabels(t *testing.T) {
	env := withModel(t)
	start := env.Clock.Now()
	env.Clock.Set(start.Add(48 * time.Hour))
	var records []driftline.PredictionRecord
	for i := range 60 {
		p := aPrediction(env, i)
		p.Time = start.Add(time.Duration(i) * time.Minute)
		p.Features = map[string]any{"temp": float64(i % 10), "sky": "clear"}
		p.Score = score(0.9)
		switch i {
		case 41:
			p.Score = score(0.52)
		case 42:
			p.Features["temp"] = 500.0
		case 43:
			p.Features["sky"] = "green"
		case 44:
			p.Mirror = &driftline.MirrorAnswer{Version: 2, Differs: true}
		}
		records = append(records, p)
	}
	logNow(t, env, records...)
	for i := range 40 {
		label(t, env, driftline.Label{Prediction: fmt.Sprintf("p-%d", i), Label: 1})
	}
	ask, err := env.Engine.AskForLabels(context.Background(), "late", driftline.LabelRequest{Budget: 4})
	if err != nil || ask.Rows != 4 || ask.Dataset.String() != "dataset/late_to_label@1" {
		t.Fatalf("%+v, %v", ask, err)
	}
	got := selected(t, env, "SELECT prediction_id, asked_because, temp, sky, score FROM datasets.late_to_label ORDER BY 1")
	want := "p-41 uncertain 1 clear 0.52\np-42 drifted 500 clear 0.9\np-43 drifted 3 green 0.9\np-44 uncertain 4 clear 0.9"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	again, err := env.Engine.AskForLabels(context.Background(), "late", driftline.LabelRequest{Budget: 100})
	if err != nil || again.Rows != 16 {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if _, err := env.Engine.AskForLabels(context.Background(), "late", driftline.LabelRequest{}); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("nothing is left: %v", err)
	}
	label(t, env, driftline.Label{Prediction: "p-41", Label: 0})
	if n := selected(t, env, "SELECT count(*) FROM datasets.\"late_to_label@1\" AS a JOIN predictions.late AS p USING (prediction_id) WHERE p.label IS NOT NULL"); n != "1" {
		t.Errorf("%s answers", n)
	}
	for text, bad := range map[string]driftline.LabelRequest{"budget is -1": {Budget: -1}, "choice \"best\"": {By: "best"}} {
		if _, err := env.Engine.AskForLabels(context.Background(), "late", bad); driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
