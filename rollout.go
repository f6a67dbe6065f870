package driftline

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RolloutPlan says how a candidate becomes champion: first beside it unseen, then for a
// growing share of the requests, then for all, while the champion is kept ready to return.
type RolloutPlan struct {
	// Shadow sends requests to the candidate too, and discards its answers. Nil: not at all.
	Shadow *ShadowStage `json:"shadow,omitempty"`

	// Stages are the shares that the candidate gets, growing; 5, 25 and 50 % if empty. One
	// stage of 100 % is blue/green: there is nobody to compare with then, so guards need limits.
	Stages []CanaryStage `json:"stages,omitempty"`

	Bake BakeStage `json:"bake,omitzero"`

	// Guards are what must not get worse; errors and latency if empty.
	Guards []Guard `json:"guards,omitempty"`

	// Alpha is the chance that a candidate that is no worse is ever rolled back as worse, over
	// all guards, looks and stages; 0.01 if 0. Beta is the chance that one that is worse than
	// a guard's margin is ever called safe; 0.05 if 0.
	Alpha float64 `json:"alpha,omitempty"`
	Beta  float64 `json:"beta,omitempty"`

	// Baseline is how many requests of the champion say what is slow, or an extreme score,
	// before the candidate gets any; 1000 if 0.
	Baseline int64 `json:"baseline,omitempty"`

	OnInconclusive Inconclusive `json:"on_inconclusive,omitempty"` // rollback if left out
	OnCandidate    OnCandidate  `json:"on_candidate,omitempty"`    // supersede if left out

	// Fallback answers with the champion where the candidate fails; true if nil. What fell
	// back counts as the candidate's error all the same.
	Fallback *bool `json:"fallback,omitempty"`

	// Mixture has other versions share the candidate's arm; nil: it answers alone.
	Mixture *MixturePlan `json:"mixture,omitempty"`
}

// MixturePlan makes of the candidate's arm a weighted mixture of what is recent and what is old. It is judged,
// promoted and rolled back as one, under the name of the candidate.
type MixturePlan struct {
	// With are the others and their shares of the arm; version 0 is the champion that the rollout
	// begins beside. The candidate has the rest.
	With []VersionShare `json:"with"`
	Kind Mixture        `json:"kind,omitempty"` // average if left out

	Reweigh *Reweighing `json:"reweigh,omitempty"` // nil: the shares stay as they are
}

// Reweighing estimates the shares of a mixture anew whenever a window of labelled predictions has closed:
// those of versions with a greater loss shrink or, of an average, of those whose answers would have it lose more
// if they counted for more. What each version of an average said is logged beside the answer, see [MixtureValue].
type Reweighing struct {
	Loss string `json:"loss"` // one of [ReweighingLosses]

	Window        Duration `json:"window,omitempty"`         // a day if 0
	MinimumLabels int64    `json:"minimum_labels,omitempty"` // of a version in a window; with fewer it counts as the best one does; 50 if 0
	Rate          float64  `json:"rate,omitempty"`           // weights fall by exp(−Rate·loss) in each window; 10 if 0
	Return        float64  `json:"return,omitempty"`         // the part that goes to all alike, so that a version can come back; 0.05 if 0
}

// MixtureValue is the name of the value that is logged with an average's answer ([PredictionRecord].Values) for what
// one of its versions said: the score, or the number that it predicts.
func MixtureValue(version int) string { return "version_" + strconv.Itoa(version) }

// ReweighingLosses are the losses that shares can be estimated from, as metrics of package drift/estimate.
var ReweighingLosses = []string{"brier", "log_loss", "mae", "rmse"}

// Completed returns it with its defaults filled in.
func (r Reweighing) Completed() Reweighing {
	r.Window, r.MinimumLabels = orElse(r.Window, Duration(24*time.Hour)), orElse(r.MinimumLabels, 50)
	r.Rate, r.Return = orElse(r.Rate, 10), orElse(r.Return, 0.05)
	return r
}

