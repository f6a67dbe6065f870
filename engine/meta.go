package engine

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

// metaTable is one table of the schema meta: what the registry knows, as rows.
type metaTable struct {
	name    string
	columns []metaColumn
	rows    func(e *Engine, add func(values ...any)) error
}

// metaColumn is a column of a meta table. Its values are string, int64, float64 or
// time.Time, as the type says, or nil.
type metaColumn struct {
	name string
	kind driftline.Type
}

const (
	text    = driftline.String
	integer = driftline.Int64
	float   = driftline.Float64
	instant = driftline.Timestamp
)

// metaTables are the tables of meta, by name.
var metaTables = []metaTable{
	{"alerts", []metaColumn{{"id", text}, {"monitor", text}, {"version", integer}, {"severity", text}, {"state", text},
		{"raised", instant}, {"resolved", instant}, {"resolved_by", text}, {"from_ts", instant}, {"to_ts", instant}, {"panes", integer},
		{"acknowledged", instant}, {"acknowledged_by", text}, {"snoozed_until", instant}}, alertRows},
	{"alias_history", aliasHistoryColumns, aliasHistoryRows},
	{"aliases", []metaColumn{{"model", text}, {"alias", text}, {"version", integer}}, aliasRows},
	{"artifacts", artifactColumns, artifactRows},
	{"checks", []metaColumn{{"view", text}, {"time", instant}, {"entities", integer}, {"moments", integer}, {"values", integer},
		{"differences", integer}}, checkRows},
	{"column_lineage", []metaColumn{{"from_ref", text}, {"to_ref", text}, {"kind", text}}, columnLineageRows},
	{"dataset_columns", []metaColumn{{"name", text}, {"version", integer}, {"column", text}, {"type", text}, {"nulls", integer},
		{"not_yet_known", integer}, {"min", float}, {"max", float}, {"mean", float}, {"std_dev", float}, {"distinct", integer}}, datasetColumnRows},
	{"dataset_splits", []metaColumn{{"name", text}, {"version", integer}, {"kind", text}, {"part", text}, {"rows", integer}}, datasetSplitRows},
	{"datasets", []metaColumn{{"name", text}, {"version", integer}, {"snapshot_id", integer}, {"created", instant},
		{"rows", integer}, {"content_hash", text}, {"sql", text}}, datasetRows},
	{"entities", []metaColumn{{"name", text}, {"join_key", text}, {"type", text}, {"description", text}}, entityRows},
	{"evaluations", []metaColumn{{"evaluation", text}, {"model", text}, {"version", integer}, {"champion", integer}, {"dataset", text}, {"data_hash", text},
		{"outcome", text}, {"rows", integer}, {"labels", integer}, {"seed", integer}, {"policy", integer}, {"by", text}, {"time", instant},
		{"reason", text}}, evaluationRows},
	{"feature_services", []metaColumn{{"name", text}, {"view", text}, {"role", text}, {"feature", text}}, serviceRows},
	{"experiments", []metaColumn{{"experiment_id", text}, {"name", text}, {"artifact_location", text}, {"lifecycle_stage", text},
		{"created", instant}, {"updated", instant}, {"runs", integer}}, experimentRows},
	{"experiment_tags", []metaColumn{{"experiment_id", text}, {"key", text}, {"value", text}}, experimentTagRows},
	{"features", []metaColumn{{"view", text}, {"name", text}, {"type", text}, {"description", text}}, featureRows},
	{"ledger", []metaColumn{{"sequence", integer}, {"time", instant}, {"kind", text}, {"ref", text}, {"body", text}}, ledgerRows},
	{"lineage_edges", []metaColumn{{"from_ref", text}, {"to_ref", text}, {"kind", text}}, lineageRows},
	{"materializations", []metaColumn{{"id", text}, {"views", text}, {"start_ts", instant}, {"end_ts", instant}, {"state", text},
		{"rows", integer}, {"total", integer}, {"started", instant}, {"ended", instant}, {"error", text}}, materializationRows},
	{"metrics", metricColumns, nil},
	{"logged_models", loggedModelColumns, loggedModelRows},
	{"model_checks", modelCheckColumns, modelCheckRows},
	{"model_tags", []metaColumn{{"model", text}, {"version", integer}, {"key", text}, {"value", text}}, modelTagRows},
	{"model_versions", modelVersionColumns, modelVersionRows},
	{"models", modelColumns, modelRows},
	{"monitor_panes", []metaColumn{{"monitor", text}, {"version", integer}, {"pane_start", instant}, {"pane_end", instant}, {"due", instant},
		{"evaluated", instant}, {"evaluation", integer}, {"evidence", integer}, {"outcome", text}, {"rows", integer}, {"reference_rows", integer},
		{"compared", integer}, {"drifted", integer}, {"phase", text}, {"alert", text}, {"error", text}}, paneRows},
	{"monitors", []metaColumn{{"name", text}, {"version", integer}, {"source", text}, {"window_length", text}, {"cron", text}, {"time_zone", text},
		{"phase", text}, {"alert", text}, {"panes", integer}, {"through", instant}, {"paused", text}, {"snoozed_until", instant}, {"created", instant}}, monitorRows},
	{"on_demand_features", []metaColumn{{"view", text}, {"name", text}, {"type", text}, {"expression", text}, {"description", text}}, onDemandFeatureRows},
	{"params", tagColumns, nil},
	{"profile_columns", []metaColumn{{"source", text}, {"pane_start", instant}, {"pane_end", instant}, {"column", text}, {"type", text}, {"kind", text},
		{"rows", integer}, {"nulls", integer}, {"nan", integer}, {"negative_infinite", integer}, {"positive_infinite", integer}, {"min", float}, {"max", float},
		{"mean", float}, {"std_dev", float}, {"median_low", float}, {"median_high", float}, {"most_frequent", text}, {"most_frequent_rows", integer}}, profileColumnRows},
	{"profiles", []metaColumn{{"source", text}, {"pane_start", instant}, {"pane_end", instant}, {"rows", integer}, {"columns", integer},
		{"bytes", integer}, {"created", instant}, {"table", text}}, profileRows},
	{"run_datasets", []metaColumn{{"run_id", text}, {"name", text}, {"digest", text}, {"context", text}, {"source_type", text}, {"source", text},
		{"schema", text}, {"profile", text}}, runDatasetRows},
	{"presets", []metaColumn{{"name", text}, {"version", integer}, {"base", text}, {"tests", integer}, {"description", text},
		{"owner", text}, {"created", instant}}, presetRows},
	{"rollout_transitions", []metaColumn{{"rollout", text}, {"sequence", integer}, {"time", instant}, {"from_phase", text}, {"to_phase", text},
		{"stage", integer}, {"weight", float}, {"cause", text}, {"reason", text}, {"by", text}, {"outcome", text}, {"e_value", float},
		{"threshold", float}, {"champion_requests", integer}, {"candidate_requests", integer}, {"needs", integer}}, rolloutTransitionRows},
	{"rollouts", []metaColumn{{"id", text}, {"model", text}, {"candidate", integer}, {"champion", integer}, {"policy", integer}, {"phase", text},
		{"stage", integer}, {"weight", float}, {"sequence", integer}, {"cause", text}, {"reason", text}, {"by", text}, {"waiting", text},
		{"created", instant}, {"entered", instant}, {"ended", instant}, {"outcome", text}, {"e_value", float}, {"needs", integer}}, rolloutRows},
	{"runs", runColumns, nil},
	{"stage_history", stageHistoryColumns, stageHistoryRows},
	{"snapshot_tags", []metaColumn{{"table", text}, {"tag", text}, {"snapshot_id", integer}}, snapshotTagRows},
	{"snapshots", []metaColumn{{"table", text}, {"snapshot_id", integer}, {"parent_id", integer}, {"committed", instant},
		{"rows", integer}, {"files", integer}}, snapshotRows},
	{"tags", tagColumns, nil},
	{"training_runs", []metaColumn{{"run", text}, {"model", text}, {"policy_version", integer}, {"state", text}, {"trigger", text}, {"cause", text},
		{"causes", integer}, {"dataset", text}, {"created", instant}, {"started", instant}, {"ended", instant}, {"attempts", integer},
		{"candidate", integer}, {"rollout", text}, {"reason", text}, {"note", text}}, trainingRunRows},
	{"trigger_suppressions", []metaColumn{{"model", text}, {"trigger", text}, {"kind", text}, {"time", instant}, {"reason", text},
		{"detail", text}, {"cause", text}, {"next", instant}}, suppressionRows},
	{"validation_runs", []metaColumn{{"validation", text}, {"version", integer}, {"run", integer}, {"time", instant}, {"rows", integer},
		{"checks", integer}, {"failed", integer}, {"warned", integer}}, validationRunRows},
	{"validations", []metaColumn{{"name", text}, {"version", integer}, {"table", text}, {"checks", integer}, {"last_run", integer},
		{"last_time", instant}, {"failed", integer}, {"warned", integer}, {"description", text}, {"owner", text}, {"created", instant}}, validationRows},
	{"views", []metaColumn{{"name", text}, {"entities", text}, {"event_timestamp", text}, {"created_timestamp", text},
		{"ttl_seconds", float}, {"features", integer}, {"description", text}, {"owner", text},
		{"held_rows", integer}, {"online_only_rows", integer}}, viewRows},
}

