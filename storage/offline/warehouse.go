package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline/storage/durable"
)

// warehouse is the Iceberg catalogue: folders and numbered metadata files, as
// Hadoop catalogues have them, so that engines which know that layout find the
// tables. iceberg-go's own Hadoop catalogue neither fsyncs nor closes its files
// to other users, logs, and links three cloud SDKs; what is needed of it is here.
//
// A commit is the appearance of v<N+1>.metadata.json, the greatest number being
// the current state. version-hint.text, written after it, tells other engines the
// number and us that a file of a greater number than is there was lost.
//
// One process owns the folder; the lock on it is the key-value store's.
type warehouse struct {
	dir string

	mu     sync.Mutex
	latest map[TableID]*table.Table // as last loaded or committed
}

var _ table.CatalogIO = (*warehouse)(nil)

const (
	metadataSuffix = ".metadata.json"
	versionHint    = "version-hint.text"
)

func newWarehouse(dir string) *warehouse {
	return &warehouse{dir: dir, latest: map[TableID]*table.Table{}}
}

// tableDir is where the table's files are.
func (w *warehouse) tableDir(id TableID) string { return filepath.Join(w.dir, id.Namespace, id.Name) }

func (w *warehouse) metadataPath(id TableID, version int) string {
	return filepath.Join(w.tableDir(id), metadataFolder, "v"+strconv.Itoa(version)+metadataSuffix)
}

// LoadTable returns the newest state of a table, or an error that is fs.ErrNotExist.
func (w *warehouse) LoadTable(ctx context.Context, ident table.Identifier) (*table.Table, error) {
	id, err := tableIDOf(ident)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.latest[id]; ok {
		return t, nil
	}
	version, err := w.newestVersion(id)
	if err != nil {
		return nil, err
	}
	t, err := table.NewFromLocation(ctx, ident, w.metadataPath(id, version), w.filesOf(id), w)
	if err != nil {
		return nil, err
	}
	w.latest[id] = t
	return t, nil
}

// newestVersion returns the number of the newest metadata file, or an error that
// is fs.ErrNotExist if the table has none.
func (w *warehouse) newestVersion(id TableID) (int, error) {
	entries, err := os.ReadDir(filepath.Join(w.tableDir(id), metadataFolder))
	if err != nil {
		return 0, err
	}
	newest := 0
	for _, e := range entries {
		if version, ok := versionOf(e.Name()); ok {
			newest = max(newest, version)
		}
	}
	switch hint := w.hint(id); {
	case hint > newest:
		return 0, fmt.Errorf("table %s: metadata of version %d is missing", id, hint)
	case newest == 0:
		return 0, fmt.Errorf("table %s has no metadata: %w", id, fs.ErrNotExist)
	}
	return newest, nil
}

