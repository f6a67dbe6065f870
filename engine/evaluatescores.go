package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/evaluation"
)

const (
	scoredAtOnce = 256       // rows of one request to a model server
	mostScored   = 1_000_000 // rows that one evaluation asks a server about

	// A smoke test asks about so many rows, one by one, after the first few, which wait for caches to
	// fill. It ends before if the answers took longer than mostTiming together.
	timedAnswers  = 100
	untimed       = 5
	mostTiming    = 30 * time.Second
	enoughToTime  = 20
	mostTimedRows = timedAnswers + untimed
)

// ScoredVersion is a version of a model whose server is asked.
type ScoredVersion struct {
	Version   *driftline.ModelVersion  // Server is set
	Signature driftline.ModelSignature // the zero value if its files have none
}

// Scores are what a version made of rows, one value for each.
type Scores struct {
	Predictions []float64     // of several classes the greatest's place; NaN for what is no number
	Scores      []float64     // of class 1, or what ranks; nil if the answer calls nothing so
	Took        time.Duration // until the whole answer was there
}

// ScoreFunc asks the server of a version, in one request, what it makes of rows, whose columns are its inputs. The
// rows stay the caller's. Unavailable: it cannot be reached, or is too slow, now; FailedPrecondition: what it answers
// is of no use. Errors name the version, and the server by nothing that is not declared.
type ScoreFunc func(ctx context.Context, of ScoredVersion, rows arrow.RecordBatch) (*Scores, error)

// askPredictions has a version's server predict the rows, which is what is measured where nobody logged predictions.
func (v *evaluating) askPredictions(ctx context.Context, rows *evaluatedRows, side *evaluation.Side, version *driftline.ModelVersion, place int) error {
	if len(rows.labels) > mostScored {
		return driftline.Errorf(driftline.FailedPrecondition, "%s has %d rows, and a model server is asked about %d at most", rows.dataset.Ref(), len(rows.labels), mostScored).
			WithHint("name a smaller part of it in the gate, or log the predictions")
	}
	of, inputs, err := v.scored(ctx, rows, version)
	if err != nil {
		return err
	}
	read, err := v.askAll(ctx, rows, of, inputs)
	if err != nil {
		return err
	}
	used := &driftline.PredictionsUsed{From: fmt.Sprintf("%s at %s", version.Ref(), version.Server.URL), Match: matchedByPlace}
	if rows.keyed() {
		used.Match, read = matchedByKeys, read.inOrderOf(rows.hashes)
	}
	side.Predictions, side.Scores = v.meant(read)
	used.Hash = hashOfNumbers(side.Predictions, side.Scores)
	v.used[place] = used
	return nil
}

// scored is a version as its server is asked, and the columns of the rows that it is given.
func (v *evaluating) scored(ctx context.Context, rows *evaluatedRows, version *driftline.ModelVersion) (of ScoredVersion, inputs []string, err error) {
	of.Version = version
	signature, err := v.engine.modelSignature(ctx, version)
	if err != nil && driftline.CodeOf(err) != driftline.Invalid { // one that cannot be read says nothing
		return of, nil, err
	}
	if signature != nil {
		of.Signature = *signature
	}
	inputs, err = v.inputsOf(rows, &of)
	return of, inputs, err
}

// inputsOf are the columns that a version is given: those of its signature, or of the gate, or else all that may be
// features. A matrix has an order, which nobody may guess.
func (v *evaluating) inputsOf(rows *evaluatedRows, of *ScoredVersion) (inputs []string, err error) {
	schema := rows.table.schema
	switch {
	case len(of.Signature.Inputs) > 0 && !of.Signature.Tensors:
		for _, in := range of.Signature.Inputs {
			if schema.HasField(in.Name) {
				inputs = append(inputs, in.Name)
			} else if !in.Optional {
				return nil, driftline.Errorf(driftline.FailedPrecondition, "%s takes %q, and %s has no such column", of.Version.Ref(), in.Name, rows.dataset.Ref()).
					WithRef(of.Version.Ref()).WithHint("measure on a dataset with the features of both, or log the predictions")
			}
		}
		return inputs, nil
	case len(v.gate.Inputs) > 0:
		for _, name := range v.gate.Inputs {
			if !schema.HasField(name) {
				return nil, driftline.Errorf(driftline.FailedPrecondition, "the gate's inputs have %q, and %s has no such column", name, rows.dataset.Ref()).
					WithRef(rows.dataset.Ref()).WithHint("name columns of the dataset")
			}
		}
		return v.gate.Inputs, nil
	case of.Version.Server.Tensor != "" || of.Signature.Tensors:
		return nil, driftline.Errorf(driftline.FailedPrecondition, "%s takes a matrix, and nobody said of which columns in which order", of.Version.Ref()).
			WithRef(of.Version.Ref()).WithHint("name them in the gate: inputs: [temp, wind]")
	}
	no := append([]string{rows.time, v.gate.Label, v.gate.Group, driftline.SplitColumn}, rows.keys...)
	for _, f := range schema.Fields() {
		if !slices.Contains(no, f.Name) {
			inputs = append(inputs, f.Name)
		}
	}
	if len(inputs) == 0 {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "%s has no column that %s could be given", rows.dataset.Ref(), of.Version.Ref()).WithRef(of.Version.Ref()).
			WithHint("measure on a dataset with features")
	}
	return inputs, nil
}

