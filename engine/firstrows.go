package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
)

// mostFirstRowsFile is how large a file may be that is copied out to show its first rows.
const mostFirstRowsFile = 16 << 20

// FirstRows yields the first n rows of a Parquet file that is an artifact. Whoever logged it may have
// written what they liked: it is read by SQL as a client's is, in a process of its own.
func (e *Engine) FirstRows(ctx context.Context, artifact driftline.Artifact, n int, see func(arrow.RecordBatch) error) (err error) {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	if artifact.Size > mostFirstRowsFile {
		return driftline.Errorf(driftline.Exhausted, "%s has %d bytes, want at most %d", artifact.Path, artifact.Size, int64(mostFirstRowsFile)).
			WithHint("download it")
	}
	path, err := e.copyOut(ctx, artifact)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	selection, err := e.query.ParseSelect(ctx, fmt.Sprintf("SELECT * FROM data LIMIT %d", n))
	if err != nil {
		return err
	}
	rows, err := e.query.Select(query.WithinSelect(ctx), selection, []query.Table{{Name: "data", Rows: query.Rows{Files: []string{path}}}}, nil)
	if err != nil {
		return err
	}
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		if err := see(batch); err != nil {
			return err
		}
	}
	return nil
}
