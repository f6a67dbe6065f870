package estimate_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift/estimate"
)

// population draws inputs and losses: a number u, a category v, and noise that matters to
// nothing. The loss is 1 with probability p(u, v).
type population struct {
	share float64 // of u above 0.5
	p     func(u, v float64) float64
}

func (p population) draw(random *rand.Rand, rows int) (estimate.Features, []float64) {
	u, v, noise, loss := make([]float64, rows), make([]float64, rows), make([]float64, rows), make([]float64, rows)
	for i := range rows {
		u[i] = random.Float64() / 2
		if random.Float64() < p.share {
			u[i] += 0.5
		}
		v[i], noise[i] = float64(random.IntN(5)), random.NormFloat64()
		if random.Float64() < p.p(u[i], v[i]) {
			loss[i] = 1
		}
	}
	return estimate.Features{Names: []string{"u", "v", "noise"}, Columns: [][]float64{u, v, noise}, Categorical: []bool{false, true, false}}, loss
}

func explain(t *testing.T, reference, current estimate.Features, before, after []float64, alpha float64) estimate.Split {
	t.Helper()
	s, err := estimate.Explain(t.Context(), reference, current, before, after, alpha)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func segments(t *testing.T, reference, current estimate.Features, before, after []float64, o estimate.SegmentOptions) []estimate.Segment {
	t.Helper()
	found, err := estimate.Segments(t.Context(), reference, current, before, after, o)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func step(u, _ float64) float64 {
	if u > 0.5 {
		return 0.5
	}
	return 0.1
}

func TestSplitFindsWhatWasPlanted(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	worse := func(u, v float64) float64 { return step(u, v) + 0.2 }
	for _, c := range []struct {
		name                 string
		before, after        population
		inputs, relationship float64
	}{
		{"nothing", population{0.5, step}, population{0.5, step}, 0, 0},
		{"inputs", population{0.2, step}, population{0.8, step}, 0.24, 0},
		{"relationship", population{0.5, step}, population{0.5, worse}, 0, 0.2},
		{"both", population{0.2, step}, population{0.8, worse}, 0.24, 0.2},
	} {
		reference, before := c.before.draw(random, 6000)
		current, after := c.after.draw(random, 6000)
		s := explain(t, reference, current, before, after, 0.05)
		if !near(s.Inputs.Value, c.inputs, 0.035) || !near(s.Relationship.Value, c.relationship, 0.035) {
			t.Errorf("%s: inputs %.3f, relationship %.3f; planted are %v and %v", c.name, s.Inputs.Value, s.Relationship.Value, c.inputs, c.relationship)
		}
		if !near(s.Inputs.Value+s.Relationship.Value, s.After-s.Before, 1e-12) {
			t.Errorf("%s: the parts %v and %v do not add up to %v", c.name, s.Inputs.Value, s.Relationship.Value, s.After-s.Before)
		}
		if c.inputs > 0 && (s.Columns[0].Column != "u" || !near(s.Columns[0].Change, c.inputs, 0.035)) {
			t.Errorf("%s: columns %+v, want u first", c.name, s.Columns)
		}
		if s.Overlap < 0.4 || s.Overlap > 1 {
			t.Errorf("%s: overlap %v", c.name, s.Overlap)
		}
	}
}

// Where nothing changed, the interval of each part holds 0 about 95 times in 100.
func TestSplitOfNothingHolds0(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	const draws = 40
	inputs, relationship := 0, 0
	for range draws {
		p := population{0.5, step}
		reference, before := p.draw(random, 800)
		current, after := p.draw(random, 800)
		s := explain(t, reference, current, before, after, 0.05)
		if s.Relationship.Low > 0 || s.Relationship.High < 0 {
			relationship++
		}
		if s.Inputs.Low > 0 || s.Inputs.High < 0 {
			inputs++
		}
	}
	if relationship > 7 || inputs > 7 {
		t.Errorf("of %d draws without change, %d have an interval of the relationship without 0, and %d one of the inputs", draws, relationship, inputs)
	}
}

func TestSplitNeedsRows(t *testing.T) {
	reference, before := population{0.5, step}.draw(rand.New(rand.NewPCG(1, 2)), 50)
	if s := explain(t, reference, reference, before, before, 0.05); !math.IsNaN(s.Inputs.Value) || s.Before != s.After {
		t.Errorf("50 rows were split: %+v", s)
	}
	if s := explain(t, estimate.Features{}, estimate.Features{}, before, before, 0.05); !math.IsNaN(s.Inputs.Value) {
		t.Errorf("rows without columns were split: %+v", s)
	}
}

// Segments that do not exist are found no more often than the false discovery rate says.
func TestSegmentsOfNothingAreNotFound(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 1))
	const draws = 150
	found := map[bool]int{}
	for seed := range uint64(draws) {
		p := population{0.5, func(_, _ float64) float64 { return 0.3 }}
		reference, before := p.draw(random, 1500)
		current, after := p.draw(random, 1500)
		for _, alone := range []bool{false, true} {
			r, b := reference, before
			if alone {
				r, b = estimate.Features{}, nil
			}
			if len(segments(t, r, current, b, after, estimate.SegmentOptions{Seed: seed})) > 0 {
				found[alone]++
			}
		}
	}
	// 5 % of 150 are 7.5; 19 or more happen once in 10,000.
	for alone, times := range found {
		if times > 18 {
			t.Errorf("without reference %v: segments in %d of %d draws that have none", alone, times, draws)
		}
	}
}

