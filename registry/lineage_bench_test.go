package registry

import (
	"fmt"
	"testing"

	"github.com/driftline/driftline"
)

// layers is a graph of nine layers of nodes, each made from eight of the layer before:
// 1,000,000 edges, and 8 hops from the last layer to the first.
func layers() *graph {
	const wide, hops, inputs = 15_625, 8, 8
	g := newGraph()
	at := func(layer, i int) driftline.Ref {
		return driftline.RunRef(driftline.RunID(fmt.Sprintf("l%d-%d", layer, i%wide)))
	}
	for layer := 1; layer <= hops; layer++ {
		for i := range wide {
			line := &Line{Kind: RunCreated, Ref: at(layer, i)}
			for j := range inputs {
				// Neighbours share most of their inputs, as the datasets of a team do.
				line.Inputs = append(line.Inputs, at(layer-1, i+j))
			}
			g.add(line)
		}
	}
	return g
}

func TestAMillionEdgesAreWalkedEightHops(t *testing.T) {
	g := layers()
	edges := 0
	for _, up := range g.up {
		edges += len(up)
	}
	if edges != 1_000_000 {
		t.Fatalf("%d edges", edges)
	}
	refs, met := g.walk(driftline.RunRef("l8-7"), driftline.Up, 8)
	// At hop h there are 7h+1 nodes, and eight edges lead on from each.
	if len(refs) != 9+7*36 || len(met) != 8*(8+7*28) {
		t.Errorf("8 hops met %d nodes and %d edges", len(refs), len(met))
	}
}

func BenchmarkLineageEightHops(b *testing.B) {
	g := layers()
	for b.Loop() {
		g.walk(driftline.RunRef("l8-7"), driftline.Up, 8)
	}
}
