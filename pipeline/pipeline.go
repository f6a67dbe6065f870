// Package pipeline decides in which order the steps of a pipeline run, which of them need not
// run again, and what to do when one has ended. It is pure: it reads no file and starts no program,
// so that every history can be tried; package pipeline/local does what it decides.
//
//	steps ─ Plan ─→ Graph ─ Ready(state) ─→ what may start now
//	                  │          ↑ Started, Ended
//	                  └─ Text, Mermaid, Airflow
//
// A step needs those that it names, and those whose outputs it reads. A step with outputs is done
// if it once succeeded under the same [Key]: its command, its environment, the content of its
// inputs. So a pipeline that a crash ended goes on where it was, and nothing but what
// succeeded has to be remembered.
package pipeline

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// Pipeline is work in steps. Paths are relative to the folder that its file is in, with
// slashes.
type Pipeline struct {
	Kind        string            `json:"kind,omitempty"` // "pipeline"
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Environment map[string]string `json:"environment,omitempty"` // of every step
	Variables   []string          `json:"variables,omitempty"`   // of the caller that steps read: what they hold counts as an input
	Steps       []Step            `json:"steps"`
}

// Kind is what the kind of a pipeline's document says.
const Kind = "pipeline"

// Step is one program that runs.
type Step struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`

	// Exactly one of them: a program with its arguments, or a text for sh.
	Command []string `json:"command,omitempty"`
	Shell   string   `json:"shell,omitempty"`

	// Inputs are files and folders, or references of what a server has (dataset/late@1,
	// model/late@champion). Outputs are files and folders within the pipeline's folder, which
	// the step makes anew.
	Inputs  []string `json:"inputs,omitempty"`
	Outputs []string `json:"outputs,omitempty"`
	Needs   []string `json:"needs,omitempty"` // steps that must have succeeded, beside those that make its inputs

	Environment map[string]string `json:"environment,omitempty"`
	Variables   []string          `json:"variables,omitempty"`

	Retries    int                `json:"retries,omitempty"`     // how often it is tried again; not after exit code 3, which is a verdict
	RetryDelay driftline.Duration `json:"retry_delay,omitempty"` // before the first retry, twice as long before each further one; a second if 0
	Timeout    driftline.Duration `json:"timeout,omitempty"`     // of one attempt; an hour if 0
	NoCache    bool               `json:"no_cache,omitempty"`    // it runs each time, although it has outputs
}

const (
	mostSteps   = 1000
	mostRetries = 100

	defaultTimeout    = driftline.Duration(time.Hour)
	defaultRetryDelay = driftline.Duration(time.Second)
)

// Completed returns the step with its defaults filled in.
func (s Step) Completed() Step {
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	if s.RetryDelay == 0 {
		s.RetryDelay = defaultRetryDelay
	}
	return s
}

// Argv is the program and its arguments.
func (s *Step) Argv() []string {
	if s.Shell != "" {
		return []string{"sh", "-eu", "-c", s.Shell}
	}
	return s.Command
}

// Cached reports whether the step need not run again if nothing that it reads has changed.
func (s *Step) Cached() bool { return len(s.Outputs) > 0 && !s.NoCache }

// IsRef reports whether an input is something of a server, and not a path.
func IsRef(input string) bool {
	kind, name, ok := strings.Cut(input, "/")
	return ok && name != "" && (kind == string(driftline.KindDataset) || kind == string(driftline.KindModel)) && !strings.Contains(name, "/")
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check reports what is wrong with the pipeline apart from its graph.
func (p *Pipeline) check() error {
	if err := driftline.CheckIdentifier("pipeline", p.Name); err != nil {
		return err
	}
	switch {
	case p.Kind != "" && p.Kind != Kind:
		return driftline.Errorf(driftline.Invalid, "kind is %q", p.Kind).WithHint("write kind: pipeline")
	case len(p.Steps) == 0:
		return driftline.Errorf(driftline.Invalid, "pipeline %q has no steps", p.Name).WithHint("write steps: and at least one with a name and a command")
	case len(p.Steps) > mostSteps:
		return driftline.Errorf(driftline.Invalid, "pipeline %q has %d steps, want at most %d", p.Name, len(p.Steps), mostSteps)
	}
	if err := checkEnvironment(p.Environment, p.Variables); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range p.Steps {
		s := &p.Steps[i]
		if err := driftline.CheckIdentifier("step", s.Name); err != nil {
			return driftline.Errorf(driftline.Invalid, "steps[%d]: %w", i, err)
		}
		if seen[s.Name] {
			return driftline.Errorf(driftline.Invalid, "there are two steps %q", s.Name).WithHint("give each a name of its own")
		}
		seen[s.Name] = true
		if err := s.check(); err != nil {
			return driftline.Errorf(driftline.Invalid, "step %q: %w", s.Name, err)
		}
	}
	return nil
}

func (s *Step) check() error {
	switch {
	case (len(s.Command) == 0) == (s.Shell == ""):
		return driftline.Errorf(driftline.Invalid, "it has no program, or two").WithHint("write either command: [python, train.py] or shell: text")
	case len(s.Command) > 0 && s.Command[0] == "":
		return driftline.Errorf(driftline.Invalid, "its command is empty")
	case s.Retries < 0 || s.Retries > mostRetries:
		return driftline.Errorf(driftline.Invalid, "retries is %d, want 0 to %d", s.Retries, mostRetries)
	case s.RetryDelay < 0 || s.Timeout < 0:
		return driftline.Errorf(driftline.Invalid, "a time is negative")
	}
	for _, input := range s.Inputs {
		if input == "" || strings.ContainsRune(input, 0) {
			return driftline.Errorf(driftline.Invalid, "an input has no name")
		}
	}
	for _, output := range s.Outputs {
		if err := checkOutput(output); err != nil {
			return err
		}
	}
	return checkEnvironment(s.Environment, s.Variables)
}

// checkOutput keeps steps from declaring what is not theirs to make.
func checkOutput(output string) error {
	clean := path.Clean(output)
	if output == "" || clean == "." || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(output, "\x00\\") {
		return driftline.Errorf(driftline.Invalid, "output %q is not within the pipeline's folder", output).
			WithHint("write a path that is relative to the pipeline's file: results/model.joblib")
	}
	return nil
}

func checkEnvironment(set map[string]string, read []string) error {
	names := slices.Clone(read)
	for name, value := range set {
		names = append(names, name)
		if strings.ContainsRune(value, 0) {
			return driftline.Errorf(driftline.Invalid, "environment %s holds a NUL", name)
		}
	}
	for _, name := range names {
		if !variable.MatchString(name) {
			return driftline.Errorf(driftline.Invalid, "%q is no name of an environment variable", name)
		}
	}
	return nil
}

// Within reports whether a path is a folder's, or in it.
func Within(folder, name string) bool {
	folder, name = path.Clean(folder), path.Clean(name)
	return folder == name || strings.HasPrefix(name, folder+"/")
}

func (s *Step) String() string { return fmt.Sprintf("step %q", s.Name) }
