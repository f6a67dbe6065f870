package aggregate

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/driftline/driftline"
)

// Event is one event of an entity. Its slices are borrowed.
type Event struct {
	Time     int64 // event time, in microseconds
	Created  int64 // [NoCreated] if it has none
	Sequence int64 // of its write
	Values   []Value
	Passes   []bool
}

// NoCreated is the created time of an event that has none: it is before all others.
const NoCreated = math.MinInt64

// State summarises events. It is not safe for concurrent use.
type State struct {
	plan  *Plan
	cells []cell  // nil for those that are not wanted
	step  *step   // the window that is being filled; nil for a state of everything
	one   decoder // of a cell; here because a cell is an interface, to which a local one would escape
}

// NewState returns the state of no events, for all that the plan derives.
func (p *Plan) NewState() *State {
	s := &State{plan: p, cells: make([]cell, len(p.cells))}
	for i, c := range p.cells {
		s.cells[i] = c.make()
	}
	return s
}

// NewState returns the state of no events, for what the query asks for.
func (q *Query) NewState() *State {
	s := &State{plan: q.plan, cells: make([]cell, len(q.plan.cells))}
	for _, at := range q.outputs {
		if at := q.plan.outputs[at].cell; s.cells[at] == nil {
			s.cells[at] = q.plan.cells[at].make()
		}
	}
	return s
}

// Reset makes s the state of no events.
func (s *State) Reset() {
	for _, c := range s.cells {
		if c != nil {
			c.reset()
		}
	}
}

func (s *State) wants(cell int) bool {
	return s.cells[cell] != nil && (s.step == nil || s.step.active[cell])
}

// Add takes an event in. No event may be in a state twice.
func (s *State) Add(e *Event) {
	for i, c := range s.cells {
		if !s.wants(i) {
			continue
		}
		p := &s.plan.cells[i]
		if p.Filter >= 0 && !e.Passes[p.Filter] {
			continue
		}
		input := Value{Valid: true}
		if p.Input >= 0 {
			input = e.Values[p.Input]
		}
		if input.Valid {
			c.add(input, e)
		}
	}
}

// formVersion is the first byte of a state's bytes. Another form gets another.
const formVersion = 1

const headerBytes = 1 + 8

// AppendTo appends the bytes of the state to b. States of the same events have the same
// bytes, in whichever order they came and however they were merged.
func (s *State) AppendTo(b []byte) []byte {
	b = append(b, formVersion)
	b = binary.LittleEndian.AppendUint64(b, s.plan.fingerprint)
	for _, c := range s.cells {
		// The length is written before the cell, whose bytes come first: most lengths
		// take one byte, and the cell is moved where one does not.
		at := len(b)
		b = append(b, 0)
		if c == nil {
			continue
		}
		b = c.appendTo(b)
		if size := len(b) - at - 1; size < 0x80 {
			b[at] = byte(size)
		} else {
			var length [binary.MaxVarintLen64]byte
			n := binary.PutUvarint(length[:], uint64(size))
			b = slices.Replace(b, at, at+1, length[:n]...)
		}
	}
	return b
}

// Made reports whether bytes are of a state of this plan. Those that are not were written
// before the view's definition changed, and say nothing any more.
func (p *Plan) Made(state []byte) bool {
	return len(state) >= headerBytes && state[0] == formVersion && binary.LittleEndian.Uint64(state[1:]) == p.fingerprint
}

// Merge takes in the events of another state, given by its bytes, without making it. After
// an error the state is of no use until it is [State.Reset].
func (s *State) Merge(state []byte) error {
	if !s.plan.Made(state) {
		return driftline.Errorf(driftline.Internal, "the state of another plan was to be merged")
	}
	d := decoder{rest: state[headerBytes:]}
	for i, c := range s.cells {
		s.one = decoder{rest: d.text()}
		if len(s.one.rest) == 0 || !s.wants(i) {
			continue
		}
		c.merge(&s.one)
		if err := s.one.finish(); err != nil {
			return err
		}
	}
	return d.finish()
}

// Span is a part of a window: the events with From ≤ event time ≤ To.
type Span struct {
	From, To int64

	// Known is the time that the window is for, rounded down to a multiple of its hop:
	// where only what was known then exists, rows with created ≤ Known do.
	Known int64

	step *step
}

// At computes the query's values at time t into values, which has one for each feature.
// add must take all events of a span into the state, each once; it is called with spans
// that do not overlap while a state grows from one window to the next longer one. With
// strict, events at t itself do not count. It fails only if add does.
func (q *Query) At(t int64, strict bool, s *State, values []Value, add func(s *State, span Span) error) error {
	defer func() { s.step = nil }()
	for i := range q.steps {
		step := &q.steps[i]
		if i == 0 || q.steps[i-1].hop != step.hop {
			s.Reset()
		}
		s.step = step
		if span, some := q.span(i, t, strict); some {
			if err := add(s, span); err != nil {
				return err
			}
		}
		for _, feature := range step.features {
			o := &q.plan.outputs[q.outputs[feature]]
			values[feature].keep(s.cells[o.cell].value(o))
		}
	}
	return nil
}

// span is what the window of a step has at time t beyond the one before it, and false if
// that is nothing.
func (q *Query) span(i int, t int64, strict bool) (Span, bool) {
	step := &q.steps[i]
	known, last, some := stepEnd(t, step.hop, strict)
	span := Span{From: minus(last, step.window-1), To: last, Known: known, step: step}
	if i > 0 && q.steps[i-1].hop == step.hop { // what is in the shorter window is in the state already
		shorter := q.steps[i-1].window
		some = some && last >= math.MinInt64+shorter
		span.To = minus(last, shorter)
	}
	return span, some
}

// keep makes v a copy of a value, in the memory that it has.
func (v *Value) keep(value Value) {
	text := append(v.Text[:0], value.Text...)
	v.Valid, v.Bits, v.Text = value.Valid, value.Bits, text
}

// stepEnd returns t rounded down to a multiple of hop, and the last microsecond of the
// windows that end there; false if there is none.
func stepEnd(t, hop int64, strict bool) (known, last int64, some bool) {
	if hop > 0 {
		rest := t % hop
		if rest < 0 {
			rest += hop
		}
		if t < math.MinInt64+rest {
			return math.MinInt64, math.MinInt64, false
		}
		t -= rest
	}
	if !strict {
		return t, t, true
	}
	return t, t - 1, t > math.MinInt64
}

// minus returns t − d, or the least time there is.
func minus(t, d int64) int64 {
	if t < math.MinInt64+d {
		return math.MinInt64
	}
	return t - d
}