// ShadowStage mirrors requests to the candidate.
type ShadowStage struct {
	Mirror float64 `json:"mirror,omitempty"` // percent of the requests, 50 at most; 10 if 0

	MinDuration Duration `json:"min_duration,omitempty"` // as of [StageLimits]
	MinRequests int64    `json:"min_requests,omitempty"`
	MaxDuration Duration `json:"max_duration,omitempty"`
}

// CanaryStage gives the candidate a share of the requests.
type CanaryStage struct {
	Weight float64 `json:"weight"` // percent of the requests, in hundredths

	MinDuration Duration `json:"min_duration,omitempty"` // as of [StageLimits]
	MinRequests int64    `json:"min_requests,omitempty"`
	MaxDuration Duration `json:"max_duration,omitempty"`

	// ManualApproval waits for somebody, once the stage has passed.
	ManualApproval bool `json:"manual_approval,omitempty"`
}

// StageLimits bound a stage. Time counts while we watch, and not while the server is down, the
// rollout is paused, or the clock jumps.
type StageLimits struct {
	MinDuration Duration // 30 minutes if 0
	MinRequests int64    // of the candidate; 1600 if 0
	MaxDuration Duration // after it OnInconclusive decides; 24 hours if 0
}

// Limits returns the limits of the stage.
func (s *ShadowStage) Limits() StageLimits {
	return StageLimits{s.MinDuration, s.MinRequests, s.MaxDuration}
}

// Limits returns the limits of the stage.
func (s *CanaryStage) Limits() StageLimits {
	return StageLimits{s.MinDuration, s.MinRequests, s.MaxDuration}
}

// BakeStage watches a candidate that was promoted, until the champion before it is let go.
type BakeStage struct {
	Duration Duration `json:"duration,omitempty"` // 24 hours if 0

	// Holdback is the percentage of the requests that the former champion still answers, so that
	// there is something to compare with; 5 if nil.
	Holdback *float64 `json:"holdback,omitempty"`

	// Mirror is the percentage of the candidate's requests that the former champion gets too,
	// its answers discarded.
	Mirror float64 `json:"mirror,omitempty"`
}

// Inconclusive says what becomes of a stage whose time is over without a verdict.
type Inconclusive string

// What can become of it.
const (
	InconclusiveRollback Inconclusive = "rollback" // for want of evidence, which the reason says
	InconclusiveHold     Inconclusive = "hold"     // until there is a verdict, or somebody decides
	InconclusivePromote  Inconclusive = "promote"  // to the next stage
)

// OnCandidate says what becomes of a rollout when there is a newer candidate.
type OnCandidate string

// What can become of it. A candidate that is promoted already is never superseded: the newer
// one waits until it has baked.
const (
	CandidateSupersedes OnCandidate = "supersede" // the newer one begins from the first stage
	CandidateQueues     OnCandidate = "queue"     // the newer one waits
)

// Guard is something that must not get worse.
type Guard struct {
	Name string    `json:"name,omitempty"` // the kind if left out
	Kind GuardKind `json:"kind"`

	// Value is the name of what a mean guard is about: score, loss, or whatever is reported.
	Value string `json:"value,omitempty"`

	// Quantile of the champion's baseline beyond which a request is slow (0.95 if 0), or its
	// score extreme (0.9 if 0: the outermost tenth at either end).
	Quantile float64 `json:"quantile,omitempty"`

	// Margin is what is accepted for promotion: of errors, latency and score the ratio of the
	// candidate's rate to the champion's (1.5 if 0); of a mean the difference, in its unit. A mean guard
	// without a margin can only roll back.
	Margin float64 `json:"margin,omitempty"`

	// Negligible is a rate of events per request that is accepted whatever the champion's is:
	// 0.003 of errors if nil, and of latency and score half of what lies beyond the quantile.
	// Without it a candidate and a champion that never fail could not be compared.
	Negligible *float64 `json:"negligible,omitempty"`

	// Limit is a rate per request above which the candidate is worse whatever the champion's is.
	Limit float64 `json:"limit,omitempty"`

	// Worse says which way a mean gets worse; higher if left out.
	Worse Direction `json:"worse,omitempty"`

	// Scale is the greatest difference of two values of a mean guard that counts in shadow, where
	// pairs are compared; 1 if 0. Margin must be less.
	Scale float64 `json:"scale,omitempty"`
}

