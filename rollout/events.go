package rollout

import (
	"fmt"
	"slices"

	"github.com/driftline/driftline"
)

func (m *machine) pause(e *Event) error {
	switch m.Phase {
	case driftline.RolloutPaused:
		return m.cannot(e, "it is paused already")
	case driftline.RolloutPromoting, driftline.RolloutRollingBack:
		return m.cannot(e, "the champion's alias is on its way").WithHint("try again in a moment")
	}
	m.pauseFor(driftline.CausePerson, reasonOr(e.Reason, "somebody paused it"), e.By)
	return nil
}

// pauseFor keeps the time that has passed: a paused rollout goes on where it was.
func (m *machine) pauseFor(cause driftline.RolloutCause, reason, by string) {
	phase, elapsed, entered, waiting := m.Phase, m.Elapsed, m.Entered, m.Waiting
	m.enter(driftline.RolloutPaused, cause, reason, by)
	m.Paused, m.Elapsed, m.Entered, m.Waiting = phase, elapsed, entered, waiting
	m.tell(driftline.EventPaused, reason)
}

func (m *machine) resume(e *Event) error {
	if m.Phase != driftline.RolloutPaused {
		return m.cannot(e, "it is not paused")
	}
	m.Phase, m.Paused, m.Cause, m.By = m.Paused, "", driftline.CausePerson, e.By
	m.Reason = reasonOr(e.Reason, "somebody resumed it")
	m.Sequence++
	m.do(Effect{Kind: EffectRecord, Transition: m.transition(driftline.RolloutPaused)})
	m.tell(driftline.EventResumed, m.Title())
	m.goOn()
	return nil
}

// goOn asks again for the effects that are awaited, whose IDs are as they were, so that none
// is done twice; and takes in those that came to an end while the rollout was paused.
func (m *machine) goOn() {
	m.effects = append(m.effects, m.Open...)
	waits := slices.ContainsFunc(m.Open, func(e Effect) bool { return e.Kind == EffectAlias })
	switch {
	case waits:
	case m.Phase == driftline.RolloutPromoting && m.Rollout.Moved:
		m.bake(driftline.CauseApplied, m.Reason, m.By)
	case m.Phase == driftline.RolloutRollingBack:
		m.rolledBack(m.Reason)
	}
}

// undo is an abort or a rollback by a person.
func (m *machine) undo(e *Event) error {
	phase := livePhase(&m.Rollout)
	switch {
	case phase == driftline.RolloutRollingBack:
		return m.cannot(e, "it is on its way")
	case m.Champion == 0 && (m.Rollout.Moved || phase == driftline.RolloutPromoting || phase == driftline.RolloutPromoted):
		return m.cannot(e, "there was no champion before it").WithHint("roll out another version")
	}
	m.rollBack(driftline.CausePerson, reasonOr(e.Reason, fmt.Sprintf("somebody asked for the %s", e.Kind)), e.By)
	return nil
}

// promoteNow is a promotion by a person, who needs a reason where the evidence is against it
// or cannot be seen.
func (m *machine) promoteNow(e *Event) error {
	phase := livePhase(&m.Rollout)
	against := m.Verdict != nil && m.Verdict.Outcome == driftline.VerdictWorse
	switch {
	case phase == driftline.RolloutPromoting || phase == driftline.RolloutRollingBack:
		return m.cannot(e, "the champion's alias is on its way").WithHint("try again in a moment")
	case !m.Loaded:
		return m.cannot(e, "the candidate is not loaded")
	case (against || m.Blind != "") && !e.Force:
		return m.againstEvidence(against)
	case e.Force && e.Reason == "":
		return driftline.Errorf(driftline.Invalid, "a forced promotion needs a reason").WithRef(m.Ref())
	}
	cause := driftline.CausePerson
	if e.Force && (against || m.Blind != "") {
		cause = driftline.CauseForced
	}
	reason := reasonOr(e.Reason, "somebody promoted it")
	if phase == driftline.RolloutBaking {
		m.baked(cause, reason, e.By)
		return nil
	}
	m.promote(cause, reason, e.By)
	if cause == driftline.CauseForced {
		m.overrule()
	}
	return nil
}

func (m *machine) againstEvidence(against bool) error {
	why := "it cannot be judged: " + m.Blind
	if against {
		why = m.worseReason()
	}
	return driftline.Errorf(driftline.Conflict, "rollout %s: the evidence is against a promotion: %s", m.ID, why).WithRef(m.Ref()).
		WithHint("add --force with a reason to promote it all the same")
}

// overrule begins the evidence anew: what somebody has decided against is not held against
// the candidate again.
func (m *machine) overrule() {
	m.Evidence.open(&m.Rollout, m.Route.Weight(driftline.ArmCandidate)/100, m.now)
	last := len(m.Evidence.Segments) - 1
	m.Evidence.Segments[last].Route = m.Route.Sequence
	m.Evidence.From = last
}

