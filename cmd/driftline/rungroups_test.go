package main

import (
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

func TestRunsAreGroupedOnATerminal(t *testing.T) {
	server := startServer(t)
	s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
	conn := dial(t, server)
	for _, logged := range []struct {
		depth string
		auc   float64
	}{{"3", 0.7}, {"5", 0.75}, {"5", 0.85}, {"", 0.6}} {
		run, err := conn.CreateRun(t.Context(), driftline.RunSpec{Experiment: "flights"})
		if err != nil {
			t.Fatal(err)
		}
		log := driftline.RunLog{Metrics: []driftline.Metric{{Key: "auc", Value: driftline.Number(logged.auc)}}}
		if logged.depth != "" {
			log.Params = map[string]string{"depth": logged.depth}
		}
		if _, err := conn.LogRun(t.Context(), run.ID, log); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"--group-by params.depth", "" +
			"params.depth  runs  auc mean   min   max  of\n" +
			"3                1       0.7   0.7   0.7   1\n" +
			"5                2       0.8  0.75  0.85   2\n" +
			"(none)           1       0.6   0.6   0.6   1\n"},
		{"--group-by params.depth --filter metrics.auc>0.9", "No run is like that.\n"},
		{"--group-by params.depth --limit 1 --metric auc", "" +
			"params.depth  runs  auc mean  min  max  of\n" +
			"3                1       0.7  0.7  0.7   1\n" +
			"There are more: --offset 1\n"},
		{"--group-by params.depth --order-by metrics.auc", "" +
			"error: groups come by their values, so --order-by says nothing with --group-by\n" +
			"hint: leave one of the two out\n" +
			"exit 1\n"},
	} {
		if got := s.run(append([]string{"runs"}, strings.Fields(c.args)...)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
	if got := s.run([]string{"runs", "--group-by", "params.depth", "--json"}); !strings.Contains(got, `"value": "5"`) || !strings.Contains(got, `"missing": true`) {
		t.Error(got)
	}
}
