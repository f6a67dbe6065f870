package engine

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/profile"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

const (
	// longestSource is the length of the name of a source in bytes.
	longestSource = 512

	// profileBytes is what the profiles of a scan may take. A table of more columns and
	// panes is read several times, some columns at a time.
	profileBytes = 1 << 30
)

// Profile profiles a table that the server can read, pane by pane, and keeps the profiles.
// Panes that were profiled before are replaced. It returns the panes in order.
func (e *Engine) Profile(ctx context.Context, req driftline.ProfileRequest) ([]driftline.ProfilePane, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	table, err := e.profiledTable(ctx, req.Table)
	if err != nil {
		return nil, err
	}
	req.Table.Ref = table.ref // which is the same table later on
	req.Source = cmp.Or(req.Source, table.source)
	req.Time = cmp.Or(req.Time, table.time)
	task, err := e.newProfileTask(req, table.schema)
	if err != nil {
		return nil, err
	}
	defer e.profileSources.lock(req.Source)()
	if err := task.freeze(ctx, table); err != nil {
		return nil, err
	}
	return task.run(ctx, table)
}

// profiledTable is a table that can be read several times, in parts that can be read at once.
type profiledTable struct {
	ref    driftline.Ref // exactly: of a version; zero for a SELECT
	source string        // that its profiles are kept under by default; "" for a SELECT
	time   string        // its column of time, if it has one of its own
	schema *arrow.Schema
	read   func(columns []string) ([]driftline.Batches, error)

	// sample is read for some of the rows, from all over the table; nil if there is no
	// faster way than to read all of them.
	sample func(columns []string) ([]driftline.Batches, error)
}

func (e *Engine) profiledTable(ctx context.Context, source driftline.DriftSource) (*profiledTable, error) {
	if source.SQL == "" && source.Ref.Kind == driftline.KindView {
		name := e.registry.Meant(driftline.ViewName(source.Ref.Name))
		view, err := e.registry.View(name)
		if err != nil {
			return nil, err
		}
		if view.Source == nil {
			return e.profiledView(ctx, view)
		}
	}
	if source.SQL == "" && source.Ref.Kind == driftline.KindDataset {
		return e.profiledDataset(ctx, source.Ref)
	}
	rows, _, err := e.driftSource(ctx, "profiled", source)
	if err != nil {
		return nil, err
	}
	table := &profiledTable{ref: source.Ref, source: source.Ref.String(), schema: rows.Schema}
	table.read = func([]string) ([]driftline.Batches, error) {
		rows, _, err := e.driftSource(ctx, "profiled", source)
		return []driftline.Batches{rows}, err
	}
	return table, nil
}

func (e *Engine) profiledView(ctx context.Context, view *driftline.FeatureView) (*profiledTable, error) {
	if err := e.checkHealthy(view.Name); err != nil {
		return nil, err
	}
	now, whole := e.heads.of(view.Name), view.Schema()
	read := func(names []string) ([]driftline.Batches, error) {
		schema := columnsOf(whole, names)
		var parts []driftline.Batches
		if now.exists {
			for _, part := range eachFile(now.snapshot) {
				parts = append(parts, e.readAs(ctx, part, view, schema))
			}
		}
		if len(now.log) > 0 {
			parts = append(parts, e.projected(e.rowsOfEntries(ctx, view, now.log), schema))
		}
		return parts, nil
	}
	return &profiledTable{
		ref: driftline.ViewRef(view.Name.Exactly()), source: driftline.ViewRef(view.Name).String(),
		time: view.EventTimestamp, schema: whole, read: read,
	}, nil
}

