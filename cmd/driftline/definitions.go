package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"go.yaml.in/yaml/v3"
)

// definitionFiles is what was read from YAML, and where each object stands, so
// that what the server says of an object can be said with its file and line.
type definitionFiles struct {
	driftline.Definitions
	places map[string]string // what the server's messages begin with (feature view "weather") and refs → file:line
}

// maxDefinitions bounds what one file expands to: aliases can make much of little.
const maxDefinitions = 1 << 20

// readDefinitions reads YAML files, and every *.yaml and *.yml under folders.
func readDefinitions(paths []string) (*definitionFiles, error) {
	found := &definitionFiles{places: map[string]string{}}
	for _, path := range paths {
		files, err := yamlFiles(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := found.readFile(file); err != nil {
				return nil, err
			}
		}
	}
	if len(found.Entities)+len(found.FeatureViews)+len(found.OnDemandFeatureViews)+len(found.FeatureServices)+len(found.Monitors)+len(found.Validations)+len(found.Presets)+len(found.Policies) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "there are no definitions in %s", strings.Join(paths, ", ")).
			WithHint("driftline init DIR writes an example")
	}
	return found, nil
}

func yamlFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if ext := filepath.Ext(name); err == nil && !entry.IsDir() && (ext == ".yaml" || ext == ".yml") && entry.Name() != settingsFile {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		return nil, cannotRead(path, err)
	}
	if len(files) == 0 {
		return nil, driftline.Errorf(driftline.NotFound, "folder %s has no *.yaml file", path)
	}
	return files, nil
}

func cannotRead(path string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return driftline.Errorf(driftline.NotFound, "cannot read %s: %w", path, err)
}

