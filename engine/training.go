package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

// TrainingSet is the answer to a historical request: a stream of rows, and what is
// known of them once the stream has ended.
type TrainingSet struct {
	Batches driftline.Batches
	report  func() driftline.HistoricalReport
}

// Report is complete once the range over Batches has ended without an error.
func (t *TrainingSet) Report() driftline.HistoricalReport { return t.report() }

// Historical joins features to a spine, point in time: for each spine row the newest
// values that were true at its time, one output row per spine row, in spine order.
// One snapshot per view is pinned, and every acknowledged row is in it.
//
// If the request has SaveAs, the answer is stored as the next version of that
// dataset before the first batch is yielded, and the stream reads what was stored.
func (e *Engine) Historical(ctx context.Context, req driftline.HistoricalRequest, spine driftline.Batches) (*TrainingSet, error) {
	if req.SaveAs != "" {
		if err := driftline.CheckIdentifier("dataset", req.SaveAs); err != nil {
			return nil, err
		}
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	sources, pins, err := e.sources(ctx, req.FeatureSet)
	if err != nil {
		return nil, err
	}
	plan, err := query.PlanHistorical(req, spine.Schema, sources)
	if err != nil {
		return nil, err
	}
	answer, err := e.query.Historical(ctx, plan, spine)
	if err != nil {
		return nil, err
	}
	report := func() driftline.HistoricalReport {
		r := answer.Report()
		r.Pins, r.SQL = pins, plan.SQL
		return r
	}
	if req.SaveAs == "" {
		return &TrainingSet{Batches: answer.Batches, report: report}, nil
	}
	return e.saveDataset(ctx, req, answer.Batches, report)
}

// sources resolves a feature set and pins one snapshot for each of its views.
func (e *Engine) sources(ctx context.Context, set driftline.FeatureSet) ([]query.Source, []driftline.Pin, error) {
	resolved, err := e.registry.Resolve(set)
	if err != nil {
		return nil, nil, err
	}
	rows := map[driftline.ViewName]query.Rows{}
	var pins []driftline.Pin
	sources := make([]query.Source, len(resolved))
	for i, r := range resolved {
		if _, pinned := rows[r.View.Name]; !pinned {
			of, pin, err := e.rowsOf(ctx, r.View)
			if err != nil {
				return nil, nil, err
			}
			rows[r.View.Name] = of
			pins = append(pins, pin)
		}
		sources[i] = query.Source{View: r.View, Projection: r.Projection, Rows: rows[r.View.Name]}
	}
	return sources, pins, nil
}

// verifiedPaths checks files against their hashes, once per process, and returns their paths.
func (e *Engine) verifiedPaths(ctx context.Context, files []offline.File) ([]string, error) {
	paths := []string{}
	for _, f := range files {
		if err := e.offline.Verify(ctx, f); err != nil {
			return nil, err
		}
		paths = append(paths, f.Path)
	}
	return paths, nil
}

// saveDataset stores rows as the next version of a dataset. A version exists once its
// ledger line does; a table that a crash left without one is overwritten.
func (e *Engine) saveDataset(ctx context.Context, req driftline.HistoricalRequest, rows driftline.Batches, report func() driftline.HistoricalReport) (*TrainingSet, error) {
	unlock := e.tables.lock("datasets." + string(req.SaveAs))
	defer unlock()
	table := datasetTable(req.SaveAs, e.nextVersion(req.SaveAs))
	snapshot, content, err := e.writeTable(ctx, table, rows)
	if err != nil {
		return nil, err
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	if err := tx.AddSnapshot(snapshotRecord(snapshot, snapshot.Files)); err != nil {
		return nil, err
	}
	asked := req
	asked.SaveAs, asked.Inputs = "", nil
	saved, err := tx.AddDataset(driftline.Dataset{
		Name: req.SaveAs, Snapshot: snapshot.ID, ContentHash: content, Request: asked, Report: report(),
	}, req.Inputs...)
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return &TrainingSet{
		Batches: e.offline.Read(ctx, snapshot, nil),
		report: func() driftline.HistoricalReport {
			r := saved.Report
			r.Dataset = saved
			return r
		},
	}, nil
}

// nextVersion is the version that the next dataset of that name gets. The caller holds
// the name's lock.
func (e *Engine) nextVersion(name driftline.DatasetName) int {
	newest, err := e.registry.Dataset(name, 0)
	if err != nil {
		return 1
	}
	return newest.Version + 1
}

// writeTable makes a table of one snapshot that holds rows in their order.
func (e *Engine) writeTable(ctx context.Context, table offline.TableID, rows driftline.Batches) (offline.Snapshot, string, error) {
	if err := e.offline.Drop(ctx, table); err != nil {
		return offline.Snapshot{}, "", err
	}
	if err := e.offline.CreateTable(ctx, table, rows.Schema); err != nil {
		return offline.Snapshot{}, "", err
	}
	hash := newContentHash(rows.Schema)
	hashed := driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err == nil {
				hash.add(b)
			}
			if !yield(b, err) {
				return
			}
		}
	}}
	files, err := e.offline.Stage(ctx, table, hashed, offline.Order{})
	if err != nil {
		return offline.Snapshot{}, "", errors.Join(err, e.offline.Drop(context.WithoutCancel(ctx), table))
	}
	snapshot, err := e.offline.Commit(ctx, table, files, nil)
	if err != nil {
		return offline.Snapshot{}, "", errors.Join(err, e.offline.Drop(context.WithoutCancel(ctx), table))
	}
	return snapshot, hash.sum(), nil
}

