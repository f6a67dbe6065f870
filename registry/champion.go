package registry

import "github.com/driftline/driftline"

// Champion returns the version that answers for a model where no rollout says otherwise: the
// one at the alias champion, else the newest in stage Production. FailedPrecondition says
// that there is neither.
func (r *Registry) Champion(name driftline.ModelName) (version int, err error) {
	r.read(func(s *state) { version, err = s.champion(name) })
	return version, err
}

func (s *state) champion(name driftline.ModelName) (int, error) {
	m, err := s.model(name)
	if err != nil {
		return 0, err
	}
	if at := m.aliases[driftline.AliasChampion]; at != 0 {
		return at, nil
	}
	if v, err := m.inStage(driftline.StageProduction); err == nil {
		return v.Version, nil
	}
	return 0, driftline.Errorf(driftline.FailedPrecondition, "model %q has no champion: no version has the alias %s or is in stage %s",
		name, driftline.AliasChampion, driftline.StageProduction).WithRef(driftline.ModelRef(name, 0)).
		WithHint("roll one out: driftline rollout start %s@VERSION; or point the alias at it: driftline models alias %s %s VERSION",
			name, name, driftline.AliasChampion)
}
