package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
)

// rolloutChanged is the body of rollout.changed: the rollout as it then is, without its
// verdict, and what changed. Change is nil where only what it waits for did.
type rolloutChanged struct {
	Rollout driftline.Rollout   `json:"rollout"`
	Change  *rollout.Transition `json:"change,omitempty"`
}

// rolloutRecord is a rollout as of its last line, and where its lines are.
type rolloutRecord struct {
	driftline.Rollout
	lines []uint64
}

// NextRollout returns the ID of the next rollout of a model, and the sequence of the last
// route that any of its rollouts made.
func (tx *Tx) NextRollout(model driftline.ModelName) (id driftline.RolloutID, after uint64) {
	for _, old := range tx.r.head.rollouts {
		if old.Model == model {
			after = max(after, old.Sequence)
		}
	}
	return driftline.RolloutID(fmt.Sprintf("%s-%d", model, tx.r.head.rolloutNumbers[model]+1)), after
}

// ChangeRollout records what became of a rollout, with the versions that it is about as inputs.
func (tx *Tx) ChangeRollout(now driftline.Rollout, change *rollout.Transition) (Line, error) {
	if err := cmp.Or(checkText("reason", now.Reason), checkPerson(now.By)); err != nil {
		return Line{}, err
	}
	now.Verdict = nil
	inputs := []driftline.Ref{driftline.ModelRef(now.Model, now.Candidate)}
	if now.Champion != 0 {
		inputs = append(inputs, driftline.ModelRef(now.Model, now.Champion))
	}
	return tx.add(RolloutChanged, now.Ref(), inputs, rolloutChanged{now, change})
}

func foldRollout(s *state, line *Line) ([]effect, error) {
	changed, err := body[rolloutChanged](line)
	if err != nil {
		return nil, err
	}
	id := changed.Rollout.ID
	next := &rolloutRecord{Rollout: changed.Rollout}
	if old := s.rollouts[id]; old != nil {
		next.lines = slices.Clip(old.lines)
	}
	next.lines = append(next.lines, line.Sequence)
	if changed.Change != nil {
		next.Verdict = changed.Change.Verdict
	}
	effects := []effect{put(func(s *state) map[driftline.RolloutID]*rolloutRecord { return s.rollouts }, id, next)}
	digits := strings.TrimPrefix(string(id), string(next.Model)+"-")
	if number, err := strconv.Atoi(digits); err == nil && number > s.rolloutNumbers[next.Model] {
		effects = append(effects, put(func(s *state) map[driftline.ModelName]int { return s.rolloutNumbers }, next.Model, number))
	}
	return effects, nil
}

