package main

import "github.com/spf13/cobra"

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
