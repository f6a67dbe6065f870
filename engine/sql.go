package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/storage/offline"
)

// The schemas that SQL can read. Their names, and those of tables, are read without case.
const (
	schemaFeatures = "features" // per view: <view>, its whole history, and <view>_latest
	schemaDatasets = "datasets" // name: the newest version; "name@3": one version
	schemaMeta     = "meta"     // what the registry knows, as tables
)

// latestSuffix makes a view's name that of the table of the newest row of each entity.
// A view that is really called so comes first.
const latestSuffix = "_latest"

// TableInfo describes one table that SQL can read.
type TableInfo struct {
	Schema  string        `json:"schema"`
	Name    string        `json:"name"`
	Columns *arrow.Schema `json:"-"`
}

// Tables lists what SQL can read, by schema and name.
func (e *Engine) Tables(ctx context.Context) ([]TableInfo, error) {
	var tables []TableInfo
	for _, view := range e.registry.Views() {
		tables = append(tables, TableInfo{schemaFeatures, string(view.Name), view.Schema()})
		if _, err := e.registry.View(view.Name + latestSuffix); err != nil {
			tables = append(tables, TableInfo{schemaFeatures, string(view.Name) + latestSuffix, view.Schema()})
		}
	}
	newest := map[driftline.DatasetName]int{}
	for _, d := range e.registry.Datasets() {
		snapshot, err := e.offline.At(ctx, datasetTable(d.Name, d.Version), d.Snapshot)
		if err != nil {
			return nil, err
		}
		tables = append(tables, TableInfo{schemaDatasets, string(d.Name) + "@" + strconv.Itoa(d.Version), snapshot.Schema})
		if d.Version > newest[d.Name] {
			newest[d.Name] = d.Version
		}
	}
	for name, version := range newest {
		i := slices.IndexFunc(tables, func(t TableInfo) bool {
			return t.Schema == schemaDatasets && t.Name == string(name)+"@"+strconv.Itoa(version)
		})
		tables = append(tables, TableInfo{schemaDatasets, string(name), tables[i].Columns})
	}
	for _, model := range e.registry.Models() {
		if schema, ok := e.predictionsSchema(model.Name); ok {
			tables = append(tables, TableInfo{schemaPredictions, string(model.Name), schema})
		}
	}
	for _, m := range metaTables {
		tables = append(tables, TableInfo{schemaMeta, m.name, m.schema()})
	}
	slices.SortFunc(tables, func(a, b TableInfo) int {
		return cmp.Or(strings.Compare(a.Schema, b.Schema), strings.Compare(a.Name, b.Name))
	})
	return tables, nil
}

// SQL runs one SELECT of a user over features.*, datasets.*, predictions.* and meta.*, or EXPLAINs it.
// It sees every row acknowledged before the call. args is nil, or one row of positional
// parameters.
func (e *Engine) SQL(ctx context.Context, text string, args arrow.RecordBatch) (driftline.Batches, error) {
	selection, err := e.query.ParseSelect(ctx, text)
	if err != nil {
		return driftline.Batches{}, err
	}
	var values []any
	if args != nil {
		if values, err = query.Arguments(args, 0); err != nil {
			return driftline.Batches{}, err
		}
	}
	return e.runSelect(ctx, selection, values)
}

func (e *Engine) runSelect(ctx context.Context, selection *query.Select, values []any) (driftline.Batches, error) {
	tables, err := e.sqlTables(ctx, selection)
	if err != nil {
		return driftline.Batches{}, err
	}
	return e.query.Select(ctx, selection, tables, values)
}

// SQLSchema returns the schema that the SELECT's answer has.
func (e *Engine) SQLSchema(ctx context.Context, text string) (*arrow.Schema, error) {
	selection, err := e.query.ParseSelect(ctx, text)
	if err != nil {
		return nil, err
	}
	return e.selectSchema(ctx, selection)
}

func (e *Engine) selectSchema(ctx context.Context, selection *query.Select) (*arrow.Schema, error) {
	tables, err := e.sqlTables(ctx, selection)
	if err != nil {
		return nil, err
	}
	return e.query.SelectSchema(ctx, selection, tables)
}

