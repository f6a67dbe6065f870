package driftline_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/driftline/driftline"
)

// plain is a histogram that package json writes and reads alone.
type plain driftline.Histogram

func TestHistogramsAreReadAsPackageJSONDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	histograms := []driftline.Histogram{
		{}, {Reference: []int64{}, Current: []int64{}}, {Edges: []float64{1, 2}},
		{Edges: []float64{0, 1}, Reference: []int64{}, Current: []int64{}},
		{Categories: []string{"<a>", `"`}, Reference: []int64{1, 2}, Current: []int64{3, math.MinInt64}},
		{Edges: []float64{0, math.Copysign(0, -1), 1e-6, 9.9e-7, 1e21, -1e20, 5e-324, math.MaxFloat64, 1e-9, 1e-10, 0.1}, Reference: []int64{-1}, Current: []int64{math.MaxInt64}},
	}
	for range 300 {
		h := driftline.Histogram{Edges: make([]float64, 1+r.IntN(40)), Reference: make([]int64, r.IntN(40)), Current: make([]int64, r.IntN(40))}
		for i := range h.Edges {
			h.Edges[i] = math.Ldexp(r.NormFloat64(), r.IntN(160)-80)
		}
		for i := range h.Reference {
			h.Reference[i] = r.Int64() >> r.IntN(64)
		}
		histograms = append(histograms, h)
	}
	for _, h := range histograms {
		if text, err := json.Marshal(h); err == nil {
			sameHistogram(t, string(text))
		}
	}
}

func TestHistogramsOfOthersAreRead(t *testing.T) {
	for _, text := range []string{
		`null`, `{}`, `[]`, `{"edges":[1,2,],"reference":[1],"current":[1]}`, `{"edges":[],"reference":[],"current":[]}`,
		`{ "current": [1], "edges": [0, 1], "reference": [2] }`, `{"edges":[1e400],"reference":[1],"current":[1]}`,
		`{"edges":[0,1],"reference":[1.5],"current":[1]}`, `{"edges":[0,1],"reference":[1],"current":[99999999999999999999]}`,
		`{"edges":[0,1],"reference":[1],"current":[1],"more":1}`, `{"edges":[0,null],"reference":[1],"current":[1]}`,
		`{"edges":[0,1E3],"reference":[1],"current":[1]}`, `{"edges":[0,1],"reference":[1],"current":[1]`,
	} {
		sameHistogram(t, text)
	}
}

// sameHistogram wants a text to be read as package json alone would.
func sameHistogram(t *testing.T, text string) {
	t.Helper()
	var got driftline.Histogram
	var want plain
	err, refused := json.Unmarshal([]byte(text), &got), json.Unmarshal([]byte(text), &want)
	if (err == nil) != (refused == nil) || err == nil && !reflect.DeepEqual(got, driftline.Histogram(want)) {
		t.Errorf("%s is read as %+v (%v), want %+v (%v)", text, got, err, want, refused)
	}
}

func TestNumbersAreWrittenAsPackageJSONDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	values := []float64{0, math.Copysign(0, -1), 1, 1e-6, 1e-7, 1e-10, 1e20, 1e21, 1e100, math.MaxFloat64, math.SmallestNonzeroFloat64}
	for range 10_000 {
		if v := math.Float64frombits(r.Uint64()); v-v == 0 {
			values = append(values, v)
		}
	}
	for _, v := range values {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(driftline.Number(v))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v is written as %s (%v), want %s", v, got, err, want)
		}
		var read driftline.Number
		if err := json.Unmarshal(got, &read); err != nil || math.Float64bits(float64(read)) != math.Float64bits(v) {
			t.Fatalf("%s is read as %v (%v)", got, read, err)
		}
	}
}
