package main

import (
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
	var head bool
	var format string
	command := &cobra.Command{
		Use:   "dataset [NAME[@VERSION]]",
		Short: "List saved training sets, describe one, or print its rows",
		Example: "  driftline dataset\n  driftline dataset late_departure@1\n" +
			"  driftline dataset late_departure --rows --format csv > late.csv",
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				if len(args) == 0 {
					return a.listDatasets(c, server)
				}
				name, version, err := parseVersioned(args[0])
				if err != nil {
					return err
				}
				if !head {
					return a.describeDataset(c, server, driftline.DatasetName(name), version)
				}
				rows, err := server.ReadDataset(c.Context(), driftline.DatasetName(name), version)
				if err != nil {
					return err
				}
				return printRows(a.stdout, rows, a.format(format))
			})
		},
	}
	command.Flags().BoolVar(&head, "rows", false, "print the rows")
	addFormat(command, &format)
	return command
}

// addFormat adds --format and checks it before the command runs.
func addFormat(command *cobra.Command, format *string) {
	command.Flags().StringVar(format, "format", "table", "table, csv or json")
	command.PreRunE = func(*cobra.Command, []string) error {
		switch *format {
		case "table", "csv", "json":
			return nil
		}
		return usagef("--format is %q, want table, csv or json", *format)
	}
}

func (a *app) format(chosen string) string {
	if a.asJSON {
		return "json"
	}
	return chosen
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

func (a *app) listDatasets(c *cobra.Command, server *client.Client) error {
	datasets, err := server.Datasets(c.Context())
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

func (a *app) describeDataset(c *cobra.Command, server *client.Client, name driftline.DatasetName, version int) error {
	d, err := server.Dataset(c.Context(), name, version)
	if err != nil {
		return err
	}
	return a.answer(d, func(w io.Writer) error {
		fmt.Fprintf(w, "%s@%d: %d rows, saved %s, content %s\n\n", d.Name, d.Version, d.Report.Rows, stamp(d.Created), d.ContentHash)
		t := newTable("column", "type", ">nulls", ">not yet known")
		for _, column := range d.Report.Columns {
			t.add(column.Column, column.Type, strconv.FormatInt(column.Nulls, 10), strconv.FormatInt(column.NotYetKnown, 10))
		}
		if err := t.print(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
		pins := newTable("view", "snapshot")
		for _, pin := range d.Report.Pins {
			pins.add(string(pin.View), strconv.FormatInt(int64(pin.Snapshot), 10))
		}
		return pins.print(w)
	})
}

func (a *app) sqlCommand() *cobra.Command {
	var format string
	command := &cobra.Command{
		Use:   "sql [SELECT]",
		Short: "Ask one SELECT over features.*, datasets.* and meta.*",
		Long:  "Ask the server one SELECT over its feature views (features.*), saved training sets (datasets.*) and registry (meta.*).\nWithout an argument the query is read from stdin.",
		Example: "  driftline sql \"SELECT airport, max(temp) FROM features.weather GROUP BY ALL\"\n" +
			"  driftline sql --format csv < query.sql > answer.csv",
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.queryText(args)
			if err != nil {
				return err
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				rows, err := server.SQL(c.Context(), text)
				if err != nil {
					return err
				}
				return printRows(a.stdout, rows, a.format(format))
			})
		},
	}
	addFormat(command, &format)
	return command
}

func (a *app) queryText(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	text, err := io.ReadAll(a.stdin)
	if err != nil {
		return "", driftline.Errorf(driftline.Invalid, "the query cannot be read from stdin: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", usagef("there is no query: give it as an argument or on stdin")
	}
	return string(text), nil
}
