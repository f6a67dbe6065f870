package aggregate_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
)

// The oracle: what each function is, said as plainly as it can be. It is a loop over all
// rows for each feature and time, and uses nothing of the package but its values.

// row is a row of one entity.
type row struct {
	aggregate.Event
	valuesOf map[string]aggregate.Value
}

// question is a time and the rules that hold for it.
type question struct {
	at      int64
	strict  bool
	knownAt bool
}

// window returns the events in a window, each in the version that counts, in order.
func window(view *driftline.FeatureView, rows []row, q question, f driftline.AggregatedFeature) []row {
	at := q.at
	if hop := f.Aggregation.Hop.Microseconds(); hop > 0 {
		at = int64(math.Floor(float64(at)/float64(hop))) * hop
	}
	w := f.Window.Microseconds()
	newest := map[string]row{}
	for i, r := range rows {
		since := at - r.Time
		inside := since >= 0 && since < w
		if q.strict {
			inside = since > 0 && since <= w
		}
		if q.knownAt && (r.Created == aggregate.NoCreated || r.Created > at) || !inside {
			continue
		}
		event := fmt.Sprintf("row %d", i)
		if id := r.valuesOf[view.EventID]; id.Valid {
			event = fmt.Sprintf("%d %d %s", r.Time, id.Bits, id.Text)
		}
		if before, ok := newest[event]; !ok || later(r, before) > 0 {
			newest[event] = r
		}
	}
	var events []row
	for _, r := range newest {
		events = append(events, r)
	}
	slices.SortFunc(events, later)
	return events
}

func later(a, b row) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Created, b.Created), cmp.Compare(a.Sequence, b.Sequence))
}

// answer is a feature's value as text.
func answer(view *driftline.FeatureView, rows []row, q question, f driftline.AggregatedFeature) string {
	a := f.Aggregation
	column, _ := view.Feature(a.Column)
	inputs := map[string][]aggregate.Value{}
	for _, r := range window(view, rows, q, f) {
		if a.Filter != "" && !passes(a.Filter, r) {
			continue
		}
		v, by := aggregate.Whole(1), ""
		if a.Column != "" {
			v = r.valuesOf[a.Column]
		}
		if a.By != "" {
			c, _ := view.Feature(a.By)
			if !r.valuesOf[a.By].Valid {
				continue
			}
			by = show(r.valuesOf[a.By], c.Type)
		}
		if v.Valid {
			inputs[by] = append(inputs[by], v)
		}
	}
	if a.By == "" {
		return summary(a, column.Type, inputs[""])
	}
	var entries []string
	for by := range inputs {
		if text := summary(a, column.Type, inputs[by]); text != "null" || a.Function != driftline.ApproxQuantile {
			entries = append(entries, by+": "+text)
		}
	}
	if len(entries) == 0 && a.Function != driftline.Count {
		return "null"
	}
	slices.Sort(entries)
	return "{" + strings.Join(entries, ", ") + "}"
}

// passes is the only filter of the tests: x is positive.
func passes(_ string, r row) bool {
	x := r.valuesOf["x"]
	return x.Valid && math.Float64frombits(x.Bits) > 0
}

func summary(a driftline.Aggregation, t driftline.Type, values []aggregate.Value) string {
	if a.Function == driftline.Count {
		return strconv.Itoa(len(values))
	}
	if len(values) == 0 {
		return "null"
	}
	sorted := slices.Clone(values)
	slices.SortStableFunc(sorted, func(x, y aggregate.Value) int { return compare(x, y, t) })
	switch a.Function {
	case driftline.First:
		return show(values[0], t)
	case driftline.Last:
		return show(values[len(values)-1], t)
	case driftline.LastN:
		return showList(values[max(0, len(values)-a.N):], t)
	case driftline.Min:
		return show(sorted[0], t)
	case driftline.Max:
		return show(sorted[len(sorted)-1], t)
	case driftline.TopK:
		return showList(top(sorted, a.N, t), t)
	case driftline.ApproxCountDistinct:
		return "~" + strconv.Itoa(len(top(sorted, len(sorted), t)))
	}
	if isFraction(t) {
		if odd := oddSum(a.Function, values); odd != "" {
			return odd
		}
	}
	return numeric(a, t, values, sorted)
}

// oddSum is what values of which some are not finite make, "" if all are.
func oddSum(f driftline.Function, values []aggregate.Value) string {
	odd, sum := false, 0.0
	for _, v := range values {
		if x := math.Float64frombits(v.Bits); math.IsNaN(x) || math.IsInf(x, 0) {
			odd = true
			sum += x
		}
	}
	switch {
	case !odd || f == driftline.ApproxQuantile:
		return ""
	case f == driftline.StdDev && len(values) < 2:
		return "null"
	case f == driftline.StdDev:
		return "NaN"
	}
	return showFloat(sum)
}

