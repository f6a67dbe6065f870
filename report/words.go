package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// formatOf returns how values of the column are written.
func formatOf(c driftline.ColumnDrift) func(float64) string {
	if c.Type != driftline.Timestamp {
		return people
	}
	return func(v float64) string {
		if math.Abs(v) > 1e17 || math.IsNaN(v) {
			return people(v)
		}
		return time.UnixMicro(int64(v)).UTC().Format("2006-01-02 15:04")
	}
}

// people writes a number with about four digits that matter.
func people(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	case size != 0 && (size < 1e-4 || size >= 1e15):
		return powerOfTen(v)
	case size >= 1000:
		return strings.Replace(whole(int64(math.Round(v))), "-", "−", 1)
	}
	return strings.Replace(strconv.FormatFloat(roundTo(v, 4), 'f', -1, 64), "-", "−", 1)
}

// roundTo rounds to a number of significant digits.
func roundTo(v float64, digits int) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', digits-1, 64), 64)
	return rounded
}

// powerOfTen writes 1.2e-9 as 1.2 × 10⁻⁹.
func powerOfTen(v float64) string {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 1, 64), "e")
	power, _ := strconv.Atoi(exponent)
	return strings.Replace(mantissa, "-", "−", 1) + " × 10" + superscript(power)
}

func superscript(power int) string {
	digits := []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")
	var text strings.Builder
	for _, r := range strconv.Itoa(power) {
		if r == '-' {
			text.WriteRune('⁻')
			continue
		}
		text.WriteRune(digits[r-'0'])
	}
	return text.String()
}

// Probability writes a p-value for people: three decimals, or a power of ten.
func Probability(p driftline.Number) string {
	switch v := float64(p); {
	case math.IsNaN(v):
		return "–"
	case v == 0:
		return "< 10⁻³⁰⁰"
	case v < 0.0005:
		return powerOfTen(v)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func effect(e driftline.Number) string {
	if math.IsNaN(float64(e)) {
		return "–"
	}
	return strconv.FormatFloat(float64(e), 'f', 3, 64)
}

// sortable is what the table sorts by; what is not a number goes last.
func sortable(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func ratio(part, all int64) float64 {
	if all <= 0 {
		return 0
	}
	return float64(part) / float64(all)
}

func shareOf(part, all int64) string { return Percent(ratio(part, all)) }

// Percent writes a share of one as people read it: 0.0734 is "7.3 %".
func Percent(share float64) string {
	switch v := 100 * share; {
	case math.IsNaN(v):
		return "–"
	case v == 0:
		return "0 %"
	case v < 0.05:
		return "< 0.1 %"
	case v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64) + " %"
	default:
		return strconv.FormatFloat(v, 'f', 0, 64) + " %"
	}
}

// whole writes a whole number with thousands separated.
func whole(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// Plural counts things: 1 pane, 2 panes, 2 categories.
func Plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func capitalized(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

func categoryName(name string) string {
	if strings.TrimSpace(name) == "" {
		return "(empty)"
	}
	return name
}

func clipped(text string, length int) string {
	characters := []rune(text)
	if len(characters) <= length {
		return text
	}
	return string(characters[:length-1]) + "…"
}