// datasetTable is the table of one dataset version.
func datasetTable(name driftline.DatasetName, version int) offline.TableID {
	d := driftline.Dataset{Name: name, Version: version}
	return offline.TableID{Namespace: schemaDatasets, Name: strings.TrimPrefix(d.Table(), schemaDatasets+".")}
}

// ReadDataset yields the rows of a dataset version (0: the newest) as they were saved.
func (e *Engine) ReadDataset(ctx context.Context, name driftline.DatasetName, version int) (driftline.Batches, error) {
	d, err := e.registry.Dataset(name, version)
	if err != nil {
		return driftline.Batches{}, err
	}
	snapshot, err := e.offline.At(ctx, datasetTable(d.Name, d.Version), d.Snapshot)
	if err != nil {
		return driftline.Batches{}, err
	}
	return e.offline.Read(ctx, snapshot, nil), nil
}

// ReadView yields the whole history of a view, entity by entity within each file.
func (e *Engine) ReadView(ctx context.Context, name driftline.ViewName) (driftline.Batches, error) {
	view, err := e.registry.View(name)
	if err != nil {
		return driftline.Batches{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Batches{}, err
	}
	defer e.end()
	snapshot, ok, err := e.pin(ctx, view)
	if err != nil {
		return driftline.Batches{}, err
	}
	if !ok {
		return driftline.BatchesOf(view.Schema()), nil
	}
	return e.readAs(ctx, snapshot, view.Schema()), nil
}

// readAs yields the rows of a view's snapshot in a schema of the view. Features that
// were added after the snapshot was committed are null in it.
func (e *Engine) readAs(ctx context.Context, snapshot offline.Snapshot, schema *arrow.Schema) driftline.Batches {
	stored := slices.DeleteFunc(fieldNames(schema), func(name string) bool { return !snapshot.Schema.HasField(name) })
	rows := e.offline.Read(ctx, snapshot, stored)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			whole := project(e.mem, b, schema)
			more := yield(whole, nil)
			whole.Release()
			if !more {
				return
			}
		}
	}}
}

// snapshotRecord is what the ledger keeps of a snapshot: its identity and the files it added.
func snapshotRecord(s offline.Snapshot, added []offline.File) registry.Snapshot {
	r := registry.Snapshot{Table: s.Table.String(), ID: s.ID, Parent: s.Parent, Rows: s.Rows}
	for _, f := range added {
		r.Files = append(r.Files, registry.File{Hash: f.Hash, Rows: f.Rows, Bytes: f.Bytes})
	}
	return r
}
