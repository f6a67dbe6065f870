package online_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/online"
)

const (
	minutes5 = 5 * 60 * int64(1e6)
	hour     = 12 * minutes5
	day      = 24 * hour
)

// visits is a view with every function, over windows that tiles fit into and others.
func visits(random *rand.Rand) *driftline.FeatureView {
	view := &driftline.FeatureView{
		Name: "visits", JoinKeys: []driftline.Field{field("shop", driftline.String)}, EventTimestamp: "at", CreatedTimestamp: "created",
		Features: []driftline.Field{field("id", driftline.Int64), field("amount", driftline.Float64), field("items", driftline.Int32), field("kind", driftline.String)},
		KnownAt:  random.IntN(4) == 0,
	}
	if random.IntN(2) == 0 {
		view.EventID = "id"
	}
	windows := []driftline.Duration{
		driftline.Duration(time.Minute), driftline.Duration(10 * time.Minute), driftline.Duration(time.Hour),
		driftline.Duration(25*time.Hour + time.Microsecond), driftline.Duration(72 * time.Hour),
	}
	columns := []string{"amount", "items", "kind"}
	for _, f := range driftline.Functions {
		a := driftline.Aggregation{Function: f, Column: columns[random.IntN(3)]}
		if _, err := f.Result(driftline.String); err != nil {
			a.Column = columns[random.IntN(2)]
		}
		for range 2 {
			if w := windows[random.IntN(len(windows))]; !slices.Contains(a.Windows, w) {
				a.Windows = append(a.Windows, w)
			}
		}
		switch f {
		case driftline.LastN, driftline.TopK:
			a.N = 1 + random.IntN(3)
		case driftline.ApproxQuantile:
			a.Quantile = 0.5
		}
		if random.IntN(3) == 0 {
			a.Filter = "items > 2 OR kind = 'b'"
		}
		if random.IntN(3) == 0 {
			a.By = "kind"
		}
		if random.IntN(4) == 0 {
			a.Hop = driftline.Duration(7 * time.Minute)
		}
		view.Aggregations = append(view.Aggregations, a)
	}
	return view
}

// aMoment is a time at which something may go wrong: near a boundary of tiles.
func aMoment(random *rand.Rand) int64 {
	spans := []int64{minutes5, hour, day}
	span := spans[random.IntN(3)]
	return random.Int64N(4*day/span)*span + random.Int64N(5) - 2 + []int64{0, 0, int64(random.IntN(1e9))}[random.IntN(3)]
}

// visit is a row, as the oracle has it.
type visit struct {
	shop string
	aggregate.Event
	id any
}

func (v visit) row() []any {
	row := []any{v.shop, v.Time, nil, v.id, nil, nil, nil}
	if v.Created != aggregate.NoCreated {
		row[2] = v.Created
	}
	if v.Values[0].Valid {
		row[4] = math.Float64frombits(v.Values[0].Bits)
	}
	if v.Values[1].Valid {
		row[5] = int32(v.Values[1].Bits)
	}
	if v.Values[2].Valid {
		row[6] = string(v.Values[2].Text)
	}
	return row
}

func aVisit(random *rand.Rand, sequence int64) visit {
	v := visit{shop: string(rune('A' + random.IntN(2))), Event: aggregate.Event{
		Time: aMoment(random), Created: aMoment(random), Sequence: sequence, Values: make([]aggregate.Value, 3),
	}}
	if random.IntN(3) == 0 {
		v.Created = aggregate.NoCreated
	}
	if random.IntN(3) > 0 {
		v.id = random.Int64N(3)
	}
	if random.IntN(5) > 0 {
		v.Values[0] = aggregate.Fraction([]float64{0.1, -7.25, 1e300, 3e-5, math.Inf(1)}[random.IntN(5)])
	}
	if random.IntN(5) > 0 {
		v.Values[1] = aggregate.Whole(random.Int64N(6))
	}
	if random.IntN(5) > 0 {
		v.Values[2] = aggregate.Text([]byte{byte('a' + random.IntN(3))})
	}
	return v
}

// passes is the filter of [visits].
func (v visit) passes() bool {
	return v.Values[1].Valid && v.Values[1].Bits > 2 || v.Values[2].Valid && string(v.Values[2].Text) == "b"
}

