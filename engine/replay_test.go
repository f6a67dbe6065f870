package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/internal/testenv"
)

// A replay writes the random histories of the things of one view, and asks for its
// aggregated features at random times, online, offline, and of a loop over all rows.
const (
	replays      = 42 // views
	replayThings = 25 // histories in each: more than a thousand together
)

// replay is one view and what was written to it.
type replay struct {
	env    *testenv.Env
	random *rand.Rand
	view   *driftline.FeatureView
	rows   []replayRow
	start  time.Time

	written int64 // how many rows
	writes  int
}

type replayRow struct {
	key            string
	event, created int64 // microseconds; NoCreated is null
	sequence       int64
	id             int64 // -1 is null
	amount         float64
	items          int64
	kind           string
	nulls          [3]bool // amount, items, kind
}

var replayWindows = []driftline.Duration{
	driftline.Duration(time.Minute), driftline.Duration(10 * time.Minute), driftline.Duration(time.Hour),
	driftline.Duration(25*time.Hour + time.Microsecond), driftline.Duration(72 * time.Hour),
}

func newReplay(env *testenv.Env, n int, random *rand.Rand) *replay {
	name := fmt.Sprint("replay_", n)
	view := driftline.FeatureView{
		Name: driftline.ViewName(name), Entities: []driftline.EntityName{driftline.EntityName(name)}, CreatedTimestamp: "created",
		Features: []driftline.Field{{Name: "id", Type: driftline.Int64}, {Name: "amount", Type: driftline.Float64},
			{Name: "items", Type: driftline.Int32}, {Name: "kind", Type: driftline.String}},
		KnownAt: random.IntN(4) == 0,
	}
	if random.IntN(2) == 0 {
		view.EventID = "id"
	}
	for _, f := range driftline.Functions {
		view.Aggregations = append(view.Aggregations, randomAggregation(random, f))
	}
	r := &replay{env: env, random: random, start: at(0)}
	r.apply(view)
	return r
}

