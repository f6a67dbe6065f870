package engine

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/trigger"
)

// The steps of a training run between which a crash is tried.
const (
	stepCauseSeen        = "cause seen"
	stepTrainingRecorded = "training recorded"
	stepTrainingClaimed  = "training claimed"
	stepTrainingStarted  = "training started"  // the executor was called, and nobody wrote that down yet
	stepTrainingReported = "training reported" // likewise of what it said
)

// Keys of the training of models, all below kv.ModelTraining:
//
//	's' ∥ model                              →  JSON of driftline.PolicyState
//	'r' ∥ model (string) ∥ number (uint64)   →  JSON of driftline.TrainingRun
//	'f' ∥ fingerprint                        →  ID of the run that the cause led to
//	'n' ∥ line of the ledger (uint64)        →  JSON of driftline.Suppression
//	'c' ∥ ID of a run                        →  nothing: its candidate is to be seen to
//	'k' ∥ ID of a run                        →  nothing: another system is to stop its job
const (
	policyStates  = 's'
	trainingRuns  = 'r'
	fingerprints  = 'f'
	suppressions  = 'n'
	candidatesDue = 'c'
	stopsDue      = 'k'
)

func trainingKey(kind byte, rest string) []byte {
	return append([]byte{kv.ModelTraining, kind}, rest...)
}

func policyStateKey(model driftline.ModelName) []byte {
	return trainingKey(policyStates, string(model))
}

func runsOfModel(model driftline.ModelName) []byte {
	return kv.AppendString([]byte{kv.ModelTraining, trainingRuns}, string(model))
}

// cutTraining takes an ID apart into the model's name and the number.
func cutTraining(id driftline.TrainingID) (driftline.ModelName, uint64, error) {
	if at := strings.LastIndexByte(string(id), '-'); at > 0 {
		if number, err := strconv.ParseUint(string(id[at+1:]), 10, 64); err == nil {
			return driftline.ModelName(id[:at]), number, nil
		}
	}
	return "", 0, driftline.Errorf(driftline.NotFound, "training run %.80q does not exist", id).WithHint("driftline training list shows which there are")
}

func trainingRunKey(id driftline.TrainingID) ([]byte, error) {
	model, number, err := cutTraining(id)
	return kv.AppendUint64(runsOfModel(model), number), err
}

// trainingStep is a change of where the training of a model stands, worked out and not yet
// written down.
type trainingStep struct {
	policy        *driftline.Policy
	before, after driftline.PolicyState
	action        string // in a word, for the ledger
	by            string
	also          []driftline.TrainingRun         // that changed, and that the state has no more
	remember      map[string]driftline.TrainingID // fingerprints of causes, and the runs they led to
	suppressed    []driftline.Suppression
	stopped       driftline.TrainingID // whose job another system was told to stop
}

