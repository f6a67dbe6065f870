package registry

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// whatIsStored is every key that a registry keeps beside the ledger.
func whatIsStored(t *testing.T, db *kv.DB) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, prefix := range []byte{kv.ArtifactIndex, kv.MetricPoints} {
		for pair, err := range db.ScanPrefix([]byte{prefix}) {
			if err != nil {
				t.Fatal(err)
			}
			rows[string(pair.Key)] = string(pair.Value)
		}
	}
	return rows
}

// What was made from the ledger and the points is right after any history, is found when it
// is not, and is made again as it was.
func TestFsckMendsWhatTheLedgerMade(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []driftline.RunID{"a", "b", "gone"} {
		must(r.CreateRun(driftline.RunSpec{Experiment: "e", ID: id}))
		must(r.LogRun(id, driftline.RunLog{Metrics: []driftline.Metric{{Key: "loss", Value: 1, Step: 1}, {Key: "loss", Value: 2, Step: 2}, {Key: "auc", Value: 3}}}))
		must(nil, r.AddArtifact(nil, id, driftline.Artifact{Path: "m/model.bin", Size: 1, SHA256: strings.Repeat("a", 64)}))
		must(nil, r.AddArtifact(nil, id, driftline.Artifact{Path: "note", Size: 1, SHA256: strings.Repeat("b", 64)}))
	}
	must(r.RegisterModel(driftline.ModelSpec{Model: "m", Run: "a", Artifact: "m/model.bin"}))
	must(r.RemoveArtifacts(driftline.RunRef("b"), "note", "", ""))
	must(r.DeleteRun("gone"))
	must(r.CleanUp(context.Background(), driftline.RunCleanup{}))
	report, err := r.Fsck(false)
	if err != nil || report.Problems != 0 || report.Points != 6 || report.Artifacts != 4 || report.Lines != r.Newest().Sequence {
		t.Fatalf("of a folder that is right: %+v, %v", report, err)
	}
	right := whatIsStored(t, db)
	for name, damage := range map[string]func(*kv.Batch){
		"an index that is gone":           func(b *kv.Batch) { b.DeletePrefix([]byte{kv.ArtifactIndex}) },
		"an entry of nobody":              func(b *kv.Batch) { b.Set(artifactKey("run/x", "y"), []byte("z")) },
		"another value":                   func(b *kv.Batch) { b.Set(artifactKey("run/a", "note"), []byte("z")) },
		"a last point that is gone":       func(b *kv.Batch) { b.Delete(metricPrefix(lastPoint, "a", "loss")) },
		"a last point that is another":    func(b *kv.Batch) { b.Set(metricPrefix(lastPoint, "a", "loss"), place{}.append(nil)) },
		"a last point without a history":  func(b *kv.Batch) { b.Set(metricPrefix(lastPoint, "a", "x"), place{}.append(nil)) },
		"points of a run that is no more": func(b *kv.Batch) { b.Set(metricPrefix(lastPoint, "gone", "x"), place{}.append(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			batch := db.NewBatch()
			defer batch.Close()
			damage(batch)
			if err := batch.Commit(); err != nil {
				t.Fatal(err)
			}
			found, err := r.Fsck(false)
			if err != nil || found.Problems == 0 || found.Repaired {
				t.Errorf("a check says %+v, %v", found, err)
			}
			mended, err := r.Fsck(true)
			if err != nil || !mended.Repaired || mended.Problems != found.Problems {
				t.Errorf("a rebuild says %+v, %v", mended, err)
			}
			if got := whatIsStored(t, db); !reflect.DeepEqual(got, right) {
				t.Errorf("after the rebuild there are %d keys, want the %d from before", len(got), len(right))
			}
		})
	}
}