func (d *definitionFiles) readFile(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return cannotRead(path, err)
	}
	documents := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return malformed(path, content, err)
		}
		if err := d.readDocument(path, &document); err != nil {
			return err
		}
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (line \d+: )?`)

// readValue reads and checks the one value that a YAML or JSON file holds, in the field
// inner if there is one. Errors call the value what it is. A file without anything in it
// holds the zero value.
func readValue[T any](path, what, inner string, check func(*T) error) (*T, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(content)).Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, malformed(path, content, err)
	}
	value := new(T)
	if len(document.Content) > 0 {
		root, reader := document.Content[0], &nodeReader{path: path}
		if found := field(root, inner); inner != "" && found != nil {
			root = found
		}
		if err := reader.read(root, reflect.ValueOf(value).Elem(), what); err != nil {
			return nil, err
		}
	}
	if err := check(value); err != nil {
		return nil, inFile(path, err)
	}
	return value, nil
}

// malformed gives the YAML library's complaint the form file:line: message.
func malformed(path string, content []byte, err error) error {
	text := yamlLine.ReplaceAllString(err.Error(), "")
	return driftline.Errorf(driftline.Invalid, "%s:%d: the YAML is malformed: %s", path, brokenLine(content), text).
		WithHint("compare the line's indentation and brackets with the lines before it")
}

// brokenLine finds where YAML stops making sense: the line after the longest
// beginning that does. The library names the line where the enclosing list or
// mapping began, which may be far above.
func brokenLine(content []byte) int {
	lines := bytes.SplitAfter(content, []byte("\n"))
	for n := len(lines) - 1; n > 0; n-- {
		if parses(bytes.Join(lines[:n], nil)) {
			return n + 1
		}
	}
	return 1
}

func parses(content []byte) bool {
	documents := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document yaml.Node
		if err := documents.Decode(&document); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

func (d *definitionFiles) readDocument(path string, document *yaml.Node) error {
	if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
		return nil
	}
	root := document.Content[0]
	reader := &nodeReader{path: path}
	if field(root, "kind") != nil {
		return d.readKind(reader, root)
	}
	var read driftline.Definitions
	if err := reader.read(root, reflect.ValueOf(&read).Elem(), "the file"); err != nil {
		return err
	}
	d.Entities = append(d.Entities, read.Entities...)
	d.FeatureViews = append(d.FeatureViews, read.FeatureViews...)
	d.OnDemandFeatureViews = append(d.OnDemandFeatureViews, read.OnDemandFeatureViews...)
	d.FeatureServices = append(d.FeatureServices, read.FeatureServices...)
	d.Monitors = append(d.Monitors, read.Monitors...)
	d.Validations = append(d.Validations, read.Validations...)
	d.Presets = append(d.Presets, read.Presets...)
	d.Policies = append(d.Policies, read.Policies...)
	for i, e := range read.Entities {
		d.remember(driftline.EntityRef(e.Name), "entity", reader.place(item(root, "entities", i)))
	}
	for i, v := range read.FeatureViews {
		d.remember(driftline.ViewRef(v.Name), "feature view", reader.place(item(root, "feature_views", i)))
	}
	for i, v := range read.OnDemandFeatureViews {
		d.remember(driftline.ViewRef(v.Name), "on-demand feature view", reader.place(item(root, "on_demand_feature_views", i)))
	}
	for i, s := range read.FeatureServices {
		d.remember(driftline.ServiceRef(s.Name), "feature service", reader.place(item(root, "feature_services", i)))
	}
	for i, m := range read.Monitors {
		d.remember(driftline.MonitorRef(m.Name, 0), "monitor", reader.place(item(root, "monitors", i)))
	}
	for i, p := range read.Presets {
		d.remember(driftline.PresetRef(p.Name, 0), "preset", reader.place(item(root, "presets", i)))
	}
	for i, p := range read.Policies {
		d.remember(driftline.PolicyRef(p.Model, 0), "policy", reader.place(item(root, "policies", i)))
	}
	for i, v := range read.Validations {
		d.remember(driftline.ValidationRef(v.Name, 0), "validation", reader.place(item(root, "validations", i)))
	}
	return nil
}

// kindOfPolicy is what a document says that is one policy.
const kindOfPolicy = "policy"

// readKind reads a document that is one definition: it says of what kind.
func (d *definitionFiles) readKind(reader *nodeReader, root *yaml.Node) error {
	kind := resolve(field(root, "kind"))
	switch kind.Value {
	case driftline.KindOfChecks:
		return d.readChecks(reader, root)
	case kindOfPolicy:
		return d.readPolicy(reader, root)
	}
	return reader.errorf(kind, "kind is %q", kind.Value).
		WithHint("write kind: %s over a set of checks, kind: %s over a policy; other definitions have no kind", driftline.KindOfChecks, kindOfPolicy)
}

// readPolicy reads a document that is one policy.
func (d *definitionFiles) readPolicy(reader *nodeReader, root *yaml.Node) error {
	var p driftline.Policy
	if err := reader.read(without(root, "kind"), reflect.ValueOf(&p).Elem(), "the policy"); err != nil {
		return err
	}
	if p.Model == "" {
		return reader.errorf(root, "the policy has no model").WithHint("write model: late_departure below kind: %s", kindOfPolicy)
	}
	d.Policies = append(d.Policies, p)
	d.remember(driftline.PolicyRef(p.Model, 0), "policy", reader.place(root))
	return nil
}

// without is a mapping without one of its keys.
func without(root *yaml.Node, key string) *yaml.Node {
	rest := *root
	rest.Content = nil
	for k := 0; k+1 < len(root.Content); k += 2 {
		if root.Content[k].Value != key {
			rest.Content = append(rest.Content, root.Content[k], root.Content[k+1])
		}
	}
	return &rest
}

// readChecks reads a document that is one set of checks, as driftline validate --suggest
// writes it.
func (d *definitionFiles) readChecks(reader *nodeReader, root *yaml.Node) error {
	var v driftline.Validation
	if err := reader.read(root, reflect.ValueOf(&v).Elem(), "the file"); err != nil {
		return err
	}
	if v.Name == "" {
		return reader.errorf(root, "the set of checks has no name").WithHint("write name: weather below kind: validation")
	}
	d.Validations = append(d.Validations, v)
	d.remember(driftline.ValidationRef(v.Name, 0), "validation", reader.place(root))
	return nil
}

// field is the value of a key of the document, nil if it has none.
func field(root *yaml.Node, key string) *yaml.Node {
	for k := 0; k+1 < len(root.Content) && root.Kind == yaml.MappingNode; k += 2 {
		if root.Content[k].Value == key {
			return root.Content[k+1]
		}
	}
	return nil
}

func (d *definitionFiles) remember(ref driftline.Ref, kind, place string) {
	d.places[ref.String()] = place
	d.places[fmt.Sprintf("%s %q", kind, ref.Name)] = place
}

// item is the i-th node of a list of the document.
func item(root *yaml.Node, key string, i int) *yaml.Node {
	if list := field(root, key); list != nil {
		return resolve(resolve(list).Content[i])
	}
	return root
}

var messageSubject = regexp.MustCompile(`^(entity|feature view|on-demand feature view|feature service|monitor|validation|preset|policy) "[^"]*"`)

