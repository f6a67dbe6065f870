package registry_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// manyRuns makes n runs with 10 params, 10 metrics and 5 tags each, and opens them anew.
func manyRuns(b *testing.B, n int) *registry.Registry {
	db, err := kv.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	r, err := registry.Open(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error)
	const writers = 32 // that share fsyncs
	for w := range writers {
		go func() {
			for i := w; i < n; i += writers {
				if err := oneRun(r, i); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	r, err = registry.Open(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("opened in %v", time.Since(began))
	return r
}

func oneRun(r *registry.Registry, i int) error {
	spec := driftline.RunSpec{ID: driftline.RunID(fmt.Sprintf("%032x", i)), ExperimentID: "0", Name: fmt.Sprintf("r%06d", i), User: "me", Started: time.UnixMilli(int64(1_600_000_000_000 + i))}
	if _, err := r.CreateRun(spec); err != nil {
		return err
	}
	log := driftline.RunLog{Params: map[string]string{}, Tags: map[string]string{}}
	for j := range 10 {
		value := driftline.Number((i*7919+j*104_729)%1_000_003) / 1_000_003
		log.Metrics = append(log.Metrics, driftline.Metric{Key: fmt.Sprint("m", j), Value: value, Step: int64(j), Time: spec.Started})
		log.Params[fmt.Sprint("p", j)] = fmt.Sprint((i*31 + j) % 100)
	}
	for j := range 5 {
		log.Tags[fmt.Sprint("t", j)] = fmt.Sprint("v", (i*17+j)%1000)
	}
	return r.LogAnyRun(spec.ID, log)
}

func BenchmarkSearchOfManyRuns(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := manyRuns(b, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perRun := float64(after.HeapAlloc-before.HeapAlloc) / n
	for name, search := range map[string]registry.Search{
		"newest":    {},
		"by metric": {OrderBy: []string{"metrics.m3 DESC"}},
		"tag LIKE":  {Filter: "tags.t1 LIKE '%99%'"},
		"both":      {Filter: "metrics.m1 > 0.5 AND params.p2 = '42'", OrderBy: []string{"metrics.m4"}},
	} {
		search.Limit = 100
		b.Run(name, func(b *testing.B) {
			before := processorTime(b)
			for b.Loop() {
				if _, _, err := r.SearchRuns([]driftline.ExperimentID{"0"}, search); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(perRun, "B/run")
		})
	}
	runtime.KeepAlive(r)
}

// processorTime is what the process has used: on a busy machine the only time that says something.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
