package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/query"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func (a *app) ingestCommand() *cobra.Command {
	var key, to string
	command := &cobra.Command{
		Use:   "ingest VIEW PATH…",
		Short: "Write the rows of Parquet, CSV or Arrow files to a feature view",
		Long: "Write the rows of files to a feature view: Parquet, CSV or Arrow IPC; of a folder, all such files below it.\n" +
			"When it returns, the rows are durable and visible online and offline.\n" +
			"Each file is written under an idempotency key made of its content, and a large one in parts. So repeating the\n" +
			"command changes nothing, and after an interruption it goes on where it stopped.\n" +
			"--to offline keeps them from being served until driftline materialize; --to online from training sets.\n" +
			"In CSV an empty cell is null, and a time without a zone is UTC.",
		Example: "  driftline ingest weather weather.parquet\n  driftline ingest weather january.csv february.csv\n  driftline ingest weather history/",
		Args:    atLeast(2),
		RunE: func(c *cobra.Command, args []string) error {
			files, err := filesBelow(args[1:])
			if err != nil {
				return err
			}
			if key != "" && len(files) > 1 {
				return usagef("--idempotency-key names one write, and there are %d files", len(files))
			}
			target, err := driftline.ParseTarget(to)
			if err != nil {
				return usageError{err}
			}
			return a.ingest(c.Context(), driftline.ViewName(args[0]), target, files, key)
		},
	}
	command.Flags().StringVar(&key, "idempotency-key", "", "the write's name, so that a retry is safe (default: made of the content)")
	command.Flags().StringVar(&to, "to", "", "online or offline: one of the two stores only (default: both)")
	return command
}

func (a *app) ingest(ctx context.Context, view driftline.ViewName, to driftline.Target, files []string, key string) error {
	return a.withServer(ctx, func(c *client.Client) error {
		target, err := c.FeatureView(ctx, view)
		if err != nil {
			return err
		}
		db, err := query.Open(nil)
		if err != nil {
			return err
		}
		results := []driftline.IngestResult{}
		for i, file := range files {
			result, err := a.ingestFile(ctx, fileIngest{client: c, db: db, view: target, to: to, path: file, key: key,
				title: fmt.Sprintf("%s (%d of %d)", filepath.Base(file), i+1, len(files))})
			if err != nil {
				return errors.Join(resumable(err), db.Close())
			}
			results = append(results, result)
		}
		if err := db.Close(); err != nil {
			return err
		}
		return a.answer(map[string]any{"ingests": results}, func(w io.Writer) error { return printIngests(w, files, results) })
	})
}

// resumable adds to an error that is nobody's fault how to go on.
func resumable(err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) || e.Code != driftline.Unavailable && e.Code != driftline.Deadline && e.Code != driftline.Exhausted {
		return err
	}
	again := *e
	return again.WithHint("run the same command again: it goes on where it stopped")
}

func printIngests(w io.Writer, files []string, results []driftline.IngestResult) error {
	for i, r := range results {
		note := ""
		if r.Duplicate {
			note = " (written before: nothing changed)"
		}
		if _, err := fmt.Fprintf(w, "%s: %d rows into %s%s\n", files[i], r.Rows, r.View, note); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) ingestFile(ctx context.Context, f fileIngest) (driftline.IngestResult, error) {
	rows, err := readRows(ctx, f.db, f.view, f.path)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	rows, done := a.progress(rows, f.title, rowCount(f.path))
	defer done()
	if f.key != "" {
		result, err := f.client.IngestTo(ctx, f.view.Name, f.to, f.key, rows)
		return result, inFile(f.path, err)
	}
	result, err := f.inParts(ctx, rows)
	return result, inFile(f.path, err)
}

// inFile says which of several files an error is about.
func inFile(file string, err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) || e.Code != driftline.Invalid || strings.HasPrefix(e.Message, file) {
		return err
	}
	placed := *e
	placed.Message = file + ": " + e.Message
	return &placed
}

// contentKey is an idempotency key that the same bytes for the same view and stores always
// have.
func contentKey(view driftline.ViewName, to driftline.Target, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", cannotRead(path, err)
	}
	defer file.Close()
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n", view)
	if to != driftline.BothStores {
		fmt.Fprintf(hash, "to %s\n", to)
	}
	if _, err := io.Copy(hash, file); err != nil {
		return "", cannotRead(path, err)
	}
	return "file-" + hex.EncodeToString(hash.Sum(nil)), nil
}

func readRows(ctx context.Context, db *query.DB, view *driftline.FeatureView, path string) (driftline.Batches, error) {
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		return readCSV(view, path)
	}
	return db.ReadFile(ctx, path)
}

// progress counts rows on the terminal as they are sent. done takes the bar away.
// total is -1 if it is not known.
func (a *app) progress(rows driftline.Batches, what string, total int64) (counted driftline.Batches, done func()) {
	if !isTerminal(a.stderr) || a.asJSON {
		return rows, func() {}
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"),
		progressbar.OptionClearOnFinish(), progressbar.OptionSpinnerType(14))
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err == nil {
				_ = bar.Add64(batch.NumRows())
			}
			if !yield(batch, err) {
				return
			}
		}
	}}, func() { _ = bar.Finish() }
}
