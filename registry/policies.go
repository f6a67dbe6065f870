package registry

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/trigger"
)

// policy is what there is of a model's policy: its definitions, from version 1. One that was
// deleted keeps them, and its next definition has the next number.
type policy struct {
	versions []*driftline.Policy
	changes  []DefinitionChange // the oldest first, without Fields
	deleted  bool
}

// policyDeleted is the body of policy.deleted.
type policyDeleted struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func planPolicy(s *state, p driftline.Policy) (plannedChange, error) {
	if err := s.checkPolicy(&p); err != nil {
		return plannedChange{}, err
	}
	old := s.policies[p.Model]
	p.Version, p.Created = 1, time.Time{}
	planned := plannedChange{kind: PolicyApplied}
	if old != nil {
		newest := newestOf(old.versions)
		p.Version = newest.Version + 1
		if !old.deleted {
			p.Created = newest.Created
			planned.Change = policyDifferences(newest, &p)
		}
	}
	if old == nil || old.deleted {
		planned.Change = created(p.Ref())
	}
	var err error
	if planned.inputs, err = s.policyInputs(&p); err != nil {
		return plannedChange{}, named("policy", p.Model, err)
	}
	planned.object = p
	s.policies[p.Model] = withPolicy(old, &p)
	return planned, nil
}

func withPolicy(old *policy, p *driftline.Policy) *policy {
	if old == nil {
		old = &policy{}
	}
	return &policy{versions: append(slices.Clip(old.versions), p), changes: old.changes}
}

// checkPolicy checks a policy and that what it names is there. Its errors name the field.
func (s *state) checkPolicy(p *driftline.Policy) error {
	if err := driftline.CheckName("model", p.Model); err != nil {
		return err
	}
	_, err := trigger.Compile(p)
	if err == nil {
		err = checkNotes("policy", p.Model, p.Description, p.Owner, p.Tags)
	}
	if err == nil && s.models[p.Model] == nil {
		_, err = s.model(p.Model)
		err = invalid("model", err, "register it first: driftline models create %s", p.Model)
	}
	for i := 0; err == nil && i < len(p.Triggers); i++ {
		err = s.checkTrigger("triggers["+strconv.Itoa(i)+"]", &p.Triggers[i])
	}
	if err == nil && p.Training != nil && p.Training.Dataset != "" {
		_, err = s.resolveDataset(driftline.DatasetRef(p.Training.Dataset, 0))
		err = invalid("training.dataset", err, "save it once; a run makes it again from what is known then")
	}
	if err == nil && p.Evaluation.Dataset != (driftline.Ref{}) {
		_, err = s.resolveDataset(p.Evaluation.Dataset)
		err = invalid("evaluation.dataset", err, "")
	}
	return named("policy", p.Model, err)
}

// checkTrigger checks that what a trigger looks at is there.
func (s *state) checkTrigger(field string, t *driftline.Trigger) error {
	switch t.Kind() {
	case driftline.TriggerData:
		_, err := s.resolveRef(s.meantTable(t.Data.Source))
		return invalid(field+".data.source", err, "")
	case driftline.TriggerDrift:
		_, err := s.monitor(t.Drift.Monitor)
		return invalid(field+".drift.monitor", err, "")
	case driftline.TriggerFeatureVersion:
		_, err := s.service(t.FeatureVersion.Service)
		return invalid(field+".feature_version.service", err, "")
	}
	return nil
}

// meantTable is a reference to a view or a dataset, with the view that its bare name means.
func (s *state) meantTable(ref driftline.Ref) driftline.Ref {
	if ref.Kind == driftline.KindView {
		return driftline.ViewRef(s.meant(driftline.ViewName(ref.Name)))
	}
	return ref
}

