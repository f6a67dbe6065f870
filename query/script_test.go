package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/cockroachdb/datadriven"
	"github.com/driftline/driftline"
)

// TestScripts runs testdata/historical. The commands are
//
//	view NAME keys=(airport:string) [created] [ttl=3h] [known_at] [horizon=7d]
//	  a header of columns, then rows; the columns that are neither keys nor times
//	  are features. A row's write sequence is its line.
//
//	historical use=(VIEW, VIEW/ROLE, VIEW/ROLE/key=column) [lag=(VIEW=1h)] [known_at] [strict] [full]
//	  a spine; prints the training set, and what was not yet known. It is the same
//	  wherever the rows of the views are kept (see [keeps]).
//
//	sql use=(…) [lag=…] [known_at] [strict] [full] [unique]
//	  a header; prints the plan's SQL
//
// A column is name or name:type, of type string, or timestamp if its name says so.
// Times are of 2013-01-01 UTC; a value "-" is null.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/historical", func(t *testing.T, path string) {
		s := script{db: openDB(t), sources: map[string]Source{}, rows: map[string][]row{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := s.run(t, d)
			if err != nil {
				return fmt.Sprintf("%s: %v\n", driftline.CodeOf(err), err)
			}
			return out
		})
	})
}

type script struct {
	db      *DB
	sources map[string]Source // without rows
	rows    map[string][]row
}

// keeps are the ways in which the rows of a view can be kept. The first one is answered by
// DuckDB.
var keeps = []struct {
	name string
	keep func(t *testing.T, view *driftline.FeatureView, rows []row) Rows
}{
	{"in a file that is not sorted", func(t *testing.T, view *driftline.FeatureView, rows []row) Rows {
		return Rows{Files: []string{writeRows(t, view, rows)}}
	}},
	{"in a sorted file", func(t *testing.T, view *driftline.FeatureView, rows []row) Rows {
		return Rows{Files: []string{writeSorted(t, view, rows)}, Sorted: true}
	}},
	{"in the log", func(t *testing.T, view *driftline.FeatureView, rows []row) Rows {
		return Rows{Tail: driftline.BatchesOf(view.StoredSchema(), rowBatch(view, rows))}
	}},
	{"half in a file and half in the log", func(t *testing.T, view *driftline.FeatureView, rows []row) Rows {
		file, log := halves(rows)
		return Rows{Files: []string{writeSorted(t, view, file)}, Sorted: true, Tail: driftline.BatchesOf(view.StoredSchema(), rowBatch(view, log))}
	}},
	{"in two files", func(t *testing.T, view *driftline.FeatureView, rows []row) Rows {
		one, other := halves(rows)
		return Rows{Files: []string{writeSorted(t, view, other), writeSorted(t, view, one)}, Sorted: true}
	}},
}

// halves deals rows out like cards.
func halves(rows []row) (one, other []row) {
	for i, r := range rows {
		if i%2 == 0 {
			one = append(one, r)
		} else {
			other = append(other, r)
		}
	}
	return one, other
}

func writeSorted(t *testing.T, view *driftline.FeatureView, rows []row) string {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, compareStored)
	return writeRows(t, view, rows)
}

func (s *script) run(t *testing.T, d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "view":
		return "", s.view(t, d)
	case "historical":
		return s.historical(t, d)
	case "sql":
		plan, _, err := s.plan(t, d)
		if err != nil {
			return "", err
		}
		return plan.SQL, nil
	}
	d.Fatalf(t, "unknown command")
	return "", nil
}

