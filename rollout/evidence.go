package rollout

import (
	"math"
	"slices"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/sequential"
)

// Answer is what a version made of a request.
type Answer struct {
	Fault   driftline.Fault // "": it answered properly
	Latency time.Duration
	Score   float64            // NaN: it has none
	Values  map[string]float64 // for guards of means, by their Value; the score need not be among them
}

// Observation is a request that was dealt by a route, and what became of it. Requests that
// were pinned are none, and one that fell back to the champion is one of the candidate.
type Observation struct {
	Route  uint64 // the sequence of the route that dealt it
	Arm    driftline.Arm
	Key    uint64 // of [Key], of the key it was dealt by; 0: by its own ID, so that it is independent of all others
	Answer Answer

	// Mirror is what the other arm made of the same request, if it got it too; nil if not.
	// Differs says whether its prediction was another one.
	Mirror  *Answer
	Differs bool
}

// Evidence is what is known of a rollout's requests. It is small, has one form as JSON, and
// is all that verdicts rest on.
type Evidence struct {
	Segments []Segment `json:"segments,omitempty"` // in the order of time; the last one is open

	// From is the first segment that is judged: a person has overruled those before it.
	From int `json:"from,omitempty"`

	// Baselines are, for each guard of the plan, what counts as extreme, frozen before the
	// candidate got its first request.
	Baselines []Bounds `json:"baselines,omitempty"`

	Candidates Keys   `json:"candidates,omitzero"` // keys that the candidate answered
	Champions  Keys   `json:"champions,omitzero"`  // likewise
	Events     []Keys `json:"events,omitempty"`    // for each guard, the keys that had an event

	// Clusters count, for each guard, the events of each key in the open segment.
	Clusters []Counts `json:"clusters,omitempty"`

	Strays int64 `json:"strays,omitempty"` // observations of routes that are not the rollout's
}

// Segment is a time in which the shares of the arms did not change.
type Segment struct {
	Route   uint64                 `json:"route"`
	Phase   driftline.RolloutPhase `json:"phase"`
	Stage   int                    `json:"stage"`
	Share   float64                `json:"share"` // of the candidate, 0 to 1
	Started time.Time              `json:"started"`

	Requests driftline.ArmCounts `json:"requests"` // that were the arms' to answer
	Ours     driftline.ArmCounts `json:"ours"`     // that we failed, and that are no evidence
	First    driftline.ArmCounts `json:"first"`    // of a key, at the arm
	Dealt    driftline.ArmCounts `json:"dealt"`    // keys that were met for the first time

	Pairs   int64 `json:"pairs,omitempty"`   // requests that both answered, the first of each key
	Differs int64 `json:"differs,omitempty"` // of these

	Guards []GuardEvidence `json:"guards"` // as the plan's
}

// GuardEvidence is what a segment knows for one guard.
type GuardEvidence struct {
	Events      driftline.ArmCounts `json:"events,omitzero"`       // the first of each key
	FirstEvents driftline.ArmCounts `json:"first_events,omitzero"` // at the first request of a key

	// All are the events of all requests, and Most is how many the key had that had most.
	All  driftline.ArmCounts `json:"all,omitzero"`
	Most int64               `json:"most,omitempty"`

	Candidate sequential.Moments `json:"candidate,omitzero"` // of a mean, the first value of each key
	Champion  sequential.Moments `json:"champion,omitzero"`

	Pairs sequential.Pairs `json:"pairs,omitempty"`
}

// Bounds are what a value must not lie beyond.
type Bounds struct {
	Low  driftline.Number `json:"low"`
	High driftline.Number `json:"high"`
}

// clone copies what Add changes.
func (e *Evidence) clone() Evidence {
	c := *e
	c.Segments = slices.Clone(e.Segments)
	for i := range c.Segments {
		c.Segments[i] = c.Segments[i].clone()
	}
	c.Candidates, c.Champions = e.Candidates.clone(), e.Champions.clone()
	c.Events, c.Clusters = slices.Clone(e.Events), slices.Clone(e.Clusters)
	for i := range c.Events {
		c.Events[i] = e.Events[i].clone()
	}
	for i := range c.Clusters {
		c.Clusters[i] = e.Clusters[i].clone()
	}
	return c
}

