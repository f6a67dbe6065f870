package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/openlineage"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// tellEvery is how long a line of the ledger may wait before it is told of.
const tellEvery = time.Second

// toldKey holds the number of the last ledger line whose events were sent, 8 bytes.
var toldKey = append([]byte{kv.Counters}, "openlineage"...)

// startLineage begins to tell the sink, if there is one.
func (e *Engine) startLineage(ctx context.Context, sink *openlineage.Sink) {
	if sink != nil {
		e.work.Go(func() { e.lineageLoop(ctx, sink) })
	}
}

// lineageLoop sends what the ledger says of datasets, runs and materializations to the sink
// of OpenLineage events, in its order, from the first line on. The place in the ledger is
// kept, so that a crash repeats events and loses none; a receiver that is away is waited for.
func (e *Engine) lineageLoop(ctx context.Context, sink *openlineage.Sink) {
	failures := 0
	var next time.Time
	for range rounds(ctx, tellEvery, nil) {
		if time.Now().Before(next) {
			continue
		}
		if err := e.tellLineage(ctx, sink); err != nil && ctx.Err() == nil {
			failures++
			wait := min(time.Second<<min(failures, 10), 5*time.Minute)
			next = time.Now().Add(wait)
			e.log.Warn("an OpenLineage event was not delivered; it is tried again", "attempt", failures, "wait", wait, "error", err)
			continue
		}
		failures = 0
	}
}

// tellLineage sends the events of the lines that were not told of yet.
func (e *Engine) tellLineage(ctx context.Context, sink *openlineage.Sink) error {
	told, err := e.toldLine()
	if err != nil {
		return err
	}
	newest := e.registry.Newest().Sequence // what is not durable yet is not told of
	if told >= newest {
		return nil
	}
	t := translator{engine: e, namespace: sink.Namespace()}
	for line, err := range e.registry.Lines(told + 1) {
		if err != nil {
			return err
		}
		if line.Sequence > newest || ctx.Err() != nil {
			break
		}
		events := t.events(&line)
		for i := range events {
			err := sink.Send(ctx, &events[i])
			if errors.Is(err, openlineage.ErrRefused) {
				e.log.Error("an OpenLineage event was refused and is left out", "line", line.Sequence, "error", err)
			} else if err != nil {
				return errors.Join(err, e.setTold(told))
			}
		}
		told = line.Sequence
	}
	return e.setTold(told)
}

func (e *Engine) toldLine() (uint64, error) {
	raw, err := e.kv.Get(toldKey)
	if err != nil || len(raw) != 8 {
		return 0, err
	}
	return binary.BigEndian.Uint64(raw), nil
}

func (e *Engine) setTold(line uint64) error {
	b := e.kv.NewBatch()
	defer b.Close()
	b.Set(toldKey, binary.BigEndian.AppendUint64(nil, line))
	return b.Commit()
}

// LineageEvents returns the OpenLineage events of the ledger lines after one, of at most so
// many lines, and the number of the last of these.
func (e *Engine) LineageEvents(ctx context.Context, after uint64, lines int) (events []openlineage.Event, last uint64, err error) {
	if err := e.begin(); err != nil {
		return nil, after, err
	}
	defer e.end()
	newest := e.registry.Newest().Sequence
	t := translator{engine: e, namespace: openlineage.Namespace}
	events, last = []openlineage.Event{}, after
	if after >= newest {
		return events, after, nil
	}
	for line, err := range e.registry.Lines(after + 1) {
		if err != nil {
			return nil, after, err
		}
		if line.Sequence > newest || lines == 0 || ctx.Err() != nil {
			break
		}
		events, last = append(events, t.events(&line)...), line.Sequence
		lines--
	}
	return events, last, nil
}

// translator makes events of ledger lines. What it says of a thing is what is known now.
type translator struct {
	engine    *Engine
	namespace string
}

func (t *translator) events(line *registry.Line) []openlineage.Event {
	switch line.Kind {
	case registry.DatasetSaved:
		return t.saved(line)
	case registry.RunCreated:
		return t.runBegan(line)
	case registry.RunLogged:
		return t.runRead(line)
	case registry.RunFinished, registry.RunChanged:
		return t.runEnded(line)
	case registry.ModelRegistered:
		return t.registered(line)
	case registry.ViewMaterialized:
		return t.materialized(line)
	case registry.TrainingChanged:
		return t.trained(line)
	}
	return nil
}

