package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline/drift"
)

// How often rules alarm: without drift, where it should be as rarely as they promise, and
// with drift. No clock is involved. Beside ours are the rules of Evidently and NannyML as
// package drift reproduces them, which client/parity tests against the packages; and for
// categories whylogs' chi-square, written down here. Its test of numbers needs its sketches,
// and is not among them.

var driftNullParts = []part{
	{"numbers", "false alarms of numeric columns", false, func(ctx context.Context, b *bench) error { return b.falseAlarms(ctx, numberDraws) }},
	{"millions", "false alarms of numeric columns of a million rows a side", true, func(ctx context.Context, b *bench) error { return b.falseAlarms(ctx, millionDraws) }},
	{"categories", "false alarms of categorical columns", false, func(ctx context.Context, b *bench) error { return b.falseAlarms(ctx, categoryDraws) }},
	{"together", "false alarms of the tests of all columns together", false, func(ctx context.Context, b *bench) error { return b.jointRates(ctx, jointNull, nominal) }},
	{"year", "false alarms in a year of hourly looks, with a budget", false, func(ctx context.Context, b *bench) error { return yearPart(ctx, b) }},
}

var driftPowerParts = []part{
	{"changes", "how often changes are found", false, func(ctx context.Context, b *bench) error { return b.rates(ctx, changes, 0) }},
	{"together", "changes of how columns hang together", false, func(ctx context.Context, b *bench) error { return b.jointRates(ctx, jointChanges, 0) }},
}

const nominal = 0.05

// draw is a column to compare again and again: exactly one of its functions is set.
type draw struct {
	name    string
	n, m    int
	numbers func(r *rand.Rand, current bool) float64
	names   func(r *rand.Rand, current bool) int // of a category, from 0
}

func same(of func(r *rand.Rand) float64) func(*rand.Rand, bool) float64 {
	return func(r *rand.Rand, _ bool) float64 { return of(r) }
}

func (b *bench) falseAlarms(ctx context.Context, draws func(b *bench) []draw) error {
	return b.rates(ctx, draws, nominal)
}

func numberDraws(b *bench) []draw {
	return numberDrawsOf(pick(b, [][2]int{{50, 50}, {2000, 500}}, [][2]int{{50, 50}, {1000, 1000}, {1001, 200}, {20_000, 3000}, {100_000, 100_000}}))
}

func millionDraws(b *bench) []draw {
	return numberDrawsOf(pick(b, [][2]int{{5000, 5000}}, [][2]int{{1_000_000, 1_000_000}}))
}

func numberDrawsOf(sizes [][2]int) (draws []draw) {
	for _, size := range sizes {
		for _, shape := range []struct {
			name string
			of   func(*rand.Rand) float64
		}{
			{"normal", (*rand.Rand).NormFloat64},
			{"log-normal", func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) }},
			{"ties", func(r *rand.Rand) float64 { return math.Round(3 * r.NormFloat64()) }},
			{"20 % nulls", func(r *rand.Rand) float64 { return nullOr(r, r.NormFloat64()) }},
			{"four values", func(r *rand.Rand) float64 { return float64(r.IntN(4)) }},
		} {
			draws = append(draws, draw{name: shape.name, n: size[0], m: size[1], numbers: same(shape.of)})
		}
	}
	return draws
}

func nullOr(r *rand.Rand, v float64) float64 {
	if r.IntN(5) == 0 {
		return math.NaN()
	}
	return v
}

func categoryDraws(b *bench) (draws []draw) {
	for _, categories := range []int{2, 10, 50, 1000} {
		for _, size := range pick(b, [][2]int{{50, 50}, {1000, 1000}}, [][2]int{{50, 50}, {1000, 1000}, {1000, 5000}, {50_000, 5000}, {1_000_000, 1_000_000}}) {
			draws = append(draws, draw{name: fmt.Sprintf("%d categories", categories), n: size[0], m: size[1],
				names: func(r *rand.Rand, _ bool) int { return r.IntN(categories) }})
		}
	}
	return draws
}

func changes(b *bench) []draw {
	change := func(of func(z float64) float64) func(*rand.Rand, bool) float64 {
		return func(r *rand.Rand, current bool) float64 {
			z := r.NormFloat64()
			if current {
				return of(z)
			}
			return z
		}
	}
	return []draw{
		{name: "mean by 0.05 σ", n: 20_000, m: 20_000, numbers: change(func(z float64) float64 { return z + 0.05 })},
		{name: "log-normal (σ = 2) times 1.5", n: 20_000, m: 20_000, numbers: func(r *rand.Rand, current bool) float64 {
			v := math.Exp(2 * r.NormFloat64())
			if current {
				v *= 1.5
			}
			return v
		}},
		{name: "top 1 % half as far again", n: 20_000, m: 20_000, numbers: change(func(z float64) float64 {
			if z > 2.326 {
				z *= 1.5
			}
			return z
		})},
		{name: "spread by 5 %", n: 20_000, m: 20_000, numbers: change(func(z float64) float64 { return 1.05 * z })},
		{name: "one new category of 1 % among 1000", n: 20_000, m: 20_000, names: func(r *rand.Rand, current bool) int {
			if current && r.IntN(100) == 0 {
				return 1000
			}
			return r.IntN(1000)
		}},
	}
}

