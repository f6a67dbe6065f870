package registry

import (
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// Lineage of columns is not in the ledger's inputs: it follows from the definitions, and
// from what each dataset says of its own features. It goes
//
//	dataset ─► its column ─► feature ─► (feature, for what is aggregated or computed) ─► column of the view's table ─► view
//
// and is walked together with the graph of things, which it joins at datasets and views.

// columnEdges returns the edges between columns, features and what has them.
func (s *state) columnEdges() []driftline.LineageEdge {
	c := &columnEdges{seen: map[driftline.LineageEdge]bool{}}
	for _, name := range slices.Sorted(maps.Keys(s.views)) {
		c.addView(s.views[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.onDemand)) {
		c.addOnDemand(s, s.onDemand[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		service := s.services[name]
		for _, p := range service.Projections {
			for _, feature := range p.Features {
				c.add(driftline.ServiceRef(name), driftline.FeatureRef(s.meant(p.View), feature), "uses")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.datasets)) {
		for _, d := range s.datasets[name] {
			c.addDataset(d)
		}
	}
	c.addTold(s)
	return c.edges
}

type columnEdges struct {
	edges []driftline.LineageEdge
	seen  map[driftline.LineageEdge]bool
}

func (c *columnEdges) add(from, to driftline.Ref, kind string) {
	edge := driftline.LineageEdge{From: from, To: to, Kind: kind}
	if !c.seen[edge] {
		c.seen[edge] = true
		c.edges = append(c.edges, edge)
	}
}

func (c *columnEdges) addView(v *driftline.FeatureView) {
	for _, f := range v.Features {
		column := driftline.ColumnRef("features."+string(v.Name), f.Identity())
		c.add(driftline.FeatureRef(v.Name, f.Name), column, "stored in")
		c.add(column, driftline.ViewRef(v.Name), "column of")
	}
	for _, a := range v.Aggregations {
		for _, window := range a.Windows {
			feature := driftline.FeatureRef(v.Name, a.FeatureName(window))
			c.add(feature, driftline.ViewRef(v.Name), "feature of")
			for _, read := range []string{a.Column, a.By} {
				if read != "" {
					c.add(feature, driftline.FeatureRef(v.Name, read), "aggregates")
				}
			}
		}
	}
}

func (c *columnEdges) addOnDemand(s *state, v *driftline.OnDemandFeatureView) {
	inputs, err := s.inputs(v)
	for _, f := range v.Features {
		feature := driftline.FeatureRef(v.Name, f.Name)
		c.add(feature, driftline.ViewRef(v.Name), "feature of")
		if err != nil {
			continue
		}
		made, err := compileFeature(f, inputs)
		if err != nil { // a definition that an older build accepted
			continue
		}
		for _, i := range made.Reads() {
			if in := inputs[i]; in.source != nil {
				c.add(feature, driftline.FeatureRef(s.meant(in.source.View), in.column.Name), "computed from")
			}
		}
	}
}

func (c *columnEdges) addDataset(d *driftline.Dataset) {
	for _, p := range d.Projections {
		for _, name := range p.Features {
			column := driftline.ColumnRef(d.Table(), p.OutputName(name, d.Request.FullFeatureNames))
			c.add(column, driftline.FeatureRef(p.View.Stored(), name), "values of")
			c.add(d.Ref(), column, "has column")
		}
	}
}

// columnGraph is the lineage of columns, kept until a line changes what it follows from.
type columnGraph struct {
	edges    []driftline.LineageEdge
	up, down map[driftline.Ref][]driftline.LineageEdge // by From, and by To
}

// columnGraph returns the lineage of columns as of now. The caller holds published.
func (r *Registry) columnGraph() *columnGraph {
	if kept := r.columns.Load(); kept != nil {
		return kept
	}
	g := &columnGraph{edges: r.durable.columnEdges(), up: map[driftline.Ref][]driftline.LineageEdge{}, down: map[driftline.Ref][]driftline.LineageEdge{}}
	for _, e := range g.edges {
		g.up[e.From] = append(g.up[e.From], e)
		g.down[e.To] = append(g.down[e.To], e)
	}
	r.columns.Store(g) // another reader's is the same: nothing is shown while one reads
	return g
}

// changesColumns reports whether lines of a kind change the lineage of columns.
func changesColumns(kind Kind) bool {
	return defines(kind) || kind == DatasetSaved || kind == LineageReceived
}

// ColumnEdges returns every edge between columns, features and what has them.
func (r *Registry) ColumnEdges() []driftline.LineageEdge {
	r.published.RLock()
	defer r.published.RUnlock()
	return slices.Clone(r.columnGraph().edges)
}

// columnWalk walks the lineage of columns together with that of things.
type columnWalk struct {
	graph     *graph
	direction driftline.LineageDirection
	next      map[driftline.Ref][]driftline.LineageEdge // of columns, by the end that is nearer to the root
}

// newColumnWalk begins a walk. The caller holds published.
func (r *Registry) newColumnWalk(direction driftline.LineageDirection) *columnWalk {
	columns := r.columnGraph()
	if direction == driftline.Down {
		return &columnWalk{graph: r.graph, direction: direction, next: columns.down}
	}
	return &columnWalk{graph: r.graph, direction: direction, next: columns.up}
}

func (w *columnWalk) ends(e driftline.LineageEdge) (near, far driftline.Ref) {
	if w.direction == driftline.Down {
		return e.To, e.From
	}
	return e.From, e.To
}

func (w *columnWalk) from(ref driftline.Ref) []driftline.LineageEdge {
	edges := slices.Clone(w.next[ref])
	if at, ok := w.graph.number[ref]; ok {
		for _, other := range w.graph.neighbours(at, w.direction) {
			edges = append(edges, w.graph.edge(at, other, w.direction))
		}
	}
	return edges
}

// walk is [graph.walk] from several roots.
func (w *columnWalk) walk(depth int, roots ...driftline.Ref) (refs []driftline.Ref, edges []driftline.LineageEdge) {
	seen := map[driftline.Ref]bool{}
	for _, root := range roots {
		seen[root] = true
	}
	refs, level := slices.Clone(roots), roots
	edges = []driftline.LineageEdge{}
	for step := 0; len(level) > 0 && (depth <= 0 || step < depth); step++ {
		var next []driftline.Ref
		for _, at := range level {
			for _, e := range w.from(at) {
				edges = append(edges, e)
				if _, far := w.ends(e); !seen[far] {
					seen[far] = true
					next, refs = append(next, far), append(refs, far)
				}
			}
		}
		level = next
	}
	return refs, edges
}

// isColumn reports whether ref is of the lineage of columns.
func isColumn(ref driftline.Ref) bool {
	return ref.Kind == driftline.KindFeature || ref.Kind == driftline.KindColumn
}

// checkColumn refuses a feature or column that the lineage of columns does not speak of.
func (r *Registry) checkColumn(ref driftline.Ref) error {
	columns := r.columnGraph()
	if len(columns.up[ref])+len(columns.down[ref]) > 0 {
		return nil
	}
	var known []string
	for _, e := range columns.edges {
		for _, end := range []driftline.Ref{e.From, e.To} {
			if end.Kind == ref.Kind {
				known = append(known, end.Name)
			}
		}
	}
	slices.Sort(known)
	hint := "write it like feature/weather:temp"
	if ref.Kind == driftline.KindColumn {
		hint = "write it like column/datasets.late_departure_v1:temp, or column/features.weather:temp"
	}
	return unknown(string(ref.Kind), ref.Name, slices.Compact(known), hint).WithRef(ref)
}
