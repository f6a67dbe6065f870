package query

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

const (
	// maxSQLBytes bounds what it takes to parse and plan a text: 64 KiB of unions take 1.5 s,
	// 320 KiB gigabytes.
	maxSQLBytes = 64 << 10

	// maxWritten bounds the columns that one SELECT writes out: what they take grows with their
	// square. 4,096 are planned in 1.3 s; the 32,000 that a text has room for took a minute.
	maxWritten = 4096
)

// Select is one SELECT that passed the gate. It is immutable.
type Select struct {
	// Tables are the tables that it reads, each once.
	Tables []TableName

	// PointInTime are its point-in-time joins, whose answers it reads as tables.
	PointInTime []PointInTime

	// Parameters is how many values (? or $1, $2, …) it needs.
	Parameters int

	// Explain asks for the plan instead of the rows.
	Explain bool

	text     string // what runs: the checked syntax tree, written back
	patterns []int  // the parameters, from 1, that are patterns of LIKE or GLOB
}

// ParseSelect checks a user's text and returns what may run of it.
//
// The text is parsed by DuckDB's json_serialize_sql, to which it is a parameter: it
// is never prepared or run, because preparing "DROP TABLE t; SELECT 1" drops t.
// What is returned comes from the syntax tree and was checked once more. If the DB
// has workers, one of them does all that, so that a parser that hangs or dies is an
// error like any other.
//
// It fails with Invalid if the text is not SQL, and with Permission if it is
// anything but one SELECT over plain tables with harmless functions, or EXPLAIN of one.
func (db *DB) ParseSelect(ctx context.Context, text string) (*Select, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	text, explain, err := withoutExplain(text)
	if err != nil {
		return nil, err
	}
	parsed, known := db.parses.get(text)
	if !known {
		if db.workers != nil {
			parsed, err = db.workers.parse(ctx, text)
		} else {
			parsed, err = db.parse(ctx, text)
		}
		if err != nil {
			return nil, err
		}
		db.parses.add(text, parsed)
	}
	sel := *parsed
	sel.Explain = explain
	return &sel, nil
}

// withoutExplain takes EXPLAIN from the front of text. DuckDB's parser can show only
// what follows it.
func withoutExplain(text string) (rest string, explain bool, err error) {
	const keyword = "explain"
	trimmed := strings.TrimSpace(text)
	if len(trimmed) <= len(keyword) || !strings.EqualFold(trimmed[:len(keyword)], keyword) {
		return text, false, nil
	}
	rest = trimmed[len(keyword):]
	word := strings.TrimSpace(rest)
	if rest == word { // EXPLAIN( or a name that begins so
		return text, false, nil
	}
	if first, _, _ := strings.Cut(word, " "); strings.EqualFold(first, "analyze") {
		return "", false, driftline.Errorf(driftline.Permission, "EXPLAIN ANALYZE is not allowed here, because it runs the statement").
			WithHint("write EXPLAIN SELECT …")
	}
	return word, true, nil
}

