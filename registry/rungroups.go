package registry

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry/filter"
)

// ParentRunTag is the tag that MLflow's clients name a run's parent by.
const ParentRunTag = "mlflow.parentRunId"

// usualGroupMetrics is how many metrics are summed up if none is named.
const usualGroupMetrics = 8

// GroupRuns returns the runs that a search finds in groups of those that are equal in a text
// field, and of each group the summaries of some metrics: of those that most of the runs
// have if metrics is empty. Offset and Limit are of groups; an order is not asked for.
func (r *Registry) GroupRuns(experiments []driftline.ExperimentID, search Search, by string, metrics []string) (driftline.FoundRunGroups, error) {
	field, err := groupField(by)
	if err != nil {
		return driftline.FoundRunGroups{}, err
	}
	wanted, err := filter.Parse(&filter.Runs, search.Filter)
	if err != nil {
		return driftline.FoundRunGroups{}, err
	}
	for _, f := range append(wanted.Fields(), &field) {
		r.bind(f)
	}
	found := matching(r.candidates(experiments, search.Stage), wanted)
	if len(metrics) == 0 {
		metrics = r.commonMetrics(found)
	}
	groups := r.gather(found, &field, metrics)
	slices.SortFunc(groups, byValue(groups))
	begin := min(search.Offset, len(groups))
	shown := groups[begin:min(begin+search.Limit, len(groups))]
	answer := driftline.FoundRunGroups{Metrics: metrics, Groups: make([]driftline.RunGroup, len(shown)), Total: len(groups), More: begin+len(shown) < len(groups)}
	name := groupName(&field)
	for i, g := range shown {
		answer.Groups[i] = g.answer(search.Filter, name, metrics)
	}
	return answer, nil
}

// matching yields the runs that a filter takes.
func matching(runs iter.Seq[candidate], wanted *filter.Filter) iter.Seq[candidate] {
	return func(yield func(candidate) bool) {
		row := &runRow{}
		for row.candidate = range runs {
			if wanted.Match(row) && !yield(row.candidate) {
				return
			}
		}
	}
}

// groupField reads what runs are grouped by.
func groupField(by string) (filter.Field, error) {
	if by == "parent" {
		by = "tags." + quotedKey(ParentRunTag)
	}
	keys, err := filter.ParseOrder(&filter.Runs, []string{by})
	if err != nil {
		return filter.Field{}, err
	}
	if field := keys[0].Field; !field.Numeric {
		return field, nil
	}
	return filter.Field{}, driftline.Errorf(driftline.Invalid, "runs cannot be grouped by %q, which is a number of each run", by).
		WithHint("group by a param, a tag, parent, or an attribute that is a text, such as status")
}

// groupName is the field as a filter names it.
func groupName(field *filter.Field) string {
	switch field.Entity {
	case filter.Param:
		return "params." + quotedKey(field.Key)
	case filter.Tag:
		return "tags." + quotedKey(field.Key)
	}
	return "attributes." + quotedKey(field.Key)
}

func quotedKey(key string) string { return "`" + strings.ReplaceAll(key, "`", "``") + "`" }

// commonMetrics are the keys of the metrics that most runs have, in their order.
func (r *Registry) commonMetrics(runs iter.Seq[candidate]) []string {
	var counts keyCounts
	for c := range runs {
		for p := range c.last.all() {
			counts.count(p.key)
		}
	}
	keys := counts.named(r.keys.all())
	slices.SortStableFunc(keys, func(a, b driftline.RunKey) int { return cmp.Compare(b.Runs, a.Runs) })
	names := []string{}
	for _, k := range keys[:min(usualGroupMetrics, len(keys))] {
		names = append(names, k.Key)
	}
	slices.Sort(names)
	return names
}

// runGroup is a group while its runs are met.
type runGroup struct {
	value   string
	missing bool
	runs    int
	metrics []tally
}

// tally is what a group has of one metric.
type tally struct {
	runs          int
	sum, min, max float64
}

func (t *tally) add(value float64) {
	if t.runs == 0 {
		t.min, t.max = value, value
	}
	t.runs, t.sum, t.min, t.max = t.runs+1, t.sum+value, min(t.min, value), max(t.max, value)
}

func (r *Registry) gather(runs iter.Seq[candidate], by *filter.Field, metrics []string) []*runGroup {
	fields := make([]filter.Field, len(metrics))
	for i, key := range metrics {
		fields[i] = filter.Field{Entity: filter.Metric, Key: key, Numeric: true}
		r.bind(&fields[i])
	}
	type identity struct {
		value string
		there bool
	}
	var groups []*runGroup
	byValue, row := map[identity]*runGroup{}, &runRow{}
	for c := range runs {
		row.candidate = c
		value, there := row.Text(by)
		group := byValue[identity{value, there}]
		if group == nil {
			group = &runGroup{value: value, missing: !there, metrics: make([]tally, len(metrics))}
			byValue[identity{value, there}] = group
			groups = append(groups, group)
		}
		group.runs++
		for i := range fields {
			if value, ok := row.Number(&fields[i]); ok && !math.IsNaN(value) {
				group.metrics[i].add(value)
			}
		}
	}
	return groups
}

// byValue orders groups by their values, as numbers if all are.
func byValue(groups []*runGroup) func(a, b *runGroup) int {
	numbers := map[*runGroup]float64{}
	for _, g := range groups {
		n, err := strconv.ParseFloat(g.value, 64)
		if !g.missing && (err != nil || math.IsNaN(n)) {
			clear(numbers)
			break
		}
		numbers[g] = n
	}
	return func(a, b *runGroup) int {
		if a.missing != b.missing {
			if a.missing {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(numbers[a], numbers[b]), cmp.Compare(a.value, b.value))
	}
}

func (g *runGroup) answer(searched, name string, metrics []string) driftline.RunGroup {
	own := name + " IS NULL"
	if !g.missing {
		own = name + " = '" + strings.ReplaceAll(g.value, "'", "''") + "'"
	}
	if strings.TrimSpace(searched) != "" {
		own = "(" + searched + ") AND " + own
	}
	group := driftline.RunGroup{Value: g.value, Missing: g.missing, Runs: g.runs, Filter: own, Metrics: map[string]driftline.MetricSummary{}}
	for i, t := range g.metrics {
		if t.runs > 0 {
			group.Metrics[metrics[i]] = driftline.MetricSummary{
				Runs: t.runs, Mean: driftline.Number(t.sum / float64(t.runs)), Min: driftline.Number(t.min), Max: driftline.Number(t.max),
			}
		}
	}
	return group
}
