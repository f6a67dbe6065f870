package engine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
)

const (
	maxExamples       = 5  // rows that a failed check shows
	maxExampleColumns = 12 // of them, the checked ones first
	maxExampleText    = 80 // characters of a value

	// maxMeasureText bounds one SELECT, which the gate bounds too: more checks than fit
	// take another scan.
	maxMeasureText = 48 << 10
)

// checkedTable is a table that checks ask by SELECTs, in which it is called data.
type checkedTable struct {
	name   string
	schema *arrow.Schema
	ask    func(ctx context.Context, sql string) (driftline.Batches, error)
}

// Validate checks a table that the server can read.
func (e *Engine) Validate(ctx context.Context, req driftline.ValidationRequest) (*driftline.ValidationReport, error) {
	checks := driftline.Validation{Checks: req.Checks}
	if err := checks.Validate(); err != nil {
		return nil, err
	}
	table, err := e.checkedTable(ctx, req.Table)
	if err != nil {
		return nil, err
	}
	return table.validate(ctx, req.Checks, e.now())
}

// SuggestChecks learns checks from a table that the server can read.
func (e *Engine) SuggestChecks(ctx context.Context, source driftline.DriftSource) (*driftline.Validation, error) {
	table, err := e.checkedTable(ctx, source)
	if err != nil {
		return nil, err
	}
	var keys []string
	if source.Ref.Kind == driftline.KindView {
		if view, err := e.registry.View(e.registry.Meant(driftline.ViewName(source.Ref.Name))); err == nil {
			keys = append(slices.Clone(view.KeyNames()), view.EventTimestamp)
		}
	}
	checks, err := table.suggest(ctx, keys)
	if err != nil {
		return nil, err
	}
	checks.Table = table.name
	return checks, nil
}

// checkedTable is a table of the server: its SELECTs run as a user's do.
func (e *Engine) checkedTable(ctx context.Context, source driftline.DriftSource) (*checkedTable, error) {
	from, name, err := e.selectOf(source)
	if err != nil {
		return nil, err
	}
	table := &checkedTable{name: name, ask: func(ctx context.Context, sql string) (driftline.Batches, error) {
		return e.SQL(ctx, "WITH data AS ("+from+"\n)\n"+sql, nil)
	}}
	table.schema, err = e.SQLSchema(ctx, from)
	return table, err
}

// selectOf is the SELECT that reads a source, and what people call the source.
func (e *Engine) selectOf(source driftline.DriftSource) (sql, name string, err error) {
	if (source.SQL == "") == (source.Ref == driftline.Ref{}) {
		return "", "", driftline.Errorf(driftline.Invalid, "what is checked is either a ref or a SELECT").
			WithHint("give a dataset (dataset/name@1), a view (view/name) or a SELECT")
	}
	ref := source.Ref
	switch {
	case source.SQL != "":
		return source.SQL, source.SQL, nil
	case ref.Kind == driftline.KindView:
		return "SELECT * FROM " + schemaFeatures + "." + quoted(ref.Name), ref.String(), nil
	case ref.Kind == driftline.KindDataset:
		table := ref.Name
		if version, err := versionOf(ref); err != nil {
			return "", "", err
		} else if version > 0 {
			table += "@" + strconv.Itoa(version)
		}
		return "SELECT * FROM " + schemaDatasets + "." + quoted(table), ref.String(), nil
	}
	return "", "", driftline.Errorf(driftline.Invalid, "%q is not a table", ref).
		WithHint("give a dataset (dataset/name@1), a view (view/name) or a SELECT")
}

// ValidateRows checks rows of the caller, which can be ranged over any number of times.
func (e *Engine) ValidateRows(ctx context.Context, rows driftline.Batches, checks []driftline.Check) (*driftline.ValidationReport, error) {
	return ValidateTable(ctx, e.query, TableOfRows(rows), checks, e.now())
}

// LocalTable is a table that no server has.
type LocalTable struct {
	schema *arrow.Schema
	data   query.Table
}

// TableOfRows is a table of rows that can be ranged over any number of times.
func TableOfRows(rows driftline.Batches) LocalTable {
	return LocalTable{rows.Schema, query.Table{Name: "data", Batches: func() driftline.Batches { return rows }}}
}

// TableOfParquet is a Parquet file of the schema, which is read where it lies. The path
// is absolute.
func TableOfParquet(path string, schema *arrow.Schema) LocalTable {
	return LocalTable{schema, query.Table{Name: "data", Rows: query.Rows{Files: []string{path}}}}
}

