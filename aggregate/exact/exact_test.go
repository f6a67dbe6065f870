package exact

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// draws are finite numbers of the kinds that sums stumble over.
var draws = map[string]func(r *rand.Rand) float64{
	"normal":     func(r *rand.Rand) float64 { return r.NormFloat64() },
	"whole":      func(r *rand.Rand) float64 { return float64(r.Int64() >> r.IntN(63)) },
	"any bits":   anyFinite,
	"subnormal":  func(r *rand.Rand) float64 { return float64(r.IntN(9)-4) * math.SmallestNonzeroFloat64 },
	"huge":       func(r *rand.Rand) float64 { return (r.Float64() - 0.5) * math.MaxFloat64 },
	"cancelling": func(r *rand.Rand) float64 { return []float64{1e300, -1e300, 1, math.Copysign(0, -1)}[r.IntN(4)] },
}

func anyFinite(r *rand.Rand) float64 {
	for {
		if v := math.Float64frombits(r.Uint64()); v-v == 0 {
			return v
		}
	}
}

func drawn(seed uint64, n int, draw func(*rand.Rand) float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, n)
	for i := range values {
		values[i] = draw(r)
	}
	return values
}

// rational is the sum of f of the values, exactly.
func rational(values []float64, f func(x *big.Rat) *big.Rat) *big.Rat {
	total := new(big.Rat)
	for _, v := range values {
		total.Add(total, f(new(big.Rat).SetFloat64(v)))
	}
	return total
}

func itself(x *big.Rat) *big.Rat { return x }
func square(x *big.Rat) *big.Rat { return x.Mul(x, x) }

func sumsOf(values []float64) (sum, squares Sum) {
	for _, v := range values {
		sum.AddFloat(v)
		squares.AddFloatSquare(v)
	}
	return sum, squares
}

func written(x *Sum) []byte { return x.AppendTo(nil) }

func TestASumIsRoundedOnce(t *testing.T) {
	for name, draw := range draws {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 100, 1000} {
				values := drawn(uint64(n), n, draw)
				sum, squares := sumsOf(values)
				for what, c := range map[string]struct {
					got   *Sum
					exact *big.Rat
				}{"sum": {&sum, rational(values, itself)}, "squares": {&squares, rational(values, square)}} {
					for _, divisor := range []uint64{1, uint64(n), math.MaxUint64} {
						want, _ := new(big.Rat).Quo(c.exact, new(big.Rat).SetUint64(divisor)).Float64()
						if got := c.got.Over(divisor); got != want {
							t.Errorf("%s of %d over %d is %v, want %v", what, n, divisor, got, want)
						}
					}
				}
			}
		})
	}
}

func TestASumDependsOnTheNumbersAlone(t *testing.T) {
	for name, draw := range draws {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			values := drawn(7, 3000, draw)
			sum, squares := sumsOf(values)

			r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			var mergedSum, mergedSquares Sum
			for len(values) > 0 {
				n := min(len(values), 1+r.IntN(700))
				partSum, partSquares := sumsOf(values[:n])
				mergedSum.Add(&partSum)
				mergedSquares.Add(&partSquares)
				values = values[n:]
			}
			if !bytes.Equal(written(&mergedSum), written(&sum)) || !bytes.Equal(written(&mergedSquares), written(&squares)) {
				t.Error("parts in another order have another sum")
			}
		})
	}
}

func TestAnAdderAddsAsOneByOne(t *testing.T) {
	for name, draw := range draws {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, adderBlock, 3*adderBlock + 5} {
				values := drawn(uint64(n), n, draw)
				wantSum, wantSquares := sumsOf(values)
				for _, odd := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} { // are left out
					values = slices.Insert(values, len(values)/2, odd)
				}
				var adder Adder
				var sum, squares Sum
				adder.Add(values, &sum, &squares)
				if !bytes.Equal(written(&sum), written(&wantSum)) || !bytes.Equal(written(&squares), written(&wantSquares)) {
					t.Errorf("%d values have another sum", n)
				}
			}
		})
	}
}

