package detect_test

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/driftline/driftline/drift/detect"
)

// stream reads the digits of one of River's test streams, made with NumPy's seed 12345:
// 1 is randint(2) 1,000 times and then randint(8); 2 is Bernoulli of 0.2 and then 0.8;
// 3 is normal values, positive or not, around 0 and 0.25 in turn, 500 each.
func stream(t testing.TB, number int) []float64 {
	t.Helper()
	digits, err := os.ReadFile("testdata/stream" + strconv.Itoa(number) + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float64, len(digits))
	for i, digit := range digits {
		values[i] = float64(digit - '0')
	}
	return values
}

// alarms returns the indices of the values at which the detector said Change.
func alarms(d *detect.Detector, values []float64) []int {
	indices := []int{}
	for i, x := range values {
		if d.Update(x) == detect.Change {
			indices = append(indices, i)
		}
	}
	return indices
}

func detector(t testing.TB, kind string, parameters map[string]float64) *detect.Detector {
	t.Helper()
	d, err := detect.New(kind, parameters)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type parameters = map[string]float64

// The alarms that River's own tests expect, and others that River 0.26.1 raised.
func TestAlarmsAreRivers(t *testing.T) {
	ones := slices.Repeat([]float64{1}, 2000)
	for _, c := range []struct {
		kind       string
		parameters parameters
		values     []float64
		want       []int
	}{
		{"adwin", nil, stream(t, 1), []int{1023}},
		{"ddm", nil, stream(t, 2), []int{1049}},
		{"ddm", nil, ones, []int{}},
		{"adwin", nil, stream(t, 2), []int{1055}},
		{"adwin", nil, stream(t, 3), []int{543, 1023, 1567}},
		{"kswin", parameters{"seed": 42}, stream(t, 1), []int{1020}},
		{"kswin", parameters{"seed": 42}, stream(t, 2), []int{1029}},
		{"kswin", parameters{"seed": 42}, stream(t, 3), []int{519, 1028, 1520}},
		{"page_hinkley", parameters{"direction": 1}, stream(t, 1), []int{1020, 1990}},
		{"eddm", parameters{"alpha": 0.9, "beta": 0.8}, stream(t, 2), []int{1059}},
		{"eddm", nil, stream(t, 2), []int{663, 828, 1007, 1078}},
		{"hddm_a", nil, stream(t, 2), []int{1047}},
		{"hddm_a", parameters{"two_sided": 1}, stream(t, 3), []int{531, 1015, 1545}},
		{"hddm_w", nil, stream(t, 2), []int{1018}},
		{"hddm_w", parameters{"two_sided": 1}, stream(t, 3), []int{507, 1032, 1508}},
		{"kswin", parameters{"alpha": 1e-4, "window_size": 200, "stat_size": 100, "seed": 42}, stream(t, 1), []int{1042}},
		{"page_hinkley", parameters{"direction": 1}, stream(t, 3), []int{588, 1681}},
		{"page_hinkley", parameters{"direction": -1}, stream(t, 3), []int{1172}},
		{"page_hinkley", nil, stream(t, 3), []int{588, 1097, 1585}},
	} {
		if got := alarms(detector(t, c.kind, c.parameters), c.values); !slices.Equal(got, c.want) {
			t.Errorf("%s %v: alarms at %v, want %v", c.kind, c.parameters, got, c.want)
		}
	}
}
