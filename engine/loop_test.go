package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/notify"
)

// looped is a model under a policy that trains by a webhook, holds what was trained against a gate on
// frozen rows, rolls it out to simulated requests and tells a file. Version 1 is champion.
type looped struct {
	*schooled
	rolled *rolled
}

func newLooped(t *testing.T, seed uint64) *looped {
	t.Helper()
	file := filepath.Join(t.TempDir(), "notices.jsonl")
	channels, err := notify.Open(map[string]notify.Config{"ops": {Type: "file", Path: file}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := newSchooledWith(t, func(o *engine.Options) { o.Channels, o.RolloutEvery = channels, -1 })
	l := &looped{s, &rolled{s.Env, file, rand.New(rand.NewPCG(seed, 1)), map[int]float64{1: 0.02}, map[int]int{}, 0}}
	s.Apply(weather)
	s.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-03-01T00:00:00Z", "created": "2013-03-01T00:00:00Z", "temp": 20.5, "wind": 7}]`)
	req := weatherRequest()
	req.SaveAs = "frozen"
	save(t, s.Env, req, s.Rows(scoredSchema, scoredRows(time.Date(2013, 3, 1, 0, 0, 0, 0, time.UTC), 800)))
	champion(t, s.Env, late, l.made("the first model", "good", ""))
	zero := driftline.Duration(0)
	plan := brisk()
	plan.Stages[1].ManualApproval = false
	s.policy(func(p *driftline.Policy) {
		p.Pacing = driftline.Pacing{Cooldown: &zero, Budget: 1000}
		p.Evaluation, p.Rollout = *frozenGate(), *plan
		p.Notices = []driftline.PolicyNotice{{Channels: []string{"ops"}}}
	})
	return l
}

// made registers a version whose scores for the frozen rows are a column of theirs. Its tracked run has the claim of
// a training job, if there is one.
func (l *looped) made(content, column, claim string) int {
	l.t.Helper()
	spec := driftline.RunSpec{Experiment: "e"}
	if claim != "" {
		spec.Tags = map[string]string{engine.TrainingTag: claim}
	}
	tracked, err := l.Engine.Registry().CreateRun(spec)
	if err != nil {
		l.t.Fatal(err)
	}
	putArtifact(l.t, l.Env, driftline.RunRef(tracked.ID), "predictions/frozen@1.parquet", scoresFile(l.t, l.Env, "SELECT "+column+" AS score FROM datasets.frozen"))
	return registerFile(l.t, l.Env, tracked.ID, content).Version
}

// train asks for a run, which makes a model whose scores are a column, and returns the run and its version.
func (l *looped) train(column string) (driftline.TrainingRun, int) {
	l.t.Helper()
	n := len(l.trainer.got())
	run := l.mustAsk("")
	h := l.hooked(n + 1)
	version := l.made(fmt.Sprint("made by ", run.ID), column, h.claim())
	if _, err := l.report(h, driftline.TrainingResult{Succeeded: true, Candidate: version}); err != nil {
		l.t.Fatal(err)
	}
	return run, version
}

// becomes looks at everything, with requests in between, until the run is as it is wanted.
func (l *looped) becomes(id driftline.TrainingID, want func(run *driftline.TrainingRun) bool) driftline.TrainingRun {
	l.t.Helper()
	return l.with(300, id, want)
}

// with is becomes with so many requests in each minute; without any, time stands still.
func (l *looped) with(requests int, id driftline.TrainingID, want func(run *driftline.TrainingRun) bool) driftline.TrainingRun {
	l.t.Helper()
	var run driftline.TrainingRun
	for range 1500 {
		l.look()
		if requests > 0 {
			l.rolled.minutes(1, requests)
		}
		var err error
		if run, err = l.Engine.Training(id); err != nil {
			l.t.Fatal(err)
		}
		if want(&run) {
			return run
		}
		time.Sleep(2 * time.Millisecond)
	}
	l.t.Fatalf("run %s is %s, next %q: %s%s", id, run.State, run.Next, run.Note, run.Reason)
	return run
}

func rejected(run *driftline.TrainingRun) bool { return run.State == driftline.TrainingRejected }
func settled(run *driftline.TrainingRun) bool  { return run.Next == driftline.NextDone }

func rolledOut(run *driftline.TrainingRun) bool { return run.Rollout != "" }

// told waits until all of these happened, of which the file tells.
func (l *looped) told(want ...driftline.PolicyEvent) {
	l.t.Helper()
	var got []driftline.PolicyEvent
	for range 600 {
		got = nil
		for _, n := range noticesIn(l.t, l.rolled.notices) {
			got = append(got, n.Happening.Event)
		}
		if !slices.ContainsFunc(want, func(e driftline.PolicyEvent) bool { return !slices.Contains(got, e) }) {
			return
		}
		l.Engine.WakeOutbox()
		time.Sleep(5 * time.Millisecond)
	}
	l.t.Errorf("the file tells of %v, want %v", got, want)
}

func (l *looped) championIs(version int) {
	l.t.Helper()
	if at, err := l.Engine.Registry().Champion(late); err != nil || at != version || answers(l.t, l.Env, late, "u") != version {
		l.t.Errorf("version %d is champion (%v), want %d", at, err, version)
	}
}

// TestFromTheGateToARejection: a candidate that ranks by chance gets no request at all.
func TestFromTheGateToARejection(t *testing.T) {
	l := newLooped(t, 41)
	run, version := l.train("poor")
	l.Reopen()
	done := l.becomes(run.ID, rejected)
	if !strings.Contains(done.Reason, "its evaluation came to: failed") || l.rolled.served[version] != 0 {
		t.Errorf("%s; it answered %d requests", done.Reason, l.rolled.served[version])
	}
	if all, err := l.Engine.Rollouts(late); err != nil || len(all) != 0 {
		t.Errorf("it is rolled out: %+v, %v", all, err)
	}
	l.Reopen()
	if status, err := l.Engine.Policy(late); err != nil || status.State.Failures != 1 {
		t.Errorf("%+v, %v", status.State, err)
	}
	l.championIs(1)
	l.told(driftline.EventTrainingStarted, driftline.EventTrainingEnded, driftline.EventCandidateRejected)
}

// TestFromTheGateToARollback: what passes the gate and fails its requests is taken back, and its run
// has come to nothing.
func TestFromTheGateToARollback(t *testing.T) {
	l := newLooped(t, 42)
	run, version := l.train("good")
	l.rolled.fails[version] = 0.6
	l.with(0, run.ID, rolledOut)
	l.Reopen()
	done := l.becomes(run.ID, rejected)
	rollout := l.rolled.status(done.Rollout)
	if rollout.Candidate != version || rollout.Phase != driftline.RolloutRolledBack || rollout.Cause != driftline.CauseWorse || rollout.By != "" ||
		!strings.Contains(done.Reason, string(done.Rollout)) || l.rolled.served[version] == 0 {
		t.Errorf("%+v\n%+v", done, rollout)
	}
	l.championIs(1)
	l.told(driftline.EventStarted, driftline.EventRolledBack, driftline.EventCandidateRejected)
}

// TestFromTheGateToTheEndOfTheBake: what is good goes through all stages, is champion, is watched, and
// its run is done. Afterwards each trigger listens again.
func TestFromTheGateToTheEndOfTheBake(t *testing.T) {
	l := newLooped(t, 43)
	run, version := l.train("good")
	done := l.becomes(run.ID, settled)
	if done.State != driftline.TrainingSucceeded || done.Note != "it is champion" || l.rolled.status(done.Rollout).Phase != driftline.RolloutPromoted {
		t.Errorf("%+v, %+v", done, l.rolled.status(done.Rollout))
	}
	if path := l.rolled.path(done.Rollout); path != "pending 0, canary 20, canary 50, promoting 50, baking 95, promoted 0" {
		t.Errorf("it went %s", path)
	}
	found, err := l.Engine.Evaluations(late, version, 0, 10)
	if err != nil || len(found) != 1 || found[0].Outcome != driftline.EvaluationPassed || found[0].Policy != 2 {
		t.Errorf("%+v, %v", found, err)
	}
	l.championIs(version)
	l.Reopen()
	l.look()
	if status, err := l.Engine.Policy(late); err != nil || status.State.Champion != version || status.State.Failures != 0 {
		t.Errorf("%+v, %v", status.State, err)
	}
	l.told(driftline.EventTrainingStarted, driftline.EventTrainingEnded, driftline.EventStarted, driftline.EventAdvanced, driftline.EventPromoted)
}

// TestANewerCandidateTakesTheOldersPlace is A30 from one run to the next; what a person starts beside
// them is a conflict.
func TestANewerCandidateTakesTheOldersPlace(t *testing.T) {
	l := newLooped(t, 44)
	first, old := l.train("good")
	before := l.becomes(first.ID, func(run *driftline.TrainingRun) bool {
		return run.Rollout != "" && l.rolled.status(run.Rollout).Phase == driftline.RolloutCanary
	})
	second, version := l.train("good")
	l.with(0, second.ID, rolledOut)
	after := l.becomes(second.ID, settled)
	superseded := l.becomes(first.ID, settled)
	if superseded.Note != "a newer candidate took its place" || superseded.State != driftline.TrainingSucceeded ||
		l.rolled.status(before.Rollout).Phase != driftline.RolloutSuperseded || l.rolled.status(before.Rollout).Candidate != old {
		t.Errorf("%+v, %+v", superseded, l.rolled.status(before.Rollout))
	}
	if l.rolled.status(after.Rollout).Candidate != version {
		t.Errorf("%+v", after)
	}
	l.championIs(version)
	third, _ := l.train("good")
	l.with(0, third.ID, rolledOut)
	_, err := l.Engine.StartRollout(context.Background(), driftline.RolloutRequest{Model: late, Version: fmt.Sprint(old)})
	if driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("a person's beside it: %v", err)
	}
	l.told(driftline.EventSuperseded)
}
