package merge

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// tail is rows that are in no file, sorted as a file would be, as one row group.
type tail struct {
	rows    int
	numbers []uint64 // the keys of the runs, of which one is unused
	texts   []string
	from    []int32 // the rows of each run
	to      []int32

	event, created, sequence columns.Page
	features                 []columns.Page
	copies                   []copying
}

// newTail reads and sorts a tail. It holds a copy of it.
func newTail(v *View, rows driftline.Batches) (*tail, error) {
	batches, n, err := rows.Collect()
	defer driftline.ReleaseAll(batches)
	if err != nil || n == 0 {
		return &tail{}, err
	}
	t := &tailMaker{view: v, schema: rows.Schema, batches: batches, ctx: compute.WithAllocator(context.Background(), memory.DefaultAllocator)}
	return t.make()
}

// tailMaker makes one tail.
type tailMaker struct {
	ctx     context.Context
	view    *View
	schema  *arrow.Schema
	batches []arrow.RecordBatch
	order   arrow.Array // the rows in their order; nil before it is known
}

// column returns a column of all batches, sorted once the order is known; nil if there is none.
func (m *tailMaker) column(c columns.Column) (arrow.Array, error) {
	at := m.schema.FieldIndices(c.Name)
	if len(at) != 1 {
		return nil, nil
	}
	parts := make([]arrow.Array, len(m.batches))
	for i, b := range m.batches {
		parts[i] = b.Column(at[0])
	}
	whole, err := array.Concatenate(parts, memory.DefaultAllocator)
	if err != nil || m.order == nil {
		return whole, err
	}
	defer whole.Release()
	return compute.TakeArray(m.ctx, whole, m.order)
}

func (m *tailMaker) page(c columns.Column) (columns.Page, arrow.DataType, error) {
	a, err := m.column(c)
	if err != nil || a == nil {
		return columns.Page{}, nil, err
	}
	return pageOf(a), a.DataType(), nil
}

func (m *tailMaker) make() (*tail, error) {
	t := &tail{}
	codes, err := m.sort()
	if err != nil {
		return nil, err
	}
	t.rows = len(codes)
	t.findRuns(codes, m.view.textKeys())
	if t.event, _, err = m.page(m.view.Event); err != nil {
		return nil, err
	}
	if t.sequence, _, err = m.page(m.view.Sequence); err != nil {
		return nil, err
	}
	if m.view.Created.Name != "" {
		if t.created, _, err = m.page(m.view.Created); err != nil {
			return nil, err
		}
	}
	for _, f := range m.view.Features {
		page, dt, err := m.page(f)
		if err != nil {
			return nil, err
		}
		how, ok := copyNothing, true
		if dt != nil {
			if how, ok = copyingOf(dt, f.Type); !ok {
				return nil, driftline.Errorf(driftline.Internal, "column %q of the log is %s, want %s", f.Name, dt, f.Type)
			}
		}
		t.features, t.copies = append(t.features, page), append(t.copies, how)
	}
	return t, nil
}

// tailRow is what a row of the tail is sorted by.
type tailRow struct {
	key               string // as texts are; a number is eight bytes
	dropped           bool   // it has no key
	timed, hasCreated bool
	event, created    int64
	sequence          int64
	row               int64
}

