package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// withReadings gives a schooled engine a view with hours 0 to 5, of which the fourth drifts, a
// service, and a monitor that watches it.
func (s *schooled) withReadings() {
	s.t.Helper()
	monitored := watchHourly()
	monitored.Alert = driftline.AlertRule{}
	s.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: "weather", Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "sky", Type: driftline.String}},
		}},
		FeatureServices: []driftline.FeatureService{{Name: "model", Projections: []driftline.Projection{{View: "weather", Features: []string{"temp"}}}}},
		Monitors:        []driftline.Monitor{monitored},
	})
	for hour := range 6 {
		shift := 0.0
		if hour == 4 {
			shift = 100
		}
		s.Ingest("weather", hourOf(hour, 400, shift))
	}
}

// evaluate has the monitor evaluate what is due.
func (s *schooled) evaluate() {
	s.t.Helper()
	if _, err := s.Engine.RunMonitor(context.Background(), "hourly", driftline.MonitorRun{}); err != nil {
		s.t.Fatal(err)
	}
}

func TestAMonitorsWindowTrainsOnce(t *testing.T) {
	for name, drift := range map[string]driftline.DriftTrigger{
		"alert":    {Monitor: "hourly"},
		"features": {Monitor: "hourly", Features: 1, Limit: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSchooled(t)
			s.withReadings()
			s.policy(func(p *driftline.Policy) {
				p.Triggers = []driftline.Trigger{{Name: "drift", Drift: &drift}}
			})
			s.Clock.Set(watchedDay.Add(4*time.Hour + 30*time.Minute))
			s.evaluate()
			if s.look(); len(s.runs()) != 0 {
				t.Fatalf("nothing drifted yet: %+v", s.runs())
			}
			s.Clock.Set(watchedDay.Add(5*time.Hour + 30*time.Minute))
			s.evaluate()
			s.Reopen()
			for range 3 {
				s.look()
			}
			runs := s.runs()
			if len(runs) != 1 || runs[0].CauseCount != 1 || runs[0].Causes[0].Kind != driftline.TriggerDrift {
				t.Fatalf("%+v", runs)
			}
			if name == "features" && !strings.Contains(runs[0].Causes[0].Summary, "temp") {
				t.Errorf("%+v", runs[0].Causes)
			}
		})
	}
}

// A11: rows that are written again are not new.
func TestATableThatGrowsTrains(t *testing.T) {
	s := newSchooled(t)
	s.withReadings()
	s.policy(func(p *driftline.Policy) {
		zero := driftline.Duration(0)
		p.Pacing.Cooldown = &zero
		p.Triggers = []driftline.Trigger{{Name: "grew", Data: &driftline.DataTrigger{Source: driftline.ViewRef("weather"), Rows: 3000}}}
	})
	s.look()
	s.Ingest("weather", hourOf(5, 400, 1)) // again, with other values
	s.Ingest("weather", hourOf(5, 400, 2))
	s.look()
	if runs := s.runs(); len(runs) != 0 {
		t.Fatalf("2400 rows, some of them sent again: %+v", runs)
	}
	s.Ingest("weather", hourOf(6, 600, 0))
	h := s.hooked(1)
	run, err := s.Engine.Training(h.Run)
	if err != nil || run.Sources["view/weather"] != 3000 {
		t.Fatalf("%+v, %v", run, err)
	}
	if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
		t.Fatal(err)
	}
	s.Ingest("weather", hourOf(7, 2999, 0))
	for range 3 {
		s.look()
	}
	if runs := s.runs(); len(runs) != 1 {
		t.Errorf("2999 rows since then: %+v", runs)
	}
}

