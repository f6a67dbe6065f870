package detect_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline/drift"
	"github.com/driftline/driftline/drift/detect"
)

// variants are detectors that together use every part of the state.
var variants = []struct {
	kind       string
	parameters parameters
}{
	{"scan", nil}, {"scan", parameters{"run_length": 1000}}, {"adwin", nil}, {"adwin", parameters{"clock": 1, "max_buckets": 3}},
	{"ddm", nil}, {"eddm", nil}, {"hddm_a", parameters{"two_sided": 1}}, {"hddm_w", parameters{"two_sided": 1}},
	{"page_hinkley", parameters{"threshold": 10}}, {"cusum", nil},
	{"kswin", nil}, {"kswin", parameters{"seed": 7}}, {"kswin", parameters{"window_size": 50, "stat_size": 20, "alpha": 0.05}},
}

// A detector that was written and read back after every few values answers as one that
// was not.
func TestDetectorsSurviveRestarts(t *testing.T) {
	errors := append(stream(t, 2), stream(t, 2)...)
	real := detect.Stream{Concepts: []detect.Concept{detect.Normal(0, 1), detect.Normal(2, 1), detect.Normal(0, 3)}, Length: 700}.Values(1)
	for _, v := range variants {
		for _, values := range [][]float64{errors, real} {
			kept, restarted := detector(t, v.kind, v.parameters), detector(t, v.kind, v.parameters)
			for i, x := range values {
				if i%97 == 0 {
					state := restarted.Append(nil)
					var err error
					if restarted, err = detect.Decode(state); err != nil {
						t.Fatalf("%s %v after %d values: %v", v.kind, v.parameters, i, err)
					}
					if !bytes.Equal(restarted.Append(nil), state) {
						t.Fatalf("%s %v after %d values: read and written, the state is another", v.kind, v.parameters, i)
					}
				}
				if a, b := kept.Update(x), restarted.Update(x); a != b || kept.Since() != restarted.Since() {
					t.Fatalf("%s %v, value %d: %v since %d, after a restart %v since %d", v.kind, v.parameters, i, a, kept.Since(), b, restarted.Since())
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range variants {
		d := detector(f, v.kind, v.parameters)
		f.Add(d.Append(nil))
		for _, x := range stream(f, 2)[:300] {
			d.Update(x)
		}
		f.Add(d.Append(nil))
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		d, err := detect.Decode(state)
		if err != nil {
			return
		}
		for i := range 200 {
			d.Update(float64(i % 7))
		}
		if _, err := detect.Decode(d.Append(nil)); err != nil && !strings.Contains(err.Error(), "too large") {
			t.Errorf("what it writes cannot be read: %v", err)
		}
	})
}

func TestDecodeRefusesWhatIsCutOff(t *testing.T) {
	for _, v := range variants {
		d := detector(t, v.kind, v.parameters)
		for _, x := range stream(t, 1)[:150] {
			d.Update(x)
		}
		state := d.Append(nil)
		for length := range min(len(state), 400) {
			if _, err := detect.Decode(state[:length]); err == nil {
				t.Errorf("%s: the first %d of %d bytes are read", v.kind, length, len(state))
			}
		}
		if _, err := detect.Decode(append(state, 0)); err == nil {
			t.Errorf("%s: a byte too many is read", v.kind)
		}
	}
}

// States of version 1 end before the levels of scan that are near a change.
func TestStatesOfVersion1AreRead(t *testing.T) {
	kept := detector(t, "scan", nil)
	for range 100 {
		kept.Update(0) // among values that are all the same, none is near
	}
	state := kept.Append(nil)
	old := append([]byte{1}, state[1:len(state)-1]...)
	read, err := detect.Decode(old)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := alarms(kept, stream(t, 2)), alarms(read, stream(t, 2)); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("alarms at %v, after a state of version 1 at %v", a, b)
	}
	state[0] = 3
	if _, err := detect.Decode(state); err == nil {
		t.Error("a version to come is read")
	}
}

func TestMissingValuesChangeNothing(t *testing.T) {
	for _, v := range variants {
		with, without := detector(t, v.kind, v.parameters), detector(t, v.kind, v.parameters)
		for i, x := range stream(t, 2) {
			for _, missing := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				if state := with.Update(missing); state != detect.Stable {
					t.Fatalf("%s: %v on %v", v.kind, state, missing)
				}
			}
			if a, b := with.Update(x), without.Update(x); a != b {
				t.Fatalf("%s: value %d is %v with missing values before it, %v without", v.kind, i, a, b)
			}
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	for _, c := range []struct {
		kind       string
		parameters parameters
		want       string
	}{
		{"adwim", nil, `detector "adwim" is not known`},
		{"adwin", parameters{"detla": 0.1}, `there is no parameter "detla"; there are delta, clock`},
		{"adwin", parameters{"delta": 0}, "delta is 0, want a number from"},
		{"adwin", parameters{"delta": math.NaN()}, "delta is NaN"},
		{"adwin", parameters{"clock": 1.5}, "want a whole number"},
		{"kswin", parameters{"stat_size": 100}, "too few older values"},
		{"eddm", parameters{"alpha": 0.5}, "alpha is below beta"},
	} {
		_, err := detect.New(c.kind, c.parameters)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%s, %v) = %v, want %q", c.kind, c.parameters, err, c.want)
		}
	}
}

// The incremental test of KSWIN alarms exactly where the test of the sorted samples does.
func TestKSWINIsTheTestOfTheTwoParts(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		recent := 5 + random.IntN(30)
		size := recent + 5 + random.IntN(60)
		alpha, distinct := 0.05*random.Float64()+1e-4, 1+random.IntN(20)
		d := detector(t, "kswin", parameters{"alpha": alpha, "window_size": float64(size), "stat_size": float64(recent)})
		var window []float64
		for i := range 600 {
			x := float64(random.IntN(distinct)) + float64(i/200)
			if window = append(window, x); len(window) > size {
				window = window[1:]
			}
			want := detect.Stable
			if len(window) == size {
				r := drift.KS(drift.SampleOf(window[:size-recent]), drift.SampleOf(window[size-recent:]), drift.TwoSided)
				if r.P <= alpha && r.D > 0.1 {
					want, window = detect.Change, nil
				}
			}
			if got := d.Update(x); got != want {
				t.Fatalf("window %d, newest %d, alpha %v: value %d is %v, want %v", size, recent, alpha, i, got, want)
			}
		}
	}
}

func TestKindsAreListed(t *testing.T) {
	kinds := detect.Kinds()
	if kinds[0].Name != detect.Default {
		t.Errorf("the first kind is %s, want the default", kinds[0].Name)
	}
	for _, k := range kinds {
		d := detector(t, k.Name, nil)
		if d.Kind().Name != k.Name || len(d.Parameters()) != len(k.Parameters) || k.About == "" {
			t.Errorf("kind %s is described as %+v", k.Name, d.Kind())
		}
		if slices.ContainsFunc(k.Parameters, func(p detect.Parameter) bool { return p.About == "" || p.Default < p.Low || p.Default > p.High }) {
			t.Errorf("kind %s has a parameter without a description, or a default out of range: %+v", k.Name, k.Parameters)
		}
	}
}
