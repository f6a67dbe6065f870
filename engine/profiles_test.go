package engine_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// day0 is a Wednesday.
var day0 = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// newSensors has a view of rows of three days, in files and in the log: from the second day
// on the temperature is higher and there is another kind.
func newSensors(t *testing.T) *testenv.Env {
	t.Helper()
	env := testenv.New(t)
	env.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "sensor", JoinKeys: []driftline.Field{{Name: "sensor", Type: driftline.Int64}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: "readings", Entities: []driftline.EntityName{"sensor"}, EventTimestamp: "event_timestamp",
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "kind", Type: driftline.String}, {Name: "ok", Type: driftline.Bool}},
		}},
	})
	view, err := env.Engine.Registry().View("readings")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][2]int{{0, 60_000}, {60_000, 61_000}, {61_000, 62_000}} {
		rows := sensorRows(env, view.Schema(), part[0], part[1])
		if _, err := env.Engine.Ingest(t.Context(), "readings", "", rows); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

func sensorRows(env *testenv.Env, schema *arrow.Schema, from, to int) driftline.Batches {
	b := array.NewRecordBuilder(env.Mem, schema)
	defer b.Release()
	for i := from; i < to; i++ {
		day := i % 3
		at := day0.Add(time.Duration(day)*24*time.Hour + time.Duration(i)*time.Second)
		temp := float64((i*7919)%10007) / 100
		kind := []string{"indoor", "outdoor"}[i%2]
		if day > 0 {
			temp += 20
			kind = []string{"indoor", "outdoor", "roof"}[(i/3)%3]
		}
		for at2, f := range schema.Fields() {
			switch f.Name {
			case "sensor":
				b.Field(at2).(*array.Int64Builder).Append(int64(i))
			case "event_timestamp":
				b.Field(at2).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMicro()))
			case "temp":
				if i%50 == 0 {
					b.Field(at2).AppendNull()
				} else {
					b.Field(at2).(*array.Float64Builder).Append(temp)
				}
			case "kind":
				b.Field(at2).(*array.StringBuilder).Append(kind)
			case "ok":
				b.Field(at2).(*array.BooleanBuilder).Append(i%10 != 0)
			}
		}
	}
	batch := b.NewRecordBatch()
	env.T.Cleanup(batch.Release)
	return driftline.BatchesOf(schema, batch)
}

func dayPane(n int) (start, end time.Time) {
	return day0.AddDate(0, 0, n), day0.AddDate(0, 0, n+1)
}

func dayWindow(source string, n int) driftline.ProfileWindow {
	start, end := dayPane(n)
	return driftline.ProfileWindow{Source: source, Start: start, End: end}
}

var readingsTable = driftline.DriftSource{Ref: driftline.ViewRef("readings")}

