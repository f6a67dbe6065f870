package engine

import (
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// Fsck reads the ledger of a data folder that no server has open, folds it, and compares
// the tables that are kept beside it with what it makes of them. With rebuild it mends
// them; the ledger itself is never written.
func Fsck(dir string, rebuild bool) (report driftline.FsckReport, err error) {
	if err := checkFormat(dir); err != nil {
		return report, err
	}
	db, err := kv.Open(filepath.Join(dir, "kv"), &kv.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r, err := registry.Open(db, nil)
	if err != nil {
		return report, err
	}
	return r.Fsck(rebuild)
}
