package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) whyCommand() *cobra.Command {
	var ask driftline.PredictionQuery
	var log string
	command := &cobra.Command{
		Use:   "why PREDICTION",
		Short: "Trace a prediction to the model, the run and the rows that it comes from",
		Long: "Trace a prediction, by its id in a prediction log: which model version made it, which run made that, which training\n" +
			"sets the run read, and of those the files and rows; beside it what the model was served and what the offline store\n" +
			"has for the same time. A feature view is a prediction log if it says which of its columns are what:\n\n" +
			"  predictions: {id: prediction_id, model: model, version: model_version}\n\n" +
			"A further column called like a feature (temp, or weather__temp) is the value served, and one called like a join\n" +
			"key says for which entity.",
		Example: "  driftline why p-20130131-0042\n  driftline why 77 --log delay_predictions --rows 20 --json",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if ask.Rows < 1 {
				return usagef("--rows is %d, want 1 or more", ask.Rows)
			}
			ask.Prediction, ask.Log = args[0], driftline.ViewName(log)
			return a.withServer(c.Context(), func(server *client.Client) error {
				trace, err := server.Why(c.Context(), ask)
				if err != nil {
					return err
				}
				return a.answer(trace, func(w io.Writer) error { return printTrace(w, trace) })
			})
		},
	}
	command.Flags().StringVar(&log, "log", "", "the feature view that is the prediction log (default: all are searched)")
	command.Flags().IntVar(&ask.Rows, "rows", 5, "how many training rows to show of each dataset")
	return command
}

func printTrace(w io.Writer, t *driftline.PredictionTrace) error {
	paint := painter(w)
	step := func(indent int, name, text string) {
		line := strings.Repeat("   ", indent) + paint(bold, printable(name)) + "  " + printable(text)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	step(0, "prediction "+t.Prediction, fmt.Sprintf("in %s, made %s", t.Log, stamp(t.Time)))
	if t.Rollout != (driftline.Ref{}) {
		step(1, t.Rollout.String(), "dealt the request to its "+string(t.Arm))
	}
	if t.Model != (driftline.Ref{}) {
		step(1, t.Model.String(), aboutModel(t))
	}
	if t.Run != (driftline.Ref{}) {
		step(2, t.Run.String(), prefixed("commit ", t.Commit))
	}
	for _, d := range t.Datasets {
		step(3, d.Dataset.String(), fmt.Sprintf("%d rows, content %s", d.Rows, d.ContentHash))
		printTracedFiles(w, 4, d.Files)
		for _, s := range d.Sources {
			step(4, s.Snapshot.String(), fmt.Sprintf("of view %s, %s", s.View, counted(len(s.Files), "file")))
			printTracedFiles(w, 5, s.Files)
		}
	}
	if err := printTracedFeatures(w, t.Features); err != nil {
		return err
	}
	for _, d := range t.Datasets {
		if err := printTracedRows(w, &d); err != nil {
			return err
		}
	}
	for _, note := range t.Notes {
		fmt.Fprintf(w, "\n%s %s\n", paint(dim, "note:"), printable(note))
	}
	return nil
}

func aboutModel(t *driftline.PredictionTrace) string {
	words := []string{}
	for _, alias := range t.Aliases {
		words = append(words, "@"+string(alias))
	}
	if t.SHA256 != "" {
		words = append(words, "sha256 "+t.SHA256)
	}
	return strings.Join(words, "  ")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// shownFiles is how many files of a table are printed; --json has all.
const shownFiles = 8

func printTracedFiles(w io.Writer, indent int, files []driftline.TracedFile) {
	lead := strings.Repeat("   ", indent)
	for i, f := range files {
		if i == shownFiles {
			fmt.Fprintf(w, "%sand %d more files (--json has all)\n", lead, len(files)-i)
			return
		}
		fmt.Fprintf(w, "%s%s  rows 0 to %d\n", lead, printable(f.File.String()), f.Rows-1)
	}
}

func printTracedFeatures(w io.Writer, features []driftline.TracedFeature) error {
	if len(features) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable("feature", ">served", ">known then", ">known by now", "", "from")
	for _, f := range features {
		served, verdict := valueOr(f.Served, "NULL"), ""
		switch {
		case !f.Logged:
			served = "not logged"
		case f.Differs:
			verdict = "differs"
		}
		t.add(printable(f.Name), served, valueOr(f.Known, "NULL"), valueOr(f.Offline, "NULL"), verdict, fileRowText(f.Source))
	}
	return t.print(w)
}

func valueOr(value *string, missing string) string {
	if value == nil {
		return missing
	}
	return printable(*value)
}

func fileRowText(r *driftline.FileRow) string {
	if r == nil {
		return ""
	}
	return printable(fmt.Sprintf("%s %s row %d", r.View, shortHash(r.File.Version), r.Row))
}

func printTracedRows(w io.Writer, d *driftline.TracedDataset) error {
	if len(d.Keys) == 0 {
		return nil
	}
	var keys []string
	for _, name := range slices.Sorted(maps.Keys(d.Keys)) {
		keys = append(keys, name+"="+d.Keys[name])
	}
	fmt.Fprintf(w, "\n%s of %s with %s", counted(int(d.SameEntity), "training row"), d.Dataset, printable(strings.Join(keys, " ")))
	if d.SameEntity > int64(len(d.Examples)) {
		fmt.Fprintf(w, "; the first %d", len(d.Examples))
	}
	fmt.Fprintln(w, ":")
	if len(d.Examples) == 0 {
		return nil
	}
	t := newTable(">row", "file", ">file row", "values", "features from")
	for _, row := range d.Examples {
		var values, sources []string
		for _, name := range slices.Sorted(maps.Keys(row.Values)) {
			values = append(values, name+"="+row.Values[name])
		}
		for _, s := range row.Sources {
			sources = append(sources, fileRowText(&s))
		}
		t.add(fmt.Sprint(row.Row), printable(shortHash(row.File.Version)), fmt.Sprint(row.FileRow), printable(strings.Join(values, " ")), strings.Join(sources, ", "))
	}
	return t.print(w)
}

func shortHash(hash string) string { return hash[:min(12, len(hash))] }
