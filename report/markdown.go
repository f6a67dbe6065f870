package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/driftline/driftline"
)

// DriftMarkdown writes a comparison in GitHub's Markdown: the summary, a table of what
// drifted or is not certain, and the columns that are the same folded away.
func DriftMarkdown(w io.Writer, report *driftline.DriftReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no drift report to write")
	}
	content := newDriftPage(report)
	var page strings.Builder
	fmt.Fprintf(&page, "## %s\n\n", prose(content.Headline))
	fmt.Fprintf(&page, "%s (%s rows) → %s (%s rows)\n\n",
		code(content.Reference.Name), whole(content.Reference.Rows), code(content.Current.Name), whole(content.Current.Rows))
	if content.Detail != "" {
		fmt.Fprintf(&page, "%s\n\n", prose(content.Detail))
	}
	var open, same []columnContent
	for _, c := range content.Columns {
		if c.Chip == chipSame {
			same = append(same, c)
			continue
		}
		open = append(open, c)
	}
	open = append(open, content.Uncompared...)
	if len(open) > 0 {
		page.WriteString(driftTable(open))
	}
	if len(same) > 0 {
		fmt.Fprintf(&page, "<details>\n<summary>%s the same</summary>\n\n%s\n</details>\n\n", Plural(len(same), "column"), driftTable(same))
	}
	if t := content.Together; t != nil {
		fmt.Fprintf(&page, "All columns together: **%s** (%s).\n\n", t.Chip.Text, t.Rows)
	}
	fmt.Fprintf(&page, "Drift is called by %s.\n", content.Rule)
	_, err := io.WriteString(w, page.String())
	return err
}

func driftTable(columns []columnContent) string {
	var table strings.Builder
	table.WriteString("| column | verdict | effect | adjusted p | missing | |\n| :-- | :-- | --: | --: | --: | :-- |\n")
	for _, c := range columns {
		verdict := c.Chip.Text
		if c.Chip == chipDrift {
			verdict = "**" + verdict + "**"
		}
		size := c.Effect
		if c.EffectSort != "" && c.EffectName != "" {
			size += " " + c.EffectName
		}
		if c.Range != nil {
			size += " (" + c.Range.Text + ")"
		}
		missing := c.ReferenceMissing
		if c.CurrentMissing != missing {
			missing += " → " + c.CurrentMissing
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n",
			codeCell(c.Name), verdict, size, prose(c.Q), prose(missing), prose(strings.Join(nonEmpty(c.Finding, c.Note), ". ")))
	}
	table.WriteString("\n")
	return table.String()
}

func nonEmpty(texts ...string) []string {
	var kept []string
	for _, text := range texts {
		if text != "" {
			kept = append(kept, text)
		}
	}
	return kept
}

// codeCell is code in a cell of a table, which a bar would end even within code.
func codeCell(name string) string { return strings.ReplaceAll(code(name), "|", `\|`) }

// code writes a name that may hold anything as code, which takes no formatting; what
// would end it or its line is kept out.
func code(name string) string {
	name = oneLine(name)
	if strings.TrimSpace(name) == "" {
		return "(empty)"
	}
	longest, run := 0, 0
	for _, r := range name {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	if longest == 0 {
		return "`" + name + "`"
	}
	fence := strings.Repeat("`", longest+1)
	return fence + " " + name + " " + fence
}

// prose writes a text that may hold anything so that it reads as it is: no formatting,
// no markup, nobody mentioned.
func prose(text string) string {
	var out strings.Builder
	for _, r := range oneLine(text) {
		switch {
		case r == '<':
			out.WriteString("&lt;")
		case r == '&':
			out.WriteString("&amp;")
		case r == '@':
			out.WriteString("@\u200b")
		case strings.ContainsRune("\\`*_{}[]()#!|~>$", r):
			out.WriteRune('\\')
			out.WriteRune(r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// oneLine makes one line of a text, without what a terminal or a reader would obey.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
