package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/trigger"
)

// trainingData names what a run of a policy would be trained on now: its job and dataset, and
// how far the tables are that the dataset is made from. "" says that nobody can tell.
func (e *Engine) trainingData(p *driftline.Policy) (string, error) {
	if p.Training == nil || p.Training.Dataset == "" {
		return "", nil
	}
	d, err := e.registry.Dataset(p.Training.Dataset, 0)
	if err != nil {
		return "", nil // it is gone; a run will say so
	}
	job, err := json.Marshal(p.Training)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(job), job)
	asked, err := json.Marshal(d.Request)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(h, "%d:%s", len(asked), asked)
	for _, view := range e.readBy(d) {
		written := e.registry.Ingests(view)
		fmt.Fprintf(h, "%s %d %d;", view, written.Writes, written.Rows)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// readBy are the views that a dataset is made from now; all of them, if its spine is a SELECT,
// which may read any.
func (e *Engine) readBy(d *driftline.Dataset) (views []driftline.ViewName) {
	if d.Request.Spine != nil && d.Request.Spine.SQL != "" {
		for _, view := range e.registry.Views() {
			views = append(views, view.Name)
		}
		return views
	}
	resolution, err := e.registry.Resolve(d.Request.FeatureSet)
	if err != nil {
		return nil
	}
	for _, read := range resolution.Reads {
		views = append(views, read.View.Name)
	}
	return views
}

// makeDataset makes a policy's dataset again from what is known now, as a new version; of an
// incremental job only with the rows that came since the dataset of its last run that was any good.
func (e *Engine) makeDataset(ctx context.Context, model driftline.ModelName, job *driftline.TrainingJob) (driftline.Ref, error) {
	d, err := e.registry.Dataset(job.Dataset, 0)
	if err != nil {
		return driftline.Ref{}, err
	}
	req := d.Request
	req.SaveAs = job.Dataset
	if req.Spine == nil { // it was sent, and is kept with the first version: that has all of its rows
		req.Spine = &driftline.SpineSource{Dataset: driftline.DatasetRef(job.Dataset, 1)}
	}
	source := *req.Spine
	source.Since = driftline.Ref{}
	if job.Incremental {
		if source.Since, err = e.lastTrainedOn(model, job.Dataset); err != nil {
			return driftline.Ref{}, err
		}
	}
	req.Spine = &source
	set, err := e.Historical(ctx, req, driftline.Batches{})
	if err != nil {
		return driftline.Ref{}, sinceIsGone(source.Since, err)
	}
	for _, err := range set.Batches.All {
		if err != nil {
			return driftline.Ref{}, err
		}
		break // it is stored before its first rows come
	}
	return set.Report().Dataset.Ref(), nil
}

// lastTrainedOn is the version of a dataset that the last run of a model that succeeded, and was not rejected
// since, was trained on; the zero Ref: there is none.
func (e *Engine) lastTrainedOn(model driftline.ModelName, dataset driftline.DatasetName) (driftline.Ref, error) {
	runs, err := e.Trainings(model, math.MaxInt)
	if err != nil {
		return driftline.Ref{}, err
	}
	for i := range runs {
		if runs[i].State == driftline.TrainingSucceeded && runs[i].Dataset.Name == string(dataset) {
			return runs[i].Dataset, nil
		}
	}
	return driftline.Ref{}, nil
}

// sinceIsGone says of a dataset that cannot be compared with what is there now how to go on.
func sinceIsGone(since driftline.Ref, err error) error {
	code := driftline.CodeOf(err)
	if since == (driftline.Ref{}) || code != driftline.FailedPrecondition && code != driftline.NotFound {
		return err
	}
	return driftline.Errorf(driftline.FailedPrecondition, "which rows came since %s: %w", since, err).WithRef(since).
		WithHint("train once with incremental: false, on all rows")
}

// sourceCounts remembers how many rows tables have, so that a table that nobody wrote to is
// counted once.
type sourceCounts struct {
	mu    sync.Mutex
	known map[string]sourceCount // by Ref
}

// sourceCount is how many rows a table had, and what it was then.
type sourceCount struct {
	at   string
	kept string // the snapshot, which changes too where rows go
	rows int64
}

// countSource returns how many rows a table has, each (keys, time) of a view once, and a name
// of what it is now.
func (e *Engine) countSource(ctx context.Context, ref driftline.Ref) (sourceCount, error) {
	at, text, err := e.sourceState(ref)
	if err != nil {
		return sourceCount{}, err
	}
	kept := ""
	if ref.Kind != driftline.KindDataset {
		kept = fmt.Sprint(e.heads.of(e.registry.Meant(driftline.ViewName(ref.Name))).snapshot.ID)
	}
	counts := &e.training.counts
	counts.mu.Lock()
	known, ok := counts.known[ref.String()]
	counts.mu.Unlock()
	if ok && known.at == at && known.kept == kept {
		return known, nil
	}
	rows, err := e.countRows(ctx, text)
	if err != nil {
		return sourceCount{}, err
	}
	known = sourceCount{at, kept, rows}
	counts.mu.Lock()
	defer counts.mu.Unlock()
	if counts.known == nil {
		counts.known = map[string]sourceCount{}
	}
	counts.known[ref.String()] = known
	return known, nil
}

// sourceState is a name of what a table is now, and the SELECT that counts it.
func (e *Engine) sourceState(ref driftline.Ref) (at, text string, err error) {
	if ref.Kind == driftline.KindDataset {
		version, err := versionOf(ref)
		if err != nil {
			return "", "", err
		}
		d, err := e.registry.Dataset(driftline.DatasetName(ref.Name), version)
		if err != nil {
			return "", "", err
		}
		return d.Ref().String(), fmt.Sprintf("SELECT count(*) FROM datasets.%s", quoted(fmt.Sprintf("%s_v%d", d.Name, d.Version))), nil
	}
	view, err := e.registry.View(e.registry.Meant(driftline.ViewName(ref.Name)))
	if err != nil {
		return "", "", err
	}
	var identity []string
	for _, key := range view.JoinKeys {
		identity = append(identity, quoted(key.Name))
	}
	identity = append(identity, quoted(view.EventTimestamp))
	written := e.registry.Ingests(view.Name)
	return fmt.Sprintf("%s %d %d", view.Name, written.Writes, written.Rows),
		fmt.Sprintf("SELECT count(*) FROM (SELECT DISTINCT %s FROM features.%s)", strings.Join(identity, ", "), quoted(string(view.Name))), nil
}

// countRows runs a SELECT of one whole number.
func (e *Engine) countRows(ctx context.Context, text string) (int64, error) {
	rows, err := e.SQL(ctx, text, nil)
	if err != nil {
		return 0, err
	}
	for b, err := range rows.All {
		if err != nil {
			return 0, err
		}
		if column, ok := b.Column(0).(*array.Int64); ok && b.NumRows() == 1 {
			return column.Value(0), nil
		}
	}
	return 0, driftline.Errorf(driftline.Internal, "a count of rows is no number")
}

// dataCauses is the growth of a data trigger's table since the last training that succeeded, from the fewest
// rows that it had since then: of a table whose old rows go, the new ones are seen all the same.
func (e *Engine) dataCauses(ctx context.Context, t *driftline.Trigger, state driftline.PolicyState) (driftline.PolicyState, []driftline.Cause, error) {
	source := t.Data.Source
	var had int64
	var since driftline.TrainingID
	if state.Trained != nil {
		had, since = state.Trained.Sources[source.String()], state.Trained.Run
	}
	now, err := e.countSource(ctx, source)
	if code := driftline.CodeOf(err); code == driftline.NotFound {
		return state, nil, nil // nothing was written yet, or it is gone
	}
	if err != nil {
		return state, nil, err
	}
	seen := state.Triggers[t.Name]
	if least := min(had, now.rows); seen.Counted != since || least < seen.Fewest {
		seen.Counted, seen.Fewest = since, least
		state.Triggers = maps.Clone(state.Triggers)
		if state.Triggers == nil {
			state.Triggers = map[string]driftline.TriggerState{}
		}
		state.Triggers[t.Name] = seen
	}
	bucket := now.at + " after " + strconv.FormatInt(had, 10)
	cause := trigger.Data(t, had, now.rows-seen.Fewest, bucket, e.now().UTC())
	if cause == nil {
		return state, nil, nil
	}
	return state, []driftline.Cause{*cause}, nil
}

// sourcesOf counts the tables that the data triggers of a policy look at.
func (e *Engine) sourcesOf(ctx context.Context, p *driftline.Policy) (map[string]int64, error) {
	var counted map[string]int64
	for i := range p.Triggers {
		if p.Triggers[i].Data == nil {
			continue
		}
		source := p.Triggers[i].Data.Source
		now, err := e.countSource(ctx, source)
		if driftline.CodeOf(err) == driftline.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if counted == nil {
			counted = map[string]int64{}
		}
		counted[source.String()] = now.rows
	}
	return counted, nil
}
