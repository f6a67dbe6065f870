package trigger

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/driftline/driftline"
)

// Claim gives the active run, if it waits and may begin, to owner. data names what it will be
// trained on. It returns nil where there is nothing to do; and where a run that is only
// followed by a trigger's cause has nothing new to train on, it ends without having begun.
func Claim(p *driftline.Policy, s driftline.PolicyState, owner, data string, now time.Time) (driftline.PolicyState, *driftline.TrainingRun) {
	if s.Active == nil || s.Active.State != driftline.TrainingQueued || now.Before(s.Active.NotBefore) {
		return s, nil
	}
	s = clone(s)
	run := s.Active
	s.Sequence++
	if tried := triedBefore(&s, data); tried != nil && !asked(run) {
		end(p, &s, driftline.TrainingCancelled, fmt.Sprintf("the data and the code are those of %s, which %s", tried.Run, endWord(tried.End)), now)
		return s, nil
	}
	if run.Started.IsZero() {
		if _, _, next := overBudget(p, &s, now); !next.IsZero() {
			run.NotBefore = next
			return s, nil
		}
		start(p, &s, now)
	}
	run.State, run.Data, run.Attempts = driftline.TrainingRunning, data, run.Attempts+1
	run.Lease = &driftline.Lease{Owner: owner, Token: s.Sequence, Expires: now.Add(leaseTime)}
	return s, run
}

// start is the first attempt of the active run.
func start(p *driftline.Policy, s *driftline.PolicyState, now time.Time) {
	timeout := defaultTimeout
	if p.Training != nil {
		timeout = cmp.Or(p.Training.Timeout, timeout)
	}
	s.Active.Started, s.Active.Deadline = now, now.Add(time.Duration(timeout))
	s.Begun = append(recent(s.Begun, now), now)
}

// asked reports whether a person asked for the run.
func asked(run *driftline.TrainingRun) bool {
	for _, cause := range run.Causes {
		if cause.Kind == driftline.TriggerRequest {
			return true
		}
	}
	return false
}

// Beat keeps the lease of a run for another minute. It is a Conflict if the token is not the
// newest one, and then the owner must stop.
func Beat(s driftline.PolicyState, id driftline.TrainingID, token uint64, now time.Time) (driftline.PolicyState, error) {
	if err := checkToken(&s, id, token); err != nil {
		return s, err
	}
	s = clone(s)
	s.Active.Lease.Expires = now.Add(leaseTime)
	return s, nil
}

func checkToken(s *driftline.PolicyState, id driftline.TrainingID, token uint64) error {
	run := known(s, id)
	if run.State == driftline.TrainingRunning && run.Lease != nil && run.Lease.Token == token {
		return nil
	}
	state := string(run.State)
	if state == "" {
		state = "over"
	}
	return driftline.Errorf(driftline.Conflict, "stale_token: training run %s is %s, and %d is not its token", id, state, token).
		WithRef(driftline.TrainingRef(id)).WithHint("stop: another attempt has begun, or the run has ended")
}

// Expire ends what took too long: a run whose deadline has passed has timed out, and one whose
// lease is over waits for another owner, five times at most. It reports whether anything changed.
func Expire(p *driftline.Policy, s driftline.PolicyState, now time.Time) (driftline.PolicyState, bool) {
	run := s.Active
	if run == nil || run.State != driftline.TrainingRunning {
		return s, false
	}
	late, lost := !now.Before(run.Deadline), run.Lease == nil || !now.Before(run.Lease.Expires)
	if !late && !lost {
		return s, false
	}
	s = clone(s)
	s.Sequence++
	switch {
	case late:
		end(p, &s, driftline.TrainingTimedOut, fmt.Sprintf("it had not answered by %s", run.Deadline.UTC().Format(time.RFC3339)), now)
	case run.Attempts >= mostAttempts:
		end(p, &s, driftline.TrainingFailed, fmt.Sprintf("its executor went away %d times", run.Attempts), now)
	default:
		s.Active.State, s.Active.Lease = driftline.TrainingQueued, nil
	}
	return s, true
}

// Finish takes in what a job reports. It reports false where the same was reported before,
// which changes nothing. Another report, or one under an older token, is a Conflict.
func Finish(p *driftline.Policy, s driftline.PolicyState, id driftline.TrainingID, token uint64, result driftline.TrainingResult, now time.Time) (driftline.PolicyState, bool, error) {
	hash := resultHash(&result)
	if last := s.Last; last != nil && last.ID == id && last.Token == token && token != 0 {
		if last.Result == hash {
			return s, false, nil
		}
		return s, false, driftline.Errorf(driftline.Conflict, "training run %s reported something else before", id).
			WithRef(last.Ref()).WithHint("a run reports once; begin another one")
	}
	if err := checkToken(&s, id, token); err != nil {
		return s, false, err
	}
	if result.Succeeded && result.Candidate < 1 {
		return s, false, driftline.Errorf(driftline.Invalid, "training run %s succeeded, and names no version", id).
			WithHint("register the model, and report its version as candidate")
	}
	s = clone(s)
	s.Sequence++
	s.Active.Result, s.Active.Token, s.Active.Candidate = hash, token, result.Candidate
	if !result.Succeeded {
		end(p, &s, driftline.TrainingFailed, cmp.Or(result.Error, "it said that it failed"), now)
		return s, true, nil
	}
	run := *s.Active
	s.Trained = &driftline.TrainedData{Run: run.ID, Data: run.Data, Time: run.Started, Rows: result.Rows, Sources: run.Sources}
	s.Active.Next = driftline.NextEvaluate
	end(p, &s, driftline.TrainingSucceeded, "", now)
	return s, true, nil
}

