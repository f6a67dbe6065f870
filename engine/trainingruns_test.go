package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/executor"
	"github.com/driftline/driftline/internal/testenv"
)

// trainer is another system: it gets the webhooks of training runs, and remembers them.
type trainer struct {
	mu     sync.Mutex
	status int
	hooks  []hook
}

type hook struct {
	Run   driftline.TrainingID `json:"run"`
	Token uint64               `json:"token"`
	Key   string               `json:"-"`

	Environment map[string]string `json:"environment"`
}

// claim is the tag by which the job says of a version that it made it.
func (h *hook) claim() string { return h.Environment["DRIFTLINE_TRAINING_TAG"] }

func (t *trainer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var h hook
	_ = json.Unmarshal(body, &h) // the test sees what is missing
	h.Key = r.Header.Get("Idempotency-Key")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks = append(t.hooks, h)
	w.WriteHeader(t.status)
}

func (t *trainer) got() []hook {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.hooks)
}

// schooled is an engine with a model "late", whose policy trains by a webhook.
type schooled struct {
	*testenv.Env
	t       *testing.T
	trainer *trainer
	url     string
}

func newSchooled(t *testing.T, triggers ...driftline.Trigger) *schooled {
	t.Helper()
	return newSchooledWith(t, func(*engine.Options) {}, triggers...)
}

