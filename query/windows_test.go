package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
)

// generateEvents is [generate] for views of events: x, an id of few values, and a category.
func generateEvents(rng *rand.Rand, spineRows int) *world {
	w := generate(rng, spineRows)
	w.uses, w.of, w.eventTime = nil, nil, false
	for v, view := range w.views {
		view.Horizon, view.EventID = 0, []string{"", "id"}[rng.IntN(2)]
		view.Features = []driftline.Field{{Name: "x", Type: driftline.Float64}, {Name: "id", Type: driftline.Int64}, {Name: "category", Type: driftline.String}}
		w.rows[v] = w.randomRows(rng, view)
		for _, r := range w.rows[v] {
			r.values[1], r.values[2] = int64(rng.IntN(2)), []any{nil, "a", "b"}[rng.IntN(3)]
			if rng.IntN(5) == 0 {
				r.values[1] = nil
			}
		}
		view.Aggregations = w.randomAggregations(rng)
		w.addUses(rng, v)
		for u := range w.uses {
			if w.of[u] == v {
				w.uses[u].Features = view.OfferedNames()
				rng.Shuffle(len(w.uses[u].Features), func(i, j int) {
					f := w.uses[u].Features
					f[i], f[j] = f[j], f[i]
				})
				w.uses[u].Features = w.uses[u].Features[:1+rng.IntN(len(w.uses[u].Features))]
			}
		}
	}
	return w
}

// randomAggregations are of windows about as long as all rows are apart.
func (w *world) randomAggregations(rng *rand.Rand) []driftline.Aggregation {
	var all []driftline.Aggregation
	for i := range 1 + rng.IntN(6) {
		a := driftline.Aggregation{Name: fmt.Sprintf("a%d", i), Function: driftline.Functions[rng.IntN(len(driftline.Functions))]}
		a.Column = []string{"x", "id"}[rng.IntN(2)]
		switch a.Function {
		case driftline.Count:
			a.Column = []string{"", "x", "category"}[rng.IntN(3)]
		case driftline.LastN, driftline.TopK:
			a.Column, a.N = []string{"x", "id", "category"}[rng.IntN(3)], 1+rng.IntN(3)
		case driftline.ApproxQuantile:
			a.Quantile = 0.5
		}
		if rng.IntN(3) == 0 {
			a.Filter = "x > 400000 AND category = 'a'"
		}
		if rng.IntN(4) == 0 {
			a.By = []string{"category", "id"}[rng.IntN(2)]
		}
		if rng.IntN(4) == 0 {
			a.Hop = driftline.Duration(1000 * (1 + rng.IntN(3)))
		}
		for _, micros := range rng.Perm(7)[:1+rng.IntN(2)] {
			a.Windows = append(a.Windows, driftline.Duration(1000*(micros+1)))
		}
		all = append(all, a)
	}
	return all
}

// inWindow is the definition of a window's events: a loop over the rows of the view. It
// says too whether one of them was created after the time.
func inWindow(view *driftline.FeatureView, p driftline.Projection, rows []row, s spineRow, f driftline.AggregatedFeature, knownAt, strict bool) (events []*row, unknown bool) {
	asked := newInstant(*s.time).add(-p.Lag.Microseconds())
	if asked.compare(newInstant(math.MinInt64)) < 0 {
		return nil, false
	}
	if hop := f.Aggregation.Hop.Microseconds(); hop > 0 {
		asked = asked.add(-((int64(asked.low)%hop + hop) % hop))
	}
next:
	for i := range rows {
		r := &rows[i]
		for j, k := range view.JoinKeys {
			if key := s.keys[p.KeyColumn(k.Name)]; key != r.keys[j] {
				continue next
			}
		}
		since := newInstant(r.event).compare(asked)
		before := newInstant(r.event).compare(asked.add(-f.Window.Microseconds()))
		if strict && (since >= 0 || before < 0) || !strict && (since > 0 || before <= 0) {
			continue
		}
		late := r.created == nil || newInstant(*r.created).compare(asked) > 0
		if knownAt && late {
			continue
		}
		unknown = unknown || late && r.created != nil
		if view.EventID != "" && r.values[1] != nil {
			same := func(e *row) bool { return e.event == r.event && e.values[1] == r.values[1] }
			if at := slices.IndexFunc(events, same); at >= 0 {
				if compareRows(r, events[at]) > 0 {
					events[at] = r
				}
				continue
			}
		}
		events = append(events, r)
	}
	return events, unknown
}

