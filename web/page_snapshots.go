package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// maxSnapshots is how many states of a table a page lists; the command line and
// lineage have them all.
const maxSnapshots = 20

// snapshotsOf returns what is kept of a table, the newest first. A table that was never
// written has none, and neither has one whose list of snapshots is damaged: its page says so.
func (s *Server) snapshotsOf(ctx context.Context, table string) ([]driftline.Snapshot, error) {
	snapshots, err := s.engine.Snapshots(ctx, table)
	switch driftline.CodeOf(err) {
	case driftline.NotFound, driftline.DataLoss:
		return nil, nil
	}
	slices.Reverse(snapshots)
	return snapshots, err
}

// damage is what a page says about a table that is not whole.
type damage struct {
	Unserved *driftline.Error // why the view is in quarantine; nil if it is served
	Files    []driftline.Ref  // data files found damaged or missing
}

// damageOf returns nil if nothing of a view is known to be damaged.
func (s *Server) damageOf(ctx context.Context, view driftline.ViewName, unserved error) *damage {
	found := damage{}
	if unserved != nil {
		found.Unserved, _ = present(unserved)
	}
	for _, ref := range s.engine.DamagedFiles(ctx) {
		if ref.Name == viewTable(view) {
			found.Files = append(found.Files, ref)
		}
	}
	if found.Unserved == nil && len(found.Files) == 0 {
		return nil
	}
	return &found
}

func viewTable(view driftline.ViewName) string { return "features." + string(view) }

// growth is the picture of a table's rows over time.
type growth struct {
	Line       string // of an SVG polyline
	EndX, EndY float64
	First      time.Time
	Most       int64
}

// drawGrowth draws how many rows a table had, given its snapshots, the newest first.
// Rows stay as they are until the next snapshot, so the line has steps; it ends at now.
func drawGrowth(snapshots []driftline.Snapshot, now time.Time) *growth {
	if len(snapshots) < 2 {
		return nil
	}
	g := growth{First: snapshots[len(snapshots)-1].Time}
	for _, s := range snapshots {
		g.Most = max(g.Most, s.Rows)
	}
	if newest := snapshots[0].Time; now.Before(newest) {
		now = newest
	}
	var line strings.Builder
	to := func(at time.Time, rows int64) {
		share := fraction(float64(at.UnixMicro()), float64(g.First.UnixMicro()), float64(now.UnixMicro()))
		g.EndX = curveMargin + share*(curveWidth-2*curveMargin)
		g.EndY = curveHeight - curveMargin - float64(rows)/float64(max(g.Most, 1))*(curveHeight-2*curveMargin)
		fmt.Fprintf(&line, "%.1f,%.1f ", g.EndX, g.EndY)
	}
	rows := snapshots[len(snapshots)-1].Rows
	for _, s := range slices.Backward(snapshots) {
		to(s.Time, rows)
		rows = s.Rows
		to(s.Time, rows)
	}
	to(now, rows)
	g.Line = strings.TrimSpace(line.String())
	return &g
}
