package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// histories is how many random histories of writes are compared with the oracle.
const histories = 60

// event is one row that a history wrote, in the order of writing.
type event struct {
	key            string
	event, created int64 // minutes; noCreated is null
	value          int64 // -1 is null
}

const noCreated = -1 << 40

// oracle is the point-in-time rule, as a loop: the value of key at time now, or "(null)".
func oracle(history []event, key string, now, ttl int64, knownAt bool) string {
	best, found := event{}, false
	for _, e := range history {
		if e.key != key || e.event > now || (knownAt && (e.created == noCreated || e.created > now)) {
			continue
		}
		if !found || cmp.Or(cmp.Compare(e.event, best.event), cmp.Compare(e.created, best.created)) >= 0 {
			best, found = e, true
		}
	}
	if !found || best.value < 0 || (ttl > 0 && best.event < now-ttl) {
		return "(null)"
	}
	return fmt.Sprint(best.value)
}

// TestOnlineEqualsOfflineEqualsTheOracle writes random histories (few keys and times, so
// that ties, late rows and corrections are frequent) through the small and the bulk path,
// with reads, restarts and expiry of online rows in between, and then compares three answers at every time.
func TestOnlineEqualsOfflineEqualsTheOracle(t *testing.T) {
	env := testenv.New(t)
	random := rand.New(rand.NewPCG(2013, 6))
	for n := range histories {
		ttl := []int64{0, 2, 4}[random.IntN(3)]
		view := driftline.FeatureView{
			Name: driftline.ViewName(fmt.Sprintf("view_%d", n)), Entities: []driftline.EntityName{"airport"},
			TTL: driftline.Duration(time.Duration(ttl) * time.Minute), CreatedTimestamp: "created",
			KnownAt: random.IntN(2) == 0, Features: []driftline.Field{{Name: "value", Type: driftline.Int64}},
		}
		env.Apply(driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}})
		history := writeHistory(env, view.Name, random)
		if ttl > 0 && random.IntN(4) == 0 { // rows that expired count again
			ttl = []int64{0, 5}[random.IntN(2)]
			view.TTL = driftline.Duration(time.Duration(ttl) * time.Minute)
			env.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{view}})
		}
		checkHistory(t, env, &view, history, ttl)
		if t.Failed() {
			t.Fatalf("history %d: %+v", n, history)
		}
	}
}

// writeHistory writes a few random batches and returns all rows in order of writing.
// They are in the ingest log only, in files only, in both, or in files that were merged.
func writeHistory(env *testenv.Env, view driftline.ViewName, random *rand.Rand) []event {
	var history []event
	where := []string{"log", "files", "both", "merged"}[random.IntN(4)]
	for range 1 + random.IntN(6) {
		small := []int64{0, 10}[random.IntN(2)] // 0: every write is a bulk write
		switch where {
		case "log":
			small = 10
		case "files":
			small = 0
		}
		env.Engine.SetSmallRows(small)
		var texts []string
		for range 1 + random.IntN(4) {
			e := event{key: string(rune('A' + random.IntN(3))), event: random.Int64N(6), created: random.Int64N(8), value: random.Int64N(100) - 10}
			if random.IntN(5) == 0 {
				e.created = noCreated
			}
			history = append(history, e)
			texts = append(texts, e.json())
		}
		env.Ingest(view, "["+strings.Join(texts, ",")+"]")
		switch random.IntN(12) {
		case 0:
			env.Reopen()
		case 1, 2:
			countRows(env.T.(*testing.T), env.Engine, view)
		case 3, 4, 5:
			env.Clock.Set(at(0).Add(time.Hour + time.Duration(random.IntN(14))*time.Minute))
			if err := env.Engine.ExpireOnline(context.Background()); err != nil {
				env.T.Fatal(err)
			}
		}
	}
	if where == "merged" {
		if _, err := env.Engine.Compact(context.Background(), "features."+string(view)); err != nil {
			env.T.Fatal(err)
		}
	}
	return history
}

func minute(m int64) string { return at(0).Add(time.Duration(m) * time.Minute).Format(time.RFC3339) }

func (e event) json() string {
	created, value := "null", "null"
	if e.created != noCreated {
		created = fmt.Sprintf("%q", minute(e.created))
	}
	if e.value >= 0 {
		value = fmt.Sprint(e.value)
	}
	return fmt.Sprintf(`{"origin": %q, "event_timestamp": %q, "created": %s, "value": %s}`, e.key, minute(e.event), created, value)
}

func checkHistory(t *testing.T, env *testenv.Env, view *driftline.FeatureView, history []event, ttl int64) {
	t.Helper()
	const times = 12
	keys := []string{"A", "B", "C", "D"}
	var spine []string
	for now := range int64(times) {
		for _, k := range keys {
			spine = append(spine, fmt.Sprintf(`{"origin": %q, "event_timestamp": %q}`, k, minute(now)))
		}
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time}}, nil)
	rows := env.Rows(schema, "["+strings.Join(spine, ",")+"]")
	offline := historicalValues(t, env, view, rows)
	for now := range int64(times) {
		online := onlineValues(t, env, view, keys, now)
		for i, k := range keys {
			want := oracle(history, k, now, ttl, view.KnownAt)
			if got := offline[int(now)*len(keys)+i]; got != want {
				t.Errorf("offline %s at %d: %s, want %s", k, now, got, want)
			}
			if online[i] != want {
				t.Errorf("online %s at %d: %s, want %s", k, now, online[i], want)
			}
		}
	}
}

func historicalValues(t *testing.T, env *testenv.Env, view *driftline.FeatureView, rows driftline.Batches) []string {
	t.Helper()
	req := driftline.HistoricalRequest{}
	req.Projections = []driftline.Projection{{View: view.Name}}
	set, err := env.Engine.Historical(context.Background(), req, rows)
	if err != nil {
		t.Fatal(err)
	}
	return lastColumn(t, set.Batches)
}

func lastColumn(t *testing.T, rows driftline.Batches) []string {
	t.Helper()
	var out []string
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		col := b.Column(int(b.NumCols()) - 1)
		for i := range col.Len() {
			out = append(out, col.ValueStr(i))
		}
	}
	return out
}

func onlineValues(t *testing.T, env *testenv.Env, view *driftline.FeatureView, keys []string, now int64) []string {
	t.Helper()
	b := array.NewRecordBuilder(env.Mem, arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}}, nil))
	defer b.Release()
	b.Field(0).(*array.StringBuilder).AppendValues(keys, nil)
	entities := b.NewRecordBatch()
	defer entities.Release()
	req := driftline.OnlineRequest{At: at(0).Add(time.Duration(now) * time.Minute)}
	req.Projections = []driftline.Projection{{View: view.Name}}
	resp, err := env.Engine.Online(context.Background(), req, entities)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	return lastColumn(t, driftline.BatchesOf(resp.Batch.Schema(), resp.Batch))
}