func TestSegmentsFindWhatWasPlanted(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 1))
	name := func(category float64) string { return string(rune('a' + int(category))) }
	bad := func(u, v float64) float64 {
		if u > 0.75 && v == 3 {
			return 0.6
		}
		return 0.2
	}
	flat := func(_, _ float64) float64 { return 0.2 }
	reference, before := population{0.5, flat}.draw(random, 8000)
	current, after := population{0.5, bad}.draw(random, 8000)
	found := segments(t, reference, current, before, after, estimate.SegmentOptions{Seed: 1})
	if len(found) == 0 {
		t.Fatal("no segment was found")
	}
	worst := found[0]
	text := ""
	for _, c := range worst.Conditions {
		text += c.Text(name) + "; "
	}
	if len(worst.Conditions) != 2 || worst.Conditions[1].Kind != estimate.IsCategory || name(worst.Conditions[1].Category) != "d" || worst.Conditions[0].Low < 0.7 {
		t.Errorf("the worst segment is %s, want u > 0.75; v = d", text)
	}
	if worst.After < 0.5 || worst.Before > 0.3 || worst.Excess.Low < 0.1 {
		t.Errorf("%s: the loss went from %v to %v, excess %+v", text, worst.Before, worst.After, worst.Excess)
	}
	if len(worst.ReferenceExamples) != len(worst.Examples) || worst.ReferenceExamples[0] == worst.ReferenceExamples[1] {
		t.Errorf("examples %v and %v of the reference", worst.Examples, worst.ReferenceExamples)
	}
	for k, i := range worst.Examples {
		like := worst.ReferenceExamples[k]
		if reference.Columns[1][like] != 3 || !near(reference.Columns[0][like], current.Columns[0][i], 0.13) {
			t.Errorf("row %v is shown beside %v", reference.Select([]int{like}), current.Select([]int{i}))
		}
		if after[i] != 1 || current.Columns[1][i] != 3 {
			t.Errorf("example %d has loss %v and category %v", i, after[i], current.Columns[1][i])
		}
	}
	// Without a reference, the same segment is where the loss is greater.
	alone := segments(t, estimate.Features{}, current, nil, after, estimate.SegmentOptions{Seed: 1})
	if len(alone) == 0 || !math.IsNaN(alone[0].Before) || alone[0].After < 0.5 {
		t.Errorf("without a reference: %+v", alone)
	}
	// A loss that always was greater there has not risen.
	same, again := population{0.5, bad}.draw(random, 8000)
	if risen := segments(t, same, current, again, after, estimate.SegmentOptions{Seed: 1}); len(risen) > 0 {
		t.Errorf("a segment was found where nothing changed: %+v", risen)
	}
}

