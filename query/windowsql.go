package query

import (
	"fmt"
	"strings"

	"github.com/driftline/driftline"
)

// windowsSQL says what the aggregated features of a use are: exactly one row per row of
// spine, in its order. It is the meaning, in DuckDB's SQL; what computes is package
// aggregate, whose sums and means are rounded once, whose approximations are its own, and
// for which no time is too near to the ends of time.
func (v *viewPlan) windowsSQL() string {
	var b strings.Builder
	fmt.Fprintf(&b, "WITH events AS (\n%s\n)\nSELECT spine.row", indent(v.eventsSQL()))
	asked := []string{"spine.time IS NOT NULL"}
	for _, key := range v.keys {
		asked = append(asked, "spine."+key+" IS NOT NULL")
	}
	for i, f := range v.windows.query.Features {
		value := indent(indent("(" + v.windowSQL(f) + ")"))
		fmt.Fprintf(&b, ",\n  CASE WHEN %s THEN\n%s\n  END AS %s", strings.Join(asked, " AND "), value, quoteName(v.outputs[i]))
	}
	fmt.Fprintf(&b, "\nFROM %s\nORDER BY spine.row", v.spineSQL())
	return b.String()
}

// eventsSQL is the rows as events: without known_at, the last version of each.
func (v *viewPlan) eventsSQL() string {
	view := v.source.View
	column := func(name string) string { return v.table + "." + quoteName(name) }
	columns := v.keyNames()
	for i, key := range columns {
		columns[i] = v.table + "." + key
	}
	columns = append(columns, fmt.Sprintf("epoch_us(%s) AS __event", column(view.EventTimestamp)))
	if view.CreatedTimestamp != "" {
		columns = append(columns, fmt.Sprintf("epoch_us(%s) AS __created", column(view.CreatedTimestamp)))
	}
	columns = append(columns, column(driftline.SequenceColumn))
	for _, f := range v.windows.Columns {
		columns = append(columns, column(f.Name))
	}
	text := fmt.Sprintf("SELECT %s\nFROM %s\nWHERE __event IS NOT NULL", strings.Join(columns, ", "), v.table)
	if view.EventID == "" || v.knownAt {
		return text
	}
	return text + "\nQUALIFY " + v.lastVersionSQL()
}

// lastVersionSQL is true for the last version of each event.
func (v *viewPlan) lastVersionSQL() string {
	id := quoteName(v.source.View.EventID)
	same := append(v.keyNames(), "__event", id)
	order := "__sequence DESC"
	if v.source.View.CreatedTimestamp != "" {
		order = "__created DESC NULLS LAST, " + order
	}
	return fmt.Sprintf("%s IS NULL OR row_number() OVER (PARTITION BY %s ORDER BY %s) = 1", id, strings.Join(same, ", "), order)
}

// windowSQL is the value of one feature at spine.time.
func (v *viewPlan) windowSQL(f driftline.AggregatedFeature) string {
	a := f.Aggregation
	events := "SELECT * FROM events WHERE " + strings.Join(v.insideSQL(f), " AND ")
	if v.knownAt && v.source.View.EventID != "" {
		events += " QUALIFY " + v.lastVersionSQL()
	}
	from := "(" + events + ")"
	var which []string
	if a.Filter != "" {
		which = append(which, "("+v.filterSQL(a.Filter)+")")
	}
	if a.Column != "" {
		which = append(which, quoteName(a.Column)+" IS NOT NULL")
	}
	if a.By != "" {
		which = append(which, quoteName(a.By)+" IS NOT NULL")
	}
	if len(which) > 0 {
		from += "\nWHERE " + strings.Join(which, " AND ")
	}
	if a.By == "" {
		return v.summarySQL(a, "", from)
	}
	entries := "map(list(__by ORDER BY __by), list(__value ORDER BY __by))"
	if a.Function == driftline.Count {
		entries = "coalesce(" + entries + ", MAP {})"
	}
	return "SELECT " + entries + " FROM (\n" +
		indent(v.summarySQL(a, quoteName(a.By)+"::VARCHAR", from)) + "\n)"
}

