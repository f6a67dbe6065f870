package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

var validationPage = newPage("validation.html")

// ValidationHTML writes the outcome of a table's checks as one page: failed ones first,
// each with examples of what breaks it.
func ValidationHTML(w io.Writer, report *driftline.ValidationReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no validation report to draw")
	}
	return writePage(w, validationPage, newValidationContent(report))
}

// validationContent is the report in the words of the page.
type validationContent struct {
	Title, Headline, Table string
	Rows                   int64
	At                     string
	Tally                  []tally
	Open                   []checkContent // what did not pass
	Results                []checkContent
}

// checkContent is one check.
type checkContent struct {
	Number       int
	Chip         chip
	Order        int
	Title, Kind  string
	Column       string
	Found        string
	BadSort      string
	Examples     *driftline.Examples
	ExampleTitle string
}

var (
	chipFailed = chip{"bad", "failed"}
	chipWarned = chip{"unsure", "warning"}
	chipPassed = chip{"good", "passed"}
)

var chipOfOutcome = map[driftline.CheckOutcome]chip{
	driftline.CheckFailed: chipFailed, driftline.CheckWarned: chipWarned, driftline.CheckPassed: chipPassed,
}

func newValidationContent(report *driftline.ValidationReport) validationContent {
	content := validationContent{Table: report.Table, Rows: report.Rows, Headline: validationHeadline(report)}
	if content.Table == "" {
		content.Table = "data"
	}
	if !report.At.IsZero() {
		content.At = report.At.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	content.Title = content.Headline + " · " + content.Table
	counts := map[chip]int{}
	for i, r := range report.Results {
		check := newCheckContent(i, r)
		counts[check.Chip]++
		content.Results = append(content.Results, check)
		if check.Chip != chipPassed {
			content.Open = append(content.Open, check)
		}
	}
	content.Tally = tallies([]chip{chipFailed, chipWarned, chipPassed}, counts)
	return content
}

func validationHeadline(report *driftline.ValidationReport) string {
	all := len(report.Results)
	switch {
	case report.Failed > 0:
		return fmt.Sprintf("%d of %s failed", report.Failed, Plural(all, "check"))
	case report.Warned > 0:
		return fmt.Sprintf("Passed, with %s", Plural(report.Warned, "warning"))
	case all == 1:
		return "The check passed"
	}
	return fmt.Sprintf("All %d checks passed", all)
}

func newCheckContent(i int, r driftline.CheckResult) checkContent {
	found, ok := chipOfOutcome[r.Outcome]
	if !ok {
		found = chipFailed // what is not known to have passed has not
	}
	check := checkContent{
		Number: i + 1, Chip: found, Order: map[chip]int{chipFailed: 0, chipWarned: 1, chipPassed: 2}[found],
		Title: r.Title, Kind: string(r.Check.Check), Column: strings.Join(r.Check.Keys(), ", "), Found: r.Found,
		BadSort: sortable(float64(r.Bad)),
	}
	if r.Examples != nil && len(r.Examples.Rows) > 0 {
		check.Examples = r.Examples
		check.ExampleTitle = "Examples"
		if int64(len(r.Examples.Rows)) < r.Bad {
			check.ExampleTitle = fmt.Sprintf("%d of %s", len(r.Examples.Rows), whole(r.Bad))
		}
	}
	return check
}

// ValidationMarkdown writes the outcome in GitHub's Markdown: what did not pass with
// examples, and the rest folded away.
func ValidationMarkdown(w io.Writer, report *driftline.ValidationReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no validation report to write")
	}
	content := newValidationContent(report)
	var page strings.Builder
	fmt.Fprintf(&page, "## %s\n\n%s (%s rows)\n\n", prose(content.Headline), code(content.Table), whole(content.Rows))
	if len(content.Open) > 0 {
		page.WriteString(checkTable(content.Open))
	}
	for _, c := range content.Open {
		if c.Examples != nil {
			fmt.Fprintf(&page, "<details>\n<summary>%s: %s</summary>\n\n%s\n</details>\n\n", html.EscapeString(oneLine(c.Title)), c.ExampleTitle, exampleTable(c.Examples))
		}
	}
	if passed := content.Results[len(content.Open):]; len(passed) > 0 {
		fmt.Fprintf(&page, "<details>\n<summary>%s passed</summary>\n\n%s\n</details>\n", Plural(len(passed), "check"), checkTable(passed))
	}
	_, err := io.WriteString(w, page.String())
	return err
}

