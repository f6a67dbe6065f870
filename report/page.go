package report

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"io/fs"

	"github.com/driftline/driftline"
)

// A page is layout.html around one template of its own.
//
//go:embed pages
var pageFiles embed.FS

// Plots are the templates of pictures that pages elsewhere show too: pages/evaluationplots.html.
func Plots() fs.FS { return pageFiles }

func newPage(name string) *template.Template {
	return template.Must(template.New("layout.html").Funcs(template.FuncMap{
		"whole":  whole,
		"style":  func() template.CSS { return template.CSS(pageFile("style.css")) },
		"script": func() template.JS { return template.JS(pageFile("tables.js")) },
	}).ParseFS(pageFiles, "pages/layout.html", "pages/overlay.html", "pages/evaluationplots.html", "pages/"+name))
}

func pageFile(name string) string {
	content, err := pageFiles.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // embedded
	}
	return string(content)
}

func writePage(w io.Writer, page *template.Template, content any) error {
	var whole bytes.Buffer
	if err := page.Execute(&whole, content); err != nil {
		return driftline.Errorf(driftline.Internal, "the report cannot be drawn: %w", err)
	}
	_, err := whole.WriteTo(w)
	return err
}

// chip is a verdict as a small coloured label.
type chip struct{ Class, Text string }

// tally is how many columns or checks got one verdict.
type tally struct {
	Chip  chip
	Count int
	X     string // where its part of the bar begins, of 100
	Width string
}

// tallies lists the verdicts that occur, with their parts of one bar.
func tallies(order []chip, counts map[chip]int) []tally {
	all := 0
	for _, c := range order {
		all += counts[c]
	}
	var found []tally
	at := 0.0
	for _, c := range order {
		if counts[c] == 0 {
			continue
		}
		width := 100 * float64(counts[c]) / float64(all)
		found = append(found, tally{c, counts[c], coordinate(at), coordinate(width)})
		at += width
	}
	return found
}
