package offline

import (
	"cmp"
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
)

const (
	// mergeWidth is how many sequences of files are merged at a time: one batch of each
	// is in memory. More are merged in rounds.
	mergeWidth = 16

	// mergeRuns is how many sorted runs of alike size are worth merging: fewer, and rows
	// are rewritten too often; more, and a reader has too many files to look into.
	mergeRuns = 4

	// A file of half the greatest size is left alone if no other overlaps with it.
	fullRows  = rowsPerFile / 2
	fullBytes = bytesPerFile / 4 // as Parquet
)

// FileRange is a file and the bounds of the columns that it is sorted by.
type FileRange struct {
	File
	Low, High []any // by column; nil before all values, as null is
	Unknown   bool  // the bounds are not known
}

// Ranges returns the files of a snapshot with the bounds of the order's columns, from
// the manifests alone.
func (s *Store) Ranges(ctx context.Context, snapshot Snapshot, order Order) ([]FileRange, error) {
	t, err := s.load(ctx, snapshot.Table)
	if err != nil {
		return nil, err
	}
	from := t.SnapshotByID(int64(snapshot.ID))
	if from == nil {
		return nil, unknownSnapshot(snapshot.Table, snapshot.ID)
	}
	entries, err := s.entriesOf(ctx, snapshot.Table, from)
	if err != nil {
		return nil, s.unlisted(ctx, snapshot.Table, from, err)
	}
	_, stored, err := snapshot.project(order.columns())
	if err != nil {
		return nil, err
	}
	ranges := make([]FileRange, len(entries))
	for i, e := range entries {
		ranges[i] = e.rangeOf(stored)
	}
	return ranges, nil
}

func (f listedFile) rangeOf(columns *arrow.Schema) FileRange {
	r := FileRange{File: f.file}
	for _, column := range columns.Fields() {
		id, _ := fieldID(column)
		low, high, known := f.bounds(id, column.Type)
		if f.data.NullValueCounts()[id] > 0 {
			low = nil
		}
		r.Low, r.High = append(r.Low, low), append(r.High, high)
		r.Unknown = r.Unknown || !known
	}
	return r
}

// before reports whether all rows of r come before all rows of other.
func (r FileRange) before(other FileRange) bool {
	if r.Unknown || other.Unknown {
		return false
	}
	for i := range r.High {
		if _, float := r.High[i].(float64); float {
			return false // NaN comes after every bound
		}
		if c := compareNullable(r.High[i], other.Low[i]); c != 0 {
			return c < 0
		}
		if compareNullable(r.Low[i], r.High[i]) != 0 || compareNullable(other.Low[i], other.High[i]) != 0 {
			return false // they share a value, with whatever comes after it
		}
	}
	return false
}

// meets reports whether other begins where r ends, with one value of the first column
// in both. A run of one key that goes on in the next file looks like this.
func (r FileRange) meets(other FileRange) bool {
	return !r.Unknown && !other.Unknown && len(r.High) > 0 &&
		compareNullable(r.High[0], other.Low[0]) == 0 &&
		(compareNullable(r.Low[0], r.High[0]) < 0 || compareNullable(other.Low[0], other.High[0]) < 0)
}

func (r FileRange) overlaps(other FileRange) bool {
	return !r.before(other) && !other.before(r) && !r.meets(other) && !other.meets(r)
}

func (r FileRange) full() bool { return r.Rows >= fullRows || r.Bytes >= fullBytes }

func compareNullable(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return compareBounds(a, b)
}

// CompactionPlan says which files are worth merging: each group is to be given to
// [Store.Compact] and replaced by what it returns. It is empty if the table is well as
// it is.
//
// Files that do not overlap form a sorted run, and readers pay for each run. The
// smallest runs are merged once there are mergeRuns of them and the largest of them has
// no more rows than the others together, so that a row is rewritten a number of times
// that grows with the logarithm of the table. Full files that overlap with nothing
// that is merged stay. Neighbours in a run that are small are merged into fewer.
func CompactionPlan(files []FileRange) (groups [][]File) {
	runs := sortedRuns(files, func(a, b FileRange) bool { return a.before(b) || a.meets(b) })
	if merge := filesToMerge(runs); len(merge) > 0 {
		return [][]File{merge}
	}
	for _, run := range runs {
		groups = append(groups, smallNeighbours(run)...)
	}
	return groups
}

// Sequences puts files into as few sequences as it takes for the rows of each to be in order,
// one file after the other: whoever merges them holds a part of each.
func Sequences(files []FileRange) (sequences [][]File) {
	for _, run := range sortedRuns(files, FileRange.before) {
		sequence := make([]File, len(run))
		for i, r := range run {
			sequence[i] = r.File
		}
		sequences = append(sequences, sequence)
	}
	return sequences
}

