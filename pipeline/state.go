package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Status is how far a step is.
type Status string

// How a step can be. Those after Running are ends.
const (
	Waiting   Status = "waiting" // for what it needs, or for a place
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Cached    Status = "cached"  // it succeeded earlier, and nothing that it reads has changed since
	Failed    Status = "failed"  // all attempts did
	Skipped   Status = "skipped" // something that it needs failed, or the run was ended before its turn
)

// StepState is how a step is in one run.
type StepState struct {
	Status   Status        `json:"status"`
	Attempts int           `json:"attempts,omitempty"`
	Exit     int           `json:"exit,omitempty"` // of the last attempt
	Reason   string        `json:"reason,omitempty"`
	Took     time.Duration `json:"took_ns,omitempty"`
}

// State is how the steps of a run are. It is replaced, never changed.
type State map[string]StepState

// Start is the state of a run that begins.
func (g *Graph) Start() State {
	state := State{}
	for _, name := range g.Order {
		state[name] = StepState{Status: Waiting}
	}
	return state
}

// With returns the state with one step changed.
func (s State) With(name string, step StepState) State {
	next := maps.Clone(s)
	next[name] = step
	return next
}

// Ready are the steps that may start now, in order, with most running at a time. Once a step has failed
// no other starts.
func (g *Graph) Ready(state State, most int) (ready []string) {
	running := 0
	for _, s := range state {
		switch s.Status {
		case Failed:
			return nil
		case Running:
			running++
		}
	}
	for _, name := range g.Order {
		if running+len(ready) >= most {
			break
		}
		if state[name].Status == Waiting && !slices.ContainsFunc(g.Needs[name], func(need string) bool { return !state[need].good() }) {
			ready = append(ready, name)
		}
	}
	return ready
}

func (s StepState) good() bool { return s.Status == Succeeded || s.Status == Cached }

// exitVerdict is the exit code of a program that did its work and says no.
const exitVerdict = 3

// Attempt is how one try of a step ended.
type Attempt struct {
	Exit   int
	Reason string // "" if it succeeded
	Took   time.Duration
}

// Ended decides what follows an attempt: the step's next state, and, if it is tried again, after
// how long.
func (s *Step) Ended(was StepState, a Attempt) (next StepState, retry time.Duration) {
	next = StepState{Status: Succeeded, Attempts: was.Attempts + 1, Exit: a.Exit, Reason: a.Reason, Took: was.Took + a.Took}
	if a.Reason == "" {
		return next, 0
	}
	if next.Attempts > s.Retries || a.Exit == exitVerdict {
		next.Status = Failed
		return next, 0
	}
	next.Status = Running
	const most = 10 * time.Minute
	return next, min(time.Duration(s.RetryDelay)<<min(was.Attempts, 20), most)
}

// Finish is the state once nothing runs any more: what never started was skipped.
func (g *Graph) Finish(state State) State {
	for _, name := range g.Order {
		if state[name].Status == Waiting || state[name].Status == Running {
			state = state.With(name, StepState{Status: Skipped, Reason: g.whySkipped(state, name)})
		}
	}
	return state
}

func (g *Graph) whySkipped(state State, name string) string {
	for _, need := range g.Needs[name] {
		if s := state[need].Status; s == Failed || s == Skipped {
			return "it needs " + need
		}
	}
	return "the run ended before its turn"
}

// Exit is the exit code of a run: 0 if all steps succeeded, 3 if what failed was a verdict, 1 otherwise.
func (g *Graph) Exit(state State) int {
	exit := 0
	for _, name := range g.Order {
		switch s := state[name]; {
		case s.good():
		case s.Status == Failed && s.Exit == exitVerdict:
			exit = max(exit, exitVerdict)
		case s.Status == Failed:
			return 1
		default:
			exit = max(exit, 1)
		}
	}
	return exit
}

// Key is a hash of all that decides what a step makes: its program, its environment, and the
// content of its inputs, by their names.
func (g *Graph) Key(name string, inputs map[string]string, environ func(variable string) (string, bool)) string {
	step := g.Steps[name]
	set := map[string]string{}
	maps.Copy(set, g.Pipeline.Environment)
	maps.Copy(set, step.Environment)
	read := map[string]*string{}
	for _, variable := range slices.Concat(g.Pipeline.Variables, step.Variables) {
		read[variable] = nil
		if value, ok := environ(variable); ok {
			read[variable] = &value
		}
	}
	content, err := json.Marshal(struct {
		Format      int
		Argv        []string
		Environment map[string]string
		Variables   map[string]*string
		Inputs      map[string]string
		Outputs     []string
	}{1, step.Argv(), set, read, inputs, step.Outputs})
	if err != nil {
		panic(err) // texts only
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Record is what is remembered of a step that succeeded.
type Record struct {
	Key     string            `json:"key"`
	Outputs map[string]string `json:"outputs"` // path → hash of its content
	Ended   time.Time         `json:"ended"`
	Took    time.Duration     `json:"took_ns"`
}

// Fresh reports whether a record says that a step need not run: it has the key, and the outputs
// are what the step made, by their hashes now ("" if one is gone).
func (s *Step) Fresh(r *Record, key string, outputs map[string]string) bool {
	if r == nil || !s.Cached() || r.Key != key {
		return false
	}
	for _, output := range s.Outputs {
		if outputs[output] == "" || outputs[output] != r.Outputs[output] {
			return false
		}
	}
	return true
}

// Describe says in a sentence how a run ended.
func (g *Graph) Describe(state State) string {
	counts := map[Status]int{}
	for _, s := range state {
		counts[s.Status]++
	}
	text := ""
	for _, status := range []Status{Succeeded, Cached, Failed, Skipped} {
		if n := counts[status]; n > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d %s", n, status)
		}
	}
	return text
}
