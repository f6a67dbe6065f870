package gateway

import (
	"context"
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

func (g *Gateway) getServer(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{"name": serverName, "version": g.options.Version, "extensions": []string{}})
	return nil
}

// serverName is what the gateway calls itself.
const serverName = "driftline"

func (g *Gateway) getLive(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]bool{"live": true})
	return nil
}

// getReady answers that the gateway is ready: models are asked each for itself.
func (g *Gateway) getReady(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]bool{"ready": true})
	return nil
}

// pick is the version that a request about a model means: the one that is named, or the champion.
func (g *Gateway) pick(model driftline.ModelName, version string) (int, error) {
	if version != "" {
		found, err := g.engine.Registry().ModelVersion(model, version)
		if err != nil {
			return 0, err
		}
		return found.Version, nil
	}
	router, err := g.engine.Router(model)
	if err != nil {
		return 0, err
	}
	arms := router.Route().Arms
	for _, arm := range arms {
		if arm.Arm == driftline.ArmChampion {
			return arm.Versions[0].Version, nil
		}
	}
	return arms[0].Versions[0].Version, nil
}

// modelReady reports whether the server of a version says that it is ready.
func (g *Gateway) modelReady(ctx context.Context, model driftline.ModelName, version string) error {
	number, err := g.pick(model, version)
	if err != nil {
		return err
	}
	t, err := g.target(ctx, model, number)
	if err != nil {
		return err
	}
	return t.backend.ready(ctx)
}

func (g *Gateway) getModelReady(w http.ResponseWriter, r *http.Request) error {
	if err := g.modelReady(r.Context(), driftline.ModelName(r.PathValue("model")), r.PathValue("version")); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ready": true})
	return nil
}

// getPing answers as MLflow's server does.
func (g *Gateway) getPing(w http.ResponseWriter, r *http.Request) error {
	if err := g.modelReady(r.Context(), driftline.ModelName(r.PathValue("model")), ""); err != nil {
		return err
	}
	_, _ = w.Write([]byte("\n")) // the peer may be gone
	return nil
}

func (g *Gateway) getVersion(w http.ResponseWriter, r *http.Request) error {
	if _, err := g.pick(driftline.ModelName(r.PathValue("model")), ""); err != nil {
		return err
	}
	_, _ = w.Write([]byte(g.options.Version)) // the peer may be gone
	return nil
}

// modelMetadata is what OIP says of a model.
type modelMetadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions"`
	Platform string           `json:"platform"`
	Inputs   []tensorMetadata `json:"inputs"`
	Outputs  []tensorMetadata `json:"outputs"`
}

type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func (g *Gateway) describe(ctx context.Context, model driftline.ModelName, version string) (*modelMetadata, error) {
	number, err := g.pick(model, version)
	if err != nil {
		return nil, err
	}
	all, err := g.engine.Registry().ModelVersions(model)
	if err != nil {
		return nil, err
	}
	m := &modelMetadata{Name: string(model), Versions: []string{}, Platform: serverName, Inputs: []tensorMetadata{}, Outputs: []tensorMetadata{}}
	for i := range all {
		if all[i].Server != nil {
			m.Versions = append(m.Versions, strconv.Itoa(all[i].Version))
		}
	}
	t, err := g.target(ctx, model, number)
	if err != nil {
		return nil, err
	}
	m.Inputs, m.Outputs = tensorsOf(t.signature.Inputs, m.Inputs), tensorsOf(t.signature.Outputs, m.Outputs)
	if len(m.Inputs) > 0 || t.features == nil {
		return m, nil
	}
	plan, err := g.engine.PlanOnline(*t.features)
	if err != nil {
		return nil, err
	}
	for _, f := range plan.Features {
		m.Inputs = append(m.Inputs, tensorMetadata{f.Name, datatypeOf(f.Type), []int64{-1}})
	}
	return m, nil
}

func tensorsOf(columns []driftline.SignatureColumn, tensors []tensorMetadata) []tensorMetadata {
	words := map[string]string{"double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL", "tensor": "FP64"}
	for _, c := range columns {
		datatype := words[c.Type]
		if datatype == "" {
			datatype = "BYTES"
		}
		tensors = append(tensors, tensorMetadata{c.Name, datatype, []int64{-1}})
	}
	return tensors
}

func (g *Gateway) getModel(w http.ResponseWriter, r *http.Request) error {
	m, err := g.describe(r.Context(), driftline.ModelName(r.PathValue("model")), r.PathValue("version"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, m)
	return nil
}
