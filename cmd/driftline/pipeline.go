package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/pipeline"
	"github.com/driftline/driftline/pipeline/local"
	"github.com/driftline/driftline/storage/durable"
)

// errStepSaysNo says that a step of a pipeline ended with a verdict. It has been reported already.
var errStepSaysNo = errors.New("a step said no")

// errStepFailed says that a step of a pipeline failed. It has been reported already.
var errStepFailed = errors.New("a step failed")

// runFlags are what driftline run was asked.
type runFlags struct {
	until, only string
	jobs        int
	force       bool
}

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	command := &cobra.Command{
		Use:   "run PIPELINE",
		Short: "Run a pipeline's steps here",
		Long: "Run the steps of a pipeline (kind: pipeline, a YAML file) on this machine, in the order that follows from what\n" +
			"they need and read, side by side where that allows it. A step with outputs is not run again if its command, its\n" +
			"environment and the content of its inputs are what they were when it last succeeded; so a run that was killed goes\n" +
			"on where it was. What is remembered, and the steps' logs, are in .driftline-pipelines beside the file.\n\n" +
			"Exit code: 0 all steps succeeded, 3 a step ended with 3 (a gate is closed), 1 a step failed.",
		Example: "  driftline run pipeline.yaml\n  driftline run pipeline.yaml --until train --jobs 1\n  driftline run pipeline.yaml --only gate",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if flags.until != "" && flags.only != "" {
				return usagef("give either --until or --only")
			}
			return a.runPipeline(c.Context(), args[0], flags)
		},
	}
	f := command.Flags()
	f.StringVar(&flags.until, "until", "", "run this step and what it needs only")
	f.StringVar(&flags.only, "only", "", "run this step alone; what it needs is taken for done")
	f.IntVar(&flags.jobs, "jobs", min(4, runtime.NumCPU()), "how many steps run at a time")
	f.BoolVar(&flags.force, "force", false, "run steps although nothing changed")
	return command
}

// readPipeline reads and plans the pipeline of a file.
func readPipeline(path string) (graph *pipeline.Graph, err error) {
	_, err = readValue(path, "the pipeline", "", func(p *pipeline.Pipeline) (err error) {
		graph, err = pipeline.Plan(p)
		return err
	})
	return graph, err
}

func (a *app) runPipeline(ctx context.Context, path string, flags runFlags) error {
	graph, err := readPipeline(path)
	if err != nil {
		return err
	}
	if flags.jobs < 1 {
		return usagef("--jobs is %d, want at least 1", flags.jobs)
	}
	switch {
	case flags.until != "":
		graph, err = graph.Until(flags.until)
	case flags.only != "":
		graph, err = graph.Only(flags.only)
	}
	if err != nil {
		return err
	}
	tell := &runTeller{w: a.stderr, graph: graph}
	state, err := local.Run(ctx, graph, local.Options{
		Folder: filepath.Dir(path), Environ: a.environ(), Jobs: flags.jobs, Force: flags.force,
		Resolve: a.resolveInput, Changed: tell.changed, Output: tell.output,
	})
	if state == nil {
		return inFile(path, err)
	}
	answered := a.answer(map[string]any{"pipeline": graph.Pipeline.Name, "steps": state}, func(w io.Writer) error { return printSteps(w, graph, state) })
	if err := errors.Join(err, answered); err != nil {
		return err
	}
	switch graph.Exit(state) {
	case exitDone:
		return nil
	case exitDrift:
		return errStepSaysNo
	}
	return errStepFailed
}

// resolveInput is a hash of what a reference means to the server now.
func (a *app) resolveInput(ctx context.Context, ref driftline.Ref) (hash string, err error) {
	err = a.withServer(ctx, func(c *client.Client) error {
		if ref.Kind == driftline.KindModel {
			version, err := c.ModelVersion(ctx, driftline.ModelName(ref.Name), cmp.Or(ref.Version, "champion"))
			if err == nil {
				hash = version.Ref().String() + " " + version.Artifact.SHA256
			}
			return err
		}
		number := 0
		if ref.Version != "" {
			if number, err = strconv.Atoi(ref.Version); err != nil {
				return driftline.Errorf(driftline.Invalid, "%q has no version number after @", ref)
			}
		}
		dataset, err := c.Dataset(ctx, driftline.DatasetName(ref.Name), number)
		if err == nil {
			hash = dataset.ContentHash
		}
		return err
	})
	return hash, err
}

