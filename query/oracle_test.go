package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/storage/columns"
)

// row is one row of a view, in the words of the point-in-time rules.
type row struct {
	keys     []any // bool, int64, float64 or string
	event    int64
	created  *int64
	sequence int64
	values   []any // the same, or nil
}

// spineRow is one row of a spine.
type spineRow struct {
	time *int64
	keys map[string]any // by spine column; nil is null
}

// chosen is what a view gives for one spine row.
type chosen struct {
	values      []any // nil where null
	event       any   // of the row chosen, whether or not it counts; nil if there is none
	notYetKnown bool
}

// choose is the definition of the point-in-time join.
func choose(view *driftline.FeatureView, p driftline.Projection, rows []row, s spineRow, knownAt, strict bool) (c chosen) {
	c.values = make([]any, len(view.Features))
	if s.time == nil {
		return c
	}
	asked := newInstant(*s.time).add(-p.Lag.Microseconds())
	ahead := view.Horizon > 0
	knownAt, strict = knownAt && !ahead, strict && !ahead
	var best *row
next:
	for i := range rows {
		r := &rows[i]
		for j, k := range view.JoinKeys {
			if key := s.keys[p.KeyColumn(k.Name)]; key == nil || key != r.keys[j] {
				continue next
			}
		}
		event := newInstant(r.event)
		switch {
		case ahead && event.compare(asked) <= 0, !ahead && event.compare(asked) > 0, strict && event == asked:
			continue
		case knownAt && (r.created == nil || newInstant(*r.created).compare(asked) > 0):
			continue
		}
		if best == nil || better(r, best, ahead) {
			best = r
		}
	}
	if best == nil {
		return c
	}
	c.event = best.event
	event := newInstant(best.event)
	if ahead && event.compare(asked.add(view.Horizon.Microseconds())) > 0 ||
		view.TTL > 0 && event.compare(asked.add(-view.TTL.Microseconds())) < 0 {
		return c
	}
	c.values = best.values
	c.notYetKnown = !ahead && best.created != nil && newInstant(*best.created).compare(asked) > 0
	return c
}

// instant is a time that sums cannot pass the ends of: high and low half of 128 bits.
type instant struct {
	high int64
	low  uint64
}

func newInstant(t int64) instant { return instant{high: t >> 63, low: uint64(t)} }

func (i instant) add(d int64) instant {
	low := i.low + uint64(d)
	high := i.high + d>>63
	if low < i.low {
		high++
	}
	return instant{high, low}
}

func (i instant) compare(j instant) int {
	return cmp.Or(cmp.Compare(i.high, j.high), cmp.Compare(i.low, j.low))
}

// better orders by (event, created, sequence), the event the other way round for labels.
func better(a, b *row, ahead bool) bool {
	if ahead && a.event != b.event {
		return a.event < b.event
	}
	return compareRows(a, b) > 0
}

// compareRows orders by (event, created, sequence); a null created is lowest.
func compareRows(a, b *row) int {
	created := func(r *row) int64 {
		if r.created == nil {
			return math.MinInt64
		}
		return *r.created
	}
	return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(created(a), created(b)), cmp.Compare(a.sequence, b.sequence))
}

// world is one random case: views with their rows, uses of them, a spine, a request.
type world struct {
	keys  map[string]driftline.Type // of the join keys a and b
	zero  int64                     // where the times begin
	views []*driftline.FeatureView
	rows  [][]row
	uses  []driftline.Projection
	of    []int // the view of each use
	spine []spineRow
	as    *arrow.Schema // of the spine
	req   driftline.HistoricalRequest

	eventTime bool // the first use shows it

	queries map[string]*aggregate.Query // of the oracle, by view and feature
}