func (e *Engine) profiledDataset(ctx context.Context, ref driftline.Ref) (*profiledTable, error) {
	version, err := versionOf(ref)
	if err != nil {
		return nil, err
	}
	d, err := e.registry.Dataset(driftline.DatasetName(ref.Name), version)
	if err != nil {
		return nil, err
	}
	snapshot, err := e.datasetSnapshot(ctx, d)
	if err != nil {
		return nil, err
	}
	read := func(names []string) ([]driftline.Batches, error) {
		var parts []driftline.Batches
		for _, part := range eachFile(snapshot) {
			parts = append(parts, e.offline.Read(ctx, part, names))
		}
		return parts, nil
	}
	ref = driftline.DatasetRef(d.Name, d.Version)
	return &profiledTable{ref: ref, source: ref.String(), schema: snapshot.Schema, read: read}, nil
}

// eachFile cuts a snapshot into as many as it has files.
func eachFile(snapshot offline.Snapshot) []offline.Snapshot {
	parts := make([]offline.Snapshot, len(snapshot.Files))
	for i := range parts {
		parts[i] = snapshot
		parts[i].Files = snapshot.Files[i : i+1]
	}
	return parts
}

// columnsOf returns the fields of a schema that have names, in their order.
func columnsOf(schema *arrow.Schema, names []string) *arrow.Schema {
	fields := make([]arrow.Field, len(names))
	for i, name := range names {
		fields[i] = schema.Field(schema.FieldIndices(name)[0])
	}
	return arrow.NewSchema(fields, nil)
}

// projected yields the columns of rows that a schema has.
func (e *Engine) projected(rows driftline.Batches, schema *arrow.Schema) driftline.Batches {
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			plain := project(e.mem, b, schema)
			more := yield(plain, nil)
			plain.Release()
			if !more {
				return
			}
		}
	}}
}

// profileTask is one request to profile a table.
type profileTask struct {
	engine  *Engine // nil if nothing is stored
	req     driftline.ProfileRequest
	columns []profiledColumn
	known   map[string]bool // columns whose maps the source has
	panes   panes

	rows      int64 // an estimate of how many there are, and of how many panes
	paneCount int64
}

// newProfileTask is a task of the engine, with the maps that there are.
func (e *Engine) newProfileTask(req driftline.ProfileRequest, schema *arrow.Schema) (*profileTask, error) {
	maps, err := e.mapsFor(req)
	if err != nil {
		return nil, err
	}
	t, err := newProfileTask(req, schema, maps)
	if err != nil {
		return nil, err
	}
	t.engine = e
	return t, nil
}

func newProfileTask(req driftline.ProfileRequest, schema *arrow.Schema, maps map[string]*profile.Map) (*profileTask, error) {
	t := &profileTask{req: req, known: map[string]bool{}}
	switch {
	case req.Source == "":
		return nil, driftline.Errorf(driftline.Invalid, "the profiles of a SELECT need a source").WithHint("give a name that they are kept under, such as \"delays\"")
	case len(req.Source) > longestSource || strings.ContainsFunc(req.Source, func(r rune) bool { return r < ' ' }):
		return nil, driftline.Errorf(driftline.Invalid, "the name of the source has more than %d bytes or a control character", longestSource).
			WithHint("give it a short name")
	case req.Pane < 0 || req.Pane > 0 && time.Duration(req.Pane)%time.Microsecond != 0:
		return nil, driftline.Errorf(driftline.Invalid, "a pane of %s is not possible", time.Duration(req.Pane)).WithHint("give whole microseconds, such as 1h or 1d")
	}
	if err := t.choose(schema, maps); err != nil {
		return nil, err
	}
	return t, t.choosePanes(schema)
}

// mapsFor returns the maps that the profiles of a request are made with, as far as there are
// some: those of the reference, or those that the source has.
func (e *Engine) mapsFor(req driftline.ProfileRequest) (map[string]*profile.Map, error) {
	source := cmp.Or(req.Reference, req.Source)
	if source == "" {
		return nil, nil // which is refused later
	}
	maps, err := e.profileMapsOf(source)
	if err == nil && len(maps) == 0 && req.Reference != "" {
		return nil, driftline.Errorf(driftline.NotFound, "there are no profiles of %q", source).WithHint("profile the reference first")
	}
	return maps, err
}

