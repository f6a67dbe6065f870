package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/query"
)

// An import that was cut off after any number of rows goes on where it stopped: every
// row is there once at the end, and the parts that were done are not sent again.
func TestIngestGoesOnWhereItStopped(t *testing.T) {
	old := rowsPerPart
	rowsPerPart = 3
	t.Cleanup(func() { rowsPerPart = old })
	names := []string{"readings.csv", "readings.arrow", "readings.ipc", "readings.parquet"}
	for cut := range 10 {
		name := names[cut%len(names)]
		t.Run(fmt.Sprintf("%s after %d rows", name, cut), func(t *testing.T) {
			server := startServer(t)
			t.Chdir(t.TempDir())
			f := readings(t, server, 10)
			ctx := context.Background()
			convert(t, f.db, f.path, name)
			f.path = name
			rows, err := readRows(ctx, f.db, f.view, f.path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.inParts(ctx, cutAfter(rows, cut)); !errors.Is(err, errCut) {
				t.Fatalf("the first try ended with %v", err)
			}
			result, err := f.inParts(ctx, rows)
			if err != nil || result.Rows != 10 {
				t.Fatalf("the second try wrote %d rows, %v; want 10", result.Rows, err)
			}
			again, err := f.inParts(ctx, rows)
			if err != nil || !again.Duplicate || again.Rows != 10 {
				t.Errorf("a third try answered %+v, %v; want a duplicate of 10 rows", again, err)
			}
			stored, err := f.client.SQL(ctx, "SELECT count(*), count(DISTINCT value) FROM features.readings")
			if err != nil {
				t.Fatal(err)
			}
			if got := firstRow(t, stored); !slices.Equal(got, []string{"10", "10"}) {
				t.Errorf("the view has %v rows and values, want 10 and 10", got)
			}
		})
	}
}

func TestIngestOfAFolder(t *testing.T) {
	server := startServer(t)
	t.Chdir(t.TempDir())
	readings(t, server, 2)
	for _, name := range []string{"in/b.csv", "in/deep/a.CSV", "in/.hidden.csv", "in/_tmp/c.csv", "in/notes.txt"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		writeReadings(t, name, len(name), 2) // different rows in each
	}
	s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
	if got, want := s.run([]string{"ingest", "readings", "in"}), "in/b.csv: 2 rows into readings\nin/deep/a.CSV: 2 rows into readings\n"; got != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
	if err := os.Mkdir("empty", 0o777); err != nil {
		t.Fatal(err)
	}
	if got := s.run([]string{"ingest", "readings", "empty"}); !strings.Contains(got, `folder "empty" has no file that can be read`) {
		t.Errorf("an empty folder answered %s", got)
	}
}

// Arrow files are imported as others are: a file, a stream, Feather, and a folder of all three.
func TestIngestOfArrow(t *testing.T) {
	server := startServer(t)
	t.Chdir(t.TempDir())
	db := readings(t, server, 2).db
	if err := os.Mkdir("in", 0o777); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"in/a.arrow", "in/b.feather", "in/c.ipc"} {
		writeReadings(t, "rows.csv", i, 3)
		convert(t, db, "rows.csv", name)
	}
	s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
	if got, want := s.run([]string{"ingest", "readings", "in/a.arrow"}), "3 rows into readings"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got := s.run([]string{"ingest", "readings", "in"})
	for _, want := range []string{"in/b.feather: 3 rows into readings\n", "in/c.ipc: 3 rows into readings\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	const query = "select sensor, count(*) as n, sum(value) as s from features.readings group by sensor order by sensor"
	if got, want := s.run([]string{"sql", "--format", "csv", query}), "sensor,n,s\n0,3,3\n1,3,3\n2,3,3\n"; got != want {
		t.Errorf("the view has\n%s want\n%s", got, want)
	}
}

// convert writes the rows of a file as another file, of the kind that its name says.
func convert(t *testing.T, db *query.DB, from, to string) {
	t.Helper()
	if from == to {
		return
	}
	rows, err := db.ReadFile(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var w interface {
		Write(arrow.RecordBatch) error
		Close() error
	}
	switch filepath.Ext(to) {
	case ".parquet":
		w, err = pqarrow.NewFileWriter(rows.Schema, out, nil, pqarrow.DefaultWriterProps())
	case ".ipc":
		w = ipc.NewWriter(out, ipc.WithSchema(rows.Schema))
	default:
		w, err = ipc.NewFileWriter(out, ipc.WithSchema(rows.Schema))
	}
	if err != nil {
		t.Fatal(err)
	}
	for batch, err := range rows.All {
		if err == nil {
			err = w.Write(batch)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

var errCut = errors.New("cut off")

// cutAfter is a stream of single rows that breaks after so many.
func cutAfter(rows driftline.Batches, n int) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		left := n
		for batch := range rows.All {
			for i := range batch.NumRows() {
				if left == 0 {
					yield(nil, errCut)
					return
				}
				row := batch.NewSlice(i, i+1)
				more := yield(row, nil)
				row.Release()
				if left--; !more {
					return
				}
			}
		}
	}}
}

// readings registers a view and returns the ingest of a file of n rows.
func readings(t *testing.T, server string, n int) *fileIngest {
	t.Helper()
	c, err := client.Dial(context.Background(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	db, err := query.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	_, err = c.Apply(context.Background(), driftline.Definitions{
		Entities: []driftline.Entity{{Name: "sensor", JoinKeys: []driftline.Field{{Name: "sensor", Type: driftline.Int64}}}},
		FeatureViews: []driftline.FeatureView{{Name: "readings", Entities: []driftline.EntityName{"sensor"},
			Features: []driftline.Field{{Name: "value", Type: driftline.Int64}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	view, err := c.FeatureView(context.Background(), "readings")
	if err != nil {
		t.Fatal(err)
	}
	writeReadings(t, "readings.csv", 0, n)
	return &fileIngest{client: c, db: db, view: view, path: "readings.csv"}
}

func writeReadings(t *testing.T, name string, sensor, n int) {
	t.Helper()
	text := "sensor,event_timestamp,value\n"
	for i := range n {
		text += fmt.Sprintf("%d,2026-01-01T00:00:%02dZ,%d\n", sensor, i, i)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// firstRow returns the first row of an answer as text.
func firstRow(t *testing.T, rows driftline.Batches) []string {
	t.Helper()
	batches, _, err := rows.Collect()
	defer driftline.ReleaseAll(batches)
	if err != nil {
		t.Fatal(err)
	}
	return cells(batches[0], 0, "NULL")
}
