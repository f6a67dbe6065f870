package main

import (
	"bufio"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

// outKinds are the files that rows can be written to, by the ends of their names.
var outKinds = []string{".parquet", ".arrow", ".csv", ".json"}

// checkOut refuses a file of no known kind before anything is asked of the server.
func checkOut(path string) error {
	if path == "" || slices.Contains(outKinds, strings.ToLower(filepath.Ext(path))) {
		return nil
	}
	return usagef("--out is %q, want a name that ends in %s", path, strings.Join(outKinds, ", "))
}

// putRows prints rows or writes them to a file.
func (a *app) putRows(rows driftline.Batches, out, format string) error {
	if out == "" {
		return printRows(a.stdout, rows, a.format(format))
	}
	return writeRows(out, rows)
}

// writeRows writes rows to a file, which appears when it is complete.
func writeRows(path string, rows driftline.Batches) error {
	if err := checkOut(path); err != nil {
		return err
	}
	err := durable.WriteFile(path, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<20)
		return errors.Join(encodeRows(out, strings.ToLower(filepath.Ext(path)), rows), out.Flush())
	})
	var failure *driftline.Error
	if err == nil || errors.As(err, &failure) { // the rows failed, not the file
		return err
	}
	return driftline.Errorf(driftline.Invalid, "cannot write %s: %w", path, err).WithHint("choose a folder that exists and has room")
}

func encodeRows(out *bufio.Writer, kind string, rows driftline.Batches) error {
	switch kind {
	case ".csv":
		return printCSV(out, rows)
	case ".json":
		return printJSON(out, rows)
	case ".arrow":
		return writeArrow(out, rows)
	}
	return writeParquet(out, rows)
}

func writeArrow(out io.Writer, rows driftline.Batches) error {
	writer, err := ipc.NewFileWriter(out, ipc.WithSchema(rows.Schema))
	if err != nil {
		return err
	}
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		if err := writer.Write(batch); err != nil {
			return err
		}
	}
	return writer.Close()
}

func writeParquet(out io.Writer, rows driftline.Batches) error {
	options := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("driftline"))
	// The Arrow schema in the footer keeps what Parquet has no word for, such as time zones.
	writer, err := pqarrow.NewFileWriter(rows.Schema, out, options, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return err
	}
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		if err := writer.WriteBuffered(batch); err != nil {
			return err
		}
	}
	return writer.Close()
}
