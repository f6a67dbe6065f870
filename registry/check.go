package registry

import (
	"cmp"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// Limits on what people write beside their data, in bytes if nothing else is said.
const (
	mostText     = 64 << 10 // a description, an owner, a value
	mostTags     = 1000
	mostKey      = 250 // characters of the key of a tag, param or metric
	mostArtifact = 500 // the path of an artifact
)

// named puts what the error is about in front of its message.
func named[S ~string](kind string, name S, err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) {
		return err
	}
	out := *e
	out.Message = kind + ` "` + string(name) + `": ` + e.Message
	return &out
}

func checkEntity(entity *driftline.Entity) error {
	if err := driftline.CheckIdentifier("entity", entity.Name); err != nil {
		return err
	}
	if len(entity.JoinKeys) == 0 {
		return driftline.Errorf(driftline.Invalid, "entity %q has no join key", entity.Name).
			WithHint("name the column that identifies one %s, for example {name: %s_id, type: int64}", entity.Name, entity.Name)
	}
	taken := columns{}
	for i := range entity.JoinKeys {
		key := &entity.JoinKeys[i]
		if key.RenamedFrom != "" {
			return driftline.Errorf(driftline.Invalid, "entity %q: join key %q cannot be renamed from %q", entity.Name, key.Name, key.RenamedFrom).
				WithHint("renamed_from is for features; register the new keys as another entity, for example %q", entity.Name+"_v2")
		}
		key.Column = ""
		if err := checkField(key, "join key", taken); err != nil {
			return named("entity", entity.Name, err)
		}
		if key.Type == driftline.Float32 || key.Type == driftline.Float64 {
			return driftline.Errorf(driftline.Invalid, "entity %q: join key %q is %s, and fractions do not identify things", entity.Name, key.Name, key.Type).
				WithHint("use int64 or string")
		}
	}
	return checkNotes("entity", entity.Name, entity.Description, "", entity.Tags)
}

func checkView(view *driftline.FeatureView) error {
	if err := checkViewColumns(view); err != nil {
		return named("feature view", view.Name, err)
	}
	switch {
	case view.TTL < 0:
		return driftline.Errorf(driftline.Invalid, "feature view %q: ttl %s is negative", view.Name, view.TTL).
			WithHint("leave ttl out for values of any age")
	case view.KnownAt && view.CreatedTimestamp == "":
		return driftline.Errorf(driftline.Invalid, "feature view %q: known_at needs a created timestamp", view.Name).
			WithHint("set created_timestamp to the column that says when a row was written down")
	}
	if err := checkLabels(view); err != nil {
		return named("feature view", view.Name, err)
	}
	if err := checkSource(view); err != nil {
		return named("feature view", view.Name, err)
	}
	if err := checkHistory(view); err != nil {
		return named("feature view", view.Name, err)
	}
	if err := checkPredictions(view); err != nil {
		return named("feature view", view.Name, err)
	}
	return checkNotes("feature view", view.Name, view.Description, view.Owner, view.Tags)
}

// checkLabels checks what a horizon, which makes a label view, goes together with.
func checkLabels(view *driftline.FeatureView) error {
	switch {
	case view.Horizon < 0:
		return driftline.Errorf(driftline.Invalid, "horizon %s is negative", view.Horizon).
			WithHint("say how long after its row's time an outcome still counts, for example 7d")
	case view.Horizon > 0 && view.TTL > 0:
		return driftline.Errorf(driftline.Invalid, "it has both a ttl and a horizon").
			WithHint("features have a ttl and look back; labels have a horizon and look ahead: make two views")
	case view.Horizon > 0 && view.KnownAt:
		return driftline.Errorf(driftline.Invalid, "it has both known_at and a horizon").
			WithHint("an outcome is never known at its row's time: leave known_at out")
	}
	return nil
}

func checkSource(view *driftline.FeatureView) error {
	if view.Source == nil {
		return nil
	}
	formats := []driftline.SourceFormat{driftline.ParquetSource, driftline.IcebergSource}
	switch {
	case !slices.Contains(formats, view.Source.Format):
		e := driftline.Unknown("source format", clip(view.Source.Format), formats)
		e.Code = driftline.Invalid
		return e
	case !filepath.IsAbs(view.Source.Path) || checkText("source path", view.Source.Path) != nil:
		return driftline.Errorf(driftline.Invalid, "source path %q is not absolute", clip(view.Source.Path)).
			WithHint("write the path as the server's machine has it, from / on")
	}
	return nil
}

