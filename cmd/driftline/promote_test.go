package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// TestAVersionIsBroughtFromStagingToProduction: with two real servers, its bytes, what it was made from and its
// checks, once; and not at all if the check failed or another key signed it.
func TestAVersionIsBroughtFromStagingToProduction(t *testing.T) {
	staging, production := startServer(t), startServer(t)
	s := &shell{environ: []string{"DRIFTLINE_SERVER_STAGING=" + staging, "DRIFTLINE_SERVER_PRODUCTION=" + production}}
	from, to := dial(t, staging), dial(t, production)
	run, err := from.CreateRun(t.Context(), driftline.RunSpec{Experiment: "late", Params: map[string]string{"depth": "6"}})
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("weights"), 1<<16)
	if _, err := from.PutArtifact(t.Context(), run.ID, "model.bin", bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if _, err := from.RegisterModel(t.Context(), driftline.ModelSpec{Model: "late", Run: run.ID, Artifact: "model.bin"}); err != nil {
		t.Fatal(err)
	}
	promote := func(args ...string) string {
		return s.run(append([]string{"promote", "late@1", "--from", "staging", "--to", "production", "--by", "ci"}, args...))
	}
	check := func(passed bool) {
		if _, err := from.AddModelCheck(t.Context(), "late", "1", driftline.ModelCheck{Name: "evaluation", Passed: passed, Summary: "as good"}); err != nil {
			t.Fatal(err)
		}
	}
	if out := promote("--require", "evaluation"); !strings.Contains(out, `check "evaluation" of model/late@1 was not made`) {
		t.Error(out)
	}
	check(false)
	if out := promote("--require", "evaluation"); !strings.Contains(out, `check "evaluation" of model/late@1 failed: as good`) {
		t.Error(out)
	}
	check(true)
	other, err := to.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := from.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out := promote("--trust", strings.Replace(key, key[8:12], other[8:12], 1)); !strings.Contains(out, "which nobody here vouches for") && !strings.Contains(out, "is no key") {
		t.Error(out)
	}
	if _, err := to.Model(t.Context(), "late"); driftline.CodeOf(err) != driftline.NotFound {
		t.Fatalf("something was brought: %v", err)
	}
	for _, want := range []string{"model/late@1 of staging is model/late@1 of production\n", "model/late@1 of staging was already, and is model/late@1 of production\n"} {
		if out := promote("--require", "evaluation", "--alias", "candidate"); out != want {
			t.Errorf("got %q\nwant %q", out, want)
		}
	}
	v, err := to.ModelVersion(t.Context(), "late", "candidate")
	if err != nil || v.Version != 1 || v.Origin.Params["depth"] != "6" || v.ExternalRun != string(run.ID) || v.Imported.Key != key {
		t.Fatalf("%+v, %v", v, err)
	}
	if len(v.Checks) != 1 || !v.Checks[0].Passed || v.Checks[0].Summary != "passed as model/late@1 of staging: as good" {
		t.Errorf("checks: %+v", v.Checks)
	}
	body, err := to.ArtifactOf(t.Context(), v.Ref(), "model.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came, want %d: %v", len(got), len(content), err)
	}
	for want, args := range map[string][]string{
		"--to nowhere is no address, and DRIFTLINE_SERVER_NOWHERE is not set": {"promote", "late@1", "--from", "staging", "--to", "nowhere"},
		"name the version too":       {"promote", "late", "--from", "staging", "--to", "production"},
		"say --from which server":    {"promote", "late@1"},
		`model "lat" does not exist`: {"promote", "lat@1", "--from", "staging", "--to", "production"},
		"cannot reach the server":    {"promote", "late@1", "--from", "127.0.0.1:1", "--to", "production"},
	} {
		if out := s.run(args); !strings.Contains(out, want) || !strings.Contains(out, "exit ") {
			t.Errorf("%v: %s\nwant %s", args, out, want)
		}
	}
}

func dial(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return c
}
