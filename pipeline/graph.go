package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// Graph is the steps of a pipeline in an order in which they can run, and who needs whom.
type Graph struct {
	Pipeline *Pipeline
	Order    []string            // a step comes after all that it needs; else as they are written
	Needs    map[string][]string // step → those that must have succeeded, in order
	Steps    map[string]*Step    // with defaults
}

// Plan checks a pipeline and finds its graph. A circle, an unknown step and an output of two
// steps are errors that name the steps.
func Plan(p *Pipeline) (*Graph, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	g := &Graph{Pipeline: p, Needs: map[string][]string{}, Steps: map[string]*Step{}}
	var names []string
	for _, s := range p.Steps {
		completed := s.Completed()
		g.Steps[s.Name] = &completed
		names = append(names, s.Name)
	}
	if err := g.checkOutputs(names); err != nil {
		return nil, err
	}
	for _, name := range names {
		for _, need := range g.Steps[name].Needs {
			if g.Steps[need] == nil {
				return nil, driftline.Errorf(driftline.Invalid, "step %q: %w", name, driftline.Unknown("step", need, names))
			}
		}
		g.Needs[name] = g.needsOf(name, names)
	}
	return g, g.sort(names)
}

// checkOutputs finds two steps that would write over each other.
func (g *Graph) checkOutputs(names []string) error {
	for i, a := range names {
		for _, b := range names[:i+1] {
			for k, mine := range g.Steps[a].Outputs {
				for m, theirs := range g.Steps[b].Outputs {
					if a == b && m >= k {
						continue
					}
					if Within(mine, theirs) || Within(theirs, mine) {
						return driftline.Errorf(driftline.Invalid, "steps %q and %q both make %q", b, a, mine).WithHint("give each output to one step")
					}
				}
			}
		}
	}
	return nil
}

// needsOf are the steps that a step names, and those that make what it reads.
func (g *Graph) needsOf(name string, names []string) (needs []string) {
	step := g.Steps[name]
	for _, other := range names {
		makes := slices.ContainsFunc(g.Steps[other].Outputs, func(output string) bool {
			return slices.ContainsFunc(step.Inputs, func(input string) bool { return Within(output, input) || Within(input, output) })
		})
		if makes || slices.Contains(step.Needs, other) {
			needs = append(needs, other)
		}
	}
	return needs
}

// sort puts steps behind those that they need.
func (g *Graph) sort(names []string) error {
	done := map[string]bool{}
	for len(g.Order) < len(names) {
		before := len(g.Order)
		for _, name := range names {
			if !done[name] && !slices.ContainsFunc(g.Needs[name], func(need string) bool { return !done[need] }) {
				done[name] = true
				g.Order = append(g.Order, name)
			}
		}
		if len(g.Order) == before {
			return driftline.Errorf(driftline.Invalid, "steps go in a circle: %s", strings.Join(g.circle(names, done), " needs ")).
				WithHint("take one of these needs, or one of the inputs, away")
		}
	}
	return nil
}

// circle follows needs until a step comes again.
func (g *Graph) circle(names []string, done map[string]bool) []string {
	at := names[slices.IndexFunc(names, func(name string) bool { return !done[name] })]
	var way []string
	for !slices.Contains(way, at) {
		way = append(way, at)
		needs := g.Needs[at]
		at = needs[slices.IndexFunc(needs, func(need string) bool { return !done[need] })]
	}
	return append(way[slices.Index(way, at):], at)
}

// Made reports whether a step makes an input.
func (g *Graph) Made(input string) bool {
	for _, s := range g.Steps {
		if slices.ContainsFunc(s.Outputs, func(output string) bool { return Within(output, input) || Within(input, output) }) {
			return true
		}
	}
	return false
}

// CheckInputs finds an input that is not there and that no step makes, by whether a path is there.
func (g *Graph) CheckInputs(exists func(path string) bool) error {
	for _, name := range g.Order {
		for _, input := range g.Steps[name].Inputs {
			if !IsRef(input) && !g.Made(input) && !exists(input) {
				return driftline.Errorf(driftline.NotFound, "step %q: its input %q does not exist, and no step makes it", name, input).
					WithHint("paths are relative to the pipeline's file; a step makes what it lists under outputs")
			}
		}
	}
	return nil
}

