package driftline

import "time"

// EvaluationGate says what a candidate must show on a frozen dataset before it gets any
// traffic: beside the champion where there is one, and by itself.
type EvaluationGate struct {
	Dataset Ref    `json:"dataset,omitzero"` // dataset/late_departure_test@3; without one there is no gate
	Part    string `json:"part,omitempty"`   // of a dataset that is divided: "test"; all of it if empty
	Task    string `json:"task,omitempty"`   // TaskClassification, …
	Metric  string `json:"metric,omitempty"` // the primary one: roc_auc, rmse
	Label   string `json:"label,omitempty"`  // the column that has the truth
	Group   string `json:"group,omitempty"`  // of a ranking

	// Keys are the columns that, with the dataset's time, tell its rows apart: predictions and
	// training rows are found by them. The join keys of the dataset's views if empty.
	Keys []string `json:"keys,omitempty"`

	// Inputs are the columns that the server of a version without a signature is given, in their order, where it is
	// asked for predictions. If empty, all columns but the keys, the time, the label, the group and the part.
	Inputs []string `json:"inputs,omitempty"`

	// Delta is by how much the primary metric may be worse than the champion's. The candidate
	// passes if the interval of the difference, at level Alpha (0.05 if 0), lies above −Delta.
	// Nil: 0.01.
	Delta *float64 `json:"delta,omitempty"`
	Alpha float64  `json:"alpha,omitempty"`

	// Floors are what metrics must reach whatever the champion does: a least value where
	// higher is better, a greatest one otherwise. A first model has nothing else.
	Floors map[string]float64 `json:"floors,omitempty"`

	// Segments are groups of rows of which none may be worse by more than SegmentDelta (5·Delta
	// if nil), beyond chance. Those with fewer rows than SegmentRows (100 if 0) are not looked at.
	Segments     []Segment `json:"segments,omitempty"`
	SegmentDelta *float64  `json:"segment_delta,omitempty"`
	SegmentRows  int       `json:"segment_rows,omitempty"`

	// Calibration is by how much the expected calibration error may exceed the champion's; 0.02
	// if nil.
	Calibration *float64 `json:"calibration,omitempty"`

	// Latency is the most that the 95th percentile of the smoke test may be, and LatencyRatio
	// the most of it in terms of the champion's. 0 leaves it unlimited.
	Latency      Duration `json:"latency,omitempty"`
	LatencyRatio float64  `json:"latency_ratio,omitempty"`

	// Severities change what a failed check means; blocking where nothing is said.
	Severities map[EvaluationKind]CheckSeverity `json:"severities,omitempty"`

	Replications int    `json:"replications,omitempty"` // of the bootstrap; 1000 if 0
	Seed         uint64 `json:"seed,omitempty"`
}

// EvaluationKind names a check of an evaluation.
type EvaluationKind string

// The checks of an evaluation, in the order in which they are made.
const (
	EvaluateArtifact    EvaluationKind = "artifact"    // the bytes are those that were registered, and not the champion's
	EvaluateSignature   EvaluationKind = "signature"   // inputs and outputs are the champion's, and the dataset has the inputs
	EvaluateData        EvaluationKind = "data"        // there are rows, labels of more than one kind, and finite predictions
	EvaluateLeakage     EvaluationKind = "leakage"     // no row of the dataset was trained on
	EvaluateMetric      EvaluationKind = "metric"      // the primary metric is not worse than the champion's
	EvaluateFloor       EvaluationKind = "floor"       // metrics reach their floors
	EvaluateSegment     EvaluationKind = "segment"     // no segment is worse
	EvaluateCalibration EvaluationKind = "calibration" // scores mean what they say, about as well as the champion's
	EvaluateLatency     EvaluationKind = "latency"     // it answers in time
)

// EvaluationKinds lists all of them, in order.
var EvaluationKinds = []EvaluationKind{
	EvaluateArtifact, EvaluateSignature, EvaluateData, EvaluateLeakage, EvaluateMetric, EvaluateFloor,
	EvaluateSegment, EvaluateCalibration, EvaluateLatency,
}

// Completed returns the gate with its defaults filled in.
func (g EvaluationGate) Completed() EvaluationGate {
	if g.Delta == nil {
		g.Delta = new(0.01)
	}
	if g.SegmentDelta == nil {
		g.SegmentDelta = new(5 * *g.Delta)
	}
	if g.Calibration == nil {
		g.Calibration = new(0.02)
	}
	g.Alpha, g.SegmentRows, g.Replications = orElse(g.Alpha, 0.05), orElse(g.SegmentRows, 100), orElse(g.Replications, 1000)
	return g
}

// Severity returns what a failed check of a kind means.
func (g *EvaluationGate) Severity(kind EvaluationKind) CheckSeverity {
	return orElse(g.Severities[kind], CheckBlocking)
}

// EvaluationOutcome is what an evaluation, or one of its checks, came to.
type EvaluationOutcome string

// The outcomes. Of an evaluation: it passed if no blocking check failed.
const (
	EvaluationPassed    EvaluationOutcome = "passed"
	EvaluationWarned    EvaluationOutcome = "warned" // a check failed whose severity is warning
	EvaluationFailed    EvaluationOutcome = "failed"
	EvaluationSkipped   EvaluationOutcome = "skipped"   // there was nothing to look at
	EvaluationIdentical EvaluationOutcome = "identical" // the candidate is the champion, byte for byte
)