// GuardKind is what a guard looks at.
type GuardKind string

// The kinds of guards.
const (
	GuardErrors  GuardKind = "errors"  // requests without a proper answer: every [Fault]
	GuardLatency GuardKind = "latency" // requests slower than a quantile of the champion's
	GuardScore   GuardKind = "score"   // scores beyond quantiles of the champion's
	GuardMean    GuardKind = "mean"    // the mean of a value
)

// GuardKinds lists all of them.
var GuardKinds = []GuardKind{GuardErrors, GuardLatency, GuardScore, GuardMean}

// Direction is a way in which a number can go.
type Direction string

// The directions.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
	Either Direction = "either"
)

// Title is the guard's name, or its kind, and of a mean its value.
func (g Guard) Title() string {
	switch {
	case g.Name != "":
		return g.Name
	case g.Kind == GuardMean:
		return "mean " + g.Value
	}
	return string(g.Kind)
}

// Fault is why a request had no proper answer; "" if it had.
type Fault string

// The faults. All but the last are the model's and count as its errors.
const (
	FaultError     Fault = "error"      // it said so, or broke off
	FaultTimeout   Fault = "timeout"    // it took longer than it may
	FaultNotFinite Fault = "not_finite" // NaN or an infinity
	FaultEmpty     Fault = "empty"      // no output, or fewer rows than went in
	FaultOversize  Fault = "oversize"   // more than it may answer
	FaultSchema    Fault = "schema"     // not what its signature says
	FaultRejected  Fault = "rejected"   // it refused the input
	FaultOurs      Fault = "ours"       // our own: features not found, no memory, a store away
)

// Faults lists all of them.
var Faults = []Fault{FaultError, FaultTimeout, FaultNotFinite, FaultEmpty, FaultOversize, FaultSchema, FaultRejected, FaultOurs}

// Arm is who answers a request of a model under rollout.
type Arm string

// The arms.
const (
	ArmChampion  Arm = "champion"
	ArmCandidate Arm = "candidate"
)

// Route says which version answers which request of a model. It is a value: whoever has the
// same one decides the same for the same key, in any process and any language.
type Route struct {
	Model ModelName `json:"model"`

	// Sequence is that of the rollout's state that made it. Of two routes the greater one counts.
	Sequence uint64 `json:"seq"`

	// Salt is the rollout's ID, so that each rollout deals the keys anew; "" if there is none.
	Salt string `json:"salt,omitempty"`

	// Arms divide the requests; their weights add up to 100.
	Arms []RouteArm `json:"arms"`

	// Mirror is the percentage of the requests of the other arm that MirrorTo gets too, its
	// answers discarded.
	Mirror   float64 `json:"mirror,omitempty"`
	MirrorTo Arm     `json:"mirror_to,omitempty"`

	// Pins send keys to an arm whatever their hash. What is pinned is no evidence.
	Pins map[string]Arm `json:"pins,omitempty"`

	Fallback bool `json:"fallback,omitempty"` // to the champion where the candidate fails
}

// Weight returns the percentage of the requests that an arm gets; 0 if the route has it not.
func (r *Route) Weight(arm Arm) float64 {
	for _, one := range r.Arms {
		if one.Arm == arm {
			return one.Weight
		}
	}
	return 0
}

// RouteArm is one arm of a route.
type RouteArm struct {
	Arm    Arm     `json:"arm"`
	Weight float64 `json:"weight"` // percent, in hundredths

	// Versions are one version, or several that share the arm.
	Versions []VersionShare `json:"versions"`
	Mixture  Mixture        `json:"mixture,omitempty"` // average if there are several
}

// VersionShare is a version of a model and its share of an arm.
type VersionShare struct {
	Version int     `json:"version"`
	Share   float64 `json:"share,omitempty"` // percent, in hundredths; they add up to 100
}

// Mixture says how several versions share an arm.
type Mixture string

// The mixtures.
const (
	MixtureAverage Mixture = "average" // all answer, and their outputs are averaged by their shares
	MixtureChoose  Mixture = "choose"  // one answers, the same for the same key
)

