package web

import (
	"bytes"
	"io"
	"net/http"

	"github.com/driftline/driftline"
)

// forms are the writers of one kind of report.
type forms[R any] struct{ html, markdown, junit func(io.Writer, *R) error }

// writeForm answers with a report in the form that the query parameter format asks for.
// A page may hold hostile names, so it may load nothing and belongs to no origin.
func writeForm[R any](w http.ResponseWriter, r *http.Request, outcome *R, to forms[R]) error {
	write, contentType := to.html, "text/html; charset=utf-8"
	switch format := r.URL.Query().Get("format"); format {
	case "", "html":
	case "markdown":
		write, contentType = to.markdown, "text/markdown; charset=utf-8"
	case "junit":
		write, contentType = to.junit, "application/xml; charset=utf-8"
	default:
		return driftline.Errorf(driftline.Invalid, "format is %q", clip(format)).WithHint("one of html, markdown, junit")
	}
	var text bytes.Buffer
	if err := write(&text, outcome); err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Security-Policy",
		"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:")
	if _, err := text.WriteTo(w); err != nil {
		noteError(r, err)
	}
	return nil
}
