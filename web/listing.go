package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// longestFilter is how many characters the words of a list's filter may have together.
const longestFilter = 200

// listColumn is a column of a list page: what a row has in it to search and to sort by.
type listColumn[R any] struct {
	name  string // in the page's address; "" if nobody can sort by it
	label string
	text  func(*R) string   // searched by the filter, and sorted by if there is no order; nil for nothing
	order func(a, b *R) int // of quantities and times, which begin with the greatest; nil for texts
	right bool              // its numbers stand on the right
}

// quantity sorts by a number.
func quantity[R any, N cmp.Ordered](of func(*R) N) func(a, b *R) int {
	return func(a, b *R) int { return cmp.Compare(of(a), of(b)) }
}

// moment sorts by a time; none at all is before all others.
func moment[R any](of func(*R) time.Time) func(a, b *R) int {
	return func(a, b *R) int { return of(a).Compare(of(b)) }
}

// listing is a list page as it was asked for: the rows with all words of a filter, sorted by a column.
// Without either it has all rows in the page's own order.
type listing[R any] struct {
	Path   string
	Filter string
	Heads  []listHead
	Hidden []hiddenField // what a form must send along
	AllURL string        // without the filter
	Rows   []R
	Found  int // rows that the filter left, of which Rows may be the first
	Total  int // rows before the filter
}

// first leaves a page the first n rows of a list: all of them are sorted and filtered.
func (l *listing[R]) first(n int) { l.Rows = l.Rows[:min(n, len(l.Rows))] }

// listHead is the head of a column: a link that sorts by it, where that is possible.
type listHead struct {
	Label  string
	URL    string // "" if nobody can sort by it
	Arrow  string
	Sorted string // as aria-sort names it; "" if it is not sorted by this column
	Right  bool
}

type hiddenField struct{ Name, Value string }

// listed reads sort, order and filter from the address of a page, and arranges its rows.
func listed[R any](r *http.Request, rows []R, columns []listColumn[R]) (*listing[R], error) {
	q := r.URL.Query()
	filter := strings.TrimSpace(q.Get("filter"))
	if utf8.RuneCountInString(filter) > longestFilter {
		return nil, driftline.Errorf(driftline.Invalid, "the filter is longer than %d characters", longestFilter).
			WithHint("a filter is a few words, all of which a row must have")
	}
	column, falling, err := sorting(q, columns)
	if err != nil {
		return nil, err
	}
	l := &listing[R]{Path: r.URL.Path, Filter: filter, Rows: having(rows, columns, strings.Fields(filter)), Total: len(rows)}
	l.Found = len(l.Rows)
	if column != nil {
		slices.SortStableFunc(l.Rows, func(a, b R) int {
			if falling {
				return column.compare(&b, &a)
			}
			return column.compare(&a, &b)
		})
	}
	for i := range columns {
		l.Heads = append(l.Heads, headOf(r.URL, &columns[i], column, falling))
	}
	for name, values := range q {
		for _, value := range values {
			if name != "filter" {
				l.Hidden = append(l.Hidden, hiddenField{name, value})
			}
		}
	}
	slices.SortStableFunc(l.Hidden, func(a, b hiddenField) int { return cmp.Compare(a.Name, b.Name) })
	l.AllURL = changedURL(r.URL, "filter", "")
	return l, nil
}

// sorting is the column that an address sorts by, nil for none, and whether the greatest come first.
func sorting[R any](q url.Values, columns []listColumn[R]) (*listColumn[R], bool, error) {
	name, order := q.Get("sort"), q.Get("order")
	if order != "" && order != "asc" && order != "desc" {
		return nil, false, driftline.Errorf(driftline.Invalid, "order %q is neither asc nor desc", clip(order)).
			WithHint("use order=asc for the least first, order=desc for the greatest")
	}
	if name == "" {
		return nil, false, nil
	}
	var names []string
	for i := range columns {
		c := &columns[i]
		if c.name == name {
			return c, order == "desc" || order == "" && c.falls(), nil
		}
		if c.name != "" {
			names = append(names, c.name)
		}
	}
	return nil, false, driftline.Errorf(driftline.Invalid, "there is no column %q to sort by", clip(name)).
		WithHint("sort by one of: %s", strings.Join(names, ", "))
}

func (c *listColumn[R]) falls() bool { return c.order != nil }

func (c *listColumn[R]) compare(a, b *R) int {
	if c.order != nil {
		return c.order(a, b)
	}
	return cmp.Compare(strings.ToLower(c.text(a)), strings.ToLower(c.text(b)))
}

// having returns the rows that have every word in one of their columns, whatever its case.
func having[R any](rows []R, columns []listColumn[R], words []string) []R {
	var found []R
	for i := range rows {
		var texts []string
		for _, c := range columns {
			if c.text != nil {
				texts = append(texts, c.text(&rows[i]))
			}
		}
		row := strings.ToLower(strings.Join(texts, "\n"))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(row, strings.ToLower(word)) }) {
			found = append(found, rows[i])
		}
	}
	return found
}

func headOf[R any](at *url.URL, c, sorted *listColumn[R], falling bool) listHead {
	head := listHead{Label: c.label, Right: c.right}
	if c.name == "" {
		return head
	}
	return head.sorting(sortedBy{c.name, c.falls()}, c == sorted, falling, func(by sortedBy) string {
		return changedURL(at, "sort", by.column, "order", by.order())
	})
}

// sortedBy is what a page is sorted by: a column, "" for the page's own order, and whether the
// greatest come first.
type sortedBy struct {
	column  string
	falling bool
}

// order is the word of an address for it.
func (s sortedBy) order() string {
	switch {
	case s.column == "":
		return ""
	case s.falling:
		return "desc"
	}
	return "asc"
}

// sorting links a head to its page sorted by the column, at first in the column's usual order. Asked
// again that turns, and a third time it is taken away.
func (h listHead) sorting(usual sortedBy, now, falling bool, address func(sortedBy) string) listHead {
	switch {
	case !now:
		h.URL = address(usual)
		return h
	case falling == usual.falling:
		h.URL = address(sortedBy{usual.column, !usual.falling})
	default:
		h.URL = address(sortedBy{})
	}
	if h.Arrow, h.Sorted = "↑", "ascending"; falling {
		h.Arrow, h.Sorted = "↓", "descending"
	}
	return h
}

// changedURL is the address of a page with some of its parameters changed: names and values in turn, "" for none.
func changedURL(at *url.URL, pairs ...string) string {
	q := at.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		if q.Del(pairs[i]); pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return at.EscapedPath()
	}
	return at.EscapedPath() + "?" + q.Encode()
}
