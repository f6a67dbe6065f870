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
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/driftline/driftline/flight"
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
		os.Exit(a.run(context.Background(), []string{"serve", "--data", data, "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--log-level", "error"}))
	}
	goleak.VerifyTestMain(m)
}

// startServer runs both doors of a fresh engine, in the afternoon of 2013-01-31,
// and returns the address of the HTTP one.
func startServer(t *testing.T) string {
	t.Helper()
	env := testenv.New(t)
	env.Clock.Set(time.Date(2013, 1, 31, 16, 0, 0, 0, time.UTC))
	httpListener, flightListener := listenLocal(t), listenLocal(t)
	httpServer := web.New(env.Engine, &web.Options{Version: "v0.1.0", FlightAddress: flightListener.Addr().String()})
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
	return "http://" + httpListener.Addr().String()
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
	environ []string
	stdin   string
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
//	driftline                 runs the command: the input's first line is arguments, the rest stdin
//
// What depends on libraries (snapshots, hashes) or the machine is masked.
func TestCLI(t *testing.T) {
	datadriven.Walk(t, "testdata/cli", func(t *testing.T, path string) {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		server := startServer(t)
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
				return mask(s.run(args), server)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
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
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "HASH"},
	{regexp.MustCompile(`(@|snapshot": |\s)\d{17,19}\b`), "${1}SNAPSHOT"},
	{regexp.MustCompile(`"sequence": \d+`), `"sequence": N`},
	{regexp.MustCompile(`"go": "[^"]*"|"platform": "[^"]*"`), `…`},
}

func mask(out, server string) string {
	out = strings.ReplaceAll(out, server, "SERVER")
	for _, m := range masked {
		out = m.pattern.ReplaceAllString(out, m.with)
	}
	return out
}
