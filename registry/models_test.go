package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// trained returns a registry in which run e-1 has logged model.bin.
func trained(t *testing.T) *registry.Registry {
	t.Helper()
	r := openFlights(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	if err := r.AddArtifact(nil, "e-1", artifact("model.bin", 1)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestModelVersionsAndAliases(t *testing.T) {
	r := trained(t)
	_, err := r.ModelVersion("late", "")
	wantError(t, err, driftline.NotFound, "none yet")
	spec := driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}
	for want := 1; want <= 3; want++ {
		version, err := r.RegisterModel(spec)
		if err != nil || version.Version != want || version.Artifact != artifact("model.bin", 1) || !version.Created.Equal(noon) {
			t.Fatalf("version %+v, %v, want number %d", version, err, want)
		}
	}
	_, err = r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "modle.bin"})
	wantError(t, err, driftline.NotFound, `did you mean "model.bin"?`)
	_, err = r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-9", Artifact: "model.bin"})
	wantError(t, err, driftline.NotFound, `"e-9"`)

	nowhere, one := 0, 1
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1, Expect: &nowhere, Reason: "first"}))
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2, Expect: &nowhere})
	wantError(t, err, driftline.Conflict, "is at version 1, not at no version")
	moved, err := r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2, Expect: &one, Reason: "better"})
	if err != nil || moved.Version != 2 || !slices.Equal(moved.Aliases, []driftline.Alias{"champion"}) {
		t.Fatalf("moved to %+v, %v", moved, err)
	}
	before := r.Newest()
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2}))
	if r.Newest() != before {
		t.Error("moving an alias to where it is wrote a line")
	}
	for selector, want := range map[string]int{"": 3, "1": 1, "champion": 2} {
		version, err := r.ModelVersion("late", selector)
		if err != nil || version.Version != want {
			t.Errorf("selector %q gives %v, %v, want %d", selector, version, err, want)
		}
	}
	for selector, says := range map[string]string{"champoin": `did you mean "champion"?`, "4": "1 to 3", "0": "1 to 3", "-1": "1 to 3"} {
		_, err := r.ModelVersion("late", selector)
		wantError(t, err, driftline.NotFound, says)
	}
	for _, alias := range []driftline.Alias{"", "latest", "V3", "7", "a@b", "a/b"} {
		_, err := r.MoveAlias("late", alias, driftline.AliasMove{Version: 1})
		wantError(t, err, driftline.Invalid, "alias")
	}
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 4})
	wantError(t, err, driftline.NotFound, "no version 4")
	history, err := r.AliasHistory("late", "champion")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, change := range history {
		got += fmt.Sprintf("%d→%d %s; ", change.From, change.To, change.Reason)
	}
	if got != "0→1 first; 1→2 better; " {
		t.Errorf("history is %s", got)
	}
}

func TestModelsAreListed(t *testing.T) {
	r := trained(t)
	for _, name := range []driftline.ModelName{"late", "late", "early"} {
		must(t)(r.RegisterModel(driftline.ModelSpec{Model: name, Run: "e-1", Artifact: "model.bin"}))
	}
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1}))
	must(t)(r.MoveAlias("late", "backup", driftline.AliasMove{Version: 1}))
	got := ""
	for _, m := range r.Models() {
		got += fmt.Sprintf("%s %d %d %v; ", m.Name, m.Versions, m.Newest.Version, m.Aliases)
	}
	if want := "early 1 1 map[]; late 2 2 map[backup:1 champion:1]; "; got != want {
		t.Errorf("models are %s want %s", got, want)
	}
	versions, err := r.ModelVersions("late")
	if err != nil {
		t.Fatal(err)
	}
	if len(versions) != 2 || !slices.Equal(versions[0].Aliases, []driftline.Alias{"backup", "champion"}) || versions[1].Aliases != nil {
		t.Errorf("versions are %+v", versions)
	}
	_, err = r.ModelVersions("later")
	wantError(t, err, driftline.NotFound, `did you mean "late"?`)
	for _, name := range []driftline.ModelName{"", "a/b", "a@1", "a%2Fb", "a\x00", "ünïcode model-1.0"} {
		_, err := r.RegisterModel(driftline.ModelSpec{Model: name, Run: "e-1", Artifact: "model.bin"})
		if name == "ünïcode model-1.0" {
			must(t)(nil, err)
			continue
		}
		wantError(t, err, driftline.Invalid, "model name")
	}
}

func TestModelKeepsTheArtifactItWasRegisteredFrom(t *testing.T) {
	r := trained(t)
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	if err := r.AddArtifact(nil, "e-1", artifact("model.bin", 9)); err != nil {
		t.Fatal(err)
	}
	version, _ := r.ModelVersion("late", "1")
	if version.Artifact != artifact("model.bin", 1) {
		t.Errorf("artifact is %v", version.Artifact)
	}
}

// Two compare-and-swaps from one state: exactly one wins.
func TestConcurrentAliasMovesHaveOneWinner(t *testing.T) {
	r := trained(t)
	for range 3 {
		must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	}
	const writers = 100
	expected := 0 // nowhere
	for round := range 5 {
		results, versions := make([]error, writers), make([]int, writers)
		var group sync.WaitGroup
		for i := range writers {
			versions[i] = 1 + (expected+i%2)%3 // another one than it is at
			group.Go(func() {
				_, results[i] = r.MoveAlias("late", driftline.Alias("champion"), driftline.AliasMove{Version: versions[i], Expect: &expected})
			})
		}
		group.Wait()
		var won []int
		for i, err := range results {
			if err == nil {
				won = append(won, versions[i])
			} else if !errors.Is(err, &driftline.Error{Code: driftline.Conflict}) {
				t.Error(err)
			}
		}
		if len(won) != 1 {
			t.Fatalf("round %d: the moves to versions %v won, want one", round, won)
		}
		at, err := r.Champion("late")
		if err != nil || at != won[0] {
			t.Errorf("round %d: the alias is at %d, %v; the move to %d won", round, at, err, won[0])
		}
		expected = at
	}
}
