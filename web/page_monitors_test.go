package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// watchedDay is when the rows begin that monitors of tests watch, eight hours before now.
var watchedDay = time.Date(2013, 1, 31, 8, 0, 0, 0, time.UTC)

const windy = `{
  "entities": [{"name": "runway", "join_keys": [{"name": "runway", "type": "string"}]}],
  "feature_views": [{"name": "wind", "entities": ["runway"], "features": [{"name": "speed", "type": "float64"}, {"name": "sky", "type": "string"}]}]
}`

const watched = `{
  "monitors": [{"name": "wind_hourly", "description": "The <b>bold</b> wind", "source": {"ref": "view/wind"}, "window": "1h",
    "reference": {"from": "2013-01-31T08:00:00Z", "to": "2013-01-31T10:00:00Z"}, "start": "2013-01-31T10:00:00Z",
    "segments": [{"name": "<b>bold</b>", "expression": "sky = 'clear'"}],
    "tests": {"margin": 0.3}, "budget": {"alarms": 1, "per": "30d"}, "alert": {"drifted": 1, "of": 2}}]
}`

// watch has an hourly monitor evaluate six panes, of which the last two drift: the first
// of them raised an alert. Two rows of the pane from 03:00 came late.
func (s *site) watch(t testing.TB) {
	t.Helper()
	s.mustAsk(t, "POST", "/api/v1/apply", windy)
	for hour := range 8 {
		shift := 0.0
		if hour >= 6 {
			shift = 60
		}
		s.Ingest("wind", windOf(hour, 400, shift))
	}
	s.mustAsk(t, "POST", "/api/v1/apply", watched) // once the rows are there: its panes are due at once
	s.mustAsk(t, "POST", "/api/v1/monitors/wind_hourly/run", "{}")
	s.Ingest("wind", windOf(3, 2, 500))
}

func windOf(hour, rows int, shift float64) string {
	lines := make([]string, rows)
	for i := range lines {
		at := watchedDay.Add(time.Duration(hour)*time.Hour + time.Duration(i)*time.Second)
		lines[i] = fmt.Sprintf(`{"runway": %q, "event_timestamp": %q, "speed": %g, "sky": %q}`,
			[]string{"04L", "22R"}[i%2], at.Format(time.RFC3339), float64(i*37%101)+shift, []string{"clear", "rain", "snow"}[i%3])
	}
	return "[" + strings.Join(lines, ",") + "]"
}

// watchedPages are the pages of what monitors found, each with what it must show.
var watchedPages = []struct{ path, want string }{
	{"/monitors", `<a href="/monitors/wind_hourly">wind_hourly</a>`},
	{"/monitors", `<span class="mark mark-firing">firing</span>`},
	{"/monitors", `<title>2013-01-31 15:00: 3 of 6 comparisons drifted</title>`},
	{"/monitors/wind_hourly", `<th scope="colgroup" colspan="6">2013-01-31</th>`},
	{"/monitors/wind_hourly", `<dd>1 false alarm in 30d, bh over a pane's columns</dd>`},
	{"/monitors/wind_hourly", `speed, 2013-01-31 14:00 to 2013-01-31 15:00: drift, effect 0.595`},
	{"/monitors/wind_hourly", `2013-01-31 11:00 to 2013-01-31 12:00: 2 rows came late`},
	{"/monitors/wind_hourly", `<h2 id="pane">2013-01-31 15:00 – 16:00 <span class="mark mark-drift">drift</span></h2>`},
	{"/monitors/wind_hourly?pane=2013-01-31T11:59:59Z", `<h2 id="pane">2013-01-31 11:00 – 12:00 <span class="mark mark-same">same</span></h2>`},
	{"/monitors/wind_hourly?pane=2013-01-31T11:59:59Z", `driftline monitor run wind_hourly --pane 2013-01-31T11:59:59Z`},
	{"/monitors/wind_hourly?segment=%3Cb%3Ebold%3C%2Fb%3E%3Dtrue", `aria-current="true">&lt;b&gt;bold&lt;/b&gt;=true</a>`},
	{"/monitors/wind_hourly?before=2013-01-31T12:30:00Z", `colspan="2">2013-01-31</th>`},
	{"/alerts", `<a href="/alerts/wind_hourly-1">wind_hourly-1</a>`},
	{"/alerts?state=firing&monitor=wind_hourly", `formaction="/alerts/wind_hourly-1/resolve"`},
	{"/alerts?state=resolved", `No alert is resolved.`},
	{"/alerts/wind_hourly-1", `<a href="/monitors/wind_hourly?evaluation=1&amp;pane=2013-01-31T15%3A59%3A59Z#pane">`},
	{"/alerts/wind_hourly-1", `driftline monitor show wind_hourly --pane 2013-01-31T15:59:59Z`},
	{"/alerts/wind_hourly-1", `<td><span class="quiet">all rows</span></td>`},
	{"/alerts/wind_hourly-1", `<a href="/monitors/wind_hourly/column?column=speed&amp;evaluation=1&amp;pane=2013-01-31T15%3A59%3A59Z"><code>speed</code></a>`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z", `<h1><code>speed</code></h1>`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z", `<tr class="chosen">`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z", `rows as they are now`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z", `<th>runway</th><th>event_timestamp</th>`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z&side=reference&bin=1", `aria-current="true">in the reference</a>`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z&segment=%3Cb%3Ebold%3C%2Fb%3E%3Dtrue", `where</span> <code>&lt;b&gt;bold&lt;/b&gt;=true</code>`},
	{"/monitors/wind_hourly/column?column=sky&pane=2013-01-31T15:59:59Z", `rain</a>`},
	{"/monitors/wind_hourly/column?column=speed&pane=2013-01-31T15:59:59Z&bin=99", `has no bin 99 in its histogram`},
}

