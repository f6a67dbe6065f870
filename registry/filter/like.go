package filter

import (
	"strings"
	"unicode/utf8"
)

// like returns the match of SQL's LIKE: % is any text, _ one character, all else itself.
// With fold, case is no matter.
func like(pattern string, fold bool) func(string) bool {
	if fold {
		match := like(strings.ToLower(pattern), false)
		return func(x string) bool { return match(strings.ToLower(x)) }
	}
	if !strings.Contains(pattern, "_") {
		if match := plainLike(pattern); match != nil {
			return match
		}
	}
	return func(x string) bool { return likeSlow(pattern, x) }
}

// plainLike is the match of a pattern that has % at its ends only, nil for others.
func plainLike(pattern string) func(string) bool {
	inner := strings.Trim(pattern, "%")
	begins, ends := strings.HasPrefix(pattern, "%"), strings.HasSuffix(pattern, "%")
	switch {
	case strings.Contains(inner, "%"):
		return nil
	case inner == "" && pattern != "":
		return func(string) bool { return true }
	case begins && ends:
		return func(x string) bool { return strings.Contains(x, inner) }
	case begins:
		return func(x string) bool { return strings.HasSuffix(x, inner) }
	case ends:
		return func(x string) bool { return strings.HasPrefix(x, inner) }
	}
	return func(x string) bool { return x == inner }
}

// likeSlow matches by going back to the last % on a mismatch: at most len(pattern)·len(x) steps.
func likeSlow(pattern, x string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(x) {
		switch {
		case p < len(pattern) && pattern[p] == '%':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == '_':
			p++
			i += width(x[i:])
		case p < len(pattern) && pattern[p] == x[i]:
			p++
			i++
		case star >= 0:
			mark += width(x[mark:])
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "%") == ""
}

// width is the size of the character that x begins with.
func width(x string) int {
	_, size := utf8.DecodeRuneInString(x)
	return size
}
