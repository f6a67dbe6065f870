package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

// Limits of monitors.
const (
	mostSegments = 16
	mostChannels = 16
)

// paneEvaluated is the body of pane.evaluated: the pane and where the monitor stands after
// it, without names and values of segments, and without what went wrong, which may quote
// values: the ledger never forgets. State is nil for a pane that was evaluated again.
type paneEvaluated struct {
	Pane  driftline.MonitorPane   `json:"pane"`
	State *driftline.MonitorState `json:"state,omitempty"`
}

// monitorChanged is the body of monitor.changed.
type monitorChanged struct {
	Action string                 `json:"action"`
	State  driftline.MonitorState `json:"state"`
}

// alertChanged is the body of alert.changed: the alert as it then is, without summary and columns.
type alertChanged struct {
	Action string          `json:"action"`
	Alert  driftline.Alert `json:"alert"`
}

// noticeSettled is the body of notice.settled.
type noticeSettled struct {
	ID       string                `json:"id"`
	Channel  string                `json:"channel"`
	Kind     string                `json:"kind"` // of an alert, or the event that happened
	State    driftline.NoticeState `json:"state"`
	Attempts int                   `json:"attempts"`
	Settled  time.Time             `json:"settled,omitzero"` // a moment before the line; older lines do not say
}

func planMonitor(s *state, m driftline.Monitor) (plannedChange, error) {
	if err := s.completeMonitor(&m); err != nil {
		return plannedChange{}, err
	}
	old := newestOf(s.monitors[m.Name])
	m.Version, m.Created = 1, time.Time{}
	if old != nil {
		m.Version, m.Created = old.Version+1, old.Created
	}
	p := plannedChange{kind: MonitorApplied, object: m}
	var err error
	if p.inputs, err = s.monitorInputs(&m); err != nil {
		return plannedChange{}, named("monitor", m.Name, err)
	}
	if old == nil {
		p.Change = created(m.Ref())
	} else {
		p.Change = monitorDifferences(old, &m)
	}
	s.monitors[m.Name] = append(slices.Clip(s.monitors[m.Name]), &m)
	return p, nil
}

// monitorInputs are the tables that a monitor names, as they are meant now.
func (s *state) monitorInputs(m *driftline.Monitor) ([]driftline.Ref, error) {
	var named []driftline.Ref
	for _, ref := range []driftline.Ref{m.Source.Ref, m.Reference.Ref} {
		switch ref.Kind {
		case driftline.KindView:
			named = append(named, driftline.ViewRef(s.meant(driftline.ViewName(ref.Name))))
		case driftline.KindDataset:
			named = append(named, ref)
		}
	}
	if !driftline.IsBuiltInPreset(m.Tests.Preset) {
		named = append(named, driftline.PresetRef(driftline.PresetName(m.Tests.Preset), 0))
	}
	return s.resolveAll(named)
}

// completeMonitor checks a monitor, and spells out what its names mean now.
func (s *state) completeMonitor(m *driftline.Monitor) error {
	if err := driftline.CheckIdentifier("monitor", m.Name); err != nil {
		return err
	}
	for _, check := range []func(*driftline.Monitor) error{
		s.completeSource, s.completeReference, checkMonitorSchedule, checkSegments, checkAlarms,
		func(m *driftline.Monitor) error {
			return checkNotes("monitor", m.Name, m.Description, m.Owner, m.Tags)
		},
	} {
		if err := check(m); err != nil {
			return named("monitor", m.Name, err)
		}
	}
	return nil
}

