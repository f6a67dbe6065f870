// Package local runs a pipeline on this machine. What runs when, and what need not run, package
// pipeline decides; here are the programs, in process groups of their own, their outputs and what
// is remembered of those that succeeded.
//
//	FOLDER/.driftline-pipelines/NAME/
//	    lock             held while it runs, also by the programs that it started
//	    steps/STEP.json  what is remembered of a step's last success
//	    logs/STEP.log    what its last run wrote
//
// Invariants:
//
//   - A record is written after the outputs are complete, and never before: a crash at any
//     moment costs the steps that were running, and no other.
//   - Two runs of a pipeline never overlap, not even if the first was killed and left programs behind.
//   - No program of a run outlives it, except one that left its process group.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/pipeline"
	"github.com/driftline/driftline/storage/durable"
)

// Options say how a pipeline runs.
type Options struct {
	Folder  string   // that paths are relative to
	Environ []string // of the caller
	Jobs    int      // how many steps run at a time; at least 1
	Force   bool     // steps run although nothing changed

	// Resolve returns a hash of what a reference names; nil: there is no server.
	Resolve func(ctx context.Context, ref driftline.Ref) (string, error)

	// Changed is told of every change of a step, one at a time. Output gets what programs write, a
	// line at a time. Either may be nil.
	Changed func(step string, now pipeline.StepState)
	Output  func(step, line string)
}

const stateFolder = ".driftline-pipelines"

// runner is one run.
type runner struct {
	opts   *Options
	graph  *pipeline.Graph
	folder string // of what is remembered
	lock   *os.File

	mu     sync.Mutex
	state  pipeline.State
	groups []int // process groups that run
}

// Run runs a graph and returns how its steps are in the end. A step that fails is no error; a
// pipeline that cannot run, or a ctx that ends, is.
func Run(ctx context.Context, graph *pipeline.Graph, opts Options) (pipeline.State, error) {
	opts.Jobs = max(opts.Jobs, 1)
	if err := graph.CheckInputs(func(path string) bool { return exists(filepath.Join(opts.Folder, filepath.FromSlash(path))) }); err != nil {
		return nil, err
	}
	r := &runner{opts: &opts, graph: graph, folder: filepath.Join(opts.Folder, stateFolder, graph.Pipeline.Name), state: graph.Start()}
	for _, part := range []string{"steps", "logs"} {
		if err := durable.MkdirAll(filepath.Join(r.folder, part)); err != nil {
			return nil, unwritable(r.folder, err)
		}
	}
	if err := r.takeLock(); err != nil {
		return nil, err
	}
	defer r.lock.Close()
	err := r.loop(ctx)
	return graph.Finish(r.now()), err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func unwritable(path string, err error) error {
	return driftline.Errorf(driftline.FailedPrecondition, "%s cannot be written: %w", path, err).WithHint("run the pipeline where its folder can be written")
}

// ended is the end of a step.
type ended struct {
	step string
	now  pipeline.StepState
	err  error // the step could not be judged at all
}

// loop starts what may start, until nothing runs and nothing may.
func (r *runner) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan ended)
	running := 0
	var failure error
	for {
		if failure == nil && ctx.Err() == nil {
			for _, name := range r.graph.Ready(r.now(), r.opts.Jobs) {
				r.change(name, pipeline.StepState{Status: pipeline.Running})
				running++
				go func() {
					now, err := r.step(ctx, name)
					ends <- ended{name, now, err}
				}()
			}
		}
		if running == 0 {
			return errors.Join(failure, context.Cause(ctx))
		}
		end := <-ends
		running--
		if end.err != nil {
			failure = errors.Join(failure, end.err)
			cancel()
		}
		r.change(end.step, end.now)
	}
}

func (r *runner) now() pipeline.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *runner) change(name string, now pipeline.StepState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = r.state.With(name, now)
	if r.opts.Changed != nil {
		r.opts.Changed(name, now)
	}
}