// The results of monitors are a stored table, and are read as such, see [Engine.resultsRows];
// what may have millions of rows is in [streamedTables].
// The tables about tables are added here, because they are among what they list.
func init() {
	metaTables = append(metaTables,
		metaTable{resultsTableName, resultColumns, nil},
		metaTable{pointsTableName, pointColumns, nil},
		metaTable{"columns", []metaColumn{{"schema", text}, {"table", text}, {"position", integer}, {"name", text}, {"type", text}}, columnRows},
		metaTable{"tables", []metaColumn{{"schema", text}, {"name", text}, {"columns", integer}}, tableRows},
	)
	slices.SortFunc(metaTables, func(a, b metaTable) int { return strings.Compare(a.name, b.name) })
}

func metaNames() []string {
	names := make([]string, len(metaTables))
	for i, m := range metaTables {
		names[i] = schemaMeta + "." + m.name
	}
	return names
}

func (m metaTable) schema() *arrow.Schema {
	fields := make([]arrow.Field, len(m.columns))
	for i, c := range m.columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.kind.Arrow(), Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// read yields the table's rows as they are when the range begins, in one batch.
func (m metaTable) read(e *Engine) driftline.Batches {
	if fill := streamedTables[m.name]; fill != nil {
		return m.stream(e, fill)
	}
	schema := m.schema()
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(e.mem, schema)
		defer b.Release()
		err := m.rows(e, func(values ...any) {
			for i, v := range values {
				appendMeta(b.Field(i), v)
			}
		})
		if err != nil {
			yield(nil, err)
			return
		}
		rows := b.NewRecordBatch()
		defer rows.Release()
		yield(rows, nil)
	}}
}

