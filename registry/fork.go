package registry

import (
	"maps"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// mostForked is the most points that a fork takes over: they are one commit.
const mostForked = 1_000_000

// inherited are the points that a fork begins with, in order.
type inherited struct {
	metric string
	points []point
}

// inherit has spec begin with what the run has that it forks, and returns that run's points.
func (r *Registry) inherit(spec *driftline.RunSpec) ([]inherited, error) {
	if spec.Fork == nil {
		return nil, nil
	}
	parent, err := r.runWithMetrics(spec.Fork.Run)
	if err != nil {
		return nil, err
	}
	if parent.Deleted {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "run %q is deleted and cannot be forked", parent.ID).
			WithRef(parent.Ref()).WithHint("restore it first")
	}
	params := maps.Clone(parent.Params)
	if params == nil {
		params = map[string]string{}
	}
	maps.Copy(params, spec.Params)
	spec.Params = params
	spec.Inputs = append([]driftline.Ref{parent.Ref()}, spec.Inputs...)
	if spec.Experiment == "" && spec.ExperimentID == "" {
		spec.ExperimentID = parent.ExperimentID
	}
	return r.pointsUntil(parent, spec.Fork.Step)
}

// pointsUntil reads the points of a run up to a step.
func (r *Registry) pointsUntil(parent *driftline.Run, step int64) ([]inherited, error) {
	var all []inherited
	total := 0
	for _, last := range parent.Last {
		of := inherited{metric: last.Key}
		number := r.keys.number(last.Key)
		for p, err := range r.places(parent.ID, last.Key) {
			if err != nil {
				return nil, err
			}
			if p.step > step {
				break // they are in the order of steps
			}
			if total++; total > mostForked {
				return nil, driftline.Errorf(driftline.Exhausted, "run %q has more than %d points until step %d", parent.ID, mostForked, step).
					WithRef(parent.Ref()).WithHint("fork it at an earlier step, or name it as an input of a run that begins from nothing")
			}
			of.points = append(of.points, point{number, p})
		}
		if len(of.points) > 0 {
			all = append(all, of)
		}
	}
	return all, nil
}

// takeOver writes the points that a new run begins with.
func (r *Registry) takeOver(batch *kv.Batch, id driftline.RunID, all []inherited) (stagedPoints, error) {
	staged := stagedPoints{run: id}
	for _, of := range all {
		r.stageMetric(batch, id, of.points)
		staged.count += len(of.points)
		staged.last = append(staged.last, of.points[len(of.points)-1])
	}
	sortByKey(staged.last)
	return staged, nil
}
