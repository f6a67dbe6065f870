package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// serving is a driftline serve that runs inside the test.
type serving struct {
	address string // of HTTP
	flight  string
	stop    context.CancelFunc
	exit    chan int
	rest    chan string // what it says after its first lines
}

// serve starts driftline serve and waits until it says where it listens.
func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	s := &serving{stop: stop, exit: make(chan int, 1), rest: make(chan string, 1)}
	a := &app{stdin: strings.NewReader(""), stdout: in, stderr: io.Discard, environ: func() []string { return nil }}
	go func() {
		s.exit <- a.run(ctx, append([]string{"serve", "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0"}, args...))
		in.Close()
	}()
	lines := bufio.NewReader(out)
	for _, into := range []*string{new(string), &s.address, &s.flight} {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("serve ended with exit code %d", <-s.exit)
		}
		fields := strings.Fields(line)
		*into = fields[len(fields)-1]
	}
	go func() {
		rest, _ := io.ReadAll(lines)
		s.rest <- string(rest)
	}()
	t.Cleanup(func() { stop() })
	return s
}

func (s *serving) end(t *testing.T) {
	t.Helper()
	s.stop()
	if code := <-s.exit; code != 0 {
		t.Errorf("exit code %d after a signal, want 0", code)
	}
	if rest := <-s.rest; rest != "Stopped.\n" {
		t.Errorf("the last words are %q", rest)
	}
}

func TestServeAnswersUntilItIsTold(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	s := serve(t, "--data", folder)
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get(s.address + "/api/v1/server")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimPrefix(s.flight, "grpc://"); !strings.Contains(string(body), want) {
		t.Errorf("the server says %s, want flight at %s", body, want)
	}
	s.end(t)
	serve(t, "--data", folder).end(t) // the folder is free again
}

func TestServeSaysWhyItCannotStart(t *testing.T) {
	folder := t.TempDir()
	s := serve(t, "--data", filepath.Join(folder, "used"))
	defer s.end(t)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"port in use":      {[]string{"--http", taken.Addr().String()}, []string{"is in use", "--http"}},
		"folder in use":    {[]string{"--data", filepath.Join(folder, "used")}, []string{filepath.Join(folder, "used") + ": ", "in use by another process", "hint:"}},
		"folder is a file": {[]string{"--data", file}, []string{"error:", "hint:"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--data", filepath.Join(folder, "new")}, test.args...)
			out := (&shell{}).run(args)
			for _, want := range append(test.want, "exit 1") {
				if !strings.Contains(out, want) {
					t.Errorf("it says %q, want %q in it", out, want)
				}
			}
		})
	}
}

func TestSettingsAreFoundInOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(settingsFile, []byte("http: from-file:1\nflight: from-file:1\ndata: from-file\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	a := &app{environ: func() []string {
		return []string{"DRIFTLINE_HTTP=from-env:1", "DRIFTLINE_FLIGHT=from-env:1", "DRIFTLINE_LOG_FORMAT=json", "DRIFTLINE_SQL_TIMEOUT=5s", "HTTP=no"}
	}}
	root := a.rootCommand()
	command, args, err := root.Find([]string{"serve", "--http", "from-flag:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := command.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	got, err := loadSettings(command.Flags(), a.environ())
	if err != nil {
		t.Fatal(err)
	}
	want := settings{Server: "http://127.0.0.1:8816", HTTP: "from-flag:1", Flight: "from-env:1", Data: "from-file", LogFormat: "json", LogLevel: "info",
		OpenLineageNamespace: "driftline", AllowSource: []string{}, ModelNetworks: []string{}, KeepSnapshots: 10, KeepAge: 7 * 24 * time.Hour,
		CompactionBandwidth: 128, SQLWorkers: 4, SQLMemory: 1024, SQLTimeout: 5 * time.Second}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("settings are\n%+v, want\n%+v", got, want)
	}
}

func TestAReplayNeedsATime(t *testing.T) {
	t.Chdir(t.TempDir())
	out := (&shell{}).run([]string{"serve", "--replay", "april"})
	if !strings.Contains(out, `replay is "april", which is no time`) {
		t.Errorf("it says %s", out)
	}
}

func TestABandwidthBelowNothingIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	out := (&shell{}).run([]string{"serve", "--compaction-bandwidth", "-1"})
	if !strings.Contains(out, "compaction-bandwidth is -1, want MiB a second, or 0 for no bound") || !strings.Contains(out, "exit 2") {
		t.Errorf("it says %s", out)
	}
	if got := (&settings{}).compactionBandwidth(); got >= 0 {
		t.Errorf("0 is %d bytes a second, and not no bound", got)
	}
}

func TestAServerThatKeepsNothingIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"--keep-snapshots", "0"}, {"--keep-age", "-1h"}} {
		out := (&shell{}).run(append([]string{"serve"}, args...))
		if !strings.Contains(out, "want at least 1, and not less than 0") || !strings.Contains(out, "exit 2") {
			t.Errorf("%v: %s", args, out)
		}
	}
}
