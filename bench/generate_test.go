package main

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

func TestGeneratedRowsAreTheSameEachTime(t *testing.T) {
	for name, g := range map[string]generated{
		"history": history(100, 1000),
		"spine":   spine(70_000, 50),
		"events":  events(70_000, 50),
		"pushes":  events(70_000, everyEntityOnce),
		"drift":   driftTable(70_000, 1),
	} {
		first, err := checksum(g.batches())
		if err != nil {
			t.Fatal(err)
		}
		again, err := checksum(g.batches())
		if err != nil {
			t.Fatal(err)
		}
		if first.Rows != int64(g.rows) || first.Checksum != again.Checksum {
			t.Errorf("%s: %v, then %v; want %d rows", name, first, again, g.rows)
		}
	}
}

// Every correct join must give one answer, so no two rows of an entity may share a time.
func TestHistoryIsSortedWithoutTies(t *testing.T) {
	lastEntity, lastTime := int64(-1), arrow.Timestamp(0)
	for batch, err := range history(200, 500).batches().All {
		if err != nil {
			t.Fatal(err)
		}
		entities, times := batch.Column(0).(*array.Int64), batch.Column(1).(*array.Timestamp)
		for i := range int(batch.NumRows()) {
			entity, at := entities.Value(i), times.Value(i)
			if entity < lastEntity || (entity == lastEntity && at <= lastTime) {
				t.Fatalf("row (%d, %d) follows (%d, %d)", entity, at, lastEntity, lastTime)
			}
			lastEntity, lastTime = entity, at
		}
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int]string{7: "7", 1500: "1500", 64_000: "64k", 10_000_000: "10M"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}