// askAll asks about all rows, some at a time.
func (v *evaluating) askAll(ctx context.Context, rows *evaluatedRows, of ScoredVersion, inputs []string) (*readValues, error) {
	batches, err := rows.ask(ctx, inputs, "")
	if err != nil {
		return nil, err
	}
	read := &readValues{values: map[string][]float64{}}
	for batch, err := range batches.All {
		if err != nil {
			return nil, err
		}
		if rows.keyed() {
			if read.hashes, err = appendRowKeys(read.hashes, batch.Columns()[len(inputs):]); err != nil {
				return nil, err
			}
		}
		for at := int64(0); at < batch.NumRows(); at += scoredAtOnce {
			some := batch.NewSlice(at, min(at+scoredAtOnce, batch.NumRows()))
			err := v.askSome(ctx, read, of, some, len(inputs))
			some.Release()
			if err != nil {
				return nil, err
			}
		}
	}
	if read.count != len(rows.labels) {
		return nil, driftline.Errorf(driftline.Internal, "%d of %d rows were read", read.count, len(rows.labels))
	}
	return read, nil
}

func (v *evaluating) askSome(ctx context.Context, read *readValues, of ScoredVersion, rows arrow.RecordBatch, inputs int) error {
	given := firstColumns(rows, inputs)
	defer given.Release()
	found, err := v.engine.score(ctx, of, given)
	if err != nil {
		return driftline.Errorf(driftline.CodeOf(err), "rows %d to %d: %w", read.count, read.count+int(rows.NumRows())-1, err)
	}
	read.count += int(rows.NumRows())
	read.values[defaultPrediction] = append(read.values[defaultPrediction], found.Predictions...)
	if found.Scores != nil {
		read.values[defaultScore] = append(read.values[defaultScore], found.Scores...)
	}
	if had := len(read.values[defaultScore]); had != 0 && had != read.count {
		return driftline.Errorf(driftline.FailedPrecondition, "%s answers some rows with scores, and others without", of.Version.Ref()).WithRef(of.Version.Ref()).
			WithHint("have it answer each request in the same form")
	}
	return nil
}

// firstColumns are some of the columns of rows. The caller releases them.
func firstColumns(rows arrow.RecordBatch, n int) arrow.RecordBatch {
	return array.NewRecordBatch(arrow.NewSchema(rows.Schema().Fields()[:n], nil), rows.Columns()[:n], rows.NumRows())
}

// meant tells classes from scores where an answer calls neither by its name: what has fractions is no class.
func (v *evaluating) meant(read *readValues) (predictions, scores []float64) {
	predictions, scores = read.values[defaultPrediction], read.values[defaultScore]
	switch v.gate.Task {
	case driftline.TaskRanking:
		if scores == nil {
			scores = predictions
		}
	case driftline.TaskClassification:
		if slices.ContainsFunc(predictions, func(x float64) bool { return x != math.Trunc(x) }) {
			if scores == nil {
				scores = predictions
			}
			predictions = nil
		}
	}
	return predictions, scores
}

// timeAnswers is the smoke test: the candidate and the champion are asked about single rows in turn, so that what else the
// machine does slows both. A version without a server is not timed.
func (v *evaluating) timeAnswers(ctx context.Context, rows *evaluatedRows, in *evaluation.Input) error {
	if v.gate.Latency == 0 && v.gate.LatencyRatio == 0 || v.engine.score == nil {
		return nil
	}
	versions, sides := []*driftline.ModelVersion{v.candidate}, []*evaluation.Side{&in.Candidate}
	if v.champion != nil && v.gate.LatencyRatio > 0 {
		versions, sides = append(versions, v.champion), append(sides, in.Champion)
	}
	var timed []*timedSide
	for i, version := range versions {
		if version.Server == nil {
			continue
		}
		side, err := v.openTimed(ctx, rows, version, sides[i])
		if err != nil {
			return err
		}
		if side != nil {
			defer side.rows.Release()
			timed = append(timed, side)
		}
	}
	for i := range mostTimedRows {
		for _, side := range timed {
			if err := v.timeOne(ctx, side, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// timedSide is a version in a smoke test.
type timedSide struct {
	of   ScoredVersion
	side *evaluation.Side
	rows arrow.RecordBatch
	took time.Duration // all answers together
}

// openTimed reads some rows as a version takes them, nil if there are none.
func (v *evaluating) openTimed(ctx context.Context, rows *evaluatedRows, version *driftline.ModelVersion, side *evaluation.Side) (*timedSide, error) {
	of, inputs, err := v.scored(ctx, rows, version)
	if err != nil {
		return nil, err
	}
	batches, err := rows.ask(ctx, inputs, fmt.Sprintf(" LIMIT %d", mostTimedRows))
	if err != nil {
		return nil, err
	}
	for batch, err := range batches.All {
		if err != nil {
			return nil, err
		}
		if batch.NumRows() > 0 {
			return &timedSide{of: of, side: side, rows: firstColumns(batch, len(inputs))}, nil
		}
	}
	return nil, nil
}

func (v *evaluating) timeOne(ctx context.Context, t *timedSide, i int) error {
	if t.took > mostTiming && len(t.side.Latencies) >= enoughToTime {
		return nil
	}
	at := int64(i) % t.rows.NumRows()
	row := t.rows.NewSlice(at, at+1)
	defer row.Release()
	found, err := v.engine.score(ctx, t.of, row)
	if err != nil {
		return driftline.Errorf(driftline.CodeOf(err), "row %d by itself: %w", at, err)
	}
	if t.took += found.Took; i >= untimed {
		t.side.Latencies = append(t.side.Latencies, found.Took)
	}
	return nil
}

// ask reads columns of the rows, and the keys if they have any.
func (r *evaluatedRows) ask(ctx context.Context, columns []string, limit string) (driftline.Batches, error) {
	var list []string
	for _, name := range columns {
		list = append(list, quoted(name))
	}
	return r.table.ask(ctx, "SELECT "+strings.Join(append(list, r.keySQL()...), ", ")+" FROM data"+r.where+limit)
}