// saved are the beginning and the end of making a training set.
func (t *translator) saved(line *registry.Line) []openlineage.Event {
	version, _ := strconv.Atoi(line.Ref.Version)
	d, err := t.engine.registry.Dataset(driftline.DatasetName(line.Ref.Name), version)
	if err != nil {
		return nil // it was not kept
	}
	inputs := t.inputs(line.Inputs, d.Table())
	run, job := openlineage.RunID(line.Ref.String()), "dataset."+string(d.Name)
	start := openlineage.RunEvent(openlineage.Start, line.Time, run, t.namespace, job, "TRAINING_SET")
	end := openlineage.RunEvent(openlineage.Complete, line.Time, run, t.namespace, job, "TRAINING_SET")
	start.Inputs, end.Inputs = inputs, inputs
	out := openlineage.Dataset{Namespace: t.namespace, Name: d.Table()}
	out.SetVersion(strconv.FormatInt(int64(d.Snapshot), 10))
	out.SetWritten(d.Report.Rows, 0, 0)
	if len(d.Statistics) > 0 {
		fields, quality := qualityOf(d.Statistics)
		out.SetSchema(fields)
		out.SetQuality(d.Report.Rows, quality)
	}
	if columns := t.columnsOf(d); len(columns) > 0 {
		out.SetColumnLineage(columns)
	}
	end.Outputs = []openlineage.Dataset{out}
	return []openlineage.Event{start, end}
}

func qualityOf(statistics []driftline.ColumnStatistics) ([]openlineage.Field, map[string]openlineage.ColumnQuality) {
	var fields []openlineage.Field
	quality := map[string]openlineage.ColumnQuality{}
	for _, c := range statistics {
		fields = append(fields, openlineage.Field{Name: c.Column, Type: c.Type})
		q := openlineage.ColumnQuality{Nulls: c.Nulls, Count: float64(c.Rows - c.Nulls)}
		q.Min, q.Max = finiteOf(c.Min), finiteOf(c.Max)
		quality[c.Column] = q
	}
	return fields, quality
}

func finiteOf(n *driftline.Number) *float64 {
	if n == nil || float64(*n)-float64(*n) != 0 {
		return nil
	}
	value := float64(*n)
	return &value
}

// columnsOf says which stored columns each column of a training set is from, through whatever
// is aggregated and computed between.
func (t *translator) columnsOf(d *driftline.Dataset) map[string][]openlineage.InputField {
	columns := map[string][]openlineage.InputField{}
	for _, p := range d.Projections {
		for _, feature := range p.Features {
			column := p.OutputName(feature, d.Request.FullFeatureNames)
			found, err := t.engine.registry.Lineage(driftline.ColumnRef(d.Table(), column), driftline.Up, 0)
			if err != nil {
				continue
			}
			subtype := subtypeOf(found.Edges)
			for _, node := range found.Nodes {
				table, field, ok := strings.Cut(node.Ref.Name, ":")
				if node.Ref.Kind == driftline.KindColumn && ok && strings.HasPrefix(table, "features.") {
					columns[column] = append(columns[column], openlineage.InputField{Namespace: t.namespace, Name: table, Field: field,
						Transformations: []openlineage.Transformation{{Type: "DIRECT", Subtype: subtype}}})
				}
			}
		}
	}
	return columns
}

func subtypeOf(edges []driftline.LineageEdge) string {
	subtype := "IDENTITY"
	for _, e := range edges {
		switch e.Kind {
		case "aggregates":
			return "AGGREGATION"
		case "computed from":
			subtype = "TRANSFORMATION"
		}
	}
	return subtype
}

// inputs are the tables behind references. The table that was written is no input of its own.
func (t *translator) inputs(refs []driftline.Ref, written string) []openlineage.Dataset {
	var inputs []openlineage.Dataset
	at := map[string]int{}
	for _, ref := range refs {
		d, ok := t.table(ref)
		if !ok || d.Namespace == t.namespace && d.Name == written {
			continue
		}
		key := d.Namespace + "\x00" + d.Name
		if i, known := at[key]; known {
			if d.Version() != "" {
				inputs[i] = d // the snapshot says more than the view
			}
			continue
		}
		at[key] = len(inputs)
		inputs = append(inputs, d)
	}
	return inputs
}

// table is the dataset, in the words of OpenLineage, that a reference means.
func (t *translator) table(ref driftline.Ref) (d openlineage.Dataset, ok bool) {
	d.Namespace = t.namespace
	switch ref.Kind {
	case driftline.KindSnapshot:
		d.Name = ref.Name
		d.SetVersion(ref.Version)
	case driftline.KindView:
		d.Name = "features." + ref.Name
	case driftline.KindDataset:
		version, _ := strconv.Atoi(ref.Version)
		saved, err := t.engine.registry.Dataset(driftline.DatasetName(ref.Name), version)
		if err != nil {
			return d, false
		}
		d.Name = saved.Table()
		d.SetVersion(strconv.FormatInt(int64(saved.Snapshot), 10))
	case driftline.KindModel:
		d.Name = "models." + ref.Name
		d.SetVersion(ref.Version)
	default:
		return d, false
	}
	return d, true
}

