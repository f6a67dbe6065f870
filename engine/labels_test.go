package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/predictions"
)

func label(t *testing.T, env *testenv.Env, labels ...driftline.Label) {
	t.Helper()
	if _, err := env.Engine.LogLabels(context.Background(), "late", labels, ""); err != nil {
		t.Fatal(err)
	}
}

// TestLabels is a label's life: it waits for its prediction, is joined when that comes, counts once
// however often it is sent, is corrected by a later one and not by an earlier one, and taken back.
func TestLabels(t *testing.T) {
	env := withModel(t)
	start := env.Clock.Now()
	env.Clock.Set(env.Clock.Now().Add(48 * time.Hour))
	of := func(id string, value any, after time.Duration) driftline.Label {
		return driftline.Label{Prediction: id, Label: value, Time: start.Add(after)}
	}
	const joined = `SELECT prediction_id, label, epoch_us(labelled_at) - epoch_us(TIMESTAMPTZ '2013-06-01 00:00:00+00') FROM predictions.late ORDER BY event_timestamp`
	label(t, env, of("p-1", 1, time.Hour))
	status, err := env.Engine.Labels(context.Background(), "late", time.Time{})
	if err != nil || status.Labels != 1 || status.Orphans != 1 || status.Predictions != 0 || status.Labelled != 0 {
		t.Fatalf("a label without a prediction: %+v, %v", status, err)
	}
	for i := 1; i <= 2; i++ {
		p := aPrediction(env, i)
		p.Time = start.Add(time.Duration(i) * time.Minute)
		logNow(t, env, p)
	}
	if got := selected(t, env, joined); got != "p-1 1 3600000000\np-2 (null) (null)" {
		t.Errorf("its prediction came: %s", got)
	}
	label(t, env, of("p-1", 1, time.Hour))
	label(t, env, of("p-1", 0, 2*time.Hour), of("p-1", 7, 30*time.Minute))
	if got := selected(t, env, joined); got != "p-1 0 7200000000\np-2 (null) (null)" {
		t.Errorf("corrected: %s", got)
	}
	label(t, env, driftline.Label{Entity: map[string]any{"origin": "EWR"}, At: start.Add(2 * time.Minute), Label: true, Time: start.Add(3 * time.Hour)})
	status, err = env.Engine.Labels(context.Background(), "late", time.Time{})
	if err != nil || status.Labels != 2 || status.Superseded != 3 || status.Labelled != 2 || status.Orphans != 0 || len(status.Days) != 1 ||
		status.Delay.Least != driftline.Duration(119*time.Minute) || status.Delay.Most != driftline.Duration(178*time.Minute) {
		t.Errorf("%+v, %v", status, err)
	}
	if c := status.Delay.Counts; len(c) != 1 || c[0].Labels != 2 || c[0].Within != driftline.Duration(6*time.Hour) {
		t.Errorf("delays: %+v", c)
	}
	label(t, env, of("p-1", nil, 4*time.Hour))
	status, err = env.Engine.Labels(context.Background(), "late", start.Add(90*time.Second))
	if err != nil || status.Predictions != 1 || status.Withdrawn != 1 || status.Labelled != 1 {
		t.Errorf("taken back: %+v, %v", status, err)
	}
	if n := selected(t, env, "SELECT count(*) FROM features.late_labels"); n != "6" {
		t.Errorf("%s of 6 labels are kept", n)
	}
}

// TestLabelsRefused: a label from the future, or of nothing, is refused with all that came with it.
func TestLabelsRefused(t *testing.T) {
	env := withModel(t)
	now := env.Clock.Now()
	for text, bad := range map[string]driftline.Label{
		"is from the future":        {Prediction: "p", Label: 1, Time: now.Add(time.Hour)},
		"does not say of which":     {Label: 1},
		"and of an entity":          {Prediction: "p", Entity: map[string]any{"a": 1}, At: now, Label: 1},
		"has an entity and no time": {Entity: map[string]any{"a": 1}, Label: 1},
		"has a time and no entity":  {At: now, Label: 1},
		"within is -1":              {Entity: map[string]any{"a": 1}, At: now, Within: -1, Label: 1},
		"neither a number nor":      {Prediction: "p", Label: []any{1}},
		"label NaN":                 {Prediction: "p", Label: math.NaN()},
		"its class has 0 bytes":     {Prediction: "p", Label: ""},
	} {
		_, err := env.Engine.LogLabels(context.Background(), "late", []driftline.Label{{Prediction: "good", Label: 1}, bad}, "")
		if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(fmt.Sprint(err), text) || !strings.Contains(fmt.Sprint(err), "label 1") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := env.Engine.Registry().View("late_labels"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("something was written: %v", err)
	}
	if _, err := env.Engine.LogLabels(context.Background(), "early", []driftline.Label{{Prediction: "p", Label: 1}}, ""); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a model that is not there: %v", err)
	}
}

// TestLabelsSentAgain: with an idempotency key the same labels are one write, however late they
// are sent again, and others a conflict.
func TestLabelsSentAgain(t *testing.T) {
	env := withModel(t)
	labels := []driftline.Label{{Prediction: "p", Label: 1}}
	for i := range 3 {
		env.Clock.Set(env.Clock.Now().Add(time.Hour))
		receipt, err := env.Engine.LogLabels(context.Background(), "late", labels, "monday")
		if err != nil || receipt.Labels != 1 || receipt.Duplicate != (i > 0) {
			t.Errorf("%+v, %v", receipt, err)
		}
	}
	labels[0].Label = 0
	if _, err := env.Engine.LogLabels(context.Background(), "late", labels, "monday"); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("other labels: %v", err)
	}
}