func (s *script) view(t *testing.T, d *datadriven.TestData) error {
	view := &driftline.FeatureView{Name: driftline.ViewName(d.CmdArgs[0].Key), EventTimestamp: "event_timestamp"}
	view.KnownAt = d.HasArg("known_at")
	if d.HasArg("created") {
		view.CreatedTimestamp = "created_timestamp"
	}
	keys := values(d, "keys")
	for _, k := range keys {
		name, typ, _ := strings.Cut(k, ":")
		view.JoinKeys = append(view.JoinKeys, driftline.Field{Name: name, Type: driftline.Type(typ)})
	}
	for _, ttl := range values(d, "ttl") {
		var err error
		if view.TTL, err = driftline.ParseDuration(ttl); err != nil {
			d.Fatalf(t, "%v", err)
		}
	}
	for _, horizon := range values(d, "horizon") {
		var err error
		if view.Horizon, err = driftline.ParseDuration(horizon); err != nil {
			d.Fatalf(t, "%v", err)
		}
	}
	given := parseTable(t, d, view.JoinKeys)
	for _, f := range given.Schema().Fields() {
		if _, isKey := find(view.JoinKeys, f.Name); !isKey && !strings.HasSuffix(f.Name, "_timestamp") {
			typ, _ := driftline.TypeOf(f.Type)
			view.Features = append(view.Features, driftline.Field{Name: f.Name, Type: typ})
		}
	}
	s.sources[string(view.Name)] = Source{View: view}
	s.rows[string(view.Name)] = rowsOf(view, given)
	return nil
}

// rowsOf reads a table as rows of a view.
func rowsOf(view *driftline.FeatureView, given arrow.RecordBatch) []row {
	rows := make([]row, given.NumRows())
	for i := range rows {
		cell := func(name string) any { return cellOf(given.Column(given.Schema().FieldIndices(name)[0]), i) }
		r := row{sequence: int64(i + 1), event: cell(view.EventTimestamp).(int64)}
		for _, k := range view.JoinKeys {
			r.keys = append(r.keys, cell(k.Name))
		}
		if view.CreatedTimestamp != "" {
			if created, ok := cell(view.CreatedTimestamp).(int64); ok {
				r.created = &created
			}
		}
		for _, f := range view.Features {
			r.values = append(r.values, cell(f.Name))
		}
		rows[i] = r
	}
	return rows
}

func find(fields []driftline.Field, name string) (driftline.Field, bool) {
	for _, f := range fields {
		if f.Name == name {
			return f, true
		}
	}
	return driftline.Field{}, false
}

func values(d *datadriven.TestData, name string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == name && a.Vals[0] != "" {
			return a.Vals
		}
	}
	return nil
}

func (s *script) plan(t *testing.T, d *datadriven.TestData) (*HistoricalPlan, arrow.RecordBatch, error) {
	req := driftline.HistoricalRequest{KnownAt: d.HasArg("known_at"), Strict: d.HasArg("strict")}
	req.FullFeatureNames = d.HasArg("full")
	var sources []Source
	for _, use := range values(d, "use") {
		parts := strings.SplitN(use, "/", 3)
		source, ok := s.sources[parts[0]]
		if !ok {
			d.Fatalf(t, "no view %q", parts[0])
		}
		p := driftline.Projection{View: source.View.Name, Features: source.View.FeatureNames()}
		if len(parts) > 1 {
			p.Role = parts[1]
		}
		if len(parts) > 2 {
			key, column, _ := strings.Cut(parts[2], "=")
			p.JoinKeyMap = map[string]string{key: column}
		}
		for _, lag := range values(d, "lag") {
			of, duration, _ := strings.Cut(lag, "=")
			if of != parts[0] {
				continue
			}
			var err error
			if p.Lag, err = driftline.ParseDuration(duration); err != nil {
				d.Fatalf(t, "%v", err)
			}
		}
		source.Projection, source.Unique = p, d.HasArg("unique")
		sources = append(sources, source)
	}
	spine := parseTable(t, d, nil)
	plan, err := PlanHistorical(req, spine.Schema(), sources)
	return plan, spine, err
}

// historical answers from the rows kept in every way, which makes no difference.
func (s *script) historical(t *testing.T, d *datadriven.TestData) (string, error) {
	want := ""
	for i, k := range keeps {
		got, err := s.historicalFrom(t, d, func(view *driftline.FeatureView) Rows {
			return k.keep(t, view, s.rows[string(view.Name)])
		})
		if err != nil {
			return "", err
		}
		if i == 0 {
			want = got
		}
		if got != want {
			d.Fatalf(t, "with the rows %s it is\n%s, and with the rows %s\n%s", k.name, got, keeps[0].name, want)
		}
	}
	return want, nil
}

