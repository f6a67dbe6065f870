package engine

import (
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/routing"
)

// routers are who answers for each model, as immutable snapshots that readers need no lock for.
type routers struct {
	championed sync.Map // driftline.ModelName → championed: models without a rollout
}

// championed is a router to a champion, and the state of the registry in which it is one.
type championed struct {
	answering uint64
	*routing.Router
}

// Router returns who answers requests of a model: by its rollout, or, where none is under way,
// the version at the alias champion, or else in stage Production, with Sequence 0. It
// is cheap enough to be asked for each request, and what it returns never changes. NotFound: no such
// model; FailedPrecondition: nobody answers yet.
func (e *Engine) Router(model driftline.ModelName) (*routing.Router, error) {
	if live := e.liveRollout(model); live != nil {
		if router := live.router.Load(); router != nil {
			return router, nil
		}
	}
	answering := e.registry.Answering() // before the champion is read: a move meanwhile makes the snapshot old
	if known, ok := e.routers.championed.Load(model); ok && known.(championed).answering == answering {
		return known.(championed).Router, nil
	}
	version, err := e.registry.Champion(model)
	if err != nil {
		return nil, err
	}
	route := driftline.Route{Model: model, Arms: []driftline.RouteArm{
		{Arm: driftline.ArmChampion, Weight: 100, Versions: []driftline.VersionShare{{Version: version}}},
	}}
	if mixture := e.mixtureOf(model, version); mixture != nil {
		route = *mixture
	}
	router, err := routing.New(route)
	if err != nil {
		return nil, err
	}
	e.routers.championed.Store(model, championed{answering, router})
	return router, nil
}

// RouteOf returns who answers requests of a key.
func (e *Engine) RouteOf(model driftline.ModelName, key string) (driftline.RouteDecision, error) {
	router, err := e.Router(model)
	if err != nil {
		return driftline.RouteDecision{}, err
	}
	if len(key) > driftline.MostRouteKey {
		return driftline.RouteDecision{}, driftline.Errorf(driftline.Invalid, "the key has %d bytes, want at most %d", len(key), driftline.MostRouteKey).
			WithHint("route by a short name of what your users are, such as their ID")
	}
	return decisionOf(router, key), nil
}

func decisionOf(router *routing.Router, key string) driftline.RouteDecision {
	d, route := router.Decide(key), router.Route()
	decision := driftline.RouteDecision{
		Model: route.Model, Key: key, Version: d.Version, Arm: d.Arm, Slot: router.Slot(key), Pinned: d.Pinned, Sequence: d.Route,
		Rollout: driftline.RolloutID(route.Salt), Versions: d.Versions, Mirror: d.Mirror,
	}
	if back, ok := router.Fallback(d, key); ok {
		decision.Fallback = back.Version
	}
	return decision
}
