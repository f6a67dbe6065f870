package trigger

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/calendar"
)

// Schedule is a policy whose time triggers were compiled. It is immutable.
type Schedule struct {
	policy *driftline.Policy
	times  []clock
}

// clock is one time trigger.
type clock struct {
	trigger string
	cron    *calendar.Cron
	zone    *time.Location
	catchUp driftline.CatchUp
	since   time.Time // it asks for nothing from before
}

// Compile checks a policy, as [driftline.Policy.Check] and cron expressions and zones besides.
// Its errors are Invalid and name the field.
func Compile(p *driftline.Policy) (*Schedule, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	s := &Schedule{policy: p}
	for i := range p.Triggers {
		t := p.Triggers[i].Time
		if t == nil {
			continue
		}
		field := fmt.Sprintf("triggers[%d].time.", i)
		zone, err := calendar.Zone(field+"time_zone", t.TimeZone)
		if err != nil {
			return nil, err
		}
		cron, err := calendar.ParseCron(field+"cron", field+"time_zone", t.Cron)
		if err != nil {
			return nil, err
		}
		s.times = append(s.times, clock{p.Triggers[i].Name, cron, zone, t.Completed().CatchUp, later(p.Created, p.Triggers[i].Since)})
	}
	return s, nil
}

// Policy returns the policy.
func (s *Schedule) Policy() *driftline.Policy { return s.policy }

// Slot is a time at which a trigger asks for training.
type Slot struct {
	Trigger string
	Time    time.Time
}

// Cause is the slot as a cause.
func (s Slot) Cause(now time.Time) driftline.Cause {
	at := s.Time.UTC().Format(time.RFC3339)
	return driftline.Cause{Trigger: s.Trigger, Kind: driftline.TriggerTime, Bucket: at, Time: now, Summary: "it is " + at}
}

// mostSlots bounds the slots of one trigger that are due at once.
const mostSlots = 1000

// Due returns the slots that are due at now, and the state in which they have been dealt
// with: they are never due again, whatever the clock does. up is since when somebody could have
// looked: of the slots before then, latest keeps the last one, none none, and all gives them one at
// a time, each when the one before has ended and the pacing lets another run begin.
func (s *Schedule) Due(state driftline.PolicyState, up, now time.Time) ([]Slot, driftline.PolicyState) {
	var due []Slot
	if s.policy.Disabled {
		return nil, state
	}
	state = clone(state)
	for i := range s.times {
		c := &s.times[i]
		slots, through := c.due(s, &state, up, now)
		due = append(due, slots...)
		if t := state.Triggers[c.trigger]; through.After(t.Slot) {
			t.Slot = through
			state.Triggers[c.trigger] = t
		}
	}
	return due, state
}

// due returns the slots of one trigger, and the time through which it has been dealt with.
func (c *clock) due(s *Schedule, state *driftline.PolicyState, up, now time.Time) (due []Slot, through time.Time) {
	from := c.from(state)
	missed := up.Add(-1) // the last instant at which nobody looked
	if missed.After(now) {
		missed = now
	}
	if last := c.last(from, missed); !last.IsZero() {
		switch c.catchUp {
		case driftline.CatchUpAll:
			if state.Active != nil || state.Queued != nil || NextEligible(s.policy, state, now).After(now) {
				return nil, through
			}
			first := c.cron.Next(from, c.zone)
			return []Slot{{c.trigger, first}}, first
		case driftline.CatchUpLatest:
			due = append(due, Slot{c.trigger, last})
		}
		from, through = last, last
	}
	for len(due) < mostSlots {
		next := c.cron.Next(from, c.zone)
		if next.After(now) {
			break
		}
		due, from, through = append(due, Slot{c.trigger, next}), next, next
	}
	return due, through
}

// from is the instant after which slots have not been dealt with.
func (c *clock) from(state *driftline.PolicyState) time.Time {
	return later(c.since, state.Triggers[c.trigger].Slot)
}

