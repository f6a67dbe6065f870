package driftline

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Monitor watches a table over time: it cuts the time into panes, compares each pane, once
// it is closed, with reference rows, and raises an alert when they drift.
type Monitor struct {
	Name      MonitorName      `json:"name"`
	Source    MonitorSource    `json:"source"`
	Reference MonitorReference `json:"reference"`

	// Window is how long a pane is. Panes of days and months begin at midnight in the
	// schedule's time zone, shorter ones at whole multiples since 1970-01-01 UTC.
	Window Span `json:"window"`

	// Grace is how long after its end a pane is still open for rows that come late.
	Grace Duration `json:"grace,omitempty"`

	Schedule MonitorSchedule `json:"schedule,omitzero"`

	// Early is how often a pane that has not closed is looked at; 0 means never. Drift that is
	// certain by then decides the pane at once, and raises its alert. When it closes it is
	// evaluated again, with all of its rows, which changes no alert. Panes follow one another then.
	Early Duration `json:"early,omitempty"`

	// Start is where the first pane begins that is looked at; the zero time: with the pane
	// under way when the monitor was first applied. Alerts of panes that were due before
	// then are recorded, and nobody is told of them.
	Start time.Time `json:"start,omitzero"`

	// End is when the monitor is over: panes that end later are not evaluated. The zero
	// time: never.
	End time.Time `json:"end,omitzero"`

	// Segments split a pane into groups of rows that are compared apart, besides all rows.
	Segments []Segment `json:"segments,omitempty"`

	// Slices say how the rows are searched in which columns changed most, once a pane drifts.
	Slices SliceSearch `json:"slices,omitzero"`

	// Tests say which columns are compared, and how. Without columns they are all that the
	// pane and the reference have; of a feature view, its features.
	Tests DriftOptions `json:"tests,omitzero"`

	// Budget bounds false alarms over all columns, segments and panes. Nil leaves the
	// level of Tests as it is, for each pane.
	Budget *AlarmBudget `json:"budget,omitempty"`

	Alert AlertRule `json:"alert,omitzero"`

	// KeepProfiles is of how many panes, the newest ones, the profile is kept, so that they can
	// be compared when their rows are gone; [UsualKeptProfiles] if 0.
	KeepProfiles int `json:"keep_profiles,omitempty"`

	Disabled    bool              `json:"disabled,omitempty"` // panes are not evaluated; those missed are once it is enabled
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	// Version counts the definitions that the monitor has had, from 1, and Created is when
	// the first was applied. Both are filled in by the catalogue.
	Version int       `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
}

// Ref names the version of the monitor.
func (m *Monitor) Ref() Ref { return MonitorRef(m.Name, m.Version) }

// MonitorSource is the table that a monitor watches: exactly one of Ref and SQL is set.
type MonitorSource struct {
	Ref Ref    `json:"ref,omitzero"`  // view/weather, dataset/late_departure or dataset/late_departure@1
	SQL string `json:"sql,omitempty"` // a SELECT over features.*, datasets.*

	// TimeColumn is the column whose values say to which pane a row belongs. Of a feature
	// view it is the event timestamp.
	TimeColumn string `json:"time_column,omitempty"`
}

// MonitorReference is what panes are compared with: exactly one of Ref, Moving,
// SameWeekday, and From and To together, is set.
type MonitorReference struct {
	Ref Ref `json:"ref,omitzero"` // a dataset: dataset/late_departure@1

	// From and To are a fixed window [From, To) of the source.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`

	// Moving is the length of the window of the source that ends Gap before the pane begins.
	Moving Span `json:"moving,omitzero"`
	Gap    Span `json:"gap,omitzero"`

	// SameWeekday compares a pane with the panes 1, 2, … SameWeekday weeks before it.
	SameWeekday int `json:"same_weekday,omitempty"`
}

// MonitorSchedule says when panes are evaluated.
type MonitorSchedule struct {
	// Cron is five fields (minute, hour, day of month, month, day of week) or a name like
	// @daily. At each of its times the pane is evaluated that ended Grace before. Without
	// it panes follow one another, and each is evaluated when it closes.
	//
	// A time that a clock change skips is taken to be the next instant that there is, and
	// one that it repeats is the first of the two, unless the hour is *.
	Cron string `json:"cron,omitempty"`

	TimeZone string  `json:"time_zone,omitempty"` // an IANA name, Europe/Berlin; UTC if left out
	CatchUp  CatchUp `json:"catch_up,omitempty"`
}

