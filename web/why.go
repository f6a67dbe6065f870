package web

import (
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

// why follows a prediction back to the rows that its model was trained on.
func (s *Server) why(r *http.Request) (*driftline.PredictionTrace, error) {
	query := r.URL.Query()
	ask := driftline.PredictionQuery{Prediction: query.Get("prediction"), Log: driftline.ViewName(query.Get("log"))}
	if text := query.Get("rows"); text != "" {
		rows, err := strconv.Atoi(text)
		if err != nil || rows < 1 {
			return nil, driftline.Errorf(driftline.Invalid, "rows %q is not a whole number from 1", clip(text)).
				WithHint("it is how many training rows of each dataset are shown")
		}
		ask.Rows = rows
	}
	return s.engine.Why(r.Context(), ask)
}
