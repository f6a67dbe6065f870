package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/driftline/driftline/flight"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/web"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	query.WorkerMain() // as main does
	if os.Getenv(asShell) != "" {
		runAsShell()
	}
	if data := os.Getenv(asServer); data != "" {
		a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: func() []string { return nil }}
		args := []string{"serve", "--data", data, "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--log-level", "error"}
		if channels := os.Getenv(asServerChannels); channels != "" {
			args = append(args, "--channels", channels)
		}
		args = append(args, os.Args[1:]...)
		os.Exit(a.run(context.Background(), args))
	}
	goleak.VerifyTestMain(m)
}

// startServer runs both doors of a fresh engine, in the afternoon of 2013-01-31,
// and returns the address of the HTTP one.
func startServer(t *testing.T) string {
	address, _ := startServerIn(t)
	return address
}

// startServerIn is startServer that says where the data folder is, for tests that damage it.
func startServerIn(t *testing.T) (address, folder string) {
	t.Helper()
	env := testenv.New(t)
	env.Clock.Set(time.Date(2013, 1, 31, 16, 0, 0, 0, time.UTC))
	httpListener, flightListener := listenLocal(t), listenLocal(t)
	models := gateway.New(env.Engine, nil)
	t.Cleanup(models.Close) // after the servers
	httpServer := web.New(env.Engine, &web.Options{Version: "v0.1.0", FlightAddress: flightListener.Addr().String(), Gateway: models})
	flightServer := flight.New(env.Engine, nil)
	done := make(chan error, 2)
	go func() { done <- httpServer.Serve(httpListener) }()
	go func() { done <- flightServer.Serve(flightListener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(httpServer.Shutdown(ctx), flightServer.Shutdown(ctx), <-done, <-done); err != nil {
			t.Error(err)
		}
	})
	return "http://" + httpListener.Addr().String(), env.Dir
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shell is a user at a terminal-less shell: a working directory and an environment.
type shell struct {
	environ   []string
	stdin     string
	snapshots []string // the ids that answers named, in the order of their first appearance
}

// run runs a command line and returns all that it said, and its exit code if that is not 0.
func (s *shell) run(args []string) string {
	var stdout, stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(s.stdin), stdout: &stdout, stderr: &stderr, environ: func() []string { return s.environ }}
	code := a.run(context.Background(), args)
	out := stdout.String() + stderr.String()
	if code != 0 {
		out += fmt.Sprintf("exit %d\n", code)
	}
	return out
}

// TestCLI runs sessions at the command line against a real server, one per file:
//
//	file definitions.yaml     writes the input to a file of the working directory
//	driftline                 runs the command: the input's first line is arguments, the rest stdin;
//	                          driftline quiet shows what it says only if it fails
//	show drift.xml            prints a file of the working directory
//	damage features.weather   changes one bit of each data file of a table
//
// What depends on libraries (snapshots, hashes) or the machine is masked. SNAPSHOT_2 in
// an argument is the second snapshot that an answer named.
func TestCLI(t *testing.T) {
	datadriven.Walk(t, "testdata/cli", func(t *testing.T, path string) {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		server, folder := startServerIn(t)
		t.Chdir(t.TempDir())
		s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				if err := os.WriteFile(d.CmdArgs[0].String(), []byte(d.Input+"\n"), 0o666); err != nil {
					d.Fatalf(t, "%v", err)
				}
				return ""
			case "driftline":
				args, stdin := splitInput(d.Input)
				s.stdin = stdin
				out := s.run(s.withSnapshots(args))
				s.noteSnapshots(out)
				if d.HasArg("quiet") && !strings.Contains(out, "\nexit ") {
					return ""
				}
				return mask(out, server)
			case "show":
				content, err := os.ReadFile(d.CmdArgs[0].String())
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				return mask(string(content), server)
			case "damage":
				return damage(t, folder, d.CmdArgs[0].String())
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

var aSnapshot = regexp.MustCompile(`\b\d{17,19}\b`)

func (s *shell) noteSnapshots(out string) {
	for _, id := range aSnapshot.FindAllString(out, -1) {
		if !slices.Contains(s.snapshots, id) {
			s.snapshots = append(s.snapshots, id)
		}
	}
}

func (s *shell) withSnapshots(args []string) []string {
	var named []string
	for i, id := range slices.Backward(s.snapshots) { // 12 before 1
		named = append(named, fmt.Sprintf("SNAPSHOT_%d", i+1), id)
	}
	words := strings.NewReplacer(named...)
	replaced := make([]string, len(args))
	for i, arg := range args {
		replaced[i] = words.Replace(arg)
	}
	return replaced
}

// damage flips a bit in the middle of each data file of a table, and says how many it has.
func damage(t *testing.T, folder, table string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "warehouse", strings.ReplaceAll(table, ".", "/"), "data", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of %s: %v", table, err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%d files\n", len(files))
}

// splitInput takes the arguments from the first line of the input, as a shell
// would: words, single quotes around those with spaces. The rest is stdin.
func splitInput(input string) (args []string, stdin string) {
	line, stdin, _ := strings.Cut(input, "\n")
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
			continue
		}
		args = append(args, strings.Fields(part)...)
	}
	return args, stdin
}

var masked = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{32})\b`), "HASH"},
	{regexp.MustCompile(`(?m)^ *(snapshot|SNAPSHOT|\d{17,19})\b`), "$1"}, // ids differ in length
	{regexp.MustCompile(`(?m)^\d{17,19}\b`), "SNAPSHOT"},
	{regexp.MustCompile(`"(id|parent|from|to)": \d{17,19}\b`), `"$1": SNAPSHOT`},
	{regexp.MustCompile(`"bytes": \d+`), `"bytes": N`},
	{regexp.MustCompile(`(@|snapshot": |\s)\d{17,19}\b`), "${1}SNAPSHOT"},
	{regexp.MustCompile(`"(sequence|seq)": \d+`), `"$1": N`},
	{regexp.MustCompile(`"go": "[^"]*"|"platform": "[^"]*"`), `…`},
}

func mask(out, server string) string {
	out = strings.ReplaceAll(out, server, "SERVER")
	for _, m := range masked {
		out = m.pattern.ReplaceAllString(out, m.with)
	}
	return out
}