func TestMissingValuesAreASegment(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 1))
	flat := population{0.5, func(_, _ float64) float64 { return 0.2 }}
	reference, before := flat.draw(random, 3000)
	current, after := flat.draw(random, 3000)
	for i := range after {
		if i%10 == 0 {
			current.Columns[2][i] = math.NaN()
			after[i] = 1
		}
		if i%11 == 0 {
			reference.Columns[2][i] = math.NaN()
		}
	}
	found := segments(t, reference, current, before, after, estimate.SegmentOptions{})
	if len(found) == 0 || found[0].Conditions[0].Text(nil) != "noise is missing" {
		t.Errorf("segments %+v, want that of missing noise", found)
	}
}

// More rows than trees are fitted to are split as well, all of them.
func TestSplitOfManyRowsCountsAllOfThem(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 1))
	reference, before := population{0.2, step}.draw(random, 50_000)
	current, after := population{0.8, step}.draw(random, 120_000)
	s := explain(t, reference, current, before, after, 0.05)
	if s.Fitted != [2]int{40_000, 40_000} || s.Inputs.Rows != 170_000 {
		t.Errorf("fitted to %v, of %d rows", s.Fitted, s.Inputs.Rows)
	}
	if !near(s.Inputs.Value, 0.24, 0.015) || !near(s.Relationship.Value, 0, 0.01) {
		t.Errorf("inputs %.4f, relationship %.4f; planted are 0.24 and 0", s.Inputs.Value, s.Relationship.Value)
	}
}

func TestWhyCanBeCancelled(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 1))
	reference, before := population{0.5, step}.draw(random, 2000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := estimate.Explain(ctx, reference, reference, before, before, 0.05); !errors.Is(err, context.Canceled) {
		t.Errorf("a split whose caller is gone: %v", err)
	}
	if _, err := estimate.Segments(ctx, reference, reference, before, before, estimate.SegmentOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a search whose caller is gone: %v", err)
	}
}

// Lists get worse where long lists do; rows of a list have one loss together.
func TestListsAreExplainedAsRowsAre(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 1))
	draw := func(lists int, longShare float64) (estimate.Rows, estimate.Features) {
		var r estimate.Rows
		var device, noise []float64
		for list := range lists {
			long, quality := random.Float64() < longShare, 3.0
			if long {
				quality = 0.3
			}
			for item := range 6 {
				gain := float64(item % 3)
				r.Score, r.Label, r.Group = append(r.Score, quality*gain+random.NormFloat64()), append(r.Label, gain), append(r.Group, list)
				device, noise = append(device, map[bool]float64{true: 1, false: 0}[long]), append(noise, random.NormFloat64())
			}
		}
		return r, estimate.Features{Names: []string{"device", "noise"}, Columns: [][]float64{device, noise}, Categorical: []bool{true, false}}
	}
	before, beforeInputs := draw(3000, 0.1)
	after, afterInputs := draw(3000, 0.6)
	reference, current := estimate.ListsOf(before, beforeInputs), estimate.ListsOf(after, afterInputs)
	if len(reference.Losses) != 3000 || len(reference.Inputs.Names) != 3 || reference.Inputs.Columns[2][0] != 6 {
		t.Fatalf("%d lists with inputs %v", len(reference.Losses), reference.Inputs.Names)
	}
	s := explain(t, reference.Inputs, current.Inputs, reference.Losses, current.Losses, 0.05)
	if s.Inputs.Low < 0.03 || math.Abs(s.Relationship.Value) > 0.02 || s.Columns[0].Column != "device" {
		t.Errorf("inputs %+v, relationship %+v, columns %+v", s.Inputs, s.Relationship, s.Columns)
	}
	first := reference.First[0]
	if before.Group[first] != 0 || before.Score[first] < before.Score[(first+1)%6] {
		t.Errorf("row %d is not the first of its list", first)
	}
}
