package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/driftline/driftline"
)

// graph is the picture of a lineage: layers from top to bottom, the thing that
// was asked for first, each node as far down as its longest way from there. Rows
// begin at the left, so that a narrow screen shows how the story begins.
//
//	model
//	 │
//	run
//	 │
//	dataset
//	 ├────────────┐
//	snapshot   snapshot
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
	nodeWidth  = 176
	nodeHeight = 58
	columnStep = 190
	rowStep    = 96 // between layers
	wrapStep   = 68 // between rows of one layer
	border     = 24
	perRow     = 5
	maxShown   = 3 * perRow // of one layer; the rest is summed up in one node
)

// drawLineage lays out l. Edges of l point from a thing to what it was made
// from; walked down, the picture follows them backwards.
func drawLineage(l driftline.Lineage, direction driftline.LineageDirection) graph {
	next := map[driftline.Ref][]driftline.Ref{}
	for _, e := range l.Edges {
		from, to := along(e, direction)
		next[from] = append(next[from], to)
	}
	g := graph{}
	place := map[driftline.Ref]graphPlace{}
	y := border
	for depth, layer := range layered(l, next) {
		rows := g.placeLayer(depth, y, beneath(layer, next, place), place, l.Root)
		y += rowStep + (rows-1)*wrapStep
	}
	for _, node := range g.Nodes {
		g.Width = max(g.Width, node.X+nodeWidth+border)
	}
	g.Height = y - rowStep + nodeHeight + border
	g.connect(l, direction, place)
	return g
}

// graphPlace is where a node stands, or the node that stands for it.
type graphPlace struct{ x, y, depth, column int }

// wanted is a node of a layer and the column in which it would stand straight
// beneath what leads to it.
type wanted struct {
	driftline.LineageNode
	column float64
}

// beneath orders a layer by where its nodes' predecessors stand, which keeps
// edges short and from crossing.
func beneath(layer []driftline.LineageNode, next map[driftline.Ref][]driftline.Ref, place map[driftline.Ref]graphPlace) []wanted {
	sum, count := map[driftline.Ref]float64{}, map[driftline.Ref]float64{}
	for from, tos := range next {
		p, placed := place[from]
		for _, to := range tos {
			if placed {
				sum[to], count[to] = sum[to]+float64(p.column), count[to]+1
			}
		}
	}
	ordered := make([]wanted, len(layer))
	for i, node := range layer {
		ordered[i] = wanted{LineageNode: node, column: sum[node.Ref] / max(1, count[node.Ref])}
	}
	slices.SortStableFunc(ordered, func(a, b wanted) int { return cmp.Compare(a.column, b.column) })
	return ordered
}

// columnsOf gives each node of a row the column it wants, or the next free one.
func columnsOf(row []wanted) []int {
	columns, free := make([]int, len(row)), 0
	for i, node := range row {
		column := max(free, int(math.Round(node.column)))
		columns[i] = min(column, perRow-(len(row)-i))
		free = columns[i] + 1
	}
	return columns
}

// along is an edge in the direction of the walk.
func along(e driftline.LineageEdge, direction driftline.LineageDirection) (from, to driftline.Ref) {
	if direction == driftline.Down {
		return e.To, e.From
	}
	return e.From, e.To
}

// layered groups the nodes by their longest way from the root; what does not fit
// in one row is split by kind.
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
	byDepth := make([][]driftline.LineageNode, len(l.Nodes))
	for _, node := range l.Nodes {
		byDepth[depth[node.Ref]] = append(byDepth[depth[node.Ref]], node)
	}
	var layers [][]driftline.LineageNode
	for _, layer := range byDepth {
		layers = append(layers, splitByKind(layer)...)
	}
	return layers
}

// splitByKind returns a layer as one, if it fits in a row, or by kind. An empty
// layer gives none.
func splitByKind(layer []driftline.LineageNode) [][]driftline.LineageNode {
	slices.SortStableFunc(layer, func(a, b driftline.LineageNode) int { return cmp.Compare(a.Ref.Kind, b.Ref.Kind) })
	var parts [][]driftline.LineageNode
	for i, node := range layer {
		if i == 0 || len(layer) > perRow && node.Ref.Kind != layer[i-1].Ref.Kind {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], node)
	}
	return parts
}

// placeLayer puts a layer in rows from y on, and returns how many rows it took.
func (g *graph) placeLayer(depth, y int, layer []wanted, place map[driftline.Ref]graphPlace, root driftline.Ref) int {
	var rest []wanted
	if len(layer) > maxShown {
		layer, rest = layer[:maxShown-1], layer[maxShown-1:]
	}
	rows := 0
	for row := range slices.Chunk(layer, perRow) {
		for i, column := range columnsOf(row) {
			p := graphPlace{x: border + column*columnStep, y: y + rows*wrapStep, depth: depth, column: column}
			g.addNode(row[i].LineageNode, p, row[i].Ref == root)
			place[row[i].Ref] = p
		}
		rows++
	}
	if len(rest) > 0 {
		p := graphPlace{x: border + (perRow-1)*columnStep, y: y + (rows-1)*wrapStep, depth: depth, column: perRow - 1}
		for _, node := range rest {
			place[node.Ref] = p
		}
		g.Nodes = append(g.Nodes, graphNode{X: p.x, Y: p.y, Kind: string(rest[0].Ref.Kind),
			Title: fmt.Sprintf("and %d more", len(rest)), Note: "listed below", URL: "#list"})
	}
	return rows
}

func (g *graph) addNode(node driftline.LineageNode, p graphPlace, root bool) {
	g.Nodes = append(g.Nodes, graphNode{X: p.x, Y: p.y, Kind: string(node.Ref.Kind), Title: fit(nodeTitle(node.Ref)),
		Note: fit(nodeNote(node.Facts)), URL: refURL(node.Ref), Root: root})
}

// connect draws each edge once, even where many nodes were summed up in one. An
// edge to a later layer of the same column goes around on the left.
func (g *graph) connect(l driftline.Lineage, direction driftline.LineageDirection, place map[driftline.Ref]graphPlace) {
	drawn := map[string]bool{}
	for _, e := range l.Edges {
		from, to := along(e, direction)
		a, okA := place[from]
		b, okB := place[to]
		if !okA || !okB {
			continue
		}
		x1, y1, x2, y2 := a.x+nodeWidth/2, a.y+nodeHeight, b.x+nodeWidth/2, b.y
		line := fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+(y2-y1)/2, x2, y2-(y2-y1)/2, x2, y2)
		if b.depth-a.depth > 1 && a.x == b.x {
			y1, y2 = a.y+nodeHeight/2, b.y+nodeHeight/2
			line = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", a.x, y1, a.x-border, y1, b.x-border, y2, b.x, y2)
		}
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
	for _, key := range []string{"rows", "aliases", "status", "path", "keys"} {
		if value, ok := facts[key]; ok && value != "" {
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
	const most = 20
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
