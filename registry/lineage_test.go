package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

func TestLineageGoesFromAliasToFiles(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	lineage, err := r.Lineage(ref(t, "model/late@champion"), driftline.Up, 0)
	if err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("01", 32)
	want := strings.ReplaceAll(`model/late@1 aliases=champion artifact=model.bin content_hash=010101010101 created=2026-03-01T12:00:00Z version=1
run/e-1 created=2026-03-01T12:00:00Z experiment=e status=RUNNING
artifact/DIGEST bytes=1 path=model.bin
dataset/late@1 content_hash=abababababab created=2026-03-01T12:00:00Z rows=10 version=1
snapshot/datasets.late_v1@72 created=2026-03-01T12:00:00Z files=1 rows=10
snapshot/features.weather@71 created=2026-03-01T12:00:00Z files=1 rows=26115
service/delay_model projections=weather(temp, wind); carrier_performance(mean_delay)
file/datasets.late_v1@f2 bytes=5 rows=10
view/weather features=2 last_write=2026-03-01T12:00:00Z rows=26115 ttl=3h0m0s
file/features.weather@f1 bytes=9 rows=26115
view/carrier_performance features=1
entity/airport join_keys=airport string
entity/carrier join_keys=carrier string
model/late@1 -registered from-> run/e-1
model/late@1 -stored in-> artifact/DIGEST
run/e-1 -trained on-> dataset/late@1
artifact/DIGEST -logged by-> run/e-1
dataset/late@1 -stored in-> snapshot/datasets.late_v1@72
dataset/late@1 -read snapshot-> snapshot/features.weather@71
dataset/late@1 -defined by-> service/delay_model
snapshot/datasets.late_v1@72 -stored in-> file/datasets.late_v1@f2
snapshot/features.weather@71 -ingested as-> view/weather
snapshot/features.weather@71 -stored in-> file/features.weather@f1
service/delay_model -defined by-> view/weather
service/delay_model -defined by-> view/carrier_performance
view/weather -keyed by-> entity/airport
view/carrier_performance -keyed by-> entity/carrier
`, "DIGEST", digest)
	if got := draw(lineage); got != want {
		t.Errorf("lineage is\n%swant\n%s", got, want)
	}
}

func draw(l driftline.Lineage) string {
	var b strings.Builder
	for _, node := range l.Nodes {
		b.WriteString(node.Ref.String())
		var facts []string
		for key, value := range node.Facts {
			facts = append(facts, " "+key+"="+value)
		}
		slices.Sort(facts)
		b.WriteString(strings.Join(facts, "") + "\n")
	}
	for _, edge := range l.Edges {
		fmt.Fprintf(&b, "%s -%s-> %s\n", edge.From, edge.Kind, edge.To)
	}
	return b.String()
}

func TestLineageDownDepthAndUnknown(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	names := func(direction driftline.LineageDirection, from string, depth int) string {
		lineage, err := r.Lineage(ref(t, from), direction, depth)
		if err != nil {
			return string(driftline.CodeOf(err))
		}
		var refs []string
		for _, node := range lineage.Nodes {
			refs = append(refs, node.Ref.String())
		}
		return strings.Join(refs, " ")
	}
	tests := []struct {
		direction driftline.LineageDirection
		from      string
		depth     int
		want      string
	}{
		{driftline.Down, "file/features.weather@f1", 3, "file/features.weather@f1 snapshot/features.weather@71 dataset/late@1 run/e-1"},
		{driftline.Down, "dataset/late", 1, "dataset/late@1 run/e-1"},
		{driftline.Up, "model/late", 1, "model/late@1 run/e-1 artifact/" + strings.Repeat("01", 32)},
		{driftline.Up, "entity/airport", 0, "entity/airport"},
		{driftline.Up, "snapshot/features.weather", 1, "snapshot/features.weather@71 view/weather file/features.weather@f1"},
		{driftline.Up, "model/late@2", 0, "not_found"},
		{driftline.Up, "model/late@challenger", 0, "not_found"},
		{driftline.Up, "dataset/late@x", 0, "invalid"},
		{driftline.Up, "view/wether", 0, "not_found"},
		{driftline.Up, "file/features.weather@nope", 0, "not_found"},
		{driftline.Up, "snapshot/features.weather@1", 0, "not_found"},
		{driftline.Up, "model/late", -1, "invalid"},
		{"sideways", "model/late", 0, "invalid"},
	}
	for _, test := range tests {
		if got := names(test.direction, test.from, test.depth); got != test.want {
			t.Errorf("%s of %s, %d steps: %s, want %s", test.direction, test.from, test.depth, got, test.want)
		}
	}
}

func TestServiceAppliedAgainHasOnlyItsPresentViews(t *testing.T) {
	r := openFlights(t)
	next := flights()
	next.FeatureServices[0].Projections = next.FeatureServices[0].Projections[:1]
	must(t)(r.Apply(next))
	lineage, err := r.Lineage(ref(t, "service/delay_model"), driftline.Up, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(lineage.Edges) != 1 || lineage.Edges[0].To != driftline.ViewRef("weather") {
		t.Errorf("edges are %v", lineage.Edges)
	}
}

// LineageEdges is what SQL walks: it must be the same graph.
func TestEdgesAsATableAreTheEdgesThatLineageWalks(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	var table, walked []string
	for _, edge := range r.LineageEdges() {
		table = append(table, fmt.Sprint(edge))
	}
	seen := map[string]bool{}
	for _, edge := range r.LineageEdges() {
		lineage, err := r.Lineage(edge.From, driftline.Up, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range lineage.Edges {
			if !seen[fmt.Sprint(e)] {
				seen[fmt.Sprint(e)] = true
				walked = append(walked, fmt.Sprint(e))
			}
		}
	}
	if len(table) != 15 {
		t.Errorf("%d edges, want 15", len(table))
	}
	if !slices.Equal(table, walked) {
		t.Errorf("table has\n%v\nLineage walks\n%v", table, walked)
	}
}

func TestResolveRef(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	for given, want := range map[string]string{
		"model/late@champion":       "model/late@1",
		"model/late":                "model/late@1",
		"dataset/late":              "dataset/late@1",
		"snapshot/features.weather": "snapshot/features.weather@71",
		"view/weather":              "view/weather",
		"entity/airport":            "entity/airport",
		"service/delay_model":       "service/delay_model",
		"file/features.weather@f1":  "file/features.weather@f1",
	} {
		if got, err := r.ResolveRef(ref(t, given)); err != nil || got.String() != want {
			t.Errorf("%s is %s, %v, want %s", given, got, err, want)
		}
	}
	for given, says := range map[string]string{
		"model/lat":                `did you mean "late"?`,
		"model/late@chmpion":       `did you mean "champion"?`,
		"dataset/late@2":           "1 to 1",
		"snapshot/features.wether": `did you mean "features.weather"?`,
		"entity/airprt":            `did you mean "airport"?`,
		"service/delay":            "known: delay_model",
	} {
		_, err := r.ResolveRef(ref(t, given))
		wantError(t, err, driftline.NotFound, says)
	}
	_, err := r.ResolveRef(driftline.Ref{})
	wantError(t, err, driftline.Invalid, "kind/name")
}