func (s Segment) clone() Segment {
	s.Guards = slices.Clone(s.Guards)
	for i, guard := range s.Guards {
		if guard.Pairs != nil {
			s.Guards[i].Pairs = sequential.Pairs{}
			s.Guards[i].Pairs.Merge(guard.Pairs)
		}
	}
	return s
}

// open begins a segment.
func (e *Evidence) open(r *driftline.Rollout, share float64, now time.Time) {
	guards := len(r.Plan.Guards)
	e.Segments = append(e.Segments, Segment{
		Route: r.Route.Sequence, Phase: r.Phase, Stage: r.Stage, Share: share, Started: now, Guards: make([]GuardEvidence, guards),
	})
	e.Clusters = nil
}

// Roll closes the open segment, and begins another one like it.
func (e *Evidence) Roll(now time.Time) {
	next := e.Segments[len(e.Segments)-1]
	e.Segments = append(e.Segments, Segment{
		Route: next.Route, Phase: next.Phase, Stage: next.Stage, Share: next.Share, Started: now, Guards: make([]GuardEvidence, len(next.Guards)),
	})
	e.Clusters = nil
}

// segment returns the last segment of a route, or nil.
func (e *Evidence) segment(route uint64) *Segment {
	for i := len(e.Segments) - 1; i >= 0; i-- {
		if e.Segments[i].Route == route {
			return &e.Segments[i]
		}
	}
	return nil
}

// Add takes in an observation.
func (e *Evidence) Add(guards []driftline.Guard, o *Observation) {
	s := e.segment(o.Route)
	if s == nil || len(s.Guards) != len(guards) || o.Arm != driftline.ArmCandidate && o.Arm != driftline.ArmChampion {
		e.Strays++
		return
	}
	if o.Answer.Fault == driftline.FaultOurs {
		*armCount(&s.Ours, o.Arm)++
		return
	}
	if len(e.Events) != len(guards) {
		e.Events = make([]Keys, len(guards))
	}
	if len(e.Clusters) != len(guards) {
		e.Clusters = make([]Counts, len(guards))
	}
	*armCount(&s.Requests, o.Arm)++
	first := e.meet(s, o)
	for i := range guards {
		e.addGuard(s, i, &guards[i], o, first)
	}
	if first && o.Mirror != nil && o.Mirror.Fault != driftline.FaultOurs {
		s.addPair(guards, e.Baselines, o)
	}
}

// meet remembers the key, and reports whether it is new to the arm.
func (e *Evidence) meet(s *Segment, o *Observation) (first bool) {
	mine, other := &e.Candidates, &e.Champions
	if o.Arm == driftline.ArmChampion {
		mine, other = other, mine
	}
	first = o.Key == 0 || mine.add(o.Key)
	if first {
		*armCount(&s.First, o.Arm)++
		if o.Key == 0 || !other.has(o.Key) {
			*armCount(&s.Dealt, o.Arm)++
		}
	}
	return first
}

func (e *Evidence) addGuard(s *Segment, i int, guard *driftline.Guard, o *Observation, first bool) {
	g := &s.Guards[i]
	if guard.Kind == driftline.GuardMean {
		if v, ok := valueOf(guard, &o.Answer); ok && first {
			moments := &g.Candidate
			if o.Arm == driftline.ArmChampion {
				moments = &g.Champion
			}
			moments.Add(v)
		}
		return
	}
	if !e.event(i, guard, &o.Answer) {
		return
	}
	if first {
		*armCount(&g.FirstEvents, o.Arm)++
	}
	if o.Key == 0 || e.Events[i].add(o.Key) {
		*armCount(&g.Events, o.Arm)++
	}
	if s != &e.Segments[len(e.Segments)-1] {
		return // too late to tell which key had most
	}
	*armCount(&g.All, o.Arm)++
	g.Most = max(g.Most, e.Clusters[i].add(o.Key))
}

