package mlflow

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// Limits on one request to log.
const (
	mostMetrics  = 1000
	mostPairs    = 100 // params, and tags
	mostEntities = 1000
	mostDatasets = 1000
)

// pairLimits are the rules for one kind of pairs, in characters.
type pairLimits struct {
	what  string
	key   int
	value int
}

var (
	runParams      = pairLimits{"Param", 250, 6000}
	runTags        = pairLimits{"Tag", 250, 8000}
	experimentTags = pairLimits{"Experiment tag", 250, 20_000}
	inputTags      = pairLimits{"Input tag", 255, 500}
)

// read checks pairs and returns them as a map. The last of one key counts.
func (l pairLimits) read(pairs []pair) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	values := make(map[string]string, len(pairs))
	for i, p := range pairs {
		if err := l.check(i, p); err != nil {
			return nil, err
		}
		values[p.Key] = p.Value
	}
	return values, nil
}

func (l pairLimits) check(i int, p pair) error {
	if p.Key == "" {
		return missing(strings.ToLower(l.what) + "s[" + strconv.Itoa(i) + "].key")
	}
	if err := checkName(l.what+" name", p.Key, l.key); err != nil {
		return err
	}
	return checkLength(l.what+" value", p.Value, l.value)
}

func checkLength(what, text string, most int) error {
	if len(text) <= most {
		return nil
	}
	if n := utf8.RuneCountInString(text); n > most {
		return driftline.Errorf(driftline.Invalid, "%s '%s' had length %d, which exceeded length limit of %d", what, clip(text), n, most)
	}
	return nil
}

var nameCharacters = regexp.MustCompile(`^[/\pL\pN\pM_.\- :]*$`)

// checkName checks the name of a metric, a param or a tag. It may be a file's name on the
// client's side, and must be no other file's.
func checkName(what, name string, most int) error {
	switch {
	case !nameCharacters.MatchString(name):
		return driftline.Errorf(driftline.Invalid,
			"Invalid %s: %s. Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).", strings.ToLower(what), quote(name))
	case isPath(name):
		return driftline.Errorf(driftline.Invalid,
			"Invalid %s: %s. Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to %s",
			strings.ToLower(what), quote(name), quote(path.Clean(name)))
	}
	return checkLength(what, name, most)
}

func quote(text string) string { return "'" + clip(text) + "'" }

// isPath reports whether a name is another name when it is taken for a path.
func isPath(name string) bool {
	clean := path.Clean(name)
	return clean != name || clean == "." || strings.HasPrefix(clean, "..") || strings.HasPrefix(clean, "/")
}
