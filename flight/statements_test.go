package flight

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

func TestStatementsAreBoundedAndExpire(t *testing.T) {
	now := time.Date(2013, 6, 1, 0, 0, 0, 0, time.UTC)
	s := newStatements(func() time.Time { return now })
	used, err := s.create("SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	handles := map[string]bool{string(used): true}
	for range maxStatements - 1 {
		handle, err := s.create("SELECT 1")
		if err != nil {
			t.Fatal(err)
		}
		handles[string(handle)] = true
	}
	if len(handles) != maxStatements {
		t.Errorf("%d different handles", len(handles))
	}
	if _, err := s.create("SELECT 1"); driftline.CodeOf(err) != driftline.Exhausted {
		t.Errorf("one too many: %v", err)
	}
	now = now.Add(statementLifetime)
	if _, _, err := s.get(used); err != nil {
		t.Errorf("at the end of its life: %v", err)
	}
	now = now.Add(time.Second)
	if _, err := s.create("SELECT 1"); err != nil {
		t.Errorf("after the unused ones expired: %v", err)
	}
	if _, _, err := s.get(used); err != nil {
		t.Errorf("the one that was used: %v", err)
	}
	if len(s.byHandle) != 2 {
		t.Errorf("%d statements are left", len(s.byHandle))
	}
}

func TestStatementsOwnTheirArguments(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "1", Type: arrow.PrimitiveTypes.Int64}}, nil)
	row := func() arrow.RecordBatch {
		batch, _, err := array.RecordFromJSON(mem, schema, strings.NewReader(`[{"1": 7}]`))
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	s := newStatements(time.Now)
	bind := func(handle []byte) {
		batch := row()
		defer batch.Release()
		if err := s.bind(handle, []arrow.RecordBatch{batch}); err != nil {
			t.Fatal(err)
		}
	}
	closed, _ := s.create("SELECT ?")
	bind(closed)
	_, arguments, err := s.get(closed)
	if err != nil {
		t.Fatal(err)
	}
	s.close(closed)
	s.close(closed)
	if got := arguments[0].Column(0).(*array.Int64).Value(0); got != 7 {
		t.Errorf("arguments in use were released: %d", got)
	}
	driftline.ReleaseAll(arguments)
	if err := s.bind(closed, nil); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("binding a closed statement: %v", err)
	}

	rebound, _ := s.create("SELECT ?")
	bind(rebound)
	bind(rebound)
	forgotten, _ := s.create("SELECT ?")
	bind(forgotten)
	if err := s.bind(forgotten, nil); err != nil {
		t.Error(err)
	}
	s.closeAll()
}
