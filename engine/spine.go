package engine

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

// spine is the rows that features are joined to.
type spine struct {
	rows   driftline.Batches
	time   string          // its time column, if its source knows it
	inputs []driftline.Ref // what it was made from
}

// checkSpine checks that there is exactly one spine: rows that were sent, or a source.
func checkSpine(source *driftline.SpineSource, sent driftline.Batches) error {
	rows := sent.Schema != nil && sent.Schema.NumFields() > 0
	if source == nil {
		if !rows {
			return driftline.Errorf(driftline.Invalid, "there is no spine").
				WithHint("send rows of join keys and times, or name a SELECT, a dataset or a time range")
		}
		return nil
	}
	given := 0
	for _, is := range []bool{rows, source.SQL != "", source.Dataset != driftline.Ref{}, source.Range != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return driftline.Errorf(driftline.Invalid, "there are %d spines, want one", given).
			WithHint("send rows, or name one of: a SELECT, a dataset, a time range")
	}
	return nil
}

// openSpine finds the spine of a request. Views that it reads are pinned in views.
func (e *Engine) openSpine(ctx context.Context, req *driftline.HistoricalRequest, sent driftline.Batches, resolved []registry.Resolved, views *pinned) (spine, error) {
	source := req.Spine
	switch {
	case source == nil:
		return spine{rows: sent}, nil
	case source.Since != driftline.Ref{}:
		return e.spineSince(ctx, req, resolved, views)
	}
	return e.wholeSpine(ctx, req, resolved, views)
}

// wholeSpine is all rows that a source has in the state that views reads.
func (e *Engine) wholeSpine(ctx context.Context, req *driftline.HistoricalRequest, resolved []registry.Resolved, views *pinned) (spine, error) {
	source := req.Spine
	switch {
	case source.SQL != "":
		return e.sqlSpine(ctx, source.SQL, views)
	case source.Range != nil:
		return e.rangeSpine(ctx, req, resolved, views)
	}
	return e.datasetSpine(ctx, source.Dataset, views)
}

// findTable finds a table that a spine's SELECT names, and what lineage calls it.
type findTable func(context.Context, query.TableName) (query.Table, []driftline.Ref, error)

// sqlSpine runs a SELECT of the user over the pinned views.
func (e *Engine) sqlSpine(ctx context.Context, text string, views *pinned) (spine, error) {
	return e.selectSpine(ctx, text, func(ctx context.Context, name query.TableName) (query.Table, []driftline.Ref, error) {
		return e.spineTable(ctx, name, views)
	})
}

func (e *Engine) selectSpine(ctx context.Context, text string, find findTable) (spine, error) {
	selection, err := e.query.ParseSelect(ctx, text)
	if err != nil {
		return spine{}, inSpine(err)
	}
	var s spine
	var tables []query.Table
	for _, name := range selection.Tables {
		table, inputs, err := find(ctx, name)
		if err != nil {
			return spine{}, inSpine(err)
		}
		table.Schema, table.Name, table.At = name.Schema, name.Name, name.At
		tables, s.inputs = append(tables, table), append(s.inputs, inputs...)
	}
	if len(selection.PointInTime) > 0 {
		return spine{}, inSpine(driftline.Errorf(driftline.Invalid, "point_in_time cannot be used in it").
			WithHint("ask for those features too: they are joined to each row of the spine"))
	}
	// The SELECT runs while the join that reads it has its share of the memory already, so
	// it must not wait for a worker of a SELECT that waits for memory.
	s.rows, err = e.query.Select(query.WithinSelect(ctx), selection, tables, nil)
	return s, inSpine(err)
}

// inSpine says that an error of a SELECT is one of the spine.
func inSpine(err error) error {
	if err == nil || driftline.CodeOf(err) == driftline.Internal {
		return err
	}
	placed := driftline.Errorf(driftline.CodeOf(err), "the spine's SELECT: %w", err)
	var e *driftline.Error
	if errors.As(err, &e) {
		placed.Hint, placed.Ref = e.Hint, e.Ref
	}
	return placed
}

