package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/query"
)

// source is a table that a command line names: a local file, or something of the server.
type source struct {
	file   string
	server driftline.DriftSource
}

func parseSource(flag, text string) (source, error) {
	if server, err := driftline.ParseDriftSource(text); err == nil {
		return source{server: server}, nil
	}
	switch strings.ToLower(filepath.Ext(text)) {
	case ".parquet", ".csv", ".arrow":
		if _, err := os.Stat(text); err != nil {
			return source{}, cannotRead(text, err)
		}
		return source{file: text}, nil
	}
	return source{}, usagef("--%s is %q, want a file (.parquet, .csv, .arrow), dataset/NAME, view/NAME or a SELECT", flag, text)
}

// opened is what a source names, ready to be read. Its rows can be ranged over once.
type opened struct {
	name string
	rows driftline.Batches
}

// withTables runs a command on tables: at the server if it has all of them, and otherwise
// here, where rows that the server has are fetched. It is connected to only if it has one.
// atServer may be nil for what only runs here.
func (a *app) withTables(ctx context.Context, sources []source, atServer func(*client.Client) error, here func(*query.DB, []opened) error) error {
	files := 0
	for _, s := range sources {
		if s.file != "" {
			files++
		}
	}
	switch {
	case files == len(sources):
		return openHere(ctx, nil, sources, here)
	case files == 0 && atServer != nil:
		return a.withServer(ctx, atServer)
	}
	return a.withServer(ctx, func(c *client.Client) error { return openHere(ctx, c, sources, here) })
}

func openHere(ctx context.Context, c *client.Client, sources []source, f func(*query.DB, []opened) error) error {
	db, err := query.Open(nil)
	if err != nil {
		return err
	}
	defer db.Close()
	tables := make([]opened, len(sources))
	for i, s := range sources {
		if tables[i], err = s.open(ctx, db, c); err != nil {
			return err
		}
	}
	return f(db, tables)
}

func (s source) open(ctx context.Context, db *query.DB, c *client.Client) (t opened, err error) {
	t.name = s.server.String()
	switch ref := s.server.Ref; {
	case s.file != "":
		t.name = filepath.Base(s.file)
		t.rows, err = db.ReadFile(ctx, s.file)
	case s.server.SQL != "":
		t.rows, err = c.SQL(ctx, s.server.SQL)
	case ref.Kind == driftline.KindView:
		t.rows, err = c.ReadView(ctx, driftline.ViewName(ref.Name))
	default:
		version := 0
		if ref.Version != "" {
			if version, err = strconv.Atoi(ref.Version); err != nil {
				return t, driftline.Errorf(driftline.Invalid, "%s has no version number", ref)
			}
		}
		t.rows, err = c.ReadDataset(ctx, driftline.DatasetName(ref.Name), version)
	}
	return t, err
}

// columns are the rows for who looks at one column after the other.
func (t opened) columns(ctx context.Context, db *query.DB, s source) (driftline.Batches, error) {
	if s.file == "" {
		return t.rows, nil
	}
	return db.ReadColumns(ctx, s.file)
}

// local is a table of a file that is read more than once: Parquet where it lies, other
// files from memory. free gives that back.
func (t opened) local(s source) (rows engine.LocalTable, free func(), err error) {
	if strings.EqualFold(filepath.Ext(s.file), ".parquet") {
		absolute, err := filepath.Abs(s.file)
		if err != nil {
			return engine.LocalTable{}, nil, cannotRead(s.file, err)
		}
		return engine.TableOfParquet(absolute, t.rows.Schema), func() {}, nil
	}
	kept, _, err := t.rows.Collect()
	if err != nil {
		driftline.ReleaseAll(kept)
		return engine.LocalTable{}, nil, err
	}
	return engine.TableOfRows(driftline.BatchesOf(t.rows.Schema, kept...)), func() { driftline.ReleaseAll(kept) }, nil
}
