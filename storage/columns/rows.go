package columns

import (
	"sync/atomic"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// read reads n bytes of the file into a buffer, which it makes long enough.
func (f *File) read(buffer *[]byte, at int64, n int) ([]byte, error) {
	*buffer = sized(*buffer, n)
	_, err := f.disk.ReadAt(*buffer, at)
	return *buffer, err
}

// loadRows reads the rows from from to to, as far as they are in the i-th data page, and
// makes them the page. It returns false if the values of the page cannot be read one by one.
func (r *Reader) loadRows(i, from, to int) (bool, error) {
	at := &r.locations[i]
	values := atomic.LoadInt32(&at.values)
	if values == 0 {
		var err error
		if values, err = r.findValues(i); err != nil {
			return false, err
		}
		atomic.StoreInt32(&at.values, values)
	}
	if values < 0 {
		return false, nil
	}
	first, end := r.rowsOf(i)
	rows := min(to, end) - from
	raw, err := r.file.read(&r.raw, at.offset+int64(values)+int64((from-first)*r.width), rows*r.width)
	if err != nil {
		r.page = Page{}
		return false, err
	}
	r.page, r.cut = Page{First: from, Rows: rows, Width: r.width, Values: raw}, true
	return true, nil
}

// mostHeader is how many bytes of a page are looked at to find its values: its header is
// about fifty, and the levels of a page without nulls a few.
const mostHeader = 256

// findValues returns how many bytes after its beginning the values of the i-th data page
// begin, or -1 if they do not lie there one beside the other: in pages that are compressed,
// encoded, or have nulls.
func (r *Reader) findValues(i int) (int32, error) {
	if r.width == 0 || r.leaf.physical == parquet.Types.Boolean || r.chunk.codec != compress.Codecs.Uncompressed {
		return -1, nil
	}
	begin := r.locations[i].offset
	most := int(r.chunk.offset + r.chunk.size - begin)
	stored, err := r.file.read(&r.raw, begin, min(most, mostHeader))
	if err != nil {
		return 0, err
	}
	h, err := readPageHeader(stored, most)
	first, end := r.rowsOf(i)
	rows := end - first
	if err != nil || h.kind != dataPage && h.kind != dataPageV2 || h.encoding != encodingPlain || h.values != rows {
		return -1, nil // who reads the page as a whole sees what is wrong with it
	}
	body := stored[h.size:min(h.size+h.storedSize, len(stored))]
	if h.levelBytes > len(body) {
		return -1, nil
	}
	levels, values, err := r.split(h, body)
	if err != nil {
		return -1, nil
	}
	r.page, r.cut = Page{First: first, Rows: rows, Width: r.width}, false
	present, err := r.readLevels(levels)
	r.page = Page{} // its values were not read
	at := h.size + len(body) - len(values)
	if err != nil || present != rows || at+rows*r.width > h.size+h.storedSize {
		return -1, nil
	}
	return int32(at), nil
}
