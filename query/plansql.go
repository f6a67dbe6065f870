package query

import (
	"fmt"
	"math"
	"strings"

	"github.com/driftline/driftline"
)

// selectSQL is the SELECT that answers one view: exactly one row per row of spine,
// in its order. Its columns are the spine's row number, the features, and, if
// countsUnknown, whether the row was created after the spine's time.
//
// Names that begin with two underscores are ours: no view can have them.
func (v *viewPlan) selectSQL() string {
	found := v.rowsSQL()
	order := v.orderCondition()
	switch {
	case v.ahead:
		found = v.outcomesSQL()
		order = "spine.time < found.__event"
	case v.knownAt:
		found = v.standingSQL()
		order = "spine.time >= found.__available"
	}
	var b strings.Builder
	b.WriteString("SELECT spine.row")
	for i, f := range v.features {
		value := v.valid("found." + quoteName(f.Name))
		if f.Name == EventTimeColumn {
			value = fmt.Sprintf("CASE WHEN %s THEN make_timestamptz(found.__event) END", v.onTheRightSide())
		}
		fmt.Fprintf(&b, ",\n       %s AS %s", value, quoteName(v.outputs[i]))
	}
	if v.countsUnknown {
		b.WriteString(",\n       coalesce(found.__created > spine.time, false) AS __not_yet_known")
	}
	fmt.Fprintf(&b, "\nFROM %s ASOF LEFT JOIN (\n%s\n) AS found\n  ON %s", v.spineSQL(), indent(found), order)
	for i, k := range v.source.View.JoinKeys {
		fmt.Fprintf(&b, "\n  AND spine.%s = found.%s", v.keys[i], quoteName(k.Name))
	}
	b.WriteString("\nORDER BY spine.row")
	return b.String()
}

// spineSQL is the spine with the time that is asked about, which a lag moves back. There
// is nothing before the least time.
func (v *viewPlan) spineSQL() string {
	if v.lag == 0 {
		return "spine"
	}
	return fmt.Sprintf("(\n  SELECT * REPLACE (CASE WHEN time >= %d THEN time - %d END AS time) FROM spine\n) AS spine",
		int64(math.MinInt64)+v.lag, v.lag)
}

// onTheRightSide is what makes the value of a null time null: DuckDB's ASOF sorts null as
// the greatest time, unless the left side is small.
func (v *viewPlan) onTheRightSide() string {
	if v.ahead {
		return "found.__event > spine.time"
	}
	return "found.__event <= spine.time"
}

// valid wraps a value of the chosen row in the test of the view's reach. Looking back, the
// chosen row has the greatest event time, so testing it is the same as never seeing older
// rows; and looking ahead likewise. greatest and least keep the sums within int64.
func (v *viewPlan) valid(value string) string {
	ttl := v.source.View.TTL.Microseconds()
	switch {
	case v.ahead:
		return fmt.Sprintf("CASE WHEN found.__event > spine.time AND found.__event <= least(spine.time, %d) + %d THEN %s END",
			math.MaxInt64-v.horizon, v.horizon, value)
	case v.source.View.TTL <= 0:
		return fmt.Sprintf("CASE WHEN %s THEN %s END", v.onTheRightSide(), value)
	}
	return fmt.Sprintf("CASE WHEN found.__event BETWEEN greatest(spine.time, %d) - %d AND spine.time THEN %s END",
		int64(math.MinInt64)+ttl, ttl, value)
}

// outcomesSQL is rowsSQL with one row for each entity and event time: the last one written.
func (v *viewPlan) outcomesSQL() string {
	same := append(v.keyNames(), "__event")
	order := "__sequence DESC"
	if v.source.View.CreatedTimestamp != "" {
		order = "__created DESC NULLS LAST, " + order
	}
	return fmt.Sprintf("SELECT *\nFROM (\n%s\n)\nQUALIFY row_number() OVER (PARTITION BY %s ORDER BY %s) = 1",
		indent(v.rowsSQL()), strings.Join(same, ", "), order)
}

