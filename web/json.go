package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// readJSON decodes the body as exactly one T. Unknown fields, wrong types and
// bytes after the value are errors that name the place.
func readJSON[T any](r *http.Request) (T, error) {
	if err := checkContentType(r); err != nil {
		var none T
		return none, err
	}
	return decodeJSON[T](r.Body)
}

func decodeJSON[T any](body io.Reader) (T, error) {
	var value T
	decoder := json.NewDecoder(body)
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		return value, explainJSON(err, reflect.TypeFor[T]())
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return value, driftline.Errorf(driftline.Invalid, "the body has more than one JSON value (at byte %d)", decoder.InputOffset())
	}
	return value, nil
}

// checkContentType accepts JSON, and no type at all because Feast's client sends none.
func checkContentType(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(given); err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json")) {
		return nil
	}
	return withStatus(http.StatusUnsupportedMediaType, driftline.Errorf(driftline.Invalid,
		"content type %q is not JSON", clip(given)).WithHint("send Content-Type: application/json"))
}

// explainJSON says what was wrong with a body in the reader's words. Text that
// is no JSON is 400; JSON that does not fit is 422.
func explainJSON(err error, want reflect.Type) error {
	var tooLong *http.MaxBytesError
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	var own *driftline.Error
	switch {
	case errors.As(err, &tooLong):
		return tooLarge(tooLong.Limit)
	case errors.Is(err, io.EOF):
		return driftline.Errorf(driftline.Invalid, "the body is empty, want JSON")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return driftline.Errorf(driftline.Invalid, "the body ends in the middle of its JSON")
	case errors.As(err, &syntax):
		return driftline.Errorf(driftline.Invalid, "the body is not JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &wrongType):
		return unfit("%s is %s, want %s", fieldPath(wrongType), jsonKind(wrongType.Value), wantedKind(wrongType.Type))
	case errors.As(err, &own):
		return withStatus(http.StatusUnprocessableEntity, own)
	}
	if name, ok := unknownField(err); ok {
		e := driftline.Errorf(driftline.Invalid, "field %q is not known", clip(name))
		if near := driftline.Nearest(name, fieldNames(want, nil)); near != "" {
			e = e.WithHint("did you mean %q?", near)
		}
		return withStatus(http.StatusUnprocessableEntity, e)
	}
	return driftline.Errorf(driftline.Invalid, "the body cannot be read: %w", err)
}

func unfit(format string, args ...any) error {
	return withStatus(http.StatusUnprocessableEntity, driftline.Errorf(driftline.Invalid, format, args...))
}

func tooLarge(limit int64) error {
	return withStatus(http.StatusRequestEntityTooLarge, driftline.Errorf(driftline.Invalid,
		"the body is larger than %d bytes", limit).WithHint("send it in parts, or use Arrow Flight for bulk"))
}

func fieldPath(e *json.UnmarshalTypeError) string {
	if e.Field == "" {
		return "the body"
	}
	return "field " + strconv.Quote(e.Field)
}

func jsonKind(value string) string {
	kind, rest, _ := strings.Cut(value, " ")
	switch kind {
	case "bool":
		return "true or false"
	case "number":
		if rest == "" {
			return "a number"
		}
		return "the number " + rest
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return "a " + kind
}

func wantedKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wantedKind(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return t.String()
}

// unknownField reads the name out of the one error that encoding/json gives no type.
func unknownField(err error) (string, bool) {
	quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return "", false
	}
	name, unquoteErr := strconv.Unquote(quoted)
	return name, unquoteErr == nil
}

// fieldNames lists the JSON names that t and what it holds know.
func fieldNames(t reflect.Type, seen []reflect.Type) []string {
	for _, s := range seen {
		if s == t {
			return nil
		}
	}
	seen = append(seen, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldNames(t.Elem(), seen)
	case reflect.Struct:
		var names []string
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				names = append(names, name)
			}
			names = append(names, fieldNames(f.Type, seen)...)
		}
		return names
	}
	return nil
}

// writeJSON answers with v. It encodes before the first byte is sent, so that a
// failure still becomes a proper status.
func writeJSON(w http.ResponseWriter, status int, v any) {
	if report, ok := v.(*driftline.DriftReport); ok {
		if body, err := report.AppendJSON(nil); err == nil {
			sendJSON(w, status, append(body, '\n'))
			return
		}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		status = http.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"code":"internal","message":"internal error"}` + "\n")
	}
	sendJSON(w, status, body.Bytes())
}

func sendJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer may be gone; there is nobody left to tell
}

// list makes a nil slice an empty JSON list.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