func (s *state) completeSource(m *driftline.Monitor) error {
	source := &m.Source
	switch {
	case (source.SQL == "") == (source.Ref == driftline.Ref{}):
		return driftline.Errorf(driftline.Invalid, "source needs either a ref or a SELECT").
			WithHint("write source: {ref: view/weather} or source: {sql: SELECT …, time_column: …}")
	case source.SQL != "":
		if len(source.SQL) > mostText {
			return driftline.Errorf(driftline.Invalid, "source.sql has %d bytes, want at most %d", len(source.SQL), mostText)
		}
	case source.Ref.Kind == driftline.KindView:
		view, err := s.view(s.meant(driftline.ViewName(source.Ref.Name)))
		if err != nil {
			return err
		}
		if source.TimeColumn == "" {
			source.TimeColumn = view.EventTimestamp
		}
	case source.Ref.Kind == driftline.KindDataset:
		if _, err := s.resolveDataset(source.Ref); err != nil {
			return err
		}
	default:
		return driftline.Errorf(driftline.Invalid, "source.ref %q is not a table", clip(source.Ref.String())).
			WithHint("name a feature view (view/weather) or a dataset (dataset/late_departure)")
	}
	if source.TimeColumn == "" {
		return driftline.Errorf(driftline.Invalid, "source.time_column is missing").
			WithHint("name the column that says to which pane a row belongs")
	}
	return driftline.CheckColumn(source.TimeColumn)
}

func (s *state) completeReference(m *driftline.Monitor) error {
	r := &m.Reference
	fixed := !r.From.IsZero() || !r.To.IsZero()
	given := 0
	for _, set := range []bool{r.Ref != (driftline.Ref{}), fixed, !r.Moving.IsZero(), r.SameWeekday != 0} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return driftline.Errorf(driftline.Invalid, "reference has %d of ref, from and to, moving, and same_weekday, want one", given).
			WithHint("write reference: {moving: 28d}, or {same_weekday: 4}, or {ref: dataset/late_departure@1}")
	case fixed && (r.From.IsZero() || r.To.IsZero() || !r.From.Before(r.To)):
		return driftline.Errorf(driftline.Invalid, "reference.from must be given, and before reference.to")
	case !r.Gap.IsZero() && r.Moving.IsZero():
		return driftline.Errorf(driftline.Invalid, "reference.gap is for a moving reference only")
	case r.SameWeekday < 0 || r.SameWeekday > 520:
		return driftline.Errorf(driftline.Invalid, "reference.same_weekday is %d weeks, want 1 to 520", r.SameWeekday)
	case r.SameWeekday > 0 && (m.Window.Months > 0 || m.Window.Days > 1):
		return driftline.Errorf(driftline.Invalid, "reference.same_weekday needs a window of a day at most, not %s", m.Window)
	case r.Ref == (driftline.Ref{}):
		r.From, r.To = r.From.UTC(), r.To.UTC()
		return nil
	case r.Ref.Kind != driftline.KindDataset:
		return driftline.Errorf(driftline.Invalid, "reference.ref %q is not a dataset", clip(r.Ref.String())).
			WithHint("save one, or use a window of the source: {moving: 28d}")
	}
	resolved, err := s.resolveDataset(r.Ref)
	r.Ref = resolved
	return err
}

func checkMonitorSchedule(m *driftline.Monitor) error {
	m.Start, m.End = m.Start.UTC(), m.End.UTC()
	_, err := monitor.NewSchedule(m)
	return err
}

func checkSegments(m *driftline.Monitor) error {
	if len(m.Segments) > mostSegments {
		return driftline.Errorf(driftline.Invalid, "it has %d segments, want at most %d", len(m.Segments), mostSegments)
	}
	seen := map[string]bool{}
	for i, segment := range m.Segments {
		title := segment.Title()
		switch {
		case segment.Expression == "":
			return driftline.Errorf(driftline.Invalid, "item %d of segments has no expression", i+1)
		case len(segment.Expression) > mostText || len(title) > mostText:
			return driftline.Errorf(driftline.Invalid, "item %d of segments is longer than %d bytes", i+1, mostText)
		case seen[title]:
			return driftline.Errorf(driftline.Invalid, "segment %q is given twice", clip(title))
		}
		seen[title] = true
	}
	switch search := m.Slices; {
	case search.Conditions < 0 || search.Conditions > 3:
		return driftline.Errorf(driftline.Invalid, "slices.conditions is %d, want 1 to 3", search.Conditions).
			WithHint("2 is usual: origin = JFK and hour > 17")
	case search.Off && (len(search.By) > 0 || search.Conditions > 0):
		return driftline.Errorf(driftline.Invalid, "slices is off, and says how to search").WithHint("leave out off, or the rest")
	}
	for i, column := range m.Slices.By {
		if err := driftline.CheckColumn(column); err != nil {
			return err
		}
		if slices.Contains(m.Slices.By[:i], column) {
			return driftline.Errorf(driftline.Invalid, "column %q is listed twice in slices.by", column)
		}
	}
	return nil
}

