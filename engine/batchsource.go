package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

// sourceRows returns the rows that a view's source has now, and a pin with a
// fingerprint of its files: whether they are the same later on can be told, but nobody
// keeps them.
func (e *Engine) sourceRows(ctx context.Context, view *driftline.FeatureView) (query.Rows, driftline.Pin, error) {
	rows, err := e.openSource(ctx, view)
	if err != nil {
		return query.Rows{}, driftline.Pin{}, err
	}
	fingerprint, err := fingerprintOf(rows.Files)
	if err != nil {
		return query.Rows{}, driftline.Pin{}, sourceError(view, "cannot be read", err)
	}
	return rows, driftline.Pin{View: view.Name, Source: fingerprint}, nil
}

func (e *Engine) openSource(ctx context.Context, view *driftline.FeatureView) (query.Rows, error) {
	path, err := e.allowedSource(view)
	if err != nil {
		return query.Rows{}, err
	}
	rows := query.Rows{Unsequenced: true}
	if view.Source.Format == driftline.IcebergSource {
		table, err := offline.OpenExternal(ctx, path)
		if err != nil {
			return query.Rows{}, sourceError(view, "cannot be read", err)
		}
		rows.Files, rows.Columns = table.Files, table.Columns
	} else if rows.Files, err = parquetBelow(path); err != nil {
		return query.Rows{}, sourceError(view, "cannot be read", err)
	}
	for _, file := range rows.Files { // a link may lead out of the folder
		if _, err := e.allowedPath(file); err != nil {
			return query.Rows{}, sourceError(view, "cannot be read", err)
		}
	}
	return rows, nil
}

// realFolders returns the real paths of folders that must exist.
func realFolders(folders []string) ([]string, error) {
	real := make([]string, len(folders))
	for i, folder := range folders {
		absolute, err := filepath.Abs(folder)
		if err == nil {
			real[i], err = filepath.EvalSymlinks(absolute)
		}
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "the folder %s of sources cannot be read: %w", folder, err).
				WithHint("make it first, or leave it out of --allow-source")
		}
	}
	return real, nil
}

// allowedSource returns the real path of a view's source, which must be in a folder
// that the server's operator has opened to views.
func (e *Engine) allowedSource(view *driftline.FeatureView) (string, error) {
	path, err := e.allowedPath(view.Source.Path)
	if err != nil {
		return "", sourceError(view, "cannot be read", err)
	}
	return path, nil
}

func (e *Engine) allowedPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	for _, root := range e.sourceRoots {
		if err == nil && (real == root || strings.HasPrefix(real, strings.TrimSuffix(root, "/")+"/")) {
			return real, nil
		}
		// A path that does not exist may be spoken of only if it would be allowed.
		if err != nil && strings.HasPrefix(filepath.Clean(path), strings.TrimSuffix(root, "/")+"/") {
			return "", err
		}
	}
	return "", driftline.Errorf(driftline.Permission, "it is in no folder that this server reads sources from").
		WithHint("start the server with --allow-source and the folder")
}

func sourceError(view *driftline.FeatureView, what string, cause error) error {
	ref := driftline.ViewRef(view.Name)
	var known *driftline.Error
	switch {
	case errors.As(cause, &known):
		e := driftline.Errorf(known.Code, "view %q: its %s source %s: %s", view.Name, view.Source.Format, what, known.Message).WithRef(ref)
		return e.WithHint("%s", known.Hint)
	case errors.Is(cause, fs.ErrNotExist):
		return driftline.Errorf(driftline.NotFound, "view %q: its %s source does not exist", view.Name, view.Source.Format).WithRef(ref).
			WithHint("check the path in the view's definition")
	}
	e := driftline.Errorf(driftline.Unavailable, "view %q: its %s source %s", view.Name, view.Source.Format, what).WithRef(ref)
	e.Err = cause
	return e
}

