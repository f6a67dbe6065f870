package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// served logs what the champion predicted in the hours of a day, and the truth, an hour later: so
// many of the predictions right.
func (s *schooled) served(day time.Time, predictions, right int) {
	s.t.Helper()
	records, labels := make([]driftline.PredictionRecord, predictions), make([]driftline.Label, predictions)
	for i := range records {
		id, at := fmt.Sprintf("%s-%d", day.Format(time.DateOnly), i), day.Add(time.Duration(i)*time.Second)
		records[i] = driftline.PredictionRecord{ID: id, Model: "late", Version: 1, Time: at, Status: 200, Prediction: 1.0}
		label := 1.0
		if i >= right {
			label = 0
		}
		labels[i] = driftline.Label{Prediction: id, Label: label, Time: at.Add(time.Hour)}
	}
	ctx := context.Background()
	if _, err := s.Engine.LogPredictionsDurably(ctx, records); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Engine.LogLabels(ctx, "late", labels, ""); err != nil {
		s.t.Fatal(err)
	}
}

// A10, from the prediction log and its labels to the run: the first day of the champion says how
// good it is, and three labels say nothing; 4.9 % worse over a day is no reason to train, 5.1 % is.
func TestAFallOfTheChampionTrains(t *testing.T) {
	const many = 20_000
	for _, c := range []struct {
		predictions, right int
		want               string
	}{
		{3, 0, ""}, {many, 15_216, ""}, {many, 15_184, "accuracy is 5.1 % worse than the 0.8 of its reference, over 20000 labels"},
	} {
		t.Run(fmt.Sprint(c.right, " of ", c.predictions), func(t *testing.T) {
			s := newSchooled(t)
			champion(t, s.Env, "late", s.version(nil))
			s.policy(func(p *driftline.Policy) {
				p.Triggers = []driftline.Trigger{{Name: "fell", Performance: &driftline.PerformanceTrigger{Metric: "accuracy"}}}
			})
			day := s.Clock.Now()
			s.Clock.Set(day.Add(48*time.Hour - time.Minute))
			s.served(day, many, many*8/10)
			s.served(day.Add(24*time.Hour), c.predictions, c.right)
			s.look()
			if runs, all := s.runs(), s.suppressed(); len(runs) != 0 || len(all) != 0 {
				t.Fatalf("before the labels of the second day have come: %+v, %+v", runs, all)
			}
			s.Clock.Advance(2 * time.Hour)
			s.Reopen() // what the trigger remembers is on the disk
			for range 3 {
				s.look()
				s.Clock.Advance(2 * time.Minute)
			}
			runs, all := s.runs(), s.suppressed()
			switch {
			case c.predictions < many:
				if len(runs) != 0 || len(all) != 1 || all[0].Reason != driftline.SuppressedFewLabels || !strings.Contains(all[0].Detail, "(3 < 200)") {
					t.Errorf("%+v, %+v", runs, all)
				}
			case c.want == "":
				if len(runs) != 0 || len(all) != 0 {
					t.Errorf("%+v, %+v", runs, all)
				}
			case len(runs) != 1 || runs[0].CauseCount != 1 || runs[0].Causes[0].Kind != driftline.TriggerPerformance || !strings.HasPrefix(runs[0].Causes[0].Summary, c.want):
				t.Errorf("%+v, %+v", runs, all)
			}
		})
	}
}
