package main

import (
	"math"
	"testing"
)

func TestSameTestsWantsDExactAndPClose(t *testing.T) {
	ours := answer{Numbers: []exactReal{0.25, 0.5}}
	for _, c := range []struct {
		name   string
		theirs []exactReal
		same   bool
	}{
		{"equal", []exactReal{0.25, 0.5}, true},
		{"p within the tolerance", []exactReal{0.25, 0.5 * (1 + 1e-10)}, true},
		{"p outside", []exactReal{0.25, 0.5 * (1 + 1e-8)}, false},
		{"D off by one bit", []exactReal{exactReal(math.Nextafter(0.25, 1)), 0.5}, false},
		{"p is NaN", []exactReal{0.25, exactReal(math.NaN())}, false},
		{"a column is missing", nil, false},
	} {
		if err := sameTests(ours, answer{Numbers: c.theirs}); (err == nil) != c.same {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
