package query

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// maxSQLBytes bounds the time to parse and plan a text: a 64 KiB text of the worst
// known shape takes 1.5 s, a 320 KiB one takes gigabytes.
const maxSQLBytes = 64 << 10

// TableName names a table in a user's SQL. Schema is "" if the text gave none.
type TableName struct{ Schema, Name string }

// String returns schema.name, or name.
func (t TableName) String() string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// same compares as SQL does: without case.
func (t TableName) same(other TableName) bool {
	return strings.EqualFold(t.Schema, other.Schema) && strings.EqualFold(t.Name, other.Name)
}

// Select is one SELECT that passed the gate. It is immutable.
type Select struct {
	// Tables are the tables that it reads, each once.
	Tables []TableName

	// Parameters is how many values (? or $1, $2, …) it needs.
	Parameters int

	text string // what runs: the checked syntax tree, written back
}

// ParseSelect checks a user's text and returns what may run of it.
//
// The text is parsed by DuckDB's json_serialize_sql, to which it is a parameter: it
// is never prepared or run, because preparing "DROP TABLE t; SELECT 1" drops t.
// What is returned comes from the syntax tree and was checked once more.
//
// It fails with Invalid if the text is not SQL, and with Permission if it is
// anything but one SELECT over plain tables with harmless functions.
func (db *DB) ParseSelect(ctx context.Context, text string) (*Select, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	ctx, end, err := db.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	db.parserMu.Lock()
	defer db.parserMu.Unlock()
	s, err := db.openParser(ctx)
	if err != nil {
		return nil, err
	}
	sel, err := s.parse(ctx, text)
	if s.broken {
		db.parser = nil
	}
	return sel, err
}

func checkText(text string) error {
	switch {
	case len(text) > maxSQLBytes:
		return driftline.Errorf(driftline.Invalid, "the SQL text has %d bytes, at most %d are allowed", len(text), maxSQLBytes)
	case strings.TrimSpace(text) == "":
		return driftline.Errorf(driftline.Invalid, "the SQL text is empty")
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return driftline.Errorf(driftline.Invalid, "the SQL text is not valid UTF-8")
	}
	return nil
}

// openParser returns the scratch database; db.parserMu is held.
func (db *DB) openParser(ctx context.Context) (*session, error) {
	if db.parser != nil {
		return db.parser, nil
	}
	s, err := db.newSession(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.lock(ctx, nil); err != nil {
		s.close()
		return nil, err
	}
	db.parser = s
	return s, nil
}

func (s *session) parse(ctx context.Context, text string) (*Select, error) {
	first, err := s.check(ctx, text)
	if err != nil {
		return nil, err
	}
	written, err := s.text(ctx, "SELECT json_deserialize_sql($1::JSON)", first.tree)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "this SELECT cannot be checked: %w", hidden{err})
	}
	second, err := s.check(ctx, written)
	if err != nil {
		return nil, err
	}
	if !sameTables(first.tables, second.tables) || first.parameters != second.parameters {
		return nil, driftline.Errorf(driftline.Permission, "this SELECT cannot be checked: it reads differently when written back")
	}
	return &Select{Tables: first.tables, Parameters: first.parameters, text: strings.TrimSuffix(strings.TrimSpace(written), ";")}, nil
}

func sameTables(a, b []TableName) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].same(b[i]) {
			return false
		}
	}
	return true
}

// checkedTree is a syntax tree that passed.
type checkedTree struct {
	tree       string // JSON, as DuckDB wrote it
	tables     []TableName
	parameters int
}

// check parses text and walks over its syntax tree.
func (s *session) check(ctx context.Context, text string) (*checkedTree, error) {
	tree, err := s.text(ctx, "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", text)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Error      bool             `json:"error"`
		Kind       string           `json:"error_type"`
		Message    string           `json:"error_message"`
		Position   string           `json:"position"`
		Statements []map[string]any `json:"statements"`
	}
	if err := json.Unmarshal([]byte(tree), &parsed); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "this SQL cannot be checked: %w", hidden{err})
	}
	if parsed.Error {
		return nil, parseFailure(text, parsed.Kind, parsed.Message, parsed.Position)
	}
	if len(parsed.Statements) != 1 {
		return nil, driftline.Errorf(driftline.Permission, "the text has %d statements, want one SELECT", len(parsed.Statements)).
			WithHint("send one statement at a time")
	}
	w := walker{parameters: map[string]bool{}}
	if err := w.statement(parsed.Statements[0]); err != nil {
		return nil, err
	}
	count, err := w.parameterCount()
	if err != nil {
		return nil, err
	}
	return &checkedTree{tree: tree, tables: w.tables, parameters: count}, nil
}

func parseFailure(text, kind, message, position string) error {
	if kind == "not implemented" {
		return driftline.Errorf(driftline.Permission, "only SELECT is allowed here").
			WithHint("write data through ingest, and list tables with SELECT * FROM meta.views")
	}
	message = firstLine(message)
	if at, err := strconv.Atoi(position); err == nil && at >= 0 && at <= len(text) {
		line := 1 + strings.Count(text[:at], "\n")
		return driftline.Errorf(driftline.Invalid, "SQL: %s (line %d)", message, line)
	}
	return driftline.Errorf(driftline.Invalid, "SQL: %s", message)
}

// walker visits every node of a syntax tree. What it does not know, it refuses.
type walker struct {
	tables     []TableName
	parameters map[string]bool
}

// scope is the CTE names visible at a node, innermost first.
type scope struct {
	name  string
	outer *scope
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if strings.EqualFold(s.name, name) {
			return true
		}
	}
	return false
}

