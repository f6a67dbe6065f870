package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/report"
	"github.com/spf13/cobra"
)

// performanceFlags are what driftline performance was asked.
type performanceFlags struct {
	reference, window string
	options           driftline.PerformanceOptions
	reports           reportFlags

	by      []string          // of a model
	metrics map[string]string // likewise
}

func (a *app) performanceCommand() *cobra.Command {
	var flags performanceFlags
	command := &cobra.Command{
		Use:   "performance SOURCE --task TASK",
		Short: "Measure a model window by window, and say why it does worse",
		Long: "Measure a model from a table of its predictions: each metric with its interval, by the labels that are known so\n" +
			"far and as estimated without them; whether it fell, and why: other inputs or another relationship, which\n" +
			"columns, which rows. docs/statistics.md says what is assumed.\n\n" +
			"A source is a local file (.parquet, .csv, .arrow), dataset/NAME[@VERSION], view/NAME, or a SELECT. Local files\n" +
			"need no server. model/NAME is the model's prediction log with the labels that are known by now: its columns are known,\n" +
			"--task may be left out, and --by and --metric apply.\n\n" +
			"Exit code: 0 it did not fall, 3 a metric fell, 1 it failed.",
		Example: "  driftline performance scored.parquet --reference test.parquet --task classification \\\n" +
			"    --prediction predicted --score probability --label late --time event_timestamp --window 7d --html performance.html\n" +
			"  driftline performance model/late_departure --by model_version,arm --metric 'cost=sum(CASE WHEN label = 1 AND prediction = 0 THEN 100 ELSE 1 END)'",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			window, err := driftline.ParseDuration(flags.window)
			if err != nil {
				return err
			}
			flags.options.Window = window
			if model, ok := strings.CutPrefix(args[0], "model/"); ok {
				return a.performanceOfModel(c.Context(), driftline.ModelName(model), flags)
			}
			if len(flags.by)+len(flags.metrics) > 0 {
				return usagef("--by and --metric are for model/NAME")
			}
			return a.performance(c.Context(), args[0], flags)
		},
	}
	options := &flags.options
	command.Flags().StringVar(&flags.reference, "reference", "", "rows with labels from when the model did well, such as its test set")
	command.Flags().StringVar(&options.Task, "task", "", "classification, regression or ranking")
	command.Flags().StringVar(&options.Prediction, "prediction", "", "column of predictions: classes 0 and 1, or numbers")
	command.Flags().StringVar(&options.Score, "score", "", "column of probabilities of class 1, or of what ranks")
	command.Flags().StringVar(&options.Label, "label", "", "column of the truth, null while it is not known")
	command.Flags().StringVar(&options.Group, "group", "", "column that says which rows of a ranking are one list")
	command.Flags().StringVar(&options.Time, "time", "", "column of the prediction's time (default: one window)")
	command.Flags().StringVar(&flags.window, "window", "1d", "length of a window")
	command.Flags().StringSliceVar(&options.Inputs, "inputs", nil, "columns that may explain a fall (default: all others)")
	command.Flags().Float64Var(&options.Alpha, "alpha", 0.05, "one minus the confidence of intervals")
	command.Flags().StringSliceVar(&flags.by, "by", nil, "of model/NAME: measure apart by these columns, such as model_version or arm")
	command.Flags().StringToStringVar(&flags.metrics, "metric", nil, "of model/NAME: NAME=AGGREGATE, a metric of one's own in SQL")
	flags.reports.add(command.Flags())
	return command
}

func (a *app) performanceOfModel(ctx context.Context, model driftline.ModelName, flags performanceFlags) error {
	req := driftline.ModelPerformanceRequest{By: flags.by, Task: flags.options.Task, Group: flags.options.Group,
		Window: flags.options.Window, Alpha: flags.options.Alpha, Metrics: flags.metrics}
	if flags.reference != "" {
		reference, err := parseSource("reference", flags.reference)
		if err != nil {
			return err
		}
		if reference.file != "" {
			return usagef("--reference is the local file %s, and the predictions are at the server", reference.file)
		}
		req.Reference = reference.server
	}
	return a.modelPerformance(ctx, model, req)
}

func (a *app) performance(ctx context.Context, text string, flags performanceFlags) error {
	if err := checkOut(flags.reports.out); err != nil {
		return err
	}
	from, err := parseSource("source", text)
	if err != nil {
		return err
	}
	sources := []source{from}
	if flags.reference != "" {
		reference, err := parseSource("reference", flags.reference)
		if err != nil {
			return err
		}
		sources = append(sources, reference)
	}
	outcome, err := a.measure(ctx, sources, flags.options)
	if err != nil {
		return err
	}
	forms := performanceForms(outcome)
	if err := writeReports(flags.reports, forms); err != nil {
		return err
	}
	if err := a.printReport(flags.reports, outcome, forms, func(w io.Writer) error { return printPerformance(w, outcome) }); err != nil {
		return err
	}
	if outcome.Fell {
		return errDrift
	}
	return nil
}

