package estimate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/driftline/driftline/drift"
)

// Condition is one part of what makes a segment.
type Condition struct {
	Column    string
	Low, High float64 // Low < value ≤ High, of a number; −Inf and +Inf where it is open
	Category  float64 // of a categorical column
	Kind      ConditionKind
	Frequent  []float64 // of IsOther: the categories that it is none of
}

// ConditionKind says what a condition asks for.
type ConditionKind uint8

// The kinds of conditions.
const (
	Between ConditionKind = iota
	IsCategory
	IsOther // a category that is not one of the frequent ones
	IsMissing
)

// Segment is a set of rows that got worse than the others did.
type Segment struct {
	Conditions                 []Condition
	ReferenceRows, CurrentRows int      // of all rows, both halves
	Before, After              float64  // mean losses; Before is NaN without a reference
	Excess                     Estimate // how much more the loss rose than that of the other rows; of the held-out half
	PValue, QValue             float64
	Examples                   []int // current rows of the greatest loss
	ReferenceExamples          []int // of the segment's reference rows, that which is most like each of Examples
}

// SegmentOptions bound the search. The zero value is the default.
type SegmentOptions struct {
	Conditions int     // at most so many in a segment; 2 if 0, at most 3
	Support    float64 // least share of current rows; 0.01 if 0, and never fewer than 30 rows in either half
	Alpha      float64 // false discovery rate; 0.05 if 0
	Most       int     // segments returned; 5 if 0
	Seed       uint64  // of the halves
}

const (
	segmentBins       = 8
	segmentRows       = 30 // least number in a half
	segmentCandidates = 10 // that the held-out half looks at
	segmentBeam       = 60 // segments that are made narrower
	exampleRows       = 3
)

// Segments finds where the loss rose more than elsewhere. One half of the rows is
// searched: every bin of every column, and conditions that make the best of those
// narrower. The ten best are then tested once on the other half, which the search has not
// seen, so that the false discovery rate over them (Benjamini–Hochberg) is kept however
// many were searched. A segment is left out if a wider one with as much excess is found.
//
// Without reference rows it finds where the loss is greater than elsewhere. The only error
// is that of ctx, which is looked at all the time.
//
// Sources: Sagadeeva and Boehm, "SliceLine", SIGMOD 2021 (search by levels); Chung and
// others, "Slice Finder", ICDE 2019; the held-out half is Cox's (Biometrika 62, 1975).
func Segments(ctx context.Context, reference, current Features, referenceLoss, currentLoss []float64, o SegmentOptions) ([]Segment, error) {
	o.Conditions = min(3, cmp.Or(o.Conditions, 2))
	o.Support, o.Alpha, o.Most = cmp.Or(o.Support, 0.01), cmp.Or(o.Alpha, 0.05), cmp.Or(o.Most, 5)
	if len(current.Columns) == 0 {
		return nil, ctx.Err()
	}
	s := newSearch(reference, current, referenceLoss, currentLoss, o)
	candidates, err := s.candidates(ctx)
	if err != nil {
		return nil, err
	}
	p := make([]float64, len(candidates))
	for i := range candidates {
		candidates[i].effect = s.effect(candidates[i], 1)
		p[i] = candidates[i].effect.p()
	}
	var found []Segment
	for i, q := range drift.AdjustBH(p) {
		if q <= o.Alpha {
			found = append(found, s.segment(candidates[i], p[i], q))
		}
	}
	slices.SortStableFunc(found, func(a, b Segment) int {
		return cmp.Compare(b.Excess.Value*float64(b.CurrentRows), a.Excess.Value*float64(a.CurrentRows))
	})
	return found[:min(o.Most, len(found))], nil
}

// search is the data, binned, and cut into halves: 0 is searched, 1 is held out.
type search struct {
	options SegmentOptions
	bins    []binning
	names   []string
	sides   [2]sideRows // reference, current
	two     moments     // the losses, if there are but two: one of each
}

type sideRows struct {
	codes  [][]uint8 // by column
	loss   []float64
	half   []uint8
	totals [2]moments // of each half
}

// moments of losses.
type moments struct{ n, total, squares float64 }

func (m *moments) add(v float64) {
	m.n++
	m.total += v
	m.squares += v * v
}

func (m moments) minus(o moments) moments {
	return moments{m.n - o.n, m.total - o.total, m.squares - o.squares}
}

func (m moments) mean() float64 { return m.total / m.n }

// error is the variance of the mean. Where losses are of two kinds, as shares are, one of
// each is added, so that a set of which all rows are alike is not taken for certain.
//
// Source: Agresti and Caffo, The American Statistician 54 (2000).
func (m moments) error(two moments) float64 {
	m = moments{m.n + two.n, m.total + two.total, m.squares + two.squares}
	return max(0, m.squares/m.n-m.mean()*m.mean()) / max(1, m.n-1)
}

