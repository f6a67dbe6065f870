package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/pipeline"
)

// step is a step that runs true.
func step(name string, change func(*pipeline.Step)) pipeline.Step {
	s := pipeline.Step{Name: name, Command: []string{"true"}}
	if change != nil {
		change(&s)
	}
	return s
}

func needs(names ...string) func(*pipeline.Step) {
	return func(s *pipeline.Step) { s.Needs = names }
}

func of(steps ...pipeline.Step) *pipeline.Pipeline {
	return &pipeline.Pipeline{Name: "flights", Steps: steps}
}

func plan(t *testing.T, p *pipeline.Pipeline) *pipeline.Graph {
	t.Helper()
	g, err := pipeline.Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// training is the pipeline that everybody has.
func training() *pipeline.Pipeline {
	return of(
		step("deploy", needs("gate")),
		step("gate", func(s *pipeline.Step) { s.Inputs = []string{"results/model.bin", "gate.yaml"} }),
		step("train", func(s *pipeline.Step) {
			s.Inputs, s.Outputs = []string{"features", "train.py"}, []string{"results/model.bin"}
		}),
		step("features", func(s *pipeline.Step) {
			s.Inputs, s.Outputs, s.Needs = []string{"dataset/flights@1"}, []string{"features/a.csv", "features/b.csv"}, []string{"validate"}
		}),
		step("validate", nil),
	)
}

func TestOrderFollowsFromNeedsAndFiles(t *testing.T) {
	g := plan(t, training())
	if got := strings.Join(g.Order, " "); got != "validate features train gate deploy" {
		t.Errorf("order: %s", got)
	}
	const want = `validate
  features  ← validate  → features/a.csv, features/b.csv
    train     ← features  → results/model.bin
      gate      ← train
        deploy    ← gate
`
	if got := g.Text(nil); got != want {
		t.Errorf("drawn as\n%swant\n%s", got, want)
	}
	const drawn = `flowchart LR
  s_validate["validate"]
  s_features["features"]
  s_train["train"]
  s_gate["gate"]:::failed
  s_deploy["deploy"]
  s_validate --> s_features
  s_features --> s_train
  s_train --> s_gate
  s_gate --> s_deploy
  i_0[("dataset/flights@1")] -.-> s_features
  i_1[("train.py")] -.-> s_train
  i_2[("gate.yaml")] -.-> s_gate
`
	if got := g.Mermaid(pipeline.State{"gate": {Status: pipeline.Failed}}); !strings.HasPrefix(got, drawn) || !strings.Contains(got, "classDef failed") {
		t.Errorf("mermaid:\n%s", got)
	}
	part, err := g.Until("train")
	if err != nil || strings.Join(part.Order, " ") != "validate features train" {
		t.Errorf("until train: %v, %v", part, err)
	}
	if only, err := g.Only("gate"); err != nil || len(only.Order) != 1 || len(only.Needs) != 0 {
		t.Errorf("only gate: %v, %v", only, err)
	}
	for _, name := range []string{"trian", ""} {
		if _, err := g.Until(name); err == nil {
			t.Errorf("there is a step %q", name)
		}
	}
}

func TestWhatIsNoPipeline(t *testing.T) {
	for want, p := range map[string]*pipeline.Pipeline{
		`steps go in a circle: a needs c needs b needs a`: of(step("a", needs("c")), step("b", needs("a")), step("c", needs("b"))),
		`steps go in a circle: a needs a`:                 of(step("a", needs("a"))),
		`steps go in a circle: b needs c needs b`: of(step("a", nil), step("d", needs("b")), step("b", func(s *pipeline.Step) { s.Inputs, s.Outputs = []string{"y"}, []string{"x"} }),
			step("c", func(s *pipeline.Step) { s.Inputs, s.Outputs = []string{"x/1"}, []string{"y"} })),
		`step "a": step "bb" does not exist`:                    of(step("a", needs("bb")), step("b", nil)),
		`steps "a" and "b" both make "out/model"`:               of(step("a", func(s *pipeline.Step) { s.Outputs = []string{"out"} }), step("b", func(s *pipeline.Step) { s.Outputs = []string{"out/model"} })),
		`there are two steps "a"`:                               of(step("a", nil), step("a", nil)),
		`step "a": it has no program, or two`:                   of(pipeline.Step{Name: "a"}),
		`step "a": output "../x" is not within`:                 of(step("a", func(s *pipeline.Step) { s.Outputs = []string{"../x"} })),
		`step "a": output "/etc/passwd" is not within`:          of(step("a", func(s *pipeline.Step) { s.Outputs = []string{"/etc/passwd"} })),
		`step "a": output "x/../.." is not within`:              of(step("a", func(s *pipeline.Step) { s.Outputs = []string{"x/../.."} })),
		`step "a": retries is -1`:                               of(step("a", func(s *pipeline.Step) { s.Retries = -1 })),
		`step "a": "A=B" is no name of an environment variable`: of(step("a", func(s *pipeline.Step) { s.Variables = []string{"A=B"} })),
		`steps[0]: step name "../a" is not valid`:               of(step("../a", nil)),
		`pipeline "flights" has no steps`:                       of(),
		`pipeline name "" is not valid`:                         {Steps: []pipeline.Step{step("a", nil)}},
		`kind is "pipe"`:                                        {Name: "a", Kind: "pipe", Steps: []pipeline.Step{step("a", nil)}},
	} {
		if _, err := pipeline.Plan(p); err == nil || !strings.HasPrefix(err.Error(), want) || driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	err := plan(t, training()).CheckInputs(func(path string) bool { return path != "train.py" })
	if err == nil || !strings.HasPrefix(err.Error(), `step "train": its input "train.py" does not exist, and no step makes it`) {
		t.Errorf("a missing input: %v", err)
	}
}

// TestStepsStartInOrder: whatever a run does, a step starts after all that it needs has succeeded, never
// more than so many run, and after a failure none starts. Seeded random graphs and ends.
func TestStepsStartInOrder(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 7))
		var steps []pipeline.Step
		n := 1 + random.IntN(12)
		for i := range n {
			steps = append(steps, step(fmt.Sprintf("s%d", i), func(s *pipeline.Step) {
				for k := range i {
					if random.IntN(3) == 0 {
						s.Needs = append(s.Needs, fmt.Sprintf("s%d", k))
					}
				}
				s.Retries = random.IntN(3)
			}))
		}
		random.Shuffle(n, func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		g := plan(t, of(steps...))
		if len(g.Order) != n {
			t.Fatalf("seed %d: %v", seed, g.Order)
		}
		state, most := g.Start(), 1+random.IntN(3)
		failed, attempts := false, map[string]int{}
		for {
			for _, name := range g.Ready(state, most) {
				for _, need := range g.Needs[name] {
					if s := state[need].Status; s != pipeline.Succeeded && s != pipeline.Cached {
						t.Fatalf("seed %d: %s started, and %s is %s", seed, name, need, s)
					}
				}
				if failed {
					t.Fatalf("seed %d: %s started after a failure", seed, name)
				}
				state = state.With(name, pipeline.StepState{Status: pipeline.Running})
			}
			var running []string
			for _, name := range g.Order {
				if state[name].Status == pipeline.Running {
					running = append(running, name)
				}
			}
			if len(running) > most {
				t.Fatalf("seed %d: %v run, want at most %d", seed, running, most)
			}
			if len(running) == 0 {
				break
			}
			name := running[random.IntN(len(running))]
			attempt := pipeline.Attempt{Exit: random.IntN(5)}
			if attempt.Exit > 0 {
				attempt.Reason = "no"
			}
			next, retry := g.Steps[name].Ended(state[name], attempt)
			attempts[name]++
			if next.Status == pipeline.Running && retry <= 0 || next.Attempts != attempts[name] || next.Attempts > g.Steps[name].Retries+1 {
				t.Fatalf("seed %d: %s after %d attempts: %+v, again in %s", seed, name, attempts[name], next, retry)
			}
			failed = failed || next.Status == pipeline.Failed
			state = state.With(name, next)
		}
		state = g.Finish(state)
		good := !slices.ContainsFunc(g.Order, func(name string) bool { return state[name].Status != pipeline.Succeeded })
		if exit := g.Exit(state); good != (exit == 0) || good == failed {
			t.Fatalf("seed %d: exit %d of %+v", seed, exit, state)
		}
	}
}

