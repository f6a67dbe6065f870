package driftline

import (
	"encoding/json"
	"math"
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
	return json.Marshal(f)
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
	var f float64
	if err := json.Unmarshal(data, &f); err != nil {
		return Errorf(Invalid, "%s is not a number", clip(string(data))).
			WithHint(`write a JSON number, or one of "NaN", "Infinity", "-Infinity"`)
	}
	*n = Number(f)
	return nil
}