// generate makes a case of tiny domains, so that ties, duplicates and nulls are frequent.
func generate(rng *rand.Rand, spineRows int) *world {
	w := &world{keys: map[string]driftline.Type{"a": driftline.Int64, "b": driftline.String}}
	if rng.IntN(2) == 0 {
		w.keys["a"] = driftline.Types[rng.IntN(len(driftline.Types))]
		w.keys["b"] = driftline.Types[rng.IntN(len(driftline.Types))]
	}
	if rng.IntN(8) == 0 {
		w.zero = []int64{math.MinInt64 + 4, math.MaxInt64 - 8}[rng.IntN(2)]
	}
	w.as = w.spineSchema(rng)
	w.req.KnownAt, w.req.Strict = rng.IntN(3) == 0, rng.IntN(3) == 0
	w.eventTime = rng.IntN(4) == 0
	for v := range 1 + rng.IntN(3) {
		w.views = append(w.views, w.randomView(rng, v))
		w.rows = append(w.rows, w.randomRows(rng, w.views[v]))
		w.addUses(rng, v)
	}
	for range spineRows {
		s := spineRow{time: w.randomTime(rng), keys: map[string]any{}}
		for _, column := range []string{"a", "a2", "b"} {
			s.keys[column] = w.randomKey(rng, column)
		}
		if rng.IntN(4) == 0 && len(w.spine) > 0 {
			s = w.spine[rng.IntN(len(w.spine))]
		}
		w.spine = append(w.spine, s)
	}
	return w
}

