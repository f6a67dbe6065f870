package columns

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sort"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// Page is a stretch of the values of one column in one row group. It is valid until its
// [Reader] is asked for another one.
type Page struct {
	First, Rows int // the rows of the row group that it holds

	// Width is how many bytes a value takes in Values, little endian; truth values take
	// one. It is 0 for text and bytes, which are in Text, each where its Span says.
	Width  int
	Values []byte
	Text   []byte
	Spans  []Span
	Places []int32 // in the dictionary, in place of Text and Spans; see [Reader.Words]

	// Valid is the validity bitmap; nil if no value is null. What stands in the place of
	// a null is anything.
	Valid []byte

	InPlace bool // Values lies in the mapping of the file: nothing was copied

	dense  bool // Values has no places for nulls yet: only what is present, side by side
	packed bool // Values is not there yet: numbers that are stored as differences, none of them null
}

// Span is a part of a text.
type Span struct{ At, Len uint32 }

// Has reports whether the page holds the row of the row group.
func (p *Page) Has(row int) bool { return uint(row-p.First) < uint(p.Rows) }

// Null reports whether the i-th value of the page is null.
func (p *Page) Null(i int) bool { return p.Valid != nil && !bitutil.BitIsSet(p.Valid, i) }

// Bytes returns the i-th value of a page of text or bytes.
func (p *Page) Bytes(i int) []byte {
	s := p.Spans[i]
	return p.Text[s.At:][:s.Len]
}

// biggestPage is the most bytes that a page may decode to.
const biggestPage = 1 << 30

// Reader reads the pages of one column of one row group. Its buffers are used again for
// the next column that it is opened on. It is not for concurrent use. The zero Reader
// must be opened first.
type Reader struct {
	file  *File
	chunk *chunk
	leaf  *Leaf
	group int
	rows  int
	width int

	locations []pageLocation
	page      Page
	cut       bool // page is not all of a page of the file

	// Unmapped makes r read with calls to the system into buffers of its own: of values
	// that can be read one by one only those that it is asked for. That is for who wants a
	// few values here and there of a large table. Through the mapping each would bring in
	// sixteen pages of memory, which have to be let go again.
	Unmapped bool
	raw      []byte // of a page

	Nulls *Nulls // of columns that are read side by side; nil if this one is read alone

	words    dictionary
	hasWords bool

	places bool    // text is to be left as places in the dictionary, where it is that
	spots  []int32 // the memory of places

	// Of a packed page: its bytes, and what decodes them in order, up to a row of it.
	differences []byte
	deltas      deltas
	decoded     int

	plain  []byte // a decompressed page
	spread []byte // values that could not be left in place
	valid  []byte
	spans  []Span
}

// dictionary is the decoded dictionary of a chunk, in the form of a page.
type dictionary struct {
	n     int
	raw   []byte // as it is stored; unused if it is read through the mapping
	plain []byte // decompressed; unused if the dictionary is not compressed
	page  []byte // the values: as plain encoding has them
	spans []Span
	array arrow.Array // of text; nil until it is made
}

// Open makes r read the column of that row group.
func (r *Reader) Open(f *File, group, leaf int) error {
	chunk, err := f.chunk(group, leaf)
	if err != nil {
		return f.damaged(&f.leaves[leaf], err)
	}
	locations, err := f.locations(group, chunk)
	if err != nil {
		return f.damaged(&f.leaves[leaf], err)
	}
	r.file, r.group, r.chunk, r.leaf = f, group, chunk, &f.leaves[leaf]
	r.rows, r.locations = f.groups[group].rows, locations
	r.width = widthOf(r.leaf.physical)
	r.page, r.cut, r.places, r.hasWords, r.words.array = Page{}, false, false, false, nil
	return nil
}

// damaged is the error of a column that cannot be read.
func (f *File) damaged(l *Leaf, err error) error {
	return damaged(fmt.Sprintf("column %q of file %q", l.Name, f.name), err)
}