// TestLabelsOracle: over random predictions and labels of a tiny domain, in any order, with
// duplicates, corrections and withdrawals, each prediction has the label that a loop finds.
func TestLabelsOracle(t *testing.T) {
	const histories = 12
	for seed := range uint64(histories) {
		random := rand.New(rand.NewPCG(seed, 17))
		env := withModel(t)
		start := env.Clock.Now()
		env.Clock.Set(env.Clock.Now().Add(24 * time.Hour))
		at := func() time.Time { return start.Add(time.Duration(random.IntN(6)) * time.Hour) }
		entity := func() map[string]any {
			return map[string]any{"origin": []string{"EWR", "JFK"}[random.IntN(2)], "n": random.IntN(2)}
		}
		var of []driftline.PredictionRecord
		var told []toldLabel
		for range 14 {
			if random.IntN(2) == 0 {
				p := aPrediction(env, 0)
				p.ID, p.Time, p.Entity = fmt.Sprintf("p-%d", random.IntN(6)), at(), entity()
				logNow(t, env, p)
				of = append(of, p)
				continue
			}
			env.Clock.Set(env.Clock.Now().Add(time.Second))
			var labels []driftline.Label
			for range 1 + random.IntN(3) {
				l := driftline.Label{Label: float64(random.IntN(3)), Time: at()}
				switch random.IntN(5) {
				case 0:
					l.Label = nil
				case 1:
					l.Label = []string{"late", "early"}[random.IntN(2)]
				}
				if random.IntN(2) == 0 {
					l.Prediction = fmt.Sprintf("p-%d", random.IntN(7))
				} else {
					l.Entity, l.At, l.Within = entity(), at(), driftline.Duration(time.Duration(random.IntN(3))*time.Hour)
				}
				labels = append(labels, l)
			}
			label(t, env, labels...)
			if random.IntN(4) == 0 {
				label(t, env, labels...)
			}
			for _, l := range labels { // sent twice they arrived at one time
				told = append(told, toldLabel{l, env.Clock.Now()})
			}
			if random.IntN(3) == 0 {
				flushView(t, env, "late_predictions")
			}
		}
		if len(of) == 0 {
			continue
		}
		var want []string
		for _, p := range standing(of) {
			want = append(want, p.ID+" "+labelOracle(p, standing(of), told))
		}
		slices.Sort(want)
		got := strings.Split(selected(t, env, `SELECT prediction_id, coalesce(label::INT::VARCHAR, label_text, '-') FROM predictions.late ORDER BY prediction_id`), "\n")
		if !slices.Equal(got, want) {
			t.Errorf("seed %d:\n%v\nwant\n%v\n%+v\n%+v", seed, got, want, of, told)
		}
	}
}

// standing are the predictions, each by its newest record.
func standing(of []driftline.PredictionRecord) []driftline.PredictionRecord {
	newest := map[string]driftline.PredictionRecord{}
	for _, p := range of {
		if old, ok := newest[p.ID]; !ok || p.Time.After(old.Time) {
			newest[p.ID] = p
		}
	}
	var out []driftline.PredictionRecord
	for _, p := range newest {
		out = append(out, p)
	}
	return out
}

// toldLabel is a label and when it arrived.
type toldLabel struct {
	driftline.Label
	arrived time.Time
}

// of says what the label is of.
func (l toldLabel) of() string {
	if l.Prediction != "" {
		return "id:" + l.Prediction
	}
	return fmt.Sprintf("at:%d:%s", l.At.UnixMicro(), predictions.EntityText(l.Entity))
}

// labelOracle is the label of a prediction: the definition, written as a loop. told is in the order
// of arrival.
func labelOracle(p driftline.PredictionRecord, all []driftline.PredictionRecord, told []toldLabel) string {
	stands := map[string]toldLabel{} // the newest of each thing that labels are of
	for _, l := range told {
		if old, ok := stands[l.of()]; !ok || !l.Time.Before(old.Time) {
			stands[l.of()] = l
		}
	}
	var best *toldLabel
	for _, l := range stands {
		if l.Prediction != "" && l.Prediction != p.ID || l.Prediction == "" && !reaches(l.Label, p, all) {
			continue
		}
		if best == nil || cmp.Or(l.Time.Compare(best.Time), l.arrived.Compare(best.arrived), strings.Compare(l.of(), best.of())) > 0 {
			best = &l
		}
	}
	if best == nil || best.Label.Label == nil {
		return "-"
	}
	return fmt.Sprint(best.Label.Label)
}

// reaches reports whether a label by entity is of p: the newest in its reach, or of the same time.
func reaches(l driftline.Label, p driftline.PredictionRecord, all []driftline.PredictionRecord) bool {
	inReach := func(q driftline.PredictionRecord) bool {
		return fmt.Sprint(q.Entity) == fmt.Sprint(l.Entity) && !q.Time.After(l.At) && !q.Time.Before(l.At.Add(-time.Duration(l.Within)))
	}
	if !inReach(p) {
		return false
	}
	return !slices.ContainsFunc(all, func(q driftline.PredictionRecord) bool { return inReach(q) && q.Time.After(p.Time) })
}

func flushView(t *testing.T, env *testenv.Env, name driftline.ViewName) {
	t.Helper()
	view, err := env.Engine.Registry().View(name)
	if driftline.CodeOf(err) == driftline.NotFound {
		return
	}
	if err == nil {
		err = env.Engine.Flush(context.Background(), view)
	}
	if err != nil {
		t.Fatal(err)
	}
}