func TestAVerdictIsNotTriedAgain(t *testing.T) {
	g := plan(t, of(step("gate", func(s *pipeline.Step) { s.Retries = 5 }), step("deploy", needs("gate"))))
	s := g.Steps["gate"]
	if next, retry := s.Ended(pipeline.StepState{}, pipeline.Attempt{Exit: 3, Reason: "exit code 3"}); next.Status != pipeline.Failed || retry != 0 {
		t.Errorf("%+v, %s", next, retry)
	}
	state := g.Finish(pipeline.State{"gate": {Status: pipeline.Failed, Exit: 3}, "deploy": {Status: pipeline.Waiting}})
	if g.Exit(state) != 3 || state["deploy"].Reason != "it needs gate" || g.Describe(state) != "1 failed, 1 skipped" {
		t.Errorf("exit %d: %+v, %s", g.Exit(state), state, g.Describe(state))
	}
	var was pipeline.StepState
	var waits []time.Duration
	for range 4 {
		var wait time.Duration
		was, wait = s.Ended(was, pipeline.Attempt{Exit: 1, Reason: "exit code 1"})
		waits = append(waits, wait)
	}
	if fmt.Sprint(waits) != "[1s 2s 4s 8s]" {
		t.Errorf("it waits %v", waits)
	}
}

