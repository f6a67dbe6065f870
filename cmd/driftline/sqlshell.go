package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/peterh/liner"
	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

const shellHelp = `  SELECT … ;          run a query, of any number of lines, up to the semicolon
  EXPLAIN SELECT … ;  show how it would run
  \l  \d              list the tables
  \d TABLE            list the columns of a table
  \x                  show each row as lines, on or off
  \timing             show the time that a query took, on or off
  \?                  this help
  \q  Ctrl-D          leave

  Tab completes keywords, tables and columns. Ctrl-C ends a query that runs, or
  drops what is typed. The states of a view: FROM features.v AT (VERSION => 123);
  features as they were: FROM point_in_time((SELECT …), features => ['v:f']).
`

// Limits of an answer at a terminal.
const (
	shownRows  = 200
	shownWidth = 60 // of one cell
)

// sqlShell reads queries from a terminal and answers them, until its user leaves.
func (a *app) sqlShell(ctx context.Context, server *client.Client, flags sqlFlags) error {
	s := &sqlShell{app: a, server: server, format: flags.format, editor: liner.NewLiner(), timing: true}
	defer s.editor.Close()
	s.editor.SetCtrlCAborts(true)
	s.editor.SetTabCompletionStyle(liner.TabPrints)
	s.editor.SetWordCompleter(s.complete)
	defer s.keepHistory()()
	s.learnNames(ctx)
	fmt.Fprintf(a.stdout, "Driftline %s. Queries end with ;  Help is \\?\n", buildVersion())
	return s.loop(ctx)
}

type sqlShell struct {
	*app
	server   *client.Client
	editor   *liner.State
	format   string
	timing   bool
	expanded bool
	names    []string // that can be completed
	typed    string   // of a query that goes on
}

// keepHistory reads the history of earlier sessions, and returns what adds this one.
func (s *sqlShell) keepHistory() (save func()) {
	path := s.stateFile("sql_history")
	if f, err := os.Open(path); err == nil {
		_, _ = s.editor.ReadHistory(f) // a damaged history is no reason to fail
		_ = f.Close()
	}
	return func() {
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err == nil {
			_, _ = s.editor.WriteHistory(f)
			_ = f.Close()
		}
	}
}

// learnNames asks for the tables and columns, for completion. Without them it
// completes keywords.
func (s *sqlShell) learnNames(ctx context.Context) {
	s.names = slices.Clone(keywords)
	rows, err := s.server.SQL(ctx, `SELECT schema, "table", name FROM meta.columns ORDER BY ALL`)
	if err != nil {
		return
	}
	for batch, err := range rows.All {
		if err != nil {
			return
		}
		for i := range int(batch.NumRows()) {
			cell := cells(batch, i, "")
			s.names = append(s.names, quoteIfNeeded(cell[0])+"."+quoteIfNeeded(cell[1]), quoteIfNeeded(cell[2]))
		}
	}
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
}

// quoteIfNeeded quotes a name that SQL would not read as one.
func quoteIfNeeded(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool { return r != '_' && !unicode.IsLower(r) && !unicode.IsDigit(r) }) < 0
	if plain && name != "" && !unicode.IsDigit(rune(name[0])) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// keywords are those worth completing.
var keywords = []string{
	"SELECT", "FROM", "WHERE", "GROUP BY", "GROUP BY ALL", "ORDER BY", "HAVING", "LIMIT", "OFFSET", "DISTINCT", "JOIN", "LEFT JOIN",
	"ASOF JOIN", "USING", "ON", "AS", "AND", "OR", "NOT", "NULL", "IS", "IN", "BETWEEN", "LIKE", "CASE", "WHEN", "THEN", "ELSE", "END",
	"WITH", "UNION ALL", "EXCEPT", "INTERSECT", "OVER", "PARTITION BY", "QUALIFY", "FILTER", "EXCLUDE", "EXPLAIN", "AT (VERSION =>",
	"AT (TIMESTAMP =>", "point_in_time((", "count(*)", "sum(", "avg(", "min(", "max(", "median(", "quantile_cont(", "date_trunc(",
}

// complete offers what the word before the cursor may become. What follows a keyword
// in its spelling keeps the user's case.
func (s *sqlShell) complete(line string, at int) (head string, completions []string, tail string) {
	runes := []rune(line)
	head, tail = string(runes[:at]), string(runes[at:])
	start := strings.LastIndexFunc(head, func(r rune) bool { return strings.ContainsRune(" \t(,=<>+-*/;", r) }) + 1
	word := head[start:]
	if word == "" {
		return head, nil, tail
	}
	for _, name := range s.names {
		if len(name) < len(word) || !strings.EqualFold(name[:len(word)], word) {
			continue
		}
		if slices.Contains(keywords, name) && word == strings.ToLower(word) {
			name = strings.ToLower(name)
		}
		completions = append(completions, name)
	}
	return head[:start], completions, tail
}

