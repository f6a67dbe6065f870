package registry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

// purged is the body of run.purged, experiment.purged and logged_model.purged.
type purged struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// purgedAtOnce is how many things one transaction removes: others wait for it.
const purgedAtOnce = 200

// CleanUp removes for good what was deleted and is as req says, the runs and models of an
// experiment before itself. If ctx ends, what was removed until then is returned beside its
// error, and the next call goes on. Contents of files go with the next collection.
func (r *Registry) CleanUp(ctx context.Context, req driftline.RunCleanup) (driftline.RunsRemoved, error) {
	if err := cmp.Or(checkPerson(req.By), checkText("reason", req.Reason)); err != nil {
		return driftline.RunsRemoved{}, err
	}
	if req.OlderThan < 0 {
		return driftline.RunsRemoved{}, driftline.Errorf(driftline.Invalid, "older_than %s is negative", req.OlderThan).
			WithHint("leave it out for what was deleted at any time")
	}
	var found driftline.RunsRemoved
	var err error
	r.read(func(s *state) { found, err = s.purgeable(&req, r.now()) })
	if err != nil || req.DryRun {
		return found, err
	}
	done, body := noneRemoved(), purged{By: req.By, Reason: req.Reason}
	if done.LoggedModels, err = purgeAll(ctx, r, found.LoggedModels, func(tx *Tx, id driftline.LoggedModelID) error { return tx.purgeLoggedModel(id, body) }); err != nil {
		return done, err
	}
	if done.Runs, err = purgeAll(ctx, r, found.Runs, func(tx *Tx, id driftline.RunID) error { return tx.purgeRun(id, body) }); err != nil {
		return done, err
	}
	done.Experiments, err = purgeAll(ctx, r, found.Experiments, func(tx *Tx, id driftline.ExperimentID) error { return tx.purgeExperiment(id, body) })
	return done, err
}

func noneRemoved() driftline.RunsRemoved {
	return driftline.RunsRemoved{Experiments: []driftline.ExperimentID{}, Runs: []driftline.RunID{}, LoggedModels: []driftline.LoggedModelID{}}
}