// TestWhatAKeyRestsOn: each thing that decides what a step makes changes its key, and nothing else does.
func TestWhatAKeyRestsOn(t *testing.T) {
	base := func() *pipeline.Pipeline {
		return &pipeline.Pipeline{Name: "p", Environment: map[string]string{"A": "1"}, Variables: []string{"DAY"}, Steps: []pipeline.Step{
			step("a", func(s *pipeline.Step) {
				s.Inputs, s.Outputs, s.Variables = []string{"x"}, []string{"y"}, []string{"MODE"}
			})}}
	}
	keyOf := func(change func(p *pipeline.Pipeline, inputs, environ map[string]string)) string {
		p, inputs, environ := base(), map[string]string{"x": "1"}, map[string]string{"DAY": "monday", "HOME": "/root"}
		if change != nil {
			change(p, inputs, environ)
		}
		return plan(t, p).Key("a", inputs, func(name string) (string, bool) { value, ok := environ[name]; return value, ok })
	}
	same := keyOf(nil)
	for what, change := range map[string]func(p *pipeline.Pipeline, inputs, environ map[string]string){
		"an input":       func(_ *pipeline.Pipeline, inputs, _ map[string]string) { inputs["x"] = "2" },
		"the command":    func(p *pipeline.Pipeline, _, _ map[string]string) { p.Steps[0].Command = []string{"false"} },
		"an environment": func(p *pipeline.Pipeline, _, _ map[string]string) { p.Environment["A"] = "2" },
		"the step's own": func(p *pipeline.Pipeline, _, _ map[string]string) {
			p.Steps[0].Environment = map[string]string{"A": "2"}
		},
		"a variable":      func(_ *pipeline.Pipeline, _, environ map[string]string) { environ["DAY"] = "tuesday" },
		"one that is set": func(_ *pipeline.Pipeline, _, environ map[string]string) { environ["MODE"] = "" },
		"an output":       func(p *pipeline.Pipeline, _, _ map[string]string) { p.Steps[0].Outputs = []string{"z"} },
	} {
		if keyOf(change) == same {
			t.Errorf("%s does not change the key", what)
		}
	}
	for what, change := range map[string]func(p *pipeline.Pipeline, inputs, environ map[string]string){
		"nothing":            nil,
		"another variable":   func(_ *pipeline.Pipeline, _, environ map[string]string) { environ["HOME"] = "/home" },
		"a description":      func(p *pipeline.Pipeline, _, _ map[string]string) { p.Steps[0].Description = "x" },
		"how often it tries": func(p *pipeline.Pipeline, _, _ map[string]string) { p.Steps[0].Retries = 3 },
	} {
		if keyOf(change) != same {
			t.Errorf("%s changes the key", what)
		}
	}
	s := plan(t, base()).Steps["a"]
	record := &pipeline.Record{Key: "k", Outputs: map[string]string{"y": "1"}}
	for _, c := range []struct {
		record  *pipeline.Record
		key     string
		outputs map[string]string
		want    bool
	}{
		{record, "k", map[string]string{"y": "1"}, true}, {nil, "k", map[string]string{"y": "1"}, false}, {record, "l", map[string]string{"y": "1"}, false},
		{record, "k", map[string]string{"y": "2"}, false}, {record, "k", map[string]string{"y": ""}, false}, {record, "k", nil, false},
	} {
		if got := s.Fresh(c.record, c.key, c.outputs); got != c.want {
			t.Errorf("%+v: fresh is %v", c, got)
		}
	}
}
