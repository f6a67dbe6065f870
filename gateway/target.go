package gateway

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
)

// target is what is known of a version of a model that is served, worked out once for many requests.
type target struct {
	version   *driftline.ModelVersion // as the registry holds it: another pointer once anything changed
	backend   *backend
	features  *driftline.FeatureSet // that are looked up where a request brings keys; nil for none
	signature driftline.ModelSignature
	layout    atomic.Pointer[keyLayout] // of the requests by which features are looked up; nil until there is one
}

type targetKey struct {
	model  driftline.ModelName
	number int
}

// target returns the target of a version. FailedPrecondition: nobody said where it answers.
func (g *Gateway) target(ctx context.Context, model driftline.ModelName, number int) (*target, error) {
	version, err := g.engine.Registry().SharedVersion(model, number)
	if err != nil {
		return nil, err
	}
	key := targetKey{model, number}
	var old *target
	if known, ok := g.targets.Load(key); ok {
		if old = known.(*target); old.version == version {
			return old, nil
		}
	}
	if version.Server == nil {
		g.targets.Delete(key)
		return nil, driftline.Errorf(driftline.FailedPrecondition, "nobody said where %s is served", version.Ref()).WithRef(version.Ref()).
			WithHint("driftline models serve-at %s@%d URL", model, number)
	}
	t, err := g.makeTarget(ctx, version, old)
	if err != nil {
		return nil, err
	}
	g.targets.Store(key, t)
	return t, nil
}

func (g *Gateway) makeTarget(ctx context.Context, version *driftline.ModelVersion, old *target) (*target, error) {
	t := &target{version: version, features: version.Server.Features}
	signature, err := g.engine.ModelSignature(ctx, version)
	if err != nil && driftline.CodeOf(err) != driftline.Invalid { // one that cannot be read says nothing
		return nil, err
	}
	if signature != nil {
		t.signature = *signature
	}
	if t.features == nil {
		t.features = g.trainedOn(version)
	}
	server := version.Server.WithDefaults()
	if old != nil && reflect.DeepEqual(old.backend.server, server) {
		t.backend = old.backend // with the state of its circuit
	} else {
		t.backend = newBackend(version.Ref(), server, g.client, g.options.MaxAnswer, g.circuitMoved)
	}
	return t, nil
}

// trainedOn are the features of the dataset that a version was trained on, as their names were meant then.
func (g *Gateway) trainedOn(version *driftline.ModelVersion) *driftline.FeatureSet {
	if version.Origin == nil {
		return nil
	}
	for _, used := range version.Origin.Datasets {
		number := 0
		for _, c := range used.Ref.Version {
			number = 10*number + int(c-'0')
		}
		dataset, err := g.engine.Registry().Dataset(driftline.DatasetName(used.Ref.Name), number)
		if err != nil || len(dataset.Projections) == 0 {
			continue // it is gone, or was made elsewhere
		}
		return &driftline.FeatureSet{Projections: dataset.Projections, FullFeatureNames: dataset.Request.FullFeatureNames}
	}
	return nil
}

// ask asks the version's server, together with others if it was declared that it may be.
func (t *target) ask(ctx context.Context, id string, r *wire.Request) outcome {
	if b := t.backend.batcher; b != nil && r.Rows < b.most && r.Joinable() {
		return b.ask(ctx, t, id, r)
	}
	return t.askAlone(ctx, id, r)
}

// askAlone asks the version's server for one request.
func (t *target) askAlone(ctx context.Context, id string, r *wire.Request) outcome {
	rows := 0
	if r.Table {
		rows = r.Rows
	}
	buffer := buffers.Get().(*[]byte)
	body := t.body((*buffer)[:0], r)
	o := t.backend.ask(ctx, id, body, rows, t.signature.Outputs)
	if t.backend.lets(body) {
		*buffer = body
		recycle(buffer)
	}
	return o
}

// takes are the names of the columns that the model is to be given, nil if nobody knows.
func (t *target) takes() []driftline.SignatureColumn {
	if t.signature.Tensors {
		return nil
	}
	return t.signature.Inputs
}
