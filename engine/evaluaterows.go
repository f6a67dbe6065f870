package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/evaluation"
)

// evaluatedRows are the columns of a frozen dataset that an evaluation is about.
type evaluatedRows struct {
	dataset  *driftline.Dataset
	table    *checkedTable // that they are read from …
	where    string        // … and which of it
	time     string        // the column; "" if there is none
	keys     []string      // that tell rows apart, with the time
	fields   []driftline.Field
	labels   []float64
	groups   []int
	hashes   []uint64 // by keys and time, if there are both
	segments []evaluation.Segments
}

func (r *evaluatedRows) keyed() bool { return r.time != "" && len(r.keys) > 0 }

// heldOut are the parts of a divided dataset that nobody trains on.
var heldOut = []string{"test", "holdout"}

// readDataset reads the gate's dataset, of which one version is meant from now on.
func (v *evaluating) readDataset(ctx context.Context) (*evaluatedRows, error) {
	version, err := versionOf(v.gate.Dataset)
	if err != nil {
		return nil, err
	}
	dataset, err := v.engine.registry.Dataset(driftline.DatasetName(v.gate.Dataset.Name), version)
	if err != nil {
		return nil, err
	}
	v.gate.Dataset = dataset.Ref()
	table, err := v.engine.checkedTable(ctx, driftline.DriftSource{Ref: dataset.Ref()})
	if err != nil {
		return nil, err
	}
	rows := &evaluatedRows{dataset: dataset, table: table}
	if err := v.describe(rows, table.schema); err != nil {
		return nil, err
	}
	if rows.where, err = v.partSQL(dataset); err != nil {
		return nil, err
	}
	return rows, v.readRows(ctx, rows)
}

// describe finds the columns that are needed.
func (v *evaluating) describe(rows *evaluatedRows, schema *arrow.Schema) error {
	for _, f := range schema.Fields() {
		if kind, ok := driftline.TypeOf(f.Type); ok {
			rows.fields = append(rows.fields, driftline.Field{Name: f.Name, Type: kind})
		}
	}
	for role, name := range map[string]string{"label": v.gate.Label, "group": v.gate.Group} {
		if name == "" {
			continue
		}
		side, wrong := findColumn(schema, name, rows.dataset.Ref().String())
		if wrong == nil {
			if err := checkRole(role, side.field); err != nil {
				return err
			}
			continue
		}
		return wrong
	}
	if time := datasetTime(rows.dataset); schema.HasField(time) {
		rows.time = time
	}
	rows.keys = v.gate.Keys
	if len(rows.keys) == 0 {
		rows.keys = datasetKeys(rows.dataset, schema)
	}
	for _, key := range rows.keys {
		if _, err := findColumn(schema, key, rows.dataset.Ref().String()); err != nil {
			return err
		}
	}
	return nil
}

func datasetTime(d *driftline.Dataset) string {
	if d.Request.EventTimestamp != "" {
		return d.Request.EventTimestamp
	}
	return driftline.DefaultEventTimestamp
}

