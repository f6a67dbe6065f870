package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/web"
)

// newRollouts is a site whose model has three versions, the first of them champion, and which
// looks after rollouts only when it is told to. The second version is being rolled out.
func newRollouts(t *testing.T) (s *site, id driftline.RolloutID) {
	t.Helper()
	env := testenv.NewWith(t, func(o *engine.Options) { o.RolloutEvery = -1 })
	env.Clock.Set(time.Date(2013, 1, 31, 16, 0, 0, 0, time.UTC))
	s = &site{Env: env, server: web.New(env.Engine, &web.Options{Version: "v0.1.0"})}
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "late"}`)
	for n := range 2 {
		s.mustAsk(t, "PUT", "/api/v1/runs/late-1/artifacts/model/"+fmt.Sprint(n), fmt.Sprintf("weights %d", n), "Content-Type: application/octet-stream")
		s.mustAsk(t, "POST", "/api/v1/models/late/versions", fmt.Sprintf(`{"run": "late-1", "artifact": "model/%d"}`, n))
	}
	s.mustAsk(t, "PUT", "/api/v1/models/late/aliases/champion", `{"version": 1}`)
	started, err := env.Engine.StartRollout(context.Background(), driftline.RolloutRequest{
		Model: "late", Version: "2", By: "ann", Reason: "it is <b>better</b>",
		Plan: &driftline.RolloutPlan{Baseline: 20, Stages: []driftline.CanaryStage{{Weight: 25}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, started.Rollout.ID
}

// minute lets a minute pass in which each version fails as often as fails says, of ten requests.
func (s *site) minute(t testing.TB, requests int, fails map[int]int) {
	t.Helper()
	router, err := s.Engine.Router("late")
	if err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		decision := router.Decide(fmt.Sprint(s.Clock.Now().Unix(), i))
		o := rollout.Observation{Route: decision.Route, Arm: decision.Arm, Answer: rollout.Answer{Latency: time.Millisecond}}
		if i%10 < fails[decision.Version] {
			o.Answer.Fault = driftline.FaultError
		}
		s.Engine.ObserveRollout("late", o)
	}
	s.Clock.Advance(time.Minute)
	if err := s.Engine.TendRollouts(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *site) shows(t testing.TB, path string, wants ...string) {
	t.Helper()
	body := s.mustAsk(t, "GET", path, "", "Accept: text/html")
	for _, want := range wants {
		if !strings.Contains(body, want) {
			t.Errorf("%s does not show %s:\n%s", path, want, body)
		}
	}
	if strings.Contains(body, "<b>better") {
		t.Errorf("%s lets a reason through as markup", path)
	}
}

func TestRolloutPagesShowHowItGoes(t *testing.T) {
	s, id := newRollouts(t)
	path := "/rollouts/" + string(id)
	for range 3 {
		s.minute(t, 100, map[int]int{1: 1, 2: 1})
	}
	s.shows(t, "/rollouts", `<a href="`+path+`">`, `@1 → <b>@2</b>`, `<span class="mark mark-canary-25-%">canary 25 %</span>`, `aria-label="25 % of the requests"`)
	s.shows(t, path, `<button formaction="`+path+`/pause">Pause</button>`, `<span class="mark mark-inconclusive">inconclusive</span>`,
		`<svg class="interval"`, `e-value, worse`, `more requests decide it`)
	for range 20 {
		s.minute(t, 100, map[int]int{1: 1, 2: 8})
	}
	s.shows(t, path, `<span class="mark mark-rolled-back">rolled back</span>`, `<span class="mark mark-worse">worse</span>`, `class="cause-worse"`)
	if body := s.mustAsk(t, "GET", path, ""); strings.Contains(body, "<button") {
		t.Error("a rollout that has ended has buttons")
	}
	s.shows(t, "/rollouts?model=late", `of <a href="/models/late">late</a>`)
	for _, absent := range []string{"/rollouts/late-9", "/rollouts?model=other"} {
		if w := s.ask("GET", absent, "", "Accept: text/html"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "</html>") {
			t.Errorf("%s: status %d: %s", absent, w.Code, w.Body)
		}
	}
	newSite(t).shows(t, "/rollouts", "No candidate was rolled out yet")
}

func TestTheButtonsOfARollout(t *testing.T) {
	s, id := newRollouts(t)
	s.minute(t, 100, nil)
	press := func(action string, form url.Values) int {
		return s.ask("POST", "/rollouts/"+string(id)+"/"+action, form.Encode(),
			"Accept: text/html", "Content-Type: application/x-www-form-urlencoded").Code
	}
	shown := func() string {
		status, err := s.Engine.RolloutStatus(id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(status.Sequence)
	}
	before := shown()
	if code := press("pause", url.Values{"by": {"ann"}, "expect": {before}}); code != http.StatusSeeOther {
		t.Fatalf("pause: status %d", code)
	}
	if code := press("promote", url.Values{"by": {"bob"}, "reason": {"quick"}, "expect": {before}}); code != http.StatusConflict {
		t.Errorf("somebody who looked at an older page: status %d, want %d", code, http.StatusConflict)
	}
	s.shows(t, "/rollouts/"+string(id), ">Resume</button>")
	for action, form := range map[string]url.Values{"pause": {"expect": {"one"}}, "explode": {"expect": {shown()}}} {
		if code := press(action, form); code != http.StatusUnprocessableEntity && code != http.StatusNotFound && code != http.StatusBadRequest {
			t.Errorf("%s: status %d", action, code)
		}
	}
	if code := press("rollback", url.Values{"by": {"ann"}, "reason": {"no <b>better</b>"}, "expect": {shown()}}); code != http.StatusSeeOther {
		t.Errorf("rollback: status %d", code)
	}
	s.shows(t, "/rollouts/"+string(id), `by ann`)
}