func (v *viewPlan) filterSQL(text string) string {
	for _, f := range v.windows.Filters {
		if f.Text() == text {
			return f.SQL()
		}
	}
	return text
}

// orderSQL is what rows are first and last by.
func (v *viewPlan) orderSQL() string {
	if v.source.View.CreatedTimestamp == "" {
		return "__event, __sequence"
	}
	return "__event, __created NULLS FIRST, __sequence"
}

// insideSQL are the conditions under which an event is in the window at spine.time.
func (v *viewPlan) insideSQL(f driftline.AggregatedFeature) []string {
	var inside []string
	for i, key := range v.keyNames() {
		inside = append(inside, fmt.Sprintf("events.%s = spine.%s", key, v.keys[i]))
	}
	at := "spine.time"
	if hop := f.Aggregation.Hop.Microseconds(); hop > 0 {
		at = fmt.Sprintf("(spine.time - (spine.time %% %d + %d) %% %d)", hop, hop, hop)
	}
	since := fmt.Sprintf("%s - %d", at, f.Window.Microseconds())
	if v.strict {
		inside = append(inside, "__event >= "+since, "__event < "+at)
	} else {
		inside = append(inside, "__event > "+since, "__event <= "+at)
	}
	if v.knownAt {
		inside = append(inside, "__created <= "+at)
	}
	return inside
}

// summarySQL applies the function to the rows of from, for each category if there is one.
func (v *viewPlan) summarySQL(a driftline.Aggregation, by, from string) string {
	if a.Function == driftline.TopK {
		return topSQL(a, by, from)
	}
	if by == "" {
		return fmt.Sprintf("SELECT %s FROM %s", v.functionSQL(a), from)
	}
	return fmt.Sprintf("SELECT %s AS __by, %s AS __value FROM %s GROUP BY 1", by, v.functionSQL(a), from)
}

func (v *viewPlan) functionSQL(a driftline.Aggregation) string {
	x, order := quoteName(a.Column), v.orderSQL()
	switch a.Function {
	case driftline.Sum:
		if column, _ := v.source.View.Feature(a.Column); column.Type != driftline.Float32 && column.Type != driftline.Float64 {
			return fmt.Sprintf("TRY_CAST(sum(%s) AS BIGINT)", x)
		}
		return fmt.Sprintf("sum(%s)", x)
	case driftline.Count:
		return "count(*)"
	case driftline.Mean:
		return fmt.Sprintf("avg(%s)", x)
	case driftline.StdDev:
		return fmt.Sprintf("stddev_samp(%s)", x)
	case driftline.First, driftline.Last:
		return fmt.Sprintf("%s(%s ORDER BY %s)", a.Function, x, order)
	case driftline.LastN:
		return fmt.Sprintf("list(%s ORDER BY %s)[-%d:]", x, order, a.N)
	case driftline.ApproxQuantile:
		return fmt.Sprintf("quantile_disc(%s, %v)", x, a.Quantile)
	case driftline.ApproxCountDistinct:
		return fmt.Sprintf("nullif(count(DISTINCT %s), 0)", x)
	}
	return fmt.Sprintf("%s(%s)", a.Function, x)
}

func topSQL(a driftline.Aggregation, by, from string) string {
	x := quoteName(a.Column)
	top := fmt.Sprintf("list(__x ORDER BY __n DESC, __x)[:%d]", a.N)
	if by == "" {
		return fmt.Sprintf("SELECT %s FROM (SELECT %s AS __x, count(*) AS __n FROM %s GROUP BY 1)", top, x, from)
	}
	return fmt.Sprintf("SELECT __by, %s AS __value FROM (SELECT %s AS __by, %s AS __x, count(*) AS __n FROM %s GROUP BY 1, 2) GROUP BY 1", top, by, x, from)
}
