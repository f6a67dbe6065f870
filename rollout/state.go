package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

// State is all that is known of a rollout. It has one form as JSON, and is what the engine keeps.
type State struct {
	driftline.Rollout
	Evidence Evidence `json:"evidence"`

	Loaded  bool               `json:"loaded,omitempty"` // the candidate answers
	Samples Samples            `json:"samples,omitzero"` // of the champion, until the baseline is complete
	Ticked  time.Time          `json:"ticked,omitzero"`  // the last tick
	Held    driftline.Duration `json:"held,omitempty"`   // nothing is concluded from time before Elapsed reaches it
	Blind   string             `json:"blind,omitempty"`  // why nothing was concluded at the last tick
	Judged  int                `json:"judged,omitempty"` // how many segments there were when Verdict was made
	Open    []Effect           `json:"open,omitempty"`   // effects that are awaited
}

// Samples are values of the champion that a baseline is made of.
type Samples struct {
	Latencies []float64 `json:"latencies,omitempty"` // seconds
	Scores    []float64 `json:"scores,omitempty"`
}

// Spec says what is to be rolled out.
type Spec struct {
	ID        driftline.RolloutID
	Model     driftline.ModelName
	Candidate int
	Champion  int // 0: there is none
	Plan      driftline.RolloutPlan
	Policy    int // the version of the policy that asks for it; 0: a person does
	By        string
	Reason    string

	// After is the sequence of the model's last route, so that no two of its rollouts make one
	// of the same sequence.
	After uint64
}

// EffectKind is what an effect does.
type EffectKind string

// The kinds of effects.
const (
	EffectRoute   EffectKind = "route"   // requests are dealt by Route from now on
	EffectLoad    EffectKind = "load"    // Version is made ready to answer; awaited
	EffectRelease EffectKind = "release" // Version need not be ready any more
	EffectAlias   EffectKind = "alias"   // the champion's alias moves from From to Version, if it is there; awaited
	EffectNotice  EffectKind = "notice"  // who is to be told of Event is told Text
	EffectRecord  EffectKind = "record"  // Transition goes into the ledger
)

// Effect is something that is to happen after the state was committed. Its ID is the same
// whenever the same step is taken, so doing it twice is doing it once. Effects of a rollout
// are applied in their order.
type Effect struct {
	ID         string                `json:"id"` // late_departure-3/7/alias
	Kind       EffectKind            `json:"kind"`
	Route      *driftline.Route      `json:"route,omitempty"`
	Version    int                   `json:"version,omitempty"`
	From       int                   `json:"from,omitempty"`
	Event      driftline.PolicyEvent `json:"event,omitempty"`
	Text       string                `json:"text,omitempty"`
	Transition *Transition           `json:"transition,omitempty"`
}

// Transition is one change of phase, stage or route, with the evidence it rests on.
type Transition struct {
	Rollout  driftline.RolloutID    `json:"rollout"`
	Sequence uint64                 `json:"seq"` // after it
	Time     time.Time              `json:"time"`
	From     driftline.RolloutPhase `json:"from,omitempty"`
	To       driftline.RolloutPhase `json:"to"`
	Stage    int                    `json:"stage"`
	Weight   float64                `json:"weight"` // of the candidate after it, in percent
	Cause    driftline.RolloutCause `json:"cause"`
	Reason   string                 `json:"reason"`
	By       string                 `json:"by,omitempty"`

	Verdict  *driftline.RolloutVerdict `json:"verdict,omitempty"`
	Segments []Segment                 `json:"segments,omitempty"` // that the verdict rests on
}

// Explain makes the verdict of a transition again, from the counts it rests on. It is equal
// to the recorded one in every bit. Where we were blind for a reason that is not in the
// counts, that is taken from the transition.
func Explain(plan *driftline.RolloutPlan, t *Transition) driftline.RolloutVerdict {
	v := Judge(plan, &Evidence{Segments: t.Segments})
	if t.Verdict != nil && t.Verdict.Blind != "" {
		v.Outcome, v.Blind = driftline.VerdictInconclusive, t.Verdict.Blind
	}
	return v
}

