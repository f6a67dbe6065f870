package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// Lineage is the registry's, and that of single predictions, which are rows and no nodes: a
// prediction leads up to the log that has it and to the model version that made it.
func (e *Engine) Lineage(ctx context.Context, ref driftline.Ref, direction driftline.LineageDirection, depth int) (driftline.Lineage, error) {
	if ref.Kind != driftline.KindPrediction {
		return e.registry.Lineage(ref, direction, depth)
	}
	if err := registry.CheckWalk(direction, depth); err != nil {
		return driftline.Lineage{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Lineage{}, err
	}
	defer e.end()
	ref = driftline.PredictionRef(strings.TrimPrefix(ref.String(), string(driftline.KindPrediction)+"/")) // an id may have an @
	log, row, err := e.findPrediction(ctx, driftline.PredictionQuery{Prediction: ref.Name})
	if err != nil {
		return driftline.Lineage{}, err
	}
	defer row.Release()
	found := driftline.Lineage{Root: ref, Nodes: []driftline.LineageNode{{Ref: ref, Facts: rowFacts(row)}}, Edges: []driftline.LineageEdge{}}
	if direction == driftline.Down {
		return found, nil // nothing is made from a prediction
	}
	for _, from := range madeBy(ref, log, row) {
		part, err := e.registry.Lineage(from.To, driftline.Up, max(0, depth-1))
		if driftline.CodeOf(err) == driftline.NotFound {
			continue // deleted since
		}
		if err != nil {
			return driftline.Lineage{}, err
		}
		if depth == 1 {
			part.Nodes, part.Edges = part.Nodes[:1], nil
		}
		from.To = part.Root
		found.Edges = append(found.Edges, from)
		join(&found, part)
	}
	return found, nil
}

// madeBy are the edges of a prediction: to the version that the row names, and to its log.
func madeBy(root driftline.Ref, log *driftline.FeatureView, row arrow.RecordBatch) []driftline.LineageEdge {
	values := rowTexts(row, 0)
	edges := []driftline.LineageEdge{{From: root, To: driftline.ViewRef(log.Name), Kind: "logged in"}}
	version, err := strconv.Atoi(values[log.Predictions.Version])
	if model := values[log.Predictions.Model]; model != "" && err == nil && version > 0 {
		edges = append(edges, driftline.LineageEdge{From: root, To: driftline.ModelRef(driftline.ModelName(model), version), Kind: "made by"})
	}
	slices.Reverse(edges) // the model first
	return edges
}

// rowFacts are the first values of a prediction.
func rowFacts(row arrow.RecordBatch) map[string]string {
	const most = 8
	values, facts := rowTexts(row, 0), map[string]string{}
	for _, f := range row.Schema().Fields() {
		if value, ok := values[f.Name]; ok && len(facts) < most {
			facts[f.Name] = value
		}
	}
	return facts
}

// join adds what a lineage does not have yet.
func join(to *driftline.Lineage, part driftline.Lineage) {
	for _, node := range part.Nodes {
		if !slices.ContainsFunc(to.Nodes, func(n driftline.LineageNode) bool { return n.Ref == node.Ref }) {
			to.Nodes = append(to.Nodes, node)
		}
	}
	for _, edge := range part.Edges {
		if !slices.Contains(to.Edges, edge) {
			to.Edges = append(to.Edges, edge)
		}
	}
}
