package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// EventKind is what happened.
type EventKind string

// The kinds of events. What people do: pause, resume, abort, promote, rollback, approve.
const (
	Tick EventKind = "tick" // time went by, and requests came

	Pause    EventKind = "pause"
	Resume   EventKind = "resume"
	Abort    EventKind = "abort"    // the candidate gets no more requests
	Promote  EventKind = "promote"  // without waiting for further evidence; of a baking rollout: it has baked
	Rollback EventKind = "rollback" // to the champion before, also of a rollout that was promoted
	Approve  EventKind = "approve"  // the stage that waits for it

	Loaded  EventKind = "loaded"  // the candidate can answer
	Broken  EventKind = "broken"  // it cannot be loaded, its bytes are wrong, or its circuit is open
	Applied EventKind = "applied" // an effect that is awaited
	Refused EventKind = "refused" // likewise: it cannot be applied, ever

	Newer    EventKind = "newer"    // there is a newer candidate, which takes this one's place
	Moved    EventKind = "moved"    // the champion's alias is at Version, by somebody else
	Restored EventKind = "restored" // the state comes from a backup
	Reweigh  EventKind = "reweigh"  // the shares of a mixture were estimated anew, on the sequence Expect
)

// Event is something that happened to a rollout.
type Event struct {
	Kind EventKind `json:"kind"`

	// What people do names who and why, and the sequence it was decided on: another one is a
	// Conflict. Force promotes against the evidence.
	By     string  `json:"by,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Expect *uint64 `json:"expect,omitempty"`
	Force  bool    `json:"force,omitempty"`

	Effect  string `json:"effect,omitempty"`  // the ID of what was applied or refused
	Version int    `json:"version,omitempty"` // that the alias is at, or that is newer

	// Shares are those of a mixture, estimated from a window that ended at Through.
	Shares  []driftline.VersionShare `json:"shares,omitempty"`
	Through time.Time                `json:"through,omitzero"`

	// Elapsed is how long, by a clock that nobody sets, it is since the last tick; 0 for the
	// first one of a process.
	Elapsed driftline.Duration `json:"elapsed,omitempty"`

	// Blind says why we do not know what the model does: a store that cannot be written, a
	// log that dropped rows. "" if we do.
	Blind string `json:"blind,omitempty"`

	Observations []Observation `json:"-"`
}

// Limits of time.
const (
	// clockJump is how far the clock may be off from what went by.
	clockJump = 5 * time.Minute

	// holdAfterJump is how long nothing is concluded from time after a jump.
	holdAfterJump = driftline.Duration(5 * time.Minute)

	// windows is into how many segments the longest time of a stage is cut, so that evidence
	// can begin anew; leastWindow is the least of them.
	windows     = 48
	leastWindow = 15 * time.Minute

	// mostSegments bounds the evidence of a rollout that is held for ever.
	mostSegments = 512
)

// Step takes an event into account. The state that was passed is not changed. An error
// (Conflict: somebody was faster; FailedPrecondition: not in this phase; Invalid) changes nothing.
func Step(s State, e Event, now time.Time) (State, []Effect, error) {
	m := machine{State: s.clone(), now: now}
	if err := m.check(&e); err != nil {
		return s, nil, err
	}
	if err := m.take(&e); err != nil {
		return s, nil, err
	}
	return m.State, m.effects, nil
}

// machine is a state on its way to the next one.
type machine struct {
	State
	now     time.Time
	effects []Effect
}

func isCommand(kind EventKind) bool {
	return slices.Contains([]EventKind{Pause, Resume, Abort, Promote, Rollback, Approve}, kind)
}

func (m *machine) check(e *Event) error {
	if !isCommand(e.Kind) {
		return nil
	}
	if e.Expect != nil && *e.Expect != m.Sequence {
		return driftline.Errorf(driftline.Conflict, "rollout %s is at %d (%s), and the %s was decided on %d", m.ID, m.Sequence, m.Title(), e.Kind, *e.Expect).
			WithRef(m.Ref()).WithHint("look at it again, and decide again")
	}
	if m.Phase.Ended() && !(e.Kind == Rollback && m.Phase == driftline.RolloutPromoted) {
		return m.cannot(e, "it has ended: "+m.Reason).WithHint("start a new one: driftline rollout start %s@%d", m.Model, m.Candidate)
	}
	return nil
}

// cannot is the error for what cannot be done in this phase.
func (m *machine) cannot(e *Event, why string) *driftline.Error {
	return driftline.Errorf(driftline.FailedPrecondition, "rollout %s is %s, so %s is not possible: %s", m.ID, m.Title(), e.Kind, why).WithRef(m.Ref())
}

func (m *machine) take(e *Event) error {
	switch e.Kind {
	case Tick:
		m.tick(e)
		return nil
	case Pause:
		return m.pause(e)
	case Resume:
		return m.resume(e)
	case Abort, Rollback:
		return m.undo(e)
	case Promote:
		return m.promoteNow(e)
	case Approve:
		return m.approve(e)
	case Newer:
		return m.supersede(e)
	case Reweigh:
		return m.reweigh(e)
	}
	m.notify(e)
	return nil
}

// notify takes in what happened outside.
func (m *machine) notify(e *Event) {
	switch e.Kind {
	case Loaded:
		m.settle(EffectLoad, "")
		m.Loaded = true
	case Broken:
		m.broken(e)
	case Applied:
		m.applied(e)
	case Refused:
		m.refused(e)
	case Moved:
		m.moved(e)
	case Restored:
		m.restored()
	}
}

// enter changes the phase, and with it the route.
func (m *machine) enter(phase driftline.RolloutPhase, cause driftline.RolloutCause, reason, by string) {
	from := m.Phase
	if phase == driftline.RolloutCanary && livePhase(&m.Rollout) != driftline.RolloutCanary {
		m.Stage = 0
	}
	m.Phase, m.Cause, m.Reason, m.By = phase, cause, reason, by
	m.Sequence++
	m.Entered, m.Elapsed, m.Held, m.Waiting, m.Paused, m.Ended = m.now, 0, 0, "", "", time.Time{}
	if phase.Ended() {
		m.Ended, m.Open, m.Samples = m.now, nil, Samples{}
	}
	t := m.transition(from)
	m.reroute()
	t.Weight = m.Route.Weight(driftline.ArmCandidate)
	m.do(Effect{Kind: EffectRecord, Transition: t})
}

// transition is the change as the ledger gets it, with the counts that its verdict rests on.
func (m *machine) transition(from driftline.RolloutPhase) *Transition {
	t := &Transition{
		Rollout: m.ID, Sequence: m.Sequence, Time: m.now, From: from, To: m.Phase, Stage: m.Stage, Weight: m.Route.Weight(driftline.ArmCandidate),
		Cause: m.Cause, Reason: m.Reason, By: m.By,
	}
	if m.Verdict == nil || m.Judged != len(m.Evidence.Segments) {
		return t // there is no verdict of these counts yet
	}
	verdict := *m.Verdict
	t.Verdict = &verdict
	for _, s := range (&judge{e: &m.Evidence}).judged() {
		t.Segments = append(t.Segments, s.clone())
	}
	return t
}

func (m *machine) do(e Effect) {
	e.ID = fmt.Sprintf("%s/%d/%s", m.ID, m.Sequence, e.Kind)
	if e.Version != 0 {
		e.ID += fmt.Sprintf("-%d", e.Version)
	}
	if e.Event != "" {
		e.ID += "-" + string(e.Event)
	}
	m.effects = append(m.effects, e)
}

// await does something whose outcome is awaited.
func (m *machine) await(e Effect) {
	m.do(e)
	m.Open = append(m.Open, m.effects[len(m.effects)-1])
}

func (m *machine) tell(event driftline.PolicyEvent, text string) {
	m.do(Effect{Kind: EffectNotice, Event: event, Text: fmt.Sprintf("model %q, rollout %s: %s", m.Model, m.ID, text)})
}

// settle removes an awaited effect, by its kind or its ID, and returns it.
func (m *machine) settle(kind EffectKind, id string) (settled Effect, ok bool) {
	i := slices.IndexFunc(m.Open, func(e Effect) bool { return e.Kind == kind && id == "" || id != "" && e.ID == id })
	if i < 0 {
		return Effect{}, false
	}
	settled = m.Open[i]
	m.Open = slices.Delete(m.Open, i, i+1)
	return settled, true
}

// reroute makes the route of the phase, if it is another one.
func (m *machine) reroute() {
	next := m.routeOf()
	next.Sequence = m.Route.Sequence
	if !sameRoute(next, m.Route) {
		next.Sequence = m.Sequence
		m.Route = next
		m.do(Effect{Kind: EffectRoute, Route: &next})
		m.beginSegment()
		return
	}
	if m.Phase == driftline.RolloutPending {
		m.beginSegment()
	}
}

func sameRoute(a, b driftline.Route) bool {
	return a.Salt == b.Salt && a.Mirror == b.Mirror && a.MirrorTo == b.MirrorTo && a.Fallback == b.Fallback &&
		slices.EqualFunc(a.Arms, b.Arms, func(x, y driftline.RouteArm) bool {
			return x.Arm == y.Arm && x.Weight == y.Weight && slices.Equal(x.Versions, y.Versions)
		})
}

// routeOf is the route of the phase. Promoting and paused rollouts keep theirs.
func (m *machine) routeOf() driftline.Route {
	switch m.Phase {
	case driftline.RolloutShadow:
		return m.routed(0, m.Plan.Shadow.Mirror, driftline.ArmCandidate)
	case driftline.RolloutCanary:
		return m.routed(m.Plan.Stages[m.Stage].Weight, 0, "")
	case driftline.RolloutBaking:
		if m.Champion == 0 {
			return m.routed(100, 0, "")
		}
		return m.routed(100-*m.Plan.Bake.Holdback, m.Plan.Bake.Mirror, driftline.ArmChampion)
	case driftline.RolloutPromoting, driftline.RolloutPaused:
		return m.Route
	case driftline.RolloutPromoted:
		return m.alone(m.Candidate)
	case driftline.RolloutPending:
		return m.routed(0, 0, "")
	}
	return m.alone(m.Champion)
}

// routed divides the requests between candidate and champion.
func (m *machine) routed(weight, mirror float64, to driftline.Arm) driftline.Route {
	r := driftline.Route{Model: m.Model, Salt: string(m.ID), Mirror: mirror, MirrorTo: to, Fallback: *m.Plan.Fallback, Pins: m.Route.Pins}
	if mirror == 0 {
		r.MirrorTo = ""
	}
	if m.Champion == 0 {
		if weight < 100 {
			return driftline.Route{Model: m.Model} // there is nobody to answer yet
		}
		r.Arms = []driftline.RouteArm{m.candidateArm(driftline.ArmCandidate, 100)}
		return r
	}
	rest := float64(10_000-driftline.Hundredths(weight)) / 100
	r.Arms = []driftline.RouteArm{one(driftline.ArmChampion, rest, m.Champion), m.candidateArm(driftline.ArmCandidate, weight)}
	return r
}

// alone gives all requests to one version as champion.
func (m *machine) alone(version int) driftline.Route {
	if version == 0 {
		return driftline.Route{Model: m.Model}
	}
	if version == m.Candidate && len(m.Mixture) > 0 { // dealt as it was when it was tested
		return driftline.Route{Model: m.Model, Salt: string(m.ID), Arms: []driftline.RouteArm{m.candidateArm(driftline.ArmChampion, 100)}}
	}
	return driftline.Route{Model: m.Model, Arms: []driftline.RouteArm{one(driftline.ArmChampion, 100, version)}}
}

func one(arm driftline.Arm, weight float64, version int) driftline.RouteArm {
	return driftline.RouteArm{Arm: arm, Weight: weight, Versions: []driftline.VersionShare{{Version: version}}}
}

// beginSegment opens a segment of evidence. In shadow, and with the first share of the
// candidate, keys are new again: those met before were all the champion's.
func (m *machine) beginSegment() {
	share := m.Route.Weight(driftline.ArmCandidate) / 100
	shared := slices.ContainsFunc(m.Evidence.Segments, func(s Segment) bool { return s.Share > 0 })
	if m.Phase == driftline.RolloutShadow || share > 0 && !shared {
		m.Evidence.Candidates, m.Evidence.Champions, m.Evidence.Events = Keys{}, Keys{}, nil
	}
	m.Evidence.open(&m.Rollout, share, m.now)
}

// tick takes in time and requests, looks at the evidence, and decides.
func (m *machine) tick(e *Event) {
	if m.Phase.Ended() {
		return
	}
	m.pass(e)
	for i := range e.Observations {
		m.observe(&e.Observations[i])
	}
	m.roll()
	m.look(e.Blind)
	if m.conclude() || m.Phase == driftline.RolloutPaused || m.Blind != "" {
		return
	}
	m.proceed()
}

// pass counts the time that went by. A clock that is off from it says that we do not know what
// went on: nothing is concluded from time until some more of it was watched.
func (m *machine) pass(e *Event) {
	elapsed := max(0, e.Elapsed)
	off := m.now.Sub(m.Ticked) - time.Duration(elapsed)
	jumped := !m.Ticked.IsZero() && (off > clockJump || off < -clockJump)
	if jumped {
		elapsed = min(elapsed, holdAfterJump)
	}
	m.Ticked = m.now
	if m.Phase != driftline.RolloutPaused && e.Blind == "" {
		m.Elapsed += elapsed
	}
	if jumped {
		m.Held = m.Elapsed + holdAfterJump
	}
}

func (m *machine) observe(o *Observation) {
	if m.Phase == driftline.RolloutPending && o.Arm == driftline.ArmChampion {
		m.Samples.add(&o.Answer, int(m.Plan.Baseline))
	}
	m.Evidence.Add(m.Plan.Guards, o)
}

// add keeps a value of the champion, until there are enough.
func (s *Samples) add(a *Answer, most int) {
	if a.Fault != "" {
		return
	}
	if len(s.Latencies) < most {
		s.Latencies = append(s.Latencies, a.Latency.Seconds())
	}
	if a.Score-a.Score == 0 && len(s.Scores) < most {
		s.Scores = append(s.Scores, a.Score)
	}
}

// roll begins a new segment when the open one is old.
func (m *machine) roll() {
	last := len(m.Evidence.Segments) - 1
	if last < 0 || last+1 >= mostSegments || m.Phase == driftline.RolloutPending || m.Phase == driftline.RolloutRollingBack {
		return
	}
	window := max(leastWindow, time.Duration(m.limits().MaxDuration)/windows)
	if m.now.Sub(m.Evidence.Segments[last].Started) < window {
		return
	}
	m.Evidence.Roll(m.now)
}

// limits are those of the phase.
func (m *machine) limits() driftline.StageLimits {
	switch livePhase(&m.Rollout) {
	case driftline.RolloutShadow:
		return m.Plan.Shadow.Limits()
	case driftline.RolloutCanary:
		return m.Plan.Stages[m.Stage].Limits()
	case driftline.RolloutBaking:
		return driftline.StageLimits{MaxDuration: m.Plan.Bake.Duration}
	}
	return m.Plan.Stages[0].Limits()
}

// look makes the verdict, and says whether we are blind.
func (m *machine) look(blind string) {
	switch livePhase(&m.Rollout) {
	case driftline.RolloutShadow, driftline.RolloutCanary, driftline.RolloutPromoting, driftline.RolloutBaking:
		v := Judge(&m.Plan, &m.Evidence)
		if blind != "" {
			v.Outcome, v.Blind = driftline.VerdictInconclusive, blind
		}
		blind = v.Blind
		m.Verdict, m.Judged = &v, len(m.Evidence.Segments)
	default:
		m.Verdict = nil
	}
	if blind != "" && m.Blind == "" {
		m.Sequence++
		m.tell(driftline.EventBlind, "held, because we cannot judge it: "+blind)
	}
	m.Blind = blind
}

// conclude rolls back a candidate that is worse, whatever else goes on, and reports whether it did.
func (m *machine) conclude() bool {
	if m.Verdict == nil || m.Verdict.Outcome != driftline.VerdictWorse {
		return false
	}
	if m.Champion == 0 {
		m.wait("somebody", "it is worse than its limits, and there is no champion to go back to: "+m.worseReason())
		return true
	}
	m.rollBack(driftline.CauseWorse, m.worseReason(), "")
	return true
}

func (m *machine) worseReason() string {
	i := slices.IndexFunc(m.Verdict.Guards, func(g driftline.GuardVerdict) bool { return g.Outcome == driftline.VerdictWorse })
	if i < 0 {
		return "worse"
	}
	g, confidence := m.Verdict.Guards[i], 100*(1-m.Plan.Alpha)
	text := "worse by " + g.Guard
	switch {
	case g.Ratio != nil && g.Ratio.Value == g.Ratio.Value:
		text += fmt.Sprintf(": %.3g times the champion's rate (%.3g to %.3g with %g %%; %d and %d events)",
			float64(g.Ratio.Value), float64(g.Ratio.Low), float64(g.Ratio.High), confidence, g.Events.Candidate, g.Events.Champion)
	case g.Difference != nil:
		text += fmt.Sprintf(": the difference is %.3g (%.3g to %.3g with %g %%)",
			float64(g.Difference.Value), float64(g.Difference.Low), float64(g.Difference.High), confidence)
	default:
		text += fmt.Sprintf(": %d of %d requests, where %g %% are the limit", g.Events.Candidate, g.Requests.Candidate, 100*m.Plan.Guards[i].Limit)
	}
	if g.Note != "" {
		text += ", " + g.Note
	}
	return text + fmt.Sprintf("; e-value %.3g of %.3g", float64(m.Verdict.EValue), float64(m.Verdict.Threshold))
}

// proceed goes on where the phase has what it waits for.
func (m *machine) proceed() {
	if m.Elapsed < m.Held {
		return
	}
	switch m.Phase {
	case driftline.RolloutPending:
		m.begin()
	case driftline.RolloutShadow, driftline.RolloutCanary:
		m.advance()
	case driftline.RolloutBaking:
		if m.Elapsed >= m.Plan.Bake.Duration {
			m.baked(driftline.CauseBaked, fmt.Sprintf("it baked for %s", m.Plan.Bake.Duration.Short()), "")
		}
	}
}

// begin leaves pending once the candidate is loaded and the baseline is complete.
func (m *machine) begin() {
	ready := m.Loaded && m.complete()
	switch {
	case ready && m.Champion == 0:
		m.promote(driftline.CauseReady, "there is no champion to compare it with", "")
	case ready:
		m.freeze()
		if m.Plan.Shadow != nil {
			m.enter(driftline.RolloutShadow, driftline.CauseReady, "it is loaded, and what is normal is known", "")
			return
		}
		m.enter(driftline.RolloutCanary, driftline.CauseReady, "it is loaded, and what is normal is known", "")
		m.tell(driftline.EventAdvanced, m.Title())
	case m.Elapsed >= m.limits().MaxDuration:
		m.inconclusive(m.pendingReason())
	}
}

func (m *machine) pendingReason() string {
	if !m.Loaded {
		return "the candidate was not loaded"
	}
	return fmt.Sprintf("the champion had %d of the %d requests that say what is normal", len(m.Samples.Latencies), m.Plan.Baseline)
}

// complete reports whether the baselines that guards need can be made.
func (m *machine) complete() bool {
	if m.Champion == 0 {
		return true
	}
	for _, g := range m.Plan.Guards {
		if g.Kind == driftline.GuardLatency && len(m.Samples.Latencies) < int(m.Plan.Baseline) ||
			g.Kind == driftline.GuardScore && len(m.Samples.Scores) < int(m.Plan.Baseline) {
			return false
		}
	}
	return true
}

// freeze makes the baselines.
func (m *machine) freeze() {
	m.Evidence.Baselines = make([]Bounds, len(m.Plan.Guards))
	for i, g := range m.Plan.Guards {
		b := Bounds{Low: driftline.Number(math.Inf(-1)), High: driftline.Number(math.Inf(1))}
		switch g.Kind {
		case driftline.GuardLatency:
			b.High = quantile(m.Samples.Latencies, g.Quantile)
		case driftline.GuardScore:
			b.Low, b.High = quantile(m.Samples.Scores, 1-g.Quantile), quantile(m.Samples.Scores, g.Quantile)
		}
		m.Evidence.Baselines[i] = b
	}
	m.Samples = Samples{}
}

// quantile returns the least value that at least a share q of the values does not exceed.
func quantile(values []float64, q float64) driftline.Number {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return driftline.Number(sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)])
}

// advance leaves a stage that is safe, or whose time is over.
func (m *machine) advance() {
	if m.Waiting == "approval" {
		return
	}
	limits := m.limits()
	enough := m.Elapsed >= limits.MinDuration && m.met() >= limits.MinRequests
	switch {
	case enough && m.Verdict.Outcome == driftline.VerdictSafe:
		if m.Phase == driftline.RolloutCanary && m.Plan.Stages[m.Stage].ManualApproval {
			m.wait("approval", fmt.Sprintf("%s has passed, and waits for somebody to approve it", m.Title()))
			return
		}
		m.next(driftline.CauseSafe, m.safeReason(), "")
	case m.Elapsed >= limits.MaxDuration:
		m.inconclusive(fmt.Sprintf("%s: no verdict after %s and %d requests of the candidate", m.Title(), limits.MaxDuration.Short(), m.met()))
	}
}

func (m *machine) safeReason() string {
	var names []string
	for _, g := range m.Verdict.Guards {
		names = append(names, g.Guard)
	}
	return fmt.Sprintf("%s was safe by %s, over %d requests of the candidate", m.Title(), strings.Join(names, ", "), m.met())
}

// met is how many requests of the stage the candidate had; of shadow, those that both answered.
func (m *machine) met() (n int64) {
	for _, s := range m.Evidence.Segments {
		if s.Route != m.Route.Sequence {
			continue
		}
		if s.Phase == driftline.RolloutShadow {
			n += s.Pairs
		} else {
			n += s.Requests.Candidate
		}
	}
	return n
}

// next enters the stage after this one.
func (m *machine) next(cause driftline.RolloutCause, reason, by string) {
	switch {
	case m.Phase == driftline.RolloutShadow:
		m.enter(driftline.RolloutCanary, cause, reason, by)
	case m.Stage+1 < len(m.Plan.Stages):
		m.Stage++
		m.enter(driftline.RolloutCanary, cause, reason, by)
	default:
		m.promote(cause, reason, by)
		return
	}
	m.tell(driftline.EventAdvanced, fmt.Sprintf("%s, because %s", m.Title(), reason))
}

// inconclusive is a stage whose time is over.
func (m *machine) inconclusive(reason string) {
	pending := m.Phase == driftline.RolloutPending
	switch {
	case m.Plan.OnInconclusive == driftline.InconclusiveHold:
		m.wait("evidence", reason)
	case m.Plan.OnInconclusive == driftline.InconclusivePromote && !pending:
		m.next(driftline.CauseInsufficient, reason+"; the plan goes on all the same", "")
	default:
		m.rollBack(driftline.CauseInsufficient, "not enough evidence, which is not to say that it is bad: "+reason, "")
	}
}

// wait says once what the rollout waits for.
func (m *machine) wait(what, reason string) {
	if m.Waiting == what {
		return
	}
	m.Waiting, m.Reason = what, reason
	m.Sequence++
	m.tell(driftline.EventWaiting, reason)
}

// promote asks for the alias to move; the route stays until it has.
func (m *machine) promote(cause driftline.RolloutCause, reason, by string) {
	m.enter(driftline.RolloutPromoting, cause, reason, by)
	m.await(Effect{Kind: EffectAlias, From: m.Champion, Version: m.Candidate, Text: reason})
}

// bake is what comes after the alias moved.
func (m *machine) bake(cause driftline.RolloutCause, reason, by string) {
	m.Rollout.Moved = true
	m.enter(driftline.RolloutBaking, cause, reason, by)
	m.tell(driftline.EventPromoted, fmt.Sprintf("version %d is champion; it is watched for %s", m.Candidate, m.Plan.Bake.Duration.Short()))
}

// baked ends a rollout well.
func (m *machine) baked(cause driftline.RolloutCause, reason, by string) {
	m.enter(driftline.RolloutPromoted, cause, reason, by)
	if m.Champion != 0 {
		m.do(Effect{Kind: EffectRelease, Version: m.Champion})
	}
	m.tell(driftline.EventPromoted, fmt.Sprintf("version %d stays: %s", m.Candidate, reason))
}

// rollBack gives all requests to the champion at once. If the alias has moved, or may have,
// it moves back before the rollout ends.
func (m *machine) rollBack(cause driftline.RolloutCause, reason, by string) {
	phase := livePhase(&m.Rollout)
	if m.Rollout.Moved || phase == driftline.RolloutPromoting || phase == driftline.RolloutPromoted {
		m.enter(driftline.RolloutRollingBack, cause, reason, by)
		m.await(Effect{Kind: EffectAlias, From: m.Candidate, Version: m.Champion, Text: reason})
		m.tell(driftline.EventRolledBack, fmt.Sprintf("back to version %d: %s", m.Champion, reason))
		return
	}
	m.enter(driftline.RolloutRolledBack, cause, reason, by)
	m.do(Effect{Kind: EffectRelease, Version: m.Candidate})
	m.tell(driftline.EventRolledBack, fmt.Sprintf("version %d is out: %s", m.Candidate, reason))
}
