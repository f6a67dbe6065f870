package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// The UI is server-rendered and needs no script: each page is one template
// within layout.html, and pictures are inline SVG drawn by chart.go, series.go and graph.go.
// Only the first page has one, of three lines, which follows the links that MLflow's client prints.
//
//go:embed pages/*.html static/*
var assets embed.FS

// pages renders the templates.
type pages struct {
	templates map[string]func() *template.Template // each is read when it is first shown: together they are megabytes
	version   string                               // of the static files, so that browsers may keep them
}

// page is what every template gets; Body is the page's own data.
type page struct {
	Title   string
	Section string // the entry of the navigation that is lit
	Assets  string
	Script  string // a static file that the page runs; "" for none
	Follows string // the stream of events after which the page is read again; "" for none
	Now     time.Time
	Body    any
}

func (s *Server) pageTable() []route {
	get := func(path string, handle func(w http.ResponseWriter, r *http.Request) error) route {
		return route{method: "GET", path: path, handle: handle, page: true}
	}
	post := func(path string, handle func(w http.ResponseWriter, r *http.Request) error) route {
		return route{method: "POST", path: path, handle: handle, page: true, body: small}
	}
	return []route{
		get("/{$}", s.cataloguePage),
		get("/views/{name}", s.viewPage),
		get("/services/{name}", s.servicePage),
		get("/datasets", s.datasetsPage),
		get("/datasets/{name}/{version}", s.datasetPage),
		get("/runs", s.runsPage),
		get("/runs/compare", s.comparePage),
		get("/runs/{id}", s.runPage),
		get("/models", s.modelsPage),
		get("/models/{model}", s.modelPage),
		get("/models/{model}/timeline", s.timelinePage),
		{method: "GET", path: "/models/{model}/predictions", handle: s.predictionsPage, page: true, allow: long},
		get("/models/{model}/versions/{version}", s.versionPage),
		post("/models/{model}/aliases/{alias}/rollback", s.rollbackForm),
		get("/follow", s.followPage),
		get("/evaluations/{id}", s.evaluationPage),
		get("/monitors", s.monitorsPage),
		get("/monitors/{name}", s.monitorPage),
		get("/monitors/{name}/column", s.paneColumnPage),
		get("/alerts", s.alertsPage),
		get("/alerts/{id}", s.alertPage),
		post("/alerts/{id}/acknowledge", s.alertForm(s.engine.AcknowledgeAlert)),
		post("/alerts/{id}/snooze", s.alertForm(s.engine.SnoozeAlert)),
		post("/alerts/{id}/resolve", s.alertForm(s.engine.ResolveAlert)),
		{method: "POST", path: "/alerts/{id}/remedies/{action}", handle: s.remedyForm, page: true, body: small, allow: long},
		{method: "GET", path: "/performance", handle: s.performancePage, page: true, allow: long},
		get("/validations", s.validationsPage),
		get("/validations/{name}", s.validationPage),
		post("/validations/{name}/run", s.checkNow),
		get("/policies", s.policiesPage),
		get("/policies/{model}", s.policyPage),
		post("/policies/{model}/train", s.trainForm),
		get("/training-runs", s.trainingsPage),
		get("/training-runs/{id}", s.trainingPage),
		post("/training-runs/{id}/cancel", s.cancelForm),
		get("/rollouts", s.rolloutsPage),
		get("/rollouts/{rollout}", s.rolloutPage),
		post("/rollouts/{rollout}/{action}", s.rolloutForm),
		get("/lineage", s.lineagePage),
		get("/why", s.whyPage),
		get("/static/{file}", getStatic),
	}
}