// invalid makes a field's error of one that says that something is not there.
func invalid(field string, err error, hint string, args ...any) error {
	e, ok := err.(*driftline.Error)
	if !ok {
		return err
	}
	out := *e
	out.Code, out.Message, out.Ref = driftline.Invalid, field+": "+e.Message, ""
	if hint != "" {
		return out.WithHint(hint, args...)
	}
	return &out
}

// policyInputs are the things that a policy names, as they are meant now.
func (s *state) policyInputs(p *driftline.Policy) ([]driftline.Ref, error) {
	var refs []driftline.Ref
	for i := range p.Triggers {
		switch t := &p.Triggers[i]; t.Kind() {
		case driftline.TriggerData:
			refs = append(refs, s.meantTable(t.Data.Source))
		case driftline.TriggerDrift:
			refs = append(refs, driftline.MonitorRef(t.Drift.Monitor, 0))
		case driftline.TriggerFeatureVersion:
			refs = append(refs, driftline.ServiceRef(t.FeatureVersion.Service))
		}
	}
	if p.Training != nil && p.Training.Dataset != "" {
		refs = append(refs, driftline.DatasetRef(p.Training.Dataset, 0))
	}
	if p.Evaluation.Dataset != (driftline.Ref{}) {
		refs = append(refs, p.Evaluation.Dataset)
	}
	return s.resolveAll(refs)
}

func policyDifferences(old, now *driftline.Policy) driftline.Change {
	var d differences
	d.triggers(old.Triggers, now.Triggers)
	d.value("pacing", old.Pacing, now.Pacing)
	d.value("training", old.Training, now.Training)
	d.value("evaluation", old.Evaluation, now.Evaluation)
	d.value("rollout", old.Rollout, now.Rollout)
	d.value("notices", old.Notices, now.Notices)
	d.text("disabled", strconv.FormatBool(old.Disabled), strconv.FormatBool(now.Disabled))
	d.text("description", old.Description, now.Description)
	d.text("owner", old.Owner, now.Owner)
	d.tags(old.Tags, now.Tags)
	return d.version(old.Ref(), now.Ref())
}

// triggers compares triggers one by one, by their names.
func (d *differences) triggers(old, now []driftline.Trigger) {
	before, after := map[string]*driftline.Trigger{}, map[string]*driftline.Trigger{}
	for i := range old {
		before[old[i].Name] = &old[i]
	}
	for i := range now {
		after[now[i].Name] = &now[i]
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d.value("triggers."+name, before[name], after[name])
	}
}

func foldPolicy(s *state, line *Line) ([]effect, error) {
	p, err := body[driftline.Policy](line)
	if err != nil {
		return nil, err
	}
	if p.Created.IsZero() {
		p.Created = line.Time
	}
	sinceWhen(s.policies[p.Model], p, line.Time)
	next := withPolicy(s.policies[p.Model], p)
	next.changes = append(slices.Clip(next.changes), DefinitionChange{Time: line.Time, Ref: p.Ref(), State: applied})
	return []effect{putPolicy(p.Model, next)}, nil
}

// sinceWhen fills in from when on a policy has its triggers.
func sinceWhen(old *policy, p *driftline.Policy, now time.Time) {
	for i := range p.Triggers {
		t := &p.Triggers[i]
		t.Since = now
		if old == nil || old.deleted {
			continue
		}
		for _, before := range newestOf(old.versions).Triggers {
			if before.Name == t.Name && before.Kind() == t.Kind() {
				t.Since = before.Since
			}
		}
	}
}

func putPolicy(model driftline.ModelName, p *policy) effect {
	return put(func(s *state) map[driftline.ModelName]*policy { return s.policies }, model, p)
}

func foldPolicyDeleted(s *state, line *Line) ([]effect, error) {
	model := driftline.ModelName(line.Ref.Name)
	old := s.policies[model]
	if old == nil {
		return nil, nil
	}
	gone, err := body[policyDeleted](line)
	if err != nil {
		return nil, err
	}
	change := DefinitionChange{Time: line.Time, Ref: line.Ref, State: "deleted", By: gone.By, Reason: gone.Reason}
	return []effect{putPolicy(model, &policy{versions: old.versions, changes: append(slices.Clip(old.changes), change), deleted: true})}, nil
}

