package registry

import (
	"cmp"
	"reflect"

	"github.com/driftline/driftline"
)

// SetModelServer declares where a version of a model answers, or that it does not any more,
// and returns the version. The declaration belongs to this server: a bundle does not carry it.
func (r *Registry) SetModelServer(name driftline.ModelName, selector string, change driftline.ModelServerChange) (*driftline.ModelVersion, error) {
	if err := cmp.Or(checkText("reason", change.Reason), checkPerson(change.By)); err != nil {
		return nil, err
	}
	if change.Server != nil {
		filled := change.Server.WithDefaults()
		if err := filled.Check(); err != nil {
			return nil, named("model", name, err)
		}
		change.Server = &filled
	}
	return r.changeVersion(name, selector, func(tx *Tx, _ *model, v *driftline.ModelVersion) error {
		if reflect.DeepEqual(v.Server, change.Server) {
			return nil
		}
		if change.Server != nil && change.Server.Features != nil {
			if _, err := tx.r.head.resolve(*change.Server.Features); err != nil {
				return err
			}
		}
		_, err := tx.add(VersionServed, v.Ref(), nil, change)
		return err
	})
}

func foldServed(s *state, line *Line) ([]effect, error) {
	change, err := body[driftline.ModelServerChange](line)
	if err != nil {
		return nil, err
	}
	return s.foldVersion(line, func(v *driftline.ModelVersion) { v.Server = change.Server })
}
