package web

import (
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// Sizes of a table of runs in groups.
const (
	groupsPerPage  = 50
	maxOpenGroups  = 20
	runsOfOpenPage = 20 // of a group that is open; its link leads to all
)

// runGroups is the table of runs in groups.
type runGroups struct {
	Metrics []string
	Groups  []shownGroup
	Total   int
}

// shownGroup is a group in the table, with its newest runs if it is open.
type shownGroup struct {
	driftline.RunGroup
	Open   bool
	Turn   string // address that opens or closes it
	All    string // address of all its runs
	Shown  []driftline.Run
	Hidden int // runs that are not among Shown
}

// openName names a group in the address, so that a value "" and no value are two.
func openName(g *driftline.RunGroup) string {
	if g.Missing {
		return "none"
	}
	return "=" + g.Value
}

// groupBy is what the address groups by, in the language of searches.
func (q runsQuery) groupBy() string {
	if kind, key, ok := strings.Cut(q.Group, "."); ok {
		return kind + ".`" + strings.ReplaceAll(key, "`", "``") + "`"
	}
	return q.Group
}

// chosenMetrics are the keys of the metrics among the chosen columns.
func (q runsQuery) chosenMetrics() []string {
	var keys []string
	for _, name := range q.Chosen {
		if key, ok := strings.CutPrefix(name, "metrics."); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// findGroups fills the page with what its query finds, in groups.
func (s *Server) findGroups(p *runsPage, ids []driftline.ExperimentID, stage registry.Stage) error {
	search := registry.Search{Filter: p.Filter, Stage: stage, Offset: (p.Page - 1) * groupsPerPage, Limit: groupsPerPage}
	found, err := s.engine.Registry().GroupRuns(ids, search, p.groupBy(), p.chosenMetrics())
	if err != nil {
		return err
	}
	p.More, p.Grouped = found.More, &runGroups{Metrics: found.Metrics, Total: found.Total}
	for _, g := range found.Groups {
		shown, err := s.showGroup(&p.runsQuery, g, ids, stage)
		if err != nil {
			return err
		}
		p.Grouped.Groups = append(p.Grouped.Groups, shown)
	}
	return nil
}

func (s *Server) showGroup(q *runsQuery, g driftline.RunGroup, ids []driftline.ExperimentID, stage registry.Stage) (shownGroup, error) {
	name := openName(&g)
	shown := shownGroup{RunGroup: g, Open: slices.Contains(q.Opened, name)}
	turned, all := *q, *q
	if shown.Open {
		turned.Opened = slices.DeleteFunc(slices.Clone(q.Opened), func(open string) bool { return open == name })
	} else {
		turned.Opened = append(slices.Clone(q.Opened), name)
	}
	all.Filter, all.Group, all.Opened, all.Page = g.Filter, "", nil, 1
	shown.Turn, shown.All = turned.URL(), all.URL()
	if !shown.Open {
		return shown, nil
	}
	runs, total, err := s.engine.Registry().SearchRuns(ids, registry.Search{Filter: g.Filter, OrderBy: q.orderBy(), Stage: stage, Limit: runsOfOpenPage})
	shown.Shown, shown.Hidden = runs, total-len(runs)
	return shown, err
}
