package monitor

import (
	"time"

	"github.com/driftline/driftline"
)

// mostLooks bounds the early looks at a pane.
const mostLooks = 10_000

// Look is an early look at a pane that has not closed.
type Look struct {
	Number int       // from 1; 0: none is due
	Of     int       // how many there are at most, which is known before the first
	Until  time.Time // rows before it are compared
}

// Look returns the newest early look at a pane that is due at now. Looks are at fixed
// times since the pane's start, each after the grace for late rows, so that their number
// does not depend on when somebody was up to look.
func (s *Schedule) Look(pane Pane, now time.Time) Look {
	length := pane.End.Sub(pane.Start)
	if s.early <= 0 || s.Over(pane) || !pane.Due.After(now) {
		return Look{}
	}
	look := Look{Of: int((length - 1) / s.early)}
	look.Number = min(look.Of, int(now.Sub(pane.Start.Add(s.grace))/s.early))
	if look.Number < 1 {
		return Look{}
	}
	look.Until = pane.Start.Add(time.Duration(look.Number) * s.early)
	return look
}

// checkEarly refuses early looks that make no sense.
func (s *Schedule) checkEarly(m *driftline.Monitor) error {
	length := m.Window.After(time.Unix(0, 0).UTC()).Sub(time.Unix(0, 0))
	switch {
	case s.early == 0:
		return nil
	case s.cron != nil:
		return driftline.Errorf(driftline.Invalid, "early is for panes that follow one another, and the schedule has a cron").
			WithHint("leave out schedule.cron: panes of %s begin where the last one ended", m.Window)
	case s.early < time.Second || s.early >= length:
		return driftline.Errorf(driftline.Invalid, "early is %s, want a second at least and less than the window, %s", m.Early.Short(), m.Window)
	case length/s.early > mostLooks:
		return driftline.Errorf(driftline.Invalid, "early is %s: a pane of %s would be looked at more than %d times", m.Early.Short(), m.Window, mostLooks).
			WithHint("look less often")
	}
	return nil
}
