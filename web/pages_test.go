package web_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/web"
)

// train logs a run with hostile names, registers a model from it, and so gives
// every page something to show.
func (s *site) train(t testing.TB) {
	t.Helper()
	s.save(t)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "late departure", "name": "<b>bold</b>", "params": {"</td><script>": "\u0000"}, "inputs": ["view/weather", "dataset/late@1"]}`)
	s.mustAsk(t, "POST", "/api/v1/runs/late-departure-1/log", `{"metrics": [{"key": "auc", "value": 0.5, "step": 1}, {"key": "auc", "value": 0.7, "step": 2}, {"key": "loss", "value": "Infinity"}, {"key": "zero", "value": 0}]}`)
	s.mustAsk(t, "PUT", "/api/v1/runs/late-departure-1/artifacts/model/a%20b.bin", "weights")
	s.mustAsk(t, "POST", "/api/v1/models/late%20model/versions", `{"run": "late-departure-1", "artifact": "model/a b.bin"}`)
	s.mustAsk(t, "PUT", "/api/v1/models/late%20model/aliases/champion", `{"version": 1}`)
	s.mustAsk(t, "POST", "/api/v1/models/late%20model/versions", `{"run": "late-departure-1", "artifact": "model/a b.bin"}`)
	s.mustAsk(t, "PUT", "/api/v1/models/late%20model/aliases/champion", `{"version": 2, "by": "eve", "reason": "<b>bold</b> reason", "evidence": ["run/late-departure-1"]}`)
	s.mustAsk(t, "PUT", "/api/v1/models/late%20model/gates", `{"stage": "Production", "checks": ["signature"], "approvals": 1}`)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "other", "params": {"depth": "3", "same": "1", "lr": "0.1"}}`)
	s.mustAsk(t, "POST", "/api/v1/runs/other-1/log", `{"metrics": [{"key": "auc", "value": 0.6, "step": 1}, {"key": "auc", "value": 0.65, "step": 3}]}`)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "other", "params": {"depth": "6", "same": "1", "lr": "0.01"}}`)
	s.mustAsk(t, "POST", "/api/v1/runs/other-2/log", `{"metrics": [{"key": "auc", "value": 0.9, "step": 1}, {"key": "auc", "value": 0.95, "step": 3}]}`)
	s.mustAsk(t, "PUT", "/api/v1/runs/other-2/artifacts/confusion.csv", "true,predicted,flights\non time,on time,812\non time,late,64\nlate,late,201\n")
	s.mustAsk(t, "POST", "/api/v1/apply", `{"on_demand_feature_views": [{"name": "trip", "sources": [{"view": "weather"}],
		"request": [{"name": "km", "type": "int64"}], "features": [{"name": "cold", "expression": "temp < km"}]}]}`)
	s.predict(t)
}

// predict logs a prediction with a hostile id.
func (s *site) predict(t testing.TB) {
	t.Helper()
	s.mustAsk(t, "POST", "/api/v1/apply", `{"entities": [{"name": "score", "join_keys": [{"name": "score_id", "type": "string"}]}],
		"feature_views": [{"name": "scores", "entities": ["score"], "predictions": {},
		"features": [{"name": "model", "type": "string"}, {"name": "model_version", "type": "int32"}, {"name": "airport", "type": "string"}, {"name": "temp", "type": "float64"}]}]}`)
	s.mustAsk(t, "POST", "/push", `{"push_source_name": "scores", "df": {"score_id": ["p-<b>"], "event_timestamp": ["2013-01-31T15:30:00Z"],
		"model": ["late model"], "model_version": [1], "airport": ["JFK"], "temp": [-3]}}`)
}

// save keeps a divided training set whose spine is a SELECT with hostile values.
func (s *site) save(t testing.TB) {
	t.Helper()
	request := driftline.HistoricalRequest{SaveAs: "late", Spine: &driftline.SpineSource{SQL: `
		SELECT airport, event_timestamp, '<b>bold</b>' AS note, NULL::DOUBLE AS fare FROM features.weather`},
		Split: &driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{{Name: "train", Fraction: 0.75}, {Name: "test", Fraction: 0.25}}}}
	request.Features = []string{"weather:temp", "weather:sky"}
	if _, err := s.Engine.Historical(context.Background(), request, driftline.Batches{}); err != nil {
		t.Fatal(err)
	}
}

// stockedPages are the pages of a server with something in it, each with what it must show.
var stockedPages = []struct{ path, want string }{
	{"/", `<a href="/views/weather">weather</a>`},
	{"/", `<td><code>temp &lt; km</code></td>`},
	{"/?sort=rows", `aria-current="true">rows ↓</a>`},
	{"/?filter=nothing+like+it", `has all of these words`},
	{"/views/weather", `aria-label="Histogram of temp from 39.02 to 41.5"`},
	{"/views/weather?look=1&key.airport=JFK", `<td>present</td>`},
	{"/views/weather?look=1&key.airport=%3Cb%3Ebold", `no such entity`},
	{"/services/delay_model", `<code>temp</code>`},
	{"/datasets", `<a href="/datasets/late/1">late</a>`},
	{"/datasets?sort=rows&order=asc", `<th class="n" aria-sort="ascending"><a href="/datasets">Rows ↑</a></th>`},
	{"/datasets/late/1", `aria-label="Histogram of temp from 39.02 to 41.5"`},
	{"/datasets/late/1", `aria-label="Histogram of event_timestamp from 2013-01-31 09:00 to 2013-01-31 15:30"`},
	{"/datasets/late/1", `<span>JFK</span><b>2</b>`},
	{"/datasets/late/1", `<td><code>train</code></td><td class="n">3</td><td class="n">75.0 %</td>`},
	{"/datasets/late/1", `The SELECT of its spine`},
	{"/runs", `<a href="/runs/late-departure-1">late-departure-1</a>`},
	{"/runs?experiment=other", `<a href="/runs/other-1">other-1</a>`},
	{"/runs?sort=auc", `auc ↓`},
	{"/runs?sort=metrics.auc&order=asc", `auc ↑`},
	{"/runs", `<td class="n">0</td>`},
	{"/runs?filter=metrics.auc+%3E+0.8", `<a href="/runs/other-2">other-2</a>`},
	{"/runs?filter=metrics.auc+%3E+7", `No run is found.`},
	{"/runs?filter=%3Cb%3Ebold", `<section class="notice bad">`},
	{"/runs?column=params.depth&column=tags.%3Cb%3Ebold,duration", `>depth</a>`},
	{"/runs?deleted=1", `Deleted runs`},
	{"/runs?group=params.depth", `▸ 3</a>`},
	{"/runs?group=params.depth", `<em>none</em>`},
	{"/runs?group=params.depth&open=%3D3", `aria-expanded="true">▾ 3</a>`},
	{"/runs?group=params.depth&open=%3D3", `<a href="/runs/other-1">other-1</a>`},
	{"/runs?group=params.depth&open=none", `<a href="/runs/late-departure-1">late-departure-1</a>`},
	{"/runs?group=parent&experiment=other", `1 group by <code>parent</code>`},
	{"/runs?group=status", `open=%3DRUNNING`},
	{"/runs?group=start_time", `<section class="notice bad">`},
	{"/runs?experiment_id=2", `<a href="/runs/other-1">other-1</a>`},
	{"/runs/compare?run=other-1&run=other-2", `<g class="line-1"><title>other-2</title><polyline points="6.0,`},
	{"/runs/compare?run=other-1&run=other-2", `<th scope="row"><code>depth</code></th><td>3</td><td>6</td>`},
	{"/runs/compare?run=other-1&run=other-2", `1 is the same in all runs.`},
	{"/runs/compare?run=other-1&run=other-2", `aria-label="Params and metrics as parallel axes, a line per run"`},
	{"/runs/compare?run=other-1&run=late-departure-1&all=1&by=time&scale=log&smooth=0.9", `<code>&lt;/td&gt;&lt;script&gt;</code>`},
	{"/runs/compare?run=other-1&run=other-2", `<h3><code>confusion.csv</code></h3>`},
	{"/runs/other-2", `<td>on time</td><td>late</td><td>64</td>`},
	{"/runs/late-departure-1", `points="6.0,114.0 314.0,6.0"`},
	{"/runs/other-1", "None logged."},
	{"/models", `<a href="/models/late%20model">late model</a>`},
	{"/models?sort=model&filter=LATE&more=%3Cb%3Ebold", `<input type="hidden" name="more" value="&lt;b&gt;bold">`},
	{"/models/late%20model", `Version 1`},
	{"/models/late%20model", `champion goes from @2 back to @1`},
	{"/models/late%20model", `&lt;b&gt;bold&lt;/b&gt; reason`},
	{"/models/late%20model/versions/1", `late model, version 1`},
	{"/models/late%20model/versions/champion", `late model, version 2`},
	{"/models/late%20model/versions/1", `stage Production`},
	{"/models/late%20model/versions/1", `0 of 1`},
	{"/lineage", `/lineage?ref=model%2flate%20model%402`},
	{"/lineage?ref=model/late+model@champion", `view/weather`},
	{"/lineage?ref=entity/airport&direction=down", `view/weather`},
	{"/why", `<a href="/views/scores">scores</a>`},
	{"/why?prediction=p-%3Cb%3E", `<h1>p-&lt;b&gt;</h1>`},
	{"/why?prediction=p-%3Cb%3E", `href="/lineage?ref=model%2flate%20model%401"`},
	{"/why?prediction=p-%3Cb%3E", `<strong>differs</strong>`},
}

