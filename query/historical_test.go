package query

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// oneView is a view of two features, of which its only file has the first, because
// it is older than the second.
func oneView(t testing.TB) Source {
	view := &driftline.FeatureView{
		Name: "weather", EventTimestamp: "event",
		JoinKeys: []driftline.Field{{Name: "a", Type: driftline.Int64}},
		Features: []driftline.Field{{Name: "f0", Type: driftline.Float64}},
	}
	file := writeRows(t, view, []row{{keys: []any{int64(1)}, event: 1, values: []any{2.5}}})
	view.Features = append(view.Features, driftline.Field{Name: "added", Type: driftline.String})
	return Source{View: view, Projection: driftline.Projection{View: "weather", Features: []string{"added", "f0"}}, Rows: Rows{Files: []string{file}}}
}

func oneSpine() arrow.RecordBatch {
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, worldSpine,
		strings.NewReader(`[{"label": 0, "a": 1, "event_timestamp": "1970-01-01T00:00:01Z", "b": "x", "a2": 1}]`))
	return first(batch, err)
}

func collect(db *DB, ctx context.Context, s Source, spine driftline.Batches) (string, error) {
	plan, err := PlanHistorical(driftline.HistoricalRequest{}, worldSpine, []Source{s})
	if err != nil {
		return "", err
	}
	answer, err := db.Historical(ctx, plan, spine)
	if err != nil {
		return "", err
	}
	got, _, err := answer.Batches.Collect()
	defer driftline.ReleaseAll(got)
	return show(answer.Batches.Schema, got), err
}

func TestColumnsThatAreNewerThanAFileAreNull(t *testing.T) {
	db := openDB(t)
	s := oneView(t)
	want := "label a event_timestamp b a2 added f0\n0 1 1970-01-01T00:00:01Z x 1 (null) 2.5"
	if got, err := collect(db, context.Background(), s, driftline.BatchesOf(worldSpine, oneSpine())); err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	s.Rows.Files = nil
	want = strings.Replace(want, "2.5", "(null)", 1)
	if got, err := collect(db, context.Background(), s, driftline.BatchesOf(worldSpine, oneSpine())); err != nil || got != want {
		t.Errorf("without files: %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestHistoricalFailures(t *testing.T) {
	db := openDB(t)
	good := driftline.BatchesOf(worldSpine, oneSpine())
	broken := errors.New("the client went away")
	failing := driftline.Batches{Schema: worldSpine, All: func(yield func(arrow.RecordBatch, error) bool) {
		if yield(oneSpine(), nil) {
			yield(nil, broken)
		}
	}}
	if _, err := collect(db, context.Background(), oneView(t), failing); !errors.Is(err, broken) {
		t.Errorf("an error of the spine became %v", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := collect(db, ctx, oneView(t), good); driftline.CodeOf(err) != driftline.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	missing := oneView(t)
	missing.Rows.Files = []string{filepath.Join(t.TempDir(), "gone.parquet")}
	_, err := collect(db, context.Background(), missing, good)
	if driftline.CodeOf(err) != driftline.DataLoss || strings.Contains(err.Error(), "gone") {
		t.Errorf("missing file: %v (%s)", err, driftline.CodeOf(err))
	}

	other := driftline.BatchesOf(arrow.NewSchema(nil, nil))
	if _, err := collect(db, context.Background(), oneView(t), other); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("another spine: %v", err)
	}

	unknown := oneView(t)
	unknown.Projection.Features = []string{"f1"}
	if _, err := collect(db, context.Background(), unknown, good); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("unknown feature: %v", err)
	}
}

func TestLeavingATrainingSetEarly(t *testing.T) {
	db := openDB(t)
	plan, err := PlanHistorical(driftline.HistoricalRequest{}, worldSpine, []Source{oneView(t)})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := db.Historical(context.Background(), plan, driftline.BatchesOf(worldSpine, oneSpine(), oneSpine()))
	if err != nil {
		t.Fatal(err)
	}
	for range answer.Batches.All {
		break
	}
}

// TestPanicAbandonsTheSession shows that a panic becomes an error without detail,
// and that the next query has a database of its own.
func TestPanicAbandonsTheSession(t *testing.T) {
	db := openDB(t)
	s, err := db.newSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer s.recoverTo(&err)
		panic("secret")
	}()
	if driftline.CodeOf(err) != driftline.Internal || strings.Contains(err.Error(), "secret") || !s.broken {
		t.Errorf("%v, broken %v", err, s.broken)
	}
	s.broken = false // nothing ran in it: free it after all
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
