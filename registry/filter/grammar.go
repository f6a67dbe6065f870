package filter

import (
	"maps"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// Entity is what a field belongs to.
type Entity string

// The entities, in MLflow's words.
const (
	Attribute Entity = "attribute"
	Metric    Entity = "metric"
	Param     Entity = "parameter"
	Tag       Entity = "tag"
	Dataset   Entity = "dataset"
)

// entities are the words that each may be written with.
var entities = map[string]Entity{
	"attribute": Attribute, "attributes": Attribute, "attr": Attribute, "run": Attribute,
	"metric": Metric, "metrics": Metric,
	"parameter": Param, "parameters": Param, "param": Param, "params": Param,
	"tag": Tag, "tags": Tag,
	"dataset": Dataset, "datasets": Dataset,
}

// Grammar is what may be asked of one kind of row.
type Grammar struct {
	Entities []Entity
	Texts    []string          // attributes that are text
	Numbers  []string          // attributes that are numbers
	Aliases  map[string]string // other words for attributes
	Orders   []string          // attributes that it may be ordered by; all if nil
	Absent   map[string]string // tags that a row without them is taken to have
}

// isPrompt is the tag of a registered model that is a prompt. MLflow's client always asks
// for the others, and none of them says that it is no prompt.
var isPrompt = map[string]string{"mlflow.prompt.is_prompt": "false"}

// The grammars of what can be searched.
var (
	Runs = Grammar{
		Entities: []Entity{Attribute, Metric, Param, Tag, Dataset},
		Texts:    []string{"run_id", "run_name", "user_id", "status", "artifact_uri", "experiment_id", "lifecycle_stage"},
		Numbers:  []string{"start_time", "end_time"},
		Aliases:  map[string]string{"created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name", "Run Name": "run_name"},
	}
	Experiments = Grammar{
		Entities: []Entity{Attribute, Tag},
		Texts:    []string{"name", "experiment_id"},
		Numbers:  []string{"creation_time", "last_update_time"},
	}
	RegisteredModels = Grammar{
		Entities: []Entity{Attribute, Tag},
		Texts:    []string{"name"},
		Numbers:  []string{"creation_timestamp", "last_updated_timestamp"},
		Aliases:  map[string]string{"timestamp": "last_updated_timestamp"},
		Absent:   isPrompt,
	}
	ModelVersions = Grammar{
		Entities: []Entity{Attribute, Tag},
		Texts:    []string{"name", "run_id", "source_path"},
		Numbers:  []string{"version_number", "creation_timestamp", "last_updated_timestamp"},
		Aliases:  map[string]string{"version": "version_number", "timestamp": "last_updated_timestamp"},
		Absent:   isPrompt,
	}
	LoggedModels = Grammar{
		Entities: []Entity{Attribute, Metric, Param, Tag},
		Texts:    []string{"name", "model_id", "model_type", "status", "source_run_id", "experiment_id", "artifact_location"},
		Numbers:  []string{"creation_timestamp", "creation_time", "last_updated_timestamp", "last_updated_time"},
		Aliases:  map[string]string{"creation_time": "creation_timestamp", "last_updated_time": "last_updated_timestamp"},
	}
)

// datasetKeys are the fields of a dataset.
var datasetKeys = []string{"name", "digest", "context"}

// Field is something of a row that can be compared or ordered by.
type Field struct {
	Entity  Entity
	Key     string
	Numeric bool // an attribute or a metric that is a number

	// Slot is the caller's: where it finds the field in its rows, set before rows are matched.
	Slot int
}

// String returns the field as it is written.
func (f *Field) String() string { return string(f.Entity) + "." + f.Key }

// field finds what entity.key means. entity may be "".
func (g *Grammar) field(entity, key string) (Field, error) {
	if entity == "" {
		return g.attribute(key)
	}
	kind, ok := entities[entity]
	if !ok || !slices.Contains(g.Entities, kind) {
		return Field{}, invalid("Invalid entity type '%s'. Valid values are %s", clip(entity), quoted(g.Entities))
	}
	switch kind {
	case Attribute:
		return g.attribute(key)
	case Dataset:
		if !slices.Contains(datasetKeys, key) {
			return Field{}, invalid("Invalid dataset key '%s' specified. Valid keys are %s", clip(key), quoted(datasetKeys))
		}
	}
	return Field{Entity: kind, Key: key, Numeric: kind == Metric}, nil
}

func (g *Grammar) attribute(key string) (Field, error) {
	if other, ok := g.Aliases[key]; ok {
		key = other
	}
	numeric := slices.Contains(g.Numbers, key)
	if !numeric && !slices.Contains(g.Texts, key) {
		known := slices.Concat(g.Texts, g.Numbers, slices.Sorted(maps.Keys(g.Aliases)))
		err := invalid("Invalid attribute key '%s' specified. Valid keys are %s", clip(key), quoted(known))
		if near := driftline.Nearest(key, known); near != "" {
			err = err.WithHint("did you mean %q?", near)
		}
		return Field{}, err
	}
	return Field{Entity: Attribute, Key: key, Numeric: numeric}, nil
}

func quoted[S ~string](words []S) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "'" + string(w) + "'"
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func invalid(format string, args ...any) *driftline.Error {
	return driftline.Errorf(driftline.Invalid, format, args...)
}

// clip shortens a hostile text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
