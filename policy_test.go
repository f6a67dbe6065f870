package driftline_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

const wholePolicy = `{
	"model": "late_departure",
	"triggers": [
		{"name": "weekly", "time": {"cron": "0 6 * * 1", "time_zone": "Europe/Berlin"}},
		{"name": "fell", "performance": {"metric": "roc_auc"}},
		{"name": "grew", "data": {"source": "view/departures", "share": 0.2}},
		{"name": "summer", "drift": {"monitor": "weather_daily", "features": 3, "windows": 2, "limit": 0.1}},
		{"name": "alarmed", "drift": {"monitor": "weather_daily"}},
		{"name": "schema", "feature_version": {"service": "delay_model"}}
	],
	"pacing": {"cooldown": "12h", "budget": 2},
	"training": {"command": ["python", "train.py"], "dataset": "late_departure", "timeout": "2h"},
	"evaluation": {"dataset": "dataset/late_departure_test", "task": "classification", "metric": "roc_auc", "label": "late",
		"floors": {"roc_auc": 0.6}, "severities": {"latency": "warning"}},
	"rollout": {"shadow": {"mirror": 20}, "stages": [{"weight": 5}, {"weight": 50, "manual_approval": true}],
		"guards": [{"kind": "errors"}, {"kind": "mean", "value": "loss", "margin": 0.05}]},
	"notices": [{"channels": ["ops"], "on": ["rollout_rolled_back"]}]
}`

func policy(t *testing.T) *driftline.Policy {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(wholePolicy))
	decoder.DisallowUnknownFields()
	var p driftline.Policy
	if err := decoder.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return &p
}

func TestAPolicyIsRead(t *testing.T) {
	p := policy(t)
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	want := []driftline.TriggerKind{driftline.TriggerTime, driftline.TriggerPerformance, driftline.TriggerData, driftline.TriggerDrift, driftline.TriggerDrift, driftline.TriggerFeatureVersion}
	for i, kind := range want {
		if got := p.Triggers[i].Kind(); got != kind {
			t.Errorf("trigger %d is of kind %q, want %q", i, got, kind)
		}
	}
	if !p.Triggers[4].Drift.ByAlert() || p.Triggers[3].Drift.ByAlert() {
		t.Error("a drift trigger without features and windows listens to alerts")
	}
	if err := (&driftline.Policy{Model: "m"}).Check(); err != nil {
		t.Errorf("an empty policy: %v", err)
	}
	if ref := p.Ref().String(); ref != "policy/late_departure" {
		t.Errorf("ref %s", ref)
	}
}

// TestPlansAreCompleted once, and the defaults that there are without a plan.
func TestPlansAreCompleted(t *testing.T) {
	plan := driftline.RolloutPlan{}.Completed()
	if err := plan.Check(); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(plan.Completed())
	once, _ := json.Marshal(plan)
	if string(again) != string(once) {
		t.Errorf("completed again it is another plan:\n%s\n%s", once, again)
	}
	limits := plan.Stages[0].Limits()
	if len(plan.Stages) != 3 || plan.Stages[0].Weight != 5 || limits.MinRequests != 1600 || limits.MinDuration != driftline.Duration(30*time.Minute) ||
		plan.OnInconclusive != driftline.InconclusiveRollback || len(plan.Guards) != 2 || plan.Alpha != 0.01 || *plan.Bake.Holdback != 5 {
		t.Errorf("the default plan is %s", once)
	}
	short := driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: 5, MaxDuration: driftline.Duration(time.Minute)}}}.Completed()
	if short.Stages[0].MinDuration != driftline.Duration(time.Minute) {
		t.Errorf("a stage of a minute takes at least %s", short.Stages[0].MinDuration.Short())
	}
}

