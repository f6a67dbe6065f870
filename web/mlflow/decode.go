package mlflow

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// decode reads a request into the struct that into points to. Its fields' tags say:
//
//	json:"name"          the field's name in the body or the query
//	path:"name"          taken from the path instead
//	alias:"name"         an old name of the field above that has this name
//	wire:"required"      must be there, and not be empty
//
// A field that may be there with its zero value and still be required is a pointer.
func decode(r *http.Request, into any) error {
	if err := read(r, into); err != nil {
		return err
	}
	return complete(r, into)
}

// decodeWhole is decode of a body that was received already.
func decodeWhole(r *http.Request, body []byte, into any) error {
	if err := decodeBody(body, into); err != nil {
		return err
	}
	return complete(r, into)
}

// complete fills what is not in the body, and checks that all is there.
func complete(r *http.Request, into any) error {
	value := reflect.ValueOf(into).Elem()
	fromPath(r, value)
	follow(value)
	return checkRequired(value)
}

func read(r *http.Request, into any) error {
	if query := r.URL.Query(); r.Method == http.MethodGet && len(query) > 0 {
		return decodeQuery(query, reflect.ValueOf(into).Elem())
	}
	if err := checkContentType(r); err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return unreadable(err)
	}
	return decodeBody(body, into)
}

// unreadable says why a body could not be received.
func unreadable(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return withStatus(http.StatusRequestEntityTooLarge, driftline.Errorf(driftline.Invalid,
			"the body is larger than %d bytes", tooLong.Limit).WithHint("send it in parts"))
	}
	return driftline.Errorf(driftline.Invalid, "the body could not be received: %w", err)
}

func checkContentType(r *http.Request) error {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/json" {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "Bad Request. Content-Type must be one of ['application/json'].")
}

// decodeBody reads JSON, or JSON within a JSON string. An empty body has no fields.
func decodeBody(body []byte, into any) error {
	if !utf8.Valid(body) {
		return driftline.Errorf(driftline.Invalid, "the body is not UTF-8")
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '"' {
		var inner string
		if err := json.Unmarshal(body, &inner); err != nil {
			return explain(err, body)
		}
		body = bytes.TrimSpace([]byte(inner))
	}
	if len(body) == 0 || string(body) == "null" {
		return nil
	}
	if body[0] != '{' {
		return driftline.Errorf(driftline.Invalid, "the body is not a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return explain(err, body)
	}
	return nil
}

// explain says what was wrong with a body in the words that MLflow uses, whose clients look for them.
func explain(err error, body []byte) error {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return driftline.Errorf(driftline.Invalid, "the body is not JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &wrongType) && wrongType.Field != "":
		kind, _, _ := strings.Cut(wrongType.Value, " ")
		name, value := rawField(body, wrongType.Field)
		return badValue(name, value, pythonType(kind))
	}
	return driftline.Errorf(driftline.Invalid, "the body cannot be read: %w", err)
}

// badValue is the error for a value of the wrong kind.
func badValue(name, value, kind string) error {
	return driftline.Errorf(driftline.Invalid,
		"Invalid value %s for parameter '%s' supplied: Hint: Value was of type '%s'. See the API docs for more information about request parameters.",
		clip(value), name, kind)
}

// rawField returns the name and the text of the field of an object that a path begins
// with. Names of structs that requests share may stand before it.
func rawField(body []byte, path string) (name, value string) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(body, &fields) // it is an object, or there would be no path
	for segment := range strings.SplitSeq(path, ".") {
		var text bytes.Buffer
		if raw, ok := fields[segment]; ok && json.Compact(&text, raw) == nil {
			return segment, text.String()
		}
		name = segment
	}
	return name, "?"
}

// pythonType is what MLflow's server, and so its clients' texts, call a kind of JSON value.
func pythonType(kind string) string {
	switch kind {
	case "string":
		return "str"
	case "number":
		return "int"
	case "array":
		return "list"
	case "object":
		return "dict"
	}
	return kind
}

// fromPath fills the fields that are part of the path.
func fromPath(r *http.Request, value reflect.Value) {
	for _, f := range fieldsOf(value.Type()) {
		if f.path != "" {
			value.FieldByIndex(f.index).SetString(r.PathValue(f.path))
		}
	}
}

// follow gives fields the values of their old names.
func follow(value reflect.Value) {
	for _, f := range fieldsOf(value.Type()) {
		if f.alias == nil {
			continue
		}
		if target := value.FieldByIndex(f.alias); target.IsZero() {
			target.Set(value.FieldByIndex(f.index))
		}
	}
}

// field is a field of a request as its tags describe it.
type field struct {
	name     string
	path     string
	index    []int
	alias    []int // the field that this is another name of
	required bool
}

// layouts remembers the fields of each type of request.
var layouts sync.Map // reflect.Type → []field

func fieldsOf(t reflect.Type) []field {
	if known, ok := layouts.Load(t); ok {
		return known.([]field)
	}
	var fields []field
	byName := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		byName[name] = f.Index
		fields = append(fields, field{name: name, path: f.Tag.Get("path"), index: f.Index,
			alias: byName[f.Tag.Get("alias")], required: f.Tag.Get("wire") == "required"})
	}
	layouts.Store(t, fields)
	return fields
}

// decodeQuery reads the fields from a query.
func decodeQuery(query map[string][]string, value reflect.Value) error {
	for _, f := range fieldsOf(value.Type()) {
		given := query[f.name]
		if len(given) == 0 || f.path != "" {
			continue
		}
		if err := setFromQuery(value.FieldByIndex(f.index), f.name, given); err != nil {
			return err
		}
	}
	return nil
}

// setFromQuery sets one field from the values of its parameter.
func setFromQuery(field reflect.Value, name string, given []string) error {
	switch {
	case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.String:
		field.Set(reflect.ValueOf(given).Convert(field.Type()))
		return nil
	case field.Kind() == reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		return setFromQuery(field.Elem(), name, given)
	case field.Kind() == reflect.Bool:
		lower := strings.ToLower(given[0])
		if lower != "true" && lower != "false" {
			return driftline.Errorf(driftline.Invalid, "Invalid boolean value: %s, must be 'true' or 'false'.", clip(given[0]))
		}
		field.SetBool(lower == "true")
		return nil
	}
	if reader, ok := field.Addr().Interface().(json.Unmarshaler); ok {
		quoted, err := json.Marshal(given[0])
		if err == nil {
			err = reader.UnmarshalJSON(quoted)
		}
		if err != nil {
			return badValue(name, string(quoted), "str")
		}
		return nil
	}
	if field.Kind() == reflect.String {
		field.SetString(given[0])
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "parameter '%s' cannot be given in the address", name)
}

// checkRequired reports the first required field that was left out.
func checkRequired(value reflect.Value) error {
	for _, f := range fieldsOf(value.Type()) {
		if f.required && value.FieldByIndex(f.index).IsZero() {
			return missing(cmp.Or(f.name, f.path))
		}
	}
	return nil
}

func missing(name string) error {
	return driftline.Errorf(driftline.Invalid,
		"Missing value for required parameter '%s'. See the API docs for more information about request parameters.", name)
}

// clip shortens a hostile text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
