package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// feastGo is the program of Feast's Go feature server. Nobody publishes it: it is built from
// Feast's repository, whose generated code has to be made first. RESULTS.md says how.
const feastGo = "feast-go"

// feastGoTimes is how many times its median latency is to be ours.
const feastGoTimes = 2

// onlineFeastGo asks Feast's Go server, over Redis, for the same JSON.
func onlineFeastGo(ctx context.Context, b *bench) (err error) {
	const name = "Feast's Go server, Redis"
	program := filepath.Join(b.root, ".venv-peers", "bin", feastGo)
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath(feastGo); err != nil {
			b.skip(workload{name: "all"}, name, feastGo+" is not in .venv-peers/bin")
			return nil
		}
	}
	ours, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "online-go.parquet")
	if err := writeParquet(file, onlineRows(entities).batches()); err != nil {
		return err
	}
	port, redisPort, err := freePorts()
	if err != nil {
		return err
	}
	metricsPort, _, err := freePorts()
	if err != nil {
		return err
	}
	peer, err := b.startPeer(ctx, peerSpec{name: name, module: "feast_online", config: map[string]any{
		"rows": file, "folder": filepath.Join(b.dir, "feast-go"), "store": "redis", "port": port, "redis_port": redisPort,
		"services": []int{}, "go_server": program, "metrics_port": metricsPort,
	}})
	if missing := (*missingModule)(nil); errors.As(err, &missing) {
		b.skip(workload{name: "all"}, name, missing.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { err = errors.Join(err, peer.stop()) }()
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, w := range onlineWorkloads(b) {
		var goal *float64
		if w.entities == 1 && w.features == 50 {
			goal = atLeast(feastGoTimes)
		}
		theirs := w.load(url, entities, byFeatures)
		theirs.url += "?status=true" // otherwise it leaves statuses and event times out
		if err := b.compareLoad(ctx, w, goal, w.load(ours.url, entities, byFeatures), name, theirs); err != nil {
			return err
		}
	}
	return nil
}
