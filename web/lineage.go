package web

import (
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

func (s *Server) lineage(r *http.Request) (driftline.Lineage, error) {
	query := r.URL.Query()
	ref, err := driftline.ParseRef(query.Get("ref"))
	if err != nil {
		return driftline.Lineage{}, err
	}
	direction := driftline.LineageDirection(query.Get("direction"))
	switch direction {
	case "":
		direction = driftline.Up
	case driftline.Up, driftline.Down:
	default:
		return driftline.Lineage{}, driftline.Errorf(driftline.Invalid, "direction %q is not known",
			clip(string(direction))).WithHint("use up or down")
	}
	depth, err := depthOf(query.Get("depth"))
	if err != nil {
		return driftline.Lineage{}, err
	}
	return s.engine.Registry().Lineage(ref, direction, depth)
}

// depthOf reads how many edges to walk; "" is 0, all of them.
func depthOf(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	depth, err := strconv.Atoi(text)
	if err != nil || depth < 0 {
		return 0, driftline.Errorf(driftline.Invalid, "depth %q is not a whole number from 0", clip(text)).
			WithHint("0 walks the whole graph")
	}
	return depth, nil
}
