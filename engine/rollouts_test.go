package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/notify"
	"github.com/driftline/driftline/rollout"
)

// rolled is a model with two versions, the first of which is champion, whose requests are
// simulated, and an engine that looks after rollouts only when it is told to.
type rolled struct {
	*testenv.Env
	notices string // the file that the channel "ops" writes
	random  *rand.Rand
	fails   map[int]float64 // how often a version fails
	served  map[int]int     // requests that each version answered
	chosen  int             // the champion that somebody made, whatever rollouts say; 0 if nobody did
}

const late = driftline.ModelName("late")

func newRolled(t *testing.T, seed uint64) *rolled {
	t.Helper()
	return newRolledWith(t, seed, func(*engine.Options) {})
}

func newRolledWith(t *testing.T, seed uint64, change func(*engine.Options)) *rolled {
	t.Helper()
	file := filepath.Join(t.TempDir(), "notices.jsonl")
	channels, err := notify.Open(map[string]notify.Config{"ops": {Type: "file", Path: file}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	env := testenv.NewWith(t, func(o *engine.Options) {
		o.Channels, o.RolloutEvery = channels, -1
		change(o)
	})
	newModel(t, env, late, 3)
	champion(t, env, late, 1)
	return &rolled{env, file, rand.New(rand.NewPCG(seed, 1)), map[int]float64{1: 0.02, 2: 0.02, 3: 0.02}, map[int]int{}, 0}
}

// quick is a plan whose stages and bake are short.
func quick() *driftline.RolloutPlan {
	return &driftline.RolloutPlan{
		Stages: []driftline.CanaryStage{{Weight: 5}, {Weight: 50}},
		Bake:   driftline.BakeStage{Duration: driftline.Duration(time.Hour)},
	}
}

func (r *rolled) start(version int, plan *driftline.RolloutPlan) driftline.RolloutStatus {
	r.T.Helper()
	started, err := r.Engine.StartRollout(context.Background(), driftline.RolloutRequest{
		Model: late, Version: fmt.Sprint(version), Plan: plan, By: "ann", Reason: "it is better",
		Notices: []driftline.PolicyNotice{{Channels: []string{"ops"}}},
	})
	if err != nil {
		r.T.Fatal(err)
	}
	return started.Rollout
}

// minutes lets time pass, with requests in each minute.
func (r *rolled) minutes(n, requests int) {
	r.T.Helper()
	for range n {
		r.serve(requests)
		r.Clock.Advance(time.Minute)
		if err := r.Engine.TendRollouts(context.Background()); err != nil {
			r.T.Fatal(err)
		}
	}
}

func (r *rolled) serve(requests int) {
	r.T.Helper()
	router, err := r.Engine.Router(late)
	if err != nil {
		r.T.Fatal(err)
	}
	for range requests {
		d := router.Decide(fmt.Sprint(r.random.Uint64()))
		r.served[d.Version]++
		o := rollout.Observation{Route: d.Route, Arm: d.Arm, Answer: r.answer(d.Version)}
		if len(d.Mirror) > 0 {
			o.Mirror = new(r.answer(d.Mirror[0].Version))
		}
		r.Engine.ObserveRollout(late, o)
	}
}

// answer is what a version makes of a request.
func (r *rolled) answer(version int) rollout.Answer {
	a := rollout.Answer{Latency: time.Duration(r.random.ExpFloat64() * 1e7), Score: r.random.Float64()}
	if r.random.Float64() < r.fails[version] {
		a.Fault = driftline.FaultError
	}
	return a
}

func (r *rolled) status(id driftline.RolloutID) driftline.RolloutStatus {
	r.T.Helper()
	status, err := r.Engine.RolloutStatus(id)
	if err != nil {
		r.T.Fatal(err)
	}
	return status
}

// until lets minutes pass until the rollout is in a phase.
func (r *rolled) until(id driftline.RolloutID, phase driftline.RolloutPhase, requests int) driftline.RolloutStatus {
	r.T.Helper()
	for range 600 {
		if s := r.status(id); s.Phase == phase || s.Phase.Ended() {
			if s.Phase != phase {
				r.T.Fatalf("it is %s, want %s: %s", s.Phase, phase, s.Reason)
			}
			return s
		}
		r.minutes(1, requests)
	}
	r.T.Fatalf("it is still %s: %+v", r.status(id).Phase, r.status(id).Verdict)
	return driftline.RolloutStatus{}
}

func (r *rolled) act(id driftline.RolloutID, action driftline.RolloutAction, command driftline.RolloutCommand) (driftline.RolloutStatus, error) {
	command.By = "ann"
	return r.Engine.ActOnRollout(context.Background(), id, action, command)
}

func (r *rolled) mustAct(id driftline.RolloutID, action driftline.RolloutAction) driftline.RolloutStatus {
	r.T.Helper()
	status, err := r.act(id, action, driftline.RolloutCommand{Reason: "because"})
	if err != nil {
		r.T.Fatalf("%s: %v", action, err)
	}
	return status
}

// path is how a rollout went from phase to phase.
func (r *rolled) path(id driftline.RolloutID) string {
	r.T.Helper()
	history, err := r.Engine.RolloutHistory(id)
	if err != nil {
		r.T.Fatal(err)
	}
	words := []string{}
	for _, c := range history {
		words = append(words, fmt.Sprintf("%s %g", c.To, c.Weight))
	}
	return strings.Join(words, ", ")
}

// sound checks what must hold of a model at any time.
func (r *rolled) sound() {
	r.T.Helper()
	router, err := r.Engine.Router(late)
	if err != nil {
		r.T.Fatal(err)
	}
	total, route := 0.0, router.Route()
	for _, arm := range route.Arms {
		total += arm.Weight
	}
	if total != 100 {
		r.T.Errorf("the weights of %+v add up to %g", route, total)
	}
	production := 0
	versions, err := r.Engine.Registry().ModelVersions(late)
	if err != nil {
		r.T.Fatal(err)
	}
	for _, v := range versions {
		if v.Stage == driftline.StageProduction {
			production++
		}
	}
	if production > 1 {
		r.T.Errorf("%d versions are in production", production)
	}
}

func TestAnEqualCandidateBecomesChampion(t *testing.T) {
	r := newRolled(t, 1)
	s := r.start(2, quick())
	if s.Phase != driftline.RolloutPending || s.Champion != 1 || s.ID != "late-1" {
		t.Fatalf("%+v", s)
	}
	r.serve(400)
	if r.minutes(1, 0); r.status(s.ID).Baseline < 300 || !r.status(s.ID).Loaded {
		t.Errorf("after 400 requests the baseline has %d, loaded %v", r.status(s.ID).Baseline, r.status(s.ID).Loaded)
	}
	r.until(s.ID, driftline.RolloutCanary, 4000)
	r.minutes(3, 4000)
	before := r.status(s.ID)
	r.Reopen() // in the middle of a canary
	after := r.status(s.ID)
	if fmt.Sprintf("%+v", before.Route) != fmt.Sprintf("%+v", after.Route) || before.Verdict.Requests != after.Verdict.Requests || before.Elapsed != after.Elapsed {
		t.Errorf("before the restart %+v\nafter %+v", before, after)
	}
	r.until(s.ID, driftline.RolloutBaking, 4000)
	if at, _ := r.Engine.Registry().Champion(late); at != 2 {
		t.Errorf("version %d is champion", at)
	}
	r.sound()
	end := r.until(s.ID, driftline.RolloutPromoted, 4000)
	if want := "pending 0, canary 5, canary 50, promoting 50, baking 95, promoted 0"; r.path(s.ID) != want {
		t.Errorf("it went %s, want %s", r.path(s.ID), want)
	}
	if end.Cause != driftline.CauseBaked || answers(t, r.Env, late, "u") != 2 {
		t.Errorf("it ended %+v", end)
	}
	v, err := r.Engine.Registry().ModelVersion(late, "champion")
	if err != nil || v.Version != 2 || v.Stage != driftline.StageProduction {
		t.Errorf("champion is %+v, %v", v, err)
	}
	notices := delivered(t, r.Env, r.notices, 5)
	events := []string{}
	for _, n := range notices {
		events = append(events, string(n.Happening.Event))
	}
	if want := "rollout_started rollout_advanced rollout_advanced rollout_promoted rollout_promoted"; strings.Join(events, " ") != want {
		t.Errorf("told %v, want %s", events, want)
	}
	moves, err := r.Engine.Registry().AliasHistory(late, driftline.AliasChampion)
	if last := moves[len(moves)-1]; err != nil || last.From != 1 || last.To != 2 || len(last.Evidence) != 1 || last.Evidence[0] != s.Ref() {
		t.Errorf("the alias moved %+v, %v", moves, err)
	}
	explained, err := r.Engine.ExplainRollout(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	again := 0
	for _, x := range explained {
		if !x.Equal {
			t.Errorf("the verdict made again differs: %+v", x)
		}
		if x.Again != nil {
			again++
		}
	}
	if again < 2 {
		t.Errorf("%d verdicts were made again, want those of both stages at least", again)
	}
}

// TestAWorseCandidateIsRolledBack is A24: ten times the errors.
func TestAWorseCandidateIsRolledBack(t *testing.T) {
	r := newRolled(t, 2)
	r.fails[2] = 0.2
	s := r.start(2, nil)
	r.until(s.ID, driftline.RolloutCanary, 4000)
	r.served[2] = 0
	end := r.until(s.ID, driftline.RolloutRolledBack, 400) // 20 of the candidate between two looks
	if r.served[2] > 200 {
		t.Errorf("%d requests went to the candidate, want 200 at most", r.served[2])
	}
	if end.Cause != driftline.CauseWorse || end.Verdict == nil || end.Verdict.EValue < end.Verdict.Threshold {
		t.Errorf("it ended %+v, verdict %+v", end, end.Verdict)
	}
	if at, _ := r.Engine.Registry().Champion(late); at != 1 || answers(t, r.Env, late, "u") != 1 {
		t.Errorf("version %d is champion", at)
	}
	notices := delivered(t, r.Env, r.notices, 3)
	if h := notices[2].Happening; h.Event != driftline.EventRolledBack || !strings.Contains(h.Text, "e-value") {
		t.Errorf("told %+v", h)
	}
	_, err := r.Engine.StartRollout(context.Background(), driftline.RolloutRequest{Model: late, Version: "2", Policy: 1})
	if driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("a policy tried it again: %v", err)
	}
	r.sound()
}

// TestARegressionInTheBakeIsTakenBack is A33.
func TestARegressionInTheBakeIsTakenBack(t *testing.T) {
	r := newRolled(t, 3)
	s := r.start(2, quick())
	r.until(s.ID, driftline.RolloutBaking, 4000)
	r.fails[2] = 0.3
	r.until(s.ID, driftline.RolloutRolledBack, 1000)
	if at, _ := r.Engine.Registry().Champion(late); at != 1 || answers(t, r.Env, late, "u") != 1 {
		t.Errorf("version %d is champion", at)
	}
	r.sound()
}

// TestWithoutRequestsNothingIsPromoted is A26, and A35: a clock that jumps is no evidence.
func TestWithoutRequestsNothingIsPromoted(t *testing.T) {
	r := newRolled(t, 4)
	s := r.start(2, nil)
	r.until(s.ID, driftline.RolloutCanary, 4000)
	r.Clock.Set(r.Clock.Now().Add(48 * time.Hour))
	r.minutes(2, 0)
	if got := r.status(s.ID); got.Phase != driftline.RolloutCanary || time.Duration(got.Elapsed) > time.Hour {
		t.Fatalf("a jump of the clock made it %s, %s", got.Phase, got.Elapsed)
	}
	for range 24 {
		r.Clock.Advance(time.Hour)
		r.minutes(1, 0)
	}
	for range 30 {
		r.Clock.Advance(4 * time.Minute)
		r.minutes(1, 0)
	}
	for range 400 {
		r.Clock.Advance(4 * time.Minute)
		r.minutes(1, 0)
	}
	if got := r.status(s.ID); got.Phase != driftline.RolloutRolledBack || got.Cause != driftline.CauseInsufficient {
		t.Errorf("it is %s (%s), %s", got.Phase, got.Cause, got.Reason)
	}
}

// TestOneRolloutOfAModelAtATime is A30.
func TestOneRolloutOfAModelAtATime(t *testing.T) {
	r := newRolled(t, 5)
	first := r.start(2, nil)
	ctx := context.Background()
	if _, err := r.Engine.StartRollout(ctx, driftline.RolloutRequest{Model: late, Version: "3"}); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("a second one by a person: %v", err)
	}
	again, err := r.Engine.StartRollout(ctx, driftline.RolloutRequest{Model: late, Version: "2", Policy: 1})
	if err != nil || again.Rollout.ID != first.ID {
		t.Errorf("the same one again: %+v, %v", again, err)
	}
	second, err := r.Engine.StartRollout(ctx, driftline.RolloutRequest{Model: late, Version: "3", Policy: 1, Plan: quick()})
	if err != nil || second.Admission != driftline.RolloutSupersedes {
		t.Fatalf("%+v, %v", second, err)
	}
	if got := r.status(first.ID); got.Phase != driftline.RolloutSuperseded {
		t.Errorf("the first one is %s", got.Phase)
	}
	if second.Rollout.Route.Sequence <= r.status(first.ID).Route.Sequence {
		t.Errorf("routes %d and %d of two rollouts", r.status(first.ID).Route.Sequence, second.Rollout.Route.Sequence)
	}
	r.until(second.Rollout.ID, driftline.RolloutBaking, 4000)
	newModel(t, r.Env, late, 1)
	waits, err := r.Engine.StartRollout(ctx, driftline.RolloutRequest{Model: late, Version: "4", Policy: 1})
	if err != nil || waits.Admission != driftline.RolloutQueued || waits.Rollout.Next != 4 {
		t.Fatalf("%+v, %v", waits, err)
	}
	r.Reopen()
	r.until(second.Rollout.ID, driftline.RolloutPromoted, 4000)
	all, err := r.Engine.Rollouts(late)
	if err != nil || len(all) != 3 || all[0].Candidate != 4 || all[0].Champion != 3 || all[0].Phase != driftline.RolloutPending {
		t.Errorf("what waited did not begin: %+v, %v", all, err)
	}
}

// TestPeopleActOnARollout is A31, A32 and the rest of what people may do.
func TestPeopleActOnARollout(t *testing.T) {
	r := newRolled(t, 6)
	r.fails[2] = 0.06
	s := r.start(2, quick())
	s = r.until(s.ID, driftline.RolloutCanary, 4000)
	stale := s.Sequence - 1
	if _, err := r.act(s.ID, driftline.RolloutPause, driftline.RolloutCommand{Expect: &stale}); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("decided on an older state: %v", err)
	}
	if got := r.mustAct(s.ID, driftline.RolloutPause); got.Phase != driftline.RolloutPaused || got.Paused != driftline.RolloutCanary {
		t.Errorf("%+v", got)
	}
	if got := r.mustAct(s.ID, driftline.RolloutResume); got.Phase != driftline.RolloutCanary {
		t.Errorf("%+v", got)
	}
	if _, err := r.act(s.ID, driftline.RolloutPromote, driftline.RolloutCommand{Force: true}); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("forced without a reason: %v", err)
	}

	won, lost := 0, 0
	results := make(chan error, 2)
	at := r.status(s.ID).Sequence
	for _, action := range []driftline.RolloutAction{driftline.RolloutPromote, driftline.RolloutRollback} {
		go func() {
			_, err := r.act(s.ID, action, driftline.RolloutCommand{Expect: &at})
			results <- err
		}()
	}
	for range 2 {
		switch err := <-results; driftline.CodeOf(err) {
		case "":
			won++
		case driftline.Conflict:
			lost++
		default:
			t.Error(err)
		}
	}
	if won != 1 || lost != 1 {
		t.Errorf("%d won and %d lost", won, lost)
	}
	r.sound()

	back, err := r.Engine.RollBackModel(context.Background(), late, driftline.AliasRollback{By: "ann"})
	if r.status(s.ID).Cause == driftline.CausePerson && r.path(s.ID) != "" && back.Version != 1 && err == nil {
		t.Errorf("rolled back to %+v", back)
	}
	if at, _ := r.Engine.Registry().Champion(late); at != 1 {
		t.Errorf("version %d is champion", at)
	}
}