// parse is ParseSelect in this process.
func (db *DB) parse(ctx context.Context, text string) (*Select, error) {
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

// checkArguments checks the values of the parameters.
func (sel *Select) checkArguments(args []any) error {
	if len(args) != sel.Parameters {
		return driftline.Errorf(driftline.Invalid, "the query has %d parameters, %d values were given", sel.Parameters, len(args))
	}
	for i, a := range args {
		if err := checkArgument(i, a); err != nil {
			return err
		}
	}
	for _, i := range sel.patterns {
		if pattern, ok := args[i-1].(string); ok {
			if err := checkWildcards(pattern); err != nil {
				return err
			}
		}
	}
	return nil
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
	return s.parseNested(ctx, text, false)
}

// parseNested parses the SELECT of a spine if nested is set, and else the user's whole text.
func (s *session) parseNested(ctx context.Context, text string, nested bool) (*Select, error) {
	first, err := s.check(ctx, text, walker{nested: nested})
	if err != nil {
		return nil, err
	}
	written, err := s.written(ctx, first.tree)
	if err != nil {
		return nil, err
	}
	second, err := s.check(ctx, written, walker{nested: nested, written: true})
	if err != nil {
		return nil, err
	}
	if !slices.Equal(first.relations(), second.relations()) || first.parameters != second.parameters {
		return nil, driftline.Errorf(driftline.Permission, "this SELECT cannot be checked: it reads differently when written back")
	}
	sel := &Select{Tables: first.tables, Parameters: first.parameters, text: written, patterns: first.patterns}
	for _, join := range first.joins {
		spine, err := s.written(ctx, map[string]any{"error": false, "statements": []any{join.spine}})
		if err != nil {
			return nil, err
		}
		if join.PointInTime.Spine, err = s.parseNested(ctx, spine, true); err != nil {
			return nil, aboutSpine(err)
		}
		if join.PointInTime.Spine.Parameters > 0 {
			return nil, misused("its SELECT has parameters, which are only allowed around it")
		}
		sel.PointInTime = append(sel.PointInTime, join.PointInTime)
	}
	return sel, nil
}

// written returns a syntax tree as text.
func (s *session) written(ctx context.Context, tree map[string]any) (string, error) {
	raw, err := json.Marshal(tree)
	if err != nil {
		return "", driftline.Errorf(driftline.Invalid, "this SELECT cannot be checked: %w", hidden{err})
	}
	text, err := s.text(ctx, "SELECT json_deserialize_sql($1::JSON)", string(raw))
	if err != nil {
		return "", driftline.Errorf(driftline.Invalid, "this SELECT cannot be checked: %w", hidden{err})
	}
	return strings.TrimSuffix(strings.TrimSpace(text), ";"), nil
}

// checkedTree is a syntax tree that passed.
type checkedTree struct {
	tree       map[string]any // as DuckDB wrote it, but for what the walker replaced
	tables     []TableName
	joins      []join
	parameters int
	patterns   []int
}

// relations are the names under which the written text reads its tables.
func (c *checkedTree) relations() []string {
	var names []string
	add := func(t TableName) {
		schema, name := t.relation()
		names = append(names, strings.ToLower(schema+"."+name))
	}
	for _, t := range c.tables {
		add(t)
	}
	for _, j := range c.joins {
		add(j.Table)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// check parses text and lets w walk over its syntax tree.
func (s *session) check(ctx context.Context, text string, w walker) (*checkedTree, error) {
	raw, err := s.text(ctx, "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", text)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber() // places in the text are greater than a float64 can tell apart
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "this SQL cannot be checked: %w", hidden{err})
	}
	if failed, _ := tree["error"].(bool); failed {
		return nil, parseFailure(text, textOf(tree["error_type"]), textOf(tree["error_message"]), textOf(tree["position"]))
	}
	statements, _ := tree["statements"].([]any)
	if len(statements) != 1 {
		return nil, driftline.Errorf(driftline.Permission, "the text has %d statements, want one SELECT", len(statements)).
			WithHint("send one statement at a time")
	}
	w.parameters = map[string]bool{}
	statement, _ := statements[0].(map[string]any)
	if err := w.statement(statement); err != nil {
		return nil, err
	}
	count, err := w.parameterCount()
	if err != nil {
		return nil, err
	}
	return &checkedTree{tree: tree, tables: w.tables, joins: w.joins, parameters: count, patterns: w.patterns}, nil
}

func textOf(v any) string {
	text, _ := v.(string)
	return text
}

func parseFailure(text, kind, message, position string) error {
	if kind == "not implemented" {
		return driftline.Errorf(driftline.Permission, "only SELECT is allowed here").
			WithHint("write data through ingest, and list tables with SELECT * FROM meta.tables")
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
	nested  bool // the text is that of a spine
	written bool // the text is one that was written back, so it may name private tables

	tables     []TableName
	joins      []join
	parameters map[string]bool
	patterns   []int
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
	if kind == "TABLE_FUNCTION" {
		return w.tableFunction(node, visible)
	}
	if written, ok := node["select_list"].([]any); ok && len(written) > maxWritten {
		return driftline.Errorf(driftline.Invalid, "a SELECT writes out %d columns, at most %d are allowed", len(written), maxWritten).
			WithHint("write * or COLUMNS(…) for many columns of a table")
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
	"DECIMAL_TYPE_INFO", "STRING_TYPE_INFO", "LIST_TYPE_INFO", "STRUCT_TYPE_INFO", "ARRAY_TYPE_INFO", "ENUM_TYPE_INFO", "UNBOUND_TYPE_INFO",
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
		return nil // the caller goes on with it
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
	catalog, schema, name := textOf(node["catalog_name"]), textOf(node["schema_name"]), textOf(node["table_name"])
	if catalog != "" {
		return driftline.Errorf(driftline.NotFound, "table %q does not exist", catalog+"."+schema+"."+name).
			WithHint("name tables as schema.table")
	}
	table := TableName{Schema: schema, Name: name}
	if at, ok := node["at_clause"].(map[string]any); ok {
		var err error
		if table.At, err = parseAt(at); err != nil {
			return err
		}
		table.rename(node)
	} else if schema == "" && visible.has(name) {
		return nil
	}
	if strings.HasPrefix(schema, "__") && !w.written {
		return UnknownTable(table, nil)
	}
	for _, known := range w.tables {
		if known.same(table) {
			return nil
		}
	}
	w.tables = append(w.tables, table)
	return nil
}

// tableFunction checks a function in FROM and what is inside it.
func (w *walker) tableFunction(node map[string]any, visible *scope) error {
	function, _ := node["function"].(map[string]any)
	name := strings.ToLower(textOf(function["function_name"]))
	if name == pointInTime {
		return w.pointInTime(node, function)
	}
	if !allowedTableFunctions[name] {
		return driftline.Errorf(driftline.Permission, "table function %q is not allowed in SQL here", name).
			WithHint("select from tables; range, generate_series, unnest and point_in_time are allowed")
	}
	if err := w.checkFunction(function, true); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(node)) {
		child := node[key]
		if key == "function" {
			child = function["children"]
		}
		if err := w.visit(child, visible); err != nil {
			return err
		}
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
		return w.checkFunction(node, false)
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
