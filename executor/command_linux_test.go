package executor

import (
	"os"
	"strconv"
	"syscall"
	"testing"
)

func TestACommandLeavesTheProcessorsToTheServer(t *testing.T) {
	before, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	job := jobOf(t, shell("nice; nice & wait"))
	if outcome, detail, err := run(t, Config{Commands: true}, job); outcome != Succeeded || err != nil {
		t.Fatalf("%s %q %v", outcome, detail, err)
	}
	own := 20 - before
	want := strconv.Itoa(min(own+jobNiceness, 19)) + "\n"
	if log, err := os.ReadFile(job.Log); err != nil || string(log) != want+want {
		t.Errorf("the command's niceness is %q (%v), want %q twice", log, err, want)
	}
	if after, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err != nil || after != before {
		t.Errorf("the server's niceness is %d, and was %d (%v)", 20-after, own, err)
	}
}
