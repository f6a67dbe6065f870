package web

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/driftline/driftline"
)

// TestAListIsFilteredBeforeItIsCut: what a page has no room for is found all the same.
func TestAListIsFilteredBeforeItIsCut(t *testing.T) {
	var rows []trainingRow
	for i := range 3 * shownRuns {
		rows = append(rows, trainingRow{TrainingRun: driftline.TrainingRun{ID: driftline.TrainingID(fmt.Sprintf("late-%d", i))}})
	}
	for query, want := range map[string]struct {
		found, rows int
		first       driftline.TrainingID
	}{
		"/training-runs":                 {len(rows), shownRuns, "late-0"},
		"/training-runs?filter=late-149": {1, 1, "late-149"},
		"/training-runs?filter=late-9":   {11, 11, "late-9"},
	} {
		l, err := listed(httptest.NewRequest("GET", query, nil), slices.Clone(rows), trainingColumns)
		if err != nil {
			t.Fatal(err)
		}
		l.first(shownRuns)
		if l.Found != want.found || l.Total != len(rows) || len(l.Rows) != want.rows || l.Rows[0].ID != want.first {
			t.Errorf("%s: %d rows of %d found of %d, the first is %s; want %+v", query, len(l.Rows), l.Found, l.Total, l.Rows[0].ID, want)
		}
	}
}