// CatchUp says what becomes of panes that closed while nobody could evaluate them.
type CatchUp string

// The ways to catch up. The empty one means CatchUpAll.
const (
	CatchUpAll    CatchUp = "all"    // each is evaluated, the oldest first
	CatchUpLatest CatchUp = "latest" // the last one is
	CatchUpNone   CatchUp = "none"   // none is
)

// Segment is an SQL expression over the source's columns. The rows for which it has the
// same value are compared apart; those where it is null are of no segment.
type Segment struct {
	Name       string `json:"name,omitempty"` // what it is called in results; the expression if left out
	Expression string `json:"expression"`     // origin, or distance > 1000
}

// Title is the segment's name, or its expression.
func (s Segment) Title() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Expression
}

// SliceSearch is the search for the rows in which a drifted column changed more than it
// did elsewhere. Where it finds some, the alert names them.
type SliceSearch struct {
	Off bool `json:"off,omitempty"`

	// By names the columns whose values make slices; empty: all but times and identifiers,
	// of a feature view its join keys too.
	By []string `json:"by,omitempty"`

	// Conditions is how many columns a slice may be of, 1 to 3; 2 if 0.
	Conditions int `json:"conditions,omitempty"`
}

// AlarmBudget is how many false alarms there may be in a time: one in 30 days.
type AlarmBudget struct {
	Alarms float64  `json:"alarms"`
	Per    Duration `json:"per"`
}

// AlertRule says when a monitor raises an alert, when it is over, and who is told.
type AlertRule struct {
	// Drifted of the last Of panes must have drifted for an alert; 1 of 1 if left out.
	Drifted int `json:"drifted,omitempty"`
	Of      int `json:"of,omitempty"`

	// Clear is after how many panes in a row without drift the alert is resolved; 1 if 0.
	Clear int `json:"clear,omitempty"`

	Severity Severity `json:"severity,omitempty"` // warning if left out
	Channels []string `json:"channels,omitempty"` // by their names in the server's settings
}

// Severity is how bad an alert is.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// UsualKeptProfiles is of how many panes a monitor keeps the profile if it does not say it, and
// MostKeptProfiles the most that it may say: a column of many values takes some 30 KB.
const (
	UsualKeptProfiles = 1_000
	MostKeptProfiles  = 100_000
)

// MostHysteresis bounds the panes that an [AlertRule] speaks of.
const MostHysteresis = 1000

// Completed returns the rule with its defaults filled in.
func (r AlertRule) Completed() AlertRule {
	r.Drifted = max(r.Drifted, 1)
	r.Of = max(r.Of, r.Drifted)
	r.Clear = max(r.Clear, 1)
	if r.Severity == "" {
		r.Severity = Warning
	}
	return r
}

// Span is a length on the calendar: of the three one is set. A month, and a day, are as
// long as they are: a day has 23 hours when the clocks go forward.
type Span struct {
	Months int
	Days   int
	Clock  time.Duration
}

