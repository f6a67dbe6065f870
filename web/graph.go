package web

import (
	"fmt"
	"slices"

	"github.com/driftline/driftline"
)

// graph is the picture of a lineage: layers from left to right, the thing that
// was asked for first, each node as far right as its longest way from there.
//
//	model ── run ── dataset ─┬─ snapshot ── file
//	                         └─ snapshot ── file
type graph struct {
	Width, Height int
	Nodes         []graphNode
	Edges         []graphEdge
}

type graphNode struct {
	X, Y  int // the upper left corner
	Kind  string
	Title string
	Note  string
	URL   string
	Root  bool
}

type graphEdge struct {
	Path string // of an SVG path
	Kind string
}

// The geometry of the picture.
const (
	nodeWidth  = 196
	nodeHeight = 58
	columnStep = 256
	rowStep    = 74
	graphEdgeY = nodeHeight / 2
	border     = 8
	maxRows    = 12 // of one layer; the rest is summed up in one node
)

// drawLineage lays out l. Edges of l point from a thing to what it was made
// from; walked down, the picture follows them backwards.
func drawLineage(l driftline.Lineage, direction driftline.LineageDirection) graph {
	next := map[driftline.Ref][]driftline.Ref{}
	for _, e := range l.Edges {
		from, to := e.From, e.To
		if direction == driftline.Down {
			from, to = to, from
		}
		next[from] = append(next[from], to)
	}
	layers := layered(l, next)
	g := graph{}
	place := map[driftline.Ref][2]int{}
	tallest := 0
	for _, layer := range layers {
		tallest = max(tallest, min(len(layer), maxRows+1))
	}
	for column, layer := range layers {
		g.placeLayer(column, tallest, layer, place, l.Root)
	}
	g.Width = len(layers)*columnStep - (columnStep - nodeWidth) + 2*border
	g.Height = tallest*rowStep - (rowStep - nodeHeight) + 2*border
	g.connect(l, direction, place)
	return g
}

// layered groups the nodes by their longest way from the root. Breadth-first
// order within a layer keeps what belongs together near each other.
func layered(l driftline.Lineage, next map[driftline.Ref][]driftline.Ref) [][]driftline.LineageNode {
	depth := map[driftline.Ref]int{l.Root: 0}
	// A ledger line's inputs are older than itself, so there is no cycle; the
	// bound holds even if there were one.
	for range len(l.Nodes) {
		changed := false
		for _, node := range l.Nodes {
			at, known := depth[node.Ref]
			if !known {
				continue
			}
			for _, to := range next[node.Ref] {
				if at+1 > depth[to] && at+1 < len(l.Nodes) {
					depth[to], changed = at+1, true
				}
			}
		}
		if !changed {
			break
		}
	}
	var layers [][]driftline.LineageNode
	for _, node := range l.Nodes {
		for len(layers) <= depth[node.Ref] {
			layers = append(layers, nil)
		}
		layers[depth[node.Ref]] = append(layers[depth[node.Ref]], node)
	}
	return slices.DeleteFunc(layers, func(layer []driftline.LineageNode) bool { return len(layer) == 0 })
}

func (g *graph) placeLayer(column, tallest int, layer []driftline.LineageNode, place map[driftline.Ref][2]int, root driftline.Ref) {
	shown := layer
	if len(layer) > maxRows+1 {
		shown = layer[:maxRows]
	}
	rows := len(shown)
	if len(shown) < len(layer) {
		rows++
	}
	x := border + column*columnStep
	top := border + (tallest-rows)*rowStep/2
	for i, node := range shown {
		y := top + i*rowStep
		place[node.Ref] = [2]int{x, y}
		g.Nodes = append(g.Nodes, graphNode{X: x, Y: y, Kind: string(node.Ref.Kind), Title: fit(nodeTitle(node.Ref)),
			Note: fit(nodeNote(node.Facts)), URL: refURL(node.Ref), Root: node.Ref == root})
	}
	if rest := layer[len(shown):]; len(rest) > 0 {
		y := top + len(shown)*rowStep
		for _, node := range rest {
			place[node.Ref] = [2]int{x, y}
		}
		g.Nodes = append(g.Nodes, graphNode{X: x, Y: y, Kind: string(rest[0].Ref.Kind),
			Title: fmt.Sprintf("and %d more", len(rest)), Note: "listed below", URL: "#list"})
	}
}

// connect draws each edge once, even where many nodes were summed up in one.
func (g *graph) connect(l driftline.Lineage, direction driftline.LineageDirection, place map[driftline.Ref][2]int) {
	drawn := map[string]bool{}
	for _, e := range l.Edges {
		left, right := e.From, e.To
		if direction == driftline.Down {
			left, right = right, left
		}
		a, okA := place[left]
		b, okB := place[right]
		if !okA || !okB {
			continue
		}
		x1, y1, x2, y2 := a[0]+nodeWidth, a[1]+graphEdgeY, b[0], b[1]+graphEdgeY
		bend := (x2 - x1) / 2
		line := fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
		if !drawn[line] {
			drawn[line] = true
			g.Edges = append(g.Edges, graphEdge{Path: line, Kind: e.Kind})
		}
	}
}

func nodeTitle(ref driftline.Ref) string {
	switch ref.Kind {
	case driftline.KindSnapshot:
		return ref.Name
	case driftline.KindFile, driftline.KindArtifact:
		if ref.Version != "" {
			return shortText(ref.Version)
		}
		return shortText(ref.Name)
	}
	if ref.Version != "" {
		return ref.Name + " @" + ref.Version
	}
	return ref.Name
}

// nodeNote is the one fact that is worth its place in the picture.
func nodeNote(facts map[string]string) string {
	for _, key := range []string{"rows", "status", "size", "path", "version"} {
		if value, ok := facts[key]; ok {
			if key == "rows" {
				return countText(value) + " rows"
			}
			return value
		}
	}
	return ""
}

// fit cuts a text to what a node can show.
func fit(s string) string {
	const most = 24
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