// checkPredictions checks the columns of a prediction log, and fills in those left out.
func checkPredictions(view *driftline.FeatureView) error {
	log := view.Predictions
	if log == nil {
		return nil
	}
	if log.ID == "" {
		if len(view.JoinKeys) != 1 {
			return driftline.Errorf(driftline.Invalid, "its predictions have no id, and it has %d join keys", len(view.JoinKeys)).
				WithHint("name the column that identifies a prediction, for example predictions: {id: prediction_id}")
		}
		log.ID = view.JoinKeys[0].Name
	}
	log.Model, log.Version = cmp.Or(log.Model, driftline.DefaultPredictionModel), cmp.Or(log.Version, driftline.DefaultPredictionVersion)
	if err := CheckPredictionLog(log); err != nil {
		return err
	}
	whole := []driftline.Type{driftline.Int32, driftline.Int64}
	if err := checkLogColumn(view, "id", log.ID, append(whole, driftline.String)); err != nil {
		return err
	}
	if err := checkLogColumn(view, "model", log.Model, []driftline.Type{driftline.String}); err != nil {
		return err
	}
	return checkLogColumn(view, "version", log.Version, append(whole, driftline.String))
}

// mostLoggedBytes bounds what a prediction log may be told to keep of one record.
const mostLoggedBytes = 1 << 20

// CheckPredictionLog checks how a log is written, whatever its columns.
func CheckPredictionLog(log *driftline.PredictionLog) error {
	if log.Mode != "" && !slices.Contains(driftline.LogModes, log.Mode) {
		e := driftline.Unknown("mode", clip(log.Mode), driftline.LogModes)
		e.Code = driftline.Invalid
		return e
	}
	if log.Overflow != "" && !slices.Contains(driftline.LogOverflows, log.Overflow) {
		e := driftline.Unknown("overflow", clip(log.Overflow), driftline.LogOverflows)
		e.Code = driftline.Invalid
		return e
	}
	if log.MostBytes < 0 || log.MostBytes > mostLoggedBytes {
		return driftline.Errorf(driftline.Invalid, "most_bytes is %d, want 0 to %d", log.MostBytes, mostLoggedBytes).
			WithHint("it bounds what is kept of one prediction's output and features")
	}
	for _, name := range log.Fields {
		if err := checkText("field", name); err != nil || name == "" {
			return driftline.Errorf(driftline.Invalid, "fields names %q", clip(name)).WithHint("fields are names of features and join keys")
		}
	}
	return nil
}

func checkLogColumn(view *driftline.FeatureView, what, name string, types []driftline.Type) error {
	known := slices.Concat(view.JoinKeys, view.Features)
	for _, f := range known {
		if f.Name != name {
			continue
		}
		if !slices.Contains(types, f.Type) {
			return driftline.Errorf(driftline.Invalid, "the %s of its predictions, column %q, is %s", what, name, f.Type).
				WithHint("want one of: %v", types)
		}
		return nil
	}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.Name
	}
	e := driftline.Unknown("the "+what+" of its predictions: column", clip(name), names)
	e.Code = driftline.Invalid
	return e
}

// checkHistory checks what a view keeps online besides the newest rows.
func checkHistory(view *driftline.FeatureView) error {
	h := view.History
	switch {
	case h == nil:
		return nil
	case h.Last < 0 || h.Last > driftline.MostHistory || h.MaxAge < 0 || h.MaxAge > longestWindow:
		return driftline.Errorf(driftline.Invalid, "history keeps the last %d rows and those of %s; at most %d rows are kept, and 100 years", h.Last, h.MaxAge, driftline.MostHistory).
			WithHint("write it like {last: 20}, {max_age: 7d} or both")
	case h.Last == 0 && h.MaxAge == 0:
		return driftline.Errorf(driftline.Invalid, "history keeps nothing").WithHint("write it like {last: 20} or {max_age: 7d}, or leave it out")
	case view.Horizon > 0:
		return driftline.Errorf(driftline.Invalid, "it has both a history and a horizon").WithHint("labels are not served online: leave history out")
	case view.Source != nil:
		return driftline.Errorf(driftline.Invalid, "it has both a history and a source").WithHint("rows of a source are not served online: leave history out")
	}
	return nil
}

