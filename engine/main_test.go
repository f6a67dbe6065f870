package engine_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/driftline/driftline/query"
)

func TestMain(m *testing.M) {
	query.WorkerMain() // does not return in the processes that SELECTs of tests run in
	goleak.VerifyTestMain(m)
}