func (r *Reader) damaged(err error) error { return r.file.damaged(r.leaf, err) }

// widthOf returns how many bytes a value takes in a page; 0 for text.
func widthOf(t parquet.Type) int {
	switch t {
	case parquet.Types.Boolean:
		return 1
	case parquet.Types.Int32, parquet.Types.Float:
		return 4
	case parquet.Types.Int64, parquet.Types.Double:
		return 8
	}
	return 0
}

// Page returns the page that holds the row.
func (r *Reader) Page(row int) (*Page, error) { return r.PageOf(row, row+1) }

// PageOf returns a page that holds the row from and, if one page of the file does, all
// rows before to.
func (r *Reader) PageOf(from, to int) (*Page, error) {
	p, err := r.find(from, to)
	if err == nil && p.packed {
		err = r.unpack()
	}
	if err != nil || !p.dense {
		return p, err
	}
	r.spread = sized(r.spread, p.Rows*p.Width)
	p.copyValues(r.spread, 0, p.Rows)
	p.Values, p.dense = r.spread, false
	return p, nil
}

// find returns the page for [Reader.PageOf]; it may be dense.
func (r *Reader) find(from, to int) (*Page, error) {
	if r.page.Has(from) && (!r.cut || r.page.Has(to-1)) {
		return &r.page, nil
	}
	if from < 0 || from >= r.rows {
		return nil, r.damaged(errDamaged)
	}
	i := sort.Search(len(r.locations), func(i int) bool { return int(r.locations[i].first) > from }) - 1
	if r.Unmapped {
		if done, err := r.loadRows(i, from, to); err != nil {
			return nil, r.damaged(err)
		} else if done {
			return &r.page, nil
		}
	}
	if err := r.load(i); err != nil {
		r.page = Page{}
		return nil, r.damaged(err)
	}
	return &r.page, nil
}

// rowsOf returns the rows of the i-th data page.
func (r *Reader) rowsOf(i int) (first, end int) {
	if end = r.rows; i+1 < len(r.locations) {
		end = int(r.locations[i+1].first)
	}
	return int(r.locations[i].first), end
}

// stored returns the bytes of the i-th data page, with its header, and perhaps more. It is
// valid until the next call.
func (r *Reader) stored(i int) ([]byte, error) {
	begin, end := r.locations[i].offset, r.chunk.offset+r.chunk.size
	if !r.Unmapped {
		return r.file.data[begin:end], nil
	}
	if i+1 < len(r.locations) && r.locations[i+1].offset > begin {
		end = r.locations[i+1].offset
	}
	return r.file.read(&r.raw, begin, int(end-begin))
}

