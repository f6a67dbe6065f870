package engine

import (
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
)

// monitorsOf are the monitors that see how a model does: of its prediction log and its labels, of
// what its champion and its newest version were trained on, and those of its policy's triggers.
func (e *Engine) monitorsOf(model driftline.ModelName) (found []*driftline.Monitor, err error) {
	tables, err := e.tablesOf(model)
	if err != nil {
		return nil, err
	}
	named := e.triggersOn(model)
	for _, m := range e.registry.Monitors() {
		if slices.Contains(named, m.Name) || tables[unversioned(m.Source.Ref)] {
			found = append(found, m)
		}
	}
	return found, nil
}

// modelsOf are the models that a monitor sees, by name.
func (e *Engine) modelsOf(m *driftline.Monitor) (found []driftline.ModelName, err error) {
	for _, model := range e.registry.Models() {
		watched, err := e.monitorsOf(model.Name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(watched, func(one *driftline.Monitor) bool { return one.Name == m.Name }) {
			found = append(found, model.Name)
		}
	}
	return found, nil
}

// triggersOn are the monitors that a model's policy waits for.
func (e *Engine) triggersOn(model driftline.ModelName) (names []driftline.MonitorName) {
	p, err := e.registry.Policy(model)
	if err != nil {
		return nil
	}
	for i := range p.Triggers {
		if drift := p.Triggers[i].Drift; drift != nil {
			names = append(names, drift.Monitor)
		}
	}
	return names
}

// tablesOf are the tables of which a model is made, and those that it makes, without versions.
func (e *Engine) tablesOf(model driftline.ModelName) (map[driftline.Ref]bool, error) {
	versions, err := e.registry.ModelVersions(model)
	if err != nil {
		return nil, err
	}
	tables := map[driftline.Ref]bool{
		driftline.ViewRef(predictions.LogName(model)): true, driftline.ViewRef(predictions.LabelsName(model)): true,
	}
	champion, _ := e.registry.Champion(model) // 0 if there is none
	for i := range versions {
		if newest := i == len(versions)-1; newest || versions[i].Version == champion {
			e.addTablesOf(&versions[i], tables)
		}
	}
	return tables, nil
}

// addTablesOf adds what a version was trained on. What is gone by now is left out.
func (e *Engine) addTablesOf(version *driftline.ModelVersion, tables map[driftline.Ref]bool) {
	if version.Origin != nil {
		for _, used := range version.Origin.Datasets {
			tables[unversioned(used.Ref)] = true
			dataset, err := e.cardDataset(used.Ref)
			if err != nil {
				continue
			}
			for _, view := range dataset.Views {
				tables[driftline.ViewRef(view.Name)] = true
			}
		}
	}
	service := version.Tags[ServiceTag]
	if service == "" {
		return
	}
	resolution, err := e.registry.Resolve(driftline.FeatureSet{Service: driftline.ServiceName(service)})
	if err != nil {
		return
	}
	for _, read := range resolution.Reads {
		tables[driftline.ViewRef(read.View.Name)] = true
	}
}

func unversioned(ref driftline.Ref) driftline.Ref {
	ref.Version = ""
	return ref
}
