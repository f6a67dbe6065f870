package web

import (
	"cmp"
	"net/http"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// Limits on what a grouping answers.
const (
	usualRunGroups  = 100
	mostRunGroups   = 10_000
	mostRunGroupSum = 100 // metrics that are summed up
)

func (s *Server) groupRuns(r *http.Request) (driftline.FoundRunGroups, error) {
	asked, err := readJSON[driftline.RunGrouping](r)
	if err != nil {
		return driftline.FoundRunGroups{}, err
	}
	if asked.Limit < 0 || asked.Limit > mostRunGroups || asked.Offset < 0 {
		return driftline.FoundRunGroups{}, unfit("limit is %d and offset %d; a limit is at most %d, and neither is negative", asked.Limit, asked.Offset, mostRunGroups)
	}
	if len(asked.Metrics) > mostRunGroupSum {
		return driftline.FoundRunGroups{}, unfit("%d metrics are asked for, at most %d are summed up", len(asked.Metrics), mostRunGroupSum)
	}
	ids, err := s.experimentIDs(asked.Experiments)
	if err != nil {
		return driftline.FoundRunGroups{}, err
	}
	search := registry.Search{Filter: asked.Filter, Offset: asked.Offset, Limit: cmp.Or(asked.Limit, usualRunGroups)}
	if asked.Deleted {
		search.Stage = registry.DeletedStage
	}
	return s.engine.Registry().GroupRuns(ids, search, asked.By, asked.Metrics)
}
