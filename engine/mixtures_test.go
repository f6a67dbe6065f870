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
		if lines := r.reweighings(s.ID, "brier in the window to 2013-06-"); lines != reweighed {
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

// TestAnAverageIsReweighed: of versions that answer together the shares go where the blend is best, by what each of them
// said beside the answer; here 70 %, where the better version alone would be worse.
func TestAnAverageIsReweighed(t *testing.T) {
	r := newRolled(t, 72)
	plan := quick()
	plan.OnInconclusive, plan.Bake.Duration = driftline.InconclusiveHold, driftline.Duration(20*24*time.Hour)
	const rate, back = 2, 0.02
	plan.Mixture = &driftline.MixturePlan{With: []driftline.VersionShare{{Share: 60}}, Reweigh: &driftline.Reweighing{Loss: "brier", Rate: rate, Return: back}}
	s := r.start(2, plan)
	r.until(s.ID, driftline.RolloutCanary, 1000)
	r.mustAct(s.ID, driftline.RolloutPromote)
	want := []float64{0.4, 0.6} // of version 2, which says 1, and of version 1, which says 0
	for day := range 6 {
		answer := want[0]
		if day == 3 {
			r.together(100, answer, nil) // nothing says what each of them said
		} else {
			r.together(100, answer, map[string]float64{driftline.MixtureValue(2): 1, driftline.MixtureValue(1): 0})
			shares := routing.Shares([]int{2, 1}, estimate.MixtureWeights(want, []float64{2 * (answer - 0.7), 0}, rate, back))
			want = []float64{shares[0].Share / 100, shares[1].Share / 100}
		}
		r.nextDay()
		r.Reopen()
		r.minutes(2, 300)
		got := r.status(s.ID)
		for i, share := range got.Mixture {
			if math.Abs(share.Share-100*want[i]) > 0.011 { // a hundredth, by which floating sums may round otherwise
				t.Fatalf("after day %d the shares are %+v, want %v", day, got.Mixture, want)
			}
			want[i] = share.Share / 100
		}
	}
	if want[0] < 0.6 || want[0] > 0.75 {
		t.Errorf("version 2 has come to %v, where 0.7 is the best blend", want[0])
	}
	if lines := r.reweighings(s.ID, "gradient of brier in the window to 2013-06-"); lines != 5 {
		t.Errorf("it was reweighed %d times, want once for each day that says what the versions said", lines)
	}
	r.legal()
}

// reweighings counts the lines of the ledger by which shares moved; each has to give the reason.
func (r *rolled) reweighings(id driftline.RolloutID, reason string) (lines int) {
	r.T.Helper()
	history, err := r.Engine.RolloutHistory(id)
	if err != nil {
		r.T.Fatal(err)
	}
	for _, c := range history {
		if c.Cause == driftline.CauseReweighed {
			lines++
			if !strings.Contains(c.Reason, reason) {
				r.T.Errorf("the ledger says %s", c.Reason)
			}
		}
	}
	return lines
}

// together logs answers that versions gave together in the hour before now, with what each said, and labels, seven
// of ten of them 1.
func (r *rolled) together(n int, answer float64, said map[string]float64) {
	r.T.Helper()
	now := r.Clock.Now()
	var records []driftline.PredictionRecord
	var labels []driftline.Label
	for i := range n {
		at, id := now.Add(-time.Duration(i+1)*time.Second), fmt.Sprintf("together-%d-%d", now.Unix(), i)
		label := 0.0
		if i%10 < 7 {
			label = 1
		}
		records = append(records, driftline.PredictionRecord{ID: id, Model: late, Version: 2, Time: at, Status: 200, Score: &answer, Prediction: answer, Values: said})
		labels = append(labels, driftline.Label{Prediction: id, Label: label, Time: at.Add(time.Second)})
	}
	if _, err := r.Engine.LogPredictionsDurably(context.Background(), records); err != nil {
		r.T.Fatal(err)
	}
	if _, err := r.Engine.LogLabels(context.Background(), late, labels, ""); err != nil {
		r.T.Fatal(err)
	}
}
