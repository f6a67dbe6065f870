package engine

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

const (
	checkedEntities    = 100 // per view, if the request does not say
	maxCheckedEntities = 10_000
	checkExamples      = 10

	checkAttempts = 8 // of what differs
	checkPause    = 5 * time.Millisecond
)

// Check compares what the online store serves with what training sets have, for sampled
// entities of views and for the times at which the two could part: now, and the edges of
// a row's life, which begins at its event time and ends with its TTL. Entities are
// sampled in both stores.
//
// What was found is a line of the ledger, without the values. A view that differs is
// logged as an error when it begins to, and told to [Options.CheckChannels]; so is that it
// no longer does.
func (e *Engine) Check(ctx context.Context, req driftline.CheckRequest) (driftline.CheckReport, error) {
	if err := e.begin(); err != nil {
		return driftline.CheckReport{}, err
	}
	defer e.end()
	if req.Entities < 0 || req.Entities > maxCheckedEntities {
		return driftline.CheckReport{}, driftline.Errorf(driftline.Invalid, "a check of %d entities is not possible", req.Entities).
			WithHint("sample 1 to %d entities of a view", maxCheckedEntities)
	}
	views, err := e.viewsToCheck(req.Views)
	if err != nil {
		return driftline.CheckReport{}, err
	}
	report := driftline.CheckReport{Seed: req.Seed, Views: []driftline.ViewCheck{}}
	if report.Seed == 0 {
		report.Seed = 1 + rand.Uint64()>>33 // short enough to be typed again
	}
	for _, view := range views {
		checked, err := e.checkView(ctx, &view, cmp.Or(req.Entities, checkedEntities), report.Seed)
		if err != nil {
			return report, fmt.Errorf("view %q: %w", view.Name, err)
		}
		if checked, err = e.keepCheck(checked); err != nil {
			return report, err
		}
		report.Views = append(report.Views, checked)
	}
	for _, name := range e.onDemandToCheck(req.Views) {
		checked, err := e.checkOnDemand(ctx, name, cmp.Or(req.Entities, checkedEntities), report.Seed)
		if err != nil {
			return report, fmt.Errorf("view %q: %w", name, err)
		}
		if checked, err = e.keepCheck(checked); err != nil {
			return report, err
		}
		report.Views = append(report.Views, checked)
	}
	return report, nil
}

// onDemandToCheck returns the on-demand views of these names; all of them if there are none.
func (e *Engine) onDemandToCheck(names []driftline.ViewName) (views []driftline.ViewName) {
	for _, view := range e.registry.OnDemandViews() {
		if len(names) == 0 || slices.Contains(names, view.Name) {
			views = append(views, view.Name)
		}
	}
	return views
}

func (e *Engine) viewsToCheck(names []driftline.ViewName) ([]driftline.FeatureView, error) {
	if len(names) == 0 {
		return e.registry.Views(), nil
	}
	var views []driftline.FeatureView
	for _, name := range names {
		if _, err := e.registry.OnDemandView(name); err == nil {
			continue
		}
		view, err := e.registry.View(e.registry.Meant(name))
		if err != nil {
			return nil, err
		}
		views = append(views, *view)
	}
	return views, nil
}

// keepCheck records a check, and tells of it if it is the first that found a difference, or none again.
func (e *Engine) keepCheck(checked driftline.ViewCheck) (driftline.ViewCheck, error) {
	if checked.Skipped != "" {
		return checked, nil
	}
	before, _ := e.registry.Checked(checked.View)
	tx := e.registry.Begin()
	defer tx.Discard()
	kept, line, err := tx.AddCheck(checked)
	if err != nil {
		return checked, err
	}
	begins := checked.Differences > 0 && before.Differences == 0
	ends := checked.Differences == 0 && before.Differences > 0
	if begins || ends {
		rules := []driftline.PolicyNotice{{Channels: e.checkChannels}}
		if err := addHappening(tx, line.Sequence, rules, toldOfCheck(&kept)); err != nil {
			return checked, err
		}
	}
	if err := tx.Commit(); err != nil {
		return checked, err
	}
	if begins {
		e.log.Error("the online store and the offline store differ", "view", checked.View, "values", checked.Values, "differences", checked.Differences)
	}
	if begins || ends {
		e.wakeOutbox()
	}
	return kept, nil
}

