package registry_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func TestGroupsAreWhatALoopGroups(t *testing.T) {
	r := open(t)
	random := newRandom(t)
	for i := range 200 {
		id := driftline.RunID(fmt.Sprintf("r%03d", i))
		spec := driftline.RunSpec{ID: id, Experiment: "e", User: fmt.Sprint("u", random.IntN(2)), Params: map[string]string{}, Tags: map[string]string{}}
		if random.IntN(4) > 0 {
			spec.Params["d`p"] = []string{"9", "10", "2", "it's"}[random.IntN(4)]
			spec.Tags[registry.ParentRunTag] = fmt.Sprint("p", random.IntN(3))
		}
		must(t)(r.CreateRun(spec))
		if random.IntN(3) > 0 {
			value := driftline.Number(random.IntN(10))
			if value == 3 {
				value = driftline.Number(math.NaN())
			}
			must(t)(r.LogRun(id, driftline.RunLog{Metrics: []driftline.Metric{{Key: "m", Value: value}}}))
		}
	}
	for _, c := range []struct {
		by, filter string
		value      func(*driftline.Run) (string, bool)
	}{
		{"params.`d``p`", "", func(run *driftline.Run) (string, bool) { v, ok := run.Params["d`p"]; return v, ok }},
		{"parent", "metrics.m > 4 OR metrics.m < 2", func(run *driftline.Run) (string, bool) { v, ok := run.Tags[registry.ParentRunTag]; return v, ok }},
		{"user_id", "params.`d``p` IS NOT NULL", func(run *driftline.Run) (string, bool) { return run.User, true }},
		{"params.never", "", func(*driftline.Run) (string, bool) { return "", false }},
	} {
		found := grouped(t)(r.GroupRuns([]driftline.ExperimentID{"1"}, registry.Search{Filter: c.filter, Limit: 100}, c.by, nil))
		all, _, err := r.SearchRuns([]driftline.ExperimentID{"1"}, registry.Search{Filter: c.filter, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, g := range found.Groups {
			in := slices.DeleteFunc(slices.Clone(all), func(run driftline.Run) bool {
				value, ok := c.value(&run)
				return ok == g.Missing || value != g.Value
			})
			again, total, err := r.SearchRuns([]driftline.ExperimentID{"1"}, registry.Search{Filter: g.Filter, Limit: 1000})
			if err != nil || total != len(in) || g.Runs != len(in) || len(in) == 0 || !slices.EqualFunc(in, again, func(a, b driftline.Run) bool { return a.ID == b.ID }) {
				t.Errorf("by %s, %q: %d runs, its filter %s finds %d, a loop %d, %v", c.by, g.Value, g.Runs, g.Filter, total, len(in), err)
			}
			if want := summaryOf(in); g.Metrics["m"] != want {
				t.Errorf("by %s, %q: %+v, want %+v", c.by, g.Value, g.Metrics["m"], want)
			}
			seen += g.Runs
		}
		if seen != len(all) || found.Total != len(found.Groups) || found.More {
			t.Errorf("by %s: %d runs in %d of %d groups, of %d", c.by, seen, len(found.Groups), found.Total, len(all))
		}
		page := grouped(t)(r.GroupRuns([]driftline.ExperimentID{"1"}, registry.Search{Filter: c.filter, Limit: 1, Offset: 1}, c.by, []string{"m"}))
		if page.Total != found.Total || page.More != (found.Total > 2) || found.Total > 1 && page.Groups[0].Filter != found.Groups[1].Filter {
			t.Errorf("by %s: page %+v", c.by, page)
		}
	}
}

func summaryOf(runs []driftline.Run) (s driftline.MetricSummary) {
	var values []float64
	for _, run := range runs {
		for value := range maps.Values(run.Metrics) {
			if !math.IsNaN(float64(value)) {
				values = append(values, float64(value))
				s.Mean += value
			}
		}
	}
	if s.Runs = len(values); s.Runs > 0 {
		s.Mean /= driftline.Number(s.Runs)
		s.Min, s.Max = driftline.Number(slices.Min(values)), driftline.Number(slices.Max(values))
	}
	return s
}

func TestGroupsComeByTheirValues(t *testing.T) {
	r := open(t)
	for _, depth := range []string{"10", "9", "", "2", "1e1"} {
		spec := driftline.RunSpec{Experiment: "e", Params: map[string]string{"depth": depth}}
		if depth == "" {
			spec.Params = nil
		}
		must(t)(r.CreateRun(spec))
	}
	found := grouped(t)(r.GroupRuns([]driftline.ExperimentID{"1"}, registry.Search{Limit: 10}, "params.depth", nil))
	var values []string
	for _, g := range found.Groups {
		values = append(values, g.Value)
	}
	if want := []string{"2", "9", "10", "1e1", ""}; !slices.Equal(values, want) || !found.Groups[4].Missing {
		t.Errorf("%q, want %q", values, want)
	}
}

func TestRunsAreNotGroupedByNumbersOfTheirOwn(t *testing.T) {
	r := open(t)
	for _, by := range []string{"", "metrics.auc", "start_time", "params", "nothing", "dataset.name", "params.a params.b"} {
		if _, err := r.GroupRuns(nil, registry.Search{Limit: 10}, by, nil); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("by %q: %v", by, err)
		}
	}
}

func grouped(t *testing.T) func(driftline.FoundRunGroups, error) driftline.FoundRunGroups {
	t.Helper()
	return func(found driftline.FoundRunGroups, err error) driftline.FoundRunGroups {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
}
