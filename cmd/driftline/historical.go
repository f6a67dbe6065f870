package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/query"
	"github.com/spf13/cobra"
)

// historicalFlags are what driftline historical was asked.
type historicalFlags struct {
	request driftline.HistoricalRequest

	spine, sql, dataset string
	since               string
	start, end          string
	service, saveAs     string
	features            []string
	split, splitBy      string
	seed                uint64
	out, format         string
}

func (a *app) historicalCommand() *cobra.Command {
	var f historicalFlags
	command := &cobra.Command{
		Use:   "historical",
		Short: "Join features to rows of keys and times, as they were known then",
		Long: "Make a training set: the features of each row of a spine, as of the time of the row.\n" +
			"The spine is a local file (.parquet, .csv, .arrow), a SELECT that the server runs, the spine of a saved\n" +
			"training set, or, with --start and --end, every (keys, event time) that the views have in between.\n\n" +
			"A feature is view:feature, or view:feature@1h for its value an hour earlier.\n" +
			"--split divides a saved set by fractions, or by times: each part's rows are before its own.",
		Example: "  driftline historical --spine flights.parquet --features weather:temp,weather:temp@1h --out train.parquet\n" +
			"  driftline historical --sql \"SELECT airport, event_timestamp FROM features.weather\" --service delay_model \\\n" +
			"    --save-as late_departure --split train=0.8,test=0.2 --split-by time\n" +
			"  driftline historical --start 2013-01-01 --end 2013-02-01 --features weather:temp",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.historical(c.Context(), f) },
	}
	flags := command.Flags()
	flags.StringVar(&f.spine, "spine", "", "file with the spine: join keys, a time, any other columns")
	flags.StringVar(&f.sql, "sql", "", "SELECT that gives the spine")
	flags.StringVar(&f.dataset, "dataset", "", "saved training set whose spine is used: NAME[@VERSION]")
	flags.StringVar(&f.start, "start", "", "first event time of a range without a spine")
	flags.StringVar(&f.end, "end", "", "last event time of a range without a spine")
	flags.StringVar(&f.since, "since", "", "only rows that came since this version of a training set was made: NAME[@VERSION]")
	flags.StringSliceVar(&f.features, "features", nil, "features as view:feature or view:feature@lag, separated by commas")
	flags.StringVar(&f.service, "service", "", "feature service, instead of --features")
	flags.StringVar(&f.request.EventTimestamp, "event-timestamp", "", "the spine's column with the time (default event_timestamp)")
	flags.BoolVar(&f.request.FullFeatureNames, "full-feature-names", false, "name columns view__feature")
	flags.BoolVar(&f.request.KnownAt, "known-at", false, "ignore rows that were written down after the row's time")
	flags.BoolVar(&f.request.Strict, "strict", false, "use rows before the row's time, not those at it")
	flags.StringVar(&f.saveAs, "save-as", "", "keep the answer as the next version of this dataset")
	flags.StringVar(&f.split, "split", "", "parts of the saved set: train=0.8,test=0.2, or train=2013-09-01,test by time")
	flags.StringVar(&f.splitBy, "split-by", "random", "random, time, or group:COLUMN to keep equal values together")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of a random or group split")
	flags.StringVar(&f.out, "out", "", "write the rows to a file: .parquet, .arrow, .csv or .json")
	addFormat(command, &f.format)
	return command
}

func (a *app) historical(ctx context.Context, f historicalFlags) error {
	if err := f.complete(); err != nil {
		return err
	}
	return a.withServer(ctx, func(c *client.Client) error {
		var rows driftline.Batches
		if f.spine != "" {
			db, err := query.Open(nil)
			if err != nil {
				return err
			}
			defer db.Close() // it read a file: nothing is lost
			if rows, err = db.ReadFile(ctx, f.spine); err != nil {
				return err
			}
		}
		set, err := c.Historical(ctx, f.request, rows)
		if err != nil {
			return err
		}
		defer set.Close()
		return a.takeSet(set, f)
	})
}

// takeSet does with the rows what was asked; if that was not to print them, it says
// what is known of them.
func (a *app) takeSet(set *client.TrainingSet, f historicalFlags) error {
	rows, done := a.progress(set.Batches, "training set", -1)
	err := a.consume(rows, f)
	done()
	if err != nil {
		return err
	}
	if f.out == "" && f.saveAs == "" {
		return nil // the rows are the answer
	}
	report := set.Report()
	return a.answer(report, func(w io.Writer) error { return printReport(w, report, f.out) })
}

