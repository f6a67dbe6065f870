package registry

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry/filter"
)

// Stage says which of the things that can be deleted are searched.
type Stage int

// The stages.
const (
	ActiveStage Stage = iota
	DeletedStage
	EveryStage
)

func (s Stage) has(deleted bool) bool {
	return s == EveryStage || deleted == (s == DeletedStage)
}

// Search is what is searched for, in the language of package filter, and which part of the
// answer is wanted.
type Search struct {
	Filter  string
	OrderBy []string
	Stage   Stage
	Offset  int
	Limit   int
}

// DefaultArtifactRoot is where the files of an experiment are whose ArtifactLocation is "".
func DefaultArtifactRoot(id driftline.ExperimentID) string { return "mlflow-artifacts:/" + string(id) }

// ArtifactRoot is the address of an experiment's files.
func ArtifactRoot(id driftline.ExperimentID, location string) string {
	return cmp.Or(location, DefaultArtifactRoot(id))
}

// ArtifactURI is the address of a run's files.
func ArtifactURI(root string, id driftline.RunID) string {
	return root + "/" + string(id) + "/artifacts"
}

// SearchRuns returns the runs of some experiments that a search finds, and how many there
// are on all pages. Runs that are equal in what they are ordered by come newest first,
// then by id. Experiments that do not exist have no runs.
func (r *Registry) SearchRuns(experiments []driftline.ExperimentID, search Search) (runs []driftline.Run, total int, err error) {
	wanted, err := filter.Parse(&filter.Runs, search.Filter)
	if err != nil {
		return nil, 0, err
	}
	order, err := filter.ParseOrder(&filter.Runs, search.OrderBy)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range wanted.Fields() {
		r.bind(f)
	}
	for i := range order {
		r.bind(&order[i].Field)
	}
	top := filter.NewTop(search.Offset+search.Limit, compareRuns(order))
	row := &runRow{}
	for candidate := range r.candidates(experiments, search.Stage) {
		row.candidate = candidate
		if !wanted.Match(row) {
			continue
		}
		found := foundRun{candidate: candidate}
		if len(order) > 0 {
			found.first = order[0].ValueOf(row)
		}
		top.Add(found)
	}
	return r.pageOfRuns(top.Items(), search.Offset), top.Added(), nil
}

// RunKeys returns the keys that the runs of some experiments have.
func (r *Registry) RunKeys(experiments []driftline.ExperimentID, stage Stage) driftline.RunKeys {
	var params, metrics, tags keyCounts
	for c := range r.candidates(experiments, stage) {
		for key := range c.run.params.all() {
			params.count(key)
		}
		for p := range c.last.all() {
			metrics.count(p.key)
		}
		for key := range c.run.tags.all() {
			tags.count(key)
		}
	}
	texts := r.keys.all()
	return driftline.RunKeys{Params: params.named(texts), Metrics: metrics.named(texts), Tags: tags.named(texts)}
}

// keyCounts is how many runs have a key, by its number.
type keyCounts []int

func (c *keyCounts) count(key uint32) {
	if more := int(key) + 1 - len(*c); more > 0 {
		*c = append(*c, make([]int, more)...)
	}
	(*c)[key]++
}

func (c keyCounts) named(texts []string) []driftline.RunKey {
	found := []driftline.RunKey{}
	for number, runs := range c {
		if runs > 0 {
			found = append(found, driftline.RunKey{Key: texts[number], Runs: runs})
		}
	}
	slices.SortFunc(found, func(a, b driftline.RunKey) int { return cmp.Compare(a.Key, b.Key) })
	return found
}

func (r *Registry) pageOfRuns(found []foundRun, offset int) []driftline.Run {
	found = found[min(offset, len(found)):]
	runs := make([]driftline.Run, len(found))
	for i, f := range found {
		r.published.RLock()
		runs[i] = *r.copyRun(f.run)
		r.published.RUnlock()
	}
	return runs
}

