package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// answer logs predictions of two versions of the model, and labels for most of them.
func (l *loop) answer(t testing.TB) {
	t.Helper()
	var records, labels []string
	for i := range 300 {
		version, arm := 1+i%2, []string{"champion", "candidate"}[i%2]
		id, score := fmt.Sprintf("p-<b>bold-%d", i), float64(i*37%100)/100
		records = append(records, fmt.Sprintf(`{"id": %q, "time": "2013-01-%02dT%02d:10:00Z", "model_version": %d, "arm": %q, "status": 200, "latency": "2ms", "prediction": %d, "score": %g}`,
			id, 28+i%3, i%24, version, arm, i%2, score))
		if i%5 > 0 {
			labels = append(labels, fmt.Sprintf(`{"prediction_id": %q, "label": %d, "time": "2013-01-31T%02d:00:00Z"}`, id, i/7%2, i%16))
		}
	}
	l.mustAsk(t, "POST", "/api/v1/models/late/predictions", `{"predictions": [`+strings.Join(records, ",")+`]}`)
	l.mustAsk(t, "POST", "/api/v1/models/late/labels", `{"labels": [`+strings.Join(labels, ",")+`]}`)
}

// policyPages are the pages of a loop's policy, its training runs and its predictions, each with
// what it must show.
var policyPages = []struct{ path, want string }{
	{"/models/late", `<a class="button" href="/policies/late">Policy</a>`},
	{"/alerts/wind_hourly-1", `>Take as normal</button>`},
	{"/policies", `<a href="/policies/late">late</a>`},
	{"/policies", `<span class="mark mark-waiting">waiting</span>`},
	{"/policies/late", `<a href="/monitors/wind_hourly">the alert of wind_hourly</a>`},
	{"/policies/late", `<code>@hourly, UTC</code>`},
	{"/policies/late", `<span class="mark mark-back-off">back off</span>`},
	{"/policies/late", `such a cause is heard from 2013-02-01 04:20 on`},
	{"/policies/late", `<dd>1 of 4 <span class="quiet">within a day</span></dd>`},
	{"/policies/late", `kind: policy`},
	{"/policies/late", `<button>Train now</button>`},
	{"/training-runs", `<a href="/training-runs/late-1">late-1</a>`},
	{"/training-runs?model=late", `<span class="mark mark-rejected">rejected</span>`},
	{"/training-runs/late-1", `<h2>It came to nothing</h2><p>rollout late-1: worse by errors`},
	{"/training-runs/late-1", `<a class="ref" href="/models/late/versions/2">model/late@2</a>`},
	{"/training-runs/late-1", `<a href="/rollouts/late-1">late-1</a>`},
	{"/models/late/predictions", `= 300 logged + 0 dropped + 0 waiting`},
	{"/models/late/predictions", `<dd>240 of 300</dd>`},
	{"/models/late/predictions", `aria-label="Predictions by day, and how many of them have a label"`},
	{"/models/late/predictions", `<h3>version 1, champion <span class="quiet">150 predictions, 120 with a label</span></h3>`},
	{"/models/late/predictions", `<svg class="timeline"`},
	{"/models/late/predictions", `title="Why this prediction?">p-&lt;b&gt;bold-`},
	{"/models/late/predictions?by=all&window=1h", `<h3>all predictions`},
	{"/models/late/predictions?by=planet", `<h2>It cannot be measured</h2>`},
}

func TestThePagesOfALoop(t *testing.T) {
	l := newWholeLoop(t)
	l.answer(t)
	l.showsAll(t, policyPages)
	if body := l.mustAsk(t, "GET", "/models/late/predictions", "", "Accept: text/html", "Sec-Fetch-Site: cross-site"); !strings.Contains(body, "Nothing was measured.") {
		t.Error("another site has a browser measure")
	}
	for _, absent := range []string{"/policies/none", "/training-runs/late-9", "/training-runs/x", "/training-runs?model=none", "/models/none/predictions"} {
		if w := l.ask("GET", absent, "", "Accept: text/html"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "</html>") {
			t.Errorf("%s: status %d: %s", absent, w.Code, w.Body)
		}
	}
}

func TestEmptyPagesSayWhatToDo(t *testing.T) {
	l := newLoop(t)
	for path, want := range map[string]string{
		"/policies":                 "driftline apply policy.yaml",
		"/training-runs":            "driftline train late_departure --wait",
		"/training-runs?model=late": "driftline train late --wait",
		"/models/late/predictions":  "store.log_predictions(&#34;late&#34;",
		"/models/late":              "No policy says when it is trained again",
	} {
		body := l.mustAsk(t, "GET", path, "", "Accept: text/html")
		if !strings.Contains(body, want) && !strings.Contains(body, strings.ReplaceAll(want, "&#34;", `"`)) {
			t.Errorf("%s does not show %s:\n%s", path, want, body)
		}
	}
}

func TestTheButtonsOfAPolicy(t *testing.T) {
	l := newLoop(t)
	form := func(path string, fields url.Values) (status int, to string) {
		w := l.ask("POST", path, fields.Encode(), "Accept: text/html", "Content-Type: application/x-www-form-urlencoded")
		return w.Code, w.Header().Get("Location")
	}
	if status, _ := form("/policies/late/train", url.Values{}); status != http.StatusNotFound {
		t.Errorf("training without a policy: status %d", status)
	}
	l.drift(t)
	l.until(t, "late-1", driftline.TrainingRunning)
	l.shows(t, "/training-runs/late-1", "<button>Cancel it</button>", `<span class="mark mark-running">running</span>`)
	if status, to := form("/training-runs/late-1/cancel", url.Values{"by": {"ann"}, "reason": {"too early"}}); status != http.StatusSeeOther || to != "/training-runs/late-1" {
		t.Fatalf("cancel: status %d to %q", status, to)
	}
	run, err := l.Engine.Training("late-1")
	if err != nil || run.State != driftline.TrainingCancelled || run.Reason != "too early" {
		t.Errorf("the run is %+v, %v", run, err)
	}
	if body := l.mustAsk(t, "GET", "/training-runs/late-1", ""); strings.Contains(body, "<button") {
		t.Error("a run that has ended has a button")
	}
	if status, to := form("/policies/late/train", url.Values{"by": {"ann"}, "reason": {"now"}}); status != http.StatusSeeOther || to != "/training-runs/late-2" {
		t.Fatalf("train: status %d to %q", status, to)
	}
	if run, err = l.Engine.Training("late-2"); err != nil || run.Causes[0].By != "ann" || run.Causes[0].Kind != driftline.TriggerRequest {
		t.Errorf("what was asked for is %+v, %v", run, err)
	}
	if w := l.ask("POST", "/policies/late/train", "by=eve", "Accept: text/html", "Content-Type: application/x-www-form-urlencoded", "Origin: https://elsewhere.example"); w.Code < 400 {
		t.Errorf("another site presses the button: status %d", w.Code)
	}
}
