package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// floorCommand makes the bench's own binary a server that does nothing but answer.
const floorCommand = "__floor"

// onlineFloor measures what is left of a latency when nothing is looked up: a server of Go's
// net/http in a process of its own reads a request whole and sends the bytes that ours
// answered to the first one.
func onlineFloor(ctx context.Context, b *bench) (err error) {
	s, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	w := onlineWorkload{entities: 1, features: 50, requests: pick(b, 50, 1000), pace: 100}
	ours := w.load(s.url, entities, byFeatures)
	first := ours
	first.bodies, first.connections = ours.bodies[:1], 1
	answered, err := first.run(ctx, true)
	if err != nil {
		return err
	}
	url, stop, err := b.startSelf(ctx, string(answered.answers[0]), floorCommand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	floor := ours
	floor.url = url
	for _, metric := range loadMetrics {
		var a, t []float64
		for range b.pairs() {
			for _, side := range []struct {
				load   onlineLoad
				values *[]float64
			}{{ours, &a}, {floor, &t}} {
				result, err := side.load.at(w.pace, metric.paced).runPlain(ctx)
				if err != nil {
					return err
				}
				*side.values = append(*side.values, metric.of(result))
			}
		}
		b.keep(summarize(workload{name: w.name() + " " + metric.suffix, unit: metric.unit, uncompared: true}, "net/http, the same bytes, no look-up", a, t))
	}
	return nil
}

// startSelf starts this binary as one of its servers; what that is to know goes in through
// its standard input.
func (b *bench) startSelf(ctx context.Context, input, as string) (url string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	process := command(ctx, self, as)
	process.Stdin = strings.NewReader(input)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := process.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		killGroup(process)
		_ = process.Wait() // killed
		return nil
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("the server %s: %w", as, err), stop())
	}
	return strings.TrimSpace(line), stop, nil
}

// serveFloor answers every request with what it reads from in, and says where on out.
func serveFloor(in io.Reader, out io.Writer) error {
	answer, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "http://%s/\n", l.Addr()); err != nil {
		return err
	}
	server := http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer))) // the plain client reads no chunks
		_, _ = w.Write(answer)
	})}
	return server.Serve(l)
}
