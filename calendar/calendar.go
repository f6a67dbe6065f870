// Package calendar says at which instants a cron expression in a time zone comes true, so
// that everything that happens by the clock on the wall means the same by it.
//
// Invariants:
//
//   - A time of the wall clock that a change of the clocks skips is the next instant that
//     there is, and one that it repeats is the first of the two, unless the hour is *: then
//     every hour that passes counts.
//   - Zones are those of this binary, so a name means the same on every machine.
package calendar

import (
	"strings"
	"time"
	_ "time/tzdata" // a zone means the same on every machine

	"github.com/robfig/cron/v3"

	"github.com/driftline/driftline"
)

// Zone returns the time zone of an IANA name, and UTC for "". The error is Invalid and names field.
func Zone(field, name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	loaded, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, driftline.Errorf(driftline.Invalid, "%s %.80q is not known", field, name).
			WithHint("write an IANA name like Europe/Berlin")
	}
	return loaded, nil
}

// Cron is a cron expression.
type Cron struct{ spec *cron.SpecSchedule }

// ParseCron reads five fields (minute, hour, day of month, month, day of week) or a name like
// @daily. The error is Invalid and names field; zoneField is where the time zone belongs.
func ParseCron(field, zoneField, text string) (*Cron, error) {
	refuse := func(why string) error {
		return driftline.Errorf(driftline.Invalid, "%s %.80q is not valid: %s", field, text, why).
			WithHint(`write minute, hour, day of month, month and day of week: "0 6 * * 1-5"`)
	}
	if strings.Contains(text, "TZ=") {
		return nil, refuse("the zone belongs in " + zoneField)
	}
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return nil, refuse(err.Error())
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, refuse("@every counts from nowhere; write the times")
	}
	if spec.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, refuse("no such day ever comes")
	}
	return &Cron{spec}, nil
}

// everyHour is the bit that robfig/cron sets where a field is *.
const everyHour = 1 << 63

// Next returns the first time of the expression in a zone that is after t.
func (c *Cron) Next(t time.Time, zone *time.Location) time.Time {
	if c.spec.Hour&everyHour != 0 {
		return c.spec.Next(t.In(zone))
	}
	// On the dial of the clock, where no hour is skipped or repeated. A change of the
	// clocks moves the hands by a day at most.
	for wall := shown(t, zone).Add(-25 * time.Hour); ; {
		wall = c.spec.Next(wall)
		if next := Instant(wall, zone); next.After(t) {
			return next
		}
	}
}

// Instant returns when a clock in a zone shows what wall shows in UTC. A time that a change
// of the clocks repeats is the first of the two; for one that it skips, the change itself.
func Instant(wall time.Time, zone *time.Location) time.Time {
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	first := wall.Add(-time.Duration(max(before, after)) * time.Second)
	second := wall.Add(-time.Duration(min(before, after)) * time.Second)
	for _, t := range []time.Time{first, second} {
		if shown(t, zone).Equal(wall) {
			return t
		}
	}
	changed, _ := second.In(zone).ZoneBounds()
	return changed.UTC()
}

// shown is what a clock in a zone shows at t, as a time in UTC.
func shown(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
