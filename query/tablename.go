package query

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// TableName names a table in a user's SQL, and which state of it. Schema is "" if the
// text gave none.
type TableName struct {
	Schema, Name string
	At           At
}

// At is a state of a table, from the clause AT: at most one field is set. The zero
// value is the newest.
type At struct {
	Snapshot int64     // AT (VERSION => 123)
	Tag      string    // AT (VERSION => 'name')
	Time     time.Time // AT (TIMESTAMP => …): the newest at that time
	Now      bool      // AT (TIMESTAMP => now())
}

// String returns schema.name, or name, and the clause AT if there is one.
func (t TableName) String() string {
	name := t.Name
	if t.Schema != "" {
		name = t.Schema + "." + t.Name
	}
	if at := t.At.String(); at != "" {
		name += " AT (" + at + ")"
	}
	return name
}

// String returns what stands between the brackets of the clause, or "".
func (a At) String() string {
	switch {
	case a.Snapshot != 0:
		return fmt.Sprintf("VERSION => %d", a.Snapshot)
	case a.Tag != "":
		return "VERSION => " + quoteString(a.Tag)
	case !a.Time.IsZero():
		return "TIMESTAMP => TIMESTAMPTZ " + quoteString(a.Time.UTC().Format(time.RFC3339Nano))
	case a.Now:
		return "TIMESTAMP => now()"
	}
	return ""
}

// same compares as SQL does: without case.
func (t TableName) same(other TableName) bool {
	return strings.EqualFold(t.Schema, other.Schema) && strings.EqualFold(t.Name, other.Name) && t.At == other.At
}

// The schemas of tables that a SELECT reads under another name than it was given: those
// of another state than the newest, and the answers of point-in-time joins. A user's
// text cannot name them.
const (
	atSchema   = "__at"
	joinSchema = "__join"
)

// relation is the name under which t is read.
func (t TableName) relation() (schema, name string) {
	if t.At == (At{}) {
		return t.Schema, t.Name
	}
	return atSchema, strings.ToLower(t.Schema+"."+t.Name) + " " + t.At.String()
}

// rename makes a BASE_TABLE node read the relation of t, under the name that it had.
func (t TableName) rename(node map[string]any) {
	node["schema_name"], node["table_name"] = t.relation()
	node["at_clause"] = nil
	if textOf(node["alias"]) == "" {
		node["alias"] = t.Name
	}
}

// parseAt reads a clause AT, whose value must be a literal or the present time.
func parseAt(clause map[string]any) (At, error) {
	unit := strings.ToLower(textOf(clause["unit"]))
	value, ok := literalValue(clause["expr"])
	switch {
	case unit == "timestamp" && isNow(clause["expr"]):
		return At{Now: true}, nil
	case !ok:
		return At{}, driftline.Errorf(driftline.Invalid, "the value of AT must be a literal").
			WithHint("write AT (VERSION => 123), AT (VERSION => 'tag'), AT (TIMESTAMP => '2026-01-31 12:00:00') or AT (TIMESTAMP => now())")
	case unit == "version":
		if id, err := strconv.ParseInt(fmt.Sprint(value), 10, 64); err == nil && id != 0 {
			return At{Snapshot: id}, nil
		}
		if tag, ok := value.(string); ok && tag != "" {
			return At{Tag: tag}, nil
		}
	case unit == "timestamp":
		if at, ok := parseInstant(fmt.Sprint(value)); ok {
			return At{Time: at}, nil
		}
	}
	return At{}, driftline.Errorf(driftline.Invalid, "AT (%s => %v) names no state of a table", strings.ToUpper(unit), value).
		WithHint("write AT (VERSION => 123), AT (VERSION => 'tag'), AT (TIMESTAMP => '2026-01-31 12:00:00') or AT (TIMESTAMP => now())")
}

// isNow reports whether an expression is now() or current_timestamp, which the parser
// takes for the name of a column.
func isNow(expression any) bool {
	node, _ := expression.(map[string]any)
	switch node["class"] {
	case "FUNCTION":
		arguments, _ := node["children"].([]any)
		name := strings.ToLower(textOf(node["function_name"]))
		return len(arguments) == 0 && (name == "now" || name == "get_current_timestamp")
	case "COLUMN_REF":
		names, _ := node["column_names"].([]any)
		return len(names) == 1 && strings.EqualFold(textOf(names[0]), "current_timestamp")
	}
	return false
}

// literalValue returns the text or number of a literal, also behind casts and a minus.
func literalValue(expression any) (any, bool) {
	node, _ := expression.(map[string]any)
	switch node["class"] {
	case "CONSTANT":
		value, _ := node["value"].(map[string]any)
		switch v := value["value"].(type) {
		case string, json.Number, bool:
			return v, true
		}
	case "CAST":
		return literalValue(node["child"])
	}
	return nil, false
}

// parseInstant reads a time as SQL writes it. Without a zone it is UTC.
func parseInstant(text string) (time.Time, bool) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-07",
		"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", time.DateOnly,
	} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// UnknownTable is the error for a table that a user's SQL names and nobody has.
func UnknownTable(name TableName, known []TableName) error {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.String()
	}
	for _, k := range known {
		if name.Schema == "" && strings.EqualFold(k.Name, name.Name) {
			return driftline.Errorf(driftline.NotFound, "table %q does not exist", name.Name).WithHint("did you mean %q?", k.String())
		}
	}
	return driftline.Unknown("table", name.String(), names)
}