// toldOfCheck is what a notice of a check says.
func toldOfCheck(c *driftline.ViewCheck) driftline.Happening {
	h := driftline.Happening{Event: driftline.EventStoresDiffer, Ref: driftline.ViewRef(c.View), Time: c.Time}
	h.Text = fmt.Sprintf("training and serving differ: %d of %d values of %s that were compared; driftline check %s says which", c.Differences, c.Values, h.Ref, c.View)
	if c.Differences == 0 {
		h.Event = driftline.EventStoresAgree
		h.Text = fmt.Sprintf("training and serving agree again: %d values of %s were compared", c.Values, h.Ref)
	}
	return h
}

func (e *Engine) checkView(ctx context.Context, view *driftline.FeatureView, entities int, seed uint64) (driftline.ViewCheck, error) {
	c := viewChecker{engine: e, view: view, keys: view.JoinKeys, features: allOf(view.Name.Exactly()), report: driftline.ViewCheck{View: view.Name}}
	if c.report.Skipped = e.notChecked(view); c.report.Skipped != "" {
		return c.report, nil
	}
	moments, err := c.sample(ctx, entities, seed)
	if err != nil {
		return c.report, err
	}
	defer moments.Release()
	c.report.Moments = int(moments.NumRows())
	if c.report.Moments == 0 {
		c.report.Skipped = "it has no rows"
		return c.report, nil
	}
	return c.report, c.compare(ctx, moments)
}

// notChecked says why a view cannot be checked, "" if it can.
func (e *Engine) notChecked(view *driftline.FeatureView) string {
	switch {
	case view.Source != nil:
		return "its rows are read in place from files of somebody else, and not served online"
	case view.Horizon > 0:
		return "labels are not served online"
	case !view.ServedOnline():
		return "a prediction log is not served online"
	case e.checkHealthy(view.Name) != nil:
		return "it is damaged"
	}
	return ""
}

// viewChecker checks one view. Moments are batches of its join keys, a time, and the
// request data of features that are computed on demand.
type viewChecker struct {
	engine   *Engine
	view     *driftline.FeatureView // nil if it is an on-demand one
	keys     []driftline.Field
	features driftline.FeatureSet // all of the view
	report   driftline.ViewCheck
}

func (c *viewChecker) schema() *arrow.Schema {
	var fields []arrow.Field
	for _, k := range c.view.JoinKeys {
		fields = append(fields, arrow.Field{Name: k.Name, Type: k.Type.Arrow(), Nullable: true})
	}
	return arrow.NewSchema(append(fields, arrow.Field{Name: pastTime, Type: driftline.Time, Nullable: true}), nil)
}

// sample returns the moments to look at. The caller releases them.
func (c *viewChecker) sample(ctx context.Context, entities int, seed uint64) (arrow.RecordBatch, error) {
	rows, err := c.sampleRows(ctx, entities, seed)
	if err != nil {
		return nil, err
	}
	defer rows.Release()
	keys := rows.Columns()[:len(c.view.JoinKeys)]
	served, err := c.engine.online.Sample(c.engine.mem, c.view, keys, entities, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		return nil, err
	}
	defer releaseArrays(served)

	b := array.NewRecordBuilder(c.engine.mem, c.schema())
	defer b.Release()
	seen, now := map[string]bool{}, c.engine.now().UnixMicro()
	add := func(keys []arrow.Array, row int, times []int64) error {
		if entity := entityText(keys, row); !seen[entity] {
			times, seen[entity] = append(times, now), true
		}
		for _, t := range times {
			for i, k := range keys {
				if err := appendValue(b.Field(i), k, row); err != nil {
					return err
				}
			}
			b.Field(len(keys)).(*array.TimestampBuilder).Append(arrow.Timestamp(t))
		}
		return nil
	}
	events := rows.Column(len(keys)).(*array.Timestamp)
	for row := range int(rows.NumRows()) {
		if err := add(keys, row, c.edges(int64(events.Value(row)))); err != nil {
			return nil, err
		}
	}
	if len(served) > 0 {
		for row := range served[0].Len() {
			if err := add(served, row, nil); err != nil {
				return nil, err
			}
		}
	}
	c.report.Entities = len(seen)
	return b.NewRecordBatch(), nil
}

// edges are the times around which a row of an event time begins and ceases to count.
func (c *viewChecker) edges(event int64) []int64 {
	edges := []int64{event - 1, event}
	if ttl := c.view.TTL.Microseconds(); ttl > 0 {
		edges = append(edges, event+ttl, event+ttl+1)
	}
	return edges
}

