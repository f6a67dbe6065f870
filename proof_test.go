package driftline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proofCases is how many cases docs/proof.md lists.
const proofCases = 45

// TestEveryCaseHasItsTest holds docs/proof.md against the tests that it names: each case is there once,
// in order, with at least one test, and each test is a function or a script of this module.
func TestEveryCaseHasItsTest(t *testing.T) {
	text, err := os.ReadFile("docs/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	next := 1
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "A") {
			continue
		}
		if got, want := strings.TrimSpace(cells[0]), fmt.Sprint("A", next); got != want {
			t.Fatalf("case %s is where %s should be", got, want)
		}
		next++
		shown := quoted.FindAllStringSubmatch(cells[2], -1)
		if len(shown) == 0 {
			t.Errorf("case A%d is shown by nothing", next-1)
		}
		for _, test := range shown {
			if err := isTest(test[1]); err != nil {
				t.Errorf("case A%d is shown by %s: %v", next-1, test[1], err)
			}
		}
	}
	if next != proofCases+1 {
		t.Errorf("there are %d cases, want %d", next-1, proofCases)
	}
}

// isTest reports whether a name is that of a script ("trigger/testdata/times") or of a test or
// benchmark of a package ("engine.TestLabels").
func isTest(name string) error {
	at := strings.LastIndexByte(name, '.')
	if at < 0 {
		_, err := os.Stat(name)
		return err
	}
	dir := name[:at]
	if dir == "driftline" {
		dir = "."
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name[at+1:]) + `\([tb] \*testing\.[TB]\)`).Match(text) {
			return nil
		}
	}
	return fmt.Errorf("there is no such function in %d test files", len(files))
}
