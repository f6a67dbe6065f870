// Package evaluation decides whether a candidate may get any traffic, from what it and the
// champion made of the same frozen rows. It is pure: the engine reads the dataset, has both
// models score it, and keeps what [Evaluate] returns with the dataset's hash and the seed, so that
// the same can be made again.
//
//	artifact ─ signature ─ data ─ leakage ─ metric ─ floor ─ segment ─ calibration ─ latency
//	    │                    │
//	 identical:           failed: what rests on
//	 nothing to do        numbers is skipped
//
// Invariants:
//
//   - A check that cannot be made is skipped, and says why; it never passes in silence.
//   - A candidate that is better is never refused by a check that compares.
//   - The same input gives the same evaluation, bit for bit.
package evaluation

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
)

// Input is what is known of a candidate and of the champion. Columns have one value per row
// of the dataset.
type Input struct {
	Model     driftline.ModelName
	Candidate Side
	Champion  *Side // nil: there is none
	Dataset   driftline.Ref
	DataHash  string

	Columns []driftline.Field // of the dataset
	Labels  []float64         // NaN: not known
	Groups  []int             // of a ranking

	Segments []Segments

	// Rows are hashes of the dataset's rows by key and time ([RowKey]), and Trained those of the
	// rows that the candidate was trained on; nil: not known.
	Rows    []uint64
	Trained []uint64
}

// Side is one of the two models.
type Side struct {
	Version    int
	SHA256     string // of the bytes that were read
	Registered string // of the bytes that were registered
	Damage     string // why the bytes could not be read; "" if they could

	Signature *Signature // nil: it has none

	Predictions []float64 // classes or numbers; nil: there are none
	Scores      []float64 // of class 1, or what ranks; nil: there are none

	Latencies []time.Duration // of a smoke test; nil: there was none
}

// Signature is what a model takes and gives.
type Signature struct {
	Inputs, Outputs []driftline.Field
}

// Segments are the values of one segment expression: a row of value "" is of no segment.
type Segments struct {
	Title  string
	Values []string
}

// RowKey is the hash of a row by its keys and its time.
func RowKey(keys []string, at time.Time) uint64 {
	h := fnv.New64a()
	for _, key := range keys {
		h.Write(binary.AppendUvarint(nil, uint64(len(key))))
		h.Write([]byte(key))
	}
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(at.UnixMicro())))
	return h.Sum64()
}

// Evaluate makes all checks of a gate. It fails if the gate is wrong, or a column has not as
// many rows as the others.
func Evaluate(gate driftline.EvaluationGate, in *Input, now time.Time) (*driftline.Evaluation, error) {
	if err := gate.Check(); err != nil {
		return nil, err
	}
	metric, err := primary(&gate)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	e := &evaluator{gate: gate.Completed(), in: in, metric: metric}
	e.report = &driftline.Evaluation{
		Model: in.Model, Candidate: in.Candidate.Version, Dataset: in.Dataset, DataHash: in.DataHash, Time: now,
		Rows: int64(len(in.Labels)), Seed: gate.Seed, Gate: gate.Completed(), Checks: []driftline.EvaluationCheck{},
	}
	if in.Champion != nil {
		e.report.Champion = in.Champion.Version
	}
	e.run()
	return e.report, nil
}

func primary(gate *driftline.EvaluationGate) (estimate.Metric, error) {
	metric, err := estimate.MetricOf(gate.Metric)
	if err != nil {
		return metric, driftline.Errorf(driftline.Invalid, "evaluation.metric: %w", err)
	}
	if metric.Task != gate.Task {
		return metric, driftline.Errorf(driftline.Invalid, "evaluation.metric %q is of %s, and evaluation.task is %s", gate.Metric, metric.Task, gate.Task)
	}
	for name := range gate.Floors {
		if _, err := estimate.MetricOf(name); err != nil {
			return metric, driftline.Errorf(driftline.Invalid, "evaluation.floors: %w", err)
		}
	}
	return metric, nil
}

func (in *Input) check() error {
	n := len(in.Labels)
	columns := map[string]int{"candidate's predictions": len(in.Candidate.Predictions), "candidate's scores": len(in.Candidate.Scores), "groups": len(in.Groups), "rows": len(in.Rows)}
	if in.Champion != nil {
		columns["champion's predictions"], columns["champion's scores"] = len(in.Champion.Predictions), len(in.Champion.Scores)
	}
	for _, s := range in.Segments {
		columns["segment "+s.Title] = len(s.Values)
	}
	for name, length := range columns {
		if length != 0 && length != n {
			return driftline.Errorf(driftline.Invalid, "evaluation: the %s are %d, and the labels %d", name, length, n)
		}
	}
	return nil
}

