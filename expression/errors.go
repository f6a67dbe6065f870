package expression

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// failf is the error for something at a byte of the text. It shows where: by the
// character's number, and by what stands there.
func failf(text string, at int, format string, args ...any) *driftline.Error {
	at = min(at, len(text))
	place := "at its end"
	if rest := strings.TrimSpace(text[at:]); rest != "" {
		place = "at " + quote(clip(rest))
	}
	return driftline.Errorf(driftline.Invalid, "expression, character %d (%s): %s",
		utf8.RuneCountInString(text[:at])+1, place, fmt.Sprintf(format, args...))
}

func quote(s string) string { return "»" + s + "«" }

// clip shortens a text for an error message.
func clip(s string) string {
	const most = 24
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.ToValidUTF8(s[:most], "")) + "…"
}
