package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// What evaluations found is kept for ever, in two forms. A pane's record is in kv, small,
// with the reports but for their columns:
//
//	'w' ∥ monitor ∥ −end in µs (int64) ∥ evaluation (uint64)  →  JSON of a paneRecord
//
// so that the newest pane comes first. The columns are rows of the table meta.drift_results.
// The transaction of an evaluation writes them as a record of a log,
//
//	'r' ∥ number of the ledger line (uint64)  →  Arrow stream of the rows
//
// which is moved into files now and then. The snapshot's summary says up to which line it
// holds them; records up to there are gone, or are what a crash left of a flush.
const (
	resultsTableName = "drift_results"
	resultsThrough   = "results-through"

	flushResultsBytes = 4 << 20
	flushResultsEvery = time.Hour
)

// resultsTable is where the columns of evaluations are.
var resultsTable = offline.TableID{Namespace: schemaMeta, Name: resultsTableName}

var resultColumns = []metaColumn{
	{"monitor", text}, {"version", integer}, {"pane_start", instant}, {"pane_end", instant}, {"evaluated", instant},
	{"evaluation", integer}, {"evidence", integer}, {"segment", text}, {"column", text}, {"kind", text}, {"test", text},
	{"statistic", float}, {"p_value", float}, {"q_value", float}, {"effect", float}, {"effect_low", float}, {"effect_high", float},
	{"threshold", float}, {"verdict", text}, {"missing_effect", float}, {"missing_verdict", text}, {"unseen_share", float},
	{"reference_rows", integer}, {"current_rows", integer}, {"reference_nulls", integer}, {"current_nulls", integer},
	{"preset", text}, {"note", text}, {"details", text},
}

var resultsSchema = metaTable{columns: resultColumns}.schema()

// resultsOrder is how the rows of a file are sorted: those of a monitor by time.
var resultsOrder = offline.Order{Keys: []string{"monitor"}, Then: []string{"pane_start", "evidence"}}

// results is the log of meta.drift_results that is in no file. Readers take files and log
// in one step.
type results struct {
	recording sync.Mutex // held from where an evaluation gets its line until it is in log

	mu      sync.Mutex
	log     []resultRecord // in the order of the ledger
	bytes   int
	flushed time.Time
}

type resultRecord struct {
	line uint64
	raw  []byte
}

// paneRecord is what is kept of an evaluation besides the rows of its columns.
type paneRecord struct {
	Pane    driftline.MonitorPane     `json:"pane"`
	Reports []driftline.SegmentReport `json:"reports,omitempty"` // without columns
}

func resultKey(line uint64) []byte { return kv.AppendUint64([]byte{kv.DriftResults}, line) }

func panesPrefix(name driftline.MonitorName) []byte {
	return kv.AppendString([]byte{kv.MonitorPanes}, string(name))
}

func paneKey(name driftline.MonitorName, end time.Time, evaluation int) []byte {
	return kv.AppendUint64(kv.AppendInt64(panesPrefix(name), -end.UnixMicro()), uint64(evaluation))
}

// recordPane adds the results of an evaluation to its transaction.
func (e *Engine) recordPane(tx *registry.Tx, c *comparedPane) error {
	rows := c.resultRows(e)
	defer rows.Release()
	record := paneRecord{Pane: c.pane, Reports: slices.Clone(c.reports)}
	for i := range record.Reports {
		record.Reports[i].Report.Columns = nil
	}
	encoded, err := json.Marshal(record)
	if err != nil {
		return err
	}
	tx.Batch().Set(paneKey(c.pane.Monitor, c.pane.End, c.pane.Evaluation), encoded)
	if rows.NumRows() == 0 {
		return nil
	}
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(resultsSchema), ipc.WithAllocator(e.mem), ipc.WithZstd())
	if err := errors.Join(w.Write(rows), w.Close()); err != nil {
		return err
	}
	c.stored = stream.Bytes()
	tx.Batch().Set(resultKey(c.pane.Sequence), c.stored)
	return nil
}

