package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/notify"
)

// sink gets notices, and is down until it is told otherwise.
type sink struct {
	mu  sync.Mutex
	up  bool
	ids []string // that arrived
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n driftline.Notice
	err := json.NewDecoder(r.Body).Decode(&n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || !s.up {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.ids = append(s.ids, n.ID)
}

func (s *sink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func (s *sink) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = true
}

// newSunk is a schooled engine that tells a sink of what becomes of runs.
func newSunk(t *testing.T) (*schooled, *sink) {
	t.Helper()
	down := &sink{}
	server := httptest.NewServer(down)
	t.Cleanup(server.Close)
	channels, err := notify.Open(map[string]notify.Config{"hook": {Type: "webhook", URL: server.URL, AllowPrivate: true}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := newSchooledWith(t, func(o *engine.Options) { o.Channels = channels })
	s.policy(func(p *driftline.Policy) {
		p.Pacing.Budget = 50
		p.Notices = []driftline.PolicyNotice{{Channels: []string{"hook"}, On: []driftline.PolicyEvent{driftline.EventTrainingFailed}}}
	})
	return s, down
}

// fail trains once, which comes to nothing.
func (s *schooled) fail() {
	s.t.Helper()
	n := len(s.trainer.got())
	s.mustAsk("")
	if _, err := s.report(s.hooked(n+1), driftline.TrainingResult{Error: "no"}); err != nil {
		s.t.Fatal(err)
	}
}

// notices are those in the outbox, once done says that it has seen what it waits for.
func (s *schooled) notices(done func([]driftline.Notice) bool) []driftline.Notice {
	s.t.Helper()
	var all []driftline.Notice
	for range 4000 {
		s.Engine.WakeOutbox()
		var err error
		if all, err = s.Engine.Notices(""); err != nil {
			s.t.Fatal(err)
		}
		if done(all) {
			return all
		}
		time.Sleep(2 * time.Millisecond)
	}
	s.t.Fatalf("the outbox has %+v", all)
	return nil
}

// A41: a sink that is down for two hours gets every notice afterwards, in the order of what happened
// and under the IDs that they had from the beginning, also over a restart.
func TestASinkThatWasDownGetsAllInOrder(t *testing.T) {
	s, down := newSunk(t)
	for range 3 {
		s.fail()
	}
	all := s.notices(func(all []driftline.Notice) bool { return len(all) == 3 && all[0].Attempts > 0 })
	var want []string
	for _, n := range all {
		want = append(want, n.ID)
	}
	for range 8 { // two hours
		before := s.notices(func([]driftline.Notice) bool { return true })[0].Attempts
		s.Clock.Advance(15 * time.Minute)
		s.notices(func(all []driftline.Notice) bool { return all[0].Attempts > before })
	}
	s.Reopen()
	down.mend()
	s.Clock.Advance(15 * time.Minute)
	s.notices(func(all []driftline.Notice) bool { return all[2].State == driftline.NoticeDelivered })
	if ids := down.got(); fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("it got %v, want %v", ids, want)
	}
}

// A server that dies when a receiver has a notice, and before it wrote that down, tells it again under the same ID, by which
// the receiver knows it.
func TestADeathAfterADeliveryTellsAgainUnderTheSameID(t *testing.T) {
	s, up := newSunk(t)
	up.mend()
	s.Engine.FailAt("notice delivered", errors.New("the process died"))
	s.fail()
	waiting := s.notices(func([]driftline.Notice) bool { return len(up.got()) > 0 })
	if len(waiting) != 1 || waiting[0].State == driftline.NoticeDelivered {
		t.Fatalf("before the restart: %+v", waiting)
	}
	s.Reopen()
	told := s.notices(func(all []driftline.Notice) bool { return all[0].State == driftline.NoticeDelivered })
	ids := up.got()
	if len(told) != 1 || told[0].Attempts != 1 || len(ids) < 2 || slices.ContainsFunc(ids, func(id string) bool { return id != waiting[0].ID }) {
		t.Errorf("notices %+v, and the receiver got %v", told, ids)
	}
	s.Reopen()
	s.fail()
	s.notices(func(all []driftline.Notice) bool { return len(all) == 2 && all[1].State == driftline.NoticeDelivered })
	if got := up.got(); len(got) != len(ids)+1 || got[len(ids)] == waiting[0].ID {
		t.Errorf("after it was written down the receiver got %v", got[len(ids):])
	}
}

// A41: after three days a notice is given up, which everybody sees, holds up none that is newer,
// and is tried again when somebody says so.
func TestANoticeThatIsGivenUpIsSeen(t *testing.T) {
	s, down := newSunk(t)
	s.fail()
	s.notices(func(all []driftline.Notice) bool { return all[0].Attempts > 0 })
	s.Clock.Advance(notify.GiveUp + time.Minute)
	dead := s.notices(func(all []driftline.Notice) bool { return all[0].State == driftline.NoticeDead })[0]
	if dead.Error == "" || dead.Settled.IsZero() {
		t.Errorf("%+v", dead)
	}
	down.mend()
	s.fail()
	s.notices(func(all []driftline.Notice) bool { return len(all) == 2 && all[1].State == driftline.NoticeDelivered })
	if _, err := s.Engine.RetryNotice(dead.ID); err != nil {
		t.Fatal(err)
	}
	s.notices(func(all []driftline.Notice) bool { return all[0].State == driftline.NoticeDelivered })
	if ids := down.got(); len(ids) != 2 || ids[1] != dead.ID {
		t.Errorf("it got %v", ids)
	}
}