func TestMonitorPagesShowWhatWasFound(t *testing.T) {
	s := newSite(t)
	s.watch(t)
	for _, page := range watchedPages {
		body := s.mustAsk(t, "GET", page.path, "", "Accept: text/html")
		if !strings.Contains(unquoted(body), page.want) && !strings.Contains(body, page.want) {
			t.Errorf("%s does not show %s:\n%s", page.path, page.want, body)
		}
		if strings.Contains(body, "<b>bold") {
			t.Errorf("%s lets names through as markup", page.path)
		}
	}
	for path, want := range map[string]int{
		"/monitors/wind":                                                      http.StatusNotFound,
		"/monitors/wind_hourly?pane=noon":                                     http.StatusUnprocessableEntity,
		"/monitors/wind_hourly?pane=2012-01-01T00:00:00Z":                     http.StatusNotFound,
		"/monitors/wind_hourly/column?column=spead&pane=2013-01-31T15:59:59Z": http.StatusNotFound,
		"/monitors/wind_hourly/column?pane=2013-01-31T15:59:59Z":              http.StatusUnprocessableEntity,
		"/alerts?state=loud":                                                  http.StatusNotFound,
		"/alerts/wind_hourly-9":                                               http.StatusNotFound,
	} {
		w := s.ask("GET", path, "", "Accept: text/html")
		if w.Code != want || !strings.Contains(w.Body.String(), "</html>") {
			t.Errorf("%s: status %d, want a page with %d: %s", path, w.Code, want, w.Body)
		}
	}
}

// unquoted is a page with its apostrophes as they are read, as a browser writes them.
func unquoted(body string) string { return strings.ReplaceAll(body, "&#39;", "'") }