// ValidateTable checks a table that no server has.
func ValidateTable(ctx context.Context, db *query.DB, table LocalTable, checks []driftline.Check, now time.Time) (*driftline.ValidationReport, error) {
	all := driftline.Validation{Checks: checks}
	if err := all.Validate(); err != nil {
		return nil, err
	}
	return table.checked(db).validate(ctx, checks, now)
}

// SuggestChecks learns checks from a table that no server has.
func SuggestChecks(ctx context.Context, db *query.DB, table LocalTable) (*driftline.Validation, error) {
	return table.checked(db).suggest(ctx, nil)
}

func (l LocalTable) checked(db *query.DB) *checkedTable {
	return &checkedTable{schema: l.schema, ask: func(ctx context.Context, sql string) (driftline.Batches, error) {
		selection, err := db.ParseSelect(ctx, sql)
		if err != nil {
			return driftline.Batches{}, err
		}
		return db.Select(ctx, selection, []query.Table{l.data}, nil)
	}}
}

// measure is a check on its way to a result: numbers that one scan of the table gives,
// and what is made of them.
type measure struct {
	check *driftline.Check
	sql   []string // aggregates over data
	judge func(values []float64) verdictOfCheck
	bad   string   // of single rows: the condition under which one is an example
	shown []string // the columns that an example shows first
}

// verdictOfCheck is what the numbers of a check mean.
type verdictOfCheck struct {
	ok       bool
	found    string
	observed float64
	looked   int64
	bad      int64
}

func (t *checkedTable) validate(ctx context.Context, checks []driftline.Check, now time.Time) (*driftline.ValidationReport, error) {
	measures := []*measure{{sql: []string{"count(*)"}}}
	for i := range checks {
		measures = append(measures, t.measure(&checks[i], now))
	}
	values, err := t.scan(ctx, measures)
	if err != nil {
		return nil, err
	}
	report := &driftline.ValidationReport{Table: t.name, Rows: int64(values[0][0]), At: now, Results: []driftline.CheckResult{}}
	for i, m := range measures[1:] {
		result, err := t.result(ctx, m, values[i+1])
		if err != nil {
			return nil, driftline.Errorf(driftline.CodeOf(err), "check %d (%s): %w", i+1, m.check.Check, err)
		}
		report.Results = append(report.Results, *result)
		switch result.Outcome {
		case driftline.CheckFailed:
			report.Failed++
		case driftline.CheckWarned:
			report.Warned++
		}
	}
	report.Passed = report.Failed == 0
	order := map[driftline.CheckOutcome]int{driftline.CheckFailed: 0, driftline.CheckWarned: 1, driftline.CheckPassed: 2}
	slices.SortStableFunc(report.Results, func(a, b driftline.CheckResult) int { return cmp.Compare(order[a.Outcome], order[b.Outcome]) })
	return report, nil
}

// scan asks for the aggregates of all measures at once, or, where that is more text than
// one SELECT may have, in as few scans as it takes.
func (t *checkedTable) scan(ctx context.Context, measures []*measure) ([][]float64, error) {
	values := make([][]float64, len(measures))
	for from := 0; from < len(measures); {
		var wanted []string
		size, to := 0, from
		for ; to < len(measures) && (to == from || size < maxMeasureText); to++ {
			for _, sql := range measures[to].sql {
				wanted = append(wanted, "CAST("+sql+" AS DOUBLE)")
				size += len(sql)
			}
		}
		if len(wanted) > 0 {
			row, err := t.numbers(ctx, "SELECT "+strings.Join(wanted, ",\n  ")+"\nFROM data", len(wanted))
			if err != nil {
				return nil, err
			}
			for i := from; i < to; i++ {
				n := len(measures[i].sql)
				values[i], row = row[:n], row[n:]
			}
		}
		from = to
	}
	return values, nil
}

// numbers reads the one row of a SELECT, NaN for null.
func (t *checkedTable) numbers(ctx context.Context, sql string, n int) ([]float64, error) {
	answer, err := t.ask(ctx, sql)
	if err != nil {
		return nil, err
	}
	var row []float64
	for batch, err := range answer.All {
		if err != nil {
			return nil, err
		}
		if batch.NumRows() == 0 {
			continue
		}
		for _, column := range batch.Columns() {
			v := math.NaN()
			if !column.IsNull(0) {
				v = column.(*array.Float64).Value(0)
			}
			row = append(row, v)
		}
	}
	if len(row) != n {
		return nil, driftline.Errorf(driftline.Internal, "the table answered %d numbers, want %d", len(row), n)
	}
	return row, nil
}