// addPair compares both arms' answers to one request.
func (s *Segment) addPair(guards []driftline.Guard, baselines []Bounds, o *Observation) {
	candidate, champion := &o.Answer, o.Mirror
	if o.Arm == driftline.ArmChampion {
		candidate, champion = champion, candidate
	}
	s.Pairs++
	if o.Differs {
		s.Differs++
	}
	bounds := Evidence{Baselines: baselines}
	for i := range guards {
		guard, g := &guards[i], &s.Guards[i]
		if g.Pairs == nil {
			g.Pairs = sequential.Pairs{}
		}
		if guard.Kind != driftline.GuardMean {
			g.Pairs.Add(number(bounds.event(i, guard, candidate)) - number(bounds.event(i, guard, champion)))
			continue
		}
		a, hasA := valueOf(guard, candidate)
		b, hasB := valueOf(guard, champion)
		if hasA && hasB {
			g.Pairs.Add((a - b) / guard.Scale)
		}
	}
}

// event reports whether an answer is one that the i-th guard counts.
func (e *Evidence) event(i int, guard *driftline.Guard, a *Answer) bool {
	failed := a.Fault != "" || a.Score-a.Score != 0 && !math.IsNaN(a.Score)
	if guard.Kind == driftline.GuardErrors {
		return failed
	}
	if i >= len(e.Baselines) {
		return false
	}
	low, high := float64(e.Baselines[i].Low), float64(e.Baselines[i].High)
	switch guard.Kind {
	case driftline.GuardLatency:
		return a.Fault == driftline.FaultTimeout || a.Fault == "" && a.Latency.Seconds() > high
	case driftline.GuardScore:
		return !failed && (a.Score < low || a.Score > high)
	}
	return false
}

// valueOf returns the value that a guard of a mean is about.
func valueOf(guard *driftline.Guard, a *Answer) (v float64, ok bool) {
	if v, ok = a.Values[guard.Value]; !ok && guard.Value == "score" && a.Fault == "" {
		v, ok = a.Score, true
	}
	return v, ok && v-v == 0
}

// Merge takes in the evidence of another process of the same rollout, of the same routes.
// Keys that both met count twice, so each key should be met by one of them. It does not know
// who has most events in the segment that is open: that is to be merged once it is closed.
func (e *Evidence) Merge(other Evidence) {
	for _, theirs := range other.Segments {
		mine := e.segment(theirs.Route)
		if mine == nil || len(mine.Guards) != len(theirs.Guards) {
			e.Strays += theirs.Requests.Candidate + theirs.Requests.Champion
			continue
		}
		mine.merge(theirs)
	}
	e.Candidates.merge(other.Candidates)
	e.Champions.merge(other.Champions)
	if len(e.Events) == 0 {
		e.Events = make([]Keys, len(other.Events))
	}
	for i := range min(len(e.Events), len(other.Events)) {
		e.Events[i].merge(other.Events[i])
	}
	e.Strays += other.Strays
}

func (s *Segment) merge(other Segment) {
	for _, c := range []struct{ mine, theirs *driftline.ArmCounts }{
		{&s.Requests, &other.Requests}, {&s.Ours, &other.Ours}, {&s.First, &other.First}, {&s.Dealt, &other.Dealt},
	} {
		addCounts(c.mine, *c.theirs)
	}
	s.Pairs, s.Differs = s.Pairs+other.Pairs, s.Differs+other.Differs
	for i := range s.Guards {
		mine, theirs := &s.Guards[i], other.Guards[i]
		addCounts(&mine.Events, theirs.Events)
		addCounts(&mine.FirstEvents, theirs.FirstEvents)
		addCounts(&mine.All, theirs.All)
		mine.Most += theirs.Most // it may be the same key
		mine.Candidate.Merge(theirs.Candidate)
		mine.Champion.Merge(theirs.Champion)
		if mine.Pairs == nil && theirs.Pairs != nil {
			mine.Pairs = sequential.Pairs{}
		}
		mine.Pairs.Merge(theirs.Pairs)
	}
}

func addCounts(to *driftline.ArmCounts, from driftline.ArmCounts) {
	to.Candidate += from.Candidate
	to.Champion += from.Champion
}

// armCount is the count of an arm.
func armCount(counts *driftline.ArmCounts, arm driftline.Arm) *int64 {
	if arm == driftline.ArmCandidate {
		return &counts.Candidate
	}
	return &counts.Champion
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
