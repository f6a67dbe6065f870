package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// mixed are the versions that the candidate's arm begins with, and their shares; nil if the candidate
// has it alone.
func mixed(spec *Spec) ([]driftline.VersionShare, error) {
	plan := spec.Plan.Mixture
	if plan == nil {
		return nil, nil
	}
	rest := 10_000
	shares := []driftline.VersionShare{{Version: spec.Candidate}}
	for i, other := range plan.With {
		if other.Version == 0 {
			other.Version = spec.Champion
		}
		field := fmt.Sprintf("rollout.mixture.with[%d].version", i)
		if other.Version == 0 {
			return nil, driftline.Errorf(driftline.FailedPrecondition, "%s is the champion, and there is none", field).WithHint("name a version, or roll the first model out without a mixture")
		}
		if slices.ContainsFunc(shares, func(s driftline.VersionShare) bool { return s.Version == other.Version }) {
			return nil, driftline.Errorf(driftline.Invalid, "%s: version %d is in the mixture already", field, other.Version).WithHint("the candidate is in it, with the share that the others leave")
		}
		rest -= driftline.Hundredths(other.Share)
		shares = append(shares, other)
	}
	shares[0].Share = float64(rest) / 100
	return shares, nil
}

// candidateArm is the arm of the candidate, with the versions that share it.
func (m *machine) candidateArm(arm driftline.Arm, weight float64) driftline.RouteArm {
	if len(m.Mixture) == 0 {
		return one(arm, weight, m.Candidate)
	}
	return driftline.RouteArm{Arm: arm, Weight: weight, Versions: m.Mixture, Mixture: m.Plan.Mixture.Kind}
}

// reweigh changes the shares of the candidate's arm. It was decided on a sequence, and what was
// compared before is another arm's evidence: a new segment begins.
func (m *machine) reweigh(e *Event) error {
	switch {
	case m.Phase != driftline.RolloutCanary && m.Phase != driftline.RolloutBaking:
		return m.cannot(e, "only an arm that answers is reweighed")
	case len(m.Mixture) == 0:
		return m.cannot(e, "its candidate has the arm alone")
	case e.Expect == nil || *e.Expect != m.Sequence:
		return driftline.Errorf(driftline.Conflict, "rollout %s is at %d, and its shares were estimated on another state", m.ID, m.Sequence).WithRef(m.Ref())
	case !slices.EqualFunc(e.Shares, m.Mixture, func(a, b driftline.VersionShare) bool { return a.Version == b.Version }):
		return driftline.Errorf(driftline.Invalid, "the shares are of other versions than those of rollout %s", m.ID).WithRef(m.Ref())
	}
	arm := driftline.Route{Model: m.Model, Arms: []driftline.RouteArm{{Arm: driftline.ArmCandidate, Weight: 100, Versions: e.Shares, Mixture: m.Plan.Mixture.Kind}}}
	if err := arm.Check(); err != nil {
		return err
	}
	m.Mixture, m.Reweighed = slices.Clone(e.Shares), e.Through
	m.Sequence++
	t := m.transition(m.Phase)
	t.Cause, t.Reason, t.By = driftline.CauseReweighed, sharesText(m.Mixture)+": "+e.Reason, e.By
	m.reroute()
	m.do(Effect{Kind: EffectRecord, Transition: t})
	return nil
}

func sharesText(shares []driftline.VersionShare) string {
	words := make([]string, len(shares))
	for i, s := range shares {
		words[i] = fmt.Sprintf("version %d has %g %%", s.Version, s.Share)
	}
	return strings.Join(words, ", ")
}
