package columns

import "bytes"

// Nulls is what one reader found out about the nulls of its page, for others that read the
// same rows: a row without an answer has none of a view's features, so that the columns of a
// dataset are null in the same rows. Equal bytes are compared far sooner than they are
// decoded. The zero Nulls is empty. It is not for concurrent use.
type Nulls struct {
	levels  []byte // as the page has them, decompressed
	rows    int
	valid   []byte
	present int
}

// same reports whether a page has the nulls of the page that was kept.
func (n *Nulls) same(levels []byte, rows int) bool {
	return n != nil && n.valid != nil && n.rows == rows && bytes.Equal(n.levels, levels)
}

// keep copies what is known of a page that has nulls.
func (n *Nulls) keep(levels []byte, p *Page, present int) {
	if n == nil {
		return
	}
	n.levels, n.valid = append(n.levels[:0], levels...), append(n.valid[:0], p.Valid...)
	n.rows, n.present = p.Rows, present
}