// rates counts alarms in replications. With a rate of false alarms, ours must not be
// above the 99 % band of it; without, they are of drift, and ours must be 95 % at least. Columns are
// drawn side by side, each from seeds of its own, and reported in order.
func (b *bench) rates(ctx context.Context, draws func(b *bench) []draw, rate float64) error {
	all := draws(b)
	counted := make([]chan map[string]int, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1) // one of them reports
	for i := range counted {
		counted[i] = make(chan map[string]int, 1)
	}
	group.Go(func() error {
		for i, d := range all {
			select {
			case alarms := <-counted[i]:
				b.keepShares(d, d.replications(b), alarms, rate)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for i, d := range all {
		group.Go(func() error {
			alarms, err := d.count(ctx, d.replications(b))
			if err == nil {
				counted[i] <- alarms
			}
			return err
		})
	}
	return group.Wait()
}

func (d draw) replications(b *bench) int {
	return max(20, min(pick(b, 50, 1000), pick(b, 500_000, 400_000_000)/(d.n+d.m)))
}

// count returns how often each rule alarms.
func (d draw) count(ctx context.Context, replications int) (map[string]int, error) {
	random := rand.New(rand.NewPCG(uint64(d.n), uint64(d.m)))
	alarms := map[string]int{}
	for range replications {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for rule, alarm := range d.alarms(random) {
			if alarm {
				alarms[rule]++
			}
		}
	}
	return alarms, nil
}

func (b *bench) keepShares(d draw, replications int, alarms map[string]int, rate float64) {
	share := func(rule string) *float64 {
		s := 100 * float64(alarms[rule]) / float64(replications)
		return &s
	}
	n := float64(replications)
	kept := float64(alarms["ours"]) >= 0.95*n
	if rate > 0 {
		kept = float64(alarms["ours"]) <= n*rate+2.576*math.Sqrt(n*rate*(1-rate))+0.5
	}
	peers := []string{"Evidently's rule", "NannyML's rule"}
	if d.names != nil {
		peers = append(peers, "whylogs' chi-square")
	}
	for _, peer := range peers {
		b.keep(row{
			Workload: fmt.Sprintf("%s, %s v %s (%d times)", d.name, count(d.n), count(d.m), replications),
			Peer:     peer, Unit: "% alarms", Ours: share("ours"), Theirs: share(peer), SameAnswer: kept, Pairs: 1, Uncompared: true,
		})
	}
}

// alarms draws both sides once and asks every rule.
func (d draw) alarms(random *rand.Rand) map[string]bool {
	if d.names != nil {
		return d.categoryAlarms(random)
	}
	x, y := make([]float64, d.n), make([]float64, d.m)
	for i := range x {
		x[i] = d.numbers(random, false)
	}
	for i := range y {
		y[i] = d.numbers(random, true)
	}
	reference, current := drift.SampleOf(x), drift.SampleOf(y)
	edges := drift.DoaneEdges(present(x))
	cells := func(values []float64) []int64 {
		counts := drift.CountBins(drift.SampleOf(values), edges)
		return append(counts.Bins, counts.Below+counts.Above)
	}
	var chunks [][]int64
	size := max(1, d.n/drift.NannyMLChunks)
	for from := 0; from < d.n; from += size {
		chunks = append(chunks, cells(x[from:min(d.n, from+size)]))
	}
	return map[string]bool{
		"ours":             drift.CompareNumbers(reference, current).P <= nominal,
		"Evidently's rule": drift.EvidentlyNumbers(reference, current).Drift,
		"NannyML's rule":   drift.NannyML(cells(x), chunks, cells(y)).Drift,
	}
}

func present(values []float64) []float64 {
	var kept []float64
	for _, v := range values {
		if v == v {
			kept = append(kept, v)
		}
	}
	return kept
}

func (d draw) categoryAlarms(random *rand.Rand) map[string]bool {
	const most = 1001
	x, y := make([]int64, most+1), make([]int64, most+1)
	var chunks [][]int64
	size := max(1, d.n/drift.NannyMLChunks)
	for i := range d.n {
		if i%size == 0 {
			chunks = append(chunks, make([]int64, most+1))
		}
		name := d.names(random, false)
		x[name]++
		chunks[len(chunks)-1][name]++
	}
	for range d.m {
		y[d.names(random, true)]++
	}
	return map[string]bool{
		"ours":                drift.CompareCategories(x, y).P <= nominal,
		"Evidently's rule":    drift.EvidentlyCategories(x, y).Drift,
		"NannyML's rule":      drift.NannyML(x, chunks, y).Drift,
		"whylogs' chi-square": whylogsChiSquare(x, y),
	}
}

// whylogsChiSquare is goodness of fit with expected counts that are cut to whole numbers, K−1
// degrees of freedom with K the categories of current, and drift below 0.05.
func whylogsChiSquare(reference, current []int64) bool {
	n, m, kinds := int64(0), int64(0), 0
	for i := range reference {
		n, m = n+reference[i], m+current[i]
		if current[i] > 0 {
			kinds++
		}
	}
	statistic := 0.0
	for i := range reference {
		if reference[i] == 0 && current[i] == 0 {
			continue
		}
		expected := math.Floor(float64(reference[i]) / float64(n) * float64(m))
		if expected == 0 {
			return true // infinite
		}
		difference := float64(current[i]) - expected
		statistic += difference * difference / expected
	}
	return drift.ChiSquareSF(statistic, kinds-1) < nominal
}
