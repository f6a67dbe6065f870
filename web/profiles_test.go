package web_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// TestTheLifeOfAProfile makes profiles of two days, compares, merges and forgets them.
func TestTheLifeOfAProfile(t *testing.T) {
	s := newSite(t)
	const at = "/api/v1/profiles"
	rows := "SELECT i / 2000.0 AS amount, CASE WHEN i % 10 = 0 THEN NULL ELSE i % 3 END::VARCHAR AS kind, TIMESTAMP '2013-01-01' + to_hours((i % 48)::INT) AS day FROM range(2000) t(i)"
	body := fmt.Sprintf(`{"table": {"sql": %q}, "source": "orders", "pane": "1d", "time": "day"}`, rows)
	panes := decode[[]driftline.ProfilePane](t, s.mustAsk(t, "POST", at, body))
	if len(panes) != 2 || panes[0].Rows+panes[1].Rows != 2000 || panes[0].Columns != 3 || panes[0].End != panes[1].Start {
		t.Fatalf("the panes are %+v", panes)
	}
	shifted := `{"table": {"sql": "SELECT 0.2 + i / 2000.0 AS amount, '1' AS kind FROM range(2000) t(i)"}, "source": "later", "reference": "orders"}`
	s.mustAsk(t, "POST", at, shifted)
	if listed := decode[[]driftline.ProfilePane](t, s.mustAsk(t, "GET", at+"?source=orders", "")); len(listed) != 2 {
		t.Errorf("listed are %+v", listed)
	}

	merged := decode[driftline.Profile](t, s.mustAsk(t, "GET", at+"/merged?source=orders", ""))
	amount := merged.Columns[0]
	if merged.Panes != 2 || amount.Column != "amount" || amount.Rows != 2000 || *amount.Min != 0 || *amount.Max != 0.9995 || merged.Columns[2].Nulls != 200 {
		t.Errorf("merged is %+v", merged)
	}
	day := decode[driftline.Profile](t, s.mustAsk(t, "GET", at+"/merged?source=orders&end=2013-01-02T00:00:00Z", ""))
	if day.Panes != 1 || day.Rows != panes[0].Rows {
		t.Errorf("the first day is %+v", day)
	}

	file := decode[driftline.ProfileFile](t, s.mustAsk(t, "POST", at+"/merge", `{"windows": [{"source": "orders"}]}`))
	data, err := json.Marshal(file.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{`{"source": "orders"}`, fmt.Sprintf(`{"data": %s}`, data)} {
		report := decode[driftline.DriftReport](t, s.mustAsk(t, "POST", at+"/compare", fmt.Sprintf(`{"reference": %s, "current": {"source": "later"}}`, reference)))
		if report.Drifted != 2 || report.Compared() != 2 || report.Reference.Rows != 2000 {
			t.Errorf("against %.30s: %d of %d columns drifted", reference, report.Drifted, report.Compared())
		}
		for _, c := range report.Columns {
			if c.Column == "amount" && (c.Statistic < 0.19 || c.Statistic > 0.21) {
				t.Errorf("D of amount is %v, want about 0.2", c.Statistic)
			}
		}
	}

	if gone := decode[struct{ Panes int }](t, s.mustAsk(t, "DELETE", at+"?source=orders&end=2013-01-02T00:00:00Z", "")); gone.Panes != 1 {
		t.Errorf("%d panes were forgotten, want 1", gone.Panes)
	}
	if left := decode[[]driftline.ProfilePane](t, s.mustAsk(t, "GET", at+"?source=orders", "")); len(left) != 1 || left[0].Start != panes[1].Start {
		t.Errorf("left are %+v", left)
	}
}

func TestProfilesOfNothingAreRefused(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		words              string
	}{
		{"POST", "", `{"table": {"sql": "SELECT 1 AS a"}}`, 400, "need a source"},
		{"POST", "", `{"table": {"sql": "SELECT 1 AS a"}, "source": "a", "reference": "b"}`, 404, `no profiles of \"b\"`},
		{"POST", "", `{"table": {"sql": "SELECT 1 AS a"}, "source": "a", "columns": ["b"]}`, 404, "column"},
		{"GET", "/merged?source=a", "", 404, `no profiles of \"a\"`},
		{"GET", "?source=a&start=yesterday", "", 400, "want a time"},
		{"DELETE", "?source=a", "", 404, `no profiles of \"a\"`},
		{"POST", "/compare", `{"reference": {"source": "a"}, "current": {"source": "b"}}`, 404, "no profiles"},
		{"POST", "/compare", `{"reference": {"data": "AAAA"}, "current": {"data": "AAAA"}}`, 400, "profile"},
	} {
		if w := s.ask(c.method, "/api/v1/profiles"+c.path, c.body); w.Code != c.code || !strings.Contains(w.Body.String(), c.words) {
			t.Errorf("%s %s %s: %d %s, want %d and %s", c.method, c.path, c.body, w.Code, w.Body, c.code, c.words)
		}
	}
}