// runTeller says what happens while it does.
type runTeller struct {
	mu    sync.Mutex
	w     io.Writer
	graph *pipeline.Graph
	ended int
}

func (t *runTeller) changed(step string, now pipeline.StepState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := string(now.Status)
	switch now.Status {
	case pipeline.Running:
		if now.Attempts > 0 {
			said = fmt.Sprintf("%s; attempt %d of %d follows", now.Reason, now.Attempts+1, t.graph.Steps[step].Retries+1)
			break
		}
		said = "starts"
	case pipeline.Succeeded:
		said = "succeeded in " + now.Took.Round(10*time.Millisecond).String()
	case pipeline.Cached:
		said = "is as it was, and not run again"
	case pipeline.Failed, pipeline.Skipped:
		said += ": " + now.Reason
	}
	if now.Status != pipeline.Running {
		t.ended++
	}
	fmt.Fprintf(t.w, "[%d/%d] %s %s\n", t.ended, len(t.graph.Order), step, printable(said))
}

func (t *runTeller) output(step, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%s | %s\n", step, printable(line))
}

func printSteps(w io.Writer, graph *pipeline.Graph, state pipeline.State) error {
	t := newTable("step", "status", ">took", "")
	for _, name := range graph.Order {
		s := state[name]
		took := ""
		if s.Status == pipeline.Succeeded || s.Status == pipeline.Failed {
			took = s.Took.Round(10 * time.Millisecond).String()
		}
		t.add(name, string(s.Status), took, printable(s.Reason))
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", graph.Pipeline.Name, graph.Describe(state))
	return err
}

func (a *app) pipelineCommand() *cobra.Command {
	command := &cobra.Command{Use: "pipeline", Short: "Look at a pipeline", Args: exactly(0), RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	command.AddCommand(a.pipelineShowCommand())
	return command
}

func (a *app) pipelineShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "show PIPELINE",
		Short:   "Check a pipeline and draw its graph",
		Example: "  driftline pipeline show pipeline.yaml\n  driftline pipeline show pipeline.yaml --format mermaid >> README.md",
		Args:    exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			graph, err := readPipeline(args[0])
			if err != nil {
				return err
			}
			if err := graph.CheckInputs(inputsBeside(args[0])); err != nil {
				return inFile(args[0], err)
			}
			draw := map[string]func(pipeline.State) string{"text": graph.Text, "mermaid": graph.Mermaid}[format]
			if draw == nil {
				return usagef("--format is %q, want text or mermaid", format)
			}
			return a.answer(map[string]any{"pipeline": graph.Pipeline, "order": graph.Order, "needs": graph.Needs}, func(w io.Writer) error {
				_, err := io.WriteString(w, draw(nil))
				return err
			})
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or mermaid, which GitHub draws")
	return c
}

// inputsBeside tells whether a path that a pipeline's file names is there.
func inputsBeside(path string) func(string) bool {
	return func(input string) bool {
		_, err := os.Lstat(filepath.Join(filepath.Dir(path), filepath.FromSlash(input)))
		return err == nil
	}
}

func (a *app) exportCommand() *cobra.Command {
	command := &cobra.Command{Use: "export", Short: "Write a pipeline for another scheduler", Args: exactly(0), RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	command.AddCommand(a.exportAirflowCommand())
	return command
}

func (a *app) exportAirflowCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "airflow PIPELINE",
		Short: "Write a pipeline as a DAG of Apache Airflow 3",
		Long: "Write a DAG that runs the same programs with the same needs, retries and timeouts, by BashOperator, in the\n" +
			"pipeline's folder (DRIFTLINE_PIPELINE_FOLDER on the workers, if it lies elsewhere there). Each run runs every step.",
		Example: "  driftline export airflow pipeline.yaml --out dags/flights.py",
		Args:    exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			graph, err := readPipeline(args[0])
			if err != nil {
				return err
			}
			folder, err := filepath.Abs(filepath.Dir(args[0]))
			if err != nil {
				return cannotRead(args[0], err)
			}
			dag := graph.Airflow(folder)
			if out == "" {
				_, err := io.WriteString(a.stdout, dag)
				return err
			}
			if err := durable.WriteBytes(out, []byte(dag)); err != nil {
				return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", out, err).WithHint("choose a folder that exists and is writable")
			}
			return a.answer(map[string]any{"written": out}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "wrote %s: DAG %s with %s\n", out, graph.Pipeline.Name, counted(len(graph.Order), "task"))
				return err
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "write it to this file")
	return c
}