// result judges a check, and fetches examples if it failed.
func (t *checkedTable) result(ctx context.Context, m *measure, values []float64) (*driftline.CheckResult, error) {
	result := &driftline.CheckResult{Check: *m.check, Title: m.check.Title(), Outcome: driftline.CheckPassed}
	if m.check.Check == driftline.CheckSQL {
		return result, t.runSQLCheck(ctx, m.check, result)
	}
	v := m.judge(values)
	result.Found, result.Observed, result.Looked, result.Bad = v.found, driftline.Number(v.observed), v.looked, v.bad
	if v.ok {
		return result, nil
	}
	result.Outcome = outcomeOfFailure(m.check)
	if m.bad == "" {
		return result, nil
	}
	examples, err := t.examples(ctx, m)
	result.Examples = examples
	return result, err
}

func outcomeOfFailure(c *driftline.Check) driftline.CheckOutcome {
	if c.IsBlocking() {
		return driftline.CheckFailed
	}
	return driftline.CheckWarned
}

// runSQLCheck runs a SELECT of the user, which must return nothing.
func (t *checkedTable) runSQLCheck(ctx context.Context, c *driftline.Check, result *driftline.CheckResult) error {
	counted, err := t.numbers(ctx, "SELECT CAST(count(*) AS DOUBLE) FROM (\n"+c.SQL+"\n) AS wrong", 1)
	if err != nil {
		return err
	}
	result.Bad, result.Observed = int64(counted[0]), driftline.Number(counted[0])
	result.Found = "no rows"
	if result.Bad == 0 {
		return nil
	}
	result.Found = rowsText(result.Bad)
	result.Outcome = outcomeOfFailure(c)
	result.Examples, err = t.readExamples(ctx, "SELECT * FROM (\n"+c.SQL+"\n) AS wrong LIMIT "+strconv.Itoa(maxExamples))
	return err
}

// examples are the first rows that break a check; of uniqueness, the values that occur
// most often.
func (t *checkedTable) examples(ctx context.Context, m *measure) (*driftline.Examples, error) {
	columns := slices.Clone(m.shown)
	limit := " LIMIT " + strconv.Itoa(maxExamples)
	if m.check.Check == driftline.CheckUnique {
		keys := quotedList(columns)
		return t.readExamples(ctx, "SELECT "+keys+", count(*) AS rows FROM data WHERE "+m.bad+" GROUP BY "+keys+
			" HAVING count(*) > 1 ORDER BY count(*) DESC, "+keys+limit)
	}
	for _, f := range t.schema.Fields() {
		if len(columns) < maxExampleColumns && !slices.Contains(columns, f.Name) {
			columns = append(columns, f.Name)
		}
	}
	return t.readExamples(ctx, "SELECT "+quotedList(columns)+" FROM data WHERE "+m.bad+limit)
}

func (t *checkedTable) readExamples(ctx context.Context, sql string) (*driftline.Examples, error) {
	answer, err := t.ask(ctx, sql)
	if err != nil {
		return nil, err
	}
	examples := &driftline.Examples{Columns: []string{}, Rows: [][]*string{}}
	for _, f := range answer.Schema.Fields()[:min(answer.Schema.NumFields(), maxExampleColumns)] {
		examples.Columns = append(examples.Columns, f.Name)
	}
	for batch, err := range answer.All {
		if err != nil {
			return nil, err
		}
		for i := range int(batch.NumRows()) {
			row := make([]*string, len(examples.Columns))
			for c := range row {
				if column := batch.Column(c); !column.IsNull(i) {
					text := exampleText(column, i)
					row[c] = &text
				}
			}
			examples.Rows = append(examples.Rows, row)
		}
	}
	return examples, nil
}

// exampleText is a value as a person reads it. Text is shown as it is, however long.
func exampleText(column arrow.Array, i int) string {
	text := strings.Clone(column.ValueStr(i))
	if at, ok := column.(*array.Timestamp); ok {
		unit := column.DataType().(*arrow.TimestampType).Unit
		text = at.Value(i).ToTime(unit).UTC().Format("2006-01-02 15:04:05.999999")
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if characters := []rune(text); len(characters) > maxExampleText {
		return string(characters[:maxExampleText-1]) + "…"
	}
	return text
}