func appendMeta(b array.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.AppendNull()
	case string:
		b.(*array.StringBuilder).Append(v)
	case int64:
		b.(*array.Int64Builder).Append(v)
	case float64:
		b.(*array.Float64Builder).Append(v)
	case time.Time:
		if v.IsZero() {
			b.AppendNull()
			return
		}
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
	}
}

func tableRows(e *Engine, add func(...any)) error {
	tables, err := e.Tables(context.Background())
	for _, t := range tables {
		add(t.Schema, t.Name, int64(t.Columns.NumFields()))
	}
	return err
}

func columnRows(e *Engine, add func(...any)) error {
	tables, err := e.Tables(context.Background())
	for _, t := range tables {
		for i, f := range t.Columns.Fields() {
			add(t.Schema, t.Name, int64(i+1), f.Name, f.Type.String())
		}
	}
	return err
}

// eachViewTable visits the tables of views that have rows of their own.
func eachViewTable(e *Engine, visit func(offline.TableID) error) error {
	for _, v := range e.registry.Views() {
		if v.Source != nil {
			continue
		}
		if err := visit(viewTable(v.Name)); err != nil {
			return err
		}
	}
	return nil
}

func snapshotRows(e *Engine, add func(...any)) error {
	return eachViewTable(e, func(id offline.TableID) error {
		snapshots, err := e.offline.Snapshots(context.Background(), id)
		for _, s := range snapshots {
			add(id.String(), int64(s.ID), int64(s.Parent), s.Time, s.Rows, int64(len(s.Files)))
		}
		return err
	})
}

func snapshotTagRows(e *Engine, add func(...any)) error {
	return eachViewTable(e, func(id offline.TableID) error {
		tags, err := e.offline.Tags(context.Background(), id)
		for _, name := range slices.Sorted(maps.Keys(tags)) {
			add(id.String(), name, int64(tags[name]))
		}
		return err
	})
}

func eachRun(e *Engine, visit func(*driftline.Run)) error {
	for run, err := range e.registry.EachRun("") {
		if err != nil {
			return err
		}
		visit(run)
	}
	return nil
}

func datasetRows(e *Engine, add func(...any)) error {
	for _, d := range e.registry.Datasets() {
		add(string(d.Name), int64(d.Version), int64(d.Snapshot), d.Created, d.Report.Rows, d.ContentHash, d.Report.SQL)
	}
	return nil
}

