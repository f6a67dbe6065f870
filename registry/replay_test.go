package registry

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The reader of lines in their usual form says what encoding/json says of any line.
func TestLinesReadAlike(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	plain := 0
	for _, line := range []Line{
		{Sequence: 1, Time: at, Kind: RunCreated, Ref: driftline.RunRef("late-1"), Body: json.RawMessage(`{"experiment":"late","params":{"a":"<é>\"}"}}`)},
		{Sequence: 1 << 60, Time: at.Truncate(time.Second), Kind: RunLogged, Ref: driftline.RunRef("überflug-1"),
			Inputs: []driftline.Ref{driftline.DatasetRef("late", 3), driftline.ViewRef("weather")}, Body: json.RawMessage(`{}`)},
		{Sequence: 3, Time: at, Kind: "note", Ref: driftline.ViewRef("w")},
		{Sequence: 4, Kind: `odd "kind"`, Ref: driftline.ModelRef(`a"b\c`, 1), Body: json.RawMessage(`[1,{"body":2}]`)},
		{Sequence: 5, Time: at, Kind: "html", Ref: driftline.ModelRef("<&>", 0), Inputs: []driftline.Ref{driftline.ModelRef("\u2028", 2)}, Body: json.RawMessage(`null`)},
		{Sequence: 6, Time: at, Kind: "", Ref: driftline.Ref{}},
	} {
		encoded, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		var want Line
		if err := json.Unmarshal(encoded, &want); err != nil {
			t.Fatal(err)
		}
		content := encoded[:len(encoded)-1]
		got, err := readLine(content)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nreads as %+v, %v\nwant     %+v", encoded, got, err, want)
		}
		if _, ok := readPlainLine(content); ok {
			plain++
		}
	}
	if plain < 3 {
		t.Errorf("only %d lines were read the fast way", plain)
	}
}

// What the reader of plain logs takes is what encoding/json takes, packed; the rest it leaves.
func TestPlainLogsReadAlike(t *testing.T) {
	keys := newKeyTable()
	for body, plain := range map[string]bool{
		`{"params":{"a":"1","b":""}}`:                     true,
		`{"tags":{"t":"é"}}`:                              true,
		`{"params":{"a":"1"},"tags":{"a":"2","z":"{\"}}`:  false, // an escape
		`{"params":{"a":"1"},"tags":{"a":"2","z":"{,}"}}`: true,
		`{"params":{"b":"1","a":"2"}}`:                    false, // not as it is written
		`{"params":{"a":"1","a":"2"}}`:                    false,
		`{"name":"n","params":{"a":"1"}}`:                 false,
		`{"params":{"a":"1"},"inputs":["view:w"]}`:        false,
		`{"params":{}}`:                                   false,
		`{}`:                                              false,
		`{"params":{"a":"1"}`:                             false,
		`{"params":{"a":1}}`:                              false,
	} {
		log, ok := readPlainLog([]byte(body), keys)
		if ok != plain {
			t.Errorf("%s is read the fast way: %v, want %v", body, ok, plain)
		}
		if !ok {
			continue
		}
		var want driftline.RunLog
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
		if log.params != keys.pack(want.Params) || log.tags != keys.pack(want.Tags) {
			t.Errorf("%s is read as %q and %q", body, log.params, log.tags)
		}
	}
}

// A ledger of many chunks opens as it was, and damage in any of them is named.
func TestManyChunksAreReplayedInOrder(t *testing.T) {
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 3*replayedAtOnce + 7
	tx := r.Begin()
	for i := range lines {
		if _, err := tx.createRun(runCreated{RunSpec: driftline.RunSpec{ID: driftline.RunID(fmt.Sprintf("r%d", i)), Experiment: "e"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	rebuilt, err := Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(slices.Collect(rebuilt.durable.runs.all()), slices.Collect(r.durable.runs.all()), func(a, b *run) bool { return a.id() == b.id() }) || rebuilt.tail != r.tail {
		t.Error("the runs are not in the order in which they were made")
	}
	for _, at := range []uint64{1, replayedAtOnce, replayedAtOnce + 1, lines} {
		stored, err := db.Get(lineKey(at))
		if err != nil {
			t.Fatal(err)
		}
		for what, damaged := range map[string][]byte{
			"cut": stored[:40], "changed": append([]byte("{\"seq\":9"), stored[8:]...), "gone": nil,
			"of another chain": appendChain(slices.Clone(stored[:len(stored)-chainBytes]), Hash{1}, hashLine(Hash{1}, stored[:len(stored)-chainBytes])),
		} {
			if what == "gone" && at == lines {
				continue // the watermark of storage/kv shows it
			}
			change(t, db, lineKey(at), damaged)
			_, err := Open(db, nil)
			want := fmt.Sprintf("ledger line %d is damaged", at)
			if driftline.CodeOf(err) != driftline.DataLoss || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
				t.Errorf("line %d %s: %v", at, what, err)
			}
		}
		change(t, db, lineKey(at), stored)
	}
}

// change sets a key, or deletes it for nil.
func change(t *testing.T, db *kv.DB, key, value []byte) {
	t.Helper()
	batch := db.NewBatch()
	defer batch.Close()
	if value == nil {
		batch.Delete(key)
	} else {
		batch.Set(key, value)
	}
	if err := batch.Commit(); err != nil {
		t.Fatal(err)
	}
}
