package engine_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
	"github.com/driftline/driftline/routing"
)

// scored logs predictions of a version in the hour before now, and labels, all of them 1, so that the mean loss is
// that of the score.
func (r *rolled) scored(version, n int, p float64) {
	r.T.Helper()
	ctx, now := context.Background(), r.Clock.Now()
	var records []driftline.PredictionRecord
	var labels []driftline.Label
	for i := range n {
		at := now.Add(-time.Duration(i+1) * time.Second)
		id := fmt.Sprintf("%d-%d-%d", version, now.Unix(), i)
		records = append(records, driftline.PredictionRecord{ID: id, Model: late, Version: version, Time: at, Status: 200, Score: &p, Prediction: 1.0})
		labels = append(labels, driftline.Label{Prediction: id, Label: 1.0, Time: at.Add(time.Second)})
	}
	if _, err := r.Engine.LogPredictionsDurably(ctx, records); err != nil {
		r.T.Fatal(err)
	}
	if _, err := r.Engine.LogLabels(ctx, late, labels, ""); err != nil {
		r.T.Fatal(err)
	}
}

// nextDay lets the time pass until a minute after the end of the day, with requests now and then.
func (r *rolled) nextDay() {
	r.T.Helper()
	end := r.Clock.Now().Truncate(24 * time.Hour).Add(24*time.Hour + time.Minute)
	for r.Clock.Now().Before(end) {
		r.Clock.Advance(min(4*time.Hour, end.Sub(r.Clock.Now())))
		r.minutes(1, 300)
	}
}

// TestAMixtureIsReweighed: each day whose labels have come moves the shares of a live rollout as the
// source says, once, over restarts; a day without enough labels of anybody moves nothing; and what was
// promoted goes on as it was.
func TestAMixtureIsReweighed(t *testing.T) {
	r := newRolled(t, 71)
	plan := quick()
	plan.OnInconclusive, plan.Bake.Duration = driftline.InconclusiveHold, driftline.Duration(20*24*time.Hour)
	plan.Mixture = &driftline.MixturePlan{Kind: driftline.MixtureChoose, With: []driftline.VersionShare{{Share: 25}, {Version: 3, Share: 25}},
		Reweigh: &driftline.Reweighing{Loss: "brier", Rate: 4}}
	s := r.start(2, plan)
	r.until(s.ID, driftline.RolloutCanary, 1000)
	r.mustAct(s.ID, driftline.RolloutPromote)
	if err := r.Engine.Registry().DeleteModelVersion(late, "3", "", ""); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("a version of the mixture was deleted: %v", err)
	}
	versions, want := []int{2, 1, 3}, []float64{0.5, 0.25, 0.25}
	reweighed := 0
	for day, scores := range [][]float64{{0.5, 0.9, 0.7}, {0.5, 0.9, 0.7}, nil, {0.9, 0.2, math.NaN()}} {
		losses := make([]float64, len(versions))
		for i, p := range scores {
			losses[i] = (1 - p) * (1 - p)
			if n := 60; p == p {
				r.scored(versions[i], n, p)
			} else {
				r.scored(versions[i], 3, 0.5) // too few
			}
		}
		r.nextDay()
		if scores != nil {
			shares := routing.Shares(versions, estimate.MixtureWeights(want, losses, 4, 0.05))
			for i := range shares {
				want[i] = shares[i].Share / 100
			}
			reweighed++
		}
		r.Reopen()
		r.minutes(2, 300)
		got := r.status(s.ID)
		for i, share := range got.Mixture {
			if share.Version != versions[i] || math.Abs(share.Share-100*want[i]) > 1e-9 {
				t.Fatalf("after day %d the shares are %+v, want %v", day, got.Mixture, want)
			}
		}
		history, err := r.Engine.RolloutHistory(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for _, c := range history {
			if c.Cause == driftline.CauseReweighed {
				lines++
				if !strings.Contains(c.Reason, "brier in the window to 2013-06-") {
					t.Errorf("the ledger says %s", c.Reason)
				}
			}
		}
		if lines != reweighed {
			t.Fatalf("after day %d there are %d lines, want %d", day, lines, reweighed)
		}
	}
	r.legal()
	r.mustAct(s.ID, driftline.RolloutPromote)
	r.Reopen()
	counts := map[int]int{}
	for i := range 4000 {
		d, err := r.Engine.RouteOf(late, fmt.Sprint("user", i))
		if err != nil || d.Arm != driftline.ArmChampion {
			t.Fatalf("%+v, %v", d, err)
		}
		counts[d.Version]++
	}
	for i, version := range versions {
		if spread := 5 * math.Sqrt(4000*want[i]*(1-want[i])); math.Abs(float64(counts[version])-4000*want[i]) > spread {
			t.Errorf("of 4000 requests %v, want the shares %v", counts, want)
		}
	}
	if err := r.Engine.Registry().DeleteModelVersion(late, "3", "", ""); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("a version of the champion's mixture was deleted: %v", err)
	}
}
