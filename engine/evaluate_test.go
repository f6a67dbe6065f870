package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

var scoredSchema = arrow.NewSchema([]arrow.Field{
	{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	{Name: "late", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "good", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "poor", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
}, nil)

// scoredRows are hourly departures of two airports with the scores of two models.
func scoredRows(from time.Time, n int) string {
	random := rand.New(rand.NewPCG(7, uint64(n)))
	rows := make([]map[string]any, n)
	for i := range rows {
		x := random.NormFloat64()
		p := 1 / (1 + math.Exp(-2*x))
		rows[i] = map[string]any{
			"origin": []string{"JFK", "LGA"}[i%2], "event_timestamp": from.Add(time.Duration(i) * time.Hour).Format(time.RFC3339),
			"late": random.Float64() < p, "good": p, "poor": 1 / (1 + math.Exp(-2*random.NormFloat64())),
		}
	}
	text, _ := json.Marshal(rows)
	return string(text)
}

// newCandidates is a model with a champion, version 1, and a candidate, version 2, both trained on
// dataset/trained@1, and a frozen dataset/frozen@1 of 800 later rows.
func newCandidates(t *testing.T) *testenv.Env {
	t.Helper()
	env := newWeatherWithRows(t)
	january := time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, from := range map[driftline.DatasetName]time.Time{"trained": january, "frozen": january.AddDate(0, 2, 0)} {
		req := weatherRequest()
		req.SaveAs = name
		save(t, env, req, env.Rows(scoredSchema, scoredRows(from, 800)))
	}
	run, err := env.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{driftline.DatasetRef("trained", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"a model", "another model"} {
		registerFile(t, env, run.ID, content)
	}
	if _, err := env.Engine.Registry().MoveAlias("late", "champion", driftline.AliasMove{Version: 1}); err != nil {
		t.Fatal(err)
	}
	return env
}

func registerFile(t *testing.T, env *testenv.Env, run driftline.RunID, content string) *driftline.ModelVersion {
	t.Helper()
	path := fmt.Sprintf("model/%x", content)
	putArtifact(t, env, driftline.RunRef(run), path, content)
	v, err := env.Engine.RegisterModel(t.Context(), driftline.ModelSpec{Model: "late", Run: run, Artifact: path}, true)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func frozenGate() *driftline.EvaluationGate {
	return &driftline.EvaluationGate{
		Dataset: driftline.DatasetRef("frozen", 0), Task: driftline.TaskClassification, Metric: "roc_auc", Label: "late",
		Floors: map[string]float64{"roc_auc": 0.7}, Segments: []driftline.Segment{{Name: "airport", Expression: "origin"}},
		Replications: 200, Seed: 11,
	}
}

// scoresIn is a SELECT of a column of the frozen rows as the scores of a model, in another order.
func scoresIn(column string) *driftline.PredictionSource {
	return &driftline.PredictionSource{Table: driftline.DriftSource{SQL: "SELECT origin, event_timestamp, " + column + " AS score FROM datasets.frozen ORDER BY random()"}}
}

func evaluateLate(t *testing.T, env *testenv.Env, version string, change func(*driftline.EvaluationRequest)) *driftline.Evaluation {
	t.Helper()
	req := driftline.EvaluationRequest{Gate: frozenGate(), Predictions: scoresIn("good"), ChampionPredictions: scoresIn("good"), By: "ci"}
	if change != nil {
		change(&req)
	}
	found, err := env.Engine.Evaluate(t.Context(), "late", version, req)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func checkOf(e *driftline.Evaluation, kind driftline.EvaluationKind) driftline.EvaluationCheck {
	for _, c := range e.Checks {
		if c.Check == kind {
			return c
		}
	}
	return driftline.EvaluationCheck{}
}

func TestACandidateIsEvaluatedAndKept(t *testing.T) {
	env := newCandidates(t)
	found := evaluateLate(t, env, "2", nil)
	if found.Outcome != driftline.EvaluationPassed || found.ID != "late-1" || found.Rows != 800 || found.Labels != 800 || found.Champion != 1 {
		t.Fatalf("%+v", found)
	}
	for kind, want := range map[driftline.EvaluationKind]driftline.EvaluationOutcome{
		driftline.EvaluateArtifact: driftline.EvaluationPassed, driftline.EvaluateSignature: driftline.EvaluationSkipped,
		driftline.EvaluateLeakage: driftline.EvaluationPassed, driftline.EvaluateMetric: driftline.EvaluationPassed,
		driftline.EvaluateSegment: driftline.EvaluationPassed, driftline.EvaluateCalibration: driftline.EvaluationPassed,
		driftline.EvaluateLatency: driftline.EvaluationSkipped,
	} {
		if c := checkOf(found, kind); c.Outcome != want {
			t.Errorf("%s is %s, want %s: %s", kind, c.Outcome, want, c.Message)
		}
	}
	if found.Dataset != driftline.DatasetRef("frozen", 1) || len(found.DataHash) != 64 || found.Predictions.Match != "keys" ||
		found.Predictions.Hash != found.ChampionPredictions.Hash || found.Gate.Replications != 200 || found.By != "ci" {
		t.Errorf("evidence: %+v", found)
	}
	if len(found.Segments) != 2 || len(found.Reliability) != 10 {
		t.Errorf("pictures: %+v, %+v", found.Segments, found.Reliability)
	}
	version, err := env.Engine.Registry().ModelVersion("late", "2")
	if err != nil || len(version.Checks) != 1 || version.Checks[0].Name != "evaluation" || !version.Checks[0].Passed || !slices.Equal(version.Checks[0].Evidence, []driftline.Ref{found.Ref()}) {
		t.Errorf("checks of the version: %+v, %v", version, err)
	}
	up, err := env.Engine.Registry().Lineage(found.Ref(), driftline.Up, 1)
	if err != nil || len(up.Edges) != 3 {
		t.Errorf("it was made from %+v, %v", up.Edges, err)
	}
	env.Reopen()
	again, err := env.Engine.Evaluation("late-1")
	if err != nil || !sameJSON(again, found) {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	evaluateLate(t, env, "1", nil)
	all, err := env.Engine.Evaluations("late", 0, 0, 10)
	if err != nil || len(all) != 2 || all[0].ID != "late-2" || all[0].Outcome != driftline.EvaluationIdentical {
		t.Errorf("all: %+v, %v", all, err)
	}
	if one, err := env.Engine.Evaluations("late", 2, 0, 10); err != nil || len(one) != 1 || one[0].ID != "late-1" {
		t.Errorf("of version 2: %+v, %v", one, err)
	}
	if before, err := env.Engine.Evaluations("late", 0, 2, 10); err != nil || len(before) != 1 || before[0].ID != "late-1" {
		t.Errorf("before the second: %+v, %v", before, err)
	}
	got, err := sqlText(t, env, "SELECT evaluation, version, champion, outcome, dataset FROM meta.evaluations ORDER BY evaluation")
	if want := "evaluation version champion outcome dataset\nlate-1 2 1 passed dataset/frozen@1\nlate-2 1 1 identical dataset/frozen@1"; err != nil || got != want {
		t.Errorf("in SQL:\n%s, %v", got, err)
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// TestWhatAnEvaluationRefuses: cases A18 to A21, with real files and tables.
func TestWhatAnEvaluationRefuses(t *testing.T) {
	env := newCandidates(t)
	run, err := env.Engine.Registry().ModelVersion("late", "2")
	if err != nil {
		t.Fatal(err)
	}
	overlapping := weatherRequest()
	overlapping.SaveAs = "overlapping"
	overlapping.Spine = &driftline.SpineSource{SQL: "SELECT origin, event_timestamp, late, good, poor FROM datasets.frozen UNION ALL SELECT * FROM (SELECT origin, event_timestamp, late, good, poor FROM datasets.trained LIMIT 3)"}
	save(t, env, overlapping, driftline.Batches{})
	same := registerFile(t, env, run.Run, "a model")
	for _, c := range []struct {
		name    string
		version string
		change  func(*driftline.EvaluationRequest)
		outcome driftline.EvaluationOutcome
		check   driftline.EvaluationKind
		says    string
	}{
		{"A19: the champion's file", fmt.Sprint(same.Version), nil, driftline.EvaluationIdentical, driftline.EvaluateArtifact, "identical artifact"},
		{"A20: no labels", "2", func(r *driftline.EvaluationRequest) { r.Gate.Dataset = driftline.DatasetRef("unlabelled", 1) }, driftline.EvaluationFailed, driftline.EvaluateData, "has no labels"},
		{"A20: no rows", "2", func(r *driftline.EvaluationRequest) { r.Gate.Dataset = driftline.DatasetRef("nothing", 1) }, driftline.EvaluationFailed, driftline.EvaluateData, "has no rows"},
		{"A20: one class", "2", func(r *driftline.EvaluationRequest) { r.Gate.Dataset = driftline.DatasetRef("always", 1) }, driftline.EvaluationFailed, driftline.EvaluateData, "of one kind"},
		{"A20: NaN", "2", func(r *driftline.EvaluationRequest) {
			r.Predictions = scoresIn("CASE WHEN good > 0.5 THEN good ELSE 'nan'::DOUBLE END")
		}, driftline.EvaluationFailed, driftline.EvaluateData, "are not finite"},
		{"A21: trained on", "2", func(r *driftline.EvaluationRequest) {
			r.Gate.Dataset = driftline.DatasetRef("overlapping", 1)
			every := "SELECT origin, event_timestamp, good AS score FROM datasets.overlapping"
			r.Predictions = &driftline.PredictionSource{Table: driftline.DriftSource{SQL: every}}
			r.ChampionPredictions = r.Predictions
		}, driftline.EvaluationFailed, driftline.EvaluateLeakage, "leakage: 3 of the 803 rows"},
		{"A21, as a warning", "2", func(r *driftline.EvaluationRequest) {
			r.Gate.Dataset = driftline.DatasetRef("overlapping", 1)
			r.Gate.Severities = map[driftline.EvaluationKind]driftline.CheckSeverity{driftline.EvaluateLeakage: driftline.CheckWarning}
			r.Predictions = &driftline.PredictionSource{Table: driftline.DriftSource{SQL: "SELECT origin, event_timestamp, good AS score FROM datasets.overlapping"}}
			r.ChampionPredictions = r.Predictions
		}, driftline.EvaluationWarned, driftline.EvaluateLeakage, "leakage: 3 of the 803 rows"},
		{"worse", "2", func(r *driftline.EvaluationRequest) { r.Predictions = scoresIn("poor") }, driftline.EvaluationFailed, driftline.EvaluateMetric, "it is worse by more than 0.01"},
		{"a row without a prediction", "2", func(r *driftline.EvaluationRequest) {
			r.Predictions = &driftline.PredictionSource{Table: driftline.DriftSource{SQL: "SELECT origin, event_timestamp, good AS score FROM datasets.frozen LIMIT 799"}}
		}, driftline.EvaluationFailed, driftline.EvaluateData, "1 of 800 scores of the candidate are not finite"},
	} {
		for name, spine := range map[driftline.DatasetName]string{
			"unlabelled": "SELECT origin, event_timestamp, NULL::BOOLEAN AS late, good FROM datasets.frozen", "nothing": "SELECT * EXCLUDE (temp, wind) FROM datasets.frozen WHERE false",
			"always": "SELECT origin, event_timestamp, true AS late, good FROM datasets.frozen",
		} {
			if _, err := env.Engine.Registry().Dataset(name, 1); err != nil {
				req := weatherRequest()
				req.SaveAs, req.Spine = name, &driftline.SpineSource{SQL: spine}
				save(t, env, req, driftline.Batches{})
			}
		}
		found := evaluateLate(t, env, c.version, c.change)
		if check := checkOf(found, c.check); found.Outcome != c.outcome || check.Outcome != c.outcome || !strings.Contains(check.Message, c.says) {
			t.Errorf("%s: %s; %s is %s: %s", c.name, found.Outcome, c.check, check.Outcome, check.Message)
		}
		if version, err := env.Engine.Registry().ModelVersion("late", c.version); err != nil || version.Checks[len(version.Checks)-1].Passed != found.Passed() {
			t.Errorf("%s: the version's check says %+v, %v", c.name, version.Checks, err)
		}
	}

	// A18: the file on the disk is not the one that was registered.
	damaged := registerFile(t, env, run.Run, "a third model")
	if err := os.WriteFile(filepath.Join(env.Dir, "artifacts", damaged.Artifact.SHA256), []byte("another thing"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := evaluateLate(t, env, fmt.Sprint(damaged.Version), nil)
	if check := checkOf(found, driftline.EvaluateArtifact); found.Outcome != driftline.EvaluationFailed || check.Outcome != driftline.EvaluationFailed || !strings.Contains(check.Message, "is damaged: it is not what was stored") {
		t.Errorf("a damaged file: %s; %+v", found.Outcome, check)
	}
}

func TestAFirstModelIsHeldAgainstItsFloors(t *testing.T) {
	env := newCandidates(t)
	if _, err := env.Engine.Registry().MoveAlias("late", "champion", driftline.AliasMove{}); err != nil {
		t.Fatal(err)
	}
	for column, want := range map[string]driftline.EvaluationOutcome{"good": driftline.EvaluationPassed, "poor": driftline.EvaluationFailed} {
		found := evaluateLate(t, env, "1", func(r *driftline.EvaluationRequest) { r.Predictions, r.ChampionPredictions = scoresIn(column), nil })
		if found.Outcome != want || found.Champion != 0 || checkOf(found, driftline.EvaluateFloor).Outcome != want || checkOf(found, driftline.EvaluateMetric).Outcome != driftline.EvaluationSkipped {
			t.Errorf("%s: %s, %+v", column, found.Outcome, found.Checks)
		}
	}
}

// TestOnlyTheHeldOutPartIsMeasured: a divided dataset may be both what was trained on and what is
// measured on.
func TestOnlyTheHeldOutPartIsMeasured(t *testing.T) {
	env := newCandidates(t)
	req := weatherRequest()
	req.SaveAs, req.Spine = "trained", &driftline.SpineSource{SQL: "SELECT origin, event_timestamp, late, good, poor FROM datasets.frozen"}
	req.Split = &driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{{Name: "train", Fraction: 0.75}, {Name: "test", Fraction: 0.25}}}
	divided := save(t, env, req, driftline.Batches{})
	run, err := env.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{divided.Ref()}})
	if err != nil {
		t.Fatal(err)
	}
	version := fmt.Sprint(registerFile(t, env, run.ID, "a fourth model").Version)
	for part, want := range map[string]driftline.EvaluationOutcome{"test": driftline.EvaluationPassed, "": driftline.EvaluationFailed} {
		found := evaluateLate(t, env, version, func(r *driftline.EvaluationRequest) { r.Gate.Dataset, r.Gate.Part = divided.Ref(), part })
		if got := checkOf(found, driftline.EvaluateLeakage); got.Outcome != want {
			t.Errorf("part %q: %d rows, leakage %s: %s", part, found.Rows, got.Outcome, got.Message)
		}
	}
}

// scoresFile is a Parquet file with a column of the frozen rows as scores.
func scoresFile(t *testing.T, env *testenv.Env, sql string) string {
	t.Helper()
	rows, err := env.Engine.SQL(t.Context(), sql, nil)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	writer, err := pqarrow.NewFileWriter(rows.Schema, &file, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	for batch, err := range rows.All {
		if err == nil {
			err = writer.WriteBuffered(batch)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

func TestPredictionsMayBeFilesOfTheRun(t *testing.T) {
	env := newCandidates(t)
	version, err := env.Engine.Registry().ModelVersion("late", "2")
	if err != nil {
		t.Fatal(err)
	}
	run := driftline.RunRef(version.Run)
	ask := driftline.EvaluationRequest{Gate: frozenGate(), Champion: "none"}
	evaluate := func() (*driftline.Evaluation, error) { return env.Engine.Evaluate(t.Context(), "late", "2", ask) }

	_, err = evaluate()
	wantFailure(t, err, driftline.FailedPrecondition, "there are no predictions of model/late@2 for dataset/frozen@1")

	putArtifact(t, env, run, "predictions.parquet", scoresFile(t, env, "SELECT good AS score FROM datasets.frozen"))
	_, err = evaluate()
	wantFailure(t, err, driftline.FailedPrecondition, "nothing says which rows they are of")

	putArtifact(t, env, run, "predictions.parquet", scoresFile(t, env, "SELECT good AS score, event_timestamp, origin FROM datasets.frozen ORDER BY score"))
	byKeys, err := evaluate()
	if err != nil || byKeys.Outcome != driftline.EvaluationPassed || byKeys.Predictions.Match != "keys" || byKeys.Predictions.From != "runs:/"+run.Name+"/predictions.parquet" {
		t.Fatalf("%+v, %v", byKeys, err)
	}
	putArtifact(t, env, run, "predictions/frozen@1.parquet", scoresFile(t, env, "SELECT good AS score FROM datasets.frozen"))
	byPlace, err := evaluate()
	if err != nil || byPlace.Predictions.Match != "place" || byPlace.Predictions.Hash != byKeys.Predictions.Hash {
		t.Errorf("%+v, %v", byPlace, err)
	}
	putArtifact(t, env, run, "predictions/frozen@1.parquet", scoresFile(t, env, "SELECT good AS score FROM datasets.frozen LIMIT 7"))
	_, err = evaluate()
	wantFailure(t, err, driftline.FailedPrecondition, "there are 7, and dataset/frozen@1 has 800 rows")

	putArtifact(t, env, run, "predictions/frozen@1.parquet", "PAR1 or so")
	_, err = evaluate()
	wantFailure(t, err, driftline.Invalid, "is no Parquet file")

	ask.Predictions = &driftline.PredictionSource{Run: version.Run, Path: "predictions.parquet", Score: "scores"}
	_, err = evaluate()
	wantFailure(t, err, driftline.Invalid, `"scores"`)
	ask.Predictions.Table.SQL = "SELECT 1"
	_, err = evaluate()
	wantFailure(t, err, driftline.Invalid, "two sources")
	if left, err := os.ReadDir(filepath.Join(env.Dir, "tmp", "read")); err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if all, err := env.Engine.Evaluations("late", 0, 0, 10); err != nil || len(all) != 2 {
		t.Errorf("%d are kept, want the two that were made: %v", len(all), err)
	}
}

func TestTheGateOfThePolicyIsUsed(t *testing.T) {
	env := newCandidates(t)
	version, err := env.Engine.Registry().ModelVersion("late", "2")
	if err != nil {
		t.Fatal(err)
	}
	putArtifact(t, env, driftline.RunRef(version.Run), "predictions/frozen@1.parquet", scoresFile(t, env, "SELECT good AS score FROM datasets.frozen"))
	_, err = env.Engine.EvaluateCandidate(t.Context(), "late", 2)
	wantFailure(t, err, driftline.FailedPrecondition, "has no evaluation gate")
	env.Apply(driftline.Definitions{Policies: []driftline.Policy{{Model: "late", Evaluation: *frozenGate()}}})
	found, err := env.Engine.EvaluateCandidate(t.Context(), "late", 2)
	if err != nil || found.Outcome != driftline.EvaluationPassed || found.Policy != 1 || found.Seed != 11 || found.Gate.Dataset != driftline.DatasetRef("frozen", 1) {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestAnEvaluationNeedsAGateThatFits(t *testing.T) {
	env := newCandidates(t)
	for says, change := range map[string]func(*driftline.EvaluationRequest){
		"has no evaluation gate":            func(r *driftline.EvaluationRequest) { r.Gate = nil },
		"names no dataset":                  func(r *driftline.EvaluationRequest) { *r.Gate = driftline.EvaluationGate{} },
		`dataset "frozn" does not exist`:    func(r *driftline.EvaluationRequest) { r.Gate.Dataset.Name = "frozn" },
		`"lat"`:                             func(r *driftline.EvaluationRequest) { r.Gate.Label = "lat" },
		`is not divided`:                    func(r *driftline.EvaluationRequest) { r.Gate.Part = "test" },
		`"carrier"`:                         func(r *driftline.EvaluationRequest) { r.Gate.Keys = []string{"carrier"} },
		`nowhere`:                           func(r *driftline.EvaluationRequest) { r.Gate.Segments[0].Expression = "nowhere" },
		`syntax`:                            func(r *driftline.EvaluationRequest) { r.Gate.Segments[0].Expression = "1) FROM x; DROP TABLE y --" },
		`alias "challenger" does not exist`: func(r *driftline.EvaluationRequest) { r.Champion = "challenger" },
	} {
		req := driftline.EvaluationRequest{Gate: frozenGate(), Predictions: scoresIn("good"), ChampionPredictions: scoresIn("good")}
		change(&req)
		if _, err := env.Engine.Evaluate(t.Context(), "late", "2", req); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v\nwant an error that says %s", err, says)
		}
	}
	if version, err := env.Engine.Registry().ModelVersion("late", "2"); err != nil || len(version.Checks) != 0 {
		t.Errorf("checks: %+v, %v", version, err)
	}
}