func randomAggregation(random *rand.Rand, f driftline.Function) driftline.Aggregation {
	a := driftline.Aggregation{Function: f, Column: []string{"amount", "items", "kind"}[random.IntN(3)]}
	if _, err := f.Result(driftline.String); err != nil {
		a.Column = []string{"amount", "items"}[random.IntN(2)]
	}
	for range 2 {
		if w := replayWindows[random.IntN(len(replayWindows))]; !slices.Contains(a.Windows, w) {
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
	return a
}

func (r *replay) apply(view driftline.FeatureView) {
	key := []driftline.Field{{Name: "key", Type: driftline.String}}
	entity := driftline.Entity{Name: view.Entities[0], JoinKeys: key}
	r.env.Apply(driftline.Definitions{Entities: []driftline.Entity{entity}, FeatureViews: []driftline.FeatureView{view}})
	applied, err := r.env.Engine.Registry().View(view.Name)
	if err != nil {
		r.env.T.Fatal(err)
	}
	r.view = applied
}

// moment is a time near an edge of what is summarised, or a microsecond beside it.
func (r *replay) moment() int64 {
	span := []int64{5 * 60e6, 3600e6, 24 * 3600e6}[r.random.IntN(3)]
	edge := r.start.UnixMicro() + r.random.Int64N(4*24*3600e6/span)*span
	return edge + r.random.Int64N(5) - 2 + []int64{0, 0, r.random.Int64N(1e9)}[r.random.IntN(3)]
}

func (r *replay) row() replayRow {
	row := replayRow{
		key: string(rune('A' + r.random.IntN(replayThings))), event: r.moment(), created: r.moment(), id: r.random.Int64N(4) - 1,
		amount: []float64{0.1, -7.25, 1e300, 3e-5, 12345.678}[r.random.IntN(5)], items: r.random.Int64N(6), kind: string(rune('a' + r.random.IntN(3))),
	}
	if r.random.IntN(3) == 0 {
		row.created = aggregate.NoCreated
	}
	for i := range row.nulls {
		row.nulls[i] = r.random.IntN(5) == 0
	}
	if r.random.IntN(2) == 0 {
		row.key = "A" // has so many events that tiles are made of them
	}
	if len(r.rows) > 0 && r.random.IntN(4) == 0 { // a version of an event, or a second one at its time
		other := r.rows[r.random.IntN(len(r.rows))]
		row.key, row.event, row.id = other.key, other.event, other.id
	}
	return row
}

func (row *replayRow) json() string {
	when := func(at int64) string { return strconv.Quote(time.UnixMicro(at).UTC().Format(time.RFC3339Nano)) }
	null := func(is bool, text string) string {
		if is {
			return "null"
		}
		return text
	}
	return fmt.Sprintf(`{"key": %q, "event_timestamp": %s, "created": %s, "id": %s, "amount": %s, "items": %s, "kind": %s}`,
		row.key, when(row.event), null(row.created == aggregate.NoCreated, when(row.created)), null(row.id < 0, fmt.Sprint(row.id)),
		null(row.nulls[0], fmt.Sprint(row.amount)), null(row.nulls[1], fmt.Sprint(row.items)), null(row.nulls[2], strconv.Quote(row.kind)))
}

// write writes some rows in one write, small or bulk. Each third goes to the offline store
// only, and is online when it is materialized.
func (r *replay) write(n int) {
	r.env.Engine.SetSmallRows([]int64{0, 1000}[r.random.IntN(2)])
	defer r.env.Engine.SetSmallRows(1000)
	var texts []string
	for range n {
		row := r.row()
		r.written++
		row.sequence = r.written
		r.rows, texts = append(r.rows, row), append(texts, row.json())
	}
	target := driftline.BothStores
	if r.writes++; r.writes%3 == 0 {
		target = driftline.OfflineOnly
	}
	rows := r.env.Rows(r.view.Schema(), "["+strings.Join(texts, ",")+"]")
	if _, err := r.env.Engine.IngestTo(context.Background(), r.view.Name, target, "", rows); err != nil {
		r.env.T.Fatal(err)
	}
}

// disturb does what must change no answer, or what the oracle can follow.
func (r *replay) disturb() {
	ctx, table, e := context.Background(), "features."+string(r.view.Name), r.env.Engine
	var err error
	switch r.random.IntN(9) {
	case 0:
		r.env.Reopen()
	case 1:
		err = e.Flush(ctx, r.view)
	case 2:
		_, err = e.Compact(ctx, table)
	case 3:
		err = e.ExpireHistories(ctx)
	case 4:
		err = e.RebuildOnline(ctx, r.view.Name)
	case 5:
		key := string(rune('A' + r.random.IntN(replayThings)))
		_, err = e.Erase(ctx, driftline.ErasureRequest{Entity: r.view.Entities[0], Keys: map[string]string{"key": key}})
		r.rows = slices.DeleteFunc(r.rows, func(row replayRow) bool { return row.key == key })
	case 6:
		view := *r.view
		view.Aggregations = slices.Clone(view.Aggregations)
		at := r.random.IntN(len(view.Aggregations))
		view.Aggregations[at] = randomAggregation(r.random, view.Aggregations[at].Function)
		r.apply(view)
	}
	if err != nil {
		r.env.T.Fatal(err)
	}
}

// oracle is a feature's value by a loop over all rows.
func (r *replay) oracle(t *testing.T, key string, at int64, f driftline.AggregatedFeature) string {
	t.Helper()
	if hop := f.Aggregation.Hop.Microseconds(); hop > 0 {
		at = int64(math.Floor(float64(at)/float64(hop))) * hop
	}
	events := map[string]replayRow{}
	for _, row := range r.rows {
		if row.key != key || row.event > at || row.event <= at-f.Window.Microseconds() ||
			r.view.KnownAt && (row.created == aggregate.NoCreated || row.created > at) {
			continue
		}
		name := fmt.Sprint("row ", row.sequence)
		if r.view.EventID != "" && row.id >= 0 {
			name = fmt.Sprint(row.event, " ", row.id)
		}
		if other, ok := events[name]; !ok || cmp.Or(cmp.Compare(row.created, other.created), cmp.Compare(row.sequence, other.sequence)) > 0 {
			events[name] = row
		}
	}
	return answer(t, f, slices.SortedFunc(maps.Values(events), func(a, b replayRow) int {
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.created, b.created), cmp.Compare(a.sequence, b.sequence))
	}))
}

