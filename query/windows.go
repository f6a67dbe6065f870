package query

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/query/internal/merge"
)

// windowPlan is how the aggregated features of a view are computed.
type windowPlan struct {
	query *aggregate.Query
	*aggregate.Reads
}

// planWindows plans the use's features, all of which are aggregated.
func (v *viewPlan) planWindows() error {
	names := make([]string, len(v.features))
	for i, f := range v.features {
		names[i] = f.Name
	}
	w := &windowPlan{}
	plan := aggregate.NewPlan(v.source.View)
	var err error
	if w.query, err = plan.Query(names); err != nil {
		return err
	}
	if w.Reads, err = plan.Reads(v.source.View); err != nil {
		return err
	}
	v.windows = w
	v.sql = v.windowsSQL()
	return nil
}

// merging is the use for package merge.
func (w *windowPlan) merging(v *viewPlan, memory func(bytes int64) (release func(), err error)) *merge.Windows {
	view := v.merging()
	view.TTL, view.EventTime, view.Features = -1, false, nil
	windows := &merge.Windows{View: view, Query: w.query, Filters: w.Filters, Memory: memory}
	for _, f := range w.Columns {
		view.Features = append(view.Features, v.source.Rows.column(f.Name, f.Type))
		windows.Types = append(windows.Types, f.Type)
	}
	return windows
}

// openWindows opens the rows of the views whose aggregations are asked for.
func (j *joiner) openWindows() error {
	for _, i := range j.windowed {
		v := &j.plan.views[i]
		rows, err := j.rowsOf(v)
		if err != nil {
			return err
		}
		windows := v.windows.merging(v, j.db.memory.more)
		if !v.source.Rows.inOrder() || !merge.Understands(windows.View, rows.Files) {
			return driftline.Errorf(driftline.FailedPrecondition, "aggregations of view %q cannot be computed from files of another program", v.source.View.Name).
				WithHint("ingest the rows into a view of their own")
		}
		if err := j.join.AddWindows(windows, rows); err != nil {
			return err
		}
	}
	return nil
}

// startWindows computes aggregations at the times of the chunk.
func (j *joiner) startWindows(ctx context.Context, spine *spineChunk, cursors []cursor) error {
	if len(j.windowed) == 0 {
		return nil
	}
	keys := make([][]int, len(j.windowed))
	for k, i := range j.windowed {
		keys[k] = j.plan.views[i].keyColumns
	}
	answers, err := j.join.RunWindows(ctx, spine.merging(), keys)
	if err != nil {
		return failure(ctx, err)
	}
	for k, i := range j.windowed {
		cursors[i] = &windowCursor{answer: answers[k]}
	}
	return nil
}

// windowCursor walks over the aggregations of a view.
type windowCursor struct {
	answer *merge.WindowAnswer
	at     int
}

func (c *windowCursor) release() {}

func (c *windowCursor) begin(first int) { c.at = first }

func (c *windowCursor) remaining() (int64, error) { return 1<<63 - 1, nil }

func (c *windowCursor) bytes(n int64) int64 { return c.answer.Bytes(c.at, int(n)) }

func (c *windowCursor) take(_, n int64, reports []driftline.ColumnReport) ([]arrow.Array, error) {
	features, err := c.answer.Arrays(c.at, int(n))
	if err != nil {
		return nil, err
	}
	for i, f := range features {
		reports[i].Nulls += int64(f.NullN())
		reports[i].NotYetKnown += c.answer.Unknown(i, c.at, int(n))
	}
	c.at += int(n)
	return features, nil
}
