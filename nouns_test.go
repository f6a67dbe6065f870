package driftline_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

func TestParseRef(t *testing.T) {
	for _, c := range []struct {
		text string
		want driftline.Ref
	}{
		{"model/late_departure@1", driftline.ModelRef("late_departure", 1)},
		{"model/late departure@champion", driftline.Ref{Kind: driftline.KindModel, Name: "late departure", Version: "champion"}},
		{"view/weather", driftline.ViewRef("weather")},
		{"snapshot/features.weather@-7", driftline.SnapshotRef("features.weather", -7)},
		{"run/a@b-3@", driftline.Ref{Kind: driftline.KindRun, Name: "a@b-3"}},
	} {
		got, err := driftline.ParseRef(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "weather", "view/", "views/weather", "view/@1", "/weather"} {
		if got, err := driftline.ParseRef(text); driftline.CodeOf(err) == "" {
			t.Errorf("%q is %+v, want an error", text, got)
		}
	}
}

// FuzzParseRef: what is read is written back as it was read.
func FuzzParseRef(f *testing.F) {
	f.Add("model/late_departure@1")
	f.Add("run/a@b@c")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := driftline.ParseRef(text)
		if err != nil {
			return
		}
		again, err := driftline.ParseRef(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q: %+v became %+v, %v", text, ref, again, err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "3h": 3 * time.Hour, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "0.5d": 12 * time.Hour,
	} {
		if got, err := driftline.ParseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"3", "-1h", "d", "1e9d", "3 h", "200000h1000000000h"} {
		if got, err := driftline.ParseDuration(text); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("%q is %v, %v; want an error", text, got, err)
		}
	}
	text, err := json.Marshal(driftline.Duration(3 * time.Hour))
	var back driftline.Duration
	if err != nil || json.Unmarshal(text, &back) != nil || time.Duration(back) != 3*time.Hour {
		t.Errorf("%s, %v, %v", text, back, err)
	}
}

func TestNumbersSurviveJSON(t *testing.T) {
	for _, f := range []float64{0, -1.5, 1e308, math.NaN(), math.Inf(1), math.Inf(-1)} {
		text, err := json.Marshal(driftline.Number(f))
		if err != nil {
			t.Fatal(err)
		}
		var back driftline.Number
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if math.Float64bits(float64(back)) != math.Float64bits(f) && !(math.IsNaN(f) && math.IsNaN(float64(back))) {
			t.Errorf("%v became %s and %v", f, text, back)
		}
	}
	var n driftline.Number
	if err := json.Unmarshal([]byte(`"inf"`), &n); err == nil {
		t.Error(`"inf" was read as a number`)
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"weather": true, "w2_x": true, "": false, "Weather": false, "2w": false, "_w": false, "we ather": false,
		"wetter/../x": false, "w\x00": false, "wéather": false,
	} {
		if err := driftline.CheckIdentifier("view", name); (err == nil) != good {
			t.Errorf("identifier %q: %v", name, err)
		}
	}
	for name, good := range map[string]bool{
		"late departure": true, "modèle-2.1": true, "模型": true, "": false, " x": false, "a/b": false, "a@b": false, "a\nb": false, "..": false,
	} {
		if err := driftline.CheckName("model", name); (err == nil) != good {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if driftline.CheckColumn("__sequence") == nil {
		t.Error("a column may have a reserved name")
	}
}

func TestTypesSayWhatTheyHold(t *testing.T) {
	for _, typ := range driftline.Types {
		if back, ok := driftline.TypeOf(typ.Arrow()); !ok || back != typ {
			t.Errorf("%s is stored as %s, which is %s", typ, typ.Arrow(), back)
		}
		if parsed, err := driftline.ParseType(string(typ)); err != nil || parsed != typ {
			t.Errorf("%s is read as %s, %v", typ, parsed, err)
		}
	}
	if !driftline.Int64.Holds(driftline.Int32) || driftline.Int32.Holds(driftline.Int64) || driftline.Float64.Holds(driftline.Int64) {
		t.Error("widening must lose nothing")
	}
	if _, ok := driftline.TypeOf(arrow.ListOf(arrow.PrimitiveTypes.Int64)); ok {
		t.Error("a column may be a list")
	}
}

func TestListsAndMapsAreTypesOfAnswersOnly(t *testing.T) {
	for typ, want := range map[driftline.Type]string{
		driftline.ListOf(driftline.Float64):                    "list<item: float64, nullable>",
		driftline.MapOf(driftline.Timestamp):                   "map<utf8, timestamp[us, tz=UTC], items_nullable>",
		driftline.MapOf(driftline.ListOf(driftline.String)):    "map<utf8, list<item: utf8, nullable>, items_nullable>",
		driftline.ListOf("decimal"):                            "",
		driftline.Type("map<string, float64"):                  "",
		driftline.Type("list<map<string, list<list<float64>>"): "",
	} {
		got := ""
		if dt := typ.Arrow(); dt != nil {
			got = dt.String()
		}
		if got != want {
			t.Errorf("%s is carried by %q, want %q", typ, got, want)
		}
		if _, err := driftline.ParseType(string(typ)); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("a column can be declared as %s: %v", typ, err)
		}
	}
}

func TestShortDurations(t *testing.T) {
	for text, want := range map[string]string{
		"7d": "7d", "24h": "1d", "36h": "1d12h", "90m": "1h30m", "0.5s": "500ms", "1us": "1us", "0": "0s", "1h0m1s": "1h1s",
	} {
		if d, err := driftline.ParseDuration(text); err != nil || d.Short() != want {
			t.Errorf("%s is %s, want %s", text, d.Short(), want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"weather", "planes", "carrier_performance"}
	for name, want := range map[string]string{"wether": "weather", "WEATHER": "weather", "plane": "planes", "xyz": "", "": ""} {
		if got := driftline.Nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
