package registry

import (
	"slices"

	"github.com/driftline/driftline"
)

// erased is the body of a line that reports an erasure.
type erased struct {
	driftline.Erasure
	Datasets []driftline.Dataset `json:"amended,omitempty"` // as they are without the rows
}

// AddErasure records an erasure, and what is now known of the datasets that it took
// rows from. It returns the erasure with the time of the line.
func (tx *Tx) AddErasure(erasure driftline.Erasure, amended []driftline.Dataset) (driftline.Erasure, error) {
	if _, err := tx.r.head.entity(erasure.Entity); err != nil {
		return erasure, err
	}
	erasure.Time = tx.time
	var touched []driftline.Ref
	for _, table := range erasure.Tables {
		touched = append(touched, driftline.SnapshotRef(table.Table, table.Snapshot))
	}
	amended = slices.Clone(amended)
	for i := range amended {
		without, err := tx.keepStatistics(amended[i])
		if err != nil {
			return erasure, err
		}
		amended[i] = without
	}
	_, err := tx.add(EntityErased, driftline.EntityRef(erasure.Entity), touched, erased{Erasure: erasure, Datasets: amended})
	return erasure, err
}

func foldErasure(s *state, line *Line) ([]effect, error) {
	erasure, err := body[erased](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.DatasetName][]*driftline.Dataset { return s.datasets }
	latest := map[driftline.DatasetName][]*driftline.Dataset{}
	for i := range erasure.Datasets {
		d := &erasure.Datasets[i]
		versions, ok := latest[d.Name]
		if !ok {
			versions = slices.Clone(s.datasets[d.Name])
		}
		if d.Version < 1 || d.Version > len(versions) {
			return nil, driftline.Errorf(driftline.DataLoss, "an erasure amends %s, which does not exist", d.Ref())
		}
		versions[d.Version-1] = d
		latest[d.Name] = versions
	}
	var effects []effect
	for name, versions := range latest {
		effects = append(effects, put(table, name, versions))
	}
	return effects, nil
}
