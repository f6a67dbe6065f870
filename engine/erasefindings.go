package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
	"github.com/driftline/driftline/storage/offline"
)

// What monitors found names values: categories in histograms and notes, values of segments,
// the ends of ranges. Where rows of what a monitor reads were erased, those that no row has
// any more are taken out of its findings. What other rows have too says nothing of the one
// that is gone, and stays, as counts, effects and p-values do.

// erasedName stands for a name that was taken out. Several in one pane are numbered.
const erasedName = "(erased)"

// forgetFindings takes out what only erased rows had from the findings of the monitors that
// read one of the tables, and returns how many evaluations it changed. It may be repeated: a
// pane's record, which says what its segments were called, is changed after its results.
func (e *Engine) forgetFindings(ctx context.Context, tables []driftline.Ref) (int, error) {
	if len(tables) == 0 {
		return 0, nil
	}
	all := &redaction{engine: e, lines: map[uint64]*paneRedaction{}}
	for _, m := range e.registry.Monitors() {
		reads, err := e.monitorReads(ctx, m.Name, tables)
		if err != nil {
			return 0, err
		}
		if reads {
			if err := all.plan(ctx, m); err != nil {
				return 0, err
			}
		}
	}
	if len(all.lines) == 0 {
		return 0, nil
	}
	if err := all.results(ctx); err != nil {
		return 0, err
	}
	if err := e.reached(stepResultsForgotten); err != nil {
		return 0, err
	}
	return all.changed, errors.Join(all.records(), all.notices())
}

// monitorReads reports whether a version of a monitor may have read one of the tables.
func (e *Engine) monitorReads(ctx context.Context, name driftline.MonitorName, tables []driftline.Ref) (bool, error) {
	versions, err := e.registry.MonitorVersions(name)
	if err != nil {
		return false, err
	}
	for _, m := range versions {
		from := driftline.DriftSource{Ref: m.Source.Ref, SQL: m.Source.SQL}
		against := driftline.DriftSource{Ref: m.Reference.Ref}
		if e.readsOneOf(ctx, from, tables) || against.Ref != (driftline.Ref{}) && e.readsOneOf(ctx, against, tables) {
			return true, nil
		}
	}
	return false, nil
}

// redaction is what is taken out of the findings of all monitors.
type redaction struct {
	engine  *Engine
	lines   map[uint64]*paneRedaction // by the ledger line of the evaluation
	changed int                       // evaluations
}

// paneRedaction is one evaluation of which something may be taken out.
type paneRedaction struct {
	known    *knownValues
	record   paneRecord
	segments map[string]string // that are called otherwise from now on
	changed  bool
}

// plan reads the evaluations of a monitor, and what its tables still have.
func (r *redaction) plan(ctx context.Context, m *driftline.Monitor) error {
	prefix := panesPrefix(m.Name)
	known := newKnownValues(r.engine, m)
	for pair, err := range r.engine.kv.ScanFrom(prefix, prefix) {
		if err != nil {
			return err
		}
		record, err := decodePane(m.Name, pair.Value)
		if err != nil {
			return err
		}
		p := &paneRedaction{known: known, record: record, segments: map[string]string{}}
		for _, one := range record.Reports {
			if one.Segment != "" && !known.segment(ctx, one.Segment) {
				title, _ := known.segmentTitle(one.Segment)
				p.segments[one.Segment] = fmt.Sprintf("%s=%s", title, numbered(len(p.segments)))
			}
		}
		r.lines[record.Pane.Sequence] = p
	}
	return nil
}

func numbered(n int) string {
	if n == 0 {
		return erasedName
	}
	return fmt.Sprintf("(erased %d)", n+1)
}

func (p *paneRedaction) renamed(segment string) string {
	if name, ok := p.segments[segment]; ok {
		return name
	}
	return segment
}

