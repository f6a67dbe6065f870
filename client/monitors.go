package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// Monitors lists the monitors and where they stand, by name.
func (c *Client) Monitors(ctx context.Context) ([]driftline.MonitorStatus, error) {
	return field[[]driftline.MonitorStatus](ctx, c, http.MethodGet, path("monitors"), nil, "monitors")
}

// Monitor returns one monitor and where it stands.
func (c *Client) Monitor(ctx context.Context, name driftline.MonitorName) (*driftline.MonitorStatus, error) {
	return get[driftline.MonitorStatus](ctx, c, path("monitors", string(name)))
}

// MonitorVersions returns the definitions that a monitor has had, from the first.
func (c *Client) MonitorVersions(ctx context.Context, name driftline.MonitorName) ([]driftline.Monitor, error) {
	return field[[]driftline.Monitor](ctx, c, http.MethodGet, path("monitors", string(name), "versions"), nil, "versions")
}

// MonitorPanes returns evaluations of a monitor, the newest pane first: limit at most (0: 50),
// of panes that ended before a time, if it is not zero. late counts the rows that came late.
func (c *Client) MonitorPanes(ctx context.Context, name driftline.MonitorName, before time.Time, limit int, late bool) ([]driftline.MonitorPane, error) {
	q := url.Values{}
	if !before.IsZero() {
		q.Set("before", before.UTC().Format(time.RFC3339Nano))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if late {
		q.Set("late", "true")
	}
	return c.panes(ctx, http.MethodGet, path("monitors", string(name), "panes")+"?"+q.Encode(), nil)
}

func (c *Client) panes(ctx context.Context, method, path string, in any) ([]driftline.MonitorPane, error) {
	var answer struct {
		Panes []driftline.MonitorPane `json:"panes"`
	}
	err := c.call(ctx, method, path, in, &answer)
	return answer.Panes, err
}

// MonitorPane returns everything that was found in the pane that t is in; evaluation 0
// means the last.
func (c *Client) MonitorPane(ctx context.Context, name driftline.MonitorName, t time.Time, evaluation int) (*driftline.PaneReport, error) {
	where := path("monitors", string(name), "panes", t.UTC().Format(time.RFC3339Nano))
	if evaluation > 0 {
		where += "?evaluation=" + strconv.Itoa(evaluation)
	}
	return get[driftline.PaneReport](ctx, c, where)
}

// PaneRows are rows of a pane, or of its reference, and what they are.
type PaneRows struct {
	driftline.PaneRows
	Columns []PaneRowsColumn `json:"columns"`

	// Rows have a value for each column: nil, bool, json.Number, string, or what JSON nests.
	Rows PaneRowValues `json:"rows"`
}

// PaneRowValues keeps numbers as they were written, so that whole ones lose no digits.
type PaneRowValues [][]any

// UnmarshalJSON reads a list of lists.
func (v *PaneRowValues) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var rows [][]any
	if err := decoder.Decode(&rows); err != nil {
		return err
	}
	*v = rows
	return nil
}

// PaneRowsColumn is a column of [PaneRows]. Type is that of Arrow, in words.
type PaneRowsColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// MonitorRows returns rows of the pane that t is in, for people to look at.
func (c *Client) MonitorRows(ctx context.Context, name driftline.MonitorName, t time.Time, ask driftline.PaneRowsRequest) (*PaneRows, error) {
	q := url.Values{}
	for key, text := range map[string]string{"side": ask.Side, "segment": ask.Segment, "column": ask.Column} {
		if text != "" {
			q.Set(key, text)
		}
	}
	for key, number := range map[string]int{"evaluation": ask.Evaluation, "slice": ask.Slice, "bin": ask.Bin, "limit": ask.Limit} {
		if number != 0 {
			q.Set(key, strconv.Itoa(number))
		}
	}
	if ask.Bin == driftline.MissingBin {
		q.Set("bin", "missing")
	}
	return get[PaneRows](ctx, c, path("monitors", string(name), "panes", t.UTC().Format(time.RFC3339Nano), "rows")+"?"+q.Encode())
}

