package columns

import (
	"bytes"
	"encoding/binary"

	"github.com/apache/arrow-go/v18/parquet/compress"
)

// Runs are the maximal stretches of rows of a row group that are equal in some columns.
// Two neighbours may be equal too where a file does not let us see it cheaply.
type Runs struct {
	// Starts is the first row of each run and, last, the number of rows.
	Starts []int32

	// Of each column the value of each run, as a page whose rows are the runs.
	Values []Page

	columns []columnRuns
	marks   []int32
}

// Len returns the number of runs.
func (r *Runs) Len() int { return len(r.Starts) - 1 }

// columnRuns are the runs of one column.
type columnRuns struct {
	starts []int32
	values []byte
	text   []byte
	spans  []Span
	valid  []byte
	nulls  int

	wideValues []byte // after alignment with the other columns
	wideSpans  []Span
	wideValid  []byte
}

// Read finds the runs of the columns given by the leaves in a row group. The slices of r
// are used again. No columns make one run of all rows.
func (r *Runs) Read(reader *Reader, f *File, group int, leaves []int) error {
	rows := int32(f.Rows(group))
	r.columns = sized(r.columns, len(leaves))
	for i, leaf := range leaves {
		if err := reader.Open(f, group, leaf); err != nil {
			return err
		}
		if err := r.columns[i].read(reader); err != nil {
			return reader.damaged(err)
		}
	}
	r.Values = sized(r.Values, len(leaves))
	switch len(leaves) {
	case 0:
		r.Starts = append(r.Starts[:0], 0)
	case 1:
		r.Starts = append(r.Starts[:0], r.columns[0].starts...)
		r.columns[0].page(&r.Values[0], reader.width)
	default:
		r.align(f, leaves)
	}
	if rows == 0 {
		r.Starts = r.Starts[:0]
	}
	r.Starts = append(r.Starts, rows)
	return nil
}

// align cuts the runs of all columns at the boundaries of each.
func (r *Runs) align(f *File, leaves []int) {
	r.marks = r.marks[:0]
	at := make([]int, len(leaves))
	for {
		next, more := int32(0), false
		for i, c := range r.columns {
			if at[i] < len(c.starts) && (!more || c.starts[at[i]] < next) {
				next, more = c.starts[at[i]], true
			}
		}
		if !more {
			break
		}
		for i, c := range r.columns {
			if at[i] < len(c.starts) && c.starts[at[i]] == next {
				at[i]++
			}
		}
		r.marks = append(r.marks, next)
	}
	r.Starts = append(r.Starts[:0], r.marks...)
	for i, leaf := range leaves {
		r.columns[i].widen(&r.Values[i], widthOf(f.leaves[leaf].physical), r.marks)
	}
}

// page makes p the values of the runs.
func (c *columnRuns) page(p *Page, width int) {
	*p = Page{Rows: len(c.starts), Width: width, Values: c.values, Text: c.text, Spans: c.spans}
	if c.nulls > 0 {
		p.Valid = c.valid
	}
}

// widen makes p the values of the runs, repeated so that there is one at each mark.
func (c *columnRuns) widen(p *Page, width int, marks []int32) {
	c.wideValues, c.wideSpans = c.wideValues[:0], c.wideSpans[:0]
	c.wideValid = sized(c.wideValid, (len(marks)+7)/8)
	run := 0
	for i, mark := range marks {
		for run+1 < len(c.starts) && c.starts[run+1] <= mark {
			run++
		}
		if width > 0 {
			c.wideValues = append(c.wideValues, c.values[run*width:][:width]...)
		} else {
			c.wideSpans = append(c.wideSpans, c.spans[run])
		}
		setBit(c.wideValid, i, c.valid[run>>3]>>(run&7)&1 != 0)
	}
	*p = Page{Rows: len(marks), Width: width, Values: c.wideValues, Text: c.text, Spans: c.wideSpans}
	if c.nulls > 0 {
		p.Valid = c.wideValid
	}
}

func setBit(bits []byte, i int, to bool) {
	if to {
		bits[i>>3] |= 1 << (i & 7)
	} else {
		bits[i>>3] &^= 1 << (i & 7)
	}
}

func (c *columnRuns) read(r *Reader) error {
	c.starts, c.values, c.text = c.starts[:0], c.values[:0], c.text[:0]
	c.spans, c.valid, c.nulls = c.spans[:0], c.valid[:0], 0
	for row := 0; row < r.rows; {
		n, err := c.readPage(r, row)
		if err != nil {
			return err
		}
		row += n
	}
	return nil
}

