package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// rangeSpine makes a spine of what the views have: every (join keys, event time) of
// their rows within a range of time, once, in order. A view without entities adds no
// rows to others, only its features; alone it gives its times.
func (e *Engine) rangeSpine(ctx context.Context, req *driftline.HistoricalRequest, resolved []registry.Resolved, views *pinned) (spine, error) {
	text, err := rangeSQL(req, resolved)
	if err != nil {
		return spine{}, err
	}
	return e.sqlSpine(ctx, text, views)
}

// rangeSQL is the SELECT of a range spine.
func rangeSQL(req *driftline.HistoricalRequest, resolved []registry.Resolved) (string, error) {
	sources, err := rangeSources(req.Spine.Range, resolved)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, s := range sources {
		parts = append(parts, rangePart(s, req, schemaFeatures))
	}
	return unionSQL(parts), nil
}

// unionSQL is the rows of SELECTs, each once, in order.
func unionSQL(all []string) string {
	var parts []string
	for _, part := range all {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 1 { // UNION is what leaves out the repetitions
		parts = append(parts, parts[0])
	}
	return strings.Join(parts, "\nUNION\n") + "\nORDER BY ALL"
}

// rangeSources are the uses of views that give the spine its rows. They must agree on
// the keys, or there is no row that all of them could be joined to.
func rangeSources(span *driftline.TimeRange, resolved []registry.Resolved) ([]registry.Resolved, error) {
	if !span.Start.IsZero() && span.End.Before(span.Start) && !span.End.IsZero() {
		return nil, driftline.Errorf(driftline.Invalid, "the range ends at %s, before it starts at %s",
			span.End.UTC().Format(time.RFC3339Nano), span.Start.UTC().Format(time.RFC3339Nano))
	}
	features := slices.DeleteFunc(slices.Clone(resolved), func(r registry.Resolved) bool { return r.View.Horizon > 0 })
	if len(features) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "a time range needs a view of features: labels look ahead and have no rows of their own").
			WithHint("send a spine, or ask for a feature too")
	}
	keyed := slices.DeleteFunc(slices.Clone(features), func(r registry.Resolved) bool { return len(r.View.JoinKeys) == 0 })
	if len(keyed) == 0 {
		return features, nil
	}
	for _, r := range keyed[1:] {
		if keyColumns(r) != keyColumns(keyed[0]) {
			return nil, driftline.Errorf(driftline.Invalid, "views %q and %q have different join keys, (%s) and (%s): a time range has no spine for both",
				keyed[0].View.Name, r.View.Name, keyColumns(keyed[0]), keyColumns(r)).
				WithHint("ask for views of one entity, or send a spine that has the keys of all")
		}
	}
	return keyed, nil
}

// keyColumns are the spine columns of a use of a view, sorted, with their types.
func keyColumns(r registry.Resolved) string {
	words := make([]string, len(r.View.JoinKeys))
	for i, k := range r.View.JoinKeys {
		words[i] = r.KeyColumn(k.Name) + " " + string(k.Type)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// rangePart is the SELECT of the rows of a view, in a schema of that name, within a request's range.
func rangePart(r registry.Resolved, req *driftline.HistoricalRequest, schema string, conditions ...string) string {
	span, column := *req.Spine.Range, cmp.Or(req.EventTimestamp, driftline.DefaultEventTimestamp)
	var columns []string
	for _, k := range r.View.JoinKeys {
		columns = append(columns, quoted(k.Name)+" AS "+quoted(r.KeyColumn(k.Name)))
	}
	slices.SortFunc(columns, func(a, b string) int { // by the spine's names: views may list their keys in another order
		_, a, _ = strings.Cut(a, " AS ")
		_, b, _ = strings.Cut(b, " AS ")
		return strings.Compare(a, b)
	})
	event := quoted(r.View.EventTimestamp)
	columns = append(columns, event+" AS "+quoted(column))
	text := fmt.Sprintf("SELECT %s FROM %s.%s", strings.Join(columns, ", "), schema, quoted(string(r.View.Name.Exactly())))
	within := conditions
	if !span.Start.IsZero() {
		within = append(within, event+" >= "+timeLiteral(span.Start))
	}
	if !span.End.IsZero() {
		within = append(within, event+" <= "+timeLiteral(span.End))
	}
	if len(within) > 0 {
		text += " WHERE " + strings.Join(within, " AND ")
	}
	return text
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func timeLiteral(t time.Time) string {
	return "TIMESTAMPTZ '" + t.UTC().Format("2006-01-02 15:04:05.000000") + "+00'"
}