func checkViewColumns(view *driftline.FeatureView) error {
	if len(view.Features) == 0 {
		return driftline.Errorf(driftline.Invalid, "it has no features").WithHint("list at least one, for example {name: temp, type: float64}")
	}
	taken := columns{}
	for _, key := range view.JoinKeys {
		if err := taken.take(key.Name, "join key"); err != nil {
			return err
		}
	}
	if err := taken.takeChecked(view.EventTimestamp, "event timestamp"); err != nil {
		return err
	}
	if view.CreatedTimestamp != "" {
		if err := taken.takeChecked(view.CreatedTimestamp, "created timestamp"); err != nil {
			return err
		}
	}
	for i := range view.Features {
		if err := checkField(&view.Features[i], "feature", taken); err != nil {
			return err
		}
	}
	return checkAggregations(view, taken)
}

// checkField checks a column and brings its type to the name that we use for it.
func checkField(field *driftline.Field, what string, taken columns) error {
	if err := taken.takeChecked(field.Name, what); err != nil {
		return err
	}
	known, err := driftline.ParseType(string(field.Type))
	if err != nil {
		return named(what, field.Name, err)
	}
	field.Type = known
	return checkText(what+" "+field.Name, field.Description)
}

// columns are the names taken in one table, by their lower-case form: SQL folds case.
type columns map[string]string

func (c columns) takeChecked(name, what string) error {
	if err := driftline.CheckColumn(name); err != nil {
		return err
	}
	return c.take(name, what)
}

func (c columns) take(name, what string) error {
	if holder, taken := c[strings.ToLower(name)]; taken {
		return driftline.Errorf(driftline.Invalid, "%s %q has the name of its %s", what, name, holder).
			WithHint("rename one of them; names that differ only in case are the same")
	}
	c[strings.ToLower(name)] = what + " " + name
	return nil
}

func checkService(service *driftline.FeatureService) error {
	if err := driftline.CheckIdentifier("feature service", service.Name); err != nil {
		return err
	}
	if len(service.Projections) == 0 {
		return driftline.Errorf(driftline.Invalid, "feature service %q has no features", service.Name).
			WithHint("list at least one view, for example {view: weather, features: [temp]}")
	}
	return checkNotes("feature service", service.Name, service.Description, service.Owner, service.Tags)
}

// checkProjection checks p, whose features are spelt out, against its view.
func checkProjection(p driftline.Projection, view *driftline.FeatureView) error {
	offered := view.OfferedNames()
	for i, name := range p.Features {
		if !slices.Contains(offered, name) {
			err := unknown("feature", name, offered, applyFirst).WithRef(driftline.ViewRef(view.Name))
			return named("feature view", view.Name, err)
		}
		if slices.Contains(p.Features[:i], name) {
			return driftline.Errorf(driftline.Invalid, "feature %q of view %q is asked for twice", name, view.Name).
				WithHint("name it once")
		}
	}
	if p.Role != "" {
		if err := driftline.CheckIdentifier("role", p.Role); err != nil {
			return err
		}
	}
	switch {
	case p.Lag < 0:
		return driftline.Errorf(driftline.Invalid, "lag %s of view %q is negative: it would show the future", p.Lag, view.Name).
			WithHint("write how much earlier the values must have been known, for example 1h")
	case p.Lag > 0 && view.Horizon > 0:
		return driftline.Errorf(driftline.Invalid, "lag %s is asked for of view %q, which has labels", p.Lag, view.Name).
			WithHint("leave the lag out: labels look ahead")
	}
	for key, column := range p.JoinKeyMap {
		if !slices.Contains(view.KeyNames(), key) {
			err := unknown("join key", key, view.KeyNames(), "the view has no entity").WithRef(driftline.ViewRef(view.Name))
			return named("feature view", view.Name, err)
		}
		if column == "" || checkText("column", column) != nil {
			return driftline.Errorf(driftline.Invalid, "join key %q of view %q is mapped to column %q, which is no column name", key, view.Name, column)
		}
	}
	return nil
}

// checkRoles refuses two uses of a view that could not be told apart.
func checkRoles(projections []driftline.Projection) error {
	used := map[string]driftline.ViewName{}
	for _, p := range projections {
		prefix := p.Prefix()
		if other, taken := used[prefix]; taken {
			if other == p.View {
				return driftline.Errorf(driftline.Invalid, "view %q is used twice as %q", other, prefix).
					WithHint("give each use a role of its own, for example origin and destination")
			}
			return driftline.Errorf(driftline.Invalid, "views %q and %q are both used as %q", other, p.View, prefix).
				WithHint("choose another role")
		}
		used[prefix] = p.View
	}
	return nil
}