func numeric(a driftline.Aggregation, t driftline.Type, values, sorted []aggregate.Value) string {
	sum, squares, n := new(big.Rat), new(big.Rat), big.NewRat(int64(len(values)), 1)
	for _, v := range values {
		if a.Function == driftline.ApproxQuantile {
			break
		}
		x := ratOf(v, t)
		sum.Add(sum, x)
		squares.Add(squares, new(big.Rat).Mul(x, x))
	}
	switch a.Function {
	case driftline.Sum:
		if isFraction(t) {
			f, _ := sum.Float64()
			return showFloat(f)
		}
		if !sum.Num().IsInt64() {
			return "null"
		}
		return sum.Num().String()
	case driftline.Mean:
		f, _ := sum.Quo(sum, n).Float64()
		return showFloat(f)
	case driftline.StdDev:
		if len(values) < 2 {
			return "null"
		}
		squares.Sub(squares, sum.Quo(sum.Mul(sum, sum), n))
		return showFloat(root(squares.Quo(squares, big.NewRat(int64(len(values)-1), 1))))
	}
	var finite []float64
	for _, v := range sorted {
		if f := numberOf(v, t); !math.IsNaN(f) {
			finite = append(finite, f)
		}
	}
	if len(finite) == 0 {
		return "null"
	}
	return "≈" + showFloat(finite[int(a.Quantile*float64(len(finite)-1))])
}

// root rounds to 53 bits, scaled so that nothing is out of range, and takes the root.
func root(x *big.Rat) float64 {
	if x.Sign() == 0 {
		return 0
	}
	power := (x.Num().BitLen() - x.Denom().BitLen()) / 2
	four := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(2*max(power, -power))))
	if power > 0 {
		four.Inv(four)
	}
	f, _ := x.Mul(x, four).Float64()
	return math.Ldexp(math.Sqrt(f), power)
}

func top(sorted []aggregate.Value, n int, t driftline.Type) []aggregate.Value {
	type counted struct {
		v aggregate.Value
		n int
	}
	var counts []counted
	for _, v := range sorted {
		if isFraction(t) && math.Float64frombits(v.Bits) == 0 {
			v = aggregate.Fraction(0)
		}
		if last := len(counts) - 1; last >= 0 && compare(counts[last].v, v, t) == 0 {
			counts[last].n++
		} else {
			counts = append(counts, counted{v, 1})
		}
	}
	slices.SortStableFunc(counts, func(a, b counted) int { return cmp.Compare(b.n, a.n) })
	var out []aggregate.Value
	for _, c := range counts[:min(n, len(counts))] {
		out = append(out, c.v)
	}
	return out
}

// compare has NaN greater than all numbers, and -0 less than 0.
func compare(a, b aggregate.Value, t driftline.Type) int {
	if t == driftline.String || t == driftline.Bytes {
		return bytes.Compare(a.Text, b.Text)
	}
	if !isFraction(t) {
		return cmp.Compare(int64(a.Bits), int64(b.Bits))
	}
	x, y := math.Float64frombits(a.Bits), math.Float64frombits(b.Bits)
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		return cmp.Compare(y, x) // which has NaN least
	case x == 0 && y == 0:
		return cmp.Compare(b.Bits>>63, a.Bits>>63)
	}
	return cmp.Compare(x, y)
}

func isFraction(t driftline.Type) bool { return t == driftline.Float32 || t == driftline.Float64 }

func numberOf(v aggregate.Value, t driftline.Type) float64 {
	if isFraction(t) {
		return math.Float64frombits(v.Bits)
	}
	return float64(int64(v.Bits))
}

func ratOf(v aggregate.Value, t driftline.Type) *big.Rat {
	if isFraction(t) {
		return new(big.Rat).SetFloat64(math.Float64frombits(v.Bits))
	}
	return new(big.Rat).SetInt64(int64(v.Bits))
}

func show(v aggregate.Value, t driftline.Type) string {
	switch {
	case !v.Valid:
		return "null"
	case t == driftline.String || t == driftline.Bytes:
		return string(v.Text)
	case t == driftline.Bool:
		return strconv.FormatBool(v.Bits != 0)
	case isFraction(t):
		return showFloat(math.Float64frombits(v.Bits))
	}
	return strconv.FormatInt(int64(v.Bits), 10)
}

func showFloat(f float64) string {
	if f != f {
		return "NaN"
	}
	return strconv.FormatFloat(f, 'x', -1, 64)
}

func showList(values []aggregate.Value, t driftline.Type) string {
	shown := make([]string, len(values))
	for i, v := range values {
		shown[i] = show(v, t)
	}
	return "[" + strings.Join(shown, " ") + "]"
}

// random is where the tests' rows come from: few different values, so that many are equal.
type random struct{ *rand.Rand }

func (r random) oneOf(n int) bool { return r.IntN(n) == 0 }

func (r random) float() float64 {
	odd := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e-300, 1e200}
	switch {
	case r.oneOf(12):
		return odd[r.IntN(len(odd))]
	case r.oneOf(3):
		return r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20))
	}
	return float64(r.IntN(7)-3) / 10
}

