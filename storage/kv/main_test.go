package kv_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, in the child processes that tests start and kill,
// what the environment asks for.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		writeUntilKilled(dir)
	}
	if dir := os.Getenv(holderDir); dir != "" {
		holdUntilKilled(dir)
	}
	// Pebble leaves this one behind when it fails to open a folder.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(
		"github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"))
}
