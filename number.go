package driftline

import (
	"encoding/json"
	"math"
	"strconv"
)

// Number is a float64 whose JSON form also carries NaN and the infinities, as
// the strings "NaN", "Infinity" and "-Infinity".
type Number float64

// MarshalJSON writes a JSON number, or the string for a value that is not finite.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	switch {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Infinity"`), nil
	}
	return appendJSON(make([]byte, 0, 24), f), nil
}

// appendJSON writes a finite number as package json does: the fewest digits that are read as
// the same number.
func appendJSON(b []byte, f float64) []byte {
	if size := math.Abs(f); size == 0 || size >= 1e-6 && size < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' { // e-09 is e-9
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Number) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"NaN"`:
		*n = Number(math.NaN())
		return nil
	case `"Infinity"`:
		*n = Number(math.Inf(1))
		return nil
	case `"-Infinity"`:
		*n = Number(math.Inf(-1))
		return nil
	}
	if c := data[0]; c == '-' || c >= '0' && c <= '9' {
		if f, err := strconv.ParseFloat(string(data), 64); err == nil {
			*n = Number(f)
			return nil
		}
	}
	var f float64
	if err := json.Unmarshal(data, &f); err != nil {
		return Errorf(Invalid, "%s is not a number", clip(string(data))).
			WithHint(`write a JSON number, or one of "NaN", "Infinity", "-Infinity"`)
	}
	*n = Number(f)
	return nil
}
