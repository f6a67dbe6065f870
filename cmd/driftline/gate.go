package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/spf13/cobra"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/report"
)

// errGateClosed says that a candidate did not pass. It has been reported already.
var errGateClosed = errors.New("the gate is closed")

// evaluationsExperiment holds the predictions that were evaluated from local files.
const evaluationsExperiment = "evaluations"

// gateFlags are what driftline gate was asked.
type gateFlags struct {
	gate                  string
	champion, by          string
	predictions, theirs   string // of the candidate, of the champion
	prediction, score     string // columns
	reports               reportFlags
	candidate, candidateN string
}

func (a *app) gateCommand() *cobra.Command {
	var flags gateFlags
	command := &cobra.Command{
		Use:   "gate MODEL@VERSION",
		Short: "Hold a candidate against the champion before it gets any traffic",
		Long: "Measure a version of a model and the one that serves on the same frozen dataset: the primary metric (paired\n" +
			"bootstrap), the worst segment, calibration, signature, leakage by key and time, the hash of its files, latency. The\n" +
			"gate is that of the model's policy (evaluation:), or of --gate. What was found is kept with its evidence, and is the\n" +
			"check \"evaluation\" of the version. A first model is held against floors only.\n\n" +
			"Predictions are a local file (.parquet, .csv, .arrow), dataset/NAME[@VERSION], view/NAME or a SELECT; without one, the\n" +
			"file predictions/DATASET@VERSION.parquet or predictions.parquet that the version's run logged. They have a column\n" +
			"\"prediction\" or \"score\", and the dataset's keys and time; or as many rows as the dataset, in its order. Where there are\n" +
			"none, the version's server (driftline models serve-at) is asked.\n\n" +
			"Exit code: 0 the candidate passed, 3 it did not, 1 it could not be evaluated.",
		Example: "  driftline gate late_departure@3 --junit gate.xml --markdown gate.md\n" +
			"  driftline gate late_departure@candidate --gate gate.yaml --predictions scored.parquet\n" +
			"  driftline gate list late_departure",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			var found bool
			if flags.candidate, flags.candidateN, found = cutVersion(args[0]); !found {
				return usagef("name the version too: %s@3, or an alias", args[0])
			}
			return a.gate(c.Context(), flags)
		},
	}
	f := command.Flags()
	f.StringVar(&flags.gate, "gate", "", "YAML file of the gate, or of a policy, in place of the policy that is registered")
	f.StringVar(&flags.champion, "champion", "", "the version, by number or alias, to hold it against; none looks at it alone (default: the one that serves)")
	f.StringVar(&flags.predictions, "predictions", "", "what the candidate made of the dataset's rows")
	f.StringVar(&flags.theirs, "champion-predictions", "", "what the champion made of them")
	f.StringVar(&flags.prediction, "prediction-column", "", "the column of classes or numbers (default prediction)")
	f.StringVar(&flags.score, "score-column", "", "the column of probabilities, or of what ranks (default score)")
	f.StringVar(&flags.by, "by", person(), "who asks")
	flags.reports.add(f)
	command.AddCommand(a.gateListCommand(), a.gateShowCommand())
	return command
}

func (a *app) gate(ctx context.Context, flags gateFlags) error {
	if err := checkOut(flags.reports.out); err != nil {
		return err
	}
	req := driftline.EvaluationRequest{Champion: flags.champion, By: flags.by}
	if flags.gate != "" {
		gate, err := readGate(flags.gate)
		if err != nil {
			return err
		}
		req.Gate = gate
	}
	var found *driftline.Evaluation
	err := a.withServer(ctx, func(c *client.Client) (err error) {
		if req.Predictions, err = a.predictions(ctx, c, flags, flags.predictions, flags.candidateN, &req); err != nil {
			return err
		}
		if req.ChampionPredictions, err = a.predictions(ctx, c, flags, flags.theirs, flags.champion, &req); err != nil {
			return err
		}
		found, err = c.Evaluate(ctx, driftline.ModelName(flags.candidate), flags.candidateN, req)
		return err
	})
	if err != nil {
		return err
	}
	return a.answerEvaluation(flags.reports, found)
}

// answerEvaluation writes what was asked for, and ends as the gate does.
func (a *app) answerEvaluation(flags reportFlags, found *driftline.Evaluation) error {
	forms := reportForms{
		html:     func(w io.Writer) error { return report.EvaluationHTML(w, found) },
		markdown: func(w io.Writer) error { return report.EvaluationMarkdown(w, found) },
		junit:    func(w io.Writer) error { return report.EvaluationJUnit(w, found) },
		rows:     report.EvaluationRows(memory.DefaultAllocator, found),
	}
	if err := writeReports(flags, forms); err != nil {
		return err
	}
	if err := a.printReport(flags, found, forms, func(w io.Writer) error { return printEvaluation(w, found) }); err != nil {
		return err
	}
	if !found.Passed() {
		return errGateClosed
	}
	return nil
}

