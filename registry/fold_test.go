package registry

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Random operations, valid and not, then: the readers' state, the writers' state
// and the state rebuilt from the ledger are the same in every field.
func TestRebuiltStateIsTheSame(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			db, err := kv.Open(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			now := func() time.Time { clock = clock.Add(1234567 * time.Nanosecond); return clock }
			r, err := Open(db, &Options{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(seed, 0))
			done := 0
			for range 250 {
				if randomOperation(random, r) == nil {
					done++
				}
			}
			if done < 50 {
				t.Fatalf("only %d operations were accepted: the test tests nothing", done)
			}
			same(t, "readers' and writers'", r.durable, r.head)
			rebuilt, err := Open(db, nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "rebuilt", rebuilt.durable, r.durable)
			if !reflect.DeepEqual(rebuilt.graph, r.graph) {
				t.Errorf("rebuilt lineage is\n%v\nwas\n%v", rebuilt.graph, r.graph)
			}
			if got, want := runsAsRead(rebuilt, rebuilt.durable), runsAsRead(r, r.durable); !reflect.DeepEqual(got, want) {
				t.Errorf("rebuilt runs are %v, were %v", got, want)
			}
			if got, want := runsAsRead(r, r.head), runsAsRead(r, r.durable); !reflect.DeepEqual(got, want) {
				t.Errorf("the writers' runs are %v, the readers' %v", got, want)
			}
			if !reflect.DeepEqual(rebuilt.modelMetrics, r.modelMetrics) {
				t.Errorf("rebuilt metrics of models are %v, were %v", rebuilt.modelMetrics, r.modelMetrics)
			}
			before := artifactIndex(t, r)
			if err := r.rebuildArtifacts(); err != nil {
				t.Fatal(err)
			}
			if after := artifactIndex(t, r); !maps.Equal(before, after) {
				t.Errorf("rebuilt index of artifacts is\n%v\nwas\n%v", after, before)
			}
			if rebuilt.newest != r.newest {
				t.Errorf("rebuilt ledger ends at %v, was %v", rebuilt.newest, r.newest)
			}
			if err := r.Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

// runsAsRead are the runs of a state as readers get them: how their keys are numbered
// depends on what was discarded, too.
func runsAsRead(r *Registry, s *state) []*driftline.Run {
	runs := make([]*driftline.Run, s.runs.len()) // nil for what was removed
	for i, run := range s.runs.byNumber.all() {
		if run != nil {
			runs[i] = r.copyRun(run)
		}
	}
	return runs
}

// same compares table by table, to name the one that differs, all but the runs.
// artifactIndex is the index of artifacts, key by key.
func artifactIndex(t *testing.T, r *Registry) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for pair, err := range r.db.ScanPrefix([]byte{kv.ArtifactIndex}) {
		if err != nil {
			t.Fatal(err)
		}
		rows[string(pair.Key)] = string(pair.Value)
	}
	return rows
}

// same compares table by table, to name the one that differs.
func same(t *testing.T, what string, got, want *state) {
	t.Helper()
	for name, tables := range map[string][2]any{
		"entities":    {got.entities, want.entities},
		"views":       {got.views, want.views},
		"ingests":     {got.ingests, want.ingests},
		"services":    {got.services, want.services},
		"snapshots":   {got.snapshots, want.snapshots},
		"newest":      {got.newest, want.newest},
		"files":       {got.files, want.files},
		"datasets":    {got.datasets, want.datasets},
		"described":   {got.described, want.described},
		"runNumbers":  {got.runNumbers, want.runNumbers},
		"purged":      {got.purged, want.purged},
		"experiments": {got.experiments, want.experiments},
		"names":       {got.experimentNames, want.experimentNames},
		"models":      {got.models, want.models},
		"monitors":    {got.monitors, want.monitors},
		"watches":     {got.watches, want.watches},
		"alerts":      {got.alerts, want.alerts},
		"numbered":    {got.numbered, want.numbered},
		"retired":     {got.retired, want.retired},
		"logged":      {got.logged, want.logged},
	} {
		if !reflect.DeepEqual(tables[0], tables[1]) {
			t.Errorf("%s %s are %v, want %v", what, name, tables[0], tables[1])
		}
	}
	x, y := *got, *want
	x.keys, y.keys, x.runs, y.runs = nil, nil, nil, nil
	if !reflect.DeepEqual(x, y) {
		t.Errorf("%s states differ", what)
	}
}

// randomOperation does something of a tiny world, so that names, versions and
// conflicts meet often. Now and then the transaction is discarded at its end.
func randomOperation(random *rand.Rand, r *Registry) error {
	pick := func(n int) int { return random.IntN(n) }
	view := driftline.ViewName(fmt.Sprint("view_", pick(3)))
	dataset := driftline.DatasetName(fmt.Sprint("data_", pick(2)))
	model := driftline.ModelName(fmt.Sprint("model ", pick(2)))
	experiment := driftline.ExperimentName(fmt.Sprint("Exp ", pick(2)))
	run := driftline.RunID(fmt.Sprintf("exp-%d-%d", pick(2), 1+pick(8)))
	digest := strings.Repeat(fmt.Sprint(pick(10)), 64)
	path := fmt.Sprint("file", pick(3))
	id := driftline.ExperimentID(fmt.Sprint(pick(4)))
	switch pick(17) {
	case 15:
		_, err := r.CreateRun(driftline.RunSpec{ID: driftline.RunID(fmt.Sprintf("f%d", pick(9))), Heartbeat: driftline.Duration(time.Second),
			Fork: &driftline.RunFork{Run: run, Step: int64(pick(5))}})
		return err
	case 16:
		return randomCleanup(random, r, run, id)
	case 10:
		return randomExperiment(random, r, id)
	case 11:
		return randomChange(random, r, run)
	case 12:
		_, err := r.CreateRun(driftline.RunSpec{ID: driftline.RunID(fmt.Sprintf("f%d", pick(9))), ExperimentID: id, Started: time.Unix(int64(pick(99)), 0).UTC()})
		return err
	case 0:
		if pick(4) == 0 {
			return randomPolicy(random, r, model)
		}
		_, err := r.Apply(randomDefinitions(random, view))
		return err
	case 1:
		_, err := r.CreateRun(driftline.RunSpec{Experiment: experiment, Inputs: []driftline.Ref{driftline.DatasetRef(dataset, pick(3))}[:pick(2)]})
		return err
	case 2:
		_, err := r.LogRun(run, driftline.RunLog{
			Params:  map[string]string{fmt.Sprint("p", pick(3)): fmt.Sprint(pick(2))},
			Tags:    map[string]string{fmt.Sprint("t", pick(3)): "<é>"},
			Metrics: []driftline.Metric{{Key: "m", Value: driftline.Number(random.NormFloat64()), Step: int64(pick(5))}},
			Inputs:  []driftline.Ref{driftline.ViewRef(view)}[:pick(2)],
		})
		return err
	case 3:
		if pick(4) > 0 {
			return r.AddArtifact(nil, run, driftline.Artifact{Path: path, Size: int64(pick(9)), SHA256: digest})
		}
		_, err := r.FinishRun(run, []driftline.RunStatus{driftline.RunFinished, driftline.RunFailed}[pick(2)])
		return err
	case 4:
		_, err := r.RegisterModel(driftline.ModelSpec{Model: model, Run: run, Artifact: path})
		return err
	case 5:
		expect := pick(3)
		move := driftline.AliasMove{Version: 1 + pick(3), Reason: "why not"}
		if pick(2) == 0 {
			move.Expect = &expect
		}
		_, err := r.MoveAlias(model, driftline.Alias(fmt.Sprint("alias", pick(2))), move)
		return err
	case 6:
		return randomEvaluation(random, r)
	case 13, 14:
		return randomModelChange(random, r, model)
	}
	tx := r.Begin()
	defer tx.Discard()
	if err := tx.AddIngest(driftline.IngestResult{View: view, Rows: int64(pick(100))}); err != nil {
		return err
	}
	snapshot := Snapshot{Table: "features." + string(view), ID: driftline.SnapshotID(1 + pick(20)), Rows: 7, Files: []File{{Hash: digest, Rows: 7}}}
	if err := tx.AddSnapshot(snapshot); err != nil {
		return err
	}
	for range pick(3) {
		if _, err := tx.AddDataset(driftline.Dataset{Name: dataset, Snapshot: 5, Report: driftline.HistoricalReport{
			Pins: []driftline.Pin{{View: view, Snapshot: snapshot.ID}},
		}}); err != nil {
			return err
		}
	}
	if pick(3) == 0 {
		return nil // discarded
	}
	return tx.Commit()
}

// randomCleanup ends runs that are silent, hears of one, or removes what was deleted.
func randomCleanup(random *rand.Rand, r *Registry, run driftline.RunID, id driftline.ExperimentID) error {
	cleanup := driftline.RunCleanup{By: "me"}
	switch random.IntN(5) {
	case 0:
		for _, silent := range []driftline.RunID{run, "f1", "f2"} {
			r.beats.heard(silent, time.Unix(0, 0))
		}
		_, err := r.EndLostRuns()
		return err
	case 1:
		_, err := r.Heartbeat(run)
		return err
	case 2:
		cleanup.Runs = []driftline.RunID{run}
	case 3:
		cleanup.Experiments = []driftline.ExperimentID{id}
	}
	_, err := r.CleanUp(context.Background(), cleanup)
	return err
}

func randomExperiment(random *rand.Rand, r *Registry, id driftline.ExperimentID) (err error) {
	name := driftline.ExperimentName(fmt.Sprint("Exp ", random.IntN(4)))
	switch random.IntN(6) {
	case 0:
		_, err = r.CreateExperiment(driftline.ExperimentSpec{Name: name, Tags: map[string]string{"a": "b"}})
	case 1:
		_, err = r.RenameExperiment(id, name)
	case 2:
		_, err = r.DeleteExperiment(id)
	case 3:
		_, err = r.RestoreExperiment(id)
	case 4:
		_, err = r.TagExperiment(id, map[string]string{fmt.Sprint("t", random.IntN(2)): fmt.Sprint(random.IntN(2))})
	case 5:
		_, err = r.UntagExperiment(id, fmt.Sprint("t", random.IntN(2)))
	}
	return err
}

func randomChange(random *rand.Rand, r *Registry, id driftline.RunID) (err error) {
	switch random.IntN(5) {
	case 0:
		_, err = r.ChangeRun(id, driftline.RunChange{Status: driftline.RunStatuses[random.IntN(5)], Ended: time.Unix(int64(1+random.IntN(9)), 0).UTC(), Name: fmt.Sprint("n", random.IntN(3))})
	case 1:
		_, err = r.DeleteRun(id)
	case 2:
		_, err = r.RestoreRun(id)
	case 3:
		_, err = r.UntagRun(id, fmt.Sprint("t", random.IntN(3)))
	case 4:
		err = r.LogAnyRun(id, driftline.RunLog{
			Datasets:    []driftline.DatasetInput{{Name: fmt.Sprint("d", random.IntN(2)), Digest: "x", Tags: map[string]string{"c": "t"}}},
			ModelInputs: []string{fmt.Sprint("m-", random.IntN(2))},
			Metrics:     []driftline.Metric{{Key: "m", Value: 1, Step: 1, Model: "m-1"}, {Key: "m", Value: 2, Step: 2}, {Key: fmt.Sprint("m", random.IntN(9)), Value: 2}},
		})
	}
	return err
}

// randomModelChange does what can be done to a model besides registering and moving aliases.
func randomModelChange(random *rand.Rand, r *Registry, model driftline.ModelName) error {
	pick := func(n int) int { return random.IntN(n) }
	version := fmt.Sprint(1 + pick(3))
	note := fmt.Sprint("note ", pick(3))
	var err error
	switch pick(14) {
	case 0:
		_, err = r.CreateModel(driftline.RegisteredModelSpec{Name: model, Description: note})
	case 1:
		_, err = r.ChangeModel(model, driftline.ModelChange{Description: &note, Tags: map[string]string{"a": note}, RemoveTags: []string{"b"}})
	case 2:
		_, err = r.RenameModel(model, driftline.ModelName(fmt.Sprint("model ", pick(4))), "ada")
	case 3:
		if pick(4) == 0 {
			err = r.DeleteModel(model, "ada", note)
		}
	case 4:
		_, err = r.ChangeModelVersion(model, version, driftline.ModelChange{Tags: map[string]string{"b": note}})
	case 5:
		err = r.DeleteModelVersion(model, version, "ada", "")
	case 6:
		_, err = r.MoveStage(model, version, driftline.StageMove{Stage: driftline.ModelStages[pick(4)], ArchiveExisting: pick(2) == 0})
	case 7:
		_, err = r.RollbackAlias(model, driftline.Alias(fmt.Sprint("alias", pick(2))), driftline.AliasRollback{})
	case 8:
		_, err = r.SetModelGate(model, driftline.ModelGate{Alias: "alias1", Checks: []string{"auc", "drift"}[:pick(3)], Approvals: pick(2)}, "", "")
	case 9:
		_, err = r.AddModelCheck(model, version, driftline.ModelCheck{Name: []string{"auc", "drift"}[pick(2)], Passed: pick(3) > 0})
	case 10:
		_, err = r.AddModelApproval(model, version, driftline.ModelApproval{Alias: "alias1", Decision: driftline.ApprovalGiven, By: "bob"})
	case 11:
		_, err = r.MoveAlias(model, "alias0", driftline.AliasMove{})
	case 12:
		_, err = r.RegisterModel(driftline.ModelSpec{Model: model, Source: fmt.Sprintf("models:/%s/%s", model, version)})
	case 13:
		_, err = r.RemoveArtifacts(driftline.RunRef(driftline.RunID(fmt.Sprintf("exp-%d-%d", pick(2), 1+pick(8)))), fmt.Sprint("file", pick(3)), "", "")
	}
	return err
}

// randomEvaluation records a pane of a monitor, and now and then an alert with it.
func randomEvaluation(random *rand.Rand, r *Registry) error {
	tx := r.Begin()
	defer tx.Discard()
	state, err := tx.MonitorState("watch")
	if err != nil {
		return err
	}
	state.Panes++
	state.Outcomes = append(state.Outcomes, driftline.PaneDrift)[max(0, len(state.Outcomes)-3):]
	pane := driftline.MonitorPane{Monitor: "watch", Version: 1, Start: tx.Time(), Outcome: driftline.PaneDrift}
	if random.IntN(3) == 0 {
		state.Alerts++
		state.Alert = driftline.AlertID(fmt.Sprint("watch-", state.Alerts))
		if _, err := tx.ChangeAlert("raised", driftline.Alert{ID: state.Alert, Monitor: "watch", Version: 1, Columns: []driftline.DriftColumn{{Column: "f0"}}}); err != nil {
			return err
		}
	}
	if _, err := tx.AddEvaluation(pane, &state, nil); err != nil {
		return err
	}
	if random.IntN(3) == 0 {
		return nil // discarded
	}
	return tx.Commit()
}

func randomDefinitions(random *rand.Rand, view driftline.ViewName) driftline.Definitions {
	definitions := driftline.Definitions{
		Entities: []driftline.Entity{{Name: "e", JoinKeys: []driftline.Field{{Name: "k", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: view, Entities: []driftline.EntityName{"e"}, TTL: driftline.Duration(random.IntN(3)),
		}},
		FeatureServices: []driftline.FeatureService{{Name: "s", Projections: []driftline.Projection{{View: view}}}},
	}
	if random.IntN(2) == 0 {
		definitions.Monitors = []driftline.Monitor{{
			Name: "watch", Source: driftline.MonitorSource{Ref: driftline.ViewRef(view)},
			Reference: driftline.MonitorReference{SameWeekday: 1 + random.IntN(2)}, Window: driftline.Span{Days: 1},
		}}
	}
	for i := range 1 + random.IntN(4) {
		definitions.FeatureViews[0].Features = append(definitions.FeatureViews[0].Features,
			driftline.Field{Name: fmt.Sprint("f", i), Type: driftline.Int64})
	}
	return definitions
}

// randomPolicy applies or deletes the policy of a model.
func randomPolicy(random *rand.Rand, r *Registry, model driftline.ModelName) error {
	if random.IntN(3) > 0 {
		p := driftline.Policy{Model: model, Pacing: driftline.Pacing{Budget: random.IntN(3)}}
		_, err := r.Apply(driftline.Definitions{Policies: []driftline.Policy{p}})
		return err
	}
	tx := r.Begin()
	defer tx.Discard()
	if _, err := tx.DeletePolicy(model, "ann", ""); err != nil {
		return err
	}
	return tx.Commit()
}
