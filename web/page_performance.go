package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// performancePage shows how a model does. What it measures is in its address, so that it
// can be kept and sent.
type performancePage struct {
	Form  performanceForm
	View  *report.PerformanceView // nil until something is asked
	Error *driftline.Error        // nil if it could be measured
	CLI   string                  // the same question on the command line
}

// performanceForm is what was asked, as it was typed.
type performanceForm struct {
	Source, Reference, Task, Prediction, Score, Label, Group, Time, Window, Inputs string
}

// fields are the form's by the names that they have in an address.
func (f *performanceForm) fields() map[string]*string {
	return map[string]*string{"source": &f.Source, "reference": &f.Reference, "task": &f.Task, "prediction": &f.Prediction, "score": &f.Score,
		"label": &f.Label, "group": &f.Group, "time": &f.Time, "window": &f.Window, "inputs": &f.Inputs}
}

func (s *Server) performancePage(w http.ResponseWriter, r *http.Request) error {
	var body performancePage
	query := r.URL.Query()
	for name, field := range body.Form.fields() {
		*field = strings.TrimSpace(query.Get(name))
	}
	if body.Form.Source != "" && ownRequest(r) {
		if err := s.measure(r, &body); err != nil {
			shown, _ := present(err)
			body.Error = shown
		}
	}
	if body.Form.Task == "" {
		body.Form.Task = driftline.TaskClassification
	}
	if body.Form.Window == "" {
		body.Form.Window = "1d"
	}
	return s.render(w, "performance", page{Title: "Performance", Section: "performance", Body: body})
}

// ownRequest reports whether a person asked, here or by typing the address: what another
// site has a browser fetch is shown as a form, and runs nothing.
func ownRequest(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

// measure answers the form.
func (s *Server) measure(r *http.Request, body *performancePage) error {
	request, err := body.Form.request()
	if err != nil {
		return err
	}
	body.CLI = body.Form.command()
	found, err := s.engine.Performance(r.Context(), request)
	if err != nil {
		return err
	}
	view := report.ViewPerformance(found)
	body.View = &view
	return nil
}

func (f *performanceForm) request() (req driftline.PerformanceRequest, err error) {
	if req.Source, err = driftline.ParseDriftSource(f.Source); err != nil {
		return req, err
	}
	if f.Reference != "" {
		if req.Reference, err = driftline.ParseDriftSource(f.Reference); err != nil {
			return req, err
		}
	}
	req.Task, req.Prediction, req.Score, req.Label, req.Group, req.Time = f.Task, f.Prediction, f.Score, f.Label, f.Group, f.Time
	if req.Window, err = driftline.ParseDuration(f.Window); err != nil {
		return req, err
	}
	req.Inputs = strings.FieldsFunc(f.Inputs, func(r rune) bool { return r == ',' || r == ' ' })
	return req, nil
}

// command is the form as a command line.
func (f *performanceForm) command() string {
	words := []string{"driftline performance", shellWord(f.Source)}
	fields := f.fields()
	for _, name := range []string{"reference", "task", "prediction", "score", "label", "group", "time", "window", "inputs"} {
		if value := *fields[name]; value != "" {
			words = append(words, "--"+name+" "+shellWord(value))
		}
	}
	return strings.Join(append(words, "--html performance.html"), " ")
}

// shellWord quotes a word for a shell, if it needs that.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./@,:", r)
	}
	if word != "" && !slices.ContainsFunc([]rune(word), func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
