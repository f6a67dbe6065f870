package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// layers is a graph of runs: of each layer the runs were made from some of the layer before.
// Neighbours share most of what they were made from, as those of a team do.
type layers struct {
	Wide   int `json:"wide"`   // runs in a layer
	Hops   int `json:"hops"`   // layers beside the first
	Inputs int `json:"inputs"` // of each run
}

func (l layers) edges() int { return l.Wide * l.Hops * l.Inputs }

// run is the id of run i of a layer, which says its number, counted over all layers.
func (l layers) run(layer, i int) driftline.RunID {
	return driftline.RunID(fmt.Sprintf("n-%d", layer*l.Wide+i%l.Wide))
}

// last is the run whose lineage is asked for.
func (l layers) last() driftline.RunID { return l.run(l.Hops, 7) }

// fill makes the runs of one layer after the other, since inputs must be there.
func (l layers) fill(ctx context.Context, s *server) error {
	for layer := range l.Hops + 1 {
		err := inParallel(trackingClients, l.Wide, func(i int) error {
			spec := driftline.RunSpec{ID: l.run(layer, i), Experiment: "lineage"}
			for j := range l.Inputs {
				if layer > 0 {
					spec.Inputs = append(spec.Inputs, driftline.RunRef(l.run(layer-1, i+j)))
				}
			}
			_, err := s.client.CreateRun(ctx, spec)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mostLineage is what a walk of eight hops in a graph of a million edges may take.
const mostLineage = 20 // ms

// trackingLineage asks our server over HTTP, and databases in the process that asks them.
func trackingLineage(ctx context.Context, b *bench) error {
	l := layers{Wide: pick(b, 20, 15_625), Hops: 8, Inputs: 8}
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := l.fill(ctx, s); err != nil {
		return err
	}
	b.progress("%s runs with %s edges were made in %.1f s", count(l.Wide*(l.Hops+1)), count(l.edges()), time.Since(start).Seconds())
	w := workload{name: fmt.Sprintf("lineage, %d hops of %s edges", l.Hops, count(l.edges())), unit: "ms"}
	ours := side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) { return l.walk(ctx, s) }}
	for _, engine := range []string{"DuckDB", "SQLite"} {
		spec := peerSpec{name: engine + ", WITH RECURSIVE", module: "lineage_sql", config: map[string]any{"engine": engine, "layers": l}}
		if err := b.comparePeer(ctx, w, ours, spec); err != nil {
			return err
		}
	}
	return b.within(ctx, w, ours, mostLineage)
}

// walk asks for all that the last run was made from. The answer is how many runs and edges
// that are, and a sum in which each edge has its part.
func (l layers) walk(ctx context.Context, s *server) (measured, error) {
	start := time.Now()
	found, err := s.client.Lineage(ctx, driftline.RunRef(l.last()), driftline.Up, l.Hops)
	if err != nil {
		return measured{}, err
	}
	took, sum := time.Since(start), 0
	for _, e := range found.Edges {
		from, err := numberOf(e.From)
		if err != nil {
			return measured{}, err
		}
		to, err := numberOf(e.To)
		if err != nil {
			return measured{}, err
		}
		sum += from*1009 + to
	}
	return measured{value: milliseconds(took), answer: answer{Rows: int64(len(found.Edges)), Numbers: []exactReal{exactReal(len(found.Nodes)), exactReal(sum)}}}, nil
}

// numberOf is the number that the id of a run says.
func numberOf(ref driftline.Ref) (int, error) {
	return strconv.Atoi(strings.TrimPrefix(ref.Name, "n-"))
}