func TestANumberManyTimes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		v, n := anyFinite(r), r.Uint64()>>r.IntN(64)
		var sum, squares Sum
		sum.AddFloatTimes(v, n)
		squares.AddFloatSquareTimes(v, n)
		x, times := new(big.Rat).SetFloat64(v), new(big.Rat).SetUint64(n)
		wantSum, _ := new(big.Rat).Mul(x, times).Float64()
		wantSquares, _ := new(big.Rat).Mul(new(big.Rat).Mul(x, x), times).Float64()
		if sum.Over(1) != wantSum || squares.Over(1) != wantSquares {
			t.Fatalf("%v %d times: %v and %v, want %v and %v", v, n, sum.Over(1), squares.Over(1), wantSum, wantSquares)
		}
	}
}

func TestWholeNumbers(t *testing.T) {
	for _, c := range []struct {
		add  []int64
		want int64
		fits bool
	}{
		{nil, 0, true},
		{[]int64{1, -1}, 0, true},
		{[]int64{math.MaxInt64}, math.MaxInt64, true},
		{[]int64{math.MinInt64}, math.MinInt64, true},
		{[]int64{math.MaxInt64, 1}, 0, false},
		{[]int64{math.MinInt64, -1}, 0, false},
		{[]int64{math.MaxInt64, math.MaxInt64, -math.MaxInt64, 3, -7}, math.MaxInt64 - 4, true},
	} {
		var sum, squares Sum
		want := new(big.Int)
		for _, v := range c.add {
			sum.AddInt(v)
			squares.AddIntSquare(v)
			want.Add(want, new(big.Int).Mul(big.NewInt(v), big.NewInt(v)))
		}
		if got, fits := sum.Int64(); got != c.want || fits != c.fits {
			t.Errorf("%v: %d, %v", c.add, got, fits)
		}
		if got, _ := new(big.Rat).SetInt(want).Float64(); squares.Over(1) != got {
			t.Errorf("%v: squares %v, want %v", c.add, squares.Over(1), got)
		}
	}
	var half Sum
	half.AddFloat(0.5)
	if _, fits := half.Int64(); fits {
		t.Error("a half is no whole number")
	}
}

func TestDeviationIsRoundedOnceBeforeTheRoot(t *testing.T) {
	for name, draw := range draws {
		for _, n := range []int{2, 3, 1000} {
			values := drawn(uint64(n), n, draw)
			sum, squares := sumsOf(values)
			total := rational(values, itself)
			variance := rational(values, square)
			variance.Sub(variance, total.Mul(total, total).Quo(total, big.NewRat(int64(n), 1)))
			variance.Quo(variance, big.NewRat(int64(n-1), 1))
			rounded := new(big.Float).SetPrec(53).SetRat(variance)
			want, _ := new(big.Float).SetPrec(53).Sqrt(rounded).Float64()
			if got := SampleDeviation(&sum, &squares, uint64(n)); math.Abs(got-want) > 1e-15*want {
				t.Errorf("%s: deviation of %d is %v, want %v", name, n, got, want)
			}
		}
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for name, draw := range draws {
		sum, _ := sumsOf(drawn(2, 50, draw))
		var again Sum
		rest, ok := again.Merge(append(written(&sum), "rest"...))
		if !ok || string(rest) != "rest" || !bytes.Equal(written(&again), written(&sum)) {
			t.Errorf("%s: %v, %q follows", name, ok, rest)
		}
		again.Reset()
		if len(written(&again)) != 1 {
			t.Errorf("%s: after Reset there is %x", name, written(&again))
		}
	}
}

func FuzzMerge(f *testing.F) {
	for _, draw := range draws {
		sum, squares := sumsOf(drawn(1, 20, draw))
		f.Add(written(&sum))
		f.Add(written(&squares))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		sum, _ := sumsOf([]float64{1, 0.1, -3})
		before := written(&sum)
		rest, ok := sum.Merge(raw)
		if !ok {
			if !bytes.Equal(written(&sum), before) {
				t.Error("what cannot be read has changed the sum")
			}
			return
		}
		var one, other Sum
		if _, ok := one.Merge(raw[:len(raw)-len(rest)]); !ok {
			t.Fatal("what was read cannot be read again")
		}
		if _, ok := other.Merge(written(&one)); !ok || !bytes.Equal(written(&other), written(&one)) {
			t.Error("the sum is not what was written")
		}
	})
}