// locate puts file:line in front of what the server says of an object.
func (d *definitionFiles) locate(err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) {
		return err
	}
	place := d.places[e.Ref]
	// The ref may be what the object speaks of; the message begins with the object.
	if subject := messageSubject.FindString(e.Message); d.places[subject] != "" {
		place = d.places[subject]
	}
	if place == "" {
		return err
	}
	placed := *e
	placed.Message = place + ": " + e.Message
	return &placed
}

// nodeReader fills Go values from YAML nodes by their JSON names. It knows where
// it is, which is what decoding through a library's Decode loses.
type nodeReader struct {
	path  string
	nodes int
}

func (r *nodeReader) place(n *yaml.Node) string { return fmt.Sprintf("%s:%d", r.path, n.Line) }

func (r *nodeReader) errorf(n *yaml.Node, format string, args ...any) *driftline.Error {
	return driftline.Errorf(driftline.Invalid, "%s: %s", r.place(n), fmt.Sprintf(format, args...))
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// read fills v, which name describes, from n.
func (r *nodeReader) read(n *yaml.Node, v reflect.Value, name string) error {
	n = resolve(n)
	if r.nodes++; r.nodes > maxDefinitions {
		return r.errorf(n, "the file expands to more than %d values", maxDefinitions)
	}
	if n.Tag == "!!null" {
		return nil
	}
	switch target := v.Addr().Interface().(type) {
	case *driftline.Duration:
		return r.readParsed(n, name, func(s string) (err error) { *target, err = driftline.ParseDuration(s); return err })
	case *driftline.Literal:
		if n.Kind != yaml.ScalarNode {
			return r.mismatch(n, name, "a text, a number, true or false")
		}
		*target = driftline.Literal(n.Value)
		return nil
	case *driftline.Type:
		return r.readParsed(n, name, func(s string) (err error) { *target, err = driftline.ParseType(s); return err })
	case *driftline.Ref:
		return r.readParsed(n, name, func(s string) (err error) { *target, err = driftline.ParseRef(s); return err })
	case *driftline.Span:
		return r.readParsed(n, name, func(s string) (err error) { *target, err = driftline.ParseSpan(s); return err })
	case *time.Time:
		return r.readTime(n, target, name)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return r.read(n, v.Elem(), name)
	case reflect.Struct:
		return r.readStruct(n, v, name)
	case reflect.Slice:
		return r.readList(n, v, name)
	case reflect.Map:
		return r.readMap(n, v, name)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			return r.mismatch(n, name, "true or false")
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
		return nil
	case reflect.Int, reflect.Int64:
		bits := 32
		if v.Kind() == reflect.Int64 {
			bits = 64
		}
		number, err := strconv.ParseInt(n.Value, 10, bits)
		if n.Tag != "!!int" || err != nil {
			return r.mismatch(n, name, "a whole number")
		}
		v.SetInt(number)
		return nil
	case reflect.Uint64:
		number, err := strconv.ParseUint(n.Value, 10, 64)
		if n.Tag != "!!int" || err != nil {
			return r.mismatch(n, name, "a whole number that is not negative")
		}
		v.SetUint(number)
		return nil
	case reflect.Float64:
		number, err := strconv.ParseFloat(n.Value, 64)
		if n.Tag != "!!int" && n.Tag != "!!float" || err != nil {
			return r.mismatch(n, name, "a number")
		}
		v.SetFloat(number)
		return nil
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return r.mismatch(n, name, "a string")
	}
	v.SetString(n.Value)
	return nil
}

func (r *nodeReader) readParsed(n *yaml.Node, name string, parse func(string) error) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && n.Value != "0" {
		return r.mismatch(n, name, "a string")
	}
	err := parse(n.Value)
	var e *driftline.Error
	if errors.As(err, &e) {
		placed := *e
		placed.Code, placed.Message = driftline.Invalid, r.place(n)+": "+name+": "+e.Message
		return &placed
	}
	return err
}