// runEvent makes an event of a training run; false if the run is gone.
func (t *translator) runEvent(kind openlineage.EventType, line *registry.Line, inputs []driftline.Ref) (openlineage.Event, bool) {
	run, err := t.engine.registry.Run(driftline.RunID(line.Ref.Name))
	if err != nil {
		return openlineage.Event{}, false
	}
	e := openlineage.RunEvent(kind, line.Time, openlineage.RunID(string(run.ID)), t.namespace, "experiment."+string(run.Experiment), "TRAINING")
	if kind != openlineage.Start && kind != openlineage.Running {
		inputs = run.Inputs
	}
	e.Inputs = t.inputs(inputs, "")
	return e, true
}

func (t *translator) runBegan(line *registry.Line) []openlineage.Event {
	if e, ok := t.runEvent(openlineage.Start, line, line.Inputs); ok {
		return []openlineage.Event{e}
	}
	return nil
}

// runRead tells what a run says that it read while it went on.
func (t *translator) runRead(line *registry.Line) []openlineage.Event {
	if len(line.Inputs) == 0 {
		return nil
	}
	if e, ok := t.runEvent(openlineage.Running, line, line.Inputs); ok {
		return []openlineage.Event{e}
	}
	return nil
}

var endOfRun = map[driftline.RunStatus]openlineage.EventType{
	driftline.RunFinished: openlineage.Complete, driftline.RunFailed: openlineage.Fail, driftline.RunKilled: openlineage.Abort,
}

func (t *translator) runEnded(line *registry.Line) []openlineage.Event {
	var said struct {
		Status driftline.RunStatus `json:"status"`
	}
	if json.Unmarshal(line.Body, &said) != nil || endOfRun[said.Status] == "" {
		return nil
	}
	e, ok := t.runEvent(endOfRun[said.Status], line, nil)
	if !ok {
		return nil
	}
	if said.Status == driftline.RunFailed {
		e.Run.SetError(t.whyFailed(line))
	}
	return []openlineage.Event{e}
}

// whyFailed is why a run failed, as far as the server knows it.
func (t *translator) whyFailed(line *registry.Line) string {
	run, err := t.engine.registry.Run(driftline.RunID(line.Ref.Name))
	if err != nil || run.Reason == "" {
		return "the run says that it failed"
	}
	return run.Reason
}

// endOfTraining says what the ends of a policy's training run are. A version that is rejected
// later was made all the same.
var endOfTraining = map[driftline.TrainingState]openlineage.EventType{
	driftline.TrainingSucceeded: openlineage.Complete, driftline.TrainingFailed: openlineage.Fail,
	driftline.TrainingTimedOut: openlineage.Fail, driftline.TrainingCancelled: openlineage.Abort,
}

// trained tells of a policy's training run: that it began, what it was given to train on, and how it ended.
func (t *translator) trained(line *registry.Line) []openlineage.Event {
	change, err := registry.TrainingStep(line)
	if err != nil {
		return nil
	}
	run := &change.Run
	kind := endOfTraining[run.State]
	switch {
	case change.Follows:
		return nil
	case run.State == driftline.TrainingRunning && change.Action == string(driftline.TrainingRunning) && run.Attempts <= 1:
		kind = openlineage.Start
	case run.State == driftline.TrainingRunning:
		kind = openlineage.Running
	case kind == "":
		return nil
	}
	e := openlineage.RunEvent(kind, line.Time, openlineage.RunID(line.Ref.String()), t.namespace, "training."+string(run.Model), "TRAINING")
	e.Inputs = t.inputs(line.Inputs, "")
	switch kind {
	case openlineage.Complete:
		if out, ok := t.table(driftline.ModelRef(run.Model, run.Candidate)); ok && run.Candidate > 0 {
			e.Outputs = []openlineage.Dataset{out}
		}
	case openlineage.Fail:
		e.Run.SetError("the training job " + failedTraining[run.State]) // why may quote values, and is shown by its page
	}
	return []openlineage.Event{e}
}

var failedTraining = map[driftline.TrainingState]string{driftline.TrainingFailed: "failed", driftline.TrainingTimedOut: "did not end in time"}

// registered tells of a model version as an output of the run that made it, which has ended by then.
func (t *translator) registered(line *registry.Line) []openlineage.Event {
	version, err := t.engine.registry.ModelVersion(driftline.ModelName(line.Ref.Name), line.Ref.Version)
	if err != nil || version.Run == "" {
		return nil
	}
	run, err := t.engine.registry.Run(version.Run)
	if err != nil {
		return nil
	}
	e := openlineage.RunEvent(openlineage.Other, line.Time, openlineage.RunID(string(run.ID)), t.namespace, "experiment."+string(run.Experiment), "TRAINING")
	e.Inputs = t.inputs(run.Inputs, "")
	out, _ := t.table(version.Ref())
	e.Outputs = []openlineage.Dataset{out}
	return []openlineage.Event{e}
}

