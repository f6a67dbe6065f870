package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/pipeline"
	"github.com/driftline/driftline/pipeline/local"
)

// childVariable makes the test's program run a pipeline in that folder, to be killed.
const childVariable = "PIPELINE_TEST_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childVariable); folder != "" {
		graph, err := pipeline.Plan(crashing())
		if err == nil {
			_, err = local.Run(context.Background(), graph, local.Options{Folder: folder, Environ: os.Environ(), Jobs: 2})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func shell(name, text string, change func(*pipeline.Step)) pipeline.Step {
	s := pipeline.Step{Name: name, Shell: text}
	if change != nil {
		change(&s)
	}
	return s
}

func reads(inputs []string, outputs ...string) func(*pipeline.Step) {
	return func(s *pipeline.Step) { s.Inputs, s.Outputs = inputs, outputs }
}

// run runs steps and returns "step status" of each, in order.
func run(t *testing.T, folder string, options func(*local.Options), steps ...pipeline.Step) (string, pipeline.State) {
	t.Helper()
	graph, err := pipeline.Plan(&pipeline.Pipeline{Name: "p", Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	opts := local.Options{Folder: folder, Environ: os.Environ(), Jobs: 2}
	if options != nil {
		options(&opts)
	}
	state, err := local.Run(t.Context(), graph, opts)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, name := range graph.Order {
		words = append(words, name+" "+string(state[name].Status))
	}
	return strings.Join(words, ", "), state
}

func write(t *testing.T, folder, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestOnlyWhatChangedRunsAgain(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "raw", "1\n2\n")
	steps := []pipeline.Step{
		shell("sum", "awk '{s+=$1} END {print s}' raw > sum", reads([]string{"raw"}, "sum")),
		shell("report", "mkdir -p out; cat sum > out/report; echo x >> runs", reads([]string{"sum"}, "out")),
		shell("tell", "echo told >> tells", func(s *pipeline.Step) { s.Needs = []string{"report"} }),
	}
	for _, c := range []struct {
		name   string
		change func()
		opts   func(*local.Options)
		want   string
	}{
		{"first", func() {}, nil, "sum succeeded, report succeeded, tell succeeded"},
		{"again", func() {}, nil, "sum cached, report cached, tell succeeded"},
		{"the same content", func() { write(t, folder, "raw", "1\n2\n") }, nil, "sum cached, report cached, tell succeeded"},
		{"another input, the same sum", func() { write(t, folder, "raw", "2\n1\n") }, nil, "sum succeeded, report cached, tell succeeded"},
		{"another sum", func() { write(t, folder, "raw", "2\n2\n") }, nil, "sum succeeded, report succeeded, tell succeeded"},
		{"an output was changed", func() { write(t, folder, "out/report", "5\n") }, nil, "sum cached, report succeeded, tell succeeded"},
		{"an output is gone", func() { _ = os.RemoveAll(filepath.Join(folder, "out")) }, nil, "sum cached, report succeeded, tell succeeded"},
		{"another command", func() { steps[0].Shell += " # again" }, nil, "sum succeeded, report cached, tell succeeded"},
		{"a variable", func() { steps[0].Variables = []string{"MODE"} }, func(o *local.Options) { o.Environ = append(o.Environ, "MODE=x") }, "sum succeeded, report cached, tell succeeded"},
		{"the record is damaged", func() { write(t, folder, ".driftline-pipelines/p/steps/report.json", "{") }, func(o *local.Options) { o.Environ = append(o.Environ, "MODE=x") }, "sum cached, report succeeded, tell succeeded"},
		{"all of it", func() {}, func(o *local.Options) { o.Force = true }, "sum succeeded, report succeeded, tell succeeded"},
	} {
		c.change()
		if got, state := run(t, folder, c.opts, steps...); got != c.want {
			t.Errorf("%s: %s, want %s (%+v)", c.name, got, c.want, state)
		}
	}
	if read(t, folder, "out/report") != "4\n" {
		t.Errorf("the report is %q", read(t, folder, "out/report"))
	}
}

func TestWhatASeverMeansRunsAgain(t *testing.T) {
	folder, hash := t.TempDir(), "1"
	steps := []pipeline.Step{shell("get", "echo x > x", reads([]string{"dataset/late@1"}, "x"))}
	resolve := func(o *local.Options) {
		o.Resolve = func(_ context.Context, ref driftline.Ref) (string, error) { return ref.String() + hash, nil }
	}
	for i, want := range []string{"get succeeded", "get cached"} {
		if got, _ := run(t, folder, resolve, steps...); got != want {
			t.Errorf("run %d: %s", i, got)
		}
	}
	hash = "2"
	if got, _ := run(t, folder, resolve, steps...); got != "get succeeded" {
		t.Errorf("another content: %s", got)
	}
}

func TestAFailureIsTriedAgainAndThenEndsTheRun(t *testing.T) {
	folder := t.TempDir()
	counts := `echo x >> tries; [ "$(wc -l < tries)" -ge 3 ] && echo done > out`
	soon := func(s *pipeline.Step) {
		s.Retries, s.RetryDelay, s.Outputs = 2, driftline.Duration(time.Millisecond), []string{"out"}
	}
	got, state := run(t, folder, nil, shell("flaky", counts, soon), shell("after", "true", func(s *pipeline.Step) { s.Needs = []string{"flaky"} }))
	if got != "flaky succeeded, after succeeded" || state["flaky"].Attempts != 3 {
		t.Errorf("%s: %+v", got, state)
	}
	for _, c := range []struct {
		name, text string
		change     func(*pipeline.Step)
		reason     string
		attempts   int
	}{
		{"fails", "echo why >&2; exit 7", func(s *pipeline.Step) { soon(s); s.Outputs = nil }, "exit code 7", 3},
		{"says no", "exit 3", soon, "exit code 3", 1},
		{"makes nothing", "true", func(s *pipeline.Step) { s.Outputs = []string{"nothing"} }, "it ended well, but did not make its output nothing", 1},
		{"hangs", "sleep 600 & sleep 600", func(s *pipeline.Step) { s.Timeout = driftline.Duration(200 * time.Millisecond) }, "it took longer than 200ms", 1},
		{"is killed", "kill -9 $$", nil, "signal: killed", 1},
	} {
		got, state := run(t, folder, nil, shell("bad", c.text, c.change), shell("after", "touch "+strings.ReplaceAll(c.name, " ", "_"), func(s *pipeline.Step) { s.Needs = []string{"bad"} }))
		if got != "bad failed, after skipped" || state["bad"].Reason != c.reason || state["bad"].Attempts != c.attempts {
			t.Errorf("%s: %s: %+v", c.name, got, state)
		}
		if _, err := os.Stat(filepath.Join(folder, strings.ReplaceAll(c.name, " ", "_"))); err == nil {
			t.Errorf("%s: what came after ran", c.name)
		}
	}
	if log := read(t, folder, ".driftline-pipelines/p/logs/flaky.log"); log != "" {
		t.Errorf("the log of flaky has %q", log)
	}
	got, state = run(t, folder, nil, pipeline.Step{Name: "absent", Command: []string{"no-such-program"}})
	if got != "absent failed" || !strings.Contains(state["absent"].Reason, "no-such-program") {
		t.Errorf("%s: %+v", got, state)
	}
}

func TestOutputAndChangesAreTold(t *testing.T) {
	var mu sync.Mutex
	var lines, changes []string
	_, _ = run(t, t.TempDir(), func(o *local.Options) {
		o.Output = func(step, line string) { mu.Lock(); lines = append(lines, step+": "+line); mu.Unlock() }
		o.Changed = func(step string, now pipeline.StepState) { changes = append(changes, step+" "+string(now.Status)) }
		o.Environ = append(o.Environ, "WHO=caller")
	}, shell("one", `echo "$WHO $DRIFTLINE_PIPELINE/$DRIFTLINE_STEP"; printf 'no end'`, func(s *pipeline.Step) { s.Environment = map[string]string{"WHO": "me"} }))
	if want := []string{"one: me p/one", "one: no end"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	if want := []string{"one running", "one succeeded"}; !slices.Equal(changes, want) {
		t.Errorf("changes %q, want %q", changes, want)
	}
}

// TestStepsRunSideBySide: two steps that wait for each other come to an end.
func TestStepsRunSideBySide(t *testing.T) {
	meet := func(me, other string) string {
		return fmt.Sprintf("touch %s; for i in $(seq 600); do [ -e %s ] && exit 0; sleep 0.05; done; exit 1", me, other)
	}
	if got, _ := run(t, t.TempDir(), nil, shell("a", meet("a", "b"), nil), shell("b", meet("b", "a"), nil)); got != "a succeeded, b succeeded" {
		t.Error(got)
	}
}

func TestACancelledRunEndsItsPrograms(t *testing.T) {
	folder := t.TempDir()
	graph, err := pipeline.Plan(&pipeline.Pipeline{Name: "p", Steps: []pipeline.Step{
		shell("long", "sleep 600 & echo $! > child; sleep 600", nil), shell("after", "touch after", func(s *pipeline.Step) { s.Needs = []string{"long"} })}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		waitFor(func() bool {
			content, err := os.ReadFile(filepath.Join(folder, "child"))
			return err == nil && len(content) > 0
		})
	}()
	state, err := local.Run(ctx, graph, local.Options{Folder: folder, Environ: os.Environ()})
	if !errors.Is(err, context.Canceled) || state["long"].Status != pipeline.Skipped || state["after"].Status != pipeline.Skipped {
		t.Errorf("%+v, %v", state, err)
	}
	child := strings.TrimSpace(read(t, folder, "child"))
	if !waitFor(func() bool { return !alive(child) }) {
		t.Errorf("process %s outlives the run", child)
	}
}

func waitFor(done func() bool) bool {
	for range 1200 {
		if done() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// alive reports whether a process runs that is no zombie.
func alive(pid string) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(state)), "Z")
}

// crashing is a pipeline whose second step waits until it is let go.
func crashing() *pipeline.Pipeline {
	return &pipeline.Pipeline{Name: "p", Steps: []pipeline.Step{
		shell("first", "echo x >> firsts; echo 1 > one", reads(nil, "one")),
		shell("second", `echo x >> seconds; echo partial > two; touch begun; while [ ! -e go ]; do sleep 0.05; done; echo 2 > two`, reads([]string{"one"}, "two")),
		shell("third", "cat one two > three", reads([]string{"one", "two"}, "three")),
	}}
}

// TestARunThatWasKilledGoesOn: kill -9 in the middle of a step costs that step, and no other; what it
// had begun to write is not taken for its output.
func TestARunThatWasKilledGoesOn(t *testing.T) {
	folder := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+folder)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	begun := waitFor(func() bool { _, err := os.Stat(filepath.Join(folder, "begun")); return err == nil })
	graph, err := pipeline.Plan(crashing())
	if err != nil {
		t.Fatal(err)
	}
	if begun {
		_, err := local.Run(t.Context(), graph, local.Options{Folder: folder, Environ: os.Environ()})
		if driftline.CodeOf(err) != driftline.Unavailable || !strings.Contains(err.Error(), "running already, process group ") {
			t.Errorf("a second run: %v", err)
		}
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil || !begun {
		t.Fatalf("the second step did not begin, or the run could not be killed: %v", err)
	}
	_ = child.Wait() // it was killed
	write(t, folder, "go", "")
	var state pipeline.State
	ran := waitFor(func() bool { // what the run left behind may take a moment to end
		state, err = local.Run(t.Context(), graph, local.Options{Folder: folder, Environ: os.Environ(), Jobs: 2})
		return driftline.CodeOf(err) != driftline.Unavailable
	})
	if !ran || err != nil || state["first"].Status != pipeline.Cached || state["second"].Status != pipeline.Succeeded || state["third"].Status != pipeline.Succeeded {
		t.Fatalf("%+v, %v", state, err)
	}
	if firsts, three := read(t, folder, "firsts"), read(t, folder, "three"); firsts != "x\n" || three != "1\n2\n" {
		t.Errorf("the first step ran %d times, and the third made %q", strings.Count(firsts, "x"), three)
	}
}