// step brings one step to its end.
func (r *runner) step(ctx context.Context, name string) (pipeline.StepState, error) {
	step := r.graph.Steps[name]
	key, err := r.key(ctx, name)
	if err != nil {
		return pipeline.StepState{Status: pipeline.Skipped, Reason: err.Error()}, err
	}
	if !r.opts.Force && step.Cached() {
		record, err := r.record(name)
		if err != nil {
			return pipeline.StepState{Status: pipeline.Skipped, Reason: err.Error()}, err
		}
		if record != nil && record.Key == key {
			if outputs, err := r.outputs(ctx, step, false); err == nil && step.Fresh(record, key, outputs) {
				return pipeline.StepState{Status: pipeline.Cached, Took: record.Took}, nil
			}
		}
	}
	now := pipeline.StepState{Status: pipeline.Running}
	for {
		attempt := r.attempt(ctx, step, now.Attempts)
		var retry time.Duration
		now, retry = step.Ended(now, attempt)
		if now.Status != pipeline.Running || ctx.Err() != nil {
			break
		}
		r.change(name, now)
		if !sleep(ctx, retry) {
			break
		}
	}
	switch {
	case ctx.Err() != nil && now.Status != pipeline.Succeeded:
		now.Status, now.Reason = pipeline.Skipped, "the run was ended"
	case now.Status == pipeline.Succeeded && step.Cached():
		return r.remember(ctx, step, key, now)
	}
	return now, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt runs a step's program once, and looks whether its outputs are there.
func (r *runner) attempt(ctx context.Context, step *pipeline.Step, before int) pipeline.Attempt {
	began := time.Now()
	attempt := r.execute(ctx, step, before)
	attempt.Took = time.Since(began)
	if attempt.Reason == "" {
		for _, output := range step.Outputs {
			if !exists(r.path(output)) {
				attempt.Reason = "it ended well, but did not make its output " + output
				break
			}
		}
	}
	return attempt
}

// remember writes that a step succeeded.
func (r *runner) remember(ctx context.Context, step *pipeline.Step, key string, now pipeline.StepState) (pipeline.StepState, error) {
	outputs, err := r.outputs(ctx, step, true)
	if err != nil {
		now.Status, now.Reason = pipeline.Failed, err.Error()
		return now, nil
	}
	content, err := json.MarshalIndent(pipeline.Record{Key: key, Outputs: outputs, Ended: time.Now().UTC(), Took: now.Took}, "", "  ")
	if err == nil {
		err = durable.WriteBytes(r.recordFile(step.Name), content)
	}
	if err != nil {
		return now, unwritable(r.folder, err)
	}
	return now, nil
}

func (r *runner) recordFile(name string) string {
	return filepath.Join(r.folder, "steps", name+".json")
}

// record is what is remembered of a step; nil if nothing is, or nothing that can be read.
func (r *runner) record(name string) (*pipeline.Record, error) {
	content, err := os.ReadFile(r.recordFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unwritable(r.folder, err)
	}
	record := &pipeline.Record{}
	if json.Unmarshal(content, record) != nil {
		return nil, nil // the step runs again, and writes another
	}
	return record, nil
}

func (r *runner) path(name string) string {
	return filepath.Join(r.opts.Folder, filepath.FromSlash(name))
}

// key hashes what a step reads.
func (r *runner) key(ctx context.Context, name string) (string, error) {
	inputs := map[string]string{}
	for _, input := range r.graph.Steps[name].Inputs {
		var err error
		if inputs[input], err = r.inputHash(ctx, input); err != nil {
			return "", driftline.Errorf(driftline.CodeOf(err), "step %q: its input %q: %w", name, input, err)
		}
	}
	environ := environment(r.opts.Environ)
	return r.graph.Key(name, inputs, func(variable string) (string, bool) { value, ok := environ[variable]; return value, ok }), nil
}

func (r *runner) inputHash(ctx context.Context, input string) (string, error) {
	if !pipeline.IsRef(input) || exists(r.path(input)) {
		return hashOf(ctx, r.path(input))
	}
	if r.opts.Resolve == nil {
		return "", driftline.Errorf(driftline.FailedPrecondition, "no server says what it is")
	}
	ref, err := driftline.ParseRef(input)
	if err != nil {
		return "", err
	}
	return r.opts.Resolve(ctx, ref)
}

// outputs hashes what a step made; with must, one that is not there is an error.
func (r *runner) outputs(ctx context.Context, step *pipeline.Step, must bool) (map[string]string, error) {
	found := map[string]string{}
	for _, output := range step.Outputs {
		hash, err := hashOf(ctx, r.path(output))
		if err != nil && (must || ctx.Err() != nil) {
			return nil, err
		}
		found[output] = hash
	}
	return found, nil
}
