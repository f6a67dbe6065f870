package web

import (
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
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
