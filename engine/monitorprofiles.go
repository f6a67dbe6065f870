package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

// monitorProfiles is the source of the profiles of a monitor's panes.
func monitorProfiles(name driftline.MonitorName) string { return "monitor/" + string(name) }

// seenRows are the rows that a comparison has read.
type seenRows struct{ reference, current []arrow.RecordBatch }

// watch returns batches that are remembered as they are ranged over. The comparison holds their
// memory anyhow.
func (s *seenRows) watch(rows driftline.Batches, into *[]arrow.RecordBatch) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err == nil {
				batch.Retain()
				*into = append(*into, batch)
			}
			if !yield(batch, err) {
				return
			}
		}
	}}
}

func (s *seenRows) release() {
	driftline.ReleaseAll(s.reference)
	driftline.ReleaseAll(s.current)
}

// compareKeeping compares, and keeps the profile of current as that of the pane, so that it can
// be compared with any other pane when its rows are gone. A profile that cannot be kept does
// not fail the pane.
func (r *paneReader) compareKeeping(ctx context.Context, reference, current driftline.Batches, opts driftline.DriftOptions, p monitor.Pane) (*driftline.DriftReport, error) {
	var seen seenRows
	defer seen.release()
	referenceSchema, schema := reference.Schema, current.Schema
	begun, err := r.engine.hasProfileMaps(monitorProfiles(r.m.Name))
	if err != nil {
		return nil, err
	}
	if !begun {
		reference = seen.watch(reference, &seen.reference)
	}
	report, err := r.compare(ctx, reference, seen.watch(current, &seen.current), opts, "")
	if err != nil {
		return nil, err
	}
	err = r.engine.keepPaneProfile(ctx, r.m, p, driftline.BatchesOf(referenceSchema, seen.reference...), driftline.BatchesOf(schema, seen.current...))
	if err != nil && ctx.Err() == nil {
		r.engine.log.Error("the profile of a pane could not be kept", "monitor", r.m.Name, "pane", p.Start, "error", err)
	}
	return report, nil
}

// keepPaneProfile stores the profile of a pane, in place of the one that it had. Before the
// first one of a monitor, how columns are counted is made from the reference.
func (e *Engine) keepPaneProfile(ctx context.Context, m *driftline.Monitor, p monitor.Pane, reference, current driftline.Batches) error {
	req := driftline.ProfileRequest{
		Source: monitorProfiles(m.Name), Table: driftline.DriftSource{Ref: m.Source.Ref, SQL: m.Source.SQL},
		Time: m.Source.TimeColumn, Start: p.Start, End: p.End,
	}
	origins := []profileOrigin{{Table: req.Table}}
	if m.Reference.Ref != (driftline.Ref{}) {
		origins = append(origins, profileOrigin{Table: driftline.DriftSource{Ref: m.Reference.Ref}})
	}
	if _, err := e.storePane(ctx, req, current, &reference, origins); err != nil {
		return err
	}
	return e.thinPaneProfiles(req.Source, cmp.Or(m.KeepProfiles, driftline.UsualKeptProfiles))
}

// thinPaneProfiles forgets the oldest panes of a source but for some.
func (e *Engine) thinPaneProfiles(source string, keep int) error {
	defer e.profileSources.lock(source)()
	records, err := e.profilePanes(driftline.ProfileWindow{Source: source})
	if err != nil || len(records) <= keep {
		return err
	}
	w := e.newProfileWriter(source)
	defer func() { _ = w.close() }()
	for _, record := range records[:len(records)-keep] {
		w.replace(spanOf(record.Start, record.End))
	}
	return w.commit()
}

// freezeLike makes the maps that there are none of from other rows, as far as they have the
// columns; where they have not, the first rows that are profiled will do.
func (t *profileTask) freezeLike(ctx context.Context, rows driftline.Batches) error {
	var wanted []profiledColumn
	var places, order []int
	for i, c := range t.columns {
		found := rows.Schema.FieldIndices(c.name)
		if c.m == nil && len(found) > 0 && kindOf(rows.Schema.Field(found[0]).Type) == c.kind {
			c.index = len(wanted)
			wanted, places, order = append(wanted, c), append(places, i), append(order, found[0])
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	sampler := newSampler(wanted, panes{index: -1})
	if err := eachBatch(ctx, rows, order, sampler.add); err != nil || sampler.rows == 0 {
		return err
	}
	sampler.maps(t.engine.scanners())
	for i, place := range places {
		t.columns[place].m = sampler.columns[i].m
	}
	return nil
}

// complete reports whether all columns have maps.
func (t *profileTask) complete() bool {
	return !slices.ContainsFunc(t.columns, func(c profiledColumn) bool { return c.m == nil })
}

// StoreProfile profiles rows and keeps the outcome as one pane of a source, from start until
// before end; both zero are all time. Of a request it reads Source, Reference, Columns and
// Exclude, and keeps Table and Time, from which the rows can be read again. The rows are
// read once.
func (e *Engine) StoreProfile(ctx context.Context, req driftline.ProfileRequest, rows driftline.Batches) (*driftline.ProfilePane, error) {
	return e.storePane(ctx, req, rows, nil, []profileOrigin{{req.Table, req.Reference}})
}

// storePane is StoreProfile of a source whose rows, and whose maps, are from the origins. A
// new source is counted by like, if it is not nil.
func (e *Engine) storePane(ctx context.Context, req driftline.ProfileRequest, rows driftline.Batches, like *driftline.Batches, origins []profileOrigin) (*driftline.ProfilePane, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	stored := spanOf(req.Start, req.End)
	keptTime := req.Time
	req.Pane, req.Time, req.Start, req.End = 0, "", time.Time{}, time.Time{}
	task, err := e.newProfileTask(req, rows.Schema)
	if err != nil {
		return nil, err
	}
	if stored.start > stored.end || stored.start == stored.end && stored != (span{}) {
		return nil, driftline.Errorf(driftline.Invalid, "the pane ends before it begins").WithHint("give a start that is before the end")
	}
	defer e.profileSources.lock(req.Source)()
	if like != nil {
		if err := task.freezeLike(ctx, *like); err != nil {
			return nil, err
		}
	}
	p, err := task.profileStream(ctx, rows)
	if err != nil {
		return nil, err
	}
	task.req.Time = keptTime
	w := e.newProfileWriter(req.Source)
	defer func() { _ = w.close() }()
	if err := w.begin(origins, task.fresh()); err != nil {
		return nil, err
	}
	pane := p.pane(allTime)
	for i, c := range task.columns {
		if err := w.addColumn(stored, c.name, pane.columns[i]); err != nil {
			return nil, err
		}
	}
	record := task.record(stored, pane.rows)
	if err := w.addPane(stored, record); err != nil {
		return nil, err
	}
	record.Bytes = w.bytes[stored]
	return &record.ProfilePane, w.commit()
}
