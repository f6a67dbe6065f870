package registry_test

import (
	"testing"

	"github.com/driftline/driftline"
)

func weekly(model driftline.ModelName, cron string) driftline.Definitions {
	return driftline.Definitions{Policies: []driftline.Policy{{
		Model:    model,
		Triggers: []driftline.Trigger{{Name: "weekly", Time: &driftline.TimeTrigger{Cron: cron}}},
	}}}
}

// A9: what is wrong is named by its field, and the policy stays as it was.
func TestAWrongPolicyChangesNothing(t *testing.T) {
	w := open(t)
	if _, err := w.CreateModel(driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Apply(weekly("late", "@weekly")); err != nil {
		t.Fatal(err)
	}
	bad := driftline.Policy{Model: "late", Triggers: []driftline.Trigger{{Name: "summer", Drift: &driftline.DriftTrigger{Monitor: "weather"}}}}
	for want, defs := range map[string]driftline.Definitions{
		`policy "late": triggers[0].time.cron "never" is not valid: `:                weekly("late", "never"),
		`policy "early": model: model "early" does not exist`:                        weekly("early", "@weekly"),
		`policy "late": triggers[0].drift.monitor: monitor "weather" does not exist`: {Policies: []driftline.Policy{bad}},
		`policy/late is defined twice`:                                               {Policies: []driftline.Policy{{Model: "late"}, {Model: "late"}}},
	} {
		_, err := w.Apply(defs)
		if driftline.CodeOf(err) != driftline.Invalid || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	versions, err := w.PolicyVersions("late")
	if err != nil || len(versions) != 1 || versions[0].Triggers[0].Time.Cron != "@weekly" {
		t.Errorf("%+v, %v", versions, err)
	}
}

// A policy that was deleted is gone, keeps its definitions, and goes on counting them.
func TestADeletedPolicyKeepsItsDefinitions(t *testing.T) {
	w := open(t)
	if _, err := w.CreateModel(driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	for _, cron := range []string{"@weekly", "@daily"} {
		if _, err := w.Apply(weekly("late", cron)); err != nil {
			t.Fatal(err)
		}
	}
	tx := w.Begin()
	if _, err := tx.DeletePolicy("late", "ann", "it is not used"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Policy("late"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("it is still there: %v", err)
	}
	changes, err := w.Apply(weekly("late", "@daily"))
	if err != nil || changes[0].Action != driftline.ChangeCreate || changes[0].Ref != driftline.PolicyRef("late", 3) {
		t.Errorf("%+v, %v", changes, err)
	}
	if p, err := w.PolicyVersion("late", 1); err != nil || p.Triggers[0].Time.Cron != "@weekly" {
		t.Errorf("%+v, %v", p, err)
	}
}
