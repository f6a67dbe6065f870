package mlflow

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/web/internal/download"
)

// Limits of transfers: a file may be as large as the disk.
const (
	file     = 16 << 40
	transfer = 24 * time.Hour
)

func (s *Service) artifactEndpoints() []Endpoint {
	const at = "/mlflow-artifacts/"
	return []Endpoint{
		call("GET", "/mlflow/artifacts/list", s.listRunArtifacts),
		call("GET", at+"artifacts", s.listArtifacts),
		{Method: "GET", Path: at + "artifacts/{path...}", Allow: transfer, Handle: s.getArtifact},
		{Method: "PUT", Path: at + "artifacts/{path...}", Body: file, Allow: transfer, Handle: s.putArtifact},
		{Method: "DELETE", Path: at + "artifacts/{path...}", Handle: s.deleteArtifact},
		{Method: "POST", Path: at + "mpu/create/{path...}", Body: small, Handle: s.createUpload, Asks: createUploadRequest{}},
		{Method: "PUT", Path: at + "mpu/parts/{id}/{number}", Body: file, Allow: transfer, Handle: s.putPart},
		call("POST", at+"mpu/complete/{path...}", s.completeUpload).upTo(batch).within(transfer),
		do("POST", at+"mpu/abort/{path...}", s.abortUpload),
	}
}

// fileInfo is a file or a folder.
type fileInfo struct {
	Path     string `json:"path"`
	IsDir    bool   `json:"is_dir"`
	FileSize *int64 `json:"file_size,omitempty"`
}

type filesAnswer struct {
	RootURI       string     `json:"root_uri,omitempty"`
	Files         []fileInfo `json:"files,omitempty"`
	NextPageToken string     `json:"next_page_token,omitempty"`
}

// entriesPerPage bounds an answer that can be gone on with. Listings by proxy cannot.
const entriesPerPage = 10_000

// entries lists a folder, with paths that begin after cut bytes.
func (s *Service) entries(owner driftline.Ref, folder, after string, limit, cut int) (*filesAnswer, error) {
	found, err := s.registry.ListArtifacts(owner, folder, after, limit)
	if err != nil {
		return nil, err
	}
	answer := &filesAnswer{}
	for _, e := range found {
		info := fileInfo{Path: e.Path[cut:], IsDir: e.Folder}
		if !e.Folder {
			info.FileSize = &e.Size
		}
		answer.Files = append(answer.Files, info)
	}
	if limit > 0 && len(found) == limit {
		answer.NextPageToken = found[limit-1].Key()
	}
	return answer, nil
}

type listRunArtifactsRequest struct {
	ofRun
	Path      string `json:"path"`
	PageToken string `json:"page_token"`
}

func (s *Service) listRunArtifacts(_ context.Context, q *listRunArtifactsRequest) (*filesAnswer, error) {
	run, err := s.registry.Run(q.id())
	if err != nil {
		return nil, err
	}
	folder := strings.TrimSuffix(q.Path, "/")
	for _, path := range []string{folder, strings.TrimSuffix(q.PageToken, "/")} {
		if path == "" {
			continue
		}
		if err := registry.CheckArtifactPath(path); err != nil {
			return nil, err
		}
	}
	answer, err := s.entries(run.Ref(), folder, q.PageToken, entriesPerPage, 0)
	if err != nil {
		return nil, err
	}
	answer.RootURI = s.infoOf(run).ArtifactURI
	return answer, nil
}

type listArtifactsRequest struct {
	Path string `json:"path" wire:"required"`
}

func (s *Service) listArtifacts(_ context.Context, q *listArtifactsRequest) (*filesAnswer, error) {
	owner, folder, err := s.registry.ArtifactPlace(strings.TrimSuffix(q.Path, "/"))
	if err != nil {
		return nil, err
	}
	cut := 0
	if folder != "" {
		cut = len(folder) + 1
	}
	return s.entries(owner, folder, "", 0, cut)
}

// place is whose file the address of a request names.
func (s *Service) place(r *http.Request) (owner driftline.Ref, path string, err error) {
	owner, path, err = s.registry.ArtifactPlace(r.PathValue("path"))
	if err == nil && path == "" && r.Method != http.MethodDelete {
		err = driftline.Errorf(driftline.Invalid, "the address names all files of %s, and no one of them", owner)
	}
	return owner, path, err
}

func (s *Service) getArtifact(w http.ResponseWriter, r *http.Request) error {
	owner, path, err := s.place(r)
	if err != nil {
		return err
	}
	content, kept, err := s.engine.OpenArtifactOf(r.Context(), owner, path)
	if err != nil {
		return err
	}
	download.Send(w, r, content, kept, func(error) {})
	return nil
}

func (s *Service) putArtifact(w http.ResponseWriter, r *http.Request) error {
	owner, path, err := s.place(r)
	if err != nil {
		return err
	}
	if _, err := s.engine.PutArtifactTo(r.Context(), owner, path, r.Body); err != nil {
		return bodyError(err)
	}
	return send(w, nothing{})
}

