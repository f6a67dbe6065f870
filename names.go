package driftline

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// One string type for each kind of name: the compiler sorts them.
type (
	EntityName     string // of an [Entity]: "airport"
	ViewName       string // of a [FeatureView]: "weather"
	ServiceName    string // of a [FeatureService]: "delay_model"
	DatasetName    string // of a [Dataset]: "late_departure_2013"
	ExperimentName string // of an [Experiment]
	ExperimentID   string // of an [Experiment]: a decimal number, for ever the same
	RunID          string // of a [Run]: stable and readable, "late_departure-3"
	ModelName      string // of a registered model: "late_departure"
	Alias          string // a movable name of a model version: "champion"
	LoggedModelID  string // of a [LoggedModel]: "m-" and 32 hexadecimal digits
	MonitorName    string // of a [Monitor]: "weather_daily"
	AlertID        string // of an [Alert]: "weather_daily-3"
	TrainingID     string // of a [TrainingRun]: "late_departure-7"
	EvaluationID   string // of an [Evaluation]: "late_departure-5"
	RolloutID      string // of a [Rollout]: "late_departure-3"
	PresetName     string // of a [Preset]: "payments"
	ValidationName string // of a [Validation]: "weather"
)

// SnapshotID names one immutable state of a table. It is Iceberg's snapshot id.
type SnapshotID int64

// identifier is what can be a table or column name in SQL without quotes, a
// folder name and a URL segment at once. Lower case only: SQL folds case, file
// systems may, and two views that differ by case would be one table.
var (
	identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	columnName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,126}$`)
	aliasName  = regexp.MustCompile(`^[\pL\pN_-](?:[\pL\pN ._-]{0,253}[\pL\pN._-])?$`)
	freeName   = regexp.MustCompile(`^[\pL\pN](?:[\pL\pN ._-]{0,126}[\pL\pN._-])?$`)
)

// CheckIdentifier reports whether name can name an entity, feature view,
// feature service or dataset. kind is used in the error.
func CheckIdentifier[S ~string](kind string, name S) error {
	if identifier.MatchString(string(name)) {
		return nil
	}
	return Errorf(Invalid, "%s name %q is not valid", kind, clip(string(name))).
		WithHint("use a lower-case letter, then lower-case letters, digits and _ (63 at most)")
}

// CheckColumn reports whether name can name a join key, timestamp or feature.
// Names that begin with two underscores are reserved, and cannot be written
// because a name begins with a letter.
func CheckColumn(name string) error {
	if columnName.MatchString(name) {
		return nil
	}
	return Errorf(Invalid, "column name %q is not valid", clip(name)).
		WithHint("use a letter, then letters, digits and _ (127 at most)")
}

// CheckAlias reports whether name can be an alias: a name as [CheckName] wants it, or one that MLflow
// allows, which may begin with - or _ and have 255 characters.
func CheckAlias(name Alias) error {
	if aliasName.MatchString(string(name)) {
		return nil
	}
	return Errorf(Invalid, "alias name %q is not valid", clip(string(name))).
		WithHint("use letters, digits, spaces, dots, dashes and underscores (255 at most)")
}

// CheckName reports whether name can name an experiment or a model: words
// of any script, with spaces, dots, dashes and underscores, 128 characters at most.
func CheckName[S ~string](kind string, name S) error {
	if freeName.MatchString(string(name)) {
		return nil
	}
	return Errorf(Invalid, "%s name %q is not valid", kind, clip(string(name))).
		WithHint("use letters, digits, spaces, dots, dashes and underscores (128 at most)")
}

// CheckModelName reports whether name can name a registered model: printable text of any
// script, 250 bytes at most, without what a URL or a reference would read as something
// else. MLflow allows most of this, so models that come from there keep their names.
func CheckModelName(name ModelName) error {
	bad := ""
	switch {
	case name == "":
		bad = "is empty"
	case len(name) > mostModelName:
		bad = "is too long"
	case !utf8.ValidString(string(name)):
		bad = "is not UTF-8"
	case strings.ContainsFunc(string(name), func(c rune) bool { return !unicode.IsPrint(c) }):
		bad = "has a character that cannot be seen"
	case strings.ContainsAny(string(name), `/:@%#?\`):
		bad = `has one of / : @ % # ? \`
	case strings.TrimSpace(string(name)) != string(name):
		bad = "begins or ends with a space"
	case name == "." || name == "..":
		bad = "means a folder"
	}
	if bad == "" {
		return nil
	}
	return Errorf(Invalid, "model name %q %s", clip(string(name)), bad).
		WithHint("use letters, digits, spaces, dots, dashes and underscores (%d bytes at most)", mostModelName)
}

const mostModelName = 250

// clip shortens a hostile name for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