// results rewrites meta.drift_results, and gives up what it was before.
func (r *redaction) results(ctx context.Context) error {
	e := r.engine
	if err := e.flushResults(ctx); err != nil {
		return err
	}
	defer e.tables.lock(resultsTable.String())()
	current, ok, err := e.currentResults(ctx)
	if err != nil || !ok {
		return err
	}
	var old, staged []offline.File
	for _, f := range current.Files {
		part := current
		part.Files = []offline.File{f}
		rows := e.offline.Read(ctx, part, nil)
		changed, err := r.concerns(ctx, rows)
		if err != nil {
			return errors.Join(err, e.offline.Discard(staged))
		}
		if !changed {
			continue
		}
		files, err := e.offline.Stage(ctx, resultsTable, r.rewritten(ctx, rows), resultsOrder)
		if err != nil {
			return errors.Join(err, e.offline.Discard(staged))
		}
		old, staged = append(old, f), append(staged, files...)
	}
	if len(old) > 0 {
		summary := map[string]string{summaryCause: causeErasure, resultsThrough: current.Summary[resultsThrough]}
		e.results.mu.Lock()
		_, err := e.offline.ReplaceErased(ctx, resultsTable, old, staged, summary)
		e.results.mu.Unlock()
		if err != nil {
			return err
		}
	}
	_, err = e.offline.Expire(ctx, resultsTable, func(offline.Snapshot) bool { return false })
	return err
}

// concerns reports whether there is anything to take out of rows of results.
func (r *redaction) concerns(ctx context.Context, rows driftline.Batches) (bool, error) {
	any := false
	for b, err := range rows.All {
		if err != nil {
			return false, err
		}
		next, changed, err := r.rewrite(ctx, b)
		if err != nil {
			return false, err
		}
		next.Release()
		any = any || changed
	}
	return any, nil
}

// rewritten yields rows of results without what is taken out.
func (r *redaction) rewritten(ctx context.Context, rows driftline.Batches) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			var next arrow.RecordBatch
			if err == nil {
				next, _, err = r.rewrite(ctx, b)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(next, nil)
			next.Release()
			if !more {
				return
			}
		}
	}}
}

// rewrite returns a batch of results without what is taken out, and whether anything was.
func (r *redaction) rewrite(ctx context.Context, b arrow.RecordBatch) (without arrow.RecordBatch, changed bool, err error) {
	at := func(name string) int { return b.Schema().FieldIndices(name)[0] }
	evidence, ok := b.Column(at("evidence")).(*array.Int64)
	if !ok {
		return nil, false, driftline.Errorf(driftline.DataLoss, "table %s has no numbers of evidence", resultsTable)
	}
	columns := map[int][]any{at("segment"): nil, at("note"): nil, at("details"): nil}
	for i := range int(b.NumRows()) {
		segment, note, details := textAt(b, at("segment"), i), textAt(b, at("note"), i), textAt(b, at("details"), i)
		if p := r.lines[uint64(evidence.Value(i))]; p != nil {
			var c driftline.ColumnDrift
			if err := json.Unmarshal([]byte(details.(string)), &c); err != nil {
				return nil, false, driftline.Errorf(driftline.DataLoss, "a row of %s is damaged", resultsTable)
			}
			if p.known.redact(ctx, &c) {
				encoded, _ := json.Marshal(c) // of strings and numbers
				details, note, p.changed, changed = string(encoded), c.Note, true, true
			}
			if name, isText := segment.(string); isText && p.renamed(name) != name {
				segment, p.changed, changed = p.renamed(name), true, true
			}
		}
		columns[at("segment")] = append(columns[at("segment")], segment)
		columns[at("note")] = append(columns[at("note")], note)
		columns[at("details")] = append(columns[at("details")], details)
	}
	arrays := slices.Clone(b.Columns())
	for index, values := range columns {
		builder := array.NewStringBuilder(r.engine.mem)
		for _, v := range values {
			appendMeta(builder, v)
		}
		arrays[index] = builder.NewArray()
		builder.Release()
		defer arrays[index].Release()
	}
	return array.NewRecordBatch(b.Schema(), arrays, b.NumRows()), changed, nil
}

// textAt is a value of a column of texts, nil if it is null.
func textAt(b arrow.RecordBatch, column, row int) any {
	if texts, ok := b.Column(column).(*array.String); ok && texts.IsValid(row) {
		return strings.Clone(texts.Value(row))
	}
	return nil
}

// records rewrites the records of panes.
func (r *redaction) records() error {
	b := r.engine.kv.NewBatch()
	defer b.Close()
	for _, p := range r.lines {
		if !p.redactRecord() && !p.changed {
			continue
		}
		r.changed++
		encoded, err := json.Marshal(p.record)
		if err != nil {
			return err
		}
		pane := p.record.Pane
		b.Set(paneKey(pane.Monitor, pane.End, pane.Evaluation), encoded)
	}
	return b.Commit()
}

