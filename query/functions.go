package query

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// allowedTableFunctions make rows out of nothing but their arguments.
var allowedTableFunctions = set("range", "generate_series", "unnest")

// deniedFunctions are those that reach outside the query's tables, look into the
// session, run text as SQL, or were seen to take gigabytes or minutes that neither
// DuckDB's memory limit nor an interrupt bounds.
var deniedFunctions = set(
	// text that runs, and the session
	"query", "query_table", "json_execute_serialized_sql", "json_serialize_sql", "json_deserialize_sql", "json_serialize_plan",
	"getvariable", "getenv", "current_setting", "set_config", "nextval", "currval", "add_parquet_key", "write_log", "parse_duckdb_log_message",
	"current_query", "current_connection_id", "current_query_id", "current_transaction_id", "txid_current", "in_search_path",
	"glob", "sniff_csv", "getblob", "checkpoint", "force_checkpoint", "which_secret", "error", "sleep_ms", "sleep",
	// memory and time
	"printf", "format", "levenshtein", "editdist3", "damerau_levenshtein", "hamming", "mismatches", "jaccard",
	"jaro_similarity", "jaro_winkler_similarity", "string_split", "str_split", "split", "string_to_array",
	"string_split_regex", "str_split_regex", "regexp_split_to_array", "regexp_split_to_table", "regexp_extract_all",
	"mode", "bar", "list_resize", "array_resize",
)

// deniedPrefixes are families of such functions.
var deniedPrefixes = []string{"duckdb_", "pragma_", "read_", "parquet_", "pg_", "scan_", "arrow_scan", "__internal", "has_", "enable_", "disable_"}

// sizedFunctions make a value as large as an argument says. The argument at the
// position, or each if it is negative, must be a literal of at most maxSize.
var sizedFunctions = map[string]int{
	"repeat": 1, "lpad": 1, "rpad": 1, "left_pad": 1, "right_pad": 1,
	"range": -1, "generate_series": -1,
}

const maxSize = 1_000_000

// patternFunctions match a pattern with wildcards in time that grows with a power
// of their number.
var patternFunctions = set("~~", "!~~", "~~*", "!~~*", "~~~", "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape")

const maxWildcards = 8

// checkFunction checks the name and the arguments of a FUNCTION or WINDOW node, which
// makes a table or a value.
func (w *walker) checkFunction(node map[string]any, makesTable bool) error {
	name, _ := node["function_name"].(string)
	schema, _ := node["schema"].(string)
	name = strings.ToLower(name)
	if schema != "" && !strings.EqualFold(schema, "main") && !strings.EqualFold(schema, "pg_catalog") {
		return refused("function " + schema + "." + name)
	}
	if name == pointInTime {
		return misused("it makes a table, and stands in FROM")
	}
	if deniedFunctions[name] || hasDeniedPrefix(name) {
		return driftline.Errorf(driftline.Permission, "function %q is not allowed in SQL here", name)
	}
	arguments, _ := node["children"].([]any)
	if at, sized := sizedFunctions[name]; sized {
		return checkSizes(name, at, arguments, makesTable)
	}
	if patternFunctions[name] && len(arguments) > 1 {
		return w.checkPattern(arguments[1])
	}
	return nil
}

