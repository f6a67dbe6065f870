package web

import (
	"net/http"

	"github.com/driftline/driftline"
)

type lineagePage struct {
	Ref       driftline.Ref
	Direction driftline.LineageDirection
	Lineage   driftline.Lineage
	Graph     graph
	Starts    []driftline.Ref // where to begin, if no ref was given
}

func (s *Server) lineagePage(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("ref") == "" {
		return s.render(w, "lineage", page{Title: "Lineage", Section: "lineage", Body: lineagePage{Starts: s.starts()}})
	}
	found, err := s.lineage(r)
	if err != nil {
		return err
	}
	body := lineagePage{Ref: found.Root, Lineage: found, Direction: driftline.Up}
	if r.URL.Query().Get("direction") == string(driftline.Down) {
		body.Direction = driftline.Down
	}
	body.Graph = drawLineage(found, body.Direction)
	return s.render(w, "lineage", page{Title: "Lineage of " + found.Root.String(), Section: "lineage", Body: body})
}

// starts are the things whose lineage is most asked for.
func (s *Server) starts() []driftline.Ref {
	var refs []driftline.Ref
	for _, m := range s.engine.Registry().Models() {
		if m.Newest != nil {
			refs = append(refs, m.Newest.Ref())
		}
	}
	for _, d := range s.engine.Registry().Datasets() {
		refs = append(refs, d.Ref())
	}
	for _, v := range s.engine.Registry().Views() {
		refs = append(refs, driftline.ViewRef(v.Name))
	}
	return refs
}