func TestProfilesAreComparedWithoutRows(t *testing.T) {
	env := newSensors(t)
	panes, err := env.Engine.Profile(t.Context(), driftline.ProfileRequest{Table: readingsTable, Pane: driftline.Duration(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, p := range panes {
		fmt.Fprintln(&got, p.Source, p.Start.Format(time.DateOnly), p.Rows, p.Columns, p.Bytes > 0)
	}
	want := "view/readings 2020-01-01 20667 5 true\nview/readings 2020-01-02 20667 5 true\nview/readings 2020-01-03 20666 5 true\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	env.Reopen()
	for _, c := range []struct {
		reference, current int
		want               string
	}{
		{0, 1, "kind drift, temp drift, ok same, sensor same, event_timestamp not compared"},
		{1, 2, "temp same, kind same, ok same, sensor same, event_timestamp not compared"},
	} {
		report, err := env.Engine.CompareProfiles(t.Context(), driftline.ProfileComparison{
			Reference: dayWindow("view/readings", c.reference), Current: dayWindow("view/readings", c.current),
		})
		if err != nil {
			t.Fatal(err)
		}
		checkBracket(t, env, report, c.reference, c.current)
		verdicts := map[string]driftline.Verdict{}
		for _, column := range report.Columns {
			verdicts[column.Column] = column.Verdict
		}
		for _, pair := range strings.Split(c.want, ", ") {
			name, verdict, _ := strings.Cut(pair, " ")
			if string(verdicts[name]) != verdict {
				t.Errorf("day %d against day %d: %s is %q, want %q", c.current, c.reference, name, verdicts[name], verdict)
			}
		}
	}
}

// checkBracket compares with what reading the rows says.
func checkBracket(t *testing.T, env *testenv.Env, report *driftline.DriftReport, reference, current int) {
	t.Helper()
	exact, err := env.Engine.Drift(t.Context(), driftline.DriftRequest{Reference: rowsOfDay(reference), Current: rowsOfDay(current)})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]driftline.ColumnDrift{}
	for _, c := range exact.Columns {
		byName[c.Column] = c
	}
	for _, c := range report.Columns {
		want := byName[c.Column]
		if c.Verdict == driftline.NotCompared {
			continue
		}
		low, high := c.Statistic, c.Statistic
		if c.Bracket != nil {
			low, high = c.Bracket.Low, c.Bracket.High
		}
		if !(low <= want.Statistic+1e-9 && want.Statistic <= high+1e-9) || high-low > 0.01 {
			t.Errorf("%s: the statistic is in %v … %v, exactly %v", c.Column, low, high, want.Statistic)
		}
		if c.ReferenceRows != want.ReferenceRows || c.ReferenceNulls != want.ReferenceNulls || c.CurrentRows != want.CurrentRows || c.CurrentNulls != want.CurrentNulls {
			t.Errorf("%s: counts %+v, want %+v", c.Column, c, want)
		}
	}
}

func rowsOfDay(n int) driftline.DriftSource {
	start, end := dayPane(n)
	return driftline.DriftSource{SQL: fmt.Sprintf("SELECT * FROM features.readings WHERE event_timestamp >= '%s' AND event_timestamp < '%s'",
		start.Format(time.DateTime), end.Format(time.DateTime))}
}

func TestAPaneStoredFromRowsIsThatOfTheTable(t *testing.T) {
	env := newSensors(t)
	request := driftline.ProfileRequest{Table: readingsTable, Pane: driftline.Duration(24 * time.Hour)}
	if _, err := env.Engine.Profile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	start, end := dayPane(1)
	rows, err := env.Engine.SQL(t.Context(), rowsOfDay(1).SQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	pane, err := env.Engine.StoreProfile(t.Context(), driftline.ProfileRequest{Source: "monitor/a", Reference: "view/readings", Start: start, End: end}, rows)
	if err != nil {
		t.Fatal(err)
	}
	if pane.Rows != 20667 || !pane.Start.Equal(start) || !pane.End.Equal(end) {
		t.Errorf("%+v", pane)
	}
	whole, err := env.Engine.ProfileOf(t.Context(), dayWindow("view/readings", 1))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := env.Engine.ProfileOf(t.Context(), driftline.ProfileWindow{Source: "monitor/a"})
	if err != nil {
		t.Fatal(err)
	}
	if show(whole.Columns) != show(stored.Columns) {
		t.Errorf("got\n%s\nwant\n%s", show(stored.Columns), show(whole.Columns))
	}
	report, err := env.Engine.CompareProfiles(t.Context(), driftline.ProfileComparison{
		Reference: dayWindow("view/readings", 0), Current: driftline.ProfileWindow{Source: "monitor/a"},
	})
	if err != nil || report.Drifted == 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestOnlyTheHistogramsThatAreAskedFor: a report is the same but for the histograms left out.
func TestOnlyTheHistogramsThatAreAskedFor(t *testing.T) {
	env := newSensors(t)
	for day := range 2 {
		start, end := dayPane(day)
		if _, err := env.Engine.Profile(t.Context(), driftline.ProfileRequest{Table: readingsTable, Start: start, End: end}); err != nil {
			t.Fatal(err)
		}
	}
	compare := func(histograms string) (*driftline.DriftReport, error) {
		return env.Engine.CompareProfiles(t.Context(), driftline.ProfileComparison{
			Reference: dayWindow("view/readings", 0), Current: dayWindow("view/readings", 1), Histograms: histograms,
		})
	}
	all, err := compare("")
	if err != nil {
		t.Fatal(err)
	}
	if all.Drifted == 0 || all.Drifted == all.Compared() {
		t.Fatalf("%d of %d columns drifted: nothing to tell apart", all.Drifted, all.Compared())
	}
	for which, kept := range map[string]func(driftline.ColumnDrift) bool{
		driftline.HistogramsAll:     func(driftline.ColumnDrift) bool { return true },
		driftline.HistogramsDrifted: func(c driftline.ColumnDrift) bool { return c.Verdict == driftline.Drift },
		driftline.HistogramsNone:    func(driftline.ColumnDrift) bool { return false },
	} {
		want := *all
		want.Columns = slices.Clone(all.Columns)
		for i, c := range want.Columns {
			if !kept(c) {
				want.Columns[i].Histogram = driftline.Histogram{Reference: []int64{}, Current: []int64{}}
			}
		}
		got, err := compare(which)
		if err != nil {
			t.Fatal(err)
		}
		if asJSON(t, got) != asJSON(t, &want) {
			t.Errorf("%s: got\n%s\nwant\n%s", which, asJSON(t, got), asJSON(t, &want))
		}
	}
	if _, err := compare("some"); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("histograms some: %v", err)
	}
}

func asJSON(t *testing.T, r *driftline.DriftReport) string {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func show(columns []driftline.ColumnProfile) string {
	var text strings.Builder
	for _, c := range columns {
		text.WriteString(c.Column)
		for _, n := range []*driftline.Number{c.Min, c.Max, c.Mean, c.StdDev} {
			if n != nil {
				fmt.Fprintf(&text, " %v", *n)
			}
		}
		fmt.Fprintln(&text, c.Rows, c.Nulls, c.Quantiles, c.Distinct, c.Top)
	}
	return text.String()
}

func TestProfilesOfARangeAndOfAll(t *testing.T) {
	env := newSensors(t)
	start, end := dayPane(1)
	for _, c := range []struct {
		req  driftline.ProfileRequest
		want string
	}{
		{driftline.ProfileRequest{Table: readingsTable}, "0001-01-01 0001-01-01 62000"},
		{driftline.ProfileRequest{Table: readingsTable, Start: start, End: end}, "2020-01-02 2020-01-03 20667"},
		{driftline.ProfileRequest{Table: rowsOfDay(2), Source: "day two"}, "0001-01-01 0001-01-01 20666"},
		{driftline.ProfileRequest{Table: readingsTable, Pane: driftline.Duration(7 * 24 * time.Hour)}, "2019-12-30 2020-01-06 62000"},
		{driftline.ProfileRequest{Table: readingsTable, Start: end.AddDate(1, 0, 0), Pane: driftline.Duration(time.Hour)}, ""},
	} {
		panes, err := env.Engine.Profile(t.Context(), c.req)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range panes {
			got += p.Start.Format(time.DateOnly) + " " + p.End.Format(time.DateOnly) + fmt.Sprint(" ", p.Rows)
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.req, got, c.want)
		}
	}
	all, err := env.Engine.Profiles(t.Context(), driftline.ProfileWindow{})
	if err != nil || len(all) != 4 {
		t.Errorf("%d panes, %v, want 4", len(all), err)
	}
	if n, err := env.Engine.DropProfiles(t.Context(), driftline.ProfileWindow{Source: "day two"}); n != 1 || err != nil {
		t.Errorf("%d panes dropped, %v", n, err)
	}
	if _, err := env.Engine.ProfileOf(t.Context(), driftline.ProfileWindow{Source: "day two"}); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a dropped source: %v", err)
	}
}

func TestProfileRefuses(t *testing.T) {
	env := newSensors(t)
	for _, c := range []struct {
		req  driftline.ProfileRequest
		want string
	}{
		{driftline.ProfileRequest{}, "the profiled side needs either a ref or a SELECT"},
		{driftline.ProfileRequest{Table: rowsOfDay(0)}, "the profiles of a SELECT need a source"},
		{driftline.ProfileRequest{Table: readingsTable, Columns: []string{"tmep"}}, `column "tmep" does not exist`},
		{driftline.ProfileRequest{Table: readingsTable, Pane: 1}, "a pane of 1ns is not possible"},
		{driftline.ProfileRequest{Table: readingsTable, Pane: driftline.Duration(time.Hour), Time: "temp"}, `column "temp" is float64, and no time`},
		{driftline.ProfileRequest{Table: readingsTable, Reference: "nothing"}, `there are no profiles of "nothing"`},
		{driftline.ProfileRequest{Table: driftline.DriftSource{Ref: driftline.ViewRef("redings")}}, `"redings" does not exist`},
	} {
		_, err := env.Engine.Profile(t.Context(), c.req)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.req, err, c.want)
		}
	}
	if panes, err := env.Engine.Profiles(t.Context(), driftline.ProfileWindow{}); err != nil || len(panes) != 0 {
		t.Errorf("%d panes were stored, %v", len(panes), err)
	}
}