// materialized tells of rows of a view that were brought online.
func (t *translator) materialized(line *registry.Line) []openlineage.Event {
	var done registry.Materialized
	if json.Unmarshal(line.Body, &done) != nil {
		return nil
	}
	run, job := openlineage.RunID("materialization/"+done.Job+"/"+string(done.View)), "materialize."+string(done.View)
	in := openlineage.Dataset{Namespace: t.namespace, Name: "features." + string(done.View)}
	if done.Snapshot != 0 {
		in.SetVersion(strconv.FormatInt(int64(done.Snapshot), 10))
	}
	out := openlineage.Dataset{Namespace: t.namespace, Name: "online." + string(done.View)}
	out.SetWritten(done.Rows, 0, 0)
	began := line.Time
	if job, err := t.engine.Materialization(done.Job); err == nil {
		began = job.Started
	}
	start := openlineage.RunEvent(openlineage.Start, began, run, t.namespace, job, "MATERIALIZATION")
	end := openlineage.RunEvent(openlineage.Complete, line.Time, run, t.namespace, job, "MATERIALIZATION")
	start.Inputs, end.Inputs = []openlineage.Dataset{in}, []openlineage.Dataset{in}
	end.Outputs = []openlineage.Dataset{out}
	return []openlineage.Event{start, end}
}

// ReceiveLineage records what another system says in an OpenLineage event, and reports whether
// it was new. Its jobs and tables become part of lineage; tables of ours that it names are ours.
func (e *Engine) ReceiveLineage(raw []byte) (recorded bool, err error) {
	event, err := openlineage.Parse(raw)
	if err != nil {
		return false, err
	}
	if err := e.begin(); err != nil {
		return false, err
	}
	defer e.end()
	if event.Job == nil || event.Producer == openlineage.Producer {
		return false, nil // data that nothing is made from; and what we said ourselves comes back
	}
	job := registry.ReceivedJob{At: event.Time.UTC(), Producer: event.Producer, State: string(event.Type),
		Job: driftline.Ref{Kind: driftline.KindJob, Name: openlineage.RefName(event.Job.Namespace, event.Job.Name)}}
	if event.Run != nil {
		job.Run = event.Run.ID
	}
	for i := range event.Inputs {
		job.Inputs = append(job.Inputs, e.receivedTable(event.Inputs[i].Namespace, event.Inputs[i].Name))
	}
	for i := range event.Outputs {
		out, err := e.receivedOutput(&event.Outputs[i])
		if err != nil {
			return false, err
		}
		job.Outputs = append(job.Outputs, out)
	}
	return e.registry.Receive(job)
}

func (e *Engine) receivedOutput(d *openlineage.Dataset) (registry.ReceivedTable, error) {
	out := registry.ReceivedTable{Ref: e.receivedTable(d.Namespace, d.Name), Version: d.Version()}
	if rows, ok := d.Rows(); ok {
		out.Rows = &rows
	}
	columns := d.ColumnLineage()
	if len(columns) > openlineage.MostColumns {
		return out, driftline.Errorf(driftline.Invalid, "the column lineage of output %.80q has %d columns, and at most %d are taken", d.Name, len(columns), openlineage.MostColumns)
	}
	for column, from := range columns {
		if out.Columns == nil {
			out.Columns = map[string][]driftline.Ref{}
		}
		for _, f := range from {
			table := e.receivedTable(f.Namespace, f.Name)
			name := table.Name
			switch table.Kind {
			case driftline.KindView:
				name = "features." + table.Name
			case driftline.KindDataset:
				name = f.Name
			}
			out.Columns[column] = append(out.Columns[column], driftline.ColumnRef(name, f.Field))
		}
	}
	return out, nil
}

var savedTable = regexp.MustCompile(`^datasets\.(.+)_v([1-9][0-9]*)$`)

// receivedTable is the table that an event names: a view or a dataset of ours, or one of
// another system.
func (e *Engine) receivedTable(namespace, name string) driftline.Ref {
	if namespace == openlineage.Namespace {
		if view, ok := strings.CutPrefix(name, "features."); ok {
			if _, err := e.registry.View(driftline.ViewName(view)); err == nil {
				return driftline.ViewRef(driftline.ViewName(view))
			}
		}
		if parts := savedTable.FindStringSubmatch(name); parts != nil {
			version, _ := strconv.Atoi(parts[2])
			if d, err := e.registry.Dataset(driftline.DatasetName(parts[1]), version); err == nil {
				return d.Ref()
			}
		}
	}
	return driftline.Ref{Kind: driftline.KindTable, Name: openlineage.RefName(namespace, name)}
}
