package ipcverify

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// Values checks the values of a decoded batch: offsets that rise and stay inside
// their data, indexes inside their dictionary, strings of UTF-8, null counts that
// are true. A batch that passes can be read without a panic.
func Values(batch arrow.RecordBatch) error {
	for i, column := range batch.Columns() {
		if err := columnValues(column); err != nil {
			return driftline.Errorf(driftline.Invalid, "column %q of the batch is damaged: %w", batch.ColumnName(i), err)
		}
	}
	return nil
}

func columnValues(column arrow.Array) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its buffers contradict each other")
		}
	}()
	// A null column has no buffers, which arrow-go 18.8 writes, reads and then calls invalid.
	if column.DataType().ID() == arrow.NULL {
		return nil
	}
	return array.ValidateFull(column)
}