// oracle computes one feature by a loop over all rows: those in the window that existed
// then, of each event the version that counts. known is false if history that is gone, or
// a version that was replaced since, could matter: the store may then say that it does not know.
func oracle(view *driftline.FeatureView, rows []visit, shop string, at int64, f driftline.AggregatedFeature) (value aggregate.Value, known bool) {
	if hop := f.Aggregation.Hop.Microseconds(); hop > 0 {
		at -= ((at % hop) + hop) % hop
	}
	known = true
	newest := map[string]visit{}
	for i, r := range rows {
		if r.shop != shop || r.Time > at || r.Time <= at-f.Window.Microseconds() {
			continue
		}
		if view.KnownAt && (r.Created == aggregate.NoCreated || r.Created > at) {
			known = known && r.Created == aggregate.NoCreated
			continue
		}
		event := fmt.Sprint("row ", i)
		if view.EventID != "" && r.id != nil {
			event = fmt.Sprint(r.Time, r.id)
		}
		if other, ok := newest[event]; !ok || cmp.Or(cmp.Compare(r.Created, other.Created), cmp.Compare(r.Sequence, other.Sequence)) > 0 {
			newest[event] = r
		}
	}
	one := *view
	one.Aggregations = []driftline.Aggregation{f.Aggregation}
	one.Aggregations[0].Windows, one.Aggregations[0].Hop = []driftline.Duration{f.Window}, 0
	plan := aggregate.NewPlan(&one)
	query, err := plan.Query([]string{f.Name})
	if err != nil {
		panic(err)
	}
	values := make([]aggregate.Value, 1)
	err = query.At(at, false, query.NewState(), values, func(s *aggregate.State, _ aggregate.Span) error {
		for _, r := range newest {
			e := r.Event
			e.Values, e.Passes = nil, []bool{r.passes()}
			for _, c := range plan.Columns {
				at := slices.IndexFunc(view.Features, func(f driftline.Field) bool { return f.Name == c.Name })
				if at == 0 {
					id := aggregate.Value{}
					if r.id != nil {
						id = aggregate.Whole(r.id.(int64))
					}
					e.Values = append(e.Values, id)
				} else {
					e.Values = append(e.Values, r.Values[at-1])
				}
			}
			s.Add(&e)
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return values[0], known
}

func show(f *fixture, t driftline.Type, v aggregate.Value) string {
	b := array.NewBuilder(f.mem, t.Arrow())
	defer b.Release()
	f.check(aggregate.Append(b, t, v))
	a := b.NewArray()
	defer a.Release()
	return a.ValueStr(0)
}

// TestAggregatesEqualTheOracle writes random histories (late rows, corrections, rows at
// the edges of tiles), reads at random times, which makes tiles, writes again, and compares
// each answer with a loop over all rows.
func TestAggregatesEqualTheOracle(t *testing.T) {
	online.SetTileWorth(t, 4)
	f := newFixture(t)
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 9))
		view := visits(random)
		view.Name = driftline.ViewName(fmt.Sprint("visits_", seed))
		var names []string
		for _, a := range view.AggregatedFeatures() {
			names = append(names, a.Name)
		}
		a, err := online.NewAggregates(view, names)
		f.check(err)
		f.check(f.store.EndHistory(view, online.Complete))
		var rows []visit
		var written [][]any
		for range 4 {
			for range 20 + random.IntN(30) {
				v := aVisit(random, int64(len(rows)))
				if len(rows) > 0 && random.IntN(4) == 0 { // a version of an event, or a row twice
					v.Time, v.id, v.shop = rows[len(rows)-1].Time, rows[len(rows)-1].id, rows[len(rows)-1].shop
				}
				rows, written = append(rows, v), append(written, v.row())
				if random.IntN(12) == 0 {
					f.putHistory(view, int64(len(rows)), written...)
					written = nil
				}
			}
			f.putHistory(view, int64(len(rows)), written...)
			written = nil
			for range 4 {
				f.compareAggregates(view, a, rows, aMoment(random))
			}
		}
		if f.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if online.TilesUsed() == 0 {
		t.Error("no tile was ever used")
	}
}

// putHistory adds rows, of which the last has the sequence before end.
func (f *fixture) putHistory(view *driftline.FeatureView, end int64, rows ...[]any) {
	f.Helper()
	batch := f.batch(view, rows...)
	defer batch.Release()
	sequences := make([]int64, len(rows))
	for i := range sequences {
		sequences[i] = end - int64(len(rows)) + int64(i)
	}
	b := f.db.NewBatch()
	defer b.Close()
	_, err := f.store.PutHistory(b, view, batch, sequences, online.Complete)
	f.check(err)
	f.check(b.Commit())
}

func (f *fixture) compareAggregates(view *driftline.FeatureView, a *online.Aggregates, rows []visit, at int64) {
	f.Helper()
	shops := []string{"A", "B", "C"}
	keys := f.keys(view, [][]any{{"A"}, {"B"}, {"C"}, {nil}})
	defer release(keys)
	got, err := f.store.Aggregate(context.Background(), f.mem, a, keys, 4, at)
	f.check(err)
	for i, feature := range view.AggregatedFeatures() {
		for row, shop := range shops {
			want, known := oracle(view, rows, shop, at, feature)
			if got.Offline[row] && view.KnownAt {
				continue
			}
			if !known && view.EventID != "" {
				continue // a version that was replaced
			}
			if g, w := show(f, feature.Type, got.Value(i, row)), show(f, feature.Type, want); g != w {
				f.Errorf("%s of %s at %d: %s, want %s", feature.Aggregation, shop, at, g, w)
			}
		}
	}
}

// TestATileIsNeverStale lets writers add events while readers make and use tiles, and
// compares what each reader found with what was there at some time during its read.
func TestATileIsNeverStale(t *testing.T) {
	online.SetTileWorth(t, 2)
	f := newFixture(t)
	view := &driftline.FeatureView{
		Name: "clicks", JoinKeys: []driftline.Field{field("page", driftline.String)}, EventTimestamp: "at",
		Features:     []driftline.Field{field("n", driftline.Int64)},
		Aggregations: []driftline.Aggregation{{Function: driftline.Count, Windows: []driftline.Duration{driftline.Duration(48 * time.Hour)}}},
	}
	a, err := online.NewAggregates(view, []string{"count_2d"})
	f.check(err)
	f.check(f.store.LoadTiles(context.Background()))
	f.check(f.store.EndHistory(view, online.Complete))
	const writes = 300
	var mu sync.Mutex
	begun, done := 0, 0
	stop := make(chan struct{})
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			keys := f.keys(view, [][]any{{"home"}})
			defer release(keys)
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				least := done
				mu.Unlock()
				got, err := f.store.Aggregate(context.Background(), f.mem, a, keys, 1, 2*day)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				most := begun
				mu.Unlock()
				if n := int(got.Value(0, 0).Bits); n < least || n > most {
					t.Errorf("%d events were counted, of %d that were there before and %d after", n, least, most)
					return
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(5, 6))
	for i := range writes {
		mu.Lock()
		begun++
		mu.Unlock()
		f.putHistory(view, int64(i+1), []any{"home", random.Int64N(6 * minutes5), int64(1)})
		mu.Lock()
		done++
		mu.Unlock()
	}
	close(stop)
	reading.Wait()
}

// Tiles of entities with many events are made before anybody asks, and are those that reads use.
func TestWarmMakesTheTilesThatReadsUse(t *testing.T) {
	online.SetTileWorth(t, 4)
	online.SetWarmEvents(t, 200)
	f := newFixture(t)
	view := &driftline.FeatureView{
		Name: "clicks", JoinKeys: []driftline.Field{field("page", driftline.String)}, EventTimestamp: "at",
		Features:     []driftline.Field{field("n", driftline.Int64)},
		Aggregations: []driftline.Aggregation{{Column: "n", Function: driftline.Sum, Windows: []driftline.Duration{driftline.Duration(48 * time.Hour)}}},
	}
	a, err := online.NewAggregates(view, []string{"n_sum_2d"})
	f.check(err)
	f.check(f.store.LoadTiles(context.Background()))
	f.check(f.store.EndHistory(view, online.Complete))
	const events = 300
	sequence, sums := int64(0), map[string]int64{}
	for page, n := range map[string]int{"home": events, "about": 199, "news": events} {
		var rows [][]any
		for i := range n {
			rows = append(rows, []any{page, 2 * day * int64(i) / int64(n), int64(i)})
			sums[page] += int64(i)
		}
		sequence += int64(n)
		f.putHistory(view, sequence, rows...)
	}
	tiles := func() (n int) {
		for _, err := range f.db.ScanPrefix([]byte{kv.HistoryTiles}) {
			f.check(err)
			n++
		}
		return n
	}
	warmed, err := f.store.Warm(context.Background(), f.mem, a, 2*day-1)
	f.check(err)
	made := tiles()
	if warmed != 2 || made == 0 {
		t.Errorf("%d entities were warmed, %d tiles made", warmed, made)
	}
	for page, sum := range map[string]int64{"home": sums["home"], "news": sums["news"]} {
		before := online.TilesUsed()
		keys := f.keys(view, [][]any{{page}})
		got, err := f.store.Aggregate(context.Background(), f.mem, a, keys, 1, 2*day-1)
		release(keys)
		f.check(err)
		if int64(got.Value(0, 0).Bits) != sum || online.TilesUsed() == before || tiles() != made {
			t.Errorf("%s: %d, want %d; %d tiles used, %d made", page, int64(got.Value(0, 0).Bits), sum, online.TilesUsed()-before, tiles()-made)
		}
	}
}
