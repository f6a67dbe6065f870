package main

import (
	"context"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/spf13/cobra"
)

func (a *app) historyCommand() *cobra.Command {
	var request driftline.HistoryRequest
	var entities []string
	var at string
	command := &cobra.Command{
		Use:   "history VIEW",
		Short: "Read the last rows of some entities that a view keeps online",
		Long: "Read the last rows of some entities, newest first, from a view that keeps them online: one with a history\n" +
			"({last: 20}, {max_age: 7d}) or with aggregations. driftline sql reads those of any view, however old.",
		Example: "  driftline history weather --entity origin=JFK,EWR --last 5",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			request.View = driftline.ViewName(args[0])
			if request.At, err = parseAt(at); err != nil {
				return err
			}
			return a.history(c.Context(), request, entities)
		},
	}
	command.Flags().StringArrayVar(&entities, "entity", nil, "join key and its values: column=value,value")
	command.Flags().IntVar(&request.Last, "last", 10, "how many rows of each entity")
	command.Flags().StringSliceVar(&request.Features, "features", nil, "names of features, separated by commas (default all)")
	command.Flags().StringVar(&at, "at", "", "time after which rows do not exist (default now)")
	return command
}

func (a *app) history(ctx context.Context, request driftline.HistoryRequest, flags []string) error {
	return a.withServer(ctx, func(c *client.Client) error {
		view, err := c.FeatureView(ctx, request.View)
		if err != nil {
			return err
		}
		types := map[string]driftline.Type{}
		for _, key := range view.JoinKeys {
			types[key.Name] = key.Type
		}
		entities, err := entityBatch(flags, types)
		if err != nil {
			return err
		}
		defer entities.Release()
		rows, err := c.History(ctx, request, entities)
		if err != nil {
			return err
		}
		defer rows.Release()
		return a.answer(rowObjects(rows), func(w io.Writer) error {
			t := newTable(columnNames(rows)...)
			for i := range int(rows.NumRows()) {
				t.add(cells(rows, i, "null")...)
			}
			return t.print(w)
		})
	})
}

// rowObjects are rows for --json.
func rowObjects(batch arrow.RecordBatch) map[string]any {
	rows := make([]map[string]any, batch.NumRows())
	for i := range rows {
		rows[i] = map[string]any{}
		for j, column := range batch.Columns() {
			rows[i][batch.ColumnName(j)] = jsonValue(column, i)
		}
	}
	return map[string]any{"rows": rows}
}
