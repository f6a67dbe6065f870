package filter

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Key is one thing to order by.
type Key struct {
	Field
	Descending bool
}

// ParseOrder reads what to order by, each like `metrics.loss DESC`.
func ParseOrder(g *Grammar, clauses []string) ([]Key, error) {
	if len(clauses) > mostComparisons {
		return nil, invalid("order_by has %d clauses, and at most %d are read", len(clauses), mostComparisons)
	}
	keys := make([]Key, len(clauses))
	for i, clause := range clauses {
		key, err := parseKey(g, clause)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}

func parseKey(g *Grammar, clause string) (Key, error) {
	if len(clause) > mostBytes {
		return Key{}, invalid("Invalid order_by clause: it has %d bytes", len(clause))
	}
	tokens, err := lex(clause)
	if err != nil {
		return Key{}, err
	}
	p := &parser{grammar: g, tokens: tokens}
	field, err := p.field()
	if err != nil {
		return Key{}, err
	}
	key := Key{Field: field}
	switch t := p.peek(); {
	case t.is("DESC"):
		key.Descending = true
		p.take()
	case t.is("ASC"):
		p.take()
	case t.kind != end:
		return Key{}, invalid("Invalid ordering key in order_by clause '%s'.", clip(clause)).WithHint("write ASC, DESC or nothing after the field")
	}
	if t := p.peek(); t.kind != end {
		return Key{}, invalid("Invalid order_by clause '%s'. Could not be parsed: %s is not expected", clip(clause), t)
	}
	switch {
	case field.Entity == Dataset:
		return Key{}, invalid("Invalid order_by entity type '%s'", field.Entity)
	case field.Entity == Attribute && g.Orders != nil && !slices.Contains(g.Orders, field.Key):
		return Key{}, invalid("Invalid order by key '%s' specified. Valid keys are %s", clip(field.Key), quoted(g.Orders))
	}
	return key, nil
}

// Value is what a row is ordered by.
type Value struct {
	rank   int8 // 0: there, 1: NaN, 2: missing
	number float64
	text   string
}

// ValueOf returns what key orders a row by.
func (k *Key) ValueOf(row Row) Value {
	if !k.Numeric {
		text, ok := row.Text(&k.Field)
		if !ok {
			return Value{rank: 2}
		}
		return Value{text: text}
	}
	number, ok := row.Number(&k.Field)
	switch {
	case !ok:
		return Value{rank: 2}
	case math.IsNaN(number):
		return Value{rank: 1}
	}
	return Value{number: number}
}

// Compare orders two values of the key: NaN after numbers and what is missing last, in
// either direction.
func (k *Key) Compare(a, b Value) int {
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank)
	}
	order := cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.text, b.text))
	if k.Descending {
		return -order
	}
	return order
}

// Top keeps the first n items in an order, of however many are added.
type Top[T any] struct {
	n       int
	compare func(a, b T) int
	items   []T // a heap with the last at its top, once there are n
	added   int
}

// NewTop makes one. compare must tell any two items apart.
func NewTop[T any](n int, compare func(a, b T) int) *Top[T] { return &Top[T]{n: n, compare: compare} }

// Add adds an item.
func (t *Top[T]) Add(item T) {
	t.added++
	switch {
	case len(t.items) < t.n:
		t.items = append(t.items, item)
		if len(t.items) == t.n {
			for i := t.n/2 - 1; i >= 0; i-- {
				t.sink(i)
			}
		}
	case t.n > 0 && t.compare(item, t.items[0]) < 0:
		t.items[0] = item
		t.sink(0)
	}
}

// Added is how many items were added.
func (t *Top[T]) Added() int { return t.added }

// Items returns the first n, in order. Nothing may be added after.
func (t *Top[T]) Items() []T {
	slices.SortFunc(t.items, t.compare)
	return t.items
}

func (t *Top[T]) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.items) {
			return
		}
		if child+1 < len(t.items) && t.compare(t.items[child+1], t.items[child]) > 0 {
			child++
		}
		if t.compare(t.items[child], t.items[i]) <= 0 {
			return
		}
		t.items[i], t.items[child] = t.items[child], t.items[i]
		i = child
	}
}
