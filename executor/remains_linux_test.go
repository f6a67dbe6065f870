package executor

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asServer makes the test binary be a server that executes one command, in the folder it names.
const asServer = "EXECUTOR_TEST_SERVER"

// begetting starts processes in four ways, and writes their numbers down.
const begetting = `sleep 600 & echo $! >> pids
env -i sleep 600 & echo $! >> pids
setsid sleep 600 & echo $! >> pids
setsid sh -c 'trap "" TERM; sleep 600 & echo $! >> pids; wait' & echo $! >> pids
while [ $(wc -l < pids) -lt 5 ]; do sleep 0.01; done
touch ready
`

func serveOneCommand(folder string) {
	job := &Job{Run: "late-7", Model: "late", Log: filepath.Join(folder, "logs", "late-7.log"), Timeout: time.Hour}
	spec := shell(begetting + "wait")
	job.Spec = &spec
	_, _, _ = New(Config{Commands: true, Folder: folder}).Run(context.Background(), job)
	os.Exit(0)
}

// alive reports whether a process runs, and is not just waiting to be reaped.
func alive(pid int) bool {
	p, err := processOf(pid)
	return err == nil && p.state != 'Z' && p.state != 'X'
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: not within ten seconds", what)
}

func begotten(t *testing.T, folder string) (pids []int) {
	t.Helper()
	until(t, "the command starts", func() bool { _, err := os.Stat(filepath.Join(folder, "ready")); return err == nil })
	text, err := os.ReadFile(filepath.Join(folder, "pids"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// What a command has started outlives a server that is killed, until the next one begins: in its group
// or in another one, with the environment that it got or without.
func TestWhatAKilledServerLeftIsEnded(t *testing.T) {
	folder := t.TempDir()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), asServer+"="+folder)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	pids := begotten(t, folder)
	innocent := exec.Command("sleep", "600")
	innocent.Env = append(os.Environ(), nonceVariable+"=another")
	if err := innocent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = innocent.Process.Kill(); _ = innocent.Wait() }()
	_ = server.Process.Signal(syscall.SIGKILL)
	_ = server.Wait()
	left := 0
	for _, pid := range pids {
		if alive(pid) {
			left++
		}
	}
	if left == 0 {
		t.Error("nothing outlived the server: the test shows nothing")
	}
	ended, err := EndRemains(filepath.Join(folder, "logs"))
	if err != nil || ended < left {
		t.Errorf("%d of %d were ended, %v", ended, left, err)
	}
	for _, pid := range pids {
		until(t, "a process ends", func() bool { return !alive(pid) })
	}
	if !alive(innocent.Process.Pid) {
		t.Error("a process of somebody else was ended")
	}
	if marks, _ := filepath.Glob(filepath.Join(folder, "logs", "*"+marksSuffix)); len(marks) != 0 {
		t.Errorf("left: %v", marks)
	}
	if again, err := EndRemains(filepath.Join(folder, "logs")); again != 0 || err != nil {
		t.Errorf("again: %d, %v", again, err)
	}
}

// A command that is ended, and one that ends, leaves nothing of what it has started anywhere.
func TestACommandLeavesNothing(t *testing.T) {
	for name, script := range map[string]string{"is ended": begetting + "wait", "ends": begetting} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan Outcome, 1)
			go func() {
				outcome, _, _ := New(Config{Commands: true, Folder: folder}).Run(ctx, jobOf(t, shell(script)))
				done <- outcome
			}()
			pids := begotten(t, folder)
			want := Succeeded
			if name == "is ended" {
				cancel()
				want = Failed
			}
			if outcome := <-done; outcome != want {
				t.Errorf("it %s", outcome)
			}
			for _, pid := range pids {
				until(t, "a process ends", func() bool { return !alive(pid) })
			}
		})
	}
}

// The number of a group that is gone may be another's: its start, and that of the machine, tell.
func TestAnotherGroupOfTheSameNumberIsLeftAlone(t *testing.T) {
	c := exec.Command("sleep", "600")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	ours := newMark()
	ours.begun(c.Process.Pid)
	older, younger := *ours, *ours
	older.Start--
	younger.Start++
	if !ours.has(c.Process.Pid) || older.has(c.Process.Pid) || younger.has(c.Process.Pid) {
		t.Errorf("ours %v, of an older one %v, of a younger one %v", ours.has(c.Process.Pid), older.has(c.Process.Pid), younger.has(c.Process.Pid))
	}
	folder := t.TempDir()
	ours.Boot = "another start of the machine"
	if err := ours.write(filepath.Join(folder, "x"+marksSuffix)); err != nil {
		t.Fatal(err)
	}
	if ended, err := EndRemains(folder); ended != 0 || err != nil || !alive(c.Process.Pid) {
		t.Errorf("%d were ended, %v", ended, err)
	}
}
