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
	out.Aggregations = slices.Clone(v.Aggregations)
	for i, a := range out.Aggregations {
		out.Aggregations[i].Windows = slices.Clone(a.Windows)
	}
	if v.History != nil {
		history := *v.History
		out.History = &history
	}
	if v.Predictions != nil {
		predictions := *v.Predictions
		predictions.Fields = slices.Clone(predictions.Fields)
		out.Predictions = &predictions
	}
	if v.Source != nil {
		source := *v.Source
		out.Source = &source
	}
	return &out
}

func cloneOnDemand(v *driftline.OnDemandFeatureView) *driftline.OnDemandFeatureView {
	out := *v
	out.Sources, out.Tags = cloneProjections(v.Sources), maps.Clone(v.Tags)
	out.Request, out.Features = slices.Clone(v.Request), slices.Clone(v.Features)
	return &out
}

func cloneService(s *driftline.FeatureService) *driftline.FeatureService {
	out := *s
	out.Projections, out.Tags = cloneProjections(s.Projections), maps.Clone(s.Tags)
	return &out
}

func cloneMonitor(m *driftline.Monitor) *driftline.Monitor {
	out := *m
	out.Segments, out.Tags, out.Slices.By = slices.Clone(m.Segments), maps.Clone(m.Tags), slices.Clone(m.Slices.By)
	out.Alert.Channels = slices.Clone(m.Alert.Channels)
	return &out
}

func clonePreset(p *driftline.Preset) *driftline.Preset {
	out := *p
	out.Tests, out.Tags = slices.Clone(p.Tests), maps.Clone(p.Tags)
	return &out
}

func cloneValidation(v *driftline.Validation) *driftline.Validation {
	out := *v
	out.Checks, out.Tags = slices.Clone(v.Checks), maps.Clone(v.Tags)
	return &out
}

// clonePolicy returns a policy of its own. What its parts point to is never written through.
func clonePolicy(p *driftline.Policy) *driftline.Policy {
	out := *p
	out.Triggers, out.Notices, out.Tags = slices.Clone(p.Triggers), slices.Clone(p.Notices), maps.Clone(p.Tags)
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
	out.Projections = cloneProjections(d.Projections)
	out.Views = slices.Clone(d.Views)
	for i := range out.Views {
		out.Views[i] = *cloneView(&out.Views[i])
	}
	out.OnDemandViews = slices.Clone(d.OnDemandViews)
	for i := range out.OnDemandViews {
		out.OnDemandViews[i] = *cloneOnDemand(&out.OnDemandViews[i])
	}
	out.Statistics = cloneStatistics(d.Statistics)
	cloneOptions(&out.Request)
	return &out
}

// cloneOptions makes what the request points to its own.
func cloneOptions(r *driftline.HistoricalRequest) {
	if r.Spine != nil {
		spine := *r.Spine
		if r.Spine.Range != nil {
			span := *r.Spine.Range
			spine.Range = &span
		}
		r.Spine = &spine
	}
	if r.Split != nil {
		split := *r.Split
		split.Parts = slices.Clone(split.Parts)
		r.Split = &split
	}
}

func cloneStatistics(of []driftline.ColumnStatistics) []driftline.ColumnStatistics {
	out := slices.Clone(of)
	for i, c := range of {
		out[i].Min, out[i].Max, out[i].Mean, out[i].StdDev = cloneNumber(c.Min), cloneNumber(c.Max), cloneNumber(c.Mean), cloneNumber(c.StdDev)
		out[i].Edges, out[i].Counts, out[i].Top = slices.Clone(c.Edges), slices.Clone(c.Counts), slices.Clone(c.Top)
	}
	return out
}

func cloneNumber(n *driftline.Number) *driftline.Number {
	if n == nil {
		return nil
	}
	out := *n
	return &out
}
