package engine

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// checkOnDemand compares the features that are computed on demand by one view, for moments
// of the views that they are computed from and for request data that is made up.
func (e *Engine) checkOnDemand(ctx context.Context, name driftline.ViewName, entities int, seed uint64) (driftline.ViewCheck, error) {
	c := viewChecker{engine: e, features: allOf(name), report: driftline.ViewCheck{View: name}}
	resolution, err := e.registry.Resolve(c.features)
	if err != nil {
		return c.report, err
	}
	plan, err := e.PlanOnline(c.features)
	if err != nil {
		return c.report, err
	}
	c.keys = plan.keyFields()
	for _, read := range resolution.Reads {
		if c.report.Skipped = e.notChecked(read.View); c.report.Skipped == "" && e.hasOneStoreRows(read.View.Name) {
			c.report.Skipped = fmt.Sprintf("rows of %q are in one store only", read.View.Name)
		}
		if c.report.Skipped != "" {
			return c.report, nil
		}
	}
	moments, err := c.sampleReads(ctx, resolution, plan, entities, seed)
	if err != nil {
		return c.report, err
	}
	if moments == nil {
		c.report.Skipped = "no view that it reads has rows"
		return c.report, nil
	}
	defer moments.Release()
	c.report.Moments = int(moments.NumRows())
	return c.report, c.compare(ctx, moments)
}

// hasOneStoreRows reports whether a write to the view said that its rows are for one store.
func (e *Engine) hasOneStoreRows(view driftline.ViewName) bool {
	return e.registry.Ingests(view).OnlineOnly > 0 || len(e.heads.of(view).held) > 0
}

// sampleReads returns moments of the first view that is read and has rows, with the keys of
// the others drawn from theirs and with made-up request data; nil if none has rows.
func (c *viewChecker) sampleReads(ctx context.Context, resolution *registry.Resolution, plan *OnlinePlan, entities int, seed uint64) (arrow.RecordBatch, error) {
	random := rand.New(rand.NewPCG(seed, 1))
	columns := map[string]arrow.Array{} // of keys, a value per moment
	var times arrow.Array
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	rows := 0
	for _, read := range resolution.Reads {
		of := viewChecker{engine: c.engine, view: read.View, keys: read.View.JoinKeys}
		sampled, err := of.sample(ctx, entities, seed)
		if err != nil {
			return nil, err
		}
		defer sampled.Release()
		if sampled.NumRows() == 0 {
			continue
		}
		drawn := make([]int64, rows)
		for i := range drawn {
			drawn[i] = random.Int64N(sampled.NumRows())
		}
		if times == nil {
			rows, times = int(sampled.NumRows()), sampled.Column(len(of.keys))
			c.report.Entities = of.report.Entities
			drawn = make([]int64, rows)
			for i := range drawn {
				drawn[i] = int64(i)
			}
		}
		for i, key := range of.keys {
			column := read.KeyColumn(key.Name)
			if columns[column] != nil {
				continue
			}
			if columns[column], err = takeArray(ctx, c.engine.mem, sampled.Column(i), drawn); err != nil {
				delete(columns, column)
				return nil, err
			}
		}
	}
	if times == nil {
		return nil, nil
	}
	return c.moments(plan, columns, times, random)
}

// moments puts keys, request data and times together. Keys of views without rows are null.
func (c *viewChecker) moments(plan *OnlinePlan, keys map[string]arrow.Array, times arrow.Array, random *rand.Rand) (arrow.RecordBatch, error) {
	var fields []arrow.Field
	var columns []arrow.Array
	defer func() { releaseArrays(columns) }()
	add := func(name string, column arrow.Array) {
		fields = append(fields, arrow.Field{Name: name, Type: column.DataType(), Nullable: true})
		columns = append(columns, column)
	}
	for _, k := range c.keys {
		column := keys[k.Name]
		if column == nil {
			column = array.MakeArrayOfNull(c.engine.mem, k.Type.Arrow(), times.Len())
		} else {
			column.Retain()
		}
		add(k.Name, column)
	}
	times.Retain()
	add(pastTime, times)
	for _, r := range plan.Request {
		if _, ok := keys[r.Column]; ok {
			continue
		}
		column, err := madeUp(c.engine, r.Type, times.Len(), random)
		if err != nil {
			return nil, err
		}
		add(r.Column, column)
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(times.Len())), nil
}

// madeUp is request data: small values of both signs, and null now and then.
func madeUp(e *Engine, t driftline.Type, rows int, random *rand.Rand) (arrow.Array, error) {
	b := array.NewBuilder(e.mem, t.Arrow())
	defer b.Release()
	for range rows {
		n := random.IntN(9) - 4
		if n == 4 {
			b.AppendNull()
			continue
		}
		text := fmt.Sprint(n)
		switch t {
		case driftline.Bool:
			text = fmt.Sprint(n > 0)
		case driftline.Float32, driftline.Float64:
			text = fmt.Sprint(float64(n) / 2)
		case driftline.Bytes:
			b.(*array.BinaryBuilder).Append([]byte(text))
			continue
		case driftline.Timestamp:
			b.(*array.TimestampBuilder).Append(arrow.Timestamp(e.now().UnixMicro() + int64(n)*3600e6))
			continue
		}
		if err := b.AppendValueFromString(text); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}

// keyFields are the plan's join keys, each column once.
func (p *OnlinePlan) keyFields() (fields []driftline.Field) {
	seen := map[string]bool{}
	for _, k := range p.Keys {
		if !seen[k.Column] {
			seen[k.Column] = true
			fields = append(fields, driftline.Field{Name: k.Column, Type: k.Type})
		}
	}
	return fields
}

// allOf is all features of a view, under names that no join key has.
func allOf(name driftline.ViewName) driftline.FeatureSet {
	return driftline.FeatureSet{Projections: []driftline.Projection{{View: name}}, FullFeatureNames: true}
}