func TestAPromotedVersionIsTakenBackByOneCall(t *testing.T) {
	r := newRolled(t, 7)
	s := r.start(2, quick())
	r.until(s.ID, driftline.RolloutCanary, 4000)
	if got := r.mustAct(s.ID, driftline.RolloutPromote); got.Phase != driftline.RolloutBaking {
		t.Fatalf("%+v", got)
	}
	if got := r.mustAct(s.ID, driftline.RolloutPromote); got.Phase != driftline.RolloutPromoted {
		t.Fatalf("%+v", got)
	}
	reg := r.Engine.Registry()
	for _, version := range []string{"1", "2"} {
		if err := reg.DeleteModelVersion(late, version, "", ""); driftline.CodeOf(err) != driftline.Conflict {
			t.Errorf("version %s was deleted under a champion that can be taken back: %v", version, err)
		}
	}
	back, err := r.Engine.RollBackModel(context.Background(), late, driftline.AliasRollback{By: "ann", Reason: "it smells"})
	if err != nil || back.Version != 1 || back.Rollout == nil || back.Rollout.Phase != driftline.RolloutRolledBack {
		t.Fatalf("%+v, %v", back, err)
	}
	if answers(t, r.Env, late, "u") != 1 {
		t.Error("another version answers")
	}
	r.sound()
	if err := reg.DeleteModelVersion(late, "2", "", ""); err != nil {
		t.Errorf("a version that nobody needs: %v", err)
	}
	// There is no rollout to take back: the alias is.
	champion(t, r.Env, late, 3)
	if back, err = r.Engine.RollBackModel(context.Background(), late, driftline.AliasRollback{}); err != nil || back.Version != 1 || back.Rollout != nil {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestVersionsInUseAreKept is A36.
func TestVersionsInUseAreKept(t *testing.T) {
	r := newRolled(t, 8)
	s := r.start(2, nil)
	reg := r.Engine.Registry()
	for _, version := range []string{"1", "2"} {
		if err := reg.DeleteModelVersion(late, version, "", ""); driftline.CodeOf(err) != driftline.Conflict || !strings.Contains(fmt.Sprint(err), "in use") {
			t.Errorf("version %s: %v", version, err)
		}
	}
	if err := reg.DeleteModel(late, "", ""); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("the model: %v", err)
	}
	if _, err := reg.RenameModel(late, "later", ""); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("renaming: %v", err)
	}
	if err := reg.DeleteModelVersion(late, "3", "", ""); err != nil {
		t.Errorf("a version that nobody needs: %v", err)
	}
	r.mustAct(s.ID, driftline.RolloutAbort)
	if err := reg.DeleteModelVersion(late, "2", "", ""); err != nil {
		t.Errorf("after the abort: %v", err)
	}
}

