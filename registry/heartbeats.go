package registry

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
)

// Signs of life are in memory only: they are many, and nobody asks for yesterday's. What
// becomes of a run that gave none is a line.
type beats struct {
	mu   sync.Mutex
	last map[driftline.RunID]time.Time // of the runs that promised them
}

// hear notes a sign of life of a run that promised them.
func (b *beats) hear(id driftline.RunID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = map[driftline.RunID]time.Time{}
	}
	b.last[id] = now
}

// heard is hear for a run of which it is not known whether it promised them.
func (b *beats) heard(id driftline.RunID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, promised := b.last[id]; promised {
		b.last[id] = now
	}
}

func (b *beats) of(id driftline.RunID) (last time.Time, promised bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, promised = b.last[id]
	return last, promised
}

func (b *beats) forget(id driftline.RunID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, id)
}

// all returns the last sign of life of each.
func (b *beats) all() map[driftline.RunID]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.last)
}

// listen gives every run that may be breathing a whole span from now on: its client could
// not be heard while the server was down.
func (r *Registry) listen() {
	for run := range r.durable.runs.all() {
		if run.breathes() {
			r.beats.hear(run.id(), r.now())
		}
	}
}

// breathes reports whether signs of life are to come.
func (r *run) breathes() bool {
	return r.extra().heartbeat > 0 && !r.deleted && r.status() == driftline.RunRunning
}

// lostReason begins the reason of runs that stopped breathing.
const lostReason = "lost: "

// lost reports whether the run was ended because it stopped breathing.
func (r *run) lost() bool { return strings.HasPrefix(r.extra().reason, lostReason) }

// The limits of what can be promised.
const (
	shortestHeartbeat = time.Second
	longestHeartbeat  = 30 * 24 * time.Hour
)

func checkHeartbeat(d driftline.Duration) error {
	if d == 0 || time.Duration(d) >= shortestHeartbeat && time.Duration(d) <= longestHeartbeat {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "a heartbeat every %s cannot be promised", d).
		WithHint("promise one every second to 30 days, or leave it out")
}

// Heartbeat is a sign of life of a run. One that was lost runs again; one that has ended
// otherwise, or is deleted, is a FailedPrecondition error, by which its client learns of it.
func (r *Registry) Heartbeat(id driftline.RunID) (*driftline.Run, error) {
	err := r.write(func(tx *Tx) error {
		run, err := tx.r.head.running(id)
		if err != nil {
			return err
		}
		return tx.revive(run)
	})
	if err != nil {
		return nil, err
	}
	r.beats.heard(id, r.now())
	return r.runWithMetrics(id)
}

// revive has a run that was lost run again.
func (tx *Tx) revive(run *run) error {
	if !run.lost() {
		return nil
	}
	_, err := tx.add(RunChanged, run.ref(), nil, runChanged{RunChange: driftline.RunChange{Status: driftline.RunRunning}})
	if err == nil {
		tx.r.beats.hear(run.id(), tx.time)
	}
	return err
}

// EndLostRuns ends the runs that stopped breathing, and returns them.
func (r *Registry) EndLostRuns() ([]driftline.RunID, error) {
	var lost []driftline.RunID
	for _, id := range r.silentRuns() {
		ended, err := r.endLost(id)
		if err != nil {
			return lost, err
		}
		if ended {
			lost = append(lost, id)
		}
	}
	return lost, nil
}

// silentRuns forgets the runs that have ended, and returns those that are late.
func (r *Registry) silentRuns() []driftline.RunID {
	var late []driftline.RunID
	now, heard := r.now(), r.beats.all()
	r.read(func(s *state) {
		for id, last := range heard {
			run, err := s.run(id)
			switch {
			case err != nil || !run.breathes():
				r.beats.forget(id)
			case now.Sub(last) > time.Duration(run.extra().heartbeat):
				late = append(late, id)
			}
		}
	})
	slices.Sort(late)
	return late
}

// endLost ends a run, unless a sign of life came meanwhile.
func (r *Registry) endLost(id driftline.RunID) (ended bool, err error) {
	err = r.write(func(tx *Tx) error {
		run, err := tx.r.head.run(id)
		last, promised := r.beats.of(id)
		if err != nil || !promised || !run.breathes() || tx.time.Sub(last) <= time.Duration(run.extra().heartbeat) {
			return nil // it was removed, or speaks
		}
		ended = true
		_, err = tx.add(RunFinished, run.ref(), nil, runFinished{Status: driftline.RunFailed, Reason: lostReason + "no sign of life since " + instant(last)})
		return err
	})
	return ended && err == nil, err
}
