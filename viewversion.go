package driftline

import (
	"regexp"
	"strconv"
	"strings"
)

// Versions of a view stand side by side. Version 1 is the view as it was first applied;
// "weather@2" is one with other keys, times or types, with rows, snapshots and online rows
// of its own, and both are written and served. The bare name means one of them: the first,
// until the view is switched. In definitions a bare name is always the first.
//
// A version is stored under a name that can be a table's: weather, weather__v2.

var storedVersion = regexp.MustCompile(`^(.+)__v([2-9]|[1-9][0-9]{1,3})$`)

// mostVersions is the greatest version that a view can have.
const mostVersions = 9999

// Version returns the view and the version that a name says: "weather@2" (Feast's
// "weather@v2" too) or, as it is stored, "weather__v2". A bare name says version 0.
func (v ViewName) Version() (base ViewName, version int, err error) {
	if found := storedVersion.FindStringSubmatch(string(v)); found != nil {
		version, _ = strconv.Atoi(found[2]) // digits
		return ViewName(found[1]), version, nil
	}
	name, text, versioned := strings.Cut(string(v), "@")
	if !versioned {
		return v, 0, nil
	}
	version, err = strconv.Atoi(strings.TrimPrefix(text, "v"))
	if err != nil || version < 1 || version > mostVersions {
		return "", 0, Errorf(Invalid, "feature view %q has no version", clip(string(v))).WithHint("write it like weather@2")
	}
	return ViewName(name), version, nil
}

// StoredView is the name under which a version of a view is stored.
func StoredView(base ViewName, version int) ViewName {
	if version <= 1 {
		return base
	}
	return base + ViewName("__v"+strconv.Itoa(version))
}

// Stored is the stored name of the version that a name says; a bare name says the first.
// A name that says none is returned as it is.
func (v ViewName) Stored() ViewName {
	base, version, err := v.Version()
	if err != nil {
		return v
	}
	return StoredView(base, version)
}

// Exactly returns the name that means a stored view whatever its bare name means.
func (v ViewName) Exactly() ViewName {
	base, version, err := v.Version()
	if err != nil {
		return v
	}
	return base + ViewName("@"+strconv.Itoa(max(1, version)))
}

// ViewSwitch is what the bare name of a view means, from a moment on.
type ViewSwitch struct {
	View    ViewName `json:"view"`
	Version int      `json:"version"`
	From    int      `json:"from"` // the version before
}
