package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// Erase removes everything about one thing: its rows from the ingest log and from every
// file of every view of the entity, its online rows and their history, the predictions that were
// made for it and their labels, the rows of the
// saved datasets that such views were joined to, the profiles of all of these, and from what
// monitors found in them the names of categories and segments, and the ends of ranges, that no
// other row has. Older
// snapshots whose files had such rows are given up, pinned or not: what was asked to be
// forgotten weighs more than a dataset that can be made again. A dataset that loses rows is
// marked as [driftline.Dataset.Erased], and cannot be made again at all. Files that a running
// query reads go when it ends. Rows that are written while Erase runs may stay, and so may
// the first profile of a source that is made meanwhile.
//
// It is written down first and carried on when the folder is opened after a crash.
// Erasing what is not there is no error. Views with a source, artifacts, profiles of rows
// that a client sent, and the texts that people wrote, such as the SQL of a spine, are left
// alone. The key-value store's log is overwritten as it is used again, at the latest after
// the next start.
func (e *Engine) Erase(ctx context.Context, req driftline.ErasureRequest) (driftline.Erasure, error) {
	entity, err := e.registry.Entity(req.Entity)
	if err != nil {
		return driftline.Erasure{}, err
	}
	if _, err := e.newTarget(entity, req.Keys); err != nil {
		return driftline.Erasure{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Erasure{}, err
	}
	defer e.end()
	key := append([]byte{kv.Erasures}, rand.Text()...)
	note := erasureNote{ErasureRequest: req}
	if err := e.noteErasure(key, note); err != nil {
		return driftline.Erasure{}, err
	}
	if err := e.reached(stepErasureNoted); err != nil {
		return driftline.Erasure{}, err
	}
	done, err := e.erase(context.WithoutCancel(ctx), note, key)
	if err == nil && len(done.Datasets) > 0 {
		done.Affects = e.registry.Dependents(done.Datasets...)
	}
	return done, err
}

// erasureNote is what is written down of an erasure until it is done.
type erasureNote struct {
	driftline.ErasureRequest

	// Rewritten are the views and datasets whose rows may be gone already: what was
	// derived from them is not.
	Rewritten []driftline.Ref `json:"rewritten,omitempty"`
}

func (e *Engine) noteErasure(key []byte, note erasureNote) error {
	body, err := json.Marshal(note)
	if err != nil {
		return err
	}
	b := e.kv.NewBatch()
	defer b.Close()
	b.Set(key, body)
	return b.Commit()
}

// resumeErasures carries on what a crash interrupted.
func (e *Engine) resumeErasures(ctx context.Context) error {
	var left []kv.Pair
	for pair, err := range e.kv.ScanPrefix([]byte{kv.Erasures}) {
		if err != nil {
			return err
		}
		left = append(left, kv.Pair{Key: slices.Clone(pair.Key), Value: slices.Clone(pair.Value)})
	}
	for _, pair := range left {
		var note erasureNote
		if err := json.Unmarshal(pair.Value, &note); err != nil {
			return driftline.Errorf(driftline.DataLoss, "the record of an erasure is damaged: %w", err)
		}
		e.log.Info("recover: carrying on an erasure", "entity", note.Entity)
		if _, err := e.erase(ctx, note, pair.Key); err != nil {
			return err
		}
	}
	return nil
}

// erase does what the note says, forgets the note itself, which is stored under key, and
// writes the ledger line. Every step may be repeated.
func (e *Engine) erase(ctx context.Context, note erasureNote, key []byte) (driftline.Erasure, error) {
	req := note.ErasureRequest
	entity, err := e.registry.Entity(req.Entity)
	if err != nil {
		return driftline.Erasure{}, err
	}
	target, err := e.newTarget(entity, req.Keys)
	if err != nil {
		return driftline.Erasure{}, err
	}
	run := &erasing{engine: e, target: target, key: key, note: note, outcome: driftline.Erasure{
		Entity: req.Entity, Tables: []driftline.ErasedTable{}, Keys: target.salted(), Reason: req.Reason,
	}}
	for _, view := range e.registry.Views() {
		if view.Source == nil && target.isIn(&view) {
			if err := run.view(ctx, &view, target.rowsOf(&view)); err != nil {
				return driftline.Erasure{}, err
			}
		}
	}
	if err := run.predictions(ctx); err != nil {
		return driftline.Erasure{}, err
	}
	if err := e.reached(stepViewsErased); err != nil {
		return driftline.Erasure{}, err
	}
	for _, d := range e.registry.Datasets() {
		if err := run.dataset(ctx, &d); err != nil {
			return driftline.Erasure{}, err
		}
	}
	if err := e.reached(stepDatasetsErased); err != nil {
		return driftline.Erasure{}, err
	}
	if err := e.forgetExamples(ctx, run.note.Rewritten); err != nil {
		return driftline.Erasure{}, err
	}
	if run.outcome.Profiles, err = e.forgetProfiles(ctx, run.note.Rewritten); err != nil {
		return driftline.Erasure{}, err
	}
	if err := e.reached(stepProfilesForgotten); err != nil {
		return driftline.Erasure{}, err
	}
	if run.outcome.Findings, err = e.forgetFindings(ctx, run.note.Rewritten); err != nil {
		return driftline.Erasure{}, err
	}
	if err := e.reached(stepFindingsForgotten); err != nil {
		return driftline.Erasure{}, err
	}
	return run.finish(ctx)
}

// The steps of an erasure between which tests crash.
const (
	stepErasureNoted   = "erasure noted"
	stepViewLocked     = "view locked"
	stepViewsErased    = "views erased"
	stepDatasetsErased = "datasets erased"

	stepProfilesForgotten = "profiles forgotten"
	stepResultsForgotten  = "results forgotten"
	stepFindingsForgotten = "findings forgotten"
)

// target is the thing to erase.
type target struct {
	engine *Engine
	entity driftline.EntityName
	keys   []driftline.Field
	values []arrow.Array // one row per key
	text   []string
}

// newTarget reads the values of an entity's join keys.
func (e *Engine) newTarget(entity *driftline.Entity, given map[string]string) (*target, error) {
	t := &target{engine: e, entity: entity.Name, keys: entity.JoinKeys}
	for name := range given {
		if !slices.ContainsFunc(entity.JoinKeys, func(k driftline.Field) bool { return k.Name == name }) {
			return nil, driftline.Errorf(driftline.Invalid, "entity %q has no join key %.80q", entity.Name, name).
				WithRef(driftline.EntityRef(entity.Name)).WithHint("its join keys: %v", (&driftline.FeatureView{JoinKeys: entity.JoinKeys}).KeyNames())
		}
	}
	for _, k := range entity.JoinKeys {
		text, ok := given[k.Name]
		if !ok {
			return nil, driftline.Errorf(driftline.Invalid, "entity %q: the value of join key %q is missing", entity.Name, k.Name).
				WithRef(driftline.EntityRef(entity.Name)).WithHint("name every join key, so that no more is erased than is meant")
		}
		value, err := parseKey(k.Type, text)
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "entity %q: join key %q is not a valid %s", entity.Name, k.Name, k.Type).
				WithRef(driftline.EntityRef(entity.Name)).WithHint("times are written in RFC 3339, bytes in base64")
		}
		t.values, t.text = append(t.values, value), append(t.text, text)
	}
	return t, nil
}

