package rollout_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
)

// TestScripts runs the scripts in testdata: rollouts from their start to their end, with
// requests that are dealt by the real router.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, s.run)
	})
}

// script is one rollout under test.
type script struct {
	t *testing.T
	*world
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	if d.Cmd == "start" {
		return s.start(d)
	}
	var out strings.Builder
	switch d.Cmd {
	case "tick":
		s.ticks(d, &out)
	case "event":
		s.event(d, &out)
	case "apply", "refuse":
		s.settle(d, &out)
	case "verdict":
		s.verdict(&out)
	case "state":
		s.line(&out)
	default:
		t.Fatalf("no command %q", d.Cmd)
	}
	return out.String()
}

// start reads a plan as JSON.
func (s *script) start(d *datadriven.TestData) string {
	spec := rollout.Spec{ID: "m-1", Model: "m", Candidate: 2, Champion: 1, Policy: 1}
	scan(s.t, d, "champion", &spec.Champion)
	scan(s.t, d, "candidate", &spec.Candidate)
	if d.Input != "" {
		if err := json.Unmarshal([]byte(d.Input), &spec.Plan); err != nil {
			return err.Error()
		}
	}
	w, effects, err := newWorld(spec, 1)
	if err != nil {
		return err.Error()
	}
	s.world = w
	var out strings.Builder
	s.show(effects, &out)
	return out.String()
}

