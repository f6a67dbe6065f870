package engine

import (
	"cmp"
	"context"
	"errors"
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
// One state of each view is pinned, and every acknowledged row is in it.
//
// The spine is the rows sent, or what req.Spine names; sent is then zero.
//
// If the request has SaveAs, the answer is stored as the next version of that
// dataset before the first batch is yielded, and the stream reads what was stored.
func (e *Engine) Historical(ctx context.Context, req driftline.HistoricalRequest, sent driftline.Batches) (*TrainingSet, error) {
	if err := checkTraining(&req, sent); err != nil {
		return nil, err
	}
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	resolution, err := e.registry.Resolve(req.FeatureSet)
	if err != nil {
		return nil, err
	}
	views := e.pinNow(req.SaveAs != "")
	defer views.release() // by then lineage keeps what a dataset was made from
	spine, err := e.openSpine(ctx, &req, sent, resolution.Reads, views)
	if err != nil {
		return nil, err
	}
	set, err := e.join(ctx, req, spine, resolution, views)
	if err != nil {
		return nil, err
	}
	if req.SaveAs == "" {
		return &TrainingSet{Batches: set.rows, report: set.report}, nil
	}
	return e.saveDataset(ctx, set)
}

func checkTraining(req *driftline.HistoricalRequest, sent driftline.Batches) error {
	if req.SaveAs != "" {
		if err := driftline.CheckIdentifier("dataset", req.SaveAs); err != nil {
			return err
		}
	}
	if req.Split != nil && req.SaveAs == "" {
		return driftline.Errorf(driftline.Invalid, "only a saved training set can be divided").WithHint("add save_as, or leave split out")
	}
	if err := checkSplit(req.Split); err != nil {
		return err
	}
	return checkSpine(req.Spine, sent)
}

// joined is a training set that has not been read yet.
type joined struct {
	request    driftline.HistoricalRequest
	resolution *registry.Resolution
	views      *pinned
	inputs     []driftline.Ref
	rows       driftline.Batches
	report     func() driftline.HistoricalReport
}

// join plans the features of a spine.
func (e *Engine) join(ctx context.Context, req driftline.HistoricalRequest, on spine, resolution *registry.Resolution, views *pinned) (*joined, error) {
	req.EventTimestamp = cmp.Or(req.EventTimestamp, on.time, driftline.DefaultEventTimestamp)
	set := &joined{request: req, resolution: resolution, views: views, inputs: append(on.inputs, req.Inputs...)}
	for _, v := range resolution.OnDemand {
		set.inputs = append(set.inputs, driftline.ViewRef(v.Name))
	}
	if err := e.read(ctx, set, on.rows); err != nil {
		return nil, err
	}
	if len(resolution.OnDemand) > 0 {
		if err := e.computeOnDemand(ctx, set, on.rows.Schema); err != nil {
			return nil, err
		}
	}
	report := set.report
	set.report = func() driftline.HistoricalReport {
		r := report()
		r.Pins = views.pins
		return r
	}
	return set, nil
}

// read joins the views of a training set to a spine.
func (e *Engine) read(ctx context.Context, set *joined, spine driftline.Batches) error {
	if len(set.resolution.Reads) == 0 { // all is computed from what the spine brings
		counted := driftline.HistoricalReport{}
		set.rows = watched(spine, func(b arrow.RecordBatch) { counted.Rows += b.NumRows() })
		set.report = func() driftline.HistoricalReport { return counted }
		return nil
	}
	sources := make([]query.Source, len(set.resolution.Reads))
	for i, r := range set.resolution.Reads {
		rows, err := set.views.rowsOf(ctx, r.View)
		if err != nil {
			return err
		}
		sources[i] = query.Source{View: r.View, Projection: r.Projection, Rows: rows}
		if len(set.resolution.OnDemand) > 0 {
			sources[i].Projection.Role = readRole(i)
		}
	}
	plan, err := query.PlanHistorical(set.request, spine.Schema, sources)
	if err != nil {
		return err
	}
	answer, err := e.query.Historical(ctx, plan, spine)
	if err != nil {
		return err
	}
	set.rows, set.report = answer.Batches, func() driftline.HistoricalReport {
		r := answer.Report()
		r.SQL = plan.SQL
		return r
	}
	return nil
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

// saveDataset stores a training set as the next version of a dataset. A version exists
// once its ledger line does; a table that a crash left without one is overwritten.
func (e *Engine) saveDataset(ctx context.Context, set *joined) (*TrainingSet, error) {
	req := set.request
	unlock := e.tables.lock("datasets." + string(req.SaveAs))
	defer unlock()
	rows, end, err := e.toStore(ctx, set)
	if err != nil {
		return nil, err
	}
	stored, err := e.writeTable(ctx, datasetTable(req.SaveAs, e.nextVersion(req.SaveAs)), rows)
	if err := errors.Join(err, end()); err != nil {
		return nil, err
	}
	saved, err := e.recordDataset(set, stored)
	if err != nil {
		return nil, err
	}
	return &TrainingSet{
		Batches: e.offline.Read(ctx, stored.snapshot, nil),
		report: func() driftline.HistoricalReport {
			r := saved.Report
			r.Dataset = saved
			return r
		},
	}, nil
}

// recordDataset writes the ledger line that makes a dataset exist.
func (e *Engine) recordDataset(set *joined, stored storedTable) (*driftline.Dataset, error) {
	tx := e.registry.Begin()
	defer tx.Discard()
	if err := tx.AddSnapshot(snapshotRecord(stored.snapshot, stored.snapshot.Files)); err != nil {
		return nil, err
	}
	asked := set.request
	asked.SaveAs, asked.Inputs = "", nil
	asked.Split = countParts(asked.Split, stored.parts)
	saved, err := tx.AddDataset(driftline.Dataset{
		Name: set.request.SaveAs, Snapshot: stored.snapshot.ID, ContentHash: stored.content, Request: asked, Report: set.report(),
		Views: set.views.views, OnDemandViews: onDemandViews(set.resolution), Projections: set.resolution.Projections, Statistics: stored.statistics,
	}, set.inputs...)
	if err != nil {
		return nil, err
	}
	return saved, tx.Commit()
}

// toStore yields the rows of a training set as its table will hold them: in stored
// types, with their parts. The caller calls end when the range is over.
func (e *Engine) toStore(ctx context.Context, set *joined) (rows driftline.Batches, end func() error, err error) {
	end = func() error { return nil }
	rows, err = e.offline.Conformed(ctx, set.rows)
	split, time := set.request.Split, set.request.EventTimestamp
	if err != nil || split == nil {
		return rows, end, err
	}
	if rows.Schema.HasField(driftline.SplitColumn) {
		return rows, end, driftline.Errorf(driftline.Invalid, "the spine has a column %q, which names the parts of a split", driftline.SplitColumn).
			WithHint("rename the column, or leave split out")
	}
	var cuts []int64
	switch {
	case splitsAtTimes(split):
		cuts = untils(split)
	case split.Kind == driftline.SplitTime:
		kept, err := e.newSpool(rows, rows.Schema.FieldIndices(time)[0])
		if err != nil {
			return rows, end, err
		}
		rows, end = kept.batches(), kept.close
		if cuts, err = kept.cuts(split); err != nil {
			return rows, end, errors.Join(err, kept.close())
		}
	}
	rule, err := newPartRule(split, rows.Schema, time, cuts)
	if err != nil {
		return rows, end, errors.Join(err, end())
	}
	return divided(e.mem, rows, split, rule), end, nil
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

// storedTable is a table that was just written, and what was seen of its rows.
type storedTable struct {
	snapshot   offline.Snapshot
	content    string // hash
	statistics []driftline.ColumnStatistics
	parts      map[string]int64 // rows per part
}

// writeTable makes a table of one snapshot that holds rows, which are in their stored
// types, in their order.
func (e *Engine) writeTable(ctx context.Context, table offline.TableID, rows driftline.Batches) (stored storedTable, err error) {
	if err := e.offline.Drop(ctx, table); err != nil {
		return stored, err
	}
	if err := e.offline.CreateTable(ctx, table, rows.Schema); err != nil {
		return stored, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.offline.Drop(context.WithoutCancel(ctx), table))
		}
	}()
	return e.fillTable(ctx, table, rows, func(files []offline.File) (offline.Snapshot, error) {
		return e.offline.Commit(ctx, table, files, nil)
	})
}

// fillTable stages rows for a table, commits them, and says what was seen of them.
func (e *Engine) fillTable(ctx context.Context, table offline.TableID, rows driftline.Batches, commit func([]offline.File) (offline.Snapshot, error)) (stored storedTable, err error) {
	hash, statistics, parts := newContentHash(rows.Schema), newStatistics(rows.Schema), map[string]int64{}
	files, err := e.offline.Stage(ctx, table, watched(rows, func(b arrow.RecordBatch) {
		hash.add(b)
		statistics.add(b)
		addParts(parts, b)
	}), offline.Order{})
	if err != nil {
		return stored, err
	}
	if stored.snapshot, err = commit(files); err != nil {
		return stored, err
	}
	if columns := statistics.numeric(); len(columns) > 0 {
		if err := statistics.bin(e.offline.Read(ctx, stored.snapshot, columns)); err != nil {
			return stored, err
		}
	}
	stored.content, stored.statistics, stored.parts = hash.sum(), statistics.report(), parts
	return stored, nil
}

// watched yields rows after look has seen them.
func watched(rows driftline.Batches, look func(arrow.RecordBatch)) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err == nil {
				look(b)
			}
			if !yield(b, err) {
				return
			}
		}
	}}
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
	snapshot, err := e.datasetSnapshot(ctx, d)
	if err != nil {
		return driftline.Batches{}, err
	}
	return e.offline.Read(ctx, snapshot, nil), nil
}

// ReadView yields the whole history of a view, entity by entity within each file.
func (e *Engine) ReadView(ctx context.Context, name driftline.ViewName) (driftline.Batches, error) {
	name = e.registry.Meant(name)
	view, err := e.registry.View(name)
	if err != nil {
		return driftline.Batches{}, err
	}
	if view.Source != nil {
		return e.SQL(ctx, "SELECT "+quotedList(fieldNames(view.Schema()))+" FROM "+schemaFeatures+"."+quoted(string(name.Exactly())), nil)
	}
	if err := e.begin(); err != nil {
		return driftline.Batches{}, err
	}
	defer e.end()
	if err := e.checkHealthy(name); err != nil {
		return driftline.Batches{}, err
	}
	return e.readView(ctx, view), nil
}

// snapshotRecord is what the ledger keeps of a snapshot: its identity and the files it added.
func snapshotRecord(s offline.Snapshot, added []offline.File) registry.Snapshot {
	r := registry.Snapshot{Table: s.Table.String(), ID: s.ID, Parent: s.Parent, Cause: causeOf(s), Rows: s.Rows}
	for _, f := range added {
		r.Files = append(r.Files, registry.File{Hash: f.Hash, Rows: f.Rows, Bytes: f.Bytes})
	}
	return r
}
