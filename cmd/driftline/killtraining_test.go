package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// training says its token, begets processes in its group and out of it, and goes on for ever.
const trainingScript = `echo $DRIFTLINE_TRAINING_SECRET > %[1]s/secret.$DRIFTLINE_TRAINING_TOKEN
echo $DRIFTLINE_TRAINING_TOKEN >> %[1]s/tokens
sleep 600 & echo $! >> %[1]s/pids
setsid sleep 600 & echo $! >> %[1]s/pids
touch %[1]s/ready.$DRIFTLINE_TRAINING_TOKEN
wait`

// TestAKilledServerLeavesOneRun kills the server at several moments of a training run whose command runs on
// its machine. After each restart there is the one run, in a state that it may have; nothing of the
// attempts before is left, and what they say is refused.
func TestAKilledServerLeavesOneRun(t *testing.T) {
	data, folder := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	v := startVictim(t, data, "--allow-commands")
	defer func() { v.kill() }()
	dial := func() *client.Client {
		t.Helper()
		server, err := client.Dial(ctx, v.url)
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	server := dial()
	if _, err := server.CreateModel(ctx, driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	definitions := filepath.Join(folder, "definitions.yaml")
	policy := fmt.Sprintf("policies: [{model: late, training: {command: [/bin/sh, -c, %q]}}]\n", fmt.Sprintf(trainingScript, folder))
	if err := os.WriteFile(definitions, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := (&shell{}).run([]string{"apply", definitions, "--server", v.url}); strings.Contains(out, "exit") {
		t.Fatal(out)
	}
	var run driftline.TrainingID
	tokens := func() []uint64 { return numbersIn(t, filepath.Join(folder, "tokens")) }
	seen := 0 // tokens of attempts before
	newest := func() uint64 {
		awaits(ctx, t, func() bool { return len(tokens()) > seen })
		return tokens()[seen]
	}
	for round := range 4 {
		answer, err := server.Train(ctx, "late", "k", driftline.TrainingRequest{Reason: "test"})
		if err != nil || round > 0 && (!answer.Deduplicated || answer.Run.ID != run) {
			t.Fatalf("round %d: %+v, %v", round, answer, err)
		}
		run = answer.Run.ID
		if round > 0 { // in the first one it is killed as soon as it has said that there is a run
			ready := filepath.Join(folder, fmt.Sprint("ready.", newest()))
			awaits(ctx, t, func() bool { _, err := os.Stat(ready); return err == nil })
		}
		server.Close()
		v.kill()
		seen = len(tokens())
		before := numbersIn(t, filepath.Join(folder, "pids"))
		v = startVictim(t, data, "--allow-commands")
		server = dial()
		for _, pid := range before {
			awaits(ctx, t, func() bool { return gone(int(pid)) })
		}
		all, err := server.Trainings(ctx, "late", 10)
		if err != nil || len(all) != 1 || all[0].ID != run || all[0].State != driftline.TrainingQueued && all[0].State != driftline.TrainingRunning {
			t.Fatalf("round %d: %+v, %v", round, all, err)
		}
	}
	token := newest()
	version, err := server.RegisterModel(ctx, driftline.ModelSpec{Model: "late", Source: "s3://models/late"})
	if err != nil {
		t.Fatal(err)
	}
	secret := func(token uint64) string {
		text, err := os.ReadFile(filepath.Join(folder, fmt.Sprint("secret.", token)))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	report := driftline.TrainingReport{Token: token, Secret: secret(token), TrainingResult: driftline.TrainingResult{Succeeded: true, Candidate: version.Version}}
	for _, old := range tokens()[:seen] {
		late := report
		if late.Token = old; old >= token {
			t.Errorf("token %d after %d", token, old)
		}
		if _, err := server.ReportTraining(ctx, run, late); driftline.CodeOf(err) != driftline.Unauthenticated {
			t.Errorf("the secret of another attempt: %v", err)
		}
		late.Secret = secret(old)
		if _, err := server.ReportTraining(ctx, run, late); driftline.CodeOf(err) != driftline.Conflict || !strings.Contains(err.Error(), "stale_token") {
			t.Errorf("a report of an attempt before: %v", err)
		}
	}
	for range 2 {
		if done, err := server.ReportTraining(ctx, run, report); err != nil || done.State != driftline.TrainingSucceeded || done.Candidate != version.Version {
			t.Errorf("%+v, %v", done, err)
		}
	}
	server.Close()
	v.kill()
	v = startVictim(t, data, "--allow-commands")
	server = dial()
	defer server.Close()
	if all, err := server.Trainings(ctx, "late", 10); err != nil || len(all) != 1 || all[0].State != driftline.TrainingSucceeded || all[0].Attempts < seen+1 || seen < 3 {
		t.Errorf("%d attempts said their token: %+v, %v", seen+1, all, err)
	}
	for _, pid := range numbersIn(t, filepath.Join(folder, "pids")) {
		awaits(ctx, t, func() bool { return gone(int(pid)) })
	}
}

func awaits(ctx context.Context, t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("not in time")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// numbersIn are the numbers in a file, a line each; the last line may be half written.
func numbersIn(t *testing.T, path string) (numbers []uint64) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, line := range lines[:len(lines)-1] {
		n, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// gone reports whether there is no such process, or one that only waits to be reaped.
func gone(pid int) bool {
	state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(state), ") Z ") || syscall.Kill(pid, 0) != nil
}
