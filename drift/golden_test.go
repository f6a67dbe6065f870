package drift_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/driftline/driftline/drift"
)

// goldens are answers of SciPy; testdata/goldens.py says how they were made.
type goldens struct {
	KSExact      [][]any `json:"ks_exact"` // alternative, n, m, d, p
	KSAsymptotic [][]any `json:"ks_asymptotic"`
	Kolmogorov   [][]any `json:"kolmogorov"` // n, x, p
	KSSamples    []struct {
		X, Y    []string
		Answers map[string][]any // alternative → D, p, location, sign
	} `json:"ks_samples"`
	ChiSquare struct {
		Tables []struct {
			Reference, Current []int64
			Statistic, P       string
		}
		Tails [][]any // x, df, p
	} `json:"chi_square"`
	BH [][2][]string
}

func readJSON[T any](t *testing.T, name string) T {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func number(t *testing.T, v any) float64 {
	t.Helper()
	if f, ok := v.(float64); ok {
		return f
	}
	f, err := strconv.ParseFloat(v.(string), 64)
	if err != nil && !strings.Contains(err.Error(), "range") {
		t.Fatal(err)
	}
	return f
}

func numbers(t *testing.T, texts []string) []float64 {
	t.Helper()
	values := make([]float64, len(texts))
	for i, text := range texts {
		values[i] = number(t, text)
	}
	return values
}

var alternatives = map[string]drift.Alternative{
	"two-sided": drift.TwoSided, "less": drift.Less, "greater": drift.Greater,
}

// closeP is the promise on p-values: 1e-9 relative, 1e-6 below 1e-12, and only that
// they are subnormal where digits run out.
func closeP(got, want float64) bool {
	if got < 0x1p-1022 && want < 0x1p-1022 {
		return true
	}
	tolerance := 1e-9
	if want < 1e-12 {
		tolerance = 1e-6
	}
	return got == want || math.Abs(got-want) <= tolerance*want
}

func TestKSPValuesAreSciPys(t *testing.T) {
	g := readJSON[goldens](t, "goldens.json")
	check := func(rows [][]any, method drift.Method) {
		for _, row := range rows {
			alternative := alternatives[row[0].(string)]
			n, m := int64(number(t, row[1])), int64(number(t, row[2]))
			d, want := number(t, row[3]), number(t, row[4])
			if got := drift.KSPValue(d, n, m, alternative, method); !closeP(got, want) {
				t.Errorf("%s n=%d m=%d d=%v: p %v, want %v (off by %.1e)", row[0], n, m, d, got, want, got/want-1)
			}
			if got := drift.KSPValue(d, m, n, alternative, method); !closeP(got, want) {
				t.Errorf("%s n=%d m=%d d=%v: p %v with sides swapped, want %v", row[0], m, n, d, got, want)
			}
		}
	}
	check(g.KSExact, drift.Exact)
	check(g.KSExact, drift.Auto)
	check(g.KSAsymptotic, drift.Asymptotic)
	check(g.KSAsymptotic, drift.Auto)
}

func TestKolmogorovSFIsSciPys(t *testing.T) {
	for _, row := range readJSON[goldens](t, "goldens.json").Kolmogorov {
		n, x, want := number(t, row[0]), number(t, row[1]), number(t, row[2])
		if got := drift.KolmogorovSF(n, x); !closeP(got, want) {
			t.Errorf("n=%v x=%v (nx² %.3g): %v, want %v (off by %.1e)", n, x, n*x*x, got, want, got/want-1)
		}
	}
}

func TestKSIsSciPys(t *testing.T) {
	for i, sample := range readJSON[goldens](t, "goldens.json").KSSamples {
		x, y := numbers(t, sample.X), numbers(t, sample.Y)
		for name, alternative := range alternatives {
			want := sample.Answers[name]
			got := drift.KS(drift.SampleOf(x), drift.SampleOf(y), alternative)
			if got.D != number(t, want[0]) || got.Location != number(t, want[2]) || got.Sign != int(want[3].(float64)) {
				t.Errorf("sample %d %s: D %v at %v sign %d, want %v", i, name, got.D, got.Location, got.Sign, want)
			}
			if p := number(t, want[1]); !closeP(got.P, p) {
				t.Errorf("sample %d (%d v %d) %s: D %v p %v, want %v", i, len(x), len(y), name, got.D, got.P, p)
			}
		}
	}
}

// vector is one of the reference cases, checked against SciPy and Evidently.
type vector struct {
	Ref3      []float64 `json:"ref3"`
	SumRef    float64   `json:"sum_ref"`
	D         float64   `json:"ks_D"`
	PAuto     float64   `json:"ks_p_auto"`
	PTwoSided float64   `json:"ks_p_asymp"`
	PGreater  float64   `json:"ks_p_greater_asymp"`
	PLess     float64   `json:"ks_p_less_asymp"`
	Location  float64   `json:"ks_loc"`
	Sign      int       `json:"ks_sign"`
}

// normals are n numbers that every language makes alike: a sum of twelve uniform
// ones from splitmix64, less 6, scaled and shifted.
func normals(seed uint64, n int, scale, shift float64) []float64 {
	uniform := func() float64 {
		seed += 0x9E3779B97F4A7C15
		z := seed
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return float64((z^z>>31)>>11) * 0x1p-53
	}
	values := make([]float64, n)
	for i := range values {
		sum := 0.0
		for range 12 {
			sum += uniform()
		}
		values[i] = float64((sum-6)*scale) + shift
	}
	return values
}

func TestKSOnReferenceVectors(t *testing.T) {
	vectors := readJSON[map[string]json.RawMessage](t, "vectors.json")
	rounded := func(values []float64) []float64 {
		for i, v := range values {
			values[i] = math.RoundToEven(v*10) / 10
		}
		return values
	}
	for _, c := range []struct {
		name               string
		reference, current []float64
	}{
		{"A n=500/400 same", normals(1, 500, 1, 0), normals(2, 400, 1, 0)},
		{"B n=500/400 shift .2", normals(1, 500, 1, 0), normals(2, 400, 1, .2)},
		{"C n=2000/3000 shift .1", normals(3, 2000, 1, 0), normals(4, 3000, 1, .1)},
		{"D n=2000/3000 scale 1.2", normals(3, 2000, 1, 0), normals(4, 3000, 1.2, 0)},
		{"E n=12000/15000 shift .03", normals(5, 12000, 1, 0), normals(6, 15000, 1, .03)},
		{"F ties round(x,1) 2000/3000 shift .1", rounded(normals(3, 2000, 1, 0)), rounded(normals(4, 3000, 1, .1))},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want vector
			if err := json.Unmarshal(vectors[c.name], &want); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(c.reference[:3]) != fmt.Sprint(want.Ref3) {
				t.Fatalf("generator: %v, want %v", c.reference[:3], want.Ref3)
			}
			got := drift.KS(drift.SampleOf(c.reference), drift.SampleOf(c.current), drift.TwoSided)
			if got.D != want.D || got.Location != want.Location || got.Sign != want.Sign {
				t.Errorf("D %v at %v sign %d, want %v at %v sign %d", got.D, got.Location, got.Sign, want.D, want.Location, want.Sign)
			}
			if !closeP(got.P, want.PAuto) {
				t.Errorf("p %v, want %v", got.P, want.PAuto)
			}
			for alternative, p := range map[drift.Alternative]float64{
				drift.TwoSided: want.PTwoSided, drift.Greater: want.PGreater, drift.Less: want.PLess,
			} {
				one := drift.KS(drift.SampleOf(c.reference), drift.SampleOf(c.current), alternative)
				if got := drift.KSPValue(one.D, one.N, one.M, alternative, drift.Asymptotic); !closeP(got, p) {
					t.Errorf("asymptotic p of alternative %d: %v, want %v", alternative, got, p)
				}
			}
		})
	}
}

