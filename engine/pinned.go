package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/storage/offline"
)

// pinned gives each view that a request reads one state of its rows, however often
// the request asks for it: in a spine, and in the features of the spine.
type pinned struct {
	engine *Engine

	// whole wants snapshots alone, so that their ids name every row that was read.
	whole bool

	// past is the snapshots to read instead of what there is now; nil for now.
	past map[driftline.ViewName]driftline.SnapshotID

	// asOf is the dataset as of which other tables are read too; nil for now.
	asOf *driftline.Dataset

	rows  map[driftline.ViewName]query.Rows
	views []driftline.FeatureView // as they were read
	pins  []driftline.Pin         // one per view
	held  []func()                // releases the snapshots that were read
}

func (e *Engine) pinNow(whole bool) *pinned {
	return &pinned{engine: e, whole: whole, rows: map[driftline.ViewName]query.Rows{}}
}

// inUse counts who makes something of a snapshot that lineage does not know yet: until
// the line of a dataset is written, nothing else keeps what it was made from.
type inUse struct {
	mu     sync.Mutex
	counts map[driftline.Ref]int
}

func snapshotRef(s offline.Snapshot) driftline.Ref {
	return driftline.SnapshotRef(s.Table.String(), s.ID)
}

func (u *inUse) keep(s offline.Snapshot) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counts == nil {
		u.counts = map[driftline.Ref]int{}
	}
	u.counts[snapshotRef(s)]++
}

func (u *inUse) release(s offline.Snapshot) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counts[snapshotRef(s)]--; u.counts[snapshotRef(s)] == 0 {
		delete(u.counts, snapshotRef(s))
	}
}

func (u *inUse) keeps(s offline.Snapshot) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.counts[snapshotRef(s)] > 0
}

// pinPast reads the snapshots of earlier pins. The caller releases them.
func (e *Engine) pinPast(pins []driftline.Pin) *pinned {
	p := e.pinNow(true)
	p.past = map[driftline.ViewName]driftline.SnapshotID{}
	for _, pin := range pins {
		p.past[pin.View] = pin.Snapshot
	}
	return p
}

// pinAsOf reads what a dataset was made from, of the views and of other datasets. The caller releases it.
func (e *Engine) pinAsOf(d *driftline.Dataset) *pinned {
	p := e.pinPast(d.Report.Pins)
	p.asOf = d
	return p
}

// datasetOf is a version of a dataset; 0: the newest that there was.
func (p *pinned) datasetOf(name driftline.DatasetName, version int) (*driftline.Dataset, error) {
	if p.asOf == nil || version != 0 {
		return p.engine.registry.Dataset(name, version)
	}
	versions := slices.DeleteFunc(p.engine.registry.Datasets(), func(d driftline.Dataset) bool {
		return d.Name != name || d.Created.After(p.asOf.Created) || d.Name == p.asOf.Name && d.Version > p.asOf.Version
	})
	if len(versions) == 0 {
		return nil, driftline.Errorf(driftline.NotFound, "dataset %q had no version when %s was made", name, p.asOf.Ref())
	}
	return &versions[len(versions)-1], nil
}

func (p *pinned) release() {
	for _, release := range p.held {
		release()
	}
}

// rowsOf returns the rows of a view, the same ones each time.
func (p *pinned) rowsOf(ctx context.Context, view *driftline.FeatureView) (query.Rows, error) {
	if rows, ok := p.rows[view.Name]; ok {
		return rows, nil
	}
	rows, pin, err := p.look(ctx, view)
	if err != nil {
		return query.Rows{}, err
	}
	p.rows[view.Name] = rows
	p.views, p.pins = append(p.views, *view), append(p.pins, pin)
	return rows, nil
}

func (p *pinned) look(ctx context.Context, view *driftline.FeatureView) (query.Rows, driftline.Pin, error) {
	switch {
	case p.past != nil:
		return p.lookBack(ctx, view)
	case p.whole && view.Source == nil:
		snapshot, ok, err := p.engine.pin(ctx, view)
		if err != nil || !ok {
			return query.Rows{}, driftline.Pin{View: view.Name}, err
		}
		p.held = append(p.held, func() { p.engine.inUse.release(snapshot) })
		p.engine.holdWhile(ctx, snapshot)
		rows, err := p.engine.rowsIn(ctx, view, snapshot)
		return rows, driftline.Pin{View: view.Name, Snapshot: snapshot.ID}, err
	}
	return p.engine.rowsOf(ctx, view)
}

func (p *pinned) lookBack(ctx context.Context, view *driftline.FeatureView) (query.Rows, driftline.Pin, error) {
	pin := driftline.Pin{View: view.Name, Snapshot: p.past[view.Name]}
	if view.Source != nil {
		return query.Rows{}, pin, driftline.Errorf(driftline.FailedPrecondition, "the rows of view %q are in files of somebody else", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("only snapshots of our own tables are kept: read the saved rows")
	}
	if pin.Snapshot == 0 { // the view had no rows
		return query.Rows{}, pin, nil
	}
	snapshot, err := p.engine.offline.At(ctx, viewTable(view.Name), pin.Snapshot)
	if err != nil {
		return query.Rows{}, pin, goneSnapshot(view.Name, pin.Snapshot, err)
	}
	p.held = append(p.held, p.engine.offline.Hold(snapshot))
	if p.asOf != nil {
		p.engine.holdWhile(ctx, snapshot) // who compares with it reads it when the answer is read
	}
	rows, err := p.engine.rowsIn(ctx, view, snapshot)
	return rows, pin, goneSnapshot(view.Name, pin.Snapshot, err)
}

// goneSnapshot says of a snapshot that was not found what its absence means.
func goneSnapshot(view driftline.ViewName, id driftline.SnapshotID, err error) error {
	if driftline.CodeOf(err) != driftline.NotFound {
		return err
	}
	e := driftline.Errorf(driftline.FailedPrecondition, "snapshot %d of view %q is gone", id, view).
		WithRef(driftline.SnapshotRef(viewTable(view).String(), id)).
		WithHint("it has expired, or an erasure removed its rows: read the saved rows of the dataset instead")
	e.Err = err
	return e
}

// datasetSnapshot returns the snapshot that holds the rows of a dataset.
func (e *Engine) datasetSnapshot(ctx context.Context, d *driftline.Dataset) (offline.Snapshot, error) {
	return e.offline.At(ctx, datasetTable(d.Name, d.Version), d.Snapshot)
}