// aggregated is the value of a feature over events, by a state of them.
func aggregated(view *driftline.FeatureView, query *aggregate.Query, events []*row) (string, error) {
	plan, f := query.Plan(), query.Features[0]
	values := make([]aggregate.Value, 1)
	if err := query.At(0, false, query.NewState(), values, func(s *aggregate.State, _ aggregate.Span) error {
		for _, r := range events {
			e := aggregate.Event{Time: r.event, Created: aggregate.NoCreated, Sequence: r.sequence}
			if r.created != nil {
				e.Created = *r.created
			}
			for _, c := range plan.Columns {
				cell := r.values[slices.Index(view.FeatureNames(), c.Name)]
				switch cell := cell.(type) {
				case nil:
					e.Values = append(e.Values, aggregate.Value{})
				case float64:
					e.Values = append(e.Values, aggregate.Fraction(cell))
				case int64:
					e.Values = append(e.Values, aggregate.Whole(cell))
				case string:
					e.Values = append(e.Values, aggregate.Text([]byte(cell)))
				}
			}
			x, _ := r.values[0].(float64)
			e.Passes = []bool{x > 400_000 && r.values[2] == "a"}
			s.Add(&e)
		}
		return nil
	}); err != nil {
		return "", err
	}
	b := array.NewBuilder(memory.DefaultAllocator, f.Type.Arrow())
	if err := aggregate.Append(b, f.Type, values[0]); err != nil {
		return "", err
	}
	return b.NewArray().ValueStr(0), nil
}

// TestAggregationsEqualOracle compares them with a loop over all rows: rows in files of many
// layouts and shapes, in the tail, in both.
func TestAggregationsEqualOracle(t *testing.T) {
	cases := 600
	if testing.Short() {
		cases = 100
	}
	db := openDB(t)
	for i := range cases {
		rng := rand.New(rand.NewPCG(5, uint64(i)))
		w := generateEvents(rng, []int{1, 20, 200, 1200}[min(rng.IntN(9), 3-rng.IntN(3))])
		db.opts.MemoryBytes = []int64{1 << 30, 400 << 10}[rng.IntN(2)] // in one chunk, or in many
		if err := w.compareAggregations(t, db, rng); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
	}
}

func (w *world) compareAggregations(t *testing.T, db *DB, rng *rand.Rand) error {
	sources := w.sources(t, rng)
	for slices.ContainsFunc(sources, func(s Source) bool { return !s.Rows.inOrder() }) {
		sources = w.sources(t, rng)
	}
	plan, err := PlanHistorical(w.req, w.as, sources)
	if err != nil {
		return err
	}
	held := w.spineBatches(rng)
	defer driftline.ReleaseAll(held)
	answer, err := db.Historical(context.Background(), plan, driftline.BatchesOf(w.as, held...))
	if err != nil {
		return err
	}
	got, rows, err := answer.Batches.Collect()
	defer driftline.ReleaseAll(got)
	if err != nil || int(rows) != len(w.spine) {
		return fmt.Errorf("%d rows, %v; want %d", rows, err, len(w.spine))
	}
	nulls, unknown := make([]int64, len(answer.Report().Columns)), make([]int64, len(answer.Report().Columns))
	at := 0
	for _, batch := range got {
		for i := range int(batch.NumRows()) {
			column := 0
			for u, p := range w.uses {
				for _, name := range p.Features {
					want, late, err := w.expect(u, name, w.spine[at])
					if err != nil {
						return err
					}
					have := batch.Column(w.as.NumFields() + column).ValueStr(i)
					if have != want {
						return fmt.Errorf("row %d, %s: %s, want %s\n%+v\n%s", at, plan.Schema.Field(w.as.NumFields()+column).Name, have, want, w.spine[at], plan.SQL)
					}
					if want == array.NullValueStr {
						nulls[column]++
					} else if late {
						unknown[column]++
					}
					column++
				}
			}
			at++
		}
	}
	for i, c := range answer.Report().Columns {
		if name := plan.Schema.Field(w.as.NumFields() + i).Name; c.Column != name || c.Nulls != nulls[i] || c.NotYetKnown != unknown[i] {
			return fmt.Errorf("column %s reports as %s %d nulls and %d not yet known, want %d and %d\n%s", name, c.Column, c.Nulls, c.NotYetKnown, nulls[i], unknown[i], plan.SQL)
		}
	}
	return nil
}

