package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/openlineage"
	"github.com/driftline/driftline/web/mlflow"
)

// A route is one line of the API. Everything that registers, limits, documents
// or tests routes reads the same table.
type route struct {
	method string
	path   string // a pattern of http.ServeMux
	handle func(w http.ResponseWriter, r *http.Request) error

	body  int64         // the largest body read; 0 for none
	allow time.Duration // for reading the request and writing the answer; [quick] if 0
	page  bool          // part of the UI, not of the described API
	wire  bool          // of a protocol that is described elsewhere
}

// Sizes of bodies and times allowed.
const (
	small    = 1 << 20
	large    = 64 << 20
	artifact = 16 << 30
	file     = 16 << 40 // what a file system can hold

	quick    = time.Minute
	long     = 15 * time.Minute
	transfer = 24 * time.Hour // of files of any size
)

func (s *Server) table() []route {
	return slices.Concat(s.pageTable(), s.ownTable(), s.mlflowTable(), s.gatewayTable())
}

// mlflowTable mounts MLflow's protocol.
func (s *Server) mlflowTable() []route {
	var routes []route
	for _, e := range mlflow.New(s.engine).Endpoints() {
		for _, pattern := range e.Patterns() {
			routes = append(routes, route{method: e.Method, path: pattern, handle: e.Handle, body: e.Body, allow: e.Allow, wire: true})
		}
	}
	return routes
}

// gatewayTable mounts the gateway's protocols.
func (s *Server) gatewayTable() []route {
	var routes []route
	if s.options.Gateway == nil {
		return nil
	}
	for _, e := range s.options.Gateway.Endpoints() {
		routes = append(routes, route{method: e.Method, path: e.Path, handle: e.Handle, body: e.Body, allow: e.Allow})
	}
	return routes
}