// DeletePolicy records that a model's policy no longer holds. Its definitions stay readable.
func (tx *Tx) DeletePolicy(model driftline.ModelName, by, reason string) (Line, error) {
	p, err := tx.r.head.policy(model)
	if err != nil {
		return Line{}, err
	}
	return tx.add(PolicyDeleted, p.Ref(), nil, policyDeleted{by, reason})
}

// Policy is [Registry.Policy] as the transaction sees it.
func (tx *Tx) Policy(model driftline.ModelName) (*driftline.Policy, error) {
	return tx.r.head.policy(model)
}

// Policies returns the newest version of every policy that holds, by model. The caller must
// not change them.
func (r *Registry) Policies() (found []*driftline.Policy) {
	r.read(func(s *state) {
		for _, model := range slices.Sorted(maps.Keys(s.policies)) {
			if p := s.policies[model]; !p.deleted {
				found = append(found, newestOf(p.versions))
			}
		}
	})
	return found
}

// Policy returns the newest version of a model's policy. The caller must not change it.
func (r *Registry) Policy(model driftline.ModelName) (found *driftline.Policy, err error) {
	r.read(func(s *state) { found, err = s.policy(model) })
	return found, err
}

// PolicyVersions returns every version of a model's policy, from 1, also of one that was
// deleted. The caller must not change them.
func (r *Registry) PolicyVersions(model driftline.ModelName) (versions []*driftline.Policy, err error) {
	r.read(func(s *state) {
		if p := s.policies[model]; p != nil {
			versions = slices.Clone(p.versions)
			return
		}
		_, err = s.policy(model)
	})
	return versions, err
}

// PolicyVersion returns one version of a model's policy, also of one that was deleted. The
// caller must not change it.
func (r *Registry) PolicyVersion(model driftline.ModelName, version int) (found *driftline.Policy, err error) {
	versions, err := r.PolicyVersions(model)
	if err != nil {
		return nil, err
	}
	if version < 1 || version > len(versions) {
		return nil, driftline.Errorf(driftline.NotFound, "policy %q has no version %d", model, version).
			WithRef(driftline.PolicyRef(model, 0)).WithHint("its newest is %d", len(versions))
	}
	return versions[version-1], nil
}

// freeOfPolicy is a Conflict if a model has a policy, which names it and trains it.
func (s *state) freeOfPolicy(m *model) error {
	p, err := s.policy(m.name)
	if err != nil {
		return nil
	}
	return driftline.Errorf(driftline.Conflict, "model %q has a policy, which is of this name and trains it", m.name).WithRef(p.Ref()).
		WithHint("driftline policy delete %s; it can be applied again under another name", m.name)
}

func (s *state) policy(model driftline.ModelName) (*driftline.Policy, error) {
	if p := s.policies[model]; p != nil && !p.deleted {
		return newestOf(p.versions), nil
	}
	var known []driftline.ModelName
	for name, p := range s.policies {
		if !p.deleted {
			known = append(known, name)
		}
	}
	err := unknown("policy", model, known, applyFirst)
	if s.policies[model] != nil {
		err = err.WithHint("it was deleted; its definitions are kept: driftline policy history %s", clip(model))
	}
	return nil, err.WithRef(driftline.PolicyRef(clip(model), 0))
}

func (s *state) resolvePolicy(ref driftline.Ref) (driftline.Ref, error) {
	p := s.policies[driftline.ModelName(ref.Name)]
	if p == nil {
		_, err := s.policy(driftline.ModelName(ref.Name))
		return driftline.Ref{}, err
	}
	newest := newestOf(p.versions)
	return versionMeant(ref, newest.Ref(), newest.Version)
}