// sampleRows draws rows of the view's history: their join keys and event times.
func (c *viewChecker) sampleRows(ctx context.Context, n int, seed uint64) (arrow.RecordBatch, error) {
	columns := append(c.view.KeyNames(), c.view.EventTimestamp)
	for i, name := range columns {
		columns[i] = `"` + name + `"`
	}
	rows, err := c.engine.SQL(ctx, fmt.Sprintf("SELECT %s FROM features.%s USING SAMPLE reservoir(%d ROWS) REPEATABLE (%d)",
		strings.Join(columns, ", "), quoted(string(c.view.Name.Exactly())), n, seed), nil)
	if err != nil {
		return nil, err
	}
	return collected(c.engine.mem, rows)
}

// collected is a stream as one batch. The caller releases it.
func collected(mem memory.Allocator, rows driftline.Batches) (arrow.RecordBatch, error) {
	batches, n, err := rows.Collect()
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return nil, err
	}
	columns := make([]arrow.Array, 0, rows.Schema.NumFields())
	defer func() { releaseArrays(columns) }()
	for i, f := range rows.Schema.Fields() {
		if len(batches) == 0 {
			columns = append(columns, array.MakeArrayOfNull(mem, f.Type, 0))
			continue
		}
		whole, err := wholeColumn(mem, batches, i)
		if err != nil {
			return nil, err
		}
		columns = append(columns, whole)
	}
	return array.NewRecordBatch(rows.Schema, columns, n), nil
}

// compare reads the moments from both stores. Those that differ, or that were written
// meanwhile, are read again.
func (c *viewChecker) compare(ctx context.Context, moments arrow.RecordBatch) error {
	moments.Retain()
	defer func() { moments.Release() }()
	for attempt := range checkAttempts {
		look, err := c.look(ctx, moments)
		if err != nil {
			return err
		}
		if attempt == 0 {
			c.report.Values = look.compared
		}
		if len(look.again) == 0 || attempt == checkAttempts-1 {
			return c.keep(ctx, moments, look.differing)
		}
		select { // what is being committed is not in both stores at the same instant
		case <-ctx.Done():
			return driftline.Errorf(driftline.Deadline, "the check was stopped: %w", ctx.Err())
		case <-time.After(checkPause):
		}
		again, err := takeRows(ctx, c.engine.mem, moments, look.again)
		if err != nil {
			return err
		}
		moments.Release()
		moments = again
	}
	return nil
}

// difference is a value that the stores do not agree on, at one of the moments.
type difference struct {
	row     int
	online  servedValue
	offline string
}

func (c *viewChecker) keep(ctx context.Context, moments arrow.RecordBatch, differing []difference) error {
	if len(differing) > 0 && c.view != nil {
		meant, err := c.engine.inOneStore(ctx, c.view)
		if err != nil {
			return err
		}
		found := len(differing)
		keys := moments.Columns()[:len(c.keys)]
		differing = slices.DeleteFunc(differing, func(d difference) bool { return meant[entityText(keys, d.row)] })
		c.report.OneStore = int64(found - len(differing))
	}
	c.report.Differences = int64(len(differing))
	times := moments.Column(len(c.keys)).(*array.Timestamp)
	for _, d := range differing[:min(len(differing), checkExamples)] {
		entity := map[string]string{}
		for i, k := range c.keys {
			entity[k.Name] = moments.Column(i).ValueStr(d.row)
		}
		c.report.Examples = append(c.report.Examples, driftline.Difference{
			Entity: entity, At: time.UnixMicro(int64(times.Value(d.row))).UTC(), Feature: d.online.feature,
			Online: d.online.text, Offline: d.offline, Status: d.online.status,
		})
	}
	return nil
}

// inOneStore returns the entities of a view that have rows in one store and not in the
// other because their writes said so, by [entityText]. It reads all rows of a view that
// has such.
func (e *Engine) inOneStore(ctx context.Context, view *driftline.FeatureView) (map[string]bool, error) {
	entities := map[string]bool{}
	add := func(b arrow.RecordBatch) {
		for row := range int(b.NumRows()) {
			entities[entityText(b.Columns()[:len(view.JoinKeys)], row)] = true
		}
	}
	if e.registry.Ingests(view.Name).OnlineOnly > 0 {
		for keys, err := range e.online.OnlineOnly(e.mem, view) {
			if err != nil {
				return nil, err
			}
			add(keys)
		}
	}
	now := e.heads.of(view.Name)
	if len(now.held) == 0 {
		return entities, nil
	}
	stored := []driftline.Batches{e.rowsOfEntries(ctx, view, now.log)}
	if now.exists {
		stored = append(stored, e.readAs(ctx, now.snapshot, view, view.StoredSchema()))
	}
	for _, rows := range stored {
		for b, err := range e.where(ctx, view, rows, func(sequence uint64, event int64) bool { return holds(now.held, sequence, event) }).All {
			if err != nil {
				return nil, err
			}
			add(b)
		}
	}
	return entities, nil
}

