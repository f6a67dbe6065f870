package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// nightly is a time trigger in a zone, of a policy that is paced by nothing.
func (s *schooled) nightly(cron, zone string, catchUp driftline.CatchUp) {
	s.t.Helper()
	zero := driftline.Duration(0)
	s.policy(func(p *driftline.Policy) {
		p.Triggers = []driftline.Trigger{{Name: "nightly", Time: &driftline.TimeTrigger{Cron: cron, TimeZone: zone, CatchUp: catchUp}}}
		p.Pacing = driftline.Pacing{Cooldown: &zero, Budget: 100}
		p.Training.Timeout = driftline.Duration(30 * 24 * time.Hour)
	})
}

// slots are the times that have led to a run, each as often as it did.
func (s *schooled) slots() string {
	s.t.Helper()
	var found []string
	for _, run := range s.runs() {
		for _, cause := range run.Causes {
			found = append(found, strings.TrimSuffix(cause.Bucket, ":00Z"))
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// changes are days on which the clocks of a zone change, and the times of a nightly trigger around
// them: of an hour that is skipped the next instant that there is, of one that comes twice the first.
var changes = []struct {
	zone, cron, from, to string
	want                 string
}{
	{"Europe/Berlin", "30 2 * * *", "2014-03-28T12:00:00Z", "2014-04-01T00:00:00Z", "2014-03-29T01:30 2014-03-30T01:00 2014-03-31T00:30"},
	{"Europe/Berlin", "30 2 * * *", "2013-10-25T12:00:00Z", "2013-10-29T00:00:00Z", "2013-10-26T00:30 2013-10-27T00:30 2013-10-28T01:30"},
	{"America/New_York", "30 2 * * *", "2014-03-07T12:00:00Z", "2014-03-10T12:00:00Z", "2014-03-08T07:30 2014-03-09T07:00 2014-03-10T06:30"},
	{"America/New_York", "30 1 * * *", "2013-11-01T12:00:00Z", "2013-11-04T12:00:00Z", "2013-11-02T05:30 2013-11-03T05:30 2013-11-04T06:30"},
}

// A8: on both days on which the clocks of a zone change each slot is one, though the server
// restarts every day and its own clock is set back by two hours, and forth again, near the change.
func TestEachNightIsOneWhenTheClocksChange(t *testing.T) {
	for _, c := range changes {
		t.Run(c.zone+" "+c.from[:10], func(t *testing.T) {
			s := newSchooled(t)
			s.Clock.Set(instant(t, c.from))
			s.nightly(c.cron, c.zone, driftline.CatchUpLatest)
			to := instant(t, c.to)
			for step := 0; s.Clock.Now().Before(to); step++ {
				s.Clock.Advance(15 * time.Minute)
				s.look()
				switch step % 96 {
				case 40: // 22:15 UTC
					s.Reopen()
				case 60: // 03:15 UTC: after the change in Berlin, before that in New York
					s.Clock.Advance(-2 * time.Hour)
					s.look()
					s.Clock.Advance(2 * time.Hour)
				}
			}
			if got := s.slots(); got != c.want {
				t.Errorf("there were runs for\n%s, want\n%s", got, c.want)
			}
		})
	}
}

// A7 and A8: a server that was away over the change catches up with the last night, with all of
// them one after the other, or with none.
func TestAServerThatWasAwayOverTheChange(t *testing.T) {
	for _, c := range changes {
		nights := strings.Fields(c.want)
		for catchUp, want := range map[driftline.CatchUp][]string{
			driftline.CatchUpLatest: nights[len(nights)-1:], driftline.CatchUpAll: nights, driftline.CatchUpNone: nil,
		} {
			t.Run(fmt.Sprint(c.zone, " ", c.from[:10], " ", catchUp), func(t *testing.T) {
				s := newSchooled(t)
				s.Clock.Set(instant(t, c.from))
				s.nightly(c.cron, c.zone, catchUp)
				s.look()
				if err := s.Engine.Close(); err != nil {
					t.Fatal(err)
				}
				s.Clock.Advance(instant(t, c.to).Sub(s.Clock.Now()))
				s.Reopen()
				for n := range want {
					h := s.hooked(n + 1)
					if runs := s.runs(); len(runs) != n+1 || runs[0].CauseCount != 1 {
						t.Fatalf("after %d runs: %+v", n, runs)
					}
					if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
						t.Fatal(err)
					}
				}
				for range 3 {
					s.look()
				}
				if got := s.slots(); got != strings.Join(want, " ") {
					t.Errorf("there were runs for %q, want %q", got, want)
				}
			})
		}
	}
}

// A trigger that a policy gets later has no past: what it would have asked for is not caught up with.
func TestATriggerThatIsAddedHasNoPast(t *testing.T) {
	s := newSchooled(t)
	for _, restart := range []bool{false, true} {
		s.Clock.Advance(60 * 24 * time.Hour)
		s.nightly("0 * * * *", "", driftline.CatchUpLatest)
		if restart {
			s.Reopen()
		}
		if s.look(); len(s.runs()) != 0 {
			t.Fatalf("it asks for %s", s.slots())
		}
		s.policy(func(*driftline.Policy) {})
	}
	s.nightly("0 * * * *", "", driftline.CatchUpLatest)
	s.Clock.Advance(90 * time.Minute)
	if s.look(); s.slots() != "2013-09-29T01:00" {
		t.Errorf("it asks for %s", s.slots())
	}
}
