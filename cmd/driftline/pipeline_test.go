package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAPipelineEndsAsItsStepsDo: 3 if a gate is closed, 1 if a step failed, and what succeeded is not run again.
func TestAPipelineEndsAsItsStepsDo(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("pipeline.yaml", `kind: pipeline
name: gated
steps:
  - {name: train, shell: "echo trained >> runs; echo model > model", outputs: [model]}
  - {name: gate, shell: "exit $(cat exit)", inputs: [model, exit]}
  - {name: deploy, shell: "echo to production", needs: [gate]}
`)
	s := &shell{environ: os.Environ()}
	for _, c := range []struct {
		exit   string
		says   []string
		absent string
	}{
		{"3", []string{"train   succeeded", "gate    failed", "exit code 3", "deploy  skipped", "it needs gate", "gated: 1 succeeded, 1 failed, 1 skipped", "\nexit 3\n"}, "to production"},
		{"1", []string{"train   cached", "gate    failed", "\nexit 1\n"}, "to production"},
		{"0", []string{"train   cached", "gate    succeeded", "deploy | to production", "[3/3] deploy succeeded in "}, "exit 1"},
	} {
		write("exit", c.exit)
		out := s.run([]string{"run", path})
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("with exit %s it does not say %q:\n%s", c.exit, want, out)
			}
		}
		if strings.Contains(out, c.absent) {
			t.Errorf("with exit %s it says %q:\n%s", c.exit, c.absent, out)
		}
	}
	if runs, err := os.ReadFile(filepath.Join(folder, "runs")); err != nil || string(runs) != "trained\n" {
		t.Errorf("train ran %q, %v", runs, err)
	}
	if out := s.run([]string{"run", path, "--only", "gate", "--json"}); !strings.Contains(out, `"gate": {`) || strings.Contains(out, `"deploy"`) {
		t.Errorf("only the gate:\n%s", out)
	}
}
