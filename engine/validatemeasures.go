package engine

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// measure plans a check. What the table cannot answer, as a column that it does not have,
// is a failed check and no error: a gate must close.
func (t *checkedTable) measure(c *driftline.Check, now time.Time) *measure {
	m := &measure{check: c}
	var why string
	switch c.Check {
	case driftline.CheckSchema:
		m.judge = always(t.judgeSchema(c))
	case driftline.CheckSQL: // runs by itself
	case driftline.CheckRows:
		m.sql = []string{"count(*)"}
		m.judge = func(v []float64) verdictOfCheck {
			return verdictOfCheck{ok: within(c, v[0]), found: rowsText(int64(v[0])), observed: v[0], looked: int64(v[0])}
		}
	case driftline.CheckUnique:
		why = t.measureUnique(m)
	default:
		why = t.measureColumn(m, now)
	}
	if why != "" {
		m.sql, m.bad = nil, ""
		m.judge = always(verdictOfCheck{found: why, observed: math.NaN()})
	}
	return m
}

func always(v verdictOfCheck) func([]float64) verdictOfCheck {
	return func([]float64) verdictOfCheck { return v }
}

func (t *checkedTable) judgeSchema(c *driftline.Check) verdictOfCheck {
	var wrong []string
	known := map[string]bool{}
	for _, want := range c.Fields {
		known[want.Name] = true
		field, why := t.column(want.Name)
		if why != "" {
			wrong = append(wrong, why)
			continue
		}
		typ, _ := driftline.ParseType(string(want.Type))
		if has, ok := driftline.TypeOf(field.Type); want.Type != "" && (!ok || has != typ) {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", want.Name, cmp.Or(string(has), field.Type.String()), typ))
		}
	}
	for _, f := range t.schema.Fields() {
		if c.Exact && !known[f.Name] {
			wrong = append(wrong, fmt.Sprintf("%s is not expected", f.Name))
		}
	}
	if len(wrong) == 0 {
		return verdictOfCheck{ok: true, found: "as declared", observed: math.NaN()}
	}
	return verdictOfCheck{found: strings.Join(wrong, "; "), observed: math.NaN()}
}

// column finds a column, or says why there is none of that name.
func (t *checkedTable) column(name string) (field arrow.Field, why string) {
	switch at := t.schema.FieldIndices(name); len(at) {
	case 0:
		why = fmt.Sprintf("there is no column %s", name)
		if near := driftline.Nearest(name, columnNames(t.schema)); near != "" {
			why += fmt.Sprintf(" (but %s)", near)
		}
		return arrow.Field{}, why
	case 1:
		return t.schema.Field(at[0]), ""
	default:
		return arrow.Field{}, fmt.Sprintf("there are %d columns %s", len(at), name)
	}
}

func (t *checkedTable) measureUnique(m *measure) (why string) {
	keys := m.check.Keys()
	var present []string
	for _, name := range keys {
		if _, why := t.column(name); why != "" {
			return why
		}
		present = append(present, quoted(name)+" IS NOT NULL")
	}
	key := quoted(keys[0])
	if len(keys) > 1 {
		key = "row(" + quotedList(keys) + ")"
	}
	m.bad, m.shown = strings.Join(present, " AND "), keys
	m.sql = []string{"count(*) FILTER (WHERE " + m.bad + ")", "count(DISTINCT " + key + ") FILTER (WHERE " + m.bad + ")"}
	m.judge = func(v []float64) verdictOfCheck {
		looked, surplus := int64(v[0]), int64(v[0]-v[1])
		found := fmt.Sprintf("%s, all different", rowsText(looked))
		if surplus > 0 {
			found = fmt.Sprintf("%d of %s repeat another", surplus, rowsText(looked))
		}
		return verdictOfCheck{ok: surplus == 0, found: found, observed: float64(surplus), looked: looked, bad: surplus}
	}
	return ""
}

// measureColumn plans a check of the values of one column.
func (t *checkedTable) measureColumn(m *measure, now time.Time) (why string) {
	c := m.check
	field, why := t.column(c.Column)
	if why != "" {
		return why
	}
	kind := checkedKind(field.Type)
	wants := map[driftline.CheckKind]columnKind{
		driftline.CheckRange: numberKind, driftline.CheckMean: numberKind, driftline.CheckQuantile: numberKind,
		driftline.CheckMatches: textKind, driftline.CheckLength: textKind, driftline.CheckFreshness: timeKind,
	}
	if want, ok := wants[c.Check]; ok && kind != want {
		return fmt.Sprintf("%s is %s, want %s", c.Column, field.Type, want)
	}
	name := quoted(c.Column)
	missing := name + " IS NULL"
	if isFloat(field.Type) {
		missing = "(" + name + " IS NULL OR isnan(" + name + "))"
	}
	present := "NOT " + missing
	m.shown = []string{c.Column}
	switch c.Check {
	case driftline.CheckNulls:
		m.bad = missing
		m.sql = []string{"count(*)", "count(*) FILTER (WHERE " + missing + ")"}
		most := 0.0
		if c.Max != nil {
			most = *c.Max
		}
		m.judge = judgeShare(most, "null")
	case driftline.CheckRange:
		value := "CAST(" + name + " AS DOUBLE)"
		m.judgeRows(present, outside(c, value), "out of range")
	case driftline.CheckLength:
		m.judgeRows(present, outside(c, "length(CAST("+name+" AS VARCHAR))"), "of another length")
	case driftline.CheckMatches:
		m.judgeRows(present, "NOT regexp_matches(CAST("+name+" AS VARCHAR), "+literal(c.Pattern)+")", "of another form")
	case driftline.CheckValues:
		list, why := valueList(c, kind)
		if why != "" {
			return why
		}
		value := "CAST(" + name + " AS VARCHAR)"
		if kind == numberKind {
			value = "CAST(" + name + " AS DOUBLE)"
		}
		m.judgeRows(present, value+" NOT IN ("+list+")", "not in the set")
	case driftline.CheckMean:
		m.sql = []string{"avg(" + name + ") FILTER (WHERE " + present + ")", "count(*) FILTER (WHERE " + present + ")"}
		m.judge = judgeNumber(c)
	case driftline.CheckQuantile:
		m.sql = []string{"quantile_cont(CAST(" + name + " AS DOUBLE), " + number17(c.Q) + ") FILTER (WHERE " + present + ")", "count(*) FILTER (WHERE " + present + ")"}
		m.judge = judgeNumber(c)
	case driftline.CheckFreshness:
		m.sql = []string{"epoch_us(max(CAST(" + name + " AS TIMESTAMPTZ)))", "count(" + name + ")"}
		m.judge = judgeAge(c, now)
	}
	return ""
}