// readTime reads a time, which YAML has a type of its own for.
func (r *nodeReader) readTime(n *yaml.Node, target *time.Time, name string) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && n.Tag != "!!timestamp" {
		return r.mismatch(n, name, "a time")
	}
	read, ok := parseTime(n.Value)
	if !ok {
		return r.mismatch(n, name, "a time like 2013-01-31T15:00:00Z")
	}
	*target = read.UTC()
	return nil
}

func (r *nodeReader) readStruct(n *yaml.Node, v reflect.Value, name string) error {
	if n.Kind != yaml.MappingNode {
		return r.mismatch(n, name, "fields (key: value)")
	}
	fields := jsonFields(v)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, known := fields[key.Value]
		if !known {
			return r.unknownField(key, name, fields)
		}
		if seen[key.Value] {
			return r.errorf(key, "%s has the field %q twice", name, key.Value)
		}
		seen[key.Value] = true
		if err := r.read(value, field, key.Value); err != nil {
			return err
		}
	}
	return nil
}

// readOnly are fields that the catalogue fills in.
var readOnly = map[reflect.Type][]string{
	reflect.TypeFor[driftline.FeatureView](): {"join_keys", "shape"},
	reflect.TypeFor[driftline.Field]():       {"column"},
	reflect.TypeFor[driftline.Monitor]():     {"version", "created"},
	reflect.TypeFor[driftline.Validation]():  {"version", "created"},
	reflect.TypeFor[driftline.Preset]():      {"version", "created"},
	reflect.TypeFor[driftline.Policy]():      {"version", "created"},
}

func jsonFields(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if !slices.Contains(readOnly[v.Type()], name) {
			fields[name] = v.Field(i)
		}
	}
	return fields
}

func (r *nodeReader) unknownField(key *yaml.Node, name string, fields map[string]reflect.Value) error {
	var known []string
	for field := range fields {
		known = append(known, field)
	}
	slices.Sort(known)
	e := r.errorf(key, "%s has no field %q", name, key.Value)
	if near := driftline.Nearest(key.Value, known); near != "" {
		return e.WithHint("did you mean %q?", near)
	}
	return e.WithHint("known: %s", strings.Join(known, ", "))
}

func (r *nodeReader) readList(n *yaml.Node, v reflect.Value, name string) error {
	if n.Kind != yaml.SequenceNode {
		return r.mismatch(n, name, "a list")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, one := range n.Content {
		if resolve(one).Tag == "!!null" {
			return r.errorf(one, "item %d of %s is empty", i+1, name)
		}
		if err := r.read(one, v.Index(i), fmt.Sprintf("item %d of %s", i+1, name)); err != nil {
			return err
		}
	}
	return nil
}

// readMap reads text by text. A value may be any scalar, kept as it is written:
// tags like {year: 2013} mean what they say.
func (r *nodeReader) readMap(n *yaml.Node, v reflect.Value, name string) error {
	if n.Kind != yaml.MappingNode {
		return r.mismatch(n, name, "fields (key: value)")
	}
	if v.Type() != reflect.TypeFor[map[string]string]() {
		return r.readTypedMap(n, v, name)
	}
	read := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		if value.Kind != yaml.ScalarNode {
			return r.mismatch(value, name+"."+key.Value, "a string")
		}
		if _, twice := read[key.Value]; twice {
			return r.errorf(key, "%s has the key %q twice", name, key.Value)
		}
		read[key.Value] = value.Value
	}
	v.Set(reflect.ValueOf(read))
	return nil
}

// readTypedMap reads the values as what they are.
func (r *nodeReader) readTypedMap(n *yaml.Node, v reflect.Value, name string) error {
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := reflect.ValueOf(n.Content[i].Value).Convert(v.Type().Key())
		if v.MapIndex(key).IsValid() {
			return r.errorf(n.Content[i], "%s has the key %q twice", name, n.Content[i].Value)
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := r.read(n.Content[i+1], value, name+"."+n.Content[i].Value); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

func (r *nodeReader) mismatch(n *yaml.Node, name, want string) error {
	e := r.errorf(n, "%s is %s, want %s", name, nodeKind(n), want)
	if want == "a string" && n.Kind == yaml.ScalarNode {
		return e.WithHint("put it in quotes")
	}
	return e
}

func nodeKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields (key: value)"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("the string %q", n.Value)
}
