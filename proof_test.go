package driftline_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proofCases are how many cases docs/proof.md lists, by the letter that they begin with.
var proofCases = map[string]int{"A": 45, "P": 28, "Q": 17, "S": 27}

// TestEveryCaseHasItsTest holds docs/proof.md against the tests that it names: each case is there once,
// in order, with at least one test, and each test is a function or a script of this module.
func TestEveryCaseHasItsTest(t *testing.T) {
	text, err := os.ReadFile("docs/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([A-Z])(\d+) \|[^|]*\|([^|]*)\|$`)
	quoted := regexp.MustCompile("`([^`]+)`")
	listed := map[string]int{}
	for _, cells := range row.FindAllStringSubmatch(string(text), -1) {
		letter, name := cells[1], cells[1]+cells[2]
		listed[letter]++
		if want := fmt.Sprint(letter, listed[letter]); name != want {
			t.Fatalf("case %s is where %s should be", name, want)
		}
		shown := quoted.FindAllStringSubmatch(cells[3], -1)
		if len(shown) == 0 {
			t.Errorf("case %s is shown by nothing", name)
		}
		for _, test := range shown {
			if err := isTest(test[1]); err != nil {
				t.Errorf("case %s is shown by %s: %v", name, test[1], err)
			}
		}
	}
	if !maps.Equal(listed, proofCases) {
		t.Errorf("there are %v cases, want %v", listed, proofCases)
	}
}

// TestEveryStepHasItsDeath holds the table of docs/proof.md of where a process may die against the steps that the code
// names: each is there once, and nothing else is.
func TestEveryStepHasItsDeath(t *testing.T) {
	files, err := filepath.Glob("engine/*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	step := regexp.MustCompile(`(?m)^(?:\t|const )step[A-Z]\w* += "([^"]+)"`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range step.FindAllStringSubmatch(string(text), -1) {
			named[found[1]]++
		}
	}
	text, err := os.ReadFile("docs/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]int{}
	for _, cells := range regexp.MustCompile("(?m)^\\| `([a-z ]+)` \\|[^|]*\\| `([^`]+)` \\|$").FindAllStringSubmatch(string(text), -1) {
		listed[cells[1]]++
		if err := isTest(cells[2]); err != nil {
			t.Errorf("%q is where %s ends a process: %v", cells[1], cells[2], err)
		}
	}
	if len(named) < 20 || !maps.Equal(named, listed) {
		t.Errorf("the code names %v, docs/proof.md lists %v", named, listed)
	}
}

// isTest reports whether a name is that of a script ("trigger/testdata/times") or of a test,
// benchmark or fuzz target of a package ("engine.TestLabels").
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
		if regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name[at+1:]) + `\([tbf] \*testing\.[TBF]\)`).Match(text) {
			return nil
		}
	}
	return fmt.Errorf("there is no such function in %d test files", len(files))
}
