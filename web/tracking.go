package web

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func (s *Server) createRun(r *http.Request) (*driftline.Run, error) {
	spec, err := readJSON[driftline.RunSpec](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().CreateRun(spec)
}

type runList struct {
	Runs []driftline.Run `json:"runs"`
}

func (s *Server) runs(r *http.Request) (runList, error) {
	experiment := driftline.ExperimentName(r.URL.Query().Get("experiment"))
	runs, err := s.engine.Registry().Runs(experiment)
	return runList{Runs: list(runs)}, err
}

type experimentList struct {
	Experiments []driftline.Experiment `json:"experiments"`
}

func (s *Server) experiments(*http.Request) (experimentList, error) {
	return experimentList{Experiments: list(s.engine.Registry().Experiments())}, nil
}

// runSearch is a search for runs, in experiments by name.
type runSearch struct {
	Experiments []driftline.ExperimentName `json:"experiments"`
	Filter      string                     `json:"filter"`
	OrderBy     []string                   `json:"order_by"`
	Deleted     bool                       `json:"deleted"`
	Limit       int                        `json:"limit"`
	Offset      int                        `json:"offset"`
}

type foundRuns struct {
	Runs []driftline.Run `json:"runs"`
	More bool            `json:"more,omitempty"`
}

// Limits on what a search answers.
const (
	standardRuns = 1000
	mostRuns     = 50_000
)

func (s *Server) searchRuns(r *http.Request) (foundRuns, error) {
	asked, err := readJSON[runSearch](r)
	if err != nil {
		return foundRuns{}, err
	}
	if asked.Limit < 0 || asked.Limit > mostRuns || asked.Offset < 0 {
		return foundRuns{}, unfit("limit is %d and offset %d; a limit is at most %d, and neither is negative", asked.Limit, asked.Offset, mostRuns)
	}
	ids, err := s.experimentIDs(asked.Experiments)
	if err != nil {
		return foundRuns{}, err
	}
	search := registry.Search{Filter: asked.Filter, OrderBy: asked.OrderBy, Offset: asked.Offset, Limit: cmp.Or(asked.Limit, standardRuns)}
	if asked.Deleted {
		search.Stage = registry.DeletedStage
	}
	runs, more, err := s.engine.Registry().SearchRuns(ids, search)
	return foundRuns{Runs: list(runs), More: more}, err
}

// experimentIDs returns the ids of experiments, of all if none is named.
func (s *Server) experimentIDs(names []driftline.ExperimentName) ([]driftline.ExperimentID, error) {
	var ids []driftline.ExperimentID
	if len(names) == 0 {
		for _, e := range s.engine.Registry().Experiments() {
			ids = append(ids, e.ID)
		}
		return ids, nil
	}
	for _, name := range names {
		e, err := s.engine.Registry().ExperimentNamed(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func runOf(r *http.Request) driftline.RunID { return driftline.RunID(r.PathValue("id")) }

func (s *Server) run(r *http.Request) (*driftline.Run, error) {
	return s.engine.Registry().Run(runOf(r))
}

func (s *Server) logRun(r *http.Request) (*driftline.Run, error) {
	entry, err := readJSON[driftline.RunLog](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().LogRun(runOf(r), entry)
}

func (s *Server) finishRun(r *http.Request) (*driftline.Run, error) {
	end, err := readJSON[struct {
		Status driftline.RunStatus `json:"status"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().FinishRun(runOf(r), end.Status)
}

type metricList struct {
	Metrics []driftline.Metric `json:"metrics"`
}

func (s *Server) metricHistory(r *http.Request) (metricList, error) {
	points, err := s.history(runOf(r), r.PathValue("key"))
	return metricList{Metrics: list(points)}, err
}

func (s *Server) history(run driftline.RunID, key string) ([]driftline.Metric, error) {
	var points []driftline.Metric
	for point, err := range s.engine.Registry().Metrics(run, key) {
		if err != nil {
			return nil, err
		}
		points = append(points, point)
	}
	return points, nil
}

func (s *Server) putArtifact(r *http.Request) (driftline.Artifact, error) {
	kept, err := s.engine.PutArtifact(r.Context(), runOf(r), r.PathValue("path"), r.Body)
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return kept, tooLarge(tooLong.Limit)
	}
	return kept, err
}

// getArtifact sends the bytes as a download, never as a page: whoever logs a
// run could otherwise run a script in this origin.
func (s *Server) getArtifact(w http.ResponseWriter, r *http.Request) error {
	content, kept, err := s.engine.OpenArtifact(r.Context(), runOf(r), r.PathValue("path"))
	if err != nil {
		return err
	}
	defer content.Close()
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Length", strconv.FormatInt(kept.Size, 10))
	head.Set("Content-Disposition", `attachment; filename="`+downloadName(kept.Path)+`"`)
	head.Set("ETag", `"`+kept.SHA256+`"`)
	head.Set("Content-Security-Policy", "sandbox")
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, content); err != nil {
		noteError(r, err)
		panic(http.ErrAbortHandler) // the status is sent: cutting the connection is the only way left to say it
	}
	return nil
}

// downloadName keeps what is safe inside a quoted header value.
func downloadName(name string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '_'
		}
		return c
	}, path.Base(name))
}

type modelList struct {
	Models []driftline.ModelVersion `json:"models"`
}

func (s *Server) models(*http.Request) (modelList, error) {
	answer := modelList{Models: []driftline.ModelVersion{}}
	for _, m := range s.engine.Registry().Models() {
		answer.Models = append(answer.Models, m.Newest)
	}
	return answer, nil
}

type modelInfo struct {
	Versions []driftline.ModelVersion `json:"versions"`
	Aliases  map[driftline.Alias]int  `json:"aliases"`
}

func modelOf(r *http.Request) driftline.ModelName { return driftline.ModelName(r.PathValue("model")) }

func (s *Server) model(r *http.Request) (modelInfo, error) {
	versions, err := s.engine.Registry().ModelVersions(modelOf(r))
	if err != nil {
		return modelInfo{}, err
	}
	return modelInfo{Versions: list(versions), Aliases: aliasesOf(versions)}, nil
}

func aliasesOf(versions []driftline.ModelVersion) map[driftline.Alias]int {
	aliases := map[driftline.Alias]int{}
	for _, v := range versions {
		for _, a := range v.Aliases {
			aliases[a] = v.Version
		}
	}
	return aliases
}

func (s *Server) registerModel(r *http.Request) (*driftline.ModelVersion, error) {
	spec, err := readJSON[driftline.ModelSpec](r)
	if err != nil {
		return nil, err
	}
	if spec.Model == "" {
		spec.Model = modelOf(r)
	}
	if spec.Model != modelOf(r) {
		return nil, driftline.Errorf(driftline.Invalid, "the body names model %q, the address model %q",
			clip(string(spec.Model)), clip(string(modelOf(r)))).WithHint("leave model out of the body")
	}
	return s.engine.Registry().RegisterModel(spec)
}

func (s *Server) modelVersion(r *http.Request) (*driftline.ModelVersion, error) {
	return s.engine.Registry().ModelVersion(modelOf(r), r.PathValue("version"))
}

func (s *Server) moveAlias(r *http.Request) (*driftline.ModelVersion, error) {
	move, err := readJSON[driftline.AliasMove](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().MoveAlias(modelOf(r), driftline.Alias(r.PathValue("alias")), move)
}
