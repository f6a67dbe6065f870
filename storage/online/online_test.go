package online_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/online"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a store in a folder of its own, with an allocator that must be empty
// in the end.
type fixture struct {
	testing.TB
	dir   string
	mem   *memory.CheckedAllocator
	db    *kv.DB
	store *online.Store
	next  int64 // write sequence
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{TB: t, dir: t.TempDir(), mem: memory.NewCheckedAllocator(memory.NewGoAllocator())}
	f.open()
	t.Cleanup(func() {
		f.check(f.db.Close())
		f.mem.AssertSize(t, 0)
	})
	return f
}

func (f *fixture) open() {
	f.Helper()
	db, err := kv.Open(f.dir, &kv.Options{Logger: slog.New(slog.DiscardHandler)})
	f.check(err)
	f.db, f.store = db, online.New(db)
}

func (f *fixture) reopen() {
	f.Helper()
	f.check(f.db.Close())
	f.open()
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// batch makes rows of a view from Go values; nil is null.
func (f *fixture) batch(view *driftline.FeatureView, rows ...[]any) arrow.RecordBatch {
	f.Helper()
	b := array.NewRecordBuilder(f.mem, view.Schema())
	defer b.Release()
	for _, row := range rows {
		for i, v := range row {
			appendValue(f, b.Field(i), v)
		}
	}
	return b.NewRecordBatch()
}

func appendValue(t testing.TB, b array.Builder, v any) {
	t.Helper()
	if v == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Int32Builder:
		b.Append(v.(int32))
	case *array.Int64Builder:
		b.Append(v.(int64))
	case *array.Float32Builder:
		b.Append(v.(float32))
	case *array.Float64Builder:
		b.Append(v.(float64))
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append(v.([]byte))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.(int64)))
	default:
		t.Fatalf("no value for %T", b)
	}
}

// put writes rows in one commit, with sequences of their own.
func (f *fixture) put(view *driftline.FeatureView, rows ...[]any) {
	f.Helper()
	sequences := make([]int64, len(rows))
	for i := range sequences {
		sequences[i] = f.next
		f.next++
	}
	f.check(f.tryPut(view, sequences, rows...))
}

func (f *fixture) tryPut(view *driftline.FeatureView, sequences []int64, rows ...[]any) error {
	f.Helper()
	batch := f.batch(view, rows...)
	defer batch.Release()
	b := f.db.NewBatch()
	defer b.Close()
	if err := f.store.Put(b, view, batch, sequences); err != nil {
		return err
	}
	return b.Commit()
}

// keys makes key columns from rows of key values.
func (f *fixture) keys(view *driftline.FeatureView, entities [][]any) []arrow.Array {
	f.Helper()
	columns := make([]arrow.Array, len(view.JoinKeys))
	for i, k := range view.JoinKeys {
		b := array.NewBuilder(f.mem, k.Type.Arrow())
		for _, e := range entities {
			appendValue(f, b, e[i])
		}
		columns[i] = b.NewArray()
		b.Release()
	}
	return columns
}

func release(columns []arrow.Array) {
	for _, c := range columns {
		c.Release()
	}
}

// lookup is a question for some features of one view.
type lookup struct {
	view     *driftline.FeatureView
	keys     []arrow.Array
	features []string
}

// result is the answer to one lookup.
type result struct {
	online.Found
	columns []arrow.Array
}

func (r *result) release() { release(r.columns) }

// read answers lookups of some rows each, every one in a group of its own, in one pass.
func (f *fixture) read(ctx context.Context, rows int, lookups ...lookup) ([]result, error) {
	var asks []online.Ask
	var types []driftline.Type
	for _, l := range lookups {
		g := online.NewGroup(l.view.JoinKeys)
		if err := g.Add(l.view, l.features, len(types)); err != nil {
			return nil, err
		}
		asks = append(asks, online.Ask{Group: g, Keys: l.keys})
		for _, name := range l.features {
			feature, _ := l.view.Feature(name)
			types = append(types, feature.Type)
		}
	}
	values, err := online.NewValues(types, rows)
	if err != nil {
		return nil, err
	}
	found, err := f.store.Read(ctx, values, asks)
	if err != nil {
		return nil, err
	}
	columns, err := values.Arrays()
	if err != nil {
		return nil, err
	}
	results := make([]result, len(lookups))
	for i, l := range lookups {
		results[i] = result{found[i], columns[:len(l.features)]}
		columns = columns[len(l.features):]
	}
	return results, nil
}

