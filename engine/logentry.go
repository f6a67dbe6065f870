package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// An entry of the ingest log is the rows that one group of writes added to a view:
//
//	┌────────┬──────────┬───────────┬─────────────────────────────┬─────────┐
//	│ "DLR1" │ layout   │ rows      │ rows, one behind the other  │ crc32c  │
//	│        │ u64      │ u32       │                             │ u32     │
//	└────────┴──────────┴───────────┴─────────────────────────────┴─────────┘
//
// Integers are little-endian; the crc is over all before it. The layout names the
// columns: its JSON is under 'j' ∥ id. A row is a bit per column, set where it is null
// (the low bit of the first byte is the first column), and then the values that are not
// null: fixed-width ones as they are in Arrow, a bool as one byte, strings and bytes
// behind their length as a uvarint. Row i has the write sequence first + i, where first
// is in the entry's key. Rows are encoded by their writers at the same time, and one of
// them only has to put them together.
//
// Entries written before this format are Arrow IPC streams, which begin with FF FF FF FF.
const (
	entryMagic   = "DLR1"
	entryHeader  = 4 + 8 + 4
	entryTrailer = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logLayout is the columns of log entries. It never changes.
type logLayout struct {
	id     uint64
	text   []byte // the JSON that is stored
	fields []logField
}

type logField struct {
	Name string         `json:"name"` // of a feature its identity, which it keeps when it is renamed
	Type driftline.Type `json:"type"`
}

// newLogLayout returns the layout of a view's rows as they are written now.
func newLogLayout(view *driftline.FeatureView) (*logLayout, error) {
	l := &logLayout{}
	schema := view.Schema()
	identities := identitiesOf(view, schema)
	for i, f := range schema.Fields() {
		t, ok := driftline.TypeOf(f.Type)
		if !ok {
			return nil, driftline.Errorf(driftline.Internal, "column %q has no type", f.Name)
		}
		l.fields = append(l.fields, logField{identities[i], t})
	}
	var err error
	if l.text, err = json.Marshal(l.fields); err != nil {
		return nil, err
	}
	l.id = layoutID(l.text)
	return l, nil
}

func layoutID(text []byte) uint64 {
	hash := sha256.Sum256(text)
	return binary.BigEndian.Uint64(hash[:])
}

// logLayouts are the layouts that are known to be stored. The zero value is ready.
type logLayouts struct{ stored sync.Map } // uint64 → *logLayout

// write adds l to b unless it is stored. Until a batch with it is committed every batch
// carries it: a row must not be there before its layout is.
func (s *logLayouts) write(b *kv.Batch, l *logLayout) {
	if _, ok := s.stored.Load(l.id); !ok {
		b.Set(logLayoutKey(l.id), l.text)
	}
}

// written notes that l is stored.
func (s *logLayouts) written(l *logLayout) { s.stored.LoadOrStore(l.id, l) }

func (s *logLayouts) find(db *kv.DB, id uint64) (*logLayout, error) {
	if l, ok := s.stored.Load(id); ok {
		return l.(*logLayout), nil
	}
	text, err := db.Get(logLayoutKey(id))
	if err != nil {
		return nil, err
	}
	l := &logLayout{id: id, text: text}
	if layoutID(text) != id || json.Unmarshal(text, &l.fields) != nil {
		return nil, damagedEntry("its layout is not the one that was written")
	}
	s.stored.Store(id, l)
	return l, nil
}

func logLayoutKey(id uint64) []byte { return kv.AppendUint64([]byte{kv.LogLayouts}, id) }

func damagedEntry(how string) error {
	return driftline.Errorf(driftline.DataLoss, "an entry of the ingest log is damaged: %s", how).
		WithHint("restore the data folder from a backup")
}

// usualValue is how many bytes a value takes, for a first guess.
const usualValue = 8

// appendRows adds the rows of b, which has the layout's columns, to an entry.
func (l *logLayout) appendRows(to []byte, b arrow.RecordBatch) ([]byte, error) {
	columns, before := b.Columns(), len(to)
	to = slices.Grow(to, usualValue*len(columns))
	for row := range int(b.NumRows()) {
		if row == 1 { // the others are about as long as the first
			to = slices.Grow(to, int(b.NumRows()-1)*(len(to)-before))
		}
		nulls := len(to)
		to = append(to, make([]byte, (len(columns)+7)/8)...)
		for i, column := range columns {
			if column.IsNull(row) {
				to[nulls+i/8] |= 1 << (i % 8)
				continue
			}
			var err error
			if to, err = appendLogValue(to, column, row); err != nil {
				return nil, err
			}
		}
	}
	return to, nil
}

func appendLogValue(to []byte, column arrow.Array, row int) ([]byte, error) {
	switch c := column.(type) {
	case *array.Boolean:
		if c.Value(row) {
			return append(to, 1), nil
		}
		return append(to, 0), nil
	case *array.Int32:
		return binary.LittleEndian.AppendUint32(to, uint32(c.Value(row))), nil
	case *array.Int64:
		return binary.LittleEndian.AppendUint64(to, uint64(c.Value(row))), nil
	case *array.Float32:
		return binary.LittleEndian.AppendUint32(to, math.Float32bits(c.Value(row))), nil
	case *array.Float64:
		return binary.LittleEndian.AppendUint64(to, math.Float64bits(c.Value(row))), nil
	case *array.Timestamp:
		return binary.LittleEndian.AppendUint64(to, uint64(c.Value(row))), nil
	case *array.String:
		to = binary.AppendUvarint(to, uint64(c.ValueLen(row)))
		return append(to, c.Value(row)...), nil
	case *array.Binary:
		to = binary.AppendUvarint(to, uint64(c.ValueLen(row)))
		return append(to, c.Value(row)...), nil
	}
	return nil, driftline.Errorf(driftline.Internal, "no log rows with values of type %s", column.DataType())
}

// newEntry begins an entry of so many rows, to which their bytes are then appended.
func (l *logLayout) newEntry(rows, size int) []byte {
	entry := make([]byte, 0, entryHeader+size+entryTrailer)
	entry = append(entry, entryMagic...)
	entry = binary.LittleEndian.AppendUint64(entry, l.id)
	return binary.LittleEndian.AppendUint32(entry, uint32(rows))
}

func sealEntry(entry []byte) []byte {
	return binary.LittleEndian.AppendUint32(entry, crc32.Checksum(entry, castagnoli))
}

// openEntry checks an entry of our own format and takes it apart.
func openEntry(raw []byte) (layout uint64, rows int, body []byte, err error) {
	if len(raw) < entryHeader+entryTrailer {
		return 0, 0, nil, damagedEntry("it is too short")
	}
	end := len(raw) - entryTrailer
	if crc32.Checksum(raw[:end], castagnoli) != binary.LittleEndian.Uint32(raw[end:]) {
		return 0, 0, nil, damagedEntry("its checksum does not match")
	}
	return binary.LittleEndian.Uint64(raw[4:]), int(binary.LittleEndian.Uint32(raw[12:])), raw[entryHeader:end], nil
}

func isOwnEntry(raw []byte) bool { return bytes.HasPrefix(raw, []byte(entryMagic)) }

// decodedRows is how many rows of the log a batch is made of.
const decodedRows = 8192

// rowsOfEntries yields the rows of log entries in the view's stored schema: features that
// were added since an entry was written are null in it.
func (e *Engine) rowsOfEntries(ctx context.Context, view *driftline.FeatureView, entries []logEntry) driftline.Batches {
	schema := view.StoredSchema()
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		d := entryDecoder{engine: e, view: view, ctx: ctx, builder: array.NewRecordBuilder(e.mem, schema), yield: yield, identities: identitiesOf(view, schema)}
		defer d.builder.Release()
		for i := range entries {
			err := context.Cause(ctx)
			if err == nil {
				err = d.add(&entries[i])
			}
			if err != nil {
				if !d.stopped {
					yield(nil, inView(err, view.Name))
				}
				return
			}
			if d.stopped {
				return
			}
		}
		d.flush()
	}}
}

