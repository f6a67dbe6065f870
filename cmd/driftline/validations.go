package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) validationsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "validations",
		Short: "Look at registered sets of checks, and how they went",
		Long: "A set of checks is registered with driftline apply (a file of kind: validation with a name, or validations: in\n" +
			"a file of definitions) and checked with driftline validate NAME. The server keeps how it went.",
		Example: "  driftline validations list\n  driftline validations show weather --run 3 --html weather.html\n  driftline validations history weather --json",
		Args:    exactly(0),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(a.validationsListCommand(), a.validationsShowCommand(), a.validationsHistoryCommand())
	return command
}

func (a *app) validationsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the sets of checks and how they went last", Example: "  driftline validations list --json", Args: exactly(0),
		RunE: listing(a, "validations", (*client.Client).Validations, printValidations),
	}
}

func printValidations(w io.Writer, all []driftline.ValidationStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No set of checks is registered yet: driftline validate --suggest TABLE writes one, driftline apply registers it.")
		return err
	}
	t := newTable("validation", "table", ">checks", "last run", "outcome")
	for _, v := range all {
		last, outcome := "never", "-"
		if v.Last != nil {
			last, outcome = stamp(v.Last.At), runOutcome(v.Last)
		}
		t.add(string(v.Validation.Name), printable(v.Validation.Table), strconv.Itoa(len(v.Validation.Checks)), last, outcome)
	}
	return t.print(w)
}

func runOutcome(run *driftline.ValidationRun) string {
	switch {
	case !run.Passed:
		return fmt.Sprintf("%d failed", run.Failed)
	case run.Warned > 0:
		return fmt.Sprintf("passed, %d warned", run.Warned)
	}
	return "passed"
}

func (a *app) validationsShowCommand() *cobra.Command {
	var run int
	var reports reportFlags
	command := &cobra.Command{
		Use: "show NAME", Short: "Show what the last run of a set found, or another one",
		Long:    "Show what a run of a set of checks found. Of the last one there are examples of rows that break checks.",
		Example: "  driftline validations show weather\n  driftline validations show weather --run 3 --html weather.html", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOut(reports.out); err != nil {
				return err
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				return a.showValidation(c.Context(), server, driftline.ValidationName(args[0]), run, reports)
			})
		},
	}
	command.Flags().IntVar(&run, "run", 0, "its number (default: the last)")
	reports.add(command.Flags())
	return command
}

func (a *app) showValidation(ctx context.Context, server *client.Client, name driftline.ValidationName, run int, reports reportFlags) error {
	if run < 0 {
		return usagef("--run is %d, want a number from 1", run)
	}
	outcome, err := server.ValidationRun(ctx, name, run)
	if err != nil {
		return err
	}
	forms := validationForms(outcome)
	if err := writeReports(reports, forms); err != nil {
		return err
	}
	return a.printReport(reports, outcome, forms, func(w io.Writer) error { return printValidation(w, outcome) })
}

func (a *app) validationsHistoryCommand() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use: "history NAME", Short: "List how a set went, the newest run first",
		Example: "  driftline validations history weather --limit 10", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer(c.Context(), func(server *client.Client) error {
				runs, err := server.ValidationRuns(c.Context(), driftline.ValidationName(args[0]), 0, limit)
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"runs": runs}, func(w io.Writer) error { return printValidationRuns(w, runs) })
			})
		},
	}
	command.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return command
}

func printValidationRuns(w io.Writer, runs []driftline.ValidationRun) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "It was never checked: driftline validate NAME does.")
		return err
	}
	t := newTable(">run", "checked", ">version", ">rows", ">checks", ">failed", ">warned", "outcome")
	for _, r := range runs {
		t.add(strconv.Itoa(r.Run), stamp(r.At), strconv.Itoa(r.Version), strconv.FormatInt(r.Rows, 10), strconv.Itoa(r.Checks),
			strconv.Itoa(r.Failed), strconv.Itoa(r.Warned), runOutcome(&r))
	}
	return t.print(w)
}
