package registry

import (
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// Copies for readers, which share nothing that can be written through.

func cloneEntity(e *driftline.Entity) *driftline.Entity {
	out := *e
	out.JoinKeys, out.Tags = slices.Clone(e.JoinKeys), maps.Clone(e.Tags)
	return &out
}

func cloneView(v *driftline.FeatureView) *driftline.FeatureView {
	out := *v
	out.Entities, out.Features = slices.Clone(v.Entities), slices.Clone(v.Features)
	out.JoinKeys, out.Tags = slices.Clone(v.JoinKeys), maps.Clone(v.Tags)
	if v.Source != nil {
		source := *v.Source
		out.Source = &source
	}
	return &out
}

func cloneService(s *driftline.FeatureService) *driftline.FeatureService {
	out := *s
	out.Projections, out.Tags = cloneProjections(s.Projections), maps.Clone(s.Tags)
	return &out
}

func cloneProjections(projections []driftline.Projection) []driftline.Projection {
	out := slices.Clone(projections)
	for i := range out {
		out[i] = cloneProjection(out[i])
	}
	return out
}

func cloneProjection(p driftline.Projection) driftline.Projection {
	p.Features, p.JoinKeyMap = slices.Clone(p.Features), maps.Clone(p.JoinKeyMap)
	return p
}

func cloneSnapshot(s *Snapshot) *Snapshot {
	out := *s
	out.Files = slices.Clone(s.Files)
	return &out
}

func cloneDataset(d *driftline.Dataset) *driftline.Dataset {
	out := *d
	out.Request.Projections = cloneProjections(d.Request.Projections)
	out.Request.Features = slices.Clone(d.Request.Features)
	out.Report.Pins = slices.Clone(d.Report.Pins)
	out.Report.Columns = slices.Clone(d.Report.Columns)
	return &out
}
