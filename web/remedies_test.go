package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

func (l *loop) alert(t *testing.T) driftline.Alert {
	t.Helper()
	var alert driftline.Alert
	if err := json.Unmarshal([]byte(l.mustAsk(t, "GET", "/api/v1/alerts/wind_hourly-1", "")), &alert); err != nil {
		t.Fatal(err)
	}
	return alert
}

func actionsOf(alert driftline.Alert) (actions []driftline.RemedyAction) {
	for _, r := range alert.Remedies {
		actions = append(actions, r.Action)
	}
	return actions
}

// press is the button of a remedy on the alert's page.
func (l *loop) press(action, model string) (status int, to string) {
	form := url.Values{"by": {"ann"}, "model": {model}}
	w := l.ask("POST", "/alerts/wind_hourly-1/remedies/"+action, form.Encode(), "Accept: text/html", "Content-Type: application/x-www-form-urlencoded")
	return w.Code, w.Header().Get("Location")
}

func TestWhatCouldBeDoneAboutAnAlertIsDone(t *testing.T) {
	l := newLoop(t)
	l.drift(t)
	// What cannot be done is not offered: there was no other champion, and no prediction to label.
	want := []driftline.RemedyAction{driftline.RemedyRetrain, driftline.RemedyReReference, driftline.RemedySnooze, driftline.RemedyIgnore}
	alert := l.alert(t)
	if got := actionsOf(alert); !slices.Equal(got, want) || alert.Remedies[0].Command != "driftline alert do wind_hourly-1 retrain --model late" {
		t.Fatalf("remedies are %+v", alert.Remedies)
	}
	for _, action := range []string{"roll_back", "label"} {
		if status, _ := l.press(action, ""); status != http.StatusPreconditionFailed {
			t.Errorf("%s: status %d", action, status)
		}
	}
	if status, _ := l.press("pray", ""); status != http.StatusNotFound {
		t.Errorf("pray: status %d", status)
	}
	l.register(t)
	l.mustAsk(t, "PUT", "/api/v1/models/late/aliases/champion", `{"version": 2}`)
	l.mustAsk(t, "POST", "/api/v1/models/late/predictions", `{"predictions": [{"id": "p-1", "time": "2013-01-31T15:10:00Z", "model_version": 2, "prediction": 1, "score": 0.5}]}`)
	if got := actionsOf(l.alert(t)); !slices.Contains(got, driftline.RemedyRollBack) || !slices.Contains(got, driftline.RemedyLabel) {
		t.Errorf("after a second champion the remedies are %v", got)
	}
	l.shows(t, "/alerts/wind_hourly-1", `/remedies/retrain" name="model" value="late">Retrain</button>`, `value="late">Roll back</button>`, `<code class="under">driftline alert do wind_hourly-1 roll_back --model late</code>`)

	for range 2 { // the same alert asks for one run
		if status, to := l.press("retrain", "late"); status != http.StatusSeeOther || to != "/training-runs/late-1" {
			t.Fatalf("retrain: status %d to %q", status, to)
		}
	}
	if run, err := l.Engine.Training("late-1"); err != nil || run.Causes[0].By != "ann" || run.CauseCount != 1 {
		t.Errorf("the run is %+v, %v", run, err)
	}
	if status, to := l.press("roll_back", "late"); status != http.StatusSeeOther || to != "/models/late/versions/1" {
		t.Errorf("roll back: status %d to %q", status, to)
	}
	if at, err := l.Engine.Registry().Champion("late"); err != nil || at != 1 {
		t.Errorf("the champion is %d, %v", at, err)
	}
	if status, to := l.press("label", ""); status != http.StatusSeeOther || !strings.HasPrefix(to, "/datasets/") {
		t.Errorf("label: status %d to %q", status, to)
	} else {
		l.mustAsk(t, "GET", to, "", "Accept: text/html")
	}
	if status, to := l.press("snooze", ""); status != http.StatusSeeOther || to != "/alerts/wind_hourly-1" {
		t.Errorf("snooze: status %d to %q", status, to)
	}
	if until := l.alert(t).SnoozedUntil; !until.Equal(l.Clock.Now().Add(24 * time.Hour)) {
		t.Errorf("it is snoozed until %s", until)
	}
	if status, to := l.press("re_reference", ""); status != http.StatusSeeOther || to != "/monitors/wind_hourly" {
		t.Errorf("re-reference: status %d to %q", status, to)
	}
	m, err := l.Engine.Registry().Monitor("wind_hourly")
	if err != nil || !m.Reference.From.Equal(alert.From) || !m.Reference.To.Equal(alert.To) || m.Version != 2 {
		t.Errorf("the monitor is %+v, %v", m, err)
	}
	if alert = l.alert(t); alert.State != driftline.AlertResolved || alert.ResolvedBy != "ann" || len(alert.Remedies) > 0 {
		t.Errorf("the alert is %+v", alert)
	}
	if status, _ := l.press("ignore", ""); status != http.StatusPreconditionFailed {
		t.Errorf("something is done about an alert that is over: status %d", status)
	}
}

func TestAnAlertIsIgnoredAndItsNoticeSaysWhatCouldBeDone(t *testing.T) {
	l := newLoop(t)
	l.drift(t)
	for range 2000 {
		text, err := os.ReadFile(l.told)
		if err == nil && strings.Contains(string(text), `"command":"driftline alert do wind_hourly-1 retrain --model late"`) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if text, err := os.ReadFile(l.told); err != nil || !strings.Contains(string(text), `"action":"retrain"`) {
		t.Errorf("the notice does not say what could be done: %s, %v", text, err)
	}
	var done driftline.RemedyDone
	answer := l.mustAsk(t, "POST", "/api/v1/alerts/wind_hourly-1/remedies/ignore", `{"by": "bob", "reason": "a storm"}`)
	if err := json.Unmarshal([]byte(answer), &done); err != nil || done.Ref != driftline.AlertRef("wind_hourly-1") {
		t.Errorf("what was done is %s, %v", answer, err)
	}
	if alert := l.alert(t); alert.State != driftline.AlertResolved || alert.ResolvedBy != "bob" || alert.Comment != "a storm" {
		t.Errorf("the alert is %+v", alert)
	}
}
