package web

import (
	"net/http"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// historyRequest is the body of POST /api/v1/feature-views/{name}/history.
type historyRequest struct {
	Entities jsonColumns `json:"entities"`
	Features []string    `json:"features"`
	Last     int         `json:"last"`
	At       string      `json:"at"`
}

// rowHistory answers the newest rows that a view keeps of each entity, in the shape of
// [Server.runSQL].
func (s *Server) rowHistory(w http.ResponseWriter, r *http.Request) error {
	body, err := readJSON[historyRequest](r)
	if err != nil {
		return err
	}
	at, err := parseAt(body.At)
	if err != nil {
		return err
	}
	view, err := s.engine.Registry().View(driftline.ViewName(r.PathValue("name")))
	if err != nil {
		return err
	}
	entities, err := s.keysOf(view, &body.Entities)
	if err != nil {
		return err
	}
	defer entities.Release()
	rows, err := s.engine.History(r.Context(), driftline.HistoryRequest{View: view.Name, Features: body.Features, Last: body.Last, At: at}, entities)
	if err != nil {
		return err
	}
	defer rows.Release()
	answer := append([]byte(`{"columns":[`), columnsJSON(rows.Schema())...)
	answer = append(answer, `],"rows":[`...)
	for i := range int(rows.NumRows()) {
		answer = appendRow(comma(answer, i), rows, i)
	}
	sendJSON(w, http.StatusOK, append(answer, "]}"...))
	return nil
}

// keysOf casts columns to the types of a view's join keys. The caller releases the batch.
func (s *Server) keysOf(view *driftline.FeatureView, given *jsonColumns) (arrow.RecordBatch, error) {
	types := map[string]driftline.Type{}
	for _, key := range view.JoinKeys {
		types[key.Name] = key.Type
	}
	for _, name := range given.names {
		if types[name] == "" {
			e := driftline.Unknown("join key", clip(name), view.KeyNames())
			e.Code = driftline.Invalid
			return nil, e
		}
	}
	if len(given.names) == 0 {
		return array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 1), nil
	}
	return given.batch(s.engine.Allocator(), given.names, types)
}

// parseAt reads the time that a request is for; the zero time, which means now, if it says none.
func parseAt(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, ok := parseTime(text)
	if !ok {
		return at, driftline.Errorf(driftline.Invalid, "at is %q, not a time", clip(text)).
			WithHint(`write it like "2013-01-31T15:00:00Z"`)
	}
	return at, nil
}
