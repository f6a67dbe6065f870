package driftline

import (
	"strconv"
	"strings"
)

// RefKind is the kind of thing that a [Ref] names.
type RefKind string

// The kinds of things that the ledger and lineage speak of.
const (
	KindEntity     RefKind = "entity"     // entity/airport
	KindView       RefKind = "view"       // view/weather
	KindService    RefKind = "service"    // service/delay_model
	KindSnapshot   RefKind = "snapshot"   // snapshot/features.weather@7235626059072898720
	KindFile       RefKind = "file"       // file/features.weather@<content hash>
	KindDataset    RefKind = "dataset"    // dataset/late_departure@1
	KindExperiment RefKind = "experiment" // experiment/3
	KindRun        RefKind = "run"        // run/late_departure-3
	KindArtifact   RefKind = "artifact"   // artifact/<content hash>
	KindModel      RefKind = "model"      // model/late_departure@1, or @champion where an alias is accepted
	KindMonitor    RefKind = "monitor"    // monitor/weather_daily@2
	KindAlert      RefKind = "alert"      // alert/weather_daily-3
	KindPolicy     RefKind = "policy"     // policy/late_departure@2
	KindTraining   RefKind = "training"   // training/late_departure-7
	KindRollout    RefKind = "rollout"    // rollout/late_departure-3
	KindEvaluation RefKind = "evaluation" // evaluation/late_departure-5
	KindValidation RefKind = "validation" // validation/weather@2
	KindPreset     RefKind = "preset"     // preset/payments@1

	KindLoggedModel RefKind = "logged_model" // logged_model/m-<32 hexadecimal digits>

	KindAlias  RefKind = "alias"  // alias/late_departure:champion
	KindResult RefKind = "result" // result/weather_daily@417: what a monitor found, by the ledger line that says so

	KindPrediction RefKind = "prediction" // prediction/p-1: an id of a prediction log

	// Of other systems, as they tell of themselves by OpenLineage: the name is namespace/name.
	KindJob   RefKind = "job"   // job/airflow/daily.orders
	KindTable RefKind = "table" // table/postgres://db:5432/shop.orders

	// Of the lineage of columns, which follows from definitions.
	KindFeature RefKind = "feature" // feature/weather:temp
	KindColumn  RefKind = "column"  // column/datasets.late_departure_v1:temp, column/features.weather:temp
)

var refKinds = []RefKind{
	KindEntity, KindView, KindService, KindSnapshot, KindFile, KindDataset, KindExperiment, KindRun, KindArtifact, KindModel,
	KindMonitor, KindAlert, KindPolicy, KindTraining, KindRollout, KindEvaluation, KindLoggedModel, KindFeature, KindColumn, KindValidation, KindPreset,
	KindJob, KindTable, KindAlias, KindResult, KindPrediction,
}

// Ref names one thing, everywhere the same way: kind/name, or kind/name@version
// where the thing has versions. The zero Ref names nothing.
type Ref struct {
	Kind    RefKind
	Name    string
	Version string // "" where there is none, or where the newest is meant
}

// ViewRef, and the functions below, make the Ref of a thing from its typed name.
func ViewRef(v ViewName) Ref { return Ref{Kind: KindView, Name: string(v)} }

// EntityRef names an entity.
func EntityRef(e EntityName) Ref { return Ref{Kind: KindEntity, Name: string(e)} }

// ServiceRef names a feature service.
func ServiceRef(s ServiceName) Ref { return Ref{Kind: KindService, Name: string(s)} }

// DatasetRef names one version of a dataset; version 0 means the newest.
func DatasetRef(d DatasetName, version int) Ref {
	return Ref{Kind: KindDataset, Name: string(d), Version: versionText(version)}
}

// ExperimentRef names an experiment.
func ExperimentRef(e ExperimentID) Ref { return Ref{Kind: KindExperiment, Name: string(e)} }

// RunRef names a run.
func RunRef(r RunID) Ref { return Ref{Kind: KindRun, Name: string(r)} }

// ModelRef names one version of a model; version 0 means the newest.
func ModelRef(m ModelName, version int) Ref {
	return Ref{Kind: KindModel, Name: string(m), Version: versionText(version)}
}

// SnapshotRef names one snapshot of a table ("features.weather").
func SnapshotRef(table string, id SnapshotID) Ref {
	return Ref{Kind: KindSnapshot, Name: table, Version: strconv.FormatInt(int64(id), 10)}
}

