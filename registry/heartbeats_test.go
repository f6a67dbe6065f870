package registry_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// clocked is a registry whose clock the test moves.
type clocked struct {
	*registry.Registry
	db  *kv.DB
	now time.Time
}

func openClocked(t *testing.T) *clocked {
	t.Helper()
	_, db := openWithKeys(t)
	c := &clocked{db: db, now: noon}
	c.reopen(t)
	return c
}

func (c *clocked) reopen(t *testing.T) {
	t.Helper()
	r, err := registry.Open(c.db, &registry.Options{Now: func() time.Time { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	c.Registry = r
}

func (c *clocked) lost(t *testing.T, want ...driftline.RunID) {
	t.Helper()
	got, err := c.EndLostRuns()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("at %s the lost runs are %v, want %v", c.now.Format(time.TimeOnly), got, want)
	}
}

func (c *clocked) status(t *testing.T, id driftline.RunID) (driftline.RunStatus, string) {
	t.Helper()
	run, err := c.Run(id)
	if err != nil {
		t.Fatal(err)
	}
	return run.Status, run.Reason
}

func TestRunsThatStopBreathingAreLost(t *testing.T) {
	c := openClocked(t)
	for _, id := range []driftline.RunID{"breathing", "logging", "silent", "ended", "deleted"} {
		must(t)(c.CreateRun(driftline.RunSpec{Experiment: "e", ID: id, Heartbeat: driftline.Duration(time.Minute)}))
	}
	must(t)(c.CreateRun(driftline.RunSpec{Experiment: "e", ID: "no-promise"}))
	must(t)(c.FinishRun("ended", driftline.RunFinished))
	must(t)(c.DeleteRun("deleted"))
	c.now = c.now.Add(time.Minute)
	c.lost(t) // the last moment of the promise
	must(t)(c.Heartbeat("breathing"))
	must(t)(c.LogRun("logging", driftline.RunLog{Metrics: []driftline.Metric{{Key: "loss", Value: 1}}}))
	c.now = c.now.Add(time.Second)
	c.lost(t, "silent")
	c.lost(t) // once
	if status, reason := c.status(t, "silent"); status != driftline.RunFailed || !strings.HasPrefix(reason, "lost: no sign of life since 2026-03-01T12:00:00") {
		t.Errorf("the lost run is %s, %q", status, reason)
	}
	if status, _ := c.status(t, "no-promise"); status != driftline.RunRunning {
		t.Errorf("a run that promised nothing is %s", status)
	}
	_, err := c.Heartbeat("ended")
	wantError(t, err, driftline.FailedPrecondition, `run "ended" is FINISHED`)
	_, err = c.Heartbeat("nobody")
	wantError(t, err, driftline.NotFound, "nobody")
}

// A client that was away, and not gone, goes on where it was; so does its promise.
func TestALostRunThatSpeaksRunsAgain(t *testing.T) {
	for name, speak := range map[string]func(*clocked) error{
		"heartbeat": func(c *clocked) error { _, err := c.Heartbeat("r"); return err },
		"log": func(c *clocked) error {
			_, err := c.LogRun("r", driftline.RunLog{Tags: map[string]string{"a": "b"}})
			return err
		},
		"metric": func(c *clocked) error {
			_, err := c.LogRun("r", driftline.RunLog{Metrics: []driftline.Metric{{Key: "loss", Value: 1}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := openClocked(t)
			must(t)(c.CreateRun(driftline.RunSpec{Experiment: "e", ID: "r", Heartbeat: driftline.Duration(time.Minute)}))
			c.now = c.now.Add(time.Hour)
			c.lost(t, "r")
			if err := speak(c); err != nil {
				t.Fatal(err)
			}
			run, err := c.Run("r")
			if err != nil {
				t.Fatal(err)
			}
			if run.Status != driftline.RunRunning || run.Reason != "" || !run.Ended.IsZero() {
				t.Errorf("after it spoke the run is %s, %q, ended %s", run.Status, run.Reason, run.Ended)
			}
			c.lost(t)
			c.now = c.now.Add(time.Hour)
			c.lost(t, "r")
			must(t)(c.FinishRun("r", driftline.RunFinished))
			if status, reason := c.status(t, "r"); status != driftline.RunFinished || reason != "" {
				t.Errorf("a lost run that said its end is %s, %q", status, reason)
			}
		})
	}
}

// While the server is down nobody can be heard, so every run gets a whole span after it.
func TestARestartIsNoSilence(t *testing.T) {
	c := openClocked(t)
	must(t)(c.CreateRun(driftline.RunSpec{Experiment: "e", ID: "r", Heartbeat: driftline.Duration(time.Minute)}))
	c.now = c.now.Add(time.Hour)
	c.reopen(t)
	c.lost(t)
	c.now = c.now.Add(time.Minute + time.Second)
	c.lost(t, "r")
	c.reopen(t)
	if status, reason := c.status(t, "r"); status != driftline.RunFailed || reason == "" {
		t.Errorf("after opening again the lost run is %s, %q", status, reason)
	}
}

func TestHeartbeatsHaveLimits(t *testing.T) {
	r := open(t)
	for _, d := range []time.Duration{-time.Second, time.Millisecond, 31 * 24 * time.Hour} {
		_, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Heartbeat: driftline.Duration(d)})
		wantError(t, err, driftline.Invalid, "cannot be promised")
	}
}
