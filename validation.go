package driftline

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CheckKind names what a [Check] looks at.
type CheckKind string

// The kinds of checks, with the fields that each reads beside Severity.
const (
	CheckSchema    CheckKind = "schema"    // Fields, Exact: the columns and their types
	CheckRows      CheckKind = "rows"      // Min, Max: how many rows there are
	CheckNulls     CheckKind = "nulls"     // Column, Max: share of values that are null or NaN; 0 if Max is nil
	CheckRange     CheckKind = "range"     // Column, Min, Max, MaxShare: every number lies within
	CheckValues    CheckKind = "values"    // Column, Values, MaxShare: every value is one of a set
	CheckMatches   CheckKind = "matches"   // Column, Pattern, MaxShare: every text matches a regular expression (RE2), anywhere
	CheckLength    CheckKind = "length"    // Column, Min, Max, MaxShare: every text has that many characters
	CheckUnique    CheckKind = "unique"    // Column or Columns: no two rows are equal in all of them
	CheckMean      CheckKind = "mean"      // Column, Min, Max
	CheckQuantile  CheckKind = "quantile"  // Column, Q, Min, Max: interpolated between values
	CheckFreshness CheckKind = "freshness" // Column, Within: the newest time is at most that old
	CheckSQL       CheckKind = "sql"       // SQL: a SELECT over data, the table, that returns what is wrong
)

// CheckKinds lists every kind.
var CheckKinds = []CheckKind{CheckSchema, CheckRows, CheckNulls, CheckRange, CheckValues, CheckMatches, CheckLength,
	CheckUnique, CheckMean, CheckQuantile, CheckFreshness, CheckSQL}

// CheckSeverity says what a failed check means.
type CheckSeverity string

// The severities.
const (
	CheckBlocking CheckSeverity = "blocking" // the table must not be used; the default
	CheckWarning  CheckSeverity = "warning"  // somebody should look
)

// Literal is a value of a check as text. It may be written as a text, a number or a
// truth value.
type Literal string

