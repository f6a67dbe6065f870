package predictions

import (
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// Trim leaves out of a record what its log may not keep: features and join keys that are not
// among fields, if there are any, an output of more than most bytes, and all features if they
// are larger. It reports whether something was too large. The record's maps are not changed,
// but replaced.
func Trim(r *driftline.PredictionRecord, fields []string, most int) (trimmed bool) {
	if len(fields) > 0 {
		r.Entity, r.Features = only(r.Entity, fields), only(r.Features, fields)
	}
	if len(r.Output) > most {
		r.Output, trimmed = nil, true
	}
	if bytesOf(r.Features) > most {
		r.Features, trimmed = nil, true
	}
	if bytesOf(r.Entity) > most {
		r.Entity, trimmed = nil, true
	}
	if s, ok := r.Prediction.(string); ok && len(s) > most {
		r.Prediction, trimmed = nil, true
	}
	return trimmed
}

func only(values map[string]any, fields []string) map[string]any {
	if len(values) == 0 {
		return nil
	}
	values = maps.Clone(values)
	maps.DeleteFunc(values, func(name string, _ any) bool { return !slices.Contains(fields, name) })
	return values
}

// bytesOf is about how long values are as JSON.
func bytesOf(values map[string]any) int {
	n := 0
	for name, v := range values {
		n += len(name) + valueBytes(v)
	}
	return n
}

func valueBytes(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	case []any:
		n := 0
		for _, x := range v {
			n += valueBytes(x)
		}
		return n
	case map[string]any:
		return bytesOf(v)
	}
	return 8
}