func (s *sqlShell) loop(ctx context.Context) error {
	// From here on Ctrl-C ends a query, not the program.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	ctx = context.WithoutCancel(ctx)
	for {
		prompt := "driftline> "
		if s.typed != "" {
			prompt = "       ..> "
		}
		line, err := s.editor.Prompt(prompt)
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			s.typed = ""
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.stdout)
			return nil
		case err != nil:
			return driftline.Errorf(driftline.Internal, "the terminal cannot be read: %w", err)
		}
		if leave := s.take(ctx, line, interrupts); leave {
			return nil
		}
	}
}

// take handles one line. It reports whether the user leaves.
func (s *sqlShell) take(ctx context.Context, line string, interrupts <-chan os.Signal) (leave bool) {
	if s.typed == "" && strings.HasPrefix(strings.TrimSpace(line), `\`) {
		s.editor.AppendHistory(line)
		return s.command(ctx, strings.TrimSpace(line), interrupts)
	}
	if word := strings.ToLower(strings.Trim(line, " \t;")); s.typed == "" && (word == "exit" || word == "quit") {
		return true
	}
	s.typed += line + "\n"
	for {
		end := statementEnd(s.typed)
		if end < 0 {
			break
		}
		statement := s.typed[:end]
		s.typed = s.typed[end+1:]
		if strings.TrimSpace(statement) == "" {
			continue
		}
		s.editor.AppendHistory(strings.Join(strings.Fields(statement), " ") + ";")
		s.interruptible(ctx, interrupts, func(ctx context.Context) error { return s.query(ctx, statement) })
	}
	if strings.TrimSpace(s.typed) == "" {
		s.typed = ""
	}
	return false
}

func (s *sqlShell) command(ctx context.Context, line string, interrupts <-chan os.Signal) (leave bool) {
	name, argument, _ := strings.Cut(line, " ")
	argument = strings.Trim(argument, " ;")
	show := func(query string) {
		s.interruptible(ctx, interrupts, func(ctx context.Context) error { return s.query(ctx, query) })
	}
	switch name {
	case `\q`:
		return true
	case `\?`, `\h`:
		fmt.Fprint(s.stdout, shellHelp)
	case `\x`:
		s.expanded = !s.expanded
		fmt.Fprintln(s.stdout, "Rows are shown as", map[bool]string{true: "lines.", false: "a table."}[s.expanded])
	case `\timing`:
		s.timing = !s.timing
		fmt.Fprintln(s.stdout, "Times are", map[bool]string{true: "shown.", false: "not shown."}[s.timing])
	case `\l`:
		s.learnNames(ctx)
		show(listQuery)
	case `\d`:
		if argument == "" {
			return s.command(ctx, `\l`, interrupts)
		}
		s.interruptible(ctx, interrupts, func(ctx context.Context) error { return s.describe(ctx, argument) })
	default:
		fmt.Fprintf(s.stdout, "%s is not known; \\? says what is.\n", printable(name))
	}
	return false
}

// listQuery lists the tables.
const listQuery = "SELECT schema, name, columns FROM meta.tables ORDER BY ALL"

// describe shows the columns of a table.
func (s *sqlShell) describe(ctx context.Context, table string) error {
	query, err := describeQuery(ctx, s.server, table)
	if err != nil {
		return err
	}
	return s.query(ctx, query)
}

// describeQuery asks for the columns of a table, whose schema may be left out. It is
// NotFound if there is no such table.
func describeQuery(ctx context.Context, server *client.Client, table string) (string, error) {
	known, err := tableNames(ctx, server)
	if err != nil {
		return "", err
	}
	wanted := strings.ToLower(strings.ReplaceAll(table, `"`, ""))
	if !slices.ContainsFunc(known, func(name string) bool { return strings.ToLower(name) == wanted }) {
		return "", driftline.Unknown("table", wanted, known)
	}
	schema, name, qualified := strings.Cut(wanted, ".")
	if !qualified {
		schema, name = "", wanted
	}
	literal := func(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
	where := `lower("table") = ` + literal(name)
	if schema != "" {
		where += " AND schema = " + literal(schema)
	}
	return `SELECT schema, "table", name AS "column", type FROM meta.columns WHERE ` + where + ` ORDER BY schema, "table", position`, nil
}

// tableNames returns the names of the tables, with their schemas and without.
func tableNames(ctx context.Context, server *client.Client) (names []string, err error) {
	rows, err := server.SQL(ctx, "SELECT schema, name FROM meta.tables ORDER BY ALL")
	if err != nil {
		return nil, err
	}
	for batch, err := range rows.All {
		if err != nil {
			return nil, err
		}
		for i := range int(batch.NumRows()) {
			cell := cells(batch, i, "")
			names = append(names, cell[0]+"."+cell[1], cell[1])
		}
	}
	return names, nil
}

// interruptible runs f until it is done or Ctrl-C is pressed, and prints its error.
func (s *sqlShell) interruptible(ctx context.Context, interrupts <-chan os.Signal, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for len(interrupts) > 0 {
		<-interrupts
	}
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-interrupts:
			cancel()
		case <-done:
		}
	}()
	err := f(ctx)
	close(done)
	<-watched
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(s.stdout, "\nThe query was cancelled.")
	case err != nil:
		s.printError(err)
	}
}

