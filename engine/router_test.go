package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// newModel registers versions of a model, each of the files of a run.
func newModel(t *testing.T, env *testenv.Env, name driftline.ModelName, versions int) {
	t.Helper()
	reg := env.Engine.Registry()
	for i := range versions {
		run, err := reg.CreateRun(driftline.RunSpec{Experiment: "e"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.PutArtifact(context.Background(), run.ID, "model/model.txt", strings.NewReader(fmt.Sprintf("weights of %s %d", name, i))); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.RegisterModel(context.Background(), driftline.ModelSpec{Model: name, Run: run.ID, Artifact: "model"}, true); err != nil {
			t.Fatal(err)
		}
	}
}

func champion(t *testing.T, env *testenv.Env, model driftline.ModelName, version int) {
	t.Helper()
	if _, err := env.Engine.Registry().MoveAlias(model, driftline.AliasChampion, driftline.AliasMove{Version: version}); err != nil {
		t.Fatal(err)
	}
}

// answers says who answers a key.
func answers(t *testing.T, env *testenv.Env, model driftline.ModelName, key string) int {
	t.Helper()
	d, err := env.Engine.RouteOf(model, key)
	if err != nil {
		t.Fatal(err)
	}
	return d.Version
}

func TestWithoutARolloutTheChampionAnswers(t *testing.T) {
	env := testenv.New(t)
	if _, err := env.Engine.Router("late"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("an unknown model: %v", err)
	}
	newModel(t, env, "late", 3)
	if _, err := env.Engine.Router("late"); driftline.CodeOf(err) != driftline.FailedPrecondition || !strings.Contains(fmt.Sprint(err), "no champion") {
		t.Errorf("a model without a champion: %v", err)
	}
	if _, err := env.Engine.Registry().MoveStage("late", "1", driftline.StageMove{Stage: driftline.StageProduction}); err != nil {
		t.Fatal(err)
	}
	if got := answers(t, env, "late", "u"); got != 1 {
		t.Errorf("version %d answers, want the one in Production", got)
	}
	champion(t, env, "late", 2)
	if got := answers(t, env, "late", "u"); got != 2 {
		t.Errorf("version %d answers, want the champion", got)
	}
	champion(t, env, "late", 3)
	env.Reopen()
	if got := answers(t, env, "late", "u"); got != 3 {
		t.Errorf("version %d answers after a restart, want 3", got)
	}
	if _, err := env.Engine.RouteOf("late", strings.Repeat("k", driftline.MostRouteKey+1)); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("a key that is too long: %v", err)
	}
}
