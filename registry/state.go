package registry

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/driftline/driftline"
)

// state is the fold of a prefix of the ledger. The records that its maps point
// to are shared between states and never change.
type state struct {
	entities        map[driftline.EntityName]*driftline.Entity
	views           map[driftline.ViewName]*driftline.FeatureView
	ingests         map[driftline.ViewName]Ingests
	onDemand        map[driftline.ViewName]*driftline.OnDemandFeatureView // never of a name in views
	switched        map[driftline.ViewName]driftline.ViewName             // view → the stored name that its bare one means
	checks          map[driftline.ViewName]*driftline.ViewCheck           // the last of each
	services        map[driftline.ServiceName]*driftline.FeatureService
	snapshots       map[driftline.Ref]*Snapshot
	newest          map[string]driftline.SnapshotID // table → its newest snapshot
	files           map[driftline.Ref]File
	datasets        map[driftline.DatasetName][]*driftline.Dataset // by version, from 1
	keys            *keyTable                                      // of params, tags and metrics; shared by all states of a registry
	runs            *runList
	purged          map[driftline.RunID]time.Time          // that were removed for good → when
	runNumbers      map[string]int                         // slug → greatest number given out
	runKeys         map[string]keyedRun                    // idempotency key → the run that was started under it, of the last day
	olderRunKeys    map[string]keyedRun                    // and of the day before; see keepRunKey
	runKeysSince    time.Time                              // when the last day began
	described       map[datasetKey]*driftline.DatasetInput // data that runs read and that is not ours
	experiments     map[driftline.ExperimentID]*experiment
	experimentNames map[string]driftline.ExperimentID // in the form of sameName
	lastExperiment  int                               // the greatest number of one
	models          map[driftline.ModelName]*model
	monitors        map[driftline.MonitorName][]*driftline.Monitor // by version, from 1
	watches         map[driftline.MonitorName]*driftline.MonitorState
	monitorChanges  map[driftline.MonitorName][]DefinitionChange          // the oldest first, without Fields
	alerts          map[driftline.AlertID]*driftline.Alert                // without summary and columns
	notices         map[driftline.Ref][]SettledNotice                     // what they tell of, without a version → those that are settled
	presets         map[driftline.PresetName][]*driftline.Preset          // by version, from 1
	validations     map[driftline.ValidationName][]*driftline.Validation  // by version, from 1
	validated       map[driftline.ValidationName]*driftline.ValidationRun // the last of each
	policies        map[driftline.ModelName]*policy
	rollouts        map[driftline.RolloutID]*rolloutRecord
	rolloutNumbers  map[driftline.ModelName]int                     // → greatest number given out
	trainings       map[driftline.TrainingID]*driftline.TrainingRun // without what people wrote

	told map[driftline.Ref]*received // jobs and tables of other systems → what was said last

	modelKeys    map[string]driftline.ModelName // modelKey → the model of it
	numbered     map[driftline.ModelName]numbering
	versionLines map[uint64]versionPlace          // the line that registered a version → where it is
	retired      map[driftline.ModelName][]*model // that were deleted, by age
	logged       map[driftline.LoggedModelID]*driftline.LoggedModel
	evaluated    map[driftline.EvaluationID]evaluated
	evaluations  map[driftline.ModelName]int // how many a name has had
}

