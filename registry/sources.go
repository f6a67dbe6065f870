package registry

import (
	"cmp"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// source is where the files of a model are: of whom in the index, under which folder.
// Nothing here, or anywhere in the server, opens a source: it is looked up in the index,
// or kept as a text.
type source struct {
	owner       driftline.Ref // for messages
	name        string        // the owner's name in the index, if it is not that of owner
	path        string
	loggedModel driftline.LoggedModelID
	version     *driftline.ModelVersion // whose files are taken again
	elsewhere   bool
}

const mostSource = 2048

var (
	sourceScheme = regexp.MustCompile(`^([a-z][a-z0-9+.-]*):(.*)$`)
	loggedModel  = regexp.MustCompile(`^m-[0-9a-f]{32}$`)
	runsPath     = regexp.MustCompile(`^/([^/]+)(?:/(.+))?$`)
	proxiedLine  = regexp.MustCompile(`^/versions/([1-9][0-9]{0,18})(?:/(.+))?$`)
)

// elsewhere are the schemes of stores that clients read by themselves. A local file, or a
// page that a client would fetch from anywhere, is none of them.
var elsewhere = []string{"s3", "s3a", "s3n", "r2", "b2", "gs", "oci", "oss", "wasb", "wasbs", "abfs", "abfss", "adl", "az",
	"hdfs", "viewfs", "dbfs", "uc"}

// CheckSource reports whether text can be the source of a model version, whatever there
// is: a URI of a known scheme that means the same to whoever reads it.
func CheckSource(text string) error {
	_, _, err := splitSource(text)
	return err
}

func splitSource(text string) (scheme, rest string, err error) {
	bad := func(how string) error {
		return driftline.Errorf(driftline.Invalid, "source %q %s", clip(text), how).
			WithHint("use runs:/RUN/path, models:/NAME/VERSION, mlflow-artifacts:/…, or the URI of an object store, such as s3://bucket/path")
	}
	switch {
	case text == "":
		return "", "", bad("is empty")
	case len(text) > mostSource:
		return "", "", bad("is longer than " + strconv.Itoa(mostSource) + " bytes")
	case !utf8.ValidString(text):
		return "", "", bad("is not UTF-8")
	case strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "", "", bad("has a character that cannot be seen")
	case strings.ContainsAny(text, `\#?;`):
		return "", "", bad(`has one of \ # ? ;`)
	}
	parts := sourceScheme.FindStringSubmatch(text)
	if parts == nil {
		return "", "", bad("is no URI: a path of somebody's machine says nothing here")
	}
	scheme, rest = parts[1], parts[2]
	ours := scheme == "runs" || scheme == "models" || scheme == "mlflow-artifacts"
	if !ours && !slices.Contains(elsewhere, scheme) {
		return "", "", bad("has the scheme " + strconv.Quote(string(clip(scheme))) + ", which is not accepted")
	}
	if ours && (strings.Contains(rest, "%") || !strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "//")) {
		return "", "", bad("has a %, names a host, or does not begin with one /")
	}
	if place := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(rest, "/"), "/"), "/"); place != "" && climbs(place, "#?;") {
		return "", "", bad(`has an empty, "." or ".." segment, or has one when it is decoded`)
	}
	return scheme, rest, nil
}

