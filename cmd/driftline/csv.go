package main

import (
	"encoding/base64"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// csvBatch is how many rows of CSV become one batch.
const csvBatch = 64 << 10

// readCSV reads a file by the view's types instead of by what its values look
// like, which would make the key "007" the number 7. An empty cell is null.
func readCSV(view *driftline.FeatureView, path string) (driftline.Batches, error) {
	schema, err := csvSchema(view, path)
	if err != nil {
		return driftline.Batches{}, err
	}
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		file, err := os.Open(path)
		if err != nil {
			yield(nil, cannotRead(path, err))
			return
		}
		defer file.Close()
		table := &csvTable{path: path, reader: csv.NewReader(file), builder: array.NewRecordBuilder(memory.DefaultAllocator, schema)}
		defer table.builder.Release()
		table.reader.ReuseRecord = true
		if _, err := table.reader.Read(); err != nil {
			yield(nil, table.malformed(err))
			return
		}
		for more := true; more; {
			var batch arrow.RecordBatch
			if batch, more, err = table.read(csvBatch); err != nil {
				yield(nil, err)
				return
			}
			more = yieldOnce(batch, yield) && more
		}
	}}, nil
}

func yieldOnce(batch arrow.RecordBatch, yield func(arrow.RecordBatch, error) bool) bool {
	defer batch.Release()
	return batch.NumRows() == 0 || yield(batch, nil)
}

// csvSchema gives each column of the header the type that the view has for it.
func csvSchema(view *driftline.FeatureView, path string) (*arrow.Schema, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	defer file.Close()
	header, err := csv.NewReader(file).Read()
	if errors.Is(err, io.EOF) {
		return nil, driftline.Errorf(driftline.Invalid, "%s is empty", path).WithHint("the first line names the columns")
	}
	if err != nil {
		return nil, (&csvTable{path: path}).malformed(err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // spreadsheets begin a file with a byte order mark
	want := view.Schema()
	fields := make([]arrow.Field, len(header))
	for i, name := range header {
		found, ok := want.FieldsByName(name)
		if !ok {
			return nil, noColumn(view, path, name)
		}
		fields[i] = found[0]
		fields[i].Nullable = true // the server says which nulls are wrong, and where
	}
	return arrow.NewSchema(fields, nil), nil
}

func noColumn(view *driftline.FeatureView, path, name string) error {
	var known []string
	for _, f := range view.Schema().Fields() {
		known = append(known, f.Name)
	}
	e := driftline.Errorf(driftline.Invalid, "%s:1: view %q has no column %q", path, view.Name, name)
	if near := driftline.Nearest(name, known); near != "" {
		return e.WithHint("did you mean %q?", near)
	}
	return e.WithHint("the view has: %s", strings.Join(known, ", "))
}

// csvTable turns lines of text into batches.
type csvTable struct {
	path    string
	reader  *csv.Reader
	builder *array.RecordBuilder
}

// read returns the next rows, and whether there may be more. The caller releases the batch.
func (t *csvTable) read(rows int) (batch arrow.RecordBatch, more bool, err error) {
	for range rows {
		line, err := t.reader.Read()
		if errors.Is(err, io.EOF) {
			return t.builder.NewRecordBatch(), false, nil
		}
		if err != nil {
			return nil, false, t.malformed(err)
		}
		for i, cell := range line {
			if cell == "" {
				t.builder.Field(i).AppendNull()
			} else if !appendText(t.builder.Field(i), cell) {
				return nil, false, t.misfit(i, cell)
			}
		}
	}
	return t.builder.NewRecordBatch(), true, nil
}

func (t *csvTable) misfit(column int, cell string) error {
	line, _ := t.reader.FieldPos(column)
	field := t.builder.Schema().Field(column)
	want, _ := driftline.TypeOf(field.Type) // a view has no other types
	return driftline.Errorf(driftline.Invalid, "%s:%d: column %q is %q, want %s", t.path, line, field.Name, cell, want)
}

func (t *csvTable) malformed(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return driftline.Errorf(driftline.Invalid, "%s:%d: %v", t.path, parse.Line, parse.Err)
	}
	return cannotRead(t.path, err)
}

// appendText appends a value as people write it, and reports whether it is one
// of the builder's type.
func appendText(builder array.Builder, text string) bool {
	var err error
	switch b := builder.(type) {
	case *array.StringBuilder:
		b.Append(text)
	case *array.BinaryBuilder:
		var v []byte
		v, err = base64.StdEncoding.DecodeString(text)
		b.Append(v)
	case *array.BooleanBuilder:
		var v bool
		v, err = strconv.ParseBool(text)
		b.Append(v)
	case *array.Int32Builder:
		var v int64
		v, err = strconv.ParseInt(text, 10, 32)
		b.Append(int32(v))
	case *array.Int64Builder:
		var v int64
		v, err = strconv.ParseInt(text, 10, 64)
		b.Append(v)
	case *array.Float32Builder:
		var v float64
		v, err = strconv.ParseFloat(text, 32)
		b.Append(float32(v))
	case *array.Float64Builder:
		var v float64
		v, err = strconv.ParseFloat(text, 64)
		b.Append(v)
	case *array.TimestampBuilder:
		v, ok := parseTime(text)
		b.Append(arrow.Timestamp(v.UnixMicro()))
		return ok
	}
	return err == nil
}

// timeForms are the ways to write a time; without a zone it is UTC.
var timeForms = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
}

func parseTime(text string) (time.Time, bool) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
