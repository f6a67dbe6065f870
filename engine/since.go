package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
)

// schemaSince has, in the SELECT of a range, of each view the rows that came since.
const schemaSince = "since"

// spineSince is the rows of a source that it did not have when a dataset was made.
func (e *Engine) spineSince(ctx context.Context, req *driftline.HistoricalRequest, resolved []registry.Resolved, views *pinned) (spine, error) {
	if req.Spine.Since.Kind != driftline.KindDataset {
		return spine{}, driftline.Errorf(driftline.Invalid, "there are no rows since %q", req.Spine.Since).
			WithHint("name the version of a dataset, for example dataset/late_departure@1")
	}
	version, err := versionOf(req.Spine.Since)
	if err != nil {
		return spine{}, err
	}
	made, err := e.registry.Dataset(driftline.DatasetName(req.Spine.Since.Name), version)
	if err != nil {
		return spine{}, err
	}
	before := e.pinAsOf(made)
	defer before.release()
	if req.Spine.Range != nil {
		return e.rangeSince(ctx, req, resolved, views, before)
	}
	return e.differenceSince(ctx, req, resolved, views, before)
}

// rangeSince is the (keys, event time) of the rows that came since, and of those whose outcome did.
func (e *Engine) rangeSince(ctx context.Context, req *driftline.HistoricalRequest, resolved []registry.Resolved, views, before *pinned) (spine, error) {
	sources, err := rangeSources(req.Spine.Range, resolved)
	if err != nil {
		return spine{}, err
	}
	var parts []string
	for _, s := range sources {
		parts = append(parts, rangePart(s, req, schemaSince))
		for _, outcomes := range resolved {
			if outcomes.View.Horizon > 0 {
				parts = append(parts, rangePart(s, req, schemaFeatures, newOutcome(s, outcomes)))
			}
		}
	}
	return e.selectSpine(ctx, unionSQL(parts), func(ctx context.Context, name query.TableName) (query.Table, []driftline.Ref, error) {
		if name.Schema == schemaSince {
			table, err := e.sinceTable(ctx, name, views, before)
			return table, nil, err
		}
		return e.spineTable(ctx, name, views)
	})
}

// newOutcome is the condition that an outcome of a row came since. Whether it is the one that
// counts is left to the join.
func newOutcome(s, outcomes registry.Resolved) string {
	row := quoted(string(s.View.Name.Exactly())) + "."
	time := row + quoted(s.View.EventTimestamp)
	event := "outcome." + quoted(outcomes.View.EventTimestamp)
	same := []string{
		fmt.Sprintf("%s > %s", event, time),
		fmt.Sprintf("%s <= %s + INTERVAL '%d microseconds'", event, time, outcomes.View.Horizon.Microseconds()),
	}
	for _, key := range outcomes.View.JoinKeys {
		for _, own := range s.View.JoinKeys {
			if s.KeyColumn(own.Name) == outcomes.KeyColumn(key.Name) {
				same = append(same, fmt.Sprintf("outcome.%s = %s%s", quoted(key.Name), row, quoted(own.Name)))
			}
		}
	}
	return fmt.Sprintf("EXISTS (SELECT 1 FROM %s.%s AS outcome WHERE %s)",
		schemaSince, quoted(string(outcomes.View.Name.Exactly())), strings.Join(same, " AND "))
}

// sinceTable is the rows of a view that came since. Files that both states have hold none, and are not read.
func (e *Engine) sinceTable(ctx context.Context, name query.TableName, views, before *pinned) (query.Table, error) {
	view, _, err := e.featuresView(name.Name)
	if err != nil {
		return query.Table{}, err
	}
	now, err := views.rowsOf(ctx, view)
	if err != nil {
		return query.Table{}, err
	}
	then, err := before.rowsOf(ctx, view)
	if err != nil {
		return query.Table{}, err
	}
	table := query.Table{Rows: now, Columns: view.Schema(), Before: &then}
	table.Rows.Files, then.Files = filesWithout(now.Files, then.Files), filesWithout(then.Files, now.Files)
	return table, nil
}

func filesWithout(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// differenceSince is the rows that a source gives now more often than it did before. Which of its views
// a row of a SELECT comes from nobody can tell: a row is new too if what it is joined to came later.
func (e *Engine) differenceSince(ctx context.Context, req *driftline.HistoricalRequest, resolved []registry.Resolved, views, before *pinned) (spine, error) {
	now, err := e.wholeSpine(ctx, req, resolved, views)
	if err != nil {
		return spine{}, err
	}
	then, err := e.wholeSpine(ctx, req, resolved, before)
	if driftline.CodeOf(err) == driftline.NotFound && req.Spine.SQL == "" { // the dataset that is the spine had no version
		return now, nil
	}
	if err != nil {
		return spine{}, err
	}
	difference, err := e.selectSpine(ctx, "SELECT * FROM spine.now EXCEPT ALL SELECT * FROM spine.before ORDER BY ALL",
		func(_ context.Context, name query.TableName) (query.Table, []driftline.Ref, error) {
			rows := now.rows
			if name.Name == "before" {
				rows = then.rows
			}
			return query.Table{Batches: func() driftline.Batches { return rows }}, nil, nil
		})
	return spine{rows: difference.rows, time: now.time, inputs: now.inputs}, err
}