// parseKey makes an array of one value. It is small and left to the garbage collector.
func parseKey(typ driftline.Type, text string) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, typ.Arrow())
	defer b.Release()
	var err error
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(text)
	case *array.BinaryBuilder:
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(text)
		b.Append(raw)
	case *array.TimestampBuilder:
		var at time.Time
		at, err = time.Parse(time.RFC3339Nano, text)
		b.Append(arrow.Timestamp(at.UnixMicro()))
	case *array.BooleanBuilder:
		var v bool
		v, err = strconv.ParseBool(text)
		b.Append(v)
	default:
		err = b.AppendValueFromString(text)
	}
	if err != nil {
		return nil, err
	}
	return b.NewArray(), nil
}

// salted names the target to whoever knows it already, and to nobody else who cannot guess it.
func (t *target) salted() string {
	salt := rand.Text()
	hash := sha256.New()
	fmt.Fprintf(hash, "%s", salt)
	for _, text := range t.text {
		fmt.Fprintf(hash, "\x00%d\x00%s", len(text), text)
	}
	return salt + ":" + hex.EncodeToString(hash.Sum(nil))
}

// isIn reports whether the view's rows are about the target, maybe among others. Join
// keys of the same name do not make it so: drivers and customers may both have an id.
func (t *target) isIn(view *driftline.FeatureView) bool {
	return slices.Contains(view.Entities, t.entity)
}