func (s *script) historicalFrom(t *testing.T, d *datadriven.TestData, rows func(*driftline.FeatureView) Rows) (string, error) {
	plan, spine, err := s.plan(t, d)
	if err != nil {
		return "", err
	}
	for i := range plan.views {
		plan.views[i].source.Rows = rows(plan.views[i].source.View)
	}
	answer, err := s.db.Historical(context.Background(), plan, driftline.BatchesOf(spine.Schema(), spine))
	if err != nil {
		return "", err
	}
	got, _, err := answer.Batches.Collect()
	defer driftline.ReleaseAll(got)
	if err != nil {
		return "", err
	}
	return printAnswer(plan.Schema, got, answer.Report()), nil
}

func printAnswer(schema *arrow.Schema, batches []arrow.RecordBatch, report driftline.HistoricalReport) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i, f := range schema.Fields() {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, f.Name)
	}
	for _, batch := range batches {
		for row := range int(batch.NumRows()) {
			fmt.Fprint(w, "\n")
			for i, c := range batch.Columns() {
				if i > 0 {
					fmt.Fprint(w, "\t")
				}
				fmt.Fprint(w, printCell(c, row))
			}
		}
	}
	fmt.Fprint(w, "\n")
	w.Flush()
	for _, c := range report.Columns {
		if c.NotYetKnown > 0 {
			fmt.Fprintf(&b, "not yet known: %d of %s\n", c.NotYetKnown, c.Column)
		}
	}
	return b.String()
}

func printCell(c arrow.Array, row int) string {
	if c.IsNull(row) {
		return "-"
	}
	if times, ok := c.(*array.Timestamp); ok {
		unit := c.DataType().(*arrow.TimestampType).Unit
		return strings.TrimPrefix(times.Value(row).ToTime(unit).Format("2006-01-02 15:04:05.999999999"), "2013-01-01 ")
	}
	if text := c.ValueStr(row); text != "" {
		return text
	}
	return "''"
}

// parseTable reads a header and rows of blank-separated cells. Columns that are
// among keys have the key's type.
func parseTable(t *testing.T, d *datadriven.TestData, keys []driftline.Field) arrow.RecordBatch {
	lines := strings.Split(d.Input, "\n")
	var fields []arrow.Field
	for _, column := range strings.Fields(lines[0]) {
		name, typ, ok := strings.Cut(column, ":")
		if !ok {
			typ = "string"
			if strings.HasSuffix(name, "_timestamp") {
				typ = "timestamp"
			}
			if k, isKey := find(keys, name); isKey {
				typ = string(k.Type)
			}
		}
		fields = append(fields, arrow.Field{Name: name, Type: scriptType(t, d, typ), Nullable: true})
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		if len(cells) != len(fields) {
			d.Fatalf(t, "%d cells under %d columns: %s", len(cells), len(fields), line)
		}
		for i, cell := range cells {
			parseCell(t, d, b.Field(i), cell)
		}
	}
	return b.NewRecordBatch()
}

// scriptType is the Arrow type of a word: one of [driftline.Types], or a layout
// that clients send.
func scriptType(t *testing.T, d *datadriven.TestData, word string) arrow.DataType {
	switch word {
	case "timestamp_s":
		return &arrow.TimestampType{Unit: arrow.Second}
	case "timestamp_ms":
		return &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "America/New_York"}
	case "timestamp_ns":
		return &arrow.TimestampType{Unit: arrow.Nanosecond}
	case "date32":
		return arrow.FixedWidthTypes.Date32
	case "int8":
		return arrow.PrimitiveTypes.Int8
	case "uint64":
		return arrow.PrimitiveTypes.Uint64
	case "large_string":
		return arrow.BinaryTypes.LargeString
	case "dictionary":
		return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	case "null":
		return arrow.Null
	}
	typ, err := driftline.ParseType(word)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return typ.Arrow()
}

func parseCell(t *testing.T, d *datadriven.TestData, b array.Builder, cell string) {
	switch {
	case cell == "-":
		b.AppendNull()
		return
	case cell == "''":
		cell = ""
	}
	if b, ok := b.(*array.TimestampBuilder); ok {
		unit := b.Type().(*arrow.TimestampType).Unit
		at, err := time.Parse("2006-01-02 15:04:05", "2013-01-01 "+cell)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		b.Append(first(arrow.TimestampFromTime(at, unit)))
		return
	}
	if unquoted, err := strconv.Unquote(cell); err == nil {
		cell = unquoted
	}
	if err := b.AppendValueFromString(cell); err != nil {
		d.Fatalf(t, "%v", err)
	}
}
