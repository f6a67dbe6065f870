package engine

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

func tracedFiles(snapshot offline.Snapshot) []driftline.TracedFile {
	files := []driftline.TracedFile{}
	for _, f := range snapshot.Files {
		files = append(files, driftline.TracedFile{File: fileRef(f), Rows: f.Rows, Bytes: f.Bytes})
	}
	return files
}

// sources finds the files that a dataset was made from.
func (t *tracer) sources(ctx context.Context, d *driftline.Dataset, traced *driftline.TracedDataset) error {
	for _, pin := range d.Report.Pins {
		source := driftline.TracedSource{View: pin.View, Files: []driftline.TracedFile{}}
		switch {
		case pin.Source != "":
			t.note("the rows of view %q are in files of somebody else", pin.View)
		case pin.Snapshot != 0:
			source.Snapshot = driftline.SnapshotRef(viewTable(pin.View).String(), pin.Snapshot)
			snapshot, err := t.engine.offline.At(ctx, viewTable(pin.View), pin.Snapshot)
			if err := t.missing(goneSnapshot(pin.View, pin.Snapshot, err)); err != nil {
				return err
			}
			source.Files = tracedFiles(snapshot)
		}
		traced.Sources = append(traced.Sources, source)
	}
	return nil
}

// trainingRows finds the rows of a dataset that are of the prediction's entity.
func (t *tracer) trainingRows(ctx context.Context, d *driftline.Dataset, then *registry.Resolution, traced *driftline.TracedDataset) error {
	snapshot, err := t.engine.datasetSnapshot(ctx, d)
	if err != nil {
		return err
	}
	defer t.engine.offline.Hold(snapshot)()
	traced.Files = tracedFiles(snapshot)
	if then == nil {
		return nil
	}
	if traced.Keys = t.keysIn(snapshot.Schema, then); len(traced.Keys) == 0 {
		t.note("the row of the prediction has none of the columns that tell the entities of %s apart", d.Ref())
		return nil
	}
	finder := &rowFinder{engine: t.engine, snapshot: snapshot, equal: traced.Keys, most: t.ask.Rows}
	found, err := finder.find(ctx)
	if err != nil {
		return err
	}
	traced.SameEntity = finder.count
	for _, group := range found {
		if err := t.addExamples(ctx, d, then, snapshot, group, traced); err != nil {
			return err
		}
	}
	return nil
}

// keysIn are the join keys of the prediction's entities as columns of a dataset.
func (t *tracer) keysIn(schema *arrow.Schema, then *registry.Resolution) map[string]string {
	keys := map[string]string{}
	for _, r := range then.Reads {
		for _, key := range r.View.JoinKeys {
			column := r.Projection.KeyColumn(key.Name)
			if value, ok := t.trace.Values[column]; ok && schema.HasField(column) {
				keys[column] = value
			}
		}
	}
	return keys
}

// rowFinder looks for the rows of a snapshot that have given values.
type rowFinder struct {
	engine   *Engine
	snapshot offline.Snapshot
	equal    map[string]string // column → value, as text
	most     int               // to return

	count int64 // all that there are
}

// fileRows are rows of one file, and where the file begins in its table.
type fileRows struct {
	file  offline.File
	first int64
	rows  []int64 // of the file, ascending
}

