package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	return Source{View: view, Projection: driftline.Projection{View: "weather", Features: []string{"added", "f0"}}, Rows: Rows{Files: []string{file}, Sorted: true}}
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
	t.Run("merged", func(t *testing.T) { testHistoricalFailures(t, openDB(t)) })
	t.Run("by DuckDB", func(t *testing.T) {
		db := openDB(t)
		db.path = onlyDuckDB
		testHistoricalFailures(t, db)
	})
}

func testHistoricalFailures(t *testing.T, db *DB) {
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
	if driftline.CodeOf(err) != driftline.DataLoss || strings.Contains(err.Error(), filepath.Dir(missing.Rows.Files[0])) {
		t.Errorf("missing file: %v (%s); want data loss, and no path of the server", err, driftline.CodeOf(err))
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

// TestLongSpines joins more rows than are cut from one piece, on both paths. Each column
// must come out the same, whatever the batches are.
func TestLongSpines(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	w := &world{keys: map[string]driftline.Type{"a": driftline.Int64, "b": driftline.String}}
	view := &driftline.FeatureView{
		Name: "view0", EventTimestamp: "event", CreatedTimestamp: "created", TTL: 3000,
		JoinKeys: []driftline.Field{{Name: "b", Type: driftline.String}, {Name: "a", Type: driftline.Int64}},
	}
	for i, typ := range driftline.Types {
		view.Features = append(view.Features, driftline.Field{Name: fmt.Sprintf("f%d", i), Type: typ})
	}
	var rows []row
	for i := range 5000 {
		r := row{keys: []any{someKey(rng, driftline.String), rng.Int64N(20)}, event: rng.Int64N(1000), sequence: int64(i)}
		created := r.event + rng.Int64N(10)
		r.created = &created
		for _, f := range view.Features {
			r.values = append(r.values, someValue(rng, f.Type))
		}
		rows = append(rows, r)
	}
	for range 70_000 {
		at := rng.Int64N(1000)
		w.spine = append(w.spine, spineRow{time: &at, keys: map[string]any{"a": rng.Int64N(21), "b": someKey(rng, driftline.String), "a2": nil}})
	}
	w.as = worldSpine
	small := w.spineBatches(rng) // of five rows on average
	defer driftline.ReleaseAll(small)
	whole, err := joinBatches(memory.DefaultAllocator, worldSpine, small)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Release()
	source := Source{View: view, Projection: driftline.Projection{View: view.Name, Features: view.FeatureNames()}}
	source.Rows = w.store(t, rng, view, rows)
	want := ""
	for _, spine := range []driftline.Batches{
		driftline.BatchesOf(worldSpine, small...), driftline.BatchesOf(worldSpine, whole),
		driftline.BatchesOf(worldSpine, whole.NewSlice(0, 20_001), whole.NewSlice(20_001, 20_003), whole.NewSlice(20_003, 70_000)),
	} {
		for _, path := range []joinPath{bestPath, onlyDuckDB} {
			db := openDB(t)
			db.path = path
			got, err := collect(db, context.Background(), source, spine)
			if most := biggest(t, db, source, spine); most > batchBytes || most < batchBytes/4 {
				t.Errorf("path %d: the biggest batch has %d bytes, want nearly %d", path, most, batchBytes)
			}
			if want == "" {
				want = got
			}
			if err != nil || got != want {
				t.Errorf("path %d: the answer of the same spine in other batches differs (%v): %s", path, err, difference(got, want))
			}
		}
	}
}

// TestChunksHoldTheSpine cuts spines in all ways: nothing is lost, moved or aligned badly.
func TestChunksHoldTheSpine(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 50 {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		var batches []arrow.RecordBatch
		schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
		rows := int64(0)
		for range rng.IntN(30) {
			n := []int{0, 1, rng.IntN(100), smallPiece, rng.IntN(3 * smallPiece)}[rng.IntN(5)]
			numbers := rowNumbers(mem, rows, n)
			batches = append(batches, array.NewRecordBatch(schema, []arrow.Array{numbers}, int64(n)))
			numbers.Release()
			rows += int64(n)
		}
		c := chunker{mem: mem, schema: schema, limit: chunkLimits{first: 1 + rng.IntN(smallPiece), most: 4 * smallPiece, firstBytes: 1 << 30, bytes: 1 << 30, perRow: 64}}
		next := int64(0)
		for chunk, err := range c.chunks(driftline.BatchesOf(schema, batches...).All) {
			if err != nil || chunk.before != next || chunk.count == 0 || chunk.count > 6*smallPiece {
				t.Fatalf("a chunk of %d rows after %d, want after %d (%v)", chunk.count, chunk.before, next, err)
			}
			for i, piece := range chunk.pieces {
				if chunk.first[i]%pieceAlignment != 0 || chunk.first[i]+int(piece.NumRows()) > chunk.rows {
					t.Fatalf("a piece of %d rows begins at %d of %d", piece.NumRows(), chunk.first[i], chunk.rows)
				}
				for _, v := range piece.Column(0).(*array.Int64).Int64Values() {
					if v != next {
						t.Fatalf("row %d where %d was due", v, next)
					}
					next++
				}
			}
		}
		if next != rows {
			t.Errorf("%d rows, want %d", next, rows)
		}
		driftline.ReleaseAll(batches)
		mem.AssertSize(t, 0)
	}
}

// TestLeavingEndsEverything leaves a long answer, and one whose context ends, on both paths.
func TestLeavingEndsEverything(t *testing.T) {
	for _, path := range []joinPath{bestPath, onlyDuckDB} {
		db := openDB(t)
		db.path = path
		one := oneSpine()
		rows := 0
		endless := driftline.Batches{Schema: worldSpine, All: func(yield func(arrow.RecordBatch, error) bool) {
			for yield(one, nil) {
				rows++
			}
		}}
		plan, err := PlanHistorical(driftline.HistoricalRequest{}, worldSpine, []Source{oneView(t)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		answer, err := db.Historical(ctx, plan, driftline.Batches{Schema: worldSpine, All: func(yield func(arrow.RecordBatch, error) bool) {
			for batch, err := range endless.All {
				if rows == 200_000 {
					cancel()
				}
				if !yield(batch, err) {
					return
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = drain(answer.Batches)
		if code := driftline.CodeOf(err); code != driftline.Unavailable {
			t.Errorf("path %d: %v (%s)", path, err, code)
		}
		cancel()
		one.Release()
	}
}

func drain(b driftline.Batches) (rows int64, err error) {
	for batch, err := range b.All {
		if err != nil {
			return rows, err
		}
		rows += batch.NumRows()
	}
	return rows, nil
}

// biggest is the size of the biggest batch of an answer.
func biggest(t *testing.T, db *DB, s Source, spine driftline.Batches) (most int64) {
	t.Helper()
	plan, err := PlanHistorical(driftline.HistoricalRequest{}, worldSpine, []Source{s})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := db.Historical(context.Background(), plan, spine)
	if err != nil {
		t.Fatal(err)
	}
	for batch, err := range answer.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, driftline.BatchBytes(batch))
	}
	return most
}

// difference is the first line in which two texts differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is\n%s, want\n%s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
