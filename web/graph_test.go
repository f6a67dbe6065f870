package web

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline"
)

// Whatever the graph: every box is inside the picture and on no other box, every
// node of the layers is drawn or summed up, and the root is the first.
func TestLineagePictureHasNoOverlaps(t *testing.T) {
	kinds := []driftline.RefKind{driftline.KindRun, driftline.KindDataset, driftline.KindSnapshot, driftline.KindFile}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		l := driftline.Lineage{Root: driftline.ModelRef("late", 1)}
		l.Nodes = []driftline.LineageNode{{Ref: l.Root}}
		for i := range random.IntN(60) {
			ref := driftline.Ref{Kind: kinds[random.IntN(len(kinds))], Name: fmt.Sprint("n", i), Version: "1"}
			for range 1 + random.IntN(3) {
				l.Edges = append(l.Edges, driftline.LineageEdge{From: l.Nodes[random.IntN(len(l.Nodes))].Ref, To: ref})
			}
			l.Nodes = append(l.Nodes, driftline.LineageNode{Ref: ref})
		}
		g := drawLineage(l, driftline.Up)
		if !g.Nodes[0].Root {
			t.Fatalf("seed %d: the first node is %s", seed, g.Nodes[0].Title)
		}
		for i, a := range g.Nodes {
			if a.X < 0 || a.Y < 0 || a.X+nodeWidth > g.Width || a.Y+nodeHeight > g.Height {
				t.Fatalf("seed %d: %s at %d,%d is outside %dx%d", seed, a.Title, a.X, a.Y, g.Width, g.Height)
			}
			for _, b := range g.Nodes[:i] {
				if abs(a.X-b.X) < nodeWidth && abs(a.Y-b.Y) < nodeHeight {
					t.Fatalf("seed %d: %s and %s overlap", seed, a.Title, b.Title)
				}
			}
		}
	}
}

func abs(n int) int { return max(n, -n) }

func TestACycleIsDrawnAndNotFollowedForEver(t *testing.T) {
	a, b := driftline.RunRef("a"), driftline.RunRef("b")
	l := driftline.Lineage{Root: a, Nodes: []driftline.LineageNode{{Ref: a}, {Ref: b}},
		Edges: []driftline.LineageEdge{{From: a, To: b}, {From: b, To: a}}}
	if g := drawLineage(l, driftline.Up); len(g.Nodes) != 2 {
		t.Errorf("%d nodes, want 2", len(g.Nodes))
	}
}
