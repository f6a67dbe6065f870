package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

// everyType has a column of each type that both checksums know.
var everyType = arrow.NewSchema([]arrow.Field{
	{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "i32", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: "i64", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "f32", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
	{Name: "f64", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "t", Type: driftline.Time, Nullable: true},
}, nil)

// The peer prints while it prepares, which must not get between question and answer.
func TestPythonComputesTheSameChecksum(t *testing.T) {
	b := benchWithPeers(t)
	rows := driftline.BatchesOf(everyType, batchOf(t, everyType, `[
		{"b":true,"i32":-1,"i64":9223372036854775807,"f32":0.5,"f64":-0.1,"s":"Zürich","t":1735689600000001},
		{"b":false,"i32":7,"i64":-9223372036854775808,"f32":1e30,"f64":1e-300,"s":"","t":-1000000},
		{"b":null,"i32":null,"i64":null,"f32":null,"f64":null,"s":null,"t":null}]`))
	file := filepath.Join(b.dir, "every.parquet")
	if err := writeParquet(file, rows); err != nil {
		t.Fatal(err)
	}
	p, err := b.startPeer(t.Context(), peerSpec{module: "echo_peer", config: map[string]string{"file": file}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.run(t.Context(), true)
	if err := errors.Join(err, p.stop()); err != nil {
		t.Fatal(err)
	}
	want, err := checksum(rows)
	if err != nil {
		t.Fatal(err)
	}
	want.Numbers = []exactReal{0.1}
	if err := sameBits(want, m.answer); err != nil {
		t.Error(err)
	}
	if m.value != 1.5 || b.machine.Peers["pyarrow"] == "" {
		t.Errorf("value %v, versions %v", m.value, b.machine.Peers)
	}
}

func TestAPeerThatIsNotInstalledIsMissing(t *testing.T) {
	_, err := benchWithPeers(t).startPeer(t.Context(), peerSpec{module: "missing_peer"})
	var missing *missingModule
	if !errors.As(err, &missing) || missing.module != "a_module_that_nobody_has" {
		t.Errorf("error is %v", err)
	}
}

func TestThePeersErrorArrives(t *testing.T) {
	config := map[string]string{"file": "nowhere.parquet"}
	_, err := benchWithPeers(t).startPeer(t.Context(), peerSpec{module: "echo_peer", config: config})
	if err == nil || !strings.Contains(err.Error(), "nowhere.parquet") {
		t.Errorf("error is %v", err)
	}
}

func TestAPeerThatTakesTooMuchIsEnded(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit peerLimit
		want  string
	}{
		{"time", peerLimit{time: 200 * time.Millisecond}, "no end within 0 s"},
		{"memory", peerLimit{time: time.Minute, memory: 1}, "ended at 0 GB"},
	} {
		b := benchWithPeers(t)
		p, err := b.startPeer(t.Context(), peerSpec{module: "endless_peer"})
		if err != nil {
			t.Fatal(err)
		}
		p.limit = &c.limit // getting ready took what it took
		_, err = p.run(t.Context(), true)
		if gaveUp := (*unfinished)(nil); !errors.As(err, &gaveUp) || gaveUp.reason != c.want || gaveUp.after <= 0 {
			t.Errorf("%s: error is %v, want %s", c.name, err, c.want)
		}
		if err := p.stop(); err != nil {
			t.Errorf("%s: stop: %v", c.name, err)
		}
	}
}

func TestAPeerThatDoesNotGetReadyIsAnUnfinishedOne(t *testing.T) {
	b := benchWithPeers(t)
	spec := peerSpec{name: "endless", module: "endless_peer", config: "prepare", limit: &peerLimit{time: 100 * time.Millisecond}}
	if err := b.comparePeer(t.Context(), workload{unit: "s"}, fixedSide("Driftline", 5, 1), spec); err != nil {
		t.Fatal(err)
	}
	if len(b.rows) != 1 || b.rows[0].Unfinished == "" {
		t.Errorf("rows %+v", b.rows)
	}
}

func TestMemoryOfAProcessAndItsChildren(t *testing.T) {
	parent := command(t.Context(), "sh", "-c", "sleep 600 & wait")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { killGroup(parent); _ = parent.Wait() }()
	for deadline := time.Now().Add(stopTime); len(descendants(parent.Process.Pid)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the shell has no child")
		}
	}
	watch := watchMemory(parent.Process.Pid)
	peak := watch.stop()
	alone := memoryOf(parent.Process.Pid, "VmRSS")
	if tree := treeMemory(parent.Process.Pid); alone <= 0 || tree <= alone || peak.resident < alone || peak.anonymous <= 0 {
		t.Errorf("alone %d, tree %d, peak %+v", alone, tree, peak)
	}
}

func TestCancelEndsAProcessAndItsChildren(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	parent := command(ctx, "sh", "-c", "sleep 600 & sleep 600")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := parent.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
	for deadline := time.Now().Add(stopTime); syscall.Kill(-parent.Process.Pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			killGroup(parent)
			t.Fatal("a child outlived the context")
		}
	}
}

// benchWithPeers is a bench whose peers are those of testdata. Without a virtual
// environment the test is skipped.
func benchWithPeers(t *testing.T) *bench {
	t.Helper()
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{root: root, dir: t.TempDir(), out: new(strings.Builder), machine: machine{Peers: map[string]string{}}}
	if len(b.interpreters("")) == 0 {
		t.Skip("there is no virtual environment; run make venv")
	}
	t.Setenv("PYTHONPATH", filepath.Join(root, "bench", "testdata"))
	return b
}