// EvaluationRequest asks for an evaluation. All of it may be left out: then the gate is that
// of the model's policy, the champion the version that serves, and predictions are looked
// for where [PredictionSource] says.
type EvaluationRequest struct {
	Gate *EvaluationGate `json:"gate,omitempty"`

	// Champion is the version, by number or alias, that the candidate is held against; "none"
	// looks at the candidate alone.
	Champion string `json:"champion,omitempty"`

	Predictions         *PredictionSource `json:"predictions,omitempty"`
	ChampionPredictions *PredictionSource `json:"champion_predictions,omitempty"`

	By string `json:"by,omitempty"` // who asks
}

// PredictionSource says where the predictions of a version for the rows of a dataset are:
// exactly one of Table and Run is set. Where none is, they are looked for in this order: the
// file predictions/NAME@VERSION.parquet of the version's run, and predictions.parquet of the
// version's own files or of its run; and where there is none of them the version's server is asked
// (see [ModelServer]).
//
// Rows are found by the dataset's keys and time where the predictions have both; otherwise
// there must be as many predictions as rows, in the same order. predictions.parquet, whose name
// does not say of which dataset it is, must have both.
type PredictionSource struct {
	Table DriftSource `json:"table,omitzero"`
	Run   RunID       `json:"run,omitempty"`  // that logged a Parquet file …
	Path  string      `json:"path,omitempty"` // … under this name

	Prediction string `json:"prediction,omitempty"` // the column of classes or numbers; "prediction" if empty
	Score      string `json:"score,omitempty"`      // of probabilities of class 1, or of what ranks; "score" if empty
}

// Evaluation is what a candidate showed on a dataset, with all that is needed to get the
// same again.
type Evaluation struct {
	ID        EvaluationID `json:"id,omitempty"` // the model's name and a number; "" of one that was not kept
	Model     ModelName    `json:"model"`
	Candidate int          `json:"candidate"`
	Champion  int          `json:"champion,omitempty"` // 0: there is none
	Dataset   Ref          `json:"dataset"`            // with its version
	DataHash  string       `json:"data_hash,omitempty"`
	Time      time.Time    `json:"time"`

	Outcome EvaluationOutcome `json:"outcome"`
	Checks  []EvaluationCheck `json:"checks"`
	Rows    int64             `json:"rows"`
	Labels  int64             `json:"labels"`
	Seed    uint64            `json:"seed"`

	// The evidence: the gate with its defaults, the policy that it is of (0: of none), and where
	// predictions came from.
	Gate                EvaluationGate   `json:"gate,omitzero"`
	Policy              int              `json:"policy,omitempty"`
	Predictions         *PredictionsUsed `json:"predictions,omitempty"`
	ChampionPredictions *PredictionsUsed `json:"champion_predictions,omitempty"`
	By                  string           `json:"by,omitempty"`

	// What pictures show: the primary metric of each segment with enough rows, and how often
	// class 1 came about in ten bins of equally many rows by score.
	Segments            []EvaluatedSegment `json:"segments,omitempty"`
	Reliability         []ReliabilityBin   `json:"reliability,omitempty"`
	ChampionReliability []ReliabilityBin   `json:"champion_reliability,omitempty"`
}

// Ref names the evaluation.
func (e *Evaluation) Ref() Ref { return EvaluationRef(e.ID) }

// Passed reports whether the candidate may get traffic: no blocking check failed, and it is
// not the champion's own bytes.
func (e *Evaluation) Passed() bool {
	return e.Outcome == EvaluationPassed || e.Outcome == EvaluationWarned
}

// PredictionsUsed says which predictions were measured.
type PredictionsUsed struct {
	From  string `json:"from"` // a table, runs:/RUN/path, model/NAME@VERSION/path, or model/NAME@VERSION at URL: its server's
	Ref   Ref    `json:"ref,omitzero"`
	Match string `json:"match"` // "keys" or "place": how rows were found
	Hash  string `json:"hash"`  // of predictions and scores in the order of the dataset's rows
}

// EvaluatedSegment is the primary metric in one segment.
type EvaluatedSegment struct {
	Segment    string   `json:"segment"`
	Candidate  Interval `json:"candidate"`
	Champion   Interval `json:"champion"`
	Difference Interval `json:"difference"` // candidate − champion, signed so that more is better
	Worse      bool     `json:"worse,omitempty"`
}

// ReliabilityBin is a tenth of the rows, by score.
type ReliabilityBin struct {
	Score Number `json:"score"` // the mean
	Share Number `json:"share"` // of class 1
	Rows  int64  `json:"rows"`
}

// EvaluationCheck is one check of an evaluation.
type EvaluationCheck struct {
	Check    EvaluationKind    `json:"check"`
	Subject  string            `json:"subject,omitempty"` // the metric or the segment
	Outcome  EvaluationOutcome `json:"outcome"`
	Severity CheckSeverity     `json:"severity"`
	Message  string            `json:"message"` // in one sentence, for people

	Candidate  *Interval `json:"candidate,omitempty"`
	Champion   *Interval `json:"champion,omitempty"`
	Difference *Interval `json:"difference,omitempty"` // candidate − champion, signed so that more is better
	Limit      *float64  `json:"limit,omitempty"`      // that was held against it
}
