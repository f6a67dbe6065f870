package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// registerWith registers a version whose MLmodel is text, with a tag that names a feature service.
func registerWith(t *testing.T, env *testenv.Env, text string, tags map[string]string) *driftline.ModelVersion {
	t.Helper()
	putArtifact(t, env, driftline.RunRef("e-1"), "model/MLmodel", text)
	v, err := env.Engine.RegisterModel(context.Background(), driftline.ModelSpec{Model: "late", Source: "runs:/e-1/model", Tags: tags}, true)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSignaturesAreComparedWithTheFeaturesOfAService(t *testing.T) {
	env := testenv.New(t)
	env.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{Name: "weather", Entities: []driftline.EntityName{"airport"}, Features: []driftline.Field{
			{Name: "temp", Type: driftline.Float64}, {Name: "gusts", Type: driftline.Int64}, {Name: "sky", Type: driftline.String},
		}}},
		FeatureServices: []driftline.FeatureService{{Name: "delay", Projections: []driftline.Projection{{View: "weather"}}}},
	})
	startRun(t, env)
	service := map[string]string{"driftline.feature_service": "delay"}
	for _, c := range []struct {
		inputs string
		passed bool
		says   string
	}{
		{`[{"name": "temp", "type": "double", "required": true}, {"name": "gusts", "type": "long"}, {"name": "sky", "type": "string"}]`, true, "all 3 inputs"},
		{`[{"name": "gusts", "type": "double"}]`, true, "all 1 inputs"},
		{`[{"name": "temp", "type": "long"}]`, false, `input "temp" is long, the column is float64`},
		{`[{"name": "tmep", "type": "double"}]`, false, `nearest: "temp"`},
		{`[{"name": "humidity", "type": "double", "required": false}, {"name": "temp", "type": "float"}]`, true, "all 2 inputs"},
		{`[{"name": "sky", "type": {"type": "array"}}]`, true, "all 1 inputs"},
	} {
		v := registerWith(t, env, "signature:\n  inputs: '"+c.inputs+"'\n", service)
		if len(v.Checks) != 1 || v.Checks[0].Name != "signature" || v.Checks[0].Passed != c.passed || !strings.Contains(v.Checks[0].Summary, c.says) {
			t.Errorf("%s: checks are %+v", c.inputs, v.Checks)
		}
	}
	for name, text := range map[string]string{
		"no signature":  "flavors: {}\n",
		"tensors":       `signature: {inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'}`,
		"no YAML":       "\t{",
		"no JSON in it": "signature: {inputs: 'x'}",
		"a YAML bomb":   "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nsignature: *f\n",
	} {
		if v := registerWith(t, env, text, service); len(v.Checks) != 0 {
			t.Errorf("%s: checks are %+v", name, v.Checks)
		}
		if _, err := env.Engine.ModelCard(context.Background(), "late", ""); err != nil {
			t.Errorf("%s: card: %v", name, err)
		}
	}
	signed := `signature: {inputs: '[{"name": "temp", "type": "double"}]'}`
	if v := registerWith(t, env, signed, nil); len(v.Checks) != 0 {
		t.Errorf("nothing says where inputs come from: checks are %+v", v.Checks)
	}
	if v := registerWith(t, env, signed, map[string]string{"driftline.feature_service": "nobody"}); len(v.Checks) != 0 {
		t.Errorf("a service that does not exist: checks are %+v", v.Checks)
	}
}
