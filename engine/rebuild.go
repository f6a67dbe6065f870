package engine

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// Rebuild makes a dataset version (0: the newest) again, from its own spine and the
// snapshots that it pins, and says whether the outcome is the same byte for byte. The
// saved rows are not touched.
//
// It is FailedPrecondition if a snapshot is gone, if an erasure took rows out of the
// version, or if the dataset does not say how it was made.
func (e *Engine) Rebuild(ctx context.Context, name driftline.DatasetName, version int) (driftline.Rebuild, error) {
	if err := e.begin(); err != nil {
		return driftline.Rebuild{}, err
	}
	defer e.end()
	d, err := e.registry.Dataset(name, version)
	if err != nil {
		return driftline.Rebuild{}, err
	}
	outcome := driftline.Rebuild{Dataset: d.Ref()}
	again, err := e.remake(ctx, d)
	if err != nil {
		return outcome, err
	}
	defer again.end()
	hash := newContentHash(again.rows.Schema)
	for batch, err := range again.rows.All {
		if err != nil {
			return outcome, err
		}
		hash.add(batch)
		outcome.Rows += batch.NumRows()
	}
	outcome.ContentHash = hash.sum()
	outcome.Equal = outcome.ContentHash == d.ContentHash
	return outcome, nil
}

// Rebuilt yields the rows that [Engine.Rebuild] makes. The range ends with DataLoss if
// they are not the dataset's.
func (e *Engine) Rebuilt(ctx context.Context, name driftline.DatasetName, version int) (driftline.Batches, error) {
	if err := e.begin(); err != nil {
		return driftline.Batches{}, err
	}
	defer e.end()
	d, err := e.registry.Dataset(name, version)
	if err != nil {
		return driftline.Batches{}, err
	}
	snapshot, err := e.datasetSnapshot(ctx, d)
	if err != nil {
		return driftline.Batches{}, err
	}
	return driftline.Batches{Schema: snapshot.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		again, err := e.remake(ctx, d)
		if err != nil {
			yield(nil, err)
			return
		}
		defer again.end()
		hash := newContentHash(again.rows.Schema)
		for batch, err := range again.rows.All {
			if err == nil {
				hash.add(batch)
			}
			if !yield(batch, err) || err != nil {
				return
			}
		}
		if made := hash.sum(); made != d.ContentHash {
			yield(nil, differs(d, made))
		}
	}}, nil
}

func differs(d *driftline.Dataset, made string) error {
	return driftline.Errorf(driftline.DataLoss, "dataset %q was made again and is not the same: content %.12s, want %.12s", d.Ref(), made, d.ContentHash).
		WithRef(d.Ref()).WithHint("the saved rows stand; report this, with the output of driftline dataset show --json")
}

// remade is a dataset on its way once more.
type remade struct {
	rows driftline.Batches // as its table holds them
	end  func()
}

// remake joins the dataset's spine to the views as they were. The caller calls end.
func (e *Engine) remake(ctx context.Context, d *driftline.Dataset) (*remade, error) {
	if len(d.Projections) == 0 {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "dataset %q was saved by a driftline that did not keep how", d.Ref()).
			WithRef(d.Ref()).WithHint("ask for the same features again and save them as a new version")
	}
	if d.Erased { // a split of the rows that are left would be another one
		return nil, driftline.Errorf(driftline.FailedPrecondition, "an erasure removed rows of dataset %q, so it cannot be made again", d.Ref()).
			WithRef(d.Ref()).WithHint("read the saved rows, or ask for the same features again and save them as a new version")
	}
	snapshot, err := e.datasetSnapshot(ctx, d)
	if err != nil {
		return nil, err
	}
	meant := driftline.FeatureSet{Projections: d.Projections, FullFeatureNames: d.Request.FullFeatureNames}
	resolution, err := registry.ResolveThen(d.Views, d.OnDemandViews, meant)
	if err != nil {
		return nil, err
	}
	views := e.pinPast(d.Report.Pins)
	set, err := e.join(ctx, d.Request, spine{rows: e.readSpine(ctx, d, snapshot)}, resolution, views)
	if err != nil {
		views.release()
		return nil, err
	}
	rows, end, err := e.toStore(ctx, set)
	if err != nil {
		views.release()
		return nil, err
	}
	return &remade{rows: rows, end: func() {
		_ = end() // files without names: nothing depends on how they close
		views.release()
	}}, nil
}
