package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// DefinitionChange is that a policy, a monitor or a gate became what it then was.
type DefinitionChange struct {
	Time   time.Time
	Ref    driftline.Ref // the version that it became; of a gate its model
	State  string        // "applied", "deleted", "set", "taken away", or what was done to a monitor
	By     string
	Reason string
	Fields []string // what differed from the version before, for people: "window: 1h → 1d"
}

// SettledNotice is a notice that was delivered or given up, as long as the ledger is kept.
type SettledNotice struct {
	Sequence    uint64        // of the line that says so
	Ref         driftline.Ref // what it tells of
	ID, Channel string
	Kind        string // of an alert, or the event that happened
	State       driftline.NoticeState
	Time        time.Time // when it was settled
}

// PolicyChanges returns how the policy of a model came to be what it is, the oldest first.
func (r *Registry) PolicyChanges(model driftline.ModelName) (changes []DefinitionChange) {
	r.read(func(s *state) {
		p := s.policies[model]
		if p == nil {
			return
		}
		changes = slices.Clone(p.changes)
		for i := range changes {
			if version, _ := strconv.Atoi(changes[i].Ref.Version); version > 1 && changes[i].State == applied {
				changes[i].Fields = policyDifferences(p.versions[version-2], p.versions[version-1]).Fields
			}
		}
	})
	return changes
}

// MonitorChanges returns how a monitor came to be what it is and what people did to it, the oldest first.
func (r *Registry) MonitorChanges(name driftline.MonitorName) (changes []DefinitionChange) {
	r.read(func(s *state) {
		changes = slices.Clone(s.monitorChanges[name])
		for i := range changes {
			if version, _ := strconv.Atoi(changes[i].Ref.Version); version > 1 && changes[i].State == applied {
				versions := s.monitors[name]
				changes[i].Fields = monitorDifferences(versions[version-2], versions[version-1]).Fields
			}
		}
	})
	return changes
}

// GateChanges returns what versions of a model had to have, and from when on, the oldest first.
func (r *Registry) GateChanges(name driftline.ModelName) (changes []DefinitionChange) {
	r.read(func(s *state) {
		for _, m := range s.everyModel(name) {
			changes = append(changes, m.gated...)
		}
	})
	return changes
}

// NoticesOf returns the notices that were delivered or given up and tell of one of these, such as an alert or a
// rollout, in whatever version, in the order in which they were.
func (r *Registry) NoticesOf(refs ...driftline.Ref) (notices []SettledNotice) {
	about := map[driftline.Ref]bool{}
	for _, ref := range refs {
		about[unversioned(ref)] = true
	}
	r.read(func(s *state) {
		for ref := range about {
			notices = append(notices, s.notices[ref]...)
		}
	})
	slices.SortFunc(notices, func(a, b SettledNotice) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return notices
}

const applied = "applied"

func unversioned(ref driftline.Ref) driftline.Ref {
	ref.Version = ""
	return ref
}

// foldNotice keeps one record of each notice: one that was given up may be tried again.
func foldNotice(s *state, line *Line) ([]effect, error) {
	settled, err := body[noticeSettled](line)
	if err != nil {
		return nil, err
	}
	about := unversioned(line.Ref)
	others := slices.DeleteFunc(slices.Clone(s.notices[about]), func(n SettledNotice) bool { return n.ID == settled.ID })
	now := SettledNotice{Sequence: line.Sequence, Ref: line.Ref, ID: settled.ID, Channel: settled.Channel, Kind: settled.Kind, State: settled.State, Time: line.Time}
	if !settled.Settled.IsZero() {
		now.Time = settled.Settled
	}
	table := func(s *state) map[driftline.Ref][]SettledNotice { return s.notices }
	return []effect{put(table, about, append(others, now))}, nil
}

func (s *state) noteMonitor(name driftline.MonitorName, change DefinitionChange) effect {
	table := func(s *state) map[driftline.MonitorName][]DefinitionChange { return s.monitorChanges }
	return put(table, name, append(slices.Clip(s.monitorChanges[name]), change))
}

// gateText says what a gate asks for.
func gateText(gate *driftline.ModelGate) string {
	switch {
	case len(gate.Checks) == 0 && gate.Approvals == 0:
		return "nothing"
	case len(gate.Checks) == 0:
		return fmt.Sprintf("%d approvals", gate.Approvals)
	case gate.Approvals == 0:
		return fmt.Sprintf("checks %v", gate.Checks)
	}
	return fmt.Sprintf("checks %v and %d approvals", gate.Checks, gate.Approvals)
}
