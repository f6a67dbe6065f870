package aggregate_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
)

// shown is a value as the oracle writes it, taken through Arrow.
func shown(t *testing.T, v aggregate.Value, typ driftline.Type) string {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	b := array.NewBuilder(mem, typ.Arrow())
	defer b.Release()
	if err := aggregate.Append(b, typ, v); err != nil {
		t.Fatal(err)
	}
	a := b.NewArray()
	defer a.Release()
	return showArrow(a, 0, typ)
}

func showArrow(a arrowArray, i int, typ driftline.Type) string {
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Map:
		from, to := a.ValueOffsets(i)
		value, _ := typ.MapValue()
		text := "{"
		for j := int(from); j < int(to); j++ {
			if j > int(from) {
				text += ", "
			}
			text += a.Keys().(*array.String).Value(j) + ": " + showArrow(a.Items(), j, value)
		}
		return text + "}"
	case *array.List:
		from, to := a.ValueOffsets(i)
		element, _ := typ.Element()
		text := "["
		for j := int(from); j < int(to); j++ {
			if j > int(from) {
				text += " "
			}
			text += showArrow(a.ListValues(), j, element)
		}
		return text + "]"
	case *array.Boolean:
		v := aggregate.Whole(0)
		if a.Value(i) {
			v.Bits = 1
		}
		return show(v, typ)
	case *array.Int32:
		return show(aggregate.Whole(int64(a.Value(i))), typ)
	case *array.Int64:
		return show(aggregate.Whole(a.Value(i)), typ)
	case *array.Timestamp:
		return show(aggregate.Whole(int64(a.Value(i))), typ)
	case *array.Float32:
		return showFloat(float64(a.Value(i)))
	case *array.Float64:
		return showFloat(a.Value(i))
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return string(a.Value(i))
	}
	return a.String()
}

type arrowArray interface {
	IsNull(i int) bool
	String() string
}

func names(plan *aggregate.Plan) []string {
	names := make([]string, len(plan.Features))
	for i, f := range plan.Features {
		names[i] = f.Name
	}
	return names
}

// TestTimelinesAnswerAsTheOracle compares all functions, over random rows with versions,
// at times around every boundary.
func TestTimelinesAnswerAsTheOracle(t *testing.T) {
	forSeeds(t, 400, func(t *testing.T, r random) {
		v := view(r)
		plan := aggregate.NewPlan(v)
		rows := r.rows(v, plan, r.IntN(120))
		asked := names(plan)
		r.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		query, err := plan.Query(asked[:1+r.IntN(len(asked))])
		if err != nil {
			t.Fatal(err)
		}
		knownAt := r.oneOf(2)
		timeline := query.NewTimeline(knownAt)
		for range 2 { // the second time in used memory
			timeline.Reset()
			for _, one := range rows {
				timeline.Append(&one.Event)
			}
			r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			values := make([]aggregate.Value, len(query.Features))
			for range 12 {
				q := question{at: int64(r.IntN(60) - 25), strict: r.oneOf(2), knownAt: knownAt}
				if err := timeline.At(q.at, q.strict, values); err != nil {
					t.Fatal(err)
				}
				for i, f := range query.Features {
					got, want := shown(t, values[i], f.Type), answer(v, rows, q, f)
					if !equal(got, want) {
						t.Errorf("%s (%s, event id %q) at %+v is %s, want %s", f.Name, f.Aggregation, v.EventID, q, got, want)
					}
				}
			}
		}
	})
}

// TestStatesDependOnTheEventsOnly cuts events into states in random ways and merges these
// in random orders: the bytes are the same, and so are the values.
func TestStatesDependOnTheEventsOnly(t *testing.T) {
	forSeeds(t, 300, func(t *testing.T, r random) {
		v := view(r)
		v.EventID = ""
		plan := aggregate.NewPlan(v)
		rows := r.rows(v, plan, r.IntN(150))
		whole := plan.NewState()
		for _, one := range rows {
			whole.Add(&one.Event)
		}
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		var parts [][]byte
		part := plan.NewState()
		for left := rows; len(left) > 0; {
			n := 1 + r.IntN(len(left))
			part.Reset()
			for _, one := range left[:n] {
				part.Add(&one.Event)
			}
			parts, left = append(parts, part.AppendTo(nil)), left[n:]
		}
		merged := plan.NewState()
		for len(parts) > 1 { // two random ones become one, until one is left
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			merged.Reset()
			for _, p := range parts[:2] {
				if err := merged.Merge(p); err != nil {
					t.Fatal(err)
				}
			}
			parts = append(parts[2:], merged.AppendTo(nil))
		}
		if len(parts) == 1 && !bytes.Equal(parts[0], whole.AppendTo(nil)) {
			t.Errorf("merged: %x\nat once: %x", parts[0], whole.AppendTo(nil))
		}
	})
}

