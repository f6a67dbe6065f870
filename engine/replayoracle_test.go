package engine_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// The oracle of replays: each function as plainly as it can be said, by loops over all rows.
// It uses nothing of the packages that summarise.

// precision in bits holds the sum of any amounts of a replay, and of their squares, exactly.
const precision = 4096

// answer is what a feature is of events that are in order: text as a column shows it, except
// that approximations are compared by nearTo.
func answer(t *testing.T, f driftline.AggregatedFeature, events []replayRow) string {
	t.Helper()
	text := valueOf(f.Aggregation, events)
	column, _, err := array.FromJSON(memory.DefaultAllocator, f.Type.Arrow(), strings.NewReader("["+text+"]"))
	if err != nil {
		t.Fatalf("%s as %s: %v", text, f.Type, err)
	}
	defer column.Release()
	return column.ValueStr(0)
}

// valueOf is the value as JSON.
func valueOf(a driftline.Aggregation, events []replayRow) string {
	inputs := map[string][]any{}
	for _, row := range events {
		if a.Filter != "" && !row.passes() {
			continue
		}
		category := ""
		if a.By != "" { // it is the kind
			if row.nulls[2] {
				continue
			}
			category = row.kind
		}
		if v := row.value(a.Column); v != nil {
			inputs[category] = append(inputs[category], v)
		}
	}
	if a.By == "" {
		return summary(a, inputs[""])
	}
	if len(inputs) == 0 && a.Function != driftline.Count {
		return "null"
	}
	var entries []string
	for _, category := range slices.Sorted(maps.Keys(inputs)) {
		entries = append(entries, fmt.Sprintf(`{"key": %q, "value": %s}`, category, summary(a, inputs[category])))
	}
	return "[" + strings.Join(entries, ", ") + "]"
}

// passes is the filter "items > 2 OR kind = 'b'".
func (row *replayRow) passes() bool {
	return !row.nulls[1] && row.items > 2 || !row.nulls[2] && row.kind == "b"
}

// value is that of a column: a float64, an int64, a string, or nil.
func (row *replayRow) value(column string) any {
	switch {
	case column == "amount" && !row.nulls[0]:
		return row.amount
	case column == "items" && !row.nulls[1]:
		return row.items
	case column == "kind" && !row.nulls[2]:
		return row.kind
	}
	return nil
}

func summary(a driftline.Aggregation, values []any) string {
	if a.Function == driftline.Count {
		return strconv.Itoa(len(values))
	}
	if len(values) == 0 {
		return "null"
	}
	sorted := slices.SortedStableFunc(slices.Values(values), compareValues)
	switch a.Function {
	case driftline.First:
		return literal(values[0])
	case driftline.Last:
		return literal(values[len(values)-1])
	case driftline.Min:
		return literal(sorted[0])
	case driftline.Max:
		return literal(sorted[len(sorted)-1])
	case driftline.LastN:
		return literals(values[max(0, len(values)-a.N):])
	case driftline.TopK:
		return literals(frequent(sorted)[:min(a.N, len(frequent(sorted)))])
	case driftline.ApproxCountDistinct:
		return strconv.Itoa(len(frequent(sorted)))
	case driftline.ApproxQuantile:
		v, _ := number(sorted[int(a.Quantile*float64(len(sorted)-1))]).Float64()
		return literal(v)
	}
	return arithmetic(a.Function, values)
}

func arithmetic(f driftline.Function, values []any) string {
	sum, squares := number(int64(0)), number(int64(0))
	for _, v := range values {
		x := number(v)
		sum.Add(sum, x)
		squares.Add(squares, x.Mul(x, x))
	}
	n := number(int64(len(values)))
	switch f {
	case driftline.Sum:
		if _, ok := values[0].(int64); ok {
			return sum.Text('f', 0)
		}
	case driftline.Mean:
		sum.Quo(sum, n)
	case driftline.StdDev:
		if len(values) < 2 {
			return "null"
		}
		squares.Sub(squares, sum.Quo(sum.Mul(sum, sum), n))
		return literal(root(squares.Quo(squares, number(int64(len(values)-1)))))
	}
	rounded, _ := sum.Float64()
	return literal(rounded)
}

// root rounds to 53 bits before it takes the root, of any magnitude.
func root(x *big.Float) float64 {
	power := x.MantExp(x)
	if power%2 != 0 {
		x.SetMantExp(x, 1)
		power--
	}
	mantissa, _ := x.Float64()
	return math.Ldexp(math.Sqrt(mantissa), power/2)
}

func number(v any) *big.Float {
	n := new(big.Float).SetPrec(precision)
	if whole, ok := v.(int64); ok {
		return n.SetInt64(whole)
	}
	return n.SetFloat64(v.(float64))
}

// frequent are the values that differ, the most frequent first, of equally frequent ones the lesser.
func frequent(sorted []any) []any {
	times := map[any]int{}
	for _, v := range sorted {
		times[v]++
	}
	return slices.SortedFunc(maps.Keys(times), func(x, y any) int {
		return cmp.Or(cmp.Compare(times[y], times[x]), compareValues(x, y))
	})
}

func compareValues(x, y any) int {
	if text, ok := x.(string); ok {
		return cmp.Compare(text, y.(string))
	}
	return number(x).Cmp(number(y))
}

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

func literals(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = literal(v)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// nearTo reports whether what was computed is what the oracle says: to the bit, or of a quantile
// within the 1 % that is promised. Of fewer than ten different values the count is exact.
func nearTo(f driftline.Function, got, want string) bool {
	if f != driftline.ApproxQuantile {
		return got == want
	}
	numbers := func(text string) (found []float64) {
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789+-.e", r) }) {
			if v, err := strconv.ParseFloat(word, 64); err == nil {
				found = append(found, v)
			}
		}
		return found
	}
	a, b := numbers(got), numbers(want)
	for i := range min(len(a), len(b)) {
		if math.Abs(a[i]-b[i]) > 0.0100001*math.Abs(b[i]) {
			return false
		}
	}
	return len(a) == len(b) && (got == "(null)") == (want == "(null)")
}