func (w *walker) statement(statement map[string]any) error {
	node, ok := statement["node"].(map[string]any)
	if !ok {
		return refused("this statement")
	}
	return w.visit(node, nil)
}

func refused(what string) error {
	return driftline.Errorf(driftline.Permission, "%s is not allowed in SQL here", what)
}

// visit checks any value of the tree.
func (w *walker) visit(value any, visible *scope) error {
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			if err := w.visit(v, visible); err != nil {
				return err
			}
		}
	case map[string]any:
		return w.object(value, visible)
	}
	return nil
}

func (w *walker) object(node map[string]any, visible *scope) error {
	class, isExpression := node["class"].(string)
	kind, hasKind := node["type"].(string)
	var err error
	switch {
	case isExpression:
		err = w.expression(class, node)
	case hasKind:
		err = w.reference(kind, node, visible)
	}
	if err != nil {
		return err
	}
	if visible, err = w.commonTables(node, visible); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(node)) {
		child, inner := node[key], visible
		switch {
		case key == "cte_map":
			continue
		case key == "right" && kind == "RECURSIVE_CTE_NODE":
			name, _ := node["cte_name"].(string)
			inner = &scope{name, visible}
		case key == "value" && class == "CONSTANT":
			continue
		}
		if err := w.visit(child, inner); err != nil {
			return err
		}
	}
	return nil
}

// commonTables checks the WITH clause of a query node, if it has one, and returns
// the names visible in the rest of the node. A CTE sees those before it.
func (w *walker) commonTables(node map[string]any, visible *scope) (*scope, error) {
	with, ok := node["cte_map"].(map[string]any)
	if !ok {
		return visible, nil
	}
	entries, _ := with["map"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		name, ok := entry["key"].(string)
		if !ok {
			return nil, refused("this WITH clause")
		}
		if err := w.visit(entry["value"], visible); err != nil {
			return nil, err
		}
		visible = &scope{name, visible}
	}
	return visible, nil
}

// allowedNodes are the kinds of query nodes, tables and clauses that are visited
// without further ado.
var allowedNodes = set(
	"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
	"SUBQUERY", "JOIN", "EXPRESSION_LIST", "EMPTY", "PIVOT",
	"ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
	"ORDER_DEFAULT", "ASCENDING", "DESCENDING", "ASC", "DESC",
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// reference checks a node that is not an expression.
func (w *walker) reference(kind string, node map[string]any, visible *scope) error {
	switch kind {
	case "BASE_TABLE":
		return w.baseTable(node, visible)
	case "TABLE_FUNCTION":
		return w.tableFunction(node)
	case "SHOW_REF":
		return driftline.Errorf(driftline.Permission, "SHOW and DESCRIBE are not allowed here").
			WithHint("list tables and columns with SELECT * FROM meta.views, or through Flight SQL")
	}
	if !allowedNodes[kind] {
		return refused(strings.ReplaceAll(strings.ToLower(kind), "_", " "))
	}
	return nil
}

func (w *walker) baseTable(node map[string]any, visible *scope) error {
	catalog, _ := node["catalog_name"].(string)
	schema, _ := node["schema_name"].(string)
	name, _ := node["table_name"].(string)
	if node["at_clause"] != nil {
		return refused("AT")
	}
	if catalog != "" {
		return driftline.Errorf(driftline.NotFound, "table %q does not exist", catalog+"."+schema+"."+name).
			WithHint("name tables as schema.table")
	}
	if schema == "" && visible.has(name) {
		return nil
	}
	table := TableName{Schema: schema, Name: name}
	for _, known := range w.tables {
		if known.same(table) {
			return nil
		}
	}
	w.tables = append(w.tables, table)
	return nil
}

func (w *walker) tableFunction(node map[string]any) error {
	function, _ := node["function"].(map[string]any)
	name, _ := function["function_name"].(string)
	if !allowedTableFunctions[strings.ToLower(name)] {
		return driftline.Errorf(driftline.Permission, "table function %q is not allowed in SQL here", name).
			WithHint("select from tables; range, generate_series and unnest are allowed")
	}
	return nil
}

var allowedClasses = set(
	"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "CASE", "CAST", "BETWEEN",
	"SUBQUERY", "STAR", "COLLATE", "LAMBDA", "LAMBDA_REF", "POSITIONAL_REFERENCE",
	"FUNCTION", "WINDOW", "PARAMETER", "TYPE",
)

// expression checks one expression; its children are visited by the caller.
func (w *walker) expression(class string, node map[string]any) error {
	switch class {
	case "PARAMETER":
		name, _ := node["identifier"].(string)
		w.parameters[name] = true
	case "FUNCTION", "WINDOW":
		return checkFunction(node)
	case "LAMBDA":
		if inner := sizedInside(node); inner != "" {
			return multiplied(inner, "a lambda")
		}
	}
	if !allowedClasses[class] {
		return refused(strings.ToLower(class))
	}
	return nil
}

// parameterCount returns n if the parameters are exactly 1…n.
func (w *walker) parameterCount() (int, error) {
	for name := range w.parameters {
		at, err := strconv.Atoi(name)
		if err != nil {
			return 0, driftline.Errorf(driftline.Invalid, "parameter $%s has a name", name).WithHint("use ? or $1, $2, …")
		}
		if at < 1 || at > len(w.parameters) {
			return 0, driftline.Errorf(driftline.Invalid, "parameter $%d is used, but there are %d parameters", at, len(w.parameters)).
				WithHint("number them from $1 without gaps")
		}
	}
	return len(w.parameters), nil
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
	return driftline.Unknown("table", fmt.Sprint(name), names)
}