// get reads all features of some entities, one line per entity: "absent", or
// event, created and values.
func (f *fixture) get(view *driftline.FeatureView, entities ...[]any) []string {
	f.Helper()
	keys := f.keys(view, entities)
	defer release(keys)
	results, err := f.read(context.Background(), len(entities), lookup{view, keys, view.FeatureNames()})
	f.check(err)
	defer results[0].release()
	return lines(results[0])
}

func lines(r result) []string {
	out := make([]string, len(r.Events))
	for i := range out {
		if !r.Has(i) {
			out[i] = "absent"
			if r.Created[i] != online.NoTime {
				out[i] = "absent, but created"
			}
		} else {
			created := fmt.Sprint(r.Created[i])
			if r.Created[i] == online.NoTime {
				created = "null"
			}
			out[i] = fmt.Sprint(r.Events[i], " ", created)
		}
		for _, c := range r.columns {
			if r.Has(i) || c.IsValid(i) {
				out[i] += " " + text(c, i)
			}
		}
	}
	return out
}

func text(c arrow.Array, i int) string {
	if c.IsNull(i) {
		return "null"
	}
	switch c := c.(type) {
	case *array.Float64:
		return fmt.Sprintf("%016x", math.Float64bits(c.Value(i)))
	case *array.Float32:
		return fmt.Sprintf("%08x", math.Float32bits(c.Value(i)))
	case *array.String:
		return fmt.Sprintf("%q", c.Value(i))
	case *array.Binary:
		return fmt.Sprintf("%x", c.Value(i))
	case *array.Timestamp:
		return fmt.Sprint(int64(c.Value(i)))
	}
	return c.ValueStr(i)
}

func (f *fixture) want(got []string, want ...string) {
	f.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		f.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func field(name string, t driftline.Type) driftline.Field {
	return driftline.Field{Name: name, Type: t}
}

// weather is a view with a created timestamp, keyed by one string.
func weather(features ...driftline.Field) *driftline.FeatureView {
	if features == nil {
		features = []driftline.Field{field("temp", driftline.Int64)}
	}
	return &driftline.FeatureView{
		Name:             "weather",
		JoinKeys:         []driftline.Field{field("airport", driftline.String)},
		EventTimestamp:   "at",
		CreatedTimestamp: "created",
		Features:         features,
	}
}

func TestTheNewestRowWins(t *testing.T) {
	for _, c := range []struct {
		name string
		rows [][]any // event, created, temp, in write order
		want string
	}{
		{"a later event", [][]any{{int64(1), nil, int64(10)}, {int64(2), nil, int64(20)}}, "2 null 20"},
		{"an older event after a newer one", [][]any{{int64(2), nil, int64(20)}, {int64(1), int64(9), int64(10)}}, "2 null 20"},
		{"negative times", [][]any{{int64(-1), nil, int64(10)}, {int64(-2), nil, int64(20)}}, "-1 null 10"},
		{"equal events, a later created", [][]any{{int64(1), int64(5), int64(10)}, {int64(1), int64(4), int64(20)}}, "1 5 10"},
		{"null created is lowest", [][]any{{int64(1), int64(math.MinInt64 + 1), int64(10)}, {int64(1), nil, int64(20)}}, "1 -9223372036854775807 10"},
		{"equal times, the later write", [][]any{{int64(1), int64(5), int64(10)}, {int64(1), int64(5), int64(20)}}, "1 5 20"},
		{"equal times without created", [][]any{{int64(1), nil, int64(30)}, {int64(1), nil, int64(20)}}, "1 null 20"},
		{"a null value replaces a value", [][]any{{int64(1), nil, int64(10)}, {int64(2), nil, nil}}, "2 null null"},
		{"extreme times", [][]any{{int64(math.MaxInt64), int64(math.MaxInt64), int64(1)}, {int64(math.MaxInt64 - 1), nil, int64(2)}}, "9223372036854775807 9223372036854775807 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			for _, r := range c.rows {
				f.put(weather(), append([]any{"JFK"}, r...))
			}
			f.want(f.get(weather(), []any{"JFK"}, []any{"LGA"}), c.want, "absent")
		})
	}
}

