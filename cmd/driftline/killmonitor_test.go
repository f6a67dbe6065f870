package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// asServerChannels names the file of channels of a server that asServer makes.
const asServerChannels = "DRIFTLINE_TEST_CHANNELS"

const (
	killPanes   = 18 // of a second each
	killRows    = 150
	killMonitor = "every_second"
)

// killDrifts are the panes that drift: three episodes.
var killDrifts = []int{4, 5, 6, 10, 11, 14}

// TestAKilledMonitorClosesEachPaneOnce lets a server evaluate panes as the seconds go by, and
// kills it again and again: whenever, and where it has told somebody of an alert and does not
// know yet that it arrived. All the same each pane is evaluated once, each episode has one
// alert, and all that was to be told arrives, under the same name and with the same words
// each time.
func TestAKilledMonitorClosesEachPaneOnce(t *testing.T) {
	told := newReceiver(t)
	folder := t.TempDir()
	channels := folder + "/channels.yaml"
	writeTestFile(t, channels, fmt.Sprintf("channels: {hook: {type: webhook, url: %q, allow_private: true}}", told.server.URL))
	t.Setenv(asServerChannels, channels)

	v := startVictim(t, folder+"/data")
	begin := time.Now().UTC().Truncate(time.Second).Add(3 * time.Second)
	defineKillMonitor(t, folder, v.url, begin)
	random := rand.New(rand.NewPCG(1, 1))
	kills, before, life := 0, 0, 500*time.Millisecond
	for deadline := time.Now().Add(5 * time.Minute); ; {
		evaluated := evaluatedPanes(v.url)
		if evaluated >= killPanes {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d panes were evaluated after %d kills", evaluated, kills)
		}
		if evaluated == before { // the machine is too busy for it to get anywhere
			life += life / 4
		}
		before = evaluated
		told.nextKills(v) // at the first notice that it sends
		select {
		case <-told.killed:
		case <-time.After(life + time.Duration(random.Int64N(int64(3*life)))):
			told.nextKills(nil)
			v.cmd.Process.Kill()
			select {
			case <-told.killed: // it was killed twice
			default:
			}
		}
		v.cmd.Wait()
		kills++
		v = startVictim(t, folder+"/data")
	}
	defer v.kill()
	told.nextKills(nil)
	checkKilledPanes(t, v.url, begin)
	checkKilledAlerts(t, v.url, begin)
	told.check(t, v.url)
	t.Logf("%d kills, of which %d between a delivery and the note of it", kills, told.kills)
}

func writeTestFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// defineKillMonitor registers a view and its monitor, and writes the rows of all seconds,
// most of which are still to come.
func defineKillMonitor(t *testing.T, folder, url string, begin time.Time) {
	t.Helper()
	before := begin.Add(-time.Hour)
	writeTestFile(t, folder+"/definitions.yaml", fmt.Sprintf(`
entities: [{name: thing, join_keys: [{name: id, type: string}]}]
feature_views: [{name: things, entities: [thing], features: [{name: value, type: float64}]}]
monitors:
  - name: %s
    source: {ref: view/things}
    reference: {from: %s, to: %s}
    window: 1s
    start: %s
    tests: {margin: 0.3}
    alert: {channels: [hook]}
`, killMonitor, before.Format(time.RFC3339), before.Add(time.Second).Format(time.RFC3339), begin.Format(time.RFC3339)))
	if out := (&shell{}).run([]string{"apply", folder + "/definitions.yaml", "--server", url}); strings.Contains(out, "exit") {
		t.Fatal(out)
	}
	var frame struct {
		IDs    []string  `json:"id"`
		Times  []string  `json:"event_timestamp"`
		Values []float64 `json:"value"`
	}
	second := func(at time.Time, shift float64) {
		for i := range killRows {
			frame.IDs = append(frame.IDs, fmt.Sprint(i))
			frame.Times = append(frame.Times, at.Add(time.Duration(i)*time.Millisecond).Format(time.RFC3339Nano))
			frame.Values = append(frame.Values, float64(i*37%killRows)+shift)
		}
	}
	second(before, 0)
	for pane := range killPanes {
		shift := 0.0
		if slices.Contains(killDrifts, pane) {
			shift = killRows
		}
		second(begin.Add(time.Duration(pane)*time.Second), shift)
	}
	body, err := json.Marshal(map[string]any{"push_source_name": "things", "to": "online_and_offline", "df": frame})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(url+"/push", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("push: %d %s", answer.StatusCode, text)
	}
	if time.Now().After(begin) {
		t.Log("the machine is slow: some panes were over before the rows were written")
	}
}

// withClient asks a server; what fails because it dies is no error of the test.
func withClient(url string, ask func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(ctx, c)
}

