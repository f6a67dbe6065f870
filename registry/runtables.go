package registry

import (
	"iter"

	"github.com/driftline/driftline"
)

// What tables of all runs are made from. [Registry.EachRun] makes maps of everything that a run
// says; of a hundred thousand runs with ten metrics each that is a second for one column.

// RunPair is a param or a tag of a run.
type RunPair struct {
	Run        driftline.RunID
	Key, Value string
}

// EachParam yields the params of all runs, the newest run first.
func (r *Registry) EachParam() iter.Seq[RunPair] {
	return r.eachPair(func(run *run) pairs { return run.params })
}

// EachTag yields the tags of all runs, the newest run first.
func (r *Registry) EachTag() iter.Seq[RunPair] {
	return r.eachPair(func(run *run) pairs { return run.tags })
}

func (r *Registry) eachPair(of func(*run) pairs) iter.Seq[RunPair] {
	return func(yield func(RunPair) bool) {
		for run := range r.eachStored {
			packed := of(run)
			keys := r.keys.all() // after the run, so that it has all of its keys
			for key, value := range packed.all() {
				if !yield(RunPair{run.id(), keys[key], value}) {
					return
				}
			}
		}
	}
}

// EachLast yields the greatest point of each metric of all runs, the newest run first.
func (r *Registry) EachLast() iter.Seq[RunMetric] {
	return func(yield func(RunMetric) bool) {
		for run := range r.eachStored {
			r.published.RLock()
			last := r.lastOf(run)
			r.published.RUnlock()
			keys := r.keys.all()
			for p := range last.all() {
				if !yield(RunMetric{run.id(), p.metric(keys[p.key])}) {
					return
				}
			}
		}
	}
}

// eachStored visits all runs as they are now, the newest first.
func (r *Registry) eachStored(yield func(*run) bool) {
	runs, _ := r.newestFirst("") // all: there is no name that could be unknown
	for _, run := range runs {
		if !yield(run) {
			return
		}
	}
}
