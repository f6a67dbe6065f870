package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/driftline/driftline"
)

// SignatureCheck is the name of the check that is made of every version whose files have a
// signature and whose datasets, or feature service, are known. A gate can ask for it.
const SignatureCheck = "signature"

// ServiceTag is the tag of a model version that names the feature service which its inputs
// come from, where its run read no dataset of ours.
const ServiceTag = "driftline.feature_service"

const mostModelFile = 1 << 20 // of an MLmodel, and of what else a card shows

// RegisterModel is [registry.Registry.RegisterModel], or CreateModelVersion if the model
// must be there, and then compares the signature in the version's files with the features
// that its datasets have. The outcome is a check of the version.
func (e *Engine) RegisterModel(ctx context.Context, spec driftline.ModelSpec, create bool) (*driftline.ModelVersion, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	register := e.registry.RegisterModel
	if !create {
		register = e.registry.CreateModelVersion
	}
	version, err := register(spec)
	if err != nil {
		return nil, err
	}
	check, made, err := e.checkSignature(ctx, version)
	if err != nil {
		e.log.Warn("the signature of a model could not be checked", "model", version.Ref().String(), "error", err)
		return version, nil // it is registered, and a gate that wants the check will not let it pass
	}
	if !made {
		return version, nil
	}
	return e.registry.AddModelCheck(version.Model, strconv.Itoa(version.Version), check)
}

// checkSignature compares; made is false if one of the two sides is not known.
func (e *Engine) checkSignature(ctx context.Context, version *driftline.ModelVersion) (check driftline.ModelCheck, made bool, err error) {
	signature, err := e.modelSignature(ctx, version)
	if err != nil || signature == nil || signature.Tensors || len(signature.Inputs) == 0 {
		return check, false, err
	}
	known, evidence, err := e.inputColumns(version)
	if err != nil || len(known) == 0 {
		return check, false, err
	}
	faults := signatureFaults(signature.Inputs, known)
	check = driftline.ModelCheck{Name: SignatureCheck, Passed: len(faults) == 0, By: "driftline", Evidence: evidence}
	if check.Passed {
		check.Summary = fmt.Sprintf("all %d inputs are columns that it was trained on, of fitting types", len(signature.Inputs))
		return check, true, nil
	}
	const most = 20
	if more := len(faults) - most; more > 0 {
		faults = append(faults[:most], fmt.Sprintf("and %d more", more))
	}
	check.Summary = strings.Join(faults, "; ")
	return check, true, nil
}

