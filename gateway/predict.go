package gateway

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
	"github.com/driftline/driftline/routing"
)

// call is a request on its way.
type call struct {
	model   driftline.ModelName
	request *wire.Request
	key     string // it is dealt by, as the caller gave it; "" if it did not
	pin     string // the version that the caller wants, a number or an alias; "" for the route's
	id      string // of the prediction
	time    time.Time
}

// reply is what leaves.
type reply struct {
	answer   *wire.Answer
	version  int
	arm      driftline.Arm
	id       string
	fellBack driftline.Fault // of the candidate, in whose place the champion answered
}

// failure says that no version had an answer.
type failure struct {
	reply
	fault driftline.Fault
	why   string
}

func (f *failure) Error() string {
	arm := ""
	if f.arm != "" {
		arm = ", the " + string(f.arm) + ","
	}
	return fmt.Sprintf("version %d%s gave no answer (%s): %s", f.version, arm, f.fault, f.why)
}

// newID makes the ID of a prediction: a version 7 UUID, so that those of a time lie together.
func newID(now time.Time) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|rand.Uint64()>>48)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	var text [36]byte
	for i, part := range [5][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		hex.Encode(text[2*part[0]+i:], id[part[0]:part[1]])
		if i < 4 {
			text[2*part[1]+i] = '-'
		}
	}
	return string(text[:])
}

// predict answers one request and logs it. The error is a *failure if the models failed, and what
// was wrong with the request else.
func (g *Gateway) predict(ctx context.Context, c *call) (*reply, error) {
	router, err := g.engine.Router(c.model)
	if err != nil {
		return nil, err
	}
	if err := g.keyed(router, c); err != nil {
		return nil, err
	}
	decision, err := g.decide(router, c)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx) // who hangs up does not end the model's work
	log := entry{call: c, route: router.Route(), decision: decision}
	first, prepared, err := g.answer(ctx, c, decision)
	if err != nil {
		return nil, err
	}
	log.took, log.prepared, log.members = first.took, prepared, first.members
	result := &reply{answer: first.answer, version: decision.Version, arm: decision.Arm, id: c.id}
	if log.fault = first.fault; first.fault != "" {
		if back, ok := router.Fallback(decision, c.dealtBy()); ok {
			second, prepared, err := g.answer(ctx, c, back)
			if err == nil && second.fault == "" {
				log.fellBack, log.prepared, log.members = true, prepared, second.members
				result.answer, result.version, result.arm, result.fellBack = second.answer, back.Version, back.Arm, first.fault
			}
		}
	}
	log.answer, log.version = result.answer, result.version
	if result.answer == nil {
		failed := &failure{reply: *result, fault: first.fault, why: first.why}
		log.status = failed.status()
		g.finish(ctx, &log)
		return nil, failed
	}
	log.status = 200
	g.finish(ctx, &log)
	return result, nil
}

// dealtBy is what the request is dealt by: its key, or its own ID.
func (c *call) dealtBy() string {
	if c.key != "" {
		return c.key
	}
	return c.id
}

// keyed gives a request that brings no key that of its entity, if it is about one.
func (g *Gateway) keyed(router *routing.Router, c *call) error {
	if len(c.key) > driftline.MostRouteKey {
		return driftline.Errorf(driftline.Invalid, "the key has %d bytes, want at most %d", len(c.key), driftline.MostRouteKey).
			WithHint("route by a short name of what your users are, such as their ID")
	}
	if c.key != "" || !c.request.Table || c.request.Rows != 1 {
		return nil
	}
	var names []string
	for i := range c.request.Entities {
		names = append(names, c.request.Entities[i].Name)
	}
	if len(names) == 0 {
		names = g.joinKeys(router, c.model)
	}
	parts := make([]string, 0, len(names))
	for _, name := range names {
		column := c.request.Input(name)
		if column == nil || column.Cells[0] == "null" {
			return nil
		}
		parts = append(parts, wire.Text(column.Cells[0]))
	}
	if key := strings.Join(parts, "|"); len(key) <= driftline.MostRouteKey {
		c.key = key
	}
	return nil
}

