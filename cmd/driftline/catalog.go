package main

import (
	"io"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

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
