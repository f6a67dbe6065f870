package engine

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// What the statistics of a column keep.
const (
	histogramBins = 20
	topValues     = 20
	mostDistinct  = 10_000 // different texts that are counted
	distinctBytes = 4 << 20
)

// statistics describes the columns of a stream in two passes and bounded memory: the
// first finds the range of each column, the second counts the bins of its histogram.
type statistics struct {
	schema  *arrow.Schema
	rows    int64
	columns []columnStatistics
}

type columnStatistics struct {
	nulls   int64
	numbers *moments // of numbers and times
	texts   *tally   // of text and truth values
	counts  []int64  // of the histogram, by the second pass
}

func newStatistics(schema *arrow.Schema) *statistics {
	s := &statistics{schema: schema, columns: make([]columnStatistics, schema.NumFields())}
	for i, f := range schema.Fields() {
		switch {
		case isNumber(f.Type):
			s.columns[i].numbers = newMoments()
		case f.Type.ID() == arrow.STRING || f.Type.ID() == arrow.BOOL:
			s.columns[i].texts = &tally{counts: map[string]int64{}}
		}
	}
	return s
}

// add is the first pass.
func (s *statistics) add(batch arrow.RecordBatch) {
	s.rows += batch.NumRows()
	var values []float64
	for i, column := range batch.Columns() {
		c := &s.columns[i]
		c.nulls += int64(column.NullN())
		switch {
		case c.numbers != nil:
			values = appendNumbers(values[:0], column)
			c.numbers.add(values)
		case c.texts != nil:
			c.texts.add(column)
		}
	}
}

// numeric returns the columns that the second pass reads.
func (s *statistics) numeric() []string {
	var names []string
	for i, f := range s.schema.Fields() {
		if m := s.columns[i].numbers; m != nil && m.count > 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

// bin is the second pass, over the columns of numeric.
func (s *statistics) bin(rows driftline.Batches) error {
	edges := make([][]float64, rows.Schema.NumFields())
	into := make([]*columnStatistics, len(edges))
	for i, f := range rows.Schema.Fields() {
		into[i] = &s.columns[s.schema.FieldIndices(f.Name)[0]]
		edges[i] = into[i].numbers.edges(isWhole(f.Type))
		into[i].counts = make([]int64, len(edges[i])-1)
	}
	var values []float64
	for batch, err := range rows.All {
		if err != nil {
			return err
		}
		for i, column := range batch.Columns() {
			values = appendNumbers(values[:0], column)
			countBins(into[i].counts, edges[i], values)
		}
	}
	return nil
}

func (s *statistics) report() []driftline.ColumnStatistics {
	out := make([]driftline.ColumnStatistics, len(s.columns))
	for i, f := range s.schema.Fields() {
		c := s.columns[i]
		out[i] = driftline.ColumnStatistics{Column: f.Name, Type: f.Type.String(), Rows: s.rows, Nulls: c.nulls}
		if c.numbers != nil {
			c.numbers.report(&out[i])
			if c.counts != nil {
				out[i].Edges, out[i].Counts = asNumbers(c.numbers.edges(isWhole(f.Type))), c.counts
			}
		}
		if c.texts != nil {
			c.texts.report(&out[i])
		}
	}
	return out
}

func asNumbers(values []float64) []driftline.Number {
	out := make([]driftline.Number, len(values))
	for i, v := range values {
		out[i] = driftline.Number(v)
	}
	return out
}

// moments are count, range, mean and variance of finite values.
type moments struct {
	count, zeros, notFinite int64
	low, high               float64
	mean, squares           float64 // squares is the sum of squared distances from the mean
}

func newMoments() *moments { return &moments{low: math.Inf(1), high: math.Inf(-1)} }

// add merges the moments of values, which it overwrites, by the method of Chan, Golub
// and LeVeque: two passes over a batch are exact where one over a stream drifts.
func (m *moments) add(values []float64) {
	finite := values[:0]
	sum := 0.0
	for _, v := range values {
		if v-v != 0 { // NaN or infinite
			m.notFinite++
			continue
		}
		if v == 0 {
			m.zeros++
		}
		m.low, m.high = min(m.low, v), max(m.high, v)
		sum += v
		finite = append(finite, v)
	}
	if len(finite) == 0 {
		return
	}
	n := float64(len(finite))
	mean, squares := sum/n, 0.0
	if mean-mean != 0 { // the sum is too large for a float
		mean = 0
		for _, v := range finite {
			mean += v / n
		}
	}
	for _, v := range finite {
		squares += (v - mean) * (v - mean)
	}
	before := float64(m.count)
	distance := mean - m.mean
	m.count += int64(len(finite))
	total := float64(m.count)
	m.mean += distance * (n / total)
	m.squares += squares + distance*distance*(before*n/total)
}

func (m *moments) report(out *driftline.ColumnStatistics) {
	out.Zeros, out.NotFinite = m.zeros, m.notFinite
	if m.count == 0 {
		return
	}
	out.Min, out.Max, out.Mean = number(m.low), number(m.high), number(m.mean)
	if m.count > 1 {
		out.StdDev = number(math.Sqrt(m.squares / float64(m.count-1)))
	}
}

func number(v float64) *driftline.Number {
	n := driftline.Number(v)
	return &n
}

// edges are the limits of the histogram's bins, each of which holds its lower limit and
// the last its upper one too. A few whole numbers have a bin each.
func (m *moments) edges(whole bool) []float64 {
	const exact = 1 << 52 // beyond it the next whole number may be the same float
	if whole && m.high-m.low < histogramBins && max(-m.low, m.high) < exact {
		edges := make([]float64, int(m.high-m.low)+2)
		for i := range edges {
			edges[i] = m.low + float64(i)
		}
		return edges
	}
	if m.low == m.high {
		return []float64{m.low, m.high}
	}
	edges := make([]float64, histogramBins+1)
	for i := range edges {
		share := float64(i) / histogramBins
		edges[i] = m.low*(1-share) + m.high*share // high-low may be infinite
	}
	edges[0], edges[histogramBins] = m.low, m.high
	return edges
}

// countBins counts the finite values per bin.
func countBins(counts []int64, edges, values []float64) {
	last := len(counts) - 1
	low, high := edges[0], edges[len(edges)-1]
	scale := float64(len(counts)) / (high/2 - low/2)
	for _, v := range values {
		if v-v != 0 {
			continue
		}
		at := 0
		if high > low {
			at = min(max(int((v/2-low/2)*scale), 0), last)
		}
		for at > 0 && v < edges[at] { // rounding may miss by one
			at--
		}
		for at < last && v >= edges[at+1] {
			at++
		}
		counts[at]++
	}
}

// tally counts texts exactly, as long as there are not too many different ones.
type tally struct {
	counts map[string]int64
	bytes  int
	more   bool
}

func (t *tally) add(column arrow.Array) {
	switch c := column.(type) {
	case *array.String:
		for i := 0; i < c.Len() && !t.more; i++ {
			if c.IsValid(i) {
				t.count(c.Value(i))
			}
		}
	case *array.Boolean:
		for i := range c.Len() {
			if c.IsValid(i) {
				t.count(c.ValueStr(i))
			}
		}
	}
}

func (t *tally) count(value string) {
	if n, known := t.counts[value]; known {
		t.counts[value] = n + 1
		return
	}
	if len(t.counts) == mostDistinct || t.bytes+len(value) > distinctBytes {
		t.more = true
		return
	}
	t.bytes += len(value)
	t.counts[strings.Clone(value)] = 1
}

func (t *tally) report(out *driftline.ColumnStatistics) {
	out.Distinct, out.MoreDistinct = int64(len(t.counts)), t.more
	if t.more {
		return
	}
	values := slices.SortedFunc(maps.Keys(t.counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.counts[b], t.counts[a]), strings.Compare(a, b))
	})
	for _, v := range values[:min(len(values), topValues)] {
		out.Top = append(out.Top, driftline.ValueCount{Value: shown(v), Count: t.counts[v]})
	}
}