// evaluatedPanes is how many panes a server has evaluated; 0 if it does not say.
func evaluatedPanes(url string) int {
	panes := 0
	_ = withClient(url, func(ctx context.Context, c *client.Client) error {
		status, err := c.Monitor(ctx, killMonitor)
		if err == nil {
			panes = int(status.State.Panes)
		}
		return err
	})
	return panes
}

func checkKilledPanes(t *testing.T, url string, begin time.Time) {
	t.Helper()
	if err := withClient(url, func(ctx context.Context, c *client.Client) error {
		panes, err := c.MonitorPanes(ctx, killMonitor, time.Time{}, 1000, false)
		if err != nil {
			return err
		}
		slices.Reverse(panes)
		for i := range killPanes {
			want := driftline.PaneSame
			if slices.Contains(killDrifts, i) {
				want = driftline.PaneDrift
			}
			p := panes[i]
			if !p.Start.Equal(begin.Add(time.Duration(i)*time.Second)) || p.Evaluation != 1 || p.Outcome != want || p.Rows != killRows {
				t.Errorf("pane %d is %+v, want %s", i, p, want)
			}
		}
		rows, err := c.SQL(ctx, fmt.Sprintf(`SELECT pane_start, count(*) FROM meta.drift_results WHERE monitor = '%s' GROUP BY ALL HAVING count(*) <> 1`, killMonitor))
		if err != nil {
			return err
		}
		batches, n, err := rows.Collect()
		defer driftline.ReleaseAll(batches)
		if n > 0 {
			t.Errorf("%d panes have results more than once", n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func checkKilledAlerts(t *testing.T, url string, begin time.Time) {
	t.Helper()
	if err := withClient(url, func(ctx context.Context, c *client.Client) error {
		alerts, err := c.Alerts(ctx, killMonitor, "")
		if err != nil {
			return err
		}
		var found []string
		for _, a := range alerts {
			found = append(found, fmt.Sprintf("%s %s, panes %d to %d", a.ID, a.State, int(a.From.Sub(begin).Seconds()), int(a.To.Sub(begin).Seconds())))
		}
		slices.Sort(found)
		want := []string{
			killMonitor + "-1 resolved, panes 4 to 7", killMonitor + "-2 resolved, panes 10 to 12", killMonitor + "-3 resolved, panes 14 to 15",
		}
		if !slices.Equal(found, want) {
			t.Errorf("alerts %q, want %q", found, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// receiver is a webhook, which can kill the server that calls it before it answers.
type receiver struct {
	server *httptest.Server
	killed chan struct{}

	mu     sync.Mutex
	victim *victim // killed by the next notice that was not seen before; nil: nobody is
	bodies map[string][]string
	kills  int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{bodies: map[string][]string{}, killed: make(chan struct{}, 100)}
	r.server = httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) nextKills(v *victim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.victim = v
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // it died while it told
	}
	id := req.Header.Get("Idempotency-Key")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies[id] = append(r.bodies[id], string(body))
	if r.victim != nil && len(r.bodies[id]) == 1 {
		r.victim.cmd.Process.Kill()
		r.victim = nil
		r.kills++
		r.killed <- struct{}{}
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// check waits until nothing is left to tell, and looks at what arrived.
func (r *receiver) check(t *testing.T, url string) {
	t.Helper()
	pending := func() (n int) {
		err := withClient(url, func(ctx context.Context, c *client.Client) error {
			for i := range 3 {
				notices, err := c.AlertNotices(ctx, driftline.AlertID(fmt.Sprintf("%s-%d", killMonitor, i+1)))
				if err != nil {
					return err
				}
				for _, notice := range notices {
					if notice.State != driftline.NoticeDelivered {
						n++
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); pending() > 0 && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds := map[string]int{}
	again := 0
	for _, id := range slices.Sorted(maps.Keys(r.bodies)) {
		bodies := r.bodies[id]
		var notice driftline.Notice
		if err := json.Unmarshal([]byte(bodies[0]), &notice); err != nil || notice.ID != id {
			t.Errorf("notice %s: %v in %s", id, err, bodies[0])
		}
		kinds[fmt.Sprint(notice.Alert.ID, " ", notice.Kind)]++
		for _, body := range bodies[1:] {
			again++
			if body != bodies[0] {
				t.Errorf("notice %s says %s and then %s", id, bodies[0], body)
			}
		}
	}
	for i := range 3 {
		for _, kind := range []driftline.AlertState{driftline.AlertFiring, driftline.AlertResolved} {
			if name := fmt.Sprintf("%s-%d %s", killMonitor, i+1, kind); kinds[name] != 1 {
				t.Errorf("%q was told under %d names, want one", name, kinds[name])
			}
		}
	}
	if len(kinds) != 6 {
		t.Errorf("notices are of %v", kinds)
	}
	if r.kills == 0 || again < r.kills {
		t.Errorf("%d notices came again after %d kills that cut one short: the test shows nothing", again, r.kills)
	}
}