func checkAlarms(m *driftline.Monitor) error {
	rule := m.Alert
	switch {
	case m.KeepProfiles < 0 || m.KeepProfiles > driftline.MostKeptProfiles:
		return driftline.Errorf(driftline.Invalid, "keep_profiles is %d, want 1 to %d panes", m.KeepProfiles, driftline.MostKeptProfiles).
			WithHint("leave it out for %d", driftline.UsualKeptProfiles)
	case rule.Drifted < 0 || rule.Of < 0 || rule.Clear < 0 || max(rule.Drifted, rule.Of, rule.Clear) > driftline.MostHysteresis:
		return driftline.Errorf(driftline.Invalid, "alert.drifted, of and clear must be from 0 to %d", driftline.MostHysteresis)
	case rule.Of != 0 && rule.Drifted > rule.Of:
		return driftline.Errorf(driftline.Invalid, "alert: %d of %d panes can never have drifted", rule.Drifted, rule.Of)
	case len(rule.Channels) > mostChannels:
		return driftline.Errorf(driftline.Invalid, "alert.channels has %d names, want at most %d", len(rule.Channels), mostChannels)
	}
	severities := []driftline.Severity{driftline.Info, driftline.Warning, driftline.Critical}
	if rule.Severity != "" && !slices.Contains(severities, rule.Severity) {
		return driftline.Unknown("alert.severity", driftline.Severity(clip(rule.Severity)), severities)
	}
	for i, channel := range rule.Channels {
		if err := driftline.CheckIdentifier("channel", channel); err != nil {
			return err
		}
		if slices.Contains(rule.Channels[:i], channel) {
			return driftline.Errorf(driftline.Invalid, "channel %q is listed twice", channel)
		}
	}
	if b := m.Budget; b != nil && (!(b.Alarms > 0) || b.Alarms > 1e9 || b.Per <= 0) {
		return driftline.Errorf(driftline.Invalid, "budget must be more than 0 alarms in more than no time").
			WithHint("write budget: {alarms: 1, per: 30d}")
	}
	return nil
}

func monitorDifferences(old, now *driftline.Monitor) driftline.Change {
	var d differences
	d.value("source", old.Source, now.Source)
	d.value("reference", old.Reference, now.Reference)
	d.text("window", old.Window.String(), now.Window.String())
	d.text("grace", old.Grace.String(), now.Grace.String())
	d.value("schedule", old.Schedule, now.Schedule)
	d.text("early", old.Early.String(), now.Early.String())
	d.text("start", timeText(old.Start), timeText(now.Start))
	d.text("end", timeText(old.End), timeText(now.End))
	d.value("segments", old.Segments, now.Segments)
	d.value("slices", old.Slices, now.Slices)
	d.value("tests", old.Tests, now.Tests)
	d.value("budget", old.Budget, now.Budget)
	d.value("alert", old.Alert, now.Alert)
	d.text("keep_profiles", countText(old.KeepProfiles), countText(now.KeepProfiles))
	d.text("disabled", strconv.FormatBool(old.Disabled), strconv.FormatBool(now.Disabled))
	d.text("description", old.Description, now.Description)
	d.text("owner", old.Owner, now.Owner)
	d.tags(old.Tags, now.Tags)
	return d.version(old.Ref(), now.Ref())
}

// countText is a count of which 0 says that it is left out.
func countText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// value compares what has no shorter form than its JSON.
func (d *differences) value(what string, old, now any) {
	words := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		if word := string(text); word != "{}" && word != "[]" && word != "null" {
			return word
		}
		return ""
	}
	d.text(what, words(old), words(now))
}

