package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/driftline/driftline"
)

// readPolicy reads a policy as definitions are read.
func readPolicy(text string) (*driftline.Policy, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, err
	}
	var p driftline.Policy
	root := without(document.Content[0], "kind")
	err := (&nodeReader{path: "policy.yaml"}).read(root, reflect.ValueOf(&p).Elem(), "policy")
	return &p, err
}

// TestThePolicyOfTheDocumentIsOne: what people copy from there is read, and is right.
func TestThePolicyOfTheDocumentIsOne(t *testing.T) {
	text, err := os.ReadFile("../../docs/rollouts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	p, err := readPolicy(example)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if len(p.Triggers) != 6 || p.Triggers[1].Performance.MinimumLabels != 200 || p.Evaluation.Floors["roc_auc"] != 0.6 ||
		*p.Rollout.Bake.Holdback != 5 || len(p.Rollout.Stages) != 3 || p.Pacing.Cooldown.Short() != "6h" {
		t.Errorf("it was read as %+v", p)
	}
}

func TestBadPoliciesNameTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"model: m\nevaluation: {floors: {roc_auc: high}}":         `policy.yaml:2: floors.roc_auc is the string "high", want a number`,
		"model: m\nevaluation: {seed: -1}":                        `policy.yaml:2: seed is the number -1, want a whole number that is not negative`,
		"model: m\nevaluation:\n  floors: {f1: 1, f1: 2}":         `policy.yaml:3: floors has the key "f1" twice`,
		"model: m\nrollout: {stages: [{weight: 5, min: 1}]}":      `policy.yaml:2: item 1 of stages has no field "min"; known: manual_approval, max_duration, min_duration, min_requests, weight`,
		"model: m\ntriggers:\n  - {name: w, time: {corn: daily}}": `policy.yaml:3: time has no field "corn"; did you mean "cron"?`,
		"model: m\nversion: 3":                                    `policy.yaml:2: policy has no field "version"`,
	} {
		if _, err := readPolicy(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}
