package query

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/driftline/driftline"
	"github.com/duckdb/duckdb-go/v2"
)

// failure maps an error of DuckDB to ours. Mistakes in a user's SQL are told in
// DuckDB's own first line; everything else that DuckDB says is the cause only.
func failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var ours *driftline.Error
	if errors.As(err, &ours) {
		return err
	}
	if ctx.Err() != nil {
		return stopped(context.Cause(ctx))
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return stopped(err)
	}
	var theirs *duckdb.Error
	if !errors.As(err, &theirs) {
		return driftline.Errorf(driftline.Internal, "the query failed: %w", hidden{err})
	}
	theirs = told(theirs)
	if damagedFile(theirs) {
		return driftline.Errorf(driftline.DataLoss, "a stored file cannot be read: %w", hidden{err})
	}
	switch theirs.Type {
	case duckdb.ErrorTypeOutOfMemory:
		return driftline.Errorf(driftline.Exhausted, "the query needs more memory than it may use: %w", hidden{err}).
			WithHint("ask for fewer rows or columns")
	case duckdb.ErrorTypePermission:
		return driftline.Errorf(driftline.Permission, "the query reaches for something outside its tables: %w", hidden{err})
	case duckdb.ErrorTypeInternal, duckdb.ErrorTypeFatal, duckdb.ErrorTypeNullPointer:
		return driftline.Errorf(driftline.Internal, "the query failed: %w", hidden{err})
	case duckdb.ErrorTypeInterrupt:
		return stopped(context.Canceled)
	}
	e := mistake(theirs.Msg)
	e.Err = err
	return e
}

// told is an error of DuckDB with its kind and its message apart. What happens while a result becomes
// Arrow comes without a kind, as JSON.
func told(e *duckdb.Error) *duckdb.Error {
	var said struct {
		Kind    string `json:"exception_type"`
		Message string `json:"exception_message"`
	}
	if json.Unmarshal([]byte(e.Msg), &said) != nil || said.Kind == "" {
		return e
	}
	kinds := map[string]duckdb.ErrorType{
		"Out of Memory": duckdb.ErrorTypeOutOfMemory,
		"INTERRUPT":     duckdb.ErrorTypeInterrupt,
		"INTERNAL":      duckdb.ErrorTypeInternal,
		"FATAL":         duckdb.ErrorTypeFatal,
	}
	kind, known := kinds[said.Kind]
	if !known {
		kind = e.Type
	}
	return &duckdb.Error{Type: kind, Msg: said.Message}
}

// mistakes are what DuckDB says of names that do not exist, and how we say it. The
// groups of an expression go into the text; the names that DuckDB offers instead
// become the hint.
var mistakes = []struct {
	says *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`Referenced column "(.+?)" not found in FROM clause`), `column "$1" does not exist`},
	{regexp.MustCompile(`Referenced column "(.+?)" was not found because the FROM clause is missing`), `column "$1" does not exist, because there is no FROM`},
	{regexp.MustCompile(`(?:Table|Values list) "(.+?)" does not have a column named "(.+?)"`), `table "$1" has no column "$2"`},
	{regexp.MustCompile(`Referenced table "(.+?)" not found`), `table "$1" is not in the FROM of this SELECT`},
	{regexp.MustCompile(`Function with name "?([^\s"]+)"? does not exist`), `function "$1" does not exist`},
}

var (
	errorKind = regexp.MustCompile(`^[A-Z][A-Za-z ]* Error: `)
	offered   = regexp.MustCompile(`(?s)(?:Candidate (?:bindings|tables)|Did you mean|Similar column)[^"]*("[^"\n]+"(?:, "[^"\n]+")*)`)
)

// mistake is the error of a text that DuckDB refuses.
func mistake(message string) *driftline.Error {
	for _, m := range mistakes {
		match := m.says.FindStringSubmatchIndex(message)
		if match == nil {
			continue
		}
		e := driftline.Errorf(driftline.Invalid, "%s", m.says.ExpandString(nil, m.text, message, match))
		if names := offered.FindStringSubmatch(message); names != nil {
			e = e.WithHint("did you mean %s?", strings.ReplaceAll(names[1], ", ", " or "))
		}
		return e
	}
	return driftline.Errorf(driftline.Invalid, "%s", errorKind.ReplaceAllString(firstLine(message), ""))
}

// damagedFile reports whether DuckDB could not read a file. Some of what a broken
// Parquet file brings about is called invalid input.
func damagedFile(e *duckdb.Error) bool {
	return e.Type == duckdb.ErrorTypeIO ||
		e.Type == duckdb.ErrorTypeInvalidInput && strings.Contains(e.Msg, ".parquet'")
}

// stopped is the error of a query whose context ended.
func stopped(cause error) error {
	if errors.Is(cause, context.DeadlineExceeded) {
		e := driftline.Errorf(driftline.Deadline, "the query ran out of time").WithHint("ask for less, or allow more time")
		e.Err = cause
		return e
	}
	e := driftline.Errorf(driftline.Unavailable, "the query was cancelled")
	e.Err = cause
	return e
}

// hidden keeps a cause for errors.As and logs without showing its text.
type hidden struct{ error }

func (hidden) Error() string   { return "see the log of the server" }
func (h hidden) Unwrap() error { return h.error }

var serverPath = regexp.MustCompile(`(?:/[^\s"'/:]+){2,}`)

// firstLine is what a user may see of DuckDB's message: no excerpt of the text that
// ran (it is not the text that the user wrote) and no path.
func firstLine(message string) string {
	line, rest, _ := strings.Cut(strings.TrimSpace(message), "\n")
	if candidates, _, ok := strings.Cut(rest, "\n"); strings.HasPrefix(rest, "Candidate bindings") && (ok || candidates == "") {
		line += " " + candidates
	} else if strings.HasPrefix(rest, "Candidate bindings") {
		line += " " + rest
	}
	return serverPath.ReplaceAllString(strings.TrimSuffix(line, "!"), "…")
}