// spineSchema has keys of the views' types, or of narrower ones.
func (w *world) spineSchema(rng *rand.Rand) *arrow.Schema {
	column := func(name, key string) arrow.Field {
		t := w.keys[key]
		if rng.IntN(4) == 0 {
			t = narrow(t)
		}
		return arrow.Field{Name: name, Type: t.Arrow(), Nullable: true}
	}
	return arrow.NewSchema([]arrow.Field{
		{Name: "label", Type: arrow.PrimitiveTypes.Int64},
		column("a", "a"),
		{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
		column("b", "b"),
		column("a2", "a"),
	}, nil)
}

// narrow is a type whose values are held by t, and which the cells of this test fit in.
func narrow(t driftline.Type) driftline.Type {
	switch t {
	case driftline.Int64:
		return driftline.Int32
	case driftline.Float64:
		return driftline.Float32
	}
	return t
}

func (w *world) randomView(rng *rand.Rand, v int) *driftline.FeatureView {
	view := &driftline.FeatureView{Name: driftline.ViewName(fmt.Sprintf("view%d", v)), EventTimestamp: "event"}
	keys := []driftline.Field{{Name: "a", Type: w.keys["a"]}, {Name: "b", Type: w.keys["b"]}}
	rng.Shuffle(2, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	view.JoinKeys = keys[:rng.IntN(3)]
	if rng.IntN(3) > 0 {
		view.CreatedTimestamp = "created"
		view.KnownAt = rng.IntN(4) == 0
	}
	switch rng.IntN(4) {
	case 0, 1:
		view.TTL = w.randomDuration(rng)
	case 2:
		view.Horizon, view.KnownAt = max(w.randomDuration(rng), 1000), false
	}
	features := 1 + rng.IntN(2)
	if rng.IntN(16) == 0 {
		features = 20 // more than package merge keeps in one record
	}
	for f := range features {
		t := driftline.Float64
		if rng.IntN(3) == 0 {
			t = driftline.Types[rng.IntN(len(driftline.Types))]
		}
		view.Features = append(view.Features, driftline.Field{Name: fmt.Sprintf("f%d", f), Type: t})
	}
	return view
}

func (w *world) randomDuration(rng *rand.Rand) driftline.Duration {
	if rng.IntN(8) == 0 {
		return math.MaxInt64 / 1000 * 1000
	}
	return driftline.Duration(1000 * rng.IntN(4))
}

func (w *world) randomRows(rng *rand.Rand, view *driftline.FeatureView) []row {
	rows := make([]row, rng.IntN(20))
	if rng.IntN(10) == 0 {
		rows = make([]row, 200+rng.IntN(200))
	}
	for i := range rows {
		r := row{event: w.zero + int64(rng.IntN(6)), sequence: int64(i)}
		for _, k := range view.JoinKeys {
			r.keys = append(r.keys, someKey(rng, k.Type))
		}
		if view.CreatedTimestamp != "" && rng.IntN(5) > 0 {
			c := w.zero + int64(rng.IntN(7))
			r.created = &c
		}
		for _, f := range view.Features {
			r.values = append(r.values, someValue(rng, f.Type))
		}
		rows[i] = r
	}
	rng.Shuffle(len(rows), func(i, j int) { rows[i].sequence, rows[j].sequence = rows[j].sequence, rows[i].sequence })
	return rows
}

// addUses uses view v once, or under two roles with different keys.
func (w *world) addUses(rng *rand.Rand, v int) {
	features := w.views[v].FeatureNames()
	for _, role := range [][]string{{""}, {"here", "there"}}[rng.IntN(2)] {
		p := driftline.Projection{View: w.views[v].Name, Features: features, Role: role}
		if role != "" {
			p.Role = fmt.Sprintf("%s%d", role, v)
		}
		if role == "there" {
			p.JoinKeyMap = map[string]string{"a": "a2"}
		}
		if rng.IntN(3) == 0 && w.views[v].Horizon == 0 {
			p.Lag = w.randomDuration(rng)
		}
		w.uses, w.of = append(w.uses, p), append(w.of, v)
	}
	w.req.FullFeatureNames = true
}

// someKey is one of three or four keys of a type.
func someKey(rng *rand.Rand, t driftline.Type) any {
	switch t {
	case driftline.Bool:
		return rng.IntN(2) == 0
	case driftline.Float32, driftline.Float64:
		return []float64{-1.5, math.Copysign(0, -1), 0, math.NaN(), math.Inf(1)}[rng.IntN(5)]
	case driftline.String, driftline.Bytes:
		return []string{"x", "x\x00", "", "x_1"}[rng.IntN(4)]
	}
	return int64(rng.IntN(4) - 1)
}

// someValue is a value that tells rows apart where the type can, or nil.
func someValue(rng *rand.Rand, t driftline.Type) any {
	if rng.IntN(8) == 0 {
		return nil
	}
	switch t {
	case driftline.Bool:
		return rng.IntN(2) == 0
	case driftline.Float32, driftline.Float64:
		return float64(rng.IntN(1e6))
	case driftline.String, driftline.Bytes:
		return strings.Repeat("v", rng.IntN(3)) + fmt.Sprint(rng.IntN(1000))
	}
	return int64(rng.IntN(1e6))
}

func (w *world) randomKey(rng *rand.Rand, column string) any {
	if rng.IntN(8) == 0 {
		return nil
	}
	t := w.keys[column[:1]]
	if rng.IntN(8) == 0 && (t == driftline.Int64 || t == driftline.Int32) {
		return int64(99)
	}
	return someKey(rng, t)
}

func (w *world) randomTime(rng *rand.Rand) *int64 {
	if rng.IntN(10) == 0 {
		return nil
	}
	t := w.zero + int64(rng.IntN(8)) - 1
	if rng.IntN(20) == 0 {
		t = []int64{math.MinInt64, math.MaxInt64}[rng.IntN(2)]
	}
	return &t
}

// sources puts the rows of each view into files, the tail of the log, or both.
func (w *world) sources(t testing.TB, rng *rand.Rand) []Source {
	sources := make([]Source, len(w.uses))
	for i, p := range w.uses {
		view, rows := w.views[w.of[i]], w.rows[w.of[i]]
		sources[i] = Source{View: view, Projection: p, Unique: unique(rows) && rng.IntN(2) == 0, EventTime: i == 0 && w.eventTime}
		if i > 0 && w.of[i] == w.of[i-1] {
			sources[i].Rows = sources[i-1].Rows
			continue
		}
		sources[i].Rows = w.store(t, rng, view, rows)
	}
	return sources
}

// store writes rows to at most three files and leaves the rest in the tail. Older files
// may lack the last feature, have narrower columns, or other names for them.
func (w *world) store(t testing.TB, rng *rand.Rand, view *driftline.FeatureView, rows []row) Rows {
	stored := Rows{Sorted: rng.IntN(8) > 0, Columns: identified(view)}
	files := rng.IntN(4)
	for f := range files {
		n := len(rows)
		if f < files-1 || rng.IntN(2) == 0 {
			n = rng.IntN(len(rows) + 1)
		}
		part := rows[:n:n]
		rows = rows[n:]
		if n == 0 {
			continue
		}
		old := view
		if f == 0 && rng.IntN(3) == 0 {
			old = older(rng, view, part)
		}
		if stored.Sorted {
			part = slices.Clone(part)
			slices.SortStableFunc(part, compareStored)
		}
		stored.Files = append(stored.Files, writeStored(t, rng, old, part))
	}
	if len(rows) > 0 {
		stored.Tail = driftline.BatchesOf(view.StoredSchema(), tailBatches(rng, view, rows)...)
	}
	if len(stored.Files) == 0 && rng.IntN(2) == 0 {
		stored.Columns = nil
	}
	return stored
}

// sequenceID is the field id of the last column, whatever is missing before it.
const sequenceID = 100

// identified gives the columns of a view field ids.
func identified(view *driftline.FeatureView) []columns.Column {
	var of []columns.Column
	for i, f := range view.StoredSchema().Fields() {
		of = append(of, columns.Column{ID: i + 1, Name: f.Name, Type: f.Type})
	}
	of[len(of)-1].ID = sequenceID
	return of
}

// older is the view as it may have been when a file was written. The values of a feature
// that it does not have yet are gone from the rows.
func older(rng *rand.Rand, view *driftline.FeatureView, rows []row) *driftline.FeatureView {
	old := *view
	old.JoinKeys, old.Features = slices.Clone(view.JoinKeys), slices.Clone(view.Features)
	for i := range old.JoinKeys {
		old.JoinKeys[i].Type = narrow(old.JoinKeys[i].Type)
	}
	for i := range old.Features {
		old.Features[i].Name = "old_" + old.Features[i].Name
		old.Features[i].Type = narrow(old.Features[i].Type)
	}
	if last := len(old.Features) - 1; last > 0 && rng.IntN(2) == 0 {
		old.Features = old.Features[:last]
		for i := range rows {
			rows[i].values[last] = nil
		}
	}
	return &old
}

// compareStored is the order of the rows of a file: by keys, -0 equal to 0 and NaN last,
// then by (event, created, sequence).
func compareStored(a, b row) int {
	for i := range a.keys {
		if c := compareKeys(a.keys[i], b.keys[i]); c != 0 {
			return c
		}
	}
	return compareRows(&a, &b)
}

func compareKeys(a, b any) int {
	switch a := a.(type) {
	case bool:
		number := map[bool]int{true: 1}
		return cmp.Compare(number[a], number[b.(bool)])
	case int64:
		return cmp.Compare(a, b.(int64))
	case string:
		return cmp.Compare(a, b.(string))
	case float64:
		number := func(v float64) (nan int, value float64) {
			if v != v {
				return 1, 0
			}
			return 0, v
		}
		an, av := number(a)
		bn, bv := number(b.(float64))
		return cmp.Or(cmp.Compare(an, bn), cmp.Compare(av, bv))
	}
	panic("no key")
}

func unique(rows []row) bool {
	seen := map[string]bool{}
	for _, r := range rows {
		id := strings.ReplaceAll(fmt.Sprintf("%#v %d", r.keys, r.event), "-0", "0") // one key
		if seen[id] {
			return false
		}
		seen[id] = true
	}
	return true
}

// writeStored writes rows as a file of some layout, with the field ids of [identified].
func writeStored(t testing.TB, rng *rand.Rand, view *driftline.FeatureView, rows []row) string {
	batch := rowBatch(view, rows)
	defer batch.Release()
	fields := view.StoredSchema().Fields()
	for i := range fields {
		id := i + 1
		if fields[i].Name == driftline.SequenceColumn {
			id = sequenceID
		}
		fields[i].Metadata = arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{fmt.Sprint(id)})
	}
	layout := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Uncompressed),
		parquet.WithMaxRowGroupLength(int64(2 + rng.IntN(200))),
		parquet.WithDataPageSize(int64(16 + rng.IntN(300))), parquet.WithBatchSize(2),
		parquet.WithDictionaryDefault(rng.IntN(2) == 0), parquet.WithPageIndexEnabled(rng.IntN(2) == 0), parquet.WithStats(rng.IntN(4) > 0),
	}
	if rng.IntN(3) == 0 {
		layout = append(layout, parquet.WithCompression(compress.Codecs.Zstd))
	}
	schema := arrow.NewSchema(fields, nil)
	identified := array.NewRecordBatch(schema, batch.Columns(), batch.NumRows())
	defer identified.Release()
	return writeLayout(t, schema, []arrow.RecordBatch{identified}, layout...)
}