func (r random) value(t driftline.Type) aggregate.Value {
	if r.oneOf(6) {
		return aggregate.Value{}
	}
	switch t {
	case driftline.Bool:
		return aggregate.Whole(int64(r.IntN(2)))
	case driftline.Int32:
		return aggregate.Whole(int64(r.IntN(5) - 2))
	case driftline.Float32:
		return aggregate.Fraction(float64(float32(r.IntN(9)-4) / 10))
	case driftline.Float64:
		return aggregate.Fraction(r.float())
	case driftline.String, driftline.Bytes:
		return aggregate.Text([]byte([]string{"", "a", "b", "ab", "é"}[r.IntN(5)]))
	}
	if r.oneOf(8) {
		return aggregate.Whole(int64(r.Uint64()))
	}
	return aggregate.Whole(int64(r.IntN(5) - 2))
}

// view has columns of all types and an aggregation for each function, column and shape.
func view(r random) *driftline.FeatureView {
	v := &driftline.FeatureView{Name: "v", Features: []driftline.Field{
		{Name: "x", Type: driftline.Float64}, {Name: "y", Type: driftline.Float32}, {Name: "n", Type: driftline.Int64}, {Name: "i", Type: driftline.Int32},
		{Name: "b", Type: driftline.Bool}, {Name: "s", Type: driftline.String}, {Name: "z", Type: driftline.Bytes}, {Name: "t", Type: driftline.Timestamp},
	}}
	if r.oneOf(2) {
		v.EventID = []string{"n", "s", "b"}[r.IntN(3)]
	}
	for i := range 14 {
		a := driftline.Aggregation{Name: fmt.Sprintf("a%d", i), Function: driftline.Functions[r.IntN(len(driftline.Functions))]}
		for {
			f := v.Features[r.IntN(len(v.Features))]
			if _, err := a.Function.Result(f.Type); err == nil {
				a.Column = f.Name
				break
			}
		}
		if a.Function == driftline.Count && r.oneOf(2) {
			a.Column = ""
		}
		if a.Function == driftline.LastN || a.Function == driftline.TopK {
			a.N = 1 + r.IntN(4)
		}
		if a.Function == driftline.ApproxQuantile {
			a.Quantile = []float64{0.01, 0.5, 0.9, 1}[r.IntN(4)]
		}
		if r.oneOf(3) {
			a.Filter = "x > 0"
		}
		if r.oneOf(4) {
			a.By = []string{"s", "i", "b"}[r.IntN(3)]
		}
		if r.oneOf(4) {
			a.Hop = driftline.Duration(1000 * (1 + r.IntN(5)))
		}
		for _, w := range r.Perm(20)[:1+r.IntN(3)] {
			a.Windows = append(a.Windows, driftline.Duration(1000*(w+1)))
		}
		v.Aggregations = append(v.Aggregations, a)
	}
	return v
}

// rows of few times, in order.
func (r random) rows(v *driftline.FeatureView, plan *aggregate.Plan, n int) []row {
	var rows []row
	for i := range n {
		one := row{valuesOf: map[string]aggregate.Value{}}
		one.Time, one.Sequence = int64(r.IntN(40)-20), int64(i)
		one.Created = one.Time + int64(r.IntN(12)-3)
		if r.oneOf(9) {
			one.Created = aggregate.NoCreated
		}
		for _, f := range v.Features {
			one.valuesOf[f.Name] = r.value(f.Type)
		}
		for _, c := range plan.Columns {
			one.Values = append(one.Values, one.valuesOf[c.Name])
		}
		for _, filter := range plan.Filters {
			one.Passes = append(one.Passes, passes(filter, one))
		}
		rows = append(rows, one)
	}
	slices.SortFunc(rows, later)
	return rows
}

// equal reports whether a value is the one wanted, within its bound if that is approximate:
// 1 % of a quantile, or half of the least number; 1 of a few different values, of which two
// seldom fall to one register.
func equal(got, want string) bool {
	if !strings.ContainsAny(want, "≈~") {
		return got == want
	}
	g, w := strings.Split(strings.Trim(got, "{}"), ", "), strings.Split(strings.Trim(want, "{}"), ", ")
	return slices.EqualFunc(g, w, func(g, w string) bool {
		gotKey, g := cutLast(g, ": ")
		wantKey, w := cutLast(w, ": ")
		a, errA := strconv.ParseFloat(g, 64)
		b, errB := strconv.ParseFloat(strings.Trim(w, "≈~"), 64)
		bound := max(0.01000001*math.Abs(b), math.SmallestNonzeroFloat64)
		if strings.HasPrefix(w, "~") {
			bound = 1
		}
		return gotKey == wantKey && errA == nil && errB == nil && (a == b || math.Abs(a-b) <= bound)
	})
}

// cutLast returns what is before and after the last separator.
func cutLast(s, separator string) (before, after string) {
	if at := strings.LastIndex(s, separator); at >= 0 {
		return s[:at], s[at+len(separator):]
	}
	return "", s
}

func seeded(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 1))} }

func forSeeds(t *testing.T, n int, test func(t *testing.T, r random)) {
	t.Helper()
	for seed := range uint64(n) {
		test(t, seeded(seed))
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}
