package registry

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/driftline/driftline"
)

// runFinished is the body of run.finished.
type runFinished struct {
	Status driftline.RunStatus `json:"status"`
}

// artifactLogged is the body of artifact.logged. The line's ref is the content,
// its input the run.
type artifactLogged struct {
	Run      driftline.RunID    `json:"run"`
	Artifact driftline.Artifact `json:"artifact"`
}

// Experiment is a group of runs.
type Experiment struct {
	Name driftline.ExperimentName `json:"name"`
	Runs int                      `json:"runs"`
	Last time.Time                `json:"last"` // when the newest run started
}

// CreateRun starts a run. Its id is its experiment's name in lower case with
// dashes, and a number: late_departure-3. Inputs must exist; "newest" and
// aliases among them are resolved now, so that the record does not move.
func (r *Registry) CreateRun(spec driftline.RunSpec) (*driftline.Run, error) {
	var id driftline.RunID
	err := r.write(func(tx *Tx) (err error) {
		id, err = tx.createRun(spec)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Run(id)
}

func (tx *Tx) createRun(spec driftline.RunSpec) (driftline.RunID, error) {
	if err := checkRunSpec(&spec); err != nil {
		return "", err
	}
	inputs, err := tx.r.head.resolveAll(spec.Inputs)
	if err != nil {
		return "", err
	}
	spec.Inputs = nil // they are on the line
	slug := slugOf(spec.Experiment)
	id := driftline.RunID(slug + "-" + strconv.Itoa(tx.r.head.runNumbers[slug]+1))
	_, err = tx.add(RunCreated, driftline.RunRef(id), inputs, spec)
	return id, err
}

func checkRunSpec(spec *driftline.RunSpec) error {
	if err := driftline.CheckName("experiment", spec.Experiment); err != nil {
		return err
	}
	if err := checkText("run name", spec.Name); err != nil {
		return err
	}
	if err := checkPairs("param", spec.Params); err != nil {
		return err
	}
	return checkPairs("tag", spec.Tags)
}

// slugOf returns the experiment's name as the beginning of run ids: lower case,
// runs of anything but letters, digits and _ become one dash. Experiments that
// share a slug share its numbers.
func slugOf(experiment driftline.ExperimentName) string {
	words := strings.FieldsFunc(strings.ToLower(string(experiment)), func(c rune) bool {
		return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if len(words) == 0 {
		return "run"
	}
	return strings.Join(words, "-")
}

func foldRunCreated(s *state, line *Line) ([]effect, error) {
	spec, err := body[driftline.RunSpec](line)
	if err != nil {
		return nil, err
	}
	run := &driftline.Run{
		ID: driftline.RunID(line.Ref.Name), Experiment: spec.Experiment, Name: spec.Name,
		Status: driftline.RunRunning, Started: line.Time,
		Params: spec.Params, Tags: spec.Tags, Inputs: line.Inputs,
	}
	slug, number := splitRunID(run.ID)
	group := append(s.experiments[run.Experiment], run.ID)
	return []effect{
		putRun(run),
		put(func(s *state) map[string]int { return s.runNumbers }, slug, max(number, s.runNumbers[slug])),
		put(func(s *state) map[driftline.ExperimentName][]driftline.RunID { return s.experiments }, run.Experiment, group),
	}, nil
}

func putRun(run *driftline.Run) effect {
	return put(func(s *state) map[driftline.RunID]*driftline.Run { return s.runs }, run.ID, run)
}

func splitRunID(id driftline.RunID) (slug string, number int) {
	i := strings.LastIndexByte(string(id), '-')
	if i < 0 {
		return string(id), 0
	}
	number, _ = strconv.Atoi(string(id[i+1:]))
	return string(id[:i]), number
}

// LogRun adds params, metric points, tags and inputs to a running run: all or
// nothing. A param that has another value already is a Conflict. A tag that
// exists is replaced. A metric point without a time gets the present one.
func (r *Registry) LogRun(id driftline.RunID, log driftline.RunLog) (*driftline.Run, error) {
	if err := checkRunLog(&log); err != nil {
		return nil, err
	}
	points, batch := r.stagePoints(id, log.Metrics)
	tx := r.BeginWith(batch)
	defer tx.Discard()
	if err := tx.logRun(id, log); err != nil {
		return nil, err
	}
	tx.points = points
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return r.Run(id)
}

func checkRunLog(log *driftline.RunLog) error {
	if err := checkPairs("param", log.Params); err != nil {
		return err
	}
	if err := checkPairs("tag", log.Tags); err != nil {
		return err
	}
	for _, m := range log.Metrics {
		if err := checkKey("metric", m.Key); err != nil {
			return err
		}
	}
	return nil
}

// logRun appends a line of what is new in log, and none if nothing is.
func (tx *Tx) logRun(id driftline.RunID, log driftline.RunLog) error {
	run, err := tx.r.head.running(id)
	if err != nil {
		return err
	}
	news := driftline.RunLog{Tags: newPairs(run.Tags, log.Tags)}
	if news.Params, err = newParams(run, log.Params); err != nil {
		return err
	}
	inputs, err := tx.r.head.resolveAll(log.Inputs)
	if err != nil {
		return err
	}
	inputs = slices.DeleteFunc(inputs, func(ref driftline.Ref) bool { return slices.Contains(run.Inputs, ref) })
	if len(news.Params)+len(news.Tags)+len(inputs) == 0 {
		return nil
	}
	_, err = tx.add(RunLogged, run.Ref(), inputs, news)
	return err
}

// newPairs returns the pairs of given that old does not have.
func newPairs(old, given map[string]string) map[string]string {
	news := map[string]string{}
	for key, value := range given {
		if had, ok := old[key]; !ok || had != value {
			news[key] = value
		}
	}
	return news
}

func newParams(run *driftline.Run, given map[string]string) (map[string]string, error) {
	news := newPairs(run.Params, given)
	for _, key := range slices.Sorted(maps.Keys(news)) {
		if had, ok := run.Params[key]; ok {
			return nil, driftline.Errorf(driftline.Conflict, "run %q: param %q is %q already and cannot become %q",
				run.ID, key, clip(had), clip(news[key])).WithRef(run.Ref()).
				WithHint("a param is set once; use a tag for what changes, or start another run")
		}
	}
	return news, nil
}

func foldRunLogged(s *state, line *Line) ([]effect, error) {
	log, err := body[driftline.RunLog](line)
	if err != nil {
		return nil, err
	}
	run, err := s.run(driftline.RunID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *run
	next.Params = merged(run.Params, log.Params)
	next.Tags = merged(run.Tags, log.Tags)
	next.Inputs = slices.Concat(run.Inputs, line.Inputs)
	return []effect{putRun(&next)}, nil
}

// merged returns old with the pairs of news, as a map of its own if there are any.
func merged(old, news map[string]string) map[string]string {
	if len(news) == 0 {
		return old
	}
	out := make(map[string]string, len(old)+len(news))
	maps.Copy(out, old)
	maps.Copy(out, news)
	return out
}

// FinishRun ends a run. Ending it again in the same way changes nothing.
func (r *Registry) FinishRun(id driftline.RunID, status driftline.RunStatus) (*driftline.Run, error) {
	if status != driftline.RunFinished && status != driftline.RunFailed && status != driftline.RunKilled {
		return nil, driftline.Errorf(driftline.Invalid, "run status %q is not an end", clip(status)).
			WithHint("use FINISHED, FAILED or KILLED")
	}
	err := r.write(func(tx *Tx) error {
		run, err := tx.r.head.run(id)
		if err != nil {
			return err
		}
		if run.Status == status {
			return nil
		}
		if run, err = tx.r.head.running(id); err != nil {
			return err
		}
		_, err = tx.add(RunFinished, run.Ref(), nil, runFinished{Status: status})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Run(id)
}

func foldRunFinished(s *state, line *Line) ([]effect, error) {
	end, err := body[runFinished](line)
	if err != nil {
		return nil, err
	}
	run, err := s.run(driftline.RunID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *run
	next.Status, next.Ended = end.Status, line.Time
	return []effect{putRun(&next)}, nil
}

// AddArtifact records a file that the running run keeps; its bytes must be stored
// before. A path that the run has already gets the new content; models
// registered from the old content keep it.
func (r *Registry) AddArtifact(id driftline.RunID, artifact driftline.Artifact) error {
	if err := checkArtifact(&artifact); err != nil {
		return err
	}
	return r.write(func(tx *Tx) error {
		run, err := tx.r.head.running(id)
		if err != nil {
			return err
		}
		if slices.Contains(run.Artifacts, artifact) {
			return nil
		}
		_, err = tx.add(ArtifactLogged, driftline.ArtifactRef(artifact.SHA256), []driftline.Ref{run.Ref()},
			artifactLogged{Run: id, Artifact: artifact})
		return err
	})
}

// CheckArtifactPath reports whether path can name an artifact, so that the bytes
// of a bad one need not be received first.
func CheckArtifactPath(path string) error { return checkArtifactPath(path) }

func checkArtifact(artifact *driftline.Artifact) error {
	if err := checkArtifactPath(artifact.Path); err != nil {
		return err
	}
	digest, err := hex.DecodeString(artifact.SHA256)
	if err != nil || len(digest) != len(Hash{}) || hex.EncodeToString(digest) != artifact.SHA256 {
		return driftline.Errorf(driftline.Invalid, "artifact %q: sha256 %q is not 64 lower-case hex digits", artifact.Path, clip(artifact.SHA256))
	}
	if artifact.Size < 0 {
		return driftline.Errorf(driftline.Invalid, "artifact %q: size %d is negative", artifact.Path, artifact.Size)
	}
	return nil
}

func foldArtifact(s *state, line *Line) ([]effect, error) {
	logged, err := body[artifactLogged](line)
	if err != nil {
		return nil, err
	}
	run, err := s.run(logged.Run)
	if err != nil {
		return nil, err
	}
	next := *run
	next.Artifacts = slices.Clone(run.Artifacts)
	at, found := slices.BinarySearchFunc(next.Artifacts, logged.Artifact.Path, func(a driftline.Artifact, path string) int {
		return cmp.Compare(a.Path, path)
	})
	if found {
		next.Artifacts[at] = logged.Artifact
	} else {
		next.Artifacts = slices.Insert(next.Artifacts, at, logged.Artifact)
	}
	artifacts := func(s *state) map[driftline.Ref]driftline.Artifact { return s.artifacts }
	return []effect{putRun(&next), put(artifacts, line.Ref, logged.Artifact)}, nil
}

// Run returns one run with the last value of each of its metrics.
func (r *Registry) Run(id driftline.RunID) (*driftline.Run, error) {
	r.published.RLock()
	defer r.published.RUnlock()
	run, err := r.durable.run(id)
	if err != nil {
		return nil, err
	}
	return r.copyRun(run), nil
}

// Runs returns the runs of an experiment, or all for "", newest first.
func (r *Registry) Runs(experiment driftline.ExperimentName) ([]driftline.Run, error) {
	r.published.RLock()
	defer r.published.RUnlock()
	ids, err := r.durable.runIDs(experiment)
	if err != nil {
		return nil, err
	}
	runs := make([]driftline.Run, len(ids))
	for i, id := range ids {
		runs[i] = *r.copyRun(r.durable.runs[id])
	}
	slices.SortFunc(runs, func(a, b driftline.Run) int {
		_, m := splitRunID(a.ID)
		_, n := splitRunID(b.ID)
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(n, m), cmp.Compare(a.ID, b.ID))
	})
	return runs, nil
}

// copyRun returns a copy with metrics. The caller holds published.
func (r *Registry) copyRun(run *driftline.Run) *driftline.Run {
	out := *run
	out.Params, out.Tags = maps.Clone(run.Params), maps.Clone(run.Tags)
	out.Inputs, out.Artifacts = slices.Clone(run.Inputs), slices.Clone(run.Artifacts)
	out.Metrics = r.metrics.of(run.ID)
	return &out
}

// Experiments returns every experiment, by name.
func (r *Registry) Experiments() []Experiment {
	experiments := []Experiment{}
	r.read(func(s *state) {
		for name, ids := range s.experiments {
			last := s.runs[ids[len(ids)-1]].Started
			experiments = append(experiments, Experiment{Name: name, Runs: len(ids), Last: last})
		}
	})
	slices.SortFunc(experiments, func(a, b Experiment) int { return cmp.Compare(a.Name, b.Name) })
	return experiments
}

func (s *state) runIDs(experiment driftline.ExperimentName) ([]driftline.RunID, error) {
	if experiment == "" {
		return slices.Collect(maps.Keys(s.runs)), nil
	}
	ids, ok := s.experiments[experiment]
	if !ok {
		return nil, unknown("experiment", experiment, slices.Collect(maps.Keys(s.experiments)), "start a run in it first")
	}
	return ids, nil
}

func (s *state) run(id driftline.RunID) (*driftline.Run, error) {
	if run, ok := s.runs[id]; ok {
		return run, nil
	}
	return nil, unknown("run", id, s.likelyRuns(clip(id)), "start a run first").WithRef(driftline.RunRef(clip(id)))
}

// likelyRuns returns a few runs that id may have meant; comparing it with all would take long.
func (s *state) likelyRuns(id driftline.RunID) []driftline.RunID {
	slug, _ := splitRunID(id)
	if near := driftline.Nearest(slug, slices.Collect(maps.Keys(s.runNumbers))); near != "" {
		slug = near
	}
	const few = 10
	last := s.runNumbers[slug]
	var ids []driftline.RunID
	for n := max(1, last-few+1); n <= last; n++ {
		ids = append(ids, driftline.RunID(slug+"-"+strconv.Itoa(n)))
	}
	return ids
}

// running returns the run if it can still be logged to.
func (s *state) running(id driftline.RunID) (*driftline.Run, error) {
	run, err := s.run(id)
	if err != nil {
		return nil, err
	}
	if run.Status != driftline.RunRunning {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "run %q is %s since %s",
			id, run.Status, run.Ended.Format(time.RFC3339)).WithRef(run.Ref()).
			WithHint("start another run; a finished one does not change")
	}
	return run, nil
}