// expect is what a use gives for a row of the spine, as Arrow shows it.
func (w *world) expect(u int, name string, s spineRow) (shown string, unknown bool, err error) {
	view, p, rows := w.views[w.of[u]], w.uses[u], w.rows[w.of[u]]
	knownAt := (w.req.KnownAt || view.KnownAt) && view.CreatedTimestamp != ""
	if at := slices.Index(view.FeatureNames(), name); at >= 0 {
		c := choose(view, p, rows, s, knownAt, w.req.Strict)
		b := array.NewBuilder(memory.DefaultAllocator, view.Features[at].Type.Arrow())
		appendCell(b, c.values[at])
		return b.NewArray().ValueStr(0), c.notYetKnown && !knownAt, nil
	}
	for _, k := range view.JoinKeys {
		if s.keys[p.KeyColumn(k.Name)] == nil {
			return array.NullValueStr, false, nil
		}
		if key := s.keys[p.KeyColumn(k.Name)]; key != key { // NaN is no key
			return array.NullValueStr, false, nil
		}
	}
	if s.time == nil {
		return array.NullValueStr, false, nil
	}
	query, err := w.query(view, name)
	if err != nil {
		return "", false, err
	}
	events, late := inWindow(view, p, rows, s, query.Features[0], knownAt, w.req.Strict)
	shown, err = aggregated(view, query, events)
	return shown, late && !knownAt, err
}

// query returns the query of one feature, which it keeps.
func (w *world) query(view *driftline.FeatureView, name string) (*aggregate.Query, error) {
	key := string(view.Name) + ":" + name
	if known := w.queries[key]; known != nil {
		return known, nil
	}
	query, err := aggregate.NewPlan(view).Query([]string{name})
	if w.queries == nil {
		w.queries = map[string]*aggregate.Query{}
	}
	w.queries[key] = query
	return query, err
}

// TestTheMeaningInSQL runs the text that a plan has for aggregations, which is for people,
// by DuckDB: where it computes exactly, the values are those of the plan.
func TestTheMeaningInSQL(t *testing.T) {
	db := openDB(t)
	s, err := db.newSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	inexact := []driftline.Function{driftline.StdDev, driftline.ApproxQuantile, driftline.ApproxCountDistinct}
	for i := range 150 {
		rng := rand.New(rand.NewPCG(6, uint64(i)))
		w := generateEvents(rng, 12)
		if w.zero != 0 {
			continue
		}
		w.avoidTheEndsOfTime()
		for _, view := range w.views {
			for a := range view.Aggregations {
				if f := &view.Aggregations[a].Function; slices.Contains(inexact, *f) {
					*f = driftline.Max
				}
			}
		}
		if err := w.compareMeaning(t, s, rng); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
	}
}

// avoidTheEndsOfTime leaves out times and lags whose sums overflow in SQL.
func (w *world) avoidTheEndsOfTime() {
	for i, s := range w.spine {
		if s.time != nil && max(*s.time, -*s.time) > 1000 || s.time != nil && *s.time == math.MinInt64 {
			w.spine[i].time = nil
		}
	}
	for i := range w.uses {
		w.uses[i].Lag = min(w.uses[i].Lag, 3000)
	}
}

