package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) datasetCommand() *cobra.Command {
	var rows bool
	var format, part, out string
	command := &cobra.Command{
		Use:   "dataset [NAME[@VERSION]]",
		Short: "List saved training sets, describe one, or print its rows",
		Example: "  driftline dataset\n  driftline dataset late_departure@1\n" +
			"  driftline dataset late_departure --rows --format csv > late.csv\n" +
			"  driftline dataset late_departure --rows --split train --out train.parquet\n" +
			"  driftline dataset rebuild late_departure@1",
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.withServer(c.Context(), func(server *client.Client) error { return a.listDatasets(c.Context(), server) })
			}
			if !rows && part == "" && out == "" {
				return a.showDataset(c.Context(), args[0])
			}
			return a.withDataset(c.Context(), args[0], func(server *client.Client, name driftline.DatasetName, version int) error {
				read, err := readDataset(c.Context(), server, name, version, part)
				if err != nil {
					return err
				}
				return a.putRows(read, out, format)
			})
		},
	}
	command.Flags().BoolVar(&rows, "rows", false, "print the rows")
	command.Flags().StringVar(&part, "split", "", "only the rows of one part")
	command.Flags().StringVar(&out, "out", "", "write the rows to a file: .parquet, .arrow, .csv or .json")
	addFormat(command, &format)
	command.AddCommand(a.datasetShowCommand(), a.datasetRebuildCommand())
	return command
}

func (a *app) datasetShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME[@VERSION]",
		Short:   "Describe a saved training set and each of its columns",
		Example: "  driftline dataset show late_departure@1\n  driftline dataset show late_departure --json",
		Args:    exactly(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.showDataset(c.Context(), args[0]) },
	}
}

func (a *app) datasetRebuildCommand() *cobra.Command {
	var out string
	command := &cobra.Command{
		Use:   "rebuild NAME[@VERSION]",
		Short: "Make a saved training set again and compare",
		Long: "Make a saved training set again, from its spine and the snapshots that it pins, whatever was written since,\n" +
			"and compare the content. The saved rows are not touched.\n\n" +
			"Exit code: 0 it is the same byte for byte, 1 it is not, or a snapshot is gone, or an erasure took rows out.",
		Example: "  driftline dataset rebuild late_departure@1\n  driftline dataset rebuild late_departure@1 --out again.parquet",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDataset(c.Context(), args[0], func(server *client.Client, name driftline.DatasetName, version int) error {
				return a.rebuildDataset(c.Context(), server, name, version, out)
			})
		},
	}
	command.Flags().StringVar(&out, "out", "", "write the rows that were made to a file: .parquet, .arrow, .csv or .json")
	return command
}

func (a *app) withDataset(ctx context.Context, text string, f func(*client.Client, driftline.DatasetName, int) error) error {
	name, version, err := parseVersioned(text)
	if err != nil {
		return err
	}
	return a.withServer(ctx, func(server *client.Client) error { return f(server, driftline.DatasetName(name), version) })
}

func readDataset(ctx context.Context, server *client.Client, name driftline.DatasetName, version int, part string) (driftline.Batches, error) {
	if part != "" {
		return server.ReadPart(ctx, name, version, part)
	}
	return server.ReadDataset(ctx, name, version)
}

func (a *app) rebuildDataset(ctx context.Context, server *client.Client, name driftline.DatasetName, version int, out string) error {
	outcome, err := server.Rebuild(ctx, name, version)
	if err != nil {
		return err
	}
	if err := a.answer(outcome, func(w io.Writer) error {
		verdict := "the same as the saved rows, byte for byte"
		if !outcome.Equal {
			verdict = "NOT the same as the saved rows"
		}
		_, err := fmt.Fprintf(w, "%s: %d rows made again, content %s: %s\n", outcome.Dataset, outcome.Rows, outcome.ContentHash, verdict)
		return err
	}); err != nil {
		return err
	}
	if !outcome.Equal {
		return driftline.Errorf(driftline.DataLoss, "dataset %q came out differently", outcome.Dataset).
			WithHint("the saved rows stand; report this, with the output of driftline dataset show --json")
	}
	if out == "" {
		return nil
	}
	rows, err := server.ReadRebuilt(ctx, name, version)
	if err != nil {
		return err
	}
	return writeRows(out, rows)
}