// datasetColumnRows are the statistics of each column. not_yet_known is null for a
// column of the spine, distinct for one that has more values than were counted.
func datasetColumnRows(e *Engine, add func(...any)) error {
	for _, version := range e.registry.Datasets() {
		d, err := e.registry.Dataset(version.Name, version.Version) // with its statistics
		if err != nil {
			return err
		}
		unknown := map[string]any{}
		for _, c := range d.Report.Columns {
			unknown[c.Column] = c.NotYetKnown
		}
		for _, c := range d.Statistics {
			var distinct any
			if c.Top != nil {
				distinct = c.Distinct
			}
			add(string(d.Name), int64(d.Version), c.Column, c.Type, c.Nulls, unknown[c.Column],
				floatOrNull(c.Min), floatOrNull(c.Max), floatOrNull(c.Mean), floatOrNull(c.StdDev), distinct)
		}
	}
	return nil
}

func floatOrNull(n *driftline.Number) any {
	if n == nil {
		return nil
	}
	return float64(*n)
}

func datasetSplitRows(e *Engine, add func(...any)) error {
	for _, d := range e.registry.Datasets() {
		if d.Request.Split == nil {
			continue
		}
		for _, p := range d.Request.Split.Parts {
			add(string(d.Name), int64(d.Version), string(d.Request.Split.Kind), p.Name, p.Rows)
		}
	}
	return nil
}

func entityRows(e *Engine, add func(...any)) error {
	for _, entity := range e.registry.Entities() {
		for _, k := range entity.JoinKeys {
			add(string(entity.Name), k.Name, string(k.Type), entity.Description)
		}
	}
	return nil
}

func serviceRows(e *Engine, add func(...any)) error {
	for _, s := range e.registry.Services() {
		for _, p := range s.Projections {
			for _, f := range p.Features {
				add(string(s.Name), string(p.View), p.Role, f)
			}
		}
	}
	return nil
}

func featureRows(e *Engine, add func(...any)) error {
	for _, v := range e.registry.Views() {
		for _, f := range v.Offered() {
			add(string(v.Name), f.Name, string(f.Type), f.Description)
		}
	}
	for _, v := range e.registry.OnDemandViews() {
		for _, f := range v.Features {
			add(string(v.Name), f.Name, string(f.Type), f.Description)
		}
	}
	return nil
}

func onDemandFeatureRows(e *Engine, add func(...any)) error {
	for _, v := range e.registry.OnDemandViews() {
		for _, f := range v.Features {
			add(string(v.Name), f.Name, string(f.Type), f.Expression, f.Description)
		}
	}
	return nil
}

func ledgerRows(e *Engine, add func(...any)) error {
	for line, err := range e.registry.Lines(1) {
		if err != nil {
			return err
		}
		add(int64(line.Sequence), line.Time, string(line.Kind), line.Ref.String(), string(line.Body))
	}
	return nil
}

func columnLineageRows(e *Engine, add func(...any)) error {
	for _, edge := range e.registry.ColumnEdges() {
		add(edge.From.String(), edge.To.String(), edge.Kind)
	}
	return nil
}

func lineageRows(e *Engine, add func(...any)) error {
	for _, edge := range e.registry.LineageEdges() {
		add(edge.From.String(), edge.To.String(), edge.Kind)
	}
	return nil
}

func addPairs(of string, pairs map[string]string, add func(...any)) {
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		add(of, key, pairs[key])
	}
}

func stage(deleted bool) string {
	if deleted {
		return "deleted"
	}
	return "active"
}

func experimentRows(e *Engine, add func(...any)) error {
	for _, x := range e.registry.Experiments() {
		add(string(x.ID), string(x.Name), registry.ArtifactRoot(x.ID, x.ArtifactLocation), stage(x.Deleted), x.Created, x.Updated, int64(x.Runs))
	}
	return nil
}

func experimentTagRows(e *Engine, add func(...any)) error {
	for _, x := range e.registry.Experiments() {
		addPairs(string(x.ID), x.Tags, add)
	}
	return nil
}

func runDatasetRows(e *Engine, add func(...any)) error {
	return eachRun(e, func(r *driftline.Run) {
		for _, d := range r.Datasets {
			add(string(r.ID), d.Name, d.Digest, d.Tags["mlflow.data.context"], d.SourceType, d.Source, d.Schema, d.Profile)
		}
	})
}

func checkRows(e *Engine, add func(...any)) error {
	var names []driftline.ViewName
	for _, v := range e.registry.Views() {
		names = append(names, v.Name)
	}
	for _, v := range e.registry.OnDemandViews() {
		names = append(names, v.Name)
	}
	for _, name := range names {
		if c, ok := e.registry.Checked(name); ok {
			add(string(name), c.Time, int64(c.Entities), int64(c.Moments), c.Values, c.Differences)
		}
	}
	return nil
}

