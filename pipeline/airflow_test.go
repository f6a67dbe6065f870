package pipeline_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/pipeline"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAirflowRunsTheSameSteps: what is written for Airflow, word for word. bench/airflow has the real Airflow
// import and run it.
func TestAirflowRunsTheSameSteps(t *testing.T) {
	p := training()
	p.Description, p.Environment = "Late \"departures\"", map[string]string{"AS_OF": "2013-04-01"}
	for i := range p.Steps {
		switch s := &p.Steps[i]; s.Name {
		case "train":
			s.Retries, s.RetryDelay, s.Timeout = 2, driftline.Duration(1500*time.Millisecond), driftline.Duration(2*time.Hour)
			s.Command = []string{"python", "train.py", "--name", "it's {{ no }} template"}
		case "gate":
			s.Description, s.Command, s.Shell = "Is it \\ good enough?", nil, "driftline gate late@candidate\necho done"
			s.Environment = map[string]string{"AS_OF": "another"}
		case "deploy":
			s.Command = []string{"./deploy.sh"}
		}
	}
	got := plan(t, p).Airflow("/srv/flights")
	const golden = "testdata/airflow.py"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	if _, err := pipeline.Plan(p); err != nil {
		t.Error(err)
	}
}