func performanceForms(outcome *driftline.PerformanceReport) reportForms {
	return reportForms{
		html:     func(w io.Writer) error { return report.PerformanceHTML(w, outcome) },
		markdown: func(w io.Writer) error { return report.PerformanceMarkdown(w, outcome) },
		junit:    func(w io.Writer) error { return report.PerformanceJUnit(w, outcome) },
		rows:     report.PerformanceRows(memory.DefaultAllocator, outcome),
	}
}

// measure measures the model of a source, beside a reference if there is a second one.
func (a *app) measure(ctx context.Context, sources []source, options driftline.PerformanceOptions) (report *driftline.PerformanceReport, err error) {
	err = a.withTables(ctx, sources, func(c *client.Client) (err error) {
		request := driftline.PerformanceRequest{Source: sources[0].server, PerformanceOptions: options}
		if len(sources) > 1 {
			request.Reference = sources[1].server
		}
		report, err = c.Performance(ctx, request)
		return err
	}, func(_ *query.DB, tables []opened) (err error) {
		var reference *driftline.Batches
		if len(tables) > 1 {
			reference = &tables[1].rows
		}
		if report, err = engine.Performance(ctx, tables[0].rows, reference, options); err != nil {
			return err
		}
		report.Source.Name = tables[0].name
		if report.Reference != nil {
			report.Reference.Name = tables[1].name
		}
		return nil
	})
	return report, err
}

func printPerformance(w io.Writer, report *driftline.PerformanceReport) error {
	fmt.Fprintf(w, "%s: %d rows", printable(report.Source.Name), report.Source.Rows)
	if report.Reference != nil {
		fmt.Fprintf(w, ", reference %s: %d rows", printable(report.Reference.Name), report.Reference.Rows)
	}
	fmt.Fprintf(w, "\n\n")
	t := newTable("window", ">rows", ">labels", "metric", "measured", "estimated", "combined")
	for _, window := range report.Windows {
		start := "all"
		if !window.Start.IsZero() {
			start = window.Start.Format(time.RFC3339)
		}
		for _, m := range window.Metrics {
			t.add(start, strconv.FormatInt(window.Rows, 10), strconv.FormatInt(window.Labels, 10), m.Metric,
				intervalText(m.Measured), intervalText(m.Estimated), intervalText(m.Combined))
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable("metric", ">first windows", ">recent windows", "before", "recent", "verdict")
	for _, m := range report.Metrics {
		verdict := "-"
		switch {
		case m.Fell && m.Worse:
			verdict = "fell, and is worse"
		case m.Fell:
			verdict = "fell"
		case m.Worse:
			verdict = "is worse"
		}
		t.add(m.Metric, figure(m.First), figure(m.Recent), intervalText(m.Before), intervalText(m.After), verdict)
	}
	if err := t.print(w); err != nil {
		return err
	}
	if report.Explanation != nil {
		if err := printExplanation(w, report.Explanation); err != nil {
			return err
		}
	}
	for _, note := range report.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(note))
	}
	return nil
}

func printExplanation(w io.Writer, e *driftline.PerformanceExplanation) error {
	fmt.Fprintf(w, "\n%s: %s before, %s now; by other inputs %s, by another relationship %s\n\n",
		e.Loss, figure(e.Before), figure(e.After), intervalText(&e.Inputs), intervalText(&e.Relationship))
	t := newTable("input", ">change of the loss")
	for _, c := range e.Causes {
		t.add(printable(c.Column), figure(c.Change))
	}
	if err := t.print(w); err != nil {
		return err
	}
	if len(e.Segments) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t = newTable("worst rows", ">rows", ">loss before", ">loss now", ">q-value", "such as row")
	for _, s := range e.Segments {
		var examples []string
		for _, example := range s.Examples {
			examples = append(examples, strconv.FormatInt(example.Row, 10))
		}
		t.add(printable(strings.Join(s.Conditions, " and ")), strconv.FormatInt(s.Rows, 10), figure(s.Before), figure(s.After),
			figure(s.QValue), strings.Join(examples, ", "))
	}
	return t.print(w)
}

func intervalText(i *driftline.Interval) string {
	if i == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s … %s)", figure(i.Value), figure(i.Low), figure(i.High))
}
