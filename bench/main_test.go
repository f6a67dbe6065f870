package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestUnknownSuiteNamesTheKnownOnes(t *testing.T) {
	for _, args := range [][]string{{"pot", "--quick"}, {"--quick", "pot"}, {}} {
		err := run(t.Context(), args, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "pit, online, ingest, flight, sql, tracking, drift, drift-null, drift-power, drift-concept, rollout, gateway, profile, all") {
			t.Errorf("%q: error is %v", args, err)
		}
	}
}

func TestUnknownPartNamesTheKnownOnes(t *testing.T) {
	err := run(t.Context(), []string{"ingest", "--only", "bulk,bulky"}, new(strings.Builder))
	if err == nil || !strings.Contains(err.Error(), `no part "bulky"; it has bulk, push1, push64, predictions, files`) {
		t.Errorf("error is %v", err)
	}
}

func TestBigPartsRunOnlyIfNamedOrQuick(t *testing.T) {
	for _, c := range []struct {
		only  string
		quick bool
		want  string
	}{
		{"", false, "join corrected views dense wide"},
		{"", true, "join corrected views dense wide selective growth"},
		{"growth, join", false, "growth join"},
	} {
		chosen, err := choose("pit", c.only, c.quick)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(chosen[0].partNames(), " "); got != c.want {
			t.Errorf("only %q, quick %v: %s, want %s", c.only, c.quick, got, c.want)
		}
	}
}

func TestListNamesEveryPart(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"list"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, s := range suites {
		for _, p := range s.parts {
			if !strings.Contains(out.String(), p.name) || p.does == "" {
				t.Errorf("the list lacks part %s of %s", p.name, s.name)
			}
		}
	}
}

// tableOfHistory is the line that says how many files and rows a filled table has.
// TestMain lets a part start the test's own binary as what [selves] has.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && selves[os.Args[1]] != nil {
		main()
	}
	os.Exit(m.Run())
}

var tableOfHistory = regexp.MustCompile(`history: 20k rows made .*; then [1-9]\d* files, 20k rows`)

// The whole of bench on tiny data: every part runs, and every answer is the peer's.
func TestQuickSuites(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and peers")
	}
	b := benchWithPeers(t)
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pit", "ingest", "flight", "sql", "profile"} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), []string{name, "--quick", "--driftline", b.binary}, &out)
			if err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			if name == "pit" && !tableOfHistory.MatchString(out.String()) {
				t.Errorf("the state of the table is not what was ingested:\n%s", out.String())
			}
		})
	}
}

func TestCPUTimeOfProcStat(t *testing.T) {
	stat := "42 (a (strange) name) S 1 42 42 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 8 0 100 1000 10"
	if got := cpuTime(stat); got != 1750*time.Millisecond {
		t.Errorf("CPU time %v, want 1.75s", got)
	}
	if got := cpuTime(""); got != 0 {
		t.Errorf("CPU time of nothing is %v", got)
	}
}