// TestAnyOrderGivesTheNewestRow writes random rows of tiny domains, so that ties
// are frequent, in random order, in random batches, some of them twice, across
// restarts, and compares with a loop over all rows.
func TestAnyOrderGivesTheNewestRow(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	view := weather()
	type written struct {
		airport        string
		event, created int64
		sequence, temp int64
	}
	for range 12 {
		f := newFixture(t)
		var rows []written
		for i := range 60 {
			r := written{airport: fmt.Sprint("A", random.IntN(4)), event: random.Int64N(3), created: random.Int64N(3), sequence: int64(i), temp: int64(i)}
			if random.IntN(3) == 0 {
				r.created = online.NoTime
			}
			rows = append(rows, r)
		}
		order := append(random.Perm(len(rows)), random.Perm(len(rows))[:20]...)
		for len(order) > 0 {
			n := min(1+random.IntN(8), len(order))
			var batch [][]any
			var sequences []int64
			for _, i := range order[:n] {
				r := rows[i]
				var created any
				if r.created != online.NoTime {
					created = r.created
				}
				batch = append(batch, []any{r.airport, r.event, created, r.temp})
				sequences = append(sequences, r.sequence)
			}
			f.check(f.tryPut(view, sequences, batch...))
			order = order[n:]
			if random.IntN(6) == 0 {
				f.reopen()
			}
		}
		for airport := range 5 {
			name := fmt.Sprint("A", airport)
			want := "absent"
			best := written{event: -1}
			for _, r := range rows {
				if r.airport != name {
					continue
				}
				if r.event > best.event || r.event == best.event && (r.created > best.created ||
					r.created == best.created && r.sequence > best.sequence) {
					best = r
					want = strings.ReplaceAll(fmt.Sprint(r.event, " ", r.created, " ", r.temp), fmt.Sprint(online.NoTime), "null")
				}
			}
			f.want(f.get(view, []any{name}), want)
		}
	}
}

// everyType is a view with a feature of every type, keyed by keys.
func everyType(keys ...driftline.Field) *driftline.FeatureView {
	view := &driftline.FeatureView{Name: "every_type", JoinKeys: keys, EventTimestamp: "at"}
	for _, t := range driftline.Types {
		view.Features = append(view.Features, field("f_"+string(t), t), field("g_"+string(t), t))
	}
	return view
}

func TestValuesAreKeptExactly(t *testing.T) {
	f := newFixture(t)
	view := everyType(field("id", driftline.Int64))
	quietNaN, oddNaN := math.NaN(), math.Float64frombits(0xfff8_0000_0000_beef)
	values := map[driftline.Type][]any{
		driftline.Bool:      {true, false},
		driftline.Int32:     {int32(0), int32(-1), int32(math.MinInt32), int32(math.MaxInt32)},
		driftline.Int64:     {int64(0), int64(math.MinInt64), int64(math.MaxInt64), int64(1)<<53 + 1},
		driftline.Float32:   {float32(0), float32(math.Copysign(0, -1)), float32(math.Inf(-1)), float32(math.NaN()), float32(math.SmallestNonzeroFloat32)},
		driftline.Float64:   {0.0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), quietNaN, oddNaN, math.SmallestNonzeroFloat64, math.MaxFloat64},
		driftline.String:    {"", "a", "ß→🛫", "a\x00b", strings.Repeat("long", 5000), "\xff not UTF-8"},
		driftline.Bytes:     {[]byte{}, []byte{0}, []byte{0, 1, 0xff}},
		driftline.Timestamp: {int64(0), int64(math.MinInt64), int64(math.MaxInt64)},
	}
	var rows, entities [][]any
	for id := range int64(40) {
		row := []any{id, int64(1)}
		for i, feature := range view.Features {
			if choices := values[feature.Type]; (int(id)+i)%5 == 4 {
				row = append(row, nil)
			} else {
				row = append(row, choices[(int(id)+i/3)%len(choices)])
			}
		}
		rows, entities = append(rows, row), append(entities, []any{id})
	}
	f.put(view, rows...)
	batch := f.batch(view, rows...)
	defer batch.Release()
	var want []string
	for id := range rows {
		line := "1 null"
		for _, c := range batch.Columns()[2:] {
			line += " " + text(c, id)
		}
		want = append(want, line)
	}
	f.want(f.get(view, entities...), want...)
	f.reopen()
	f.want(f.get(view, entities...), want...)
}

