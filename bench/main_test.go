package main

import (
	"strings"
	"testing"
	"time"
)

func TestUnknownSuiteNamesTheKnownOnes(t *testing.T) {
	for _, args := range [][]string{{"pot", "--quick"}, {"--quick", "pot"}, {}} {
		err := run(t.Context(), args, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "pit, online, ingest, flight, drift, all") {
			t.Errorf("%q: error is %v", args, err)
		}
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