// checkNotes checks what people write beside a definition.
func checkNotes[S ~string](kind string, name S, description, owner string, tags map[string]string) error {
	err := checkText("description", description)
	if err == nil {
		err = checkText("owner", owner)
	}
	if err == nil {
		err = checkPairs("tag", tags)
	}
	if err != nil {
		return named(kind, name, err)
	}
	return nil
}

func checkText(what, text string) error {
	switch {
	case len(text) > mostText:
		return driftline.Errorf(driftline.Invalid, "%s has %d bytes, and at most %d are kept", what, len(text), mostText)
	case !utf8.ValidString(text):
		return driftline.Errorf(driftline.Invalid, "%s is not UTF-8", what)
	}
	return nil
}

// checkPairs checks params or tags, in the order of their keys so that the error is always the same.
func checkPairs(kind string, pairs map[string]string) error {
	return checkLongPairs(kind, pairs, mostKey)
}

// checkLongPairs is checkPairs with keys of so many characters.
func checkLongPairs(kind string, pairs map[string]string, most int) error {
	if len(pairs) > mostTags {
		return driftline.Errorf(driftline.Invalid, "%d %ss are given, and at most %d are kept", len(pairs), kind, mostTags)
	}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		if err := checkLongKey(kind, key, most); err != nil {
			return err
		}
		if err := checkText(kind+" "+key, pairs[key]); err != nil {
			return err
		}
	}
	return nil
}

// checkKey checks the key of a tag, param or metric: words of any script.
func checkKey(kind, key string) error { return checkLongKey(kind, key, mostKey) }

// checkLongKey is checkKey with so many characters.
func checkLongKey(kind, key string, most int) error {
	if key != "" && utf8.RuneCountInString(key) <= most && utf8.ValidString(key) && !strings.ContainsFunc(key, unicode.IsControl) {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "%s key %q is not valid", kind, clip(key)).
		WithHint("use 1 to %d characters of UTF-8, no control characters", most)
}

// checkArtifactPath checks the key of an artifact. It is never joined to a path
// on disk; the rules keep it harmless where clients do that when they download.
func checkArtifactPath(path string) error {
	if len(path) > mostArtifact {
		return badArtifactPath(path, "is too long")
	}
	return checkArtifactKey(path)
}

// checkArtifactKey is checkArtifactPath without its length: with whose file it is before it.
func checkArtifactKey(path string) error {
	bad := ""
	switch {
	case path == "":
		bad = "is empty"
	case len(path) > mostSource:
		bad = "is too long"
	case !utf8.ValidString(path):
		bad = "is not UTF-8"
	case strings.ContainsFunc(path, unicode.IsControl):
		bad = "has a control character"
	case strings.Contains(path, `\`):
		bad = "has a backslash"
	case strings.HasPrefix(path, "/"):
		bad = "is absolute"
	}
	for segment := range strings.SplitSeq(path, "/") {
		if bad == "" && (segment == "" || segment == "." || segment == "..") {
			bad = `has an empty, "." or ".." segment`
		}
	}
	switch {
	case bad != "":
	case climbs(path, ""):
		bad = "leads elsewhere when it is decoded again"
	case len(path) > 1 && path[1] == ':' && unicode.IsLetter(rune(path[0])):
		bad = "begins like a drive"
	}
	if bad == "" {
		return nil
	}
	return badArtifactPath(path, bad)
}

func badArtifactPath(path, how string) error {
	return driftline.Errorf(driftline.Invalid, "artifact path %q %s", clip(path), how).
		WithHint("use names joined by /, for example model/model.joblib (%d bytes at most)", mostArtifact)
}

// unknown is the error for a name that is not there, with the nearest that is,
// or, where there is none at all, how to make the first. A hostile name is
// shortened before it is compared with anything.
func unknown[S ~string](kind string, name S, known []S, cure string) *driftline.Error {
	err := driftline.Unknown(kind, clip(name), known)
	if len(known) == 0 {
		err = err.WithHint("there is none yet: %s", cure)
	}
	return err
}

// clip shortens a hostile text for an error message.
func clip[S ~string](s S) S {
	const most = 80
	if len(s) <= most {
		return s
	}
	return S(strings.ToValidUTF8(string(s[:most]), "") + "…")
}