func checkTable(checks []checkContent) string {
	var table strings.Builder
	table.WriteString("| check | outcome | found |\n| :-- | :-- | :-- |\n")
	for _, c := range checks {
		outcome := c.Chip.Text
		if c.Chip == chipFailed {
			outcome = "**" + outcome + "**"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", prose(c.Title), outcome, prose(c.Found))
	}
	table.WriteString("\n")
	return table.String()
}

func exampleTable(examples *driftline.Examples) string {
	var table strings.Builder
	for _, name := range examples.Columns {
		fmt.Fprintf(&table, "| %s ", codeCell(name))
	}
	table.WriteString("|\n" + strings.Repeat("| :-- ", len(examples.Columns)) + "|\n")
	for _, row := range examples.Rows {
		for _, value := range row {
			cell := "*null*"
			if value != nil {
				cell = codeCell(*value)
			}
			fmt.Fprintf(&table, "| %s ", cell)
		}
		table.WriteString("|\n")
	}
	return table.String()
}

// ValidationJUnit writes the outcome as a suite of tests, one for each check: a failed
// blocking check is a failure, a warning is skipped.
func ValidationJUnit(w io.Writer, report *driftline.ValidationReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no validation report to write")
	}
	content := newValidationContent(report)
	suite := junitSuite{Name: content.Table, Properties: []junitProperty{{"rows", fmt.Sprint(report.Rows)}}}
	for _, c := range content.Results {
		test := junitCase{Class: "validation." + c.Kind, Name: c.Title}
		switch c.Chip {
		case chipFailed:
			test.Failure = &junitOutcome{Type: c.Kind, Message: c.Found, Text: exampleLines(c.Examples)}
		case chipWarned:
			test.Skipped = &junitSkipped{Message: "warning: " + c.Found}
		}
		suite.Cases = append(suite.Cases, test)
	}
	return writeJUnit(w, "driftline validate", suite)
}

// exampleLines is a row of examples a line: name=value, …
func exampleLines(examples *driftline.Examples) string {
	if examples == nil {
		return ""
	}
	var lines []string
	for _, row := range examples.Rows {
		var cells []string
		for i, value := range row {
			text := "null"
			if value != nil {
				text = *value
			}
			if i < len(examples.Columns) {
				cells = append(cells, examples.Columns[i]+"="+text)
			}
		}
		lines = append(lines, strings.Join(cells, ", "))
	}
	return strings.Join(lines, "\n")
}

// ValidationRows returns one row for each check, without the examples. It can be ranged
// over any number of times.
func ValidationRows(mem memory.Allocator, report *driftline.ValidationReport) driftline.Batches {
	type result = driftline.CheckResult
	return rowsOf(mem, report.Results, []rowColumn[result]{
		textColumn("table", func(result) string { return report.Table }),
		textColumn("check", func(r result) string { return string(r.Check.Check) }),
		textColumn("column", func(r result) string { return strings.Join(r.Check.Keys(), ", ") }),
		textColumn("title", func(r result) string { return r.Title }),
		textColumn("outcome", func(r result) string { return string(r.Outcome) }),
		textColumn("found", func(r result) string { return r.Found }),
		numberColumn("observed", func(r result) driftline.Number { return r.Observed }),
		countColumn("looked", func(r result) int64 { return r.Looked }),
		countColumn("bad", func(r result) int64 { return r.Bad }),
	})
}
