package engine

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// newestBytes bounds the rows that one write keeps in memory until it is committed.
const newestBytes = 64 << 20

// newestRows keeps the newest row of each entity from when a file was sorted, so that
// it goes online without the file's being read again. What does not fit is not kept,
// and then read. A nil newestRows has nothing.
type newestRows struct {
	view  *driftline.FeatureView       // that they are rows of
	files map[string]arrow.RecordBatch // by content hash
	bytes int64
}

// keep is an [offline.Newest].
func (n *newestRows) keep(file offline.File, rows arrow.RecordBatch) error {
	size := driftline.BatchBytes(rows)
	if n.bytes+size > newestBytes {
		return nil
	}
	if n.files == nil {
		n.files = map[string]arrow.RecordBatch{}
	}
	rows.Retain()
	n.files[file.Hash] = rows
	n.bytes += size
	return nil
}

// of yields a file's newest rows in the view's stored schema; false if they are not
// kept, or the view has changed since they were.
func (n *newestRows) of(file offline.File, view *driftline.FeatureView) (driftline.Batches, bool) {
	if n == nil || n.files[file.Hash] == nil || !sameShape(n.view, view) {
		return driftline.Batches{}, false
	}
	return driftline.BatchesOf(view.StoredSchema(), n.files[file.Hash]), true
}

func (n *newestRows) release() {
	for _, rows := range n.files {
		rows.Release()
	}
	n.files = nil
}
