package routing_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/routing"
)

func canary(weight float64) driftline.Route {
	return driftline.Route{Model: "m", Sequence: 7, Salt: "m-1", Fallback: true, Arms: []driftline.RouteArm{
		{Arm: driftline.ArmChampion, Weight: 100 - weight, Versions: []driftline.VersionShare{{Version: 1}}},
		{Arm: driftline.ArmCandidate, Weight: weight, Versions: []driftline.VersionShare{{Version: 2}}},
	}}
}

func router(t *testing.T, route driftline.Route) *routing.Router {
	t.Helper()
	r, err := routing.New(route)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSlots are the same in every version and language. In Python:
//
//	int.from_bytes(hashlib.sha256(b"m-1\0arm\0" + key).digest()[:8], "big") % 10000
func TestSlots(t *testing.T) {
	for _, c := range []struct {
		salt, purpose, key string
		want               int
	}{
		{"m-1", "arm", "customer-1", 6269},
		{"m-1", "arm", "", 3981},
		{"m-1", "version", "customer-1", 3737},
		{"m-1", "mirror", "customer-1", 1970},
		{"late departure-12", "arm", "Zürich", 8506},
		{"", "arm", "customer-1", 344},
	} {
		if got := routing.Slot(c.salt, c.purpose, c.key); got != c.want {
			t.Errorf("%q %q %q: slot %d, want %d", c.salt, c.purpose, c.key, got, c.want)
		}
	}
}

// TestWeightsAreKept: a million keys, 5 % of them within 0.07 %, and nobody leaves the
// candidate while its weight grows.
func TestWeightsAreKept(t *testing.T) {
	five, more, all := router(t, canary(5)), router(t, canary(25)), router(t, canary(100))
	again := router(t, canary(5))
	const keys = 1_000_000
	share := 0
	for i := range keys {
		key := "customer-" + strconv.Itoa(i)
		arm := five.Decide(key).Arm
		if arm != driftline.ArmCandidate {
			continue
		}
		share++
		for _, r := range []*routing.Router{again, more, all} {
			if got := r.Decide(key).Arm; got != arm {
				t.Fatalf("key %q left the candidate for the %s", key, got)
			}
		}
	}
	if percent := 100 * float64(share) / keys; percent < 4.93 || percent > 5.07 {
		t.Errorf("%v %% of the keys, want 5 %%", percent)
	}
}

// TestDealsAreIndependent: neither another salt nor the mirror follows the arms.
func TestDealsAreIndependent(t *testing.T) {
	first := router(t, canary(50))
	second := canary(50)
	second.Salt, second.Mirror, second.MirrorTo = "m-2", 20, driftline.ArmCandidate
	other := router(t, second)
	both, mirrored, champion := 0, 0, 0
	const keys = 100_000
	for i := range keys {
		key := strconv.Itoa(i)
		d := other.Decide(key)
		if first.Decide(key).Arm == driftline.ArmCandidate && d.Arm == driftline.ArmCandidate {
			both++
		}
		if d.Arm == driftline.ArmCandidate && d.Mirror != nil {
			t.Fatalf("key %q is mirrored to who answers it", key)
		}
		if d.Arm == driftline.ArmChampion {
			champion++
			if d.Mirror != nil {
				mirrored++
			}
		}
	}
	if share := float64(both) / keys; math.Abs(share-0.25) > 0.007 {
		t.Errorf("the candidates of two rollouts share %v of the keys, want ¼", share)
	}
	if share := float64(mirrored) / float64(champion); math.Abs(share-0.2) > 0.007 {
		t.Errorf("%v of the champion's requests are mirrored, want 0.2", share)
	}
}

func TestMixtures(t *testing.T) {
	route := driftline.Route{Model: "m", Salt: "m-1", Arms: []driftline.RouteArm{{
		Arm: driftline.ArmChampion, Weight: 100, Mixture: driftline.MixtureChoose,
		Versions: []driftline.VersionShare{{Version: 3, Share: 70}, {Version: 1, Share: 30}},
	}}}
	chooses := router(t, route)
	newer := 0
	for i := range 100_000 {
		d := chooses.Decide(strconv.Itoa(i))
		if d.Versions != nil {
			t.Fatal("one version answers, not all")
		}
		if d.Version == 3 {
			newer++
		}
	}
	if share := float64(newer) / 100_000; math.Abs(share-0.7) > 0.007 {
		t.Errorf("version 3 answers %v, want 0.7", share)
	}
	route.Arms[0].Mixture = ""
	if d := router(t, route).Decide("x"); d.Version != 3 || len(d.Versions) != 2 || d.Versions[1].Share != 30 {
		t.Errorf("an average is %+v", d)
	}
}

func TestSharesAddUp(t *testing.T) {
	for _, weights := range [][]float64{{1}, {1.0 / 3, 1.0 / 3, 1.0 / 3}, {0.99999, 0.00001}, {0.7, 0.2, 0.1}, {0, 1}} {
		versions, sum := make([]int, len(weights)), 0
		for i := range versions {
			versions[i] = i + 1
		}
		shares := routing.Shares(versions, weights)
		for i, s := range shares {
			if sum += driftline.Hundredths(s.Share); s.Version != i+1 || math.Abs(s.Share-100*weights[i]) > 0.01 {
				t.Errorf("weights %v: shares %v", weights, shares)
			}
		}
		if sum != routing.Slots {
			t.Errorf("weights %v: shares %v add up to %d", weights, shares, sum)
		}
	}
}

func TestPinsAndFallback(t *testing.T) {
	route := canary(5)
	route.Pins = map[string]driftline.Arm{"tester": driftline.ArmCandidate, "bank": driftline.ArmChampion}
	r := router(t, route)
	for key, version := range map[string]int{"tester": 2, "bank": 1} {
		if d := r.Decide(key); d.Version != version || !d.Pinned || d.Route != 7 {
			t.Errorf("%s: %+v", key, d)
		}
	}
	if d := r.Pin(2); d.Arm != driftline.ArmCandidate || d.Version != 2 || !d.Pinned {
		t.Errorf("pinned version: %+v", d)
	}
	if d := r.Pin(9); d.Arm != "" || d.Version != 9 || !d.Pinned {
		t.Errorf("a version of no arm: %+v", d)
	}
	if d, ok := r.Fallback(r.Decide("tester"), "tester"); !ok || d.Version != 1 || d.Arm != driftline.ArmChampion {
		t.Errorf("fallback: %+v, %v", d, ok)
	}
	if d, ok := r.Fallback(r.Decide("bank"), "bank"); ok {
		t.Errorf("the champion falls back to %+v", d)
	}
	route.Fallback = false
	if _, ok := router(t, route).Fallback(r.Decide("tester"), "tester"); ok {
		t.Error("it falls back although it may not")
	}
}

// TestBadRoutes are refused by the field that is wrong.
func TestBadRoutes(t *testing.T) {
	for want, break_ := range map[string]func(r *driftline.Route){
		"arms is missing; a route needs at least one arm":                                                                            func(r *driftline.Route) { r.Arms = nil },
		"arms[1].weight is -1, want a number from 0 to 100":                                                                          func(r *driftline.Route) { r.Arms[1].Weight = -1 },
		"arms[1].weight is 101, want a number from 0 to 100":                                                                         func(r *driftline.Route) { r.Arms[1].Weight = 101 },
		"arms[1].weight is NaN, want a number from 0 to 100":                                                                         func(r *driftline.Route) { r.Arms[1].Weight = math.NaN() },
		"arms[1].weight is 5.001 %, want whole hundredths; requests are dealt in ten-thousandths: 0.05 is the second smallest share": func(r *driftline.Route) { r.Arms[1].Weight = 5.001 },
		"the weights of arms add up to 101, want 100":                                                                                func(r *driftline.Route) { r.Arms[1].Weight = 6 },
		"arms[1].versions is missing":                                                                                                func(r *driftline.Route) { r.Arms[1].Versions = nil },
		"arms[1].versions[0].version is 0, want at least 1":                                                                          func(r *driftline.Route) { r.Arms[1].Versions[0].Version = 0 },
		`arms[1].arm "champion" is missing or given twice`:                                                                           func(r *driftline.Route) { r.Arms[1].Arm = driftline.ArmChampion },
		`arms[1].arm "canary" does not exist; known: candidate, champion`:                                                            func(r *driftline.Route) { r.Arms[1].Arm = "canary" },
		"mirror is 120, want a number from 0 to 100":                                                                                 func(r *driftline.Route) { r.Mirror = 120 },
		`mirror_to "" is no arm of the route`:                                                                                        func(r *driftline.Route) { r.Mirror = 10 },
		`pins: key "x" is pinned to "nobody", which is no arm of the route`:                                                          func(r *driftline.Route) { r.Pins = map[string]driftline.Arm{"x": "nobody"} },
		"the shares of arms[1].versions add up to 90, want 100": func(r *driftline.Route) {
			r.Arms[1].Versions = []driftline.VersionShare{{Version: 2, Share: 50}, {Version: 3, Share: 40}}
		},
		"arms[1].versions[1].version 2 is given twice": func(r *driftline.Route) {
			r.Arms[1].Versions = []driftline.VersionShare{{Version: 2, Share: 50}, {Version: 2, Share: 50}}
		},
	} {
		route := canary(5)
		break_(&route)
		if _, err := routing.New(route); err == nil || err.Error() != want || driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// FuzzDecide: every key has one answer, which the route allows.
func FuzzDecide(f *testing.F) {
	f.Add("customer-1", uint16(500))
	f.Add("", uint16(0))
	f.Fuzz(func(t *testing.T, key string, weight uint16) {
		r := router(t, canary(float64(weight%10_001)/100))
		d := r.Decide(key)
		if !slices.Contains([]int{1, 2}, d.Version) || fmt.Sprint(d) != fmt.Sprint(r.Decide(key)) {
			t.Errorf("%q: %+v", key, d)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	r, err := routing.New(canary(5))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Decide("customer-123456")
	}
}
