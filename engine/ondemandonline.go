package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/online"
)

// onDemandPlan is how the features of a plan are computed from those of another.
type onDemandPlan struct {
	resolution *registry.Resolution
	reads      *OnlinePlan // of what the resolution reads, in its order
}

// planOnDemand plans a feature set of which some features are computed on demand.
func planOnDemand(resolution *registry.Resolution) (*OnlinePlan, error) {
	reads := make([]registry.Resolved, len(resolution.Reads))
	for i, r := range resolution.Reads {
		reads[i] = r
		reads[i].Projection.Role = fmt.Sprintf("__%d", i) // so that no two columns share a name
	}
	read, err := planReads(reads, false)
	if err != nil {
		return nil, err
	}
	p := &OnlinePlan{Keys: read.Keys, names: map[string]bool{}, computed: &onDemandPlan{resolution: resolution, reads: read}}
	for _, c := range resolution.Request {
		p.Request = append(p.Request, OnlineKey{Column: c.Name, Type: c.Type, View: c.For})
	}
	for _, c := range resolution.Columns {
		if p.names[c.Name] {
			return nil, twice(c.Name)
		}
		p.names[c.Name] = true
		p.Features, p.types = append(p.Features, OnlineFeature{Name: c.Name, Type: c.Type}), append(p.types, heldAs(c.Type))
	}
	return p, nil
}

// readOnDemand reads what the plan's features are computed from as any other request
// does, and computes them with the evaluator of training sets.
func (e *Engine) readOnDemand(ctx context.Context, plan *OnlinePlan, at time.Time, entities arrow.RecordBatch) (*OnlineAnswer, error) {
	computed, err := newOnDemand(e.mem, plan.computed.resolution, entities.Schema(), "entities")
	if err != nil {
		return nil, err
	}
	found, err := e.ReadOnline(ctx, plan.computed.reads, at, entities)
	if err != nil {
		return nil, err
	}
	requested, err := computed.requested(ctx, entities)
	if err != nil {
		return nil, err
	}
	defer releaseArrays(requested)
	columns, err := found.arrays()
	if err != nil {
		return nil, err
	}
	defer releaseArrays(columns)
	answer := &OnlineAnswer{Plan: plan, Entities: entities, described: make([]driftline.OnlineColumn, len(plan.Features))}
	if answer.values, err = online.NewValues(plan.types, int(entities.NumRows())); err != nil {
		return nil, err
	}
	from := onDemandReads{onDemand: computed, found: found, columns: columns, requested: requested}
	for i, c := range plan.computed.resolution.Columns {
		if answer.described[i], err = from.fill(answer, i, c); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// onDemandReads are what features are computed from.
type onDemandReads struct {
	*onDemand
	found     *OnlineAnswer
	columns   []arrow.Array // of found
	requested []arrow.Array
}

func (r *onDemandReads) read(p registry.Place) arrow.Array { return r.columns[r.place(p)] }

// fill computes one column of an answer, and describes it.
func (r *onDemandReads) fill(to *OnlineAnswer, column int, c registry.Column) (driftline.OnlineColumn, error) {
	if c.Made == nil {
		return r.foundColumn(r.place(c.Read)), to.setColumn(column, r.read(c.Read))
	}
	result, err := r.compute(c.Made, r.read, r.requested, to.Rows())
	if err != nil {
		return driftline.OnlineColumn{}, err
	}
	defer result.Values.Release()
	return r.describe(c, result), to.setColumn(column, result.Values)
}

// setColumn gives the answer the values of a feature.
func (a *OnlineAnswer) setColumn(column int, from arrow.Array) error {
	if isNested(a.Plan.Features[column].Type) {
		a.keepNested(column, from)
		return nil
	}
	for row := range from.Len() {
		if err := a.values.SetFrom(column, row, from, row); err != nil {
			return err
		}
	}
	return nil
}

// foundColumn describes a feature that was read.
func (r *onDemandReads) foundColumn(feature int) driftline.OnlineColumn {
	column := newOnlineColumn(r.found.Rows())
	for row := range r.found.Rows() {
		column.Statuses[row], column.EventTimes[row] = r.found.Status(feature, row), r.found.EventTime(feature, row)
	}
	return column
}

func newOnlineColumn(rows int) driftline.OnlineColumn {
	return driftline.OnlineColumn{Statuses: make([]driftline.Status, rows), EventTimes: make([]arrow.Timestamp, rows)}
}

// describe says of a computed feature what its values are. Their event time is the least
// of the rows that they were computed from: a value is as old as the oldest of them.
func (r *onDemandReads) describe(c registry.Column, result *expression.Result) driftline.OnlineColumn {
	described := newOnlineColumn(result.Values.Len())
	for row := range described.Statuses {
		described.Statuses[row] = driftline.Present
		if result.Values.IsNull(row) {
			described.Statuses[row] = driftline.NullValue
		}
	}
	for _, row := range result.FailedRows {
		described.Statuses[row] = driftline.InvalidValue
	}
	for _, in := range c.Made.Inputs {
		if !in.Used || in.Request >= 0 {
			continue
		}
		feature := r.place(in.Place)
		for row, known := range described.EventTimes {
			if t := r.found.EventTime(feature, row); t != 0 && (known == 0 || t < known) {
				described.EventTimes[row] = t
			}
		}
	}
	return described
}