func newSearch(reference, current Features, referenceLoss, currentLoss []float64, o SegmentOptions) *search {
	s := &search{options: o, names: current.Names}
	all := current
	if reference.Rows() > 0 {
		all = reference.join(current)
	}
	s.bins = binnings(all, segmentBins)
	random := rand.New(rand.NewPCG(o.Seed, 0x5E6))
	s.sides[0] = newSideRows(s.bins, reference, referenceLoss, random)
	s.sides[1] = newSideRows(s.bins, current, currentLoss, random)
	s.two = twoKinds(slices.Concat(referenceLoss, currentLoss))
	return s
}

// twoKinds are the two losses that there are, or none if there are more.
func twoKinds(losses []float64) (two moments) {
	if len(losses) == 0 {
		return two
	}
	low, high := slices.Min(losses), slices.Max(losses)
	if slices.ContainsFunc(losses, func(v float64) bool { return v != low && v != high }) {
		return two
	}
	two.add(low)
	two.add(high)
	return two
}

func newSideRows(bins []binning, f Features, loss []float64, random *rand.Rand) sideRows {
	r := sideRows{loss: loss, half: make([]uint8, len(loss))}
	for i := range loss {
		r.half[i] = uint8(random.IntN(2))
		r.totals[r.half[i]].add(loss[i])
	}
	for c, b := range bins {
		if len(loss) > 0 {
			r.codes = append(r.codes, b.codes(f.Columns[c]))
		}
	}
	return r
}

// candidate is a conjunction of bins, with its rows on both sides.
type candidate struct {
	columns, codes []int
	rows           [2][]int32 // of both halves
	effect         excess     // on the half that was looked at last
}

// excess is by how much the loss of a segment rose more than that of the others.
type excess struct{ value, error float64 }

// p is the one-sided p-value.
func (e excess) p() float64 {
	if !(e.error > 0) {
		return 1
	}
	return distuv.UnitNormal.Survival(e.value / e.error)
}

func (e excess) z() float64 {
	if !(e.error > 0) {
		return math.Inf(-1)
	}
	return e.value / e.error
}

// effect is NaN where a half has too few rows.
func (s *search) effect(c candidate, half uint8) excess {
	e, variance := 0.0, 0.0
	for i, sign := range []float64{-1, 1} {
		if len(s.sides[i].loss) == 0 {
			continue
		}
		var in moments
		for _, row := range c.rows[i] {
			if s.sides[i].half[row] == half {
				in.add(s.sides[i].loss[row])
			}
		}
		out := s.sides[i].totals[half].minus(in)
		if in.n < segmentRows || out.n < segmentRows {
			return excess{math.NaN(), math.NaN()}
		}
		e += sign * (in.mean() - out.mean())
		variance += in.error(s.two) + out.error(s.two)
	}
	return excess{e, math.Sqrt(variance)}
}

// candidates searches level by level and returns the best, wider ones first.
func (s *search) candidates(ctx context.Context) ([]candidate, error) {
	var all candidate
	for i := range s.sides {
		all.rows[i] = make([]int32, len(s.sides[i].loss))
		for row := range all.rows[i] {
			all.rows[i][row] = int32(row)
		}
	}
	level := []candidate{all}
	var best []candidate
	for range s.options.Conditions {
		var next []candidate
		for _, c := range level {
			made, err := s.narrower(ctx, c)
			if err != nil {
				return nil, err
			}
			next = append(next, made...)
		}
		slices.SortStableFunc(next, func(a, b candidate) int { return cmp.Compare(b.effect.z(), a.effect.z()) })
		level = next[:min(segmentBeam, len(next))]
		best = append(best, level...)
	}
	return s.distinct(best), nil
}

// narrower adds a condition on a later column.
func (s *search) narrower(ctx context.Context, c candidate) ([]candidate, error) {
	least := max(2*segmentRows, int(s.options.Support*float64(len(s.sides[1].loss))))
	first := 0
	if len(c.columns) > 0 {
		first = c.columns[len(c.columns)-1] + 1
	}
	var made []candidate
	for column := first; column < len(s.bins); column++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		parts := make([][2][]int32, s.bins[column].count())
		for i := range s.sides {
			for _, row := range c.rows[i] {
				code := s.sides[i].codes[column][row]
				parts[code][i] = append(parts[code][i], row)
			}
		}
		for code, rows := range parts {
			if len(rows[1]) < least || len(rows[1]) == len(c.rows[1]) {
				continue
			}
			n := candidate{columns: append(slices.Clone(c.columns), column), codes: append(slices.Clone(c.codes), code), rows: rows}
			if n.effect = s.effect(n, 0); n.effect.value > 0 {
				made = append(made, n)
			}
		}
	}
	return made, nil
}