func (f *rowFinder) find(ctx context.Context) (found []fileRows, err error) {
	columns := slices.Sorted(maps.Keys(f.equal))
	left, first := f.most, int64(0)
	for _, file := range f.snapshot.Files {
		group := fileRows{file: file, first: first}
		mayHave := func(p offline.Part) bool {
			for i, name := range columns {
				if !p.MayHave(i, f.equal[name]) {
					return false
				}
			}
			return true
		}
		err := f.engine.eachPart(ctx, oneFile(f.snapshot, file), columns, mayHave, func(b arrow.RecordBatch, at int64) bool {
			matches := matcher(b, columns, f.equal)
			for i := range int(b.NumRows()) {
				if !matches(i) {
					continue
				}
				if f.count++; left > 0 {
					group.rows = append(group.rows, at+int64(i))
					left--
				}
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if first += file.Rows; len(group.rows) > 0 {
			found = append(found, group)
		}
	}
	return found, nil
}

// oneFile is a snapshot with one of its files only.
func oneFile(snapshot offline.Snapshot, file offline.File) offline.Snapshot {
	snapshot.Files = []offline.File{file}
	return snapshot
}

// eachPart visits the wanted rows of a snapshot of one file with the number of each batch's
// first row, until visit returns false.
func (e *Engine) eachPart(ctx context.Context, snapshot offline.Snapshot, columns []string, wanted func(offline.Part) bool, visit func(b arrow.RecordBatch, first int64) bool) error {
	first := int64(0)
	rows := e.offline.ReadParts(ctx, snapshot, columns, func(p offline.Part) bool {
		first = p.First
		return wanted(p)
	})
	for b, err := range rows.All {
		if err != nil {
			return err
		}
		if !visit(b, first) {
			return nil
		}
	}
	return nil
}

// matcher reports whether a row of b has the given values in all of the columns.
func matcher(b arrow.RecordBatch, columns []string, want map[string]string) func(row int) bool {
	tests := make([]func(int) bool, len(columns))
	for i, name := range columns {
		tests[i] = equals(b.Column(b.Schema().FieldIndices(name)[0]), want[name])
	}
	return func(row int) bool {
		for _, test := range tests {
			if !test(row) {
				return false
			}
		}
		return true
	}
}

// equals is a test of the rows of a column for a value that is given as text.
func equals(col arrow.Array, want string) func(row int) bool {
	switch c := col.(type) {
	case *array.String:
		return func(row int) bool { return c.Value(row) == want && c.IsValid(row) }
	case *array.Int64:
		number, err := strconv.ParseInt(want, 10, 64)
		return func(row int) bool { return err == nil && c.Value(row) == number && c.IsValid(row) }
	case *array.Int32:
		number, err := strconv.ParseInt(want, 10, 32)
		return func(row int) bool { return err == nil && int64(c.Value(row)) == number && c.IsValid(row) }
	}
	return func(row int) bool { return col.IsValid(row) && valueText(col, row) == want }
}

// addExamples adds rows of one file of a dataset to its trace, with where their features are from.
func (t *tracer) addExamples(ctx context.Context, d *driftline.Dataset, then *registry.Resolution, snapshot offline.Snapshot, group fileRows, traced *driftline.TracedDataset) error {
	rows, err := t.engine.rowsOfFile(ctx, snapshot, group)
	if err != nil {
		return err
	}
	defer rows.Release()
	first := len(traced.Examples)
	for i, n := range group.rows {
		traced.Examples = append(traced.Examples, driftline.TracedRow{Row: group.first + n, File: fileRef(group.file), FileRow: n,
			Values: rowTexts(rows, i), Sources: []driftline.FileRow{}})
	}
	past := t.engine.pinPast(d.Report.Pins)
	defer past.release()
	for _, r := range then.Reads {
		if r.View.Source != nil {
			continue
		}
		sources, err := t.sourcesOf(ctx, d, r, past, rows)
		if err := t.missing(err); err != nil {
			return err
		}
		for i, source := range sources {
			if source != nil {
				traced.Examples[first+i].Sources = append(traced.Examples[first+i].Sources, *source)
			}
		}
	}
	return nil
}

// rowsOfFile reads some rows of a file. The caller releases the batch.
func (e *Engine) rowsOfFile(ctx context.Context, snapshot offline.Snapshot, group fileRows) (arrow.RecordBatch, error) {
	left := group.rows
	var parts []arrow.RecordBatch
	defer func() { driftline.ReleaseAll(parts) }()
	var taking error
	hasSome := func(p offline.Part) bool { return len(left) > 0 && left[0] < p.First+p.Rows }
	err := e.eachPart(ctx, oneFile(snapshot, group.file), nil, hasSome, func(b arrow.RecordBatch, first int64) bool {
		var here []int64
		for len(left) > 0 && left[0] < first+b.NumRows() {
			here, left = append(here, left[0]-first), left[1:]
		}
		if len(here) > 0 {
			var part arrow.RecordBatch
			if part, taking = takeRows(ctx, e.mem, b, here); taking == nil {
				parts = append(parts, part)
			}
		}
		return taking == nil && len(left) > 0
	})
	if err == nil {
		err = taking
	}
	if err != nil {
		return nil, err
	}
	return collected(e.mem, driftline.BatchesOf(snapshot.Schema, parts...))
}

// sourcesOf finds the rows of a view that rows of a dataset have their features from.
func (t *tracer) sourcesOf(ctx context.Context, d *driftline.Dataset, r registry.Resolved, past *pinned, rows arrow.RecordBatch) ([]*driftline.FileRow, error) {
	of, err := past.rowsOf(ctx, r.View)
	if err != nil {
		return nil, err
	}
	id := past.past[r.View.Name]
	if id == 0 {
		return nil, nil
	}
	snapshot, err := t.engine.offline.At(ctx, viewTable(r.View.Name), id)
	if err != nil {
		return nil, goneSnapshot(r.View.Name, id, err)
	}
	chosen := chosenRows{engine: t.engine, read: r, rows: of, snapshot: snapshot, request: d.Request}
	return chosen.find(ctx, rows)
}

// servedFrom finds the rows that the offline values of the prediction are from, by the
// prefix of the projection. Rows that are in no file yet are left out.
func (t *tracer) servedFrom(ctx context.Context, set driftline.FeatureSet, req driftline.HistoricalRequest) (map[string]*driftline.FileRow, error) {
	resolution, err := t.engine.registry.Resolve(set)
	if err != nil {
		return nil, err
	}
	spine := t.spine()
	defer spine.Release()
	found := map[string]*driftline.FileRow{}
	req.KnownAt = false
	for _, r := range resolution.Reads {
		now := t.engine.heads.of(r.View.Name)
		if r.View.Source != nil || !now.exists {
			continue
		}
		rows, _, err := t.engine.rowsOf(ctx, r.View)
		if err != nil {
			return nil, err
		}
		chosen := chosenRows{engine: t.engine, read: r, rows: rows, snapshot: now.snapshot, request: req}
		sources, err := chosen.find(ctx, spine)
		if err != nil {
			return nil, err
		}
		if len(sources) == 1 {
			found[r.Projection.Prefix()] = sources[0]
		}
	}
	return found, nil
}

// chosenRows finds which row of a view the point-in-time join chooses for each row of a spine.
type chosenRows struct {
	engine   *Engine
	read     registry.Resolved
	rows     query.Rows
	snapshot offline.Snapshot // whose files are searched
	request  driftline.HistoricalRequest
}

// wantedRow is a row that is looked for: its keys and event time, and the time of the spine's row.
type wantedRow struct {
	keys  map[string]string
	event arrow.Timestamp
	at    arrow.Timestamp
}

// mayBeIn reports whether a part may have the row, whose keys are in the given columns of the read.
func (w *wantedRow) mayBeIn(p offline.Part, keys []string, columns []int) bool {
	for i, key := range keys {
		if columns[i] >= 0 && !p.MayHave(columns[i], w.keys[key]) {
			return false
		}
	}
	return true
}

// foundRow is the best row so far.
type foundRow struct {
	at                *driftline.FileRow
	created, sequence int64
}

// find returns the row of each row of the spine; nil for one that has none, or none in a file.
func (c *chosenRows) find(ctx context.Context, spine arrow.RecordBatch) ([]*driftline.FileRow, error) {
	wanted, err := c.wanted(ctx, spine)
	if err != nil {
		return nil, err
	}
	best := make([]foundRow, len(wanted))
	for _, file := range c.snapshot.Files {
		if err := c.search(ctx, file, wanted, best); err != nil {
			return nil, err
		}
	}
	found := make([]*driftline.FileRow, len(best))
	for i, b := range best {
		found[i] = b.at
	}
	return found, nil
}

// wanted says which rows are chosen. It is nil for a row of the spine that has none.
func (c *chosenRows) wanted(ctx context.Context, spine arrow.RecordBatch) ([]*wantedRow, error) {
	view, time := c.read.View, c.request.EventTimestamp
	needed := map[string]string{} // column → join key
	for _, key := range view.JoinKeys {
		needed[c.read.Projection.KeyColumn(key.Name)] = key.Name
	}
	part := withoutColumns(spine, func(name string) bool { return needed[name] == "" && name != time })
	defer part.Release()
	projection := c.read.Projection
	projection.Features = slices.DeleteFunc(slices.Clone(projection.Features), func(name string) bool {
		_, stored := view.Feature(name)
		return !stored
	})
	wanted := make([]*wantedRow, spine.NumRows())
	if len(projection.Features) == 0 { // aggregates of many rows
		return wanted, nil
	}
	req := driftline.HistoricalRequest{EventTimestamp: time, KnownAt: c.request.KnownAt, Strict: c.request.Strict}
	req.FullFeatureNames = true
	plan, err := query.PlanHistorical(req, part.Schema(), []query.Source{{View: view, Projection: projection, Rows: c.rows, EventTime: true}})
	if err != nil {
		return nil, err
	}
	answer, err := c.engine.query.Historical(ctx, plan, driftline.BatchesOf(part.Schema(), part))
	if err != nil {
		return nil, err
	}
	joined, err := collected(c.engine.mem, answer.Batches)
	if err != nil {
		return nil, err
	}
	defer joined.Release()
	events := joined.Column(int(joined.NumCols()) - 1).(*array.Timestamp)
	times := joined.Column(joined.Schema().FieldIndices(time)[0]).(*array.Timestamp)
	for i := range wanted {
		if events.IsNull(i) || times.IsNull(i) {
			continue
		}
		row := wantedRow{event: events.Value(i), at: times.Value(i), keys: map[string]string{}}
		if view.TTL > 0 && int64(row.event) < int64(row.at)-projection.Lag.Microseconds()-view.TTL.Microseconds() {
			continue
		}
		for column, key := range needed {
			row.keys[key] = valueText(part.Column(part.Schema().FieldIndices(column)[0]), i)
		}
		wanted[i] = &row
	}
	return wanted, nil
}

// search looks for the wanted rows in one file. Of several versions of a row the greatest
// (created, sequence) is the one that the join took.
func (c *chosenRows) search(ctx context.Context, file offline.File, wanted []*wantedRow, best []foundRow) error {
	view := c.read.View
	schema := c.searched()
	keys := view.KeyNames()
	row := int64(0)
	mayHave := func(p offline.Part, columns []int) bool {
		row = p.First
		return slices.ContainsFunc(wanted, func(w *wantedRow) bool { return w != nil && w.mayBeIn(p, keys, columns) })
	}
	for b, err := range c.engine.readPartsAs(ctx, oneFile(c.snapshot, file), view, schema, mayHave).All {
		if err != nil {
			return err
		}
		events := b.Column(len(keys)).(*array.Timestamp).TimestampValues()
		for i, w := range wanted {
			if w == nil {
				continue
			}
			matches := matcher(b, keys, w.keys)
			for at, event := range events {
				if event != w.event || !matches(at) {
					continue
				}
				created, sequence := c.versionAt(b, at)
				if c.knownAt() && created > int64(w.at) {
					continue
				}
				if best[i].at == nil || created > best[i].created || created == best[i].created && sequence > best[i].sequence {
					best[i] = foundRow{&driftline.FileRow{View: view.Name, File: fileRef(file), Row: row + int64(at)}, created, sequence}
				}
			}
		}
	}
	return nil
}

func (c *chosenRows) knownAt() bool {
	return c.read.View.CreatedTimestamp != "" && (c.request.KnownAt || c.read.View.KnownAt)
}

// searched are the columns that a search reads: keys, event time, created time, sequence.
func (c *chosenRows) searched() *arrow.Schema {
	view := c.read.View
	n := len(view.JoinKeys) + 1
	if view.CreatedTimestamp != "" {
		n++
	}
	stored := view.StoredSchema().Fields()
	return arrow.NewSchema(append(slices.Clone(stored[:n]), stored[len(stored)-1]), nil)
}

// versionAt returns the created time and the sequence of a row that a search reads.
func (c *chosenRows) versionAt(b arrow.RecordBatch, row int) (created, sequence int64) {
	last := int(b.NumCols()) - 1
	if c.read.View.CreatedTimestamp != "" {
		if col := b.Column(last - 1).(*array.Timestamp); col.IsValid(row) {
			created = int64(col.Value(row))
		}
	}
	return created, b.Column(last).(*array.Int64).Value(row)
}
