package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

type timelinePage struct {
	*driftline.Timeline
	Picture *storyline // nil before anything has happened
	Spans   []heatChoice
	Kinds   []heatChoice
	Rows    []timelineRow // the newest first
}

// timelineRow is one event of the list.
type timelineRow struct {
	driftline.TimelineEvent
	URL  string
	Word string // the state
}

// timelineSpans are how far back one can look, in words and as the query says it.
var timelineSpans = []struct{ text, since string }{{"all", ""}, {"last day", "1d"}, {"last week", "7d"}, {"last month", "1mo"}, {"last quarter", "3mo"}}

func (s *Server) timelinePage(w http.ResponseWriter, r *http.Request) error {
	follows := s.followed(modelOf(r))
	line, err := s.timeline(r)
	if err != nil {
		return err
	}
	body := timelinePage{Timeline: line, Picture: drawStory(line)}
	q := r.URL.Query()
	kind := driftline.TimelineKind(q.Get("kind"))
	if kind != "" && !slices.Contains(driftline.TimelineKinds, kind) {
		return driftline.Unknown("kind of event", driftline.TimelineKind(clip(string(kind))), driftline.TimelineKinds)
	}
	for _, span := range timelineSpans {
		body.Spans = append(body.Spans, heatChoice{Text: span.text, URL: timelineURL(line.Model, span.since, kind), Chosen: q.Get("since") == span.since})
	}
	body.Kinds = append(body.Kinds, heatChoice{Text: "everything", URL: timelineURL(line.Model, q.Get("since"), ""), Chosen: kind == ""})
	for _, one := range driftline.TimelineKinds {
		if one == kind || slices.ContainsFunc(line.Events, func(e driftline.TimelineEvent) bool { return e.Kind == one }) {
			body.Kinds = append(body.Kinds, heatChoice{Text: string(one), URL: timelineURL(line.Model, q.Get("since"), one), Chosen: one == kind})
		}
	}
	for _, event := range slices.Backward(line.Events) {
		if kind == "" || event.Kind == kind {
			body.Rows = append(body.Rows, timelineRow{event, eventURL(&event), plainWord(event.State)})
		}
	}
	return s.render(w, "timeline", page{Title: "Time line of " + string(line.Model), Section: "models", Follows: follows, Body: body})
}

func timelineURL(model driftline.ModelName, since string, kind driftline.TimelineKind) string {
	values := url.Values{}
	if since != "" {
		values.Set("since", since)
	}
	if kind != "" {
		values.Set("kind", string(kind))
	}
	address := "/models/" + url.PathEscape(string(model)) + "/timeline"
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	return address
}

// plainWord is a word of ours as people write it: back_off is "back off".
func plainWord[W ~string](word W) string { return strings.ReplaceAll(string(word), "_", " ") }

// eventURL is the page that says more of an event.
func eventURL(e *driftline.TimelineEvent) string {
	if e.Kind == driftline.TimelineDrift {
		return monitorView{name: e.Monitor, pane: instantIn(e.PaneEnd), evaluation: 1}.url()
	}
	return refURL(e.Ref)
}
