package mlflow

import (
	"net/http"
	"time"

	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/registry"
)

// Version is the version of MLflow that the server says it is. From 3.4 on clients send
// traces to a server, which is not what Driftline is for.
const Version = "3.3.2"

// Service answers MLflow's endpoints for one engine. It has no state of its own.
type Service struct {
	engine   *engine.Engine
	registry *registry.Registry
}

// New makes a service over e, which stays the caller's.
func New(e *engine.Engine) *Service {
	return &Service{engine: e, registry: e.Registry()}
}

// Endpoint is one line of the protocol.
type Endpoint struct {
	Method string
	Path   string // a pattern of http.ServeMux, under one of Prefixes: "/mlflow/runs/create"
	Body   int64  // the largest body read, in bytes; 0 for none
	Allow  time.Duration
	Handle func(w http.ResponseWriter, r *http.Request) error

	// Asks is a zero value of what the request is decoded into, nil where bytes are streamed.
	Asks any

	// prefixes are where it is mounted, the two of the protocol if nil.
	prefixes []string
}

// The most common largest bodies.
const (
	small = 1 << 20
	batch = 16 << 20 // a log-batch of the longest values, with every character escaped
	large = 64 << 20 // datasets with their schemas and profiles
)

// Patterns are the patterns of http.ServeMux that the endpoint answers.
func (e *Endpoint) Patterns() []string {
	prefixes := e.prefixes
	if prefixes == nil {
		prefixes = []string{"/api/2.0", "/ajax-api/2.0"}
	}
	patterns := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		patterns[i] = prefix + e.Path
	}
	return patterns
}

// Endpoints is the whole protocol, one line each.
func (s *Service) Endpoints() []Endpoint {
	var table []Endpoint
	for _, part := range [][]Endpoint{
		s.serverEndpoints(),
		s.experimentEndpoints(),
		s.runEndpoints(),
		s.artifactEndpoints(),
		s.loggedModelEndpoints(),
		s.registeredModelEndpoints(),
		s.modelVersionEndpoints(),
	} {
		table = append(table, part...)
	}
	return table
}

// serverEndpoints are those that clients ask before all others.
func (s *Service) serverEndpoints() []Endpoint {
	return []Endpoint{
		{Method: "GET", Path: "/version", prefixes: []string{""}, Handle: getVersion},
		{Method: "GET", Path: "/mlflow/server-info", prefixes: []string{"/api/3.0", "/ajax-api/3.0"}, Handle: getServerInfo},
	}
}

func getVersion(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte(Version))
	return err
}

// getServerInfo says what MLflow's SQL store would: clients then expect its semantics.
func getServerInfo(w http.ResponseWriter, _ *http.Request) error {
	return send(w, struct {
		StoreType  string `json:"store_type"`
		Workspaces bool   `json:"workspaces_enabled"`
	}{StoreType: "SqlStore"})
}
