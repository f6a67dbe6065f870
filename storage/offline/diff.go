package offline

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
)

// Diff is what changed from one snapshot of a table to another.
type Diff struct {
	From, To     Snapshot
	RowsAdded    int64 // compaction adds none and removes none, if its snapshots have not expired
	RowsRemoved  int64
	FilesAdded   []File
	FilesRemoved []File
	Schema       []string // for people: "+ gust float64", "temp: float32 → float64"

	added []listedFile // those of RowsAdded
}

// Diff compares two snapshots of a table, in either order of time.
func (s *Store) Diff(ctx context.Context, id TableID, from, to driftline.SnapshotID) (Diff, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return Diff{}, err
	}
	var sides [2]Snapshot
	for i, side := range []driftline.SnapshotID{from, to} {
		found := t.SnapshotByID(int64(side))
		if found == nil {
			return Diff{}, unknownSnapshot(id, side)
		}
		if sides[i], err = s.snapshot(ctx, id, t, found); err != nil {
			return Diff{}, err
		}
	}
	d := Diff{
		From:         sides[0],
		To:           sides[1],
		FilesAdded:   without(sides[1].Files, sides[0].Files),
		FilesRemoved: without(sides[0].Files, sides[1].Files),
		Schema:       schemaChanges(sides[0].stored, sides[1].stored),
	}
	return d, s.countRows(ctx, id, t, &d)
}

// countRows tells rows that came from rows that were only moved between files. It can
// if nothing but appends and compactions lies between the snapshots; otherwise the rows
// of files that are in one snapshot only count as added or removed.
func (s *Store) countRows(ctx context.Context, id TableID, t *table.Table, d *Diff) error {
	steps, ok := appendsBetween(t, int64(d.From.ID), int64(d.To.ID))
	if !ok {
		d.RowsRemoved = rowsOf(d.FilesRemoved)
		steps = []step{{from: t.SnapshotByID(int64(d.From.ID)), to: t.SnapshotByID(int64(d.To.ID))}}
	}
	for _, step := range steps {
		added, err := s.filesAdded(ctx, id, step)
		if err != nil {
			return err
		}
		d.added = append(d.added, added...)
	}
	for _, f := range d.added {
		d.RowsAdded += f.file.Rows
	}
	return nil
}

// step is from one snapshot to the next; from is nil before the first.
type step struct{ from, to *table.Snapshot }

// appendsBetween returns the appends after one snapshot up to another, newest first;
// false if there is a step of another kind, or the one does not follow from the other.
func appendsBetween(t *table.Table, from, to int64) (appends []step, ok bool) {
	at := t.SnapshotByID(to)
	for at != nil && at.SnapshotID != from {
		if at.ParentSnapshotID == nil || at.Summary == nil {
			return nil, false
		}
		parent := t.SnapshotByID(*at.ParentSnapshotID)
		switch at.Summary.Operation {
		case table.OpAppend:
			appends = append(appends, step{from: parent, to: at})
		case table.OpReplace: // the same rows in other files
		default:
			return nil, false
		}
		at = parent
	}
	return appends, at != nil
}

// filesAdded returns the files that step.to has and step.from has not.
func (s *Store) filesAdded(ctx context.Context, id TableID, step step) ([]listedFile, error) {
	had := map[string]bool{}
	if step.from != nil {
		entries, err := s.entriesOf(ctx, id, step.from)
		if err != nil {
			return nil, s.unlisted(ctx, id, step.from, err)
		}
		for _, e := range entries {
			had[e.file.Hash] = true
		}
	}
	entries, err := s.entriesOf(ctx, id, step.to)
	if err != nil {
		return nil, s.unlisted(ctx, id, step.to, err)
	}
	var added []listedFile
	for _, e := range entries {
		if !had[e.file.Hash] {
			added = append(added, e)
		}
	}
	return added, nil
}

// without returns the files that are not among others.
func without(files, others []File) []File {
	other := make(map[string]bool, len(others))
	for _, f := range others {
		other[f.Hash] = true
	}
	var rest []File
	for _, f := range files {
		if !other[f.Hash] {
			rest = append(rest, f)
		}
	}
	return rest
}

func rowsOf(files []File) (rows int64) {
	for _, f := range files {
		rows += f.Rows
	}
	return rows
}