func TestChiSquareIsSciPys(t *testing.T) {
	g := readJSON[goldens](t, "goldens.json")
	for i, table := range g.ChiSquare.Tables {
		got := drift.ChiSquare(table.Reference, table.Current)
		want, p := number(t, table.Statistic), number(t, table.P)
		if math.Abs(got.Statistic-want) > 1e-12*want || got.DF != len(table.Reference)-1 || got.Pooled != 0 {
			t.Errorf("table %d: χ² %v, df %d, pooled %d; want %v", i, got.Statistic, got.DF, got.Pooled, want)
		}
		if !closeP(got.P, p) {
			t.Errorf("table %d: p %v, want %v", i, got.P, p)
		}
	}
	for _, row := range g.ChiSquare.Tails {
		x, df, want := number(t, row[0]), int(number(t, row[1])), number(t, row[2])
		if got := drift.ChiSquareSF(x, df); !closeP(got, want) {
			t.Errorf("tail x=%v df=%d: %v, want %v (off by %.1e)", x, df, got, want, got/want-1)
		}
	}
}

func TestChiSquareOnReferenceVectors(t *testing.T) {
	vectors := readJSON[map[string]json.RawMessage](t, "vectors.json")
	var cases map[string]struct {
		Ref, Cur  []int64
		Statistic float64 `json:"chi2_hom"`
		P         float64 `json:"p_hom"`
	}
	decodable := strings.ReplaceAll(string(vectors["categorical"]), "Infinity", "0")
	if err := json.Unmarshal([]byte(decodable), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 4 {
		t.Fatalf("%d cases, want 4", len(cases))
	}
	for name, c := range cases {
		got := drift.ChiSquare(c.Ref, c.Cur)
		if math.Abs(got.Statistic-c.Statistic) > 1e-12*c.Statistic || !closeP(got.P, c.P) {
			t.Errorf("%s: χ² %v p %v, want %v p %v", name, got.Statistic, got.P, c.Statistic, c.P)
		}
	}
}

func TestAdjustBHIsSciPys(t *testing.T) {
	for i, pair := range readJSON[goldens](t, "goldens.json").BH {
		p, want := numbers(t, pair[0]), numbers(t, pair[1])
		for j, got := range drift.AdjustBH(p) {
			if math.Abs(got-want[j]) > 1e-15 {
				t.Errorf("list %d, p %v: q %v, want %v", i, p[j], got, want[j])
			}
		}
	}
}