func loadPages() *pages {
	layout := template.Must(template.New("layout.html").Funcs(pageFuncs).ParseFS(assets, "pages/layout.html", "pages/parts.html"))
	template.Must(layout.ParseFS(report.Plots(), "pages/evaluationplots.html"))
	names, err := fs.Glob(assets, "pages/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	p := &pages{templates: map[string]func() *template.Template{}, version: assetsVersion()}
	for _, name := range names {
		base := path.Base(name)
		p.templates[strings.TrimSuffix(base, ".html")] = sync.OnceValue(func() *template.Template {
			return template.Must(template.Must(layout.Clone()).ParseFS(assets, name))
		})
	}
	return p
}

// assetsVersion changes when any static file does.
func assetsVersion() string {
	hash := sha256.New()
	files, err := fs.Glob(assets, "static/*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range files {
		content, err := assets.ReadFile(name)
		if err != nil {
			panic(err) // embedded
		}
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}

// render sends one page. A template that fails becomes an error, not half a page.
func (s *Server) render(w http.ResponseWriter, name string, p page) error {
	p.Now = s.engine.Now()
	return s.pages.render(w, http.StatusOK, name, p)
}

func (p *pages) render(w http.ResponseWriter, status int, name string, content page) error {
	content.Assets = p.version
	var body bytes.Buffer
	if err := p.templates[name]().ExecuteTemplate(&body, "layout.html", content); err != nil {
		return driftline.Errorf(driftline.Internal, "page %q cannot be drawn: %w", name, err)
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Length", strconv.Itoa(body.Len()))
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	if content.Script != "" || content.Follows != "" {
		policy += "; script-src 'self'"
	}
	if content.Follows != "" {
		policy += "; connect-src 'self'"
	}
	head.Set("Content-Security-Policy", policy)
	head.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the peer may be gone; there is nobody left to tell
	return nil
}

// fail shows an error to a person.
func (p *pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	noteError(r, err)
	shown, status := present(err)
	sayWhen(w, status)
	if p.render(w, status, "error", page{Title: http.StatusText(status), Now: time.Now(), Body: shown}) != nil {
		writeJSON(w, status, shown)
	}
}

func getStatic(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	content, err := assets.ReadFile("static/" + name)
	if err != nil {
		return driftline.Errorf(driftline.NotFound, "there is no file %q", clip(name))
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	return nil
}

var pageFuncs = template.FuncMap{
	"count":      countText,
	"size":       sizeText,
	"ago":        agoText,
	"stamp":      stampText,
	"age":        ageText,
	"percent":    report.Percent,
	"number":     numberText,
	"share":      func(n driftline.Number) float64 { return float64(n) },
	"points":     pointsText,
	"metric":     metricText,
	"refURL":     refURL,
	"refText":    refText,
	"join":       strings.Join,
	"eventKinds": func() string { return strings.Join(driftline.EventKinds, " ") },
	"plain":      func(word any) string { return plainWord(fmt.Sprint(word)) },
	"span":       func(d driftline.Duration) string { return d.Short() },
	"segment":    url.PathEscape,
	"query":      url.QueryEscape,
	"short":      shortText,
	"dashed":     dashed,
	"window":     windowText,
	"words":      strings.Fields,
	"instant":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"artifact":   artifactURL,
	"dict":       dict,

	"modelFile": func(model driftline.ModelName, version int, file string) string {
		return fmt.Sprintf("/api/v1/models/%s/versions/%d/artifacts/%s", url.PathEscape(string(model)), version, escapedPath(file))
	},
}

// dict gives a part of a page several values: names and values in turn.
func dict(pairs ...any) map[string]any {
	values := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values[pairs[i].(string)] = pairs[i+1]
	}
	return values
}

// countText groups digits: 336 776 is easier to read than 336776.
func countText(n any) string {
	digits := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var out strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(c)
	}
	return sign + out.String()
}

func sizeText(bytes int64) string {
	value, unit := float64(bytes), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, unit)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// agoText says how long before now t was, in one unit.
func agoText(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if d := now.Sub(t); d >= 0 {
		return spanText(d) + " ago"
	}
	return "in " + spanText(t.Sub(now))
}

// spanText is d in its largest unit.
func spanText(d time.Duration) string {
	const day = 24 * time.Hour
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{365 * day, "year"}, {30 * day, "month"}, {day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := int64(d / unit.length); n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "a moment"
}

// stampText is a time in UTC, without what is zero.
func stampText(t time.Time) string {
	t = t.UTC()
	switch {
	case t.IsZero():
		return "–"
	case t.Second() == 0:
		return t.Format("2006-01-02 15:04")
	}
	return t.Format("2006-01-02 15:04:05")
}

// windowText is the time from one instant to another, the day said once. Whole days and
// months are named, up to the last one of them.
func windowText(from, to time.Time) string {
	const oneDay = 24 * time.Hour
	from, to = from.UTC(), to.UTC()
	day := from.Truncate(oneDay)
	wholeDays := from.Equal(day) && to.Equal(to.Truncate(oneDay)) && from.Before(to)
	last := to.AddDate(0, 0, -1)
	switch {
	case wholeDays && to.Sub(from) == oneDay:
		return from.Format("2006-01-02")
	case wholeDays && from.Day() == 1 && to.Day() == 1 && !from.AddDate(0, 1, 0).Before(to):
		return from.Format("January 2006")
	case wholeDays && from.Day() == 1 && to.Day() == 1:
		if from.Year() == last.Year() {
			return from.Format("January") + " – " + last.Format("January 2006")
		}
		return from.Format("January 2006") + " – " + last.Format("January 2006")
	case wholeDays:
		return from.Format("2006-01-02") + " – " + last.Format("2006-01-02")
	case to.Before(day.Add(24 * time.Hour)):
		return from.Format("2006-01-02 15:04") + " – " + to.Format("15:04")
	}
	return stampText(from) + " – " + stampText(to)
}

// ageText is a TTL: "3h", "7d", or "any age".
func ageText(d driftline.Duration) string {
	switch whole := time.Duration(d); {
	case whole == 0:
		return "any age"
	case whole%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", whole/(24*time.Hour))
	default:
		return strings.TrimSuffix(strings.TrimSuffix(whole.String(), "0s"), "0m")
	}
}

// numberText keeps what a reader compares: four significant digits, integers whole.
func numberText(n driftline.Number) string {
	f := float64(n)
	if f == float64(int64(f)) && f < 1e15 && f > -1e15 {
		return countText(int64(f))
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}

// pointsText is a difference of shares, in points of a hundred.
func pointsText(n driftline.Number) string {
	text := fmt.Sprintf("%+.1f", 100*float64(n))
	if text == "+0.0" || text == "-0.0" {
		return "0.0"
	}
	return text
}

// metricText is one metric of a run, or a dash if the run has not logged it.
func metricText(metrics map[string]driftline.Number, key string) string {
	if value, ok := metrics[key]; ok {
		return numberText(value)
	}
	return "–"
}

func shortText(s string) string {
	if len(s) <= 12 {
		return s
	}
	return s[:12] + "…"
}

// refURL is the page of a thing; a thing without one is shown in its lineage.
func refURL(ref driftline.Ref) string {
	name := url.PathEscape(ref.Name)
	switch {
	case ref.Kind == driftline.KindView:
		return "/views/" + name
	case ref.Kind == driftline.KindService:
		return "/services/" + name
	case ref.Kind == driftline.KindDataset && ref.Version != "":
		return "/datasets/" + name + "/" + url.PathEscape(ref.Version)
	case ref.Kind == driftline.KindRun:
		return "/runs/" + name
	case ref.Kind == driftline.KindModel && ref.Version != "":
		return "/models/" + name + "/versions/" + url.PathEscape(ref.Version)
	case ref.Kind == driftline.KindModel:
		return "/models/" + name
	case ref.Kind == driftline.KindMonitor:
		return "/monitors/" + name
	case ref.Kind == driftline.KindAlert:
		return "/alerts/" + name
	case ref.Kind == driftline.KindRollout:
		return "/rollouts/" + name
	case ref.Kind == driftline.KindPolicy:
		return "/policies/" + name
	case ref.Kind == driftline.KindTraining:
		return "/training-runs/" + name
	case ref.Kind == driftline.KindPrediction:
		return "/why?prediction=" + url.QueryEscape(ref.Name)
	case ref.Kind == driftline.KindValidation:
		return "/validations/" + name
	case ref.Kind == driftline.KindEvaluation:
		return "/evaluations/" + name
	}
	return "/lineage?ref=" + url.QueryEscape(ref.String())
}

// refText is a reference without the tail of a long hash.
func refText(ref driftline.Ref) string {
	switch ref.Kind {
	case driftline.KindFile:
		ref.Version = shortText(ref.Version)
	case driftline.KindArtifact:
		ref.Name = shortText(ref.Name)
	}
	return ref.String()
}

func artifactURL(run driftline.RunID, artifact string) string {
	return "/api/v1/runs/" + url.PathEscape(string(run)) + "/artifacts/" + escapedPath(artifact)
}

// escapedPath escapes each segment of a path.
func escapedPath(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