// choose finds the columns that are profiled.
func (t *profileTask) choose(schema *arrow.Schema, maps map[string]*profile.Map) error {
	names := fieldNames(schema)
	for _, asked := range [][]string{t.req.Columns, t.req.Exclude} {
		for _, name := range asked {
			if !slices.Contains(names, name) {
				return driftline.Unknown("column", name, names)
			}
		}
	}
	for i, f := range schema.Fields() {
		named, kind := slices.Contains(t.req.Columns, f.Name), kindOf(f.Type)
		switch {
		case len(t.req.Columns) > 0 && !named || slices.Contains(t.req.Exclude, f.Name) || slices.Contains(names[:i], f.Name):
			continue
		case kind == "" && named:
			return driftline.Errorf(driftline.Invalid, "column %q is %s: such columns cannot be profiled", f.Name, typeName(f.Type)).
				WithHint("profile its parts as columns of their own")
		case kind == "":
			continue
		}
		typ, _ := driftline.TypeOf(f.Type)
		c := profiledColumn{name: f.Name, typ: typ, kind: kind, index: i}
		if m := maps[f.Name]; m != nil && (m.Kind() == profile.Numbers) == (kind == numeric) {
			c.m, t.known[f.Name] = m, t.req.Reference == "" || t.req.Reference == t.req.Source
		}
		t.columns = append(t.columns, c)
	}
	if len(t.columns) == 0 {
		return driftline.Errorf(driftline.Invalid, "there is no column to profile").WithHint("the columns are: %s", strings.Join(names, ", "))
	}
	return nil
}

func (t *profileTask) choosePanes(schema *arrow.Schema) error {
	t.panes = panes{index: -1, length: t.req.Pane.Microseconds(), start: math.MinInt64, end: math.MaxInt64}
	if t.req.Pane == 0 && t.req.Start.IsZero() && t.req.End.IsZero() {
		return nil
	}
	name := cmp.Or(t.req.Time, driftline.DefaultEventTimestamp)
	found := schema.FieldIndices(name)
	if len(found) == 0 {
		return driftline.Unknown("column", name, fieldNames(schema)).WithHint("say which column has the time")
	}
	if f := schema.Field(found[0]); !isTime(f.Type) {
		return driftline.Errorf(driftline.Invalid, "column %q is %s, and no time", name, typeName(f.Type)).WithHint("say which column has the time")
	}
	t.req.Time, t.panes.index = name, found[0]
	if !t.req.Start.IsZero() {
		t.panes.start = t.req.Start.UnixMicro()
	}
	if !t.req.End.IsZero() {
		t.panes.end = t.req.End.UnixMicro()
	}
	if t.panes.start >= t.panes.end {
		return driftline.Errorf(driftline.Invalid, "the rows end before they begin").WithHint("give a start that is before the end")
	}
	return nil
}

// fresh are the columns whose maps the source does not have yet.
func (t *profileTask) fresh() []profiledColumn {
	return slices.DeleteFunc(slices.Clone(t.columns), func(c profiledColumn) bool { return t.known[c.name] })
}

// freeze looks at rows all over the table, and makes the maps that there are none of.
func (t *profileTask) freeze(ctx context.Context, table *profiledTable) error {
	var wanted []profiledColumn
	var places []int
	for i, c := range t.columns {
		if c.m == nil {
			wanted, places = append(wanted, c), append(places, i)
		}
	}
	s := t.group(table, wanted) // and the times, if there are panes
	t.paneCount = 1
	if len(s.names) == 0 {
		return nil
	}
	sampler := newSampler(s.columns, s.panes)
	if err := table.sampleInto(ctx, s, sampler, t.engine.scanners()); err != nil {
		return err
	}
	sampler.maps(t.engine.scanners())
	for i, place := range places {
		t.columns[place].m = sampler.columns[i].m
	}
	t.rows = sampler.rows
	if t.panes.length > 0 && sampler.least <= sampler.greatest {
		t.paneCount = sampler.greatest/t.panes.length - sampler.least/t.panes.length + 2
	}
	return nil
}

