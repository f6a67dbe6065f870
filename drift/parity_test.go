package drift_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"testing"

	"github.com/driftline/driftline/drift"
)

// splitmix64 gives the uniform numbers from which parity.py makes the same samples.
type splitmix64 uint64

func (s *splitmix64) uniform() float64 {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float64((z^z>>31)>>11) * 0x1p-53
}

func (s *splitmix64) uniforms(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = s.uniform()
	}
	return values
}

// parityShapes make a value from a normal number and two uniform ones. Products are
// converted so that no processor fuses them with a sum.
var parityShapes = []func(z, u, v float64) float64{
	func(z, _, _ float64) float64 { return z },
	func(z, _, _ float64) float64 { return z + 0.25 },
	func(z, _, _ float64) float64 { return z * 1.5 },
	func(z, u, _ float64) float64 { return z / (u + 0x1p-53) },
	func(z, _, _ float64) float64 { return z * z * z },
	func(z, _, _ float64) float64 { return math.Floor(z * 2) },
	func(z, _, _ float64) float64 { return math.Floor(z*10) / 10 },
	func(_, u, _ float64) float64 { return math.Floor(u * 3) },
	func(z, u, _ float64) float64 {
		if u < 0.9 {
			return 1
		}
		return z
	},
	func(z, _, _ float64) float64 { return z * 0x1p400 },
	func(z, u, _ float64) float64 {
		switch {
		case u < 0.3:
			return math.Copysign(0, -1)
		case u < 0.6:
			return 0
		}
		return z
	},
	func(_, u, _ float64) float64 { return u },
	func(z, u, _ float64) float64 { return math.Ldexp(1+u, int(math.Floor(z*6))) },
	func(z, _, _ float64) float64 { return 1e6 + z },
	func(z, _, v float64) float64 {
		switch {
		case v < 0.02:
			return math.Inf(1)
		case v < 0.04:
			return math.Inf(-1)
		}
		return z
	},
	func(z, _, _ float64) float64 { return z * 0x1p-1000 * 0x1p-70 },
}

func paritySample(shape int, seed uint64, n int) []float64 {
	random := splitmix64(seed)
	values := make([]float64, n)
	for i := range values {
		z := 0.0
		for range 12 {
			z += random.uniform()
		}
		u, v := random.uniform(), random.uniform()
		values[i] = parityShapes[shape](z-6, u, v)
	}
	return values
}

// parityCase is case(i) of parity.py.
func parityCase(i int) (x, y []float64) {
	random := splitmix64(1000 + i)
	u := random.uniforms(6)
	shape := i % len(parityShapes)
	other := shape
	switch {
	case u[0] < 0.6:
	case shape < 2:
		other = 1 - shape
	default:
		other = int(u[1] * float64(len(parityShapes)))
	}
	reach := []float64{12, 20, 60, 60, 300, 1500}[i/len(parityShapes)%6]
	n, m := 5+int(u[2]*reach), 5+int(u[3]*reach)
	if u[4] < 0.1 {
		n = 2 + int(u[5]*7)
	}
	return paritySample(shape, uint64(2*i+1), n), paritySample(other, uint64(2*i+2), m)
}

// parityCounts is counts(i) of parity.py.
func parityCounts(i int) (reference, current []int64) {
	random := splitmix64(5000 + i)
	u := random.uniforms(4)
	k := 2 + int(u[0]*[]float64{1, 4, 12, 38}[i%4])
	size := []float64{30, 300, 3000, 2e5}[int(u[1]*4)]
	random = splitmix64(9000 + i)
	v := random.uniforms(2 * k)
	for j := range k {
		mixed := float64(v[j]*(1-u[2])) + float64(v[k+j]*u[2])
		reference = append(reference, int64(math.Floor(v[j]*size))+10)
		current = append(current, int64(math.Floor(mixed*size))+10)
	}
	if i%3 == 0 {
		reference[0], current[k-1] = 0, 0
	}
	return reference, current
}

func fingerprint(edges []float64) string {
	if edges == nil {
		return ""
	}
	hash := fnv.New64a()
	for _, edge := range edges {
		var bytes [8]byte
		binary.LittleEndian.PutUint64(bytes[:], math.Float64bits(edge+0))
		hash.Write(bytes[:])
	}
	return fmt.Sprintf("%d:%016x", len(edges), hash.Sum64())
}

// parityRow is what SciPy said of one case; nil where it has no answer.
type parityRow []any

func (r parityRow) number(i int) float64 {
	switch v := r[i].(type) {
	case float64:
		return v
	case string:
		if v == "inf" {
			return math.Inf(1)
		}
	}
	return math.NaN()
}

func parityRows(t *testing.T) (samples, tables []parityRow) {
	t.Helper()
	rows := readJSON[struct{ Samples, Tables []parityRow }](t, "parity.json")
	if len(rows.Samples) < 500 || len(rows.Tables) < 500 {
		t.Fatalf("%d samples and %d tables, want 500 at least", len(rows.Samples), len(rows.Tables))
	}
	return rows.Samples, rows.Tables
}