// sort makes the order of the rows, and returns them in it.
func (m *tailMaker) sort() ([]tailRow, error) {
	n := 0
	for _, b := range m.batches {
		n += int(b.NumRows())
	}
	rows := make([]tailRow, n)
	for i := range rows {
		rows[i].row, rows[i].timed = int64(i), true
	}
	if err := m.sortKeys(rows); err != nil {
		return nil, err
	}
	number := func(c columns.Column, set func(r *tailRow, v int64, ok bool)) error {
		a, err := m.column(c)
		if err != nil || a == nil {
			return err
		}
		page := pageOf(a)
		for i := range rows {
			set(&rows[i], int64(binary.LittleEndian.Uint64(page.Values[8*i:])), !page.Null(i))
		}
		return nil
	}
	if err := number(m.view.Event, func(r *tailRow, v int64, ok bool) {
		if r.timed = ok; ok {
			r.event = v
		}
	}); err != nil {
		return nil, err
	}
	if err := number(m.view.Sequence, func(r *tailRow, v int64, _ bool) { r.sequence = v }); err != nil {
		return nil, err
	}
	if m.view.Created.Name != "" {
		if err := number(m.view.Created, func(r *tailRow, v int64, ok bool) {
			if ok {
				r.created, r.hasCreated = v, true
			}
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(rows, compareTail)
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range rows {
		b.Append(rows[i].row)
	}
	m.order = b.NewArray()
	return rows, nil
}

func compareTail(a, b tailRow) int {
	first := func(a, b bool) int { // false before true
		switch {
		case a == b:
			return 0
		case b:
			return -1
		}
		return 1
	}
	return cmp.Or(first(a.dropped, b.dropped), cmp.Compare(a.key, b.key), first(a.timed, b.timed), cmp.Compare(a.event, b.event),
		first(a.hasCreated, b.hasCreated), cmp.Compare(a.created, b.created), cmp.Compare(a.sequence, b.sequence))
}

func (m *tailMaker) sortKeys(rows []tailRow) error {
	parts := make([]func(to []byte, row int) ([]byte, bool), len(m.view.Keys))
	for i, k := range m.view.Keys {
		a, err := m.column(k)
		if err != nil {
			return err
		}
		if a == nil {
			return driftline.Errorf(driftline.Internal, "the log has no column %q", k.Name)
		}
		parts[i] = textCoder(a, k.Type, i == len(m.view.Keys)-1)
	}
	var text []byte
	for i := range rows {
		text = text[:0]
		for _, part := range parts {
			var ok bool
			if text, ok = part(text, i); !ok {
				rows[i].dropped = true
			}
		}
		rows[i].key = string(text)
	}
	return nil
}

// findRuns finds the runs of rows that have a key.
func (t *tail) findRuns(rows []tailRow, text bool) {
	for i := 0; i < len(rows); {
		end := i + 1
		for end < len(rows) && rows[end].key == rows[i].key && rows[end].dropped == rows[i].dropped {
			end++
		}
		if !rows[i].dropped {
			t.from, t.to = append(t.from, int32(i)), append(t.to, int32(end))
			if text {
				t.texts = append(t.texts, rows[i].key)
			} else {
				t.numbers = append(t.numbers, numberOf(rows[i].key))
			}
		}
		i = end
	}
}

// numberOf is the number that a text of eight bytes was made from; 0 for no key at all.
func numberOf(text string) uint64 {
	if len(text) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(text))
}

func bigEndian(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// pageOf returns the values of an array as a page.
func pageOf(a arrow.Array) columns.Page {
	p := columns.Page{Rows: a.Len()}
	if a.NullN() > 0 {
		p.Valid = make([]byte, (a.Len()+7)/8)
		for i := range a.Len() {
			if a.IsValid(i) {
				p.Valid[i>>3] |= 1 << (i & 7)
			}
		}
	}
	switch a := a.(type) {
	case *array.Boolean:
		p.Width, p.Values = 1, make([]byte, a.Len())
		for i := range p.Values {
			if a.Value(i) {
				p.Values[i] = 1
			}
		}
	case *array.String:
		addText(&p, func(i int) string { return a.Value(i) })
	case *array.Binary:
		addText(&p, func(i int) string { return string(a.Value(i)) })
	default:
		p.Width = a.DataType().(arrow.FixedWidthDataType).Bytes()
		p.Values = a.Data().Buffers()[1].Bytes()[a.Data().Offset()*p.Width:][:a.Len()*p.Width]
	}
	return p
}

func addText(p *columns.Page, value func(i int) string) {
	p.Spans = make([]columns.Span, p.Rows)
	for i := range p.Rows {
		text := value(i)
		p.Spans[i] = columns.Span{At: uint32(len(p.Text)), Len: uint32(len(text))}
		p.Text = append(p.Text, text...)
	}
}