// matches says which rows of batch are the target's. columns are the places of the
// target's keys in it.
func (t *target) matches(ctx context.Context, batch arrow.RecordBatch, columns []int) ([]bool, error) {
	same := make([]bool, batch.NumRows())
	for i, at := range columns {
		key, err := castColumn(ctx, batch.Column(at), t.keys[i].Type.Arrow(), t.engine.mem)
		if err != nil {
			return nil, err
		}
		for row := range same {
			same[row] = (i == 0 || same[row]) && array.SliceEqual(key, int64(row), int64(row)+1, t.values[i], 0, 1)
		}
		key.Release()
	}
	return same, nil
}

// placesIn returns the places of the target's keys in a schema that has them all.
func (t *target) placesIn(schema *arrow.Schema) []int {
	places := make([]int, len(t.keys))
	for i, k := range t.keys {
		places[i] = schema.FieldIndices(k.Name)[0]
	}
	return places
}

// erasing is one erasure under way.
type erasing struct {
	engine  *Engine
	target  *target
	key     []byte // of the note
	note    erasureNote
	outcome driftline.Erasure

	snapshots []offline.Snapshot  // new ones, for the ledger
	amended   []driftline.Dataset // datasets without the rows
}

// view erases from the log, the files and the online rows of one view what the finder finds.
func (r *erasing) view(ctx context.Context, view *driftline.FeatureView, f finder) error {
	e, table := r.engine, viewTable(view.Name)
	if err := e.flush(ctx, view); err != nil {
		return err
	}
	defer e.tables.lock(table.String())()
	if err := e.reached(stepViewLocked); err != nil {
		return err
	}
	if r.target.isIn(view) {
		if err := r.onlineOnly(ctx, view); err != nil {
			return err
		}
	}
	snapshots, err := e.offline.Snapshots(ctx, table)
	if err != nil || len(snapshots) == 0 {
		return err
	}
	current := snapshots[len(snapshots)-1]
	hit := map[string]bool{} // hash → whether the file has the target's rows
	next, err := r.rewrite(ctx, view, f, current, hit)
	if err != nil {
		return err
	}
	// A row that was written meanwhile is in the log and stays: its online row may be
	// among those that were removed.
	written, err := e.storedEntries(view.Name)
	if err != nil {
		return err
	}
	if err := e.mergeOnline(view, e.served(ctx, view, e.rowsOfEntries(ctx, view, written))); err != nil {
		return err
	}
	if err := e.addLogToHistory(ctx, view, written); err != nil {
		return err
	}
	if err := r.look(ctx, f, snapshots, hit); err != nil {
		return err
	}
	return r.giveUp(ctx, table, hit, next)
}

// rewrites writes down that rows of a table are about to go.
func (r *erasing) rewrites(table driftline.Ref) error {
	if slices.Contains(r.note.Rewritten, table) {
		return nil
	}
	r.note.Rewritten = append(r.note.Rewritten, table)
	return r.engine.noteErasure(r.key, r.note)
}

