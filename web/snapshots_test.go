package web_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// TestTheLifeOfATable drives the snapshots of a view's table as the command line does.
func TestTheLifeOfATable(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	tables := decode[struct{ Tables []driftline.Snapshot }](t, s.mustAsk(t, "GET", "/api/v1/tables", ""))
	if len(tables.Tables) == 0 {
		t.Fatal("no tables")
	}
	table := tables.Tables[0].Table
	at := "/api/v1/tables/" + table
	s.mustAsk(t, "POST", at+"/compact", "{}")
	list := func() []driftline.Snapshot {
		return decode[struct{ Snapshots []driftline.Snapshot }](t, s.mustAsk(t, "GET", at+"/snapshots", "")).Snapshots
	}
	first := list()[0]
	s.mustAsk(t, "PUT", at+"/tags/good", fmt.Sprintf(`{"snapshot": %d}`, first.ID))
	if tagged := list()[0]; len(tagged.Tags) != 1 || tagged.Tags[0] != "good" {
		t.Errorf("tags are %v", tagged.Tags)
	}
	back := decode[driftline.Snapshot](t, s.mustAsk(t, "POST", at+"/rollback", fmt.Sprintf(`{"snapshot": %d}`, first.ID)))
	if back.Cause != "rollback" || back.Rows != first.Rows {
		t.Errorf("rolled back to %+v", back)
	}
	diff := decode[driftline.SnapshotDiff](t, s.mustAsk(t, "GET", fmt.Sprintf("%s/diff?from=%d&to=%d", at, first.ID, back.ID), ""))
	if diff.RowsAdded != 0 || diff.RowsRemoved != 0 {
		t.Errorf("diff %+v", diff)
	}
	if done := decode[driftline.Maintenance](t, s.mustAsk(t, "POST", at+"/scrub", "{}")); done.Verified == 0 || len(done.Damaged) != 0 {
		t.Errorf("scrub %+v", done)
	}
	s.mustAsk(t, "DELETE", at+"/tags/good", "")
	if w := s.ask("DELETE", at+"/tags/good", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "has no tags") {
		t.Errorf("%d %s, want that there is no such tag", w.Code, w.Body)
	}
	s.mustAsk(t, "POST", at+"/expire", `{"last": 1}`)
	if left := list(); left[len(left)-1].ID != back.ID {
		t.Errorf("the newest is gone: %+v", left)
	}
	if w := s.ask("GET", at+"/diff?from=x&to=1", ""); w.Code != 400 || !strings.Contains(w.Body.String(), "snapshot id") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func decode[T any](t testing.TB, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}
