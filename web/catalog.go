package web

import (
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

type health struct {
	Status string `json:"status"`
}

// getAlive is the health check of Feast, whose clients look at the status, and of MLflow,
// whose clients look at the text.
func getAlive(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("OK"))
	return err
}

func (s *Server) getHealth(*http.Request) (health, error) { return health{Status: "ok"}, nil }

type serverInfo struct {
	Version string `json:"version"`
	Flight  string `json:"flight,omitempty"`
}

func (s *Server) getServer(*http.Request) (serverInfo, error) {
	return serverInfo{Version: s.options.Version, Flight: s.options.FlightAddress}, nil
}

type changeList struct {
	Changes []driftline.Change `json:"changes"`
}

func (s *Server) plan(r *http.Request) (changeList, error) {
	defs, err := readJSON[driftline.Definitions](r)
	if err != nil {
		return changeList{}, err
	}
	changes, err := s.engine.Registry().Plan(defs)
	return changeList{Changes: list(changes)}, err
}

func (s *Server) apply(r *http.Request) (changeList, error) {
	defs, err := readJSON[driftline.Definitions](r)
	if err != nil {
		return changeList{}, err
	}
	changes, err := s.engine.Apply(r.Context(), defs)
	return changeList{Changes: list(changes)}, err
}

type entityList struct {
	Entities []driftline.Entity `json:"entities"`
}

func (s *Server) entities(*http.Request) (entityList, error) {
	return entityList{Entities: list(s.engine.Registry().Entities())}, nil
}

type viewList struct {
	FeatureViews []driftline.FeatureView `json:"feature_views"`
}

func (s *Server) views(*http.Request) (viewList, error) {
	return viewList{FeatureViews: list(s.engine.Registry().Views())}, nil
}

func (s *Server) view(r *http.Request) (*driftline.FeatureView, error) {
	return s.viewMeant(driftline.ViewName(r.PathValue("name")))
}

// viewMeant returns the version of a view that a name means now.
func (s *Server) viewMeant(name driftline.ViewName) (*driftline.FeatureView, error) {
	catalogue := s.engine.Registry()
	return catalogue.View(catalogue.Meant(name))
}

// switchView makes the bare name of a view mean another version.
func (s *Server) switchView(r *http.Request) (driftline.ViewSwitch, error) {
	body, err := readJSON[struct {
		Version int `json:"version"`
	}](r)
	if err != nil {
		return driftline.ViewSwitch{}, err
	}
	return s.engine.Registry().SwitchView(driftline.ViewName(r.PathValue("name")), body.Version)
}

type onDemandList struct {
	OnDemandFeatureViews []driftline.OnDemandFeatureView `json:"on_demand_feature_views"`
}

func (s *Server) onDemandViews(*http.Request) (onDemandList, error) {
	return onDemandList{OnDemandFeatureViews: list(s.engine.Registry().OnDemandViews())}, nil
}

func (s *Server) onDemandView(r *http.Request) (*driftline.OnDemandFeatureView, error) {
	return s.engine.Registry().OnDemandView(driftline.ViewName(r.PathValue("name")))
}

func (s *Server) written(r *http.Request) (driftline.IngestResult, error) {
	return s.engine.Written(driftline.ViewName(r.PathValue("name")), r.PathValue("key"))
}

func (s *Server) erase(r *http.Request) (driftline.Erasure, error) {
	req, err := readJSON[driftline.ErasureRequest](r)
	if err != nil {
		return driftline.Erasure{}, err
	}
	return s.engine.Erase(r.Context(), req)
}

func (s *Server) check(r *http.Request) (driftline.CheckReport, error) {
	req, err := readJSON[driftline.CheckRequest](r)
	if err != nil {
		return driftline.CheckReport{}, err
	}
	return s.engine.Check(r.Context(), req)
}

type serviceList struct {
	FeatureServices []driftline.FeatureService `json:"feature_services"`
}

func (s *Server) services(*http.Request) (serviceList, error) {
	return serviceList{FeatureServices: list(s.engine.Registry().Services())}, nil
}

func (s *Server) service(r *http.Request) (*driftline.FeatureService, error) {
	return s.engine.Registry().Service(driftline.ServiceName(r.PathValue("name")))
}

type datasetList struct {
	Datasets []driftline.Dataset `json:"datasets"`
}

func (s *Server) datasets(*http.Request) (datasetList, error) {
	return datasetList{Datasets: list(s.engine.Registry().Datasets())}, nil
}

func (s *Server) dataset(r *http.Request) (*driftline.Dataset, error) {
	version, err := versionOf(r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().Dataset(driftline.DatasetName(r.PathValue("name")), version)
}

func (s *Server) rebuild(r *http.Request) (driftline.Rebuild, error) {
	version, err := versionOf(r.PathValue("version"))
	if err != nil {
		return driftline.Rebuild{}, err
	}
	return s.engine.Rebuild(r.Context(), driftline.DatasetName(r.PathValue("name")), version)
}

// versionOf reads a dataset version of a path; "" is 0, the newest.
func versionOf(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 {
		return 0, driftline.Errorf(driftline.Invalid, "version %q is not a number from 1", clip(text))
	}
	return version, nil
}
