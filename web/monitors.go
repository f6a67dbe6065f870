package web

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

func monitorOf(r *http.Request) driftline.MonitorName {
	return driftline.MonitorName(r.PathValue("name"))
}

func alertOf(r *http.Request) driftline.AlertID { return driftline.AlertID(r.PathValue("id")) }

type monitorList struct {
	Monitors []driftline.MonitorStatus `json:"monitors"`
}

func (s *Server) monitors(*http.Request) (monitorList, error) {
	all, err := s.engine.Monitors()
	return monitorList{Monitors: list(all)}, err
}

func (s *Server) monitor(r *http.Request) (driftline.MonitorStatus, error) {
	return s.engine.Monitor(monitorOf(r))
}

type monitorVersionList struct {
	Versions []*driftline.Monitor `json:"versions"`
}

func (s *Server) monitorVersions(r *http.Request) (monitorVersionList, error) {
	versions, err := s.engine.Registry().MonitorVersions(monitorOf(r))
	return monitorVersionList{Versions: list(versions)}, err
}

type paneList struct {
	Panes []driftline.MonitorPane `json:"panes"`
}

// shownPanes is how many panes a listing has that asks for no number.
const shownPanes = 50

func (s *Server) monitorPanes(r *http.Request) (paneList, error) {
	limit, err := numberIn(r, "limit", shownPanes)
	if err != nil {
		return paneList{}, err
	}
	late, err := switchIn(r, "late")
	if err != nil {
		return paneList{}, err
	}
	var before time.Time
	if text := r.URL.Query().Get("before"); text != "" {
		if before, err = timeOf("before", text); err != nil {
			return paneList{}, err
		}
	}
	panes, err := s.engine.MonitorPanes(r.Context(), monitorOf(r), before, limit, late)
	return paneList{Panes: list(panes)}, err
}

func (s *Server) monitorPane(r *http.Request) (driftline.PaneReport, error) {
	at, err := timeOf("the pane", r.PathValue("time"))
	if err != nil {
		return driftline.PaneReport{}, err
	}
	evaluation, err := numberIn(r, "evaluation", 0)
	if err != nil {
		return driftline.PaneReport{}, err
	}
	return s.engine.MonitorPane(r.Context(), monitorOf(r), at, evaluation)
}

func timeOf(what, text string) (time.Time, error) {
	t, ok := parseTime(text)
	if !ok {
		return t, unfit(`%s is %q, not a time: write it like "2013-01-31T15:00:00Z"`, what, clip(text))
	}
	return t, nil
}

func numberIn(r *http.Request, name string, otherwise int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	return countOf(name, text)
}

// countOf reads a number from 1.
func countOf(name, text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > math.MaxInt32 {
		return 0, unfit("%s is %q, want a number from 1", name, clip(text))
	}
	return number, nil
}

// paneRowsOf reads which rows of a pane are asked for.
func paneRowsOf(r *http.Request) (ask driftline.PaneRowsRequest, err error) {
	q := r.URL.Query()
	ask.Side, ask.Segment, ask.Column = q.Get("side"), q.Get("segment"), q.Get("column")
	if text := q.Get("bin"); text == "missing" {
		ask.Bin = driftline.MissingBin
	} else if ask.Bin, err = numberIn(r, "bin", 0); err != nil {
		return ask, err
	}
	for name, number := range map[string]*int{"evaluation": &ask.Evaluation, "slice": &ask.Slice, "limit": &ask.Limit} {
		if *number, err = numberIn(r, name, 0); err != nil {
			return ask, err
		}
	}
	return ask, nil
}

// monitorRows answers with rows of a pane, as [Server.runSQL] writes them, behind what
// they are:
//
//	{"pane": {…}, "where": "…", "bin": 3, "count": 812, "columns": […], "rows": […]}
func (s *Server) monitorRows(w http.ResponseWriter, r *http.Request) error {
	at, err := timeOf("the pane", r.PathValue("time"))
	if err != nil {
		return err
	}
	ask, err := paneRowsOf(r)
	if err != nil {
		return err
	}
	chosen, rows, err := s.engine.PaneRows(r.Context(), monitorOf(r), at, ask)
	if err != nil {
		return err
	}
	head, err := json.Marshal(chosen)
	if err != nil {
		return err
	}
	body, err := appendRows(append(head[:len(head)-1], ','), rows)
	if err != nil {
		return err
	}
	sendJSON(w, http.StatusOK, append(body, '}'))
	return nil
}

func (s *Server) runMonitor(r *http.Request) (paneList, error) {
	run, err := readJSON[driftline.MonitorRun](r)
	if err != nil {
		return paneList{}, err
	}
	panes, err := s.engine.RunMonitor(r.Context(), monitorOf(r), run)
	return paneList{Panes: list(panes)}, err
}

func (s *Server) pauseMonitor(r *http.Request) (driftline.MonitorStatus, error) {
	return s.engine.PauseMonitor(monitorOf(r))
}

func (s *Server) resumeMonitor(r *http.Request) (driftline.MonitorStatus, error) {
	return s.engine.ResumeMonitor(monitorOf(r))
}

func (s *Server) snoozeMonitor(r *http.Request) (driftline.MonitorStatus, error) {
	body, err := readJSON[struct {
		Until time.Time `json:"until"`
	}](r)
	if err != nil {
		return driftline.MonitorStatus{}, err
	}
	return s.engine.SnoozeMonitor(monitorOf(r), body.Until)
}

type alertList struct {
	Alerts []driftline.Alert `json:"alerts"`
}

func (s *Server) alerts(r *http.Request) (alertList, error) {
	q := r.URL.Query()
	alerts, err := s.engine.Alerts(driftline.MonitorName(q.Get("monitor")), driftline.AlertState(q.Get("state")))
	return alertList{Alerts: list(alerts)}, err
}

func (s *Server) alert(r *http.Request) (driftline.Alert, error) { return s.engine.Alert(alertOf(r)) }

type noticeList struct {
	Notices []driftline.Notice `json:"notices"`
}

func (s *Server) alertNotices(r *http.Request) (noticeList, error) {
	if _, err := s.engine.Alert(alertOf(r)); err != nil {
		return noticeList{}, err
	}
	notices, err := s.engine.Notices(alertOf(r))
	return noticeList{Notices: list(notices)}, err
}

func (s *Server) notices(*http.Request) (noticeList, error) {
	notices, err := s.engine.Notices("")
	return noticeList{Notices: list(notices)}, err
}

func (s *Server) retryNotice(r *http.Request) (driftline.Notice, error) {
	return s.engine.RetryNotice(r.PathValue("id"))
}

// doRemedy does one of the remedies of an alert.
func (s *Server) doRemedy(r *http.Request) (driftline.RemedyDone, error) {
	request, err := readJSON[driftline.RemedyRequest](r)
	if err != nil {
		return driftline.RemedyDone{}, err
	}
	return s.engine.DoRemedy(r.Context(), alertOf(r), driftline.RemedyAction(r.PathValue("action")), request)
}

// changeAlert makes a route of something that a person does to an alert.
func changeAlert(do func(driftline.AlertID, driftline.AlertChange) (driftline.Alert, error)) func(*http.Request) (driftline.Alert, error) {
	return func(r *http.Request) (driftline.Alert, error) {
		change, err := readJSON[driftline.AlertChange](r)
		if err != nil {
			return driftline.Alert{}, err
		}
		return do(alertOf(r), change)
	}
}
