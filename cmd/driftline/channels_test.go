package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// TestChannelsOfChecksMustBeThere holds that a slip under checks: is an error about the file that has it.
func TestChannelsOfChecksMustBeThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(path, []byte("channels: {ops: {type: log}}\nchecks: [opps]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := readChannels(path, nil, nil)
	if driftline.CodeOf(err) != driftline.NotFound || !strings.Contains(err.Error(), "channels file "+path+`: checks: channel "opps"`) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("channels: {ops: {type: log}}\nchecks: [ops]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, checks, err := readChannels(path, nil, nil); err != nil || len(checks) != 1 {
		t.Errorf("%v, %v", checks, err)
	}
}