// rewrite replaces the files of the current snapshot that have the target's rows by
// files without them, and removes the online rows of all entities that those were of.
func (r *erasing) rewrite(ctx context.Context, view *driftline.FeatureView, find finder, current offline.Snapshot, hit map[string]bool) (offline.Snapshot, error) {
	e := r.engine
	done := driftline.ErasedTable{Table: current.Table.String()}
	online := onlineErasure{view: view, seen: map[string]bool{}}
	var old, staged []offline.File
	for _, f := range current.Files {
		files, rows, err := e.offline.Erase(ctx, f, orderOf(view), find.columns, func(shown arrow.RecordBatch) ([]bool, error) {
			theirs, err := find.matches(ctx, shown)
			if err != nil {
				return nil, err
			}
			return theirs, online.remove(e, shown, find.keys, theirs)
		})
		if err != nil {
			return current, errors.Join(err, e.offline.Discard(staged))
		}
		if hit[f.Hash] = rows > 0; rows > 0 {
			old, staged, done.Rows = append(old, f), append(staged, files...), done.Rows+rows
		}
	}
	if len(old) == 0 {
		return current, nil
	}
	if err := r.rewrites(driftline.ViewRef(view.Name)); err != nil {
		return current, errors.Join(err, e.offline.Discard(staged))
	}
	next, err := e.offline.ReplaceFiles(ctx, current.Table, old, staged, map[string]string{summaryCause: causeErasure})
	if err != nil {
		if next, err = e.replacedAnyway(ctx, old, staged, err); err != nil {
			return current, err
		}
	}
	e.heads.committed(view.Name, next, nil)
	done.Snapshot, done.Rewritten = next.ID, len(old)
	r.outcome.Tables = append(r.outcome.Tables, done)
	r.outcome.Online += len(online.seen)
	added := next
	added.Files = staged // the ledger keeps what a snapshot added
	r.snapshots = append(r.snapshots, added)
	return next, nil
}

// replacedAnyway finds out what became of a [offline.Store.ReplaceFiles] that failed with
// err. It may have taken effect all the same: then the staged files are the table's, and
// its newest snapshot is returned. If not, they are removed.
func (e *Engine) replacedAnyway(ctx context.Context, old, staged []offline.File, err error) (offline.Snapshot, error) {
	now, _, lookErr := e.offline.Current(ctx, old[0].Table)
	if lookErr != nil {
		return now, errors.Join(err, lookErr) // the staged files stay: the table may have them
	}
	if slices.ContainsFunc(now.Files, func(f offline.File) bool { return f.Hash == old[0].Hash }) {
		return now, errors.Join(err, e.offline.Discard(staged))
	}
	return now, nil
}

// onlineErasure takes entities out of the online store, each once.
type onlineErasure struct {
	view *driftline.FeatureView
	seen map[string]bool // entities, by their keys
}

// remove takes out the entities of some rows, whose first columns are the view's keys.
func (o *onlineErasure) remove(e *Engine, rows arrow.RecordBatch, keys int, theirs []bool) error {
	b := e.kv.NewBatch()
	defer b.Close()
	for row, erase := range theirs {
		if !erase {
			continue
		}
		one := rows.NewSlice(int64(row), int64(row)+1)
		name := ""
		for _, key := range one.Columns()[:keys] {
			name += strconv.Quote(key.ValueStr(0))
		}
		if !o.seen[name] {
			o.seen[name] = true
			e.online.Delete(b, o.view, one.Columns()[:keys], 1)
		}
		one.Release()
	}
	return b.Commit()
}

// onlineOnly removes the target's rows that were written to the online store only, which
// no file leads to.
func (r *erasing) onlineOnly(ctx context.Context, view *driftline.FeatureView) error {
	e := r.engine
	if e.registry.Ingests(view.Name).OnlineOnly == 0 {
		return nil
	}
	online := onlineErasure{view: view, seen: map[string]bool{}}
	for keys, err := range e.online.OnlineOnly(e.mem, view) {
		if err != nil {
			return err
		}
		theirs, err := r.target.matches(ctx, keys, r.target.placesIn(keys.Schema()))
		if err != nil {
			return err
		}
		if err := online.remove(e, keys, int(keys.NumCols()), theirs); err != nil {
			return err
		}
	}
	r.outcome.Online += len(online.seen)
	return nil
}

// look finds the files of older snapshots that have the target's rows.
func (r *erasing) look(ctx context.Context, find finder, snapshots []offline.Snapshot, hit map[string]bool) error {
	for _, s := range snapshots {
		for _, f := range s.Files {
			if _, known := hit[f.Hash]; known {
				continue
			}
			part := s
			part.Files = []offline.File{f}
			has, err := r.hasRows(ctx, part, find)
			if err != nil {
				return err
			}
			hit[f.Hash] = has
		}
	}
	return nil
}