// evaluator makes one evaluation.
type evaluator struct {
	gate   driftline.EvaluationGate
	in     *Input
	metric estimate.Metric
	report *driftline.Evaluation
}

func (e *evaluator) run() {
	if e.identical() {
		e.report.Outcome = driftline.EvaluationIdentical
		return
	}
	e.artifact()
	e.signature()
	sound := e.data()
	e.leakage()
	for _, check := range []struct {
		kind driftline.EvaluationKind
		make func()
	}{
		{driftline.EvaluateMetric, e.better}, {driftline.EvaluateFloor, e.floors},
		{driftline.EvaluateSegment, e.segments}, {driftline.EvaluateCalibration, e.calibration},
	} {
		if sound {
			check.make()
		} else {
			e.skip(check.kind, "the data check failed")
		}
	}
	e.latency()
	e.report.Outcome = e.outcome()
}

func (e *evaluator) outcome() driftline.EvaluationOutcome {
	outcome := driftline.EvaluationPassed
	for _, c := range e.report.Checks {
		if c.Outcome == driftline.EvaluationFailed {
			return driftline.EvaluationFailed
		}
		if c.Outcome == driftline.EvaluationWarned {
			outcome = driftline.EvaluationWarned
		}
	}
	return outcome
}

// Reason says in a sentence why an evaluation came to what it came to.
func Reason(e *driftline.Evaluation) string {
	if e.Outcome == driftline.EvaluationIdentical {
		return fmt.Sprintf("version %d is the champion, byte for byte", e.Candidate)
	}
	var failed []string
	for _, c := range e.Checks {
		if c.Outcome == driftline.EvaluationFailed || e.Outcome == driftline.EvaluationWarned && c.Outcome == driftline.EvaluationWarned {
			failed = append(failed, c.Message)
		}
	}
	if len(failed) == 0 {
		return fmt.Sprintf("version %d passed on %s", e.Candidate, e.Dataset)
	}
	return strings.Join(failed, "; ")
}

// add records a check that was made. failed says what is wrong, and fine what is right.
func (e *evaluator) add(c driftline.EvaluationCheck, failed bool) {
	c.Severity, c.Outcome = e.gate.Severity(c.Check), driftline.EvaluationPassed
	switch {
	case failed && c.Severity == driftline.CheckWarning:
		c.Outcome = driftline.EvaluationWarned
	case failed:
		c.Outcome = driftline.EvaluationFailed
	}
	e.report.Checks = append(e.report.Checks, c)
}

func (e *evaluator) skip(kind driftline.EvaluationKind, why string) {
	e.report.Checks = append(e.report.Checks, driftline.EvaluationCheck{
		Check: kind, Severity: e.gate.Severity(kind), Outcome: driftline.EvaluationSkipped, Message: string(kind) + " was not looked at: " + why,
	})
}

func (e *evaluator) identical() bool {
	c, champion := &e.in.Candidate, e.in.Champion
	if champion == nil || c.SHA256 == "" || c.SHA256 != champion.SHA256 {
		return false
	}
	e.report.Checks = append(e.report.Checks, driftline.EvaluationCheck{
		Check: driftline.EvaluateArtifact, Severity: e.gate.Severity(driftline.EvaluateArtifact), Outcome: driftline.EvaluationIdentical,
		Message: fmt.Sprintf("identical artifact: versions %d and %d have the same bytes", c.Version, champion.Version),
	})
	return true
}

func (e *evaluator) artifact() {
	c := &e.in.Candidate
	if c.Damage != "" {
		e.add(driftline.EvaluationCheck{Check: driftline.EvaluateArtifact, Message: c.Damage}, true)
		return
	}
	if c.SHA256 == "" || c.Registered == "" {
		e.skip(driftline.EvaluateArtifact, "its bytes have no hash")
		return
	}
	check := driftline.EvaluationCheck{Check: driftline.EvaluateArtifact, Message: "the bytes are those that were registered"}
	if c.SHA256 != c.Registered {
		check.Message = fmt.Sprintf("the artifact of version %d has hash %.12s, and %.12s was registered", c.Version, c.SHA256, c.Registered)
	}
	e.add(check, c.SHA256 != c.Registered)
}