// TestADamagedCandidateGetsNoRequest is A36: the bytes are not those that were registered.
func TestADamagedCandidateGetsNoRequest(t *testing.T) {
	r := newRolled(t, 9)
	v, err := r.Engine.Registry().ModelVersion(late, "2")
	if err != nil {
		t.Fatal(err)
	}
	damage(t, r.Dir, v.Files[0].SHA256)
	s := r.start(2, nil)
	r.minutes(2, 2000)
	if got := r.status(s.ID); got.Phase != driftline.RolloutFailed || r.served[2] != 0 {
		t.Errorf("it is %s (%s), and answered %d requests", got.Phase, got.Reason, r.served[2])
	}
}

func TestAModelServerReports(t *testing.T) {
	r := newRolled(t, 10)
	s := r.start(2, nil)
	r.until(s.ID, driftline.RolloutCanary, 4000)
	r.Engine.ReportModelServer(late, 1, errors.New("the champion's are not ours to judge"))
	if got := r.status(s.ID); got.Phase != driftline.RolloutCanary {
		t.Fatalf("it is %s", got.Phase)
	}
	r.Engine.ReportModelServer(late, 2, driftline.Errorf(driftline.Unavailable, "its circuit is open"))
	if got := r.status(s.ID); got.Phase != driftline.RolloutRolledBack || got.Cause != driftline.CauseBrokenModel || answers(t, r.Env, late, "u") != 1 {
		t.Errorf("it is %s (%s)", got.Phase, got.Reason)
	}
}

