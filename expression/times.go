package expression

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// The calendar is UTC's, in the years that all calendars agree on how to count. Times
// beyond them have no parts.
var (
	firstTime = arrow.Timestamp(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	endOfTime = arrow.Timestamp(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
)

func inCalendar(t arrow.Timestamp) bool { return t >= firstTime && t < endOfTime }

// Lengths in microseconds.
const (
	second = 1_000_000
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// parts are the numbers that a time has.
var parts = map[string]func(t time.Time) int64{
	"year":        func(t time.Time) int64 { return int64(t.Year()) },
	"quarter":     func(t time.Time) int64 { return int64(t.Month()+2) / 3 },
	"month":       func(t time.Time) int64 { return int64(t.Month()) },
	"week":        func(t time.Time) int64 { _, week := t.ISOWeek(); return int64(week) },
	"day":         func(t time.Time) int64 { return int64(t.Day()) },
	"dayofweek":   func(t time.Time) int64 { return int64(t.Weekday()) },
	"isodow":      func(t time.Time) int64 { return int64(t.Weekday()+6)%7 + 1 },
	"dayofyear":   func(t time.Time) int64 { return int64(t.YearDay()) },
	"hour":        func(t time.Time) int64 { return int64(t.Hour()) },
	"minute":      func(t time.Time) int64 { return int64(t.Minute()) },
	"second":      func(t time.Time) int64 { return int64(t.Second()) },
	"millisecond": func(t time.Time) int64 { return int64(t.Second())*1000 + int64(t.Nanosecond())/1_000_000 },
	"microsecond": func(t time.Time) int64 { return int64(t.Second())*second + int64(t.Nanosecond())/1000 },
}

// otherParts are names that DuckDB has for the same parts.
var otherParts = map[string]string{
	"dow": "dayofweek", "weekday": "dayofweek", "doy": "dayofyear", "dayofmonth": "day",
	"years": "year", "months": "month", "weeks": "week", "days": "day", "hours": "hour", "minutes": "minute", "seconds": "second",
	"milliseconds": "millisecond", "microseconds": "microsecond",
}

// fixed are the units that always have the same length, in microseconds.
var fixed = map[string]int64{
	"microsecond": 1, "millisecond": 1000, "second": second, "minute": minute, "hour": hour, "day": day,
}

// truncations are the beginnings of longer units.
var truncations = map[string]func(t time.Time) time.Time{
	"week": func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()-int(t.Weekday()+6)%7, 0, 0, 0, 0, time.UTC)
	},
	"month":   func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) },
	"quarter": func(t time.Time) time.Time { return time.Date(t.Year(), (t.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC) },
	"year":    func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC) },
}

// timeFunctions are the functions of times.
func timeFunctions() map[string]function {
	functions := map[string]function{
		"epoch":      {1, 1, ofTime(driftline.Float64, epoch)},
		"epoch_ms":   {1, 1, ofTime(driftline.Int64, func(t arrow.Timestamp) (int64, state) { return int64(t) / 1000, present })},
		"epoch_us":   {1, 1, ofTime(driftline.Int64, func(t arrow.Timestamp) (int64, state) { return int64(t), present })},
		"date_part":  {2, 2, (*compiler).datePart},
		"date_trunc": {2, 2, (*compiler).dateTrunc},
		"date_diff":  {3, 3, (*compiler).dateDiff},
	}
	for name, part := range parts {
		functions[name] = function{1, 1, ofTime(driftline.Int64, inYears(part))}
	}
	for _, other := range []string{"weekday", "dayofmonth"} {
		functions[other] = functions[otherParts[other]]
	}
	return functions
}

// inYears is a part of the times that have parts.
func inYears(part func(time.Time) int64) func(arrow.Timestamp) (int64, state) {
	return func(t arrow.Timestamp) (int64, state) {
		if !inCalendar(t) {
			return 0, badTime
		}
		return part(time.UnixMicro(int64(t)).UTC()), present
	}
}

// instant checks that an argument is a time. A literal text is read as one.
func (c *compiler) instant(name string, v value) (value, error) {
	if v.text != nil {
		return c.time(*v.text, v.at)
	}
	return c.argument(name, v, driftline.Timestamp)
}

func ofTime[R values](kind driftline.Type, apply func(arrow.Timestamp) (R, state)) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		t, err := c.instant(s.text, of[0])
		if err != nil {
			return t, err
		}
		return value{kind: kind, sql: called(s.text, t), run: map1(c, t.run.(operation[arrow.Timestamp]), apply)}, nil
	}
}

// epoch is seconds since 1970: the sum of whole milliseconds and what is left, each as a
// fraction, which is not always the float next to the time.
func epoch(t arrow.Timestamp) (float64, state) {
	milliseconds := floorDivide(int64(t), 1000)
	return float64(milliseconds)/1000 + float64(int64(t)-milliseconds*1000)/second, present
}

