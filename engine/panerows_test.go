package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// newDrifted is an engine with a day of rows that drift: delay of one carrier, a third of
// whose values are missing, and a new carrier of a long and awkward name.
func newDrifted(t *testing.T) *testenv.Env {
	t.Helper()
	env := testenv.New(t)
	m := watchDaily(`
		SELECT TIMESTAMPTZ '2013-06-03 00:00:00+00' + to_seconds(i * 216) AS seen, i,
			CASE WHEN i >= 11200 AND i % 10 = 0 THEN 'o''Hare "x"' ELSE 'c' || i % 4 END AS carrier,
			CASE WHEN i >= 11200 AND i % 3 = 0 THEN NULL ELSE (i * 37 % 101)::DOUBLE + CASE WHEN i >= 11200 THEN 200 ELSE 0 END END AS delay
		FROM range(16000) r(i)`, driftline.MonitorReference{From: dayOf(0), To: dayOf(28)})
	m.Tests = driftline.DriftOptions{}
	m.Segments = []driftline.Segment{{Name: "parity", Expression: "i % 2"}, {Name: "parity=x", Expression: "i % 3"}}
	if got := outcomesOf(evaluated(t, env, m, 29)); got != "d" {
		t.Fatalf("outcomes %s", got)
	}
	return env
}

func TestRowsBehindAFinding(t *testing.T) {
	env := newDrifted(t)
	for _, c := range []struct {
		ask   driftline.PaneRowsRequest
		count int64
		first string // row: i, carrier, delay
		where string
	}{
		{driftline.PaneRowsRequest{}, 400, "11200 o'Hare \"x\" 298", ""},
		{driftline.PaneRowsRequest{Side: "reference"}, 11200, "0 c0 0", ""},
		{driftline.PaneRowsRequest{Segment: "parity=1"}, 200, "11201 c1 234", "CAST((i % 2"},
		{driftline.PaneRowsRequest{Segment: "parity=x=2"}, 133, "11201 c1 234", "CAST((i % 3"},
		{driftline.PaneRowsRequest{Column: "carrier"}, 40, "11200 o'Hare \"x\" 298", `CAST("carrier" AS VARCHAR) = 'o''Hare "x"'`},
		{driftline.PaneRowsRequest{Column: "delay", Bin: driftline.MissingBin}, 133, "11202 c2 (null)", `"delay" IS NULL`},
		{driftline.PaneRowsRequest{Column: "delay", Side: "reference", Bin: driftline.MissingBin}, 0, "", ""},
	} {
		chosen, rows, err := env.Engine.PaneRows(context.Background(), "daily", dayOf(28), c.ask)
		if err != nil {
			t.Errorf("%+v: %v", c.ask, err)
			continue
		}
		if got := firstRow(t, rows); chosen.Count != c.count || got != c.first || !strings.Contains(chosen.Where, c.where) {
			t.Errorf("%+v: %d rows, first %q, where %s; want %d, %q", c.ask, chosen.Count, got, chosen.Where, c.count, c.first)
		}
	}
}

// firstRow is the first row's i, carrier and delay.
func firstRow(t *testing.T, rows driftline.Batches) string {
	t.Helper()
	batches, n, err := rows.Collect()
	defer driftline.ReleaseAll(batches)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return ""
	}
	column := func(name string) string { return batches[0].Column(rows.Schema.FieldIndices(name)[0]).ValueStr(0) }
	return fmt.Sprintf("%s %s %s", column("i"), column("carrier"), column("delay"))
}

// Bins of a column's histogram divide its rows: each row is in one of them, on both sides,
// and as many as the histogram says.
func TestBinsDivideTheRows(t *testing.T) {
	env := newDrifted(t)
	report, err := env.Engine.MonitorPane(context.Background(), "daily", dayOf(28), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Reports[0].Report.Columns {
		bins := len(c.Histogram.Current)
		for bin := 1; bin <= bins; bin++ {
			for side, want := range map[string]int64{driftline.SidePane: c.Histogram.Current[bin-1], driftline.SideReference: c.Histogram.Reference[bin-1]} {
				chosen, rows, err := env.Engine.PaneRows(context.Background(), "daily", dayOf(28), driftline.PaneRowsRequest{Column: c.Column, Bin: bin, Side: side, Limit: 1})
				if err != nil {
					t.Fatalf("%s, bin %d: %v", c.Column, bin, err)
				}
				if firstRow(t, rows); chosen.Count != want {
					t.Errorf("%s, bin %d, %s: %d rows, the histogram has %d (%s)", c.Column, bin, side, chosen.Count, want, chosen.Where)
				}
			}
		}
	}
}

func TestRowsThatNobodyCanShow(t *testing.T) {
	env := newDrifted(t)
	for _, c := range []struct {
		ask  driftline.PaneRowsRequest
		at   time.Time
		code driftline.Code
		says string
	}{
		{driftline.PaneRowsRequest{Limit: 1001}, dayOf(28), driftline.Invalid, "limit is 1001, want 1 to 1000"},
		{driftline.PaneRowsRequest{Side: "left"}, dayOf(28), driftline.Invalid, `side "left" is not known`},
		{driftline.PaneRowsRequest{Segment: "parity"}, dayOf(28), driftline.NotFound, `no segment "parity"`},
		{driftline.PaneRowsRequest{Slice: 77}, dayOf(28), driftline.NotFound, "no slice 77"},
		{driftline.PaneRowsRequest{Bin: 2}, dayOf(28), driftline.Invalid, "bin 2 is of no column"},
		{driftline.PaneRowsRequest{Column: "dealy"}, dayOf(28), driftline.NotFound, `no column "dealy"`},
		{driftline.PaneRowsRequest{Column: "delay", Bin: 500}, dayOf(28), driftline.NotFound, "no bin 500"},
		{driftline.PaneRowsRequest{}, dayOf(3), driftline.NotFound, "has closed no pane"},
	} {
		_, _, err := env.Engine.PaneRows(context.Background(), "daily", c.at, c.ask)
		wantFailure(t, err, c.code, c.says)
	}
}
