package wire

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// kind is what a JSON text is.
type kind uint8

const (
	nothing kind = iota // null
	truth
	integer
	fraction
	notFinite // NaN, an infinity, or a number that is too large for a float64
	text
	nested // a list or an object
)

func kindOf(cell string) kind {
	if cell == "" {
		return nothing
	}
	switch cell[0] {
	case 'n':
		return nothing
	case 't', 'f':
		return truth
	case '"':
		return text
	case '[', '{':
		return nested
	case 'N', 'I':
		return notFinite
	case '-':
		if cell == "-Infinity" {
			return notFinite
		}
	}
	if !strings.ContainsAny(cell, ".eE") {
		return integer
	}
	return fraction
}

// Number returns a cell as a number: of true and false 1 and 0, NaN if it is none.
func Number(cell string) float64 {
	switch kindOf(cell) {
	case truth:
		if cell == "true" {
			return 1
		}
		return 0
	case integer, fraction:
		x, err := strconv.ParseFloat(cell, 64)
		if err != nil && !math.IsInf(x, 0) {
			return math.NaN()
		}
		return x
	}
	return math.NaN()
}

// Any returns a cell as a value of Go: nil, bool, int64, float64, string, or the text of
// a list or an object.
func Any(cell string) any {
	switch kindOf(cell) {
	case nothing:
		return nil
	case truth:
		return cell == "true"
	case integer:
		if n, err := strconv.ParseInt(cell, 10, 64); err == nil {
			return n
		}
		return Number(cell)
	case fraction:
		return Number(cell)
	case text:
		return unquote(cell)
	case nested:
		return json.RawMessage(cell)
	}
	return math.NaN()
}

// Text returns a string's cell without quotes, and any other as it is written.
func Text(cell string) string {
	if kindOf(cell) == text {
		return unquote(cell)
	}
	return cell
}

// Quote writes a string as a cell.
func Quote(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			out, err := json.Marshal(s)
			if err != nil {
				return `""` // strings are always written
			}
			return string(out)
		}
	}
	return `"` + s + `"`
}

// AppendFloat appends a number as JSON, null if it is not finite.
func AppendFloat(to []byte, x float64) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return append(to, "null"...)
	}
	return strconv.AppendFloat(to, x, 'g', -1, 64)
}

// datatypes are OIP's, with the kinds of cells that they have.
var datatypes = map[string]kind{
	"BOOL": truth, "BYTES": text,
	"INT8": integer, "INT16": integer, "INT32": integer, "INT64": integer,
	"UINT8": integer, "UINT16": integer, "UINT32": integer, "UINT64": integer,
	"FP16": fraction, "FP32": fraction, "FP64": fraction, "BF16": fraction,
}

// fits reports whether a cell may stand where a datatype is declared.
func fits(datatype, cell string) bool {
	has := kindOf(cell)
	switch want := datatypes[datatype]; want {
	case integer:
		return has == integer || has == fraction && isWhole(cell)
	case fraction:
		return has == integer || has == fraction
	case truth:
		return has == truth || cell == "0" || cell == "1" // some servers write numbers
	default:
		return has == want
	}
}

func isWhole(cell string) bool {
	x := Number(cell)
	return x == math.Trunc(x) && !math.IsInf(x, 0)
}

// datatypeOf is what cells of no declared type are.
func datatypeOf(cells []string) string {
	seen := nothing
	for _, c := range cells {
		switch k := kindOf(c); {
		case k == nothing:
		case k == text || k == nested:
			return "BYTES"
		case seen == nothing:
			seen = k
		case k != seen:
			seen = fraction
		}
	}
	switch seen {
	case truth:
		return "BOOL"
	case integer:
		return "INT64"
	}
	return "FP64"
}

// Element is one element of a list that is written as JSON, null if it has none there.
func Element(list string, at int) string {
	s := &scanner{text: list}
	for more := s.open('[', ']'); more; more = s.next(']') {
		cell := s.value()
		if at == 0 && s.err == nil {
			return cell
		}
		at--
	}
	return "null"
}
