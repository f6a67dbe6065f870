package engine

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
)

// The schemas that SQL can read.
const (
	schemaFeatures = "features" // one table per view: its whole history
	schemaDatasets = "datasets" // name: the newest version; "name@3": one version
	schemaMeta     = "meta"     // what the registry knows, as tables
)

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
	for _, m := range metaTables {
		tables = append(tables, TableInfo{schemaMeta, m.name, m.schema()})
	}
	slices.SortFunc(tables, func(a, b TableInfo) int {
		return cmp.Or(strings.Compare(a.Schema, b.Schema), strings.Compare(a.Name, b.Name))
	})
	return tables, nil
}

// SQL runs one SELECT of a user over features.*, datasets.* and meta.*. It sees every
// row acknowledged before the call. args is nil, or one row of positional parameters.
func (e *Engine) SQL(ctx context.Context, text string, args arrow.RecordBatch) (driftline.Batches, error) {
	selection, tables, err := e.parseSQL(ctx, text)
	if err != nil {
		return driftline.Batches{}, err
	}
	var values []any
	if args != nil {
		if values, err = query.Arguments(args, 0); err != nil {
			return driftline.Batches{}, err
		}
	}
	return e.query.Select(ctx, selection, tables, values)
}

// SQLSchema returns the schema that the SELECT's answer has.
func (e *Engine) SQLSchema(ctx context.Context, text string) (*arrow.Schema, error) {
	selection, tables, err := e.parseSQL(ctx, text)
	if err != nil {
		return nil, err
	}
	return e.query.SelectSchema(ctx, selection, tables)
}

// parseSQL passes text through the gate and finds the tables that it names.
func (e *Engine) parseSQL(ctx context.Context, text string) (*query.Select, []query.Table, error) {
	selection, err := e.query.ParseSelect(ctx, text)
	if err != nil {
		return nil, nil, err
	}
	if err := e.begin(); err != nil {
		return nil, nil, err
	}
	defer e.end()
	tables := make([]query.Table, len(selection.Tables))
	for i, name := range selection.Tables {
		if tables[i], err = e.sqlTable(ctx, name); err != nil {
			return nil, nil, err
		}
	}
	return selection, tables, nil
}

// sqlTable finds one table by its schema and name.
func (e *Engine) sqlTable(ctx context.Context, name query.TableName) (query.Table, error) {
	switch name.Schema {
	case schemaFeatures:
		return e.featuresTable(ctx, name)
	case schemaDatasets:
		return e.datasetsTable(ctx, name)
	case schemaMeta:
		for _, m := range metaTables {
			if m.name == name.Name {
				return query.Table{Schema: name.Schema, Name: name.Name, Batches: func() driftline.Batches { return m.read(e) }}, nil
			}
		}
		return query.Table{}, driftline.Unknown("table", schemaMeta+"."+name.Name, metaNames())
	}
	return query.Table{}, driftline.Errorf(driftline.NotFound, "table %q does not exist", qualified(name)).
		WithHint("tables are features.<view>, datasets.<name>, datasets.\"<name>@<version>\" and meta.<table>")
}

func qualified(name query.TableName) string {
	if name.Schema == "" {
		return name.Name
	}
	return name.Schema + "." + name.Name
}

func (e *Engine) featuresTable(ctx context.Context, name query.TableName) (query.Table, error) {
	view, err := e.registry.View(driftline.ViewName(name.Name))
	if err != nil {
		return query.Table{}, err
	}
	rows, _, err := e.rowsOf(ctx, view)
	return query.Table{Schema: name.Schema, Name: name.Name, Rows: rows, Columns: view.Schema()}, err
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
	files, err := e.verifiedPaths(ctx, snapshot.Files)
	table := query.Table{Schema: name.Schema, Name: name.Name, Rows: query.Rows{Files: files}}
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
	report, err := Compare(ctx, reference, current, req.DriftOptions)
	if err != nil {
		return nil, err
	}
	report.Reference.Name, report.Current.Name = referenceName, currentName
	return report, nil
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
