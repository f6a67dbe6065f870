package mlflow

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// integer is an int64, which JSON may carry as a number or as a string of digits.
type integer int64

// UnmarshalJSON reads 12, "12" and 12.0. null leaves it as it is.
func (n *integer) UnmarshalJSON(data []byte) error {
	text := string(data)
	if text == "null" {
		return nil
	}
	if len(text) > 2 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		*n = integer(whole)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || data[0] == '"' {
		return wrongKind(data, reflect.TypeFor[integer]())
	}
	*n = integer(f)
	return nil
}

// wrongKind is the error that package json gives where it knows the field's name, and
// adds that name to.
func wrongKind(data []byte, want reflect.Type) error {
	return &json.UnmarshalTypeError{Value: kindOf(data), Type: want}
}

func kindOf(data []byte) string {
	switch data[0] {
	case '"':
		return "string"
	case '[':
		return "array"
	case '{':
		return "object"
	case 't', 'f':
		return "bool"
	}
	return "number"
}

// number is a double, which JSON may carry as a number, as a string of one, or as "NaN",
// "Infinity" or "-Infinity".
type number float64

// UnmarshalJSON reads what protocol buffers do. null leaves it as it is.
func (n *number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	text := string(bytes.Trim(data, `"`))
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) || text == "" || strings.ContainsAny(text, "_xXpP") {
		return wrongKind(data, reflect.TypeFor[number]())
	}
	*n = number(f)
	return nil
}

// MarshalJSON writes a number, or the string for a value that is not finite.
func (n number) MarshalJSON() ([]byte, error) { return driftline.Number(n).MarshalJSON() }

// readEnum reads the name or the number of a value of an enum. names are by number from
// first on, and what is returned is one of them.
func readEnum(data []byte, first int, names []string) (string, error) {
	text := string(bytes.Trim(data, `"`))
	if slices.Contains(names, text) {
		return text, nil
	}
	if i, err := strconv.Atoi(text); err == nil && i >= first && i-first < len(names) {
		return names[i-first], nil
	}
	return "", wrongKind(data, reflect.TypeFor[string]())
}

// viewType says whether active things are asked for, deleted ones, or both.
type viewType string

const (
	activeOnly  viewType = "ACTIVE_ONLY"
	deletedOnly viewType = "DELETED_ONLY"
	allStages   viewType = "ALL"
)

// UnmarshalJSON reads a name or a number.
func (v *viewType) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	name, err := readEnum(data, 1, []string{string(activeOnly), string(deletedOnly), string(allStages)})
	*v = viewType(name)
	return err
}

// pair is a tag or a param.
type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// ofRun is the part of a request that names a run.
type ofRun struct {
	RunID   string `json:"run_id" wire:"required"`
	RunUUID string `json:"run_uuid" alias:"run_id"`
}

func (r *ofRun) id() driftline.RunID { return driftline.RunID(r.RunID) }
