package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// ColumnVerdict is what one evaluation of a pane said of one column.
type ColumnVerdict struct {
	Evidence uint64 // the ledger line of the evaluation
	Segment  string // "" for all rows
	Column   string
	Verdict  driftline.Verdict // of the values and of what is missing together
	Effect   driftline.Number  // NaN if there is none
}

// ColumnVerdicts returns what evaluations of a monitor said of their columns, in no order:
// a little of many panes, where [Engine.MonitorPane] returns everything of one.
func (e *Engine) ColumnVerdicts(ctx context.Context, name driftline.MonitorName, panes []driftline.MonitorPane) ([]ColumnVerdict, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if _, err := e.registry.Monitor(name); err != nil || len(panes) == 0 {
		return nil, err
	}
	lines := make([]string, len(panes))
	for i, p := range panes {
		lines[i] = strconv.FormatUint(p.Sequence, 10)
	}
	rows, err := e.SQL(ctx, fmt.Sprintf(
		`SELECT evidence, coalesce(segment, ''), "column", verdict, coalesce(effect, 'nan'::DOUBLE) FROM %s WHERE monitor = '%s' AND evidence IN (%s)`,
		resultsTable, name, strings.Join(lines, ", ")), nil)
	if err != nil {
		return nil, err
	}
	var verdicts []ColumnVerdict
	for b, err := range rows.All {
		if err != nil {
			return nil, err
		}
		evidence, effects := b.Column(0).(*array.Int64), b.Column(4).(*array.Float64)
		segments, columns, said := b.Column(1).(*array.String), b.Column(2).(*array.String), b.Column(3).(*array.String)
		for i := range evidence.Len() {
			verdicts = append(verdicts, ColumnVerdict{
				Evidence: uint64(evidence.Value(i)), Segment: strings.Clone(segments.Value(i)), Column: strings.Clone(columns.Value(i)),
				Verdict: driftline.Verdict(strings.Clone(said.Value(i))), Effect: driftline.Number(effects.Value(i)),
			})
		}
	}
	return verdicts, nil
}
