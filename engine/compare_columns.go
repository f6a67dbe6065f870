package engine

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"

	"github.com/driftline/driftline/drift"
)

// shownLength is how much of a category's name a report shows, in characters.
const shownLength = 80

// kindOf returns how columns of a type are compared, or "" for those of which
// there is nothing to compare.
func kindOf(dt arrow.DataType) string {
	switch dt.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128, arrow.DECIMAL256,
		arrow.TIMESTAMP, arrow.DATE32, arrow.DATE64, arrow.TIME32, arrow.TIME64, arrow.DURATION:
		return numeric
	case arrow.BOOL, arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW,
		arrow.BINARY, arrow.LARGE_BINARY, arrow.BINARY_VIEW, arrow.FIXED_SIZE_BINARY:
		return categorical
	case arrow.DICTIONARY:
		if kindOf(dt.(*arrow.DictionaryType).ValueType) != "" {
			return categorical
		}
	}
	return ""
}

func canCompare(dt arrow.DataType) bool { return dt.ID() == arrow.NULL || kindOf(dt) != "" }

func isTime(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.TIMESTAMP, arrow.DATE32, arrow.DATE64:
		return true
	}
	return false
}

// numbers returns the values of a numeric column that are not null, and the number
// of nulls. Columns of float64 without nulls are not copied, so the sample is valid
// as long as the pieces are. Whole numbers beyond 2⁵³ are rounded. Dates and times
// are in microseconds, times of day and durations in seconds.
func numbers(pieces []arrow.Array) (sample drift.Sample, nulls int64) {
	for _, piece := range pieces {
		nulls += int64(nullCount(piece))
		if values := numbersOf(piece); len(values) > 0 {
			sample = append(sample, values)
		}
	}
	return sample, nulls
}

func nullCount(a arrow.Array) int {
	if a.DataType().ID() == arrow.NULL {
		return a.Len()
	}
	return a.NullN()
}

func numbersOf(a arrow.Array) []float64 {
	switch a := a.(type) {
	case *array.Float64:
		if a.NullN() == 0 {
			return a.Float64Values()
		}
		return scaled(a, a.Float64Values(), 1)
	case *array.Float32:
		return scaled(a, a.Float32Values(), 1)
	case *array.Float16:
		return converted(a, a.Values(), func(v float16.Num) float64 { return float64(v.Float32()) })
	case *array.Int8:
		return scaled(a, a.Int8Values(), 1)
	case *array.Int16:
		return scaled(a, a.Int16Values(), 1)
	case *array.Int32:
		return scaled(a, a.Int32Values(), 1)
	case *array.Int64:
		return scaled(a, a.Int64Values(), 1)
	case *array.Uint8:
		return scaled(a, a.Uint8Values(), 1)
	case *array.Uint16:
		return scaled(a, a.Uint16Values(), 1)
	case *array.Uint32:
		return scaled(a, a.Uint32Values(), 1)
	case *array.Uint64:
		return scaled(a, a.Uint64Values(), 1)
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		values := make([]float64, 0, a.Len()-a.NullN())
		for i := range a.Len() {
			if a.IsValid(i) {
				values = append(values, a.Value(i).ToFloat64(scale))
			}
		}
		return values
	case *array.Decimal256:
		scale := a.DataType().(*arrow.Decimal256Type).Scale
		values := make([]float64, 0, a.Len()-a.NullN())
		for i := range a.Len() {
			if a.IsValid(i) {
				values = append(values, a.Value(i).ToFloat64(scale))
			}
		}
		return values
	case *array.Timestamp:
		return scaled(a, a.TimestampValues(), 1e6*secondsPer(a.DataType().(*arrow.TimestampType).Unit))
	case *array.Date32:
		return scaled(a, a.Date32Values(), 24*3600*1e6)
	case *array.Date64:
		return scaled(a, a.Date64Values(), 1e3)
	case *array.Time32:
		return scaled(a, a.Time32Values(), secondsPer(a.DataType().(*arrow.Time32Type).Unit))
	case *array.Time64:
		return scaled(a, a.Time64Values(), secondsPer(a.DataType().(*arrow.Time64Type).Unit))
	case *array.Duration:
		return scaled(a, a.DurationValues(), secondsPer(a.DataType().(*arrow.DurationType).Unit))
	}
	return nil // a column of nulls
}

func secondsPer(unit arrow.TimeUnit) float64 { return unit.Multiplier().Seconds() }

type integerOrFloat interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func scaled[T integerOrFloat](a arrow.Array, values []T, factor float64) []float64 {
	return converted(a, values, func(v T) float64 { return float64(v) * factor })
}

// converted returns the values that are not null.
func converted[T any](a arrow.Array, values []T, convert func(T) float64) []float64 {
	result := make([]float64, 0, a.Len()-a.NullN())
	if a.NullN() == 0 {
		for _, v := range values {
			result = append(result, convert(v))
		}
		return result
	}
	for i, v := range values {
		if a.IsValid(i) {
			result = append(result, convert(v))
		}
	}
	return result
}

