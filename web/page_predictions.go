package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// predictionsPage shows what a model answered, what became known of it, and how it does.
type predictionsPage struct {
	Model    driftline.ModelName
	Log      *driftline.PredictionLogStatus // nil before the first prediction
	Dropped  int64
	Labels   *driftline.LabelStatus
	Days     []dayBar
	Delays   []delayBar
	Columns  []string         // of the latest
	Latest   []predictionLine // the newest first
	Choices  []heatChoice     // by what performance is measured
	Windows  []heatChoice
	Groups   []performanceGroup
	Notes    []string
	Measured bool             // it was tried
	Error    *driftline.Error // nil if it could be
	CLI      string
}

// dayBar is a day of predictions: as high as it has many, and filled as far as it has labels.
type dayBar struct {
	bar
	LabelledY, LabelledHeight float64
	Title                     string
}

type delayBar struct {
	Within string
	Labels int64
	Width  float64 // of 100
}

// predictionLine is one prediction as the page shows it.
type predictionLine struct {
	ID    string
	URL   string // of why it is what it is
	Cells []string
}

// performanceGroup is how the predictions of one version, or arm, did.
type performanceGroup struct {
	driftline.PerformanceGroup
	Title string
	View  *report.PerformanceView // nil if it could not be measured
}

const (
	latestPredictions = 20
	performanceBars   = 60 // windows that are measured
	mostGroupsShown   = 6
)

// predictionColumns are those of a log that the page shows, of which it has any.
var predictionColumns = []string{"model_version", "arm", "status", "latency_ms", "fault", "prediction", "prediction_text", "score", "label", "label_text", "labelled_at"}

func (s *Server) predictionsPage(w http.ResponseWriter, r *http.Request) error {
	model := modelOf(r)
	if _, err := s.engine.Registry().Model(model); err != nil {
		return err
	}
	body := predictionsPage{Model: model}
	log, err := s.engine.PredictionLog(model)
	switch {
	case driftline.CodeOf(err) == driftline.NotFound:
		return s.render(w, "predictions", page{Title: "Predictions of " + string(model), Section: "models", Body: body})
	case err != nil:
		return err
	}
	body.Log, body.Dropped = log, log.Counts.AllDropped()
	if body.Labels, err = s.engine.Labels(r.Context(), model, time.Time{}); err != nil {
		return err
	}
	body.Days, body.Delays = drawDays(body.Labels.Days), drawDelays(body.Labels.Delay.Counts)
	if err := s.addLatest(r, &body); err != nil {
		return err
	}
	s.addPerformance(r, &body)
	return s.render(w, "predictions", page{Title: "Predictions of " + string(model), Section: "models", Body: body})
}

// drawDays draws the last days in the viewBox of a histogram.
func drawDays(days []driftline.LabelledDay) (bars []dayBar) {
	days = days[max(0, len(days)-performanceBars):]
	var most int64
	for _, d := range days {
		most = max(most, d.Predictions)
	}
	if most == 0 {
		return nil
	}
	step := float64(histogramWidth) / float64(max(len(days), 14))
	for i, d := range days {
		height := max(1, float64(histogramHeight)*float64(d.Predictions)/float64(most))
		labelled := float64(histogramHeight) * float64(d.Labelled) / float64(most)
		bars = append(bars, dayBar{
			bar:       bar{X: float64(i)*step + 0.5, Y: histogramHeight - height, Width: step - 1, Height: height},
			LabelledY: histogramHeight - labelled, LabelledHeight: labelled,
			Title: fmt.Sprintf("%s: %s, %s with a label", d.Day.Format(time.DateOnly), report.Plural(int(d.Predictions), "prediction"), countText(d.Labelled)),
		})
	}
	return bars
}

func drawDelays(counts []driftline.DelayCount) (bars []delayBar) {
	var most int64
	for _, c := range counts {
		most = max(most, c.Labels)
	}
	for _, c := range counts {
		one := delayBar{Within: "later", Labels: c.Labels, Width: 100 * float64(c.Labels) / float64(max(most, 1))}
		if c.Within > 0 {
			one.Within = "within " + c.Within.Short()
		}
		bars = append(bars, one)
	}
	return bars
}