// recordTraining writes a step down: the state, the runs that it changed, the causes it is
// the answer to, what it suppressed, and whom it tells, in one batch. The caller holds the
// model's turn.
func (e *Engine) recordTraining(step *trainingStep) error {
	if err := e.reached(stepCauseSeen); err != nil {
		return err
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	changed := changedRuns(step)
	for _, run := range changed {
		if err := e.addTraining(tx, step, &run); err != nil {
			return err
		}
	}
	for i := range step.suppressed {
		if err := e.addSuppression(tx, step.policy, &step.suppressed[i]); err != nil {
			return err
		}
	}
	for fingerprint, run := range step.remember {
		tx.Batch().Set(trainingKey(fingerprints, fingerprint), []byte(run))
	}
	encoded, err := json.Marshal(step.after)
	if err != nil {
		return err
	}
	tx.Batch().Set(policyStateKey(step.policy.Model), encoded)
	if err := tx.Commit(); err != nil {
		return err
	}
	e.training.know(step.after)
	e.rememberStops(changed)
	e.wakeOutbox()
	return e.reached(stepTrainingRecorded)
}

// changedRuns are the runs that a step changes, but for those of which only the lease did.
func changedRuns(step *trainingStep) (changed []driftline.TrainingRun) {
	before := map[driftline.TrainingID]*driftline.TrainingRun{}
	for _, run := range []*driftline.TrainingRun{step.before.Active, step.before.Queued, step.before.Last} {
		if run != nil {
			before[run.ID] = run
		}
	}
	for _, run := range []*driftline.TrainingRun{step.after.Last, step.after.Active, step.after.Queued} {
		if run != nil && !sameButLease(before[run.ID], run) {
			changed = append(changed, *run)
		}
	}
	return append(changed, step.also...)
}

func sameButLease(a, b *driftline.TrainingRun) bool {
	if a == nil {
		return false
	}
	x, y := *a, *b
	if x.Lease != nil && y.Lease != nil && x.Lease.Token == y.Lease.Token {
		x.Lease, y.Lease = nil, nil
	}
	left, err := json.Marshal(x)
	right, err2 := json.Marshal(y)
	return err == nil && err2 == nil && bytes.Equal(left, right)
}

// addTraining adds to a transaction what a run has become.
func (e *Engine) addTraining(tx *registry.Tx, step *trainingStep, run *driftline.TrainingRun) error {
	key, err := trainingRunKey(run.ID)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(run)
	if err != nil {
		return err
	}
	line, err := tx.AddTraining(cmp.Or(step.action, string(run.State)), step.by, *run)
	if err != nil {
		return err
	}
	if event, text := tells(step, run); event != "" {
		h := driftline.Happening{Event: event, Model: run.Model, Ref: run.Ref(), Text: text, Time: tx.Time()}
		if err := addHappening(tx, line.Sequence, step.policy.Notices, h); err != nil {
			return err
		}
	}
	tx.Batch().Set(key, encoded)
	switch run.Next {
	case driftline.NextEvaluate, driftline.NextRollOut, driftline.NextAwait:
		tx.Batch().Set(trainingKey(candidatesDue, string(run.ID)), nil)
	case driftline.NextDone:
		tx.Batch().Delete(trainingKey(candidatesDue, string(run.ID)))
	}
	switch {
	case step.stopped == run.ID:
		tx.Batch().Delete(trainingKey(stopsDue, string(run.ID)))
	case e.mustStop(run):
		tx.Batch().Set(trainingKey(stopsDue, string(run.ID)), nil)
	}
	return nil
}

// tells is what a step tells of a run, and "" if it tells nothing: its state is the news, and not
// what it waits for.
func tells(step *trainingStep, run *driftline.TrainingRun) (driftline.PolicyEvent, string) {
	if step.stopped == run.ID {
		return "", ""
	}
	for _, old := range []*driftline.TrainingRun{step.before.Active, step.before.Queued, step.before.Last} {
		if old != nil && old.ID == run.ID && old.State == run.State {
			return "", ""
		}
	}
	switch run.State {
	case driftline.TrainingRunning:
		if run.Attempts > 1 {
			return "", ""
		}
		return driftline.EventTrainingStarted, fmt.Sprintf("%s began: %s", run.ID, run.Causes[0].Summary)
	case driftline.TrainingSucceeded:
		return driftline.EventTrainingEnded, fmt.Sprintf("%s made version %d", run.ID, run.Candidate)
	case driftline.TrainingFailed, driftline.TrainingTimedOut:
		return driftline.EventTrainingFailed, fmt.Sprintf("%s came to nothing: %s", run.ID, run.Reason)
	case driftline.TrainingRejected:
		return driftline.EventCandidateRejected, fmt.Sprintf("version %d of %s is rejected: %s", run.Candidate, run.ID, run.Reason)
	}
	return "", ""
}

func (e *Engine) addSuppression(tx *registry.Tx, p *driftline.Policy, s *driftline.Suppression) error {
	line, err := tx.AddSuppression(p, *s)
	if err != nil {
		return err
	}
	h := driftline.Happening{
		Event: driftline.EventTriggerSuppressed, Model: s.Model, Ref: p.Ref(), Time: tx.Time(),
		Text: fmt.Sprintf("trigger %s: %s; %s", cmp.Or(s.Cause.Trigger, "request"), s.Cause.Summary, s.Detail),
	}
	if err := addHappening(tx, line.Sequence, p.Notices, h); err != nil {
		return err
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tx.Batch().Set(kv.AppendUint64([]byte{kv.ModelTraining, suppressions}, line.Sequence), encoded)
	return nil
}

// fire takes causes into account, one after the other, and writes down in one batch what they
// lead to. A cause that is suppressed as it was before leaves no further trace. The caller
// holds the model's turn; state is what it made of before so far.
func (e *Engine) fire(p *driftline.Policy, before, state driftline.PolicyState, causes ...driftline.Cause) ([]trigger.Decision, error) {
	return e.fireAll(p, before, state, nil, causes...)
}

// fireAll is fire, of a trigger that may have seen too few labels to say anything.
func (e *Engine) fireAll(p *driftline.Policy, before, state driftline.PolicyState, few *driftline.Suppression, causes ...driftline.Cause) (decisions []trigger.Decision, err error) {
	step := &trainingStep{policy: p, before: before, after: state, remember: map[string]driftline.TrainingID{}}
	data := ""
	if len(causes) > 0 {
		if data, err = e.trainingData(p); err != nil {
			return nil, err
		}
	}
	for i := range causes {
		decision, err := e.weigh(step, causes[i], data)
		if err != nil {
			return nil, err
		}
		decisions = append(decisions, decision)
	}
	if few != nil && !suppressedBefore(&step.after, few) {
		step.after.Suppressed = append(slices.Clone(step.after.Suppressed), *few)
		step.after.Suppressed = step.after.Suppressed[max(0, len(step.after.Suppressed)-mostShownSuppressed):]
		step.suppressed = append(step.suppressed, *few)
	}
	if sameState(&step.before, &step.after) {
		return decisions, nil
	}
	return decisions, e.recordTraining(step)
}

// mostShownSuppressed is how many suppressions a state has, as package trigger keeps them.
const mostShownSuppressed = 50

// weigh adds to a step what a cause leads to.
func (e *Engine) weigh(step *trainingStep, cause driftline.Cause, data string) (trigger.Decision, error) {
	cause.Fingerprint = trigger.Fingerprint(step.policy.Model, &cause)
	prior, known := step.remember[cause.Fingerprint]
	if !known {
		stored, err := e.kv.Get(trainingKey(fingerprints, cause.Fingerprint))
		if err != nil {
			return trigger.Decision{}, err
		}
		prior = driftline.TrainingID(stored)
	}
	after, decision := trigger.Fire(step.policy, step.after, cause, prior, data, e.now().UTC())
	switch {
	case decision.Outcome == trigger.Duplicate, decision.Suppression != nil && suppressedBefore(&step.after, decision.Suppression):
		return decision, nil
	case decision.Suppression != nil:
		step.suppressed = append(step.suppressed, *decision.Suppression)
	case decision.Remember:
		step.remember[cause.Fingerprint] = decision.Run.ID
	}
	step.after, step.action, step.by = after, string(decision.Outcome), cause.By
	return decision, nil
}

func sameState(a, b *driftline.PolicyState) bool {
	left, err := json.Marshal(a)
	right, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(left, right)
}

// suppressedBefore reports whether the same cause was suppressed for the same reason; of a table
// that grows all the time, until the same time.
func suppressedBefore(state *driftline.PolicyState, s *driftline.Suppression) bool {
	return slices.ContainsFunc(state.Suppressed, func(old driftline.Suppression) bool {
		same := old.Cause.Fingerprint == s.Cause.Fingerprint || s.Cause.Kind == driftline.TriggerData && old.Next.Equal(s.Next)
		return same && old.Reason == s.Reason && old.Cause.Trigger == s.Cause.Trigger
	})
}

// RequestTraining asks for a training run. The same key is the same request: it has the run
// that it led to; "" is a request of its own. It is Exhausted if the day's budget is spent.
func (e *Engine) RequestTraining(model driftline.ModelName, key string, req driftline.TrainingRequest) (driftline.TrainingAnswer, error) {
	if err := e.begin(); err != nil {
		return driftline.TrainingAnswer{}, err
	}
	defer e.end()
	if len(key) > 200 {
		return driftline.TrainingAnswer{}, driftline.Errorf(driftline.Invalid, "the idempotency key has %d bytes, want at most 200", len(key))
	}
	if key == "" {
		key = rand.Text()
	}
	p, err := e.registry.Policy(model)
	if err != nil {
		return driftline.TrainingAnswer{}, err
	}
	defer e.training.turns.lock(string(model))()
	state, err := e.policyState(model)
	if err != nil {
		return driftline.TrainingAnswer{}, err
	}
	decisions, err := e.fire(p, state, state, trigger.Request(key, req.By, req.Reason, e.now().UTC()))
	if err != nil {
		return driftline.TrainingAnswer{}, err
	}
	decision := decisions[0]
	if s := decision.Suppression; s != nil {
		code, hint := driftline.FailedPrecondition, "add training: to the policy, and apply it"
		if s.Reason == driftline.SuppressedBudget {
			code, hint = driftline.Exhausted, "try again from "+s.Next.UTC().Format(time.RFC3339)+" on, or raise pacing.budget"
		}
		return driftline.TrainingAnswer{}, driftline.Errorf(code, "model %q is not trained: %s", model, s.Detail).WithRef(p.Ref()).WithHint("%s", hint)
	}
	e.wakeTraining()
	run, err := e.Training(decision.Run.ID)
	return driftline.TrainingAnswer{Run: run, Deduplicated: decision.Outcome == trigger.Duplicate}, err
}

// Training returns one training run.
func (e *Engine) Training(id driftline.TrainingID) (driftline.TrainingRun, error) {
	key, err := trainingRunKey(id)
	if err != nil {
		return driftline.TrainingRun{}, err
	}
	stored, err := e.kv.Get(key)
	if err != nil {
		return driftline.TrainingRun{}, err
	}
	if stored == nil {
		_, err := e.registry.Training(id)
		return driftline.TrainingRun{}, cmp.Or(err, error(driftline.Errorf(driftline.DataLoss, "training run %s is damaged", id)))
	}
	run, err := decodeTraining(stored)
	if err != nil {
		return run, err
	}
	// The lease is kept with the state only: beats write nothing else.
	state, err := e.policyState(run.Model)
	if active := state.Active; active != nil && active.ID == id {
		run.Lease = active.Lease
	}
	return run, err
}

func decodeTraining(stored []byte) (run driftline.TrainingRun, err error) {
	if err := json.Unmarshal(stored, &run); err != nil {
		return run, driftline.Errorf(driftline.DataLoss, "a training run is not readable").WithHint("restore the data folder from a backup")
	}
	return run, nil
}

// Trainings returns training runs of a model (of all if ""), the newest first, limit at most.
func (e *Engine) Trainings(model driftline.ModelName, limit int) ([]driftline.TrainingRun, error) {
	prefix := []byte{kv.ModelTraining, trainingRuns}
	if model != "" {
		prefix = runsOfModel(model)
	}
	runs := []driftline.TrainingRun{}
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		run, err := decodeTraining(pair.Value)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	slices.SortStableFunc(runs, func(a, b driftline.TrainingRun) int { return b.Created.Compare(a.Created) })
	if model != "" {
		slices.Reverse(runs) // the keys are in their order, and times may be equal
		slices.SortStableFunc(runs, func(a, b driftline.TrainingRun) int { return b.Created.Compare(a.Created) })
	}
	return runs[:min(limit, len(runs))], nil
}

// Suppressions returns causes of a model (of all if "") that led to nothing, the newest first,
// limit at most.
func (e *Engine) Suppressions(model driftline.ModelName, limit int) ([]driftline.Suppression, error) {
	all := []driftline.Suppression{}
	for pair, err := range e.kv.ScanPrefix([]byte{kv.ModelTraining, suppressions}) {
		if err != nil {
			return nil, err
		}
		var s driftline.Suppression
		if err := json.Unmarshal(pair.Value, &s); err != nil {
			return nil, driftline.Errorf(driftline.DataLoss, "a suppression is not readable").WithHint("restore the data folder from a backup")
		}
		if model == "" || s.Model == model {
			all = append(all, s)
		}
	}
	slices.Reverse(all)
	return all[:min(limit, len(all))], nil
}

// CancelTraining ends a run that has not ended, and what executes it: the processes of a command, the
// DAG run of Airflow, the Job of Kubernetes. A webhook's receiver is not told: what it reports is refused.
func (e *Engine) CancelTraining(id driftline.TrainingID, by, reason string) (driftline.TrainingRun, error) {
	return e.changeTraining(id, func(p *driftline.Policy, s driftline.PolicyState, now time.Time) (*trainingStep, error) {
		after, run, err := trigger.Cancel(p, s, id, cmp.Or(reason, "somebody cancelled it"), now)
		if err != nil {
			return nil, err
		}
		step := &trainingStep{after: after, action: "cancelled", by: by}
		if after.Last == nil || after.Last.ID != id {
			step.also = []driftline.TrainingRun{*run}
		}
		return step, nil
	})
}

// BeatTraining keeps the lease of a run, for a job that runs elsewhere and is alive.
func (e *Engine) BeatTraining(id driftline.TrainingID, token uint64) (driftline.TrainingRun, error) {
	return e.changeTraining(id, func(p *driftline.Policy, s driftline.PolicyState, now time.Time) (*trainingStep, error) {
		after, err := trigger.Beat(s, id, token, now)
		return &trainingStep{after: after, action: "beat"}, err
	})
}

// ReportTraining takes in what a job says of its run. The same report again changes nothing;
// another one, or one under an older token, is a Conflict. Whoever lets strangers call it asks
// [Engine.AuthenticateTraining] first.
func (e *Engine) ReportTraining(id driftline.TrainingID, report driftline.TrainingReport) (driftline.TrainingRun, error) {
	defer e.wakeTraining()
	return e.changeTraining(id, func(p *driftline.Policy, s driftline.PolicyState, now time.Time) (*trainingStep, error) {
		if err := e.reached(stepTrainingReported); err != nil {
			return nil, err
		}
		result := report.TrainingResult
		first, _, err := trigger.Finish(p, s, id, report.Token, result, now)
		if err != nil || sameState(&first, &s) {
			return &trainingStep{after: first}, err
		}
		if result.Succeeded {
			if why := e.wrongCandidate(p.Model, &result); why != nil {
				if why.Code != driftline.DataLoss {
					return nil, why
				}
				return e.failedReport(p, s, id, report.Token, why, now)
			}
		}
		return &trainingStep{after: first, action: "reported"}, nil
	})
}

// failedReport is the step of a run whose file is not what it said: it has failed.
func (e *Engine) failedReport(p *driftline.Policy, s driftline.PolicyState, id driftline.TrainingID, token uint64, why error, now time.Time) (*trainingStep, error) {
	after, _, err := trigger.Finish(p, s, id, token, driftline.TrainingResult{Error: why.Error()}, now)
	return &trainingStep{after: after, action: "reported"}, err
}

// wrongCandidate says what is wrong with what a run says that it made: DataLoss if the file is
// another one than it wrote, and then the version is taken away.
func (e *Engine) wrongCandidate(model driftline.ModelName, result *driftline.TrainingResult) *driftline.Error {
	version := strconv.Itoa(result.Candidate)
	found, err := e.registry.ModelVersion(model, version)
	if err != nil {
		return driftline.Errorf(driftline.Invalid, "candidate: model %q has no version %d", model, result.Candidate).
			WithHint("register the model first, and report its version")
	}
	if result.SHA256 == "" || strings.EqualFold(result.SHA256, found.Artifact.SHA256) {
		return nil
	}
	wrong := driftline.Errorf(driftline.DataLoss, "the file of version %d has the hash %.12s…, and the job wrote %.12s…", result.Candidate, found.Artifact.SHA256, result.SHA256)
	if err := e.registry.DeleteModelVersion(model, version, "driftline", wrong.Message); err != nil {
		return driftline.Errorf(driftline.DataLoss, "%s; it could not be deleted: %w", wrong.Message, err)
	}
	return wrong
}

// changeTraining changes where the training of a run's model stands, and returns the run.
func (e *Engine) changeTraining(id driftline.TrainingID, change func(*driftline.Policy, driftline.PolicyState, time.Time) (*trainingStep, error)) (driftline.TrainingRun, error) {
	if err := e.begin(); err != nil {
		return driftline.TrainingRun{}, err
	}
	defer e.end()
	run, err := e.Training(id)
	if err != nil {
		return run, err
	}
	defer e.training.turns.lock(string(run.Model))()
	p, err := e.policyOf(&run)
	if err != nil {
		return run, err
	}
	before, err := e.policyState(run.Model)
	if err != nil {
		return run, err
	}
	step, err := change(p, before, e.now().UTC())
	if err != nil {
		return run, err
	}
	if step.policy, step.before = p, before; !sameState(&before, &step.after) {
		if err := e.recordTraining(step); err != nil {
			return run, err
		}
	}
	e.training.stopUnwanted(&step.after)
	return e.Training(id)
}

// policyOf is the policy by whose pacing a run's end is judged: the newest of its model, or the
// one that it began under if that was deleted.
func (e *Engine) policyOf(run *driftline.TrainingRun) (*driftline.Policy, error) {
	if p, err := e.registry.Policy(run.Model); err == nil {
		return p, nil
	}
	return e.registry.PolicyVersion(run.Model, run.Policy)
}