// spineTable finds a table that a spine's SELECT names, and what lineage calls it. The
// rows that a view has now are pinned, which makes them an input already.
func (e *Engine) spineTable(ctx context.Context, name query.TableName, views *pinned) (query.Table, []driftline.Ref, error) {
	table, err := e.sqlTable(ctx, name)
	if err != nil {
		return table, nil, err
	}
	switch strings.ToLower(name.Schema) {
	case schemaFeatures:
		view, _, err := e.featuresView(name.Name)
		if err != nil {
			return table, nil, err
		}
		if !e.isPresent(name.At) { // an earlier state, which does not move
			return table, []driftline.Ref{driftline.ViewRef(view.Name)}, nil
		}
		table.Rows, err = views.rowsOf(ctx, view)
		return table, nil, err
	case schemaDatasets:
		return e.spineDataset(ctx, name, views, table)
	case schemaPredictions:
		table, err = e.spinePredictions(ctx, name, views)
		return table, nil, err
	}
	if views.asOf != nil {
		return table, nil, driftline.Errorf(driftline.FailedPrecondition, "what table %q was then is not kept", qualified(name)).
			WithHint("read features.*, datasets.* and predictions.* in a spine of which only the rows since a dataset are wanted")
	}
	return table, nil, nil
}

// spineDataset is the table of a dataset; without a version the newest that there was.
func (e *Engine) spineDataset(ctx context.Context, name query.TableName, views *pinned, newest query.Table) (query.Table, []driftline.Ref, error) {
	base, suffix, _ := strings.Cut(name.Name, "@")
	version, _ := strconv.Atoi(suffix) // sqlTable has looked at it
	base = strings.ToLower(base)
	d, err := views.datasetOf(driftline.DatasetName(base), version)
	if driftline.CodeOf(err) == driftline.NotFound && views.asOf != nil {
		schema, err := e.datasetSchema(ctx, driftline.DatasetName(base))
		return query.Table{Columns: schema}, nil, err
	}
	if err != nil {
		return newest, nil, err
	}
	if version == 0 && views.asOf != nil {
		newest, err = e.datasetsTable(ctx, query.TableName{Schema: name.Schema, Name: base + "@" + strconv.Itoa(d.Version)})
	}
	return newest, []driftline.Ref{d.Ref()}, err
}

// datasetSchema is the schema of the newest version of a dataset.
func (e *Engine) datasetSchema(ctx context.Context, name driftline.DatasetName) (*arrow.Schema, error) {
	d, err := e.registry.Dataset(name, 0)
	if err != nil {
		return nil, err
	}
	snapshot, err := e.datasetSnapshot(ctx, d)
	return snapshot.Schema, err
}

// spinePredictions is the table of a model's predictions and labels, over the pinned views.
func (e *Engine) spinePredictions(ctx context.Context, name query.TableName, views *pinned) (query.Table, error) {
	text, _, err := e.joinedText(e.modelCalled(name.Name))
	if err != nil {
		return query.Table{}, err
	}
	joined, err := e.sqlSpine(ctx, text, views)
	return query.Table{Batches: func() driftline.Batches { return joined.rows }}, err
}

// datasetSpine reads the spine of an earlier dataset again: its rows without its
// features and its parts.
func (e *Engine) datasetSpine(ctx context.Context, ref driftline.Ref, views *pinned) (spine, error) {
	if ref.Kind != driftline.KindDataset {
		return spine{}, driftline.Errorf(driftline.Invalid, "%q cannot be a spine", ref).WithHint("name a dataset, for example dataset/late_departure@1")
	}
	version, err := versionOf(ref)
	if err != nil {
		return spine{}, err
	}
	d, err := views.datasetOf(driftline.DatasetName(ref.Name), version)
	if err != nil {
		return spine{}, err
	}
	snapshot, err := e.datasetSnapshot(ctx, d)
	if err != nil {
		return spine{}, err
	}
	return spine{rows: e.readSpine(ctx, d, snapshot), time: d.Request.EventTimestamp, inputs: []driftline.Ref{d.Ref()}}, nil
}

func (e *Engine) readSpine(ctx context.Context, d *driftline.Dataset, snapshot offline.Snapshot) driftline.Batches {
	return e.offline.Read(ctx, snapshot, spineColumns(d, snapshot.Schema))
}

// spineColumns are the columns of a dataset that its spine had: those before the first
// feature, in order.
func spineColumns(d *driftline.Dataset, schema *arrow.Schema) []string {
	after := len(d.Report.Columns)
	if d.Request.Split != nil {
		after++
	}
	return slices.Clone(fieldNames(schema)[:schema.NumFields()-after])
}