// agree is equality up to a relative error, and up to what rounding leaves of zero;
// both may be NaN.
func agree(got, want, tolerance float64) bool {
	return got == want || math.IsNaN(got) && math.IsNaN(want) ||
		math.Abs(got-want) <= max(tolerance*math.Abs(want), 1e-25)
}

func TestSampleTestsAreSciPys(t *testing.T) {
	samples, _ := parityRows(t)
	for i, row := range samples {
		x, y := parityCase(i)
		reference, current := drift.SampleOf(x), drift.SampleOf(y)
		check := func(name string, column int, statistic, p float64) {
			t.Helper()
			if want := row.number(column); !agree(statistic, want, 1e-9) {
				t.Errorf("case %d (%d v %d) %s: statistic %v, want %v", i, len(x), len(y), name, statistic, want)
			}
			if row[column+1] == "below 1e-38" {
				if p > 1e-38 {
					t.Errorf("case %d (%d v %d) %s: p %v, want it below 1e-38", i, len(x), len(y), name, p)
				}
				return
			}
			if want := row.number(column + 1); !closeP(p, want) && !(math.IsNaN(p) && math.IsNaN(want)) {
				t.Errorf("case %d (%d v %d) %s: p %v, want %v (off by %.1e)", i, len(x), len(y), name, p, want, p/want-1)
			}
		}
		for k, alternative := range []drift.Alternative{drift.TwoSided, drift.Less, drift.Greater} {
			ks := drift.KS(reference, current, alternative)
			check("KS", 2*k, ks.D, ks.P)
			if ks.D != row.number(2*k) {
				t.Errorf("case %d KS: D %v, want %v", i, ks.D, row.number(2*k))
			}
		}
		cramer := drift.CramerVonMises(reference, current)
		check("Cramér–von Mises", 6, cramer.Statistic, cramer.P)
		anderson := drift.AndersonDarling(reference, current)
		check("Anderson–Darling", 8, anderson.Statistic, anderson.P)
		mann := drift.MannWhitney(reference, current)
		check("Mann–Whitney", 10, mann.Statistic, mann.P)
		welch := drift.Welch(reference, current)
		check("Welch", 12, welch.Statistic, welch.P)
		if row[14] != "no digits" {
			epps := drift.EppsSingleton(reference, current)
			check("Epps–Singleton", 14, epps.Statistic, epps.P)
		}
		if row[16] == nil {
			continue
		}
		if got, want := drift.Wasserstein(reference, current), row.number(16); !agree(got, want, 1e-12) {
			t.Errorf("case %d Wasserstein: %v, want %v", i, got, want)
		}
		if got, want := drift.Energy(reference, current), row.number(17); !agree(got, want, 1e-12) {
			t.Errorf("case %d energy: %v, want %v", i, got, want)
		}
		if got, want := fingerprint(drift.SturgesEdges(x)), row[18]; got != want {
			t.Errorf("case %d Sturges: %v, want %v", i, got, want)
		}
		if got, want := fingerprint(drift.DoaneEdges(slices.Concat(x, y))), row[19]; got != want {
			t.Errorf("case %d Doane: %v, want %v", i, got, want)
		}
	}
}

func TestCountTestsAreSciPys(t *testing.T) {
	_, tables := parityRows(t)
	for i, row := range tables {
		a, b := parityCounts(i)
		check := func(name string, column int, got, tolerance float64) {
			t.Helper()
			if want := row.number(column); !agree(got, want, tolerance) {
				t.Errorf("table %d (%d cells) %s: %v, want %v (off by %.1e)", i, len(a), name, got, want, got/want-1)
			}
		}
		checkP := func(name string, column int, got float64) {
			t.Helper()
			if want := row.number(column); !closeP(got, want) {
				t.Errorf("table %d (%d cells) %s: p %v, want %v (off by %.1e)", i, len(a), name, got, want, got/want-1)
			}
		}
		chi, g := drift.ChiSquare(a, b), drift.GTest(a, b)
		if chi.Pooled == 0 {
			check("χ²", 0, chi.Statistic, 1e-12)
			checkP("χ²", 1, chi.P)
			check("G", 2, g.Statistic, 1e-9)
			checkP("G", 3, g.P)
		}
		p, q := drift.Shares(a), drift.Shares(b)
		check("Jensen–Shannon base 2", 4, drift.JensenShannon(p, q, 2), 1e-9)
		check("Jensen–Shannon base e", 5, drift.JensenShannon(p, q, math.E), 1e-9)
		check("Kullback–Leibler", 6, drift.KullbackLeibler(p, q), 1e-9)
		check("PSI", 7, drift.PSI(p, q), 1e-9)
		check("total variation", 8, drift.TotalVariation(p, q), 1e-12)
		check("Hellinger", 9, drift.Hellinger(p, q), 1e-9)
		fisher := drift.FisherExact(a[0], a[1], b[0], b[1])
		check("odds ratio", 10, fisher.OddsRatio, 1e-12)
		checkP("Fisher", 11, fisher.P)
	}
}
