package trigger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

const (
	mostCauses     = 20 // that a run names; others are counted
	mostTried      = 64 // that are remembered
	mostSuppressed = 50 // likewise
	day            = 24 * time.Hour
	defaultTimeout = driftline.Duration(time.Hour)
	leaseTime      = time.Minute
	mostAttempts   = 5 // of a run whose leases are lost
	mostDoublings  = 30
	rearmedBelow   = 0.8 // of what fires
)

// Fingerprint identifies a cause. The version of the policy has no part in it: who edits a
// policy does not ask for everything once more.
func Fingerprint(model driftline.ModelName, cause *driftline.Cause) string {
	h := sha256.New()
	for _, part := range []string{string(model), string(cause.Kind), cause.Trigger, cause.Bucket} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Outcome is what a cause led to.
type Outcome string

// The outcomes.
const (
	Began      Outcome = "began"      // a run of its own
	Attached   Outcome = "attached"   // to a run that has not begun yet
	Follows    Outcome = "follows"    // a run that waits for the active one
	Duplicate  Outcome = "duplicate"  // of a cause that led to a run before
	Suppressed Outcome = "suppressed" // to nothing
)

// Decision is what a cause led to. Run is nil where it was suppressed. Where Remember is
// set, the fingerprint is to be kept with the run's ID.
type Decision struct {
	Outcome     Outcome
	Run         *driftline.TrainingRun
	Suppression *driftline.Suppression
	Remember    bool
}

// Fire takes a cause into account. prior is the run that its fingerprint led to before, or
// ""; data names what a run would be trained on now, or "" if that is not known.
func Fire(p *driftline.Policy, s driftline.PolicyState, cause driftline.Cause, prior driftline.TrainingID, data string, now time.Time) (driftline.PolicyState, Decision) {
	cause.Fingerprint = Fingerprint(p.Model, &cause)
	if prior != "" {
		return s, Decision{Outcome: Duplicate, Run: known(&s, prior)}
	}
	s = clone(s)
	if reason, detail, next := refused(p, &s, &cause, data, now); reason != "" {
		return suppress(s, driftline.Suppression{Model: p.Model, Cause: cause, Time: now, Reason: reason, Detail: detail, Next: next})
	}
	s.Sequence++
	disarm(&s, &cause)
	switch {
	case s.Active == nil:
		s.Active = newRun(p, &s, cause, now)
		s.Active.Data = data
		return s, Decision{Outcome: Began, Run: s.Active, Remember: true}
	case s.Active.State == driftline.TrainingQueued:
		attach(s.Active, cause)
		return s, Decision{Outcome: Attached, Run: s.Active, Remember: true}
	case s.Queued != nil:
		attach(s.Queued, cause)
		return s, Decision{Outcome: Attached, Run: s.Queued, Remember: true}
	}
	s.Queued = newRun(p, &s, cause, now)
	return s, Decision{Outcome: Follows, Run: s.Queued, Remember: true}
}

// known returns the run of that ID if the state still has it, and otherwise its name alone.
func known(s *driftline.PolicyState, id driftline.TrainingID) *driftline.TrainingRun {
	for _, run := range []*driftline.TrainingRun{s.Active, s.Queued, s.Last} {
		if run != nil && run.ID == id {
			return run
		}
	}
	return &driftline.TrainingRun{ID: id, Model: s.Model}
}

func newRun(p *driftline.Policy, s *driftline.PolicyState, cause driftline.Cause, now time.Time) *driftline.TrainingRun {
	s.Runs++
	return &driftline.TrainingRun{
		ID: driftline.TrainingID(fmt.Sprintf("%s-%d", p.Model, s.Runs)), Model: p.Model, Policy: p.Version,
		State: driftline.TrainingQueued, Causes: []driftline.Cause{cause}, CauseCount: 1, Created: now,
	}
}

func attach(run *driftline.TrainingRun, cause driftline.Cause) {
	run.CauseCount++
	if len(run.Causes) < mostCauses {
		run.Causes = append(run.Causes, cause)
	}
}

// disarm keeps a trigger that has fired quiet until what it saw is over.
func disarm(s *driftline.PolicyState, cause *driftline.Cause) {
	if cause.Kind != driftline.TriggerDrift && cause.Kind != driftline.TriggerPerformance {
		return
	}
	set(s, cause.Trigger, func(t *driftline.TriggerState) { t.Disarmed = true })
}

func set(s *driftline.PolicyState, trigger string, change func(t *driftline.TriggerState)) {
	t := s.Triggers[trigger]
	change(&t)
	s.Triggers[trigger] = t
}

func suppress(s driftline.PolicyState, why driftline.Suppression) (driftline.PolicyState, Decision) {
	s.Sequence++
	s.Suppressed = append(s.Suppressed, why)
	s.Suppressed = s.Suppressed[max(0, len(s.Suppressed)-mostSuppressed):]
	return s, Decision{Outcome: Suppressed, Suppression: &why}
}

// refused says why a cause leads to nothing, and "" if it does not.
func refused(p *driftline.Policy, s *driftline.PolicyState, cause *driftline.Cause, data string, now time.Time) (reason driftline.SuppressionReason, detail string, next time.Time) {
	person := cause.Kind == driftline.TriggerRequest
	switch {
	case p.Training == nil:
		return driftline.SuppressedNoJob, "the policy has no training job", next
	case p.Disabled && !person:
		return driftline.SuppressedDisabled, "the policy is disabled", next
	case s.Triggers[cause.Trigger].Disarmed && (cause.Kind == driftline.TriggerDrift || cause.Kind == driftline.TriggerPerformance):
		return driftline.SuppressedNotRearmed, "it fired before, and neither is what it saw over nor is there a new champion", next
	}
	if s.Active != nil {
		return "", "", next
	}
	if !person {
		if reason, detail, next = tooSoon(p, s, now); reason != "" {
			return reason, detail, next
		}
		if tried := triedBefore(s, data); tried != nil {
			return driftline.SuppressedNothingNew, fmt.Sprintf("the data and the code are those of %s, which %s", tried.Run, endWord(tried.End)), next
		}
	}
	return overBudget(p, s, now)
}

// NextEligible returns when the pacing of the policy lets a run begin; now or before if it
// does already.
func NextEligible(p *driftline.Policy, s *driftline.PolicyState, now time.Time) time.Time {
	_, _, soon := tooSoon(p, s, now)
	_, _, budget := overBudget(p, s, now)
	if budget.After(soon) {
		return budget
	}
	return soon
}

func tooSoon(p *driftline.Policy, s *driftline.PolicyState, now time.Time) (reason driftline.SuppressionReason, detail string, next time.Time) {
	if s.Last == nil {
		return "", "", next
	}
	pacing := p.Pacing.Completed()
	wait, reason := *pacing.Cooldown, driftline.SuppressedCooldown
	if s.Failures > 0 {
		reason = driftline.SuppressedBackOff
		for range min(s.Failures, mostDoublings) {
			wait = min(2*wait, pacing.MostBackOff)
		}
	}
	next = s.Last.Ended.Add(time.Duration(wait))
	if !now.Before(next) {
		return "", "", time.Time{}
	}
	detail = fmt.Sprintf("%s after %s ended", wait.Short(), s.Last.ID)
	if s.Failures > 0 {
		detail += fmt.Sprintf(", the last of %d in a row that came to nothing", s.Failures)
	}
	return reason, detail, next
}

func overBudget(p *driftline.Policy, s *driftline.PolicyState, now time.Time) (reason driftline.SuppressionReason, detail string, next time.Time) {
	most := p.Pacing.Completed().Budget
	begun := recent(s.Begun, now)
	if len(begun) < most {
		return "", "", next
	}
	return driftline.SuppressedBudget, fmt.Sprintf("%d runs began within a day, which is the budget", len(begun)), begun[len(begun)-most].Add(day)
}

// recent returns those of the last day. What a clock that was set back left in the future
// counts as recent.
func recent(begun []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(begun), func(t time.Time) bool { return !now.Before(t.Add(day)) })
}

func triedBefore(s *driftline.PolicyState, data string) *driftline.TriedData {
	if data == "" {
		return nil
	}
	for i := range s.Tried {
		if s.Tried[i].Data == data {
			return &s.Tried[i]
		}
	}
	return nil
}

func endWord(end driftline.TrainingState) string {
	switch end {
	case driftline.TrainingRejected:
		return "was rejected"
	case driftline.TrainingTimedOut:
		return "timed out"
	}
	return "failed"
}

// clone returns a state that shares nothing with s which this package changes.
func clone(s driftline.PolicyState) driftline.PolicyState {
	for _, run := range []**driftline.TrainingRun{&s.Active, &s.Queued, &s.Last} {
		if *run != nil {
			copied := **run
			copied.Causes = slices.Clone(copied.Causes)
			if copied.Lease != nil {
				copied.Lease = new(*copied.Lease)
			}
			*run = &copied
		}
	}
	s.Begun, s.Tried, s.Suppressed = slices.Clone(s.Begun), slices.Clone(s.Tried), slices.Clone(s.Suppressed)
	s.Triggers = maps.Clone(s.Triggers)
	if s.Triggers == nil {
		s.Triggers = map[string]driftline.TriggerState{}
	}
	return s
}
