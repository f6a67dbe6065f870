package registry

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode"

	"github.com/driftline/driftline"
)

// aliasMoved is the body of alias.moved. The line's ref is the version that it moved to,
// or, if it was taken away, the one that it was at.
type aliasMoved struct {
	Alias    driftline.Alias `json:"alias"`
	From     int             `json:"from"`
	To       int             `json:"to"`
	Reason   string          `json:"reason,omitempty"`
	By       string          `json:"by,omitempty"`
	Evidence []driftline.Ref `json:"evidence,omitempty"`
	Checks   []string        `json:"checks,omitempty"`
	Rollback bool            `json:"rollback,omitempty"`
}

// versionLike is what an alias must not look like, since it is used in a version's place.
var versionLike = regexp.MustCompile(`^(?i:v?\d+|latest|newest)$`)

func isControl(c rune) bool { return unicode.IsControl(c) }

// MoveAlias points an alias at a version of a model and returns that version, or, for
// version 0, takes it away and returns the version where it was. Where move.Expect is set
// and the alias points elsewhere, it is a Conflict and nothing moves. So it is where a gate
// of the alias is not passed: FailedPrecondition. Moving it to where it is changes nothing.
func (r *Registry) MoveAlias(name driftline.ModelName, alias driftline.Alias, move driftline.AliasMove) (*driftline.ModelVersion, error) {
	if err := checkAlias(alias, move.Reason, move.By); err != nil {
		return nil, err
	}
	shown := move.Version
	err := r.write(func(tx *Tx) (err error) {
		shown, err = tx.moveAlias(name, alias, move)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(name, strconv.Itoa(shown))
}

func checkAlias(alias driftline.Alias, reason, by string) error {
	if err := driftline.CheckAlias(alias); err != nil {
		return err
	}
	if versionLike.MatchString(string(alias)) {
		return driftline.Errorf(driftline.Invalid, "alias %q looks like a version", alias).
			WithHint("use a word for the role of the version, for example champion")
	}
	return cmp.Or(checkText("reason", reason), checkPerson(by))
}

// moveAlias returns the version that the line is about.
func (tx *Tx) moveAlias(name driftline.ModelName, alias driftline.Alias, move driftline.AliasMove) (int, error) {
	m, err := tx.r.head.model(name)
	if err != nil {
		return 0, err
	}
	at := m.aliases[alias]
	if move.Version != 0 || at == 0 {
		if _, err := m.version(move.Version); move.Version != 0 && err != nil {
			return 0, err
		}
	}
	if err := m.expects(alias, move.Expect); err != nil {
		return 0, err
	}
	if at == 0 && move.Version == 0 {
		return 0, m.noAlias(alias)
	}
	if at == move.Version {
		return at, nil
	}
	moved := aliasMoved{Alias: alias, From: at, To: move.Version, Reason: move.Reason, By: move.By}
	if moved.Evidence, err = tx.r.head.resolveAll(move.Evidence); err != nil {
		return 0, err
	}
	if move.Version != 0 {
		if moved.Checks, err = m.passes(driftline.ModelGate{Alias: alias}, move.Version); err != nil {
			return 0, err
		}
	}
	about := cmp.Or(move.Version, at)
	_, err = tx.add(AliasMoved, driftline.ModelRef(name, about), nil, moved)
	return about, err
}

// expects is the compare of compare-and-swap.
func (m *model) expects(alias driftline.Alias, expect *int) error {
	at := m.aliases[alias]
	if expect == nil || *expect == at {
		return nil
	}
	return driftline.Errorf(driftline.Conflict, "model %q: alias %q is at %s, not at %s", m.name, alias, versionWord(at), versionWord(*expect)).
		WithRef(driftline.ModelRef(m.name, at)).
		WithHint("somebody moved it; look at its history and decide again")
}

func (m *model) noAlias(alias driftline.Alias) error {
	err := unknown("alias", alias, slices.Collect(maps.Keys(m.aliases)), "move the alias to a version")
	return named("model", m.name, err.WithRef(driftline.ModelRef(m.name, 0)))
}

func foldAlias(s *state, line *Line) ([]effect, error) {
	moved, err := body[aliasMoved](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := m.changed(line)
	next.aliases = maps.Clone(m.aliases)
	if next.aliases == nil {
		next.aliases = map[driftline.Alias]int{}
	}
	next.aliases[moved.Alias] = moved.To
	if moved.To == 0 {
		delete(next.aliases, moved.Alias)
	}
	next.moves = append(slices.Clip(m.moves), driftline.AliasChange{
		Sequence: line.Sequence, Time: line.Time, Alias: moved.Alias, From: moved.From, To: moved.To,
		Reason: moved.Reason, By: moved.By, Evidence: moved.Evidence, Checks: moved.Checks, Rollback: moved.Rollback,
	})
	return []effect{putModel(next)}, nil
}

// RollbackAlias takes back the last move of an alias and returns the version where it is
// then. Another rollback takes back the move before. Versions that were deleted meanwhile
// are passed over. Gates are not asked: the version had the alias before.
func (r *Registry) RollbackAlias(name driftline.ModelName, alias driftline.Alias, back driftline.AliasRollback) (*driftline.ModelVersion, error) {
	if err := checkAlias(alias, back.Reason, back.By); err != nil {
		return nil, err
	}
	to := 0
	err := r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err != nil {
			return err
		}
		if err := m.expects(alias, back.Expect); err != nil {
			return err
		}
		if to, err = m.before(alias); err != nil {
			return err
		}
		_, err = tx.add(AliasMoved, driftline.ModelRef(name, to), nil, aliasMoved{
			Alias: alias, From: m.aliases[alias], To: to, By: back.By, Rollback: true,
			Reason: cmp.Or(back.Reason, "rolled back"),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(name, strconv.Itoa(to))
}

// AliasBefore returns the version to which a rollback would bring an alias, or
// FailedPrecondition if it was at no other one that is still there.
func (r *Registry) AliasBefore(name driftline.ModelName, alias driftline.Alias) (version int, err error) {
	r.read(func(s *state) {
		var m *model
		if m, err = s.model(name); err == nil {
			version, err = m.before(alias)
		}
	})
	return version, err
}

// before is the version where the alias was before its last move that was not taken back.
func (m *model) before(alias driftline.Alias) (int, error) {
	var places []int // where it was, as a stack
	for _, change := range m.moves {
		switch {
		case change.Alias != alias:
		case change.Rollback:
			for len(places) > 0 && places[len(places)-1] != change.To {
				places = places[:len(places)-1]
			}
		default:
			places = append(places, change.To)
		}
	}
	if len(places) == 0 {
		return 0, m.noAlias(alias)
	}
	for _, place := range slices.Backward(places[:len(places)-1]) {
		if _, err := m.version(place); err == nil && place != m.aliases[alias] {
			return place, nil
		}
	}
	return 0, driftline.Errorf(driftline.FailedPrecondition, "model %q: alias %q was at no other version before that is still there", m.name, alias).
		WithRef(driftline.ModelRef(m.name, m.aliases[alias])).WithHint("see driftline models history, and move the alias to a version")
}

// AliasHistory returns the moves of an alias, or of all aliases for "", oldest first, of the
// models that had the name before too.
func (r *Registry) AliasHistory(name driftline.ModelName, alias driftline.Alias) ([]driftline.AliasChange, error) {
	moves := []driftline.AliasChange{}
	var err error
	r.read(func(s *state) {
		models := s.everyModel(name)
		if len(models) == 0 {
			_, err = s.model(name)
			return
		}
		for _, m := range models {
			moves = append(moves, m.history(alias)...)
		}
	})
	return moves, err
}

// history is the moves with their ends, for "" of every alias.
func (m *model) history(alias driftline.Alias) []driftline.AliasChange {
	var moves []driftline.AliasChange
	last := map[driftline.Alias]int{} // alias → its last move in moves
	for _, change := range m.moves {
		if alias != "" && change.Alias != alias {
			continue
		}
		if before, ok := last[change.Alias]; ok {
			moves[before].Until = change.Time
		}
		last[change.Alias] = len(moves)
		moves = append(moves, change)
	}
	return moves
}

// AliasAt returns the move that put an alias where it was at a time, and NotFound if it
// was nowhere.
func (r *Registry) AliasAt(name driftline.ModelName, alias driftline.Alias, at time.Time) (driftline.AliasChange, error) {
	moves, err := r.AliasHistory(name, alias)
	if err != nil {
		return driftline.AliasChange{}, err
	}
	for _, change := range slices.Backward(moves) {
		if !change.Time.After(at) {
			if change.To == 0 {
				break
			}
			return change, nil
		}
	}
	return driftline.AliasChange{}, driftline.Errorf(driftline.NotFound, "model %q: alias %q pointed at no version at %s", name, alias, instant(at)).
		WithRef(driftline.ModelRef(name, 0)).WithHint("see its history without --at")
}

// ModelHistory is the past of one model: all that meta.alias_history has of it.
type ModelHistory struct {
	Model   driftline.ModelName
	Deleted time.Time // zero while it is there
	Aliases []driftline.AliasChange
	Stages  []driftline.StageChange
}

// ModelHistories returns the past of every model that is and was, by name and age.
func (r *Registry) ModelHistories() []ModelHistory {
	var found []ModelHistory
	r.read(func(s *state) {
		names := map[driftline.ModelName]bool{}
		for name := range s.models {
			names[name] = true
		}
		for name := range s.retired {
			names[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			for _, m := range s.everyModel(name) {
				found = append(found, ModelHistory{Model: name, Deleted: m.deleted, Aliases: m.history(""), Stages: slices.Clone(m.staged)})
			}
		}
	})
	return found
}