func (s *Server) ownTable() []route {
	return []route{
		{method: "GET", path: "/health", handle: getAlive},
		{method: "GET", path: "/api/v1/health", handle: answer(s.getHealth)},
		{method: "GET", path: "/api/v1/server", handle: answer(s.getServer)},
		{method: "GET", path: "/api/v1/clock", handle: answer(s.clock)},
		{method: "PUT", path: "/api/v1/clock", handle: answer(s.moveClock), body: small},
		{method: "GET", path: "/api/v1/openapi.json", handle: getOpenAPI},
		{method: "GET", path: "/metrics", handle: s.getMetrics},

		{method: "POST", path: "/api/v1/plan", handle: answer(s.plan), body: large},
		{method: "POST", path: "/api/v1/apply", handle: answer(s.apply), body: large},
		{method: "GET", path: "/api/v1/entities", handle: answer(s.entities)},
		{method: "GET", path: "/api/v1/feature-views", handle: answer(s.views)},
		{method: "GET", path: "/api/v1/feature-views/{name}", handle: answer(s.view)},
		{method: "PUT", path: "/api/v1/feature-views/{name}/version", handle: answer(s.switchView), body: small},
		{method: "GET", path: "/api/v1/feature-views/{name}/writes/{key}", handle: answer(s.written)},
		{method: "POST", path: "/api/v1/feature-views/{name}/history", handle: s.rowHistory, body: large},
		{method: "GET", path: "/api/v1/on-demand-feature-views", handle: answer(s.onDemandViews)},
		{method: "GET", path: "/api/v1/on-demand-feature-views/{name}", handle: answer(s.onDemandView)},
		{method: "GET", path: "/api/v1/feature-services", handle: answer(s.services)},
		{method: "GET", path: "/api/v1/feature-services/{name}", handle: answer(s.service)},

		{method: "GET", path: "/api/v1/datasets", handle: answer(s.datasets)},
		{method: "GET", path: "/api/v1/datasets/{name}", handle: answer(s.dataset)},
		{method: "GET", path: "/api/v1/datasets/{name}/{version}", handle: answer(s.dataset)},
		{method: "POST", path: "/api/v1/datasets/{name}/{version}/rebuild", handle: answer(s.rebuild), body: small, allow: long},

		{method: "GET", path: "/api/v1/tables", handle: answer(s.tables)},
		{method: "GET", path: "/api/v1/tables/{table}/snapshots", handle: answer(s.tableSnapshots)},
		{method: "GET", path: "/api/v1/tables/{table}/diff", handle: answer(s.diffSnapshots)},
		{method: "PUT", path: "/api/v1/tables/{table}/tags/{tag}", handle: answer(s.tagSnapshot), body: small},
		{method: "DELETE", path: "/api/v1/tables/{table}/tags/{tag}", handle: answer(s.untagSnapshot)},
		{method: "POST", path: "/api/v1/tables/{table}/rollback", handle: answer(s.rollback), body: small, allow: long},
		{method: "POST", path: "/api/v1/tables/{table}/compact", handle: answer(s.compact), body: small, allow: long},
		{method: "POST", path: "/api/v1/tables/{table}/expire", handle: answer(s.expire), body: small, allow: long},
		{method: "POST", path: "/api/v1/tables/{table}/scrub", handle: answer(s.scrub), body: small, allow: long},

		{method: "GET", path: "/api/v1/experiments", handle: answer(s.experiments)},
		{method: "POST", path: "/api/v1/runs", handle: answer(s.createRun), body: small},
		{method: "POST", path: "/api/v1/runs/search", handle: answer(s.searchRuns), body: small},
		{method: "POST", path: "/api/v1/runs/groups", handle: answer(s.groupRuns), body: small},
		{method: "GET", path: "/api/v1/runs", handle: answer(s.runs)},
		{method: "GET", path: "/api/v1/run-keys", handle: answer(s.runKeys)},
		{method: "POST", path: "/api/v1/runs/gc", handle: answer(s.cleanUpRuns), body: small, allow: long},
		{method: "GET", path: "/api/v1/runs/{id}", handle: answer(s.run)},
		{method: "PATCH", path: "/api/v1/runs/{id}", handle: answer(s.changeRun), body: small},
		{method: "DELETE", path: "/api/v1/runs/{id}", handle: answer(s.deleteRun)},
		{method: "POST", path: "/api/v1/runs/{id}/restore", handle: answer(s.restoreRun), body: small},
		{method: "POST", path: "/api/v1/runs/{id}/heartbeat", handle: answer(s.heartbeat), body: small},
		{method: "POST", path: "/api/v1/runs/{id}/log", handle: answer(s.logRun), body: large},
		{method: "POST", path: "/api/v1/runs/{id}/finish", handle: answer(s.finishRun), body: small},
		{method: "GET", path: "/api/v1/runs/{id}/metrics/{key...}", handle: answer(s.metricHistory)},
		{method: "GET", path: "/api/v1/runs/{id}/artifacts", handle: answer(s.runArtifacts)},
		{method: "PUT", path: "/api/v1/runs/{id}/artifacts/{path...}", handle: answer(s.putArtifact), body: file, allow: transfer},
		{method: "GET", path: "/api/v1/runs/{id}/artifacts/{path...}", handle: s.getArtifact, allow: transfer},
		{method: "DELETE", path: "/api/v1/runs/{id}/artifacts/{path...}", handle: answer(s.removeArtifacts)},
		{method: "POST", path: "/api/v1/artifacts/collect", handle: answer(s.collectArtifacts), body: small, allow: long},
		{method: "GET", path: "/api/v1/resolve", handle: answer(s.resolveURI)},
		{method: "POST", path: "/api/v1/uploads", handle: answer(s.beginUpload), body: small},
		{method: "GET", path: "/api/v1/uploads/{id}", handle: answer(s.upload)},
		{method: "DELETE", path: "/api/v1/uploads/{id}", handle: answer(s.abortUpload)},
		{method: "PUT", path: "/api/v1/uploads/{id}/parts/{number}", handle: answer(s.putPart), body: file, allow: transfer},
		{method: "POST", path: "/api/v1/uploads/{id}/complete", handle: answer(s.completeUpload), body: large, allow: transfer},

		{method: "POST", path: "/api/v1/bundles", handle: answer(s.importModel), body: file, allow: transfer},
		{method: "GET", path: "/api/v1/bundles/key", handle: answer(s.signingKey)},
		{method: "GET", path: "/api/v1/logged-models", handle: answer(s.loggedModels)},
		{method: "GET", path: "/api/v1/logged-models/{id}", handle: answer(s.loggedModel)},
		{method: "GET", path: "/api/v1/logged-models/{id}/artifacts", handle: answer(s.loggedModelArtifacts)},
		{method: "GET", path: "/api/v1/logged-models/{id}/artifacts/{path...}", handle: s.getLoggedModelArtifact, allow: transfer},
		{method: "GET", path: "/api/v1/models", handle: answer(s.models)},
		{method: "POST", path: "/api/v1/models", handle: answer(s.createModel), body: small},
		{method: "GET", path: "/api/v1/models/{model}", handle: answer(s.model)},
		{method: "PATCH", path: "/api/v1/models/{model}", handle: answer(s.changeModel), body: small},
		{method: "DELETE", path: "/api/v1/models/{model}", handle: answer(s.deleteModel)},
		{method: "POST", path: "/api/v1/models/{model}/rename", handle: answer(s.renameModel), body: small},
		{method: "GET", path: "/api/v1/models/{model}/history", handle: answer(s.modelHistory)},
		{method: "GET", path: "/api/v1/models/{model}/timeline", handle: answer(s.timeline)},
		{method: "GET", path: "/api/v1/models/{model}/route", handle: answer(s.route)},
		{method: "POST", path: "/api/v1/models/{model}/rollback", handle: answer(s.rollBackModel), body: small},
		{method: "GET", path: "/api/v1/rollouts", handle: answer(s.rollouts)},
		{method: "POST", path: "/api/v1/rollouts", handle: answer(s.startRollout), body: small},
		{method: "GET", path: "/api/v1/rollouts/{rollout}", handle: answer(s.rollout)},
		{method: "GET", path: "/api/v1/rollouts/{rollout}/history", handle: answer(s.rolloutHistory)},
		{method: "GET", path: "/api/v1/rollouts/{rollout}/explain", handle: answer(s.explainRollout)},
		{method: "POST", path: "/api/v1/rollouts/{rollout}/{action}", handle: answer(s.actOnRollout), body: small},
		{method: "PUT", path: "/api/v1/models/{model}/gates", handle: answer(s.setModelGate), body: small},
		{method: "POST", path: "/api/v1/models/{model}/versions", handle: answer(s.registerModel), body: small},
		{method: "GET", path: "/api/v1/models/{model}/versions/{version}", handle: answer(s.modelVersion)},
		{method: "PATCH", path: "/api/v1/models/{model}/versions/{version}", handle: answer(s.changeModelVersion), body: small},
		{method: "DELETE", path: "/api/v1/models/{model}/versions/{version}", handle: answer(s.deleteModelVersion)},
		{method: "PUT", path: "/api/v1/models/{model}/versions/{version}/stage", handle: answer(s.moveStage), body: small},
		{method: "PUT", path: "/api/v1/models/{model}/versions/{version}/server", handle: answer(s.setModelServer), body: small},
		{method: "DELETE", path: "/api/v1/models/{model}/versions/{version}/server", handle: answer(s.removeModelServer)},
		{method: "POST", path: "/api/v1/models/{model}/versions/{version}/checks", handle: answer(s.addModelCheck), body: small},
		{method: "POST", path: "/api/v1/models/{model}/versions/{version}/approvals", handle: answer(s.addModelApproval), body: small},
		{method: "POST", path: "/api/v1/models/{model}/versions/{version}/evaluations", handle: answer(s.evaluate), body: small, allow: long},
		{method: "GET", path: "/api/v1/models/{model}/evaluations", handle: answer(s.evaluations)},
		{method: "GET", path: "/api/v1/evaluations/{id}", handle: answer(s.evaluation)},
		{method: "POST", path: "/api/v1/evaluations/report", handle: evaluationReport, body: large},
		{method: "GET", path: "/api/v1/models/{model}/versions/{version}/card", handle: answer(s.modelCard)},
		{method: "GET", path: "/api/v1/models/{model}/versions/{version}/card.md", handle: s.getModelCardText},
		{method: "GET", path: "/api/v1/models/{model}/versions/{version}/bundle", handle: s.getBundle, allow: transfer},
		{method: "GET", path: "/api/v1/models/{model}/versions/{version}/artifacts", handle: answer(s.modelArtifacts)},
		{method: "GET", path: "/api/v1/models/{model}/versions/{version}/artifacts/{path...}", handle: s.getModelArtifact, allow: transfer},
		{method: "PUT", path: "/api/v1/models/{model}/aliases/{alias}", handle: answer(s.moveAlias), body: small},
		{method: "DELETE", path: "/api/v1/models/{model}/aliases/{alias}", handle: answer(s.removeAlias)},
		{method: "POST", path: "/api/v1/models/{model}/aliases/{alias}/rollback", handle: answer(s.rollbackAlias), body: small},

		{method: "GET", path: "/api/v1/prediction-logs", handle: answer(s.predictionLogs)},
		{method: "GET", path: "/api/v1/models/{model}/predictions", handle: answer(s.predictionLog)},
		{method: "PUT", path: "/api/v1/models/{model}/predictions", handle: answer(s.configurePredictionLog), body: small},
		{method: "POST", path: "/api/v1/models/{model}/predictions", handle: answer(s.logPredictions), body: large},
		{method: "GET", path: "/api/v1/models/{model}/labels", handle: answer(s.labels), allow: long},
		{method: "POST", path: "/api/v1/models/{model}/labels", handle: answer(s.logLabels), body: large},
		{method: "POST", path: "/api/v1/models/{model}/label-requests", handle: answer(s.askForLabels), body: small, allow: long},
		{method: "POST", path: "/api/v1/models/{model}/performance", handle: answer(s.modelPerformance), body: small, allow: long},

		{method: "POST", path: "/api/v1/check", handle: answer(s.check), body: small, allow: long},
		{method: "POST", path: "/api/v1/erasures", handle: answer(s.erase), body: small, allow: long},
		{method: "POST", path: "/api/v1/sql", handle: s.runSQL, body: small, allow: long},
		{method: "GET", path: "/api/v1/lineage", handle: answer(s.lineage)},
		{method: "POST", path: "/api/v1/lineage", handle: answer(s.receiveLineage), body: openlineage.MostBytes},
		{method: "POST", path: "/api/v1/lineage/batch", handle: answer(s.receiveLineageBatch), body: large},
		{method: "GET", path: "/api/v1/lineage/events", handle: answer(s.lineageEvents)},
		{method: "GET", path: "/api/v1/why", handle: answer(s.why), allow: long},
		{method: "POST", path: "/api/v1/drift", handle: answer(s.drift), body: small, allow: long},
		{method: "POST", path: "/api/v1/profiles", handle: answer(s.profileTable), body: small, allow: 4 * time.Hour},
		{method: "GET", path: "/api/v1/profiles", handle: answer(s.profiles)},
		{method: "DELETE", path: "/api/v1/profiles", handle: answer(s.dropProfiles)},
		{method: "GET", path: "/api/v1/profiles/merged", handle: answer(s.profileOf), allow: long},
		{method: "POST", path: "/api/v1/profiles/compare", handle: answer(s.compareProfiles), body: artifact, allow: long},
		{method: "POST", path: "/api/v1/profiles/merge", handle: answer(s.mergeProfiles), body: artifact, allow: long},
		{method: "POST", path: "/api/v1/drift/report", handle: driftReport, body: large},
		{method: "POST", path: "/api/v1/performance", handle: answer(s.performance), body: small, allow: long},
		{method: "POST", path: "/api/v1/performance/report", handle: performanceReport, body: large},
		{method: "POST", path: "/api/v1/validate", handle: answer(s.validate), body: small, allow: long},
		{method: "POST", path: "/api/v1/validate/suggest", handle: answer(s.suggestChecks), body: small, allow: long},
		{method: "POST", path: "/api/v1/validate/report", handle: validationReport, body: large},
		{method: "GET", path: "/api/v1/presets", handle: answer(s.presets)},
		{method: "GET", path: "/api/v1/presets/{name}", handle: answer(s.preset)},
		{method: "POST", path: "/api/v1/models/{model}/runs", handle: answer(s.requestTraining), body: small},
		{method: "GET", path: "/api/v1/training-runs", handle: answer(s.trainings)},
		{method: "GET", path: "/api/v1/training-runs/{id}", handle: answer(s.training)},
		{method: "GET", path: "/api/v1/training-runs/{id}/log", handle: s.trainingLog},
		{method: "POST", path: "/api/v1/training-runs/{id}/result", handle: answer(s.reportTraining), body: small},
		{method: "POST", path: "/api/v1/training-runs/{id}/heartbeat", handle: answer(s.beatTraining), body: small},
		{method: "POST", path: "/api/v1/training-runs/{id}/cancel", handle: answer(s.cancelTraining), body: small},
		{method: "GET", path: "/api/v1/trigger-suppressions", handle: answer(s.suppressions)},
		{method: "GET", path: "/api/v1/policies", handle: answer(s.policies)},
		{method: "GET", path: "/api/v1/policies/{model}", handle: answer(s.policy)},
		{method: "DELETE", path: "/api/v1/policies/{model}", handle: answer(s.deletePolicy)},
		{method: "GET", path: "/api/v1/policies/{model}/versions", handle: answer(s.policyVersions)},
		{method: "GET", path: "/api/v1/validations", handle: answer(s.validations)},
		{method: "GET", path: "/api/v1/validations/{name}", handle: answer(s.validation)},
		{method: "GET", path: "/api/v1/validations/{name}/versions", handle: answer(s.validationVersions)},
		{method: "GET", path: "/api/v1/validations/{name}/runs", handle: answer(s.validationRuns)},
		{method: "GET", path: "/api/v1/validations/{name}/runs/{run}", handle: answer(s.validationRun)},
		{method: "POST", path: "/api/v1/validations/{name}/run", handle: answer(s.runValidation), body: small, allow: long},

		{method: "GET", path: "/api/v1/monitors", handle: answer(s.monitors)},
		{method: "GET", path: "/api/v1/monitors/{name}", handle: answer(s.monitor)},
		{method: "GET", path: "/api/v1/monitors/{name}/versions", handle: answer(s.monitorVersions)},
		{method: "GET", path: "/api/v1/monitors/{name}/panes", handle: answer(s.monitorPanes)},
		{method: "GET", path: "/api/v1/monitors/{name}/panes/{time}", handle: answer(s.monitorPane)},
		{method: "GET", path: "/api/v1/monitors/{name}/panes/{time}/rows", handle: s.monitorRows, allow: long},
		{method: "POST", path: "/api/v1/monitors/{name}/run", handle: answer(s.runMonitor), body: small, allow: long},
		{method: "POST", path: "/api/v1/monitors/{name}/pause", handle: answer(s.pauseMonitor), body: small},
		{method: "POST", path: "/api/v1/monitors/{name}/resume", handle: answer(s.resumeMonitor), body: small},
		{method: "POST", path: "/api/v1/monitors/{name}/snooze", handle: answer(s.snoozeMonitor), body: small},
		{method: "GET", path: "/api/v1/alerts", handle: answer(s.alerts)},
		{method: "GET", path: "/api/v1/alerts/{id}", handle: answer(s.alert)},
		{method: "POST", path: "/api/v1/alerts/{id}/remedies/{action}", handle: answer(s.doRemedy), body: small, allow: long},
		{method: "GET", path: "/api/v1/alerts/{id}/notices", handle: answer(s.alertNotices)},
		{method: "POST", path: "/api/v1/alerts/{id}/acknowledge", handle: answer(changeAlert(s.engine.AcknowledgeAlert)), body: small},
		{method: "POST", path: "/api/v1/alerts/{id}/snooze", handle: answer(changeAlert(s.engine.SnoozeAlert)), body: small},
		{method: "POST", path: "/api/v1/alerts/{id}/resolve", handle: answer(changeAlert(s.engine.ResolveAlert)), body: small},
		{method: "GET", path: "/api/v1/events", handle: s.getEvents},
		{method: "GET", path: "/api/v1/notices", handle: answer(s.notices)},
		{method: "POST", path: "/api/v1/notices/{id}/retry", handle: answer(s.retryNotice), body: small},

		{method: "POST", path: "/get-online-features", handle: s.getOnlineFeatures, body: large},
		{method: "POST", path: "/push", handle: answer(s.push), body: large, allow: long},
		{method: "POST", path: "/write-to-online-store", handle: answer(s.writeToOnlineStore), body: large, allow: long},
		{method: "POST", path: "/materialize", handle: s.materialize, body: small, allow: 4 * time.Hour},
		{method: "POST", path: "/materialize-incremental", handle: s.materializeIncremental, body: small, allow: 4 * time.Hour},
		{method: "GET", path: "/api/v1/materializations", handle: answer(s.materializations)},
		{method: "POST", path: "/api/v1/materializations", handle: answer(s.postMaterialization), body: small},
		{method: "GET", path: "/api/v1/materializations/{id}", handle: answer(s.materialization)},
		{method: "POST", path: "/api/v1/materializations/{id}/cancel", handle: answer(s.cancelMaterialization), body: small},
	}
}

