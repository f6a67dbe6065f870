// Package testenv opens a whole engine in a test's temporary folder, so that no test
// needs a stand-in for any part of it.
//
// The engine's clock is the test's to set, its batches come from a checked allocator,
// and when the test ends it is closed and every batch must have been released.
package testenv

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/replay"
)

// Env is an engine in a folder of the test.
type Env struct {
	T      testing.TB
	Engine *engine.Engine
	Dir    string
	Clock  *replay.Clock
	Mem    *memory.CheckedAllocator

	change func(*engine.Options)
}

// New opens an engine in a fresh folder, its clock at 2013-06-01.
func New(t testing.TB) *Env {
	t.Helper()
	return NewWith(t, func(*engine.Options) {})
}

// NewWith is [New] with other options.
func NewWith(t testing.TB, change func(*engine.Options)) *Env {
	t.Helper()
	return newIn(t, t.TempDir(), change)
}

// NewIn opens an engine in a folder that there is.
func NewIn(t testing.TB, dir string) *Env {
	t.Helper()
	return newIn(t, dir, func(*engine.Options) {})
}

func newIn(t testing.TB, dir string, change func(*engine.Options)) *Env {
	t.Helper()
	e := &Env{
		change: change,
		T:      t, Dir: dir, Mem: memory.NewCheckedAllocator(memory.DefaultAllocator),
		Clock: replay.At(time.Date(2013, 6, 1, 0, 0, 0, 0, time.UTC)),
	}
	t.Cleanup(func() {
		if err := e.Engine.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		e.Mem.AssertSize(t, 0)
	})
	e.open()
	return e
}

func (e *Env) open() {
	e.T.Helper()
	opts := engine.Options{Now: e.Clock.Now, Uptime: e.Clock.Uptime, Allocator: e.Mem, MemoryBytes: 512 << 20, Threads: 2}
	e.change(&opts)
	var err error
	e.Engine, err = engine.Open(context.Background(), e.Dir, &opts)
	if err != nil {
		e.T.Fatalf("open: %v", err)
	}
}

// CopyFolder copies the folder as it is now, as if the process were killed, and returns
// where the copy is.
func (e *Env) CopyFolder() string {
	e.T.Helper()
	dir := e.T.TempDir()
	if err := os.CopyFS(dir, os.DirFS(e.Dir)); err != nil {
		e.T.Fatalf("copy: %v", err)
	}
	return dir
}

// Reopen closes the engine and opens its folder again.
func (e *Env) Reopen() {
	e.T.Helper()
	if err := e.Engine.Close(); err != nil {
		e.T.Fatalf("close: %v", err)
	}
	e.open()
}

// Apply registers definitions.
func (e *Env) Apply(defs driftline.Definitions) {
	e.T.Helper()
	if _, err := e.Engine.Apply(context.Background(), defs); err != nil {
		e.T.Fatalf("apply: %v", err)
	}
}

// Rows parses a JSON array of objects as rows of a schema. The test releases them at its end.
func (e *Env) Rows(schema *arrow.Schema, json string) driftline.Batches {
	e.T.Helper()
	b, _, err := array.RecordFromJSON(e.Mem, schema, strings.NewReader(json))
	if err != nil {
		e.T.Fatalf("rows: %v", err)
	}
	e.T.Cleanup(b.Release)
	return driftline.BatchesOf(schema, b)
}

// Ingest writes rows of a view given as JSON.
func (e *Env) Ingest(view driftline.ViewName, json string) driftline.IngestResult {
	e.T.Helper()
	v, err := e.Engine.Registry().View(view)
	if err != nil {
		e.T.Fatalf("ingest: %v", err)
	}
	result, err := e.Engine.Ingest(context.Background(), view, "", e.Rows(v.Schema(), json))
	if err != nil {
		e.T.Fatalf("ingest: %v", err)
	}
	return result
}