// has reports whether a snapshot has the target's keys in the columns of those names.
func (r *erasing) has(ctx context.Context, part offline.Snapshot, names []string) (bool, error) {
	columns := make([]int, len(names))
	for i := range names {
		columns[i] = i
	}
	for batch, err := range r.engine.offline.Read(ctx, part, names).All {
		if err != nil {
			return false, err
		}
		theirs, err := r.target.matches(ctx, batch, columns)
		if err != nil || slices.Contains(theirs, true) {
			return true, err
		}
	}
	return false, nil
}

// giveUp removes the snapshots, and with them the files, that have the target's rows.
func (r *erasing) giveUp(ctx context.Context, table offline.TableID, hit map[string]bool, current offline.Snapshot) error {
	clean := func(s offline.Snapshot) bool {
		return s.ID == current.ID || !slices.ContainsFunc(s.Files, func(f offline.File) bool { return hit[f.Hash] })
	}
	snapshots, err := r.engine.offline.Snapshots(ctx, table)
	if err != nil {
		return err
	}
	tags, err := r.engine.offline.Tags(ctx, table)
	if err != nil {
		return err
	}
	for name, id := range tags {
		at := slices.IndexFunc(snapshots, func(s offline.Snapshot) bool { return s.ID == id })
		if at >= 0 && !clean(snapshots[at]) {
			if err := r.engine.offline.Untag(ctx, table, name); err != nil {
				return err
			}
		}
	}
	expired, err := r.engine.offline.Expire(ctx, table, clean)
	r.outcome.Snapshots += len(expired.Snapshots)
	return err
}

// dataset erases from one version of a dataset, in whichever columns the target's keys are.
func (r *erasing) dataset(ctx context.Context, d *driftline.Dataset) error {
	e, table := r.engine, datasetTable(d.Name, d.Version)
	defer e.tables.lock("datasets." + string(d.Name))()
	snapshot, err := e.datasetSnapshot(ctx, d)
	if err != nil {
		return err
	}
	places, err := r.placesIn(ctx, d, snapshot)
	if err != nil || len(places) == 0 {
		return err
	}
	if err := r.rewrites(d.Ref()); err != nil {
		return err
	}
	// Not the dataset's own, if this erasure was here before a crash.
	current, _, err := e.offline.Current(ctx, table)
	if err != nil {
		return err
	}
	gone := int64(0)
	rows := r.others(ctx, e.offline.Read(ctx, snapshot, nil), places, &gone)
	stored, err := e.fillTable(ctx, table, rows, func(files []offline.File) (offline.Snapshot, error) {
		return e.offline.ReplaceFiles(ctx, table, current.Files, files, map[string]string{summaryCause: causeErasure})
	})
	if err != nil {
		return err
	}
	r.amend(d, stored)
	r.outcome.Tables = append(r.outcome.Tables, driftline.ErasedTable{
		Table: table.String(), Rows: gone, Rewritten: len(snapshot.Files), Snapshot: stored.snapshot.ID,
	})
	r.outcome.Datasets = append(r.outcome.Datasets, d.Ref())
	return nil
}

// others yields the rows that are not the target's by the keys in any of the places,
// and counts those that are.
func (r *erasing) others(ctx context.Context, rows driftline.Batches, places [][]int, gone *int64) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			var rest arrow.RecordBatch
			if err == nil {
				rest, err = r.restOf(ctx, batch, places)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			*gone += batch.NumRows() - rest.NumRows()
			more := rest.NumRows() == 0 || yield(rest, nil)
			rest.Release()
			if !more {
				return
			}
		}
	}}
}

