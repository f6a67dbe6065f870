package mlflow

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

// getHistory answers with the points of a metric. It writes the JSON itself: there are
// tens of thousands of them, all alike.
func (s *Service) getHistory(w http.ResponseWriter, r *http.Request) error {
	q := &historyRequest{}
	if err := decode(r, q); err != nil {
		return err
	}
	limit := math.MaxInt
	if q.MaxResults != nil {
		if *q.MaxResults < 1 {
			return driftline.Errorf(driftline.Invalid, "Invalid value %d for parameter 'max_results' supplied. It must be a positive integer.", *q.MaxResults)
		}
		limit = min(int(*q.MaxResults), mostHistory)
	}
	offset, err := offsetOf(q.PageToken)
	if err != nil {
		return err
	}
	body, err := s.history(q, offset, limit)
	if err != nil {
		return err
	}
	sendBytes(w, http.StatusOK, body)
	return nil
}

// history returns the answer with the points from offset on, at most limit of them. A
// metric that the run does not have has none.
func (s *Service) history(q *historyRequest, offset, limit int) ([]byte, error) {
	if _, err := s.registry.Run(q.id()); err != nil {
		return nil, err
	}
	key, err := json.Marshal(q.MetricKey)
	if err != nil {
		return nil, err
	}
	body, n, next := []byte(`{"metrics":[`), 0, ""
	for m, err := range s.registry.Metrics(q.id(), q.MetricKey) {
		if driftline.CodeOf(err) == driftline.NotFound {
			return []byte(`{}`), nil
		}
		if err != nil {
			return nil, err
		}
		if n >= offset && n-offset == limit {
			next = tokenAt(n)
			break
		}
		if n >= offset {
			body = appendPoint(body, key, m, n > offset)
		}
		n++
	}
	body = append(body, ']')
	if next != "" {
		body = append(append(append(body, `,"next_page_token":"`...), next...), '"')
	}
	return append(body, '}'), nil
}

func appendPoint(to, key []byte, m driftline.Metric, follows bool) []byte {
	if follows {
		to = append(to, ',')
	}
	to = append(append(to, `{"key":`...), key...)
	to = appendNumber(append(to, `,"value":`...), float64(m.Value))
	to = strconv.AppendInt(append(to, `,"timestamp":`...), m.Time.UnixMilli(), 10)
	to = strconv.AppendInt(append(to, `,"step":`...), m.Step, 10)
	return append(to, '}')
}

// appendNumber writes a number, or the string for a value that is not finite.
func appendNumber(to []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(to, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(to, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(to, `"-Infinity"`...)
	case f != 0 && (math.Abs(f) < 1e-6 || math.Abs(f) >= 1e21):
		return strconv.AppendFloat(to, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(to, f, 'f', -1, 64)
}
