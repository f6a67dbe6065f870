//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// asShell makes the test binary driftline sql, for a terminal needs a process.
const asShell = "DRIFTLINE_TEST_SHELL"

// terminal is a person at a pseudo terminal.
type terminal struct {
	t    *testing.T
	keys *os.File

	mu   sync.Mutex
	seen bytes.Buffer
	read int // of seen, by expect
}

// openShell starts driftline sql at a terminal of 100 columns.
func openShell(t *testing.T, server string) *terminal {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), asShell+"=1", "DRIFTLINE_SERVER="+server, "TERM=xterm", "XDG_STATE_HOME="+t.TempDir())
	keys, err := pty.StartWithSize(command, &pty.Winsize{Rows: 40, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, keys: keys}
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := keys.Read(buffer)
			term.mu.Lock()
			term.seen.Write(buffer[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		keys.Close()
		reading.Wait()
		if t.Failed() {
			t.Logf("the terminal shows:\n%s", term.text())
		}
	})
	return term
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\r`)

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return escapes.ReplaceAllString(s.seen.String(), "")
}

func (s *terminal) press(keys string) {
	s.t.Helper()
	if _, err := s.keys.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until the terminal shows text, after what was expected last.
func (s *terminal) expect(text string) {
	s.t.Helper()
	for range 1500 {
		shown := s.text()
		if at := strings.Index(shown[min(s.read, len(shown)):], text); at >= 0 {
			s.read += at + len(text)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("the terminal never showed %q", text)
}

func TestSQLShell(t *testing.T) {
	s := openShell(t, startServer(t))
	s.expect("Help is \\?")
	s.press("select 1 as one, 'ümlaut' as word, null as nothing;\r")
	s.expect("one  word    nothing")
	s.expect("  1  ümlaut     NULL")
	s.expect("(1 row, ")

	s.press("select 'a;b' as\r")
	s.expect("..> ")
	s.press("text; select 2 as two;\r")
	s.expect("a;b")
	s.expect("two")

	s.press("\\timing\r")
	s.expect("Times are not shown.")
	s.press("\\d meta.view\r")
	s.expect(`did you mean "meta.views"?`)
	s.press("\\d meta.views\r")
	s.expect("event_timestamp")
	s.expect("(10 rows)")

	s.press("sel\t 3 as three fr\t meta.vie\t;\r") // completed: select … from meta.views
	s.expect("three")

	s.press("\\x\r")
	s.expect("lines.")
	s.press("select 1 as first, 2 as second;\r")
	s.expect("── row 1 ──")
	s.expect("second  2")
	s.press("\\x\r")
	s.expect("table.")

	s.press("selec;\r")
	s.expect("error: SQL: syntax error")
	s.press("explain select 1;\r")
	s.expect("DUMMY_SCAN")
	s.press("select range from range(1000);\r")
	s.expect("(the first 200 rows; driftline sql --out FILE writes all)")
	s.press("select repeat('wide ', 30) a, repeat('wide ', 30) b, repeat('wide ', 30) c;\r")
	s.expect("… 2 more columns: b, c")

	s.press("select sum(hash(a.range * b.range)) from range(1000000) a, range(1000000) b;\r")
	s.expect("b;\n") // it runs
	time.Sleep(300 * time.Millisecond)
	s.press("\x03")
	s.expect("The query was cancelled.")
	s.press("select 'still here' as here;\r")
	s.expect("still here")

	s.press("select half a line\x03")
	s.press("\x1b[A\r") // the line before it, of the history
	s.expect("still here")
	s.press("\\q\r")
}

func TestSQLAnswersAreWritten(t *testing.T) {
	server := startServer(t)
	dir := t.TempDir()
	for _, format := range []string{"csv", "json", "parquet", "arrow"} {
		s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
		path := filepath.Join(dir, "answer."+format)
		if out := s.run([]string{"sql", "-c", "select 1 as a, 'x' as b", "--out", path}); out != "" {
			t.Errorf("%s: %s", format, out)
		}
		written, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		begin := map[string]string{"csv": "a,b\n1,x\n", "json": "[\n{\"a\": 1", "parquet": "PAR1", "arrow": "ARROW1"}[format]
		if !strings.HasPrefix(string(written), begin) {
			t.Errorf("%s begins with %.20q", format, written)
		}
	}
	s := &shell{environ: []string{"DRIFTLINE_SERVER=" + server}, stdin: "select 1 as a; select 2 as b -- ;\n"}
	if out := s.run([]string{"sql", "--format", "csv"}); out != "a\n1\nb\n2\n" {
		t.Errorf("two queries: %q", out)
	}
	s = &shell{environ: []string{"DRIFTLINE_SERVER=" + server}}
	if out := s.run([]string{"sql", "explain select 1"}); !strings.HasPrefix(out, "┌─") || strings.Contains(out, "explain_key") {
		t.Errorf("a plan that is not drawn: %q", out)
	}
}

func TestStatementEnd(t *testing.T) {
	for text, want := range map[string]int{
		"": -1, ";": 0, "a;b": 1, "';';": 3, `";";`: 3, "-- ;\n;": 5, "/* ; */;": 7, "$$ ; $$;": 7, "'": -1, "'it''s';": 7, "a--": -1,
	} {
		if got := statementEnd(text); got != want {
			t.Errorf("%q ends at %d, want %d", text, got, want)
		}
	}
}

// runAsShell is what the process of a terminal does.
func runAsShell() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ}
	os.Exit(a.run(context.Background(), []string{"sql"}))
}