// A11: rows that go do not hide those that come, also over a restart.
func TestATableThatLosesRowsGrowsAllTheSame(t *testing.T) {
	s := newSchooled(t)
	s.withReadings()
	s.Ingest("weather", strings.ReplaceAll(hourOf(6, 2000, 0), "JFK", "LGA"))
	s.policy(func(p *driftline.Policy) {
		zero := driftline.Duration(0)
		p.Pacing.Cooldown = &zero
		p.Triggers = []driftline.Trigger{{Name: "grew", Data: &driftline.DataTrigger{Source: driftline.ViewRef("weather"), Rows: 1000}}}
	})
	h := s.hooked(1)
	if _, err := s.report(h, driftline.TrainingResult{Succeeded: true, Candidate: s.version(nil)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Engine.Erase(context.Background(), driftline.ErasureRequest{Entity: "airport", Keys: map[string]string{"origin": "LGA"}}); err != nil {
		t.Fatal(err)
	}
	s.look()
	s.Reopen()
	s.Ingest("weather", hourOf(7, 999, 0))
	if s.look(); len(s.runs()) != 1 {
		t.Fatalf("999 rows have come: %+v", s.runs())
	}
	s.Ingest("weather", hourOf(8, 1, 0))
	if s.look(); len(s.runs()) != 2 {
		t.Errorf("1000 rows have come, and 1000 went before: %+v", s.runs())
	}
}

func TestANewVersionOfAViewTrains(t *testing.T) {
	s := newSchooled(t)
	s.withReadings()
	s.policy(func(p *driftline.Policy) {
		p.Triggers = []driftline.Trigger{{Name: "schema", FeatureVersion: &driftline.FeatureVersionTrigger{Service: "model"}}}
	})
	for range 2 {
		if s.look(); len(s.runs()) != 0 {
			t.Fatalf("there is no new version: %+v", s.runs())
		}
	}
	s.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{{
		Name: "weather@2", Entities: []driftline.EntityName{"airport"},
		Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}},
	}}})
	if _, err := s.Engine.Registry().SwitchView("weather", 2); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.look()
	}
	if runs := s.runs(); len(runs) != 1 || runs[0].Causes[0].Kind != driftline.TriggerFeatureVersion {
		t.Errorf("%+v", runs)
	}
}

// A candidate that is rolled back is a run that came to nothing, and the same is not tried again
// by itself (A6).
func TestWhatWasRejectedIsNotTriedAgain(t *testing.T) {
	s := newSchooled(t)
	s.withReadings()
	spine := driftline.SpineSource{SQL: "SELECT origin, event_timestamp FROM features.weather WHERE event_timestamp < TIMESTAMPTZ '2013-06-01 01:00:00+00'"}
	set, err := s.Engine.Historical(context.Background(), driftline.HistoricalRequest{
		FeatureSet: driftline.FeatureSet{Features: []string{"weather:temp"}}, Spine: &spine, SaveAs: "late_rows",
	}, driftline.Batches{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range set.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
	}
	zero := driftline.Duration(0)
	s.policy(func(p *driftline.Policy) {
		p.Training.Dataset, p.Pacing.Cooldown = "late_rows", &zero
		p.Triggers = []driftline.Trigger{eachHour(driftline.CatchUpLatest)}
	})
	s.mustAsk("a")
	h := s.hooked(1)
	run, err := s.Engine.Training(h.Run)
	if err != nil || run.Dataset != driftline.DatasetRef("late_rows", 2) || h.Environment["DRIFTLINE_DATASET"] != "dataset/late_rows@2" {
		t.Fatalf("%+v, %v, %+v", run, err, h)
	}
	if _, err := s.report(h, driftline.TrainingResult{Error: "it does not converge"}); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(time.Hour)
	s.look()
	all := s.suppressed()
	if len(all) != 1 || all[0].Reason != driftline.SuppressedNothingNew || !strings.Contains(all[0].Detail, string(run.ID)) {
		t.Fatalf("%+v", all)
	}
	s.Ingest("weather", hourOf(6, 10, 0)) // something is new
	s.Clock.Advance(time.Hour)
	s.look()
	if runs := s.runs(); len(runs) != 2 {
		t.Errorf("%+v", runs)
	}
}

// Who is told of what a run comes to.
func TestNoticesOfTraining(t *testing.T) {
	s := newSchooled(t)
	s.policy(func(p *driftline.Policy) {
		p.Notices = []driftline.PolicyNotice{{Channels: []string{"log"}, On: []driftline.PolicyEvent{driftline.EventTrainingStarted, driftline.EventTrainingFailed}}}
	})
	s.mustAsk("a")
	h := s.hooked(1)
	if _, err := s.report(h, driftline.TrainingResult{Error: "no"}); err != nil {
		t.Fatal(err)
	}
	notices, err := s.Engine.Notices("")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, n := range notices {
		told = append(told, fmt.Sprint(n.Happening.Event, " ", n.Happening.Text))
	}
	want := []string{"training_started " + string(h.Run) + " began: test", "training_failed " + string(h.Run) + " came to nothing: no"}
	if strings.Join(told, "|") != strings.Join(want, "|") {
		t.Errorf("%q", told)
	}
}
