package monitor

import (
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

// Level returns the level at which one set of rows of a pane is compared: all rows, or
// those of a segment. alpha is the level of a pane without a budget.
//
// With one, a pane has the level of [drift.Budget]: as many false alarms as the budget
// accepts, divided by the panes that are due in its time. It holds on average whatever the
// panes share, since the mean number of false alarms is the sum of their levels. So panes
// may overlap, and may have one reference. It is never more than alpha.
//
// What is asked of a pane beside all of its rows shares its level evenly (Bonferroni):
// each segment, the tests of all columns together, and all early looks at it. A segment's values share what the
// segment has; see [SegmentLevel].
func (s *Schedule) Level(m *driftline.Monitor, alpha float64, pane Pane) float64 {
	level := alpha
	if b := m.Budget; b != nil {
		every := s.Next(pane.End).Due.Sub(pane.Due)
		level = min(level, drift.Budget{Alarms: b.Alarms, Per: time.Duration(b.Per), Every: every}.Level())
	}
	level /= float64(1 + len(m.Segments))
	if len(m.Tests.Multivariate) > 0 {
		level /= 2
	}
	if m.Early > 0 {
		level /= 2
	}
	return level
}

// SegmentLevel returns the level of each of a segment's values.
func SegmentLevel(level float64, values int) float64 { return level / float64(max(1, values)) }
