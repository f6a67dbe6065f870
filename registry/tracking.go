package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unique"

	"github.com/driftline/driftline"
)

// runFinished is the body of run.finished.
type runFinished struct {
	Status driftline.RunStatus `json:"status"`
	Reason string              `json:"reason,omitempty"`
}

// artifactLogged is the body of artifact.logged. The line's ref is the content,
// its input the run.
type artifactLogged struct {
	Run      driftline.RunID    `json:"run,omitempty"`
	Owner    driftline.Ref      `json:"owner,omitzero"` // in place of Run, of what is no run
	Artifact driftline.Artifact `json:"artifact"`
}

// owner is whose artifact it is, as the index names it.
func (a *artifactLogged) owner() string {
	if a.Run != "" {
		return runOwner(a.Run)
	}
	return a.Owner.String()
}

// runChanged is the body of run.changed. What is empty or nil stays.
type runChanged struct {
	driftline.RunChange
	Deleted *bool    `json:"deleted,omitempty"`
	Dropped []string `json:"dropped_tags,omitempty"`
}

// runCreated is the body of run.created.
type runCreated struct {
	driftline.RunSpec
	Key     string `json:"idempotency_key,omitempty"`
	Request string `json:"request,omitempty"` // SHA-256 of what was asked for under the key
}

// keyedRun is the run that was started under an idempotency key.
type keyedRun struct {
	id      driftline.RunID
	request string
}

// CreateRun starts a run. Its id is the one that the client chose, or its experiment's
// name in lower case with dashes, and a number: late_departure-3. Inputs must exist;
// "newest" and aliases among them are resolved now, so that the record does not move.
func (r *Registry) CreateRun(spec driftline.RunSpec) (*driftline.Run, error) {
	return r.CreateRunOnce("", spec)
}

