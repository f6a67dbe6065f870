package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// groupedRuns lists runs in groups.
func (a *app) groupedRuns(c *cobra.Command, server *client.Client, by string, metrics []string, search driftline.RunSearch) error {
	if len(search.OrderBy) > 0 {
		return driftline.Errorf(driftline.Invalid, "groups come by their values, so --order-by says nothing with --group-by").
			WithHint("leave one of the two out")
	}
	found, err := server.GroupRuns(c.Context(), driftline.RunGrouping{
		By: by, Experiments: search.Experiments, Filter: search.Filter, Deleted: search.Deleted, Metrics: metrics, Limit: search.Limit, Offset: search.Offset,
	})
	if err != nil {
		return err
	}
	return a.answer(found, func(w io.Writer) error { return printRunGroups(w, found, by, search.Offset) })
}

func printRunGroups(w io.Writer, found *driftline.FoundRunGroups, by string, offset int) error {
	if len(found.Groups) == 0 {
		_, err := fmt.Fprintln(w, "No run is like that.")
		return err
	}
	heads := []string{printable(by), ">runs"}
	for _, key := range found.Metrics {
		heads = append(heads, ">"+printable(key)+" mean", ">min", ">max", ">of")
	}
	t := newTable(heads...)
	for _, g := range found.Groups {
		value := printable(g.Value)
		if g.Missing {
			value = "(none)"
		}
		cells := []string{value, strconv.Itoa(g.Runs)}
		for _, key := range found.Metrics {
			m, ok := g.Metrics[key]
			if !ok {
				cells = append(cells, "", "", "", "")
				continue
			}
			cells = append(cells, metricText(m.Mean), metricText(m.Min), metricText(m.Max), strconv.Itoa(m.Runs))
		}
		t.add(cells...)
	}
	if err := t.print(w); err != nil || !found.More {
		return err
	}
	_, err := fmt.Fprintf(w, "There are more: --offset %d\n", offset+len(found.Groups))
	return err
}
