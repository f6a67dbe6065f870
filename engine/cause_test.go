package engine_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// TestTheLedgerSaysWhatMadeASnapshot: and from which.
func TestTheLedgerSaysWhatMadeASnapshot(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	pieces(env, 4)
	first := snapshotsOf(t, env)[0]
	if _, err := env.Engine.Compact(ctx, weatherTable); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Rollback(ctx, weatherTable, first.ID); err != nil {
		t.Fatal(err)
	}
	var causes []string
	var last registry.Line
	for line, err := range env.Engine.Registry().Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Kind != registry.SnapshotCommitted {
			continue
		}
		var body registry.Snapshot
		if err := json.Unmarshal(line.Body, &body); err != nil {
			t.Fatal(err)
		}
		causes, last = append(causes, body.Cause), line
	}
	if want := []string{"compaction", "rollback"}; len(causes) < 3 || !slices.Equal(causes[len(causes)-2:], want) || causes[0] == "" {
		t.Errorf("the causes are %v, want the last to be %v", causes, want)
	}
	if !slices.Contains(last.Inputs, driftline.SnapshotRef(weatherTable, first.ID)) {
		t.Errorf("the rollback was made from %v, want snapshot %d to be in it", last.Inputs, first.ID)
	}
}