func materializationRows(e *Engine, add func(...any)) error {
	for _, job := range e.Materializations() {
		views := make([]string, len(job.Views))
		for i, name := range job.Views {
			views[i] = string(name)
		}
		add(job.ID, strings.Join(views, ", "), job.Start, job.End, string(job.State),
			job.Rows, job.Total, job.Started, job.Ended, job.Error)
	}
	return nil
}

func viewRows(e *Engine, add func(...any)) error {
	for _, v := range e.registry.Views() {
		entities := ""
		for i, name := range v.Entities {
			if i > 0 {
				entities += ", "
			}
			entities += string(name)
		}
		now := e.heads.of(v.Name)
		add(string(v.Name), entities, v.EventTimestamp, v.CreatedTimestamp, time.Duration(v.TTL).Seconds(),
			int64(len(v.Features)), v.Description, v.Owner, now.heldRows(), e.registry.Ingests(v.Name).OnlineOnly)
	}
	return nil
}

func monitorRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.Monitors() {
		state, err := e.registry.MonitorState(m.Name)
		if err != nil {
			return err
		}
		source := m.Source.SQL
		if source == "" {
			source = m.Source.Ref.String()
		}
		add(string(m.Name), int64(m.Version), source, m.Window.String(), m.Schedule.Cron, m.Schedule.TimeZone,
			string(state.Phase), string(state.Alert), state.Panes, state.Through, strconv.FormatBool(state.Paused || m.Disabled), state.SnoozedUntil, m.Created)
	}
	return nil
}

func paneRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.Monitors() {
		records, err := e.storedPanes(m.Name, time.Time{}, math.MaxInt)
		if err != nil {
			return err
		}
		for _, record := range records {
			p := record.Pane
			add(string(p.Monitor), int64(p.Version), p.Start, p.End, p.Due, p.Evaluated, int64(p.Evaluation), int64(p.Sequence),
				string(p.Outcome), p.Rows, p.ReferenceRows, int64(p.Compared), int64(p.Drifted), string(p.Phase), string(p.Alert), p.Error)
		}
	}
	return nil
}

func alertRows(e *Engine, add func(...any)) error {
	for _, a := range e.registry.Alerts() {
		add(string(a.ID), string(a.Monitor), int64(a.Version), string(a.Severity), string(a.State), a.Raised, a.Resolved, a.ResolvedBy,
			a.From, a.To, int64(a.Panes), a.Acknowledged, a.AcknowledgedBy, a.SnoozedUntil)
	}
	return nil
}

// validationRows are null after checks for a set that was never checked.
func validationRows(e *Engine, add func(...any)) error {
	for _, v := range e.registry.Validations() {
		var run, at, failed, warned any
		if last, ok := e.registry.LastValidationRun(v.Name); ok {
			run, at, failed, warned = int64(last.Run), last.At, int64(last.Failed), int64(last.Warned)
		}
		add(string(v.Name), int64(v.Version), v.Table, int64(len(v.Checks)), run, at, failed, warned, v.Description, v.Owner, v.Created)
	}
	return nil
}

func validationRunRows(e *Engine, add func(...any)) error {
	for _, v := range e.registry.Validations() {
		reports, err := e.storedValidations(v.Name, 0, math.MaxInt)
		if err != nil {
			return err
		}
		for _, r := range reports {
			add(string(r.Validation), int64(r.Version), int64(r.Run), r.At, r.Rows, int64(len(r.Results)), int64(r.Failed), int64(r.Warned))
		}
	}
	return nil
}

func trainingRunRows(e *Engine, add func(...any)) error {
	runs, err := e.Trainings("", math.MaxInt)
	for _, r := range runs {
		first := r.Causes[0]
		add(string(r.ID), string(r.Model), int64(r.Policy), string(r.State), first.Trigger, first.Summary, r.CauseCount, datasetText(r.Dataset), r.Created, r.Started, r.Ended,
			int64(r.Attempts), int64(r.Candidate), string(r.Rollout), r.Reason, r.Note)
	}
	return err
}

func datasetText(ref driftline.Ref) string {
	if ref == (driftline.Ref{}) {
		return ""
	}
	return ref.String()
}

func suppressionRows(e *Engine, add func(...any)) error {
	all, err := e.Suppressions("", math.MaxInt)
	for _, s := range all {
		add(string(s.Model), s.Cause.Trigger, string(s.Cause.Kind), s.Time, string(s.Reason), s.Detail, s.Cause.Summary, s.Next)
	}
	return err
}

func presetRows(e *Engine, add func(...any)) error {
	for _, p := range e.registry.Presets() {
		add(string(p.Name), int64(p.Version), cmp.Or(p.Base, presetDriftline), int64(len(p.Tests)), p.Description, p.Owner, p.Created)
	}
	return nil
}
