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
		if err := sameTests(0)(ours, answer{Numbers: c.theirs}); (err == nil) != c.same {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSameTestsWantsChiSquaresClose(t *testing.T) {
	ours, theirs := answer{Numbers: []exactReal{10, 0.5, 0.25, 0.5}}, answer{Numbers: []exactReal{10 * (1 + 1e-12), 0.5, 0.25, 0.5}}
	if err := sameTests(1)(ours, theirs); err != nil {
		t.Error(err)
	}
	if sameTests(0)(ours, theirs) == nil {
		t.Error("of a D any bit counts")
	}
}

// TestAYearGoesOnWhereItEnded: what was counted is read again, by the same revision only.
func TestAYearGoesOnWhereItEnded(t *testing.T) {
	b := &bench{results: t.TempDir(), machine: machine{Driftline: "v1"}}
	tally := b.readYear(8, 5)
	for range len(years) + 1 {
		y, month := tally.next()
		found, err := y.alarms(t.Context(), 8, month, 5)
		if err != nil {
			t.Fatal(err)
		}
		tally.Months[y.name] = append(tally.Months[y.name], found)
		if err := b.writeYear(tally); err != nil {
			t.Fatal(err)
		}
	}
	if y, month := b.readYear(8, 5).next(); y != years[1] || month != 1 {
		t.Errorf("%d months of all ways and two of the first: next is month %d of %s", 1, month+1, y.name)
	}
	b.machine.Driftline = "v2"
	if y, month := b.readYear(8, 5).next(); y != years[0] || month != 0 {
		t.Errorf("another revision goes on with month %d of %s", month+1, y.name)
	}
}