// Rollouts returns the rollouts of a model (of all for ""), as of their last change, the
// newest first. The caller must not change what they point at.
func (r *Registry) Rollouts(model driftline.ModelName) []driftline.Rollout {
	found := []driftline.Rollout{}
	r.read(func(s *state) {
		for _, one := range s.rollouts {
			if model == "" || one.Model == model {
				found = append(found, one.Rollout)
			}
		}
	})
	slices.SortFunc(found, func(a, b driftline.Rollout) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Sequence, a.Sequence), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// Rollout returns a rollout as of its last change. The caller must not change what it points at.
func (r *Registry) Rollout(id driftline.RolloutID) (found driftline.Rollout, err error) {
	r.read(func(s *state) { found, err = s.rollout(id) })
	return found, err
}

func (s *state) rollout(id driftline.RolloutID) (driftline.Rollout, error) {
	if one := s.rollouts[id]; one != nil {
		return one.Rollout, nil
	}
	return driftline.Rollout{}, unknown("rollout", id, slices.Collect(maps.Keys(s.rollouts)), "start one with driftline rollout start MODEL@VERSION").
		WithRef(driftline.RolloutRef(clip(id)))
}

// RolloutChanges returns the changes of a rollout, oldest first, each with the counts that its
// verdict rests on.
func (r *Registry) RolloutChanges(id driftline.RolloutID) ([]rollout.Transition, error) {
	var lines []uint64
	var err error
	r.read(func(s *state) {
		if _, err = s.rollout(id); err == nil {
			lines = s.rollouts[id].lines
		}
	})
	if err != nil {
		return nil, err
	}
	changes := []rollout.Transition{}
	for _, number := range lines {
		line, err := r.line(number)
		if err != nil {
			return nil, err
		}
		changed, err := body[rolloutChanged](&line)
		if err != nil {
			return nil, err
		}
		if changed.Change != nil {
			changes = append(changes, *changed.Change)
		}
	}
	return changes, nil
}

// line reads one line.
func (r *Registry) line(sequence uint64) (Line, error) {
	for line, err := range r.Lines(sequence) {
		return line, err
	}
	return Line{}, damagedLine(sequence, "it is missing")
}

// freeOfRollouts refuses to take away a version that a rollout needs, or any of the model's for 0: one that
// is rolled out or would be returned to, and, as long as the version that the last rollout promoted
// is champion, that one and the one before.
func (s *state) freeOfRollouts(m *model, version int) error {
	var last *rolloutRecord
	for _, one := range s.rollouts {
		if one.Model != m.name {
			continue
		}
		if !one.Phase.Ended() && (version == 0 || version == one.Champion || answersIn(one, version)) {
			return inUse(m, version, one, "it is under way").WithHint("wait for it, or abort it: driftline rollout abort %s", one.ID)
		}
		if last == nil || one.Sequence > last.Sequence {
			last = one
		}
	}
	if version == 0 || last == nil || last.Phase != driftline.RolloutPromoted || m.aliases[driftline.AliasChampion] != last.Candidate {
		return nil
	}
	if version != last.Champion && !answersIn(last, version) {
		return nil
	}
	return inUse(m, version, last, fmt.Sprintf("it made version %d champion, and can be taken back", last.Candidate)).
		WithHint("point the alias %s at another version first, or roll one out", driftline.AliasChampion)
}

// answersIn reports whether a version has the candidate's arm, or a share of it.
func answersIn(r *rolloutRecord, version int) bool {
	return version == r.Candidate || slices.ContainsFunc(r.Mixture, func(s driftline.VersionShare) bool { return s.Version == version })
}

func inUse(m *model, version int, by *rolloutRecord, why string) *driftline.Error {
	what := fmt.Sprintf("model %q", m.name)
	if version != 0 {
		what = fmt.Sprintf("version %d of model %q", version, m.name)
	}
	return driftline.Errorf(driftline.Conflict, "%s is in use by rollout %s: %s", what, by.ID, why).WithRef(by.Ref())
}

// ChampionMove makes a version champion, in the place of another one.
type ChampionMove struct {
	Model    driftline.ModelName
	From, To int // From 0: there is none
	Rollout  driftline.RolloutID
	Reason   string
	By       string
	Back     bool // it returns to a version that was champion, so no gate is asked
}

// MoveChampion moves the alias champion and the stage Production to a version, as a decision of a
// rollout. Where they are there already, nothing happens. Conflict: the champion is another one than
// From; FailedPrecondition: a gate is not passed; NotFound: the version is gone. Then
// nothing was added to the transaction.
func (tx *Tx) MoveChampion(move ChampionMove) error {
	m, err := tx.r.head.model(move.Model)
	if err != nil {
		return err
	}
	to, err := m.version(move.To)
	if err != nil {
		return err
	}
	at := m.aliases[driftline.AliasChampion]
	if answers := tx.Champion(move.Model); at != move.To && answers != move.From {
		return driftline.Errorf(driftline.Conflict, "%s is champion, not %s", versionWord(answers), versionWord(move.From)).WithRef(driftline.ModelRef(move.Model, answers))
	}
	moved := aliasMoved{Alias: driftline.AliasChampion, From: at, To: move.To, Reason: move.Reason, By: move.By, Rollback: move.Back,
		Evidence: []driftline.Ref{driftline.RolloutRef(move.Rollout)}}
	staged := versionStaged{From: to.Stage, To: driftline.StageProduction, Archived: m.others(to, driftline.StageProduction),
		Reason: move.Reason, By: move.By, Evidence: moved.Evidence}
	if !move.Back {
		if moved.Checks, err = m.passes(driftline.ModelGate{Alias: driftline.AliasChampion}, move.To); err != nil {
			return err
		}
		if staged.Checks, err = m.passes(driftline.ModelGate{Stage: driftline.StageProduction}, move.To); err != nil {
			return err
		}
	}
	if at != move.To {
		if _, err := tx.add(AliasMoved, to.Ref(), nil, moved); err != nil {
			return err
		}
	}
	if to.Stage == driftline.StageProduction && len(staged.Archived) == 0 {
		return nil
	}
	_, err = tx.add(VersionStaged, to.Ref(), nil, staged)
	return err
}

// Champion is [Registry.Champion] as the transaction sees it, and 0 if there is none.
func (tx *Tx) Champion(name driftline.ModelName) int {
	version, err := tx.r.head.champion(name)
	if err != nil {
		return 0
	}
	return version
}

// CheckWords checks who does something, and why, as lines of the ledger keep it.
func CheckWords(by, reason string) error { return cmp.Or(checkText("reason", reason), checkPerson(by)) }

func (s *state) rolloutFacts(ref driftline.Ref) map[string]string {
	one := s.rollouts[driftline.RolloutID(ref.Name)]
	if one == nil {
		return nil
	}
	return map[string]string{"phase": one.Title(), "candidate": strconv.Itoa(one.Candidate), "champion": versionWord(one.Champion)}
}