// candidate is a run with what was known of it when its search began.
type candidate struct {
	run        *run
	last       runMetrics
	experiment *experiment
}

// candidates yields the runs of experiments as they are now, whatever is written meanwhile: of each
// experiment the newest first, as they are mostly wanted.
func (r *Registry) candidates(ids []driftline.ExperimentID, stage Stage) iter.Seq[candidate] {
	r.published.RLock()
	defer r.published.RUnlock()
	runs, last := r.durable.runs.byNumber.snapshot(), r.metrics.snapshot()
	var searched []*experiment
	for _, id := range ids {
		if e, ok := r.durable.experiments[id]; ok && !slices.Contains(searched, e) {
			searched = append(searched, e)
		}
	}
	return func(yield func(candidate) bool) {
		for _, e := range searched {
			for _, number := range slices.Backward(e.runs) {
				run := runs.at(number)
				if run != nil && stage.has(run.deleted || e.deleted) && !yield(candidate{run, lastIn(last, number), e}) {
					return
				}
			}
		}
	}
}

// foundRun is a run that was found, with what it is ordered by first.
type foundRun struct {
	candidate
	first filter.Value
}

func compareRuns(order []filter.Key) func(a, b foundRun) int {
	return func(a, b foundRun) int {
		for i := range order {
			x, y := a.first, b.first
			if i > 0 {
				x, y = order[i].ValueOf(&runRow{a.candidate}), order[i].ValueOf(&runRow{b.candidate})
			}
			if c := order[i].Compare(x, y); c != 0 {
				return c
			}
		}
		if c := cmp.Compare(b.run.started, a.run.started); c != 0 {
			return c
		}
		return cmp.Compare(a.run.id(), b.run.id())
	}
}

// The slots of a run's attributes. Those of params, tags and metrics are the numbers of
// their keys, or noSlot where no run has the key.
const (
	noSlot = -1

	slotID = iota
	slotName
	slotUser
	slotStatus
	slotURI
	slotExperiment
	slotStage
	slotStart
	slotEnd
)

var runSlots = map[string]int{
	"run_id": slotID, "run_name": slotName, "user_id": slotUser, "status": slotStatus, "artifact_uri": slotURI,
	"experiment_id": slotExperiment, "lifecycle_stage": slotStage, "start_time": slotStart, "end_time": slotEnd,
}

// RunNameTag is the tag that MLflow's clients know a run's name by. Here the name is a
// field of the run, and the tag another word for it.
const RunNameTag = "mlflow.runName"

// datasetContext is the tag of a dataset's use that says what for: "training".
const datasetContext = "mlflow.data.context"

// bind sets the slot of a field of a run.
func (r *Registry) bind(f *filter.Field) {
	switch {
	case f.Entity == filter.Attribute:
		f.Slot = runSlots[f.Key]
	case f.Entity == filter.Tag && f.Key == RunNameTag:
		f.Entity, f.Slot = filter.Attribute, slotName
	default:
		f.Slot = noSlot
		if number, ok := r.keys.find(f.Key); ok {
			f.Slot = int(number)
		}
	}
}

// runRow lets a run be filtered and ordered.
type runRow struct{ candidate }

// Text implements [filter.Row].
func (r *runRow) Text(f *filter.Field) (string, bool) {
	switch {
	case f.Entity == filter.Attribute:
		return r.attribute(f.Slot)
	case f.Slot == noSlot:
		return "", false
	case f.Entity == filter.Param:
		return r.run.params.get(uint32(f.Slot))
	}
	return r.run.tags.get(uint32(f.Slot))
}

func (r *runRow) attribute(slot int) (string, bool) {
	switch slot {
	case slotID:
		return string(r.run.id()), true
	case slotName:
		return cmp.Or(r.run.name(), string(r.run.id())), true
	case slotUser:
		return r.run.user(), true
	case slotStatus:
		return string(r.run.status()), true
	case slotURI:
		return ArtifactURI(ArtifactRoot(r.experiment.id, r.experiment.location), r.run.id()), true
	case slotExperiment:
		return string(r.experiment.id), true
	case slotStage:
		if r.run.deleted || r.experiment.deleted {
			return "deleted", true
		}
		return "active", true
	}
	return "", false
}