// redactRecord takes out of a pane's record what is taken out of its results, and reports
// whether there was anything.
func (p *paneRedaction) redactRecord() bool {
	before, _ := json.Marshal(p.record)
	pane := &p.record.Pane
	for i := range pane.Columns {
		pane.Columns[i].Segment = p.renamed(pane.Columns[i].Segment)
	}
	pane.Slices = slices.DeleteFunc(pane.Slices, func(s driftline.DriftSlice) bool { return !p.known.slice(s) })
	if pane.Error != "" {
		pane.Error = "the reason was taken out by an erasure"
	}
	for i := range p.record.Reports {
		one := &p.record.Reports[i]
		renamed := p.renamed(one.Segment)
		for _, side := range []*driftline.DriftSide{&one.Report.Reference, &one.Report.Current} {
			side.Name = strings.Replace(side.Name, " where "+one.Segment, " where "+renamed, 1)
		}
		one.Segment = renamed
		if together := one.Report.Multivariate; together != nil && strings.Contains(together.Note, " = ") {
			together.Note = "" // names categories
		}
	}
	after, _ := json.Marshal(p.record)
	return string(before) != string(after)
}

// notices takes the evidence out of the notices of alerts whose evaluation changed.
func (r *redaction) notices() error {
	stored, err := r.engine.storedNotices()
	if err != nil {
		return err
	}
	for i := range stored {
		n := &stored[i]
		p := r.lines[n.Alert.Pane]
		if p == nil || len(p.segments) == 0 && !p.changed {
			continue
		}
		pane := p.record.Pane
		n.Alert.Summary, n.Alert.Columns, n.Alert.Slices = monitor.Summary(&pane), pane.Columns, pane.Slices
		if err := r.engine.storeNotice(n); err != nil {
			return err
		}
	}
	return nil
}

// knownValues says what the tables of a monitor still have. What cannot be read is not
// known.
type knownValues struct {
	engine   *Engine
	m        *driftline.Monitor
	names    map[string]map[string]bool // of a column, as reports show them
	ranges   map[string]*[2]float64
	segments map[string]map[string]bool // values, by title
}

func newKnownValues(e *Engine, m *driftline.Monitor) *knownValues {
	return &knownValues{engine: e, m: m, names: map[string]map[string]bool{}, ranges: map[string]*[2]float64{}, segments: map[string]map[string]bool{}}
}

// sources are what to put behind FROM: the source, and the reference if it is another table.
func (k *knownValues) sources() (from []string) {
	r := &paneReader{engine: k.engine, m: k.m}
	if _, text, err := r.from(k.m.Source.Ref, k.m.Source.SQL); err == nil {
		from = append(from, text)
	}
	if ref := k.m.Reference.Ref; ref != (driftline.Ref{}) {
		if _, text, err := r.from(ref, ""); err == nil {
			from = append(from, text)
		}
	}
	return from
}

// collect shows see each row of two columns of text that a SELECT over a source has.
func (k *knownValues) collect(ctx context.Context, selection string, see func(a, b string)) {
	for _, from := range k.sources() {
		rows, err := k.engine.SQL(ctx, "SELECT "+selection+" FROM "+from, nil)
		if err != nil {
			continue
		}
		for b, err := range rows.All {
			if err != nil {
				break
			}
			for i := range int(b.NumRows()) {
				a, _ := textAt(b, 0, i).(string)
				other, _ := textAt(b, 1, i).(string)
				see(a, other)
			}
		}
	}
}

// name reports whether a column still has a category that a report shows so.
func (k *knownValues) name(ctx context.Context, column, name string) bool {
	names, ok := k.names[column]
	if !ok {
		names = map[string]bool{}
		k.names[column] = names
		k.collect(ctx, fmt.Sprintf("DISTINCT CAST(%s AS VARCHAR), ''", quoted(column)), func(a, _ string) { names[shown(a)] = true })
	}
	return names[name]
}

// within reports whether a column still has numbers as low and as high.
func (k *knownValues) within(ctx context.Context, c *driftline.ColumnDrift, low, high float64) bool {
	bounds, ok := k.ranges[c.Column]
	if !ok {
		bounds = &[2]float64{math.Inf(1), math.Inf(-1)}
		k.ranges[c.Column] = bounds
		number := numberSQL(c)
		k.collect(ctx, fmt.Sprintf("CAST(min(%[1]s) FILTER (WHERE isfinite(%[1]s)) AS VARCHAR), CAST(max(%[1]s) FILTER (WHERE isfinite(%[1]s)) AS VARCHAR)", number), func(a, b string) {
			least, err := strconv.ParseFloat(a, 64)
			most, err2 := strconv.ParseFloat(b, 64)
			if err == nil && err2 == nil {
				bounds[0], bounds[1] = min(bounds[0], least), max(bounds[1], most)
			}
		})
	}
	return bounds[0] <= low && high <= bounds[1]
}