// bodyError says that a body was too large or broke off, if that is why.
func bodyError(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return unreadable(err)
	}
	return err
}

// deleteArtifact deletes a file, a folder, or all files. What is not there is deleted
// already: the client repeats a request whose answer it did not get.
func (s *Service) deleteArtifact(w http.ResponseWriter, r *http.Request) error {
	owner, path, err := s.place(r)
	if err != nil {
		return err
	}
	if _, err := s.engine.RemoveArtifacts(owner, path, person(r), ""); err != nil && driftline.CodeOf(err) != driftline.NotFound {
		return err
	}
	return send(w, nothing{})
}

type createUploadRequest struct {
	Place    string   `json:"-" path:"path"`
	Path     string   `json:"path" wire:"required"` // the file on the client's side; its last element is its name here
	NumParts *integer `json:"num_parts"`
}

type uploadCredential struct {
	URL        string            `json:"url"`
	PartNumber int               `json:"part_number"`
	Headers    map[string]string `json:"headers,omitempty"`
}

type createUploadAnswer struct {
	UploadID    string             `json:"upload_id"`
	Credentials []uploadCredential `json:"credentials"`
}

const mostParts = 10_000

// createUpload begins an upload in parts. Clients send each part to an address of its own,
// which has to be a whole one; its host is the one that the client knows this server by.
func (s *Service) createUpload(w http.ResponseWriter, r *http.Request) error {
	q := &createUploadRequest{}
	if err := decode(r, q); err != nil {
		return err
	}
	parts := integer(1)
	if q.NumParts != nil {
		parts = *q.NumParts
	}
	if parts < 1 || parts > mostParts {
		return driftline.Errorf(driftline.Invalid, "Invalid value %d for parameter 'num_parts' supplied: it must be between 1 and %d", parts, mostParts)
	}
	owner, path, err := s.uploadPlace(q.Place, q.Path)
	if err != nil {
		return err
	}
	upload, err := s.engine.BeginUpload(r.Context(), driftline.UploadSpec{Owner: owner, Path: path})
	if err != nil {
		return err
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	base, _, _ := strings.Cut(r.URL.Path, "/create/")
	answer := createUploadAnswer{UploadID: upload.ID}
	for n := 1; n <= int(parts); n++ {
		answer.Credentials = append(answer.Credentials, uploadCredential{PartNumber: n,
			URL: scheme + "://" + r.Host + base + "/parts/" + upload.ID + "/" + strconv.Itoa(n)})
	}
	return send(w, answer)
}

// uploadPlace is where a file of the client goes: its name, in the folder of the address.
func (s *Service) uploadPlace(folder, local string) (owner driftline.Ref, path string, err error) {
	name := local[strings.LastIndexAny(local, `/\`)+1:]
	return s.registry.ArtifactPlace(strings.TrimSuffix(folder, "/") + "/" + name)
}

func (s *Service) putPart(w http.ResponseWriter, r *http.Request) error {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return driftline.Errorf(driftline.Invalid, "part '%s' is not a number", clip(r.PathValue("number")))
	}
	part, err := s.engine.PutPart(r.Context(), r.PathValue("id"), number, r.Body)
	if err != nil {
		return bodyError(err)
	}
	w.Header().Set("ETag", `"`+part.SHA256+`"`)
	return send(w, nothing{})
}

// uploadRequest is what names an upload that was begun.
type uploadRequest struct {
	Place    string `json:"-" path:"path"`
	Path     string `json:"path" wire:"required"`
	UploadID string `json:"upload_id" wire:"required"`
}

// check compares the place of a request with that of its upload.
func (s *Service) check(q *uploadRequest) error {
	owner, path, err := s.uploadPlace(q.Place, q.Path)
	if err != nil {
		return err
	}
	upload, err := s.engine.Upload(q.UploadID)
	if err != nil {
		return err
	}
	if upload.Owner != owner || upload.Path != path {
		return driftline.Errorf(driftline.Invalid, "the upload is of another file")
	}
	return nil
}

type completeUploadRequest struct {
	uploadRequest
	Parts []struct {
		PartNumber integer `json:"part_number"`
		ETag       string  `json:"etag"`
	} `json:"parts"`
}

func (s *Service) completeUpload(ctx context.Context, q *completeUploadRequest) (nothing, error) {
	if err := s.check(&q.uploadRequest); err != nil {
		return nothing{}, err
	}
	if len(q.Parts) == 0 {
		return nothing{}, missing("parts")
	}
	parts := make([]driftline.UploadPart, len(q.Parts))
	for i, p := range q.Parts {
		parts[i] = driftline.UploadPart{Number: int(p.PartNumber), SHA256: p.ETag}
	}
	_, err := s.engine.CompleteUpload(ctx, q.UploadID, parts)
	return nothing{}, err
}

func (s *Service) abortUpload(_ context.Context, q *uploadRequest) error {
	if err := s.check(q); err != nil {
		return err
	}
	return s.engine.AbortUpload(q.UploadID)
}