func TestResultsAreValidArrow(t *testing.T) {
	f := newFixture(t)
	view := everyType(field("id", driftline.Int64))
	row := []any{int64(1), int64(1)}
	for range view.Features {
		row = append(row, nil)
	}
	f.put(view, row)
	for _, rows := range []int{0, 1, 7, 8, 9, 64, 65} {
		entities := make([][]any, rows)
		for i := range entities {
			entities[i] = []any{int64(i % 3)}
		}
		keys := f.keys(view, entities)
		results, err := f.read(context.Background(), rows, lookup{view, keys, view.FeatureNames()})
		f.check(err)
		for i, c := range results[0].columns {
			if !arrow.TypeEqual(c.DataType(), view.Features[i].Type.Arrow()) || c.Len() != rows || c.NullN() != rows {
				t.Fatalf("column %s is %s of %d rows with %d nulls, want %d", view.Features[i].Name, c.DataType(), c.Len(), c.NullN(), rows)
			}
			copied, err := array.Concatenate([]arrow.Array{c, c}, f.mem)
			f.check(err)
			copied.Release()
		}
		results[0].release()
		release(keys)
	}
}

// TestEntitiesAreNeverMixedUp gives every entity a row that names it.
func TestEntitiesAreNeverMixedUp(t *testing.T) {
	for _, c := range []struct {
		name     string
		keys     []driftline.Field
		entities [][]any
	}{
		{"numbers that join alike", []driftline.Field{field("a", driftline.Int64), field("b", driftline.Int64)}, [][]any{
			{int64(1), int64(23)}, {int64(12), int64(3)}, {int64(23), int64(1)}, {int64(-1), int64(math.MaxInt64)}, {int64(math.MinInt64), int64(0)},
		}},
		{"strings that join alike", []driftline.Field{field("a", driftline.String), field("b", driftline.String)}, [][]any{
			{"a_b", "c"}, {"a", "b_c"}, {"a", "_b_c"}, {"", "abc"}, {"abc", ""}, {"", ""}, {"a\x00", "b"}, {"a", "\x00b"},
			{"a\x00\x01", ""}, {"a", "\x01"}, {"\x00\xff", ""}, {"\x00", "\xff"},
		}},
		{"unicode", []driftline.Field{field("a", driftline.String)}, [][]any{
			{"\u00e9"}, {"e\u0301"}, {"🛫"}, {"E"}, {"e"}, {" "}, {""}, {"\u00a0"}, {"null"}, {strings.Repeat("x", 10_000)},
		}},
		{"every type", []driftline.Field{
			field("b", driftline.Bool), field("i", driftline.Int32), field("f", driftline.Float32),
			field("y", driftline.Bytes), field("t", driftline.Timestamp), field("d", driftline.Float64),
		}, [][]any{
			{true, int32(1), float32(1), []byte{}, int64(1), 1.0},
			{false, int32(1), float32(1), []byte{}, int64(1), 1.0},
			{true, int32(-1), float32(1), []byte{}, int64(1), 1.0},
			{true, int32(1), float32(-1), []byte{}, int64(1), 1.0},
			{true, int32(1), float32(1), []byte{0}, int64(1), 1.0},
			{true, int32(1), float32(1), []byte{}, int64(-1), 1.0},
			{true, int32(1), float32(1), []byte{}, int64(1), math.NaN()},
			{true, int32(1), float32(1), []byte{}, int64(1), math.Inf(-1)},
			{true, int32(1), float32(1), []byte{}, int64(1), 0.0},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			view := &driftline.FeatureView{Name: "v", JoinKeys: c.keys, EventTimestamp: "at", Features: []driftline.Field{field("n", driftline.Int64)}}
			var rows [][]any
			var want []string
			for i, e := range c.entities {
				rows = append(rows, append(append([]any{}, e...), int64(1), int64(i)))
				want = append(want, fmt.Sprint("1 null ", i))
			}
			f.put(view, rows...)
			f.want(f.get(view, c.entities...), want...)
		})
	}
}

