package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// Goals of a view of many entities.
const (
	largeFeatures = 50
	largePace     = 500 // requests/s
	largeSpread   = 1.5 // times the p99 of a tenth of the entities, at most
	largeDisk     = 1.3 // times the bytes of the raw values, at most
	largeOpen     = 5.0 // s from the start after a kill to the first answer
)

// onlineLarge reads one entity of ten million, beside one of a million, and opens the
// folder after a kill. The values are noise, so nothing of them can be packed.
func onlineLarge(ctx context.Context, b *bench) error {
	s, err := b.startServer(ctx) // a folder of its own, whose size is measured
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	sizes := []int{pick(b, 200, 1_000_000), pick(b, 2000, 10_000_000)}
	disk := int64(0) // of the last view, in the end
	latencies := map[int][]float64{}
	for _, entities := range sizes {
		if err := s.fillOnce(ctx, largeView(entities), largeRows(entities)); err != nil {
			return err
		}
		disk = folderBytes(filepath.Join(s.data, "kv")) - disk
	}
	few, many := sizes[0], sizes[1]
	raw := float64(many) * largeFeatures * 8
	b.keepLimit(workload{name: fmt.Sprintf("%s entities × %d features, online store's disk", count(many), largeFeatures), unit: "MB"},
		[]float64{float64(disk) / 1e6}, largeDisk*raw/1e6)
	for range b.pairs() {
		for _, entities := range sizes {
			p99, err := b.largeReads(ctx, s, entities)
			if err != nil {
				return err
			}
			latencies[entities] = append(latencies[entities], p99)
		}
	}
	name := fmt.Sprintf("1 of %s entities × %d features, %d/s paced, p99", count(many), largeFeatures, largePace)
	b.keep(summarize(workload{name: name, unit: "ms", goal: atMost(largeSpread), uncompared: true},
		fmt.Sprintf("ours, of %s entities", count(few)), latencies[many], latencies[few]))
	return b.openAfterKill(ctx, s, many)
}

// largeReads is the p99 of one run, after another that makes what it reads warm.
func (b *bench) largeReads(ctx context.Context, s *server, entities int) (float64, error) {
	load := onlineLoad{url: s.url + "/get-online-features", connections: pacedConnections}
	random := rand.New(rand.NewPCG(uint64(entities), 0))
	for range pick(b, 20, 2000) {
		load.bodies = append(load.bodies, largeQuestion(entities, random.IntN(entities)))
	}
	if _, err := load.runPlain(ctx); err != nil {
		return 0, err
	}
	load.every = time.Second / largePace
	result, err := load.runPlain(ctx)
	if err != nil {
		return 0, err
	}
	b.progress("1 of %s entities: p50 %.3f ms, p99 %.3f ms", count(entities), result.percentile(50), result.percentile(99))
	return result.percentile(99), nil
}

// openAfterKill kills the server while it has work to do, and measures how long it takes
// from its start to the answer that it gave before.
func (b *bench) openAfterKill(ctx context.Context, s *server, entities int) error {
	load := onlineLoad{url: s.url + "/get-online-features", connections: 1, bodies: [][]byte{largeQuestion(entities, entities/2)}}
	want, err := load.run(ctx, true)
	if err != nil {
		return err
	}
	if err := s.process.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.exited
	_ = s.client.Close()
	started := time.Now()
	if err := s.launch(ctx); err != nil {
		return err
	}
	load.url = s.url + "/get-online-features"
	got, err := load.run(ctx, true)
	if err != nil {
		return err
	}
	if !slices.Equal(got.answers[0], want.answers[0]) {
		return fmt.Errorf("after the kill the answer is %s, was %s", got.answers[0], want.answers[0])
	}
	b.keepLimit(workload{name: fmt.Sprintf("%s entities, kill to first answer", count(entities)), unit: "s"},
		[]float64{time.Since(started).Seconds()}, largeOpen)
	return nil
}

func largeView(entities int) driftline.FeatureView {
	view := driftline.FeatureView{Name: driftline.ViewName(fmt.Sprintf("large_%d", entities)), Entities: []driftline.EntityName{entityKey}}
	for i := range largeFeatures {
		view.Features = append(view.Features, driftline.Field{Name: onlineFeature(i), Type: driftline.Float64})
	}
	return view
}

func largeQuestion(entities, entity int) []byte {
	body := fmt.Appendf(nil, `{"entities":{"%s":[%d]},"features":[`, entityKey, entity)
	for i := range largeFeatures {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `"large_%d:%s"`, entities, onlineFeature(i))
	}
	return append(body, "]}"...)
}

// largeRows makes one row per entity.
func largeRows(entities int) generated {
	fields := []arrow.Field{{Name: entityKey, Type: arrow.PrimitiveTypes.Int64}, {Name: eventTime, Type: driftline.Time}}
	for i := range largeFeatures {
		fields = append(fields, arrow.Field{Name: onlineFeature(i), Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	}
	return generated{schema: arrow.NewSchema(fields, nil), rows: entities, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			b.Field(0).(*array.Int64Builder).UnsafeAppend(int64(row))
			b.Field(1).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(yearStart))
			for i := range largeFeatures {
				b.Field(2 + i).(*array.Float64Builder).UnsafeAppend(random.NormFloat64())
			}
		}
	}}
}

// folderBytes is what the files of a folder take.
func folderBytes(folder string) (bytes int64) {
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // it is being written to: files come and go
		}
		if info, err := entry.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}
