package executor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/driftline/driftline"
)

// How much of a job's output is kept: its beginning, and its end.
const (
	keptHead = 768 << 10
	keptTail = 256 << 10
)

// jobLog keeps the output of a job: the beginning as it comes, the end when it is closed.
type jobLog struct {
	mu   sync.Mutex
	file *os.File
	head int
	tail []byte
	left int64 // bytes between the two that are not kept
}

func openLog(path string) (*jobLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, driftline.Errorf(driftline.Unavailable, "the folder of logs cannot be made: %w", withoutPath(err))
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, driftline.Errorf(driftline.Unavailable, "the job's log cannot be written: %w", withoutPath(err))
	}
	return &jobLog{file: file}, nil
}

// Write takes everything: a job does not fail because its log is full, or the disk is.
func (l *jobLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	if room := keptHead - l.head; room > 0 {
		part := p[:min(room, len(p))]
		_, _ = l.file.Write(part)
		l.head += len(part)
		p = p[len(part):]
	}
	l.tail = append(l.tail, p...)
	if over := len(l.tail) - keptTail; over > 0 {
		l.left += int64(over)
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	return n, nil
}

// Close writes the end.
func (l *jobLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 {
		fmt.Fprintf(l.file, "\n… %d bytes are left out …\n", l.left)
	}
	_, err := l.file.Write(l.tail)
	return errors.Join(err, l.file.Close())
}

// lastLine is the last line that says something, cut to a length that people read.
func (l *jobLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.tail
	if len(text) == 0 {
		text, _ = os.ReadFile(l.file.Name())
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	const most = 300
	last := strings.ToValidUTF8(strings.TrimSpace(string(lines[len(lines)-1])), "�")
	return last[:min(most, len(last))]
}