func newState() *state {
	return &state{
		entities:        map[driftline.EntityName]*driftline.Entity{},
		views:           map[driftline.ViewName]*driftline.FeatureView{},
		ingests:         map[driftline.ViewName]Ingests{},
		onDemand:        map[driftline.ViewName]*driftline.OnDemandFeatureView{},
		switched:        map[driftline.ViewName]driftline.ViewName{},
		checks:          map[driftline.ViewName]*driftline.ViewCheck{},
		services:        map[driftline.ServiceName]*driftline.FeatureService{},
		snapshots:       map[driftline.Ref]*Snapshot{},
		newest:          map[string]driftline.SnapshotID{},
		files:           map[driftline.Ref]File{},
		datasets:        map[driftline.DatasetName][]*driftline.Dataset{},
		keys:            newKeyTable(),
		runs:            newRunList(),
		purged:          map[driftline.RunID]time.Time{},
		runNumbers:      map[string]int{},
		runKeys:         map[string]keyedRun{},
		olderRunKeys:    map[string]keyedRun{},
		described:       map[datasetKey]*driftline.DatasetInput{},
		experiments:     map[driftline.ExperimentID]*experiment{driftline.DefaultExperiment: defaultExperiment()},
		experimentNames: map[string]driftline.ExperimentID{"Default": driftline.DefaultExperiment},
		models:          map[driftline.ModelName]*model{},
		monitors:        map[driftline.MonitorName][]*driftline.Monitor{},
		watches:         map[driftline.MonitorName]*driftline.MonitorState{},
		monitorChanges:  map[driftline.MonitorName][]DefinitionChange{},
		alerts:          map[driftline.AlertID]*driftline.Alert{},
		notices:         map[driftline.Ref][]SettledNotice{},
		presets:         map[driftline.PresetName][]*driftline.Preset{},
		validations:     map[driftline.ValidationName][]*driftline.Validation{},
		validated:       map[driftline.ValidationName]*driftline.ValidationRun{},
		policies:        map[driftline.ModelName]*policy{},
		rollouts:        map[driftline.RolloutID]*rolloutRecord{},
		rolloutNumbers:  map[driftline.ModelName]int{},
		trainings:       map[driftline.TrainingID]*driftline.TrainingRun{},

		evaluated:   map[driftline.EvaluationID]evaluated{},
		evaluations: map[driftline.ModelName]int{},
		told:        map[driftline.Ref]*received{},

		modelKeys:    map[string]driftline.ModelName{},
		numbered:     map[driftline.ModelName]numbering{},
		versionLines: map[uint64]versionPlace{},
		retired:      map[driftline.ModelName][]*model{},
		logged:       map[driftline.LoggedModelID]*driftline.LoggedModel{},
	}
}

// clone returns a state of its own that shares the records.
func (s *state) clone() *state {
	return &state{
		entities:        maps.Clone(s.entities),
		views:           maps.Clone(s.views),
		ingests:         maps.Clone(s.ingests),
		onDemand:        maps.Clone(s.onDemand),
		switched:        maps.Clone(s.switched),
		checks:          maps.Clone(s.checks),
		services:        maps.Clone(s.services),
		snapshots:       maps.Clone(s.snapshots),
		newest:          maps.Clone(s.newest),
		files:           maps.Clone(s.files),
		datasets:        maps.Clone(s.datasets),
		keys:            s.keys,
		runs:            s.runs.clone(),
		purged:          maps.Clone(s.purged),
		runNumbers:      maps.Clone(s.runNumbers),
		runKeys:         maps.Clone(s.runKeys),
		olderRunKeys:    maps.Clone(s.olderRunKeys),
		runKeysSince:    s.runKeysSince,
		described:       maps.Clone(s.described),
		experiments:     maps.Clone(s.experiments),
		experimentNames: maps.Clone(s.experimentNames),
		lastExperiment:  s.lastExperiment,
		models:          maps.Clone(s.models),
		monitors:        maps.Clone(s.monitors),
		watches:         maps.Clone(s.watches),
		monitorChanges:  maps.Clone(s.monitorChanges),
		alerts:          maps.Clone(s.alerts),
		notices:         maps.Clone(s.notices),
		presets:         maps.Clone(s.presets),
		validations:     maps.Clone(s.validations),
		validated:       maps.Clone(s.validated),
		policies:        maps.Clone(s.policies),
		rollouts:        maps.Clone(s.rollouts),
		rolloutNumbers:  maps.Clone(s.rolloutNumbers),
		evaluated:       maps.Clone(s.evaluated),
		evaluations:     maps.Clone(s.evaluations),
		trainings:       maps.Clone(s.trainings),

		told: maps.Clone(s.told),

		modelKeys:    maps.Clone(s.modelKeys),
		numbered:     maps.Clone(s.numbered),
		versionLines: maps.Clone(s.versionLines),
		retired:      maps.Clone(s.retired),
		logged:       maps.Clone(s.logged),
	}
}