// distinct takes the best candidates one by one, without those that are part of, or
// contain, a better one.
func (s *search) distinct(all []candidate) []candidate {
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.effect.z(), a.effect.z()) })
	var chosen []candidate
	for _, c := range all {
		if len(chosen) == segmentCandidates {
			break
		}
		if !slices.ContainsFunc(chosen, func(d candidate) bool { return c.within(d) || d.within(c) }) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// within tells whether every condition of d is one of c's.
func (c candidate) within(d candidate) bool {
	for i, column := range d.columns {
		k := slices.Index(c.columns, column)
		if k < 0 || c.codes[k] != d.codes[i] {
			return false
		}
	}
	return true
}

func (s *search) segment(c candidate, p, q float64) Segment {
	z := quantile(s.options.Alpha)
	e := c.effect
	found := Segment{PValue: p, QValue: q, ReferenceRows: len(c.rows[0]), CurrentRows: len(c.rows[1]),
		Before: math.NaN(), After: s.meanLoss(c, 1),
		Excess: Estimate{e.value, e.value - z*e.error, e.value + z*e.error, len(c.rows[0]) + len(c.rows[1])}}
	if len(c.rows[0]) > 0 {
		found.Before = s.meanLoss(c, 0)
	}
	for i, column := range c.columns {
		found.Conditions = append(found.Conditions, s.bins[column].condition(s.names[column], c.codes[i]))
	}
	worst := slices.Clone(c.rows[1])
	slices.SortStableFunc(worst, func(a, b int32) int { return cmp.Compare(s.sides[1].loss[b], s.sides[1].loss[a]) })
	for _, row := range worst[:min(exampleRows, len(worst))] {
		found.Examples = append(found.Examples, int(row))
		if len(c.rows[0]) > 0 {
			found.ReferenceExamples = append(found.ReferenceExamples, s.likest(c.rows[0], row, found.ReferenceExamples))
		}
	}
	return found
}

// likest is the reference row, of these, whose inputs are most like those of a current row:
// how far their bins are apart, in shares of all bins, summed over the columns; categories
// are 1 apart. Rows that were shown already come last.
func (s *search) likest(rows []int32, current int32, shown []int) int {
	best, least := rows[0], math.Inf(1)
	for _, row := range rows {
		apart := 0.0
		for column, b := range s.bins {
			apart += b.apart(s.sides[0].codes[column][row], s.sides[1].codes[column][current])
		}
		if slices.Contains(shown, int(row)) {
			apart += float64(len(s.bins))
		}
		if apart < least {
			best, least = row, apart
		}
	}
	return int(best)
}

func (b binning) apart(x, y uint8) float64 {
	switch missing := uint8(b.missing()); {
	case x == y:
		return 0
	case b.edges == nil || x == missing || y == missing:
		return 1
	}
	return math.Abs(float64(x)-float64(y)) / float64(b.count()-1)
}

func (s *search) meanLoss(c candidate, side int) float64 {
	total := 0.0
	for _, row := range c.rows[side] {
		total += s.sides[side].loss[row]
	}
	return total / float64(len(c.rows[side]))
}

func (b binning) condition(column string, code int) Condition {
	c := Condition{Column: column, Low: math.Inf(-1), High: math.Inf(1)}
	switch {
	case code == b.missing():
		c.Kind = IsMissing
	case b.edges != nil:
		if code > 0 {
			c.Low = b.edges[code-1]
		}
		if code < len(b.edges) {
			c.High = b.edges[code]
		}
	case code < len(b.categories):
		c.Kind, c.Category = IsCategory, b.categories[code]
	default:
		c.Kind, c.Frequent = IsOther, slices.Clone(b.categories)
	}
	return c
}

// Text writes the condition; name gives the name of a category.
func (c Condition) Text(name func(float64) string) string {
	switch c.Kind {
	case IsMissing:
		return c.Column + " is missing"
	case IsCategory:
		return c.Column + " = " + name(c.Category)
	case IsOther:
		return c.Column + " is a rare category"
	}
	switch above, below := !math.IsInf(c.Low, 0), !math.IsInf(c.High, 0); {
	case above && below:
		return fmt.Sprintf("%.6g < %s ≤ %.6g", c.Low, c.Column, c.High)
	case above:
		return fmt.Sprintf("%s > %.6g", c.Column, c.Low)
	case below:
		return fmt.Sprintf("%s ≤ %.6g", c.Column, c.High)
	}
	return c.Column + " is known"
}
