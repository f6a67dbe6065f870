package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		value float64
		want  string
	}{
		{0, "0.00"}, {0.00004126, "0.0000413"}, {0.9, "0.900"}, {1, "1.00"}, {3.14159, "3.14"}, {42.25, "42.2"}, {99.96, "100"},
		{100, "100"}, {999.6, "1,000"}, {1234567, "1,234,567"}, {-1234, "-1,234"}, {math.Inf(1), "+Inf"},
	} {
		if got := figure(&c.value); got != c.want {
			t.Errorf("figure(%v) = %q, want %q", c.value, got, c.want)
		}
	}
	if got := figure(nil); got != "-" {
		t.Errorf("no figure is %q, want -", got)
	}
}

func TestResultsFileHasTheFieldsThatReadersKnow(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "results")
	ratio, seconds := 2.0, 1.5
	written := suiteResults{
		Machine: machine{CPU: "Z80", Cores: 1, Go: "go1", Peers: map[string]string{"duckdb": "1.0"}},
		Rows: []row{
			{Workload: "join", Peer: "DuckDB", Unit: "s", Ours: &seconds, Theirs: &seconds, Ratio: &ratio, SameAnswer: true},
			{Workload: "join", Peer: "liar", Unit: "s"},
		},
	}
	if err := writeResults(folder, "pit", written); err != nil {
		t.Fatal(err)
	}
	var file struct {
		Machine map[string]any   `json:"machine"`
		Rows    []map[string]any `json:"rows"`
	}
	text, err := os.ReadFile(filepath.Join(folder, "pit.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"workload", "peer", "unit", "ours", "theirs", "ratio", "goal", "same_answer"} {
		if _, ok := file.Rows[0][field]; !ok {
			t.Errorf("a row has no field %q", field)
		}
	}
	if file.Rows[0]["ratio"] != 2.0 || file.Rows[0]["goal"] != nil || file.Rows[1]["ratio"] != nil || file.Rows[1]["same_answer"] != false {
		t.Errorf("rows %v", file.Rows)
	}
	read, err := readResults(folder, "pit")
	if err != nil || read.Machine.CPU != "Z80" || *read.Rows[0].Ratio != 2 {
		t.Errorf("read %+v, error %v", read, err)
	}
}

func TestASuiteWithoutRowsWritesAnEmptyList(t *testing.T) {
	folder := t.TempDir()
	if err := writeResults(folder, "pit", suiteResults{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "pit.json"))
	if err != nil || !strings.Contains(string(text), `"rows": []`) {
		t.Errorf("file is %s, error %v", text, err)
	}
}

func TestReportMarksDebtsAndLeavesOutSuitesThatDidNotRun(t *testing.T) {
	folder := t.TempDir()
	good, bad := 2.0, 0.5
	rows := []row{{Workload: "fast", Ratio: &good, SameAnswer: true}, {Workload: "slow", Ratio: &bad, SameAnswer: true}}
	if err := writeResults(folder, "pit", suiteResults{Rows: rows}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := writeReport(&out, folder, suites); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.Contains(text, "| **0.500** |") || !strings.Contains(text, "| 2.00 |") || strings.Contains(text, "### drift") {
		t.Errorf("report:\n%s", text)
	}
}

func TestReportReplacesOnlyTheTablesOfTheDocument(t *testing.T) {
	folder := t.TempDir()
	document := filepath.Join(folder, "RESULTS.md")
	if err := os.WriteFile(document, []byte("before\n"+tablesBegin+"old\n"+tablesEnd+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeResults(folder, "pit", suiteResults{Rows: []row{{Workload: "join"}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := report(nil, folder, document, true); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		want := "before\n" + tablesBegin + "\n" + markdown("pit", suiteResults{Rows: []row{{Workload: "join"}}}) + tablesEnd + "after\n"
		if string(text) != want {
			t.Errorf("document is\n%s\nwant\n%s", text, want)
		}
	}
}

func TestReportKeepsADocumentWithoutItsLines(t *testing.T) {
	document := filepath.Join(t.TempDir(), "RESULTS.md")
	if err := os.WriteFile(document, []byte("mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := report(nil, t.TempDir(), document, true)
	text, _ := os.ReadFile(document)
	if err == nil || string(text) != "mine\n" {
		t.Errorf("error %v, document %q", err, text)
	}
}
