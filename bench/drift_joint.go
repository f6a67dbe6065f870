package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/driftline/driftline/drift"
)

// jointDraw is a table of normal columns whose first two are correlated.
type jointDraw struct {
	name          string
	columns, rows int
	before, now   float64 // their correlation
	ours          string  // classifier or mmd
	times         int     // that it is drawn
}

// jointNull are tables that do not change, jointChanges those whose columns change only by how they
// hang together.
var (
	jointNull = []jointDraw{
		{"4 columns", 4, 500, 0.3, 0.3, "classifier", 10_000},
		{"4 columns", 4, 20_000, 0.3, 0.3, "classifier", 1000},
		{"10 columns", 10, 5000, 0.3, 0.3, "classifier", 1000},
		{"4 columns", 4, 500, 0.3, 0.3, "mmd", 500},
	}
	jointChanges = []jointDraw{
		{"correlation 0 to 0.2, 4 columns", 4, 20_000, 0, 0.2, "classifier", 200},
		{"correlation 0.5 to 0.6, 4 columns", 4, 20_000, 0.5, 0.6, "classifier", 200},
		{"correlation 0 to 0.2, 10 columns", 10, 20_000, 0, 0.2, "classifier", 200},
		{"correlation 0 to 0.8, 4 columns", 4, 5000, 0, 0.8, "mmd", 100},
	}
)

// jointRates counts alarms of all columns together, beside those of rules that look at
// one column at a time. With a rate of false alarms, ours must not be above the band of it;
// without, they are of drift, and ours must be 95 % at least.
func (b *bench) jointRates(ctx context.Context, draws []jointDraw, rate float64) error {
	for _, d := range draws {
		replications := pick(b, 20, d.times)
		if b.quick {
			d.rows = min(d.rows, 2000)
		}
		random := rand.New(rand.NewPCG(uint64(d.columns), uint64(d.rows)))
		ours, ks, theirs := 0.0, 0.0, 0.0
		for i := range replications {
			if err := ctx.Err(); err != nil {
				return err
			}
			reference, current := d.draw(random, d.before), d.draw(random, d.now)
			ours += indicator(d.p(reference, current, uint64(i)) <= nominal)
			single, evidently := eachColumn(reference, current)
			ks += indicator(single)
			theirs += indicator(evidently)
		}
		n := float64(replications)
		kept := b.quick || ours >= 0.95*n
		if rate > 0 {
			kept = ours <= n*rate+2.576*math.Sqrt(n*rate*(1-rate))+0.5
		}
		name := fmt.Sprintf("%s, %s, %s v %s (%s times)", d.ours, d.name, count(d.rows), count(d.rows), count(replications))
		percent := func(alarms float64) *float64 {
			share := 100 * alarms / n
			return &share
		}
		b.keep(row{Workload: name, Peer: "ours, column by column", Unit: "% alarms", Ours: percent(ours), Theirs: percent(ks), SameAnswer: kept, Pairs: 1, Uncompared: true})
		b.keep(row{Workload: name, Peer: "Evidently's rule, any column", Unit: "% alarms", Ours: percent(ours), Theirs: percent(theirs), SameAnswer: kept, Pairs: 1, Uncompared: true})
	}
	return nil
}

func indicator(yes bool) float64 { return float64(oneIf(yes)) }

func (d jointDraw) draw(random *rand.Rand, correlation float64) drift.Table {
	table := make(drift.Table, d.columns)
	for c := range table {
		table[c] = make([]float64, d.rows)
		for i := range table[c] {
			table[c][i] = random.NormFloat64()
			if c == 1 {
				table[c][i] = correlation*table[0][i] + math.Sqrt(1-correlation*correlation)*table[c][i]
			}
		}
	}
	return table
}

// p is that of the test of all columns, as the engine makes it.
func (d jointDraw) p(reference, current drift.Table, seed uint64) float64 {
	x, y := drift.NormalScores(reference, current)
	if d.ours == "mmd" {
		return drift.MMD(x, y, 1, seed).P
	}
	names := make([]string, d.columns)
	for i := range names {
		names[i] = fmt.Sprint("x", i)
	}
	return drift.Classifier(x, y, names, seed).P
}

// eachColumn asks our rules for columns, corrected for their number, and Evidently's.
func eachColumn(reference, current drift.Table) (ours, evidently bool) {
	p := make([]float64, len(reference))
	for c := range reference {
		x, y := drift.SampleOf(reference[c]), drift.SampleOf(current[c])
		p[c] = drift.CompareNumbers(x, y).P
		evidently = evidently || drift.EvidentlyNumbers(x, y).Drift
	}
	for _, q := range drift.AdjustBH(p) {
		ours = ours || q <= nominal
	}
	return ours, evidently
}