// load decodes the i-th data page.
func (r *Reader) load(i int) (err error) {
	defer func() { // here it is known which column it is
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	first, end := r.rowsOf(i)
	r.page, r.cut = Page{First: first, Rows: end - first, Width: r.width}, false
	if r.page.Rows > biggestPage/8 { // a few bytes may stand for any number of equal values
		return errDamaged
	}
	stored, err := r.stored(i)
	if err != nil {
		return err
	}
	h, err := readPageHeader(stored, len(stored))
	if err != nil {
		return err
	}
	body := stored[h.size:][:h.storedSize]
	if h.kind != dataPage && h.kind != dataPageV2 || h.values != r.page.Rows {
		return errDamaged
	}
	if !r.understands(h.encoding) {
		return r.loadForeign()
	}
	levels, values, err := r.split(h, body)
	if err != nil {
		return err
	}
	present, err := r.readLevels(levels)
	if err != nil {
		return err
	}
	switch h.encoding {
	case encodingPlain:
		return r.readPlain(values, present)
	case encodingDeltas:
		return r.readDeltas(values, present)
	}
	return r.readIndices(values, present)
}

func (r *Reader) understands(encoding int) bool {
	switch r.leaf.physical {
	case parquet.Types.Int96, parquet.Types.FixedLenByteArray:
		return false
	case parquet.Types.Int32, parquet.Types.Int64:
		if encoding == encodingDeltas {
			return true
		}
	}
	return encoding == encodingPlain || encoding == encodingDictionary || encoding == encodingPlainDictionary
}

// split decompresses a data page and cuts it into definition levels, nil if the column
// cannot be null, and values.
func (r *Reader) split(h pageHeader, body []byte) (levels, values []byte, err error) {
	if h.kind == dataPageV2 {
		levels, body = body[:h.levelBytes], body[h.levelBytes:]
		if h.compressed {
			body, err = r.decompress(&r.plain, body, h.plainSize-h.levelBytes)
		}
		return levels, body, err
	}
	if body, err = r.decompress(&r.plain, body, h.plainSize); err != nil || !r.leaf.nullable {
		return nil, body, err
	}
	if len(body) < 4 {
		return nil, nil, errDamaged
	}
	n := binary.LittleEndian.Uint32(body)
	if uint64(n) > uint64(len(body)-4) {
		return nil, nil, errDamaged
	}
	return body[4:][:n], body[4+n:], nil
}

// decompress returns the plain bytes of a page, which are in buffer unless the chunk is
// not compressed.
func (r *Reader) decompress(buffer *[]byte, stored []byte, size int) ([]byte, error) {
	if r.chunk.codec == compress.Codecs.Uncompressed {
		return stored, nil
	}
	if size < 0 || size > biggestPage {
		return nil, errDamaged
	}
	codec, err := compress.GetCodec(r.chunk.codec)
	if err != nil {
		return nil, err
	}
	*buffer = sized(*buffer, size)
	plain, err := compress.Decode(codec, *buffer, stored)
	if err != nil {
		return nil, err
	}
	if len(plain) != size {
		return nil, errDamaged
	}
	return plain, nil
}

// sized returns a slice of n elements, the given one if it is long enough.
func sized[T any](have []T, n int) []T {
	if cap(have) < n {
		return make([]T, n, n+n/4)
	}
	return have[:n]
}

// readLevels makes the validity of the page and returns how many values are present.
func (r *Reader) readLevels(levels []byte) (present int, err error) {
	if !r.leaf.nullable {
		return r.page.Rows, nil
	}
	if r.Nulls.same(levels, r.page.Rows) {
		r.valid = append(r.valid[:0], r.Nulls.valid...)
		r.page.Valid = r.valid
		return r.Nulls.present, nil
	}
	present, err = r.decodeLevels(levels)
	if err == nil && r.page.Valid != nil {
		r.Nulls.keep(levels, &r.page, present)
	}
	return present, err
}

// decodeLevels is readLevels of a column that can be null.
func (r *Reader) decodeLevels(levels []byte) (present int, err error) {
	h := hybrid{data: levels, width: 1}
	for at, n := 0, 0; at < r.page.Rows; at += n {
		piece, level, packed, err := h.next()
		if err != nil {
			return 0, err
		}
		if piece == 0 {
			return 0, errDamaged
		}
		n = min(piece, r.page.Rows-at)
		if r.page.Valid == nil && (packed || level == 0) {
			r.valid = sized(r.valid, (r.page.Rows+7)/8)
			r.page.Valid = r.valid
			bitutil.SetBitsTo(r.page.Valid, 0, int64(at), true)
		}
		switch {
		case packed: // as the bits of a bitmap are
			putBits(r.page.Valid, at, h.packed[:(n+7)/8])
		case r.page.Valid != nil:
			bitutil.SetBitsTo(r.page.Valid, int64(at), int64(n), level != 0)
		}
	}
	if r.page.Valid == nil {
		return r.page.Rows, nil
	}
	if present = bitutil.CountSetBits(r.page.Valid, 0, r.page.Rows); present == r.page.Rows {
		r.page.Valid = nil
	}
	return present, nil
}

// putBits puts bits into a bitmap, from at on. What follows them in the last byte is
// overwritten too.
func putBits(bitmap []byte, at int, packed []byte) {
	to, shift := bitmap[at>>3:], at&7
	if shift == 0 {
		copy(to, packed)
		return
	}
	for i, b := range packed {
		to[i] = to[i]&(1<<shift-1) | b<<shift
		if i+1 < len(to) {
			to[i+1] = b >> (8 - shift)
		}
	}
}

// readPlain reads values of the plain encoding. They stay where they are if that is
// possible.
func (r *Reader) readPlain(values []byte, present int) error {
	switch r.leaf.physical {
	case parquet.Types.ByteArray:
		spans, err := plainSpans(sized(r.spans, r.page.Rows)[:0], values, present)
		if err != nil {
			return err
		}
		r.spans = spans
		r.page.Text, r.page.Spans = values, spreadSpans(&r.page, spans)
		r.spans = r.page.Spans
		return nil
	case parquet.Types.Boolean:
		if len(values) < (present+7)/8 {
			return errDamaged
		}
		r.spread = sized(r.spread, r.page.Rows)
		for i := range present {
			r.spread[i] = values[i>>3] >> (i & 7) & 1
		}
		r.page.Values = r.spread
		spreadValues(&r.page, r.spread)
		return nil
	}
	if len(values)/r.width < present {
		return errDamaged
	}
	r.page.Values = values[:present*r.width]
	if present == r.page.Rows {
		r.page.InPlace = r.chunk.codec == compress.Codecs.Uncompressed && !r.Unmapped
		return nil
	}
	r.page.dense = true
	return nil
}

// readDeltas reads whole numbers that are stored as differences. Those of a page without
// nulls are decoded when it is known where they are wanted.
func (r *Reader) readDeltas(values []byte, present int) (err error) {
	if present == r.page.Rows {
		r.page.packed, r.differences, r.decoded = true, values, 0
		r.deltas, err = newDeltas(values, present, r.width)
		return err
	}
	r.spread = sized(r.spread, r.page.Rows*r.width)
	if err := decodeDeltas(r.spread, values, present, r.width); err != nil {
		return err
	}
	r.page.Values = r.spread
	spreadValues(&r.page, r.spread)
	return nil
}

// unpack decodes all numbers of a packed page.
func (r *Reader) unpack() error {
	r.spread = sized(r.spread, r.page.Rows*r.width)
	if err := decodeDeltas(r.spread, r.differences, r.page.Rows, r.width); err != nil {
		r.page = Page{}
		return r.damaged(err)
	}
	r.page.Values, r.page.packed = r.spread, false
	return nil
}

// copyPage copies n values of the page at hand, from first on. Those of a packed page that
// are asked for in order are decoded to where they are wanted.
func (r *Reader) copyPage(to []byte, first, n int) error {
	if !r.page.packed {
		r.page.copyValues(to, first, n)
		return nil
	}
	if first != r.decoded {
		if err := r.unpack(); err != nil {
			return err
		}
		r.page.copyValues(to, first, n)
		return nil
	}
	if err := r.deltas.read(to[:n*r.width]); err != nil {
		r.page = Page{}
		return r.damaged(err)
	}
	r.decoded += n
	return nil
}

// copyValues copies n values of the page, from first on, each to its row; nulls are zero.
func (p *Page) copyValues(to []byte, first, n int) {
	if !p.dense {
		copy(to, p.Values[first*p.Width:(first+n)*p.Width])
		return
	}
	from := p.Values[bitutil.CountSetBits(p.Valid, 0, first)*p.Width:]
	if p.Width == 8 {
		spread64(to[:8*n], from, p.Valid, first)
		return
	}
	for row, end := first, first+n; row < end; {
		run := equalBits(p.Valid, row, end)
		bytes := run * p.Width
		if bitutil.BitIsSet(p.Valid, row) {
			copy(to[:bytes], from[:bytes])
			from = from[bytes:]
		} else {
			clear(to[:bytes])
		}
		to, row = to[bytes:], row+run
	}
}

// spread64 is copyValues of values of eight bytes. It takes eight rows at a time, because
// a few nulls in a hundred make runs that are too short to be copied one by one.
func spread64(to, from, valid []byte, first int) {
	row := first
	for canExpand && row&7 == 0 {
		bytes := min(len(to)/64, len(from)/64, len(valid)-row>>3)
		if bytes <= 0 {
			break
		}
		values := expandBytes(&to[0], &from[0], &valid[row>>3], bytes)
		to, from, row = to[64*bytes:], from[8*values:], row+8*bytes
	}
	for ; len(to) >= 64 && len(from) >= 64 && row>>3+1 < len(valid); row, to = row+8, to[64:] {
		rows, values := (*[8]uint64)(unsafe.Pointer(&to[0])), (*[8]uint64)(unsafe.Pointer(&from[0]))
		here := uint64(binary.LittleEndian.Uint16(valid[row>>3:])>>(row&7)) & 0xff
		if here == 0xff {
			all := *values // in one step, rows and values might overlap, and Go would call a function
			*rows = all
			from = from[64:]
			continue
		}
		at := uint64(0)
		for i := range rows {
			is := here >> i & 1
			rows[i] = values[at&7] & -is
			at += is
		}
		from = from[8*at:]
	}
	for ; len(to) > 0; row, to = row+1, to[8:] {
		if !bitutil.BitIsSet(valid, row) {
			clear(to[:8])
			continue
		}
		copy(to[:8], from)
		from = from[8:]
	}
}

// equalBits counts the bits of a bitmap, from at on and before end, that are as the one
// at at.
func equalBits(bitmap []byte, at, end int) int {
	same := uint64(0)
	if bitutil.BitIsSet(bitmap, at) {
		same = ^same
	}
	for bit := at; bit < end; {
		var word uint64
		known := 8
		if rest := bitmap[bit>>3:]; len(rest) >= 8 {
			word, known = binary.LittleEndian.Uint64(rest), 64
		} else {
			word = uint64(rest[0])
		}
		known -= bit & 7
		word = (word ^ same) >> (bit & 7)
		if n := bits.TrailingZeros64(word); n < known {
			return min(bit+n, end) - at
		}
		bit += known
	}
	return end - at
}

// plainSpans appends where each of n byte arrays of the plain encoding is.
func plainSpans(spans []Span, values []byte, n int) ([]Span, error) {
	at := 0
	for range n {
		if len(values)-at < 4 {
			return nil, errDamaged
		}
		size := binary.LittleEndian.Uint32(values[at:])
		at += 4
		if uint64(size) > uint64(len(values)-at) {
			return nil, errDamaged
		}
		spans = append(spans, Span{At: uint32(at), Len: size})
		at += int(size)
	}
	return spans, nil
}

// spreadValues moves the values that are present, which lie at the front, to their rows.
// It goes from the back, so that none is overwritten before it was moved.
func spreadValues(p *Page, values []byte) {
	if p.Valid == nil {
		return
	}
	from := bitutil.CountSetBits(p.Valid, 0, p.Rows) - 1
	for i := p.Rows - 1; i > from && from >= 0; i-- {
		if bitutil.BitIsSet(p.Valid, i) {
			copy(values[i*p.Width:][:p.Width], values[from*p.Width:])
			from--
		}
	}
}

func spreadSpans(p *Page, spans []Span) []Span {
	if p.Valid == nil {
		return spans
	}
	from := len(spans) - 1
	spans = spans[:p.Rows]
	for i := p.Rows - 1; i >= 0; i-- {
		if bitutil.BitIsSet(p.Valid, i) {
			spans[i] = spans[from]
			from--
		} else {
			spans[i] = Span{}
		}
	}
	return spans
}

// readIndices reads values that are given by their places in the dictionary.
func (r *Reader) readIndices(values []byte, present int) error {
	if err := r.loadDictionary(); err != nil {
		return err
	}
	h, err := indices(values, present)
	if err != nil {
		return err
	}
	if r.width == 0 && r.places {
		return r.readPlaces(h, present)
	}
	if r.width == 0 {
		return r.lookUpSpans(h, present)
	}
	r.spread = sized(r.spread, r.page.Rows*r.width)
	r.page.Values = r.spread
	if present > 0 {
		if err := r.lookUpValues(h, present); err != nil {
			return err
		}
	}
	spreadValues(&r.page, r.spread)
	return nil
}

// indices begins to read n places in a dictionary.
func indices(values []byte, n int) (hybrid, error) {
	if len(values) == 0 {
		if n > 0 {
			return hybrid{}, errDamaged
		}
		return hybrid{}, nil
	}
	if values[0] > 32 {
		return hybrid{}, errDamaged
	}
	return hybrid{data: values[1:], width: int(values[0])}, nil
}

func (r *Reader) lookUpValues(h hybrid, present int) error {
	places, err := r.unpackPlaces(h, present)
	if err != nil {
		return err
	}
	switch r.width {
	case 8:
		gather(values64(r.spread), values64(r.words.page), places)
	case 4:
		gather(values32(r.spread), values32(r.words.page), places)
	default:
		return errDamaged // truth values have no dictionary
	}
	return nil
}

// gather copies the words at places, all of which are among the words.
func gather[T any](to, words []T, places []int32) {
	to = to[:len(places)]
	for i, place := range places {
		to[i] = words[place]
	}
}

// values64 and values32 are bytes taken for values, at whatever address they begin.
func values64(raw []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/8)
}