func TestFloatKeysThatAreEqualAreOneEntity(t *testing.T) {
	f := newFixture(t)
	view := &driftline.FeatureView{
		Name: "v", JoinKeys: []driftline.Field{field("x", driftline.Float64)},
		EventTimestamp: "at", Features: []driftline.Field{field("n", driftline.Int64)},
	}
	f.put(view, []any{math.Copysign(0, -1), int64(1), int64(1)}, []any{math.NaN(), int64(1), int64(2)})
	f.want(f.get(view, []any{0.0}, []any{math.Float64frombits(0xfff8_0000_0000_0001)}), "1 null 1", "1 null 2")
}

func TestViewsOfEqualKeysAndOtherTypesOrNamesAreApart(t *testing.T) {
	f := newFixture(t)
	view := func(name driftline.ViewName, key driftline.Field) *driftline.FeatureView {
		return &driftline.FeatureView{Name: name, JoinKeys: []driftline.Field{key}, EventTimestamp: "at", Features: []driftline.Field{field("n", driftline.Int64)}}
	}
	a, ab := view("a", field("id", driftline.Int64)), view("ab", field("id", driftline.Int64))
	times, other := view("a", field("id", driftline.Timestamp)), view("a", field("key", driftline.Int64))
	f.put(a, []any{int64(7), int64(1), int64(1)})
	f.put(ab, []any{int64(7), int64(1), int64(2)})
	f.want(f.get(a, []any{int64(7)}), "1 null 1")
	f.want(f.get(ab, []any{int64(7)}), "1 null 2")
	f.want(f.get(times, []any{int64(7)}), "absent")
	f.want(f.get(other, []any{int64(7)}), "absent")
}

func TestANullKeyIsNoEntity(t *testing.T) {
	f := newFixture(t)
	view := &driftline.FeatureView{
		Name: "v", JoinKeys: []driftline.Field{field("a", driftline.String), field("b", driftline.String)},
		EventTimestamp: "at", Features: []driftline.Field{field("n", driftline.Int64)},
	}
	f.put(view, []any{"", "", int64(1), int64(1)})
	f.want(f.get(view, []any{"", nil}, []any{nil, ""}, []any{nil, nil}, []any{"", ""}), "absent", "absent", "absent", "1 null 1")
}

func TestAViewWithoutEntitiesHasOneRow(t *testing.T) {
	f := newFixture(t)
	view := &driftline.FeatureView{Name: "calendar", EventTimestamp: "at", Features: []driftline.Field{field("holiday", driftline.Bool)}}
	f.want(f.get(view, nil, nil), "absent", "absent")
	f.put(view, []any{int64(1), true}, []any{int64(0), false})
	f.want(f.get(view, nil, nil, nil), "1 null true", "1 null true", "1 null true")
	f.want(f.get(view))
}

func TestOldRowsStayReadableWhenFeaturesChange(t *testing.T) {
	f := newFixture(t)
	temp, wind, code := field("temp", driftline.Int64), field("wind", driftline.String), field("code", driftline.String)
	v1 := weather(temp, code)
	v2 := weather(wind, temp, field("gust", driftline.Bool), code)
	f.put(v1, []any{"JFK", int64(1), nil, int64(10), "old"}, []any{"LGA", int64(1), nil, int64(20), "old"})
	f.put(v2, []any{"LGA", int64(2), nil, "strong", int64(21), true, "new"}, []any{"EWR", int64(1), nil, "", nil, nil, "new"})
	check := func() {
		t.Helper()
		f.want(f.get(v2, []any{"JFK"}, []any{"LGA"}, []any{"EWR"}, []any{"SFO"}, []any{"JFK"}),
			`1 null null 10 null "old"`, `2 null "strong" 21 true "new"`, `1 null "" null null "new"`, "absent", `1 null null 10 null "old"`)
		f.want(f.get(v1, []any{"LGA"}, []any{"JFK"}), `2 null 21 "new"`, `1 null 10 "old"`)
	}
	check()
	f.reopen()
	check()
}