// judgeRows plans a check that holds or not for each value that is there.
func (m *measure) judgeRows(present, bad, what string) {
	m.bad = present + " AND " + bad
	m.sql = []string{"count(*) FILTER (WHERE " + present + ")", "count(*) FILTER (WHERE " + m.bad + ")"}
	m.judge = judgeShare(m.check.MaxShare, what)
}

// judgeShare compares the share of bad ones of those looked at.
func judgeShare(most float64, what string) func([]float64) verdictOfCheck {
	return func(v []float64) verdictOfCheck {
		looked, bad := v[0], v[1]
		share := 0.0
		if looked > 0 {
			share = bad / looked
		}
		found := fmt.Sprintf("none of %d %s", int64(looked), what)
		if bad > 0 {
			found = fmt.Sprintf("%d of %d %s (%s)", int64(bad), int64(looked), what, percent(int64(bad), int64(looked)))
		}
		return verdictOfCheck{ok: share <= most, found: found, observed: share, looked: int64(looked), bad: int64(bad)}
	}
}

func judgeNumber(c *driftline.Check) func([]float64) verdictOfCheck {
	return func(v []float64) verdictOfCheck {
		if v[1] == 0 {
			return verdictOfCheck{found: "there are no values", observed: math.NaN()}
		}
		return verdictOfCheck{ok: within(c, v[0]), found: strconv.FormatFloat(v[0], 'g', 6, 64), observed: v[0], looked: int64(v[1])}
	}
}

func judgeAge(c *driftline.Check, now time.Time) func([]float64) verdictOfCheck {
	return func(v []float64) verdictOfCheck {
		if v[1] == 0 || math.IsNaN(v[0]) {
			return verdictOfCheck{found: "there are no times", observed: math.NaN()}
		}
		newest := time.UnixMicro(int64(v[0])).UTC()
		age := now.Sub(newest)
		return verdictOfCheck{ok: age <= time.Duration(c.Within), observed: age.Seconds(), looked: int64(v[1]),
			found: fmt.Sprintf("the newest is %s, %s ago", newest.Format("2006-01-02 15:04:05"), driftline.Duration(max(0, age.Truncate(time.Second))).Short())}
	}
}

// within reports whether v is within the bounds of c; NaN is not.
func within(c *driftline.Check, v float64) bool {
	return !math.IsNaN(v) && (c.Min == nil || v >= *c.Min) && (c.Max == nil || v <= *c.Max)
}

// outside is the condition under which value is not within the bounds of c.
func outside(c *driftline.Check, value string) string {
	var parts []string
	if c.Min != nil {
		parts = append(parts, value+" < "+number17(*c.Min))
	}
	if c.Max != nil {
		parts = append(parts, value+" > "+number17(*c.Max))
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// valueList is a set as SQL.
func valueList(c *driftline.Check, kind columnKind) (list, why string) {
	items := make([]string, len(c.Values))
	for i, v := range c.Values {
		items[i] = literal(string(v))
		if kind != numberKind {
			continue
		}
		number, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return "", fmt.Sprintf("%s is a number, and %q is none", c.Column, string(v))
		}
		items[i] = number17(number)
	}
	return strings.Join(items, ", "), ""
}

// columnKind is what a column's values are for a check.
type columnKind string

const (
	numberKind columnKind = "a number"
	textKind   columnKind = "text"
	timeKind   columnKind = "a time"
	otherKind  columnKind = "a value"
)

func checkedKind(dt arrow.DataType) columnKind {
	switch id := dt.ID(); {
	case arrow.IsInteger(id) || arrow.IsFloating(id) || arrow.IsDecimal(id):
		return numberKind
	case id == arrow.STRING || id == arrow.LARGE_STRING || id == arrow.STRING_VIEW:
		return textKind
	case id == arrow.TIMESTAMP || id == arrow.DATE32 || id == arrow.DATE64:
		return timeKind
	case id == arrow.DICTIONARY:
		return checkedKind(dt.(*arrow.DictionaryType).ValueType)
	}
	return otherKind
}

func isFloat(dt arrow.DataType) bool { return arrow.IsFloating(dt.ID()) }

// number17 writes a number so that DuckDB reads the same float64.
func number17(v float64) string {
	return "CAST('" + strconv.FormatFloat(v, 'g', -1, 64) + "' AS DOUBLE)"
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func rowsText(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}