// sortedRuns puts files into as few runs as it takes for each to be in order.
func sortedRuns(files []FileRange, follows func(a, b FileRange) bool) (runs [][]FileRange) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b FileRange) int {
		if a.Unknown || b.Unknown {
			return cmp.Compare(bit(a.Unknown), bit(b.Unknown))
		}
		return slices.CompareFunc(a.Low, b.Low, compareNullable)
	})
files:
	for _, f := range files {
		for i, run := range runs {
			if follows(run[len(run)-1], f) {
				runs[i] = append(run, f)
				continue files
			}
		}
		runs = append(runs, []FileRange{f})
	}
	return runs
}

func filesToMerge(runs [][]FileRange) []File {
	runs = slices.Clone(runs)
	slices.SortStableFunc(runs, func(a, b []FileRange) int { return cmp.Compare(rowsOfRun(a), rowsOfRun(b)) })
	worth, rows := 0, int64(0)
	for i, run := range runs {
		if i+1 >= mergeRuns && rowsOfRun(run) <= rows {
			worth = i + 1
		}
		rows += rowsOfRun(run)
	}
	chosen := slices.Concat(runs[:worth]...)
	var merge []File
	for i, f := range chosen {
		alone := !slices.ContainsFunc(slices.Concat(chosen[:i], chosen[i+1:]), f.overlaps)
		if !alone || !f.full() {
			merge = append(merge, f.File)
		}
	}
	return merge
}

func rowsOfRun(run []FileRange) (rows int64) {
	for _, f := range run {
		rows += f.Rows
	}
	return rows
}

// smallNeighbours returns stretches of at least mergeRuns files that are not full.
func smallNeighbours(run []FileRange) (groups [][]File) {
	var stretch []File
	for i, f := range run {
		if !f.full() {
			stretch = append(stretch, f.File)
		}
		if f.full() || i == len(run)-1 {
			if len(stretch) >= mergeRuns {
				groups = append(groups, stretch)
			}
			stretch = nil
		}
	}
	return groups
}

// Compact merges files of a table, each of which is in the given order, into new ones
// that are in order as a whole and do not overlap. The new files are staged: give them
// to [Store.ReplaceFiles] or to [Store.Discard]. Their rows have the table's present
// columns. Memory is bounded by one batch for each of mergeWidth inputs and what
// [Store.Stage] holds; what is read and written a second by pace, which may be nil.
func (s *Store) Compact(ctx context.Context, id TableID, files []File, order Order, pace *Pace) ([]File, error) {
	if len(files) == 0 {
		return nil, nil
	}
	c, err := s.newCompaction(ctx, id, order)
	if err != nil {
		return nil, err
	}
	c.pace = pace
	defer s.Hold(Snapshot{Files: files})()
	sequences, err := c.sequences(ctx, files)
	if err != nil {
		return nil, err
	}
	return c.merge(ctx, sequences)
}

// compaction is one call of Compact.
type compaction struct {
	store         *Store
	table         TableID
	plain, stored *arrow.Schema
	order         Order
	pace          *Pace
}

func (s *Store) newCompaction(ctx context.Context, id TableID, order Order) (*compaction, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &compaction{store: s, table: id, order: order}
	if c.plain, err = arrowSchema(t.Schema(), false); err != nil {
		return nil, s.damaged(id, err)
	}
	if c.stored, err = arrowSchema(t.Schema(), true); err != nil {
		return nil, s.damaged(id, err)
	}
	if len(order.columns()) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "table %s: files cannot be merged without an order", id)
	}
	for _, name := range order.columns() {
		if !c.plain.HasField(name) {
			return nil, driftline.Unknown("column", name, names(c.plain))
		}
	}
	return c, nil
}

// sequences puts files that follow each other into one sequence, where the manifests
// say so.
func (c *compaction) sequences(ctx context.Context, files []File) ([]sequence, error) {
	known := map[string]FileRange{}
	current, ok, err := c.store.Current(ctx, c.table)
	if err != nil {
		return nil, err
	}
	if ok && current.Schema.Equal(c.plain) {
		ranges, err := c.store.Ranges(ctx, current, c.order)
		if err != nil && driftline.CodeOf(err) != driftline.NotFound { // it expired since
			return nil, err
		}
		for _, r := range ranges {
			known[r.Hash] = r
		}
	}
	ranks := map[string]int{}
	var ranges []FileRange
	for rank, f := range files {
		r, ok := known[f.Hash]
		if !ok {
			r = FileRange{File: f, Unknown: true}
		}
		ranks[f.Hash] = rank
		ranges = append(ranges, r)
	}
	runs := sortedRuns(ranges, FileRange.before)
	if len(runs) > mergeWidth {
		// In rounds, equal rows stay in the order of their files only if the files do.
		runs = runs[:0]
		for _, r := range ranges {
			runs = append(runs, []FileRange{r})
		}
	}
	sequences := make([]sequence, len(runs))
	for i, run := range runs {
		for _, r := range run {
			sequences[i] = append(sequences[i], rankedFile{File: r.File, rank: ranks[r.Hash]})
		}
	}
	return sequences, nil
}