// joinKeys are those of the features of the first version of the route.
func (g *Gateway) joinKeys(router *routing.Router, model driftline.ModelName) []string {
	arms := router.Route().Arms
	number := arms[len(arms)-1].Versions[0].Version
	for _, arm := range arms {
		if arm.Arm == driftline.ArmChampion {
			number = arm.Versions[0].Version
		}
	}
	t, err := g.target(context.Background(), model, number)
	if err != nil || t.features == nil {
		return nil
	}
	plan, err := g.engine.PlanOnline(*t.features)
	if err != nil {
		return nil
	}
	names := make([]string, len(plan.Keys))
	for i, key := range plan.Keys {
		names[i] = key.Column
	}
	return names
}

func (g *Gateway) decide(router *routing.Router, c *call) (routing.Decision, error) {
	if c.pin == "" {
		return router.Decide(c.dealtBy()), nil
	}
	number, err := strconv.Atoi(c.pin)
	if err == nil {
		_, err = g.engine.Registry().SharedVersion(c.model, number)
	} else {
		var version *driftline.ModelVersion
		if version, err = g.engine.Registry().ModelVersion(c.model, c.pin); err == nil {
			number = version.Version
		}
	}
	return router.Pin(number), err
}

// answer asks the version, or all of an average, that a decision names. An error is what is
// wrong with the request; what went wrong else is a fault of the outcome.
func (g *Gateway) answer(ctx context.Context, c *call, d routing.Decision) (outcome, *prepared, error) {
	if len(d.Versions) == 0 {
		return g.ask(ctx, c, d.Version)
	}
	outcomes, inputs, errs := make([]outcome, len(d.Versions)), make([]*prepared, len(d.Versions)), make([]error, len(d.Versions))
	var asked sync.WaitGroup
	for i, v := range d.Versions {
		asked.Go(func() { outcomes[i], inputs[i], errs[i] = g.ask(ctx, c, v.Version) })
	}
	asked.Wait()
	all := outcome{}
	answers, weights := make([]*wire.Answer, len(outcomes)), make([]float64, len(outcomes))
	for i, o := range outcomes {
		if errs[i] != nil {
			return outcome{}, nil, errs[i]
		}
		all.took = max(all.took, o.took)
		if o.fault != "" && all.fault == "" {
			all.fault, all.why = o.fault, fmt.Sprintf("version %d of the mixture: %s", d.Versions[i].Version, o.why)
		}
		answers[i], weights[i] = o.answer, d.Versions[i].Share/100
	}
	if all.fault != "" {
		return all, inputs[0], nil
	}
	var ok bool
	if all.answer, ok = wire.Average(answers, weights); !ok {
		all.fault, all.why = driftline.FaultSchema, "its versions' answers are not numbers of one shape, so they have no average"
		return all, inputs[0], nil
	}
	for i, v := range d.Versions {
		all.members = append(all.members, member{v.Version, answers[i]})
	}
	return all, inputs[0], nil
}

// ask asks one version. A panic on the way is our own fault, and ends this request only.
func (g *Gateway) ask(ctx context.Context, c *call, number int) (o outcome, p *prepared, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			g.log.ErrorContext(ctx, "panic", "model", string(c.model), "version", number, "cause", fmt.Sprintf("%v\n%s", cause, debug.Stack()))
			o, err = failed(driftline.FaultOurs, "internal error"), nil
		}
	}()
	t, err := g.target(ctx, c.model, number)
	if err != nil {
		return ours(err), nil, nil
	}
	if p, err = g.prepare(ctx, t, c.request); err != nil {
		if code := driftline.CodeOf(err); code == driftline.Invalid || code == driftline.Exhausted {
			return outcome{}, nil, err
		}
		return ours(err), nil, nil
	}
	return t.ask(ctx, c.id, p.request), p, nil
}

// ours makes an error of ours a fault.
func ours(err error) outcome {
	o := failed(driftline.FaultOurs, "internal error")
	var shown *driftline.Error
	if errors.As(err, &shown) && shown.Code != driftline.Internal {
		o.why = shown.Message
		if shown.Hint != "" {
			o.why += " (" + shown.Hint + ")"
		}
	}
	return o
}

func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