// FileRef names a data file of a table by the hash of its content.
func FileRef(table, hash string) Ref { return Ref{Kind: KindFile, Name: table, Version: hash} }

// ArtifactRef names stored bytes by their hash.
func ArtifactRef(hash string) Ref { return Ref{Kind: KindArtifact, Name: hash} }

// AliasRef names an alias of a model.
func AliasRef(m ModelName, a Alias) Ref {
	return Ref{Kind: KindAlias, Name: string(m) + ":" + string(a)}
}

// ResultRef names what a monitor found, by the ledger line that says so.
func ResultRef(m MonitorName, line uint64) Ref {
	return Ref{Kind: KindResult, Name: string(m), Version: strconv.FormatUint(line, 10)}
}

// PredictionRef names a prediction by its id in a prediction log.
func PredictionRef(id string) Ref { return Ref{Kind: KindPrediction, Name: id} }

// LoggedModelRef names a logged model.
func LoggedModelRef(m LoggedModelID) Ref { return Ref{Kind: KindLoggedModel, Name: string(m)} }

// FeatureRef names a feature of a view.
func FeatureRef(v ViewName, feature string) Ref {
	return Ref{Kind: KindFeature, Name: string(v) + ":" + feature}
}

// ColumnRef names a column of a table ("features.weather").
func ColumnRef(table, column string) Ref { return Ref{Kind: KindColumn, Name: table + ":" + column} }

// MonitorRef names one version of a monitor; version 0 means the newest.
func MonitorRef(m MonitorName, version int) Ref {
	return Ref{Kind: KindMonitor, Name: string(m), Version: versionText(version)}
}

// ValidationRef names one version of a set of checks; version 0 means the newest.
func ValidationRef(v ValidationName, version int) Ref {
	return Ref{Kind: KindValidation, Name: string(v), Version: versionText(version)}
}

// PresetRef names one version of a preset; version 0 means the newest.
func PresetRef(p PresetName, version int) Ref {
	return Ref{Kind: KindPreset, Name: string(p), Version: versionText(version)}
}

// AlertRef names an alert.
func AlertRef(a AlertID) Ref { return Ref{Kind: KindAlert, Name: string(a)} }

// PolicyRef names one version of a model's policy; version 0 means the newest.
func PolicyRef(m ModelName, version int) Ref {
	return Ref{Kind: KindPolicy, Name: string(m), Version: versionText(version)}
}

// TrainingRef names a training run of a policy.
func TrainingRef(t TrainingID) Ref { return Ref{Kind: KindTraining, Name: string(t)} }

// RolloutRef names a rollout.
func RolloutRef(r RolloutID) Ref { return Ref{Kind: KindRollout, Name: string(r)} }

// EvaluationRef names an evaluation of a candidate.
func EvaluationRef(e EvaluationID) Ref { return Ref{Kind: KindEvaluation, Name: string(e)} }

func versionText(v int) string {
	if v == 0 {
		return ""
	}
	return strconv.Itoa(v)
}

// ParseRef reads the form that [Ref.String] writes.
func ParseRef(s string) (Ref, error) {
	kind, rest, ok := strings.Cut(s, "/")
	if !ok || rest == "" {
		return Ref{}, Errorf(Invalid, "reference %q is not valid", clip(s)).
			WithHint("write kind/name or kind/name@version, for example model/late_departure@1")
	}
	known := false
	for _, k := range refKinds {
		known = known || string(k) == kind
	}
	if !known {
		return Ref{}, Unknown("reference kind", RefKind(clip(kind)), refKinds).WithHint(
			"use one of: entity, view, service, snapshot, file, dataset, experiment, run, artifact, model, monitor, alert, policy, training, rollout, evaluation, logged_model, validation, preset, feature, column, job, table, alias, result, prediction")
	}
	r := Ref{Kind: RefKind(kind), Name: rest}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		r.Name, r.Version = rest[:i], rest[i+1:]
	}
	if r.Name == "" {
		return Ref{}, Errorf(Invalid, "reference %q has no name", clip(s))
	}
	return r, nil
}

// String returns kind/name or kind/name@version, and "" for the zero Ref.
func (r Ref) String() string {
	if r == (Ref{}) {
		return ""
	}
	s := string(r.Kind) + "/" + r.Name
	if r.Version != "" {
		s += "@" + r.Version
	}
	return s
}

// MarshalText writes the form of String, so that a Ref is a JSON string.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the form of String; "" gives the zero Ref.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Ref{}
		return nil
	}
	parsed, err := ParseRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