func scan(t *testing.T, d *datadriven.TestData, key string, to any) bool {
	if !d.HasArg(key) {
		return false
	}
	var text string
	d.ScanArgs(t, key, &text)
	var err error
	switch to := to.(type) {
	case *int:
		*to, err = strconv.Atoi(text)
	case *float64:
		*to, err = strconv.ParseFloat(text, 64)
	case *time.Duration:
		var parsed driftline.Duration
		parsed, err = driftline.ParseDuration(strings.TrimPrefix(text, "-"))
		*to = time.Duration(parsed)
		if strings.HasPrefix(text, "-") {
			*to = -*to
		}
	case *string:
		*to = text
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// ticks lets time pass: n times "every", each with so many requests that fail and are slow at
// these rates per arm. It stops at a change. jump sets the clock first; blind is our fault.
func (s *script) ticks(d *datadriven.TestData, out *strings.Builder) {
	n, every, load := 1, time.Minute, load{requests: 1000, champion: rates{error: 0.02}, candidate: rates{error: 0.02}}
	scan(s.t, d, "n", &n)
	scan(s.t, d, "every", &every)
	scan(s.t, d, "requests", &load.requests)
	scan(s.t, d, "champion", &load.champion.error)
	scan(s.t, d, "candidate", &load.candidate.error)
	scan(s.t, d, "slow", &load.candidate.slow)
	scan(s.t, d, "lost", &load.lost)
	scan(s.t, d, "key", &load.key)
	var blind string
	scan(s.t, d, "blind", &blind)
	var jump time.Duration
	scan(s.t, d, "jump", &jump)
	s.now = s.now.Add(jump)
	for i := range n {
		effects := s.tick(every, load, blind)
		if len(effects) > 0 {
			fmt.Fprintf(out, "after %d ticks\n", i+1)
			s.show(effects, out)
			return
		}
	}
	s.line(out)
}

func (s *script) event(d *datadriven.TestData, out *strings.Builder) {
	e := rollout.Event{Kind: rollout.EventKind(d.CmdArgs[0].Key), Force: d.HasArg("force")}
	scan(s.t, d, "by", &e.By)
	scan(s.t, d, "version", &e.Version)
	e.Reason = strings.TrimSpace(d.Input)
	var expect int
	if scan(s.t, d, "expect", &expect) {
		sequence := uint64(expect)
		e.Expect = &sequence
	}
	s.take(e, out)
}

func (s *script) settle(d *datadriven.TestData, out *strings.Builder) {
	if len(s.state.Open) == 0 {
		out.WriteString("nothing is awaited\n")
		return
	}
	e := rollout.Event{Kind: rollout.Applied, Effect: s.state.Open[0].ID, Reason: strings.TrimSpace(d.Input)}
	if d.Cmd == "refuse" {
		e.Kind = rollout.Refused
	}
	s.take(e, out)
}

func (s *script) take(e rollout.Event, out *strings.Builder) {
	effects, err := s.step(e)
	if err != nil {
		fmt.Fprintf(out, "%s: %v\n", driftline.CodeOf(err), err)
		return
	}
	s.show(effects, out)
}

// show prints effects, and where the rollout stands.
func (s *script) show(effects []rollout.Effect, out *strings.Builder) {
	for _, e := range effects {
		switch e.Kind {
		case rollout.EffectRecord:
			fmt.Fprintf(out, "  %s → %s (%s): %s\n", e.Transition.From, e.Transition.To, e.Transition.Cause, e.Transition.Reason)
		case rollout.EffectRoute:
			fmt.Fprintf(out, "  route %s\n", routeText(*e.Route))
		case rollout.EffectAlias:
			fmt.Fprintf(out, "  alias %d → %d\n", e.From, e.Version)
		case rollout.EffectNotice:
			fmt.Fprintf(out, "  tell %s: %s\n", e.Event, strings.TrimPrefix(e.Text, `model "m", rollout m-1: `))
		default:
			fmt.Fprintf(out, "  %s %d\n", e.Kind, e.Version)
		}
	}
	s.line(out)
}

func routeText(r driftline.Route) string {
	var parts []string
	for _, arm := range r.Arms {
		parts = append(parts, fmt.Sprintf("%s %g %% (version %d)", arm.Arm, arm.Weight, arm.Versions[0].Version))
	}
	if r.Mirror > 0 {
		parts = append(parts, fmt.Sprintf("mirror %g %% to %s", r.Mirror, r.MirrorTo))
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, ", ")
}

func (s *script) line(out *strings.Builder) {
	fmt.Fprintf(out, "%d: %s", s.state.Sequence, s.state.Title())
	if s.state.Paused != "" {
		fmt.Fprintf(out, " in %s", s.state.Paused)
	}
	fmt.Fprintf(out, ", %s", s.state.Elapsed.Short())
	if s.state.Waiting != "" {
		fmt.Fprintf(out, ", waits for %s", s.state.Waiting)
	}
	if s.state.Blind != "" {
		fmt.Fprintf(out, ", blind: %s", s.state.Blind)
	}
	out.WriteByte('\n')
}

func (s *script) verdict(out *strings.Builder) {
	v := s.state.Verdict
	if v == nil {
		out.WriteString("none\n")
		return
	}
	fmt.Fprintf(out, "%s, e-value %.3g of %.3g, needs %s\n", v.Outcome, float64(v.EValue), float64(v.Threshold), rough(v.Needs))
	if v.Pairs > 0 {
		fmt.Fprintf(out, "%d of %d pairs differ\n", v.Differs, v.Pairs)
	}
	for _, g := range v.Guards {
		fmt.Fprintf(out, "%s: %s, worse %.2g, safe %.2g", g.Guard, g.Outcome, float64(g.Worse), float64(g.Safe))
		if g.Ratio != nil {
			fmt.Fprintf(out, ", ratio %.2f (%.2f to %.2f)", float64(g.Ratio.Value), float64(g.Ratio.Low), float64(g.Ratio.High))
		}
		if g.Difference != nil {
			fmt.Fprintf(out, ", difference %.3f (%.3f to %.3f)", float64(g.Difference.Value), float64(g.Difference.Low), float64(g.Difference.High))
		}
		fmt.Fprintf(out, ", events %d of %d and %d of %d, needs %s\n", g.Events.Candidate, g.Requests.Candidate, g.Events.Champion, g.Requests.Champion, rough(g.Needs))
	}
}

// rough is a number to a digit.
func rough(n int64) string {
	if n <= 0 {
		return strconv.FormatInt(n, 10)
	}
	scale := math.Pow(10, math.Floor(math.Log10(float64(n))))
	return fmt.Sprintf("%g", math.Round(float64(n)/scale)*scale)
}

// world is a rollout with requests, and a clock.
type world struct {
	state  rollout.State
	now    time.Time
	random *rand.Rand
	served int
}

// load is what comes to a model between two ticks.
type load struct {
	requests            int
	champion, candidate rates
	lost                float64 // share of the candidate's requests that is not recorded
	key                 string  // all requests have this key; "" each has its own
}

type rates struct{ error, slow float64 }

func newWorld(spec rollout.Spec, seed uint64) (*world, []rollout.Effect, error) {
	w := &world{now: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC), random: rand.New(rand.NewPCG(seed, 0))}
	state, effects, err := rollout.Start(spec, w.now)
	w.state = state
	return w, effects, err
}

func (w *world) step(e rollout.Event) ([]rollout.Effect, error) {
	state, effects, err := rollout.Step(w.state, e, w.now)
	w.state = state
	return effects, err
}

// tick deals requests by the route, and lets the rollout look at what became of them.
func (w *world) tick(every time.Duration, l load, blind string) []rollout.Effect {
	w.now = w.now.Add(every)
	effects, err := w.step(rollout.Event{Kind: rollout.Tick, Elapsed: driftline.Duration(every), Blind: blind, Observations: w.serve(l)})
	if err != nil {
		panic(err)
	}
	return effects
}

func (w *world) serve(l load) (seen []rollout.Observation) {
	if len(w.state.Route.Arms) == 0 {
		return nil
	}
	router, err := routing.New(w.state.Route)
	if err != nil {
		panic(err)
	}
	for range l.requests {
		w.served++
		key := l.key
		if key == "" {
			key = strconv.Itoa(w.served)
		}
		d := router.Decide(key)
		o := rollout.Observation{Route: d.Route, Arm: d.Arm, Key: rollout.Key(key), Answer: w.answer(l.of(d.Arm))}
		if d.Mirror != nil {
			other := driftline.ArmCandidate
			if d.Arm == other {
				other = driftline.ArmChampion
			}
			answer := w.answer(l.of(other))
			o.Mirror = &answer
			o.Differs = w.random.IntN(20) == 0
		}
		if d.Arm == driftline.ArmCandidate && w.random.Float64() < l.lost {
			continue
		}
		seen = append(seen, o)
	}
	return seen
}

func (l load) of(arm driftline.Arm) rates {
	if arm == driftline.ArmCandidate {
		return l.candidate
	}
	return l.champion
}

// answer draws one: of the slow ones a half take longer than a second, of the others none.
func (w *world) answer(r rates) rollout.Answer {
	a := rollout.Answer{Latency: time.Duration(w.random.Float64() * float64(time.Second)), Score: w.random.Float64()}
	if w.random.Float64() < r.slow {
		a.Latency *= 2
	}
	if w.random.Float64() < r.error {
		a.Fault = driftline.FaultError
	}
	return a
}