// MostRouteKey is how many bytes the key of a request may have.
const MostRouteKey = 1024

// RouteDecision is who answers the requests of one key.
type RouteDecision struct {
	Model    ModelName `json:"model"`
	Key      string    `json:"key"`
	Version  int       `json:"version"` // that answers; of an average the first
	Arm      Arm       `json:"arm"`
	Slot     int       `json:"slot"`              // 0 to 9,999: the candidate's below a hundred times its weight
	Pinned   bool      `json:"pinned,omitempty"`  // whatever the slot is: the request is no evidence
	Sequence uint64    `json:"seq"`               // of the route, which predictions are logged with; 0 without a rollout
	Rollout  RolloutID `json:"rollout,omitempty"` // that the route is of

	Versions []VersionShare `json:"versions,omitempty"` // of an average, all that answer
	Mirror   []VersionShare `json:"mirror,omitempty"`   // that get the request too, their answers discarded
	Fallback int            `json:"fallback,omitempty"` // the version that answers where this one fails; 0: none
}

// RolloutPhase is how far a rollout is.
type RolloutPhase string

// The phases. The last four are the end: nothing happens after them by itself.
const (
	RolloutPending     RolloutPhase = "pending"      // the candidate is loaded, the baseline gathered
	RolloutShadow      RolloutPhase = "shadow"       // it answers unseen
	RolloutCanary      RolloutPhase = "canary"       // it answers a share
	RolloutPromoting   RolloutPhase = "promoting"    // the alias moves
	RolloutBaking      RolloutPhase = "baking"       // it is champion, and watched
	RolloutRollingBack RolloutPhase = "rolling_back" // the champion answers again; the alias moves back if it had moved
	RolloutPaused      RolloutPhase = "paused"       // shares stay as they are
	RolloutPromoted    RolloutPhase = "promoted"
	RolloutRolledBack  RolloutPhase = "rolled_back"
	RolloutSuperseded  RolloutPhase = "superseded"
	RolloutFailed      RolloutPhase = "failed"
)

// Ended reports whether a phase is one of the last ones.
func (p RolloutPhase) Ended() bool {
	return p == RolloutPromoted || p == RolloutRolledBack || p == RolloutSuperseded || p == RolloutFailed
}

// Rollout is one rollout of one candidate, as far as it is.
type Rollout struct {
	ID        RolloutID `json:"id"`
	Model     ModelName `json:"model"`
	Candidate int       `json:"candidate"`
	Champion  int       `json:"champion,omitempty"` // that it is to replace; 0: there is none
	Policy    int       `json:"policy,omitempty"`   // the version of the policy; 0: it was started by hand

	Plan RolloutPlan `json:"plan"` // with its defaults filled in; it does not change

	// Sequence grows by every change of phase, stage or route. A command names the one that
	// it was decided on.
	Sequence uint64       `json:"seq"`
	Phase    RolloutPhase `json:"phase"`
	Stage    int          `json:"stage"`            // index into Plan.Stages, of the canary that is under way or was last
	Paused   RolloutPhase `json:"paused,omitempty"` // the phase that a paused rollout goes on with
	Route    Route        `json:"route"`
	Moved    bool         `json:"moved,omitempty"` // the champion's alias is at the candidate

	Mixture   []VersionShare `json:"mixture,omitempty"`  // the versions of the candidate's arm and their shares by now, if they are several
	Reweighed time.Time      `json:"reweighed,omitzero"` // the end of the last window that these were estimated from

	Created time.Time `json:"created"`
	Entered time.Time `json:"entered"`           // the phase or the stage
	Ended   time.Time `json:"ended,omitzero"`    // the rollout
	Elapsed Duration  `json:"elapsed"`           // in the phase or the stage, watched
	Waiting string    `json:"waiting,omitempty"` // for what it waits that does not come by itself

	Verdict *RolloutVerdict `json:"verdict,omitempty"` // of the last look

	// Reason says in a sentence why the phase is what it is, and Cause in a word.
	Reason string       `json:"reason,omitempty"`
	Cause  RolloutCause `json:"cause,omitempty"`
	By     string       `json:"by,omitempty"` // who caused it; "" if nobody did
}

