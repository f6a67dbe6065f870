package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const onlineConnections = 4

// onlineLoad is a closed loop: each connection sends its next request when it has
// its last answer. Bodies are made, and answers looked into, outside of the measured time.
type onlineLoad struct {
	url         string
	connections int
	bodies      [][]byte

	// every makes it an open loop: a request each so often, if a connection is free.
	every time.Duration
}

// loadResult is what one run of a load took.
type loadResult struct {
	latencies []time.Duration // of each request, sorted
	elapsed   time.Duration
	answers   [][]byte // by request, if they were kept
}

// loadMetrics are the rows that a load gives: latencies from its paced runs, and the rate
// from those without pauses.
var loadMetrics = []struct {
	suffix, unit string
	paced        bool
	of           func(loadResult) float64
}{
	{"p50", "ms", true, func(r loadResult) float64 { return r.percentile(50) }},
	{"p99", "ms", true, func(r loadResult) float64 { return r.percentile(99) }},
	{"rate", "req/s", false, loadResult.rate},
}

// rate is requests per second.
func (r loadResult) rate() float64 { return float64(len(r.latencies)) / r.elapsed.Seconds() }

// percentile is the nearest-rank one, in milliseconds.
func (r loadResult) percentile(p int) float64 {
	rank := (len(r.latencies)*p + 99) / 100
	return float64(r.latencies[max(rank, 1)-1]) / float64(time.Millisecond)
}

// compareLoad is [bench.compare] with one row per metric from the same pairs of runs. The
// answers that are checked are read by net/http's client, the measured ones by the plain
// one. goal is that of the median latency.
func (b *bench) compareLoad(ctx context.Context, w onlineWorkload, goal *float64, ours onlineLoad, peer string, theirs onlineLoad) error {
	name := w.name()
	_, err := checkAnswers(ctx, workload{name: name}, side{"ours", ours.checked}, side{peer, theirs.checked})
	if differ := (*answersDiffer)(nil); errors.As(err, &differ) {
		b.keep(row{Workload: name, Peer: peer, Unit: "req/s"})
		fmt.Fprintf(b.out, "  %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	oursValues, theirsValues := make([][]float64, len(loadMetrics)), make([][]float64, len(loadMetrics))
	for range b.pairs() {
		for _, paced := range []bool{true, false} {
			a, err := ours.at(w.pace, paced).runPlain(ctx)
			if err != nil {
				return fmt.Errorf("%s, ours: %w", name, err)
			}
			t, err := theirs.at(w.pace, paced).runPlain(ctx)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", name, peer, err)
			}
			for i, metric := range loadMetrics {
				if metric.paced == paced {
					oursValues[i], theirsValues[i] = append(oursValues[i], metric.of(a)), append(theirsValues[i], metric.of(t))
				}
			}
		}
	}
	for i, metric := range loadMetrics {
		compared := workload{name: name + " " + metric.suffix, unit: metric.unit}
		if metric.suffix == "p50" {
			compared.goal = goal
		}
		b.keep(summarize(compared, peer, oursValues[i], theirsValues[i]))
	}
	return nil
}

// pacedSeconds is how long a paced run takes.
const pacedSeconds = 2

// at returns l as it is, or as two seconds of it at a pace.
func (l onlineLoad) at(pace int, paced bool) onlineLoad {
	if paced {
		l.connections, l.every = pacedConnections, time.Second/time.Duration(pace)
		l.bodies = l.bodies[:min(len(l.bodies), pacedSeconds*pace)]
	}
	return l
}

// checked sends every request once and sums up the answers.
func (l onlineLoad) checked(ctx context.Context, _ bool) (measured, error) {
	result, err := l.run(ctx, true)
	if err != nil {
		return measured{}, err
	}
	found, err := sumOnline(result.answers)
	return measured{answer: found}, err
}

func (l onlineLoad) run(ctx context.Context, keep bool) (loadResult, error) {
	// A transport per run: connections that idled while the other side ran may be gone.
	transport := &http.Transport{MaxIdleConnsPerHost: l.connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	answers := make([][]byte, len(l.bodies))
	result, err := l.measure(func(i int) error {
		answer, err := post(ctx, client, l.url, l.bodies[i])
		if keep {
			answers[i] = answer
		}
		return err
	})
	result.answers = answers
	return result, err
}

// measure sends all requests, each at its time, and says how long it took.
func (l onlineLoad) measure(ask func(i int) error) (loadResult, error) {
	result := loadResult{latencies: make([]time.Duration, len(l.bodies))}
	started := time.Now()
	err := inParallel(l.connections, len(l.bodies), func(i int) error {
		time.Sleep(time.Until(started.Add(time.Duration(i) * l.every)))
		sent := time.Now()
		err := ask(i)
		result.latencies[i] = time.Since(sent)
		return err
	})
	result.elapsed = time.Since(started)
	slices.Sort(result.latencies)
	return result, err
}

// inParallel calls do for 0 to n-1 from some goroutines, until one call fails.
func inParallel(goroutines, n int, do func(i int) error) error {
	var next atomic.Int64
	var working sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		working.Go(func() {
			for errs[g] == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				errs[g] = do(i)
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

func post(ctx context.Context, client *http.Client, url string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %.300s", response.StatusCode, answer)
	}
	return answer, err
}

// get opens what is at a URL. Who reads it closes it.
func get(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("HTTP %d", response.StatusCode), response.Body.Close())
	}
	return response.Body, nil
}

// onlineAnswer is the part of an answer that must be the same: Feast's event times
// of precomputed values are those of the computation.
type onlineAnswer struct {
	Metadata struct {
		Names []string `json:"feature_names"`
	} `json:"metadata"`
	Results []onlineColumn `json:"results"`
}

type onlineColumn struct {
	Name     string   `json:"name"`
	Values   []int64  `json:"values"`
	Statuses []string `json:"statuses"`
}

// sumOnline sums up answers in their order; columns of one answer in any order. Every
// entity of the workloads exists, so a value that is not present is an error.
func sumOnline(answers [][]byte) (answer, error) {
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	total := answer{}
	for _, text := range answers {
		var found onlineAnswer
		if err := json.Unmarshal(text, &found); err != nil {
			return total, fmt.Errorf("answer %.100s: %w", text, err)
		}
		if len(found.Results) != len(found.Metadata.Names) || len(found.Results) < 2 {
			return total, fmt.Errorf("%d names and %d columns", len(found.Metadata.Names), len(found.Results))
		}
		for i, name := range found.Metadata.Names {
			found.Results[i].Name = name
			if slices.ContainsFunc(found.Results[i].Statuses, func(status string) bool { return status != "PRESENT" }) {
				return total, fmt.Errorf("%s is not present in %.100s", name, text)
			}
		}
		slices.SortFunc(found.Results, func(a, b onlineColumn) int { return cmp.Compare(a.Name, b.Name) })
		if err := json.NewEncoder(sum).Encode(found.Results); err != nil {
			return total, err
		}
		total.Rows += int64(len(found.Results[0].Values))
	}
	total.Checksum = fmt.Sprintf("%016x", sum.Sum64())
	return total, nil
}