func (s *Server) addLatest(r *http.Request, body *predictionsPage) error {
	rows, err := s.engine.LatestPredictions(r.Context(), body.Model, latestPredictions)
	if err != nil {
		return err
	}
	names, text, err := textRows(rows)
	if err != nil {
		return err
	}
	id := slices.Index(names, cmp.Or(body.Log.Config.ID, "prediction_id"))
	shown := []int{slices.Index(names, "event_timestamp")}
	for _, name := range predictionColumns {
		at := slices.Index(names, name)
		filled := at >= 0 && slices.ContainsFunc(text, func(line []string) bool { return line[at] != "" })
		if filled {
			shown = append(shown, at)
		}
	}
	shown = slices.DeleteFunc(shown, func(at int) bool { return at < 0 })
	for _, at := range shown {
		body.Columns = append(body.Columns, plainWord(names[at]))
	}
	for _, line := range text {
		one := predictionLine{}
		if id >= 0 {
			one.ID = line[id]
			one.URL = "/why?" + url.Values{"prediction": {one.ID}, "log": {string(body.Log.Log)}}.Encode()
		}
		for _, at := range shown {
			one.Cells = append(one.Cells, line[at])
		}
		body.Latest = append(body.Latest, one)
	}
	return nil
}

// performanceBys are by what a model's performance may be looked at.
var performanceBys = []struct{ text, by string }{
	{"by version and arm", "model_version,arm"}, {"by version", "model_version"}, {"by arm", "arm"}, {"all together", "all"},
}

var performanceWindows = []struct{ text, window string }{{"hours", "1h"}, {"days", "24h"}, {"weeks", "168h"}}

// addPerformance measures the last windows, if a person asked here. What cannot be measured is said.
func (s *Server) addPerformance(r *http.Request, body *predictionsPage) {
	q := r.URL.Query()
	by, window := cmp.Or(q.Get("by"), performanceBys[0].by), cmp.Or(q.Get("window"), "24h")
	address := func(by, window string) string {
		return "?" + url.Values{"by": {by}, "window": {window}}.Encode() + "#performance"
	}
	for _, one := range performanceBys {
		body.Choices = append(body.Choices, heatChoice{Text: one.text, URL: address(one.by, window), Chosen: one.by == by})
	}
	for _, one := range performanceWindows {
		body.Windows = append(body.Windows, heatChoice{Text: one.text, URL: address(by, one.window), Chosen: one.window == window})
	}
	if body.Labels.Predictions == 0 || !ownRequest(r) {
		return
	}
	body.Measured = true
	err := s.measureModel(r, body, by, window)
	if err != nil {
		body.Error, _ = present(err)
	}
}

func (s *Server) measureModel(r *http.Request, body *predictionsPage, by, window string) error {
	length, err := driftline.ParseDuration(window)
	if err != nil {
		return err
	}
	request := driftline.ModelPerformanceRequest{Window: length}
	body.CLI = "driftline performance model/" + shellWord(string(body.Model)) + " --window " + shellWord(window)
	if by != "all" {
		request.By = strings.Split(by, ",")
		body.CLI += " --by " + shellWord(by)
	}
	if days := body.Labels.Days; len(days) > 0 {
		request.From = days[len(days)-1].Day.Add(24*time.Hour - performanceBars*time.Duration(length))
	}
	found, err := s.engine.ModelPerformance(r.Context(), body.Model, request)
	if err != nil {
		return err
	}
	body.Notes = found.Notes
	for _, g := range found.Groups[:min(len(found.Groups), mostGroupsShown)] {
		group := performanceGroup{PerformanceGroup: g, Title: groupTitle(found.By, g.Of)}
		if g.Report != nil {
			view := report.ViewPerformance(g.Report)
			group.View = &view
		}
		body.Groups = append(body.Groups, group)
	}
	return nil
}

// groupTitle is what the predictions of a group have in common.
func groupTitle(by []string, of map[string]string) string {
	var words []string
	for _, column := range by {
		switch value, ok := of[column]; {
		case !ok:
		case column == "model_version":
			words = append(words, "version "+value)
		default:
			words = append(words, value)
		}
	}
	if len(words) == 0 {
		return "all predictions"
	}
	return strings.Join(words, ", ")
}