// RunMonitor evaluates the panes of a monitor that are due now, or one pane again.
func (c *Client) RunMonitor(ctx context.Context, name driftline.MonitorName, run driftline.MonitorRun) ([]driftline.MonitorPane, error) {
	return c.panes(ctx, http.MethodPost, path("monitors", string(name), "run"), run)
}

// PauseMonitor keeps panes from being evaluated until the monitor is resumed.
func (c *Client) PauseMonitor(ctx context.Context, name driftline.MonitorName) (*driftline.MonitorStatus, error) {
	return ask[driftline.MonitorStatus](ctx, c, http.MethodPost, path("monitors", string(name), "pause"), struct{}{})
}

// ResumeMonitor goes on with a paused monitor.
func (c *Client) ResumeMonitor(ctx context.Context, name driftline.MonitorName) (*driftline.MonitorStatus, error) {
	return ask[driftline.MonitorStatus](ctx, c, http.MethodPost, path("monitors", string(name), "resume"), struct{}{})
}

// SnoozeMonitor keeps quiet about new alerts of a monitor until a time; the zero time ends that.
func (c *Client) SnoozeMonitor(ctx context.Context, name driftline.MonitorName, until time.Time) (*driftline.MonitorStatus, error) {
	body := struct {
		Until time.Time `json:"until,omitzero"`
	}{until}
	return ask[driftline.MonitorStatus](ctx, c, http.MethodPost, path("monitors", string(name), "snooze"), body)
}

// Alerts lists alerts, the newest first: of a monitor (all if ""), in a state (any if "").
func (c *Client) Alerts(ctx context.Context, of driftline.MonitorName, state driftline.AlertState) ([]driftline.Alert, error) {
	q := url.Values{"monitor": {string(of)}, "state": {string(state)}}
	return field[[]driftline.Alert](ctx, c, http.MethodGet, path("alerts")+"?"+q.Encode(), nil, "alerts")
}

// Alert returns one alert.
func (c *Client) Alert(ctx context.Context, id driftline.AlertID) (*driftline.Alert, error) {
	return get[driftline.Alert](ctx, c, path("alerts", string(id)))
}

// AcknowledgeAlert says that somebody looks after an alert.
func (c *Client) AcknowledgeAlert(ctx context.Context, id driftline.AlertID, change driftline.AlertChange) (*driftline.Alert, error) {
	return ask[driftline.Alert](ctx, c, http.MethodPost, path("alerts", string(id), "acknowledge"), change)
}

// SnoozeAlert keeps quiet about an alert until a time.
func (c *Client) SnoozeAlert(ctx context.Context, id driftline.AlertID, change driftline.AlertChange) (*driftline.Alert, error) {
	return ask[driftline.Alert](ctx, c, http.MethodPost, path("alerts", string(id), "snooze"), change)
}

// ResolveAlert ends an alert by hand.
func (c *Client) ResolveAlert(ctx context.Context, id driftline.AlertID, change driftline.AlertChange) (*driftline.Alert, error) {
	return ask[driftline.Alert](ctx, c, http.MethodPost, path("alerts", string(id), "resolve"), change)
}

// DoRemedy does what could be done about an alert: one of its Remedies.
func (c *Client) DoRemedy(ctx context.Context, id driftline.AlertID, action driftline.RemedyAction, request driftline.RemedyRequest) (*driftline.RemedyDone, error) {
	return ask[driftline.RemedyDone](ctx, c, http.MethodPost, path("alerts", string(id), "remedies", string(action)), request)
}

// AlertNotices returns what was told of an alert, and to whom; without an alert, of all.
func (c *Client) AlertNotices(ctx context.Context, id driftline.AlertID) ([]driftline.Notice, error) {
	where := path("notices")
	if id != "" {
		where = path("alerts", string(id), "notices")
	}
	return field[[]driftline.Notice](ctx, c, http.MethodGet, where, nil, "notices")
}

// RetryNotice tries a notice again that was given up, or that waits.
func (c *Client) RetryNotice(ctx context.Context, id string) (*driftline.Notice, error) {
	return ask[driftline.Notice](ctx, c, http.MethodPost, path("notices", id, "retry"), struct{}{})
}