func (e *evaluator) signature() {
	c := e.in.Candidate.Signature
	if c == nil {
		e.skip(driftline.EvaluateSignature, "the candidate has no signature")
		return
	}
	var wrong []string
	if e.in.Columns != nil {
		wrong = append(wrong, lacking("the dataset", e.in.Columns, c.Inputs)...)
	}
	if champion := e.in.Champion; champion != nil && champion.Signature != nil {
		// What the champion's callers send, the candidate must be content with; what they get, it must give.
		wrong = append(wrong, lacking("the champion's input", champion.Signature.Inputs, c.Inputs)...)
		wrong = append(wrong, lacking("the candidate's output", c.Outputs, champion.Signature.Outputs)...)
	}
	check := driftline.EvaluationCheck{Check: driftline.EvaluateSignature, Message: "it takes and gives what is expected of it"}
	if len(wrong) > 0 {
		check.Message = "signature: " + strings.Join(wrong, "; ")
	}
	e.add(check, len(wrong) > 0)
}

// lacking says which of the wanted fields who does not have, or has with another type.
func lacking(who string, has, wanted []driftline.Field) (wrong []string) {
	for _, want := range wanted {
		i := slices.IndexFunc(has, func(f driftline.Field) bool { return f.Name == want.Name })
		switch {
		case i < 0:
			wrong = append(wrong, fmt.Sprintf("%s has no %q", who, want.Name))
		case !takes(want.Type, has[i].Type):
			wrong = append(wrong, fmt.Sprintf("%s has %q as %s, want %s", who, want.Name, has[i].Type, want.Type))
		}
	}
	return wrong
}

// takes reports whether a model that wants one type is content with another: a whole number may
// stand where a fraction is wanted.
func takes(wants, has driftline.Type) bool {
	number := has == driftline.Int32 || has == driftline.Int64 || has == driftline.Float32 || has == driftline.Float64
	return wants.Holds(has) || number && (wants == driftline.Float32 || wants == driftline.Float64)
}

// data reports whether there is something to measure.
func (e *evaluator) data() (sound bool) {
	labels, kinds := 0, map[float64]bool{}
	for _, y := range e.in.Labels {
		if y == y {
			labels++
			if len(kinds) < 2 {
				kinds[y] = true
			}
		}
	}
	e.report.Labels = int64(labels)
	check := driftline.EvaluationCheck{Check: driftline.EvaluateData, Message: fmt.Sprintf("%d rows, %d labels", len(e.in.Labels), labels)}
	switch bad := e.notFinite(); {
	case len(e.in.Labels) == 0:
		check.Message = fmt.Sprintf("%s has no rows", e.in.Dataset)
	case labels == 0:
		check.Message = fmt.Sprintf("%s has no labels", e.in.Dataset)
	case len(kinds) < 2 && e.gate.Task != driftline.TaskRegression:
		check.Message = fmt.Sprintf("all labels of %s are of one kind", e.in.Dataset)
	case bad != "":
		check.Message = bad
	default:
		sound = true
	}
	e.add(check, !sound)
	return sound
}

// notFinite says how many of the candidate's answers are missing or no numbers.
func (e *evaluator) notFinite() string {
	for _, need := range e.metric.Needs {
		values, what := e.in.Candidate.Predictions, "predictions"
		if need == "score" {
			values, what = e.in.Candidate.Scores, "scores"
		} else if need == "group" {
			continue
		}
		if values == nil {
			return fmt.Sprintf("%s needs %s, and the candidate gave none", e.metric.Name, what)
		}
		bad := 0
		for _, v := range values {
			if v-v != 0 {
				bad++
			}
		}
		if bad > 0 {
			return fmt.Sprintf("%d of %d %s of the candidate are not finite", bad, len(values), what)
		}
	}
	return ""
}

func (e *evaluator) leakage() {
	if e.in.Rows == nil || e.in.Trained == nil {
		e.skip(driftline.EvaluateLeakage, "the rows that it was trained on are not known")
		return
	}
	trained := make(map[uint64]struct{}, len(e.in.Trained))
	for _, row := range e.in.Trained {
		trained[row] = struct{}{}
	}
	leaked := 0
	for _, row := range e.in.Rows {
		if _, ok := trained[row]; ok {
			leaked++
		}
	}
	check := driftline.EvaluationCheck{Check: driftline.EvaluateLeakage, Message: "no row was trained on"}
	if leaked > 0 {
		check.Message = fmt.Sprintf("leakage: %d of the %d rows of %s were trained on, by key and time", leaked, len(e.in.Rows), e.in.Dataset)
	}
	e.add(check, leaked > 0)
}

