package registry

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/driftline/driftline"
)

// Monitors, validations, presets and policies are definitions with versions: a version never changes,
// and what is applied under the name again is the next one. Their tables hold them in order,
// from 1.

// newestOf returns the last of versions, or nil if there is none.
func newestOf[T any](versions []*T) *T {
	if len(versions) == 0 {
		return nil
	}
	return versions[len(versions)-1]
}

// newestOfEach returns the newest version of everything in a table, by name.
func newestOfEach[K cmp.Ordered, T any](table map[K][]*T) []*T {
	var found []*T
	for _, name := range slices.Sorted(maps.Keys(table)) {
		found = append(found, newestOf(table[name]))
	}
	return found
}

// versionMeant resolves a reference to something whose newest version is newest, number last:
// that one, if the reference names no version.
func versionMeant(ref, newest driftline.Ref, last int) (driftline.Ref, error) {
	if ref.Version == "" {
		return newest, nil
	}
	if n, err := strconv.Atoi(ref.Version); err != nil || n < 1 || n > last {
		return driftline.Ref{}, driftline.Errorf(driftline.NotFound, "%s %q has no version %q", newest.Kind, newest.Name, clip(ref.Version)).WithRef(ref).
			WithHint("its newest is %d", last)
	}
	return ref, nil
}