// compare asks all three for all features of all things, at some times.
func (r *replay) compare(t *testing.T, times ...int64) {
	t.Helper()
	keys := []string{"nobody", ""}
	for i := range replayThings {
		keys = append(keys, string(rune('A'+i)))
	}
	spine, entities := r.spine(keys, times)
	offline := r.offline(t, spine)
	for i, when := range times {
		online := r.online(t, entities, when)
		for c, f := range r.view.Offered() {
			for k, key := range keys {
				row := i*len(keys) + k
				if got, want := online[c][k], offline[c][row]; got != want {
					t.Errorf("%s of %q at %d: online %s, offline %s", f.Name, key, when, got, want)
				}
			}
		}
		for a, f := range r.view.AggregatedFeatures() {
			for k, key := range keys {
				got, want := offline[len(r.view.Features)+a][i*len(keys)+k], "(null)"
				if key != "" {
					want = r.oracle(t, key, when, f)
				}
				if !nearTo(f.Aggregation.Function, got, want) {
					t.Errorf("%s of %q at %d: offline %s, the oracle %s", f.Aggregation, key, when, got, want)
				}
			}
		}
	}
}

// spine is all keys, of which "" is null, at all times, and the keys alone.
func (r *replay) spine(keys []string, times []int64) (spine, entities driftline.Batches) {
	key := arrow.Field{Name: "key", Type: arrow.BinaryTypes.String, Nullable: true}
	var rows, alone []string
	for i, when := range times {
		for _, k := range keys {
			text := strconv.Quote(k)
			if k == "" {
				text = "null"
			}
			rows = append(rows, fmt.Sprintf(`{"key": %s, "event_timestamp": %q}`, text, time.UnixMicro(when).UTC().Format(time.RFC3339Nano)))
			if i == 0 {
				alone = append(alone, fmt.Sprintf(`{"key": %s}`, text))
			}
		}
	}
	schema := arrow.NewSchema([]arrow.Field{key, {Name: "event_timestamp", Type: driftline.Time}}, nil)
	return r.env.Rows(schema, "["+strings.Join(rows, ",")+"]"), r.env.Rows(arrow.NewSchema([]arrow.Field{key}, nil), "["+strings.Join(alone, ",")+"]")
}

func (r *replay) offline(t *testing.T, spine driftline.Batches) [][]string {
	t.Helper()
	req := driftline.HistoricalRequest{}
	req.Projections = []driftline.Projection{{View: r.view.Name}}
	set, err := r.env.Engine.Historical(context.Background(), req, spine)
	if err != nil {
		t.Fatal(err)
	}
	return columnTexts(t, set.Batches, 2)
}

func (r *replay) online(t *testing.T, entities driftline.Batches, when int64) [][]string {
	t.Helper()
	req := driftline.OnlineRequest{At: time.UnixMicro(when)}
	req.Projections = []driftline.Projection{{View: r.view.Name}}
	for b := range entities.All {
		resp, err := r.env.Engine.Online(context.Background(), req, b)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Release()
		return columnTexts(t, driftline.BatchesOf(resp.Batch.Schema(), resp.Batch), 1)
	}
	return nil
}

// columnTexts are the values of the columns from one on.
func columnTexts(t *testing.T, rows driftline.Batches, from int) [][]string {
	t.Helper()
	out := make([][]string, rows.Schema.NumFields()-from)
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for c, column := range b.Columns()[from:] {
			for i := range column.Len() {
				out[c] = append(out[c], column.ValueStr(i))
			}
		}
	}
	return out
}

// TestAThousandHistoriesAreServedAsTheyAreTrainedOn replays random histories: inserts, late
// rows, corrections, duplicates, backfills that are materialized later, erasures, gaps, edges
// ± 1 µs, other definitions, restarts, flushes, compaction, expiry. At random times the aggregated features online equal those
// offline, bit for bit, and those of a loop over all rows that sums without rounding: to the bit
// too, except that a quantile is within its 1 %.
func TestAThousandHistoriesAreServedAsTheyAreTrainedOn(t *testing.T) {
	env := testenv.New(t)
	for n := range replays {
		random := rand.New(rand.NewPCG(uint64(n), 20))
		env.Clock.Set(at(0).Add(time.Duration(random.IntN(8*24)) * time.Hour))
		r := newReplay(env, n, random)
		for range 3 {
			for range 1 + random.IntN(3) {
				r.write(60 + random.IntN(60))
			}
			r.disturb()
			materialize(env, r.view.Name, incremental, ever)
			times := []int64{r.moment(), r.moment(), r.env.Clock.Now().UnixMicro()}
			if len(r.rows) > 0 {
				row := r.rows[random.IntN(len(r.rows))]
				times = append(times, row.event+replayWindows[random.IntN(len(replayWindows))].Microseconds()+random.Int64N(3)-1)
			}
			r.compare(t, times...)
		}
		if t.Failed() {
			t.Fatalf("replay %d, %+v", n, r.view)
		}
	}
}