// TestTimesAtTheEndsOfTime asks where times minus windows leave int64.
func TestTimesAtTheEndsOfTime(t *testing.T) {
	v := &driftline.FeatureView{Name: "v", Features: []driftline.Field{{Name: "x", Type: driftline.Int64}}, Aggregations: []driftline.Aggregation{
		{Function: driftline.Count, Windows: []driftline.Duration{1000, 5000, 9000}},
		{Function: driftline.Count, Name: "steps", Windows: []driftline.Duration{1000, 7000}, Hop: 3000},
	}}
	plan := aggregate.NewPlan(v)
	query, err := plan.Query(names(plan))
	if err != nil {
		t.Fatal(err)
	}
	timeline := query.NewTimeline(false)
	ends := []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + 4, math.MaxInt64 - 2, math.MaxInt64}
	for i, at := range ends {
		timeline.Append(&aggregate.Event{Time: at, Sequence: int64(i), Values: make([]aggregate.Value, len(plan.Columns))})
	}
	values := make([]aggregate.Value, len(query.Features))
	for _, c := range []struct {
		at     int64
		strict bool
		want   []int64
	}{
		{math.MinInt64, true, []int64{0, 0, 0, 0, 0}},
		{math.MinInt64, false, []int64{1, 1, 1, 0, 0}},     // the multiple of 3 below is no time
		{math.MinInt64 + 2, false, []int64{0, 2, 2, 0, 2}}, // which is a multiple of 3
		{math.MinInt64 + 2, true, []int64{1, 2, 2, 1, 2}},
		{math.MinInt64 + 4, false, []int64{1, 3, 3, 0, 2}},
		{math.MaxInt64, false, []int64{1, 2, 2, 0, 1}},
		{math.MaxInt64, true, []int64{0, 1, 1, 1, 1}},
	} {
		if err := timeline.At(c.at, c.strict, values); err != nil {
			t.Fatal(err)
		}
		for i, f := range query.Features {
			if got := int64(values[i].Bits); got != c.want[i] {
				t.Errorf("%s at %d, strict %v, is %d, want %d", f.Name, c.at, c.strict, got, c.want[i])
			}
		}
	}
}

// TestWhatWasNotYetKnownIsFound compares with a loop over the window's events.
func TestWhatWasNotYetKnownIsFound(t *testing.T) {
	forSeeds(t, 200, func(t *testing.T, r random) {
		v := view(r)
		plan := aggregate.NewPlan(v)
		rows := r.rows(v, plan, r.IntN(100))
		query, err := plan.Query(names(plan))
		if err != nil {
			t.Fatal(err)
		}
		timeline := query.NewTimeline(false)
		for _, one := range rows {
			timeline.Append(&one.Event)
		}
		unknown := make([]bool, len(query.Features))
		bare := *v
		bare.EventID = "" // every version counts
		for range 10 {
			q := question{at: int64(r.IntN(60) - 25), strict: r.oneOf(2)}
			timeline.NotYetKnown(q.at, q.strict, unknown)
			for i, f := range query.Features {
				at := q.at
				if hop := f.Aggregation.Hop.Microseconds(); hop > 0 {
					at = int64(math.Floor(float64(at)/float64(hop))) * hop
				}
				want := slices.ContainsFunc(window(&bare, rows, q, f), func(r row) bool { return r.Created > at })
				if unknown[i] != want {
					t.Errorf("%s at %+v: %v, want %v", f.Name, q, unknown[i], want)
				}
			}
		}
	})
}

// TestApproximationsKeepTheirBounds counts and ranks many values.
func TestApproximationsKeepTheirBounds(t *testing.T) {
	v := &driftline.FeatureView{Name: "v", Features: []driftline.Field{{Name: "x", Type: driftline.Float64}}, Aggregations: []driftline.Aggregation{
		{Function: driftline.ApproxCountDistinct, Column: "x", Windows: []driftline.Duration{1000}},
		{Function: driftline.ApproxQuantile, Column: "x", Quantile: 0.5, Name: "p50", Windows: []driftline.Duration{1000}},
		{Function: driftline.ApproxQuantile, Column: "x", Quantile: 0.999, Name: "p999", Windows: []driftline.Duration{1000}},
	}}
	plan := aggregate.NewPlan(v)
	query, err := plan.Query(names(plan))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 10, 100, 1000, 5000, 30_000, 300_000} {
		r, state, values := seeded(uint64(n)), query.NewState(), make([]aggregate.Value, 3)
		var numbers []float64
		add := func(s *aggregate.State, _ aggregate.Span) error {
			for range n {
				x := math.Exp(5 * r.NormFloat64())
				numbers = append(numbers, x)
				s.Add(&aggregate.Event{Values: []aggregate.Value{aggregate.Fraction(x)}})
			}
			return nil
		}
		if err := query.At(0, false, state, values, add); err != nil {
			t.Fatal(err)
		}
		// Four standard errors; a handful is exact.
		if got := float64(int64(values[0].Bits)); math.Abs(got-float64(n)) > 4*1.04/64*float64(n)+0.5 {
			t.Errorf("%d different values are counted as %v", n, got)
		}
		slices.Sort(numbers)
		for i, q := range []float64{0.5, 0.999} {
			want := numbers[int(q*float64(n-1))]
			if got := math.Float64frombits(values[i+1].Bits); math.Abs(got-want) > 0.01000001*want {
				t.Errorf("of %d the quantile %v is %v, want %v ± 1 %%", n, q, got, want)
			}
		}
	}
}

