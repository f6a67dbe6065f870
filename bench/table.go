package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// suiteResults is what was found on one machine. The file results/SUITE.json is a list of
// them: a part stands under the machine where it ran last.
type suiteResults struct {
	Machine machine `json:"machine"`
	Rows    []row   `json:"rows"`
}

// nameWidth is the width of the columns of names.
const nameWidth = 44

const lineFormat = "%-*s %-*s %-8s %12s %12s %8s %6s  %s"

func tableHead() string {
	return fmt.Sprintf(lineFormat, nameWidth, "WORKLOAD", nameWidth, "PEER", "UNIT", "OURS", "THEIRS", "RATIO", "GOAL", "SAME ANSWER")
}

func tableLine(r row) string {
	return fmt.Sprintf(lineFormat, nameWidth, r.Workload, nameWidth, r.Peer, r.Unit, figure(r.Ours), theirsText(r, r.Theirs), theirsText(r, r.Ratio), figure(r.Goal), answerText(r))
}

// theirsText marks what is only the least that it can be.
func theirsText(r row, value *float64) string {
	if r.Unfinished != "" && value != nil {
		return "> " + figure(value)
	}
	return figure(value)
}

func answerText(r row) string {
	switch {
	case r.Unfinished != "":
		return r.Unfinished
	case r.Uncompared:
		return "-"
	}
	return yesNo(r.SameAnswer)
}

// figure prints three significant digits, and whole numbers from 100 on with
// separated thousands; what is not known is a dash.
func figure(value *float64) string {
	if value == nil {
		return "-"
	}
	v := *value
	if math.Abs(v) < 99.95 || math.IsInf(v, 0) || math.IsNaN(v) {
		digits := 2
		if size := math.Abs(v); size > 0 && size < 1 {
			digits = min(9, 2-int(math.Floor(math.Log10(size))))
		} else if size >= 10 {
			digits = 1
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	return thousands(strconv.FormatFloat(v, 'f', 0, 64))
}

func thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// mergeResults puts the rows of a run in place of what its parts had before, on whatever
// machine. Rows of other parts stay if the suite still has them.
func mergeResults(before []suiteResults, now suiteResults, s suite, ran []string) []suiteResults {
	var merged []suiteResults
	for _, b := range before {
		if b.Machine.same(now.Machine) {
			peers := map[string]string{}
			maps.Copy(peers, b.Machine.Peers)
			maps.Copy(peers, now.Machine.Peers)
			now.Machine.Peers = peers
			now.Rows = append(b.without(ran).Rows, now.Rows...)
		} else if b = b.without(ran).inOrder(s); len(b.Rows) > 0 {
			merged = append(merged, b)
		}
	}
	return append(merged, now.inOrder(s))
}

// without is the results but for those of some parts.
func (r suiteResults) without(parts []string) suiteResults {
	r.Rows = slices.DeleteFunc(slices.Clone(r.Rows), func(r row) bool { return slices.Contains(parts, r.Part) })
	return r
}

// inOrder is the results of the parts of a suite, in its order.
func (r suiteResults) inOrder(s suite) suiteResults {
	var rows []row
	for _, p := range s.parts {
		for _, found := range r.Rows {
			if found.Part == p.name {
				rows = append(rows, found)
			}
		}
	}
	r.Rows = rows
	return r
}

// keepResults merges what parts found into the file of their suite.
func keepResults(folder string, s suite, now suiteResults, ran []string) error {
	before, err := readResults(folder, s.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeResults(folder, s.name, mergeResults(before, now, s, ran))
}

// writeResults replaces the file of the suite.
func writeResults(folder, suite string, results []suiteResults) error {
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("results of %s: %w", suite, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, suite+".json"), append(text, '\n'), 0o644)
}

func readResults(folder, suite string) ([]suiteResults, error) {
	var results []suiteResults
	text, err := os.ReadFile(filepath.Join(folder, suite+".json"))
	if err != nil {
		return results, err
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return results, fmt.Errorf("results of %s: %w", suite, err)
	}
	return results, nil
}

// Between these lines of RESULTS.md are the tables, which no one edits.
const (
	tablesBegin = "<!-- go run ./bench report --write -->\n"
	tablesEnd   = "<!-- end of tables -->\n"
)

// report prints the tables of all suites, or puts them into the document.
func report(out io.Writer, results, document string, write bool) error {
	if !write {
		return writeReport(out, results, suites)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), tablesBegin)
	_, after, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no lines %q and %q to write between", filepath.Base(document), strings.TrimSpace(tablesBegin), strings.TrimSpace(tablesEnd))
	}
	var tables strings.Builder
	if err := writeReport(&tables, results, suites); err != nil {
		return err
	}
	return os.WriteFile(document, []byte(before+tablesBegin+"\n"+tables.String()+tablesEnd+after), 0o644)
}

// writeReport prints the results of every suite that has some, as Markdown.
func writeReport(out io.Writer, folder string, suites []suite) error {
	for _, s := range suites {
		results, err := readResults(folder, s.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, "### "+s.name+"\n\n"+markdown(results)); err != nil {
			return err
		}
	}
	return nil
}

func markdown(tables []suiteResults) string {
	var text strings.Builder
	for _, t := range tables {
		text.WriteString(t.markdown())
	}
	return text.String()
}

func (results suiteResults) markdown() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n", results.Machine.summary()+loads(results.Rows))
	text.WriteString("| workload | peer | unit | ours | theirs | ratio | goal | same answer |\n")
	text.WriteString("|---|---|---|--:|--:|--:|--:|---|\n")
	for _, r := range results.Rows {
		ratio := theirsText(r, r.Ratio)
		if r.missed() {
			ratio = "**" + ratio + "**" // a debt
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Workload, r.Peer, r.Unit,
			figure(r.Ours), theirsText(r, r.Theirs), ratio, figure(r.Goal), answerText(r))
	}
	text.WriteString("\n")
	return text.String()
}

// loads tells the span of what rows say of the machine's load when they were done.
func loads(rows []row) string {
	var values []float64
	for _, r := range rows {
		if load, err := strconv.ParseFloat(r.Load, 64); err == nil {
			values = append(values, load)
		}
	}
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("; rows were measured at a load of %.2f to %.2f, the suite's own included", slices.Min(values), slices.Max(values))
}
