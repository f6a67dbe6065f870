package executor

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/driftline/driftline"
)

// A program dies with the server, but what it has started need not: Linux tells only children of
// their parent's death. So each process of a command carries a name in its environment, which is
// written down before the first one begins, with the group that they are in. Whatever has
// the name, or is in the group, when the command is over, or when the next server begins, is ended.

// nonceVariable is the variable of the environment that a command's processes have in common, and
// nobody else.
const nonceVariable = "DRIFTLINE_PROCESSES"

// marksSuffix is that of a file with a mark, beside the log of the command.
const marksSuffix = ".processes"

// mark is how the processes of a command are known.
type mark struct {
	Nonce string `json:"nonce"`
	Group int    `json:"group,omitempty"` // 0 until the first one has begun
	Start uint64 `json:"start,omitempty"` // of the first one, in ticks since the machine's
	Boot  string `json:"boot,omitempty"`  // which start of the machine that was
}

func newMark() *mark { return &mark{Nonce: rand.Text(), Boot: bootID()} }

// environ is what a command's environment has of the mark.
func (m *mark) environ() string { return nonceVariable + "=" + m.Nonce }

// begun notes the first process.
func (m *mark) begun(pid int) {
	if p, err := processOf(pid); err == nil {
		m.Group, m.Start = pid, p.start
	}
}

// write writes the mark down. It must outlive this process, and need not outlive the machine.
func (m *mark) write(path string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return driftline.Errorf(driftline.Unavailable, "the folder of logs cannot be made: %w", withoutPath(err))
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return driftline.Errorf(driftline.Unavailable, "the command's processes cannot be noted: %w", withoutPath(err))
	}
	return os.Rename(path+".new", path)
}

// EndRemains ends the processes that commands of a server before this one have left, by the marks in
// the folder of their logs, and returns how many there were. Call it before anything is started.
func EndRemains(folder string) (ended int, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*"+marksSuffix))
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		var m mark
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil || m.Boot != bootID() { // half written before anything began, or nothing of then is left
			_ = os.Remove(path)
			continue
		}
		ended += m.end()
		_ = os.Remove(path)
	}
	return ended, nil
}

// sweeps is how often what is left is looked for: who is being ended may start others meanwhile.
const sweeps = 20

// end ends every process that has the mark, and returns how many there were.
func (m *mark) end() (ended int) {
	for range sweeps {
		found := m.living()
		if len(found) == 0 {
			break
		}
		for _, pid := range found {
			if m.kill(pid) {
				ended++
			}
		}
		time.Sleep(time.Millisecond)
	}
	return ended
}

// kill ends a process, if it still is one that has the mark: the number of another one may be the
// same by now.
func (m *mark) kill(pid int) bool {
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(handle)
	return m.has(pid) && unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0) == nil
}

// living are the processes that have the mark.
func (m *mark) living() (found []int) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range all {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != os.Getpid() && m.has(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// has reports whether a process has the mark: by its environment, or, where it gave that up, by its
// group. A group keeps its number from others for as long as it has members, so it is the command's if
// the process of that number is the one that was noted, or is gone and nobody in it is older.
func (m *mark) has(pid int) bool {
	p, err := processOf(pid)
	if err != nil || p.state == 'Z' || p.state == 'X' {
		return false
	}
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err == nil && slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool { return string(v) == m.environ() }) {
		return true
	}
	if m.Group == 0 || p.group != m.Group || p.start < m.Start {
		return false
	}
	leader, err := processOf(m.Group)
	return err != nil || leader.start == m.Start
}

// process is what is known of a process.
type process struct {
	state byte
	group int
	start uint64
}

var errNoProcess = errors.New("there is no such process")

// processOf reads /proc/PID/stat, whose second field is a name in brackets that may hold anything.
func processOf(pid int) (process, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return process{}, errNoProcess
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return process{}, err
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return process{fields[0][0], group, start}, err
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