// TestAStateOfAnotherPlanIsTold: a state says nothing once the columns, filters or
// functions that it was made by are others. Windows may change.
func TestAStateOfAnotherPlanIsTold(t *testing.T) {
	of := func(change func(*driftline.FeatureView)) *aggregate.Plan {
		v := &driftline.FeatureView{Features: []driftline.Field{{Name: "x", Type: driftline.Int32}}, Aggregations: []driftline.Aggregation{
			{Function: driftline.Sum, Column: "x", Windows: []driftline.Duration{1000}},
		}}
		change(v)
		return aggregate.NewPlan(v)
	}
	state := of(func(*driftline.FeatureView) {}).NewState().AppendTo(nil)
	for name, c := range map[string]struct {
		change func(*driftline.FeatureView)
		same   bool
	}{
		"another window":         {func(v *driftline.FeatureView) { v.Aggregations[0].Windows[0] = 9000 }, true},
		"mean, of the same cell": {func(v *driftline.FeatureView) { v.Aggregations[0].Function = driftline.Mean }, true},
		"another function":       {func(v *driftline.FeatureView) { v.Aggregations[0].Function = driftline.Max }, false},
		"a wider column":         {func(v *driftline.FeatureView) { v.Features[0].Type = driftline.Int64 }, false},
		"another column":         {func(v *driftline.FeatureView) { v.Features[0].Column = "x#1" }, false},
		"a filter":               {func(v *driftline.FeatureView) { v.Aggregations[0].Filter = "x > 0" }, false},
		"an event id":            {func(v *driftline.FeatureView) { v.EventID = "x" }, false},
	} {
		plan := of(c.change)
		if plan.Made(state) != c.same || (plan.NewState().Merge(state) == nil) != c.same {
			t.Errorf("%s: the state is of the plan: %v, want %v", name, !c.same, c.same)
		}
	}
}

// FuzzMerge: bytes of any kind never bring a state down, and what is taken in is written
// so that it is taken in again.
func FuzzMerge(f *testing.F) {
	r := seeded(7)
	v := view(r)
	for i, fn := range driftline.Functions {
		v.Aggregations = append(v.Aggregations, driftline.Aggregation{Name: string(fn), Function: fn, Column: []string{"n", "i"}[i%2], N: 3, Quantile: 0.5, Windows: []driftline.Duration{1000}})
	}
	plan := aggregate.NewPlan(v)
	for range 5 {
		s := plan.NewState()
		for _, one := range r.rows(v, plan, 20) {
			s.Add(&one.Event)
		}
		f.Add(s.AppendTo(nil)[9:])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		head := plan.NewState().AppendTo(nil)[:9]
		s := plan.NewState()
		if err := s.Merge(append(head, body...)); err != nil {
			if code := driftline.CodeOf(err); code != driftline.DataLoss {
				t.Errorf("damage is %s: %v", code, err)
			}
			return
		}
		query, err := plan.Query(names(plan))
		if err != nil {
			t.Fatal(err)
		}
		first := s.AppendTo(nil)
		values := make([]aggregate.Value, len(query.Features))
		if err := query.At(0, false, query.NewState(), values, func(s *aggregate.State, _ aggregate.Span) error { return s.Merge(first) }); err != nil {
			t.Errorf("what was written is damaged: %v", err)
		}
		s.Reset()
		if err := s.Merge(first); err != nil || !bytes.Equal(first, s.AppendTo(nil)) {
			t.Errorf("%x became %x, %v", first, s.AppendTo(nil), err)
		}
	})
}

