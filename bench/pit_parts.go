package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// usualHistory is the table of most parts: 10M rows of 100k entities.
func usualHistory(b *bench) past { return history(pick(b, 200, 100_000), 100) }

func usualSpine(b *bench) generated {
	return spine(pick(b, 2_000, 1_000_000), usualHistory(b).entities)
}

// pitJoin is the hot case: one view, all its features.
func pitJoin(ctx context.Context, b *bench) error {
	goals := map[string]*float64{"duckdb": atLeast(1.5), "polars": atLeast(3), "feast": atLeast(20)}
	for _, ttl := range []time.Duration{0, pitTTL} {
		err := b.withTask(ctx, join{views: []past{usualHistory(b)}, ttl: ttl, spine: usualSpine(b)}, func(t *pitTask) error {
			for _, peer := range everyPitPeer {
				w := workload{name: fmt.Sprintf("%s, %s", t.size(), ttlText(ttl)), unit: "s", goal: goals[peer]}
				if err := b.comparePeer(ctx, w, t.ours("Driftline"), pitPeer(peer, t.config)); err != nil {
					return err
				}
			}
			return b.besideScan(ctx, t)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// besideScan shows how far a join is from reading its columns alone, which is what
// no join over files can be faster than, unless it skips some.
func (b *bench) besideScan(ctx context.Context, t *pitTask) error {
	w := workload{name: fmt.Sprintf("%s, %s", t.size(), ttlText(t.ttl)), unit: "s", uncompared: true}
	return b.comparePeer(ctx, w, t.ours("Driftline"), peerSpec{name: "scan of the table, DuckDB", module: "scan_duckdb", config: t.config})
}

// withTask prepares a join, and releases it when do has ended.
func (b *bench) withTask(ctx context.Context, j join, do func(*pitTask) error) error {
	t, err := b.prepare(ctx, j)
	if err != nil {
		return err
	}
	defer t.release()
	return do(t)
}

// pitCorrected compares our own time with corrections with that without. Rows are as
// many on both sides.
func pitCorrected(ctx context.Context, b *bench) error {
	plain := usualHistory(b)
	corrected := plain
	corrected.view, corrected.prefix, corrected.corrected = "corrected", "c", true
	without := join{views: []past{plain}, ttl: pitTTL, spine: usualSpine(b)}
	return b.withTask(ctx, without, func(plain *pitTask) error {
		for _, knownAt := range []bool{false, true} {
			with := join{views: []past{corrected}, ttl: pitTTL, spine: usualSpine(b), knownAt: knownAt}
			err := b.withTask(ctx, with, func(t *pitTask) error {
				name := fmt.Sprintf("%s, corrected, %s", t.size(), ttlText(pitTTL))
				if knownAt {
					name += ", known_at"
				}
				return errors.Join(
					b.comparePeer(ctx, workload{name: name, unit: "s"}, t.ours("Driftline"), pitPeer("duckdb", t.config)),
					b.compare(ctx, workload{name: name, unit: "s", goal: atMost(1.2), uncompared: true},
						t.ours("Driftline"), plain.ours("ours, without corrections")))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// pitViews joins five views of 1M rows at once.
func pitViews(ctx context.Context, b *bench) error {
	var views []past
	for i := range 5 {
		view := history(pick(b, 100, 10_000), 100)
		view.view, view.prefix = fmt.Sprintf("view_%d", i), fmt.Sprintf("v%d_f", i)
		views = append(views, view)
	}
	rows := pick(b, 1_000, 1_000_000)
	return b.withTask(ctx, join{views: views, ttl: pitTTL, spine: spine(rows, views[0].entities)}, func(t *pitTask) error {
		w := workload{name: fmt.Sprintf("%s × 5 views of %s, %s", count(rows), count(views[0].rows()), ttlText(t.ttl)), unit: "s", goal: atLeast(1.5)}
		err := b.comparePeer(ctx, w, t.ours("Driftline"), pitPeer("duckdb", t.config))
		w.goal = atLeast(15)
		return errors.Join(err, b.comparePeer(ctx, w, t.ours("Driftline"), pitPeer("feast", t.config)))
	})
}

// pitDense has so many rows per entity that a join that pairs them all does not end.
func pitDense(ctx context.Context, b *bench) error {
	dense := history(pick(b, 20, 10_000), 1_000)
	dense.view = "dense"
	rows := spine(pick(b, 2_000, 1_000_000), dense.entities)
	noTTL := join{views: []past{dense}, spine: rows}
	return b.withTask(ctx, noTTL, func(t *pitTask) error {
		name := fmt.Sprintf("%s, 1,000 per entity, ", t.size())
		w := workload{name: name + ttlText(0), unit: "s"}
		if err := b.comparePeers(ctx, w, t.ours("Driftline"), pitPeer("duckdb", t.config), pitPeer("feast", t.config)); err != nil {
			return err
		}
		withTTL := noTTL
		withTTL.ttl = pitTTL
		return b.withTask(ctx, withTTL, func(limited *pitTask) error {
			w := workload{name: name + ttlText(pitTTL), unit: "s"}
			if err := b.comparePeer(ctx, w, limited.ours("Driftline"), pitPeer("duckdb", limited.config)); err != nil {
				return err
			}
			w = workload{name: name + ttlText(0), unit: "s", goal: atMost(1.3), uncompared: true}
			return b.compare(ctx, w, t.oursWithTTL("Driftline"), limited.oursWithTTL("ours, "+ttlText(pitTTL)))
		})
	})
}

// oursWithTTL is ours for two tasks over one view that differ in TTL.
func (t *pitTask) oursWithTTL(name string) side {
	ours := t.ours(name)
	return side{name: name, run: func(ctx context.Context, check bool) (measured, error) {
		if err := t.useTTL(ctx); err != nil {
			return measured{}, err
		}
		return ours.run(ctx, check)
	}}
}

// pitWide is the case of Feast's issue 3003: 17,000 rows, 1,000 features, 30 minutes
// and 50 GB there.
func pitWide(ctx context.Context, b *bench) error {
	const maxSeconds, maxMegabytes = 3, 2_000
	wide := history(pick(b, 20, 1_000), 5) // 40 MB
	wide.view, wide.features, wide.prefix = "wide", pick(b, 50, 1_000), "w"
	rows := spine(pick(b, 200, 17_000), wide.entities)
	return b.withTask(ctx, join{views: []past{wide}, spine: rows}, func(t *pitTask) error {
		w := workload{name: fmt.Sprintf("%s × %s features", count(rows.rows), count(wide.features)), unit: "s"}
		if err := b.comparePeers(ctx, w, t.ours("Driftline"), pitPeer("duckdb", t.config), pitPeer("feast", t.config)); err != nil {
			return err
		}
		return b.measureMemory(ctx, t.server, w.name, maxMegabytes, func() error {
			return b.within(ctx, w, t.ours("Driftline"), maxSeconds)
		})
	})
}

// measureMemory keeps the server's peak while do runs, in a process that has
// done nothing before.
func (b *bench) measureMemory(ctx context.Context, s *server, name string, maxMegabytes float64, do func() error) error {
	if err := s.restart(ctx); err != nil {
		return err
	}
	memory := watchMemory(s.pid())
	err := do()
	b.keepMemory(name, memory.stop(), maxMegabytes)
	return err
}

func (b *bench) keepMemory(name string, peak memoryPeak, maxMegabytes float64) {
	b.progress("%s: the server's peak is %d MB, %d MB of it without pages of mapped files", name, peak.resident/1e6, peak.anonymous/1e6)
	b.keepLimit(workload{name: name + ", server's memory", unit: "MB"}, []float64{float64(peak.resident) / 1e6}, maxMegabytes)
}

// largeHistory is ten times the usual one: 100M rows, 10 GB. Growth and selective share it.
func largeHistory(b *bench) past {
	large := usualHistory(b)
	large.view, large.entities = "large", 10*large.entities
	return large
}

// needDisk refuses to begin with a large table where there is not room enough: for the
// table as we store it, for what merging its files takes meanwhile, for the peers' copy,
// and for what DuckDB spills.
func (b *bench) needDisk(table past) error {
	const copies = 4.5
	var disk syscall.Statfs_t
	if err := syscall.Statfs(b.dir, &disk); err != nil {
		return err
	}
	if _, err := os.Stat(b.file(table.view)); err == nil {
		return nil // an earlier part has made it
	}
	free, needed := float64(disk.Bavail)*float64(disk.Bsize), copies*float64(table.rows()*rowBytes)
	if free < needed {
		return fmt.Errorf("%s has %.0f GB free and %.0f are needed; set TMPDIR to a folder on a larger disk", b.dir, free/1e9, needed/1e9)
	}
	return nil
}

// pitSelective asks for few rows of a large table: of entities all over it, and of
// a hundred.
func pitSelective(ctx context.Context, b *bench) error {
	large := largeHistory(b)
	if err := b.needDisk(large); err != nil {
		return err
	}
	rows := pick(b, 100, 10_000)
	some := pick(b, 10, 100)
	for _, asked := range []struct {
		entities string
		spine    generated
	}{
		{"any entities", spine(rows, large.entities)},
		{fmt.Sprintf("%d entities", some), spineOfSome(rows, large.entities, some)},
	} {
		err := b.withTask(ctx, join{views: []past{large}, ttl: pitTTL, spine: asked.spine, forms: []string{"filtered", "narrow"}}, func(t *pitTask) error {
			w := workload{name: fmt.Sprintf("%s, %s", t.size(), asked.entities), unit: "s"}
			if err := b.comparePeer(ctx, w, t.ours("Driftline"), pitPeer("duckdb", t.config)); err != nil {
				return err
			}
			w.goal, w.uncompared = atLeast(5), true
			scan := peerSpec{name: "scan of the table, DuckDB", module: "scan_duckdb", config: t.config}
			return errors.Join(
				b.compare(ctx, w, t.ours("Driftline"), t.server.scan("scan of the table, our SQL", large)),
				b.comparePeer(ctx, w, t.ours("Driftline"), scan))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// scan reads all that a join with the whole table would read.
func (s *server) scan(name string, table past) side {
	query := fmt.Sprintf("SELECT count(%s), max(%s)", entityKey, eventTime)
	for _, feature := range table.names() {
		query += fmt.Sprintf(", sum(%s)", feature)
	}
	query += fmt.Sprintf(" FROM features.%s", table.view)
	return side{name: name, run: func(ctx context.Context, _ bool) (measured, error) {
		start := time.Now()
		rows, err := s.client.SQL(ctx, query)
		if err != nil {
			return measured{}, err
		}
		batches, _, err := rows.Collect()
		defer driftline.ReleaseAll(batches)
		elapsed := time.Since(start).Seconds()
		if err != nil {
			return measured{}, err
		}
		if n := batches[0].Column(0).(*array.Int64).Value(0); n != int64(table.rows()) {
			return measured{}, fmt.Errorf("%s read %d rows of %d", name, n, table.rows())
		}
		return measured{value: elapsed}, nil
	}}
}

// pitGrowth takes ten times as many rows on both sides of the join.
func pitGrowth(ctx context.Context, b *bench) error {
	if err := b.needDisk(largeHistory(b)); err != nil {
		return err
	}
	const maxMegabytes = 4_000
	small := join{views: []past{usualHistory(b)}, ttl: pitTTL, spine: usualSpine(b)}
	large := join{views: []past{largeHistory(b)}, ttl: pitTTL, spine: spine(10*small.spine.rows, largeHistory(b).entities), forms: []string{"narrow"}}
	return b.withTask(ctx, small, func(small *pitTask) error {
		return b.withTask(ctx, large, func(large *pitTask) error {
			for _, t := range []*pitTask{small, large} {
				w := workload{name: growthName(t), unit: "s", pairs: 3}
				if err := b.comparePeer(ctx, w, t.ours("Driftline"), pitPeer("duckdb", t.config)); err != nil {
					return err
				}
			}
			if err := os.Remove(large.config.Views[0].Path); err != nil { // its pages in memory are needed now
				return err
			}
			b.keepMemory("growth, ingest of "+count(large.views[0].rows()), large.server.filled[large.views[0].view], maxMegabytes)
			w := workload{name: growthName(large), unit: "s", pairs: 3, goal: atMost(11), uncompared: true}
			return b.measureMemory(ctx, large.server, w.name, maxMegabytes, func() error {
				return b.compare(ctx, w, large.ours("Driftline"), small.ours("ours, "+small.size()))
			})
		})
	})
}

func growthName(t *pitTask) string { return fmt.Sprintf("growth, %s, %s", t.size(), ttlText(t.ttl)) }
