package offline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

func diff(t *testing.T, s *offline.Store, from, to offline.Snapshot) offline.Diff {
	t.Helper()
	d, err := s.Diff(t.Context(), weather, from.ID, to.ID)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func said(d offline.Diff) string {
	return fmt.Sprintf("+%d -%d rows, +%d -%d files, %s", d.RowsAdded, d.RowsRemoved, len(d.FilesAdded), len(d.FilesRemoved), strings.Join(d.Schema, "; "))
}

func TestADiffSaysWhatChanged(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	row := func(airport, at string) string {
		return fmt.Sprintf(`[{"airport":%q,"event_timestamp":%q,"temp":null}]`, airport, at)
	}
	first := appendRows(t, s, weatherSchema, row("JFK", "2013-01-01T00:00:00Z"))
	appendRows(t, s, weatherSchema, row("EWR", "2013-03-01T00:00:00Z"))
	third := appendRows(t, s, weatherSchema, row("LGA", "2013-02-01T00:00:00Z"))
	fourth := replace1(t, s, "BOS", 4)
	evolve(t, s, offline.RenameColumn("temp", "temperature"), offline.AddColumn(nullable("gust", arrow.PrimitiveTypes.Float32)))
	empty, err := s.Commit(t.Context(), weather, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	evolve(t, s, offline.WidenColumn("gust", arrow.PrimitiveTypes.Float64), offline.DropColumn("temperature"))
	last, err := s.Commit(t.Context(), weather, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		from, to offline.Snapshot
		want     string
	}{
		{first, first, "+0 -0 rows, +0 -0 files, "},
		{first, third, "+2 -0 rows, +2 -0 files, "},
		{third, first, "+0 -2 rows, +0 -2 files, "}, // backwards
		{third, fourth, "+1 -3 rows, +1 -3 files, "},
		{fourth, empty, "+0 -0 rows, +0 -0 files, temp → temperature; + gust float32"},
		{empty, last, "+0 -0 rows, +0 -0 files, gust: float32 → float64; - temperature float64"},
		{first, last, "+1 -1 rows, +1 -1 files, + gust float64; - temp float64"},
	} {
		if got := said(diff(t, s, test.from, test.to)); got != test.want {
			t.Errorf("from %d to %d: %s\nwant %s", test.from.Sequence, test.to.Sequence, got, test.want)
		}
	}
	low, high, ok := diff(t, s, first, third).Bounds("event_timestamp")
	if !ok || low != time.Date(2013, 2, 1, 0, 0, 0, 0, time.UTC) || high != time.Date(2013, 3, 1, 0, 0, 0, 0, time.UTC) {
		t.Errorf("times from %v to %v, %v", low, high, ok)
	}
	if low, high, ok := diff(t, s, first, third).Bounds("airport"); !ok || low != "EWR" || high != "LGA" {
		t.Errorf("airports from %v to %v, %v", low, high, ok)
	}
	for _, column := range []string{"temp", "gust"} { // all null, and not there
		if low, high, ok := diff(t, s, first, third).Bounds(column); ok {
			t.Errorf("%s from %v to %v", column, low, high)
		}
	}
	_, err = s.Diff(t.Context(), weather, first.ID, 1)
	wantCode(t, err, driftline.NotFound, "no snapshot 1")
}

func TestBoundsOfWidenedColumnsAreRead(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	narrow := arrow.NewSchema([]arrow.Field{nullable("n", arrow.PrimitiveTypes.Int32), nullable("f", arrow.PrimitiveTypes.Float32)}, nil)
	mustCreate(t, s, weather, narrow)
	start, err := s.Commit(t.Context(), weather, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, narrow, `[{"n":-7,"f":0.5}]`)
	evolve(t, s, offline.WidenColumn("n", arrow.PrimitiveTypes.Int64), offline.WidenColumn("f", arrow.PrimitiveTypes.Float64))
	wide := arrow.NewSchema([]arrow.Field{nullable("n", arrow.PrimitiveTypes.Int64), nullable("f", arrow.PrimitiveTypes.Float64)}, nil)
	d := diff(t, s, start, appendRows(t, s, wide, `[{"n":4294967296,"f":2}]`))
	if low, high, ok := d.Bounds("n"); !ok || low != int64(-7) || high != int64(4294967296) {
		t.Errorf("n from %v to %v, %v", low, high, ok)
	}
	if low, high, ok := d.Bounds("f"); !ok || low != 0.5 || high != 2.0 {
		t.Errorf("f from %v to %v, %v", low, high, ok)
	}
}