func (a *app) consume(rows driftline.Batches, f historicalFlags) error {
	if f.out == "" && f.saveAs != "" {
		return drain(rows)
	}
	return a.putRows(rows, f.out, f.format)
}

func drain(rows driftline.Batches) error {
	for _, err := range rows.All {
		if err != nil {
			return err
		}
	}
	return nil
}

func printReport(w io.Writer, report driftline.HistoricalReport, out string) error {
	var late int64
	for _, c := range report.Columns {
		late += c.NotYetKnown
	}
	line := strconv.FormatInt(report.Rows, 10) + " rows"
	if report.Dataset != nil {
		line += " saved as " + report.Dataset.Ref().String()
	}
	if out != "" {
		line += " written to " + out
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	if late > 0 {
		_, err := fmt.Fprintf(w, "%d values were not yet known at their row's time: --known-at leaves them out\n", late)
		return err
	}
	return nil
}

// complete makes the request of the flags.
func (f *historicalFlags) complete() error {
	if (f.service == "") == (len(f.features) == 0) {
		return usagef("give either --features or --service")
	}
	f.request.Service, f.request.SaveAs = driftline.ServiceName(f.service), driftline.DatasetName(f.saveAs)
	return errors.Join(f.completeFeatures(), f.completeSpine(), f.completeSplit(), checkOut(f.out))
}

func (f *historicalFlags) completeFeatures() error {
	set, err := driftline.ParseFeatures(f.features)
	f.request.Features, f.request.Projections = set.Features, set.Projections
	return err
}

func (f *historicalFlags) completeSpine() error {
	given := 0
	for _, is := range []bool{f.spine != "", f.sql != "", f.dataset != "", f.start != "" || f.end != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return usagef("give one spine: --spine FILE, --sql SELECT, --dataset NAME, or --start and --end")
	}
	switch {
	case f.sql != "":
		f.request.Spine = &driftline.SpineSource{SQL: f.sql}
	case f.dataset != "":
		name, version, err := parseVersioned(strings.TrimPrefix(f.dataset, "dataset/"))
		if err != nil {
			return err
		}
		f.request.Spine = &driftline.SpineSource{Dataset: driftline.DatasetRef(driftline.DatasetName(name), version)}
	case f.spine == "":
		start, err := flagTime("start", f.start)
		if err != nil {
			return err
		}
		end, err := flagTime("end", f.end)
		if err != nil {
			return err
		}
		f.request.Spine = &driftline.SpineSource{Range: &driftline.TimeRange{Start: start, End: end}}
	}
	return f.completeSince()
}

// completeSince says since when rows of a spine that the server finds are wanted.
func (f *historicalFlags) completeSince() error {
	if f.since == "" {
		return nil
	}
	if f.request.Spine == nil {
		return usagef("--since is for a spine that the server finds: --sql, --dataset, or --start and --end")
	}
	name, version, err := parseVersioned(strings.TrimPrefix(f.since, "dataset/"))
	f.request.Spine.Since = driftline.DatasetRef(driftline.DatasetName(name), version)
	return err
}

func flagTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, ok := parseTime(text); ok {
		return t, nil
	}
	return time.Time{}, usagef("--%s is %q, want a time like 2013-01-31T15:00:00Z", flag, text)
}

func (f *historicalFlags) completeSplit() error {
	if f.split == "" {
		return nil
	}
	kind, column, _ := strings.Cut(f.splitBy, ":")
	split := &driftline.SplitSpec{Kind: driftline.SplitKind(kind), Column: column, Seed: f.seed}
	for _, text := range strings.Split(f.split, ",") {
		name, value, _ := strings.Cut(text, "=")
		part := driftline.SplitPart{Name: name}
		if fraction, err := strconv.ParseFloat(value, 64); err == nil {
			part.Fraction = fraction
		} else if t, ok := parseTime(value); ok {
			part.Until = t
		} else if value != "" {
			return usagef("--split has %q, want name=fraction, or name=time for a part that ends there", text)
		}
		split.Parts = append(split.Parts, part)
	}
	f.request.Split = split
	return nil
}