// readPage adds the runs of the page that begins at row, and returns its number of rows.
func (c *columnRuns) readPage(r *Reader, row int) (int, error) {
	if n, ok, err := c.readDictionaryPage(r, row); ok || err != nil {
		return n, err
	}
	page, err := r.PageOf(row, r.rows)
	if err != nil {
		return 0, err
	}
	switch {
	case page.Valid == nil && page.Width == 8:
		c.addWords(page)
	case page.Width > 0:
		for i := range page.Rows {
			c.add(page.First+i, page.Null(i), page.Values[i*page.Width:][:page.Width], page.Width)
		}
	default:
		for i := range page.Rows {
			var text []byte
			if !page.Null(i) {
				text = page.Bytes(i)
			}
			c.add(page.First+i, page.Null(i), text, 0)
		}
	}
	return page.Rows, nil
}

// addWords adds the runs of a page of values of eight bytes, of which there are many.
func (c *columnRuns) addWords(page *Page) {
	values := page.Values
	last := ^binary.LittleEndian.Uint64(values)
	for i := 0; i+8 <= len(values); i += 8 {
		if v := binary.LittleEndian.Uint64(values[i:]); v != last {
			c.add(page.First+i/8, false, values[i:][:8], 8)
			last = v
		}
	}
}

// add begins a run at row, unless the run before it has the same value.
func (c *columnRuns) add(row int, null bool, value []byte, width int) {
	n := len(c.starts)
	if n > 0 && c.lastIs(null, value, width) {
		return
	}
	c.starts = append(c.starts, int32(row))
	if n&7 == 0 {
		c.valid = append(c.valid, 0)
	}
	setBit(c.valid, n, !null)
	if null {
		c.nulls++
	}
	if width > 0 {
		c.values = append(c.values, value...)
		return
	}
	c.spans = append(c.spans, Span{At: uint32(len(c.text)), Len: uint32(len(value))})
	c.text = append(c.text, value...)
}

func (c *columnRuns) lastIs(null bool, value []byte, width int) bool {
	last := len(c.starts) - 1
	wasNull := c.valid[last>>3]>>(last&7)&1 == 0
	if null || wasNull {
		return null && wasNull
	}
	if width > 0 {
		return bytes.Equal(c.values[last*width:], value)
	}
	s := c.spans[last]
	return bytes.Equal(c.text[s.At:][:s.Len], value)
}

// readDictionaryPage adds the runs of a page that is encoded by dictionary and has no
// nulls, a run of the encoding at a time. It returns false for any other page.
func (c *columnRuns) readDictionaryPage(r *Reader, row int) (rows int, ok bool, err error) {
	at, end := -1, r.rows
	for i, l := range r.locations {
		if int(l.first) == row {
			at = i
		} else if int(l.first) > row {
			end = int(l.first)
			break
		}
	}
	if at < 0 {
		return 0, false, errDamaged
	}
	stored, err := r.stored(at)
	if err != nil {
		return 0, false, err
	}
	h, err := readPageHeader(stored, len(stored))
	if err != nil {
		return 0, false, err
	}
	if h.encoding != encodingDictionary && h.encoding != encodingPlainDictionary || h.values != end-row ||
		h.kind != dataPage && h.kind != dataPageV2 || r.chunk.codec != compress.Codecs.Uncompressed && h.storedSize > biggestPage {
		return 0, false, nil
	}
	r.page, r.cut = Page{First: row, Rows: end - row, Width: r.width}, false
	levels, values, err := r.split(h, stored[h.size:][:h.storedSize])
	if err != nil {
		return 0, false, err
	}
	present, err := r.readLevels(levels)
	rows = r.page.Rows
	r.page = Page{} // its values were not read
	if err != nil || present != rows {
		return 0, false, err
	}
	if err := r.loadDictionary(); err != nil {
		return 0, false, err
	}
	return rows, true, c.addIndices(r, values, row, rows)
}

func (c *columnRuns) addIndices(r *Reader, values []byte, row, rows int) error {
	h, err := indices(values, rows)
	if err != nil {
		return err
	}
	outside, last := false, ^uint32(0)
	err = h.each(rows, func(n int, word uint32) {
		if word != last {
			last = word
			switch {
			case int(word) >= r.words.n:
				outside = true
			case r.width > 0:
				c.add(row, false, r.words.page[int(word)*r.width:][:r.width], r.width)
			default:
				s := r.words.spans[word]
				c.add(row, false, r.words.page[s.At:][:s.Len], 0)
			}
		}
		row += n
	})
	if err == nil && outside {
		err = errDamaged
	}
	return err
}
