// Package routing says which version of a model answers which request, as a function of the
// route and the request's key alone. So everybody who has the route decides the same: each
// server, after each restart, a client that serves models itself, and whoever checks the
// prediction log afterwards.
//
// # The deal
//
//	slot = first 8 bytes of SHA-256(salt ‖ 0 ‖ purpose ‖ 0 ‖ key), big-endian, mod 10,000
//
//	 0          500                                                   10,000
//	 ├─candidate─┼──────────────────── champion ─────────────────────────┤     5 %
//	 ├──────── candidate ───────┼───────────── champion ─────────────────┤    25 %
//
// purpose is arm, version (who of several answers for its arm) or mirror. SHA-256 because
// every language has it, DuckDB's SQL too, and because what it deals depends on nothing that
// the outcome of a request depends on.
//
// Invariants:
//
//   - The same key has the same arm as long as the weights are the same, and a key that the
//     candidate has it keeps as its weight grows, and until it shrinks below the key's slot.
//   - Another salt deals all keys anew: who met the last candidate first need not meet the next.
//   - A router is immutable, and may be used by any number of goroutines.
package routing

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/driftline/driftline"
)

// Slots is how many slots keys are dealt to: a hundredth of a percent each.
const Slots = 10_000

// The purposes of a deal.
const (
	forArm     = "arm"
	forVersion = "version"
	forMirror  = "mirror"
)

// Slot returns the slot in [0, Slots) of a key.
func Slot(salt, purpose, key string) int {
	var space [192]byte
	text := append(append(append(append(append(space[:0], salt...), 0), purpose...), 0), key...)
	sum := sha256.Sum256(text)
	return int(binary.BigEndian.Uint64(sum[:8]) % Slots)
}

// Router is a route that was checked.
type Router struct {
	route driftline.Route
	arms  []dealt // the candidate first, so that its slots stay its own as it grows
}

// dealt is an arm with the slot below which keys are its own.
type dealt struct {
	driftline.RouteArm
	below int
}

// New checks a route, with the errors of [driftline.Route.Check].
func New(route driftline.Route) (*Router, error) {
	if err := route.Check(); err != nil {
		return nil, err
	}
	r := &Router{route: route}
	for _, arm := range []driftline.Arm{driftline.ArmCandidate, driftline.ArmChampion} {
		i := slices.IndexFunc(route.Arms, func(a driftline.RouteArm) bool { return a.Arm == arm })
		if i < 0 {
			continue
		}
		below := driftline.Hundredths(route.Arms[i].Weight)
		if len(r.arms) > 0 {
			below += r.arms[0].below
		}
		r.arms = append(r.arms, dealt{route.Arms[i], below})
	}
	return r, nil
}

// Slot returns the slot by which a key is dealt to an arm, unless it is pinned.
func (r *Router) Slot(key string) int { return Slot(r.route.Salt, forArm, key) }

// Route returns the route.
func (r *Router) Route() driftline.Route { return r.route }

// Decision is who answers a request. Its slices are the route's and must not be changed.
type Decision struct {
	Arm     driftline.Arm
	Version int // that answers; of an average the first

	// Versions are all that answer, with their shares of the average; nil if one does.
	Versions []driftline.VersionShare

	// Pinned says that the key or the version was pinned: the request is no evidence.
	Pinned bool

	// Mirror are the versions that get the request too, their answers discarded; nil for none.
	Mirror []driftline.VersionShare

	Route uint64 // the route's sequence, which evidence is tagged with
}

// Decide returns who answers a request with this key. Whoever has no key gives the
// request's ID: then requests are dealt one by one.
func (r *Router) Decide(key string) Decision {
	arm, pinned := r.pinned(key)
	if !pinned {
		slot := Slot(r.route.Salt, forArm, key)
		arm = r.arms[slices.IndexFunc(r.arms, func(d dealt) bool { return slot < d.below })].RouteArm
	}
	d := r.answers(arm, key)
	d.Pinned = pinned
	if r.route.Mirror > 0 && r.route.MirrorTo != arm.Arm &&
		Slot(r.route.Salt, forMirror, key) < driftline.Hundredths(r.route.Mirror) {
		d.Mirror = r.arm(r.route.MirrorTo).Versions
	}
	return d
}

// Fallback returns who answers in the candidate's place where it fails, and false if nobody does.
func (r *Router) Fallback(failed Decision, key string) (Decision, bool) {
	champion := r.arm(driftline.ArmChampion)
	if !r.route.Fallback || champion == nil || failed.Arm == driftline.ArmChampion {
		return Decision{}, false
	}
	return r.answers(*champion, key), true
}

func (r *Router) pinned(key string) (driftline.RouteArm, bool) {
	arm, ok := r.route.Pins[key]
	if !ok {
		return driftline.RouteArm{}, false
	}
	return *r.arm(arm), true
}

// arm returns the arm of that name, or nil.
func (r *Router) arm(name driftline.Arm) *driftline.RouteArm {
	for i := range r.arms {
		if r.arms[i].Arm == name {
			return &r.arms[i].RouteArm
		}
	}
	return nil
}

func (r *Router) answers(arm driftline.RouteArm, key string) Decision {
	d := Decision{Arm: arm.Arm, Version: arm.Versions[0].Version, Route: r.route.Sequence}
	if len(arm.Versions) == 1 {
		return d
	}
	if arm.Mixture != driftline.MixtureChoose {
		d.Versions = arm.Versions
		return d
	}
	slot := Slot(r.route.Salt, forVersion, key)
	for _, v := range arm.Versions {
		if slot -= driftline.Hundredths(v.Share); slot < 0 {
			d.Version = v.Version
			break
		}
	}
	return d
}

// Shares makes of weights, which add up to 1, the shares of an arm in whole hundredths of a
// percent that add up to 100: those with the largest rests are rounded up.
func Shares(versions []int, weights []float64) []driftline.VersionShare {
	slots, order, left := make([]int, len(versions)), make([]int, len(versions)), Slots
	for i := range versions {
		slots[i], order[i] = int(weights[i]*Slots), i
		left -= slots[i]
	}
	rest := func(i int) float64 { return weights[i]*Slots - float64(slots[i]) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rest(b), rest(a)) })
	shares := make([]driftline.VersionShare, len(versions))
	for place, i := range order {
		if place < left {
			slots[i]++
		}
		shares[i] = driftline.VersionShare{Version: versions[i], Share: float64(slots[i]) / 100}
	}
	return shares
}

// Pin returns the decision for a request that asks for a version itself.
func (r *Router) Pin(version int) Decision {
	d := Decision{Version: version, Pinned: true, Route: r.route.Sequence}
	for _, arm := range r.arms {
		if len(arm.Versions) == 1 && arm.Versions[0].Version == version {
			d.Arm = arm.Arm
		}
	}
	return d
}