// A pane that is evaluated again shows as what was found last, and every finding stays.
func TestAPaneEvaluatedAgainShowsBoth(t *testing.T) {
	s := newSite(t)
	s.watch(t)
	s.mustAsk(t, "POST", "/api/v1/monitors/wind_hourly/run", `{"pane": "2013-01-31T11:30:00Z"}`)
	body := s.mustAsk(t, "GET", "/monitors/wind_hourly?pane=2013-01-31T11:59:59Z", "", "Accept: text/html")
	for _, want := range []string{`evaluation=1&amp;pane=`, `aria-current="true">evaluation 2</a>`, `<dd>402</dd>`, `colspan="6"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not show %s:\n%s", want, body)
		}
	}
	if strings.Contains(body, "came late") {
		t.Error("rows that were compared are still late")
	}
	first := s.mustAsk(t, "GET", "/monitors/wind_hourly?evaluation=1&pane=2013-01-31T11:59:59Z", "", "Accept: text/html")
	if !strings.Contains(first, `<dd>400</dd>`) {
		t.Errorf("the first evaluation is gone:\n%s", first)
	}
}

func TestTheButtonsOfAnAlert(t *testing.T) {
	s := newSite(t)
	s.watch(t)
	press := func(button, fields string, header ...string) (int, string) {
		w := s.ask("POST", "/alerts/wind_hourly-1/"+button, fields,
			append([]string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html", "Sec-Fetch-Site: same-origin"}, header...)...)
		if w.Code == http.StatusSeeOther {
			return w.Code, s.mustAsk(t, "GET", w.Header().Get("Location"), "", "Accept: text/html")
		}
		return w.Code, w.Body.String()
	}
	for _, step := range []struct {
		button, fields, header string
		status                 int
		want                   string
	}{
		{"acknowledge", "by=eve", "Sec-Fetch-Site: cross-site", http.StatusForbidden, "another site"},
		{"acknowledge", "by=ann%3Ci%3E&comment=looking&for=1d", "", http.StatusSeeOther, `by ann&lt;i&gt;`},
		{"snooze", "for=1d", "", http.StatusSeeOther, "until 2013-02-01 16:00"},
		{"snooze", "for=never", "", http.StatusBadRequest, "never"},
		{"snooze", "", "", http.StatusBadRequest, "has passed"},
		{"resolve", "by=ann", "", http.StatusSeeOther, "by ann"},
		{"resolve", "by=ann", "", http.StatusPreconditionFailed, "is resolved"},
	} {
		var header []string
		if step.header != "" {
			header = append(header, step.header)
		}
		status, body := press(step.button, step.fields, header...)
		if status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("%s %s: status %d, want %d with %q: %s", step.button, step.fields, status, step.status, step.want, body)
		}
	}
	if body := s.mustAsk(t, "GET", "/alerts?state=firing", "", "Accept: text/html"); !strings.Contains(body, "No alert is firing.") {
		t.Errorf("the alert still fires:\n%s", body)
	}
	if body := s.mustAsk(t, "GET", "/alerts/wind_hourly-1", "", "Accept: text/html"); strings.Contains(body, "<form") {
		t.Error("a resolved alert has buttons")
	}
}

// TestThePanesColumnsAreSortedAndChosenByTheAddress needs no script: each order and choice is a link.
func TestThePanesColumnsAreSortedAndChosenByTheAddress(t *testing.T) {
	s := newSite(t)
	s.watch(t)
	columns := func(query string) string {
		_, table, found := strings.Cut(s.mustAsk(t, "GET", "/monitors/wind_hourly"+query, ""), `id="pane"`)
		if !found {
			t.Fatalf("%s shows no pane", query)
		}
		if _, rest, found := strings.Cut(table, "<h3>Columns</h3>"); found { // behind the slices
			table = rest
		}
		var names []string
		for _, part := range strings.Split(table, "<code>")[1:] {
			if name, _, _ := strings.Cut(part, "</code>"); name == "speed" || name == "sky" || name == "runway" {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	}
	all := strings.Fields(columns(""))
	if len(all) == 0 || all[0] != "speed" {
		t.Fatalf("the columns are %v, want what drifted first", all)
	}
	sorted := strings.Fields(columns("?sort=column"))
	if len(sorted) != len(all) || sorted[0] == "speed" {
		t.Errorf("sorted by name they are %v", sorted)
	}
	for query, want := range map[string]func(names string) bool{
		"?sort=effect":              func(names string) bool { return strings.HasPrefix(names, "speed ") },
		"?sort=q":                   func(names string) bool { return strings.HasPrefix(names, "speed ") },
		"?find=SPE":                 func(names string) bool { return names != "" && !strings.Contains(names, "sky") },
		"?find=nothing":             func(names string) bool { return names == "" },
		"?verdict=drift":            func(names string) bool { return names != "" && !strings.Contains(names, "sky") },
		"?verdict=same&sort=column": func(names string) bool { return !strings.Contains(names, "speed") },
	} {
		if names := columns(query); !want(names) {
			t.Errorf("%s lists %q", query, names)
		}
	}
	if page := s.mustAsk(t, "GET", "/monitors/wind_hourly?find=%22%3E%3Cb%3E&verdict=drift", ""); strings.Contains(page, `"><b>`) || !strings.Contains(page, `name="verdict" value="drift"`) {
		t.Error("what was looked for is not kept as it is")
	}
	for query, words := range map[string]string{"?sort=size": "no order", "?verdict=bad": "which is none"} {
		if w := s.ask("GET", "/monitors/wind_hourly"+query, ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), words) {
			t.Errorf("%s: %d %.200s", query, w.Code, w.Body)
		}
	}
}
