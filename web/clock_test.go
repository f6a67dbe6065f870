package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline/internal/replay"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/web"
)

func TestTimePassesByRequestOnlyInAReplay(t *testing.T) {
	env := testenv.New(t)
	env.Clock.Set(time.Date(2013, 4, 1, 0, 0, 0, 0, time.UTC))
	serve := func(clock *replay.Clock) *site {
		return &site{Env: env, server: web.New(env.Engine, &web.Options{Replay: clock})}
	}
	for _, test := range []struct {
		name, method, body, want string
		clock                    *replay.Clock
		status                   int
	}{
		{"reads it", "GET", "", `{"now":"2013-04-01T00:00:00Z","replay":true}`, env.Clock, http.StatusOK},
		{"moves it", "PUT", `{"to": "2013-04-01T03:00:00Z"}`, `{"now":"2013-04-01T03:00:00Z","replay":true}`, env.Clock, http.StatusOK},
		{"goes back", "PUT", `{"to": "2013-04-01T02:59:59Z"}`, "the clock stands at 2013-04-01T03:00:00Z", env.Clock, http.StatusBadRequest},
		{"says nothing", "PUT", `{}`, "to is missing", env.Clock, http.StatusBadRequest},
		{"says nonsense", "PUT", `{"to": "soon"}`, "soon", env.Clock, http.StatusBadRequest},
		{"without a replay", "PUT", `{"to": "2013-04-02T00:00:00Z"}`, "goes by the time of its machine", nil, http.StatusPreconditionFailed},
		{"reads that of the machine", "GET", "", `{"now":"2013-04-01T03:00:00Z","replay":false}`, nil, http.StatusOK},
	} {
		w := serve(test.clock).ask(test.method, "/api/v1/clock", test.body)
		if w.Code != test.status || !strings.Contains(strings.Join(strings.Fields(w.Body.String()), ""), strings.Join(strings.Fields(test.want), "")) {
			t.Errorf("%s: status %d, want %d with %s: %s", test.name, w.Code, test.status, test.want, w.Body)
		}
	}
}
