package kv

import (
	"bytes"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// maxMerger is what [Batch.Max] means. Its name is in every data folder: Pebble
// refuses to open one under another name.
var maxMerger = &pebble.Merger{
	Name: "driftline.max",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		m := maxima.Get().(*maximum)
		m.value = append(m.value[:0], value...)
		return m, nil
	},
}

// maxima are those that nobody uses: every read of a row that is not yet merged takes one.
var maxima = sync.Pool{New: func() any { return new(maximum) }}

// maximum is the greatest value seen. Age does not matter, and neither does
// whether the oldest operand is among those merged.
type maximum struct{ value []byte }

func (m *maximum) observe(value []byte) error {
	if bytes.Compare(value, m.value) > 0 {
		m.value = append(m.value[:0], value...)
	}
	return nil
}

func (m *maximum) MergeNewer(value []byte) error { return m.observe(value) }
func (m *maximum) MergeOlder(value []byte) error { return m.observe(value) }

// Finish lends the value until Close.
func (m *maximum) Finish(bool) ([]byte, io.Closer, error) { return m.value, m, nil }

// Close gives m back for the next merge.
func (m *maximum) Close() error {
	maxima.Put(m)
	return nil
}