// segmentTitle is the title of the segment that a name is of; "" if there is none any more.
func (k *knownValues) segmentTitle(name string) (title string, of *driftline.Segment) {
	for i, s := range k.m.Segments {
		if t := s.Title(); strings.HasPrefix(name, t+"=") && len(t) >= len(title) {
			title, of = t, &k.m.Segments[i]
		}
	}
	if of == nil {
		title, _, _ = strings.Cut(name, "=")
	}
	return title, of
}

// segment reports whether there are still rows of the segment of that name.
func (k *knownValues) segment(ctx context.Context, name string) bool {
	title, of := k.segmentTitle(name)
	value := strings.TrimPrefix(name, title+"=")
	if strings.HasPrefix(value, "(erased") {
		return true
	}
	if of == nil {
		return value == "true" || value == "false"
	}
	values, ok := k.segments[title]
	if !ok {
		values = map[string]bool{}
		k.segments[title] = values
		k.collect(ctx, fmt.Sprintf("DISTINCT CAST((%s\n) AS VARCHAR), ''", of.Expression), func(a, _ string) { values[a] = true })
	}
	return values[value]
}

// redact takes out of what was found in a column what is not known, and reports whether
// there was anything.
func (k *knownValues) redact(ctx context.Context, c *driftline.ColumnDrift) bool {
	changed := false
	if c.Kind == categorical {
		for i, name := range c.Histogram.Categories {
			if name != erasedName && !isOther(name, i, c) && !k.name(ctx, c.Column, name) {
				c.Histogram.Categories[i], changed = erasedName, true
			}
		}
		if note := k.note(ctx, c.Column, c.Note); note != c.Note {
			c.Note, changed = note, true
		}
		return changed
	}
	if edges := c.Histogram.Edges; len(edges) > 1 && !k.within(ctx, c, edges[1], edges[len(edges)-2]) { // a bin's width inside the ends
		c.Histogram = noHistogram()
		changed = true
		if c.DecidedBy == "tails" {
			c.Note = "" // says where the tail begins
		}
	}
	if at := float64(c.Location); !math.IsNaN(at) && !k.within(ctx, c, at, at) {
		c.Location, changed = driftline.Number(math.NaN()), true
	}
	return changed
}

func isOther(name string, i int, c *driftline.ColumnDrift) bool {
	return name == "(other)" && i == len(c.Histogram.Categories)-1
}

// slice reports whether a slice names nothing but what is known.
func (k *knownValues) slice(s driftline.DriftSlice) bool {
	return !slices.ContainsFunc(append(slices.Clone(s.Conditions), s.Change), func(text string) bool { return !k.condition(text) })
}

// condition reports whether a condition, as people read it, names only what is known.
func (k *knownValues) condition(text string) bool {
	for _, sign := range []string{" = ", " ≠ "} {
		if column, name, ok := strings.Cut(text, sign); ok {
			return k.name(context.Background(), column, name)
		}
	}
	for part := range strings.SplitSeq(text, ", ") {
		for _, sign := range []string{" > ", " ≤ "} {
			column, figure, ok := strings.Cut(part, sign)
			if !ok {
				continue
			}
			v, err := strconv.ParseFloat(figure, 64)
			rounding := 1e-5 * math.Abs(v) // of the figure
			if err != nil || !k.within(context.Background(), &driftline.ColumnDrift{Column: column}, v+rounding, v-rounding) {
				return false
			}
		}
	}
	return !strings.HasSuffix(text, " is a rare category") // whose SQL names all others
}

// note takes the categories that a note quotes and that are not known out of it.
func (k *knownValues) note(ctx context.Context, column, note string) string {
	at := strings.IndexByte(note, '"')
	if at < 0 {
		return note
	}
	quote, err := strconv.QuotedPrefix(note[at:])
	if err != nil {
		return note[:at] + erasedName
	}
	name, err := strconv.Unquote(quote)
	rest := k.note(ctx, column, note[at+len(quote):])
	if err != nil || !k.name(ctx, column, name) && name != erasedName {
		return note[:at] + strconv.Quote(erasedName) + rest
	}
	return note[:at] + quote + rest
}