// CreateRunOnce is [Registry.CreateRun] under an idempotency key: the same request under the same key is
// answered with the run that there is, as it is by now, and another one is a Conflict. "" is no key. A key is
// remembered for a day at least, and two at most while others come.
func (r *Registry) CreateRunOnce(key string, spec driftline.RunSpec) (*driftline.Run, error) {
	made := runCreated{Key: key}
	if key != "" {
		if err := checkLongKey("idempotency", key, mostInputTag); err != nil {
			return nil, err
		}
		asked, err := json.Marshal(spec)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(asked)
		made.Request = hex.EncodeToString(sum[:])
		var before driftline.RunID
		r.read(func(s *state) { before, err = s.runOfKey(made) })
		if err != nil {
			return nil, err
		}
		if before != "" {
			return r.Run(before)
		}
	}
	inherited, err := r.inherit(&spec)
	if err != nil {
		return nil, err
	}
	if spec.Tags, err = r.proved(spec.Tags); err != nil {
		return nil, err
	}
	made.RunSpec = spec
	var id driftline.RunID
	err = r.write(func(tx *Tx) (err error) {
		if id, err = tx.r.head.runOfKey(made); err != nil || id != "" {
			return err
		}
		if id, err = tx.createRun(made); err == nil {
			tx.points, err = r.takeOver(tx.batch, id, inherited)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if spec.Heartbeat > 0 {
		r.beats.hear(id, r.now())
	}
	return r.Run(id)
}

// runOfKey is the run that was started under a key by the same request, "" if there is none.
func (s *state) runOfKey(asked runCreated) (driftline.RunID, error) {
	if asked.Key == "" {
		return "", nil
	}
	before, ok := s.runKeys[asked.Key]
	if !ok {
		before, ok = s.olderRunKeys[asked.Key]
	}
	if !ok {
		return "", nil
	}
	if before.request != asked.Request {
		return "", driftline.Errorf(driftline.Conflict, "the idempotency key %q belongs to another request, which started run %q", clip(asked.Key), before.id).
			WithRef(driftline.RunRef(before.id)).WithHint("use a key of its own for each run")
	}
	return before.id, nil
}

// runKeyDay is how long an idempotency key is remembered at least: clients ask again within minutes.
const runKeyDay = 24 * time.Hour

// keepRunKey are the effects of a run that was started under a key. Keys are kept in two lots, those of the last day and those
// of the day before, so that a day's are forgotten at once, and by the ledger's time alone: a fold must not ask the clock.
func (s *state) keepRunKey(key string, made keyedRun, now time.Time) []effect {
	var effects []effect
	if now.Sub(s.runKeysSince) >= runKeyDay {
		effects = append(effects, ageRunKeys(now))
	}
	return append(effects, put(func(s *state) map[string]keyedRun { return s.runKeys }, key, made))
}

// ageRunKeys begins a day.
func ageRunKeys(now time.Time) effect {
	return func(s *state) effect {
		keys, older, since := s.runKeys, s.olderRunKeys, s.runKeysSince
		s.runKeys, s.olderRunKeys, s.runKeysSince = map[string]keyedRun{}, keys, now
		return func(s *state) effect {
			s.runKeys, s.olderRunKeys, s.runKeysSince = keys, older, since
			return nil
		}
	}
}

func (tx *Tx) createRun(made runCreated) (driftline.RunID, error) {
	spec := made.RunSpec
	if err := checkRunSpec(&spec); err != nil {
		return "", err
	}
	if err := tx.r.head.placeRun(&spec); err != nil {
		return "", err
	}
	inputs, err := tx.r.head.resolveAll(spec.Inputs)
	if err != nil {
		return "", err
	}
	inputs = distinct(append(inputs, tx.r.head.taggedInputs(spec.Tags)...))
	spec.Inputs = nil // they are on the line
	id := spec.ID
	spec.ID = "" // so is this
	if id == "" {
		id = tx.r.head.nextRun(spec.Experiment)
	}
	if err := tx.r.head.freeRunID(id); err != nil {
		return "", err
	}
	made.RunSpec = spec
	_, err = tx.add(RunCreated, driftline.RunRef(id), inputs, made)
	return id, err
}

// freeRunID is the error for an id that a run has or had: one that was removed for good
// is not used again, so that a reference never means another run.
func (s *state) freeRunID(id driftline.RunID) error {
	word := "exists already"
	if _, taken := s.runs.find(id); !taken {
		if _, taken := s.purged[id]; !taken {
			return nil
		}
		word = "was removed, and its id is not used again"
	}
	return driftline.Errorf(driftline.AlreadyExists, "run %q %s", id, word).WithRef(driftline.RunRef(id)).
		WithHint("choose another id, or leave it out to be given one")
}

// nextRun is the id of the next run that has its experiment's name.
func (s *state) nextRun(name driftline.ExperimentName) driftline.RunID {
	slug := slugOf(name)
	for n := s.runNumbers[slug] + 1; ; n++ {
		id := driftline.RunID(slug + "-" + strconv.Itoa(n))
		if _, taken := s.runs.find(id); !taken {
			return id
		}
	}
}

// placeRun finds the run's experiment, and has spec name it. An experiment that is named
// and does not exist will be made by the fold of the run's line.
func (s *state) placeRun(spec *driftline.RunSpec) error {
	if spec.ExperimentID != "" {
		e, err := s.experiment(spec.ExperimentID)
		if err != nil {
			return err
		}
		spec.Experiment = e.name
	}
	id, ok := s.experimentNames[sameName(spec.Experiment)]
	if !ok {
		return driftline.CheckName("experiment", spec.Experiment)
	}
	spec.ExperimentID = id
	return s.experiments[id].active()
}

func checkRunSpec(spec *driftline.RunSpec) error {
	if spec.ID != "" && (!runID.MatchString(string(spec.ID)) || utf8.RuneCountInString(string(spec.ID)) > longestRunID) {
		return driftline.Errorf(driftline.Invalid, "run id %q is not valid", clip(spec.ID)).
			WithHint("use letters, digits, _ and -, beginning with a letter or digit (256 at most)")
	}
	if err := checkText("run name", spec.Name); err != nil {
		return err
	}
	if err := checkText("user", spec.User); err != nil {
		return err
	}
	if err := checkTime("start time", spec.Started); err != nil {
		return err
	}
	if err := checkHeartbeat(spec.Heartbeat); err != nil {
		return err
	}
	if err := checkPairs("param", spec.Params); err != nil {
		return err
	}
	return checkPairs("tag", spec.Tags)
}

// runID is what a client may choose as the id of a run.
var runID = regexp.MustCompile(`^[\pL\pN][\pL\pN_-]*$`)

// longestRunID is in characters. It is no part of the expression, which would then take ten
// megabytes and a hundredth of a second to compile, each time the program starts.
const longestRunID = 256

// checkTime allows what a ledger line can carry.
func checkTime(what string, at time.Time) error {
	if at.IsZero() || at.Year() >= 1 && at.Year() <= 9999 {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "%s is in the year %d", what, at.Year()).WithHint("times of MLflow are milliseconds since 1970")
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
	created, err := body[runCreated](line)
	if err != nil {
		return nil, err
	}
	spec := &created.RunSpec
	e, effects := s.experimentOf(spec, line)
	if created.Key != "" {
		effects = append(effects, s.keepRunKey(created.Key, keyedRun{driftline.RunID(line.Ref.Name), created.Request}, line.Time)...)
	}
	started := line.Time
	if !spec.Started.IsZero() {
		started = spec.Started
	}
	made := &run{
		number: uint32(s.runs.len()), common: unique.Make(runCommon{e.id, spec.User, driftline.RunRunning}), started: started.UnixMicro(),
		params: s.keys.pack(spec.Params), tags: s.keys.pack(spec.Tags),
	}
	made.call(driftline.RunID(line.Ref.Name), spec.Name)
	if len(line.Inputs) > 0 || spec.Heartbeat > 0 || spec.Fork != nil {
		made.more = &runMore{inputs: line.Inputs, heartbeat: spec.Heartbeat, fork: spec.Fork}
	}
	slug, number := splitRunID(made.id())
	if slug == slugOf(spec.Experiment) {
		effects = append(effects, put(func(s *state) map[string]int { return s.runNumbers }, slug, max(number, s.runNumbers[slug])))
	}
	group := *e
	group.runs = append(e.runs, made.number)
	return append(effects, addRun(made), putExperiment(&group)), nil
}

// experimentOf returns the experiment of a new run, and the effects that make it if it is new.
func (s *state) experimentOf(spec *driftline.RunSpec, line *Line) (*experiment, []effect) {
	if e, ok := s.experiments[spec.ExperimentID]; ok {
		return e, nil
	}
	if id, ok := s.experimentNames[sameName(spec.Experiment)]; ok {
		return s.experiments[id], nil
	}
	e := &experiment{id: s.nextExperiment(), name: spec.Experiment, created: line.Time, updated: line.Time}
	return e, addExperiment(e)
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
	if err := r.logRun(id, log, (*state).running); err != nil {
		return nil, err
	}
	return r.Run(id)
}

// LogAnyRun is [Registry.LogRun] for a run that may have ended, as MLflow's clients do.
// A deleted one is a FailedPrecondition error.
func (r *Registry) LogAnyRun(id driftline.RunID, log driftline.RunLog) error {
	return r.logRun(id, log, (*state).active)
}

// LogMetrics adds points of metrics to a running run, all or none. It is [Registry.LogRun]
// for those who log many and do not ask what the run is like then.
func (r *Registry) LogMetrics(id driftline.RunID, points []driftline.Metric) error {
	return r.logRun(id, driftline.RunLog{Metrics: points}, (*state).running)
}

// admission says whether a run takes what is logged.
type admission func(*state, driftline.RunID) (*run, error)

func (r *Registry) logRun(id driftline.RunID, log driftline.RunLog, admit admission) error {
	if err := checkRunLog(&log); err != nil {
		return err
	}
	var err error
	if log.Tags, err = r.proved(log.Tags); err != nil {
		return err
	}
	if len(log.Metrics) > 0 {
		if r.read(func(s *state) { _, err = s.run(id) }); err != nil {
			return err // before its metrics get numbers
		}
	}
	points, batch := r.stagePoints(id, log.Metrics)
	tx := r.BeginWith(batch)
	defer tx.Discard()
	if err := tx.logRun(id, log, admit); err != nil {
		return err
	}
	tx.points = points
	if err := tx.Commit(); err != nil {
		return err
	}
	r.beats.heard(id, r.now())
	return nil
}

func checkRunLog(log *driftline.RunLog) error {
	if err := checkText("run name", log.Name); err != nil {
		return err
	}
	if err := checkPairs("param", log.Params); err != nil {
		return err
	}
	if err := checkPairs("tag", log.Tags); err != nil {
		return err
	}
	for i := range log.Metrics {
		m := &log.Metrics[i]
		if i == 0 || m.Key != log.Metrics[i-1].Key {
			if err := checkKey("metric", m.Key); err != nil {
				return err
			}
		}
		if err := checkTime("the time of metric "+m.Key, m.Time); err != nil {
			return err
		}
	}
	return checkRunInputs(log)
}

// logRun appends a line of what is new in log, and none if nothing is.
func (tx *Tx) logRun(id driftline.RunID, log driftline.RunLog, admit admission) error {
	run, err := admit(tx.r.head, id)
	if err != nil {
		return err
	}
	if err := tx.revive(run); err != nil {
		return err
	}
	keys := tx.r.keys
	news := driftline.RunLog{}
	if len(log.Tags) > 0 {
		news.Tags = newPairs(keys.unpack(run.tags), log.Tags)
	}
	if len(log.Params) > 0 {
		if news.Params, err = newParams(run, keys.unpack(run.params), log.Params); err != nil {
			return err
		}
	}
	if log.Name != run.name() {
		news.Name = log.Name
	}
	inputs, err := tx.newInputs(run, &log, &news)
	if err != nil {
		return err
	}
	if news.Name == "" && len(news.Params)+len(news.Tags)+len(inputs)+len(news.Datasets)+len(news.ModelInputs)+len(news.ModelOutputs) == 0 {
		return nil
	}
	_, err = tx.add(RunLogged, run.ref(), inputs, news)
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

func newParams(run *run, old, given map[string]string) (map[string]string, error) {
	news := newPairs(old, given)
	for _, key := range slices.Sorted(maps.Keys(news)) {
		if had, ok := old[key]; ok {
			return nil, driftline.Errorf(driftline.Conflict, "run %q: param %q is %q already and cannot become %q",
				run.id(), key, clip(had), clip(news[key])).WithRef(run.ref()).
				WithHint("a param is set once; use a tag for what changes, or start another run")
		}
	}
	return news, nil
}

func foldRunLogged(s *state, line *Line) ([]effect, error) {
	old, err := s.run(driftline.RunID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *old
	if log, ok := line.decoded.(*packedLog); ok {
		next.params = s.keys.joined(old.params, log.params)
		next.tags = s.keys.joined(old.tags, log.tags)
		return append(s.addInputs(&next, line.Inputs, &driftline.RunLog{}), putRun(&next)), nil
	}
	log, err := body[driftline.RunLog](line)
	if err != nil {
		return nil, err
	}
	next.params = s.keys.merged(old.params, log.Params)
	next.tags = s.keys.merged(old.tags, log.Tags)
	if log.Name != "" {
		next.call(old.id(), log.Name)
	}
	effects := s.addInputs(&next, line.Inputs, log)
	return append(effects, putRun(&next)), nil
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
		if run.status() == status {
			return nil
		}
		if run, err = tx.r.head.running(id); err != nil {
			return err
		}
		_, err = tx.add(RunFinished, run.ref(), nil, runFinished{Status: status})
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
	next.setStatus(end.Status)
	next.ended = line.Time.UnixMicro()
	if end.Reason != run.extra().reason {
		next.withMore(func(m *runMore) { m.reason = end.Reason })
	}
	return []effect{putRun(&next)}, nil
}

// ChangeRun sets the status, the end or the name of a run that is not deleted. A run that
// ended may run again.
func (r *Registry) ChangeRun(id driftline.RunID, change driftline.RunChange) (*driftline.Run, error) {
	if change.Status != "" && !slices.Contains(driftline.RunStatuses, change.Status) {
		return nil, driftline.Errorf(driftline.Invalid, "run status %q is not known", clip(change.Status)).WithHint("use RUNNING, SCHEDULED, FINISHED, FAILED or KILLED")
	}
	if err := checkText("run name", change.Name); err != nil {
		return nil, err
	}
	if err := checkTime("end time", change.Ended); err != nil {
		return nil, err
	}
	run, err := r.changeRun(id, func(s *state, run *run) (*runChanged, error) {
		if s.isDeleted(run) {
			return nil, notActive(run)
		}
		if change.Status == run.status() {
			change.Status = ""
		}
		if change.Name == run.name() {
			change.Name = ""
		}
		if !change.Ended.IsZero() && change.Ended.UnixMicro() == run.ended {
			change.Ended = time.Time{}
		}
		if change == (driftline.RunChange{}) {
			return nil, nil
		}
		return &runChanged{RunChange: change}, nil
	})
	if err == nil && run.Heartbeat > 0 && run.Status == driftline.RunRunning {
		r.beats.hear(id, r.now()) // it runs again
	}
	return run, err
}

// DeleteRun hides a run. Doing it again changes nothing.
func (r *Registry) DeleteRun(id driftline.RunID) (*driftline.Run, error) {
	return r.setDeleted(id, true)
}

// RestoreRun shows a deleted run again.
func (r *Registry) RestoreRun(id driftline.RunID) (*driftline.Run, error) {
	return r.setDeleted(id, false)
}

func (r *Registry) setDeleted(id driftline.RunID, deleted bool) (*driftline.Run, error) {
	return r.changeRun(id, func(_ *state, run *run) (*runChanged, error) {
		if run.deleted == deleted {
			return nil, nil
		}
		return &runChanged{Deleted: &deleted}, nil
	})
}

// UntagRun removes a tag of a run.
func (r *Registry) UntagRun(id driftline.RunID, key string) (*driftline.Run, error) {
	return r.changeRun(id, func(s *state, run *run) (*runChanged, error) {
		if s.isDeleted(run) {
			return nil, notActive(run)
		}
		if number, ok := r.keys.find(key); ok {
			if _, ok := run.tags.get(number); ok {
				return &runChanged{Dropped: []string{key}}, nil
			}
		}
		return nil, driftline.Errorf(driftline.NotFound, "No tag with name: %s in run with id %s", clip(key), run.id()).WithRef(run.ref())
	})
}

// changeRun appends what decide returns, and nothing if it returns nil.
func (r *Registry) changeRun(id driftline.RunID, decide func(*state, *run) (*runChanged, error)) (*driftline.Run, error) {
	find := func(s *state) (*run, error) { return s.run(id) }
	if err := changeRecord(r, RunChanged, find, decide); err != nil {
		return nil, err
	}
	return r.Run(id)
}

func foldRunChange(s *state, line *Line) ([]effect, error) {
	change, err := body[runChanged](line)
	if err != nil {
		return nil, err
	}
	old, err := s.run(driftline.RunID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *old
	if change.Status != "" {
		next.setStatus(change.Status)
		if old.extra().reason != "" { // which was about the status before
			next.ended = 0
			next.withMore(func(m *runMore) { m.reason = "" })
		}
	}
	if !change.Ended.IsZero() {
		next.ended = change.Ended.UnixMicro()
	}
	if change.Name != "" {
		next.call(old.id(), change.Name)
	}
	if change.Deleted != nil {
		next.deleted = *change.Deleted
		next.withMore(func(m *runMore) { m.deletedAt = line.Time.UnixMicro() })
	}
	next.tags = s.keys.without(old.tags, change.Dropped)
	return []effect{putRun(&next)}, nil
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

// Run returns one run with the last value of each of its metrics, and its artifacts.
func (r *Registry) Run(id driftline.RunID) (*driftline.Run, error) {
	run, err := r.runWithMetrics(id)
	if err != nil {
		return nil, err
	}
	run.Artifacts, err = r.listArtifacts(runOwner(id), "")
	return run, err
}

func (r *Registry) runWithMetrics(id driftline.RunID) (*driftline.Run, error) {
	r.published.RLock()
	defer r.published.RUnlock()
	run, err := r.durable.run(id)
	if err != nil {
		return nil, err
	}
	return r.copyRun(run), nil
}

// Runs returns the runs of an experiment that are not deleted, or those of all for "", newest first, without
// their artifacts: so many at most, or all for 0, that come after where another page said that it ends.
func (r *Registry) Runs(experiment driftline.ExperimentName, after string, limit int) (driftline.RunPage, error) {
	page := driftline.RunPage{Runs: []driftline.Run{}}
	runs, err := r.newestFirst(experiment)
	if err != nil {
		return page, err
	}
	if after != "" {
		begin, err := runAfter(runs, after)
		if err != nil {
			return page, err
		}
		runs = runs[begin:]
	}
	for i, run := range runs {
		r.published.RLock()
		copied := r.copyRun(run)
		r.published.RUnlock()
		if copied.Deleted {
			continue
		}
		if limit > 0 && len(page.Runs) == limit {
			last := runs[i-1]
			page.Next = strconv.FormatInt(last.started, 10) + "." + strconv.FormatUint(uint64(last.number), 10)
			break
		}
		page.Runs = append(page.Runs, *copied)
	}
	return page, nil
}

// runAfter is where those begin, of runs with the newest first, that come after a place: also if the run
// that was there is gone.
func runAfter(runs []*run, place string) (int, error) {
	started, number, _ := strings.Cut(place, ".")
	moment, err := strconv.ParseInt(started, 10, 64)
	count, err2 := strconv.ParseUint(number, 10, 32)
	if err != nil || err2 != nil {
		return 0, driftline.Errorf(driftline.Invalid, "after is %q, which is no place in a list of runs", clip(place)).
			WithHint("give what an answer said is next")
	}
	at, found := slices.BinarySearchFunc(runs, &run{started: moment, number: uint32(count)}, newerFirst)
	if found {
		at++
	}
	return at, nil
}

// EachRun yields the runs of an experiment, or all for "", newest first, deleted ones too.
func (r *Registry) EachRun(experiment driftline.ExperimentName) iter.Seq2[*driftline.Run, error] {
	return r.eachRun(experiment, r.copyRun)
}

// EachBareRun is [Registry.EachRun] of what a run is by itself: without params, metrics, tags, inputs and
// datasets, whose copies are nearly all of what the other costs.
func (r *Registry) EachBareRun(experiment driftline.ExperimentName) iter.Seq2[*driftline.Run, error] {
	return r.eachRun(experiment, r.bareRun)
}

func (r *Registry) eachRun(experiment driftline.ExperimentName, copyOf func(*run) *driftline.Run) iter.Seq2[*driftline.Run, error] {
	return func(yield func(*driftline.Run, error) bool) {
		runs, err := r.newestFirst(experiment)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, run := range runs {
			r.published.RLock()
			copied := copyOf(run)
			r.published.RUnlock()
			if !yield(copied, nil) {
				return
			}
		}
	}
}

func (r *Registry) newestFirst(name driftline.ExperimentName) ([]*run, error) {
	r.published.RLock()
	defer r.published.RUnlock()
	var runs []*run
	if name == "" {
		runs = slices.Collect(r.durable.runs.all())
	} else {
		e, err := r.durable.experimentNamed(name)
		if err != nil {
			return nil, err
		}
		for _, number := range e.runs {
			if run := r.durable.runs.at(number); run != nil {
				runs = append(runs, run)
			}
		}
	}
	slices.SortFunc(runs, newerFirst)
	return runs, nil
}

func newerFirst(a, b *run) int {
	return cmp.Or(cmp.Compare(b.started, a.started), cmp.Compare(b.number, a.number))
}

// copyRun returns a copy with metrics and without artifacts. The caller holds published.
func (r *Registry) copyRun(run *run) *driftline.Run {
	more, out := run.extra(), r.bareRun(run)
	out.Params, out.Tags, out.Inputs = r.keys.unpack(run.params), r.keys.unpack(run.tags), slices.Clone(more.inputs)
	out.ModelInputs, out.ModelOutputs = slices.Clone(more.modelInputs), slices.Clone(more.modelOutputs)
	out.Last, out.Metrics = r.keys.lastPoints(r.lastOf(run))
	for _, m := range out.Last {
		if !strings.HasPrefix(m.Key, driftline.SystemMetrics) {
			out.LastStep = max(out.LastStep, m.Step)
		}
	}
	for _, use := range more.datasets {
		dataset := *use.dataset
		dataset.Tags = maps.Clone(use.tags)
		out.Datasets = append(out.Datasets, dataset)
	}
	return out
}

// bareRun is what a run is by itself. The caller holds published.
func (r *Registry) bareRun(run *run) *driftline.Run {
	more := run.extra()
	out := &driftline.Run{
		ID: run.id(), Experiment: r.durable.experiments[run.experiment()].name, ExperimentID: run.experiment(),
		Name: run.name(), User: run.user(), Status: run.status(), Reason: more.reason, Heartbeat: more.heartbeat, Deleted: r.durable.isDeleted(run), Started: run.startedAt(),
	}
	if more.fork != nil {
		fork := *more.fork
		out.Fork = &fork
	}
	if run.ended != 0 {
		out.Ended = time.UnixMicro(run.ended).UTC()
	}
	return out
}

func (s *state) run(id driftline.RunID) (*run, error) {
	if number, ok := s.runs.find(id); ok {
		return s.runs.at(number), nil
	}
	if at, ok := s.purged[id]; ok {
		return nil, driftline.Errorf(driftline.NotFound, "run %q was removed for good on %s", id, instant(at)).WithRef(driftline.RunRef(id)).
			WithHint("meta.ledger still has its lines")
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

// running returns the run if it can still be logged to; one that was lost can.
func (s *state) running(id driftline.RunID) (*run, error) {
	run, err := s.active(id)
	if err != nil {
		return nil, err
	}
	if run.status().Ended() && !run.lost() {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "run %q is %s since %s",
			id, run.status(), time.UnixMicro(run.ended).UTC().Format(time.RFC3339)).WithRef(run.ref()).
			WithHint("start another run; a finished one does not change")
	}
	return run, nil
}

// active returns the run if it is not deleted.
func (s *state) active(id driftline.RunID) (*run, error) {
	run, err := s.run(id)
	if err == nil && s.isDeleted(run) {
		return nil, notActive(run)
	}
	return run, err
}

// isDeleted reports whether the run or its experiment is deleted.
func (s *state) isDeleted(run *run) bool {
	return run.deleted || s.experiments[run.experiment()].deleted
}

func notActive(run *run) error {
	return driftline.Errorf(driftline.FailedPrecondition, "The run %s must be in the 'active' state. Current state is deleted.", run.id()).
		WithRef(run.ref()).WithHint("restore it first")
}