func hasDeniedPrefix(name string) bool {
	for _, p := range deniedPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func checkSizes(name string, at int, arguments []any, makesTable bool) error {
	for i, a := range arguments {
		if inner := sizedInside(a); inner != "" {
			return multiplied(inner, name)
		}
		if at >= 0 && i != at {
			continue
		}
		size, known := literalNumber(a)
		if isTimeLiteral(a) && !makesTable {
			return driftline.Errorf(driftline.Permission, "a list of times made by %s may be of any size", name).
				WithHint("make rows of it: SELECT … FROM %s(…)", name)
		}
		if !known {
			return driftline.Errorf(driftline.Permission, "argument %d of %s must be a literal here", i+1, name)
		}
		if math.Abs(size) > maxSize {
			return driftline.Errorf(driftline.Permission, "argument %d of %s is %.0f, at most %d is allowed", i+1, name, size, maxSize)
		}
	}
	return nil
}

// multiplied refuses a sized function where its size would be taken many times.
func multiplied(inner, outer string) error {
	return driftline.Errorf(driftline.Permission, "%s inside %s is not allowed in SQL here, because their sizes multiply", inner, outer)
}

// sizedInside returns the name of a sized function anywhere in an expression, or "".
func sizedInside(expression any) string {
	switch node := expression.(type) {
	case map[string]any:
		name, _ := node["function_name"].(string)
		if _, sized := sizedFunctions[strings.ToLower(name)]; sized {
			return strings.ToLower(name)
		}
		for _, child := range node {
			if inner := sizedInside(child); inner != "" {
				return inner
			}
		}
	case []any:
		for _, child := range node {
			if inner := sizedInside(child); inner != "" {
				return inner
			}
		}
	}
	return ""
}

// literalNumber returns the value of a number literal, also behind a minus or a
// cast. A literal time or interval counts as 0. Text is no number: DuckDB would
// make one of it unseen.
func literalNumber(expression any) (float64, bool) {
	node, _ := expression.(map[string]any)
	switch node["class"] {
	case "CONSTANT":
		value, _ := node["value"].(map[string]any)
		number, ok := value["value"].(json.Number)
		if !ok {
			return 0, false
		}
		size, err := number.Float64()
		return size, err == nil
	case "CAST":
		to, _ := node["cast_type"].(map[string]any)
		if id, _ := to["id"].(string); isTimeType(id) {
			return 0, isConstant(node["child"])
		}
		return literalNumber(node["child"])
	case "FUNCTION":
		arguments, _ := node["children"].([]any)
		name, _ := node["function_name"].(string)
		if (name == "-" || name == "trunc") && len(arguments) == 1 {
			return literalNumber(arguments[0])
		}
		if strings.HasPrefix(name, "to_") && len(arguments) == 1 {
			_, ok := literalNumber(arguments[0])
			return 0, ok
		}
	}
	return 0, false
}

func isConstant(expression any) bool {
	node, _ := expression.(map[string]any)
	return node["class"] == "CONSTANT"
}

func isTimeType(id string) bool {
	return strings.HasPrefix(id, "TIMESTAMP") || id == "DATE" || id == "INTERVAL"
}

// isTimeLiteral reports whether an argument is a literal time or interval.
func isTimeLiteral(expression any) bool {
	node, _ := expression.(map[string]any)
	switch node["class"] {
	case "CAST":
		to, _ := node["cast_type"].(map[string]any)
		return isTimeType(textOf(to["id"])) || isTimeLiteral(node["child"])
	case "FUNCTION":
		return strings.HasPrefix(textOf(node["function_name"]), "to_")
	}
	return false
}

func (w *walker) checkPattern(expression any) error {
	node, _ := expression.(map[string]any)
	switch node["class"] {
	case "PARAMETER":
		if at, err := strconv.Atoi(textOf(node["identifier"])); err == nil {
			w.patterns = append(w.patterns, at)
		}
		return nil
	case "CONSTANT":
		value, _ := node["value"].(map[string]any)
		return checkWildcards(textOf(value["value"]))
	}
	return driftline.Errorf(driftline.Permission, "the pattern of LIKE or GLOB must be a literal or a parameter here").
		WithHint("use contains, starts_with or regexp_matches")
}

func checkWildcards(pattern string) error {
	if strings.Count(pattern, "%")+strings.Count(pattern, "*")+strings.Count(pattern, "?") <= maxWildcards {
		return nil
	}
	return driftline.Errorf(driftline.Permission, "a LIKE or GLOB pattern has more than %d wildcards", maxWildcards).
		WithHint("use regexp_matches")
}