// answer makes a handler of a function that returns a value to be sent as JSON.
func answer[T any](f func(r *http.Request) (T, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		value, err := f(r)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, value)
		return nil
	}
}

// router is the ServeMux of a route table, with failures in our own shapes.
type router struct {
	mux   *http.ServeMux
	pages *pages
}

func newRouter(routes []route, pages *pages) *router {
	rt := &router{mux: http.NewServeMux(), pages: pages}
	for _, one := range routes {
		rt.mux.HandleFunc(one.method+" "+one.path, func(w http.ResponseWriter, r *http.Request) {
			w = w.(*unrouted).route()
			one.bound(w, r)
			if err := one.handle(w, r); err != nil {
				rt.fail(w, r, err)
			}
		})
	}
	return rt
}

// bound sets the deadlines and the size limit of the route. Deadlines are not
// supported by every ResponseWriter (tests), and then there are none.
func (one *route) bound(w http.ResponseWriter, r *http.Request) {
	allow := one.allow
	if allow == 0 {
		allow = quick
	}
	control, end := http.NewResponseController(w), time.Now().Add(allow)
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end)
	r.Body = http.MaxBytesReader(w, r.Body, one.body)
}

// ServeHTTP answers what no route does with 404 or 405, and Allow.
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if climbs(r.URL.Path) {
		rt.fail(w, r, driftline.Errorf(driftline.Invalid, "the address has an empty, \".\" or \"..\" segment").
			WithHint("write it without; nothing is redirected, because it would then mean something else"))
		return
	}
	probe := &unrouted{writer: w}
	rt.mux.ServeHTTP(probe, r)
	if probe.routed {
		return
	}
	if allowed := probe.Header().Get("Allow"); allowed != "" {
		w.Header().Set("Allow", allowed)
		rt.fail(w, r, withStatus(http.StatusMethodNotAllowed, driftline.Errorf(driftline.Invalid,
			"%s is not possible here", clip(r.Method)).WithHint("use %s", allowed)))
		return
	}
	rt.fail(w, r, driftline.Errorf(driftline.NotFound, "there is nothing at %s", clip(r.URL.Path)).
		WithHint("the API is described at /api/v1/openapi.json"))
}