// merge merges sequences, in rounds if they are many.
func (c *compaction) merge(ctx context.Context, sequences []sequence) ([]File, error) {
	var between []File // made in the round before
	for len(sequences) > mergeWidth {
		var next []sequence
		var made []File
		for some := range slices.Chunk(sequences, mergeWidth) {
			files, err := c.stage(ctx, some)
			if err != nil {
				_ = c.store.Discard(slices.Concat(between, made))
				return nil, err
			}
			made = append(made, files...)
			merged := sequence{}
			for _, f := range files {
				merged = append(merged, rankedFile{File: f, rank: len(next)})
			}
			next = append(next, merged)
		}
		if err := c.store.Discard(between); err != nil {
			return nil, err
		}
		sequences, between = next, made
	}
	files, err := c.stage(ctx, sequences)
	if discarded := c.store.Discard(between); err == nil {
		err = discarded
	}
	return files, err
}

func (c *compaction) stage(ctx context.Context, sequences []sequence) ([]File, error) {
	return c.store.stage(ctx, c.table, c.merged(ctx, sequences), c.order, nil, c.pace)
}

// ReplaceFiles commits a snapshot in which added files stand for removed ones, and all
// others stay. If one of the removed is no longer there it is a Conflict, and nothing
// changes: somebody else replaced it. Otherwise it is as [Store.Commit].
//
// If the rows are not as many as before, some were erased. Then no metadata of the new
// snapshot says that the removed files ever were: the bounds of their columns would.
func (s *Store) ReplaceFiles(ctx context.Context, id TableID, removed, added []File, summary map[string]string) (Snapshot, error) {
	return s.replaceFiles(ctx, id, removed, added, summary, rowsOf(removed) != rowsOf(added))
}

// ReplaceErased is [Store.ReplaceFiles] for files of which values were erased, and no rows.
func (s *Store) ReplaceErased(ctx context.Context, id TableID, removed, added []File, summary map[string]string) (Snapshot, error) {
	return s.replaceFiles(ctx, id, removed, added, summary, true)
}

func (s *Store) replaceFiles(ctx context.Context, id TableID, removed, added []File, summary map[string]string, erased bool) (Snapshot, error) {
	if len(removed) == 0 {
		return s.Commit(ctx, id, added, summary)
	}
	if err := s.checkStaged(ctx, id, added); err != nil {
		return Snapshot{}, err
	}
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	if err := s.checkNew(ctx, id, t, added); err != nil {
		return Snapshot{}, err
	}
	gone, kept, err := s.listed(ctx, id, t, removed)
	if err != nil {
		return Snapshot{}, err
	}
	described, err := s.describe(t, added)
	if err != nil {
		return Snapshot{}, err
	}
	if len(added) == 0 || erased {
		return s.forgetting(ctx, id, t, kept, described, summary)
	}
	tx := t.NewTransaction()
	// A rewrite of the same rows, which who follows the table's changes need not read.
	swap := table.CompactionGroupResult{OldDataFiles: gone, NewDataFiles: described}
	if err := tx.NewRewrite(s.properties(summary)).ApplyResult(swap).Commit(ctx); err != nil {
		return Snapshot{}, failure("commit to table "+id.String(), err)
	}
	t, err = tx.Commit(ctx)
	if err != nil {
		s.warehouse.forget(id)
		return Snapshot{}, failure("commit to table "+id.String(), err)
	}
	return s.snapshot(ctx, id, t, t.CurrentSnapshot())
}

// listed tells the entries of files of the current snapshot from those of all others.
func (s *Store) listed(ctx context.Context, id TableID, t *table.Table, files []File) (found []iceberg.DataFile, others []listedFile, err error) {
	wanted := make(map[string]bool, len(files))
	for _, f := range files {
		wanted[f.Hash] = true
	}
	if len(wanted) != len(files) {
		return nil, nil, driftline.Errorf(driftline.Invalid, "a file of table %s is to be replaced twice", id)
	}
	if current := t.CurrentSnapshot(); current != nil {
		entries, err := s.entriesOf(ctx, id, current)
		if err != nil {
			return nil, nil, s.damaged(id, err)
		}
		for _, e := range entries {
			if !wanted[e.file.Hash] {
				others = append(others, e)
				continue
			}
			found = append(found, e.data)
			delete(wanted, e.file.Hash)
		}
	}
	for _, f := range files {
		if wanted[f.Hash] {
			return nil, nil, driftline.Errorf(driftline.Conflict, "file %s is no longer in table %s", f.Hash, id).
				WithHint("begin again with the current snapshot")
		}
	}
	return found, others, nil
}
