package offline_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// TestCompactionKeepsToItsPace merges files by a clock on which only waiting takes time: the
// merge takes as long as the bytes that it reads and writes are paid for with.
func TestCompactionKeepsToItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := openStore(t, t.TempDir())
		files, moved := mixedFiles(t, s)
		const bytesPerSecond = 1 << 20
		begun := time.Now()
		merged, err := s.Compact(t.Context(), weather, files, byAirport, offline.NewPace(bytesPerSecond))
		took := time.Since(begun)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range merged {
			moved += f.Bytes
		}
		// A file's footer is read besides its columns, so some bytes are read twice.
		least := time.Duration(float64(moved) * 0.9 / bytesPerSecond * float64(time.Second))
		if took < least || took > 2*least {
			t.Errorf("%d bytes took %s, want %s or little more", moved, took, least)
		}
		begun = time.Now()
		if _, err := s.Compact(t.Context(), weather, files, byAirport, nil); err != nil || time.Since(begun) != 0 {
			t.Errorf("without a pace it waited %s (%v)", time.Since(begun), err)
		}
	})
}

// TestPacedCompactionCanBeStopped ends one that would take days.
func TestPacedCompactionCanBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, _ := openStore(t, dir)
		files, _ := mixedFiles(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		_, err := s.Compact(ctx, weather, files, byAirport, offline.NewPace(1))
		if driftline.CodeOf(err) != driftline.Deadline || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		if left := len(dataFiles(t, dir)); left != len(files) {
			t.Errorf("%d data files, want %d", left, len(files))
		}
	})
}

// mixedFiles stages files whose rows overlap, and returns how many bytes they have.
func mixedFiles(t *testing.T, s *offline.Store) (files []offline.File, bytes int64) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "airport", Type: arrow.PrimitiveTypes.Int64}, {Name: "event_timestamp", Type: driftline.Time}, {Name: "temperature", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	mustCreate(t, s, weather, schema)
	random := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for range 20_000 {
			b.Field(0).(*array.Int64Builder).Append(random.Int64())
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(random.Int64N(1 << 50)))
			b.Field(2).(*array.Float64Builder).Append(random.Float64())
		}
		staged, err := s.Stage(t.Context(), weather, driftline.BatchesOf(schema, b.NewRecordBatch()), byAirport)
		b.Release()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range staged {
			bytes += f.Bytes
		}
		files = append(files, staged...)
	}
	return files, bytes
}