// inputColumns are the columns that a version's inputs may come from, with their Arrow
// types, and what says so.
func (e *Engine) inputColumns(version *driftline.ModelVersion) (known map[string]string, evidence []driftline.Ref, err error) {
	known = map[string]string{}
	if version.Origin != nil {
		for _, used := range version.Origin.Datasets {
			dataset, err := e.cardDataset(used.Ref)
			if driftline.CodeOf(err) == driftline.NotFound {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			evidence = append(evidence, used.Ref)
			for _, c := range dataset.Statistics {
				known[c.Column] = c.Type
			}
		}
	}
	service := version.Tags[ServiceTag]
	if len(known) > 0 || service == "" {
		return known, evidence, nil
	}
	resolution, err := e.registry.Resolve(driftline.FeatureSet{Service: driftline.ServiceName(service)})
	if err != nil {
		return nil, nil, err
	}
	for _, c := range resolution.Columns {
		known[c.Name] = c.Type.Arrow().String()
	}
	for _, c := range resolution.Request {
		known[c.Name] = c.Type.Arrow().String()
	}
	return known, []driftline.Ref{driftline.ServiceRef(driftline.ServiceName(service))}, nil
}

// cardDataset returns a dataset with its statistics.
func (e *Engine) cardDataset(ref driftline.Ref) (*driftline.Dataset, error) {
	number, err := strconv.Atoi(ref.Version)
	if err != nil {
		return nil, driftline.Errorf(driftline.NotFound, "%s is no version of a dataset", ref)
	}
	return e.registry.Dataset(driftline.DatasetName(ref.Name), number)
}

// signatureFaults says what of the inputs does not fit the columns.
func signatureFaults(inputs []driftline.SignatureColumn, known map[string]string) []string {
	var faults []string
	for _, in := range inputs {
		has, ok := known[in.Name]
		switch {
		case !ok && !in.Optional:
			fault := fmt.Sprintf("input %q is no column that it was trained on", in.Name)
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			if near := driftline.Nearest(in.Name, names); near != "" {
				fault += fmt.Sprintf(" (nearest: %q)", near)
			}
			faults = append(faults, fault)
		case ok && !typeFits(in.Type, has):
			faults = append(faults, fmt.Sprintf("input %q is %s, the column is %s", in.Name, in.Type, has))
		}
	}
	return faults
}

// typeFits reports whether a value of an Arrow type can be what MLflow calls a type: a
// whole number may stand where a fraction is wanted, because a column of whole numbers
// with nulls is one of fractions in pandas.
func typeFits(wants, has string) bool {
	integer := slices.Contains([]string{"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}, has)
	fraction := slices.Contains([]string{"float16", "float32", "float64"}, has)
	switch wants {
	case "double", "float":
		return integer || fraction
	case "long", "integer":
		return integer
	case "boolean":
		return has == "bool"
	case "string":
		return has == "utf8" || has == "large_utf8"
	case "binary":
		return has == "binary" || has == "large_binary"
	case "datetime", "date":
		return strings.HasPrefix(has, "timestamp") || strings.HasPrefix(has, "date")
	}
	return true // any, or a kind of MLflow's that we have no columns of
}

// modelSignature reads the signature in a version's files, nil if there is none.
func (e *Engine) modelSignature(ctx context.Context, version *driftline.ModelVersion) (*driftline.ModelSignature, error) {
	text, err := e.readModelFile(ctx, version, "MLmodel")
	if err != nil || text == nil {
		return nil, err
	}
	var file struct {
		Signature struct {
			Inputs  string `yaml:"inputs"`
			Outputs string `yaml:"outputs"`
		} `yaml:"signature"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "MLmodel of %s cannot be read: %w", version.Ref(), err)
	}
	signature := &driftline.ModelSignature{}
	if signature.Inputs, signature.Tensors, err = signatureColumns(file.Signature.Inputs); err != nil {
		return nil, err
	}
	if signature.Outputs, _, err = signatureColumns(file.Signature.Outputs); err != nil {
		return nil, err
	}
	if len(signature.Inputs)+len(signature.Outputs) == 0 && !signature.Tensors {
		return nil, nil
	}
	return signature, nil
}

// signatureColumns reads one side of a signature: JSON within YAML.
func signatureColumns(text string) (columns []driftline.SignatureColumn, tensors bool, err error) {
	if text == "" {
		return nil, false, nil
	}
	var fields []struct {
		Name     string          `json:"name"`
		Type     json.RawMessage `json:"type"`
		Required *bool           `json:"required"`
	}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, false, driftline.Errorf(driftline.Invalid, "the signature in MLmodel cannot be read: %w", err)
	}
	for _, f := range fields {
		kind := strings.Trim(string(f.Type), `"`)
		if kind == "tensor" {
			tensors = true
		}
		columns = append(columns, driftline.SignatureColumn{Name: f.Name, Type: kind, Optional: f.Required != nil && !*f.Required})
	}
	return columns, tensors, nil
}

// readModelFile returns a small file of a version, nil if it has none of the name or if it
// is not small.
func (e *Engine) readModelFile(ctx context.Context, version *driftline.ModelVersion, path string) ([]byte, error) {
	at := slices.IndexFunc(version.Files, func(f driftline.Artifact) bool { return f.Path == path })
	if at < 0 || version.Files[at].Size > mostModelFile {
		return nil, nil
	}
	content, err := e.openContent(ctx, version.Files[at])
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return io.ReadAll(content)
}

// ModelSignature returns what a version of a model says of its inputs and outputs, nil if its
// files do not say it.
func (e *Engine) ModelSignature(ctx context.Context, version *driftline.ModelVersion) (*driftline.ModelSignature, error) {
	return e.modelSignature(ctx, version)
}
