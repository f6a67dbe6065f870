package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/report"
)

// errChecksFailed says that a blocking check failed. It has been reported already.
var errChecksFailed = errors.New("checks failed")

// validateFlags are what driftline validate was asked.
type validateFlags struct {
	table, checks string
	suggest       bool
	reports       reportFlags
}

func (a *app) validateCommand() *cobra.Command {
	var flags validateFlags
	command := &cobra.Command{
		Use:   "validate NAME | [TABLE] --checks FILE | --suggest TABLE",
		Short: "Check that a table is what it should be",
		Long: "Check a table: its columns and types, how many rows, nulls, ranges, sets of values, forms and lengths of text,\n" +
			"uniqueness, means and quantiles, freshness, and SELECTs of your own that must return nothing.\n\n" +
			"NAME is a set of checks that was registered with driftline apply; the server keeps how it went, see driftline\n" +
			"validations. With --checks the checks are those of a file.\n\n" +
			"A table is a local file (.parquet, .csv, .arrow), dataset/NAME[@VERSION], view/NAME, or a SELECT; without one,\n" +
			"the one that the checks name. A local file needs no server. --suggest learns checks from a table and prints them.\n\n" +
			"Exit code: 0 all blocking checks passed, 3 one failed, 1 the table could not be checked.",
		Example: "  driftline validate --suggest view/weather > weather.checks.yaml\n" +
			"  driftline validate view/weather --checks weather.checks.yaml --junit checks.xml\n" +
			"  driftline validate today.parquet --checks weather.checks.yaml --markdown -\n" +
			"  driftline apply weather.checks.yaml && driftline validate weather",
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				flags.table = args[0]
			}
			switch {
			case flags.suggest && flags.checks != "":
				return usagef("give either --checks or --suggest")
			case flags.suggest && flags.table == "":
				return usagef("say what --suggest learns from: a file, dataset/NAME, view/NAME or a SELECT")
			case flags.suggest:
				return a.suggest(c.Context(), flags.table)
			case flags.checks == "" && !isName(flags.table):
				return usagef("name a registered set of checks, or give --checks FILE, or --suggest to have some written")
			}
			return a.validate(c.Context(), flags)
		},
	}
	command.Flags().StringVar(&flags.checks, "checks", "", "YAML file of the checks")
	command.Flags().BoolVar(&flags.suggest, "suggest", false, "learn checks from the table and print them as YAML")
	flags.reports.add(command.Flags())
	return command
}

// isName reports whether a text can name a registered set of checks.
func isName(text string) bool { return driftline.CheckIdentifier("validation", text) == nil }

func (a *app) validate(ctx context.Context, flags validateFlags) error {
	if err := checkOut(flags.reports.out); err != nil {
		return err
	}
	outcome, err := a.runChecks(ctx, flags)
	if err != nil {
		return err
	}
	forms := validationForms(outcome)
	if err := writeReports(flags.reports, forms); err != nil {
		return err
	}
	if err := a.printReport(flags.reports, outcome, forms, func(w io.Writer) error { return printValidation(w, outcome) }); err != nil {
		return err
	}
	if !outcome.Passed {
		return errChecksFailed
	}
	return nil
}

func validationForms(outcome *driftline.ValidationReport) reportForms {
	return reportForms{
		html:     func(w io.Writer) error { return report.ValidationHTML(w, outcome) },
		markdown: func(w io.Writer) error { return report.ValidationMarkdown(w, outcome) },
		junit:    func(w io.Writer) error { return report.ValidationJUnit(w, outcome) },
		rows:     report.ValidationRows(memory.DefaultAllocator, outcome),
	}
}

