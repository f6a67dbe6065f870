package kv

import (
	"os"
	"regexp"
	"testing"
)

// TestNoTwoRoomsTakeThePrefix reads the list itself: two constants of one value are no error
// to the compiler.
func TestNoTwoRoomsTakeThePrefix(t *testing.T) {
	source, err := os.ReadFile("keyspaces.go")
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^\t(\w+) +byte = '(.)'$`).FindAllStringSubmatch(string(source), -1) {
		if other := taken[found[2]]; other != "" {
			t.Errorf("%s and %s both begin with '%s'", other, found[1], found[2])
		}
		taken[found[2]] = found[1]
	}
	if len(taken) < 20 {
		t.Errorf("found %d prefixes, want all of them", len(taken))
	}
}