func (s *sqlShell) query(ctx context.Context, text string) error {
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := s.server.SQL(ctx, text)
	if err != nil {
		return err
	}
	if s.format == "csv" || s.format == "json" {
		return printRows(s.stdout, rows, s.format)
	}
	if explained(rows.Schema) {
		return printPlan(s.stdout, rows)
	}
	shown, more, err := firstRows(rows)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(s.stdout)
	if s.expanded {
		s.printExpanded(out, rows.Schema, shown)
	} else {
		s.printCut(out, rows.Schema, shown)
	}
	s.printSummary(out, len(shown), more, time.Since(start))
	return out.Flush()
}

// firstRows returns the cells of the rows that are shown, and whether there are more.
func firstRows(rows driftline.Batches) (shown [][]string, more bool, err error) {
	for batch, err := range rows.All {
		if err != nil {
			return nil, false, err
		}
		for i := range int(batch.NumRows()) {
			if len(shown) == shownRows {
				return shown, true, nil
			}
			shown = append(shown, cells(batch, i, "NULL"))
		}
	}
	return shown, false, nil
}

// printCut prints a table that is no wider than the terminal.
func (s *sqlShell) printCut(w io.Writer, schema *arrow.Schema, rows [][]string) {
	var header []string
	for _, f := range schema.Fields() {
		header = append(header, headerOf(f))
	}
	all := newTable(header...)
	for _, row := range rows {
		cut := make([]string, len(row))
		for i, cell := range row {
			cut[i] = clip(cell, shownWidth)
		}
		all.add(cut...)
	}
	widths := all.widths()
	columns, width := 0, 0
	for columns < len(widths) && (columns == 0 || width+widths[columns] <= s.width()) {
		width += widths[columns] + 2
		columns++
	}
	paint := painter(s.stdout)
	_ = all.printRow(w, all.header[:columns], widths, func(text string) string { return paint(bold, text) })
	for _, row := range all.rows {
		_ = all.printRow(w, row[:columns], widths, nil)
	}
	if hidden := all.header[columns:]; len(hidden) > 0 {
		fmt.Fprintln(w, paint(dim, fmt.Sprintf("… %d more columns: %s (\\x shows them)", len(hidden), clip(strings.Join(hidden, ", "), shownWidth))))
	}
}

// headerOf is the name of a column as newTable takes it.
func headerOf(f arrow.Field) string {
	name := printable(f.Name)
	if arrow.IsInteger(f.Type.ID()) || arrow.IsFloating(f.Type.ID()) || arrow.IsDecimal(f.Type.ID()) {
		name = ">" + name
	}
	return name
}

// printExpanded prints each row as lines of column and value.
func (s *sqlShell) printExpanded(w io.Writer, schema *arrow.Schema, rows [][]string) {
	paint := painter(s.stdout)
	widest := 0
	for _, f := range schema.Fields() {
		widest = max(widest, uniseg.StringWidth(printable(f.Name)))
	}
	for i, row := range rows {
		fmt.Fprintln(w, paint(dim, "── row "+strconv.Itoa(i+1)+" ──"))
		for j, cell := range row {
			name := printable(schema.Field(j).Name)
			fmt.Fprintf(w, "%s%s  %s\n", paint(bold, name), strings.Repeat(" ", widest-uniseg.StringWidth(name)), cell)
		}
	}
}

func (s *sqlShell) printSummary(w io.Writer, rows int, more bool, took time.Duration) {
	text := fmt.Sprintf("%d rows", rows)
	switch {
	case rows == 1:
		text = "1 row"
	case more:
		text = fmt.Sprintf("the first %d rows; driftline sql --out FILE writes all", rows)
	}
	if s.timing {
		text += ", " + took.Round(100*time.Microsecond).String()
	}
	fmt.Fprintln(w, painter(s.stdout)(dim, "("+text+")"))
}

// explained reports whether an answer is that of EXPLAIN.
func explained(schema *arrow.Schema) bool {
	return schema.NumFields() == 2 && schema.Field(0).Name == "explain_key" && schema.Field(1).Name == "explain_value"
}

// printPlan prints a plan as it was drawn.
func printPlan(w io.Writer, rows driftline.Batches) error {
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		for i := range int(batch.NumRows()) {
			for line := range strings.Lines(batch.Column(1).ValueStr(i)) {
				fmt.Fprintln(w, printable(strings.TrimRight(line, "\n")))
			}
		}
	}
	return nil
}

// width is that of the terminal, or that of most.
func (s *sqlShell) width() int {
	if f, ok := s.stdout.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// clip cuts text to a width, with a sign that it did.
func clip(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var cut strings.Builder
	used := 0
	for clusters := uniseg.NewGraphemes(text); clusters.Next(); {
		if used += clusters.Width(); used > width-1 {
			break
		}
		cut.WriteString(clusters.Str())
	}
	return cut.String() + "…"
}
