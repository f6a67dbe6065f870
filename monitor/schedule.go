package monitor

import (
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/calendar"
)

// Pane is a stretch of time [Start, End) whose rows are compared together, once, from Due on.
type Pane struct{ Start, End, Due time.Time }

// Schedule is a monitor's panes.
type Schedule struct {
	window  driftline.Span
	grace   time.Duration
	early   time.Duration // 0: no early looks
	zone    *time.Location
	cron    *calendar.Cron // nil: panes follow one another
	catchUp driftline.CatchUp
	start   time.Time
	end     time.Time // zero: never
	created time.Time
}

// mostBackfill bounds the panes between a monitor's start and its creation.
const mostBackfill = 100_000

// NewSchedule compiles the schedule of a monitor. Its errors are Invalid and name the field.
func NewSchedule(m *driftline.Monitor) (*Schedule, error) {
	s := &Schedule{window: m.Window, grace: time.Duration(m.Grace), early: time.Duration(m.Early), catchUp: m.Schedule.CatchUp, start: m.Start, end: m.End, created: m.Created}
	if m.Window.IsZero() {
		return nil, driftline.Errorf(driftline.Invalid, "window is missing").WithHint("say how long a pane is: window: 1d")
	}
	if !m.End.IsZero() && !m.Start.Before(m.End) {
		return nil, driftline.Errorf(driftline.Invalid, "end %s is not after start %s", m.End.Format(time.RFC3339), m.Start.Format(time.RFC3339)).
			WithHint("no pane lies between them")
	}
	if m.Grace < 0 {
		return nil, driftline.Errorf(driftline.Invalid, "grace %s is negative", m.Grace)
	}
	switch m.Schedule.CatchUp {
	case "", driftline.CatchUpAll, driftline.CatchUpLatest, driftline.CatchUpNone:
	default:
		return nil, driftline.Unknown("schedule.catch_up", m.Schedule.CatchUp, []driftline.CatchUp{driftline.CatchUpAll, driftline.CatchUpLatest, driftline.CatchUpNone})
	}
	var err error
	if s.zone, err = calendar.Zone("schedule.time_zone", m.Schedule.TimeZone); err != nil {
		return nil, err
	}
	if m.Schedule.Cron != "" {
		if s.cron, err = calendar.ParseCron("schedule.cron", "schedule.time_zone", m.Schedule.Cron); err != nil {
			return nil, err
		}
	}
	if err := s.checkEarly(m); err != nil {
		return nil, err
	}
	return s, s.checkBackfill()
}

func (s *Schedule) checkBackfill() error {
	if s.start.IsZero() || s.created.IsZero() {
		return nil
	}
	through := s.begin()
	for n := 0; ; n++ {
		pane := s.Next(through)
		if pane.Due.After(s.created) || s.Over(pane) {
			return nil
		}
		if n >= mostBackfill {
			return driftline.Errorf(driftline.Invalid, "start %s is more than %d panes back", s.start.Format(time.RFC3339), mostBackfill).
				WithHint("start later, or choose a longer window")
		}
		through = pane.End
	}
}

// Zone is the time zone that days and months are of.
func (s *Schedule) Zone() *time.Location { return s.zone }

// Over reports whether the monitor is over before a pane ends. Then it is over for all later ones.
func (s *Schedule) Over(pane Pane) bool { return !s.end.IsZero() && pane.End.After(s.end) }

// begin is the instant after which the first pane ends.
func (s *Schedule) begin() time.Time {
	switch {
	case s.cron == nil && s.start.IsZero():
		return s.created
	case s.cron == nil:
		return s.start
	case s.start.IsZero():
		return s.created.Add(-s.grace)
	}
	return s.window.After(s.start.In(s.zone)).Add(-1)
}

// Next returns the pane after the one that ended at through.
func (s *Schedule) Next(through time.Time) Pane {
	if through.IsZero() {
		through = s.begin()
	}
	if s.cron != nil {
		due := s.cron.Next(through.Add(s.grace), s.zone)
		end := due.Add(-s.grace)
		return Pane{Start: s.window.Before(end.In(s.zone)).UTC(), End: end.UTC(), Due: due.UTC()}
	}
	start, end := s.aligned(through)
	return Pane{Start: start.UTC(), End: end.UTC(), Due: end.Add(s.grace).UTC()}
}

// Open returns the first pane after through that is not closed at now. It is false if
// the monitor is over before that pane ends.
func (s *Schedule) Open(through, now time.Time) (Pane, bool) {
	pane := s.Next(through)
	for !pane.Due.After(now) && !s.Over(pane) {
		pane = s.Next(pane.End)
	}
	return pane, !s.Over(pane)
}

// aligned returns the pane of those that follow one another which t is in.
func (s *Schedule) aligned(t time.Time) (start, end time.Time) {
	switch local := t.In(s.zone); {
	case s.window.Months > 0:
		n := s.window.Months
		month := local.Year()*12 + int(local.Month()) - 1
		first := month - month%n
		return s.midnight(0, first+1, 1), s.midnight(0, first+n+1, 1)
	case s.window.Days > 0:
		n := s.window.Days
		day := dayNumber(local)
		first := day - ((day%n)+n)%n
		return s.midnight(1970, 1, monday+first), s.midnight(1970, 1, monday+first+n)
	default:
		length := s.window.Clock.Microseconds()
		at := t.UnixMicro()
		first := at - ((at%length)+length)%length
		return time.UnixMicro(first), time.UnixMicro(first + length)
	}
}

// monday is the day of January 1970 that days are counted from, so that weeks begin with it.
const monday = 5

// dayNumber counts the days of the calendar from the first Monday of 1970.
func dayNumber(local time.Time) int {
	date := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
	return int(date.Unix()/86_400) - (monday - 1)
}

func (s *Schedule) midnight(year, month, day int) time.Time {
	return calendar.Instant(time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), s.zone)
}

// Due returns the panes that are due at now, the oldest first, and no more than limit. up
// is since when somebody could have evaluated them: those that were due before then were
// missed, and the schedule says what becomes of them, but for those from before the
// monitor was made, which its start asks for.
func (s *Schedule) Due(through, up, now time.Time, limit int) []Pane {
	var due []Pane
	var missed *Pane
	for len(due) < limit {
		pane := s.Next(through)
		if pane.Due.After(now) || s.Over(pane) {
			break
		}
		through = pane.End
		if pane.Due.After(s.created) && pane.Due.Before(up) && (s.catchUp == driftline.CatchUpLatest || s.catchUp == driftline.CatchUpNone) {
			missed = &pane
			continue
		}
		if missed != nil && s.catchUp == driftline.CatchUpLatest {
			due = append(due, *missed)
		}
		missed = nil
		due = append(due, pane)
	}
	if missed != nil && s.catchUp == driftline.CatchUpLatest {
		due = append(due, *missed)
	}
	return due
}
