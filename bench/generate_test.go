package main

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

func TestGeneratedRowsAreTheSameEachTime(t *testing.T) {
	for name, g := range map[string]generated{
		"history":   history(100, 1000).generated(),
		"corrected": corrected(100, 1000).generated(),
		"spine":     spine(70_000, 50),
		"some":      spineOfSome(70_000, 5000, 7),
		"events":    events(70_000, 50),
		"pushes":    events(70_000, everyEntityOnce),
		"drift":     driftTable(70_000, 1),
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

// corrected is a past that spans batches, and has corrections on both sides of their borders.
func corrected(entities, rowsPerEntity int) past {
	p := history(entities, rowsPerEntity)
	p.corrected = true
	return p
}

// Every correct join must give one answer, so no two rows of an entity may share a time.
func TestHistoryIsSortedWithoutTies(t *testing.T) {
	lastEntity, lastTime := int64(-1), arrow.Timestamp(0)
	for batch, err := range history(200, 500).generated().batches().All {
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

// What is known at a time must be one row, so no two rows of an entity may become
// known at the same time either.
func TestEverySixthRowCorrectsTheOneBefore(t *testing.T) {
	type moment struct{ entity, event, created int64 }
	var last moment
	corrections, seen := 0, map[moment]bool{}
	for batch, err := range corrected(200, 500).generated().batches().All {
		if err != nil {
			t.Fatal(err)
		}
		entities := batch.Column(0).(*array.Int64)
		events, created := batch.Column(1).(*array.Timestamp), batch.Column(2).(*array.Timestamp)
		for i := range int(batch.NumRows()) {
			row := moment{entities.Value(i), int64(events.Value(i)), int64(created.Value(i))}
			if row.entity == last.entity && (row.event < last.event || row.event == last.event && row.created <= last.created) {
				t.Fatalf("row %v follows %v", row, last)
			}
			if row.created <= row.event {
				t.Fatalf("row %v was created before it happened", row)
			}
			known := moment{entity: row.entity, created: row.created}
			if seen[known] {
				t.Fatalf("two rows of entity %d were created at %d", row.entity, row.created)
			}
			seen[known] = true
			if row.entity == last.entity && row.event == last.event {
				corrections++
			}
			last = row
		}
	}
	if want := 200 * (500 / correctedEvery); corrections != want {
		t.Errorf("%d corrections, want %d", corrections, want)
	}
}

func TestViewsDifferInTheirValues(t *testing.T) {
	one, other := history(10, 10), history(10, 10)
	other.view = "other"
	a, err := checksum(one.generated().batches())
	if err != nil {
		t.Fatal(err)
	}
	b, err := checksum(other.generated().batches())
	if err != nil {
		t.Fatal(err)
	}
	if a.Checksum == b.Checksum {
		t.Error("two views have the same rows")
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int]string{7: "7", 1500: "1500", 64_000: "64k", 10_000_000: "10M"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}