// ownScript is a script of the server's own: of the first page, or of pages that follow events.
var ownScript = regexp.MustCompile(`<script src="/static/(follow\.js\?v=[0-9a-f]+"|live\.js\?v=[0-9a-f]+" defer)></script>`)

func TestPagesShowWhatThereIs(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	s.train(t)
	for _, page := range stockedPages {
		body := s.mustAsk(t, "GET", page.path, "", "Accept: text/html")
		if !strings.Contains(body, page.want) {
			t.Errorf("%s does not show %s:\n%s", page.path, page.want, body)
		}
		if strings.Contains(body, "<b>bold") || strings.Contains(ownScript.ReplaceAllString(body, ""), "<script") {
			t.Errorf("%s lets names through as markup", page.path)
		}
	}
}

// The training set late has every value in time; a year is no count.
func TestAColumnReadsAsWhatItIs(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	s.train(t)
	if body := s.mustAsk(t, "GET", "/datasets/late/1", "", "Accept: text/html"); strings.Contains(body, "Not yet known:") {
		t.Error("the page explains what none of its columns has")
	}
	year := driftline.Number(2013)
	for typ, want := range map[string]string{"int32": "2013", "uint64": "2013", "float64": "2,013"} {
		if got := web.ColumnValue(driftline.ColumnStatistics{Type: typ}, &year); got != want {
			t.Errorf("a %s of 2013 is shown as %s, want %s", typ, got, want)
		}
	}
}