// Ref names the rollout.
func (r *Rollout) Ref() Ref { return RolloutRef(r.ID) }

// Title is the phase for people, and of a canary the stage: "canary 25 %".
func (r *Rollout) Title() string {
	if r.Phase == RolloutCanary && r.Stage < len(r.Plan.Stages) {
		return fmt.Sprintf("canary %g %%", r.Plan.Stages[r.Stage].Weight)
	}
	return strings.ReplaceAll(string(r.Phase), "_", " ")
}

// RolloutCause is why a rollout came into its phase.
type RolloutCause string

// The causes.
const (
	CauseBegun        RolloutCause = "begun"
	CauseReady        RolloutCause = "ready"                 // the candidate is loaded, and the baseline there
	CauseSafe         RolloutCause = "safe"                  // the verdict
	CauseWorse        RolloutCause = "worse"                 // the verdict
	CauseInsufficient RolloutCause = "insufficient_evidence" // the stage's time is over
	CauseBaked        RolloutCause = "baked"
	CausePerson       RolloutCause = "person"  // somebody said so
	CauseForced       RolloutCause = "forced"  // somebody said so against the evidence
	CauseApplied      RolloutCause = "applied" // an effect was
	CauseSuperseded   RolloutCause = "superseded"
	CauseBrokenModel  RolloutCause = "broken"    // the candidate cannot be loaded, or its circuit opened
	CauseConflict     RolloutCause = "conflict"  // the champion was changed by somebody else
	CauseRestored     RolloutCause = "restored"  // from a backup
	CauseReweighed    RolloutCause = "reweighed" // the shares of its mixture were estimated anew
)

// VerdictOutcome is what the evidence says of a candidate.
type VerdictOutcome string

// The outcomes.
const (
	VerdictWorse        VerdictOutcome = "worse"
	VerdictSafe         VerdictOutcome = "safe"
	VerdictInconclusive VerdictOutcome = "inconclusive"
)

// RolloutVerdict is what the evidence so far says. It is valid however often one looks.
type RolloutVerdict struct {
	Outcome VerdictOutcome `json:"outcome"`

	// EValue is the evidence that the candidate is worse, over all guards: were it not, the
	// chance that EValue ever reaches Threshold, 1/alpha, would be alpha at most.
	EValue    Number `json:"e_value"`
	Threshold Number `json:"threshold"`

	Guards []GuardVerdict `json:"guards"`

	// Requests are those of the stage so far, and Needs how many more, of both arms together,
	// would decide it if all goes on as it did; 0: it is decided, −1: no number would, or
	// nothing can be said.
	Requests ArmCounts `json:"requests"`
	Needs    int64     `json:"needs"`

	// Pairs are the requests of the stage that both versions answered, and Differs of these the
	// ones whose predictions were different: no label is needed for that.
	Pairs   int64 `json:"pairs,omitempty"`
	Differs int64 `json:"differs,omitempty"`

	// Blind says why nothing may be concluded although there are numbers: it is our fault.
	Blind string `json:"blind,omitempty"`
}

// GuardVerdict is what one guard says.
type GuardVerdict struct {
	Guard   string         `json:"guard"`
	Outcome VerdictOutcome `json:"outcome"`

	Worse Number `json:"worse"` // the e-value against "not worse"
	Safe  Number `json:"safe"`  // the e-value against "worse than the margin"; safe from 1/beta on

	// Ratio of the candidate's rate to the champion's, or the difference of means, with an interval that
	// holds the true one at all looks together with probability 1 − alpha.
	Ratio      *Interval `json:"ratio,omitempty"`
	Difference *Interval `json:"difference,omitempty"`

	Events   ArmCounts `json:"events"`   // of the stage; of means, values
	Requests ArmCounts `json:"requests"` // of the stage
	Needs    int64     `json:"needs"`    // as of [RolloutVerdict]
	Note     string    `json:"note,omitempty"`
}

// ArmCounts are a count for each arm.
type ArmCounts struct {
	Champion  int64 `json:"champion"`
	Candidate int64 `json:"candidate"`
}