// tailBatches cuts rows, in any order, into batches.
func tailBatches(rng *rand.Rand, view *driftline.FeatureView, rows []row) (batches []arrow.RecordBatch) {
	for len(rows) > 0 {
		n := 1 + rng.IntN(len(rows))
		batches = append(batches, rowBatch(view, rows[:n]))
		rows = rows[n:]
	}
	return batches
}

// rowBatch makes a batch in the view's stored schema.
func rowBatch(view *driftline.FeatureView, rows []row) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, view.StoredSchema())
	defer b.Release()
	for _, r := range rows {
		cells := slices.Clone(r.keys)
		cells = append(cells, r.event)
		if view.CreatedTimestamp != "" {
			cells = append(cells, nullable(r.created))
		}
		cells = append(append(cells, r.values[:len(view.Features)]...), r.sequence)
		for i, cell := range cells {
			appendCell(b.Field(i), cell)
		}
	}
	return b.NewRecordBatch()
}

// writeRows writes rows to a file.
func writeRows(t testing.TB, view *driftline.FeatureView, rows []row) string {
	batch := rowBatch(view, rows)
	defer batch.Release()
	return writeParquet(t, view.StoredSchema(), batch)
}

func nullable(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

func appendCell(b array.Builder, cell any) {
	if cell == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(cell.(bool))
	case *array.Int32Builder:
		b.Append(int32(cell.(int64)))
	case *array.Int64Builder:
		b.Append(cell.(int64))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(cell.(int64)))
	case *array.Float32Builder:
		b.Append(float32(cell.(float64)))
	case *array.Float64Builder:
		b.Append(cell.(float64))
	case *array.StringBuilder:
		b.Append(cell.(string))
	case *array.BinaryBuilder:
		b.AppendString(cell.(string))
	}
}