func TestAnAliasThatSomebodyElseMovesEndsARollout(t *testing.T) {
	r := newRolled(t, 11)
	s := r.start(2, nil)
	r.until(s.ID, driftline.RolloutCanary, 4000)
	champion(t, r.Env, late, 3)
	r.minutes(1, 100)
	if got := r.status(s.ID); got.Phase != driftline.RolloutRolledBack || got.Cause != driftline.CauseConflict {
		t.Errorf("it is %s (%s)", got.Phase, got.Reason)
	}
	if got := answers(t, r.Env, late, "u"); got != 3 {
		t.Errorf("version %d answers, want the one that somebody made champion", got)
	}
}

// TestARestoredRolloutIsPaused is A39.
func TestARestoredRolloutIsPaused(t *testing.T) {
	restored := false
	r := newRolledWith(t, 12, func(o *engine.Options) { o.Restored = restored })
	s := r.start(2, quick())
	r.until(s.ID, driftline.RolloutCanary, 4000)
	restored = true
	r.Reopen()
	restored = false
	r.minutes(3, 4000)
	if got := r.status(s.ID); got.Phase != driftline.RolloutPaused || got.Cause != driftline.CauseRestored {
		t.Fatalf("it is %s (%s)", got.Phase, got.Cause)
	}
	r.mustAct(s.ID, driftline.RolloutResume)
	r.until(s.ID, driftline.RolloutPromoted, 4000)
}