// parquetBelow lists a file, or the Parquet files below a folder by name. Names that
// begin with a dot or an underscore are other programs' own.
func parquetBelow(root string) (files []string, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == root && !entry.IsDir():
			files = append(files, path)
		case path != root && strings.ContainsAny(entry.Name()[:1], "._"):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case !entry.IsDir() && strings.EqualFold(filepath.Ext(path), ".parquet"):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// fingerprintOf changes when a file is added, removed, replaced or written to.
func fingerprintOf(files []string) (string, error) {
	hash := sha256.New()
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s\x00%d\x00%d\n", file, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(hash.Sum(nil)[:16]), nil
}

// checkSources refuses definitions whose sources cannot be read or do not have the
// view's columns, before anything is registered.
func (e *Engine) checkSources(ctx context.Context, defs driftline.Definitions) error {
	for _, view := range defs.FeatureViews {
		if view.Source == nil {
			continue
		}
		whole, err := e.completeView(&view, defs.Entities)
		if err != nil {
			return err
		}
		if err := e.checkSource(ctx, whole); err != nil {
			return err
		}
	}
	return nil
}

// completeView fills in what the catalogue would: a plan has accepted the view.
func (e *Engine) completeView(view *driftline.FeatureView, entities []driftline.Entity) (*driftline.FeatureView, error) {
	whole := *view
	if whole.EventTimestamp == "" {
		whole.EventTimestamp = driftline.DefaultEventTimestamp
	}
	whole.JoinKeys = nil
	for _, name := range view.Entities {
		at := slices.IndexFunc(entities, func(e driftline.Entity) bool { return e.Name == name })
		if at >= 0 {
			whole.JoinKeys = append(whole.JoinKeys, entities[at].JoinKeys...)
			continue
		}
		entity, err := e.registry.Entity(name)
		if err != nil {
			return nil, err
		}
		whole.JoinKeys = append(whole.JoinKeys, entity.JoinKeys...)
	}
	return &whole, nil
}

// checkSource compares the columns of a source with the view's. It may have others too.
func (e *Engine) checkSource(ctx context.Context, view *driftline.FeatureView) error {
	rows, err := e.openSource(ctx, view)
	if err != nil {
		return err
	}
	if len(rows.Files) == 0 {
		return driftline.Errorf(driftline.NotFound, "view %q: its %s source has no Parquet file", view.Name, view.Source.Format).
			WithRef(driftline.ViewRef(view.Name)).WithHint("check the path, or put the first file there and apply again")
	}
	has, err := e.query.FileSchema(ctx, rows)
	if code := driftline.CodeOf(err); code == driftline.Deadline || code == driftline.Unavailable {
		return err
	}
	if err != nil { // the library says it of a file of our own, and hides which
		return driftline.Errorf(driftline.Invalid, "view %q: its %s source has a file that is not Parquet", view.Name, view.Source.Format).
			WithRef(driftline.ViewRef(view.Name)).WithHint("take the file out of the folder, or write it again")
	}
	wanted := view.Schema()
	fields := slices.DeleteFunc(has.Fields(), func(f arrow.Field) bool { return !wanted.HasField(f.Name) })
	_, err = newConformer(view, arrow.NewSchema(fields, nil), e.mem)
	return err
}

// checkServed refuses online what is never there.
func checkServed(resolved []registry.Resolved) error {
	for _, r := range resolved {
		what, hint := "", ""
		switch {
		case r.View.Horizon > 0:
			what, hint = "has labels, which are known only afterwards", "ask for it in training sets, and leave it out here"
		case r.View.Source != nil:
			what, hint = "reads its rows in place and is in training sets and SQL only", "ingest the rows into a view without a source to serve them"
		case !r.View.ServedOnline():
			what, hint = "is a prediction log, which is in training sets and SQL only", "driftline why prediction/ID shows one, and SELECT … FROM features."+string(r.View.Name)+" any number"
		case r.Projection.Lag > 0:
			what, hint = "is asked for with a lag of "+r.Projection.Lag.String(), "leave the lag out, or ask for the values at an earlier time"
		default:
			continue
		}
		return driftline.Errorf(driftline.Invalid, "view %q %s", r.View.Name, what).
			WithRef(driftline.ViewRef(r.View.Name)).WithHint("%s", hint)
	}
	return nil
}

// checkWritable refuses rows for a view whose rows somebody else writes.
func checkWritable(view *driftline.FeatureView) error {
	if view.Source == nil {
		return nil
	}
	return driftline.Errorf(driftline.FailedPrecondition, "view %q reads its rows in place from a %s source", view.Name, view.Source.Format).
		WithRef(driftline.ViewRef(view.Name)).WithHint("write them there, or define another view without a source")
}

// quotedList names columns in SQL.
func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = `"` + name + `"` // column names have no quotes in them
	}
	return strings.Join(quoted, ", ")
}