// inView says which view an error of a log entry is about.
func inView(err error, view driftline.ViewName) error {
	if known, ok := err.(*driftline.Error); ok && known.Ref == "" {
		return known.WithRef(driftline.ViewRef(view))
	}
	return err
}

// entryDecoder collects the rows of many entries into batches.
type entryDecoder struct {
	engine  *Engine
	view    *driftline.FeatureView
	builder *array.RecordBuilder
	ctx     context.Context
	rows    int
	yield   func(arrow.RecordBatch, error) bool
	stopped bool

	identities []string // of the view's columns

	layout *logLayout // of the entry before
	into   []int      // the builder of each of its columns; -1 if the view has no such column now
	absent []int      // builders of columns that it has not
}

func (d *entryDecoder) add(entry *logEntry) error {
	if !isOwnEntry(entry.raw) {
		return d.addStream(entry.raw)
	}
	id, rows, body, err := openEntry(entry.raw)
	if err != nil {
		return err
	}
	if d.layout == nil || d.layout.id != id {
		if err := d.enter(id); err != nil {
			return err
		}
	}
	sequences := d.builder.Field(len(d.builder.Fields()) - 1).(*array.Int64Builder)
	for row := range rows {
		if body, err = d.addRow(body); err != nil {
			return err
		}
		sequences.Append(int64(entry.first) + int64(row))
		if d.rows++; d.rows >= decodedRows && !d.flush() {
			return nil
		}
	}
	if len(body) != 0 {
		return damagedEntry("it is too long")
	}
	return nil
}