func (v *viewPlan) keyNames() []string {
	keys := make([]string, len(v.source.View.JoinKeys))
	for i, k := range v.source.View.JoinKeys {
		keys[i] = quoteName(k.Name)
	}
	return keys
}

// rowsSQL reads the columns that the join needs, times as microseconds. An infinite
// time has none and counts as null.
//
// The semi-join drops the entities that the spine does not have. It costs little
// where the spine has all, and most of the work where it has few: ASOF sorts
// whatever it is given.
func (v *viewPlan) rowsSQL() string {
	view := v.source.View
	column := func(name string) string { return v.table + "." + quoteName(name) }
	var columns, sameKeys []string
	for i, k := range view.JoinKeys {
		columns = append(columns, column(k.Name))
		sameKeys = append(sameKeys, fmt.Sprintf("spine.%s = %s", v.keys[i], column(k.Name)))
	}
	columns = append(columns, fmt.Sprintf("epoch_us(%s) AS __event", column(view.EventTimestamp)))
	present := []string{"__event IS NOT NULL"}
	if view.CreatedTimestamp != "" {
		columns = append(columns, fmt.Sprintf("epoch_us(%s) AS __created", column(view.CreatedTimestamp)))
	}
	if v.knownAt {
		present = append(present, "__created IS NOT NULL")
	}
	if v.knownAt || v.ahead || !v.source.Unique {
		columns = append(columns, column(driftline.SequenceColumn))
	}
	for _, f := range view.Features {
		if v.uses(f.Name) {
			columns = append(columns, column(f.Name))
		}
	}
	from := v.table
	if len(sameKeys) > 0 {
		from += " SEMI JOIN spine ON " + strings.Join(sameKeys, " AND ")
	}
	return fmt.Sprintf("SELECT %s\nFROM %s\nWHERE %s", strings.Join(columns, ", "), from, strings.Join(present, " AND "))
}

func (v *viewPlan) uses(feature string) bool {
	for _, f := range v.features {
		if f.Name == feature {
			return true
		}
	}
	return false
}

// orderCondition is the one inequality of the join. ASOF takes an arbitrary one of
// several rows that are equal in it, so unless event times are unique the whole
// (event, created, sequence) is compared; no two rows share a sequence.
func (v *viewPlan) orderCondition() string {
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	operator, bound := ">=", most
	if v.strict {
		operator, bound = ">", least
	}
	if v.source.Unique {
		return fmt.Sprintf("spine.time %s found.__event", operator)
	}
	if v.source.View.CreatedTimestamp == "" {
		return fmt.Sprintf("row(spine.time, %s) %s row(found.__event, found.__sequence)",
			literal(bound), operator)
	}
	return fmt.Sprintf("row(spine.time, %s, %s) %s row(found.__event, coalesce(found.__created, %s), found.__sequence)",
		literal(bound), literal(bound), operator, literal(least))
}

// standingSQL is rowsSQL with the time at which each row becomes available, and
// without the rows that a later one has superseded by then. Along what is left,
// availability and (event, created, sequence) grow together, so that the last
// available row is the greatest one.
func (v *viewPlan) standingSQL() string {
	event := "__event"
	if v.strict {
		event = "__event + 1"
	}
	keys := v.keyNames()
	partition := ""
	if len(keys) > 0 {
		partition = "PARTITION BY " + strings.Join(keys, ", ") + " "
	}
	return fmt.Sprintf(`SELECT * FROM (
  SELECT *, greatest(%s, __created) AS __available
  FROM (
%s
  )
)
QUALIFY coalesce(__available < min(__available) OVER (
  %sORDER BY __event, __created, __sequence
  ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING), true)`,
		event, indent(indent(v.rowsSQL())), partition)
}

// literal writes an int64 so that DuckDB takes it as BIGINT: the least one is not a
// literal, because the minus is an operator there.
func literal(n int64) string {
	if n == math.MinInt64 {
		return fmt.Sprintf("(%d - 1)::BIGINT", n+1)
	}
	return fmt.Sprintf("%d::BIGINT", n)
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}