// Until is the graph of a step and all that it needs.
func (g *Graph) Until(target string) (*Graph, error) {
	if g.Steps[target] == nil {
		return nil, driftline.Unknown("step", target, g.Order)
	}
	wanted := map[string]bool{target: true}
	for _, name := range slices.Backward(g.Order) {
		if wanted[name] {
			for _, need := range g.Needs[name] {
				wanted[need] = true
			}
		}
	}
	part := &Graph{Pipeline: g.Pipeline, Needs: map[string][]string{}, Steps: map[string]*Step{}}
	for _, name := range g.Order {
		if wanted[name] {
			part.Order, part.Needs[name], part.Steps[name] = append(part.Order, name), g.Needs[name], g.Steps[name]
		}
	}
	return part, nil
}

// Only is the graph of one step alone: what it needs is taken for done.
func (g *Graph) Only(target string) (*Graph, error) {
	if g.Steps[target] == nil {
		return nil, driftline.Unknown("step", target, g.Order)
	}
	return &Graph{Pipeline: g.Pipeline, Order: []string{target}, Needs: map[string][]string{}, Steps: map[string]*Step{target: g.Steps[target]}}, nil
}

// Text draws the graph in lines: each step with what it needs and makes, and how it is, if state says.
func (g *Graph) Text(state State) string {
	var b strings.Builder
	width := 0
	for _, name := range g.Order {
		width = max(width, len(name))
	}
	depth := g.depths()
	for _, name := range g.Order {
		line := fmt.Sprintf("%s%-*s", strings.Repeat("  ", depth[name]), width, name)
		if s, ok := state[name]; ok {
			line += "  " + string(s.Status)
		}
		if needs := g.Needs[name]; len(needs) > 0 {
			line += "  ← " + strings.Join(needs, ", ")
		}
		if outputs := g.Steps[name].Outputs; len(outputs) > 0 {
			line += "  → " + strings.Join(outputs, ", ")
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// depths are how many steps come before each, on the longest way.
func (g *Graph) depths() map[string]int {
	depth := map[string]int{}
	for _, name := range g.Order {
		for _, need := range g.Needs[name] {
			depth[name] = max(depth[name], depth[need]+1)
		}
	}
	return depth
}

// Mermaid draws the graph in the language of mermaid.js, which GitHub shows in Markdown.
func (g *Graph) Mermaid(state State) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, name := range g.Order {
		fmt.Fprintf(&b, "  %s[\"%s\"]", "s_"+name, strings.ReplaceAll(name, "_", " "))
		if s, ok := state[name]; ok {
			b.WriteString(":::" + string(s.Status))
		}
		b.WriteString("\n")
	}
	for _, name := range g.Order {
		for _, need := range g.Needs[name] {
			fmt.Fprintf(&b, "  s_%s --> s_%s\n", need, name)
		}
	}
	for _, input := range g.sources() {
		for _, name := range g.Order {
			if slices.Contains(g.Steps[name].Inputs, input.text) {
				fmt.Fprintf(&b, "  %s[(\"%s\")] -.-> s_%s\n", input.id, strings.ReplaceAll(input.text, `"`, "#quot;"), name)
			}
		}
	}
	if len(state) > 0 {
		b.WriteString("  classDef succeeded fill:#d9f0e3,stroke:#1e7145\n  classDef cached fill:#eef4f1,stroke:#1e7145,stroke-dasharray:3\n" +
			"  classDef failed fill:#fbe9e7,stroke:#b3261e\n  classDef skipped fill:#ececea,stroke:#5f6870\n")
	}
	return b.String()
}

type source struct{ id, text string }

// sources are the inputs that no step makes.
func (g *Graph) sources() (found []source) {
	for _, name := range g.Order {
		for _, input := range g.Steps[name].Inputs {
			if !g.Made(input) && !slices.ContainsFunc(found, func(s source) bool { return s.text == input }) {
				found = append(found, source{fmt.Sprintf("i_%d", len(found)), input})
			}
		}
	}
	return found
}