// TestExactReadsTheRowsAgain has two samples whose difference profiles cannot decide: the
// reference knows no spike, and current has one that moves within a cell.
func TestExactReadsTheRowsAgain(t *testing.T) {
	env := testenv.New(t)
	rows := func(shift float64) driftline.DriftSource {
		return driftline.DriftSource{SQL: fmt.Sprintf("SELECT CASE WHEN i %% 2 = 0 THEN 0.5 + %v ELSE i / 20000 END AS x FROM range(20000) t(i)", shift)}
	}
	smooth := driftline.DriftSource{SQL: "SELECT i / 20000 AS x FROM range(20000) t(i)"}
	for source, table := range map[string]driftline.DriftSource{"smooth": smooth} {
		if _, err := env.Engine.Profile(t.Context(), driftline.ProfileRequest{Table: table, Source: source}); err != nil {
			t.Fatal(err)
		}
	}
	for i, shift := range []float64{0.000_001, 0.000_002, 0.000_001} {
		req := driftline.ProfileRequest{Table: rows(shift), Source: fmt.Sprint("spiky ", i), Reference: "smooth"}
		if _, err := env.Engine.Profile(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		reference, current string
		exact              bool
		verdict            driftline.Verdict
		d                  float64
	}{
		{"spiky 0", "spiky 1", false, driftline.NotEnoughData, 0},
		{"spiky 0", "spiky 1", true, driftline.Drift, 0.5},
		{"spiky 0", "spiky 2", true, driftline.Same, 0},
	} {
		report, err := env.Engine.CompareProfiles(t.Context(), driftline.ProfileComparison{
			Reference: driftline.ProfileWindow{Source: c.reference}, Current: driftline.ProfileWindow{Source: c.current}, Exact: c.exact,
		})
		if err != nil {
			t.Fatal(err)
		}
		x := report.Columns[0]
		if x.Verdict != c.verdict || math.Abs(float64(x.Statistic)-c.d) > 1e-3 || (x.Bracket == nil) != c.exact {
			t.Errorf("%+v: %s, D %v in %v, %s", c, x.Verdict, x.Statistic, x.Bracket, x.Note)
		}
	}
}