// Number implements [filter.Row]. Times are milliseconds.
func (r *runRow) Number(f *filter.Field) (float64, bool) {
	switch {
	case f.Entity == filter.Attribute && f.Slot == slotStart:
		return float64(r.run.started / 1000), true
	case f.Entity == filter.Attribute:
		return float64(r.run.ended / 1000), r.run.ended != 0
	case f.Slot == noSlot:
		return 0, false
	}
	last, ok := r.last.get(uint32(f.Slot))
	return float64(last.number()), ok
}

// Any implements [filter.Row].
func (r *runRow) Any(f *filter.Field, match func(string) bool) bool {
	return slices.ContainsFunc(r.run.extra().datasets, func(use datasetUse) bool {
		switch f.Key {
		case "name":
			return match(use.dataset.Name)
		case "digest":
			return match(use.dataset.Digest)
		}
		context, ok := use.tags[datasetContext]
		return ok && match(context)
	})
}

// SearchExperiments returns the experiments that a search finds, and whether there are
// more after them: the newest first if nothing else is said.
func (r *Registry) SearchExperiments(search Search) (experiments []driftline.Experiment, more bool, err error) {
	wanted, err := filter.Parse(&filter.Experiments, search.Filter)
	if err != nil {
		return nil, false, err
	}
	clauses := search.OrderBy
	if len(clauses) == 0 {
		clauses = []string{"creation_time DESC", "experiment_id ASC"}
	}
	order, err := filter.ParseOrder(&filter.Experiments, clauses)
	if err != nil {
		return nil, false, err
	}
	top := filter.NewTop(search.Offset+search.Limit, compareExperiments(order))
	for _, e := range r.Experiments() {
		if search.Stage.has(e.Deleted) && wanted.Match(experimentRow{&e}) {
			top.Add(e)
		}
	}
	found := top.Items()
	return found[min(search.Offset, len(found)):], top.Added() > search.Offset+search.Limit, nil
}

func compareExperiments(order []filter.Key) func(a, b driftline.Experiment) int {
	return func(a, b driftline.Experiment) int {
		for i := range order {
			key := &order[i]
			c := key.Compare(key.ValueOf(experimentRow{&a}), key.ValueOf(experimentRow{&b}))
			if key.Entity == filter.Attribute && key.Key == "experiment_id" {
				c = compareIDs(a.ID, b.ID)
				if key.Descending {
					c = -c
				}
			}
			if c != 0 {
				return c
			}
		}
		return compareIDs(b.ID, a.ID)
	}
}

// compareIDs compares ids as the numbers that they are.
func compareIDs(a, b driftline.ExperimentID) int {
	m, _ := strconv.Atoi(string(a))
	n, _ := strconv.Atoi(string(b))
	return cmp.Or(cmp.Compare(m, n), cmp.Compare(a, b))
}

// experimentRow lets an experiment be filtered and ordered.
type experimentRow struct{ *driftline.Experiment }

// Text implements [filter.Row].
func (r experimentRow) Text(f *filter.Field) (string, bool) {
	switch {
	case f.Entity == filter.Tag:
		value, ok := r.Tags[f.Key]
		return value, ok
	case f.Key == "name":
		return string(r.Name), true
	}
	return string(r.ID), true
}

// Number implements [filter.Row]. Times are milliseconds.
func (r experimentRow) Number(f *filter.Field) (float64, bool) {
	at := r.Created
	if f.Key == "last_update_time" {
		at = r.Updated
	}
	if at.IsZero() {
		return 0, true
	}
	return float64(at.UnixMilli()), true
}

// Any implements [filter.Row].
func (r experimentRow) Any(*filter.Field, func(string) bool) bool { return false }
