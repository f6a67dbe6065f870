package registry

import (
	"cmp"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// versionStaged is the body of model_version.staged, of the version that it is about and,
// with it, of those that were archived.
type versionStaged struct {
	From     driftline.ModelStage `json:"from"`
	To       driftline.ModelStage `json:"to"`
	Archived []int                `json:"archived,omitempty"` // versions that were in To
	Reason   string               `json:"reason,omitempty"`
	By       string               `json:"by,omitempty"`
	Evidence []driftline.Ref      `json:"evidence,omitempty"`
	Checks   []string             `json:"checks,omitempty"`
}

// ParseStage reads a stage in any case, as MLflow does.
func ParseStage(text string) (driftline.ModelStage, error) {
	for _, stage := range driftline.ModelStages {
		if strings.EqualFold(string(stage), text) {
			return stage, nil
		}
	}
	return "", driftline.Unknown("stage", driftline.ModelStage(text), driftline.ModelStages)
}

// MoveStage brings a version of a model into a stage and returns it. Where move.Expect is
// set and the version is in another, it is a Conflict; where a gate of the stage is not
// passed, FailedPrecondition.
func (r *Registry) MoveStage(name driftline.ModelName, selector string, move driftline.StageMove) (*driftline.ModelVersion, error) {
	stage, err := ParseStage(string(move.Stage))
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "stage %q is not known", clip(move.Stage)).
			WithHint("use None, Staging, Production or Archived")
	}
	move.Stage = stage
	if err := cmp.Or(checkText("reason", move.Reason), checkPerson(move.By)); err != nil {
		return nil, err
	}
	if move.ArchiveExisting && stage != driftline.StageStaging && stage != driftline.StageProduction {
		return nil, driftline.Errorf(driftline.Invalid, "existing versions are archived only when one comes into Staging or Production, not %s", stage).
			WithHint("leave archive_existing_versions out")
	}
	return r.changeVersion(name, selector, func(tx *Tx, m *model, v *driftline.ModelVersion) error {
		return tx.moveStage(m, v, move)
	})
}

func (tx *Tx) moveStage(m *model, v *driftline.ModelVersion, move driftline.StageMove) (err error) {
	if move.Expect != nil && *move.Expect != v.Stage {
		return driftline.Errorf(driftline.Conflict, "model %q: version %d is in stage %s, not %s", m.name, v.Version, v.Stage, *move.Expect).
			WithRef(v.Ref()).WithHint("somebody moved it; look at its history and decide again")
	}
	staged := versionStaged{From: v.Stage, To: move.Stage, Reason: move.Reason, By: move.By}
	if move.ArchiveExisting {
		staged.Archived = m.others(v, move.Stage)
	}
	if v.Stage == move.Stage && len(staged.Archived) == 0 {
		return nil
	}
	if staged.Evidence, err = tx.r.head.resolveAll(move.Evidence); err != nil {
		return err
	}
	if v.Stage != move.Stage {
		if staged.Checks, err = m.passes(driftline.ModelGate{Stage: move.Stage}, v.Version); err != nil {
			return err
		}
	}
	_, err = tx.add(VersionStaged, v.Ref(), nil, staged)
	return err
}

// others are the versions in a stage besides v.
func (m *model) others(v *driftline.ModelVersion, stage driftline.ModelStage) []int {
	var found []int
	for _, other := range m.versions {
		if other != v && other.Stage == stage {
			found = append(found, other.Version)
		}
	}
	return found
}

func foldStaged(s *state, line *Line) ([]effect, error) {
	staged, err := body[versionStaged](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	v, err := s.modelVersionOf(line.Ref)
	if err != nil {
		return nil, err
	}
	next := m.changed(line)
	next.staged = slices.Clip(next.staged)
	change := driftline.StageChange{Sequence: line.Sequence, Time: line.Time, Version: v.Version, From: staged.From, To: staged.To,
		Reason: staged.Reason, By: staged.By, Evidence: staged.Evidence, Checks: staged.Checks}
	next.stage(v, line, change)
	for _, number := range staged.Archived {
		other, err := m.version(number)
		if err != nil {
			return nil, err
		}
		next.stage(other, line, driftline.StageChange{Sequence: line.Sequence, Time: line.Time, Version: number,
			From: staged.To, To: driftline.StageArchived, Reason: versionWord(v.Version) + " came in its place", By: staged.By})
	}
	return []effect{putModel(next)}, nil
}

func (m *model) stage(v *driftline.ModelVersion, line *Line, change driftline.StageChange) {
	m.replace(v, line, func(v *driftline.ModelVersion) { v.Stage = change.To })
	if change.From != change.To {
		m.staged = append(m.staged, change)
	}
}

// StageHistory returns how the versions of a model went through its stages, oldest first.
func (r *Registry) StageHistory(name driftline.ModelName) ([]driftline.StageChange, error) {
	changes := []driftline.StageChange{}
	var err error
	r.read(func(s *state) {
		models := s.everyModel(name)
		if len(models) == 0 {
			_, err = s.model(name)
		}
		for _, m := range models {
			changes = append(changes, m.staged...)
		}
	})
	return changes, err
}

// LatestVersions returns the newest version in each of the stages, of all of them if none
// is named, in the order of the stages.
func (r *Registry) LatestVersions(name driftline.ModelName, stages []driftline.ModelStage) ([]driftline.ModelVersion, error) {
	m, err := r.model(name)
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		stages = driftline.ModelStages
	}
	found := []driftline.ModelVersion{}
	for _, stage := range stages {
		if v, err := m.inStage(stage); err == nil {
			found = append(found, *m.copyVersion(v))
		}
	}
	return found, nil
}
