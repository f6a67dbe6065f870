package offline

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/driftline/driftline/storage/durable"
)

// droppedPrefix begins the name of a table's folder while it is being removed. No
// table has such a name.
const droppedPrefix = ".dropped-"

// Drop removes a table with its files and snapshots. It is no error if there is none.
// The caller sees to it that nobody reads the table.
func (s *Store) Drop(_ context.Context, id TableID) error {
	if err := id.check(); err != nil {
		return err
	}
	defer s.lock(id)()
	// Renamed first, the table goes as a whole: after a crash half of it would look damaged.
	folder := s.warehouse.tableDir(id)
	dropped := filepath.Join(filepath.Dir(folder), droppedPrefix+id.Name)
	if err := os.RemoveAll(dropped); err != nil {
		return failure("drop table "+id.String(), err)
	}
	err := os.Rename(folder, dropped)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failure("drop table "+id.String(), err)
	}
	s.warehouse.forget(id)
	if err := durable.SyncDir(filepath.Dir(folder)); err != nil {
		return failure("drop table "+id.String(), err)
	}
	if err := os.RemoveAll(dropped); err != nil {
		return failure("drop table "+id.String(), err)
	}
	return nil
}

// removeDropped finishes what a Drop that was killed had begun.
func (s *Store) removeDropped() error {
	left, err := filepath.Glob(filepath.Join(escapeGlob(s.warehouse.dir), "*", droppedPrefix+"*"))
	if err != nil {
		return failure("open the offline store", err)
	}
	for _, folder := range left {
		if err := os.RemoveAll(folder); err != nil {
			return failure("open the offline store", err)
		}
	}
	return nil
}

// escapeGlob makes a path match itself only.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