// TestSumsAreRoundedOnce has sums that are half way between two float64, or a little off,
// where rounding twice or rounding early shows.
func TestSumsAreRoundedOnce(t *testing.T) {
	v := &driftline.FeatureView{Name: "v", Features: []driftline.Field{{Name: "x", Type: driftline.Float64}}}
	for _, f := range []driftline.Function{driftline.Sum, driftline.Mean, driftline.StdDev} {
		v.Aggregations = append(v.Aggregations, driftline.Aggregation{Function: f, Column: "x", Windows: []driftline.Duration{1000}})
	}
	plan := aggregate.NewPlan(v)
	query, err := plan.Query(names(plan))
	if err != nil {
		t.Fatal(err)
	}
	tiny, huge := math.SmallestNonzeroFloat64, math.MaxFloat64
	cases := [][]float64{
		{1, 0x1p-53}, {1, 0x1p-53, tiny}, {1, 0x1p-53, -tiny}, {1 + 0x1p-52, 0x1p-53}, {-1, -0x1p-53, -tiny},
		{huge, huge, -huge}, {huge, 0x1p970}, {huge, 0x1p969}, {huge, huge}, {-huge, -huge, -huge},
		{tiny, 0}, {tiny, 0, 0}, {tiny, tiny, 0}, {tiny, tiny, tiny, 0}, {3 * tiny, 0}, {0x1p-1022, -tiny, 0},
		{1e16, 1, -1e16}, {0.1, 0.2, 0.3}, {1e200, 1e-200, -1e200}, {math.Copysign(0, -1)}, {},
	}
	r := seeded(3)
	for range 500 {
		var one []float64
		for range 1 + r.IntN(20) {
			one = append(one, math.Ldexp(float64(r.IntN(1<<30)-1<<29), r.IntN(20)*100-1074))
		}
		cases = append(cases, one)
	}
	values := make([]aggregate.Value, len(query.Features))
	state := query.NewState()
	for _, numbers := range cases {
		var rows []row
		for i, x := range numbers {
			value := aggregate.Fraction(x)
			rows = append(rows, row{aggregate.Event{Sequence: int64(i), Values: []aggregate.Value{value}}, map[string]aggregate.Value{"x": value}})
		}
		if err := query.At(0, false, state, values, func(s *aggregate.State, _ aggregate.Span) error {
			for i := range rows {
				s.Add(&rows[i].Event)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, f := range query.Features {
			if got, want := shown(t, values[i], f.Type), answer(v, rows, question{}, f); got != want {
				t.Errorf("%s of %x is %s, want %s", f.Name, numbers, got, want)
			}
		}
	}
}

// benchmarked is a query of twenty features over one to seven days, and rows for it.
func benchmarked(b *testing.B) (*aggregate.Query, []row) {
	b.Helper()
	v := &driftline.FeatureView{Name: "v", Features: []driftline.Field{{Name: "x", Type: driftline.Float64}, {Name: "n", Type: driftline.Int64}}}
	for _, f := range []driftline.Function{driftline.Sum, driftline.Mean, driftline.StdDev, driftline.Min, driftline.Max} {
		for _, column := range []string{"x", "n"} {
			v.Aggregations = append(v.Aggregations, driftline.Aggregation{Function: f, Column: column, Windows: []driftline.Duration{1_000_000, 7_000_000}})
		}
	}
	plan := aggregate.NewPlan(v)
	query, err := plan.Query(names(plan))
	if err != nil {
		b.Fatal(err)
	}
	r := seeded(1)
	rows := make([]row, 10_000)
	for i := range rows {
		rows[i].Time, rows[i].Sequence = int64(i), int64(i)
		rows[i].Values = []aggregate.Value{aggregate.Fraction(100 * r.NormFloat64()), aggregate.Whole(int64(r.IntN(1000)))}
	}
	return query, rows
}

func BenchmarkAdd(b *testing.B) {
	query, rows := benchmarked(b)
	state := query.NewState()
	b.ReportAllocs()
	for i := range b.N {
		state.Add(&rows[i%len(rows)].Event)
	}
}

func BenchmarkMerge(b *testing.B) {
	query, rows := benchmarked(b)
	var tiles [][]byte
	state := query.NewState()
	for i := range rows {
		state.Add(&rows[i].Event)
		if i%100 == 99 {
			tiles = append(tiles, state.AppendTo(nil))
			state.Reset()
		}
	}
	b.ReportAllocs()
	for i := range b.N {
		if err := state.Merge(tiles[i%len(tiles)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTimeline(b *testing.B) {
	query, rows := benchmarked(b)
	timeline := query.NewTimeline(false)
	for i := range rows {
		timeline.Append(&rows[i].Event)
	}
	values := make([]aggregate.Value, len(query.Features))
	b.ReportAllocs()
	for i := range b.N {
		if err := timeline.At(int64(i*37%10_000), false, values); err != nil {
			b.Fatal(err)
		}
	}
}