func (rt *router) fail(w http.ResponseWriter, r *http.Request, err error) {
	if wantsPage(r) {
		rt.pages.fail(w, r, err)
		return
	}
	writeError(w, r, err)
}

// wantsPage reports whether a person is looking: a browser, outside the API.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodPost) && !strings.HasPrefix(r.URL.Path, "/api/") && !mlflow.Owns(r.URL.Path) &&
		strings.Contains(r.Header.Get("Accept"), "text/html")
}

// climbs reports whether a path has a segment that stands for another folder, or an empty
// one but at its end. The mux would answer with a redirect to the path that is left.
func climbs(path string) bool {
	for segment := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && path != "/" {
			return true
		}
	}
	return path == "" || path[0] != '/'
}

// unrouted is the writer of a request until a route has it: what the mux says of one that is nobody's is dropped but
// for its headers, so that it can be said in the words of the path's protocol.
type unrouted struct {
	writer http.ResponseWriter
	header http.Header
	routed bool
}

// route returns the writer for a route that was found.
func (u *unrouted) route() http.ResponseWriter {
	u.routed = true
	return u.writer
}

func (u *unrouted) Header() http.Header {
	if u.header == nil {
		u.header = http.Header{}
	}
	return u.header
}

func (u *unrouted) Write(p []byte) (int, error) { return len(p), nil }
func (u *unrouted) WriteHeader(int)             {}