// unit reads the literal name of a part or unit.
func (c *compiler) unit(s *syntax, known []string) (string, error) {
	arg := s.children[0]
	if arg.form != formText {
		return "", c.failf(arg.at, "%s wants a literal here", s.text).WithHint("write for example %s('hour', …)", s.text)
	}
	name := strings.ToLower(arg.text)
	if other, is := otherParts[name]; is {
		name = other
	}
	if slices.Contains(known, name) {
		return name, nil
	}
	slices.Sort(known)
	return "", c.failf(arg.at, "%s knows no %q", s.text, clip(arg.text)).WithHint("it knows: %s", strings.Join(known, ", "))
}

func (c *compiler) datePart(s *syntax, of []value) (value, error) {
	unit, err := c.unit(s, append(slices.Collect(maps.Keys(parts)), "epoch"))
	if err != nil {
		return value{}, err
	}
	s.text = unit
	return functions[unit].compile(c, s, of[1:])
}

func (c *compiler) dateTrunc(s *syntax, of []value) (value, error) {
	unit, err := c.unit(s, append(slices.Collect(maps.Keys(fixed)), slices.Collect(maps.Keys(truncations))...))
	if err != nil {
		return value{}, err
	}
	t, err := c.instant(s.text, of[1])
	if err != nil {
		return t, err
	}
	run := map1(c, t.run.(operation[arrow.Timestamp]), func(t arrow.Timestamp) (arrow.Timestamp, state) {
		if !inCalendar(t) {
			return 0, badTime
		}
		if length, ok := fixed[unit]; ok {
			return arrow.Timestamp(floorDivide(int64(t), length) * length), present
		}
		return arrow.Timestamp(truncations[unit](time.UnixMicro(int64(t)).UTC()).UnixMicro()), present
	})
	return value{kind: driftline.Timestamp, sql: fmt.Sprintf("date_trunc('%s', %s)", unit, t.sql), run: run}, nil
}

// dateDiff counts the borders of a unit between two times: from 9:59 to 10:01 there is
// one of an hour.
func (c *compiler) dateDiff(s *syntax, of []value) (value, error) {
	unit, err := c.unit(s, append(slices.Collect(maps.Keys(fixed)), "month", "quarter", "year"))
	if err != nil {
		return value{}, err
	}
	from, err := c.instant(s.text, of[1])
	if err != nil {
		return from, err
	}
	to, err := c.instant(s.text, of[2])
	if err != nil {
		return to, err
	}
	number := unitNumber(unit)
	run := map2(c, from.run.(operation[arrow.Timestamp]), to.run.(operation[arrow.Timestamp]), func(a, b arrow.Timestamp) (int64, state) {
		if !inCalendar(a) || !inCalendar(b) {
			return 0, badTime
		}
		return number(b) - number(a), present
	})
	return value{kind: driftline.Int64, sql: fmt.Sprintf("date_diff('%s', %s, %s)", unit, from.sql, to.sql), run: run}, nil
}

// unitNumber numbers the units that times are in.
func unitNumber(unit string) func(arrow.Timestamp) int64 {
	if length, ok := fixed[unit]; ok {
		return func(t arrow.Timestamp) int64 { return floorDivide(int64(t), length) }
	}
	months := map[string]int64{"month": 1, "quarter": 3, "year": 12}[unit]
	return func(t arrow.Timestamp) int64 {
		date := time.UnixMicro(int64(t)).UTC()
		return (int64(date.Year())*12 + int64(date.Month()) - 1) / months
	}
}

// floorDivide is a / b, rounded down.
func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// layouts are how a literal time may be written; it is UTC unless it says otherwise.
var layouts = []string{
	"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07",
}

// time is a literal time.
func (c *compiler) time(text string, at int) (value, error) {
	written := strings.Replace(strings.TrimSpace(text), "T", " ", 1)
	for _, layout := range layouts {
		t, err := time.Parse(layout, written)
		if err != nil {
			continue
		}
		us := t.UnixMicro()
		return value{
			kind: driftline.Timestamp, at: at, sql: fmt.Sprintf("make_timestamptz(CAST(%d AS BIGINT))", us),
			run: constant(c, arrow.Timestamp(us)),
		}, nil
	}
	return value{}, c.failf(at, "%q is not a time", clip(text)).WithHint("write '2013-01-31', '2013-01-31 14:30:00' or '2013-01-31T14:30:00+01:00'")
}

// wholeNumber is the value of a literal whole number.
func (s *syntax) wholeNumber() (n int, is bool) {
	if s.form != formInteger {
		return 0, false
	}
	n, err := strconv.Atoi(s.text)
	return n, err == nil
}