func values32(raw []byte) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/4)
}

func (r *Reader) lookUpSpans(h hybrid, present int) error {
	places, err := r.unpackPlaces(h, present)
	if err != nil {
		return err
	}
	r.spans = sized(r.spans, r.page.Rows)
	spans := r.spans[:present]
	for i, place := range places {
		spans[i] = r.words.spans[place]
	}
	r.spans = spreadSpans(&r.page, spans)
	r.page.Spans, r.page.Text = r.spans, r.words.page
	return nil
}

// loadDictionary decodes the dictionary of the chunk, once.
func (r *Reader) loadDictionary() error {
	if r.hasWords {
		return nil
	}
	at := r.chunk.dictionary
	if at == 0 { // some writers do not say where it is: it is the first page then
		at = r.chunk.offset
	}
	if at < r.chunk.offset || at > r.chunk.offset+r.chunk.size {
		return errDamaged
	}
	stored, err := r.storedDictionary(at)
	if err != nil {
		return err
	}
	h, err := readPageHeader(stored, len(stored))
	if err != nil {
		return err
	}
	if h.kind != dictionaryPage {
		return errDamaged
	}
	d := &r.words
	if d.page, err = r.decompress(&d.plain, stored[h.size:][:h.storedSize], h.plainSize); err != nil {
		return err
	}
	d.n = h.values
	switch {
	case r.leaf.physical == parquet.Types.Boolean:
		return errDamaged
	case r.width > 0:
		if len(d.page)/r.width < d.n {
			return errDamaged
		}
	default:
		if d.spans, err = plainSpans(d.spans[:0], d.page, d.n); err != nil {
			return err
		}
	}
	r.hasWords = true
	return nil
}

// storedDictionary returns the bytes of the dictionary page that begins at the offset, and
// perhaps more.
func (r *Reader) storedDictionary(at int64) ([]byte, error) {
	end := r.chunk.offset + r.chunk.size
	if !r.Unmapped {
		return r.file.data[at:end], nil
	}
	if first := r.locations[0].offset; first > at {
		end = first
	}
	return r.file.read(&r.words.raw, at, int(end-at))
}