// hint returns the version in version-hint.text, 0 if there is none.
func (w *warehouse) hint(id TableID) int {
	text, err := os.ReadFile(filepath.Join(w.tableDir(id), metadataFolder, versionHint))
	if err != nil {
		return 0
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return version
}

// versionOf reads the number in the name of a metadata file: 12 of v12.metadata.json.
func versionOf(name string) (int, bool) {
	digits, isMetadata := strings.CutSuffix(filepath.Base(name), metadataSuffix)
	digits, isVersion := strings.CutPrefix(digits, "v")
	version, err := strconv.Atoi(digits)
	return version, isMetadata && isVersion && err == nil && version > 0
}

// CommitTable makes the next state of a table durable. An error that is not
// table.ErrCommitFailed leaves open whether it did; the table is then read
// again from disk at its next use.
func (w *warehouse) CommitTable(ctx context.Context, ident table.Identifier, requirements []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	current, err := w.LoadTable(ctx, ident)
	if err != nil {
		return nil, "", err
	}
	for _, r := range requirements {
		if err := r.Validate(current.Metadata()); err != nil {
			return nil, "", fmt.Errorf("%w: %w", table.ErrCommitFailed, err)
		}
	}
	next, err := table.UpdateTableMetadata(current.Metadata(), updates, current.MetadataLocation())
	if err != nil {
		return nil, "", err
	}
	id, _ := tableIDOf(ident) // LoadTable has accepted it
	version, ok := versionOf(current.MetadataLocation())
	if !ok {
		return nil, "", fmt.Errorf("table %s: metadata has no version", id)
	}
	location, err := w.publish(id, version+1, next)
	if err != nil {
		w.forget(id)
		return nil, "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest[id] = table.New(ident, next, location, w.filesOf(id), w)
	return next, location, nil
}

// create makes a table without rows. It is an error if there is one.
func (w *warehouse) create(id TableID, schema *iceberg.Schema) error {
	dir := w.tableDir(id)
	for _, folder := range []string{metadataFolder, dataFolder} {
		if err := durable.MkdirAll(filepath.Join(dir, folder)); err != nil {
			return err
		}
	}
	metadata, err := table.NewMetadata(schema, iceberg.UnpartitionedSpec, table.UnsortedSortOrder, locationOf(dir), tableProperties)
	if err != nil {
		return err
	}
	_, err = w.publish(id, 1, metadata)
	return err
}

// locationOf is a folder as metadata names it. iceberg-go takes a location for a URL and
// puts the paths of manifests together from its parts: a # or ? in a folder's name would
// end the path, and a % that begins no escape would fail. Most paths are their own URL.
func locationOf(dir string) string { return (&url.URL{Path: filepath.ToSlash(dir)}).String() }

// tableProperties are those of every table. Version 2 is what all engines read.
// Merging keeps the number of manifests, and with it the time to list a
// snapshot's files, small; old metadata files are kept for a while for engines
// that opened the table before.
var tableProperties = iceberg.Properties{
	table.PropertyFormatVersion:               "2",
	table.ManifestMergeEnabledKey:             "true",
	table.MetadataDeleteAfterCommitEnabledKey: "true",
	table.MetadataPreviousVersionsMaxKey:      "20",
	table.WriteFormatDefaultKey:               "parquet",
}

// publish writes metadata file v<version>, which must not exist.
func (w *warehouse) publish(id TableID, version int, metadata table.Metadata) (string, error) {
	path := w.metadataPath(id, version)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: version %d exists", table.ErrCommitFailed, version)
	}
	content, err := json.Marshal(metadata)
	if err != nil {
		return "", err
	}
	if err := writeChecked(path, content); err != nil {
		return "", err
	}
	// The commit stands from here on. A hint that is behind costs other engines a
	// look at the folder and us a check, so its failure is no error.
	_ = durable.WriteBytes(filepath.Join(filepath.Dir(path), versionHint), []byte(strconv.Itoa(version)))
	return path, nil
}

// forget makes the next use of a table read it from disk.
func (w *warehouse) forget(id TableID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.latest, id)
}

// tables lists what is there, sorted.
func (w *warehouse) tables() ([]TableID, error) {
	var ids []TableID
	namespaces, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	for _, namespace := range namespaces {
		if !namespace.IsDir() {
			continue
		}
		names, err := os.ReadDir(filepath.Join(w.dir, namespace.Name()))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !name.IsDir() || strings.HasPrefix(name.Name(), ".") {
				continue
			}
			id := TableID{Namespace: namespace.Name(), Name: name.Name()}
			if _, err := w.newestVersion(id); !errors.Is(err, fs.ErrNotExist) {
				ids = append(ids, id) // also if its metadata is damaged: its use says so
			}
		}
	}
	return ids, nil
}

func tableIDOf(ident table.Identifier) (TableID, error) {
	if len(ident) != 2 {
		return TableID{}, fmt.Errorf("table %v: want namespace and name", ident)
	}
	return TableID{Namespace: ident[0], Name: ident[1]}, nil
}