// parseVersioned reads name or name@version.
func parseVersioned(text string) (name string, version int, err error) {
	name, digits, ok := strings.Cut(text, "@")
	if !ok {
		return name, 0, nil
	}
	version, err = strconv.Atoi(digits)
	if err != nil || version < 1 {
		return "", 0, usagef("%q is not a version: write name@1", text)
	}
	return name, version, nil
}

func (a *app) listDatasets(ctx context.Context, server *client.Client) error {
	datasets, err := server.Datasets(ctx)
	if err != nil {
		return err
	}
	return a.answer(map[string]any{"datasets": datasets}, func(w io.Writer) error {
		if len(datasets) == 0 {
			_, err := fmt.Fprintln(w, "No dataset is saved yet: ask for a training set with save_as.")
			return err
		}
		t := newTable("dataset", ">rows", ">columns", "views", "saved")
		for _, d := range datasets {
			var views []string
			for _, pin := range d.Report.Pins {
				views = append(views, string(pin.View))
			}
			t.add(fmt.Sprintf("%s@%d", d.Name, d.Version), strconv.FormatInt(d.Report.Rows, 10),
				strconv.Itoa(len(d.Report.Columns)), strings.Join(views, ", "), stamp(d.Created))
		}
		return t.print(w)
	})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func (a *app) showDataset(ctx context.Context, text string) error {
	return a.withDataset(ctx, text, func(server *client.Client, name driftline.DatasetName, version int) error {
		d, err := server.Dataset(ctx, name, version)
		if err != nil {
			return err
		}
		return a.answer(d, func(w io.Writer) error { return printDataset(w, d) })
	})
}

func printDataset(w io.Writer, d *driftline.Dataset) error {
	fmt.Fprintf(w, "%s@%d: %d rows, saved %s, content %s\n\n", d.Name, d.Version, d.Report.Rows, stamp(d.Created), d.ContentHash)
	if err := columnTable(d).print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if d.Request.Split != nil {
		parts := newTable("part of the "+string(d.Request.Split.Kind)+" split", ">rows")
		for _, p := range d.Request.Split.Parts {
			parts.add(p.Name, strconv.FormatInt(p.Rows, 10))
		}
		if err := parts.print(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	pins := newTable("view", "snapshot")
	for _, pin := range d.Report.Pins {
		pins.add(string(pin.View), strconv.FormatInt(int64(pin.Snapshot), 10))
	}
	return pins.print(w)
}

// columnTable describes every column, the spine's too.
func columnTable(d *driftline.Dataset) *table {
	unknown := map[string]string{}
	for _, c := range d.Report.Columns {
		unknown[c.Column] = strconv.FormatInt(c.NotYetKnown, 10)
	}
	t := newTable("column", "type", ">nulls", ">not yet known", ">min", ">mean", ">max", ">distinct", "most frequent")
	for _, c := range d.Statistics {
		top := ""
		if len(c.Top) > 0 {
			top = printable(c.Top[0].Value) + " ×" + strconv.FormatInt(c.Top[0].Count, 10)
		}
		t.add(printable(c.Column), c.Type, strconv.FormatInt(c.Nulls, 10), unknown[c.Column],
			statistic(c, c.Min), statistic(c, c.Mean), statistic(c, c.Max), distinct(c), top)
	}
	if len(d.Statistics) == 0 { // saved before there were any
		for _, c := range d.Report.Columns {
			t.add(printable(c.Column), c.Type, strconv.FormatInt(c.Nulls, 10), unknown[c.Column], "", "", "", "", "")
		}
	}
	return t
}

// statistic writes a number, or the time that it stands for.
func statistic(c driftline.ColumnStatistics, n *driftline.Number) string {
	switch {
	case n == nil:
		return ""
	case strings.HasPrefix(c.Type, "timestamp"), strings.HasPrefix(c.Type, "date"):
		return stamp(time.UnixMicro(int64(*n)))
	}
	return strconv.FormatFloat(float64(*n), 'g', 6, 64)
}

func distinct(c driftline.ColumnStatistics) string {
	switch {
	case c.MoreDistinct:
		return ">" + strconv.FormatInt(c.Distinct, 10)
	case c.Distinct > 0:
		return strconv.FormatInt(c.Distinct, 10)
	}
	return ""
}
