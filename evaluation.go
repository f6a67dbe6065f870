package driftline

import "time"

// EvaluationGate says what a candidate must show on a frozen dataset before it gets any
// traffic: beside the champion where there is one, and by itself.
type EvaluationGate struct {
	Dataset Ref    `json:"dataset,omitzero"` // dataset/late_departure_test@3; without one there is no gate
	Task    string `json:"task,omitempty"`   // TaskClassification, …
	Metric  string `json:"metric,omitempty"` // the primary one: roc_auc, rmse
	Label   string `json:"label,omitempty"`  // the column that has the truth
	Group   string `json:"group,omitempty"`  // of a ranking

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

// Evaluation is what a candidate showed on a dataset, with all that is needed to get the
// same again.
type Evaluation struct {
	Model     ModelName `json:"model"`
	Candidate int       `json:"candidate"`
	Champion  int       `json:"champion,omitempty"` // 0: there is none
	Dataset   Ref       `json:"dataset"`            // with its version
	DataHash  string    `json:"data_hash,omitempty"`
	Time      time.Time `json:"time"`

	Outcome EvaluationOutcome `json:"outcome"`
	Checks  []EvaluationCheck `json:"checks"`
	Rows    int64             `json:"rows"`
	Labels  int64             `json:"labels"`
	Seed    uint64            `json:"seed"`
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
