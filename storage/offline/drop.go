package offline

import (
	"context"
	"os"
	"path/filepath"

	"github.com/driftline/driftline/storage/durable"
)

// Drop removes a table with its files and snapshots. It is no error if there is none.
// The caller sees to it that nobody reads the table.
func (s *Store) Drop(_ context.Context, id TableID) error {
	if err := id.check(); err != nil {
		return err
	}
	defer s.lock(id)()
	folder := s.warehouse.tableDir(id)
	if _, err := os.Stat(folder); os.IsNotExist(err) {
		return nil
	}
	defer s.warehouse.forget(id)
	if err := os.RemoveAll(folder); err != nil {
		return failure("drop table "+id.String(), err)
	}
	return durable.SyncDir(filepath.Dir(folder))
}