func printEvaluation(w io.Writer, found *driftline.Evaluation) error {
	view := report.ViewEvaluation(found)
	beside := ""
	if view.Champion != "" {
		beside = " beside " + view.Champion
	}
	fmt.Fprintf(w, "%s: %s%s on %s (%d rows)\n\n", printable(view.Headline), printable(view.Candidate), printable(beside), printable(view.Dataset), found.Rows)
	t := newTable("outcome", "check", "found")
	for _, c := range view.Checks {
		t.add(c.Chip.Text, printable(strings.TrimSpace(c.Name+" "+c.Subject)), printable(c.Message))
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nIt is kept as %s.\n", printable(string(found.ID)))
	return err
}

// readGate reads a gate: a file of one, or the evaluation of a file that has more.
func readGate(path string) (*driftline.EvaluationGate, error) {
	return readValue(path, "the gate", "evaluation", (*driftline.EvaluationGate).Check)
}

// predictions says where predictions are; nil if nothing was said. A local file is logged to a
// run first, under the name of the dataset that it is of.
func (a *app) predictions(ctx context.Context, c *client.Client, flags gateFlags, text, version string, req *driftline.EvaluationRequest) (*driftline.PredictionSource, error) {
	source := &driftline.PredictionSource{Prediction: flags.prediction, Score: flags.score}
	if text == "" {
		if flags.prediction == "" && flags.score == "" {
			return nil, nil
		}
		return source, nil
	}
	from, err := parseSource("predictions", text)
	if err != nil {
		return nil, err
	}
	if source.Table = from.server; from.file == "" {
		return source, nil
	}
	name, err := datasetOfGate(ctx, c, req)
	if err != nil {
		return nil, err
	}
	source.Path = "predictions/" + name + ".parquet"
	source.Run, err = a.logPredictions(ctx, c, flags, version, from.file, source.Path)
	return source, err
}

// datasetOfGate is the gate's dataset with the version that is meant now, which the gate then names.
func datasetOfGate(ctx context.Context, c *client.Client, req *driftline.EvaluationRequest) (string, error) {
	if req.Gate == nil {
		return "", usagef("give the --gate that local predictions are for, or log them to the run as predictions/DATASET@VERSION.parquet")
	}
	ref := req.Gate.Dataset
	if ref.Version == "" {
		dataset, err := c.Dataset(ctx, driftline.DatasetName(ref.Name), 0)
		if err != nil {
			return "", err
		}
		ref = dataset.Ref()
		req.Gate.Dataset = ref
	}
	return ref.Name + "@" + ref.Version, nil
}

// logPredictions logs a file to a run of its own: that of the version may have ended long ago.
func (a *app) logPredictions(ctx context.Context, c *client.Client, flags gateFlags, version, file, path string) (driftline.RunID, error) {
	of, err := c.ModelVersion(ctx, driftline.ModelName(flags.candidate), cmp.Or(version, "champion"))
	if err != nil {
		return "", err
	}
	parquet, remove, err := asParquet(ctx, file)
	if err != nil {
		return "", err
	}
	defer remove()
	content, err := os.Open(parquet)
	if err != nil {
		return "", cannotRead(parquet, err)
	}
	defer content.Close()
	run, err := c.CreateRun(ctx, driftline.RunSpec{Experiment: evaluationsExperiment, Name: fmt.Sprintf("predictions of %s@%d", of.Model, of.Version), User: flags.by})
	if err != nil {
		return "", err
	}
	if _, err := c.PutArtifact(ctx, run.ID, path, content); err != nil {
		_, failed := c.FinishRun(ctx, run.ID, driftline.RunFailed)
		return "", errors.Join(err, failed)
	}
	_, err = c.FinishRun(ctx, run.ID, driftline.RunFinished)
	return run.ID, err
}

// asParquet is a file itself, or a copy of it as Parquet.
func asParquet(ctx context.Context, file string) (path string, remove func(), err error) {
	if strings.EqualFold(filepath.Ext(file), ".parquet") {
		return file, func() {}, nil
	}
	db, err := query.Open(nil)
	if err != nil {
		return "", nil, err
	}
	defer db.Close()
	rows, err := db.ReadFile(ctx, file)
	if err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp("", "driftline-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) } // the system's folder of temporary files
	path = filepath.Join(folder, "predictions.parquet")
	if err := writeRows(path, rows); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

func (a *app) gateListCommand() *cobra.Command {
	var version, limit int
	c := a.tableVerb("list MODEL", "List the evaluations of a model's versions, the newest first", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			found, err := server.Evaluations(ctx, driftline.ModelName(args[0]), version, 0, limit)
			if err != nil {
				return err
			}
			return a.answer(map[string]any{"evaluations": found}, func(w io.Writer) error { return printEvaluations(w, found) })
		})
	c.Flags().IntVar(&version, "version", 0, "only of this version")
	c.Flags().IntVar(&limit, "limit", 0, "at most so many (default 50)")
	return c
}

func printEvaluations(w io.Writer, found []driftline.Evaluation) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "No version was evaluated yet.")
		return err
	}
	t := newTable("evaluation", ">version", ">champion", "outcome", "dataset", ">rows", "when", "by")
	for _, e := range found {
		t.add(printable(string(e.ID)), strconv.Itoa(e.Candidate), versionText(e.Champion), string(e.Outcome), printable(e.Dataset.String()),
			strconv.FormatInt(e.Rows, 10), stamp(e.Time), printable(e.By))
	}
	return t.print(w)
}

func (a *app) gateShowCommand() *cobra.Command {
	var reports reportFlags
	c := a.tableVerb("show EVALUATION", "Show an evaluation again; it ends as it did then", 1,
		func(ctx context.Context, server *client.Client, args []string) error {
			found, err := server.Evaluation(ctx, driftline.EvaluationID(args[0]))
			if err != nil {
				return err
			}
			return a.answerEvaluation(reports, found)
		})
	c.Example = "  driftline gate show late_departure-3 --html report.html"
	reports.add(c.Flags())
	return c
}