func (m *machine) approve(e *Event) error {
	if m.Waiting != "approval" {
		return m.cannot(e, "no stage waits for approval")
	}
	if m.Blind != "" {
		return m.cannot(e, "it cannot be judged: "+m.Blind)
	}
	m.next(driftline.CausePerson, reasonOr(e.Reason, fmt.Sprintf("somebody approved %s", m.Title())), e.By)
	return nil
}

// supersede ends a rollout for a newer candidate.
func (m *machine) supersede(e *Event) error {
	switch {
	case m.Phase.Ended():
		return nil
	case !replaceable(&m.Rollout):
		return m.cannot(e, fmt.Sprintf("version %d waits until it has ended", e.Version))
	}
	reason := fmt.Sprintf("version %d takes its place", e.Version)
	m.enter(driftline.RolloutSuperseded, driftline.CauseSuperseded, reason, e.By)
	m.do(Effect{Kind: EffectRelease, Version: m.Candidate})
	m.tell(driftline.EventSuperseded, reason)
	return nil
}

// broken is a candidate that cannot answer.
func (m *machine) broken(e *Event) {
	reason := reasonOr(e.Reason, "the candidate cannot answer")
	switch phase := livePhase(&m.Rollout); {
	case m.Phase.Ended() || phase == driftline.RolloutRollingBack:
	case phase == driftline.RolloutPending || phase == driftline.RolloutShadow:
		m.enter(driftline.RolloutFailed, driftline.CauseBrokenModel, reason, "")
		m.do(Effect{Kind: EffectRelease, Version: m.Candidate})
		m.tell(driftline.EventFailed, reason)
	case m.Champion == 0:
		m.wait("broken", reason+", and there is no champion to go back to")
	default:
		m.rollBack(driftline.CauseBrokenModel, reason, "")
	}
}

// applied is an effect that has happened. One that is not awaited any more changes nothing.
func (m *machine) applied(e *Event) {
	effect, ok := m.settle("", e.Effect)
	if !ok {
		return
	}
	switch {
	case effect.Kind == EffectLoad:
		m.Loaded = true
	case effect.Version == m.Candidate && m.Phase == driftline.RolloutPromoting:
		m.bake(driftline.CauseApplied, m.Reason, m.By)
	case effect.Version == m.Candidate:
		m.Rollout.Moved = true
	case m.Phase == driftline.RolloutRollingBack:
		m.rolledBack(m.Reason)
	default:
		m.Rollout.Moved = false
	}
}

// rolledBack ends a rollout whose alias is back.
func (m *machine) rolledBack(reason string) {
	m.Rollout.Moved = false
	m.enter(driftline.RolloutRolledBack, m.Cause, reason, m.By)
	m.do(Effect{Kind: EffectRelease, Version: m.Candidate})
}

// refused is an effect that can never happen: the alias was not where it was to move from.
func (m *machine) refused(e *Event) {
	effect, ok := m.settle("", e.Effect)
	if !ok {
		return
	}
	reason := reasonOr(e.Reason, "somebody else moved the alias")
	switch {
	case effect.Kind == EffectLoad:
		m.broken(e)
	case m.Phase == driftline.RolloutRollingBack && effect.Version == m.Champion:
		m.rolledBack(m.Reason + "; the alias was left alone: " + reason)
	case livePhase(&m.Rollout) == driftline.RolloutPromoting:
		m.enter(driftline.RolloutRolledBack, driftline.CauseConflict, "the champion could not be changed: "+reason, "")
		m.do(Effect{Kind: EffectRelease, Version: m.Candidate})
		m.tell(driftline.EventRolledBack, m.Reason)
	}
}

// moved is an alias that somebody else moved. To the candidate it is a promotion, to any other
// version the end.
func (m *machine) moved(e *Event) {
	phase := livePhase(&m.Rollout)
	switch {
	case m.Phase.Ended(), phase == driftline.RolloutPromoting, phase == driftline.RolloutRollingBack:
	case e.Version == m.Candidate && !m.Rollout.Moved:
		m.bake(driftline.CausePerson, reasonOr(e.Reason, "somebody moved the champion's alias to it"), e.By)
	case e.Version == m.Candidate || e.Version == m.Champion && !m.Rollout.Moved:
	default:
		m.Champion, m.Rollout.Moved = e.Version, false
		m.enter(driftline.RolloutRolledBack, driftline.CauseConflict, somebodyMade(e.Version), e.By)
		m.do(Effect{Kind: EffectRelease, Version: m.Candidate})
		m.tell(driftline.EventRolledBack, m.Reason)
	}
}

func somebodyMade(version int) string {
	if version == 0 {
		return "somebody took the champion's alias away"
	}
	return fmt.Sprintf("somebody made version %d champion", version)
}

// restored holds a rollout whose state is of the past, until a person has looked.
func (m *machine) restored() {
	if m.Phase.Ended() {
		return
	}
	if m.Phase == driftline.RolloutPaused {
		m.Phase = m.Paused
	}
	m.Ticked = m.now
	m.pauseFor(driftline.CauseRestored, "it was restored from a backup; look at the champion, and resume it", "")
}