// resultRows are the rows of meta.drift_results. Only those of all rows, and of columns
// that drifted, keep their histograms.
func (c *comparedPane) resultRows(e *Engine) arrow.RecordBatch {
	b := array.NewRecordBuilder(e.mem, resultsSchema)
	defer b.Release()
	p := c.pane
	for _, one := range c.reports {
		for _, column := range one.Report.Columns {
			if one.Segment != "" && column.Verdict != driftline.Drift {
				column.Histogram = driftline.Histogram{}
			}
			details, _ := json.Marshal(column) // of strings and numbers
			var segment any
			if one.Segment != "" {
				segment = one.Segment
			}
			for i, v := range []any{
				string(p.Monitor), int64(p.Version), p.Start, p.End, p.Evaluated,
				int64(p.Evaluation), int64(p.Sequence), segment, column.Column, column.Kind, column.Test,
				finite(column.Statistic), finite(column.PValue), finite(column.QValue), finite(column.Effect), finite(column.EffectLow), finite(column.EffectHigh),
				finite(column.Threshold), string(column.Verdict), finite(column.MissingEffect), string(column.MissingVerdict), finite(column.UnseenShare),
				column.ReferenceRows, column.CurrentRows, column.ReferenceNulls, column.CurrentNulls,
				one.Report.Preset, column.Note, string(details),
			} {
				appendMeta(b.Field(i), v)
			}
		}
	}
	return b.NewRecordBatch()
}

// finite is a number of a table: what is no number is null.
func finite(n driftline.Number) any {
	if math.IsNaN(float64(n)) {
		return nil
	}
	return float64(n)
}

// add shows readers the rows of an evaluation that is durable.
func (r *results) add(c *comparedPane) {
	if c.stored == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, resultRecord{c.pane.Sequence, c.stored})
	r.bytes += len(c.stored)
}

// currentResults is the newest snapshot of the table, which the first flush makes.
func (e *Engine) currentResults(ctx context.Context) (offline.Snapshot, bool, error) {
	snapshot, ok, err := e.offline.Current(ctx, resultsTable)
	if driftline.CodeOf(err) == driftline.NotFound {
		return offline.Snapshot{}, false, nil
	}
	return snapshot, ok, err
}

// loadResults reads the log that the last process left.
func (e *Engine) loadResults(ctx context.Context) error {
	through, err := e.resultsThrough(ctx)
	if err != nil {
		return err
	}
	e.results.flushed = e.now()
	var left [][]byte
	for pair, err := range e.kv.ScanPrefix([]byte{kv.DriftResults}) {
		if err != nil {
			return err
		}
		line := binary.BigEndian.Uint64(pair.Key[1:])
		if line <= through {
			left = append(left, slices.Clone(pair.Key))
			continue
		}
		e.results.log = append(e.results.log, resultRecord{line, slices.Clone(pair.Value)})
		e.results.bytes += len(pair.Value)
	}
	return e.forgetKeys(left)
}

func (e *Engine) forgetKeys(keys [][]byte) error {
	b := e.kv.NewBatch()
	defer b.Close()
	for _, key := range keys {
		b.Delete(key)
	}
	return b.Commit()
}

// resultsThrough is the ledger line up to which the files have the results.
func (e *Engine) resultsThrough(ctx context.Context) (uint64, error) {
	snapshot, ok, err := e.currentResults(ctx)
	if err != nil || !ok {
		return 0, err
	}
	through, err := strconv.ParseUint(snapshot.Summary[resultsThrough], 10, 64)
	if err != nil {
		return 0, driftline.Errorf(driftline.DataLoss, "table %s does not say which results it has", resultsTable)
	}
	return through, nil
}

// flushResultsIfLarge moves the log into a file once it is large, or old.
func (e *Engine) flushResultsIfLarge(ctx context.Context) error {
	e.results.mu.Lock()
	due := e.results.bytes >= flushResultsBytes || len(e.results.log) > 0 && e.now().Sub(e.results.flushed) >= flushResultsEvery
	e.results.mu.Unlock()
	if !due {
		return nil
	}
	return e.flushResults(ctx)
}

// flushResults moves the log into a file, and merges files where that pays.
func (e *Engine) flushResults(ctx context.Context) error {
	defer e.tables.lock(resultsTable.String())()
	e.results.mu.Lock()
	log := e.results.log
	e.results.mu.Unlock()
	if len(log) == 0 {
		return nil
	}
	if err := e.offline.CreateTable(ctx, resultsTable, resultsSchema); err != nil && driftline.CodeOf(err) != driftline.AlreadyExists {
		return err
	}
	files, err := e.offline.Stage(ctx, resultsTable, e.rowsOfResults(log), resultsOrder)
	if err != nil {
		return err
	}
	if err := e.reached(stepResultsStaged); err != nil {
		return err
	}
	through := log[len(log)-1].line
	e.results.mu.Lock()
	_, err = e.offline.Commit(ctx, resultsTable, files, map[string]string{resultsThrough: strconv.FormatUint(through, 10)})
	if err == nil {
		e.results.log = slices.Clone(e.results.log[len(log):])
		e.results.bytes = 0
		for _, record := range e.results.log {
			e.results.bytes += len(record.raw)
		}
		e.results.flushed = e.now()
	}
	e.results.mu.Unlock()
	if err != nil {
		return err
	}
	if err := e.reached(stepResultsCommitted); err != nil {
		return err
	}
	keys := make([][]byte, len(log))
	for i, record := range log {
		keys[i] = resultKey(record.line)
	}
	return errors.Join(e.forgetKeys(keys), e.compactResults(ctx, through))
}

