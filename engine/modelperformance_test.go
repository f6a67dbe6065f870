package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// labelledDays are n predictions on each of some days, of two versions, of which the second is
// wrong three times as often from the third day on, and their labels.
func labelledDays(t *testing.T, days, n int) (*testenv.Env, time.Time) {
	t.Helper()
	env := withModel(t)
	start := env.Clock.Now()
	env.Clock.Set(start.Add(time.Duration(days+1) * day))
	random := rand.New(rand.NewPCG(1, 2))
	var records []driftline.PredictionRecord
	var labels []driftline.Label
	for i := range days * n {
		p := aPrediction(env, i)
		p.Time = start.Add(time.Duration(i/n)*day + time.Duration(i%n)*time.Minute)
		p.Version = 1 + i%2
		p.Entity = map[string]any{"origin": []string{"EWR", "JFK"}[random.IntN(2)]}
		x := random.Float64()
		p.Score, p.Prediction = score(x), float64(int(x+0.5))
		truth := random.Float64() < x
		if p.Version == 2 && i/n >= 3 {
			truth = random.Float64() < 1-x
		}
		records = append(records, p)
		labels = append(labels, driftline.Label{Prediction: p.ID, Label: truth, Time: p.Time.Add(time.Hour)})
	}
	logNow(t, env, records...)
	label(t, env, labels...)
	return env, start
}

const day = 24 * time.Hour

// TestModelPerformance: the version that got worse is told from the one that did not, and the
// custom metric is the mean that a loop over the rows would give.
func TestModelPerformance(t *testing.T) {
	env, start := labelledDays(t, 6, 400)
	got, err := env.Engine.ModelPerformance(context.Background(), "late", driftline.ModelPerformanceRequest{
		By: []string{"model_version"}, Metrics: map[string]string{"hits": "avg((prediction = label)::INT)"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Task != driftline.TaskClassification || len(got.Groups) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, g := range got.Groups {
		if g.Predictions != 1200 || g.Labelled != 1200 || g.Report == nil || len(g.Report.Windows) != 6 {
			t.Fatalf("%+v: %s", g, g.Error)
		}
		for i, w := range g.Report.Windows {
			bad := g.Of["model_version"] == "2" && i >= 3
			for _, m := range w.Metrics {
				if m.Metric != "accuracy" {
					continue
				}
				if accuracy := float64(m.Measured.Value); bad != (accuracy < 0.5) {
					t.Errorf("version %s, day %d: accuracy %v", g.Of["model_version"], i, accuracy)
				}
				custom := g.Custom[0].Windows[i]
				if math.Abs(float64(custom.Value-m.Measured.Value)) > 1e-9 || !(custom.Low < custom.Value && custom.Value < custom.High) || custom.Rows != 200 {
					t.Errorf("the same metric in SQL is %+v, want %v", custom, m.Measured.Value)
				}
				// The jackknife of a mean is its standard error: the binomial one, here.
				p := float64(custom.Value)
				if want := 1.96 * math.Sqrt(p*(1-p)/200); float64(custom.High-custom.Value) < want/2 || float64(custom.High-custom.Value) > want*2 {
					t.Errorf("half the interval is %v, want about %v", custom.High-custom.Value, want)
				}
			}
		}
	}
	windows, err := env.Engine.MetricWindows(context.Background(), "late", 2, "accuracy", driftline.Duration(day), start.Add(day), start.Add(5*day))
	if err != nil || len(windows) != 4 || windows[0].Value < 0.6 || windows[3].Value > 0.4 || windows[0].Labels != 200 || !(windows[0].Error > 0.01 && windows[0].Error < 0.06) {
		t.Errorf("%+v, %v", windows, err)
	}
	if windows, err := env.Engine.MetricWindows(context.Background(), "late", 7, "accuracy", driftline.Duration(day), start, start.Add(day)); err != nil || len(windows) != 0 {
		t.Errorf("a version that never answered: %+v, %v", windows, err)
	}
}

// TestModelPerformanceRefused: what cannot be measured says why.
func TestModelPerformanceRefused(t *testing.T) {
	env, _ := labelledDays(t, 1, 40)
	for text, req := range map[string]driftline.ModelPerformanceRequest{
		"column \"colour\"":    {By: []string{"colour"}},
		"metric \"broken\"":    {Metrics: map[string]string{"broken": "avg(nothing)"}},
		"metric \"two\"":       {Metrics: map[string]string{"two": "1); DROP TABLE x; --"}},
		"window is -1":         {Window: -1},
		"alpha is 2":           {Alpha: 2},
		"from is not before":   {From: time.Unix(2, 0), To: time.Unix(1, 0)},
		"by has 5 columns":     {By: []string{"arm", "arm", "arm", "arm", "arm"}},
		"there are 21 metrics": {Metrics: manyMetrics(21)},
	} {
		_, err := env.Engine.ModelPerformance(context.Background(), "late", req)
		if code := driftline.CodeOf(err); code != driftline.Invalid && code != driftline.Permission || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := env.Engine.MetricWindows(context.Background(), "late", 1, "beauty", driftline.Duration(day), time.Time{}, time.Time{}); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("no such metric: %v", err)
	}
}

func manyMetrics(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprint(i)] = "count(*)"
	}
	return all
}

// TestMonitorOfPredictions: a monitor looks at predictions with their labels as at any table, and
// finds the day from which on the labels of a version are others.
func TestMonitorOfPredictions(t *testing.T) {
	env, start := labelledDays(t, 6, 800)
	env.Clock.Set(start.Add(2 * day))
	m := driftline.Monitor{Name: "served", Reference: driftline.MonitorReference{From: start, To: start.Add(2 * day)}, Window: driftline.Span{Days: 1}, Start: start.Add(2 * day),
		Source: driftline.MonitorSource{TimeColumn: "event_timestamp",
			SQL: "SELECT event_timestamp, (prediction = label)::INT AS hit FROM predictions.late WHERE model_version = 2"}}
	env.Apply(driftline.Definitions{Monitors: []driftline.Monitor{m}})
	env.Clock.Set(start.Add(6 * day))
	if _, err := env.Engine.RunMonitor(context.Background(), m.Name, driftline.MonitorRun{}); err != nil {
		t.Fatal(err)
	}
	panes, err := env.Engine.MonitorPanes(context.Background(), m.Name, time.Time{}, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range panes {
		if drifted := p.Outcome == driftline.PaneDrift; drifted != !p.Start.Before(start.Add(3*day)) {
			t.Errorf("the pane of %s is %s", p.Start, p.Outcome)
		}
	}
	if len(panes) != 4 {
		t.Errorf("%d panes", len(panes))
	}
}