// TestFeaturesAreFoundByIdentity reads rows that were written before features were renamed
// and widened, and before a name was given to another feature.
func TestFeaturesAreFoundByIdentity(t *testing.T) {
	f := newFixture(t)
	f.put(weather(field("count", driftline.Int32), field("temp", driftline.Float32), field("code", driftline.String)),
		[]any{"JFK", int64(1), nil, int32(-7), float32(0.5), "old"}, []any{"LGA", int64(1), nil, nil, float32(math.Inf(-1)), nil})
	total, code := field("total", driftline.Int64), field("code", driftline.String)
	total.Column, code.Column = "count", "code#1"
	now := weather(code, field("temp", driftline.Float64), total)
	f.put(now, []any{"EWR", int64(1), nil, "new", 1e300, int64(1) << 40})
	f.reopen()
	f.want(f.get(now, []any{"JFK"}, []any{"LGA"}, []any{"EWR"}),
		"1 null null 3fe0000000000000 -7", "1 null null fff0000000000000 null", `1 null "new" 7e37e43c8800759c 1099511627776`)
}

func TestAFeatureOfAnotherTypeIsNotMisread(t *testing.T) {
	f := newFixture(t)
	f.put(weather(field("temp", driftline.Int64)), []any{"JFK", int64(1), nil, int64(10)})
	keys := f.keys(weather(), [][]any{{"JFK"}})
	defer release(keys)
	for _, other := range []driftline.Type{driftline.Float64, driftline.String, driftline.Bool, driftline.Int32} {
		_, err := f.read(context.Background(), 1, lookup{weather(field("temp", other)), keys, []string{"temp"}})
		if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), fmt.Sprintf(`"temp" of view "weather" is stored as int64, want %s`, other)) {
			t.Fatalf("error is %v", err)
		}
	}
}

func TestOneReadAnswersManyViews(t *testing.T) {
	f := newFixture(t)
	var views []*driftline.FeatureView
	for i := range 4 {
		v := weather(field("x", driftline.Int64), field("y", driftline.String))
		v.Name = driftline.ViewName(fmt.Sprint("view", i))
		views = append(views, v)
		for a := range 10 {
			if (a+i)%4 != 0 {
				f.put(v, []any{fmt.Sprint("A", a), int64(i), nil, int64(100*i + a), fmt.Sprint(i, "-", a)})
			}
		}
	}
	global := &driftline.FeatureView{Name: "calendar", EventTimestamp: "at", Features: []driftline.Field{field("holiday", driftline.Bool)}}
	f.put(global, []any{int64(9), true})

	entities := [][]any{{"A9"}, {"A0"}, {nil}, {"A3"}, {"A3"}, {"nowhere"}}
	keys := f.keys(views[0], entities)
	defer release(keys)
	other := f.keys(views[0], [][]any{{"A1"}, {"A2"}, {"A1"}, {nil}, {"A1"}, {"A2"}})
	defer release(other)
	results, err := f.read(context.Background(), len(entities),
		lookup{views[3], keys, []string{"y"}},
		lookup{global, nil, []string{"holiday"}},
		lookup{views[0], keys, []string{"y", "x", "x"}},
		lookup{views[3], other, []string{"x"}}, // the same view under another role
		lookup{views[1], keys, nil},
	)
	f.check(err)
	for i, want := range [][]string{
		{"absent", `3 null "3-0"`, "absent", `3 null "3-3"`, `3 null "3-3"`, "absent"},
		{"9 null true", "9 null true", "9 null true", "9 null true", "9 null true", "9 null true"},
		{`0 null "0-9" 9 9`, "absent", "absent", `0 null "0-3" 3 3`, `0 null "0-3" 3 3`, "absent"},
		{"absent", "3 null 302", "absent", "absent", "absent", "3 null 302"},
		{"1 null", "1 null", "absent", "absent", "absent", "absent"},
	} {
		f.want(lines(results[i]), want...)
		results[i].release()
	}
	none, err := f.read(context.Background(), 0)
	if err != nil || len(none) != 0 {
		t.Fatalf("no lookups give %v, %v", none, err)
	}
}