func newSchooledWith(t *testing.T, change func(*engine.Options), triggers ...driftline.Trigger) *schooled {
	t.Helper()
	s := &schooled{t: t, trainer: &trainer{status: 200}}
	server := httptest.NewServer(s.trainer)
	t.Cleanup(server.Close)
	s.url = server.URL
	s.Env = testenv.NewWith(t, func(o *engine.Options) {
		o.TriggersEvery = -1
		o.Jobs = executor.New(executor.Config{Commands: true, AllowPrivate: true})
		change(o)
	})
	if _, err := s.Engine.Registry().CreateModel(driftline.RegisteredModelSpec{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	s.policy(func(p *driftline.Policy) { p.Triggers = triggers })
	return s
}

// policy applies the policy of the model, with a change.
func (s *schooled) policy(change func(p *driftline.Policy)) {
	s.t.Helper()
	p := driftline.Policy{Model: "late", Training: &driftline.TrainingJob{Webhook: &driftline.WebhookJob{URL: s.url}}}
	change(&p)
	s.Apply(driftline.Definitions{Policies: []driftline.Policy{p}})
}

func (s *schooled) look() { s.Engine.LookAtPolicies(context.Background()) }

func (s *schooled) ask(key string) (driftline.TrainingAnswer, error) {
	return s.Engine.RequestTraining("late", key, driftline.TrainingRequest{Reason: "test", By: "ann"})
}

func (s *schooled) mustAsk(key string) driftline.TrainingRun {
	s.t.Helper()
	answer, err := s.ask(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.Run
}

// hooked looks until the trainer has got n hooks, and returns the last.
func (s *schooled) hooked(n int) hook {
	s.t.Helper()
	for range 2000 {
		s.look()
		if got := s.trainer.got(); len(got) >= n {
			return got[len(got)-1]
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatalf("the trainer was called %d times, want %d", len(s.trainer.got()), n)
	return hook{}
}

// run returns a run once it has a state.
func (s *schooled) until(id driftline.TrainingID, state driftline.TrainingState) driftline.TrainingRun {
	s.t.Helper()
	var run driftline.TrainingRun
	for range 2000 {
		s.look()
		var err error
		if run, err = s.Engine.Training(id); err != nil {
			s.t.Fatal(err)
		}
		if run.State == state {
			return run
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatalf("run %s is %s (%s), want %s", id, run.State, run.Reason, state)
	return run
}

// version registers a version of the model.
func (s *schooled) version(tags map[string]string) int {
	s.t.Helper()
	v, err := s.Engine.Registry().RegisterModel(driftline.ModelSpec{Model: "late", Source: "runs:/e-1/model", Tags: tags})
	if err != nil {
		s.t.Fatal(err)
	}
	return v.Version
}

func (s *schooled) report(h hook, result driftline.TrainingResult) (driftline.TrainingRun, error) {
	return s.Engine.ReportTraining(h.Run, driftline.TrainingReport{Token: h.Token, TrainingResult: result})
}

// succeed trains once, and ends well.
func (s *schooled) succeed() driftline.TrainingRun {
	s.t.Helper()
	n := len(s.trainer.got())
	s.mustAsk("")
	h := s.hooked(n + 1)
	if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
		s.t.Fatal(err)
	}
	return s.until(h.Run, driftline.TrainingSucceeded)
}

func (s *schooled) runs() []driftline.TrainingRun {
	s.t.Helper()
	runs, err := s.Engine.Trainings("late", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return runs
}

func (s *schooled) suppressed() []driftline.Suppression {
	s.t.Helper()
	all, err := s.Engine.Suppressions("late", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func eachHour(catchUp driftline.CatchUp) driftline.Trigger {
	return driftline.Trigger{Name: "hourly", Time: &driftline.TimeTrigger{Cron: "0 * * * *", CatchUp: catchUp}}
}

// A1: however many ask with the same key, there is one run.
func TestTheSameRequestIsOneRun(t *testing.T) {
	s := newSchooled(t)
	var fresh, ids sync.Map
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			answer, err := s.ask("build-7")
			if err != nil {
				t.Error(err)
				return
			}
			ids.Store(answer.Run.ID, true)
			if !answer.Deduplicated {
				fresh.Store(i, true)
			}
		})
	}
	all.Wait()
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	if count(&fresh) != 1 || count(&ids) != 1 || len(s.runs()) != 1 {
		t.Errorf("%d requests were new, of %d runs", count(&fresh), count(&ids))
	}
	s.Reopen()
	if answer, err := s.ask("build-7"); err != nil || !answer.Deduplicated {
		t.Errorf("after a restart: %+v, %v", answer, err)
	}
}

// A run from its request to its report: the job is told what it needs, and its version is known.
func TestARunFromRequestToReport(t *testing.T) {
	s := newSchooled(t)
	asked := s.mustAsk("k")
	h := s.hooked(1)
	if h.Run != asked.ID || h.Key != string(asked.ID) || h.Environment["DRIFTLINE_MODEL"] != "late" || h.Environment["DRIFTLINE_TRAINING_RUN"] != string(asked.ID) ||
		h.Environment["DRIFTLINE_TRAINING_TOKEN"] != fmt.Sprint(h.Token) {
		t.Fatalf("%+v", h)
	}
	if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: 1}); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("a version that there is not: %v", err)
	}
	result := driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil), Rows: 10}
	for range 2 { // A15: the same twice is once
		if run, err := s.report(h, result); err != nil || run.State != driftline.TrainingSucceeded || run.Candidate != 1 {
			t.Errorf("%+v, %v", run, err)
		}
	}
	result.Rows = 11
	if _, err := s.report(h, result); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("another report: %v", err)
	}
	// Without a gate and a champion the first candidate is champion.
	for range 400 {
		if s.look(); s.runs()[0].Next == driftline.NextDone {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	champion, err := s.Engine.Registry().ModelVersion("late", "champion")
	if err != nil || champion.Version != 1 || s.runs()[0].Note != "it is the first champion" {
		t.Errorf("%+v, %v, %q", champion, err, s.runs()[0].Note)
	}
}

// TestACandidateMayTakeTimeToLoad: its server is asked again until it answers, and what it cannot answer for ever
// is a reason to reject it. What the rejected one learned from comes again, since no champion has learned it.
func TestACandidateMayTakeTimeToLoad(t *testing.T) {
	var asked atomic.Int64
	score := func(_ context.Context, of engine.ScoredVersion, rows arrow.RecordBatch) (*engine.Scores, error) {
		switch n := asked.Add(1); {
		case n <= 2:
			return nil, driftline.Errorf(driftline.Unavailable, "it loads")
		case of.Version.Version == 2:
			return nil, driftline.Errorf(driftline.FailedPrecondition, "it answered 500")
		}
		return &engine.Scores{Scores: slices.Clone(rows.Column(rows.Schema().FieldIndices("good")[0]).(*array.Float64).Float64Values()),
			Predictions: make([]float64, rows.NumRows())}, nil
	}
	s := newSchooledWith(t, func(o *engine.Options) { o.Score = score })
	s.Apply(weather)
	req := weatherRequest()
	req.SaveAs = "frozen"
	save(t, s.Env, req, s.Rows(scoredSchema, scoredRows(time.Date(2013, 3, 1, 0, 0, 0, 0, time.UTC), 800)))
	gate := *frozenGate()
	gate.Segments = nil
	arrives := func(hour int) {
		s.Ingest("weather", fmt.Sprintf(`[{"origin": "EWR", "event_timestamp": "2013-05-01T%02d:00:00Z", "created": null, "temp": 20, "wind": 3}]`, hour))
	}
	arrives(1)
	growing := weatherRequest()
	growing.SaveAs, growing.Spine = "readings", &driftline.SpineSource{Range: &driftline.TimeRange{}}
	save(t, s.Env, growing, driftline.Batches{})
	s.policy(func(p *driftline.Policy) {
		p.Evaluation, p.Training.Dataset, p.Training.Incremental = gate, "readings", true
	})
	candidate := func() driftline.TrainingRun {
		t.Helper()
		n := len(s.trainer.got())
		s.mustAsk("")
		h := s.hooked(n + 1)
		version := s.version(nil)
		if _, err := s.Engine.Registry().SetModelServer("late", fmt.Sprint(version), driftline.ModelServerChange{Server: &driftline.ModelServer{URL: "http://127.0.0.1:1"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: version}); err != nil {
			t.Fatal(err)
		}
		for range 4000 {
			s.look()
			if run := s.runs()[0]; run.Next == driftline.NextDone {
				return run
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Fatal("nothing becomes of the candidate")
		return driftline.TrainingRun{}
	}
	if run := candidate(); run.Note != "it is the first champion" || asked.Load() < 3 {
		t.Errorf("%s, %q, %q after %d questions", run.State, run.Reason, run.Note, asked.Load())
	}
	arrives(2)
	run := candidate()
	if run.State != driftline.TrainingRejected || !strings.Contains(run.Reason, "it could not be evaluated: model/late@2 cannot be evaluated: rows 0 to 255: it answered 500") {
		t.Errorf("%s, %q", run.State, run.Reason)
	}
	arrives(3)
	s.Clock.Advance(48 * time.Hour)
	s.mustAsk("")
	s.hooked(3)
	made, err := s.Engine.Registry().Dataset("readings", 0)
	if err != nil || made.Report.Rows != 2 {
		t.Errorf("%+v, %v, want the row that the rejected candidate had and the one after", made, err)
	}
}

// A3: wherever the server dies, the trainer knows one run by one key, and the run ends once.
func TestARunSurvivesACrashAtEachStep(t *testing.T) {
	for step, called := range map[string]int{"training recorded": 0, "training claimed": 0, "training started": 1, "training reported": 1} {
		t.Run(step, func(t *testing.T) {
			s := newSchooled(t)
			s.Engine.FailAt(step, errors.New("crash"))
			_, err := s.ask("k")
			if (err != nil) != (step == "training recorded") {
				t.Fatalf("%v", err)
			}
			switch step {
			case "training claimed":
				s.look()
			case "training started", "training reported":
				h := s.hooked(1)
				if step == "training reported" {
					if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err == nil {
						t.Fatal("it should have died")
					}
				}
			}
			before := len(s.trainer.got())
			if before != called {
				t.Errorf("before it died the trainer was called %d times, want %d", before, called)
			}
			s.Reopen()
			answer, err := s.ask("k")
			if err != nil || !answer.Deduplicated || len(s.runs()) != 1 {
				t.Fatalf("%+v, %v: there are %d runs", answer, err, len(s.runs()))
			}
			h := s.hooked(before + 1)
			for _, one := range s.trainer.got() {
				if one.Key != string(answer.Run.ID) || one.Token != h.Token {
					t.Errorf("the trainer got %+v, and %+v", one, h)
				}
			}
			if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
				t.Fatal(err)
			}
			s.until(answer.Run.ID, driftline.TrainingSucceeded)
			s.look()
			if run, err := s.Engine.Training(answer.Run.ID); err != nil || run.Attempts != 1 || len(s.trainer.got()) != called+1 {
				t.Errorf("%+v, %v: the trainer was called %d times, want %d", run, err, len(s.trainer.got()), called+1)
			}
		})
	}
}

// A2: a slot of cron is one run, whatever the server does between seeing it and writing that down.
// What was seen and the run that it leads to are written down together, so that neither is there without the other.
func TestASlotSurvivesACrash(t *testing.T) {
	for step, written := range map[string]int{"cause seen": 0, "training recorded": 1} {
		s := newSchooled(t, eachHour(driftline.CatchUpLatest))
		s.look()
		s.Clock.Advance(time.Hour)
		deaths := 0
		s.Engine.FailWith(step, func() error { deaths++; return errCrash })
		s.look()
		s.Reopen()
		if runs := s.runs(); deaths == 0 || len(runs) != written {
			t.Errorf("%s: after %d deaths there are %d runs, want %d: %+v", step, deaths, len(runs), written, runs)
		}
		for range 3 {
			s.look()
		}
		if runs := s.runs(); len(runs) != 1 || runs[0].CauseCount != 1 || runs[0].Causes[0].Bucket != "2013-06-01T01:00:00Z" {
			t.Errorf("%s: %+v", step, runs)
		}
	}
}

// A4: a thousand requests while a run goes on are one that follows.
func TestAStormIsOneRunThatFollows(t *testing.T) {
	s := newSchooled(t)
	first := s.mustAsk("first")
	s.hooked(1)
	for i := range 1000 {
		s.mustAsk(fmt.Sprint("k", i))
	}
	runs := s.runs()
	if len(runs) != 2 || runs[1].ID != first.ID || runs[0].CauseCount != 1000 || runs[0].State != driftline.TrainingQueued {
		t.Errorf("%d runs, %+v", len(runs), runs[0])
	}
}

// A5: within the cooldown a slot is suppressed, with the time from which it would be heard.
func TestCooldownIsKept(t *testing.T) {
	s := newSchooled(t, eachHour(driftline.CatchUpLatest))
	ended := s.succeed().Ended
	for range 5 {
		s.Clock.Advance(time.Hour)
		s.look()
	}
	all := s.suppressed()
	if len(all) != 5 || all[0].Reason != driftline.SuppressedCooldown || !all[0].Next.Equal(ended.Add(6*time.Hour)) || len(s.runs()) != 1 {
		t.Fatalf("%d runs, %d suppressed: %+v", len(s.runs()), len(all), all)
	}
	s.look()
	if again := s.suppressed(); len(again) != 5 {
		t.Errorf("the same is suppressed again: %+v", again)
	}
	s.Clock.Advance(time.Hour)
	s.look()
	if runs := s.runs(); len(runs) != 2 {
		t.Errorf("after the cooldown there are %d runs", len(runs))
	}
}

// A7: of the hours of three days without a server, as many are caught up with as the policy says.
func TestAServerThatWasAwayCatchesUp(t *testing.T) {
	for catchUp, want := range map[driftline.CatchUp]int{driftline.CatchUpLatest: 1, driftline.CatchUpNone: 0} {
		s := newSchooled(t, eachHour(catchUp))
		s.look()
		if err := s.Engine.Close(); err != nil {
			t.Fatal(err)
		}
		s.Clock.Advance(72*time.Hour + 30*time.Minute)
		s.Reopen()
		for range 5 {
			s.look()
		}
		if got := len(s.runs()); got != want {
			t.Errorf("%s: %d runs, want %d", catchUp, got, want)
		}
	}
	// All of them: one after the other, as fast as pacing lets them.
	s := newSchooled(t)
	zero := driftline.Duration(0)
	s.policy(func(p *driftline.Policy) {
		p.Triggers, p.Pacing = []driftline.Trigger{eachHour(driftline.CatchUpAll)}, driftline.Pacing{Cooldown: &zero, Budget: 5}
	})
	if err := s.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(12*time.Hour + 30*time.Minute)
	s.Reopen()
	for n := 1; n <= 5; n++ {
		h := s.hooked(n)
		if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		s.look()
	}
	runs := s.runs()
	if len(runs) != 5 || runs[4].Causes[0].Bucket != "2013-06-01T01:00:00Z" || runs[0].Causes[0].Bucket != "2013-06-01T05:00:00Z" {
		t.Errorf("%d runs: %+v", len(runs), runs)
	}
}

// A8: a clock that is set back deals with no hour twice.
func TestAClockThatIsSetBackRepeatsNothing(t *testing.T) {
	s := newSchooled(t, eachHour(driftline.CatchUpLatest))
	s.look()
	s.Clock.Advance(time.Hour)
	s.look()
	s.Clock.Advance(-2 * time.Hour)
	for range 6 {
		s.Clock.Advance(20 * time.Minute)
		s.look()
	}
	if runs := s.runs(); len(runs) != 1 || runs[0].CauseCount != 1 {
		t.Errorf("%+v", runs)
	}
}

// A12: a policy that changes while a run is active is for the next one.
func TestARunKeepsThePolicyThatItBeganUnder(t *testing.T) {
	s := newSchooled(t)
	first := s.mustAsk("a")
	s.hooked(1)
	s.policy(func(p *driftline.Policy) { p.Training.Parameters = map[string]string{"depth": "6"} })
	s.mustAsk("b")
	if h := s.trainer.got()[0]; h.Environment["DRIFTLINE_PARAM_depth"] != "" {
		t.Errorf("%+v", h)
	}
	if _, err := s.report(s.trainer.got()[0], driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
		t.Fatal(err)
	}
	h := s.hooked(2)
	run, err := s.Engine.Training(h.Run)
	if err != nil || run.Policy != 2 || h.Environment["DRIFTLINE_PARAM_depth"] != "6" {
		t.Errorf("%+v, %v, %+v", run, err, h)
	}
	if old, err := s.Engine.Training(first.ID); err != nil || old.Policy != 1 {
		t.Errorf("%+v, %v", old, err)
	}
}

// A13: with its policy a run that waits is cancelled, and one that is active is shut out.
func TestAPolicyThatIsDeletedFencesItsRuns(t *testing.T) {
	s := newSchooled(t)
	active := s.mustAsk("a")
	h := s.hooked(1)
	waits := s.mustAsk("b")
	cancelled, err := s.Engine.DeletePolicy("late", "ann", "enough")
	if err != nil || len(cancelled) != 2 {
		t.Fatalf("%+v, %v", cancelled, err)
	}
	for _, id := range []driftline.TrainingID{active.ID, waits.ID} {
		if run, err := s.Engine.Training(id); err != nil || run.State != driftline.TrainingCancelled {
			t.Errorf("%+v, %v", run, err)
		}
	}
	_, err = s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)})
	if driftline.CodeOf(err) != driftline.Conflict || !strings.Contains(err.Error(), "stale_token") {
		t.Errorf("a late report: %v", err)
	}
}

// A14: a trainer that never calls back is too late, and what follows waits longer.
func TestARunThatNobodyEndsTimesOut(t *testing.T) {
	s := newSchooled(t, eachHour(driftline.CatchUpLatest))
	run := s.mustAsk("a")
	h := s.hooked(1)
	for range 20 { // it is kept alive by the server until then
		s.Clock.Advance(2 * time.Minute)
		s.look()
	}
	if kept, err := s.Engine.Training(run.ID); err != nil || kept.State != driftline.TrainingRunning || kept.Attempts != 1 {
		t.Fatalf("%+v, %v", kept, err)
	}
	s.Clock.Advance(30 * time.Minute)
	late := s.until(run.ID, driftline.TrainingTimedOut)
	if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("a late report: %v", err)
	}
	// The slot that passed meanwhile waits as long as a first failure asks for.
	if runs := s.runs(); len(runs) != 2 || runs[0].State != driftline.TrainingQueued || !runs[0].NotBefore.Equal(late.Ended.Add(12*time.Hour)) {
		t.Errorf("%+v", runs)
	}
}

