package main

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
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
	if err := writeResults(folder, "pit", []suiteResults{written}); err != nil {
		t.Fatal(err)
	}
	var tables []struct {
		Machine map[string]any   `json:"machine"`
		Rows    []map[string]any `json:"rows"`
	}
	text, err := os.ReadFile(filepath.Join(folder, "pit.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatal(err)
	}
	file := tables[0]
	for _, field := range []string{"workload", "peer", "unit", "ours", "theirs", "ratio", "goal", "same_answer"} {
		if _, ok := file.Rows[0][field]; !ok {
			t.Errorf("a row has no field %q", field)
		}
	}
	if file.Rows[0]["ratio"] != 2.0 || file.Rows[0]["goal"] != nil || file.Rows[1]["ratio"] != nil || file.Rows[1]["same_answer"] != false {
		t.Errorf("rows %v", file.Rows)
	}
	read, err := readResults(folder, "pit")
	if err != nil || read[0].Machine.CPU != "Z80" || *read[0].Rows[0].Ratio != 2 {
		t.Errorf("read %+v, error %v", read, err)
	}
}

func TestReportMarksDebtsAndLeavesOutSuitesThatDidNotRun(t *testing.T) {
	folder := t.TempDir()
	good, bad := 2.0, 0.5
	rows := []row{
		{Workload: "fast", Ratio: &good, SameAnswer: true},
		{Workload: "slow", Ratio: &bad, SameAnswer: true},
		{Workload: "short of its goal", Ratio: &good, Goal: atLeast(3), SameAnswer: true},
		{Workload: "not asked for more", Ratio: &bad, Goal: atMost(2), SameAnswer: true},
	}
	if err := writeResults(folder, "pit", []suiteResults{{Rows: rows}}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := writeReport(&out, folder, suites); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"| 2.00 | - |", "| **0.500** | - |", "| **2.00** | 3.00 |", "| 0.500 | 0.500 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "### drift") {
		t.Errorf("report has a suite that did not run:\n%s", text)
	}
}

func TestALimitAndAPeerThatDidNotEndAreNoComparedAnswers(t *testing.T) {
	ours, least, ratio := 2.0, 300.0, 150.0
	ended := row{Workload: "join", Unit: "s", Ours: &ours, Theirs: &least, Ratio: &ratio, Goal: atLeast(200), Unfinished: "no end within 300 s"}
	limit := row{Workload: "join", Unit: "s", Ours: &ours, Theirs: &least, Ratio: &ratio, Uncompared: true, SameAnswer: true}
	text := suiteResults{Rows: []row{ended, limit}}.markdown()
	for _, want := range []string{"| > 300 | > 150 | 200 | no end within 300 s |", "| 300 | 150 | - | - |"} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	if err := (&bench{rows: []row{ended, limit}}).failure(); err != nil {
		t.Errorf("a peer that did not end is a failure of ours: %v", err)
	}
}

func TestARunReplacesTheRowsOfItsPartsAlone(t *testing.T) {
	here, elsewhere := machine{CPU: "Z80", Peers: map[string]string{"feast": "1"}}, machine{CPU: "6502"}
	s := suite{"pit", []part{{name: "a"}, {name: "b"}, {name: "c"}}}
	before := []row{{Part: "a", Workload: "old a"}, {Part: "c", Workload: "old c"}, {Part: "gone", Workload: "old part"}}
	now := suiteResults{Machine: machine{CPU: "Z80", Peers: map[string]string{"duckdb": "2"}}, Rows: []row{{Part: "b", Workload: "new b"}, {Part: "a", Workload: "new a"}}}
	for _, c := range []struct {
		name string
		of   machine
		want string
	}{
		{"same machine", here, "Z80: new a, new b, old c; duckdb feast"},
		{"another machine", elsewhere, "6502: old c; | Z80: new a, new b; duckdb"},
	} {
		folder := t.TempDir()
		if err := writeResults(folder, "pit", []suiteResults{{Machine: c.of, Rows: before}}); err != nil {
			t.Fatal(err)
		}
		if err := keepResults(folder, s, now, []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		kept, err := readResults(folder, "pit")
		if err != nil {
			t.Fatal(err)
		}
		var tables []string
		for _, table := range kept {
			var names []string
			for _, r := range table.Rows {
				names = append(names, r.Workload)
			}
			peers := slices.Sorted(maps.Keys(table.Machine.Peers))
			tables = append(tables, strings.TrimSpace(table.Machine.CPU+": "+strings.Join(names, ", ")+"; "+strings.Join(peers, " ")))
		}
		if got := strings.Join(tables, " | "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestReportReplacesOnlyTheTablesOfTheDocument(t *testing.T) {
	folder := t.TempDir()
	document := filepath.Join(folder, "RESULTS.md")
	if err := os.WriteFile(document, []byte("before\n"+tablesBegin+"old\n"+tablesEnd+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeResults(folder, "pit", []suiteResults{{Rows: []row{{Workload: "join"}}}}); err != nil {
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
		want := "before\n" + tablesBegin + "\n### pit\n\n" + suiteResults{Rows: []row{{Workload: "join"}}}.markdown() + tablesEnd + "after\n"
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
