package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/blobs"
	"github.com/driftline/driftline/web/internal/download"
)

func (s *Server) putArtifact(r *http.Request) (driftline.Artifact, error) {
	kept, err := s.engine.PutArtifact(r.Context(), runOf(r), r.PathValue("path"), r.Body)
	return kept, bodyError(err)
}

// bodyError says that a body was too large, if that is why it could not be read.
func bodyError(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return tooLarge(tooLong.Limit)
	}
	return err
}

func (s *Server) getArtifact(w http.ResponseWriter, r *http.Request) error {
	content, kept, err := s.engine.OpenArtifact(r.Context(), runOf(r), r.PathValue("path"))
	if err != nil {
		return err
	}
	return sendArtifact(w, r, content, kept)
}

func sendArtifact(w http.ResponseWriter, r *http.Request, content *blobs.Reader, kept driftline.Artifact) error {
	download.Send(w, r, content, kept, func(err error) { noteError(r, err) })
	return nil
}

// artifactList is one folder, or, if asked for, all that lies under it.
type artifactList struct {
	Artifacts []registry.ArtifactEntry `json:"artifacts"`
	Next      string                   `json:"next,omitempty"` // to be given as after
}

const mostEntries = 10_000

func (s *Server) runArtifacts(r *http.Request) (artifactList, error) {
	return s.listArtifacts(r, driftline.RunRef(runOf(r)))
}

func (s *Server) listArtifacts(r *http.Request, owner driftline.Ref) (artifactList, error) {
	query := r.URL.Query()
	folder := strings.TrimSuffix(query.Get("folder"), "/")
	if folder != "" {
		if err := registry.CheckArtifactPath(folder); err != nil {
			return artifactList{}, err
		}
	}
	if query.Get("all") != "" {
		files, err := s.engine.Registry().Artifacts(owner, folder)
		all := artifactList{Artifacts: []registry.ArtifactEntry{}}
		for _, a := range files {
			all.Artifacts = append(all.Artifacts, registry.ArtifactEntry{Path: a.Path, Size: a.Size, SHA256: a.SHA256, Time: a.Time})
		}
		return all, err
	}
	entries, err := s.engine.Registry().ListArtifacts(owner, folder, query.Get("after"), mostEntries)
	found := artifactList{Artifacts: entries}
	if len(entries) == mostEntries {
		found.Next = entries[len(entries)-1].Key()
	}
	return found, err
}

type removedArtifacts struct {
	Removed []driftline.Artifact `json:"removed"`
}

func (s *Server) removeArtifacts(r *http.Request) (removedArtifacts, error) {
	query := r.URL.Query()
	removed, err := s.engine.RemoveArtifacts(driftline.RunRef(runOf(r)), strings.TrimSuffix(r.PathValue("path"), "/"), query.Get("by"), query.Get("reason"))
	return removedArtifacts{Removed: list(removed)}, err
}

func (s *Server) collectArtifacts(r *http.Request) (driftline.ArtifactCollection, error) {
	request, err := readJSON[struct {
		Grace driftline.Duration `json:"grace"`
	}](r)
	if err != nil {
		return driftline.ArtifactCollection{}, err
	}
	return s.engine.CollectArtifacts(r.Context(), time.Duration(request.Grace))
}

// resolved says what a URI names.
type resolved struct {
	Owner driftline.Ref           `json:"owner"`
	Path  string                  `json:"path,omitempty"`
	Model *driftline.ModelVersion `json:"model,omitempty"`
	Files []driftline.Artifact    `json:"files"` // at the path, or under it; their paths are the owner's
}

func (s *Server) resolveURI(r *http.Request) (resolved, error) {
	reg := s.engine.Registry()
	owner, path, err := reg.ResolveURI(r.URL.Query().Get("uri"))
	if err != nil {
		return resolved{}, err
	}
	found := resolved{Owner: owner, Path: path}
	if owner.Kind == driftline.KindModel {
		if found.Model, err = reg.ModelVersion(driftline.ModelName(owner.Name), owner.Version); err != nil {
			return resolved{}, err
		}
	}
	found.Files, err = reg.ArtifactsAt(owner, path)
	return found, err
}

func (s *Server) beginUpload(r *http.Request) (*driftline.Upload, error) {
	spec, err := readJSON[driftline.UploadSpec](r)
	if err != nil {
		return nil, err
	}
	return s.engine.BeginUpload(r.Context(), spec)
}

func (s *Server) upload(r *http.Request) (*driftline.Upload, error) {
	return s.engine.Upload(r.PathValue("id"))
}

func (s *Server) putPart(r *http.Request) (driftline.UploadPart, error) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return driftline.UploadPart{}, driftline.Errorf(driftline.Invalid, "part %q is not a number", clip(r.PathValue("number")))
	}
	part, err := s.engine.PutPart(r.Context(), r.PathValue("id"), number, r.Body)
	return part, bodyError(err)
}

func (s *Server) completeUpload(r *http.Request) (driftline.Artifact, error) {
	request, err := readJSON[struct {
		Parts []driftline.UploadPart `json:"parts"`
	}](r)
	if err != nil {
		return driftline.Artifact{}, err
	}
	return s.engine.CompleteUpload(r.Context(), r.PathValue("id"), request.Parts)
}

func (s *Server) abortUpload(r *http.Request) (struct{}, error) {
	return struct{}{}, s.engine.AbortUpload(r.PathValue("id"))
}