// schemaChanges says for people what became of the columns, which are told apart by id.
func schemaChanges(from, to *arrow.Schema) (changes []string) {
	was := map[int]arrow.Field{}
	for _, f := range from.Fields() {
		id, _ := fieldID(f)
		was[id] = f
	}
	for _, f := range to.Fields() {
		id, _ := fieldID(f)
		before, ok := was[id]
		if !ok {
			changes = append(changes, fmt.Sprintf("+ %s %s", f.Name, f.Type))
			continue
		}
		delete(was, id)
		if before.Name != f.Name {
			changes = append(changes, fmt.Sprintf("%s → %s", before.Name, f.Name))
		}
		if !arrow.TypeEqual(before.Type, f.Type) {
			changes = append(changes, fmt.Sprintf("%s: %s → %s", f.Name, before.Type, f.Type))
		}
	}
	for _, f := range from.Fields() {
		id, _ := fieldID(f)
		if _, dropped := was[id]; dropped {
			changes = append(changes, fmt.Sprintf("- %s %s", f.Name, f.Type))
		}
	}
	return changes
}

// Bounds returns values between which a column of the rows added lies, without reading
// a data file: int64, float64, bool, string, []byte, or time.Time for dates and times.
// Strings and bytes may be cut to a prefix, the upper one then rounded up. ok is false
// if no row was added that has a value, or the type has no bounds.
func (d Diff) Bounds(column string) (low, high any, ok bool) {
	at := d.To.stored.FieldIndices(column)
	if len(at) == 0 {
		return nil, nil, false
	}
	field := d.To.stored.Field(at[0])
	id, _ := fieldID(field)
	for _, f := range d.added {
		least, greatest, known := f.bounds(id, field.Type)
		if !known {
			return nil, nil, false
		}
		if least == nil {
			continue
		}
		if !ok || compareBounds(least, low) < 0 {
			low = least
		}
		if !ok || compareBounds(greatest, high) > 0 {
			high = greatest
		}
		ok = true
	}
	return low, high, ok
}

// bounds returns the bounds of a column in a file, nil if it has no value there, and
// false if there are values and their bounds are not known.
func (f listedFile) bounds(id int, typ arrow.DataType) (low, high any, known bool) {
	lower, upper := f.data.LowerBoundValues()[id], f.data.UpperBoundValues()[id]
	if lower == nil || upper == nil {
		values, ok := f.data.ValueCounts()[id]
		return nil, nil, !ok || values == f.data.NullValueCounts()[id]
	}
	low, high = boundOf(typ, lower), boundOf(typ, upper)
	return low, high, low != nil && high != nil
}

// boundOf decodes a bound; nil if its type has none. A column that was widened has
// bounds of its narrower type in older manifests.
func boundOf(typ arrow.DataType, bound []byte) any {
	var as iceberg.Type
	switch typ.ID() {
	case arrow.INT32, arrow.INT64:
		as = iceberg.PrimitiveTypes.Int64
		if len(bound) == 4 {
			as = iceberg.PrimitiveTypes.Int32
		}
	case arrow.FLOAT32, arrow.FLOAT64:
		as = iceberg.PrimitiveTypes.Float64
		if len(bound) == 4 {
			as = iceberg.PrimitiveTypes.Float32
		}
	case arrow.TIMESTAMP:
		as = iceberg.PrimitiveTypes.TimestampTz
	case arrow.DATE32:
		as = iceberg.PrimitiveTypes.Date
	case arrow.STRING:
		as = iceberg.PrimitiveTypes.String
	case arrow.BOOL:
		as = iceberg.PrimitiveTypes.Bool
	case arrow.BINARY, arrow.FIXED_SIZE_BINARY:
		return bytes.Clone(bound)
	default:
		return nil
	}
	literal, err := iceberg.LiteralFromBytes(as, bound)
	if err != nil {
		return nil
	}
	return plainValue(literal.Any())
}

func plainValue(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case float32:
		return float64(v)
	case iceberg.Timestamp:
		return time.UnixMicro(int64(v)).UTC()
	case iceberg.Date:
		return time.Unix(int64(v)*24*60*60, 0).UTC()
	}
	return v
}

// compareBounds compares two bounds of one column.
func compareBounds(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case string:
		return strings.Compare(a, b.(string))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case bool:
		return cmp.Compare(bit(a), bit(b.(bool)))
	}
	return 0
}