// distinctValues returns how many distinct values two samples have together, 0 if
// more than fewValues.
func distinctValues(samples ...drift.Sample) int {
	var seen []float64
	for _, sample := range samples {
		for _, piece := range sample {
			for _, v := range piece {
				if v == v && !containsValue(seen, v) {
					if len(seen) == fewValues {
						return 0
					}
					seen = append(seen, v)
				}
			}
		}
	}
	return len(seen)
}

func containsValue(values []float64, v float64) bool {
	for _, known := range values {
		if known == v {
			return true
		}
	}
	return false
}

// categories counts the values of a categorical column by name, and its nulls. It is
// false if there are more than maxCategories.
func categories(pieces []arrow.Array) (counts map[string]int64, nulls int64, ok bool) {
	counter := categoryCounter{counts: map[string]*int64{}}
	for _, piece := range pieces {
		counter.add(piece)
		if len(counter.counts) > maxCategories {
			return nil, 0, false
		}
	}
	counts = counter.total()
	return counts, counter.nulls, len(counts) <= maxCategories
}

// categoryCounter counts values by name. Those of a dictionary are counted by their places
// until another dictionary comes: the pieces of one row group share theirs.
type categoryCounter struct {
	counts map[string]*int64
	nulls  int64

	words arrow.Array // of the last piece
	times []int64     // by place among the words
}

// total returns what was counted.
func (c *categoryCounter) total() map[string]int64 {
	c.countWords()
	counts := make(map[string]int64, len(c.counts))
	for name, count := range c.counts {
		counts[name] = *count
	}
	return counts
}

// count takes in a value whose memory the caller keeps.
func (c *categoryCounter) count(name string, times int64) {
	if known, ok := c.counts[name]; ok {
		*known += times
		return
	}
	c.counts[strings.Clone(name)] = &times
}

func (c *categoryCounter) add(a arrow.Array) {
	if dictionary, ok := a.(*array.Dictionary); ok {
		c.addDictionary(dictionary)
		return
	}
	name := namer(a)
	for i := range a.Len() {
		if name == nil || a.IsNull(i) {
			c.nulls++
			continue
		}
		c.count(name(i), 1)
	}
}

// addDictionary counts the indices, so that each name is looked up once.
func (c *categoryCounter) addDictionary(a *array.Dictionary) {
	if words := a.Dictionary(); c.words == nil || words.Data() != c.words.Data() {
		c.countWords()
		c.words, c.times = words, make([]int64, words.Len())
	}
	if indices, ok := a.Indices().(*array.Int32); ok && a.NullN() == 0 {
		for _, place := range indices.Int32Values() {
			c.times[place]++
		}
		return
	}
	for i := range a.Len() {
		if a.IsNull(i) {
			c.nulls++
			continue
		}
		c.times[a.GetValueIndex(i)]++
	}
}

// countWords takes in what was counted by places.
func (c *categoryCounter) countWords() {
	if c.words == nil {
		return
	}
	if len(c.counts) == 0 {
		c.counts = make(map[string]*int64, c.words.Len())
	}
	name := namer(c.words)
	for i, count := range c.times {
		switch {
		case count == 0:
		case name == nil || c.words.IsNull(i):
			c.nulls += count
		default:
			c.count(name(i), count)
		}
	}
	c.words, c.times = nil, nil
}

// namer returns what names the values of an array, nil for a column of nulls.
func namer(a arrow.Array) func(i int) string {
	switch a := a.(type) {
	case *array.Null:
		return nil
	case *array.Boolean:
		return func(i int) string {
			if a.Value(i) {
				return "true"
			}
			return "false"
		}
	case array.StringLike:
		return a.Value
	case interface{ ValueString(int) string }:
		return a.ValueString
	case interface{ Value(int) []byte }:
		return func(i int) string { return string(a.Value(i)) }
	}
	return a.ValueStr
}

func total(counts map[string]int64) int64 {
	sum := int64(0)
	for _, count := range counts {
		sum += count
	}
	return sum
}

func countsOf(names []string, counts map[string]int64) []int64 {
	result := make([]int64, len(names))
	for i, name := range names {
		result[i] = counts[name]
	}
	return result
}

// unseenIn sums what current has of categories that reference does not have.
func unseenIn(reference, current map[string]int64) int64 {
	sum := int64(0)
	for name, count := range current {
		if reference[name] == 0 {
			sum += count
		}
	}
	return sum
}

// shown is a category's name as a report may show it: valid UTF-8, and not endless.
func shown(name string) string {
	if !utf8.ValidString(name) {
		name = fmt.Sprintf("0x%x", name[:min(len(name), shownLength)])
	}
	characters := []rune(name)
	if len(characters) <= shownLength {
		return name
	}
	return string(characters[:shownLength]) + "…"
}
