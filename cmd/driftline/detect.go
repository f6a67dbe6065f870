package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
	"github.com/spf13/cobra"
)

func (a *app) detectCommand() *cobra.Command {
	var options driftline.DetectOptions
	var parameters []string
	command := &cobra.Command{
		Use:   "detect SOURCE",
		Short: "Find where a stream of numbers changed: a model's errors, a metric",
		Long: "Watch a column row by row, in the order of the rows, and say where it changed. docs/statistics.md says what\n" +
			"each detector is for.\n\n" +
			"A source is a local file (.parquet, .csv, .arrow), dataset/NAME[@VERSION], view/NAME, or a SELECT, which may\n" +
			"order the rows. A local file needs no server.\n\n" +
			"Exit code: 0 no change, 3 a change was found, 1 it failed.",
		Example: "  driftline detect errors.csv --column wrong\n" +
			"  driftline detect \"SELECT abs(delay - predicted) AS error FROM datasets.scored ORDER BY event_timestamp\" --detector adwin",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, text := range parameters {
				name, value, _ := strings.Cut(text, "=")
				number, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return usagef("--set is %q, want NAME=NUMBER", text)
				}
				if options.Parameters == nil {
					options.Parameters = map[string]float64{}
				}
				options.Parameters[name] = number
			}
			return a.detect(c.Context(), args[0], options)
		},
	}
	command.Flags().StringVar(&options.Column, "column", "", "column to watch (default: the only one)")
	command.Flags().StringVar(&options.Detector, "detector", "scan", "scan, adwin, ddm, eddm, hddm_a, hddm_w, page_hinkley, cusum or kswin")
	command.Flags().StringArrayVar(&parameters, "set", nil, "a parameter of the detector, as NAME=NUMBER")
	return command
}

func (a *app) detect(ctx context.Context, text string, options driftline.DetectOptions) error {
	from, err := parseSource("source", text)
	if err != nil {
		return err
	}
	var report *driftline.DetectReport
	err = a.withTables(ctx, []source{from}, nil, func(_ *query.DB, tables []opened) (err error) {
		if report, err = engine.Detect(ctx, tables[0].rows, options); err == nil {
			report.Source = tables[0].name
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := a.answer(report, func(w io.Writer) error { return printStreamChanges(w, report) }); err != nil {
		return err
	}
	if len(report.Changes) > 0 {
		return errDrift
	}
	return nil
}

func printStreamChanges(w io.Writer, report *driftline.DetectReport) error {
	fmt.Fprintf(w, "%s: column %s, %d rows, %d missing, detector %s\n",
		printable(report.Source), printable(report.Column), report.Rows, report.Missing, report.Detector)
	if len(report.Changes) == 0 {
		_, err := fmt.Fprintln(w, "no change")
		return err
	}
	t := newTable(">found at row", ">changed at about")
	for _, change := range report.Changes {
		t.add(strconv.FormatInt(change.Row, 10), strconv.FormatInt(change.Since, 10))
	}
	return t.print(w)
}
