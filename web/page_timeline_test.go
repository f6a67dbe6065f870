package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/executor"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/notify"
	"github.com/driftline/driftline/web"
)

// loop is a site on which a model went through everything: its inputs drifted, it was
// trained again, what came out was worse and was taken back, and training was asked for once
// more, in vain.
type loop struct {
	*site
	hooks chan hooked // of each run that the job was asked for, its token and what it is told
	job   string      // where the training job is asked for
	told  string      // the file of the channel ops
}

// hooked is what the webhook of a job is sent.
type hooked struct {
	Token       uint64            `json:"token"`
	Environment map[string]string `json:"environment"`
}

// newLoop is a site with a model that has a champion, a policy with a job, and nothing to do yet.
func newLoop(t testing.TB) *loop {
	t.Helper()
	l := &loop{hooks: make(chan hooked, 10)}
	trainer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var h hooked
		if json.Unmarshal(body, &h) == nil {
			l.hooks <- h
		}
	}))
	t.Cleanup(trainer.Close)
	l.job = trainer.URL
	l.told = filepath.Join(t.TempDir(), "ops.jsonl")
	channels, err := notify.Open(map[string]notify.Config{"ops": {Type: "file", Path: l.told}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	env := testenv.NewWith(t, func(o *engine.Options) {
		o.RolloutEvery, o.TriggersEvery, o.Channels = -1, -1, channels
		o.Jobs = executor.New(executor.Config{AllowPrivate: true})
	})
	env.Clock.Set(time.Date(2013, 1, 31, 9, 0, 0, 0, time.UTC))
	l.site = &site{Env: env, server: web.New(env.Engine, &web.Options{Version: "v0.1.0"})}
	l.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "late"}`)
	l.register(t)
	l.mustAsk(t, "PUT", "/api/v1/models/late/aliases/champion", `{"version": 1, "by": "ann", "reason": "the <b>bold</b> first"}`)
	return l
}

// register makes another version, and returns its number.
func (l *loop) register(t testing.TB) int {
	t.Helper()
	versions, err := l.Engine.Registry().ModelVersions("late")
	if err != nil && driftline.CodeOf(err) != driftline.NotFound {
		t.Fatal(err)
	}
	n := len(versions) + 1
	l.mustAsk(t, "PUT", fmt.Sprintf("/api/v1/runs/late-1/artifacts/model/%d", n), fmt.Sprintf("weights %d", n), "Content-Type: application/octet-stream")
	l.mustAsk(t, "POST", "/api/v1/models/late/versions", fmt.Sprintf(`{"run": "late-1", "artifact": "model/%d", "by": "ann"}`, n))
	return n
}

const loopPolicy = `{"model": "late", "description": "Kept <b>bold</b>", "triggers": [{"name": "windy", "drift": {"monitor": "wind_hourly"}}, {"name": "hourly", "time": {"cron": "@hourly"}}],
	"training": {"webhook": {"url": %q}}, "rollout": {"baseline": 20, "stages": [{"weight": 25}]}, "notices": [{"channels": ["ops"]}]}`

// drift has the model's monitor raise an alert, which its policy hears.
func (l *loop) drift(t testing.TB) {
	t.Helper()
	l.Clock.Set(time.Date(2013, 1, 31, 16, 0, 0, 0, time.UTC))
	l.mustAsk(t, "POST", "/api/v1/apply", windy)
	for hour := range 8 {
		shift := 0.0
		if hour >= 6 {
			shift = 60
		}
		l.Ingest("wind", windOf(hour, 400, shift))
	}
	monitors := strings.TrimSuffix(strings.TrimSpace(watched), "}")
	monitors = strings.Replace(monitors, `"of": 2}`, `"of": 2, "channels": ["ops"]}`, 1)
	l.mustAsk(t, "POST", "/api/v1/apply", monitors+`, "policies": [`+fmt.Sprintf(loopPolicy, l.job)+`]}`)
	l.mustAsk(t, "POST", "/api/v1/monitors/wind_hourly/run", "{}")
}

// until looks at policies until a training run has a state.
func (l *loop) until(t testing.TB, id driftline.TrainingID, state driftline.TrainingState) {
	t.Helper()
	for range 2000 {
		l.Engine.LookAtPolicies(context.Background())
		run, err := l.Engine.Training(id)
		if err == nil && run.State == state {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("training run %s is never %s", id, state)
}

// train answers the job's webhook with a version that is worse than the champion.
func (l *loop) train(t testing.TB) driftline.RolloutID {
	t.Helper()
	l.until(t, "late-1", driftline.TrainingRunning)
	l.Clock.Advance(20 * time.Minute)
	h := <-l.hooks
	report := driftline.TrainingReport{Token: h.Token, TrainingResult: driftline.TrainingResult{Succeeded: true, Candidate: l.register(t)}}
	if _, err := l.Engine.ReportTraining("late-1", report); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		l.Engine.LookAtPolicies(context.Background())
		if all, err := l.Engine.Rollouts("late"); err != nil {
			t.Fatal(err)
		} else if len(all) > 0 {
			return all[0].ID
		}
	}
	t.Fatal("what was trained is not rolled out")
	return ""
}

// newWholeLoop is a loop after all of it.
func newWholeLoop(t testing.TB) *loop {
	t.Helper()
	l := newLoop(t)
	l.drift(t)
	l.train(t)
	for range 25 {
		l.minute(t, 100, map[int]int{1: 1, 2: 8})
	}
	l.until(t, "late-1", driftline.TrainingRejected)
	l.Clock.Set(time.Date(2013, 1, 31, 18, 0, 0, 0, time.UTC))
	l.Engine.LookAtPolicies(context.Background())
	return l
}

// loopPages are the pages of a model that went through everything, each with what it must show.
var loopPages = []struct{ path, want string }{
	{"/models/late", `<a class="button" href="/models/late/timeline">Time line</a>`},
	{"/models/late/timeline", `aria-label="Everything that happened, on one axis of time"`},
	{"/models/late/timeline", `<text class="kind" x="12" y="49" dy="-3">monitor</text>`},
	{"/models/late/timeline", `class="run rejected"`},
	{"/models/late/timeline", `class="step rolled-back"`},
	{"/models/late/timeline", `<text class="label"`},
	{"/models/late/timeline", `<a class="ref" href="/alerts/wind_hourly-1">alert/wind_hourly-1</a>`},
	{"/models/late/timeline", `champion: nowhere → @1: the &lt;b&gt;bold&lt;/b&gt; first`},
	{"/models/late/timeline?kind=suppression", `<span class="mark mark-back-off">back off</span>`},
	{"/models/late/timeline?since=1d", `<a href="/models/late/timeline?since=1d" aria-current="true">last day</a>`},
	{"/models/late/timeline?since=2013-02-01T00:00:00Z", `still so`},
}

// showsAll opens each page once, and looks for what it must show.
func (l *loop) showsAll(t *testing.T, pages []struct{ path, want string }) {
	t.Helper()
	bodies := map[string]string{}
	for _, page := range pages {
		body, ok := bodies[page.path]
		if !ok {
			body = l.mustAsk(t, "GET", page.path, "", "Accept: text/html")
			bodies[page.path] = body
			if strings.Contains(body, "<b>bold") {
				t.Errorf("%s lets text through as markup", page.path)
			}
		}
		if !strings.Contains(body, page.want) {
			t.Errorf("%s does not show %s:\n%s", page.path, page.want, body)
		}
	}
}

func TestATimelineShowsEverythingThatHappened(t *testing.T) {
	l := newWholeLoop(t)
	l.showsAll(t, loopPages)
	for path, want := range map[string]int{
		"/models/none/timeline":              http.StatusNotFound,
		"/models/late/timeline?since=soon":   http.StatusBadRequest,
		"/models/late/timeline?kind=miracle": http.StatusNotFound,
	} {
		if w := l.ask("GET", path, "", "Accept: text/html"); w.Code != want || !strings.Contains(w.Body.String(), "</html>") {
			t.Errorf("%s: status %d, want %d: %s", path, w.Code, want, w.Body)
		}
	}
	newLoop(t).shows(t, "/models/late/timeline?since=2013-02-01T00:00:00Z", "Nothing has happened since")
}

// TestATimelineIsInTheOrderOfTime holds the line against what was done to the model.
func TestATimelineIsInTheOrderOfTime(t *testing.T) {
	l := newWholeLoop(t)
	line, err := l.Engine.Timeline(context.Background(), "late", time.Time{}, engine.MostTimeline)
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]int{}
	for i, e := range line.Events {
		if i > 0 && e.Time.Before(line.Events[i-1].Time) {
			t.Errorf("event %d is of %s, and comes after one of %s", i, e.Time, line.Events[i-1].Time)
		}
		if key := string(e.Kind) + " " + e.State; e.Ref.Name == "" || e.Text == "" {
			t.Errorf("event %d says too little: %+v", i, e)
		} else if _, ok := first[key]; !ok {
			first[key] = i
		}
	}
	last := -1
	for _, key := range []string{"version registered", "alias moved", "drift drift", "alert firing", "training rejected", "rollout rolled_back", "suppression back_off"} {
		at, ok := first[key]
		if !ok {
			t.Fatalf("the line has no %s: %+v", key, line.Events)
		}
		if at < last {
			t.Errorf("%s is event %d, before what led to it", key, at)
		}
		last = at
	}
	training := line.Events[first["training rejected"]]
	if len(training.Because) != 1 || training.Because[0] != driftline.AlertRef("wind_hourly-1") || !training.Trouble || training.Version != 2 {
		t.Errorf("the training run does not say what led to it, or to what it led: %+v", training)
	}
	steps := line.Events[first["rollout rolled_back"]].Steps
	if len(steps) < 3 || steps[1].Weight != 25 || steps[len(steps)-1].Weight != 0 {
		t.Errorf("the rollout's steps are %+v", steps)
	}
	short, err := l.Engine.Timeline(context.Background(), "late", time.Time{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !short.Older || len(short.Events) != 3 || short.Events[2].Time != line.Events[len(line.Events)-1].Time {
		t.Errorf("the last three are %+v", short)
	}
	for _, limit := range []int{0, engine.MostTimeline + 1} {
		if _, err := l.Engine.Timeline(context.Background(), "late", time.Time{}, limit); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// TestATimelineKnowsWhatWasDefined changes the policy, a monitor and a gate, and looks at the line again.
func TestATimelineKnowsWhatWasDefined(t *testing.T) {
	l := newWholeLoop(t)
	l.mustAsk(t, "POST", "/api/v1/apply", `{"policies": [`+strings.Replace(fmt.Sprintf(loopPolicy, l.job), `"weight": 25`, `"weight": 50`, 1)+`]}`)
	l.mustAsk(t, "POST", "/api/v1/monitors/wind_hourly/pause", "{}")
	l.mustAsk(t, "PUT", "/api/v1/models/late/gates", `{"alias": "champion", "checks": ["bias"], "approvals": 1, "by": "ann", "reason": "<b>bold</b> rule"}`)
	l.mustAsk(t, "PUT", "/api/v1/models/late/gates", `{"alias": "champion", "by": "ben"}`)
	l.shows(t, "/models/late/timeline?kind=gate", "&lt;b&gt;bold&lt;/b&gt; rule")
	for range 2 { // as it was written, and as it is read from disk
		var told []string
		line, err := l.Engine.Timeline(context.Background(), "late", time.Time{}, engine.MostTimeline)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range line.Events {
			switch e.Kind {
			case driftline.TimelinePolicy, driftline.TimelineMonitor, driftline.TimelineGate:
				told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s %s", e.Kind, e.Ref, e.State, e.Text, e.By)))
			}
		}
		got := strings.Join(told, "\n")
		for _, want := range []string{
			"policy policy/late@1 applied: policy/late@1 is applied\n",
			"policy policy/late@2 applied: rollout: ",
			"monitor monitor/wind_hourly@1 applied: monitor/wind_hourly@1 is applied\n",
			"monitor monitor/wind_hourly@1 paused: monitor/wind_hourly@1 is paused\n",
			"gate model/late set: alias champion asks for nothing → checks [bias] and 1 approvals: <b>bold</b> rule ann\n",
			"gate model/late taken away: alias champion asks for checks [bias] and 1 approvals → nothing ben",
		} {
			if !strings.Contains(got+"\n", want) {
				t.Errorf("the line does not say %q:\n%s", want, got)
			}
		}
		l.Reopen()
	}
	l.Clock.Advance(time.Minute)
	if _, err := l.Engine.DeletePolicy("late", "ann", "done"); err != nil {
		t.Fatal(err)
	}
	line, err := l.Engine.Timeline(context.Background(), "late", time.Time{}, 1)
	if err != nil || len(line.Events) != 1 || line.Events[0].Text != "policy/late@2 is deleted: done" || line.Events[0].By != "ann" {
		t.Errorf("after the policy was deleted: %+v, %v", line, err)
	}
}

// TestATimelineRemembersWhoWasTold holds that a notice stays on the line when the outbox has forgotten it.
func TestATimelineRemembersWhoWasTold(t *testing.T) {
	l := newWholeLoop(t)
	notices := func() (told []string) {
		line, err := l.Engine.Timeline(context.Background(), "late", time.Time{}, engine.MostTimeline)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range line.Events {
			if e.Kind == driftline.TimelineNotice {
				told = append(told, fmt.Sprintf("%s %s %s %s", e.Time.Format(time.RFC3339), e.Ref, e.Channel, e.State))
			}
		}
		slices.Sort(told) // those of one instant have no order
		return told
	}
	l.settles(t, "delivered", func(n driftline.Notice) bool { return n.State == driftline.NoticeDelivered })
	before := notices()
	if len(before) < 3 || !strings.Contains(before[0], "alert/wind_hourly-1 ops delivered") {
		t.Fatalf("who was told is %q", before)
	}
	l.Clock.Advance(8 * 24 * time.Hour)
	l.settles(t, "forgotten", func(driftline.Notice) bool { return false })
	if after := notices(); !slices.Equal(after, before) {
		t.Errorf("after eight days it is\n%q, before it was\n%q", after, before)
	}
}

// settles waits until all notices of the outbox are as is says.
func (l *loop) settles(t *testing.T, what string, is func(driftline.Notice) bool) {
	t.Helper()
	for range 1000 {
		all, err := l.Engine.Notices("")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(n driftline.Notice) bool { return !is(n) }) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the notices are not all %s", what)
}

// TestOnlyTheJobReports holds that a report and a heartbeat need the secret of their attempt, and that nobody
// but the job has it.
func TestOnlyTheJobReports(t *testing.T) {
	l := newLoop(t)
	l.drift(t)
	l.until(t, "late-1", driftline.TrainingRunning)
	hook := <-l.hooks
	secret := hook.Environment["DRIFTLINE_TRAINING_SECRET"]
	if len(secret) != 64 {
		t.Fatalf("the job is told the secret %q", secret)
	}
	result := fmt.Sprintf(`"succeeded": true, "candidate": %d`, l.register(t))
	report := func(what, id, body string) (int, string) {
		w := l.ask("POST", "/api/v1/training-runs/"+id+"/"+what, body)
		return w.Code, w.Body.String()
	}
	prove := func(token uint64, secret string) string {
		return fmt.Sprintf(`"token": %d, "secret": %q`, token, secret)
	}
	for _, proof := range []string{fmt.Sprintf(`"token": %d`, hook.Token), prove(hook.Token, ""), prove(hook.Token+1, secret), prove(hook.Token, secret[1:])} {
		for what, rest := range map[string]string{"result": ", " + result, "heartbeat": ""} {
			if code, body := report(what, "late-1", "{"+proof+rest+"}"); code != http.StatusUnauthorized || strings.Contains(body, secret[2:]) {
				t.Errorf("%s with %s: %d %s", what, proof, code, body)
			}
		}
	}
	proof := prove(hook.Token, secret)
	if code, body := report("result", "late-9", "{"+proof+", "+result+"}"); code != http.StatusNotFound {
		t.Errorf("of a run that there is not: %d %s", code, body)
	}
	if code, body := report("heartbeat", "late-1", "{"+proof+"}"); code != http.StatusOK || strings.Contains(body, secret) {
		t.Errorf("heartbeat: %d %s", code, body)
	}
	if code, body := report("result", "late-1", "{"+proof+", "+result+"}"); code != http.StatusOK || strings.Contains(body, secret) {
		t.Errorf("result: %d %s", code, body)
	}
	for _, path := range []string{"/api/v1/training-runs/late-1", "/training-runs/late-1", "/api/v1/events", "/models/late/timeline"} {
		if body := l.mustAsk(t, "GET", path, "", "Accept: text/html"); strings.Contains(body, secret) {
			t.Errorf("%s shows the secret", path)
		}
	}
}