// ParseSpan reads "1mo", "7d", "2w" (14 days), or a Go duration of whole
// seconds below a day, like "1h30m".
func ParseSpan(s string) (Span, error) {
	for _, unit := range []struct {
		suffix string
		of     Span
	}{{"mo", Span{Months: 1}}, {"w", Span{Days: 7}}, {"d", Span{Days: 1}}} {
		digits, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > mostSpan {
			return Span{}, badSpan(s)
		}
		return Span{Months: n * unit.of.Months, Days: n * unit.of.Days}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d >= 24*time.Hour || d%time.Second != 0 {
		return Span{}, badSpan(s)
	}
	return Span{Clock: d}, nil
}

// mostSpan bounds the number in front of a unit: a hundred years of days.
const mostSpan = 36_525

func badSpan(s string) error {
	return Errorf(Invalid, "length of time %q is not valid", clip(s)).WithHint("write it like 15m, 1h, 1d, 2w or 1mo")
}

// IsZero reports whether s is no length.
func (s Span) IsZero() bool { return s == Span{} }

// String returns what [ParseSpan] reads, and "" for no length.
func (s Span) String() string {
	switch {
	case s.Months > 0:
		return fmt.Sprintf("%dmo", s.Months)
	case s.Days > 0:
		return fmt.Sprintf("%dd", s.Days)
	case s.Clock > 0:
		return Duration(s.Clock).Short()
	}
	return ""
}

// MarshalText writes the form of String.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what [ParseSpan] reads, and "" as no length.
func (s *Span) UnmarshalText(text []byte) (err error) {
	if *s = (Span{}); len(text) == 0 {
		return nil
	}
	*s, err = ParseSpan(string(text))
	return err
}

// Before returns the instant that lies the length before t, in t's time zone.
func (s Span) Before(t time.Time) time.Time {
	if s.Clock > 0 {
		return t.Add(-s.Clock) // AddDate would take the other of two equal times of the clock
	}
	return t.AddDate(0, -s.Months, -s.Days)
}

// After returns the instant that lies the length after t, in t's time zone.
func (s Span) After(t time.Time) time.Time {
	if s.Clock > 0 {
		return t.Add(s.Clock)
	}
	return t.AddDate(0, s.Months, s.Days)
}

// MonitorState is where a monitor stands. It changes by evaluations of panes and by what
// people do, in one step with the line of the ledger that says so.
type MonitorState struct {
	Monitor MonitorName `json:"monitor"`

	// Through is the end of the last pane that was closed; later panes are open. The zero
	// time: none was.
	Through time.Time `json:"through,omitzero"`
	Panes   int64     `json:"panes"` // how many were evaluated

	// Decided is the end of the pane that was decided early and has not been evaluated since.
	Decided time.Time `json:"decided,omitzero"`

	// Outcomes are those of the last panes that said something, the newest last; as many
	// as the alert rule looks at.
	Outcomes []PaneOutcome `json:"outcomes,omitempty"`
	Phase    MonitorPhase  `json:"phase"`
	Last     PaneOutcome   `json:"last,omitempty"` // of the last pane, whatever it was

	Alert  AlertID `json:"alert,omitempty"` // that is open
	Alerts int     `json:"alerts"`          // how many there were

	Paused       bool      `json:"paused,omitempty"`
	Resumed      time.Time `json:"resumed,omitzero"`       // when it last was
	SnoozedUntil time.Time `json:"snoozed_until,omitzero"` // nobody is told of new alerts before then

	Failures int    `json:"failures,omitempty"` // in a row, up to the last pane
	Error    string `json:"error,omitempty"`    // of the last failure, if the last pane failed
}

// MonitorPhase is how far the episode of a monitor is.
type MonitorPhase string

// The phases.
const (
	PhaseOK      MonitorPhase = "ok"
	PhasePending MonitorPhase = "pending" // panes drifted, and too few for an alert
	PhaseFiring  MonitorPhase = "firing"  // an alert is open
)

// PaneOutcome is what the comparison of a pane came to.
type PaneOutcome string

// The outcomes. The last two say nothing of drift: they neither raise nor resolve.
const (
	PaneDrift  PaneOutcome = "drift"
	PaneSame   PaneOutcome = "same"
	PaneUnsure PaneOutcome = "not enough data" // in no column could anything be said
	PaneFailed PaneOutcome = "failed"          // it could not be compared
)

// MonitorPane is one evaluation of one pane.
type MonitorPane struct {
	Monitor MonitorName `json:"monitor"`
	Version int         `json:"version"` // of the monitor's definition

	Start time.Time `json:"start"` // inclusive
	End   time.Time `json:"end"`   // exclusive
	Due   time.Time `json:"due"`   // when it closed

	// Early is up to where its rows were compared, if it was decided before it closed.
	Early time.Time `json:"early,omitzero"`

	Evaluated  time.Time `json:"evaluated"`
	Evaluation int       `json:"evaluation"` // 1: when it closed; 2, … again, by command
	Sequence   uint64    `json:"seq"`        // of the ledger line that names the evidence

	Outcome       PaneOutcome `json:"outcome"`
	Rows          int64       `json:"rows"`
	ReferenceRows int64       `json:"reference_rows"`
	Reference     string      `json:"reference"` // what it was compared with, for people
	Error         string      `json:"error,omitempty"`

	Compared int           `json:"compared"`          // columns, over all segments
	Drifted  int           `json:"drifted"`           // of these
	Columns  []DriftColumn `json:"columns,omitempty"` // that drifted, by effect; 20 at most
	Segments int           `json:"segments,omitempty"`

	// Slices are where columns changed more than elsewhere, the worst first; none of a pane
	// that did not drift.
	Slices []DriftSlice `json:"slices,omitempty"`

	Phase MonitorPhase `json:"phase,omitempty"` // of the monitor after it; "" for one that was evaluated again
	Alert AlertID      `json:"alert,omitempty"` // that was open then

	// Late is how many rows the pane has now that it did not have when it was evaluated.
	// It is counted when panes are listed; nil if it was not.
	Late *int64 `json:"late,omitempty"`
}

// DriftColumn names a column that drifted, of a segment or, if that is "", of all rows.
type DriftColumn struct {
	Segment string `json:"segment,omitempty"`
	Column  string `json:"column"`
	Test    string `json:"test"`
	Effect  Number `json:"effect"`
	QValue  Number `json:"q_value"`
}

// DriftSlice is a set of rows in which a column changed more than in all others. It was
// found in one half of the rows, and what it says is of the other half but for the numbers
// of rows and shares, so that it is no matter how many sets were searched: of the slices
// that are named, one in twenty may be chance.
type DriftSlice struct {
	Column string `json:"column"` // that drifted
	Change string `json:"change"` // what the shares are of: temp > 57.02, carrier = UA, temp is missing

	Conditions []string `json:"conditions"` // that make the slice: origin = JFK, for people
	Where      string   `json:"where"`      // the same, as a condition in SQL over the source

	ReferenceRows int64 `json:"reference_rows"`
	Rows          int64 `json:"rows"`

	Before Number   `json:"before"` // share of the slice's reference rows of which Change is true
	After  Number   `json:"after"`  // of its rows in the pane
	Excess Interval `json:"excess"` // by how much more the share rose than that of all other rows
	QValue Number   `json:"q_value"`
}

// MonitorStatus is a monitor with where it stands.
type MonitorStatus struct {
	Monitor Monitor      `json:"monitor"`
	State   MonitorState `json:"state"`
	Next    time.Time    `json:"next,omitzero"` // when the next pane closes; zero if it is paused, disabled or over
}

// PaneReport is everything that an evaluation of a pane found: a report over all rows and
// one for each segment that has rows.
type PaneReport struct {
	Pane    MonitorPane     `json:"pane"`
	Reports []SegmentReport `json:"reports"`
}

// SegmentReport is the report of one segment; Segment is "" for all rows, and like
// origin=JFK otherwise.
type SegmentReport struct {
	Segment string      `json:"segment,omitempty"`
	Report  DriftReport `json:"report"`
}

// MonitorRun asks for panes to be evaluated: of those that are due, or again.
type MonitorRun struct {
	// Pane is an instant in a pane that was closed, which is then evaluated again: the
	// result is recorded beside the first, and changes no alert. The zero time evaluates
	// what is due.
	Pane time.Time `json:"pane,omitzero"`
}

// PaneRowsRequest asks for rows of a pane, or of what it was compared with, to look at.
// What it sets narrows them down, all together.
type PaneRowsRequest struct {
	Evaluation int    `json:"evaluation,omitempty"` // whose findings Column and Slice mean; 0: the last
	Side       string `json:"side,omitempty"`       // "pane" (the default) or "reference"
	Segment    string `json:"segment,omitempty"`    // as results name it: origin=JFK
	Slice      int    `json:"slice,omitempty"`      // of the pane's slices, from 1

	// Column and Bin choose rows by the column's histogram: bins are counted from 1. 0
	// means the bin whose share rose most, or of the reference fell most; -1 missing values.
	Column string `json:"column,omitempty"`
	Bin    int    `json:"bin,omitempty"`

	Limit int `json:"limit,omitempty"` // rows at most; 50 if 0, 1000 at most
}

// The sides of a pane, and the bin of what is missing.
const (
	SidePane      = "pane"
	SideReference = "reference"

	MissingBin = -1
)

// PaneRows says which rows were chosen. They are what the source has now: rows that came
// late are among them, and rows that were erased are not.
type PaneRows struct {
	Pane  MonitorPane `json:"pane"`
	Where string      `json:"where"` // the condition, in SQL, besides the time; "" for all rows
	Bin   int         `json:"bin"`   // that was chosen; 0 if no column was named
	Count int64       `json:"count"` // of all rows that there are
}
