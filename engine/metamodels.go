package engine

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/evaluation"
	"github.com/driftline/driftline/storage/kv"
)

// The tables of meta about models and their files.
var (
	// aliasHistoryColumns: an alias was at version from valid_from until before valid_to, which
	// is null while it is there. So "what was champion at t" is valid_from <= t and (valid_to
	// is null or valid_to > t). version is null where the alias was taken away.
	aliasHistoryColumns = []metaColumn{{"model", text}, {"alias", text}, {"version", integer}, {"from_version", integer},
		{"valid_from", instant}, {"valid_to", instant}, {"moved_by", text}, {"reason", text}, {"evidence", text}, {"checks", text},
		{"rollback", text}, {"sequence", integer}, {"model_deleted", instant}}

	stageHistoryColumns = []metaColumn{{"model", text}, {"version", integer}, {"from_stage", text}, {"to_stage", text}, {"time", instant},
		{"moved_by", text}, {"reason", text}, {"evidence", text}, {"checks", text}, {"sequence", integer}}

	artifactColumns = []metaColumn{{"run_id", text}, {"path", text}, {"size", integer}, {"sha256", text},
		{"owner", text}, {"logged", instant}}

	loggedModelColumns = []metaColumn{{"model_id", text}, {"experiment_id", text}, {"name", text}, {"type", text}, {"run_id", text},
		{"status", text}, {"created", instant}, {"updated", instant}}

	modelCheckColumns = []metaColumn{{"model", text}, {"version", integer}, {"name", text}, {"passed", text}, {"summary", text},
		{"by", text}, {"evidence", text}, {"time", instant}, {"sequence", integer}}

	modelVersionColumns = []metaColumn{{"model", text}, {"version", integer}, {"run_id", text}, {"created", instant},
		{"artifact", text}, {"sha256", text}, {"description", text}, {"stage", text}, {"status", text}, {"source", text},
		{"model_id", text}, {"size", integer}, {"files", integer}, {"created_by", text}, {"updated", instant},
		{"datasets", text}, {"commit", text}, {"sequence", integer}}

	modelColumns = []metaColumn{{"name", text}, {"versions", integer}, {"newest", integer}, {"description", text}, {"created", instant},
		{"updated", instant}, {"created_by", text}}
)

func aliasRows(e *Engine, add func(...any)) error {
	return eachModelVersion(e, func(m *driftline.ModelVersion) {
		for _, alias := range m.Aliases {
			add(string(m.Model), string(alias), int64(m.Version))
		}
	})
}

func eachModelVersion(e *Engine, visit func(*driftline.ModelVersion)) error {
	for _, model := range e.registry.Models() {
		versions, err := e.registry.ModelVersions(model.Name)
		if driftline.CodeOf(err) == driftline.NotFound {
			continue // deleted since it was listed
		}
		if err != nil {
			return err
		}
		for i := range versions {
			visit(&versions[i])
		}
	}
	return nil
}

func aliasHistoryRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.ModelHistories() {
		for _, c := range m.Aliases {
			add(string(m.Model), string(c.Alias), versionOrNull(c.To), versionOrNull(c.From), c.Time, c.Until, c.By, c.Reason,
				refsText(c.Evidence), strings.Join(c.Checks, ", "), strconv.FormatBool(c.Rollback), int64(c.Sequence), m.Deleted)
		}
	}
	return nil
}

func versionOrNull(version int) any {
	if version == 0 {
		return nil
	}
	return int64(version)
}

func refsText(refs []driftline.Ref) string {
	texts := make([]string, len(refs))
	for i, ref := range refs {
		texts[i] = ref.String()
	}
	return strings.Join(texts, ", ")
}

func stageHistoryRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.ModelHistories() {
		for _, c := range m.Stages {
			add(string(m.Model), int64(c.Version), string(c.From), string(c.To), c.Time, c.By, c.Reason,
				refsText(c.Evidence), strings.Join(c.Checks, ", "), int64(c.Sequence))
		}
	}
	return nil
}

func artifactRows(e *Engine, add func(...any)) error {
	lines := map[string]string{}
	err := eachModelVersion(e, func(v *driftline.ModelVersion) {
		lines["version/"+strconv.FormatUint(v.Line, 10)] = v.Ref().String()
	})
	if err != nil {
		return err
	}
	return e.registry.EachArtifact(func(owner string, a driftline.Artifact) {
		run, isRun := strings.CutPrefix(owner, "run/")
		if version, ok := lines[owner]; ok {
			owner = version
		}
		var runID any
		if isRun {
			runID = run
		}
		add(runID, a.Path, a.Size, a.SHA256, owner, a.Time)
	})
}

func loggedModelRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.LoggedModels() {
		add(string(m.ID), string(m.ExperimentID), m.Name, m.Type, string(m.Run), string(m.Status), m.Created, m.Updated)
	}
	return nil
}

func modelCheckRows(e *Engine, add func(...any)) error {
	return eachModelVersion(e, func(v *driftline.ModelVersion) {
		for _, c := range v.Checks {
			add(string(v.Model), int64(v.Version), c.Name, strconv.FormatBool(c.Passed), c.Summary, c.By, refsText(c.Evidence), c.Time, int64(c.Sequence))
		}
	})
}

// modelTagRows are the tags of models, with no version, and of versions.
func modelTagRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.Models() {
		addModelTags(m.Name, nil, m.Tags, add)
	}
	return eachModelVersion(e, func(v *driftline.ModelVersion) { addModelTags(v.Model, int64(v.Version), v.Tags, add) })
}

func addModelTags(model driftline.ModelName, version any, tags map[string]string, add func(...any)) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		add(string(model), version, key, tags[key])
	}
}

func modelVersionRows(e *Engine, add func(...any)) error {
	return eachModelVersion(e, func(m *driftline.ModelVersion) {
		datasets, commit := []driftline.Ref(nil), ""
		if m.Origin != nil {
			commit = m.Origin.Commit
			for _, d := range m.Origin.Datasets {
				datasets = append(datasets, d.Ref)
			}
		}
		files := int64(len(m.Files))
		if files == 0 && m.Artifact.SHA256 != "" {
			files = 1
		}
		add(string(m.Model), int64(m.Version), string(m.Run), m.Created, m.Artifact.Path, m.Artifact.SHA256, m.Description,
			string(m.Stage), string(m.Status), m.Source, string(m.LoggedModel), m.Artifact.Size, files, m.By, m.Updated,
			refsText(datasets), commit, int64(m.Line))
	})
}

func modelRows(e *Engine, add func(...any)) error {
	for _, m := range e.registry.Models() {
		var newest any
		if m.Newest != nil {
			newest = int64(m.Newest.Version)
		}
		add(string(m.Name), int64(m.Versions), newest, m.Description, m.Created, m.Updated, m.By)
	}
	return nil
}

func evaluationRows(e *Engine, add func(...any)) error {
	for pair, err := range e.kv.ScanPrefix([]byte{kv.Evaluations}) {
		if err != nil {
			return err
		}
		found, err := decodeEvaluation(pair.Value)
		if err != nil {
			return err
		}
		add(string(found.ID), string(found.Model), int64(found.Candidate), versionOrNull(found.Champion), found.Dataset.String(), found.DataHash,
			string(found.Outcome), found.Rows, found.Labels, int64(found.Seed), versionOrNull(found.Policy), found.By, found.Time, evaluation.Reason(found))
	}
	return nil
}
