package calendar_test

import (
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/calendar"
)

// TestNext: times that a change of the clocks skips or repeats.
func TestNext(t *testing.T) {
	for _, c := range []struct{ cron, zone, after, want string }{
		{"30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z"}, // skipped: the next instant that there is
		{"30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", "2026-11-01T05:30:00Z"}, // repeated: the first
		{"30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		{"0 * * * *", "America/New_York", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"}, // each hour that passes
		{"0 6 * * 1-5", "Europe/Berlin", "2026-01-16T06:00:00Z", "2026-01-19T05:00:00Z"},
		{"0 0 29 2 *", "", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		zone, err := calendar.Zone("zone", c.zone)
		if err != nil {
			t.Fatal(err)
		}
		cron, err := calendar.ParseCron("cron", "zone", c.cron)
		if err != nil {
			t.Fatal(err)
		}
		after, _ := time.Parse(time.RFC3339, c.after)
		if got := cron.Next(after, zone).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%q in %q after %s is %s, want %s", c.cron, c.zone, c.after, got, c.want)
		}
	}
}

func TestBadTimesNameTheirField(t *testing.T) {
	for text, want := range map[string]string{
		"TZ=UTC 0 6 * * *": `f.cron "TZ=UTC 0 6 * * *" is not valid: the zone belongs in f.zone; write minute, hour, day of month, month and day of week: "0 6 * * 1-5"`,
		"@every 1h":        `f.cron "@every 1h" is not valid: @every counts from nowhere; write the times; write minute, hour, day of month, month and day of week: "0 6 * * 1-5"`,
		"0 0 31 2 *":       `f.cron "0 0 31 2 *" is not valid: no such day ever comes; write minute, hour, day of month, month and day of week: "0 6 * * 1-5"`,
	} {
		if _, err := calendar.ParseCron("f.cron", "f.zone", text); err == nil || err.Error() != want || driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := calendar.Zone("f.zone", "Local"); err == nil || err.Error() != `f.zone "Local" is not known; write an IANA name like Europe/Berlin` {
		t.Error(err)
	}
}