// enter prepares for entries of a layout.
func (d *entryDecoder) enter(id uint64) error {
	l, err := d.engine.layouts.find(d.engine.kv, id)
	if err != nil {
		return err
	}
	schema := d.builder.Schema()
	d.layout, d.into, d.absent = l, nil, nil
	found := map[int]bool{schema.NumFields() - 1: true}
	for _, f := range l.fields {
		at := -1
		if i := slices.Index(d.identities, f.Name); i >= 0 {
			at = i
			found[at] = true
		}
		d.into = append(d.into, at)
	}
	for i := range schema.NumFields() {
		if !found[i] {
			d.absent = append(d.absent, i)
		}
	}
	return nil
}

// addRow reads one row off body and returns the rest.
func (d *entryDecoder) addRow(body []byte) ([]byte, error) {
	width := (len(d.layout.fields) + 7) / 8
	if len(body) < width {
		return nil, damagedEntry("it ends in the middle of a row")
	}
	nulls := body[:width]
	body = body[width:]
	for i, f := range d.layout.fields {
		var to array.Builder
		if at := d.into[i]; at >= 0 {
			to = d.builder.Field(at)
		}
		if nulls[i/8]&(1<<(i%8)) != 0 {
			if to != nil {
				to.AppendNull()
			}
			continue
		}
		value, rest, ok := cutLogValue(f.Type, body)
		if !ok {
			return nil, damagedEntry("it ends in the middle of a row")
		}
		body = rest
		if to != nil && !buildLogValue(to, f.Type, value) {
			return nil, driftline.Errorf(driftline.DataLoss, "column %q of the ingest log is %s, and the view has it as %s", f.Name, f.Type, to.Type())
		}
	}
	for _, at := range d.absent {
		d.builder.Field(at).AppendNull()
	}
	return body, nil
}

// cutLogValue cuts one value off body.
func cutLogValue(t driftline.Type, body []byte) (value, rest []byte, ok bool) {
	n := uint64(0)
	switch t {
	case driftline.Bool:
		n = 1
	case driftline.Int32, driftline.Float32:
		n = 4
	case driftline.Int64, driftline.Float64, driftline.Timestamp:
		n = 8
	default:
		length, used := binary.Uvarint(body)
		if used <= 0 {
			return nil, nil, false
		}
		n, body = length, body[used:]
	}
	if n > uint64(len(body)) {
		return nil, nil, false
	}
	return body[:n], body[n:], true
}

// buildLogValue appends a value of type t to a builder of that type or of a wider one.
func buildLogValue(to array.Builder, t driftline.Type, value []byte) bool {
	switch b := to.(type) {
	case *array.BooleanBuilder:
		b.Append(value[0] != 0)
	case *array.Int32Builder:
		if t != driftline.Int32 {
			return false
		}
		b.Append(int32(binary.LittleEndian.Uint32(value)))
	case *array.Int64Builder:
		switch t {
		case driftline.Int64:
			b.Append(int64(binary.LittleEndian.Uint64(value)))
		case driftline.Int32:
			b.Append(int64(int32(binary.LittleEndian.Uint32(value))))
		default:
			return false
		}
	case *array.Float32Builder:
		if t != driftline.Float32 {
			return false
		}
		b.Append(math.Float32frombits(binary.LittleEndian.Uint32(value)))
	case *array.Float64Builder:
		switch t {
		case driftline.Float64:
			b.Append(math.Float64frombits(binary.LittleEndian.Uint64(value)))
		case driftline.Float32:
			b.Append(float64(math.Float32frombits(binary.LittleEndian.Uint32(value))))
		default:
			return false
		}
	case *array.TimestampBuilder:
		if t != driftline.Timestamp {
			return false
		}
		b.Append(arrow.Timestamp(binary.LittleEndian.Uint64(value)))
	case *array.StringBuilder:
		b.BinaryBuilder.Append(value)
	case *array.BinaryBuilder:
		b.Append(value)
	default:
		return false
	}
	return true
}

// flush yields the rows collected so far.
func (d *entryDecoder) flush() bool {
	if d.rows == 0 || d.stopped {
		return !d.stopped
	}
	b := d.builder.NewRecordBatch()
	defer b.Release()
	d.rows = 0
	d.stopped = !d.yield(b, nil)
	return !d.stopped
}

// addStream yields the rows of an entry of the old format.
func (d *entryDecoder) addStream(raw []byte) error {
	if !d.flush() {
		return nil
	}
	for b, err := range streamed(d.engine, raw) {
		if err != nil {
			return err
		}
		whole, err := projectAs(d.ctx, d.engine.mem, b, d.builder.Schema(), d.identities)
		if err != nil {
			return err
		}
		d.stopped = !d.yield(whole, nil)
		whole.Release()
		if d.stopped {
			return nil
		}
	}
	return nil
}

func streamed(e *Engine, raw []byte) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		r, err := ipc.NewReader(bytes.NewReader(raw), ipc.WithAllocator(e.mem))
		if err != nil {
			yield(nil, damagedEntry("its stream cannot be opened"))
			return
		}
		defer r.Release()
		for r.Next() {
			if !yield(r.RecordBatch(), nil) {
				return
			}
		}
		if r.Err() != nil {
			yield(nil, damagedEntry("its stream cannot be read"))
		}
	}
}