// Start begins a rollout. It fails if the spec or its plan is wrong.
func Start(spec Spec, now time.Time) (State, []Effect, error) {
	if err := checkSpec(&spec); err != nil {
		return State{}, nil, err
	}
	var s State
	s.Rollout = driftline.Rollout{
		ID: spec.ID, Model: spec.Model, Candidate: spec.Candidate, Champion: spec.Champion, Policy: spec.Policy,
		Plan: spec.Plan.Completed(), Created: now, Entered: now, Sequence: spec.After,
	}
	var err error
	if s.Mixture, err = mixed(&spec); err != nil {
		return State{}, nil, err
	}
	m := machine{State: s, now: now}
	m.enter(driftline.RolloutPending, driftline.CauseBegun, reasonOr(spec.Reason, "a candidate is there"), spec.By)
	m.await(Effect{Kind: EffectLoad, Version: spec.Candidate})
	m.tell(driftline.EventStarted, fmt.Sprintf("version %d is rolled out beside %s", spec.Candidate, versionWord(spec.Champion)))
	return m.State, m.effects, nil
}

func checkSpec(spec *Spec) error {
	switch {
	case spec.ID == "":
		return driftline.Errorf(driftline.Internal, "a rollout needs an ID")
	case spec.Candidate < 1 || spec.Champion < 0:
		return driftline.Errorf(driftline.Invalid, "version %d cannot be rolled out beside %d", spec.Candidate, spec.Champion).
			WithHint("versions of a model count from 1")
	case spec.Candidate == spec.Champion:
		return driftline.Errorf(driftline.FailedPrecondition, "version %d of model %q is the champion already", spec.Candidate, spec.Model).
			WithRef(driftline.ModelRef(spec.Model, spec.Candidate))
	}
	return spec.Plan.Check()
}

func versionWord(version int) string {
	if version == 0 {
		return "no champion"
	}
	return fmt.Sprintf("champion %d", version)
}

func reasonOr(reason, other string) string {
	if reason == "" {
		return other
	}
	return reason
}

// Admission is what becomes of a request for a rollout.
type Admission string

// What can become of it.
const (
	Admitted   Admission = "admitted"
	Supersedes Admission = "supersedes" // after the one under way was superseded
	Queues     Admission = "queues"     // until the one under way has ended
)

// Admit says what becomes of a request for a rollout. active is the model's rollout under
// way, or nil; past are those that have ended. A model has one rollout at a time: what a
// person asks for beside it is a Conflict. What a person does not ask for is not tried again
// after it was rolled back or failed.
func Admit(active *driftline.Rollout, past []driftline.Rollout, spec *Spec) (Admission, error) {
	byPerson := spec.Policy == 0
	if !byPerson {
		for _, old := range past {
			if old.Candidate == spec.Candidate && (old.Phase == driftline.RolloutRolledBack || old.Phase == driftline.RolloutFailed) {
				return "", driftline.Errorf(driftline.FailedPrecondition, "version %d of model %q %s in rollout %s: %s",
					old.Candidate, old.Model, endWord(old.Phase), old.ID, old.Reason).WithRef(old.Ref()).
					WithHint("a person can start it again: driftline rollout start %s@%d", spec.Model, spec.Candidate)
			}
		}
	}
	switch {
	case active == nil || active.Phase.Ended():
		return Admitted, nil
	case byPerson:
		return "", driftline.Errorf(driftline.Conflict, "model %q has rollout %s of version %d under way (%s)", active.Model, active.ID, active.Candidate, active.Title()).
			WithRef(active.Ref()).WithHint("wait for it, or abort it: driftline rollout abort %s", active.ID)
	case active.Plan.OnCandidate == driftline.CandidateQueues || !replaceable(active):
		return Queues, nil
	}
	return Supersedes, nil
}

func endWord(phase driftline.RolloutPhase) string {
	if phase == driftline.RolloutFailed {
		return "failed"
	}
	return "was rolled back"
}

// replaceable reports whether a newer candidate may take the rollout's place: not once the
// alias has moved, or may have.
func replaceable(r *driftline.Rollout) bool {
	phase := livePhase(r)
	return !r.Moved && (phase == driftline.RolloutPending || phase == driftline.RolloutShadow || phase == driftline.RolloutCanary)
}

// livePhase is the phase, and of a paused rollout the one that it goes on with.
func livePhase(r *driftline.Rollout) driftline.RolloutPhase {
	if r.Phase == driftline.RolloutPaused {
		return r.Paused
	}
	return r.Phase
}

// clone returns a state that shares nothing with s which a step changes.
func (s *State) clone() State {
	c := *s
	c.Evidence = s.Evidence.clone()
	c.Samples = Samples{slices.Clone(s.Samples.Latencies), slices.Clone(s.Samples.Scores)}
	c.Open = slices.Clone(s.Open)
	return c
}
