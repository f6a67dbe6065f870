package engine

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// Fsck reads the ledger of a data folder that no server has open, folds it, and compares
// the tables that are kept beside it with what it makes of them, and of the points of metrics. With rebuild it mends
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
	store, err := offline.Open(filepath.Join(dir, "warehouse"), nil)
	if err != nil {
		return report, err
	}
	points := pointFiles{store: store}
	points.show(context.Background())
	r, err := registry.Open(db, &registry.Options{Filed: points.sequences})
	if err != nil {
		return report, err
	}
	return r.Fsck(rebuild)
}