// A18: a file that is not what the job wrote fails the run, and nobody sees the version.
func TestAnotherFileThanTheJobWroteIsNoCandidate(t *testing.T) {
	s := newSchooled(t)
	s.mustAsk("a")
	h := s.hooked(1)
	version := s.version(nil)
	run, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: version, SHA256: strings.Repeat("ab", 32)})
	if err != nil || run.State != driftline.TrainingFailed || !strings.Contains(run.Reason, "hash") {
		t.Errorf("%+v, %v", run, err)
	}
	if _, err := s.Engine.Registry().ModelVersion("late", fmt.Sprint(version)); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("the version is still there: %v", err)
	}
}

// A command trains, registers a version with the run's tag, and need not call back.
func TestACommandTrains(t *testing.T) {
	s := newSchooled(t)
	folder := t.TempDir()
	script := "echo training $DRIFTLINE_TRAINING_RUN; echo $DRIFTLINE_TRAINING_TAG > $DRIFTLINE_PARAM_folder/tag.new; mv $DRIFTLINE_PARAM_folder/tag.new $DRIFTLINE_PARAM_folder/tag; " +
		"while [ ! -e $DRIFTLINE_PARAM_folder/registered ]; do sleep 0.02; done"
	s.policy(func(p *driftline.Policy) {
		p.Training = &driftline.TrainingJob{Command: []string{"/bin/sh", "-c", script}, Parameters: map[string]string{"folder": folder}}
	})
	run := s.mustAsk("a")
	s.until(run.ID, driftline.TrainingRunning)
	version := s.version(map[string]string{engine.TrainingTag: s.read(filepath.Join(folder, "tag"))})
	if err := os.WriteFile(filepath.Join(folder, "registered"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := s.until(run.ID, driftline.TrainingSucceeded)
	log, err := s.Engine.TrainingLog(run.ID)
	if err != nil || done.Candidate != version || string(log) != "training "+string(run.ID)+"\n" {
		t.Errorf("%+v, %q, %v", done, log, err)
	}
	// One that registers nothing has made nothing.
	second := s.mustAsk("b")
	if failed := s.until(second.ID, driftline.TrainingFailed); !strings.Contains(failed.Reason, engine.TrainingTag) {
		t.Errorf("%+v", failed)
	}
	s.policy(func(p *driftline.Policy) { p.Training = &driftline.TrainingJob{Command: []string{"/bin/sleep", "600"}} })
	third := s.mustAsk("c")
	s.until(third.ID, driftline.TrainingRunning)
	if run, err := s.Engine.CancelTraining(third.ID, "ann", "not today"); err != nil || run.State != driftline.TrainingCancelled || run.Reason != "not today" {
		t.Errorf("%+v, %v", run, err)
	}
	if _, err := s.Engine.CancelTraining(third.ID, "", ""); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("%v", err)
	}
}

// read waits for a file of a job, and returns the line in it.
func (s *schooled) read(path string) string {
	s.t.Helper()
	for range 2000 {
		if text, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(text))
		}
		time.Sleep(2 * time.Millisecond)
	}
	s.t.Fatalf("nobody writes %s", path)
	return ""
}

