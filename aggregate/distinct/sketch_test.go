package distinct

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// hashes are of n different values.
func hashes(seed uint64, n int) []uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	all := make([]uint64, n)
	for i := range all {
		all[i] = r.Uint64()
	}
	return all
}

func sketchOf(hashes []uint64) *Sketch {
	s := new(Sketch)
	for _, h := range hashes {
		s.Add(h)
	}
	return s
}

func written(s *Sketch) []byte { return s.AppendTo(nil) }

// sizes are around the places where the form changes.
var sizes = []int{0, 1, 100, mostSparse, mostSparse + 1, 2 * mostSparse, 5000, 100_000, 2_000_000}

func TestTheEstimateIsWithinItsError(t *testing.T) {
	for _, n := range sizes {
		for seed := range uint64(5) {
			got := sketchOf(hashes(seed, n)).Estimate()
			if off := math.Abs(got - float64(n)); off > 4*0.01625*float64(n) { // four standard errors
				t.Errorf("about %v different values, there are %d", got, n)
			}
		}
	}
}

func TestTheEstimateIsNotBiased(t *testing.T) {
	for _, n := range []int{50, 3000, 20_000} {
		total, sketches := 0.0, 200
		for seed := range sketches {
			total += sketchOf(hashes(uint64(seed), n)).Estimate()
		}
		mean := total / float64(sketches)
		if off := math.Abs(mean - float64(n)); off > 4*0.01625*float64(n)/math.Sqrt(float64(sketches)) {
			t.Errorf("on average %v different values, there are %d", mean, n)
		}
	}
}

func TestASketchDependsOnTheSetAlone(t *testing.T) {
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(n), 2))
			all := hashes(9, n)
			want := written(sketchOf(all))

			shuffled := append(append([]uint64(nil), all...), all[:n/2]...) // some of them twice
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			ways := map[string]*Sketch{"one by one": sketchOf(shuffled)}
			for _, way := range []string{"at once", "widened at once", "merged", "united"} {
				ways[way] = new(Sketch)
			}
			ways["widened at once"].Widen()
			ways["at once"].AddAll(shuffled)
			ways["widened at once"].AddAll(shuffled)
			for len(shuffled) > 0 {
				size := min(len(shuffled), 1+r.IntN(1+n/2))
				part := sketchOf(shuffled[:size])
				if !ways["merged"].Merge(written(part)) {
					t.Fatal("a part cannot be read")
				}
				ways["united"].Union(part)
				shuffled = shuffled[size:]
			}
			for way, s := range ways {
				if !bytes.Equal(written(s), want) {
					t.Errorf("%s: it is another sketch", way)
				}
				if s.Empty() != (n == 0) {
					t.Errorf("%s: Empty is %v", way, s.Empty())
				}
				if s.Reset(); !s.Empty() || len(written(s)) > 0 {
					t.Errorf("%s: Reset left something", way)
				}
				if s.Add(1); s.Empty() {
					t.Errorf("%s: a value after Reset is not there", way)
				}
			}
		})
	}
}

func FuzzMerge(f *testing.F) {
	for _, n := range []int{0, 3, mostSparse, 5000} {
		f.Add(written(sketchOf(hashes(1, n))))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := new(Sketch)
		if !s.Merge(raw) {
			return
		}
		if estimate := s.Estimate(); estimate < 0 || math.IsNaN(estimate) || s.Empty() != (estimate == 0) {
			t.Errorf("about %v different values, empty %v", estimate, s.Empty())
		}
		again := new(Sketch)
		if !again.Merge(written(s)) || !bytes.Equal(written(again), written(s)) {
			t.Error("the sketch is not what was written")
		}
	})
}
