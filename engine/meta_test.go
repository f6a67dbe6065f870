package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// What was registered, tracked and trained are tables, which one SELECT joins with each other, with
// predictions, with a training set and with features: from a prediction to the parameter and the row that
// it goes back to.
func TestTheRegistryIsTablesOfSQL(t *testing.T) {
	env, dataset, model := trainedOn(t, -1, 0)
	reg := env.Engine.Registry()
	if _, err := reg.LogRun(model.Run, driftline.RunLog{Params: map[string]string{"depth": "6"}, Tags: map[string]string{"team": "ops"},
		Metrics: []driftline.Metric{{Key: "auc", Value: 0.5, Step: 1}, {Key: "auc", Value: 0.75, Step: 2}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := reg.MoveAlias("delay", "champion", driftline.AliasMove{Version: 1, By: "ann", Reason: "first", Evidence: []driftline.Ref{dataset.Ref()}}); err != nil {
		t.Fatal(err)
	}
	ask := func(query string) string {
		t.Helper()
		rows, err := env.Engine.SQL(context.Background(), query, nil)
		if err != nil {
			t.Fatalf("%v: %s", err, query)
		}
		return strings.TrimSpace(text(t, rows))
	}
	for table, want := range map[string]string{
		"runs": "1", "params": "1", "metrics": "1", "metric_history": "2", "tags": "1", "datasets": "1", "models": "1",
		"model_versions": "1", "aliases": "1", "artifacts": "2", "views": "2", "features": "7", "experiments": "2",
	} {
		if got := ask("SELECT count(*) FROM meta." + table); got != want {
			t.Errorf("meta.%s has %s rows, want %s", table, got, want)
		}
	}
	for _, table := range []string{"alias_history", "lineage_edges", "ledger"} {
		if got := ask("SELECT count(*) > 0 FROM meta." + table); got != "true" {
			t.Errorf("meta.%s is empty", table)
		}
	}
	got := ask(`
		SELECT p.prediction_id, v.model, a.alias, param.value, metric.value, tag.value, d.content_hash = $$` + dataset.ContentHash + `$$, s.late, f.temp
		FROM features.delay_predictions p
		JOIN meta.model_versions v ON v.model = p.model AND v.version = p.model_version
		JOIN meta.aliases a ON a.model = v.model AND a.version = v.version
		JOIN meta.runs r USING (run_id)
		JOIN meta.params param ON param.run_id = r.run_id AND param.key = 'depth'
		JOIN meta.metrics metric ON metric.run_id = r.run_id AND metric.key = 'auc'
		JOIN meta.tags tag ON tag.run_id = r.run_id AND tag.key = 'team'
		JOIN meta.lineage_edges e ON e.from_ref = 'run/' || r.run_id
		JOIN meta.datasets d ON e.to_ref = 'dataset/' || d.name || '@' || d.version
		JOIN datasets.delays s ON s.airport = p.airport
		JOIN features.weather f ON f.airport = s.airport AND f.event_timestamp = s.event_timestamp
		WHERE p.prediction_id = 'p-1' ORDER BY f.event_timestamp LIMIT 1`)
	if want := "p-1 delay champion 6 0.75 ops true false 17"; got != want {
		t.Errorf("from a prediction to its parameter and its first row:\n%s\nwant\n%s", got, want)
	}
	got = ask(`SELECT version, moved_by, reason, evidence FROM meta.alias_history
		WHERE model = 'delay' AND alias = 'champion' AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())`)
	if want := "1 ann first dataset/delays@1"; got != want {
		t.Errorf("what is champion, who moved it, and on what evidence: %s, want %s", got, want)
	}
}