func foldMonitor(s *state, line *Line) ([]effect, error) {
	m, err := body[driftline.Monitor](line)
	if err != nil {
		return nil, err
	}
	if m.Created.IsZero() {
		m.Created = line.Time
	}
	versions := func(s *state) map[driftline.MonitorName][]*driftline.Monitor { return s.monitors }
	effects := []effect{
		put(versions, m.Name, append(slices.Clip(s.monitors[m.Name]), m)),
		s.noteMonitor(m.Name, DefinitionChange{Time: line.Time, Ref: m.Ref(), State: applied}),
	}
	if s.watches[m.Name] == nil {
		effects = append(effects, putWatch(driftline.MonitorState{Monitor: m.Name, Phase: driftline.PhaseOK}))
	}
	return effects, nil
}

func putWatch(now driftline.MonitorState) effect {
	table := func(s *state) map[driftline.MonitorName]*driftline.MonitorState { return s.watches }
	return put(table, now.Monitor, &now)
}

func foldEvaluation(_ *state, line *Line) ([]effect, error) {
	evaluated, err := body[paneEvaluated](line)
	if err != nil || evaluated.State == nil {
		return nil, err
	}
	return []effect{putWatch(*evaluated.State)}, nil
}

func foldMonitorChange(s *state, line *Line) ([]effect, error) {
	changed, err := body[monitorChanged](line)
	if err != nil {
		return nil, err
	}
	change := DefinitionChange{Time: line.Time, Ref: line.Ref, State: changed.Action}
	return []effect{putWatch(changed.State), s.noteMonitor(driftline.MonitorName(line.Ref.Name), change)}, nil
}

func foldAlert(_ *state, line *Line) ([]effect, error) {
	changed, err := body[alertChanged](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.AlertID]*driftline.Alert { return s.alerts }
	return []effect{put(table, changed.Alert.ID, &changed.Alert)}, nil
}

// AddEvaluation records what the evaluation of a pane came to, with the tables that were
// read as inputs, and where the monitor stands after it; nil for a pane that was evaluated
// before. The line's number is the evaluation's.
func (tx *Tx) AddEvaluation(pane driftline.MonitorPane, now *driftline.MonitorState, inputs []driftline.Ref) (Line, error) {
	pane.Columns, pane.Slices, pane.Error, pane.Late, pane.Sequence = nil, nil, "", nil, 0
	if now != nil {
		plain := plainState(*now)
		now = &plain
	}
	return tx.add(PaneEvaluated, driftline.MonitorRef(pane.Monitor, pane.Version), inputs, paneEvaluated{pane, now})
}

// plainState is a state as the ledger keeps it.
func plainState(s driftline.MonitorState) driftline.MonitorState {
	s.Error = ""
	return s
}

// ChangeMonitor records what somebody did to a monitor, and where it stands then.
func (tx *Tx) ChangeMonitor(action string, now driftline.MonitorState) error {
	m, err := tx.Monitor(now.Monitor)
	if err != nil {
		return err
	}
	_, err = tx.add(MonitorChanged, m.Ref(), nil, monitorChanged{action, plainState(now)})
	return err
}

// ChangeAlert records what became of an alert, with the monitor as input.
func (tx *Tx) ChangeAlert(action string, alert driftline.Alert) (Line, error) {
	alert.Summary, alert.Columns, alert.Slices, alert.Remedies = "", nil, nil, nil
	inputs := []driftline.Ref{driftline.MonitorRef(alert.Monitor, alert.Version)}
	return tx.add(AlertChanged, alert.Ref(), inputs, alertChanged{action, alert})
}

// SettleNotice records that a notice was delivered or given up.
func (tx *Tx) SettleNotice(n driftline.Notice) error {
	kind := string(n.Kind)
	if n.Happening != nil {
		kind = string(n.Happening.Event)
	}
	_, err := tx.add(NoticeSettled, n.Ref(), nil, noticeSettled{n.ID, n.Channel, kind, n.State, n.Attempts, n.Settled})
	return err
}

// Monitor is [Registry.SharedMonitor] as the transaction sees it.
func (tx *Tx) Monitor(name driftline.MonitorName) (*driftline.Monitor, error) {
	return tx.r.head.monitor(name)
}