func isNumber(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128:
		return true
	}
	return isWhole(dt)
}

func isWhole(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.INT32, arrow.INT64, arrow.TIMESTAMP, arrow.DATE32, arrow.TIME64:
		return true
	}
	return false
}

const microsecondsPerDay = 24 * 60 * 60 * 1_000_000

// appendNumbers appends the values of column that are not null; times in microseconds.
// Tables have no other numbers than these.
func appendNumbers(to []float64, column arrow.Array) []float64 {
	switch c := column.(type) {
	case *array.Float64:
		return appendValid(to, column, c.Float64Values(), 1)
	case *array.Float32:
		return appendValid(to, column, c.Float32Values(), 1)
	case *array.Int64:
		return appendValid(to, column, c.Int64Values(), 1)
	case *array.Int32:
		return appendValid(to, column, c.Int32Values(), 1)
	case *array.Timestamp:
		return appendValid(to, column, c.TimestampValues(), 1)
	case *array.Time64:
		return appendValid(to, column, c.Time64Values(), 1)
	case *array.Date32:
		return appendValid(to, column, c.Date32Values(), microsecondsPerDay)
	case *array.Decimal128:
		scale := c.DataType().(*arrow.Decimal128Type).Scale
		for i := range c.Len() {
			if c.IsValid(i) {
				to = append(to, c.Value(i).ToFloat64(scale))
			}
		}
	}
	return to
}

func appendValid[T ~int32 | ~int64 | ~float32 | ~float64](to []float64, column arrow.Array, values []T, unit float64) []float64 {
	all := column.NullN() == 0
	for i, v := range values {
		if all || column.IsValid(i) {
			to = append(to, float64(v)*unit)
		}
	}
	return to
}
