package engine_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// A15 and A16: of many callbacks at once that say two different things, one thing is taken in, by
// however many say it; the rest, and what comes under another token, changes nothing, also after a
// restart and under the lease of the next run.
func TestOfManyCallbacksOneThingCounts(t *testing.T) {
	s := newSchooled(t)
	s.mustAsk("a")
	h := s.hooked(1)
	results := []driftline.TrainingResult{{Succeeded: true, Candidate: s.version(nil)}, {Succeeded: true, Candidate: s.version(nil)}}
	errs := make([]error, 32)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = s.report(h, results[i%2]) })
	}
	all.Wait()
	run, err := s.Engine.Training(h.Run)
	if err != nil || run.State != driftline.TrainingSucceeded {
		t.Fatalf("%+v, %v", run, err)
	}
	for i, err := range errs {
		want := driftline.Code("")
		if results[i%2].Candidate != run.Candidate {
			want = driftline.Conflict
		}
		if driftline.CodeOf(err) != want {
			t.Errorf("version %d is the candidate, and version %d: %v", run.Candidate, results[i%2].Candidate, err)
		}
	}
	s.Reopen()
	s.mustAsk("b")
	next := s.hooked(2)
	if next.Token <= h.Token {
		t.Errorf("token %d after %d", next.Token, h.Token)
	}
	for name, late := range map[string]hook{"the last run's token": {Run: next.Run, Token: h.Token}, "a token to come": {Run: next.Run, Token: next.Token + 1}, "no token": {Run: next.Run}} {
		if _, err := s.report(late, results[0]); driftline.CodeOf(err) != driftline.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: run.Candidate}); err != nil || again.ID != h.Run {
		t.Errorf("the same callback once more, while the next run goes on: %+v, %v", again, err)
	}
	if now, err := s.Engine.Training(next.Run); err != nil || now.State != driftline.TrainingRunning || now.Candidate != 0 {
		t.Errorf("%+v, %v", now, err)
	}
}

// A callback that comes after the deadline is refused, whichever of the two the server sees first.
func TestACallbackRacesTheDeadline(t *testing.T) {
	ended := map[driftline.TrainingState]int{}
	for round := range 20 {
		s := newSchooled(t)
		s.mustAsk("a")
		h := s.hooked(1)
		version := s.version(nil)
		s.Clock.Advance(time.Hour + time.Duration(round-10)*time.Second)
		var reported error
		var both sync.WaitGroup
		both.Go(s.look)
		both.Go(func() { _, reported = s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: version}) })
		both.Wait()
		run, err := s.Engine.Training(h.Run)
		if err != nil {
			t.Fatal(err)
		}
		ended[run.State]++
		if said := fmt.Sprint(run.State, " ", driftline.CodeOf(reported)); said != "succeeded " && said != "timed_out conflict" {
			t.Errorf("it ended %s", said)
		}
	}
	if ended[driftline.TrainingSucceeded] == 0 {
		t.Errorf("no callback was in time: %v", ended)
	}
}