// sampleInto shows the sampler rows from all over the table.
func (t *profiledTable) sampleInto(ctx context.Context, of scanGroup, s *sampler, atOnce int) error {
	read := t.read
	if t.sample != nil {
		read = t.sample
	}
	parts, err := read(of.names)
	if err != nil {
		return err
	}
	if t.sample != nil { // they are few: decode them at once
		held, err := collectParts(ctx, parts, atOnce)
		for _, part := range held {
			defer driftline.ReleaseAll(part)
		}
		if err != nil {
			return err
		}
		for i, part := range held {
			parts[i] = driftline.BatchesOf(parts[i].Schema, part...)
		}
	}
	for _, rows := range parts {
		if err := eachBatch(ctx, rows, of.order(rows.Schema), s.add); err != nil {
			return err
		}
	}
	return nil
}

// collectParts reads parts into memory. The caller releases what is returned, also with an error.
func collectParts(ctx context.Context, parts []driftline.Batches, atOnce int) ([][]arrow.RecordBatch, error) {
	held := make([][]arrow.RecordBatch, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, part := range parts {
		group.Go(func() (err error) {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			held[i], _, err = part.Collect()
			return err
		})
	}
	return held, group.Wait()
}

// scanGroup are columns that are read together, with their places in what is read.
type scanGroup struct {
	names   []string // that are read: the columns, and the time
	columns []profiledColumn
	panes   panes
}

func (t *profileTask) group(table *profiledTable, columns []profiledColumn) scanGroup {
	g := scanGroup{panes: t.panes, columns: slices.Clone(columns)}
	for i, c := range columns {
		g.names = append(g.names, c.name)
		g.columns[i].index = i
	}
	if t.panes.index >= 0 {
		name := table.schema.Field(t.panes.index).Name
		if g.panes.index = slices.Index(g.names, name); g.panes.index < 0 {
			g.panes.index = len(g.names)
			g.names = append(g.names, name)
		}
	}
	return g
}

// order returns where a schema has the columns of the group: it may have more.
func (g scanGroup) order(schema *arrow.Schema) []int {
	places := make([]int, len(g.names))
	for i, name := range g.names {
		places[i] = schema.FieldIndices(name)[0]
	}
	return places
}

// groups are as many columns at a time as memory allows.
func (t *profileTask) groups() [][]profiledColumn {
	const whole, listed = 4*profile.Cells + 8<<10, 4
	each := max(1, int64(t.engine.scanners())) * min(whole*t.paneCount, listed*t.rows+1024*t.paneCount+whole)
	n := int(min(max(1, profileBytes/each), int64(len(t.columns))))
	return slices.Collect(slices.Chunk(t.columns, n))
}

// scanners is how many parts of a table are read at once.
func (e *Engine) scanners() int {
	if e == nil {
		return runtime.GOMAXPROCS(0)
	}
	return max(1, e.threads)
}

// run profiles the table and stores what it finds.
func (t *profileTask) run(ctx context.Context, table *profiledTable) ([]driftline.ProfilePane, error) {
	w := t.engine.newProfileWriter(t.req.Source)
	defer func() { _ = w.close() }()
	if err := w.begin([]profileOrigin{{t.req.Table, t.req.Reference}}, t.fresh()); err != nil {
		return nil, err
	}
	rows := map[int64]int64{}
	for _, columns := range t.groups() {
		found, err := t.scan(ctx, table, columns)
		if err != nil {
			return nil, err
		}
		for start, pane := range found.found {
			rows[start] = pane.rows
			for i, c := range columns {
				if err := w.addColumn(t.spanOf(start), c.name, pane.columns[i]); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(rows) == 0 {
		return []driftline.ProfilePane{}, nil
	}
	panes := []driftline.ProfilePane{}
	for start, n := range rows {
		record := t.record(t.spanOf(start), n)
		if err := w.addPane(t.spanOf(start), record); err != nil {
			return nil, err
		}
		record.Bytes = w.bytes[t.spanOf(start)]
		panes = append(panes, record.ProfilePane)
	}
	slices.SortFunc(panes, func(a, b driftline.ProfilePane) int { return a.Start.Compare(b.Start) })
	return panes, w.commit()
}

// spanOf is the span of the pane that begins at start. One of rows that are not cut, but
// taken from a range of time, is that range if it has both ends.
func (t *profileTask) spanOf(start int64) span {
	switch {
	case start != allTime:
		return span{start, start + t.panes.length}
	case t.panes.start > math.MinInt64 && t.panes.end < math.MaxInt64:
		return span{t.panes.start, t.panes.end}
	}
	return span{}
}

func (t *profileTask) record(s span, rows int64) keptPane {
	r := keptPane{ProfilePane: driftline.ProfilePane{
		Source: t.req.Source, Rows: rows, Columns: len(t.columns), Created: t.engine.now().UTC(), Table: t.req.Table, Time: t.req.Time,
	}}
	r.Start, r.End = s.times()
	for _, c := range t.columns {
		r.Profiled = append(r.Profiled, c.record())
	}
	return r
}

func (c profiledColumn) record() columnRecord {
	return columnRecord{c.name, c.typ, c.kind, c.m.Fingerprint()}
}

// scan profiles some columns, several parts of the table at once.
func (t *profileTask) scan(ctx context.Context, table *profiledTable, columns []profiledColumn) (*profiler, error) {
	g := t.group(table, columns)
	parts, err := table.read(g.names)
	if err != nil {
		return nil, err
	}
	scanners := min(len(parts), t.engine.scanners())
	if scanners == 0 {
		return newProfiler(g.columns, g.panes), nil
	}
	work := make(chan driftline.Batches, len(parts))
	for _, rows := range parts {
		work <- rows
	}
	close(work)
	profilers := make([]*profiler, scanners)
	group, ctx := errgroup.WithContext(ctx)
	for i := range profilers {
		p := newProfiler(g.columns, g.panes)
		profilers[i] = p
		group.Go(func() error {
			for rows := range work {
				if err := eachBatch(ctx, rows, g.order(rows.Schema), p.add); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return mergedProfiler(profilers)
}

// eachBatch calls with the wanted columns of every batch.
func eachBatch(ctx context.Context, rows driftline.Batches, wanted []int, with func(arrow.RecordBatch)) error {
	for batch, err := range rows.All {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		some := selected(batch, wanted)
		with(some)
		some.Release()
	}
	return nil
}

// selected is a batch of some of the columns. The caller releases it.
func selected(batch arrow.RecordBatch, places []int) arrow.RecordBatch {
	fields, columns := make([]arrow.Field, len(places)), make([]arrow.Array, len(places))
	for i, place := range places {
		fields[i], columns[i] = batch.Schema().Field(place), batch.Column(place)
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, batch.NumRows())
}

// profileStream profiles rows that can be read once: what makes the maps is kept until they
// are. Several batches are profiled at once, while the next one is read.
func (t *profileTask) profileStream(ctx context.Context, rows driftline.Batches) (*profiler, error) {
	sampler := newSampler(t.columns, t.panes)
	var kept []arrow.RecordBatch
	defer func() { driftline.ReleaseAll(kept) }()
	var c *crew
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	begin := func() {
		sampler.maps(t.engine.scanners())
		t.columns = sampler.columns
		c = newCrew(t.columns, t.panes, t.engine.scanners())
		for _, batch := range kept {
			c.add(batch)
		}
		driftline.ReleaseAll(kept)
		kept = nil
	}
	if t.complete() {
		begin()
	}
	for batch, err := range rows.All {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		if c != nil {
			c.add(batch)
			continue
		}
		sampler.add(batch)
		batch.Retain()
		if kept = append(kept, batch); sampler.rows >= mostSampled {
			begin()
		}
	}
	if c == nil {
		begin()
	}
	return c.merged()
}

// crew profiles batches, several at once.
type crew struct {
	work      chan arrow.RecordBatch
	closed    bool
	done      sync.WaitGroup
	profilers []*profiler
}

func newCrew(columns []profiledColumn, panes panes, size int) *crew {
	c := &crew{work: make(chan arrow.RecordBatch, size), profilers: make([]*profiler, size)}
	for i := range c.profilers {
		p := newProfiler(columns, panes)
		c.profilers[i] = p
		c.done.Go(func() {
			for batch := range c.work {
				p.add(batch)
				batch.Release()
			}
		})
	}
	return c
}

func (c *crew) add(batch arrow.RecordBatch) {
	batch.Retain()
	c.work <- batch
}

// close waits until all batches were taken in. It may be called again.
func (c *crew) close() {
	if !c.closed {
		close(c.work)
		c.closed = true
	}
	c.done.Wait()
}

// merged returns what was found, after all was added.
func (c *crew) merged() (*profiler, error) {
	c.close()
	return mergedProfiler(c.profilers)
}

func mergedProfiler(all []*profiler) (*profiler, error) {
	for _, p := range all[1:] {
		if err := all[0].merge(p); err != nil {
			return nil, err
		}
	}
	return all[0], nil
}

// Profiles lists the panes that are kept of a source, by time; of all sources if it is "".
func (e *Engine) Profiles(ctx context.Context, window driftline.ProfileWindow) ([]driftline.ProfilePane, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	sources := []string{window.Source}
	if window.Source == "" {
		var err error
		if sources, err = e.profileSourceNames(); err != nil {
			return nil, err
		}
	}
	panes := []driftline.ProfilePane{}
	for _, source := range sources {
		window.Source = source
		records, err := e.profilePanes(window)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			panes = append(panes, record.ProfilePane)
		}
	}
	return panes, nil
}

// profileSourceNames leaps from source to source.
func (e *Engine) profileSourceNames() (names []string, err error) {
	all := []byte{kv.Profiles}
	for from := all; from != nil; {
		next := from
		from = nil
		for pair, err := range e.kv.ScanFrom(next, all) {
			if err != nil {
				return nil, err
			}
			name, _, err := kv.TakeString(pair.Key[1:])
			if err != nil {
				return nil, err
			}
			names = append(names, name)
			from = append(kv.AppendString([]byte{kv.Profiles}, name), 0xff)
			break
		}
	}
	return names, nil
}

// DropProfiles forgets the panes of a window, and returns how many there were. Without a
// start and an end it forgets the source, and with it how its columns are counted.
func (e *Engine) DropProfiles(ctx context.Context, window driftline.ProfileWindow) (int, error) {
	if err := e.begin(); err != nil {
		return 0, err
	}
	defer e.end()
	defer e.profileSources.lock(window.Source)()
	records, err := e.profilePanes(window)
	if err != nil {
		return 0, err
	}
	if len(records) == 0 {
		return 0, e.noProfiles(window)
	}
	w := e.newProfileWriter(window.Source)
	defer func() { _ = w.close() }()
	for _, record := range records {
		w.replace(spanOf(record.Start, record.End))
	}
	if window.Start.IsZero() && window.End.IsZero() {
		w.batch.DeletePrefix(kv.AppendString([]byte{kv.Profiles}, window.Source))
	}
	return len(records), w.commit()
}

func (e *Engine) noProfiles(window driftline.ProfileWindow) error {
	names, err := e.profileSourceNames()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return driftline.Errorf(driftline.NotFound, "there are no profiles of %q, nor of anything else", window.Source).
			WithHint("driftline profile TABLE makes some")
	}
	if !slices.Contains(names, window.Source) {
		return driftline.Unknown("source", window.Source, names)
	}
	return driftline.Errorf(driftline.NotFound, "there are no profiles of %q between %s and %s", window.Source, edgeOfTime(window.Start), edgeOfTime(window.End)).
		WithHint("driftline profiles list %s says which there are; a pane counts if all of it lies in the window", window.Source)
}

func edgeOfTime(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return t.UTC().Format(time.RFC3339)
}