// The steps of a flush of results between which a crash is tried.
const (
	stepResultsStaged    = "results staged"
	stepResultsCommitted = "results committed"
)

// compactResults merges files as those of views are. The caller holds the table's lock.
func (e *Engine) compactResults(ctx context.Context, through uint64) error {
	snapshot, ok, err := e.currentResults(ctx)
	if err != nil || !ok {
		return err
	}
	ranges, err := e.offline.Ranges(ctx, snapshot, resultsOrder)
	if err != nil {
		return err
	}
	for _, group := range offline.CompactionPlan(ranges) {
		files, err := e.offline.Compact(ctx, resultsTable, group, resultsOrder, e.mergePace)
		if err != nil {
			return err
		}
		summary := map[string]string{summaryCause: causeCompaction, resultsThrough: strconv.FormatUint(through, 10)}
		if _, err := e.offline.ReplaceFiles(ctx, resultsTable, group, files, summary); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) rowsOfResults(log []resultRecord) driftline.Batches {
	return driftline.Batches{Schema: resultsSchema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for _, record := range log {
			for b, err := range streamed(e, record.raw) {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
	}}
}

// resultsRows is meta.drift_results as SQL reads it.
func (e *Engine) resultsRows(ctx context.Context) (query.Table, error) {
	e.results.mu.Lock()
	log := e.results.log
	snapshot, ok, err := e.currentResults(ctx)
	if ok {
		e.holdWhile(ctx, snapshot)
	}
	e.results.mu.Unlock()
	if err != nil {
		return query.Table{}, err
	}
	rows := query.Rows{}
	if ok {
		if rows, err = e.rowsAt(ctx, snapshot); err != nil {
			return query.Table{}, err
		}
	}
	if len(log) > 0 {
		rows.Tail = e.rowsOfResults(log)
	}
	return query.Table{Rows: rows, Columns: resultsSchema}, nil
}

// storedPanes returns evaluations of a monitor, the newest pane first, of panes that ended
// before a time; the zero time means all.
func (e *Engine) storedPanes(name driftline.MonitorName, before time.Time, limit int) ([]paneRecord, error) {
	prefix := panesPrefix(name)
	lower := prefix
	if !before.IsZero() {
		lower = kv.AppendInt64(panesPrefix(name), -before.UnixMicro()+1)
	}
	records := []paneRecord{}
	for pair, err := range e.kv.ScanFrom(lower, prefix) {
		if err != nil {
			return nil, err
		}
		if len(records) == limit {
			break
		}
		record, err := decodePane(name, pair.Value)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

func decodePane(name driftline.MonitorName, raw []byte) (record paneRecord, err error) {
	if err := json.Unmarshal(raw, &record); err != nil {
		return record, driftline.Errorf(driftline.DataLoss, "the record of a pane of monitor %q is damaged", name).
			WithHint("restore the data folder from a backup")
	}
	return record, nil
}

// storedPane returns one evaluation.
func (e *Engine) storedPane(name driftline.MonitorName, end time.Time, evaluation int) (paneRecord, error) {
	raw, err := e.kv.Get(paneKey(name, end, evaluation))
	if err != nil {
		return paneRecord{}, err
	}
	if raw == nil {
		return paneRecord{}, driftline.Errorf(driftline.NotFound, "monitor %q has no evaluation %d of the pane that ends at %s", name, evaluation, end.UTC().Format(time.RFC3339)).
			WithHint("driftline monitor history %s lists those that there are", name)
	}
	return decodePane(name, raw)
}

// closedPane returns the first evaluation of the pane that t is in.
func (e *Engine) closedPane(name driftline.MonitorName, t time.Time) (driftline.MonitorPane, error) {
	prefix := panesPrefix(name)
	var found *driftline.MonitorPane
	for pair, err := range e.kv.ScanFrom(prefix, prefix) {
		if err != nil {
			return driftline.MonitorPane{}, err
		}
		record, err := decodePane(name, pair.Value)
		if err != nil {
			return driftline.MonitorPane{}, err
		}
		p := record.Pane
		if p.Evaluation == 1 && !t.Before(p.Start) && t.Before(p.End) {
			found = &p // of those that overlap, the first to end
		}
		if !p.End.After(t) {
			break
		}
	}
	if found == nil {
		return driftline.MonitorPane{}, driftline.Errorf(driftline.NotFound, "monitor %q has closed no pane that %s is in", name, t.UTC().Format(time.RFC3339)).
			WithHint("driftline monitor history %s lists those that it has", name)
	}
	return *found, nil
}

// evaluations counts how often a pane was evaluated.
func (e *Engine) evaluations(name driftline.MonitorName, end time.Time) (n int, err error) {
	for _, err := range e.kv.ScanPrefix(kv.AppendInt64(panesPrefix(name), -end.UnixMicro())) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// mostPanes bounds what one listing of panes returns.
const mostPanes = 1000

// lateCounted is for how many panes of a listing late rows are counted.
const lateCounted = 100

// MonitorPanes returns evaluations of a monitor, the newest pane first: limit at most, of
// panes that ended before a time, if it is not zero. late asks for the rows that came late.
func (e *Engine) MonitorPanes(ctx context.Context, name driftline.MonitorName, before time.Time, limit int, late bool) ([]driftline.MonitorPane, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	m, err := e.registry.Monitor(name)
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > mostPanes {
		return nil, driftline.Errorf(driftline.Invalid, "limit is %d, want 1 to %d", limit, mostPanes)
	}
	records, err := e.storedPanes(name, before, limit)
	if err != nil {
		return nil, err
	}
	panes := make([]driftline.MonitorPane, len(records))
	for i, record := range records {
		panes[i] = record.Pane
	}
	if late {
		err = e.countLate(ctx, m, panes[:min(lateCounted, len(panes))])
	}
	return panes, err
}

// MonitorPane returns everything that an evaluation found of the pane that t is in;
// evaluation 0 means the last.
func (e *Engine) MonitorPane(ctx context.Context, name driftline.MonitorName, t time.Time, evaluation int) (driftline.PaneReport, error) {
	if err := e.begin(); err != nil {
		return driftline.PaneReport{}, err
	}
	defer e.end()
	if _, err := e.registry.Monitor(name); err != nil {
		return driftline.PaneReport{}, err
	}
	first, err := e.closedPane(name, t)
	if err != nil {
		return driftline.PaneReport{}, err
	}
	if evaluation == 0 {
		if evaluation, err = e.evaluations(name, first.End); err != nil {
			return driftline.PaneReport{}, err
		}
	}
	record, err := e.storedPane(name, first.End, evaluation)
	if err != nil {
		return driftline.PaneReport{}, err
	}
	report := driftline.PaneReport{Pane: record.Pane, Reports: record.Reports}
	return report, e.addColumns(ctx, &report)
}

// addColumns reads the columns of a pane's reports, in the order that they had.
func (e *Engine) addColumns(ctx context.Context, report *driftline.PaneReport) error {
	at := map[string]int{}
	for i := range report.Reports {
		at[report.Reports[i].Segment] = i
		report.Reports[i].Report.Columns = []driftline.ColumnDrift{}
	}
	rows, err := e.SQL(ctx, fmt.Sprintf("SELECT segment, details FROM %s WHERE monitor = '%s' AND evidence = %d", resultsTable, report.Pane.Monitor, report.Pane.Sequence), nil)
	if err != nil {
		return err
	}
	for b, err := range rows.All {
		if err != nil {
			return err
		}
		segments, details := b.Column(0).(*array.String), b.Column(1).(*array.String)
		for i := range segments.Len() {
			var column driftline.ColumnDrift
			if err := json.Unmarshal([]byte(details.Value(i)), &column); err != nil {
				return driftline.Errorf(driftline.DataLoss, "a row of %s is damaged", resultsTable)
			}
			segment := ""
			if !segments.IsNull(i) {
				segment = segments.Value(i)
			}
			if n, ok := at[segment]; ok {
				to := &report.Reports[n].Report.Columns
				*to = append(*to, column)
			}
		}
	}
	for i := range report.Reports {
		slices.SortStableFunc(report.Reports[i].Report.Columns, func(a, b driftline.ColumnDrift) int { return byRank(&a, &b) })
	}
	return nil
}
