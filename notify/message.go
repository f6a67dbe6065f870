package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/driftline/driftline"
)

// title says in a line what a notice is about.
func title(n *driftline.Notice) string {
	if h := n.Happening; h != nil {
		return fmt.Sprintf("%s: %s", h.Subject(), strings.ReplaceAll(string(h.Event), "_", " "))
	}
	if n.Kind == driftline.AlertResolved {
		return fmt.Sprintf("Resolved: %s no longer drifts", n.Alert.Monitor)
	}
	return fmt.Sprintf("%s: %s drifts", strings.ToUpper(string(n.Alert.Severity)), n.Alert.Monitor)
}

// lines are the notice as text for people. They hold no control characters.
func lines(n *driftline.Notice) []string {
	if h := n.Happening; h != nil {
		return []string{oneLine(title(n)), "", oneLine(h.Text), "", oneLine(fmt.Sprintf("%s, %s", h.Ref, stamp(h.Time)))}
	}
	a := &n.Alert
	out := []string{title(n), ""}
	if a.Summary != "" {
		out = append(out, a.Summary)
	}
	for _, c := range a.Columns {
		line := fmt.Sprintf("  %s: effect %.3g, q = %.3g (%s)", c.Column, float64(c.Effect), float64(c.QValue), c.Test)
		if c.Segment != "" {
			line += " where " + c.Segment
		}
		out = append(out, line)
	}
	out = append(out, "", fmt.Sprintf("alert %s, raised %s, %d panes from %s to %s", a.ID, stamp(a.Raised), a.Panes, stamp(a.From), stamp(a.To)))
	if n.Kind == driftline.AlertResolved {
		by := ""
		if a.ResolvedBy != "" {
			by = " by " + a.ResolvedBy
		}
		out = append(out, "resolved "+stamp(a.Resolved)+by)
	}
	if len(a.Remedies) > 0 {
		out = append(out, "", "What could be done:")
	}
	for _, r := range a.Remedies {
		out = append(out, fmt.Sprintf("  %s: %s", r.Text, r.Command))
	}
	if n.Monitor.Description != "" {
		out = append(out, "", n.Monitor.Description)
	}
	for i := range out {
		out[i] = oneLine(out[i])
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// oneLine replaces what could end a line, or steer a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