// worldSpine is the spine of a world of the simplest keys.
var worldSpine = (&world{keys: map[string]driftline.Type{"a": driftline.Int64, "b": driftline.String}}).spineSchema(rand.New(rand.NewPCG(0, 2)))

// spineBatches cuts the spine into batches of random sizes. The caller releases them.
func (w *world) spineBatches(rng *rand.Rand) []arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, w.as)
	defer b.Release()
	var batches []arrow.RecordBatch
	for i, s := range w.spine {
		for j, cell := range []any{int64(i), s.keys["a"], nullable(s.time), s.keys["b"], s.keys["a2"]} {
			appendCell(b.Field(j), cell)
		}
		if rng.IntN(5) == 0 {
			batches = append(batches, b.NewRecordBatch())
		}
	}
	return append(batches, b.NewRecordBatch())
}

// TestHistoricalEqualsOracle compares both ways to join with the definition, on random
// cases: rows in files of many layouts, in the tail, in both.
func TestHistoricalEqualsOracle(t *testing.T) {
	const shards = 4
	cases := 2000
	if testing.Short() {
		cases = 200
	}
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			compareCases(t, shard, cases/shards)
		})
	}
}

// compareCases runs many cases through one session, because opening one takes
// longer than a case, and the first of each twenty through the front door.
func compareCases(t *testing.T, shard, cases int) {
	merging, querying := openDB(t), openDB(t)
	querying.path = onlyDuckDB
	s, err := querying.newSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for i := range cases {
		rng := rand.New(rand.NewPCG(uint64(shard), uint64(i)))
		// DuckDB plans a join of few left rows differently from one of many, and package
		// merge treats keys of many rows differently.
		w := generate(rng, []int{1, 20, 200, 1500}[rng.IntN(4)])
		plan, err := PlanHistorical(w.req, w.as, w.sources(t, rng))
		if err != nil {
			t.Fatalf("case %d of shard %d: %v", i, shard, err)
		}
		held := w.spineBatches(rng)
		spine := driftline.BatchesOf(w.as, held...)
		run := s
		if i%20 == 0 {
			run = nil
		}
		merging.opts.MemoryBytes = 1 << 30
		if !slices.ContainsFunc(plan.views, func(v viewPlan) bool { return !v.source.Rows.Sorted }) && rng.IntN(2) == 0 {
			merging.opts.MemoryBytes = 200 << 10 // in many chunks
		}
		for _, merging.path = range []joinPath{bestPath, unmapped} {
			if err := w.compare(merging, nil, plan, spine); err != nil {
				t.Errorf("case %d of shard %d, merged on path %d: %v", i, shard, merging.path, err)
			}
		}
		if err := w.compare(querying, run, plan, spine); err != nil {
			t.Errorf("case %d of shard %d, by DuckDB: %v", i, shard, err)
		}
		driftline.ReleaseAll(held)
		if t.Failed() {
			return
		}
	}
}

