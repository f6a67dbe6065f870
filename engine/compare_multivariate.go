package engine

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

// The tests of all columns together.
const (
	mmd        = "mmd"
	classifier = "classifier"
)

const (
	// jointRows of each side are looked at together, drawn at random.
	jointRows = 20_000

	// jointCategories of a column count one by one, the most frequent first.
	jointCategories = 8

	// jointSeed draws rows and permutes them: the same data gives the same report.
	jointSeed = 1
)

// compareJointly tests all compared columns together, on rows that have a value in all of them.
func compareJointly(ctx context.Context, columns []*comparison, r *rules) (*driftline.MultivariateDrift, error) {
	result := &driftline.MultivariateDrift{Columns: []string{}, Tests: []driftline.DriftStatistic{}, Verdict: driftline.NotCompared}
	var joint []*comparison
	for _, c := range columns {
		if !c.untestable && c.ReferenceRows > 0 && c.CurrentRows > 0 {
			joint = append(joint, c)
			result.Columns = append(result.Columns, c.Column)
		}
	}
	if len(joint) < 2 {
		result.Note = "fewer than two columns can be compared together"
		return result, nil
	}
	reference, current, names := jointTables(joint)
	x, y := drift.NormalScores(reference, current)
	var evidence []float64
	for _, name := range r.multivariate {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var m drift.MultivariateResult
		switch name {
		case mmd:
			m = drift.MMD(x, y, 1, jointSeed)
		case classifier:
			m = drift.Classifier(x, y, names, jointSeed)
			if len(m.Telling) > 0 && m.P <= r.levels.Alpha {
				result.Note = "the sides are told apart most by " + strings.Join(m.Telling, ", ")
			}
		}
		result.Tests = append(result.Tests, driftline.DriftStatistic{
			Name: name, Value: driftline.Number(m.Statistic), PValue: driftline.Number(m.P), Effect: driftline.Number(m.Effect),
		})
		evidence = append(evidence, m.P)
	}
	result.ReferenceRows, result.CurrentRows = rowsOf(reference), rowsOf(current)
	if math.IsNaN(slices.Min(evidence)) {
		result.Note = "too few complete rows to compare the columns together"
		return result, nil
	}
	q := min(1, slices.Min(evidence)*float64(len(evidence)*max(1, r.looks))) // Bonferroni
	result.Verdict = driftline.Verdict(r.levels.Decide(q, 1, drift.DetectableD(result.ReferenceRows, result.CurrentRows, r.levels.Alpha)))
	return result, nil
}

func rowsOf(t drift.Table) int64 {
	if len(t) == 0 {
		return 0
	}
	return int64(len(t[0]))
}

// jointTables makes tables of numbers of up to jointRows complete rows of each side.
// A categorical column becomes one column for each of its most frequent categories.
func jointTables(columns []*comparison) (reference, current drift.Table, names []string) {
	referenceRows := completeRows(columns, func(c *comparison) *side { return &c.reference })
	currentRows := completeRows(columns, func(c *comparison) *side { return &c.current })
	for _, c := range columns {
		if c.Kind == numeric {
			reference = append(reference, numbersAt(c.reference.pieces, referenceRows))
			current = append(current, numbersAt(c.current.pieces, currentRows))
			names = append(names, c.Column)
			continue
		}
		before, now := namesAt(c.reference.pieces, referenceRows), namesAt(c.current.pieces, currentRows)
		for _, category := range frequent(before, now) {
			reference = append(reference, indicator(before, category))
			current = append(current, indicator(now, category))
			names = append(names, c.Column+" = "+shown(category))
		}
	}
	return reference, current, names
}

// completeRows draws rows that have a value in all columns, in ascending order.
func completeRows(columns []*comparison, of func(*comparison) *side) []int {
	rows := 0
	for _, piece := range of(columns[0]).pieces {
		rows += piece.Len()
	}
	random := rand.New(rand.NewPCG(jointSeed, uint64(rows)))
	var chosen []int
	for _, row := range random.Perm(rows) {
		if len(chosen) == jointRows {
			break
		}
		if !slices.ContainsFunc(columns, func(c *comparison) bool { return isMissingAt(of(c).pieces, row) }) {
			chosen = append(chosen, row)
		}
	}
	slices.Sort(chosen)
	return chosen
}

func pieceAt(pieces []arrow.Array, row int) (piece arrow.Array, i int) {
	for _, piece := range pieces {
		if row < piece.Len() {
			return piece, row
		}
		row -= piece.Len()
	}
	return nil, 0
}

func isMissingAt(pieces []arrow.Array, row int) bool {
	piece, i := pieceAt(pieces, row)
	if piece.DataType().ID() == arrow.NULL || piece.IsNull(i) {
		return true
	}
	if kindOf(piece.DataType()) == numeric {
		v := numberAt(piece, i)
		return v != v
	}
	return false
}

// numberAt reads one number of an array: of few rows, so by a slice of it.
func numberAt(piece arrow.Array, i int) float64 {
	one := array.NewSlice(piece, int64(i), int64(i)+1)
	defer one.Release()
	return numbersOf(one)[0]
}

func numbersAt(pieces []arrow.Array, rows []int) []float64 {
	values := make([]float64, len(rows))
	for k, row := range rows {
		values[k] = numberAt(pieceAt(pieces, row))
	}
	return values
}

func namesAt(pieces []arrow.Array, rows []int) []string {
	values := make([]string, len(rows))
	for k, row := range rows {
		piece, i := pieceAt(pieces, row)
		values[k] = strings.Clone(namer(piece)(i))
	}
	return values
}

// frequent returns the most frequent categories of both sides; of two, one says it all.
func frequent(before, now []string) []string {
	counts := map[string]int64{}
	for _, name := range slices.Concat(before, now) {
		counts[name]++
	}
	names := drift.CategoryNames(counts, nil)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	if len(names) <= 2 {
		return names[:min(1, len(names))]
	}
	return names[:min(jointCategories, len(names))]
}

func indicator(names []string, category string) []float64 {
	values := make([]float64, len(names))
	for i, name := range names {
		if name == category {
			values[i] = 1
		}
	}
	return values
}
