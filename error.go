package driftline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Code says what kind of failure an [Error] is. The list is closed: every edge
// (HTTP, gRPC, Python) maps each code once, so adding one means visiting all edges.
type Code string

// The codes, in the words that the wire uses.
const (
	NotFound           Code = "not_found"           // the named thing does not exist
	AlreadyExists      Code = "already_exists"      // the named thing exists and may not be made twice
	Conflict           Code = "conflict"            // somebody else changed it first, or a key was reused with other content
	Invalid            Code = "invalid"             // the request can never succeed as it is
	FailedPrecondition Code = "failed_precondition" // the request is fine, the state of the system is not
	Exhausted          Code = "exhausted"           // a budget (memory, rows, queue) is used up; retry later or ask for less
	Deadline           Code = "deadline"            // the time allowed ran out
	Permission         Code = "permission"          // the caller may not do this
	Unauthenticated    Code = "unauthenticated"     // the caller is unknown
	DataLoss           Code = "data_loss"           // stored bytes are missing or damaged
	Unavailable        Code = "unavailable"         // not now: starting, stopping, or a peer is away
	Internal           Code = "internal"            // a bug of ours; users see no detail
)

// Codes lists every code, for edges that map them.
var Codes = []Code{
	NotFound, AlreadyExists, Conflict, Invalid, FailedPrecondition, Exhausted,
	Deadline, Permission, Unauthenticated, DataLoss, Unavailable, Internal,
}

// Error is the one error type that crosses package and process borders.
//
// Message names the thing, what was wrong with it and, where known, the place:
//
//	view "weather": column "temp" is string, want float64 (row 17)
//
// Hint is one sentence that says what to do next. Neither holds a path of the
// server, a stack or another user's query. Err is the cause for logs; it is
// never shown to users.
type Error struct {
	Code    Code   `json:"code"`
	Op      string `json:"op,omitempty"`   // what was being done: "engine.Ingest"
	Ref     string `json:"ref,omitempty"`  // what it was done to: "view/weather"
	Message string `json:"message"`        // for people
	Hint    string `json:"hint,omitempty"` // the next step
	Err     error  `json:"-"`              // the cause
}

// Errorf makes an [Error] with a formatted message. A %w verb sets the cause.
func Errorf(code Code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), Err: errors.Unwrap(wrapped)}
}

// WithHint returns e with the next step set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithRef returns e naming the thing that the failure is about.
func (e *Error) WithRef(ref Ref) *Error {
	e.Ref = ref.String()
	return e
}

// Error returns the message and the hint: what a terminal prints.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches any *Error of the same code, so that
// errors.Is(err, &driftline.Error{Code: driftline.NotFound}) works at any depth.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == "" && t.Ref == ""
}

// CodeOf returns the code of the outermost [Error] in err's chain,
// [Internal] for any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// Nearest returns the candidate that name was probably meant to be, or "".
// It is the candidate with the smallest edit distance, at most a third of its length.
func Nearest[S ~string](name S, candidates []S) S {
	var best S
	bestDistance := len(name)/3 + 1
	length := utf8.RuneCountInString(string(name))
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		// The distance is at least the difference in length. A name of megabytes from
		// the wire is thus never compared, which would take its length times theirs.
		if more := length - utf8.RuneCountInString(string(c)); max(more, -more) > bestDistance {
			continue
		}
		if d := editDistance(strings.ToLower(string(name)), strings.ToLower(string(c))); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

// Unknown is the error for a name that is not in the catalogue. It suggests the
// nearest known name, and otherwise lists the known ones (at most ten).
func Unknown[S ~string](kind string, name S, known []S) *Error {
	e := Errorf(NotFound, "%s %q does not exist", kind, clip(string(name)))
	if near := Nearest(name, known); near != "" {
		return e.WithHint("did you mean %q?", string(near))
	}
	if len(known) == 0 {
		return e.WithHint("none is registered yet: run driftline apply first")
	}
	shown := slices.Sorted(slices.Values(known))
	if len(shown) > 10 {
		shown = append(shown[:10], "…")
	}
	names := make([]string, len(shown))
	for i, s := range shown {
		names[i] = string(s)
	}
	return e.WithHint("known: %s", strings.Join(names, ", "))
}

// editDistance is the Damerau–Levenshtein distance (adjacent transpositions count one).
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}
