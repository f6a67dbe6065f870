package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// rebuilds checks that a dataset comes out the same when it is made again.
func rebuilds(t *testing.T, env *testenv.Env, d *driftline.Dataset) {
	t.Helper()
	got, err := env.Engine.Rebuild(context.Background(), d.Name, d.Version)
	if err != nil {
		t.Fatalf("rebuild %s: %v", d.Ref(), err)
	}
	if !got.Equal || got.ContentHash != d.ContentHash || got.Rows != d.Report.Rows || got.Dataset != d.Ref() {
		t.Errorf("rebuilt %+v, want %d rows with content %s", got, d.Report.Rows, d.ContentHash)
	}
}

// everyWay are training sets that are made in every way there is.
func everyWay() map[driftline.DatasetName]driftline.HistoricalRequest {
	requests := map[driftline.DatasetName]driftline.HistoricalRequest{}
	plain := features("temps:temp", "winds:wind")
	requests["plain"] = plain
	strict := plain
	strict.Strict, strict.KnownAt, strict.FullFeatureNames = true, true, true
	requests["strict"] = strict
	service := driftline.HistoricalRequest{}
	service.Service = "both"
	requests["service"] = service
	for name, kind := range map[driftline.DatasetName]driftline.SplitKind{"random": driftline.SplitRandom, "timed": driftline.SplitTime, "grouped": driftline.SplitGroup} {
		divided := plain
		divided.Split = fractions(kind, 0.6, 0.4)
		if kind == driftline.SplitGroup {
			divided.Split.Column = "passenger"
		}
		requests[name] = divided
	}
	return requests
}

// bothViews is a service that changes its mind later.
func bothViews(view ...driftline.Projection) driftline.Definitions {
	return driftline.Definitions{FeatureServices: []driftline.FeatureService{{Name: "both", Projections: view}}}
}

func TestADatasetIsMadeAgainByteForByte(t *testing.T) {
	env := newHourly(t)
	env.Apply(bothViews(driftline.Projection{View: "winds"}, driftline.Projection{View: "temps", Role: "here"}))
	var saved []*driftline.Dataset
	var plain *driftline.Dataset
	for name, req := range everyWay() {
		req.SaveAs = name
		d := save(t, env, req, flights(env, 500, 9))
		saved = append(saved, d)
		if name == "plain" {
			plain = d
		}
	}
	ranged := features("temps:temp", "world:oil")
	ranged.Spine, ranged.SaveAs = span("2013-06-01T06:00:00Z", ""), "ranged"
	saved = append(saved, save(t, env, ranged, driftline.Batches{}))
	selected := features("winds:wind")
	selected.Spine, selected.SaveAs = &driftline.SpineSource{SQL: `SELECT airport, event_timestamp, temp * 2 AS twice FROM features.temps`}, "selected"
	saved = append(saved, save(t, env, selected, driftline.Batches{}))
	all := func() {
		for _, d := range saved {
			rebuilds(t, env, d)
		}
	}
	t.Run("at once", func(*testing.T) { all() })

	t.Run("after later writes", func(t *testing.T) {
		before := columnOf(t, env, plain, "temp")
		weatherOf(env, 2)
		all()
		now := features("temps:temp", "winds:wind")
		now.SaveAs = "now"
		if after := columnOf(t, env, save(t, env, now, flights(env, 500, 9)), "temp"); len(after) == len(before) && equalTexts(after, before) {
			t.Error("the later writes change nothing, so this test cannot fail")
		}
	})
	t.Run("after the view and the service changed", func(*testing.T) {
		grown := hourly
		grown.FeatureViews = append([]driftline.FeatureView{}, hourly.FeatureViews...)
		temps := grown.FeatureViews[0]
		temps.Features = append([]driftline.Field{{Name: "humid", Type: driftline.Float64}}, temps.Features...)
		temps.TTL = 0
		grown.FeatureViews[0] = temps
		env.Apply(grown)
		env.Apply(bothViews(driftline.Projection{View: "temps"}))
		env.Ingest("temps", `[{"airport": "JFK", "event_timestamp": "2013-06-01T00:00:00Z", "temp": -1, "humid": 1}]`)
		all()
	})
	t.Run("after compaction and expiry", func(t *testing.T) {
		for _, table := range []string{"features.temps", "features.winds"} {
			compactForGood(t, env, table)
		}
		all()
	})
	t.Run("after a restart", func(*testing.T) { env.Reopen(); all() })

	t.Run("its rows can be had", func(t *testing.T) {
		for _, d := range saved {
			kept, err := env.Engine.ReadDataset(context.Background(), d.Name, d.Version)
			if err != nil {
				t.Fatal(err)
			}
			again, err := env.Engine.Rebuilt(context.Background(), d.Name, d.Version)
			if err != nil {
				t.Fatal(err)
			}
			if !again.Schema.Equal(kept.Schema) {
				t.Errorf("%s: columns %v, want %v", d.Ref(), again.Schema, kept.Schema)
			}
			if got, want := text(t, again), text(t, kept); got != want {
				t.Errorf("%s: rows\n%s\nwant\n%s", d.Ref(), got, want)
			}
		}
	})
}

