package engine_test

import (
	"context"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// TestExpiryKeepsWhatADatasetIsBeingMadeFrom expires everything that it may while the
// spine of a dataset is still coming in: its pins are in no ledger line yet.
func TestExpiryKeepsWhatADatasetIsBeingMadeFrom(t *testing.T) {
	env := newHourly(t)
	ctx := context.Background()
	sent := flights(env, 500, 9)
	interrupted := driftline.Batches{Schema: sent.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range sent.All {
			if !yield(b, err) {
				return
			}
		}
		compactForGood(t, env, "features.temps")
	}}
	req := features("temps:temp")
	req.SaveAs = "slow"
	saved := save(t, env, req, interrupted)
	rebuilds(t, env, saved)
	// Once the line is written, it is the line that keeps the snapshot.
	if _, err := env.Engine.Expire(ctx, "features.temps", driftline.Retention{Last: 1}); err != nil {
		t.Fatal(err)
	}
	rebuilds(t, env, saved)
}

// TestADatasetThatWasNotMadeKeepsNothing: what failed must not hold snapshots for ever.
func TestADatasetThatWasNotMadeKeepsNothing(t *testing.T) {
	env := newHourly(t)
	sent := flights(env, 10, 9)
	req := features("temps:temp")
	req.SaveAs = "never"
	failing := driftline.Batches{Schema: sent.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		yield(nil, errCrash)
	}}
	if set, err := env.Engine.Historical(context.Background(), req, failing); err == nil {
		t.Fatalf("saved %+v", set.Report())
	}
	pinned := snapshotsOfTable(t, env, "features.temps")
	compactForGood(t, env, "features.temps")
	left := map[driftline.SnapshotID]bool{}
	for _, s := range snapshotsOfTable(t, env, "features.temps") {
		left[s.ID] = true
	}
	if len(pinned) == 0 || left[pinned[len(pinned)-1].ID] {
		t.Errorf("the snapshots were %v, and left are %v", pinned, left)
	}
}

func snapshotsOfTable(t *testing.T, env *testenv.Env, table string) []driftline.Snapshot {
	t.Helper()
	snapshots, err := env.Engine.Snapshots(context.Background(), table)
	if err != nil {
		t.Fatal(err)
	}
	return snapshots
}