// compare runs the case in s, or in a session of its own if s is nil.
func (w *world) compare(db *DB, s *session, plan *HistoricalPlan, spine driftline.Batches) error {
	ctx := context.Background()
	answer, err := db.Historical(ctx, plan, spine)
	if err != nil {
		return err
	}
	if s != nil {
		answer.Batches.All = func(yield func(arrow.RecordBatch, error) bool) {
			j := joiner{db: db, plan: plan, answer: answer, session: s, borrowed: true}
			defer j.close()
			err := j.open(ctx)
			if err == nil {
				err = j.run(ctx, spine, yield)
			}
			if err != nil {
				yield(nil, err)
			}
		}
	}
	got, rows, err := answer.Batches.Collect()
	defer driftline.ReleaseAll(got)
	if err != nil {
		return err
	}
	if int(rows) != len(w.spine) || answer.Report().Rows != rows {
		return fmt.Errorf("%d rows (%d reported), want %d", rows, answer.Report().Rows, len(w.spine))
	}
	return w.compareRows(got, answer.Report(), plan)
}

func (w *world) compareRows(got []arrow.RecordBatch, report driftline.HistoricalReport, plan *HistoricalPlan) error {
	nulls, unknown := make([]int64, len(report.Columns)), make([]int64, len(report.Columns))
	at := 0
	for _, batch := range got {
		for i := range int(batch.NumRows()) {
			if label := batch.Column(0).(*array.Int64).Value(i); label != int64(at) {
				return fmt.Errorf("row %d has label %d", at, label)
			}
			column := 0
			for u, p := range w.uses {
				first := column
				view := w.views[w.of[u]]
				knownAt := (w.req.KnownAt || view.KnownAt) && view.CreatedTimestamp != ""
				c := choose(view, p, w.rows[w.of[u]], w.spine[at], knownAt, w.req.Strict)
				values := c.values
				if u == 0 && w.eventTime {
					values = append(slices.Clone(values), c.event)
				}
				for _, want := range values {
					if have := cellOf(batch.Column(w.as.NumFields()+column), i); have != want {
						return fmt.Errorf("row %d, %s: %v, want %v\n%+v\n%s", at, plan.Schema.Field(w.as.NumFields()+column).Name, have, want, w.spine[at], plan.SQL)
					}
					if want == nil {
						nulls[column]++
					} else if c.notYetKnown && !knownAt && plan.views[u].features[column-first].Name != EventTimeColumn {
						unknown[column]++
					}
					column++
				}
			}
			at++
		}
	}
	for i, c := range report.Columns {
		if c.Nulls != nulls[i] || c.NotYetKnown != unknown[i] {
			return fmt.Errorf("column %s reports %d nulls and %d not yet known, want %d and %d", c.Column, c.Nulls, c.NotYetKnown, nulls[i], unknown[i])
		}
	}
	return nil
}

func cellOf(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i)
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return string(a.Value(i))
	}
	return a.ValueStr(i)
}
