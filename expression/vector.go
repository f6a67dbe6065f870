package expression

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// chunkRows is how many rows are evaluated at a time: few enough that the vectors of an
// expression stay in the processor's cache, enough that calls cost nothing. A request for
// few entities gets by with less memory.
const (
	chunkRows = 1024
	fewRows   = 32
)

// state says what a row of a vector holds. Greater ones win where an operation needs all
// of its operands: a failure is not hidden by a null beside it.
type state uint8

const (
	present state = iota
	null
	overflow // and all greater ones: failures
	badCast
	negativeRoot
	zeroLogarithm
	negativeLogarithm
	badAngle
	badArc
	badTime
	badPlace
)

// reasons say what a failure is, for people.
var reasons = map[state]string{
	overflow:          "the result is beyond the numbers of its type",
	badCast:           "a value cannot be cast to the type",
	negativeRoot:      "the square root of a negative number",
	zeroLogarithm:     "the logarithm of zero",
	negativeLogarithm: "the logarithm of a negative number",
	badAngle:          "the angle is infinite",
	badArc:            "the arc of a number beyond -1 and 1",
	badTime:           "the time is not in the years 1 to 9999",
	badPlace:          "a substring begins at 1 or later and has no negative length",
}

func (s state) failed() bool { return s > null }

// values are the Go types of the values of vectors: those of the types, text and bytes
// both being strings.
type values interface {
	bool | int32 | int64 | float32 | float64 | string | arrow.Timestamp
}

// vector is a column of a chunk. It is valid until its operation runs again.
type vector[T values] struct {
	values []T
	states []state // nil: all present
}

// state is that of a row.
func (v *vector[T]) state(row int) state {
	if v.states == nil {
		return present
	}
	return v.states[row]
}

// operation computes a vector for the rows of a frame.
type operation[T values] func(*frame) vector[T]

// buffer is the memory of one operation in one frame.
type buffer[T values] struct {
	values []T
	states []state
	marked bool   // some state is not present
	text   []byte // where the values are texts made here
}

// begin returns the buffer with nothing in it but room for the rows of the frame.
func (b *buffer[T]) begin(f *frame) []T {
	b.marked, b.text = false, b.text[:0]
	return b.values[:f.rows]
}

// mark says what a row holds, where that is not a value.
func (b *buffer[T]) mark(row int, s state) {
	if !b.marked {
		clear(b.states)
		b.marked = true
	}
	b.states[row] = s
}

func (b *buffer[T]) done(f *frame) vector[T] {
	v := vector[T]{values: b.values[:f.rows]}
	if b.marked {
		v.states = b.states[:f.rows]
	}
	return v
}

// frame is the memory of one evaluation. Frames are kept for the next one.
type frame struct {
	columns []arrow.Array
	most    int // rows that it has room for
	chunk   int // numbers the chunks of all evaluations
	start   int // the chunk's first row
	rows    int
	buffers []any // of *buffer[T], one per operation that needs one
	valid   []bool
}

// compiler makes operations, and remembers which memory they will need.
type compiler struct {
	text    string
	columns []Column
	read    []any // per column that is read, its operation
	parts   int
	memory  []func(rows int) any // what a frame for so many rows holds
}

// slot reserves a buffer in every frame, and returns how to find it.
func slot[T values](c *compiler) func(*frame) *buffer[T] {
	at := len(c.memory)
	c.memory = append(c.memory, func(rows int) any {
		return &buffer[T]{values: make([]T, rows), states: make([]state, rows)}
	})
	return func(f *frame) *buffer[T] { return f.buffers[at].(*buffer[T]) }
}

// constant is the same value in every row.
func constant[T values](c *compiler, v T) operation[T] {
	at := len(c.memory)
	c.memory = append(c.memory, func(rows int) any {
		b := &buffer[T]{values: make([]T, rows)}
		for i := range b.values {
			b.values[i] = v
		}
		return b
	})
	return func(f *frame) vector[T] { return vector[T]{values: f.buffers[at].(*buffer[T]).values[:f.rows]} }
}

// nothing is null in every row.
func nothing[T values](c *compiler) operation[T] {
	at := len(c.memory)
	c.memory = append(c.memory, func(rows int) any {
		b := &buffer[T]{values: make([]T, rows), states: make([]state, rows)}
		for i := range b.states {
			b.states[i] = null
		}
		return b
	})
	return func(f *frame) vector[T] {
		b := f.buffers[at].(*buffer[T])
		return vector[T]{values: b.values[:f.rows], states: b.states[:f.rows]}
	}
}