func TestEmptyPagesSayWhatToDoNext(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]string{
		"/":            "driftline init example",
		"/datasets":    "save_as=",
		"/runs":        "driftline.init(",
		"/models":      "store.register_model(",
		"/monitors":    "driftline apply",
		"/alerts":      "No alert.",
		"/validations": "driftline validate --suggest",
		"/performance": "driftline performance scored.parquet",
		"/lineage":     "apply definitions first",
	} {
		if body := s.mustAsk(t, "GET", path, "", "Accept: text/html"); !strings.Contains(body, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
}

func TestAPageThatFailsIsAPage(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	w := s.ask("GET", "/views/wether", "", "Accept: text/html")
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `did you mean &#34;weather&#34;?`) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestAWindowIsSaidShortly(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"2013-01-31T10:00:00Z", "2013-01-31T11:30:00Z", "2013-01-31 10:00 – 11:30"},
		{"2013-01-31T23:00:00Z", "2013-02-01T01:00:00Z", "2013-01-31 23:00 – 2013-02-01 01:00"},
		{"2013-01-31T00:00:00Z", "2013-02-01T00:00:00Z", "2013-01-31"},
		{"2013-01-28T00:00:00Z", "2013-02-04T00:00:00Z", "2013-01-28 – 2013-02-03"},
		{"2013-02-01T00:00:00Z", "2013-03-01T00:00:00Z", "February 2013"},
		{"2013-02-01T00:00:00Z", "2013-05-01T00:00:00Z", "February – April 2013"},
		{"2013-12-01T00:00:00Z", "2014-02-01T00:00:00Z", "December 2013 – January 2014"},
		{"2013-12-01T05:00:00Z", "2014-01-01T05:00:00Z", "2013-12-01 05:00 – 2014-01-01 05:00"},
	} {
		from, _ := time.Parse(time.RFC3339, c.from)
		to, _ := time.Parse(time.RFC3339, c.to)
		if got := web.WindowText(from, to); got != c.want {
			t.Errorf("%s to %s is %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

// What MLflow's client prints leads to the page that it means.
func TestLinksOfMLflowAreFollowed(t *testing.T) {
	s := newSite(t)
	for to, want := range map[string]string{
		"/experiments/7/runs/a%20b":             "/runs/a%20b",
		"/experiments/7/runs/abc/model-metrics": "/runs/abc",
		"/experiments/7":                        "/runs?experiment_id=7",
		"/experiments":                          "/runs",
		"/":                                     "/runs",
		"/experiments/7/models/m-1":             "/lineage?ref=logged_model%2Fm-1",
		"/models/late%2Fmodel":                  "/models/late%2Fmodel",
		"/models/late%20model/versions/3":       "/models/late%20model/versions/3",
		"/models":                               "/models",
		`/compare-runs?runs=["a","b"]&experiments=["1"]`: "/runs/compare?run=a&run=b",
		"/experiments/7/runs/%2F%2Fevil.example":         "/runs/%2F%2Fevil.example",
		"//evil.example":                                 "",
		"/prompts/x":                                     "",
		"/experiments/%zz/runs/a":                        "",
		"/compare-runs?runs=nonsense":                    "",
		"https://evil.example/experiments/1":             "",
	} {
		w := s.ask("GET", "/follow?to="+url.QueryEscape(to), "", "Accept: text/html")
		switch got := w.Header().Get("Location"); {
		case want == "" && w.Code != http.StatusNotFound:
			t.Errorf("%s leads to %d %s, want nowhere", to, w.Code, got)
		case want != "" && (w.Code != http.StatusSeeOther || got != want):
			t.Errorf("%s leads to %d %s, want %s", to, w.Code, got, want)
		}
	}
}

// The button on a model's page takes back a move once, and only what the person saw.
func TestAnAliasIsRolledBackFromItsPage(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	s.train(t)
	press := func(form string, header ...string) int {
		return s.ask("POST", "/models/late%20model/aliases/champion/rollback", form,
			append([]string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html", "Sec-Fetch-Site: same-origin"}, header...)...).Code
	}
	for _, c := range []struct {
		form, header string
		status       int
	}{
		{"expect=2&sure=1", "Sec-Fetch-Site: cross-site", http.StatusForbidden},
		{"expect=2", "Accept: text/html", http.StatusBadRequest},
		{"expect=x&sure=1", "Accept: text/html", http.StatusBadRequest},
		{"expect=1&sure=1", "Accept: text/html", http.StatusConflict},
		{"expect=2&sure=1&by=eve&reason=worse", "Accept: text/html", http.StatusSeeOther},
		{"expect=2&sure=1&by=eve&reason=worse", "Accept: text/html", http.StatusConflict},
	} {
		if got := press(c.form, c.header); got != c.status {
			t.Errorf("%s with %s: status %d, want %d", c.form, c.header, got, c.status)
		}
	}
	body := s.mustAsk(t, "GET", "/models/late%20model", "", "Accept: text/html")
	for _, want := range []string{`<td><a href="/models/late%20model/versions/1">@1</a></td>`, "rollback</span>", "worse"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not show %s:\n%s", want, body)
		}
	}
}

// The heads of the table of runs turn the order as those of other lists do, and a new order begins at its first page.
func TestHeadsOfRunsSortTurnAndLetGo(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "one", "params": {"depth": "3"}}`)
	for path, want := range map[string]string{
		"/runs?column=params.depth,duration":                            `<th><a href="/runs?column=params.depth&amp;column=duration&amp;sort=params.depth">depth</a></th><th class="n">duration</th>`,
		"/runs?column=params.depth&sort=params.depth":                   `<th aria-sort="descending"><a href="/runs?column=params.depth&amp;order=asc&amp;sort=params.depth">depth ↓</a></th>`,
		"/runs?column=params.depth&sort=params.depth&order=asc&filter=": `<th aria-sort="ascending"><a href="/runs?column=params.depth">depth ↑</a></th>`,
	} {
		if body := s.mustAsk(t, "GET", path, "", "Accept: text/html"); !strings.Contains(body, want) {
			t.Errorf("%s does not have the head %s", path, want)
		}
	}
}

// A table of many runs is shown in pages, each of which the registry finds by itself.
func TestRunsAreShownInPages(t *testing.T) {
	s := newSite(t)
	for range 120 {
		s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "many"}`)
	}
	for path, want := range map[string]struct {
		runs       int
		back, next bool
	}{
		"/runs?experiment=many":        {50, false, true},
		"/runs?experiment=many&page=2": {50, true, true},
		"/runs?experiment=many&page=3": {20, true, false},
		"/runs?experiment=many&page=9": {0, false, false},
		"/runs?page=-1":                {50, false, true},
	} {
		body := s.mustAsk(t, "GET", path, "", "Accept: text/html")
		if n := strings.Count(body, `name="run"`); n != want.runs || strings.Contains(body, ">Back<") != want.back || strings.Contains(body, ">Next<") != want.next {
			t.Errorf("%s shows %d runs, want %+v", path, n, want)
		}
	}
}