// TestViewsOfOneGroupAreReadTogether adds views in another order than their rows lie.
func TestViewsOfOneGroupAreReadTogether(t *testing.T) {
	f := newFixture(t)
	group := online.NewGroup(weather().JoinKeys)
	var types []driftline.Type
	const views = 5
	for i := range views {
		view := weather(field("x", driftline.Int64), field("y", driftline.String))
		view.Name = driftline.ViewName(fmt.Sprint("view", (i*3)%views))
		f.put(view, []any{"A", int64(i), nil, int64(10 * i), fmt.Sprint("a", i)}, []any{"B", int64(i), int64(7), nil, fmt.Sprint("b", i)})
		f.check(group.Add(view, []string{"y", "x"}, len(types)))
		types = append(types, driftline.String, driftline.Int64)
	}
	keys := f.keys(weather(), [][]any{{"B"}, {"C"}, {"A"}, {"B"}})
	defer release(keys)
	values, err := online.NewValues(types, 4)
	f.check(err)
	found, err := f.store.Read(context.Background(), values, []online.Ask{{Group: group, Keys: keys}})
	f.check(err)
	columns, err := values.Arrays()
	f.check(err)
	defer release(columns)
	for i := range views {
		b := fmt.Sprintf(`%d 7 "b%d" null`, i, i)
		f.want(lines(result{found[i], columns[2*i : 2*i+2]}), b, "absent", fmt.Sprintf(`%d null "a%d" %d`, i, i, 10*i), b)
	}
}

func TestARequestCannotTakeAllMemory(t *testing.T) {
	for rows, exhausted := range map[int]bool{1 << 20: false, 1<<25 + 1: true, math.MaxInt: true, 0: false} {
		_, err := online.NewValues([]driftline.Type{driftline.Bool}, rows)
		if (driftline.CodeOf(err) == driftline.Exhausted) != exhausted {
			t.Errorf("%d rows: error is %v", rows, err)
		}
	}
}

func TestPutRefusesRowsThatHaveNoPlace(t *testing.T) {
	f := newFixture(t)
	good := []any{"JFK", int64(1), nil, int64(1)}
	for want, row := range map[string][]any{
		`column "airport" is null (row 1)`:         {nil, int64(1), nil, int64(1)},
		`column "at" is null (row 1)`:              {"JFK", nil, nil, int64(1)},
		`column "at" is out of range (row 1)`:      {"JFK", online.NoTime, nil, int64(1)},
		`column "created" is out of range (row 1)`: {"JFK", int64(1), online.NoTime, int64(1)},
	} {
		err := f.tryPut(weather(), []int64{1, 2}, good, row)
		if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to say %s", err, want)
		}
	}
	f.want(f.get(weather(), []any{"JFK"}), "absent")
}