// runChecks checks a registered set, or a table with the checks of a file.
func (a *app) runChecks(ctx context.Context, flags validateFlags) (outcome *driftline.ValidationReport, err error) {
	if flags.checks == "" {
		err = a.withServer(ctx, func(c *client.Client) (err error) {
			outcome, err = c.RunValidation(ctx, driftline.ValidationName(flags.table))
			return err
		})
		return outcome, err
	}
	checks, err := readChecks(flags.checks)
	if err != nil {
		return nil, err
	}
	if flags.table == "" {
		flags.table = checks.Table
	}
	if flags.table == "" {
		return nil, usagef("say what to check: a file, dataset/NAME, view/NAME or a SELECT")
	}
	from, err := parseSource("table", flags.table)
	if err != nil {
		return nil, err
	}
	err = a.withTables(ctx, []source{from}, func(c *client.Client) (err error) {
		outcome, err = c.Validate(ctx, driftline.ValidationRequest{Table: from.server, Checks: checks.Checks})
		return err
	}, func(db *query.DB, tables []opened) error {
		rows, free, err := tables[0].local(from)
		if err != nil {
			return err
		}
		defer free()
		if outcome, err = engine.ValidateTable(ctx, db, rows, checks.Checks, time.Now().UTC()); err == nil {
			outcome.Table = tables[0].name
		}
		return err
	})
	return outcome, err
}

func (a *app) suggest(ctx context.Context, text string) error {
	from, err := parseSource("suggest", text)
	if err != nil {
		return err
	}
	var checks *driftline.Validation
	err = a.withTables(ctx, []source{from}, func(c *client.Client) (err error) {
		checks, err = c.SuggestChecks(ctx, from.server)
		return err
	}, func(db *query.DB, tables []opened) error {
		rows, free, err := tables[0].local(from)
		if err != nil {
			return err
		}
		defer free()
		checks, err = engine.SuggestChecks(ctx, db, rows)
		return err
	})
	if err != nil {
		return err
	}
	return a.answer(checks, func(w io.Writer) error { return writeChecks(w, checks) })
}

// readChecks reads a YAML file of checks.
func readChecks(path string) (*driftline.Validation, error) {
	return readValue(path, "the file", "", (*driftline.Validation).Validate)
}

// writeChecks writes checks as a person would, one a line.
func writeChecks(w io.Writer, checks *driftline.Validation) error {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, c := range checks.Checks {
		text, err := json.Marshal(c)
		if err != nil {
			return err
		}
		var node yaml.Node
		if err := yaml.Unmarshal(text, &node); err != nil { // JSON is YAML, with its order kept
			return err
		}
		unquote(node.Content[0])
		list.Content = append(list.Content, node.Content[0])
	}
	document := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, value *yaml.Node) {
		document.Content = append(document.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
	}
	add("kind", &yaml.Node{Kind: yaml.ScalarNode, Value: driftline.KindOfChecks})
	if checks.Name != "" {
		add("name", &yaml.Node{Kind: yaml.ScalarNode, Value: string(checks.Name)})
	}
	if checks.Table != "" {
		add("table", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: checks.Table})
	}
	add("checks", list)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(document); err != nil {
		return err
	}
	return encoder.Close()
}

// unquote takes the quotes of JSON away where YAML needs none.
func unquote(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, child := range n.Content {
		unquote(child)
	}
}

func printValidation(w io.Writer, outcome *driftline.ValidationReport) error {
	paint := painter(w)
	fmt.Fprintf(w, "%s (%d rows)\n\n", printable(outcome.Table), outcome.Rows)
	t := newTable("check", "outcome", "found")
	for _, r := range outcome.Results {
		t.add(printable(r.Title), string(r.Outcome), printable(r.Found))
	}
	if err := t.print(w); err != nil {
		return err
	}
	for _, r := range outcome.Results {
		printExamples(w, r)
	}
	style := green
	if !outcome.Passed {
		style = red
	}
	_, err := fmt.Fprintf(w, "\n%s\n", paint(style, fmt.Sprintf("%d of %d checks failed, %d warned", outcome.Failed, len(outcome.Results), outcome.Warned)))
	return err
}

func printExamples(w io.Writer, r driftline.CheckResult) {
	if r.Examples == nil || len(r.Examples.Rows) == 0 {
		return
	}
	paint := painter(w)
	fmt.Fprintf(w, "\n%s\n", paint(dim, printable(r.Title)))
	t := newTable(r.Examples.Columns...)
	for _, row := range r.Examples.Rows {
		cells := make([]string, len(row))
		for i, value := range row {
			cells[i] = "null"
			if value != nil {
				cells[i] = printable(*value)
			}
		}
		t.add(cells...)
	}
	_ = t.print(w)
}
