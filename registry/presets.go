package registry

import (
	"maps"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

func planPreset(s *state, p driftline.Preset) (plannedChange, error) {
	if err := completePreset(&p); err != nil {
		return plannedChange{}, err
	}
	old := newestOf(s.presets[p.Name])
	p.Version, p.Created = 1, time.Time{}
	if old != nil {
		p.Version, p.Created = old.Version+1, old.Created
	}
	planned := plannedChange{kind: PresetApplied, object: p, Change: created(p.Ref())}
	if old != nil {
		planned.Change = presetDifferences(old, &p)
	}
	s.presets[p.Name] = append(slices.Clip(s.presets[p.Name]), &p)
	return planned, nil
}

// completePreset checks what can be checked without knowing tests, which the engine does.
func completePreset(p *driftline.Preset) error {
	if err := driftline.CheckIdentifier("preset", p.Name); err != nil {
		return err
	}
	switch {
	case driftline.IsBuiltInPreset(string(p.Name)):
		return driftline.Errorf(driftline.Invalid, "preset %q is built in", p.Name).WithHint("choose another name, and base: %s", p.Name)
	case !driftline.IsBuiltInPreset(p.Base):
		return named("preset", p.Name, driftline.Unknown("base", clip(p.Base), driftline.BuiltInPresets))
	}
	return named("preset", p.Name, checkNotes("preset", p.Name, p.Description, p.Owner, p.Tags))
}

func presetDifferences(old, now *driftline.Preset) driftline.Change {
	var d differences
	d.text("base", old.Base, now.Base)
	d.value("tests", old.Tests, now.Tests)
	d.value("exclude", old.Exclude, now.Exclude)
	d.value("alpha", old.Alpha, now.Alpha)
	d.text("correction", old.Correction, now.Correction)
	d.value("margin", old.Margin, now.Margin)
	d.value("drift_share", old.DriftShare, now.DriftShare)
	d.value("multivariate", old.Multivariate, now.Multivariate)
	d.text("description", old.Description, now.Description)
	d.text("owner", old.Owner, now.Owner)
	d.tags(old.Tags, now.Tags)
	return d.version(old.Ref(), now.Ref())
}

func foldPreset(s *state, line *Line) ([]effect, error) {
	p, err := body[driftline.Preset](line)
	if err != nil {
		return nil, err
	}
	if p.Created.IsZero() {
		p.Created = line.Time
	}
	versions := func(s *state) map[driftline.PresetName][]*driftline.Preset { return s.presets }
	return []effect{put(versions, p.Name, append(slices.Clip(s.presets[p.Name]), p))}, nil
}

// Presets returns the newest version of every preset, by name. The caller must not change
// them.
func (r *Registry) Presets() (found []*driftline.Preset) {
	r.read(func(s *state) { found = newestOfEach(s.presets) })
	return found
}

// Preset returns the newest version of a preset. The caller must not change it.
func (r *Registry) Preset(name driftline.PresetName) (found *driftline.Preset, err error) {
	r.read(func(s *state) { found, err = s.preset(name) })
	return found, err
}

func (s *state) preset(name driftline.PresetName) (*driftline.Preset, error) {
	if p := newestOf(s.presets[name]); p != nil {
		return p, nil
	}
	known := slices.Collect(maps.Keys(s.presets))
	for _, builtIn := range driftline.BuiltInPresets {
		known = append(known, driftline.PresetName(builtIn))
	}
	return nil, unknown("preset", name, known, applyFirst).WithRef(driftline.PresetRef(clip(name), 0))
}

func (s *state) resolvePreset(ref driftline.Ref) (driftline.Ref, error) {
	p, err := s.preset(driftline.PresetName(ref.Name))
	if err != nil {
		return driftline.Ref{}, err
	}
	return versionMeant(ref, p.Ref(), p.Version)
}