// purgeAll removes things, and returns those that are gone.
func purgeAll[ID any](ctx context.Context, r *Registry, ids []ID, purge func(*Tx, ID) error) ([]ID, error) {
	done := make([]ID, 0, len(ids))
	for some := range slices.Chunk(ids, purgedAtOnce) {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		err := r.write(func(tx *Tx) error {
			for _, id := range some {
				if err := purge(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return done, err
		}
		done = append(done, some...)
	}
	return done, nil
}

// purgeable finds what a cleanup removes.
func (s *state) purgeable(req *driftline.RunCleanup, now time.Time) (driftline.RunsRemoved, error) {
	out := noneRemoved()
	for _, id := range req.Runs {
		run, err := s.run(id)
		if err != nil {
			return out, err
		}
		if !s.isDeleted(run) {
			return out, notDeleted(run.ref())
		}
	}
	for _, id := range req.Experiments {
		if _, err := s.experiment(id); err != nil {
			return out, err
		}
	}
	until := now.Add(-time.Duration(req.OlderThan))
	wanted := func(experiment driftline.ExperimentID, run driftline.RunID, deleted time.Time) bool {
		return !deleted.IsZero() && !deleted.After(until) &&
			(len(req.Experiments) == 0 || slices.Contains(req.Experiments, experiment)) &&
			(len(req.Runs) == 0 || slices.Contains(req.Runs, run))
	}
	for run := range s.runs.all() {
		if wanted(run.experiment(), run.id(), s.deletedAt(run)) {
			out.Runs = append(out.Runs, run.id())
		}
	}
	for id, m := range s.logged {
		deleted := m.Deleted
		if e := s.experiments[m.ExperimentID]; e != nil && e.deleted && deleted.IsZero() {
			deleted = e.updated
		}
		if wanted(m.ExperimentID, m.Run, deleted) {
			out.LoggedModels = append(out.LoggedModels, id)
		}
	}
	slices.Sort(out.LoggedModels)
	if len(req.Runs) > 0 {
		return out, nil
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.experiments), compareIDs) {
		// The one that is always there stays, and so does one with a run that is too young.
		if e := s.experiments[id]; e.deleted && id != driftline.DefaultExperiment && wanted(id, "", e.updated) {
			out.Experiments = append(out.Experiments, id)
		}
	}
	return out, nil
}

// deletedAt is when a run was deleted, or its experiment; zero if neither is.
func (s *state) deletedAt(run *run) time.Time {
	var at time.Time
	if run.deleted {
		at = time.UnixMicro(run.extra().deletedAt)
	}
	if e := s.experiments[run.experiment()]; e.deleted && (at.IsZero() || e.updated.Before(at)) {
		at = e.updated
	}
	return at
}

func notDeleted(ref driftline.Ref) error {
	return driftline.Errorf(driftline.FailedPrecondition, "%s is not deleted, and only what is can be removed for good", ref).
		WithRef(ref).WithHint("delete it first")
}

// purgeRun removes a run that is still there and still deleted; somebody may have been faster.
func (tx *Tx) purgeRun(id driftline.RunID, body purged) error {
	run, err := tx.r.head.run(id)
	if driftline.CodeOf(err) == driftline.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if !tx.r.head.isDeleted(run) {
		return notDeleted(run.ref())
	}
	tx.batch.DeletePrefix(pointsPrefix(everyPoint, id))
	tx.batch.DeletePrefix(pointsPrefix(lastPoint, id))
	if tx.r.filed != nil {
		tx.batch.Set(pointsPrefix(unwantedRun, id), nil)
	}
	_, err = tx.add(RunPurged, run.ref(), nil, body)
	return err
}

func foldRunPurged(s *state, line *Line) ([]effect, error) {
	run, err := s.run(driftline.RunID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	group := *s.experiments[run.experiment()]
	group.purged++
	return []effect{
		removeRun(run), putExperiment(&group),
		put(func(s *state) map[driftline.RunID]time.Time { return s.purged }, run.id(), line.Time),
	}, nil
}

// removeRun is the effect that leaves a run's number without a run.
func removeRun(old *run) effect {
	return func(s *state) effect {
		s.runs.remove(old)
		return func(s *state) effect {
			s.runs.add(old)
			return nil
		}
	}
}

// hidePoints forgets the points of runs that lines remove. The caller holds published, and
// has not shown the lines yet.
func (r *Registry) hidePoints(lines []Line) {
	for i := range lines {
		if lines[i].Kind != RunPurged {
			continue
		}
		if number, ok := r.durable.runs.find(driftline.RunID(lines[i].Ref.Name)); ok {
			r.metrics.set(number, "")
		}
	}
}

func (tx *Tx) purgeLoggedModel(id driftline.LoggedModelID, body purged) error {
	m, ok := tx.r.head.logged[id]
	if !ok {
		return nil
	}
	if e := tx.r.head.experiments[m.ExperimentID]; m.Deleted.IsZero() && (e == nil || !e.deleted) {
		return notDeleted(m.Ref())
	}
	_, err := tx.add(LoggedPurged, m.Ref(), nil, body)
	return err
}

func foldLoggedPurged(s *state, line *Line) ([]effect, error) {
	m, err := s.loggedModel(driftline.LoggedModelID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	return []effect{drop(func(s *state) map[driftline.LoggedModelID]*driftline.LoggedModel { return s.logged }, m.ID)}, nil
}

// purgeExperiment removes an experiment that has no runs any more, and frees its name.
func (tx *Tx) purgeExperiment(id driftline.ExperimentID, body purged) error {
	e, ok := tx.r.head.experiments[id]
	if !ok || len(e.runs) > e.purged {
		return nil
	}
	if !e.deleted {
		return notDeleted(e.ref())
	}
	_, err := tx.add(ExperimentPurged, e.ref(), nil, body)
	return err
}

func foldExperimentPurged(s *state, line *Line) ([]effect, error) {
	e, err := s.experiment(driftline.ExperimentID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	return []effect{
		drop(func(s *state) map[driftline.ExperimentID]*experiment { return s.experiments }, e.id),
		drop(func(s *state) map[string]driftline.ExperimentID { return s.experimentNames }, sameName(e.name)),
	}, nil
}