func (w *world) compareMeaning(t *testing.T, s *session, rng *rand.Rand) error {
	ctx := context.Background()
	sources := w.sources(t, rng)
	plan, err := PlanHistorical(w.req, w.as, sources)
	if err != nil {
		return err
	}
	held := w.spineBatches(rng)
	defer driftline.ReleaseAll(held)
	c := chunker{mem: memory.DefaultAllocator, schema: w.as, limit: chunkLimits{first: 1 << 20, most: 1 << 20, firstBytes: 1 << 30, bytes: 1 << 30, perRow: 1}}
	for chunk, err := range c.chunks(driftline.BatchesOf(w.as, held...).All) {
		if err != nil {
			return err
		}
		spine, err := plan.spine.read(memory.DefaultAllocator, chunk)
		if err != nil {
			return err
		}
		defer spine.release()
		if err := s.loadSpine(ctx, plan, spine); err != nil {
			return err
		}
	}
	for _, v := range plan.views {
		if v.windows == nil {
			continue
		}
		if err := s.addRows(ctx, v.table, v.table+"_tail", v.source.Rows, v.source.View.StoredSchema(), true); err != nil {
			return err
		}
		if err := w.compareSelect(ctx, s, &v); err != nil {
			return fmt.Errorf("%w\n%s", err, v.sql)
		}
	}
	return nil
}

func (w *world) compareSelect(ctx context.Context, s *session, v *viewPlan) error {
	reader, err := s.query(ctx, v.sql)
	if err != nil {
		return err
	}
	defer reader.Release()
	u := slices.IndexFunc(w.uses, func(p driftline.Projection) bool {
		return p.View == v.source.View.Name && p.Role == v.source.Projection.Role
	})
	row := 0
	for reader.Next() {
		for i := range int(reader.RecordBatch().NumRows()) {
			for j, f := range v.features {
				want, _, err := w.expect(u, f.Name, w.spine[row])
				if err != nil {
					return err
				}
				have := reader.RecordBatch().Column(1 + j).ValueStr(i)
				if have != want {
					return fmt.Errorf("row %d, %s: %s, want %s", row, f.Name, have, want)
				}
			}
			row++
		}
	}
	return reader.Err()
}

// BenchmarkAggregations computes 16 features over an hour to 30 days for 100,000 rows of a
// spine, over a million events of 5,000 entities in one file.
func BenchmarkAggregations(b *testing.B) {
	const entities, eventsEach, spineEach = 5000, 200, 20
	view := &driftline.FeatureView{Name: "events", EventTimestamp: "event", JoinKeys: []driftline.Field{{Name: "a", Type: driftline.Int64}},
		Features: []driftline.Field{{Name: "x", Type: driftline.Float64}, {Name: "id", Type: driftline.Int64}}}
	var windows []driftline.Duration
	for _, hours := range []driftline.Duration{1, 24, 7 * 24, 30 * 24} {
		windows = append(windows, hours*3_600_000_000_000)
	}
	for _, f := range []driftline.Function{driftline.Count, driftline.Sum, driftline.Mean, driftline.Max} {
		a := driftline.Aggregation{Function: f, Column: "x", Windows: windows}
		if f == driftline.Max {
			a.Column = "id"
		}
		view.Aggregations = append(view.Aggregations, a)
	}
	const span = 60 * 24 * 3_600_000_000
	rng := rand.New(rand.NewPCG(1, 2))
	rows := array.NewRecordBuilder(memory.DefaultAllocator, view.StoredSchema())
	spine := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "event_timestamp", Type: driftline.Time},
	}, nil))
	for e := range int64(entities) {
		for i := range int64(eventsEach) {
			rows.Field(0).(*array.Int64Builder).Append(e)
			rows.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(i * span / eventsEach))
			rows.Field(2).(*array.Float64Builder).Append(100 * rng.NormFloat64())
			rows.Field(3).(*array.Int64Builder).Append(int64(rng.IntN(1000)))
			rows.Field(4).(*array.Int64Builder).Append(e*eventsEach + i)
		}
		for range spineEach {
			spine.Field(0).(*array.Int64Builder).Append(int64(rng.IntN(entities)))
			spine.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(rng.Int64N(span)))
		}
	}
	file := writeParquet(b, view.StoredSchema(), rows.NewRecordBatch())
	sent := spine.NewRecordBatch()
	db := openDB(b)
	plan, err := PlanHistorical(driftline.HistoricalRequest{}, sent.Schema(), []Source{{
		View: view, Projection: driftline.Projection{View: view.Name, Features: view.OfferedNames()[2:]},
		Rows: Rows{Files: []string{file}, Sorted: true, Columns: nil},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		answer, err := db.Historical(context.Background(), plan, driftline.BatchesOf(sent.Schema(), sent))
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range answer.Batches.All {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