// restOf returns the rows of batch that are not the target's. The caller releases them.
func (r *erasing) restOf(ctx context.Context, batch arrow.RecordBatch, places [][]int) (arrow.RecordBatch, error) {
	theirs := make([]bool, batch.NumRows())
	for _, columns := range places {
		some, err := r.target.matches(ctx, batch, columns)
		if err != nil {
			return nil, err
		}
		for row := range theirs {
			theirs[row] = theirs[row] || some[row]
		}
	}
	var rest []int64
	for row, erase := range theirs {
		if !erase {
			rest = append(rest, int64(row))
		}
	}
	return takeRows(ctx, r.engine.mem, batch, rest)
}

// placesIn returns where the target's keys are in a dataset: the columns that the
// request took the keys of the target's views from.
func (r *erasing) placesIn(ctx context.Context, d *driftline.Dataset, snapshot offline.Snapshot) (places [][]int, err error) {
	var nameOf []func(key string) string
	for _, p := range d.Projections {
		at := slices.IndexFunc(d.Views, func(v driftline.FeatureView) bool { return v.Name == p.View })
		if at >= 0 && r.target.isIn(&d.Views[at]) {
			nameOf = append(nameOf, p.KeyColumn)
		}
	}
	for _, name := range nameOf {
		columns, names := r.columnsNamed(snapshot.Schema, name)
		known := slices.ContainsFunc(places, func(place []int) bool { return slices.Equal(place, columns) })
		if columns == nil || known {
			continue
		}
		has, err := r.has(ctx, snapshot, names)
		if err != nil {
			return nil, err
		}
		if has {
			places = append(places, columns)
		}
	}
	return places, nil
}

// columnsNamed returns the columns that a schema has for the target's keys; nil if it
// does not have all of them.
func (r *erasing) columnsNamed(schema *arrow.Schema, name func(key string) string) (columns []int, names []string) {
	for _, k := range r.target.keys {
		at := schema.FieldIndices(name(k.Name))
		if len(at) == 0 || !fits(k.Type.Arrow(), schema.Field(at[0]).Type) {
			return nil, nil
		}
		columns, names = append(columns, at[0]), append(names, name(k.Name))
	}
	return columns, names
}

// amend remembers what a dataset is without the target's rows.
func (r *erasing) amend(d *driftline.Dataset, stored storedTable) {
	d.Snapshot, d.ContentHash, d.Statistics = stored.snapshot.ID, stored.content, stored.statistics
	d.Erased = true
	d.Report.Rows = stored.snapshot.Rows
	for i, c := range d.Report.Columns {
		for _, s := range stored.statistics {
			if s.Column == c.Column {
				d.Report.Columns[i].Nulls = s.Nulls
			}
		}
	}
	d.Request.Split = countParts(d.Request.Split, stored.parts)
	r.amended = append(r.amended, *d)
	r.snapshots = append(r.snapshots, stored.snapshot)
}

// finish writes the ledger lines, gives up the old rows of the datasets, and clears
// what was deleted from the disk.
func (r *erasing) finish(ctx context.Context) (driftline.Erasure, error) {
	e := r.engine
	outcome, err := r.record()
	if err != nil {
		return outcome, err
	}
	for _, d := range r.amended {
		newest := func(s offline.Snapshot) bool { return s.ID == d.Snapshot }
		if _, err := e.offline.Expire(ctx, datasetTable(d.Name, d.Version), newest); err != nil {
			return outcome, err
		}
	}
	return outcome, e.kv.Forget(ctx, []byte{kv.OnlineRows}, []byte{kv.HistoryRows}, []byte{kv.HistoryTiles}, []byte{kv.IngestLog}, []byte{kv.DatasetStatistics}, []byte{kv.Profiles},
		[]byte{kv.MonitorPanes}, []byte{kv.DriftResults}, []byte{kv.Outbox}, []byte{kv.Erasures})
}

func (r *erasing) record() (driftline.Erasure, error) {
	tx := r.engine.registry.Begin()
	defer tx.Discard()
	tx.Batch().Delete(r.key)
	for _, s := range r.snapshots {
		if err := tx.AddSnapshot(snapshotRecord(s, s.Files)); err != nil {
			return r.outcome, err
		}
	}
	outcome, err := tx.AddErasure(r.outcome, r.amended)
	if err != nil {
		return outcome, err
	}
	return outcome, tx.Commit()
}