// datasetKeys are the join keys of a dataset's views, as its columns.
func datasetKeys(d *driftline.Dataset, schema *arrow.Schema) (keys []string) {
	for _, p := range d.Projections {
		at := slices.IndexFunc(d.Views, func(view driftline.FeatureView) bool { return view.Name == p.View })
		if at < 0 {
			continue
		}
		for _, key := range d.Views[at].JoinKeys {
			if column := p.KeyColumn(key.Name); schema.HasField(column) {
				keys = append(keys, column)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// partSQL leaves one part of a divided dataset.
func (v *evaluating) partSQL(d *driftline.Dataset) (string, error) {
	if v.gate.Part == "" {
		return "", nil
	}
	if d.Request.Split == nil {
		return "", driftline.Errorf(driftline.FailedPrecondition, "dataset %q is not divided, and has no part %q", d.Ref(), v.gate.Part).WithRef(d.Ref()).
			WithHint("leave part out of the gate, or save a version with a split")
	}
	var names []string
	for _, p := range d.Request.Split.Parts {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, v.gate.Part) {
		return "", driftline.Unknown("part", v.gate.Part, names).WithRef(d.Ref())
	}
	return " WHERE " + quoted(driftline.SplitColumn) + " = " + textLiteral(v.gate.Part), nil
}

func textLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// readRows reads all of it by one SELECT, so that row i of one column is row i of the others.
func (v *evaluating) readRows(ctx context.Context, rows *evaluatedRows) error {
	columns := []string{quoted(v.gate.Label)}
	if v.gate.Group != "" {
		columns = append(columns, quoted(v.gate.Group))
	}
	keys := len(columns)
	columns = append(columns, rows.keySQL()...)
	first := len(columns)
	for i, s := range v.gate.Segments {
		columns = append(columns, fmt.Sprintf("CAST((%s\n) AS VARCHAR) AS %q", s.Expression, fmt.Sprintf("%s_%d", segmentColumn, i)))
		rows.segments = append(rows.segments, evaluation.Segments{Title: s.Title()})
	}
	batches, err := rows.table.ask(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM data"+rows.where)
	if err != nil {
		return err
	}
	label, group := performanceColumn{}, performanceColumn{codes: &categoryCodes{numbers: map[string]float64{}}}
	rows.labels = []float64{}
	for batch, err := range batches.All {
		if err != nil {
			return err
		}
		rows.labels = label.read(rows.labels, batch.Column(0))
		if v.gate.Group != "" {
			for _, code := range group.read(nil, batch.Column(1)) {
				rows.groups = append(rows.groups, groupNumber(code))
			}
		}
		if rows.keyed() {
			if rows.hashes, err = appendRowKeys(rows.hashes, batch.Columns()[keys:first]); err != nil {
				return err
			}
		}
		for i := range rows.segments {
			rows.segments[i].Values = appendTexts(rows.segments[i].Values, batch.Column(first+i))
		}
	}
	return nil
}

// groupNumber makes one list of the rows that have no group.
func groupNumber(code float64) int {
	if code != code {
		return -1
	}
	return int(code)
}

// keySQL are the columns that tell rows apart, the keys as texts and then the time; none if it has not both.
func (r *evaluatedRows) keySQL() (columns []string) {
	if !r.keyed() {
		return nil
	}
	for i, key := range r.keys {
		columns = append(columns, fmt.Sprintf("CAST(%s AS VARCHAR) AS %q", quoted(key), fmt.Sprintf("__key_%d", i)))
	}
	return append(columns, fmt.Sprintf("CAST(%s AS TIMESTAMPTZ) AS %q", quoted(r.time), "__time"))
}

// appendRowKeys hashes rows by columns that [evaluatedRows.keySQL] asked for.
func appendRowKeys(hashes []uint64, columns []arrow.Array) ([]uint64, error) {
	last := len(columns) - 1
	times, ok := columns[last].(*array.Timestamp)
	if !ok {
		return nil, driftline.Errorf(driftline.Internal, "the time of a row is %s", columns[last].DataType())
	}
	unit := times.DataType().(*arrow.TimestampType).Unit
	names := make([]func(int) string, last)
	for k := range names {
		names[k] = namer(columns[k])
	}
	keys := make([]string, last)
	for row := range times.Len() {
		for k, name := range names {
			if keys[k] = ""; name != nil && columns[k].IsValid(row) {
				keys[k] = name(row)
			}
		}
		hashes = append(hashes, evaluation.RowKey(keys, times.Value(row).ToTime(unit)))
	}
	return hashes, nil
}

func appendTexts(values []string, column arrow.Array) []string {
	name := namer(column)
	for row := range column.Len() {
		if name == nil || column.IsNull(row) {
			values = append(values, "")
			continue
		}
		values = append(values, strings.Clone(name(row)))
	}
	return values
}

// trainedOn are the rows of all datasets that the candidate's run read, nil if one of them is not
// known by the same keys and time. Of a divided dataset the parts that are held out are left out.
func (v *evaluating) trainedOn(ctx context.Context, rows *evaluatedRows) ([]uint64, error) {
	if !rows.keyed() || v.candidate.Origin == nil || len(v.candidate.Origin.Datasets) == 0 {
		return nil, nil
	}
	trained := []uint64{}
	for _, used := range v.candidate.Origin.Datasets {
		known, err := v.addTrained(ctx, &trained, rows, used.Ref)
		if err != nil || !known {
			return nil, err
		}
	}
	return trained, nil
}

func (v *evaluating) addTrained(ctx context.Context, trained *[]uint64, rows *evaluatedRows, ref driftline.Ref) (known bool, err error) {
	dataset, err := v.engine.cardDataset(ref)
	if driftline.CodeOf(err) == driftline.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	table, err := v.engine.checkedTable(ctx, driftline.DriftSource{Ref: ref})
	if err != nil {
		return false, err
	}
	read := evaluatedRows{time: datasetTime(dataset), keys: rows.keys}
	for _, column := range append(slices.Clone(read.keys), read.time) {
		if !table.schema.HasField(column) {
			return false, nil
		}
	}
	where := ""
	if dataset.Request.Split != nil {
		var out []string
		for _, part := range append(slices.Clone(heldOut), v.gate.Part) {
			out = append(out, textLiteral(part))
		}
		where = fmt.Sprintf(" WHERE COALESCE(%s, '') NOT IN (%s)", quoted(driftline.SplitColumn), strings.Join(out, ", "))
	}
	batches, err := table.ask(ctx, "SELECT "+strings.Join(read.keySQL(), ", ")+" FROM data"+where)
	if err != nil {
		return false, err
	}
	for batch, err := range batches.All {
		if err != nil {
			return false, err
		}
		if *trained, err = appendRowKeys(*trained, batch.Columns()); err != nil {
			return false, err
		}
	}
	return true, nil
}