// Who registers a version, or tags one or a tracked run, as made by a training run must be the run's present job: the
// names and tokens of runs, which everybody may read, are no proof, and what an earlier attempt knew is none any more.
func TestOnlyTheJobRegistersForItsRun(t *testing.T) {
	s := newSchooled(t)
	r := s.Engine.Registry()
	run := s.mustAsk("a")
	h := s.hooked(1)
	claim := h.claim()
	rest := strings.TrimSuffix(claim, h.Environment["DRIFTLINE_TRAINING_SECRET"])
	if rest != fmt.Sprintf("%s:%d:", run.ID, h.Token) {
		t.Fatalf("the job is told the tag %q", claim)
	}
	plain, err := r.RegisterModel(driftline.ModelSpec{Model: "late", Source: "s3://models/late"})
	if err != nil {
		t.Fatal(err)
	}
	tracked, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(tags map[string]string) error{
		"registered": func(tags map[string]string) error {
			_, err := s.Engine.RegisterModel(context.Background(), driftline.ModelSpec{Model: "late", Source: "s3://models/late", Tags: tags}, true)
			return err
		},
		"tagged": func(tags map[string]string) error {
			_, err := r.ChangeModelVersion("late", fmt.Sprint(plain.Version), driftline.ModelChange{Tags: tags})
			return err
		},
		"tracked": func(tags map[string]string) error {
			_, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Tags: tags})
			return err
		},
		"logged": func(tags map[string]string) error {
			_, err := r.LogRun(tracked.ID, driftline.RunLog{Tags: tags})
			return err
		},
	}
	refused := func(when, value string, want driftline.Code) {
		t.Helper()
		for way, set := range ways {
			before := r.Newest()
			err := set(map[string]string{engine.TrainingTag: value, "stage": "one"})
			if driftline.CodeOf(err) != want || strings.Contains(err.Error(), h.Environment["DRIFTLINE_TRAINING_SECRET"]) || r.Newest() != before {
				t.Errorf("%s, %s: %v, want %s and nothing written", when, way, err, want)
			}
		}
	}
	refused("its name", string(run.ID), driftline.Unauthenticated)
	refused("without a secret", rest, driftline.Unauthenticated)
	refused("another secret", rest+strings.Repeat("ab", 32), driftline.Unauthenticated)
	refused("another token", strings.Replace(claim, fmt.Sprintf(":%d:", h.Token), fmt.Sprintf(":%d:", h.Token+1), 1), driftline.Unauthenticated)
	refused("another run", "late-77"+strings.TrimPrefix(claim, string(run.ID)), driftline.NotFound)
	for way, set := range ways {
		if err := set(map[string]string{engine.TrainingTag: claim}); err != nil {
			t.Errorf("the job, %s: %v", way, err)
		}
	}
	versions, err := r.ModelVersions("late")
	if err != nil || len(versions) != 2 {
		t.Fatalf("%d versions, %v", len(versions), err)
	}
	for i := range versions {
		if got := versions[i].Tags[engine.TrainingTag]; got != string(run.ID) {
			t.Errorf("version %d keeps the tag %q, want the name of the run and no secret", versions[i].Version, got)
		}
	}
	// A bundle brings no such tag along: the runs of the server that it comes from are others.
	putArtifact(t, s.Env, driftline.RunRef(tracked.ID), "model", "weights")
	whole, err := r.RegisterModel(driftline.ModelSpec{Model: "late", Run: tracked.ID, Artifact: "model", Tags: map[string]string{engine.TrainingTag: claim, "kept": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	var bundle bytes.Buffer
	_, write, err := s.Engine.ExportModel(context.Background(), "late", fmt.Sprint(whole.Version))
	if err != nil {
		t.Fatal(err)
	}
	if err := write(&bundle); err != nil {
		t.Fatal(err)
	}
	imported, err := s.Engine.ImportModel(context.Background(), "", "", "ada", &bundle)
	if err != nil || len(imported.Tags) != 1 || imported.Tags["kept"] != "1" {
		t.Errorf("imported with the tags %v, %v", imported.Tags, err)
	}
	if _, err := s.report(h, driftline.TrainingResult{Error: "it does not converge"}); err != nil {
		t.Fatal(err)
	}
	refused("a run that has ended", claim, driftline.Conflict)
}

// An incremental job gets the rows that came since the snapshot that the last run was trained on that succeeded, whatever
// their event times, and all at first; those that a run failed on, or whose candidate was rejected, come again.
func TestAnIncrementalJobGetsWhatIsNew(t *testing.T) {
	for name, spine := range map[string]driftline.SpineSource{
		"range":  {Range: &driftline.TimeRange{Start: watchedDay}},
		"select": {SQL: "SELECT origin, event_timestamp FROM features.weather"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSchooled(t)
			s.withReadings()
			s.Clock.Set(watchedDay.Add(5*time.Hour + 30*time.Minute))
			req := driftline.HistoricalRequest{SaveAs: "readings", Spine: &spine}
			req.Projections = []driftline.Projection{{View: "weather"}}
			save(t, s.Env, req, driftline.Batches{})
			none := driftline.Duration(0)
			s.policy(func(p *driftline.Policy) {
				p.Training.Dataset, p.Training.Incremental = "readings", true
				p.Pacing.Cooldown = &none
			})
			rows := func(run driftline.TrainingRun) int64 {
				t.Helper()
				version, err := strconv.Atoi(run.Dataset.Version)
				if err != nil {
					t.Fatal(err)
				}
				d, err := s.Engine.Registry().Dataset("readings", version)
				if err != nil {
					t.Fatal(err)
				}
				return d.Report.Rows
			}
			if first := rows(s.succeed()); first != 2400 {
				t.Errorf("the first run has %d rows, want all 2400", first)
			}
			s.Clock.Set(watchedDay.Add(7 * time.Hour))
			s.Ingest("weather", hourOf(6, 600, 0))
			n := len(s.trainer.got())
			s.mustAsk("")
			h := s.hooked(n + 1)
			if _, err := s.report(h, driftline.TrainingResult{Error: "it does not converge"}); err != nil {
				t.Fatal(err)
			}
			if second := rows(s.until(h.Run, driftline.TrainingFailed)); second != 600 {
				t.Errorf("the second run has %d rows, want the 600 of the hour since the first", second)
			}
			s.Clock.Set(watchedDay.Add(30 * time.Hour)) // longer than a failure has others wait
			s.Ingest("weather", hourOf(29, 50, 0))
			if third := rows(s.succeed()); third != 650 {
				t.Errorf("the run after one that failed has %d rows, want 650", third)
			}
			s.Clock.Advance(24 * time.Hour)
			s.Ingest("weather", hourOf(53, 7, 0))
			fourth := s.succeed()
			if n := rows(fourth); n != 7 {
				t.Errorf("the fourth run has %d rows, want 7", n)
			}
			s.Clock.Advance(time.Hour)
			s.Ingest("weather", hourOf(10, 30, 0)) // days late
			if _, err := s.Engine.Compact(context.Background(), "features.weather"); err != nil {
				t.Fatal(err)
			}
			fifth := s.succeed()
			if n := rows(fifth); n != 30 {
				t.Errorf("the fifth run has %d rows, want the 30 that came late", n)
			}
			s.Clock.Advance(time.Hour)
			if n := rows(s.succeed()); n != 0 {
				t.Errorf("a run without anything new has %d rows", n)
			}
			erasure := driftline.ErasureRequest{Entity: "airport", Keys: map[string]string{"origin": "JFK"}}
			if _, err := s.Engine.Erase(context.Background(), erasure); err != nil {
				t.Fatal(err)
			}
			s.Clock.Advance(time.Hour)
			failed := s.until(s.mustAsk("").ID, driftline.TrainingFailed)
			if !strings.Contains(failed.Reason, "which rows came since dataset/readings@") {
				t.Errorf("after an erasure the run says %q", failed.Reason)
			}
		})
	}
}

// A command ends with its server; the run gets another attempt, under another token.
func TestACommandGetsAnotherAttemptAfterARestart(t *testing.T) {
	s := newSchooled(t)
	s.policy(func(p *driftline.Policy) {
		p.Training = &driftline.TrainingJob{Command: []string{"/bin/sleep", "600"}}
	})
	run := s.mustAsk("a")
	first := s.until(run.ID, driftline.TrainingRunning)
	s.Reopen()
	s.look()
	second := s.until(run.ID, driftline.TrainingRunning)
	if second.Attempts != 2 || second.Lease.Token <= first.Lease.Token {
		t.Errorf("%+v, %+v", first, second)
	}
	_, err := s.Engine.ReportTraining(run.ID, driftline.TrainingReport{Token: first.Lease.Token, TrainingResult: driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}})
	if driftline.CodeOf(err) != driftline.Conflict { // A16
		t.Errorf("a report under the old token: %v", err)
	}
}