// look is one comparison of moments.
type look struct {
	compared  int64
	differing []difference
	again     []int64 // moments that differ or were written meanwhile, ascending
}

// look reads the moments online, offline, and online again. A value that is the same
// before and after was not written in between, and must be that of the other store.
func (c *viewChecker) look(ctx context.Context, moments arrow.RecordBatch) (found look, err error) {
	before, err := c.served(ctx, moments)
	if err != nil {
		return found, err
	}
	set, err := c.engine.Historical(ctx, driftline.HistoricalRequest{FeatureSet: c.features, EventTimestamp: pastTime},
		driftline.BatchesOf(moments.Schema(), moments))
	if err != nil {
		return found, err
	}
	joined, err := collected(c.engine.mem, set.Batches)
	if err != nil {
		return found, err
	}
	defer joined.Release()
	after, err := c.served(ctx, moments)
	if err != nil {
		return found, err
	}
	for row := range before {
		steady := slices.Equal(before[row], after[row])
		differs := false
		for _, value := range before[row] {
			found.compared++
			offline := joined.Column(joined.Schema().FieldIndices(value.feature)[0]).ValueStr(row)
			if steady && value.text != offline {
				differs = true
				found.differing = append(found.differing, difference{row, value, offline})
			}
		}
		if differs || !steady {
			found.again = append(found.again, int64(row))
		}
	}
	return found, nil
}

// servedValue is a value as it is served online. Text tells every two values apart, NaN
// and -0 too.
type servedValue struct {
	feature, text string
	status        driftline.Status
}

// served reads the moments online: all features of each.
func (c *viewChecker) served(ctx context.Context, moments arrow.RecordBatch) ([][]servedValue, error) {
	all := make([][]servedValue, moments.NumRows())
	for at, rows := range momentsByTime(moments, len(c.keys)) {
		entities, err := takeRows(ctx, c.engine.mem, moments, rows)
		if err != nil {
			return nil, err
		}
		answer, err := c.engine.Online(ctx, driftline.OnlineRequest{FeatureSet: c.features, At: time.UnixMicro(at).UTC()}, entities)
		entities.Release()
		if err != nil {
			return nil, err
		}
		for i, feature := range answer.Features {
			values := answer.Batch.Column(len(moments.Columns()) + i)
			for j, row := range rows {
				all[row] = append(all[row], servedValue{feature.Name, values.ValueStr(j), feature.Statuses[j]})
			}
		}
		answer.Release()
	}
	return all, nil
}

func momentsByTime(moments arrow.RecordBatch, timeColumn int) map[int64][]int64 {
	rows := map[int64][]int64{}
	for row, t := range moments.Column(timeColumn).(*array.Timestamp).TimestampValues() {
		rows[int64(t)] = append(rows[int64(t)], int64(row))
	}
	return rows
}

func entityText(keys []arrow.Array, row int) string {
	var text strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&text, "%q", k.ValueStr(row))
	}
	return text.String()
}

// checkIfDue checks all views if the last check of the schedule is long enough ago.
func (e *Engine) checkIfDue(ctx context.Context) error {
	if e.checkEvery < 0 || e.now().Sub(e.checked) < e.checkEvery {
		return nil
	}
	e.checked = e.now()
	_, err := e.Check(ctx, driftline.CheckRequest{})
	return err
}

// appendValue appends one valid value of from to b, which builds the same type.
func appendValue(b array.Builder, from arrow.Array, at int) error {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(from.(*array.Boolean).Value(at))
	case *array.Int32Builder:
		b.Append(from.(*array.Int32).Value(at))
	case *array.Int64Builder:
		b.Append(from.(*array.Int64).Value(at))
	case *array.Float32Builder:
		b.Append(from.(*array.Float32).Value(at))
	case *array.Float64Builder:
		b.Append(from.(*array.Float64).Value(at))
	case *array.StringBuilder:
		b.Append(from.(*array.String).Value(at))
	case *array.BinaryBuilder:
		b.Append(from.(*array.Binary).Value(at))
	case *array.TimestampBuilder:
		b.Append(from.(*array.Timestamp).Value(at))
	default:
		return driftline.Errorf(driftline.Internal, "no online values of type %s", from.DataType())
	}
	return nil
}