// catalogue returns a state of its own that holds the definitions, the datasets and models
// that they may speak of, and nothing else.
func (s *state) catalogue() *state {
	return &state{entities: maps.Clone(s.entities), views: maps.Clone(s.views), onDemand: maps.Clone(s.onDemand), switched: maps.Clone(s.switched), services: maps.Clone(s.services),
		datasets: s.datasets, monitors: maps.Clone(s.monitors), presets: maps.Clone(s.presets), validations: maps.Clone(s.validations),
		policies: maps.Clone(s.policies), models: s.models, retired: s.retired}
}

// effect is one assignment that a line makes. Applied to a state that stands
// just before the line it returns its own inverse, for that state. The same effect is
// applied to the writers' state when the line is appended and to the readers'
// when it is durable, so both share the new record.
type effect func(*state) effect

// put is the effect that sets table[key] to value.
func put[K comparable, V any](table func(*state) map[K]V, key K, value V) effect {
	return func(s *state) effect {
		old, had := table(s)[key]
		table(s)[key] = value
		if had {
			return put(table, key, old)
		}
		return func(s *state) effect {
			delete(table(s), key)
			return nil
		}
	}
}

// folds says what each kind of line does to a state. Every function is pure: it
// reads the state and the line, and returns what to assign.
var folds = map[Kind]func(*state, *Line) ([]effect, error){
	EntityApplied:     foldEntity,
	ViewApplied:       foldView,
	OnDemandApplied:   foldOnDemand,
	ServiceApplied:    foldService,
	ViewSwitched:      foldSwitch,
	RowsIngested:      foldIngest,
	SnapshotCommitted: foldSnapshot,
	DatasetSaved:      foldDataset,
	EntityErased:      foldErasure,
	ViewChecked:       foldCheck,
	RunCreated:        foldRunCreated,
	RunLogged:         foldRunLogged,
	RunFinished:       foldRunFinished,
	RunChanged:        foldRunChange,
	RunPurged:         foldRunPurged,
	ExperimentCreated: foldExperiment,
	ExperimentChanged: foldExperimentChange,
	ExperimentPurged:  foldExperimentPurged,
	ModelRegistered:   foldModel,
	AliasMoved:        foldAlias,
	MonitorApplied:    foldMonitor,
	MonitorChanged:    foldMonitorChange,
	NoticeSettled:     foldNotice,
	PaneEvaluated:     foldEvaluation,
	AlertChanged:      foldAlert,
	PresetApplied:     foldPreset,
	ValidationApplied: foldValidation,
	ValidationRun:     foldValidationRun,
	PolicyApplied:     foldPolicy,
	PolicyDeleted:     foldPolicyDeleted,
	RolloutChanged:    foldRollout,
	TrainingChanged:   foldTraining,

	LineageReceived: foldReceived,

	LoggedCreated:  foldLoggedCreated,
	LoggedChanged:  foldLoggedChanged,
	LoggedDeleted:  foldLoggedDeleted,
	LoggedPurged:   foldLoggedPurged,
	ModelCreated:   foldModelCreated,
	ModelChanged:   foldModelChanged,
	ModelRenamed:   foldModelRenamed,
	ModelDeleted:   foldModelDeleted,
	ModelGated:     foldGate,
	ModelChecked:   foldModelChecked,
	ModelEvaluated: foldModelEvaluated,
	ModelApproved:  foldApproval,
	VersionChanged: foldVersionChanged,
	VersionDeleted: foldVersionDeleted,
	VersionStaged:  foldStaged,
	VersionServed:  foldServed,
}

func fold(s *state, line *Line) ([]effect, error) {
	f, ok := folds[line.Kind]
	if !ok {
		return nil, nil
	}
	return f(s, line)
}

// body decodes the body of a line as the type that its kind has.
func body[T any](line *Line) (*T, error) {
	if decoded, ok := line.decoded.(*T); ok {
		return decoded, nil
	}
	value := new(T)
	if err := json.Unmarshal(line.Body, value); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "body of %s %s is not valid: %w", line.Kind, line.Ref, err)
	}
	return value, nil
}
