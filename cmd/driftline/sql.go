package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/storage/durable"
	"github.com/spf13/cobra"
)

// sqlFormats are what answers can be written as.
var sqlFormats = []string{"table", "csv", "json", "parquet", "arrow"}

// sqlFlags are those of driftline sql.
type sqlFlags struct {
	format, out, command string
}

func (a *app) sqlCommand() *cobra.Command {
	var flags sqlFlags
	command := &cobra.Command{
		Use:   "sql [SELECT]",
		Short: "Ask SELECTs over features.*, datasets.* and meta.*",
		Long: "Ask the server SELECTs over its feature views (features.*), saved training sets (datasets.*) and registry (meta.*).\n" +
			"Without a SELECT it is read from stdin, and at a terminal a shell begins: \\? there says what it understands.",
		Example: "  driftline sql\n" +
			"  driftline sql \"SELECT airport, max(temp) FROM features.weather GROUP BY ALL\"\n" +
			"  driftline sql --format csv < query.sql > answer.csv\n" +
			"  driftline sql -c \"SELECT * FROM datasets.late\" --out late.parquet",
		Args:    atMost(1),
		PreRunE: func(c *cobra.Command, _ []string) error { return flags.check(c) },
		RunE: func(c *cobra.Command, args []string) error {
			if flags.command != "" {
				if len(args) > 0 {
					return usagef("the query is given twice, as an argument and with --command")
				}
				args = []string{flags.command}
			}
			return a.withServer(c.Context(), func(server *client.Client) error {
				if len(args) == 0 && isTerminal(a.stdin) && isTerminal(a.stdout) && flags.out == "" {
					return a.sqlShell(c.Context(), server, flags)
				}
				return a.sqlOnce(c.Context(), server, args, flags)
			})
		},
	}
	command.Flags().StringVar(&flags.format, "format", "", "table, csv, json, parquet or arrow (default: what --out ends in, or table)")
	command.Flags().StringVarP(&flags.out, "out", "o", "", "write the answer to this file")
	command.Flags().StringVarP(&flags.command, "command", "c", "", "the query")
	return command
}

// check finds the format, which the name of the file may say.
func (f *sqlFlags) check(c *cobra.Command) error {
	if f.format == "" {
		f.format = "table"
		for _, known := range sqlFormats {
			if strings.HasSuffix(strings.ToLower(f.out), "."+known) {
				f.format = known
			}
		}
	}
	if !slices.Contains(sqlFormats, f.format) {
		return usagef("--format is %q, want table, csv, json, parquet or arrow", f.format)
	}
	return nil
}

// sqlOnce answers the queries of one text.
func (a *app) sqlOnce(ctx context.Context, server *client.Client, args []string, flags sqlFlags) error {
	text, err := a.queryText(args)
	if err != nil {
		return err
	}
	queries := splitSQL(text)
	if len(queries) > 1 && flags.out != "" {
		return usagef("%d queries cannot be written to one file", len(queries))
	}
	for _, query := range queries {
		query, err := commandQuery(ctx, server, query)
		if err != nil {
			return err
		}
		rows, err := server.SQL(ctx, query)
		if err != nil {
			return err
		}
		if err := a.sendRows(rows, flags); err != nil {
			return err
		}
	}
	return nil
}

// commandQuery returns the query that a command of the shell stands for, and other texts
// as they are.
func commandQuery(ctx context.Context, server *client.Client, text string) (string, error) {
	line := strings.TrimSpace(text)
	name, argument, _ := strings.Cut(line, " ")
	argument = strings.TrimSpace(argument)
	switch {
	case !strings.HasPrefix(line, `\`):
		return text, nil
	case name == `\l`, name == `\d` && argument == "":
		return listQuery, nil
	case name == `\d`:
		return describeQuery(ctx, server, argument)
	}
	return "", usagef(`%s is for the shell only; \l, \d and \d TABLE can be used here`, printable(name))
}

// sendRows writes an answer to where the flags say.
func (a *app) sendRows(rows driftline.Batches, flags sqlFlags) error {
	format := flags.format
	if format == "table" {
		format = a.format(format) // --json
	}
	if flags.out != "" {
		return durable.WriteFile(flags.out, func(w io.Writer) error { return formatRows(w, rows, format) })
	}
	if isTerminal(a.stdout) && (format == "parquet" || format == "arrow") {
		return usagef("%s is not for a terminal: add --out FILE", format)
	}
	return formatRows(a.stdout, rows, format)
}

func formatRows(w io.Writer, rows driftline.Batches, format string) error {
	switch {
	case format == "table" && explained(rows.Schema):
		return printPlan(w, rows)
	case format == "table":
		return printRows(w, rows, format)
	}
	out := bufio.NewWriterSize(w, 1<<20) // which the writer of Parquet cannot close
	return errors.Join(encodeRows(out, "."+format, rows), out.Flush())
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

// splitSQL returns the statements of a text, those without a semicolon at their end
// too. If there is nothing but blanks and comments, the text itself is the statement.
func splitSQL(text string) []string {
	var statements []string
	for {
		end := commandEnd(text)
		if end < 0 {
			end = statementEnd(text)
		}
		if end < 0 {
			break
		}
		if statement := text[:end]; strings.TrimSpace(statement) != "" {
			statements = append(statements, statement)
		}
		text = text[end+1:]
	}
	if strings.TrimSpace(text) != "" || len(statements) == 0 {
		statements = append(statements, text)
	}
	return statements
}

// commandEnd returns where the line of a command of the shell ends, or -1 if the text
// does not begin with one.
func commandEnd(text string) int {
	begin := len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	if !strings.HasPrefix(text[begin:], `\`) {
		return -1
	}
	if end := strings.IndexAny(text[begin:], ";\n"); end >= 0 {
		return begin + end
	}
	return -1
}

// statementEnd returns where the first semicolon is that is not in a string, a name or
// a comment, or -1.
func statementEnd(text string) int {
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		skip := 0
		switch {
		case rest[0] == ';':
			return i
		case rest[0] == '\'' || rest[0] == '"':
			skip = until(rest[1:], rest[:1]) + 1
		case strings.HasPrefix(rest, "--"):
			skip = until(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			skip = until(rest, "*/")
		case strings.HasPrefix(rest, "$$"):
			skip = 2 + until(rest[2:], "$$")
		}
		i += max(skip-1, 0)
	}
	return -1
}

// until returns how much of text lies before the end of mark, or all of it.
func until(text, mark string) int {
	if i := strings.Index(text, mark); i >= 0 {
		return i + len(mark)
	}
	return len(text)
}

// stateFile is where the shell keeps name, or "" if there is no place for it.
func (a *app) stateFile(name string) string {
	dir := ""
	for _, pair := range a.environ() {
		if value, ok := strings.CutPrefix(pair, "XDG_STATE_HOME="); ok && value != "" {
			dir = value
		}
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = home + "/.local/state"
	}
	dir += "/driftline"
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir + "/" + name
}
