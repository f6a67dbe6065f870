package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/driftline/driftline/client"
)

// server is a running `driftline serve` over a fresh data folder.
type server struct {
	url    string // of the HTTP door
	flight string // host:port
	client *client.Client

	b       *bench
	process *exec.Cmd
	exited  chan error
	views   int // that suites have named so far
}

// startServer builds the binary once per suite and starts it on free ports. The
// caller stops it.
func (b *bench) startServer(ctx context.Context) (*server, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, err
	}
	s := &server{b: b, exited: make(chan error, 1)}
	s.process = command(ctx, b.binary, "serve", "--data", data, "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--log-level", "warn")
	s.process.Dir = b.dir // away from a driftline.yaml
	s.process.Stderr = os.Stderr
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("driftline serve: %w", err)
	}
	lines := bufio.NewScanner(stdout)
	s.url = listeningURL(lines)
	go func() {
		for lines.Scan() { // so that the server never blocks on its output
		}
		s.exited <- s.process.Wait()
	}()
	if s.url == "" {
		return nil, errors.Join(errors.New("driftline serve did not start"), s.stop())
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (b *bench) build(ctx context.Context) error {
	if b.binary != "" {
		return nil
	}
	binary := filepath.Join(b.dir, "driftline")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "duckdb_arrow", "-o", binary, "./cmd/driftline")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/driftline: %w\n%s", err, out)
	}
	b.binary = binary
	return nil
}

var httpURL = regexp.MustCompile(`http://\S+`)

func listeningURL(lines *bufio.Scanner) string {
	for lines.Scan() {
		if url := httpURL.FindString(lines.Text()); url != "" {
			return url
		}
	}
	return ""
}

func (s *server) connect(ctx context.Context) (err error) {
	s.client, err = client.Dial(ctx, s.url)
	if err != nil {
		return err
	}
	info, err := s.client.Server(ctx)
	s.flight = info.Flight
	return err
}

// usage is what the server has taken so far.
func (s *server) usage() usage { return processUsage(s.process.Process.Pid) }

// stop prints what the server took, where that is known, and ends it.
func (s *server) stop() error {
	if u := s.usage(); u.peakMemory > 0 {
		fmt.Fprintf(s.b.out, "  server: %s\n", u)
	}
	var err error
	if s.client != nil {
		err = s.client.Close()
	}
	_ = s.process.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, <-s.exited)
}
