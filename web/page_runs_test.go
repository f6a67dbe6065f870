package web_test

import (
	"fmt"
	"strings"
	"testing"
)

// Of 5,000 metrics that 50 runs have a few of each, the page shows those that most runs have, offers some
// of the rest, and says how many it does not.
func TestManyColumnsOfRuns(t *testing.T) {
	const runs, each = 50, 100
	s := newSite(t)
	for i := range runs {
		s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "wide"}`)
		points := []string{`{"key": "validation", "value": 0.5}`}
		for k := range each {
			points = append(points, fmt.Sprintf(`{"key": "layer_%04d", "value": 1}`, each*i+k))
		}
		if i%2 == 0 {
			points = append(points, `{"key": "test", "value": 0.4}`)
		}
		s.mustAsk(t, "POST", fmt.Sprintf("/api/v1/runs/wide-%d/log", i+1), `{"metrics": [`+strings.Join(points, ",")+`]}`)
	}
	page := s.mustAsk(t, "GET", "/runs?experiment=wide", "")
	var shown []string
	for _, part := range strings.Split(page, `sort=metrics.`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		shown = append(shown, name)
	}
	if len(shown) != 8 || shown[0] != "validation" || shown[1] != "test" || shown[2] != "layer_0000" {
		t.Errorf("the columns are %v; want validation, test, layer_0000 and five more", shown)
	}
	if offered := strings.Count(page, `type="checkbox" name="column"`); offered != 300 {
		t.Errorf("%d columns are offered, want 300", offered)
	}
	// 5,000 layers, two metrics and six attributes less those that are offered.
	if want := "4,708 more are not listed"; !strings.Contains(page, want) {
		t.Errorf("the page does not say %q", want)
	}
	if typed := s.mustAsk(t, "GET", "/runs?experiment=wide&column=metrics.layer_4999", ""); !strings.Contains(typed, `sort=metrics.layer_4999`) {
		t.Error("a column that is not offered cannot be typed")
	}
}
