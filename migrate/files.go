package migrate

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// entry is a file or a folder, with its path below the root of what is copied.
type entry struct {
	Path   string `json:"path"`
	Folder bool   `json:"is_dir"`
	Size   millis `json:"file_size"` // a number or a text, as all of MLflow's
}

// source is where files are read: how a folder is listed, and how a file is asked for.
type source struct {
	server *Server
	list   func(folder string) (path string, query url.Values)
	file   func(file string) (path string, query url.Values)
	inside bool // listed paths are those below the listed folder, not below the root
}

const (
	proxied = "/api/2.0/mlflow-artifacts/artifacts"
	ajax    = "/ajax-api/2.0/mlflow/"
)

// proxiedRoot is the path of files that the server hands out by its proxy.
func proxiedRoot(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "mlflow-artifacts" {
		return "", false
	}
	return strings.Trim(u.Path, "/"), true
}

// proxySource reads by the proxy.
func proxySource(s *Server, root string) source {
	return source{server: s, inside: true,
		list: func(folder string) (string, url.Values) {
			return proxied, url.Values{"path": {path.Join(root, folder)}}
		},
		file: func(file string) (string, url.Values) { return proxied + "/" + escaped(path.Join(root, file)), nil },
	}
}

// runFiles are the files of a run: by the proxy, or as the server itself reads them.
func runFiles(s *Server, r *runInfo) source {
	if root, ok := proxiedRoot(r.URI); ok {
		return proxySource(s, root)
	}
	return source{server: s,
		list: func(folder string) (string, url.Values) {
			return api + "artifacts/list", url.Values{"run_id": {r.ID}, "run_uuid": {r.ID}, "path": {folder}}
		},
		file: func(file string) (string, url.Values) {
			return "/get-artifact", url.Values{"run_uuid": {r.ID}, "run_id": {r.ID}, "path": {file}}
		},
	}
}

// modelFiles are those of a logged model.
func modelFiles(s *Server, m *loggedModel) source {
	if root, ok := proxiedRoot(m.Info.URI); ok {
		return proxySource(s, root)
	}
	at := ajax + "logged-models/" + url.PathEscape(m.Info.ID) + "/artifacts/"
	return source{server: s,
		list: func(folder string) (string, url.Values) {
			return at + "directories", url.Values{"artifact_directory_path": {folder}}
		},
		file: func(file string) (string, url.Values) { return at + "files", url.Values{"artifact_file_path": {file}} },
	}
}

// target is where files are written, and how what is there is listed.
type target struct {
	source
	put func(file string) string
}

func runTarget(s *Server, id string) target {
	at := "/api/v1/runs/" + url.PathEscape(id) + "/artifacts"
	from := runFiles(s, &runInfo{ID: id})
	return target{source: from, put: func(file string) string { return at + "/" + escaped(file) }}
}

func modelTarget(s *Server, experiment, id string) target {
	root := experiment + "/models/" + id + "/artifacts"
	return target{source: proxySource(s, root), put: func(file string) string { return proxied + "/" + escaped(root+"/"+file) }}
}

// maxFolders ends a listing that has no end.
const maxFolders = 100_000

// walk visits the files of all folders, with their paths below the root.
func (s source) walk(ctx context.Context, visit func(entry) error) error {
	folders, seen := []string{""}, map[string]bool{"": true}
	for n := 0; n < len(folders); n++ {
		folder := folders[n]
		at, query := s.list(folder)
		asked := map[string]any{}
		for key := range query {
			asked[key] = query.Get(key)
		}
		err := every(ctx, s.server, http.MethodGet, at, asked, "files", func(e entry) error {
			if s.inside {
				e.Path = path.Join(folder, e.Path)
			}
			if !e.Folder {
				return visit(e)
			}
			if !seen[e.Path] && len(folders) < maxFolders {
				seen[e.Path] = true
				folders = append(folders, e.Path)
			}
			return nil
		})
		if err != nil && (folder != "" || !missing(err)) { // a run without files may have no folder
			return err
		}
	}
	return nil
}

// copyFiles copies what is not there in the same size, and counts what is there then.
func (m *Migration) copyFiles(ctx context.Context, from source, to target) error {
	here, err := to.sizes(ctx)
	if err != nil {
		return err
	}
	err = from.walk(ctx, func(e entry) error {
		if size, ok := here[e.Path]; ok && size == e.Size {
			return nil
		}
		defer m.tell()
		return from.copyFile(ctx, e.Path, to)
	})
	if err != nil {
		return err
	}
	return m.countFiles(ctx, from, to)
}

func (s source) sizes(ctx context.Context) (map[string]millis, error) {
	sizes := map[string]millis{}
	err := s.walk(ctx, func(e entry) error { sizes[e.Path] = e.Size; return nil })
	return sizes, err
}

// countFiles compares what there is on both sides, by path and size.
func (m *Migration) countFiles(ctx context.Context, from source, to target) error {
	here, err := to.sizes(ctx)
	if err != nil {
		return err
	}
	return from.walk(ctx, func(e entry) error {
		m.report.Files.There++
		m.report.Bytes.There += int64(e.Size)
		if size, ok := here[e.Path]; ok && size == e.Size {
			m.report.Files.Here++
			m.report.Bytes.Here += int64(size)
		}
		return nil
	})
}

// copyFile sends the bytes of a file on as they come.
func (s source) copyFile(ctx context.Context, file string, to target) error {
	at, query := s.file(file)
	answer, err := s.server.do(ctx, http.MethodGet, at, query, nil, 0)
	if err != nil {
		return fileError(file, err)
	}
	defer answer.Body.Close()
	stored, err := to.server.do(ctx, http.MethodPut, to.put(file), nil, answer.Body, answer.ContentLength)
	if err != nil {
		return fileError(file, err)
	}
	return stored.Body.Close()
}

func fileError(file string, err error) error {
	return errors.Join(errors.New("file "+clip(file)), err)
}
