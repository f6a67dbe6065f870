package registry_test

import (
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
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

// A trigger is as old as its name and kind in the policy, not as its definition, and not as the policy.
func TestATriggerKnowsSinceWhenItIsThere(t *testing.T) {
	_, db := openWithKeys(t)
	now := noon
	reopened := func() *registry.Registry {
		r, err := registry.Open(db, &registry.Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	w := reopened()
	if _, err := w.CreateModel(driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	var applied []time.Time
	apply := func(triggers ...driftline.Trigger) *driftline.Policy {
		t.Helper()
		now = now.Add(time.Hour)
		if _, err := w.Apply(driftline.Definitions{Policies: []driftline.Policy{{Model: "late", Triggers: triggers}}}); err != nil {
			t.Fatal(err)
		}
		p, err := w.Policy("late")
		if err != nil {
			t.Fatal(err)
		}
		applied = append(applied, now)
		return p
	}
	cron := func(name, cron string) driftline.Trigger {
		return driftline.Trigger{Name: name, Time: &driftline.TimeTrigger{Cron: cron}}
	}
	want := func(p *driftline.Policy, at ...time.Time) {
		t.Helper()
		for i, since := range at {
			if !p.Triggers[i].Since.Equal(since) {
				t.Errorf("trigger %s is there since %s, want %s", p.Triggers[i].Name, p.Triggers[i].Since, since)
			}
		}
	}
	want(apply(cron("a", "@weekly")), applied[0])
	want(apply(cron("b", "@daily"), cron("a", "@daily")), applied[1], applied[0])
	apply(cron("b", "@daily"))
	want(apply(cron("b", "@daily"), cron("a", "@daily")), applied[1], applied[3])
	p, err := reopened().Policy("late")
	if err != nil {
		t.Fatal(err)
	}
	want(p, applied[1], applied[3])
}

// A model that has a policy keeps its name and its versions: the policy names it, and trains it.
func TestAModelWithAPolicyKeepsItsName(t *testing.T) {
	w := open(t)
	if _, err := w.CreateModel(driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Apply(weekly("late", "@weekly")); err != nil {
		t.Fatal(err)
	}
	_, err := w.RenameModel("late", "later", "")
	for what, err := range map[string]error{"renamed": err, "deleted": w.DeleteModel("late", "", "")} {
		if driftline.CodeOf(err) != driftline.Conflict {
			t.Errorf("it was %s: %v", what, err)
		}
	}
	tx := w.Begin()
	if _, err := tx.DeletePolicy("late", "", ""); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.RenameModel("late", "later", ""); err != nil {
		t.Error(err)
	}
	if _, err := w.Apply(weekly("later", "@weekly")); err != nil {
		t.Error(err)
	}
}
