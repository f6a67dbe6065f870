package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// BenchmarkPoliciesReady is A40: a server with 10,000 policies starts, and looks at them for the
// first time. ready-ms is from Open to the end of that look, tick-ms a look at which nothing is due.
func BenchmarkPoliciesReady(b *testing.B) {
	const models = 10_000
	env := testenv.NewWith(b, func(o *engine.Options) { o.TriggersEvery, o.RolloutEvery = -1, -1 })
	for first := 0; first < models; first += 1000 {
		var policies []driftline.Policy
		for i := first; i < first+1000; i++ {
			name := driftline.ModelName(fmt.Sprintf("m%05d", i))
			if _, err := env.Engine.Registry().CreateModel(driftline.RegisteredModelSpec{Name: name}); err != nil {
				b.Fatal(err)
			}
			policies = append(policies, driftline.Policy{
				Model: name, Training: &driftline.TrainingJob{Webhook: &driftline.WebhookJob{URL: "http://127.0.0.1:1"}},
				Triggers: []driftline.Trigger{{Name: "daily", Time: &driftline.TimeTrigger{Cron: fmt.Sprintf("%d %d * * *", i%60, i/60%24), TimeZone: "Europe/Berlin"}}},
			})
		}
		env.Apply(driftline.Definitions{Policies: policies})
	}
	env.Engine.LookAtPolicies(context.Background())
	for b.Loop() {
		b.StopTimer()
		if err := env.Engine.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		env.Reopen()
		env.Engine.LookAtPolicies(context.Background())
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ready-ms")
	began := time.Now()
	for range 100 {
		env.Engine.LookAtPolicies(context.Background())
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/1000/100, "tick-ms")
}