// rows are a side's rows; part is nil for all.
func (e *evaluator) rows(s *Side, part []int) estimate.Rows {
	r := estimate.Rows{Prediction: s.Predictions, Score: s.Scores, Label: e.in.Labels, Group: e.in.Groups}
	if part == nil {
		return r
	}
	return r.Select(part)
}

// better holds the primary metric against the champion's.
func (e *evaluator) better() {
	if e.in.Champion == nil {
		e.skip(driftline.EvaluateMetric, "there is no champion yet")
		return
	}
	d := e.compare(nil, e.gate.Alpha)
	delta := *e.gate.Delta
	failed := !(d.Better.Low >= -delta)
	check := driftline.EvaluationCheck{Check: driftline.EvaluateMetric, Subject: e.metric.Name, Limit: new(-delta)}
	check.Candidate, check.Champion, check.Difference = interval(d.Candidate), interval(d.Champion), interval(d.Better)
	verdict := "it is not worse"
	if failed {
		verdict = "it may be worse"
		if d.Better.High < 0 {
			verdict = "it is worse"
		}
	}
	check.Message = fmt.Sprintf("%s is %.4g, the champion's %.4g: %s by more than %g (the difference is %.4g, %.4g to %.4g)",
		e.metric.Name, d.Candidate.Value, d.Champion.Value, verdict, delta, d.Better.Value, d.Better.Low, d.Better.High)
	e.add(check, failed)
}

func (e *evaluator) compare(part []int, alpha float64) estimate.Difference {
	return e.metric.Compare(e.rows(&e.in.Candidate, part), e.rows(e.in.Champion, part), alpha, e.gate.Replications, e.gate.Seed)
}

func interval(v estimate.Estimate) *driftline.Interval {
	return &driftline.Interval{Value: driftline.Number(v.Value), Low: driftline.Number(v.Low), High: driftline.Number(v.High), Rows: int64(v.Rows)}
}

func (e *evaluator) floors() {
	if len(e.gate.Floors) == 0 {
		why := "the gate has no floors"
		if e.in.Champion == nil {
			why += ", and there is no champion: nothing was asked of it"
		}
		e.skip(driftline.EvaluateFloor, why)
		return
	}
	for _, metric := range estimate.Metrics() {
		floor, asked := e.gate.Floors[metric.Name]
		if !asked {
			continue
		}
		v := metric.Measure(e.rows(&e.in.Candidate, nil), e.gate.Alpha, e.gate.Seed)
		check := driftline.EvaluationCheck{Check: driftline.EvaluateFloor, Subject: metric.Name, Candidate: interval(v), Limit: &floor}
		word, failed := "at least", !(v.Value >= floor)
		if !metric.Higher {
			word, failed = "at most", !(v.Value <= floor)
		}
		check.Message = fmt.Sprintf("%s is %.4g, want %s %g", metric.Name, v.Value, word, floor)
		e.add(check, failed)
	}
}

// segments looks for one that is worse beyond chance: the level is shared by all of them.
func (e *evaluator) segments() {
	switch {
	case len(e.in.Segments) == 0:
		e.skip(driftline.EvaluateSegment, "the gate has no segments")
		return
	case e.in.Champion == nil:
		e.skip(driftline.EvaluateSegment, "there is no champion yet")
		return
	}
	parts, small := e.parts()
	if len(parts) == 0 {
		e.skip(driftline.EvaluateSegment, fmt.Sprintf("no segment has %d rows", e.gate.SegmentRows))
		return
	}
	delta, worse := *e.gate.SegmentDelta, 0
	var worst estimate.Difference
	var title string
	for _, p := range parts {
		d := e.compare(p.rows, e.gate.Alpha/float64(len(parts)))
		if d.Better.High < -delta {
			worse++
		}
		e.report.Segments = append(e.report.Segments, driftline.EvaluatedSegment{Segment: p.title, Worse: d.Better.High < -delta,
			Candidate: *interval(d.Candidate), Champion: *interval(d.Champion), Difference: *interval(d.Better)})
		if title == "" || d.Better.High < worst.Better.High || math.IsNaN(worst.Better.High) {
			worst, title = d, p.title
		}
	}
	check := driftline.EvaluationCheck{Check: driftline.EvaluateSegment, Subject: title, Limit: new(-delta)}
	check.Candidate, check.Champion, check.Difference = interval(worst.Candidate), interval(worst.Champion), interval(worst.Better)
	check.Message = fmt.Sprintf("%d of %d segments are worse by more than %g; the worst is %s, where %s is %.4g and the champion's %.4g",
		worse, len(parts), delta, title, e.metric.Name, worst.Candidate.Value, worst.Champion.Value)
	if small > 0 {
		check.Message += fmt.Sprintf("; %d had fewer than %d rows", small, e.gate.SegmentRows)
	}
	e.add(check, worse > 0)
}