func TestCallsThatDoNotFitTheViewAreBugs(t *testing.T) {
	f := newFixture(t)
	batch := f.batch(weather(), []any{"JFK", int64(1), nil, int64(1)})
	defer batch.Release()
	b := f.db.NewBatch()
	defer b.Close()
	for _, view := range []*driftline.FeatureView{
		weather(field("temp", driftline.Float64)),
		weather(field("temp", driftline.Int64), field("more", driftline.Int64)),
	} {
		if err := f.store.Put(b, view, batch, []int64{1}); driftline.CodeOf(err) != driftline.Internal {
			t.Errorf("Put: error is %v", err)
		}
	}
	if err := f.store.Put(b, weather(), batch, nil); driftline.CodeOf(err) != driftline.Internal {
		t.Errorf("Put without sequences: error is %v", err)
	}
	numbers := f.keys(everyType(field("id", driftline.Int64)), [][]any{{int64(1)}})
	defer release(numbers)
	names := f.keys(weather(), [][]any{{"JFK"}})
	defer release(names)
	for name, keys := range map[string][]arrow.Array{"no keys": nil, "keys of other type": numbers, "more keys": {names[0], names[0]}} {
		if _, err := f.read(context.Background(), 1, lookup{weather(), keys, nil}); driftline.CodeOf(err) != driftline.Internal {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := f.read(context.Background(), 2, lookup{weather(), names, nil}); driftline.CodeOf(err) != driftline.Internal {
		t.Errorf("other row count: error is %v", err)
	}
	_, err := f.read(context.Background(), 1, lookup{weather(), names, []string{"temp", "tmep"}})
	if driftline.CodeOf(err) != driftline.NotFound || !strings.Contains(err.Error(), `did you mean "temp"?`) {
		t.Errorf("unknown feature: error is %v", err)
	}
}

func TestAReadThatIsCancelledStops(t *testing.T) {
	f := newFixture(t)
	keys := f.keys(weather(), [][]any{{"JFK"}})
	defer release(keys)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := f.read(ctx, 1, lookup{weather(), keys, nil})
	if driftline.CodeOf(err) != driftline.Deadline || !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
}

func TestDamagedRowsAreNamed(t *testing.T) {
	f := newFixture(t)
	f.put(weather(field("code", driftline.String)), []any{"JFK", int64(1), nil, "text"})
	rows := map[string][]byte{}
	for p, err := range f.db.ScanPrefix([]byte{kv.OnlineRows}) {
		f.check(err)
		rows[string(p.Key)] = append([]byte{}, p.Value...)
	}
	set := func(key, value []byte) {
		b := f.db.NewBatch()
		defer b.Close()
		b.Set(key, value)
		f.check(b.Commit())
	}
	wantDamage := func(what string) {
		t.Helper()
		keys := f.keys(weather(), [][]any{{"JFK"}})
		defer release(keys)
		_, err := f.read(context.Background(), 1, lookup{weather(field("code", driftline.String)), keys, []string{"code"}})
		if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), `view "weather": a stored online row is damaged`) {
			t.Fatalf("%s: error is %v", what, err)
		}
	}
	for key, value := range rows {
		for cut := range value {
			set([]byte(key), value[:cut])
			wantDamage(fmt.Sprint("cut at ", cut))
		}
		set([]byte(key), append(value, 'x'))
		wantDamage("a byte too many")
		unknown := append([]byte{}, value...)
		unknown[24] ^= 1
		set([]byte(key), unknown)
		wantDamage("unknown layout")
	}
}

func TestADamagedLayoutIsNotWrittenOver(t *testing.T) {
	f := newFixture(t)
	f.put(weather(), []any{"JFK", int64(1), nil, int64(1)})
	key, _, err := f.db.Last([]byte{kv.OnlineLayouts})
	f.check(err)
	b := f.db.NewBatch()
	b.Set(key, []byte(`[{"name":"other","type":"int64"}]`))
	f.check(b.Commit())
	f.check(b.Close())
	f.reopen()
	err = f.tryPut(weather(), []int64{9}, []any{"JFK", int64(2), nil, int64(2)})
	if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), "layout") {
		t.Fatalf("Put: error is %v", err)
	}
}

// TestWritersAndReadersShareAStore has layouts stored and found while rows are
// written and read: a reader must never meet a row before its layout.
func TestWritersAndReadersShareAStore(t *testing.T) {
	f := newFixture(t)
	var views []*driftline.FeatureView
	for i := range 4 {
		views = append(views, weather(field("temp", driftline.Int64), field(fmt.Sprint("extra_", i), driftline.Float64)))
	}
	batches := make([]arrow.RecordBatch, len(views))
	for i, v := range views {
		batches[i] = f.batch(v, []any{"JFK", int64(i), nil, int64(i), 1.5})
		defer batches[i].Release()
	}
	keys := f.keys(views[0], [][]any{{"JFK"}})
	defer release(keys)
	var writing, reading sync.WaitGroup
	written := make(chan struct{})
	for i, v := range views {
		writing.Go(func() {
			for n := range 20 {
				b := f.db.NewBatch()
				if err := errors.Join(f.store.Put(b, v, batches[i], []int64{int64(n)}), b.Commit(), b.Close()); err != nil {
					t.Error(err)
				}
			}
		})
		reading.Go(func() {
			last := online.NoTime
			for more := true; more; {
				select {
				case <-written:
					more = false
				default:
				}
				results, err := f.read(context.Background(), 1, lookup{v, keys, []string{"temp"}})
				if err != nil {
					t.Error(err)
					return
				}
				if results[0].Events[0] < last {
					t.Errorf("a row of time %d was read after one of %d", results[0].Events[0], last)
				}
				last = results[0].Events[0]
				results[0].release()
			}
			if last != 3 {
				t.Errorf("the last row read is of time %d, want 3", last)
			}
		})
	}
	writing.Wait()
	close(written)
	reading.Wait()
}
