package expression

import (
	"cmp"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// family is what all types can do. Its operations take and give operation[T] of the
// type's own T, which Go can only say by any here: the checker knows that they fit.
type family interface {
	column(c *compiler, at int) any
	null(c *compiler) any
	comparison(c *compiler, operator string, a, b any) any
	distinct(c *compiler, a, b any, not bool) any
	between(c *compiler, v, low, high any, not bool) any
	in(c *compiler, v any, list []any, not bool) any
	isNull(c *compiler, a any, not bool) any
	coalesce(c *compiler, of []any) any
	extreme(c *compiler, of []any, greatest bool) any
	nullIf(c *compiler, a any, equal operation[bool]) any
	cases(c *compiler, when []operation[bool], then []any, otherwise any) any
	shared(c *compiler, a any) any
	writer(a any) writer
}

// writer appends the vector of a chunk to the builder of its type, and returns the rows
// that failed: how many, and the first with its state.
type writer func(f *frame, to array.Builder) failures

var families = map[driftline.Type]family{
	driftline.Bool:      typed[bool]{compareBools, boxed[bool, *array.Boolean], appendTo[bool, *array.BooleanBuilder]},
	driftline.Int32:     typed[int32]{cmp.Compare[int32], column[int32, *array.Int32], appendTo[int32, *array.Int32Builder]},
	driftline.Int64:     typed[int64]{cmp.Compare[int64], column[int64, *array.Int64], appendTo[int64, *array.Int64Builder]},
	driftline.Float32:   typed[float32]{compareFloats[float32], column[float32, *array.Float32], appendTo[float32, *array.Float32Builder]},
	driftline.Float64:   typed[float64]{compareFloats[float64], column[float64, *array.Float64], appendTo[float64, *array.Float64Builder]},
	driftline.String:    typed[string]{strings.Compare, boxed[string, *array.String], appendTo[string, *array.StringBuilder]},
	driftline.Bytes:     typed[string]{strings.Compare, bytesColumn, appendBytes},
	driftline.Timestamp: typed[arrow.Timestamp]{cmp.Compare[arrow.Timestamp], column[arrow.Timestamp, *array.Timestamp], appendTo[arrow.Timestamp, *array.TimestampBuilder]},
}

// typed is the family of one Go type.
type typed[T values] struct {
	compare func(a, b T) int
	read    func(*compiler, int) operation[T]
	append  func(to array.Builder, values []T, valid []bool)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// compareFloats is DuckDB's order: NaN equals itself and is greater than all numbers.
func compareFloats[F float32 | float64](a, b F) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	return compareBools(math.IsNaN(float64(a)), math.IsNaN(float64(b)))
}

func appendTo[T values, B interface {
	array.Builder
	AppendValues([]T, []bool)
}](to array.Builder, values []T, valid []bool) {
	to.(B).AppendValues(values, valid)
}

func appendBytes(to array.Builder, values []string, valid []bool) {
	b := to.(*array.BinaryBuilder)
	for i, v := range values {
		if valid != nil && !valid[i] {
			b.AppendNull()
			continue
		}
		b.AppendString(v)
	}
}

func (t typed[T]) column(c *compiler, at int) any { return t.share(c, t.read(c, at)) }

func (t typed[T]) null(c *compiler) any { return nothing[T](c) }

// shared computes an operation at most once in a chunk, however often it is asked: what
// is written once is computed once.
func (t typed[T]) shared(c *compiler, a any) any { return t.share(c, a.(operation[T])) }

func (t typed[T]) share(c *compiler, a operation[T]) operation[T] {
	type kept struct {
		chunk int
		v     vector[T]
	}
	at := len(c.memory)
	c.memory = append(c.memory, func(int) any { return &kept{} })
	return func(f *frame) vector[T] {
		k := f.buffers[at].(*kept)
		if k.chunk != f.chunk {
			k.chunk, k.v = f.chunk, a(f)
		}
		return k.v
	}
}

// holds says for which outcomes of a comparison an operator holds.
var holds = map[string]func(int) bool{
	"=":  func(c int) bool { return c == 0 },
	"<>": func(c int) bool { return c != 0 },
	"<":  func(c int) bool { return c < 0 },
	"<=": func(c int) bool { return c <= 0 },
	">":  func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
}

func (t typed[T]) comparison(c *compiler, operator string, a, b any) any {
	is, compare := holds[operator], t.compare
	return map2(c, a.(operation[T]), b.(operation[T]), func(x, y T) (bool, state) { return is(compare(x, y)), present })
}

func (t typed[T]) distinct(c *compiler, a, b any, not bool) any {
	left, right, memory := a.(operation[T]), b.(operation[T]), slot[bool](c)
	return operation[bool](func(f *frame) vector[bool] {
		x, y, b := left(f), right(f), memory(f)
		out := b.begin(f)
		for i := range out {
			p, q := x.state(i), y.state(i)
			switch {
			case max(p, q).failed():
				b.mark(i, max(p, q))
			case p == null || q == null:
				out[i] = (p != q) != not
			default:
				out[i] = (t.compare(x.values[i], y.values[i]) != 0) != not
			}
		}
		return b.done(f)
	})
}

// between is v >= low AND v <= high in three-valued logic: a bound that is not met
// decides, whatever the other is.
func (t typed[T]) between(c *compiler, v, low, high any, not bool) any {
	value, from, to, memory := v.(operation[T]), low.(operation[T]), high.(operation[T]), slot[bool](c)
	return operation[bool](func(f *frame) vector[bool] {
		x, l, h, b := value(f), from(f), to(f), memory(f)
		out := b.begin(f)
		for i := range out {
			p, q, r := x.state(i), l.state(i), h.state(i)
			below := max(p, q) == present && t.compare(x.values[i], l.values[i]) < 0
			above := max(p, r) == present && t.compare(x.values[i], h.values[i]) > 0
			switch s := max(p, q, r); {
			case s.failed():
				b.mark(i, s)
			case below || above:
				out[i] = not
			case s == null:
				b.mark(i, null)
			default:
				out[i] = !not
			}
		}
		return b.done(f)
	})
}

// in is true if v equals one of the list, and otherwise null if v or one of them is.
func (t typed[T]) in(c *compiler, v any, list []any, not bool) any {
	value, memory, vectors := v.(operation[T]), slot[bool](c), slotOfVectors[T](c, len(list))
	of := operations[T](list)
	return operation[bool](func(f *frame) vector[bool] {
		x, b := value(f), memory(f)
		among := vectors(f)
		for i, o := range of {
			among[i] = o(f)
		}
		out := b.begin(f)
		for i := range out {
			found, s := t.isAmong(&x, among, i)
			if out[i] = found != not; s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	})
}

func (t typed[T]) isAmong(x *vector[T], among []vector[T], row int) (found bool, s state) {
	s = x.state(row)
	for i := range among {
		a := &among[i]
		other := a.state(row)
		found = found || max(other, x.state(row)) == present && t.compare(x.values[row], a.values[row]) == 0
		s = max(s, other)
	}
	if found && s == null {
		s = present
	}
	return found, s
}

func (t typed[T]) isNull(c *compiler, a any, not bool) any {
	of, memory := a.(operation[T]), slot[bool](c)
	return operation[bool](func(f *frame) vector[bool] {
		x, b := of(f), memory(f)
		out := b.begin(f)
		for i := range out {
			s := x.state(i)
			if out[i] = (s == null) != not; s.failed() {
				b.mark(i, s)
			}
		}
		return b.done(f)
	})
}

func operations[T values](of []any) []operation[T] {
	out := make([]operation[T], len(of))
	for i, o := range of {
		out[i] = o.(operation[T])
	}
	return out
}

// slotOfVectors reserves room for the vectors of several operands in every frame.
func slotOfVectors[T values](c *compiler, n int) func(*frame) []vector[T] {
	at := len(c.memory)
	c.memory = append(c.memory, func(int) any { return make([]vector[T], n) })
	return func(f *frame) []vector[T] { return f.buffers[at].([]vector[T]) }
}

// fold computes each row from its values in several vectors.
func fold[T values](c *compiler, of []any, row func(vectors []vector[T], row int) (T, state)) operation[T] {
	operands, memory, vectors := operations[T](of), slot[T](c), slotOfVectors[T](c, len(of))
	return func(f *frame) vector[T] {
		b, all := memory(f), vectors(f)
		for i, o := range operands {
			all[i] = o(f)
		}
		out := b.begin(f)
		for i := range out {
			v, s := row(all, i)
			if out[i] = v; s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	}
}

// coalesce is the first value that is not null. What comes after it does not matter.
func (t typed[T]) coalesce(c *compiler, of []any) any {
	return fold(c, of, func(vectors []vector[T], row int) (v T, _ state) {
		for i := range vectors {
			if s := vectors[i].state(row); s != null {
				return vectors[i].values[row], s
			}
		}
		return v, null
	})
}

// extreme is the greatest or least value that is not null.
func (t typed[T]) extreme(c *compiler, of []any, greatest bool) any {
	return fold(c, of, func(vectors []vector[T], row int) (best T, _ state) {
		found := null
		for i := range vectors {
			s := vectors[i].state(row)
			if s.failed() {
				return best, s
			}
			if s == null {
				continue
			}
			v := vectors[i].values[row]
			if order := t.compare(v, best); found == null || greatest && order > 0 || !greatest && order < 0 {
				best, found = v, present
			}
		}
		return best, found
	})
}

// nullIf is a where equal is not true.
func (t typed[T]) nullIf(c *compiler, a any, equal operation[bool]) any {
	of, memory := a.(operation[T]), slot[T](c)
	return operation[T](func(f *frame) vector[T] {
		x, same, b := of(f), equal(f), memory(f)
		out := b.begin(f)
		for i := range out {
			s, is := x.state(i), same.state(i)
			out[i] = x.values[i]
			switch {
			case max(s, is).failed():
				b.mark(i, max(s, is))
			case s == null, is == present && same.values[i]:
				b.mark(i, null)
			}
		}
		return b.done(f)
	})
}

// cases takes each row from the branch of the first condition that is true. Failures in
// other branches are none.
func (t typed[T]) cases(c *compiler, when []operation[bool], then []any, otherwise any) any {
	memory := slot[T](c)
	conditions, branches := slotOfVectors[bool](c, len(when)), slotOfVectors[T](c, len(then)+1)
	results := operations[T](append(then, otherwise))
	return operation[T](func(f *frame) vector[T] {
		b, is, from := memory(f), conditions(f), branches(f)
		for i, w := range when {
			is[i] = w(f)
		}
		for i, r := range results {
			from[i] = r(f)
		}
		out := b.begin(f)
		for i := range out {
			branch, s := chosen(is, i)
			if s == present {
				out[i], s = from[branch].values[i], from[branch].state(i)
			}
			if s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	})
}

// chosen returns the first condition that is true, or their number. A condition that
// fails before one is true fails the row.
func chosen(conditions []vector[bool], row int) (int, state) {
	for i := range conditions {
		switch s := conditions[i].state(row); {
		case s.failed():
			return i, s
		case s == present && conditions[i].values[row]:
			return i, present
		}
	}
	return len(conditions), present
}

func (t typed[T]) writer(a any) writer {
	of := a.(operation[T])
	return func(f *frame, to array.Builder) failures {
		v := of(f)
		if v.states == nil {
			t.append(to, v.values, nil)
			return failures{}
		}
		found := failures{}
		valid := f.valid[:f.rows]
		for i, s := range v.states {
			valid[i] = s == present
			if s.failed() {
				found.add(f.start+i, s)
			}
		}
		t.append(to, v.values, valid)
		return found
	}
}