// climbs reports whether a path, however often it is decoded, has a segment that stands for
// another folder, an empty one, or a character that programs split paths at; more are such.
func climbs(path, more string) bool {
	for range 16 {
		for segment := range strings.SplitSeq(path, "/") {
			if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, `\`+more) ||
				strings.ContainsFunc(segment, unicode.IsControl) {
				return true
			}
		}
		decoded := decodeOnce(path)
		if decoded == path {
			return false
		}
		path = decoded
	}
	return true
}

// decodeOnce decodes the %XX of a path. A % before anything else is a % .
func decodeOnce(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c, err := hex.DecodeString(path[i+1 : i+3]); err == nil {
				out = append(out, c[0])
				i += 2
				continue
			}
		}
		out = append(out, path[i])
	}
	return string(out)
}

// parseSource says what a source means in this state. A source of this server's that is
// not there is NotFound, but for runs: they may be another tracking server's.
func (s *state) parseSource(text string) (source, error) {
	scheme, rest, err := splitSource(text)
	if err != nil {
		return source{}, err
	}
	rest = strings.TrimSuffix(rest, "/")
	var found source
	switch scheme {
	case "runs":
		found, err = s.runSource(runsPath.FindStringSubmatch(rest))
	case "models":
		found, err = s.modelSource(strings.TrimPrefix(rest, "/"))
	case "mlflow-artifacts":
		found, err = s.proxiedSource(rest)
	default:
		return source{elsewhere: true}, nil
	}
	if err != nil {
		return source{}, err
	}
	if found.path != "" {
		if err := checkArtifactPath(found.path); err != nil {
			return source{}, err
		}
	}
	return found, nil
}

func notASource(text string) error {
	return driftline.Errorf(driftline.Invalid, "source path %q is not valid", clip(text)).
		WithHint("use runs:/RUN/path, models:/NAME/VERSION, models:/NAME@ALIAS or models:/m-…")
}

// runSource has the matches of scheme:/run/path.
func (s *state) runSource(parts []string) (source, error) {
	if parts == nil {
		return source{}, notASource("")
	}
	ref := driftline.RunRef(driftline.RunID(parts[1]))
	if _, err := s.run(driftline.RunID(parts[1])); err != nil {
		return source{owner: ref, elsewhere: true}, nil
	}
	return source{owner: ref, path: parts[2]}, nil
}

func (s *state) modelSource(path string) (source, error) {
	first, deeper, _ := strings.Cut(path, "/")
	if loggedModel.MatchString(first) {
		return s.loggedSource(driftline.LoggedModelID(first), deeper)
	}
	version, rest, err := s.modelByURI(path)
	if err != nil {
		return source{}, err
	}
	found := versionSource(version)
	found.path = rest
	return found, nil
}

func versionSource(version *driftline.ModelVersion) source {
	return source{
		owner: version.Ref(), name: versionOwner(version.Line), version: version,
		elsewhere: version.Status == driftline.ModelExternal,
	}
}

// modelByURI finds the version that a models: URI without its scheme means, and the path
// behind it: NAME@ALIAS, or NAME/ and a number, a stage (its newest version) or latest.
func (s *state) modelByURI(uri string) (v *driftline.ModelVersion, path string, err error) {
	first, rest, _ := strings.Cut(uri, "/")
	name, alias, aliased := strings.Cut(first, "@")
	if name == "" || aliased && alias == "" || !aliased && rest == "" {
		return nil, "", notASource(uri)
	}
	m, err := s.model(driftline.ModelName(name))
	if err != nil {
		return nil, "", err
	}
	if aliased {
		at, ok := m.aliases[driftline.Alias(alias)]
		if !ok {
			return nil, "", m.noAlias(driftline.Alias(alias))
		}
		v, err = m.version(at)
		return v, rest, err
	}
	selector, path, _ := strings.Cut(rest, "/")
	v, err = m.numberOrStage(selector)
	return v, path, err
}

func (m *model) numberOrStage(selector string) (*driftline.ModelVersion, error) {
	if selector == "latest" {
		return m.selected("")
	}
	if stage, err := ParseStage(selector); err == nil {
		return m.inStage(stage)
	}
	number, err := strconv.Atoi(selector)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "model %q: %q is neither a version nor a stage", m.name, clip(selector)).
			WithRef(driftline.ModelRef(m.name, 0)).WithHint("write models:/%s/1, models:/%s/Production or models:/%s@alias", m.name, m.name, m.name)
	}
	return m.version(number)
}

// inStage is the newest version in a stage.
func (m *model) inStage(stage driftline.ModelStage) (*driftline.ModelVersion, error) {
	for _, v := range slices.Backward(m.versions) {
		if v.Stage == stage {
			return v, nil
		}
	}
	return nil, driftline.Errorf(driftline.NotFound, "model %q has no version in stage %s", m.name, stage).
		WithRef(driftline.ModelRef(m.name, 0)).WithHint("bring one there first, or name a version or an alias")
}

func (s *state) loggedSource(id driftline.LoggedModelID, path string) (source, error) {
	logged, err := s.loggedModel(id)
	if err != nil {
		return source{}, err
	}
	return source{owner: logged.Ref(), path: path, loggedModel: id}, nil
}

// proxiedSource finds whose a path under mlflow-artifacts: is: ROOT/RUN/artifacts/… or
// ROOT/models/m-…/artifacts/…, where ROOT is the address of the experiment, or
// versions/LINE/…, the files of the version that a ledger line registered.
func (s *state) proxiedSource(path string) (source, error) {
	path = strings.TrimPrefix(path, "/")
	if parts := proxiedLine.FindStringSubmatch("/" + path); parts != nil {
		version, err := s.versionOfLine(parts[1])
		if err != nil {
			return source{}, err
		}
		found := versionSource(version)
		found.path = parts[2]
		return found, nil
	}
	segments := strings.Split(path, "/")
	for i := 2; i < len(segments); i++ {
		if segments[i] != "artifacts" {
			continue
		}
		if found, ok := s.ownerAt(segments[:i]); ok {
			found.path = strings.Join(segments[i+1:], "/")
			return found, nil
		}
	}
	if len(segments) < 3 || !slices.Contains(segments[2:], "artifacts") {
		return source{}, notASource(path)
	}
	return source{}, driftline.Errorf(driftline.NotFound, "there is no run and no logged model at %q", clip("mlflow-artifacts:/"+path)).
		WithHint("the address is in the run's artifact_uri")
}

// ownerAt finds whose files are at ROOT/RUN/artifacts or ROOT/models/m-…/artifacts.
func (s *state) ownerAt(segments []string) (source, bool) {
	last, root := segments[len(segments)-1], segments[:len(segments)-1]
	if loggedModel.MatchString(last) && root[len(root)-1] == "models" {
		m, err := s.loggedModel(driftline.LoggedModelID(last))
		if err != nil || !s.isRoot(m.ExperimentID, root[:len(root)-1]) {
			return source{}, false
		}
		return source{owner: m.Ref(), loggedModel: m.ID}, true
	}
	run, err := s.run(driftline.RunID(last))
	if err != nil || !s.isRoot(run.experiment(), root) {
		return source{}, false
	}
	return source{owner: run.ref()}, true
}

// isRoot reports whether the files of an experiment are under a path of this server's.
func (s *state) isRoot(id driftline.ExperimentID, segments []string) bool {
	e, err := s.experiment(id)
	return err == nil && strings.TrimSuffix(ArtifactRoot(e.id, e.location), "/") == "mlflow-artifacts:/"+strings.Join(segments, "/")
}

// ArtifactPlace says whose file, and which of theirs, a path under mlflow-artifacts: means.
// Unlike in a source, a % in it is a character like others.
func (r *Registry) ArtifactPlace(path string) (owner driftline.Ref, inside string, err error) {
	if path != "" {
		if err := checkArtifactKey(path); err != nil {
			return driftline.Ref{}, "", err
		}
	}
	var found source
	r.read(func(s *state) { found, err = s.proxiedSource(strings.TrimSuffix(path, "/")) })
	return found.owner, found.path, err
}

// versionOfLine finds the version that a ledger line registered.
func (s *state) versionOfLine(line string) (*driftline.ModelVersion, error) {
	number, err := strconv.ParseUint(line, 10, 64)
	if at, ok := s.versionLines[number]; ok && err == nil {
		m, err := s.model(at.name)
		if err != nil {
			return nil, err
		}
		return m.version(at.version)
	}
	return nil, driftline.Errorf(driftline.NotFound, "there is no model version %s", clip(line)).
		WithHint("it may have been deleted; see driftline models")
}

// ResolveURI says whose files a URI means, runs:/…, models:/… or mlflow-artifacts:/…, and
// under which path of theirs. An object store's URI is none of this server's: Invalid.
func (r *Registry) ResolveURI(uri string) (owner driftline.Ref, path string, err error) {
	var found source
	r.read(func(s *state) { found, err = s.parseSource(uri) })
	if err != nil {
		return driftline.Ref{}, "", err
	}
	if !found.elsewhere {
		return found.owner, found.path, nil
	}
	if found.owner.Kind == driftline.KindRun {
		r.read(func(s *state) { _, err = s.run(driftline.RunID(found.owner.Name)) })
		return driftline.Ref{}, "", err
	}
	return driftline.Ref{}, "", driftline.Errorf(driftline.Invalid, "%q is kept elsewhere", cmp.Or(string(clip(uri)), "it")).
		WithHint("read it with a client of that store")
}