// TestTheFirstVersionIsRolledOut has no champion to compare with.
func TestTheFirstVersionIsRolledOut(t *testing.T) {
	r := newRolled(t, 13)
	newModel(t, r.Env, "new", 2)
	ctx := context.Background()
	started, err := r.Engine.StartRollout(ctx, driftline.RolloutRequest{Model: "new", Version: "1", Plan: &driftline.RolloutPlan{
		Guards: []driftline.Guard{{Kind: driftline.GuardErrors, Limit: 0.2}}, Bake: driftline.BakeStage{Duration: driftline.Duration(time.Minute)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Engine.Router("new"); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("before it is loaded: %v", err)
	}
	for range 4 {
		r.Clock.Advance(time.Minute)
		if err := r.Engine.TendRollouts(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.status(started.Rollout.ID); got.Phase != driftline.RolloutPromoted || answers(t, r.Env, "new", "u") != 1 {
		t.Errorf("it is %s (%s)", got.Phase, got.Reason)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	r := newRolled(t, 14)
	weights := func(w ...float64) *driftline.RolloutPlan {
		plan := &driftline.RolloutPlan{}
		for _, one := range w {
			plan.Stages = append(plan.Stages, driftline.CanaryStage{Weight: one})
		}
		return plan
	}
	for name, request := range map[string]driftline.RolloutRequest{ // A38
		"weight -1":       {Version: "2", Plan: weights(-1)},
		"weight 101":      {Version: "2", Plan: weights(101)},
		"falling weights": {Version: "2", Plan: weights(50, 5)},
		"unknown version": {Version: "9"},
		"the champion":    {Version: "1"},
		"unknown channel": {Version: "2", Notices: []driftline.PolicyNotice{{Channels: []string{"nobody"}}}},
		"unknown event":   {Version: "2", Notices: []driftline.PolicyNotice{{Channels: []string{"ops"}, On: []driftline.PolicyEvent{"x"}}}},
		"a long reason":   {Version: "2", Reason: strings.Repeat("x", 1<<20)},
	} {
		request.Model = late
		if _, err := r.Engine.StartRollout(context.Background(), request); driftline.CodeOf(err) == "" || driftline.CodeOf(err) == driftline.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := r.Engine.Rollouts(late); err != nil || len(all) != 0 {
		t.Errorf("something began: %+v, %v", all, err)
	}
}

// TestRequestsThatAreLostHoldARollout: what cannot be counted concludes nothing.
func TestRequestsThatAreLostHoldARollout(t *testing.T) {
	r := newRolled(t, 15)
	s := r.start(2, quick())
	r.until(s.ID, driftline.RolloutCanary, 4000)
	r.fails[2] = 1
	r.Engine.BlindRollout(late, "the log dropped rows")
	r.minutes(1, 4000)
	if got := r.status(s.ID); got.Phase != driftline.RolloutCanary || got.Blind != "the log dropped rows" {
		t.Errorf("it is %s, blind %q", got.Phase, got.Blind)
	}
	r.until(s.ID, driftline.RolloutRolledBack, 100)
}

// damage changes a byte of a file of a model.
func damage(t *testing.T, dir, sha256 string) {
	t.Helper()
	path := filepath.Join(dir, "artifacts", sha256)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[0] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedChampionIsNotReturnedTo is A36: what would be returned to is not what was
// registered, so the version that is there stays.
func TestADamagedChampionIsNotReturnedTo(t *testing.T) {
	r := newRolled(t, 16)
	s := r.start(2, brisk())
	r.until(s.ID, driftline.RolloutCanary, 300)
	if got := r.mustAct(s.ID, driftline.RolloutPromote); got.Phase != driftline.RolloutBaking {
		t.Fatalf("it is %s", got.Phase)
	}
	v, err := r.Engine.Registry().ModelVersion(late, "1")
	if err != nil {
		t.Fatal(err)
	}
	damage(t, r.Dir, v.Files[0].SHA256)
	got := r.mustAct(s.ID, driftline.RolloutRollback)
	if got.Phase != driftline.RolloutRolledBack || !strings.Contains(got.Reason, "left alone") {
		t.Errorf("it is %s: %s", got.Phase, got.Reason)
	}
	if at, _ := r.Engine.Registry().Champion(late); at != 2 || answers(t, r.Env, late, "u") != 2 {
		t.Errorf("version %d is champion", at)
	}
}

func TestAPredictionNamesTheRolloutThatDealtIt(t *testing.T) {
	r := newRolled(t, 17)
	s := r.start(2, nil)
	text := func(names ...string) (fields []driftline.Field) {
		for _, name := range names {
			fields = append(fields, driftline.Field{Name: name, Type: driftline.String})
		}
		return fields
	}
	r.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "answer", JoinKeys: text("prediction_id")}},
		FeatureViews: []driftline.FeatureView{{Name: "answers", Entities: []driftline.EntityName{"answer"}, Predictions: &driftline.PredictionLog{},
			Features: append(text("model", "rollout", "arm"), driftline.Field{Name: "model_version", Type: driftline.Int64})}},
	})
	r.Ingest("answers", `[
		{"prediction_id": "p-1", "event_timestamp": "2013-05-31T15:00:00Z", "model": "late", "model_version": 2, "rollout": "late-1", "arm": "candidate"},
		{"prediction_id": "p-2", "event_timestamp": "2013-05-31T15:00:00Z", "model": "late", "model_version": 1, "rollout": "late-9", "arm": "champion"}]`)
	if trace := why(t, r.Env, "p-1"); trace.Rollout != s.Ref() || trace.Arm != driftline.ArmCandidate {
		t.Errorf("dealt by %s to %q", trace.Rollout, trace.Arm)
	}
	if trace := why(t, r.Env, "p-2"); trace.Rollout != (driftline.Ref{}) {
		t.Errorf("dealt by %s, which there is not", trace.Rollout)
	}
}

// A tick counts what it must not lose, and time that was watched now and then; one without either leaves
// the disk alone.
func TestATickWithoutNewsWritesNothing(t *testing.T) {
	r := newRolled(t, 1)
	r.start(2, quick())
	r.until("late-1", driftline.RolloutCanary, 100)
	writes := 0
	r.Engine.FailWhen(func(step string) error {
		if slices.Contains(engine.RolloutSteps, step) {
			writes++
		}
		return nil
	})
	tick := func(after time.Duration) int {
		t.Helper()
		writes = 0
		r.Clock.Advance(after)
		if err := r.Engine.TendRollouts(context.Background()); err != nil {
			t.Fatal(err)
		}
		return writes
	}
	tick(time.Minute)
	for range 10 {
		if got := tick(time.Second); got != 0 {
			t.Fatalf("a tick without requests writes %d times", got)
		}
	}
	r.serve(10)
	before := r.status("late-1").Verdict.Requests
	if got := tick(time.Second); got != 1 {
		t.Errorf("a tick with requests writes %d times", got)
	}
	after := r.status("late-1").Verdict.Requests
	if got := after.Candidate + after.Champion - before.Candidate - before.Champion; got != 10 {
		t.Errorf("of 10 requests %d were counted", got)
	}
	for range 10 {
		if got := tick(time.Second); got != 0 {
			t.Fatalf("a tick after it writes %d times", got)
		}
	}
	if got := tick(time.Minute); got != 1 {
		t.Errorf("a minute that was watched is written %d times", got)
	}
	r.Reopen()
	if got := r.status("late-1").Verdict.Requests; got != after {
		t.Errorf("after a restart %+v were counted, want %+v", got, after)
	}
}
