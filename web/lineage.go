package web

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strconv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/openlineage"
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
	return s.engine.Lineage(r.Context(), ref, direction, depth)
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

// recordedEvent says whether an event told something new.
type recordedEvent struct {
	Recorded bool `json:"recorded"`
}

// readEvents reads a body whose fields are not ours to know.
func readEvents(r *http.Request) ([]byte, error) {
	if err := checkContentType(r); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, explainJSON(err, reflect.TypeFor[openlineage.Event]())
	}
	return raw, nil
}

// receiveLineage takes one OpenLineage event.
func (s *Server) receiveLineage(r *http.Request) (recordedEvent, error) {
	raw, err := readEvents(r)
	if err != nil {
		return recordedEvent{}, err
	}
	recorded, err := s.engine.ReceiveLineage(raw)
	return recordedEvent{recorded}, err
}

// receivedBatch is how a batch of events went, in the form that OpenLineage gives it.
type receivedBatch struct {
	Status  string         `json:"status"` // success or partial_success
	Summary batchSummary   `json:"summary"`
	Failed  []refusedEvent `json:"failed_events"`
}

type batchSummary struct {
	Received     int `json:"received"`
	Successful   int `json:"successful"`
	Failed       int `json:"failed"`
	Retriable    int `json:"retriable"`
	NonRetriable int `json:"non_retriable"`
}

type refusedEvent struct {
	Index     int    `json:"index"`
	Reason    string `json:"reason"`
	Retriable bool   `json:"retriable"`
}

// receiveLineageBatch takes many: those that are valid are recorded, whatever the others are.
func (s *Server) receiveLineageBatch(r *http.Request) (receivedBatch, error) {
	raw, err := readEvents(r)
	if err != nil {
		return receivedBatch{}, err
	}
	var events []json.RawMessage
	if err := json.Unmarshal(raw, &events); err != nil {
		return receivedBatch{}, unfit("the body is no list of events")
	}
	done := receivedBatch{Status: "success", Summary: batchSummary{Received: len(events)}, Failed: []refusedEvent{}}
	for i, event := range events {
		_, err := s.engine.ReceiveLineage(event)
		if err == nil {
			done.Summary.Successful++
			continue
		}
		shown, _ := present(err)
		refused := refusedEvent{Index: i, Reason: shown.Message, Retriable: driftline.CodeOf(err) == driftline.Unavailable}
		if done.Failed = append(done.Failed, refused); refused.Retriable {
			done.Summary.Retriable++
		} else {
			done.Summary.NonRetriable++
		}
		done.Summary.Failed++
		done.Status = "partial_success"
	}
	return done, nil
}

// lineageEvents is a stretch of the ledger as OpenLineage events.
type lineageEvents struct {
	Events []openlineage.Event `json:"events"`
	Next   uint64              `json:"next"` // to be given as after
}

// Ledger lines that one answer may look at.
const (
	usualEventLines = 1000
	mostEventLines  = 10_000
)

func (s *Server) lineageEvents(r *http.Request) (lineageEvents, error) {
	query := r.URL.Query()
	after, lines := uint64(0), usualEventLines
	var err error
	if text := query.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return lineageEvents{}, unfit("after is %q, want the number of a ledger line", clip(text))
		}
	}
	if text := query.Get("lines"); text != "" {
		if lines, err = strconv.Atoi(text); err != nil || lines < 1 || lines > mostEventLines {
			return lineageEvents{}, unfit("lines is %q, want 1 to %d", clip(text), mostEventLines)
		}
	}
	events, next, err := s.engine.LineageEvents(r.Context(), after, lines)
	return lineageEvents{Events: events, Next: next}, err
}