// sqlTables finds the tables that a SELECT names.
func (e *Engine) sqlTables(ctx context.Context, selection *query.Select) ([]query.Table, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	var tables []query.Table
	for _, name := range selection.Tables {
		table, err := e.sqlTable(ctx, name)
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	for _, join := range selection.PointInTime {
		table, err := e.joinTable(ctx, join)
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	return tables, nil
}

// sqlTable finds one table by its schema and name.
func (e *Engine) sqlTable(ctx context.Context, name query.TableName) (table query.Table, err error) {
	switch strings.ToLower(name.Schema) {
	case schemaFeatures:
		table, err = e.featuresTable(ctx, name)
	case schemaDatasets:
		if table, err = e.datasetsTable(ctx, name); err == nil {
			err = onlyNewest(name, "a dataset does not change", `datasets."name@version" is one version`)
		}
	case schemaPredictions:
		if table, err = e.predictionsTable(ctx, name); err == nil {
			err = onlyNewest(name, "labels are joined as they are now", "features.<model>_predictions and features.<model>_labels have both")
		}
	case schemaMeta:
		if table, err = e.metaTable(ctx, name); err == nil {
			err = onlyNewest(name, "what the registry knew is not kept as a table", "meta.ledger has every change")
		}
	default:
		return query.Table{}, e.unknownTable(name)
	}
	table.Schema, table.Name, table.At = name.Schema, name.Name, name.At
	return table, err
}

func onlyNewest(name query.TableName, why, hint string) error {
	if name.At == (query.At{}) {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "AT is for features.* only: %s", why).WithHint("%s", hint)
}

// unknownTable is the error for a table of none of the schemas.
func (e *Engine) unknownTable(name query.TableName) error {
	if name.Schema == "" {
		if _, ok := e.viewCalled(name.Name); ok {
			return driftline.Errorf(driftline.NotFound, "table %q does not exist", name.Name).WithHint("did you mean %q?", schemaFeatures+"."+name.Name)
		}
	}
	return driftline.Errorf(driftline.NotFound, "table %q does not exist", qualified(name)).
		WithHint("tables are features.<view>, features.<view>_latest, datasets.<name>, datasets.\"<name>@<version>\", predictions.<model> and meta.<table>; " +
			"SELECT * FROM meta.tables lists them")
}

func qualified(name query.TableName) string {
	if name.Schema == "" {
		return name.Name
	}
	return name.Schema + "." + name.Name
}

func (e *Engine) metaTable(ctx context.Context, name query.TableName) (query.Table, error) {
	if strings.EqualFold(name.Name, resultsTableName) {
		return e.resultsRows(ctx)
	}
	for _, m := range metaTables {
		if strings.EqualFold(m.name, name.Name) {
			return query.Table{Batches: func() driftline.Batches { return m.read(e) }}, nil
		}
	}
	return query.Table{}, driftline.Unknown("table", schemaMeta+"."+name.Name, metaNames())
}

// viewCalled finds a view by the name that SQL gives it, without case.
func (e *Engine) viewCalled(name string) (*driftline.FeatureView, bool) {
	if view, err := e.registry.View(e.registry.Meant(driftline.ViewName(name))); err == nil {
		return view, true
	}
	if view, err := e.registry.View(e.registry.Meant(driftline.ViewName(strings.ToLower(name)))); err == nil {
		return view, true // names of views have no capitals
	}
	return nil, false
}

// featuresTable is the history of a view, or the newest row of each of its entities.
func (e *Engine) featuresTable(ctx context.Context, name query.TableName) (query.Table, error) {
	view, latest, err := e.featuresView(name.Name)
	if err != nil {
		return query.Table{}, err
	}
	table, err := e.historyTable(ctx, view, name)
	if latest {
		table.Latest = view
	}
	return table, err
}

// featuresView is the view that a table of the schema features reads, and whether it is
// its newest rows only.
func (e *Engine) featuresView(name string) (view *driftline.FeatureView, latest bool, err error) {
	if view, found := e.viewCalled(name); found {
		return view, false, nil
	}
	if cut := len(name) - len(latestSuffix); cut > 0 && strings.EqualFold(name[cut:], latestSuffix) {
		if view, found := e.viewCalled(name[:cut]); found {
			return view, true, nil
		}
	}
	_, err = e.registry.View(driftline.ViewName(name)) // which says what there is
	return nil, false, err
}

// historyTable is all rows of a view, of the state that name asks for. A time that has
// not passed yet means the present.
func (e *Engine) historyTable(ctx context.Context, view *driftline.FeatureView, name query.TableName) (query.Table, error) {
	if e.isPresent(name.At) {
		rows, _, err := e.rowsOf(ctx, view)
		return query.Table{Rows: rows, Columns: view.Schema()}, err
	}
	if view.Source != nil {
		return query.Table{}, driftline.Errorf(driftline.FailedPrecondition, "view %q reads files of somebody else, whose earlier states nobody keeps", view.Name).
			WithHint("leave AT out, or ingest the files")
	}
	if !name.At.Time.IsZero() {
		rows, schema, err := e.rowsBy(ctx, view, name.At.Time)
		if err != nil {
			return query.Table{}, e.notYetWritten(view.Name, err)
		}
		return query.Table{Rows: rows, Columns: visibleColumns(schema)}, nil
	}
	snapshot, err := e.snapshotNamed(ctx, viewTable(view.Name), name.At)
	if err != nil {
		return query.Table{}, err
	}
	e.holdWhile(ctx, snapshot)
	rows, err := e.rowsAt(ctx, snapshot)
	return query.Table{Rows: rows, Columns: visibleColumns(snapshot.Schema)}, err
}

func (e *Engine) snapshotNamed(ctx context.Context, table offline.TableID, at query.At) (offline.Snapshot, error) {
	if at.Tag != "" {
		return e.offline.ByTag(ctx, table, at.Tag)
	}
	return e.offline.At(ctx, table, driftline.SnapshotID(at.Snapshot))
}

// visibleColumns is a stored schema without the write sequence.
func visibleColumns(stored *arrow.Schema) *arrow.Schema {
	visible := slices.DeleteFunc(slices.Clone(stored.Fields()), func(f arrow.Field) bool { return f.Name == driftline.SequenceColumn })
	return arrow.NewSchema(visible, nil)
}

// isPresent reports whether a clause AT, or its absence, means every acknowledged row.
func (e *Engine) isPresent(at query.At) bool {
	return at == (query.At{}) || at.Now || !at.Time.IsZero() && !at.Time.Before(e.now())
}

// notYetWritten says of a time without a snapshot that there are rows, of later.
func (e *Engine) notYetWritten(view driftline.ViewName, err error) error {
	now := e.heads.of(view)
	if driftline.CodeOf(err) != driftline.NotFound || now.exists || now.rows == 0 {
		return err
	}
	return driftline.Errorf(driftline.NotFound, "view %q had no rows then; its %d rows were written later", view, now.rows).
		WithRef(driftline.ViewRef(view)).WithHint("leave AT out to read them")
}

// joinTable is the answer of a point-in-time join, which is made anew for each query
// that reads it.
func (e *Engine) joinTable(ctx context.Context, join query.PointInTime) (query.Table, error) {
	ctx = query.WithinSelect(ctx)
	schema, err := e.selectSchema(ctx, join.Spine)
	if err != nil {
		return query.Table{}, aboutJoin(err)
	}
	if err := checkJoinTime(&join.Request, schema); err != nil {
		return query.Table{}, err
	}
	shape, err := e.Historical(ctx, join.Request, driftline.BatchesOf(schema))
	if err != nil {
		return query.Table{}, aboutJoin(err)
	}
	answer := shape.Batches.Schema
	rows := func(yield func(arrow.RecordBatch, error) bool) {
		spine, err := e.runSelect(ctx, join.Spine, nil)
		if err != nil {
			yield(nil, aboutJoin(err))
			return
		}
		set, err := e.Historical(ctx, join.Request, spine)
		if err != nil {
			yield(nil, aboutJoin(err))
			return
		}
		set.Batches.All(yield)
	}
	return query.Table{
		Schema: join.Table.Schema, Name: join.Table.Name,
		Batches: func() driftline.Batches { return driftline.Batches{Schema: answer, All: rows} },
	}, nil
}

// checkJoinTime checks that a join's SELECT has the column of its times, and says in SQL
// what to do if it has not.
func checkJoinTime(req *driftline.HistoricalRequest, spine *arrow.Schema) error {
	name := cmp.Or(req.EventTimestamp, driftline.DefaultEventTimestamp)
	if spine.HasField(name) {
		return nil
	}
	column := "column"
	for _, f := range spine.Fields() {
		if f.Type.ID() == arrow.TIMESTAMP {
			column = f.Name
			break
		}
	}
	return driftline.Errorf(driftline.Invalid, "point_in_time: the SELECT has no column %q, from which the times are taken", name).
		WithHint("add event_timestamp => '%s', or write %s AS %s in the SELECT", column, column, name)
}

// aboutJoin says which part of the text a failure is about.
func aboutJoin(err error) error {
	var failure *driftline.Error
	if !errors.As(err, &failure) {
		return err
	}
	about := *failure
	about.Message = "point_in_time: " + failure.Message
	return &about
}

func (e *Engine) datasetsTable(ctx context.Context, name query.TableName) (query.Table, error) {
	base, suffix, versioned := strings.Cut(name.Name, "@")
	version := 0
	if versioned {
		var err error
		if version, err = strconv.Atoi(suffix); err != nil || version < 1 {
			return query.Table{}, driftline.Errorf(driftline.Invalid, "table %q has no version number after @", qualified(name)).
				WithHint("write datasets.\"%s@1\"", base)
		}
	}
	d, err := e.registry.Dataset(driftline.DatasetName(base), version)
	if err != nil {
		return query.Table{}, err
	}
	snapshot, err := e.offline.At(ctx, datasetTable(d.Name, d.Version), d.Snapshot)
	if err != nil {
		return query.Table{}, err
	}
	e.holdWhile(ctx, snapshot)
	files, err := e.verifiedPaths(ctx, snapshot.Files)
	table := query.Table{Rows: query.Rows{Files: files}}
	if len(files) == 0 { // else they say it: a spine has columns of types that no view has
		table.Columns = snapshot.Schema
	}
	return table, err
}

// Drift compares two tables that the server can read.
func (e *Engine) Drift(ctx context.Context, req driftline.DriftRequest) (*driftline.DriftReport, error) {
	reference, referenceName, err := e.driftSource(ctx, "reference", req.Reference)
	if err != nil {
		return nil, err
	}
	current, currentName, err := e.driftSource(ctx, "current", req.Current)
	if err != nil {
		return nil, err
	}
	report, err := e.CompareRows(ctx, reference, current, req.DriftOptions)
	if err != nil {
		return nil, err
	}
	report.Reference.Name, report.Current.Name = referenceName, currentName
	return report, nil
}

// CompareRows is [Compare] by options that may name a registered preset.
func (e *Engine) CompareRows(ctx context.Context, reference, current driftline.Batches, opts driftline.DriftOptions) (*driftline.DriftReport, error) {
	if _, err := e.withPreset(&opts); err != nil {
		return nil, err
	}
	return Compare(ctx, reference, current, opts)
}

func (e *Engine) driftSource(ctx context.Context, side string, s driftline.DriftSource) (driftline.Batches, string, error) {
	if (s.SQL == "") == (s.Ref == driftline.Ref{}) {
		return driftline.Batches{}, "", driftline.Errorf(driftline.Invalid, "the %s side needs either a ref or a SELECT", side).
			WithHint("give a dataset (dataset/name@1), a view (view/name) or a SELECT")
	}
	if s.SQL != "" {
		rows, err := e.SQL(ctx, s.SQL, nil)
		return rows, s.SQL, err
	}
	switch s.Ref.Kind {
	case driftline.KindDataset:
		version, err := versionOf(s.Ref)
		if err != nil {
			return driftline.Batches{}, "", err
		}
		rows, err := e.ReadDataset(ctx, driftline.DatasetName(s.Ref.Name), version)
		return rows, s.Ref.String(), err
	case driftline.KindView:
		rows, err := e.ReadView(ctx, driftline.ViewName(s.Ref.Name))
		return rows, s.Ref.String(), err
	}
	return driftline.Batches{}, "", driftline.Errorf(driftline.Invalid, "the %s side %q is not a table", side, s.Ref).
		WithHint("give a dataset (dataset/name@1), a view (view/name) or a SELECT")
}

// versionOf reads a reference's version as a number; 0 if it has none.
func versionOf(r driftline.Ref) (int, error) {
	if r.Version == "" {
		return 0, nil
	}
	v, err := strconv.Atoi(r.Version)
	if err != nil || v < 1 {
		return 0, driftline.Errorf(driftline.Invalid, "reference %q has no version number after @", r)
	}
	return v, nil
}