// map1 applies a function to each value.
func map1[A, R values](c *compiler, a operation[A], apply func(A) (R, state)) operation[R] {
	memory := slot[R](c)
	return func(f *frame) vector[R] {
		x, b := a(f), memory(f)
		out := b.begin(f)
		for i, v := range x.values {
			if s := x.state(i); s != present {
				b.mark(i, s)
				continue
			}
			r, s := apply(v)
			if out[i] = r; s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	}
}

// map2 applies a function to each pair of values. If one of the two is null so is the
// result, and if one failed so did the result.
func map2[A, B, R values](c *compiler, a operation[A], b operation[B], apply func(A, B) (R, state)) operation[R] {
	memory := slot[R](c)
	return func(f *frame) vector[R] {
		x, y, b := a(f), b(f), memory(f)
		out := b.begin(f)
		for i, v := range x.values {
			if s := max(x.state(i), y.state(i)); s != present {
				b.mark(i, s)
				continue
			}
			r, s := apply(v, y.values[i])
			if out[i] = r; s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	}
}

// map3 is [map2] for three.
func map3[A, B, C, R values](c *compiler, a operation[A], b operation[B], third operation[C], apply func(A, B, C) (R, state)) operation[R] {
	memory := slot[R](c)
	return func(f *frame) vector[R] {
		x, y, z, b := a(f), b(f), third(f), memory(f)
		out := b.begin(f)
		for i, v := range x.values {
			if s := max(x.state(i), y.state(i), z.state(i)); s != present {
				b.mark(i, s)
				continue
			}
			r, s := apply(v, y.values[i], z.values[i])
			if out[i] = r; s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	}
}

// text1 makes a text of each value, by appending it to the buffer's.
func text1[A values](c *compiler, a operation[A], write func([]byte, A) ([]byte, state)) operation[string] {
	memory := slot[string](c)
	return func(f *frame) vector[string] {
		x, b := a(f), memory(f)
		out := b.begin(f)
		for i, v := range x.values {
			s := x.state(i)
			if s == present {
				before := len(b.text)
				b.text, s = write(b.text, v)
				out[i] = textFrom(b.text, before)
			}
			if s != present {
				b.mark(i, s)
			}
		}
		return b.done(f)
	}
}

// textFrom is the text that was appended to a buffer from a byte on, without a copy. The
// bytes do not change while the vector is valid: only what follows them is written, and a
// buffer that grows leaves the old one to those who point into it.
func textFrom(b []byte, from int) string {
	return unsafe.String(unsafe.SliceData(b[from:]), len(b)-from)
}

// column reads a column of fixed-size values where they lie.
func column[T values, A interface {
	arrow.Array
	Values() []T
}](c *compiler, at int) operation[T] {
	memory := slot[T](c)
	return func(f *frame) vector[T] {
		a, b := f.columns[at].(A), memory(f)
		b.marked = false
		b.markNulls(f, a)
		v := b.done(f)
		v.values = a.Values()[f.start : f.start+f.rows]
		return v
	}
}

// boxed reads a column of values that are packed or of any size.
func boxed[T values, A interface {
	arrow.Array
	Value(int) T
}](c *compiler, at int) operation[T] {
	memory := slot[T](c)
	return func(f *frame) vector[T] {
		a, b := f.columns[at].(A), memory(f)
		out := b.begin(f)
		for i := range out {
			out[i] = a.Value(f.start + i)
		}
		b.markNulls(f, a)
		return b.done(f)
	}
}

// bytesColumn reads a column of bytes, as texts.
func bytesColumn(c *compiler, at int) operation[string] {
	memory := slot[string](c)
	return func(f *frame) vector[string] {
		a, b := f.columns[at].(*array.Binary), memory(f)
		out := b.begin(f)
		for i := range out {
			out[i] = textFrom(a.Value(f.start+i), 0)
		}
		b.markNulls(f, a)
		return b.done(f)
	}
}

func (b *buffer[T]) markNulls(f *frame, a arrow.Array) {
	if a.NullN() == 0 {
		return
	}
	for i := range f.rows {
		if a.IsNull(f.start + i) {
			b.mark(i, null)
		}
	}
}