// UnmarshalJSON reads a string, a number or a truth value.
func (l *Literal) UnmarshalJSON(data []byte) error {
	text := string(data)
	switch {
	case strings.HasPrefix(text, `"`):
		return json.Unmarshal(data, (*string)(l))
	case text == "null" || strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{"):
		return Errorf(Invalid, "%s is not one value", clip(text)).WithHint("write a text, a number, true or false")
	}
	*l = Literal(text)
	return nil
}

// Check is one thing that must hold of a table. Values that are null are looked at by
// nulls and schema only; NaN counts as null.
type Check struct {
	Check    CheckKind     `json:"check"`
	Name     string        `json:"name,omitempty"` // what results call it; made of the other fields if empty
	Severity CheckSeverity `json:"severity,omitempty"`

	Column   string    `json:"column,omitempty"`
	Columns  []string  `json:"columns,omitempty"`
	Fields   []Field   `json:"fields,omitempty"`
	Exact    bool      `json:"exact,omitempty"`     // schema: other columns than Fields are wrong
	Min      *float64  `json:"min,omitempty"`       // inclusive
	Max      *float64  `json:"max,omitempty"`       // inclusive
	MaxShare float64   `json:"max_share,omitempty"` // of the values that may be wrong, from 0 to 1
	Values   []Literal `json:"values,omitempty"`
	Pattern  string    `json:"pattern,omitempty"`
	Q        float64   `json:"q,omitempty"`
	Within   Duration  `json:"within,omitempty"`
	SQL      string    `json:"sql,omitempty"`
}

// Validation is a set of checks that a table must pass: the content of a file for driftline
// validate or, with a name, a definition that is registered like a monitor.
type Validation struct {
	Kind string         `json:"kind,omitempty"` // "validation", or empty
	Name ValidationName `json:"name,omitempty"` // empty for checks that are in a file only

	// Table is what is checked if nothing else is named: view/weather, dataset/late_departure
	// or dataset/late_departure@1, or a SELECT over features.*, datasets.*.
	Table  string  `json:"table,omitempty"`
	Checks []Check `json:"checks"`

	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	// Version counts the definitions that the set has had, from 1, and Created is when the
	// first was applied. Both are filled in by the catalogue.
	Version int       `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
}

// Ref names the version of the set.
func (v *Validation) Ref() Ref { return ValidationRef(v.Name, v.Version) }

// Source is the table of the server that is checked. It is Invalid without a Table.
func (v *Validation) Source() (DriftSource, error) {
	if v.Table == "" {
		return DriftSource{}, Errorf(Invalid, "table is missing").WithHint("write table: view/weather, dataset/late_departure@1 or a SELECT")
	}
	return ParseDriftSource(v.Table)
}

// Validate reports the first check that can never be made, by its number.
func (v *Validation) Validate() error {
	if v.Kind != "" && v.Kind != KindOfChecks {
		return Errorf(Invalid, "the kind of the checks is %q", clip(v.Kind)).WithHint("write kind: %s, or leave it out", KindOfChecks)
	}
	if len(v.Checks) == 0 {
		return Errorf(Invalid, "there are no checks").WithHint("driftline validate --suggest TABLE writes some")
	}
	if len(v.Checks) > mostChecks {
		return Errorf(Invalid, "there are %d checks, want at most %d", len(v.Checks), mostChecks).WithHint("make several sets of them")
	}
	for i := range v.Checks {
		if err := v.Checks[i].validate(); err != nil {
			placed := *err
			placed.Message = fmt.Sprintf("check %d (%s): %s", i+1, v.Checks[i].Check, err.Message)
			return &placed
		}
	}
	return nil
}

// KindOfChecks is the kind: that a document of checks may say it has.
const KindOfChecks = "validation"

// mostChecks bounds a set: a table of a thousand columns has some ten checks of each.
const mostChecks = 10_000

// validate looks at one check alone.
func (c *Check) validate() *Error {
	if !slices.Contains(CheckKinds, c.Check) {
		err := Unknown("check", CheckKind(clip(string(c.Check))), CheckKinds)
		err.Code = Invalid
		return err
	}
	switch {
	case c.Severity != "" && c.Severity != CheckBlocking && c.Severity != CheckWarning:
		return Errorf(Invalid, "the severity is %q", clip(string(c.Severity))).WithHint("one of blocking, warning")
	case !(c.MaxShare >= 0 && c.MaxShare <= 1):
		return Errorf(Invalid, "max_share is %v, want a share from 0 to 1", c.MaxShare)
	case c.Min != nil && c.Max != nil && !(*c.Min <= *c.Max):
		return Errorf(Invalid, "min %v is greater than max %v", *c.Min, *c.Max)
	case c.needsColumn() && c.Column == "":
		return Errorf(Invalid, "no column is named").WithHint("add column: NAME")
	}
	switch c.Check {
	case CheckSchema:
		for _, f := range c.Fields {
			if _, err := ParseType(string(f.Type)); f.Type != "" && err != nil {
				return Errorf(Invalid, "column %q: type %q is unknown", f.Name, clip(string(f.Type)))
			}
		}
		return wanted(len(c.Fields) > 0, "fields", "a list of {name, type}")
	case CheckRows, CheckRange, CheckLength, CheckMean:
		return wanted(c.Min != nil || c.Max != nil, "min or max", "a number")
	case CheckNulls:
		if c.Max != nil && !(*c.Max >= 0 && *c.Max <= 1) {
			return Errorf(Invalid, "max is %v, want a share from 0 to 1", *c.Max)
		}
	case CheckQuantile:
		if !(c.Q > 0 && c.Q < 1) {
			return Errorf(Invalid, "q is %v, want a number between 0 and 1", c.Q)
		}
		return wanted(c.Min != nil || c.Max != nil, "min or max", "a number")
	case CheckValues:
		return wanted(len(c.Values) > 0, "values", "a list")
	case CheckMatches:
		if _, err := regexp.Compile(c.Pattern); c.Pattern == "" || err != nil {
			return Errorf(Invalid, "the pattern %q is no regular expression", clip(c.Pattern))
		}
	case CheckUnique:
		return wanted(c.Column != "" || len(c.Columns) > 0, "column or columns", "a name")
	case CheckFreshness:
		return wanted(c.Within > 0, "within", "a duration like 3h")
	case CheckSQL:
		return wanted(strings.TrimSpace(c.SQL) != "", "sql", "a SELECT over data")
	}
	return nil
}

func (c *Check) needsColumn() bool {
	return !slices.Contains([]CheckKind{CheckSchema, CheckRows, CheckUnique, CheckSQL}, c.Check)
}

func wanted(ok bool, field, what string) *Error {
	if ok {
		return nil
	}
	return Errorf(Invalid, "%s is missing", field).WithHint("give %s", what)
}

// Keys are the columns of a check of uniqueness.
func (c *Check) Keys() []string {
	if c.Column == "" {
		return c.Columns
	}
	return append([]string{c.Column}, c.Columns...)
}

// IsBlocking reports whether the table must not be used if the check fails.
func (c *Check) IsBlocking() bool { return c.Severity != CheckWarning }

// Title is the check's name, or what it asks in words.
func (c *Check) Title() string {
	if c.Name != "" {
		return c.Name
	}
	switch c.Check {
	case CheckSchema:
		if c.Exact {
			return fmt.Sprintf("exactly %d columns of their types", len(c.Fields))
		}
		return fmt.Sprintf("%d columns of their types", len(c.Fields))
	case CheckRows:
		return "rows " + c.bounds()
	case CheckNulls:
		most := 0.0
		if c.Max != nil {
			most = *c.Max
		}
		if most == 0 {
			return c.Column + " is never null"
		}
		return fmt.Sprintf("%s is null in at most %s", c.Column, percentText(most))
	case CheckRange:
		return c.Column + " " + c.bounds() + c.allowance()
	case CheckValues:
		return fmt.Sprintf("%s is one of %s%s", c.Column, c.listed(), c.allowance())
	case CheckMatches:
		return fmt.Sprintf("%s matches %s%s", c.Column, c.Pattern, c.allowance())
	case CheckLength:
		return fmt.Sprintf("length of %s %s%s", c.Column, c.bounds(), c.allowance())
	case CheckUnique:
		return strings.Join(c.Keys(), ", ") + " is unique"
	case CheckMean:
		return fmt.Sprintf("mean of %s %s", c.Column, c.bounds())
	case CheckQuantile:
		return fmt.Sprintf("quantile %v of %s %s", c.Q, c.Column, c.bounds())
	case CheckFreshness:
		return fmt.Sprintf("newest %s within %s", c.Column, c.Within.Short())
	}
	return "no row of " + strings.Join(strings.Fields(c.SQL), " ")
}

func (c *Check) bounds() string {
	switch {
	case c.Min == nil && c.Max == nil:
		return "anything"
	case c.Min == nil:
		return "at most " + boundText(*c.Max)
	case c.Max == nil:
		return "at least " + boundText(*c.Min)
	case *c.Min == *c.Max:
		return "exactly " + boundText(*c.Min)
	}
	return "from " + boundText(*c.Min) + " to " + boundText(*c.Max)
}

func (c *Check) listed() string {
	const most = 6
	shown := make([]string, 0, most+1)
	for _, v := range c.Values[:min(most, len(c.Values))] {
		shown = append(shown, string(v))
	}
	if more := len(c.Values) - most; more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

func (c *Check) allowance() string {
	if c.MaxShare == 0 {
		return ""
	}
	return fmt.Sprintf(", but for %s", percentText(c.MaxShare))
}

func boundText(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }

func percentText(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e5)/1e3, 'g', -1, 64) + " %"
}

// ValidationRequest asks the server to check a table that it has.
type ValidationRequest struct {
	Table  DriftSource `json:"table"`
	Checks []Check     `json:"checks"`
}

// CheckOutcome is how a check went.
type CheckOutcome string

// The outcomes.
const (
	CheckPassed CheckOutcome = "passed"
	CheckFailed CheckOutcome = "failed" // a blocking one
	CheckWarned CheckOutcome = "warned" // a failed one that is a warning only
)

// ValidationReport is the outcome of checking a table.
type ValidationReport struct {
	// Validation is the set that was checked, Version that of its definition, and Run counts
	// how often it was. They are empty for checks that nobody registered.
	Validation ValidationName `json:"validation,omitempty"`
	Version    int            `json:"version,omitempty"`
	Run        int            `json:"run,omitempty"`

	Table   string        `json:"table"`
	Rows    int64         `json:"rows"`
	At      time.Time     `json:"at"`
	Passed  bool          `json:"passed"` // no blocking check failed
	Failed  int           `json:"failed"` // blocking checks
	Warned  int           `json:"warned"`
	Results []CheckResult `json:"results"` // failed ones first, then warnings, each in the order of the checks
}

// CheckResult is what one check found.
type CheckResult struct {
	Check   Check        `json:"check"`
	Title   string       `json:"title"`
	Outcome CheckOutcome `json:"outcome"`
	Found   string       `json:"found"` // in words: "37 of 26,115 values (0.14 %)"

	Observed Number `json:"observed"` // what was compared: a share, a mean, an age in seconds …; NaN if it is no number
	Looked   int64  `json:"looked"`   // values or rows that were looked at
	Bad      int64  `json:"bad"`      // those that break the check; 0 for what is not said row by row

	Examples *Examples `json:"examples,omitempty"` // of the bad rows, a few
}

// Examples are a few rows as texts, null as nil.
type Examples struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
}

// ValidationRun is one time that a registered set was checked, without what each check
// found.
type ValidationRun struct {
	Validation ValidationName `json:"validation"`
	Version    int            `json:"version"`
	Run        int            `json:"run"` // from 1
	At         time.Time      `json:"at"`
	Table      string         `json:"table"`
	Rows       int64          `json:"rows"`
	Checks     int            `json:"checks"`
	Failed     int            `json:"failed"` // blocking checks
	Warned     int            `json:"warned"`
	Passed     bool           `json:"passed"` // no blocking check failed
}

// RunOf sums up a report of a registered set.
func (r *ValidationReport) RunOf() ValidationRun {
	return ValidationRun{Validation: r.Validation, Version: r.Version, Run: r.Run, At: r.At, Table: r.Table,
		Rows: r.Rows, Checks: len(r.Results), Failed: r.Failed, Warned: r.Warned, Passed: r.Passed}
}

// ValidationStatus is a registered set and how it went last.
type ValidationStatus struct {
	Validation Validation     `json:"validation"`
	Last       *ValidationRun `json:"last,omitempty"` // nil if it was never checked
}
