package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// server is a running `driftline serve` over a data folder of its own.
type server struct {
	url    string // of the HTTP door
	flight string // host:port
	client *client.Client

	b       *bench
	data    string // folder
	process *exec.Cmd
	exited  chan error
	views   int                   // that suites have named so far
	filled  map[string]memoryPeak // views that fillOnce has filled, and what that took
}

// shared is the server that the parts of a suite have in common, so that a table is
// made once. It ends with the suite.
func (b *bench) shared(ctx context.Context) (*server, error) {
	if b.server != nil {
		return b.server, nil
	}
	var err error
	b.server, err = b.startServer(ctx)
	return b.server, err
}

// stopShared ends the servers that parts shared.
func (b *bench) stopShared() (err error) {
	for _, t := range b.trackers {
		err = errors.Join(err, t.peer.stop())
	}
	clear(b.trackers)
	if b.server != nil {
		err = errors.Join(err, b.server.stop())
	}
	b.server = nil
	return err
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
	s := &server{b: b, data: data, filled: map[string]memoryPeak{}}
	return s, s.launch(ctx)
}

// launch starts the process over the data folder, and stops it again on an error.
func (s *server) launch(ctx context.Context) error {
	s.exited = make(chan error, 1)
	s.process = command(ctx, s.b.binary, "serve", "--data", s.data, "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--log-level", "warn")
	s.process.Dir = s.b.dir // away from a driftline.yaml
	s.process.Stderr = os.Stderr
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("driftline serve: %w", err)
	}
	lines := bufio.NewScanner(stdout)
	s.url = listeningURL(lines)
	go func() {
		for lines.Scan() { // so that the server never blocks on its output
		}
		s.exited <- s.process.Wait()
	}()
	if s.url == "" {
		return errors.Join(errors.New("driftline serve did not start"), s.stop())
	}
	if err := s.connect(ctx); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// restart ends the process and starts another over the same data: what it then
// has in memory is of what it is asked from now on.
func (s *server) restart(ctx context.Context) error {
	if err := s.stop(); err != nil {
		return err
	}
	return s.launch(ctx)
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

func (s *server) pid() int { return s.process.Process.Pid }

// usage is what the server has taken so far.
func (s *server) usage() usage { return processUsage(s.pid()) }

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

// fill registers the view and ingests its rows in one stream.
func (s *server) fill(ctx context.Context, view driftline.FeatureView, rows driftline.Batches) error {
	if _, err := s.client.Apply(ctx, definitions(view)); err != nil {
		return err
	}
	_, err := s.client.Ingest(ctx, view.Name, "", rows)
	return err
}

// fillOnce fills a view that no earlier part of the suite has filled, waits until the
// server has nothing more to do with it, and prints what that took.
func (s *server) fillOnce(ctx context.Context, view driftline.FeatureView, rows generated) error {
	name := string(view.Name)
	if _, ok := s.filled[name]; ok {
		return nil
	}
	started, memory := time.Now(), watchMemory(s.pid())
	if err := s.fill(ctx, view, rows.batches()); err != nil {
		memory.stop()
		return fmt.Errorf("fill %s: %w", name, err)
	}
	elapsed := time.Since(started).Seconds()
	peak := memory.stop()
	s.filled[name] = peak
	if _, err := s.flushed(ctx, name, rows.rows); err != nil {
		return err
	}
	state, err := s.settle(ctx, name)
	if err != nil {
		return err
	}
	s.b.progress("%s: %s rows made and ingested in %.1f s, server's peak %d MB; then %s",
		name, count(rows.rows), elapsed, peak.resident/1e6, state)
	return nil
}

// tableState is what the newest snapshot of a view's table says of itself.
type tableState struct {
	Files string `json:"total-data-files"` // numbers, as Iceberg writes them
	Rows  string `json:"total-records"`
	Bytes string `json:"total-files-size"`
}

func (t tableState) files() int { n, _ := strconv.Atoi(t.Files); return n }
func (t tableState) rows() int  { n, _ := strconv.Atoi(t.Rows); return n }

func (t tableState) String() string {
	bytes, _ := strconv.ParseInt(t.Bytes, 10, 64)
	return fmt.Sprintf("%d files, %s rows, %d MB", t.files(), count(t.rows()), bytes/1e6)
}

// table reads the newest metadata of a view's table from the warehouse, as any
// reader of Iceberg would. A table without a snapshot has zero files.
func (s *server) table(view string) (tableState, error) {
	folder := filepath.Join(s.data, "warehouse", "features", view, "metadata")
	version, err := newestMetadata(folder)
	if err != nil || version == 0 {
		return tableState{}, err
	}
	text, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("v%d.metadata.json", version)))
	if err != nil {
		return tableState{}, err
	}
	var metadata struct {
		Current   int64 `json:"current-snapshot-id"`
		Snapshots []struct {
			ID      int64      `json:"snapshot-id"`
			Summary tableState `json:"summary"`
		} `json:"snapshots"`
	}
	if err := json.Unmarshal(text, &metadata); err != nil {
		return tableState{}, fmt.Errorf("metadata of %s: %w", view, err)
	}
	for _, snapshot := range metadata.Snapshots {
		if snapshot.ID == metadata.Current {
			return snapshot.Summary, nil
		}
	}
	return tableState{}, nil
}

// newestMetadata is the greatest number of a file vN.metadata.json, 0 if there is none.
func newestMetadata(folder string) (newest int, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "v*.metadata.json"))
	for _, file := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(file), "v"), ".")
		if n, err := strconv.Atoi(number); err == nil {
			newest = max(newest, n)
		}
	}
	return newest, err
}

const (
	settleTick  = 500 * time.Millisecond
	settleTicks = 6 // in a row without work
	settleTime  = 3 * time.Minute
)

// settle waits until the server does no more work in the background, such as merging
// files, because that would be measured too, and returns the view's table. What is
// still done after a few minutes is measured.
func (s *server) settle(ctx context.Context, view string) (tableState, error) {
	cpu := treeCPU(s.pid())
	deadline := time.Now().Add(pick(s.b, 0, settleTime))
	for quiet := 0; quiet < settleTicks && time.Now().Before(deadline); quiet++ {
		select {
		case <-ctx.Done():
			return tableState{}, ctx.Err()
		case <-time.After(settleTick):
		}
		now := treeCPU(s.pid())
		if now-cpu > settleTick/10 {
			quiet = 0
		}
		cpu = now
	}
	return s.table(view)
}

// dataFiles are the Parquet files in the folder of a view's table.
func (s *server) dataFiles(view string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(s.data, "warehouse", "features", view, "data", "*.parquet"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("the server has stored no Parquet for %s", view)
	}
	slices.Sort(files)
	return files, err
}