// TestBadPoliciesAreRefused by the field that is wrong.
func TestBadPoliciesAreRefused(t *testing.T) {
	minute := driftline.Duration(time.Minute)
	negative := -minute
	for want, break_ := range map[string]func(p *driftline.Policy){
		`model name "" is not valid; use letters, digits, spaces, dots, dashes and underscores (128 at most)`:                                      func(p *driftline.Policy) { p.Model = "" },
		`triggers[1].name "weekly" is given twice`:                                                                                                 func(p *driftline.Policy) { p.Triggers[1].Name = "weekly" },
		`triggers[0] must have exactly one of time, performance, data, drift and feature_version; write {name: weekly, time: {cron: "0 6 * * 1"}}`: func(p *driftline.Policy) { p.Triggers[0].Data = p.Triggers[2].Data },
		`triggers[0].time.cron is missing; write minute, hour, day of month, month and day of week: "0 6 * * 1-5"`:                                 func(p *driftline.Policy) { p.Triggers[0].Time.Cron = "" },
		`triggers[0].time.catch_up "last" does not exist; did you mean "latest"?`:                                                                  func(p *driftline.Policy) { p.Triggers[0].Time.CatchUp = "last" },
		`triggers[1].performance.fall is -0.1, want a number from 0 to 1`:                                                                          func(p *driftline.Policy) { p.Triggers[1].Performance.Fall = -0.1 },
		`triggers[1].performance.fall is NaN, want a number from 0 to 1`:                                                                           func(p *driftline.Policy) { p.Triggers[1].Performance.Fall = math.NaN() },
		`triggers[1].performance.minimum_labels is -3, want at least 0`:                                                                            func(p *driftline.Policy) { p.Triggers[1].Performance.MinimumLabels = -3 },
		`triggers[1].performance.metric is missing`:                                                                                                func(p *driftline.Policy) { p.Triggers[1].Performance.Metric = "" },
		`triggers[2].data needs rows or share; write rows: 100000, or share: 0.2 for a fifth more`:                                                 func(p *driftline.Policy) { p.Triggers[2].Data.Share = 0 },
		`triggers[2].data.source "" is not a table; name a feature view (view/weather) or a dataset (dataset/late_departure)`:                      func(p *driftline.Policy) { p.Triggers[2].Data.Source = driftline.Ref{} },
		`triggers[3].drift: 3 of 1 features can never have drifted`:                                                                                func(p *driftline.Policy) { p.Triggers[3].Drift.Of = []string{"temp"} },
		`triggers[3].drift.limit is 1.5, want a number from 0 to 1`:                                                                                func(p *driftline.Policy) { p.Triggers[3].Drift.Limit = 1.5 },
		`triggers[4].drift has of or limit, but neither features nor windows; say how many features must drift: features: 3`:                       func(p *driftline.Policy) { p.Triggers[4].Drift.Limit = 0.2 },
		`pacing.budget is -1, want at least 0`:                                                                                                     func(p *driftline.Policy) { p.Pacing.Budget = -1 },
		`pacing.cooldown is -1m0s, want from 0 to 365d`:                                                                                            func(p *driftline.Policy) { p.Pacing.Cooldown = &negative },
		`training has 0 of command, webhook, airflow and kubernetes, want one; write training: {command: [python, train.py]}`:                      func(p *driftline.Policy) { p.Training.Command = nil },
		`training.airflow.dag is missing`: func(p *driftline.Policy) {
			p.Training = &driftline.TrainingJob{Airflow: &driftline.AirflowJob{URL: "x"}}
		},
		`evaluation.dataset is missing; name the rows that candidates are measured on: dataset/late_departure_test`:                             func(p *driftline.Policy) { p.Evaluation.Dataset = driftline.Ref{} },
		`evaluation.dataset "view/x" is not a dataset; save one, so that every candidate meets the same rows`:                                   func(p *driftline.Policy) { p.Evaluation.Dataset = driftline.ViewRef("x") },
		`evaluation.floors.roc_auc is NaN, want a number`:                                                                                       func(p *driftline.Policy) { p.Evaluation.Floors["roc_auc"] = math.NaN() },
		`evaluation.severities "speed" does not exist; known: artifact, calibration, data, floor, latency, leakage, metric, segment, signature`: func(p *driftline.Policy) { p.Evaluation.Severities["speed"] = "warning" },
		`rollout.stages[0].weight is -1, want a number from 0 to 100`:                                                                           func(p *driftline.Policy) { p.Rollout.Stages[0].Weight = -1 },
		`rollout.stages[0].weight is 101, want a number from 0 to 100`:                                                                          func(p *driftline.Policy) { p.Rollout.Stages[0].Weight = 101 },
		`rollout.stages[0].weight is NaN, want a number from 0 to 100`:                                                                          func(p *driftline.Policy) { p.Rollout.Stages[0].Weight = math.NaN() },
		`rollout.stages[0].weight is 0 after 0, want more than before; a candidate's share only grows: 5, 25, 50`:                               func(p *driftline.Policy) { p.Rollout.Stages[0].Weight = 0 },
		`rollout.stages[1].min_duration 2d is more than max_duration 1d`:                                                                        func(p *driftline.Policy) { p.Rollout.Stages[1].MinDuration = driftline.Duration(48 * time.Hour) },
		`rollout.shadow.mirror is 60, want a number from 0 to 50`:                                                                               func(p *driftline.Policy) { p.Rollout.Shadow.Mirror = 60 },
		`rollout.guards[0].margin is a ratio of 0.9, want more than 1; 1.5 accepts half as many again`:                                          func(p *driftline.Policy) { p.Rollout.Guards[0].Margin = 0.9 },
		`rollout.guards[1].value is missing; name the value whose mean must not get worse: score, loss`:                                         func(p *driftline.Policy) { p.Rollout.Guards[1].Value = "" },
		`rollout.guards[1].margin 2 must be less than scale 1; scale is the greatest difference of two values`:                                  func(p *driftline.Policy) { p.Rollout.Guards[1].Margin = 2 },
		`rollout.guards[1]: guard "errors" is given twice; give them names`:                                                                     func(p *driftline.Policy) { p.Rollout.Guards[1] = driftline.Guard{Kind: driftline.GuardErrors} },
		`rollout.alpha is 0.7, want a number from 0 to 0.5`:                                                                                     func(p *driftline.Policy) { p.Rollout.Alpha = 0.7 },
		`rollout.on_inconclusive "wait" does not exist; known: hold, promote, rollback`:                                                         func(p *driftline.Policy) { p.Rollout.OnInconclusive = "wait" },
		`notices[0].channels is missing`:                                                                                                        func(p *driftline.Policy) { p.Notices[0].Channels = nil },
		`notices[0].on "roled_back" does not exist; known: candidate_rejected, rollout_advanced, rollout_blind, rollout_failed, rollout_paused, rollout_promoted, rollout_resumed, rollout_rolled_back, rollout_started, rollout_superseded, …`: func(p *driftline.Policy) { p.Notices[0].On[0] = "roled_back" },
	} {
		p := policy(t)
		break_(p)
		if err := p.Check(); err == nil || err.Error() != want || (driftline.CodeOf(err) != driftline.Invalid && driftline.CodeOf(err) != driftline.NotFound) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