// last returns the last slot in (from, to], or the zero time. It looks back farther and
// farther, so that years of minutes are not walked through.
func (c *clock) last(from, to time.Time) (last time.Time) {
	for _, back := range []time.Duration{time.Hour, day, 32 * day, 366 * day, 8 * 366 * day} {
		start := to.Add(-back)
		if start.Before(from) {
			start = from
		}
		for next := c.cron.Next(start, c.zone); !next.IsZero() && !next.After(to); next = c.cron.Next(next, c.zone) {
			last = next
		}
		if !last.IsZero() || start.Equal(from) {
			break
		}
	}
	return last
}

// Next returns when the policy is to be looked at again: the next slot of a trigger, the time
// at which a run that waits may begin, or at which one that is executed is late. It is the
// zero time if that is never.
func (s *Schedule) Next(state *driftline.PolicyState, up, now time.Time) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for i := range s.times {
		if s.policy.Disabled {
			break
		}
		c := &s.times[i]
		slot := c.cron.Next(c.from(state), c.zone)
		if c.catchUp == driftline.CatchUpAll && slot.Before(up) {
			if state.Active != nil || state.Queued != nil {
				continue // its end will ask again
			}
			if eligible := NextEligible(s.policy, state, now); eligible.After(slot) {
				slot = eligible
			}
		}
		sooner(slot)
	}
	if run := state.Active; run != nil && run.State == driftline.TrainingQueued {
		sooner(later(run.NotBefore, run.Created))
	} else if run != nil {
		sooner(run.Deadline)
		if run.Lease != nil {
			sooner(run.Lease.Expires)
		}
	}
	return next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Agenda knows which policies are to be looked at when, so that a look costs what is due and
// not what there is. It is not safe for concurrent use.
type Agenda struct {
	up    time.Time
	items map[driftline.ModelName]*item
	queue queue
}

// NewAgenda returns an empty agenda of a server that has been up since then.
func NewAgenda(up time.Time) *Agenda { return &Agenda{up: up, items: map[driftline.ModelName]*item{}} }

// item is a policy and when it is due.
type item struct {
	model driftline.ModelName
	due   time.Time
	at    int // its index in the queue
}

// Set takes in a policy, or that its state has changed.
func (a *Agenda) Set(s *Schedule, state *driftline.PolicyState, now time.Time) {
	a.put(s.policy.Model, s.Next(state, a.up, now))
}

// Remove forgets a policy.
func (a *Agenda) Remove(model driftline.ModelName) { a.put(model, time.Time{}) }

func (a *Agenda) put(model driftline.ModelName, due time.Time) {
	found := a.items[model]
	switch {
	case found == nil && due.IsZero():
	case found == nil:
		found = &item{model: model, due: due}
		a.items[model] = found
		heap.Push(&a.queue, found)
	case due.IsZero():
		heap.Remove(&a.queue, found.at)
		delete(a.items, model)
	default:
		found.due = due
		heap.Fix(&a.queue, found.at)
	}
}

// Due takes off models that are due at now, the longest due first, and no more than most of
// them, so that no look takes long although all are due on the hour; the others are due at the
// next call. Each comes again after the next Set of it.
func (a *Agenda) Due(now time.Time, most int) (due []driftline.ModelName) {
	for len(due) < most && len(a.queue) > 0 && !a.queue[0].due.After(now) {
		first := heap.Pop(&a.queue).(*item)
		delete(a.items, first.model)
		due = append(due, first.model)
	}
	return due
}

// Next returns when the next model is due; the zero time if none is.
func (a *Agenda) Next() time.Time {
	if len(a.queue) == 0 {
		return time.Time{}
	}
	return a.queue[0].due
}

// queue is a heap of items, the soonest first.
type queue []*item

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].model < q[j].model
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

func (q *queue) Push(x any) {
	one := x.(*item)
	one.at = len(*q)
	*q = append(*q, one)
}

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