// RolloutRequest asks for a rollout.
type RolloutRequest struct {
	Model   ModelName `json:"model"`
	Version string    `json:"version"` // a number, or an alias

	// Plan and Notices say how, and who is told of it; those of the model's policy if left
	// out, else the defaults, and nobody.
	Plan    *RolloutPlan   `json:"plan,omitempty"`
	Notices []PolicyNotice `json:"notices,omitempty"`

	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`

	// Policy is the version of the policy that asks; 0: a person does.
	Policy int `json:"-"`
}

// RolloutStart is what became of a [RolloutRequest].
type RolloutStart struct {
	Admission RolloutAdmission `json:"admission"`
	Rollout   RolloutStatus    `json:"rollout"` // that began; of one that waits, the one that it waits for
}

// RolloutAdmission is what becomes of a request for a rollout.
type RolloutAdmission string

// What can become of it.
const (
	RolloutAdmitted   RolloutAdmission = "admitted"
	RolloutSupersedes RolloutAdmission = "supersedes" // after the one under way was superseded
	RolloutQueued     RolloutAdmission = "queues"     // until the one under way has ended
)

// RolloutStatus is a rollout, and what it is at.
type RolloutStatus struct {
	Rollout

	Loaded   bool   `json:"loaded"`             // the candidate can answer
	Baseline int64  `json:"baseline,omitempty"` // requests of the champion that were met, of the plan's baseline, while pending
	Blind    string `json:"blind,omitempty"`    // why nothing is concluded: it is ours to mend
	Next     int    `json:"next,omitempty"`     // the version that waits until this rollout has ended
}

// RolloutAction is what a person does to a rollout.
type RolloutAction string

// The actions.
const (
	RolloutPause    RolloutAction = "pause"
	RolloutResume   RolloutAction = "resume"
	RolloutAbort    RolloutAction = "abort"    // the candidate gets no more requests
	RolloutPromote  RolloutAction = "promote"  // without waiting for further evidence; of a baking one: it has baked
	RolloutRollback RolloutAction = "rollback" // to the champion before, also of one that was promoted
	RolloutApprove  RolloutAction = "approve"  // the stage that waits for it
)

// RolloutActions lists all of them.
var RolloutActions = []RolloutAction{RolloutPause, RolloutResume, RolloutAbort, RolloutPromote, RolloutRollback, RolloutApprove}

// RolloutCommand says who does something to a rollout, and why.
type RolloutCommand struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`

	// Expect is the sequence of the rollout that it was decided on. At another one it is a
	// Conflict. Nil: whatever it is.
	Expect *uint64 `json:"expect,omitempty"`

	// Force promotes against the evidence, or without any. It needs a reason.
	Force bool `json:"force,omitempty"`
}

// ModelRollback is what taking a model back by one version came to.
type ModelRollback struct {
	Model   ModelName      `json:"model"`
	Version int            `json:"version"`           // that answers now
	Rollout *RolloutStatus `json:"rollout,omitempty"` // that was rolled back; nil: only the alias was
}

// RolloutChange is one change of phase, stage or route of a rollout.
type RolloutChange struct {
	Rollout  RolloutID       `json:"rollout"`
	Sequence uint64          `json:"seq"` // after it
	Time     time.Time       `json:"time"`
	From     RolloutPhase    `json:"from,omitempty"`
	To       RolloutPhase    `json:"to"`
	Stage    int             `json:"stage"`
	Weight   float64         `json:"weight"` // of the candidate after it, in percent
	Cause    RolloutCause    `json:"cause"`
	Reason   string          `json:"reason"`
	By       string          `json:"by,omitempty"`
	Verdict  *RolloutVerdict `json:"verdict,omitempty"`
}

// RolloutExplanation is a change of a rollout with the counts that its verdict rests on, and
// the verdict made again from them.
type RolloutExplanation struct {
	RolloutChange
	Evidence json.RawMessage `json:"evidence,omitempty"` // the segments, as of package rollout
	Again    *RolloutVerdict `json:"again,omitempty"`
	Equal    bool            `json:"equal"` // the verdict that was recorded and the one made again, in every bit
}
