package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// ModelCardMarkdown writes a model card for a repository, a pull request or a wiki.
func ModelCardMarkdown(w io.Writer, card *driftline.ModelCard) error {
	c := &cardWriter{}
	c.head(card)
	c.limits(card)
	c.metrics(card)
	c.data(card)
	c.signature(card)
	c.trust(card)
	c.origin(card)
	_, err := io.WriteString(w, c.text.String())
	return err
}

// cardWriter collects Markdown. What comes from people is escaped.
type cardWriter struct{ text strings.Builder }

func (c *cardWriter) line(format string, args ...any) {
	fmt.Fprintf(&c.text, format+"\n", args...)
}

func (c *cardWriter) section(title string) { c.line("\n## %s\n", title) }

// table writes rows under titles; nothing if there are none.
func (c *cardWriter) table(titles []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	c.line("| %s |", strings.Join(titles, " | "))
	c.line("|%s", strings.Repeat(" --- |", len(titles)))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = markdownCell(cell)
		}
		c.line("| %s |", strings.Join(cells, " | "))
	}
}

func (c *cardWriter) head(card *driftline.ModelCard) {
	v := &card.Version
	c.line("# %s, version %d\n", markdownCell(string(card.Model.Name)), v.Version)
	for _, text := range []string{card.Model.Description, v.Description} {
		if text != "" {
			c.line("%s\n", markdownCell(text))
		}
	}
	rows := [][]string{
		{"Stage", string(v.Stage)},
		{"Aliases", joined(v.Aliases)},
		{"Registered", when(v.Created) + by(v.By)},
		{"Run", string(v.Run)},
		{"Files", fmt.Sprintf("%d, %d bytes, SHA-256 %s", max(len(v.Files), 1), v.Artifact.Size, v.Artifact.SHA256)},
		{"Source", v.SourceURI()},
	}
	if v.Imported != nil {
		rows = append(rows, []string{"Imported", fmt.Sprintf("%s, signed by %s", v.Imported.Ref, v.Imported.Key)})
	}
	for _, key := range slices.Sorted(maps.Keys(v.Tags)) {
		rows = append(rows, []string{"Tag " + key, v.Tags[key]})
	}
	c.table([]string{"", ""}, slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" }))
}

func joined[S ~string](words []S) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func by(person string) string {
	if person == "" {
		return ""
	}
	return " by " + person
}

func (c *cardWriter) limits(card *driftline.ModelCard) {
	if len(card.Limits) == 0 {
		return
	}
	c.section("Limits")
	for _, limit := range card.Limits {
		c.line("- %s", markdownCell(limit))
	}
}

func (c *cardWriter) metrics(card *driftline.ModelCard) {
	origin := card.Version.Origin
	if origin == nil || len(origin.Metrics)+len(origin.Params) == 0 {
		return
	}
	c.section("Metrics and params of the run")
	var rows [][]string
	for _, key := range slices.Sorted(maps.Keys(origin.Metrics)) {
		rows = append(rows, []string{"metric", key, strconv.FormatFloat(float64(origin.Metrics[key]), 'g', 6, 64)})
	}
	for _, key := range slices.Sorted(maps.Keys(origin.Params)) {
		rows = append(rows, []string{"param", key, origin.Params[key]})
	}
	c.table([]string{"", "Name", "Value"}, rows)
}

func (c *cardWriter) data(card *driftline.ModelCard) {
	if len(card.Datasets) == 0 {
		return
	}
	c.section("Data")
	var rows [][]string
	for _, d := range card.Datasets {
		state := ""
		switch {
		case d.Gone:
			state = "gone"
		case d.Changed:
			state = "rows were erased since"
		}
		rows = append(rows, []string{d.Ref.String(), strconv.FormatInt(d.Rows, 10), when(d.From), when(d.To), d.ContentHash, state})
	}
	c.table([]string{"Dataset", "Rows", "From", "To", "Content hash", ""}, rows)
	c.line("")
	rows = nil
	for _, f := range card.Features {
		from := ""
		if f.View != "" {
			from = string(f.View) + ":" + f.Feature
		}
		nulls := ""
		if f.Rows > 0 {
			nulls = strconv.FormatFloat(100*float64(f.Nulls)/float64(f.Rows), 'f', 1, 64) + " %"
		}
		rows = append(rows, []string{f.Column, f.Type, from, nulls, f.Description})
	}
	c.table([]string{"Column", "Type", "Feature", "Null", "What it is"}, rows)
	rows = nil
	for _, m := range card.Monitors {
		rows = append(rows, []string{string(m.Monitor), m.Reference.String(), string(m.Phase), string(m.Alert)})
	}
	if len(rows) > 0 {
		c.line("")
		c.table([]string{"Monitor", "Compared with", "Stands at", "Alert"}, rows)
	}
}

func (c *cardWriter) signature(card *driftline.ModelCard) {
	if card.Signature == nil {
		return
	}
	c.section("Signature")
	var rows [][]string
	for _, side := range []struct {
		word    string
		columns []driftline.SignatureColumn
	}{{"input", card.Signature.Inputs}, {"output", card.Signature.Outputs}} {
		for _, column := range side.columns {
			need := "required"
			if column.Optional {
				need = "optional"
			}
			rows = append(rows, []string{side.word, column.Name, column.Type, need})
		}
	}
	c.table([]string{"", "Column", "Type", ""}, rows)
}

// trust is what was checked, approved and moved.
func (c *cardWriter) trust(card *driftline.ModelCard) {
	v := &card.Version
	if len(v.Checks)+len(v.Approvals)+len(card.History) == 0 {
		return
	}
	c.section("Checks, approvals and moves")
	var rows [][]string
	for _, check := range v.Checks {
		word := "failed"
		if check.Passed {
			word = "passed"
		}
		rows = append(rows, []string{when(check.Time), "check " + check.Name, word + by(check.By), check.Summary})
	}
	for _, a := range v.Approvals {
		gate := driftline.ModelGate{Alias: a.Alias, Stage: a.Stage}
		rows = append(rows, []string{when(a.Time), "approval for " + gate.Target(), string(a.Decision) + by(a.By), a.Reason})
	}
	for _, m := range card.History {
		word := "came here"
		if m.To != v.Version {
			word = "left"
		}
		rows = append(rows, []string{when(m.Time), "alias " + string(m.Alias), word + by(m.By), m.Reason})
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	c.table([]string{"When", "What", "Outcome", "Why"}, rows)
}

func (c *cardWriter) origin(card *driftline.ModelCard) {
	c.section("Where it comes from")
	if origin := card.Version.Origin; origin != nil && origin.Commit != "" {
		c.line("Code: commit %s %s\n", markdownCell(origin.Commit), markdownCell(origin.Code))
	}
	var rows [][]string
	for _, edge := range card.Lineage {
		rows = append(rows, []string{edge.From.String(), edge.Kind, edge.To.String()})
	}
	c.table([]string{"", "", ""}, rows)
	for _, file := range card.Environment {
		c.line("\n<details><summary>%s</summary>\n", markdownCell(file.Path))
		for line := range strings.Lines(file.Text) {
			c.line("    %s", strings.TrimRight(line, "\r\n"))
		}
		c.line("\n</details>")
	}
}

// markdownCell makes a text of people's part of a line of Markdown: nothing in it is markup.
func markdownCell(text string) string {
	var out strings.Builder
	for _, c := range text {
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			out.WriteByte(' ')
		case c == '<':
			out.WriteString("&lt;")
		case c == '>':
			out.WriteString("&gt;")
		case c == '&':
			out.WriteString("&amp;")
		case strings.ContainsRune("\\`*_[]|#~!", c):
			out.WriteByte('\\')
			out.WriteRune(c)
		case c < ' ' || c == 0x7f:
			out.WriteRune('\uFFFD')
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}