func resultHash(result *driftline.TrainingResult) string {
	text, err := json.Marshal(result)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// end ends the active run, and makes the one that follows it the active one.
func end(p *driftline.Policy, s *driftline.PolicyState, state driftline.TrainingState, reason string, now time.Time) {
	run := s.Active
	run.State, run.Reason, run.Ended, run.Lease = state, reason, now, nil
	s.Last, s.Active, s.Queued = run, s.Queued, nil
	switch state {
	case driftline.TrainingSucceeded:
		run.Failures, s.Failures = s.Failures, 0
	case driftline.TrainingFailed, driftline.TrainingTimedOut:
		failed(s, run)
	}
	postpone(p, s, now)
}

// postpone says when the run that waits may begin.
func postpone(p *driftline.Policy, s *driftline.PolicyState, now time.Time) {
	if s.Active == nil || s.Active.State != driftline.TrainingQueued {
		return
	}
	_, _, s.Active.NotBefore = overBudget(p, s, now)
	if !asked(s.Active) {
		s.Active.NotBefore = NextEligible(p, s, now)
	}
}

// failed remembers a run that came to nothing.
func failed(s *driftline.PolicyState, run *driftline.TrainingRun) {
	s.Failures++
	if run.Data == "" {
		return
	}
	s.Tried = append(s.Tried, driftline.TriedData{Data: run.Data, Run: run.ID, End: run.State})
	s.Tried = s.Tried[max(0, len(s.Tried)-mostTried):]
}

// Reject says that what a run made did not pass its evaluation, or was rolled back.
func Reject(p *driftline.Policy, s driftline.PolicyState, id driftline.TrainingID, data, reason string, now time.Time) driftline.PolicyState {
	s = clone(s)
	s.Sequence++
	run := known(&s, id)
	rejected := driftline.TrainingRun{ID: id, Data: cmp.Or(run.Data, data), State: driftline.TrainingRejected}
	if s.Last != nil && s.Last.ID == id {
		s.Last.State, s.Last.Reason = driftline.TrainingRejected, reason
		s.Failures = s.Last.Failures // it was not a success after all
	}
	failed(&s, &rejected)
	postpone(p, &s, now)
	return s
}

// Promoted says that there is a new champion: every trigger listens again, and performance is
// measured anew.
func Promoted(s driftline.PolicyState) driftline.PolicyState {
	s = clone(s)
	s.Sequence++
	s.Failures = 0
	for name, t := range s.Triggers {
		t.Disarmed, t.Metrics, t.Dropped = false, nil, 0
		s.Triggers[name] = t
	}
	return s
}

// Cancel ends a run that has not ended, and returns it: nobody wants it any more. What is
// reported of it later is refused.
func Cancel(p *driftline.Policy, s driftline.PolicyState, id driftline.TrainingID, reason string, now time.Time) (driftline.PolicyState, *driftline.TrainingRun, error) {
	s = clone(s)
	s.Sequence++
	switch {
	case s.Active != nil && s.Active.ID == id:
		run := s.Active
		end(p, &s, driftline.TrainingCancelled, reason, now)
		return s, run, nil
	case s.Queued != nil && s.Queued.ID == id:
		run := s.Queued
		run.State, run.Reason, run.Ended = driftline.TrainingCancelled, reason, now
		s.Queued = nil // it never began: no cooldown follows
		return s, run, nil
	}
	return s, nil, driftline.Errorf(driftline.FailedPrecondition, "training run %s has ended", id).WithRef(driftline.TrainingRef(id)).
		WithHint("driftline training show %s says how", id)
}

// Delete ends everything of a policy that is taken away: runs that wait are cancelled, and
// the report of one that is under way will be refused. It returns the runs that were cancelled.
func Delete(s driftline.PolicyState, now time.Time) (driftline.PolicyState, []driftline.TrainingRun) {
	s = clone(s)
	s.Sequence++
	var cancelled []driftline.TrainingRun
	for _, run := range []*driftline.TrainingRun{s.Active, s.Queued} {
		if run == nil {
			continue
		}
		run.State, run.Reason, run.Ended, run.Lease = driftline.TrainingCancelled, "its policy was deleted", now, nil
		cancelled = append(cancelled, *run)
		s.Last = run
	}
	s.Active, s.Queued = nil, nil
	return s, cancelled
}