// part is the rows of one segment.
type part struct {
	title string
	rows  []int
}

// parts are the segments that have enough rows, and how many have not.
func (e *evaluator) parts() (parts []part, small int) {
	for _, s := range e.in.Segments {
		rows := map[string][]int{}
		var names []string
		for i, value := range s.Values {
			if value == "" {
				continue
			}
			if rows[value] == nil {
				names = append(names, value)
			}
			rows[value] = append(rows[value], i)
		}
		slices.Sort(names)
		for _, name := range names {
			if len(rows[name]) < e.gate.SegmentRows {
				small++
				continue
			}
			parts = append(parts, part{s.Title + "=" + name, rows[name]})
		}
	}
	return parts, small
}

func (e *evaluator) calibration() {
	if e.gate.Task != driftline.TaskClassification || e.in.Candidate.Scores == nil {
		e.skip(driftline.EvaluateCalibration, "the candidate gives no probabilities")
		return
	}
	e.report.Reliability = reliability(e.in.Candidate.Scores, e.in.Labels)
	if e.in.Champion != nil {
		e.report.ChampionReliability = reliability(e.in.Champion.Scores, e.in.Labels)
	}
	switch {
	case e.in.Champion == nil || e.in.Champion.Scores == nil:
		e.skip(driftline.EvaluateCalibration, "there is no champion's to hold it against")
		return
	}
	mine, theirs := estimate.CalibrationError(e.in.Candidate.Scores, e.in.Labels), estimate.CalibrationError(e.in.Champion.Scores, e.in.Labels)
	most := theirs + *e.gate.Calibration
	e.add(driftline.EvaluationCheck{
		Check: driftline.EvaluateCalibration, Limit: &most,
		Message: fmt.Sprintf("the calibration error is %.4f, the champion's %.4f, want at most %.4f", mine, theirs, most),
	}, !(mine <= most))
}

func reliability(scores, labels []float64) (bins []driftline.ReliabilityBin) {
	for _, b := range estimate.ReliabilityBins(scores, labels) {
		if b.Rows > 0 {
			bins = append(bins, driftline.ReliabilityBin{Score: driftline.Number(b.Score), Share: driftline.Number(b.Share), Rows: int64(b.Rows)})
		}
	}
	return bins
}

// leastLatencies is how many answers a smoke test needs for a 95th percentile.
const leastLatencies = 20

func (e *evaluator) latency() {
	limit := time.Duration(e.gate.Latency)
	compared := e.gate.LatencyRatio > 0 && e.in.Champion != nil && len(e.in.Champion.Latencies) >= leastLatencies
	switch {
	case limit == 0 && e.gate.LatencyRatio == 0:
		e.skip(driftline.EvaluateLatency, "the gate has no limit")
		return
	case len(e.in.Candidate.Latencies) < leastLatencies:
		e.skip(driftline.EvaluateLatency, fmt.Sprintf("%d answers were timed, and it takes %d", len(e.in.Candidate.Latencies), leastLatencies))
		return
	case limit == 0 && !compared:
		e.skip(driftline.EvaluateLatency, "there is no champion's to hold it against")
		return
	}
	mine := percentile95(e.in.Candidate.Latencies)
	if compared {
		relative := time.Duration(e.gate.LatencyRatio * float64(percentile95(e.in.Champion.Latencies)))
		if limit == 0 || relative < limit {
			limit = relative
		}
	}
	e.add(driftline.EvaluationCheck{
		Check: driftline.EvaluateLatency, Limit: new(limit.Seconds()),
		Message: fmt.Sprintf("95 %% of %d answers came within %s, want %s", len(e.in.Candidate.Latencies), mine, limit),
	}, mine > limit)
}

func percentile95(values []time.Duration) time.Duration {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[int(math.Ceil(0.95*float64(len(sorted))))-1]
}