// MonitorState is [Registry.MonitorState] as the transaction sees it.
func (tx *Tx) MonitorState(name driftline.MonitorName) (driftline.MonitorState, error) {
	return tx.r.head.watch(name)
}

// Alert is [Registry.Alert] as the transaction sees it.
func (tx *Tx) Alert(id driftline.AlertID) (driftline.Alert, error) { return tx.r.head.alert(id) }

// Time is when the transaction's lines say that they were written.
func (tx *Tx) Time() time.Time { return tx.time }

// Monitors returns the newest version of every monitor, by name. The caller must not
// change them.
func (r *Registry) Monitors() (found []*driftline.Monitor) {
	r.read(func(s *state) { found = newestOfEach(s.monitors) })
	return found
}

// Monitor returns the newest version of a monitor. The caller must not change it.
func (r *Registry) Monitor(name driftline.MonitorName) (found *driftline.Monitor, err error) {
	r.read(func(s *state) { found, err = s.monitor(name) })
	return found, err
}

// MonitorVersions returns every version of a monitor, from 1. The caller must not change them.
func (r *Registry) MonitorVersions(name driftline.MonitorName) (versions []*driftline.Monitor, err error) {
	r.read(func(s *state) {
		if _, err = s.monitor(name); err == nil {
			versions = slices.Clone(s.monitors[name])
		}
	})
	return versions, err
}

// MonitorState returns where a monitor stands.
func (r *Registry) MonitorState(name driftline.MonitorName) (found driftline.MonitorState, err error) {
	r.read(func(s *state) { found, err = s.watch(name) })
	return found, err
}

// Alerts returns every alert, the newest first.
func (r *Registry) Alerts() []driftline.Alert {
	found := []driftline.Alert{}
	r.read(func(s *state) {
		for _, alert := range s.alerts {
			found = append(found, *alert)
		}
	})
	slices.SortFunc(found, func(a, b driftline.Alert) int {
		return cmp.Or(b.Raised.Compare(a.Raised), b.From.Compare(a.From), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// Alert returns one alert.
func (r *Registry) Alert(id driftline.AlertID) (found driftline.Alert, err error) {
	r.read(func(s *state) { found, err = s.alert(id) })
	return found, err
}

func (s *state) monitor(name driftline.MonitorName) (*driftline.Monitor, error) {
	if m := newestOf(s.monitors[name]); m != nil {
		return m, nil
	}
	return nil, unknown("monitor", name, slices.Collect(maps.Keys(s.monitors)), applyFirst).WithRef(driftline.MonitorRef(clip(name), 0))
}

func (s *state) watch(name driftline.MonitorName) (driftline.MonitorState, error) {
	if _, err := s.monitor(name); err != nil {
		return driftline.MonitorState{}, err
	}
	return *s.watches[name], nil
}

func (s *state) alert(id driftline.AlertID) (driftline.Alert, error) {
	if alert := s.alerts[id]; alert != nil {
		return *alert, nil
	}
	return driftline.Alert{}, unknown("alert", id, slices.Collect(maps.Keys(s.alerts)), "none was raised yet").WithRef(driftline.AlertRef(clip(id)))
}

func (s *state) resolveMonitor(ref driftline.Ref) (driftline.Ref, error) {
	m, err := s.monitor(driftline.MonitorName(ref.Name))
	if err != nil {
		return driftline.Ref{}, err
	}
	return versionMeant(ref, m.Ref(), m.Version)
}

func (s *state) monitorFacts(ref driftline.Ref) map[string]string {
	m := newestOf(s.monitors[driftline.MonitorName(ref.Name)])
	if m == nil {
		return nil
	}
	return map[string]string{"window": m.Window.String(), "phase": string(s.watches[m.Name].Phase)}
}

func (s *state) alertFacts(ref driftline.Ref) map[string]string {
	alert := s.alerts[driftline.AlertID(ref.Name)]
	if alert == nil {
		return nil
	}
	return map[string]string{"state": string(alert.State), "raised": alert.Raised.Format(time.RFC3339)}
}
