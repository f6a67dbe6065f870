package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// modelGated is the body of model.gated: the gate of one target, without checks and
// approvals if it was taken away.
type modelGated struct {
	driftline.ModelGate
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

const (
	mostChecks    = 100
	mostApprovals = 100
)

// SetModelGate says what a version of a model must have before an alias points at it, or
// before it is in a stage. A gate without checks and approvals is none. It holds for moves
// from now on; what was moved before stays.
func (r *Registry) SetModelGate(name driftline.ModelName, gate driftline.ModelGate, by, reason string) (*driftline.RegisteredModel, error) {
	if err := checkGate(&gate); err != nil {
		return nil, named("model", name, err)
	}
	if err := cmp.Or(checkPerson(by), checkText("reason", reason)); err != nil {
		return nil, err
	}
	err := r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err != nil {
			return err
		}
		if had := m.gate(gate); had.Approvals == gate.Approvals && slices.Equal(had.Checks, gate.Checks) {
			return nil
		}
		_, err = tx.add(ModelGated, driftline.ModelRef(name, 0), nil, modelGated{ModelGate: gate, By: by, Reason: reason})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Model(name)
}

func checkGate(gate *driftline.ModelGate) error {
	if err := checkTarget(gate.Alias, &gate.Stage); err != nil {
		return err
	}
	if len(gate.Checks) > mostChecks || gate.Approvals < 0 || gate.Approvals > mostApprovals {
		return driftline.Errorf(driftline.Invalid, "a gate of %d checks and %d approvals is not possible", len(gate.Checks), gate.Approvals).
			WithHint("at most %d of each", mostChecks)
	}
	for _, check := range gate.Checks {
		if err := driftline.CheckName("check", check); err != nil {
			return err
		}
	}
	slices.Sort(gate.Checks)
	gate.Checks = slices.Compact(gate.Checks)
	return nil
}

// checkTarget checks what a gate or an approval is about, and writes the stage as it is written.
func checkTarget(alias driftline.Alias, stage *driftline.ModelStage) error {
	if (alias == "") == (*stage == "") {
		return driftline.Errorf(driftline.Invalid, "want an alias or a stage").WithHint("name exactly one of them")
	}
	if alias != "" {
		return checkAlias(alias, "", "")
	}
	known, err := ParseStage(string(*stage))
	*stage = known
	return err
}

// gate is the gate of the same target, or one that asks for nothing.
func (m *model) gate(target driftline.ModelGate) driftline.ModelGate {
	for _, g := range m.gates {
		if g.Alias == target.Alias && g.Stage == target.Stage {
			return g
		}
	}
	return driftline.ModelGate{Alias: target.Alias, Stage: target.Stage}
}

func foldGate(s *state, line *Line) ([]effect, error) {
	gated, err := body[modelGated](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	gate := gated.ModelGate
	next := m.changed(line)
	next.gates = slices.DeleteFunc(slices.Clone(m.gates), func(g driftline.ModelGate) bool {
		return g.Alias == gate.Alias && g.Stage == gate.Stage
	})
	if len(gate.Checks) > 0 || gate.Approvals > 0 {
		next.gates = append(next.gates, gate)
	}
	change := DefinitionChange{Time: line.Time, Ref: line.Ref, State: "set", By: gated.By, Reason: gated.Reason}
	if len(gate.Checks) == 0 && gate.Approvals == 0 {
		change.State = "taken away"
	}
	had := m.gate(gate)
	change.Fields = []string{fmt.Sprintf("%s asks for %s → %s", gate.Target(), gateText(&had), gateText(&gate))}
	next.gated = append(slices.Clip(m.gated), change)
	slices.SortFunc(next.gates, func(a, b driftline.ModelGate) int { return cmp.Compare(a.Target(), b.Target()) })
	if len(next.gates) == 0 {
		next.gates = nil
	}
	return []effect{putModel(next)}, nil
}

// passes returns the checks of a target's gate, or why a version may not come there.
func (m *model) passes(target driftline.ModelGate, number int) ([]string, error) {
	gate := m.gate(target)
	v, err := m.version(number)
	if err != nil {
		return nil, err
	}
	missing := append(missingChecks(v, gate.Checks), missingApprovals(v, gate)...)
	if len(missing) == 0 {
		return gate.Checks, nil
	}
	return nil, driftline.Errorf(driftline.FailedPrecondition, "model %q: version %d may not come to %s: %s",
		m.name, number, gate.Target(), strings.Join(missing, ", ")).WithRef(v.Ref()).
		WithHint("report the checks and ask for approval first, or change the gate")
}

// missingChecks says which checks of a version have not passed.
func missingChecks(v *driftline.ModelVersion, checks []string) []string {
	var missing []string
	for _, name := range checks {
		at := slices.IndexFunc(v.Checks, func(c driftline.ModelCheck) bool { return c.Name == name })
		switch {
		case at < 0:
			missing = append(missing, fmt.Sprintf("check %q was not made", name))
		case !v.Checks[at].Passed:
			missing = append(missing, fmt.Sprintf("check %q failed on %s", name, instant(v.Checks[at].Time)))
		}
	}
	return missing
}

// missingApprovals counts people, each by the last word, without those who asked and
// whoever registered the version.
func missingApprovals(v *driftline.ModelVersion, gate driftline.ModelGate) []string {
	given := 0
	var missing []string
	for _, a := range v.Approvals {
		if a.Alias != gate.Alias || a.Stage != gate.Stage {
			continue
		}
		switch a.Decision {
		case driftline.ApprovalGiven:
			given++
		case driftline.ApprovalRefused:
			missing = append(missing, fmt.Sprintf("%s refused it", a.By))
		}
	}
	if gate.Approvals == 0 {
		return nil
	}
	if given < gate.Approvals {
		missing = append(missing, fmt.Sprintf("%d of %d approvals are given", given, gate.Approvals))
	}
	return missing
}

// AddModelCheck records the outcome of a check of a version. The last outcome of each
// name counts.
func (r *Registry) AddModelCheck(name driftline.ModelName, selector string, check driftline.ModelCheck) (*driftline.ModelVersion, error) {
	if err := driftline.CheckName("check", check.Name); err != nil {
		return nil, err
	}
	if err := cmp.Or(checkText("summary", check.Summary), checkPerson(check.By)); err != nil {
		return nil, err
	}
	return r.changeVersion(name, selector, func(tx *Tx, _ *model, v *driftline.ModelVersion) (err error) {
		if check.Evidence, err = tx.r.head.resolveAll(check.Evidence); err != nil {
			return err
		}
		check.Time, check.Sequence = tx.time, 0
		_, err = tx.add(ModelChecked, v.Ref(), nil, check)
		return err
	})
}

func foldModelChecked(s *state, line *Line) ([]effect, error) {
	check, err := body[driftline.ModelCheck](line)
	if err != nil {
		return nil, err
	}
	check.Sequence = line.Sequence
	return s.foldVersion(line, func(v *driftline.ModelVersion) {
		at, found := slices.BinarySearchFunc(v.Checks, check.Name, func(c driftline.ModelCheck, name string) int { return cmp.Compare(c.Name, name) })
		v.Checks = slices.Clone(v.Checks)
		if found {
			v.Checks[at] = *check
			return
		}
		v.Checks = slices.Insert(v.Checks, at, *check)
	})
}

// AddModelApproval records what somebody says to a version's coming into an alias or a
// stage. The last word of each person counts. Who registered the version, and who asked,
// cannot approve.
func (r *Registry) AddModelApproval(name driftline.ModelName, selector string, approval driftline.ModelApproval) (*driftline.ModelVersion, error) {
	if err := checkApproval(&approval); err != nil {
		return nil, named("model", name, err)
	}
	return r.changeVersion(name, selector, func(tx *Tx, m *model, v *driftline.ModelVersion) error {
		if err := mayApprove(v, approval); err != nil {
			return named("model", name, err)
		}
		approval.Time, approval.Sequence = tx.time, 0
		_, err := tx.add(ModelApproved, v.Ref(), nil, approval)
		return err
	})
}

func checkApproval(a *driftline.ModelApproval) error {
	if err := checkTarget(a.Alias, &a.Stage); err != nil {
		return err
	}
	switch a.Decision {
	case driftline.ApprovalRequested, driftline.ApprovalGiven, driftline.ApprovalRefused:
	default:
		return driftline.Errorf(driftline.Invalid, "decision %q is not known", clip(a.Decision)).WithHint("use requested, approved or rejected")
	}
	if a.By == "" {
		return driftline.Errorf(driftline.Invalid, "an approval needs the name of who decides").WithHint("set by")
	}
	return cmp.Or(checkPerson(a.By), checkText("reason", a.Reason))
}

// mayApprove keeps people from approving what they ask for themselves.
func mayApprove(v *driftline.ModelVersion, a driftline.ModelApproval) error {
	if a.Decision != driftline.ApprovalGiven {
		return nil
	}
	asked := slices.ContainsFunc(v.Approvals, func(b driftline.ModelApproval) bool {
		return b.By == a.By && b.Alias == a.Alias && b.Stage == a.Stage && b.Decision == driftline.ApprovalRequested
	})
	if !asked && v.By != a.By {
		return nil
	}
	return driftline.Errorf(driftline.Permission, "%q registered version %d or asked for its approval, and so cannot approve it", a.By, v.Version).
		WithHint("another person has to")
}

func foldApproval(s *state, line *Line) ([]effect, error) {
	approval, err := body[driftline.ModelApproval](line)
	if err != nil {
		return nil, err
	}
	approval.Sequence = line.Sequence
	return s.foldVersion(line, func(v *driftline.ModelVersion) {
		v.Approvals = slices.DeleteFunc(slices.Clone(v.Approvals), func(a driftline.ModelApproval) bool {
			return a.By == approval.By && a.Alias == approval.Alias && a.Stage == approval.Stage
		})
		v.Approvals = append(v.Approvals, *approval)
	})
}