// compactForGood writes until a table's files are merged, and then gives up each snapshot
// that nothing needs.
func compactForGood(t *testing.T, env *testenv.Env, table string) {
	t.Helper()
	ctx, merged := context.Background(), 0
	for seed := uint64(10); merged == 0 && seed < 20; seed++ {
		weatherOf(env, seed)
		done, err := env.Engine.Compact(ctx, table)
		if err != nil {
			t.Fatal(err)
		}
		merged += done.Compacted
	}
	expired, err := env.Engine.Expire(ctx, table, driftline.Retention{Last: 1})
	if err != nil || merged == 0 || expired.Expired == 0 {
		t.Fatalf("%s: %d files merged, %d snapshots expired, %v", table, merged, expired.Expired, err)
	}
}

func equalTexts(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestADatasetWhoseSnapshotIsGoneCannotBeMadeAgain(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs = "lost"
	d := save(t, env, req, flights(env, 100, 1))
	if err := env.Engine.ForgetSnapshots(context.Background(), "temps"); err != nil {
		t.Fatal(err)
	}
	_, err := env.Engine.Rebuild(context.Background(), d.Name, d.Version)
	wantFailure(t, err, driftline.FailedPrecondition, `of view "temps" is gone`)
	if n := len(columnOf(t, env, d, "temp")); n != 100 {
		t.Errorf("%d saved rows are left of 100", n)
	}
	_, err = env.Engine.Rebuild(context.Background(), "lost", 2)
	wantFailure(t, err, driftline.NotFound, "has no version 2")
}

func TestDamageShowsWhenADatasetIsMadeAgain(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs = "damaged"
	d := save(t, env, req, flights(env, 100, 1))
	files, err := filepath.Glob(filepath.Join(env.Dir, "warehouse", "features", "temps", "data", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env.Reopen()
	_, err = env.Engine.Rebuild(context.Background(), d.Name, d.Version)
	wantFailure(t, err, driftline.DataLoss, "table features.temps")
}

func TestTheContentHashIsOfWhatIsReadBack(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs = "spine"
	d := save(t, env, req, flights(env, 300, 2))
	kept, err := env.Engine.ReadDataset(context.Background(), d.Name, d.Version)
	if err != nil {
		t.Fatal(err)
	}
	var batches []arrow.RecordBatch
	for b, err := range kept.All {
		if err != nil {
			t.Fatal(err)
		}
		b.Retain()
		defer b.Release()
		batches = append(batches, b)
	}
	spine := make([]arrow.RecordBatch, len(batches))
	schema := arrow.NewSchema(kept.Schema.Fields()[:7], nil)
	for i, b := range batches {
		spine[i] = array.NewRecordBatch(schema, b.Columns()[:7], b.NumRows())
		defer spine[i].Release()
	}
	if again := save(t, env, req, driftline.BatchesOf(schema, spine...)); again.ContentHash != d.ContentHash {
		t.Error("the same rows in the types that are read back have another content hash")
	}
}
