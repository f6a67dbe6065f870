package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/driftline/driftline"
)

// followPage leads to the page that is meant by the fragment of a link that MLflow's
// client prints, "/#/experiments/1/runs/…". No server sees a fragment, so the first page's
// script sends it here.
func (s *Server) followPage(w http.ResponseWriter, r *http.Request) error {
	to, err := s.meantBy(r.URL.Query().Get("to"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// meantBy is the address of our page in place of one of MLflow's.
func (s *Server) meantBy(fragment string) (string, error) {
	path, query, _ := strings.Cut(fragment, "?")
	var parts []string
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return "", unfollowed(fragment)
		}
		parts = append(parts, plain)
	}
	switch {
	case parts[0] == "compare-runs":
		return comparedBy(query)
	case len(parts) == 1 && (parts[0] == "" || parts[0] == "experiments"):
		return "/runs", nil
	case len(parts) == 1 && parts[0] == "models":
		return "/models", nil
	case len(parts) >= 4 && parts[0] == "experiments" && parts[2] == "runs":
		return "/runs/" + url.PathEscape(parts[3]), nil
	case len(parts) >= 4 && parts[0] == "experiments" && parts[2] == "models":
		ref := driftline.Ref{Kind: driftline.KindLoggedModel, Name: parts[3]}
		return "/lineage?ref=" + url.QueryEscape(ref.String()), nil
	case len(parts) >= 2 && parts[0] == "experiments":
		return "/runs?experiment_id=" + url.QueryEscape(parts[1]), nil
	case len(parts) >= 4 && parts[0] == "models" && parts[2] == "versions":
		return "/models/" + url.PathEscape(parts[1]) + "/versions/" + url.PathEscape(parts[3]), nil
	case len(parts) >= 2 && parts[0] == "models":
		return "/models/" + url.PathEscape(parts[1]), nil
	}
	return "", unfollowed(fragment)
}

func unfollowed(fragment string) error {
	return driftline.Errorf(driftline.NotFound, "no page here is meant by %q", clip(fragment)).
		WithHint("runs are at /runs, models at /models")
}

// comparedBy reads the runs of MLflow's comparison: a JSON list in its query.
func comparedBy(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", unfollowed(query)
	}
	var runs []string
	if err := json.Unmarshal([]byte(values.Get("runs")), &runs); err != nil {
		return "", unfollowed(query)
	}
	return "/runs/compare?" + url.Values{"run": runs}.Encode(), nil
}
