package query

import (
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query/internal/merge"
	"github.com/driftline/driftline/storage/columns"
)

// merging is the view for package merge.
func (v *viewPlan) merging() *merge.View {
	view, rows := v.source.View, v.source.Rows
	m := &merge.View{
		Event:    rows.column(view.EventTimestamp, driftline.Timestamp),
		Sequence: rows.column(driftline.SequenceColumn, driftline.Int64),
		TTL:      -1,
		Horizon:  -1,
		Lag:      v.lag,
		Strict:   v.strict,
		KnownAt:  v.knownAt,

		CountUnknown: v.countsUnknown,
		EventTime:    v.source.EventTime,
	}
	if view.CreatedTimestamp != "" {
		m.Created = rows.column(view.CreatedTimestamp, driftline.Timestamp)
	}
	if view.TTL > 0 && !v.ahead {
		m.TTL = view.TTL.Microseconds()
	}
	if v.ahead {
		m.Horizon = v.horizon
	}
	for _, k := range view.JoinKeys {
		m.Keys = append(m.Keys, rows.column(k.Name, k.Type))
	}
	for _, f := range v.features {
		if f.Name != EventTimeColumn {
			m.Features = append(m.Features, rows.column(f.Name, f.Type))
		}
	}
	return m
}

// column says where a column of the view is in the files, and which type it has now. A
// column that the files are too old for is in none of them.
func (r Rows) column(name string, t driftline.Type) columns.Column {
	c := columns.Column{Name: name, Type: t.Arrow()}
	if r.Columns == nil {
		return c
	}
	c.ID = -1
	for _, have := range r.Columns {
		if have.Name == name {
			c.ID = have.ID
		}
	}
	return c
}
